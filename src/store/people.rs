//! The doors of the store to consents, declarations and national opt-out lists.

use super::event::View;
use super::{
    Added, AddedMany, AddressKey, CHUNK_MAX, Dossier, Event, NewEvent, RegisterEntry, Store, StoreError, Told,
};
use crate::mail::Mailbox;
use crate::policy::{ConsentFact, RegisterName};
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
        Ok(self.record_chunk(std::slice::from_ref(new))?.first().copied().unwrap_or(Added::Existing))
    }

    /// Records many events in transactions of bounded size; what was recorded before an error stays. Blocking.
    ///
    /// # Errors
    /// As [`Store::record`].
    pub fn record_many(&self, new: impl IntoIterator<Item = NewEvent>) -> Result<AddedMany, StoreError> {
        let (mut new, mut counts) = (new.into_iter(), AddedMany::default());
        loop {
            let chunk: Vec<_> = new.by_ref().take(CHUNK_MAX).collect();
            if chunk.is_empty() {
                return Ok(counts);
            }
            for added in self.record_chunk(&chunk)? {
                match added {
                    Added::New => counts.new += 1,
                    Added::Renewed | Added::Existing => counts.existing += 1,
                }
            }
        }
    }

    /// Records some events as one transaction and answers for each, in their order, whether it was new. More than
    /// [`CHUNK_MAX`] of them make others wait. Blocking.
    ///
    /// # Errors
    /// As [`Store::record`]; nothing of them is recorded then, or trying again finds it there.
    pub fn record_chunk(&self, new: &[NewEvent]) -> Result<Vec<Added>, StoreError> {
        self.record_events(&self.events_of(new))
    }

    /// The events as they will lie in the store.
    pub(super) fn events_of(&self, new: &[NewEvent]) -> Vec<Event> {
        let mut buffer = String::new();
        new.iter().map(|new| self.event(new, &mut buffer)).collect()
    }

    /// Under what each of these events will lie. It names nobody (promise P9).
    pub fn exact_keys(&self, new: &[NewEvent]) -> Vec<AddressKey> {
        self.events_of(new).into_iter().map(|event| event.exact).collect()
    }

    /// The consents that hold now under each key. Blocking.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn consents_under(&self, keys: &[AddressKey]) -> Result<Vec<Vec<ConsentFact>>, StoreError> {
        Ok(self.histories(keys)?.iter().map(|events| View::of(events).consents).collect())
    }

    /// Records for each key under which `of` told anything that all of it counts no more, and answers for how many that
    /// was new. What others told before and after holds as if `of` had told nothing. Blocking.
    ///
    /// # Errors
    /// Any [`StoreError`]; doing it again goes on. [`StoreError::Settling`] while a fleet's store has not been told everything.
    pub fn retract(&self, keys: &[AddressKey], of: &str, by: &str, at: Timestamp) -> Result<u64, StoreError> {
        if let Self::Redis(store) = self {
            store.nothing_waits()?;
        }
        let told = Told::Retraction(of.to_owned());
        let events: Vec<_> = self
            .told_by(keys, of)?
            .into_iter()
            .map(|event| Event { told: told.clone(), by: by.to_owned(), at, ..event })
            .collect();
        let added = self.record_events(&events)?;
        let new = added.iter().filter(|added| **added == Added::New).count();
        Ok(u64::try_from(new).unwrap_or(u64::MAX))
    }

    /// The first event that `of` told under each key, of those that were not retracted. Blocking.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn told_by(&self, keys: &[AddressKey], of: &str) -> Result<Vec<Event>, StoreError> {
        let stands = |events: &Vec<Event>| {
            let gone = events.iter().any(|event| matches!(&event.told, Told::Retraction(name) if name == of));
            events.iter().find(|event| !gone && event.by == of).cloned()
        };
        Ok(self.histories(keys)?.iter().filter_map(stands).collect())
    }

    fn event(&self, new: &NewEvent, buffer: &mut String) -> Event {
        match self {
            Self::Embedded(store) => store.event(new, buffer),
            Self::Redis(store) => store.event(new, buffer),
            Self::Memory(store) => store.event(new, buffer),
        }
    }

    fn record_events(&self, events: &[Event]) -> Result<Vec<Added>, StoreError> {
        match self {
            Self::Embedded(store) => store.record_events(events),
            Self::Redis(store) => store.record_events(events),
            Self::Memory(store) => store.record_events(events),
        }
    }

    /// Every event under each key, in the order of recording.
    pub(super) fn histories(&self, keys: &[AddressKey]) -> Result<Vec<Vec<Event>>, StoreError> {
        match self {
            Self::Embedded(store) => store.histories(keys),
            Self::Redis(store) => store.histories(keys),
            Self::Memory(store) => store.histories(keys),
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

    /// Hands all that is kept of a loaded list to `visit`, part by part, in an order that does not depend on how it was loaded.
    /// Blocking.
    ///
    /// # Errors
    /// What `visit` answers; [`StoreError::Busy`] when the list was replaced meanwhile; any other [`StoreError`].
    pub fn each_listed(
        &self,
        name: &RegisterName,
        visit: &mut dyn FnMut(&[AddressKey]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        match self {
            Self::Embedded(store) => store.each_listed(name, visit),
            Self::Redis(store) => store.each_listed(name, visit),
            Self::Memory(store) => store.each_listed(name, visit),
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
