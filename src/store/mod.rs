//! Who must not be written to, and who agreed to be: suppression facts and consent facts, kept and answered.
//!
//! **Promise:** a suppression is on disk when its addition is acknowledged, counts from the very next question (also
//! when another process added it), and is met by every spelling of its address. A store that is lost, cut short,
//! older than what was acknowledged, replaced or unreadable is an error, never "nobody objected" (promises P4, P10).
//! A change that names what its writer saw is made only while that still is so, whoever else changes the store.
//! Consents and declarations are only ever added to; what holds now is the last word of each.
//!
//! **Owns:** the embedded database and its files, the keyed hash of addresses and its key, the folding of addresses,
//! the history of consents, the copies of national opt-out lists, what a fleet's gateways count together, and the
//! in-memory fake that other rooms test with.
//!
//! **Never knows:** SMTP, decisions (it answers facts; `policy` weighs them), configuration files, the wall clock.
//!
//! **Standards:** RFC 5321 section 2.4 and RFC 6531 (what one local part can look like), UAX #15 (normal forms),
//! RFC 2104 (HMAC), GDPR articles 5(1)(c) and 17 (a hash instead of an address), 7(1) (consent is proven), 21
//! (objections stay).

mod bulk;
mod copy;
mod counts;
mod dossier;
mod embedded;
mod entry;
mod error;
mod event;
mod fact;
mod fence;
mod files;
mod filter;
mod fleet;
mod fold;
mod key;
pub(crate) mod line;
mod memory;
mod people;
mod published;
mod reach;
pub(crate) mod record;
mod redis;
mod revision;
mod rotate;
mod row;
mod schema;
mod standing;
#[cfg(test)]
pub(crate) mod tests;
mod window;

use std::io::Write;
use std::path::PathBuf;

pub use self::redis::{Census, Rebuilt, Redis, RedisSettings, Security, Server, Status, Topology};
pub use bulk::{CHUNK_MAX, Print, Withdrawal};
pub use copy::{Copied, Digest};
pub use counts::{Claims, Counts, DayClaim, DayGrant, Grants, PACES_MAX, PaceClaim, PaceGrant, STAY, ServerTime};
pub use dossier::Dossier;
pub use embedded::Embedded;
pub use entry::{
    Added, AddedMany, Cursor, Entry, Kind, Match, NewSuppression, PAGE_MAX, Page, Removal, Selection, Stats, Subject,
    TEXT_MAX,
};
pub use error::StoreError;
pub use event::{Declaration, Event, FUNCTIONS_MAX, NewEvent, Told};
pub(crate) use fact::{ConsentText, ContactText, contract_word};
pub use fence::{Fence, Ticket};
pub use key::AddressKey;
pub use line::Restored;
pub use memory::Memory;
pub use published::{PublishedHash, RegisterEntry};
pub use reach::Reach;
pub use record::{EntryFormat, Record};
pub use revision::{Revision, Seen, Tried};
pub use rotate::Rotated;
pub use standing::{Way, way};
pub use window::{WINDOW_OCTETS, Window};

use key::StoreKey;

use crate::mail::Mailbox;
use crate::policy::Suppression;
use crate::time::Timestamp;

/// Whether the store keeps addresses in clear beside their keyed hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cleartext {
    /// Listings and exports show addresses.
    #[default]
    Keep,
    /// Only keyed hashes are kept: entries are found by those who know the address, and cannot be listed by name.
    HashOnly,
}

/// Where the embedded store lies and what it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The database; its mark, lock and log lie beside it. The folder must exist and be ours.
    pub path: PathBuf,
    /// The key of the keyed hashes; beside the database when not given. Made at the first opening.
    pub key_file: Option<PathBuf>,
    /// What new entries keep.
    pub cleartext: Cleartext,
}

/// How much is checked and prepared at opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// For the daemon: everything is read and checked once, and a filter of what is surely absent is built.
    Whole,
    /// For one operation: identity, key and mark are checked; what is read is checked when it is read.
    Quick,
    /// For one operation that changes much: as [`Opening::Quick`], with more memory, and what it changes is folded into the
    /// database by itself.
    Many,
}

/// The suppression facts of this gateway. Cheap to clone, shared by all threads.
#[derive(Clone, Debug)]
pub enum Store {
    /// SQLite in a file.
    Embedded(Embedded),
    /// Redis or Valkey, shared by a fleet of gateways.
    Redis(Redis),
    /// Nothing but memory: for tests, and for trying things out.
    Memory(Memory),
}

impl Store {
    /// Opens the embedded store, or makes it when there never was one. Blocking.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Older`], [`StoreError::Foreign`], [`StoreError::Damaged`],
    /// [`StoreError::Newer`] or a key error when what lies there is not the whole store that was acknowledged.
    pub fn open(settings: &Settings, opening: Opening, now: Timestamp) -> Result<Self, StoreError> {
        Embedded::open(settings, opening, now).map(Self::Embedded)
    }

    /// An empty store in memory.
    pub fn memory() -> Self {
        Self::Memory(Memory::default())
    }

    /// All suppression facts about each recipient, in the order of the recipients: entries about the address under
    /// any spelling and about its domain or one above it, of every scope, expired ones included. One call per message.
    ///
    /// The embedded store answers on the spot: the question costs a few microseconds, less than a move to another thread.
    /// A fleet's store takes one round trip.
    ///
    /// # Errors
    /// Any [`StoreError`]; the caller must then send nothing (promise P4).
    pub async fn evidence(&self, recipients: &[&Mailbox]) -> Result<Vec<Vec<Suppression>>, StoreError> {
        match self {
            Self::Embedded(store) => store.evidence(recipients),
            Self::Redis(store) => store.evidence(recipients).await,
            Self::Memory(store) => store.evidence(recipients),
        }
    }

    /// [`Store::evidence`] for callers outside the runtime.
    ///
    /// # Errors
    /// As [`Store::evidence`].
    pub fn blocking_evidence(&self, recipients: &[&Mailbox]) -> Result<Vec<Vec<Suppression>>, StoreError> {
        match self {
            Self::Embedded(store) => store.evidence(recipients),
            Self::Redis(store) => store.blocking_evidence(recipients),
            Self::Memory(store) => store.evidence(recipients),
        }
    }

    /// Records a suppression; it is on disk and counts when this returns. Recording again changes nothing but an
    /// expiry, and that only to later, and makes theirs what only a list had said; except that an opt-out which a consent
    /// has lifted counts from now again.
    ///
    /// # Errors
    /// Any [`StoreError`]; the caller must not acknowledge the opt-out then. Trying again is safe.
    pub async fn add(&self, new: NewSuppression) -> Result<Added, StoreError> {
        self.elsewhere(move |store| store.blocking_add(&new)).await
    }

    /// [`Store::add`] for callers outside the runtime.
    ///
    /// # Errors
    /// As [`Store::add`].
    pub fn blocking_add(&self, new: &NewSuppression) -> Result<Added, StoreError> {
        Ok(self.add_chunk(std::slice::from_ref(new))?.first().copied().unwrap_or(Added::Existing))
    }

    /// Removes entries, and keeps who removed what and why. Answers what was removed; nothing is removed on an error.
    ///
    /// # Errors
    /// [`StoreError::ReasonNeeded`] when a complaint or a legal objection would go without a stated reason.
    pub async fn remove(&self, removal: Removal) -> Result<Vec<Entry>, StoreError> {
        self.elsewhere(move |store| store.blocking_remove(&removal)).await
    }

    /// [`Store::remove`] for callers outside the runtime.
    ///
    /// # Errors
    /// As [`Store::remove`].
    pub fn blocking_remove(&self, removal: &Removal) -> Result<Vec<Entry>, StoreError> {
        match self {
            Self::Embedded(store) => store.remove(removal),
            Self::Redis(store) => store.remove(removal),
            Self::Memory(store) => store.remove(removal),
        }
    }

    /// Every entry that meets `subject`, and how: for a mailbox also those of its domain and the domains above it.
    /// Blocking.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn matching(&self, subject: &Subject) -> Result<Vec<(Match, Entry)>, StoreError> {
        match self {
            Self::Embedded(store) => store.matching(subject),
            Self::Redis(store) => store.matching(subject),
            Self::Memory(store) => store.matching(subject),
        }
    }

    /// One page of entries in the order of recording, at most [`PAGE_MAX`]. Blocking.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn list(&self, selection: &Selection, after: Cursor, limit: usize) -> Result<Page, StoreError> {
        match self {
            Self::Embedded(store) => store.list(selection, after, limit),
            Self::Redis(store) => store.list(selection, after, limit),
            Self::Memory(store) => store.list(selection, after, limit),
        }
    }

    /// What is in the store, in numbers. Reads every entry. Blocking.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn stats(&self) -> Result<Stats, StoreError> {
        match self {
            Self::Embedded(store) => store.stats(),
            Self::Redis(store) => store.stats(),
            Self::Memory(store) => store.stats(),
        }
    }

    /// Writes every entry that `selection` covers, page by page, so that no reader or writer waits for it. Answers
    /// how many. Blocking.
    ///
    /// # Errors
    /// Any [`StoreError`]; [`StoreError::Io`] when `out` cannot be written.
    pub fn export(&self, out: &mut dyn Write, format: EntryFormat, selection: &Selection) -> Result<u64, StoreError> {
        record::export(self, out, format, selection)
    }

    /// What keyed hashes of this store are labelled with in exports: hashes made with another key mean nothing here.
    pub fn key_name(&self) -> String {
        self.key().check().to_string()
    }

    fn key(&self) -> &StoreKey {
        match self {
            Self::Embedded(store) => store.key(),
            Self::Redis(store) => store.key(),
            Self::Memory(store) => store.key(),
        }
    }

    fn cleartext(&self) -> Cleartext {
        match self {
            Self::Embedded(store) => store.cleartext(),
            Self::Redis(store) => store.cleartext(),
            Self::Memory(_) => Cleartext::Keep,
        }
    }

    /// Looks whether the store on disk is still the one that was opened and can be read; to be called every second or
    /// so. After a failure that only reopening can heal, every later question is answered with that failure.
    ///
    /// # Errors
    /// What was found.
    pub async fn probe(&self) -> Result<(), StoreError> {
        self.elsewhere(Self::blocking_probe).await
    }

    /// [`Store::probe`] for callers outside the runtime.
    ///
    /// # Errors
    /// As [`Store::probe`].
    pub fn blocking_probe(&self) -> Result<(), StoreError> {
        match self {
            Self::Embedded(store) => store.probe(),
            Self::Redis(store) => store.probe(),
            Self::Memory(store) => store.probe(),
        }
    }

    /// Runs what waits for the disk where waiting harms nobody.
    async fn elsewhere<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || work(&store)).await.map_err(|_| StoreError::Stopping)?
    }
}
