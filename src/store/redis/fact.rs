//! What is told to the fleet's store, as the journal writes it down.

use aws_lc_rs::digest;

use super::codec;
use crate::store::entry::{Entry, Kind};
use crate::store::event::Event;
use crate::store::key::{AddressKey, KEY_LEN};

/// Something that is told to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// Somebody must not be written to.
    Suppression(Entry),
    /// Somebody agreed, or is something.
    Event(Event),
}

impl Fact {
    /// What it lies under.
    pub(super) const fn key(&self) -> &AddressKey {
        match self {
            Self::Suppression(entry) => &entry.family,
            Self::Event(event) => &event.exact,
        }
    }

    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Suppression(_) => "suppression",
            Self::Event(_) => "event",
        }
    }

    pub(super) fn record(&self) -> Vec<u8> {
        let mut record = Vec::new();
        match self {
            Self::Suppression(entry) => codec::put_entry(entry, 0, &mut record),
            Self::Event(event) => codec::put_event(event, &mut record),
        }
        record
    }

    /// What makes it the same fact when it is told again.
    pub(super) fn identity(&self) -> [u8; KEY_LEN] {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(self.word().as_bytes());
        match self {
            Self::Suppression(entry) => identify(entry, &mut context),
            Self::Event(_) => context.update(&self.record()),
        }
        let mut identity = [0; KEY_LEN];
        identity.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        identity
    }

    pub(super) fn read(shelf: &str, key: &AddressKey, record: &[u8]) -> Option<Self> {
        match shelf {
            "suppression" => codec::entries(key, record)?.pop().map(Self::Suppression),
            "event" => codec::events(key, record)?.pop().map(Self::Event),
            _ => None,
        }
    }
}

fn identify(entry: &Entry, context: &mut digest::Context) {
    let kind = match entry.kind {
        Kind::Address => 0,
        Kind::Domain => 1,
    };
    context.update(&[kind, codec::cause_code(entry.fact.cause)]);
    context.update(entry.exact.octets());
    context.update(entry.fact.scope.to_string().as_bytes());
}

/// A fact with its number in the journal.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) number: i64,
    pub(super) fact: Fact,
}
