//! Moving house: every fact from one store into another while both are in use, and the proof that they hold the same.
//!
//! A copy is made of the facts as they lie: hashes stay hashes. So both stores need the same key, and copying again only
//! adds what is new. National lists are not copied: their registries give them out afresh.

use aws_lc_rs::digest;

use super::entry::{Cursor, Entry, PAGE_MAX, Selection};
use super::event::Event;
use super::redis::octets_of;
use super::{AddedMany, Store, StoreError};

/// A fact on its way from one store to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Copied {
    /// A suppression.
    Entry(Entry),
    /// A consent or a declaration.
    Event(Event),
}

/// What a store holds, in three numbers: equal when, and only when, two stores hold the same facts in whichever order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// Suppressions.
    pub entries: u64,
    /// Consents and declarations.
    pub events: u64,
    /// The sum of the hashes of all facts.
    pub sum: u128,
}

impl Digest {
    fn add(&mut self, copied: &Copied) {
        match copied {
            Copied::Entry(_) => self.entries += 1,
            Copied::Event(_) => self.events += 1,
        }
        let hash = digest::digest(&digest::SHA256, &octets_of(copied));
        let first = hash.as_ref().first_chunk::<16>().copied().unwrap_or_default();
        // A sum does not depend on the order, and unlike XOR it notices a fact that is there twice.
        self.sum = self.sum.wrapping_add(u128::from_le_bytes(first));
    }
}

impl Store {
    /// Copies every fact into `to` and answers how many were new there; `seen` hears how many were looked at so far.
    /// Blocking.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the keys differ; any [`StoreError`] of either store. What was copied stays, and copying
    /// again goes on.
    pub fn copy_to(&self, to: &Self, mut seen: impl FnMut(u64)) -> Result<AddedMany, StoreError> {
        if self.key_name() != to.key_name() {
            let because = "the two stores hash addresses with different keys; nothing copied would be found".to_owned();
            return Err(StoreError::Refused { because });
        }
        let (mut counts, mut looked_at) = (AddedMany::default(), 0);
        self.each_page(|page| {
            looked_at += u64::try_from(page.len()).unwrap_or(0);
            let added = to.take(page)?;
            counts.new += added.new;
            counts.existing += added.existing;
            seen(looked_at);
            Ok(())
        })?;
        Ok(counts)
    }

    /// What this store holds. Reads everything. Blocking.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn digest(&self) -> Result<Digest, StoreError> {
        let mut digest = Digest::default();
        self.each_page(|page| {
            for copied in &page {
                digest.add(copied);
            }
            Ok(())
        })?;
        Ok(digest)
    }

    /// Everything that it holds, page by page.
    pub(super) fn each_page(
        &self,
        mut work: impl FnMut(Vec<Copied>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut after = Cursor::default();
        loop {
            let page = self.list(&Selection::default(), after, PAGE_MAX)?;
            work(page.entries.into_iter().map(Copied::Entry).collect())?;
            let Some(next) = page.next else { break };
            after = next;
        }
        let mut after = Cursor::default();
        loop {
            let page = self.events(after, PAGE_MAX)?;
            let Some((next, _)) = page.last() else { return Ok(()) };
            after = *next;
            work(page.into_iter().map(|(_, event)| Copied::Event(event)).collect())?;
        }
    }

    /// Some events behind `after` and where each lies. Blocking.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub(super) fn events(&self, after: Cursor, limit: usize) -> Result<Vec<(Cursor, Event)>, StoreError> {
        match self {
            Self::Embedded(store) => store.events(after, limit),
            Self::Redis(store) => store.events(after, limit),
            Self::Memory(store) => store.events(after, limit),
        }
    }

    /// Takes facts in as they lay in another store.
    pub(super) fn take(&self, copied: Vec<Copied>) -> Result<AddedMany, StoreError> {
        match self {
            Self::Embedded(store) => store.take(&copied),
            Self::Redis(store) => store.take(copied),
            Self::Memory(store) => store.take(copied),
        }
    }
}
