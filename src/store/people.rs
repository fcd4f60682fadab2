//! The doors of the store to consents, declarations and national opt-out lists.

use super::{Added, AddedMany, Dossier, Event, NewEvent, RegisterEntry, Store, StoreError};
use crate::mail::Mailbox;
use crate::policy::RegisterName;
use crate::time::Timestamp;

impl Store {
    /// Everything that is known of each recipient, in their order, read in one snapshot: suppressions as
    /// [`Store::evidence`] answers them, and the last word of every consent and declaration about the exact address.
    /// Like that question the embedded store answers it on the spot.
    ///
    /// # Errors
    /// Any [`StoreError`]; the caller must then send nothing (promise P4).
    pub async fn dossier(&self, recipients: &[&Mailbox]) -> Result<Vec<Dossier>, StoreError> {
        match self {
            Self::Embedded(store) => store.dossier(recipients),
            Self::Redis(store) => store.dossier(recipients).await,
            Self::Memory(store) => store.dossier(recipients),
        }
    }

    /// [`Store::dossier`] for callers outside the runtime.
    ///
    /// # Errors
    /// As [`Store::dossier`].
    pub fn blocking_dossier(&self, recipients: &[&Mailbox]) -> Result<Vec<Dossier>, StoreError> {
        match self {
            Self::Embedded(store) => store.dossier(recipients),
            Self::Redis(store) => store.blocking_dossier(recipients),
            Self::Memory(store) => store.dossier(recipients),
        }
    }

    /// Records a consent or a declaration; it is on disk and counts when this returns. What changes nothing of what
    /// holds now is [`Added::Existing`] and adds nothing. Suppressions stay as they are: whether a consent lifts one
    /// is for `policy` to say, at every decision anew.
    ///
    /// # Errors
    /// Any [`StoreError`]; nothing may be acknowledged then. Trying again is safe.
    pub async fn record(&self, new: NewEvent) -> Result<Added, StoreError> {
        self.elsewhere(move |store| store.blocking_record(&new)).await
    }

    /// [`Store::record`] for callers outside the runtime.
    ///
    /// # Errors
    /// As [`Store::record`].
    pub fn blocking_record(&self, new: &NewEvent) -> Result<Added, StoreError> {
        let counts = self.record_many(std::iter::once(new.clone()))?;
        Ok(if counts.new == 1 { Added::New } else { Added::Existing })
    }

    /// Records many events in transactions of bounded size; what was recorded before an error stays. Blocking.
    ///
    /// # Errors
    /// As [`Store::record`].
    pub fn record_many(&self, new: impl IntoIterator<Item = NewEvent>) -> Result<AddedMany, StoreError> {
        match self {
            Self::Embedded(store) => store.record_many(&mut new.into_iter()),
            Self::Redis(store) => store.record_many(&mut new.into_iter()),
            Self::Memory(store) => store.record_many(&mut new.into_iter()),
        }
    }

    /// Every event about exactly this address, in the order of recording. Blocking.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn history(&self, mailbox: &Mailbox) -> Result<Vec<Event>, StoreError> {
        match self {
            Self::Embedded(store) => store.history(mailbox),
            Self::Redis(store) => store.history(mailbox),
            Self::Memory(store) => store.history(mailbox),
        }
    }

    /// Loads a national opt-out list that was drawn on `fresh_on` in place of the copy that was there, which answers
    /// until the new one is whole. Answers how many different subjects it has. Blocking.
    ///
    /// # Errors
    /// The first error among `subjects`; [`StoreError::Busy`] when another list was loaded meanwhile. On every error
    /// the old copy stays: a list cut short would let mail pass to whoever stood behind the cut.
    pub fn load_register<E: Into<RegisterEntry>>(
        &self,
        name: &RegisterName,
        fresh_on: Timestamp,
        subjects: impl IntoIterator<Item = Result<E, StoreError>>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let subjects = subjects.into_iter().map(|entry| entry.map(Into::into));
        match self {
            Self::Embedded(store) => store.load_register(name, fresh_on, &mut { subjects }, now),
            Self::Redis(store) => store.load_register(name, fresh_on, &mut { subjects }),
            Self::Memory(store) => store.load_register(name, fresh_on, &mut { subjects }),
        }
    }

    /// The lists that are loaded: name, when drawn, how many subjects. Blocking.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn registers(&self) -> Result<Vec<(RegisterName, Timestamp, u64)>, StoreError> {
        match self {
            Self::Embedded(store) => store.registers(),
            Self::Redis(store) => store.registers(),
            Self::Memory(store) => store.registers(),
        }
    }
}
