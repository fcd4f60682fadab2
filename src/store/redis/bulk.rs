//! Many suppressions at once, and taking them back.

use std::collections::HashSet;

use super::change::Telling;
use super::fact::Fact;
use super::{Redis, Shared};
use crate::store::bulk::{Print, Withdrawal};
use crate::store::entry::Entry;
use crate::store::key::AddressKey;
use crate::store::window::Nearness;
use crate::store::{Added, Event, NewEvent, NewSuppression, StoreError};

impl Redis {
    pub(in crate::store) fn entry(&self, new: &NewSuppression, buffer: &mut String) -> Entry {
        new.entry(&self.0.shared.key, self.0.shared.cleartext, buffer)
    }

    pub(in crate::store) fn event(&self, new: &NewEvent, buffer: &mut String) -> Event {
        new.event(&self.0.shared.key, self.0.shared.cleartext, buffer)
    }

    pub(in crate::store) fn record_events(&self, events: &[Event]) -> Result<Vec<Added>, StoreError> {
        let facts: Vec<_> = events.iter().cloned().map(Fact::Event).collect();
        self.tell_chunk(&facts, Telling::First)
    }

    pub(in crate::store) fn histories(&self, keys: &[AddressKey]) -> Result<Vec<Vec<Event>>, StoreError> {
        let keys = keys.to_vec();
        self.blocking(|shared| async move { shared.histories(&keys).await })
    }

    pub(in crate::store) fn add_entries(&self, chunk: &[Entry]) -> Result<Vec<Added>, StoreError> {
        let facts: Vec<_> = chunk.iter().cloned().map(Fact::Suppression).collect();
        self.tell_chunk(&facts, Telling::First)
    }

    /// How facts lie; by their partitions alone while the store is not met.
    pub(in crate::store) fn nearness(&self) -> Nearness {
        Nearness::Buckets(self.0.shared.ground().map_or(1, |ground| ground.layout.buckets()))
    }

    /// # Errors
    /// [`StoreError::Settling`]: what is taken back before it is told would be told afterwards.
    pub(in crate::store) fn nothing_waits(&self) -> Result<(), StoreError> {
        self.0.shared.nothing_waits()
    }

    pub(in crate::store) fn withdraw(&self, withdrawal: &Withdrawal) -> Result<u64, StoreError> {
        let withdrawal = withdrawal.clone();
        self.blocking(|shared| async move {
            shared.nothing_waits()?;
            let prints: HashSet<Print> = withdrawal.prints.iter().copied().collect();
            let keys = prints.iter().map(|print| print.family).collect();
            let covers = |entry: &Entry| prints.contains(&Print::of(entry));
            let Some(first) = withdrawal.prints.first() else { return Ok(0) };
            let gone = shared.remove(&keys, &withdrawal.removal(first), covers).await?;
            Ok(u64::try_from(gone.len()).unwrap_or(u64::MAX))
        })
    }
}

impl Shared {
    fn nothing_waits(&self) -> Result<(), StoreError> {
        if self.journal.pending(self.ground()?.generation, 1)?.is_empty() {
            return Ok(());
        }
        Err(StoreError::Settling { because: "facts of this gateway are still to be sent".to_owned() })
    }
}
