//! Changes that hold only against what their writer saw.
//!
//! What is recorded under one subject has a [`Revision`]. Whoever read it can name it with a change, and the store compares and
//! changes in one step: whichever engine it is, and whichever process, thread or gateway changes the same facts (ADR 0033).

use aws_lc_rs::digest;

use super::copy::Copied;
use super::entry::lookup_key;
use super::key::AddressKey;
use super::redis::{entry_octets, octets_of};
use super::{
    Added, Entry, Event, Kind, Match, NewEvent, NewSuppression, Reach, Removal, Store, StoreError, Subject, Told,
};
use crate::hex;
use crate::mail::Mailbox;

/// Octets kept of the digest: two states that look alike are not met by chance.
const REVISION_LEN: usize = 16;

/// What is recorded under one subject, as far as one reader may see it: a digest of all that it says, and of where it lies. Two
/// subjects never have the same, also when nothing is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Revision([u8; REVISION_LEN]);

impl Revision {
    /// Reads what `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        hex::decode(text).map(Self)
    }

    /// Of those `entries` that lie under `key` and are within `reach`.
    pub(super) fn of_entries<'a>(
        kind: Kind,
        key: &AddressKey,
        reach: &Reach,
        entries: impl IntoIterator<Item = &'a Entry>,
    ) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(kind.as_str().as_bytes());
        context.update(key.octets());
        let own = |entry: &&Entry| entry.kind == kind && entry.family == *key;
        let seen = |entry: &&Entry| reach.holds_entry(&entry.fact.scope, entry.fact.cause);
        for entry in entries.into_iter().filter(own).filter(seen) {
            context.update(&entry.cursor.0.to_le_bytes());
            context.update(&entry_octets(entry));
        }
        Self::cut(context)
    }

    /// Of those `events` under `key` that are within `reach`, and of whether they were taken back: whoever may not see a retraction
    /// sees that a consent of theirs counts no more.
    pub(super) fn of_events(key: &AddressKey, reach: &Reach, events: &[Event]) -> Self {
        let retracted = |by: &str| {
            let names = |event: &Event| matches!(&event.told, Told::Retraction(name) if name == by);
            events.iter().any(names)
        };
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"events");
        context.update(key.octets());
        for event in events.iter().filter(|event| reach.holds_event(&event.told)) {
            context.update(&event.cursor.0.to_le_bytes());
            context.update(&[u8::from(retracted(&event.by))]);
            context.update(&octets_of(&Copied::Event(event.clone())));
        }
        Self::cut(context)
    }

    fn cut(context: digest::Context) -> Self {
        Self(context.finish().as_ref().first_chunk().copied().unwrap_or_default())
    }
}

/// Hexadecimal digits.
impl std::fmt::Display for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

/// What a writer saw before they changed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What they may see: the revision is of that alone.
    pub reach: Reach,
    /// The revision, or several any of which will do. None of them is a state that never was.
    pub any_of: Vec<Revision>,
}

impl Seen {
    pub(super) fn is(&self, present: &Revision) -> bool {
        self.any_of.contains(present)
    }
}

/// What became of a change that holds only against what its writer saw.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Tried<T> {
    /// It was made; nobody came between.
    Done(T),
    /// Somebody else was first, and nothing was changed; this is the present revision.
    Meanwhile(Revision),
}

impl<T> Tried<T> {
    pub(super) fn map<U>(self, of: impl FnOnce(T) -> U) -> Tried<U> {
        match self {
            Self::Done(done) => Tried::Done(of(done)),
            Self::Meanwhile(present) => Tried::Meanwhile(present),
        }
    }
}

impl Store {
    /// As [`Store::matching`], as far as `reach` goes, with the revision of what lies under `subject` itself. Entries of its
    /// domain, of domains above it and of published hashes are subjects of their own. Blocking.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn matching_within(
        &self,
        subject: &Subject,
        reach: &Reach,
    ) -> Result<(Vec<(Match, Entry)>, Revision), StoreError> {
        let mut found = self.matching(subject)?;
        found.retain(|(_, entry)| reach.holds_entry(&entry.fact.scope, entry.fact.cause));
        let (kind, key) = lookup_key(subject, self.key(), &mut String::new());
        let revision = Revision::of_entries(kind, &key, reach, found.iter().map(|(_, entry)| entry));
        Ok((found, revision))
    }

    /// As [`Store::history`], as far as `reach` goes, with its revision. Blocking.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn history_within(&self, mailbox: &Mailbox, reach: &Reach) -> Result<(Vec<Event>, Revision), StoreError> {
        let mut events = self.history(mailbox)?;
        let revision = Revision::of_events(&self.key().exact(mailbox, &mut String::new()), reach, &events);
        events.retain(|event| reach.holds_event(&event.told));
        Ok((events, revision))
    }

    /// As [`Store::blocking_add`], if what lies under its subject is still as it was `seen`. A fleet's store must answer for it:
    /// unlike other opt-outs this one is not taken while it cannot be compared. Blocking.
    ///
    /// # Errors
    /// Any [`StoreError`]. After [`StoreError::Away`] and [`StoreError::Stopping`] it may have been made all the same: the answer
    /// was lost, and reading again tells.
    pub fn add_if(&self, new: &NewSuppression, seen: &Seen) -> Result<Tried<Added>, StoreError> {
        match self {
            Self::Embedded(store) => store.add_if(new, seen),
            Self::Redis(store) => store.add_if(new, seen),
            Self::Memory(store) => store.add_if(new, seen),
        }
    }

    /// As [`Store::blocking_remove`], if what lies under its subject is still as it was `seen`. Blocking.
    ///
    /// # Errors
    /// As [`Store::add_if`], and [`StoreError::ReasonNeeded`].
    pub fn remove_if(&self, removal: &Removal, seen: &Seen) -> Result<Tried<Vec<Entry>>, StoreError> {
        match self {
            Self::Embedded(store) => store.remove_if(removal, seen),
            Self::Redis(store) => store.remove_if(removal, seen),
            Self::Memory(store) => store.remove_if(removal, seen),
        }
    }

    /// Records some events about one address together, if what was recorded about it is still as it was `seen`; answers for each
    /// whether it was new. Blocking.
    ///
    /// # Errors
    /// As [`Store::add_if`], and [`StoreError::Unfit`] unless they are about one and the same address.
    pub fn record_if(&self, new: &[NewEvent], seen: &Seen) -> Result<Tried<Vec<Added>>, StoreError> {
        let events = self.events_of(new);
        let mut keys = events.iter().map(|event| event.exact);
        let first = keys.next().filter(|first| keys.all(|key| key == *first));
        let key = first.ok_or(StoreError::Unfit { what: "a change that is compared is about one address" })?;
        match self {
            Self::Embedded(store) => store.record_if(&key, &events, seen),
            Self::Redis(store) => store.record_if(events, seen),
            Self::Memory(store) => store.record_if(&key, &events, seen),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_reads_back_and_nothing_else_does() {
        let revision = Revision([0xa7; REVISION_LEN]);
        let text = revision.to_string();
        assert_eq!((text.len(), Revision::parse(&text)), (2 * REVISION_LEN, Some(revision)));
        for bad in ["", &text[1..], &format!("{text}0"), &text.replace('a', "x")] {
            assert_eq!(Revision::parse(bad), None, "{bad}");
        }
    }
}
