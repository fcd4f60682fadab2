//! Rotating the key of the address hash.

use super::entry::Entry;
use super::event::Event;
use super::key::{AddressKey, StoreKey};
use super::redis::Redis;
use super::{RedisSettings, Settings, Store, StoreError, embedded};

/// What a rotation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// What hashes of the store are labelled with from now on, as [`Store::key_name`].
    pub key: String,
    /// How many secrets the key has now; all of them are needed.
    pub secrets: usize,
    /// Suppressions that were hashed anew.
    pub entries: u64,
    /// Consents and declarations that were.
    pub events: u64,
    /// Whose journals a fleet waits for before its mail flows again.
    pub waits_for: Option<String>,
}

/// What every hash of a store goes through.
#[derive(Debug)]
pub(super) struct Raise<'a> {
    pub(super) from: &'a StoreKey,
    pub(super) to: &'a StoreKey,
}

impl Raise<'_> {
    pub(super) fn key(&self, hash: AddressKey) -> AddressKey {
        self.to.raised(self.from, hash)
    }

    pub(super) fn entry(&self, entry: Entry) -> Entry {
        Entry { exact: self.key(entry.exact), family: self.key(entry.family), ..entry }
    }

    pub(super) fn event(&self, event: Event) -> Event {
        Event { exact: self.key(event.exact), ..event }
    }
}

impl Store {
    /// Puts one more secret on top of the embedded store's key, and hashes every hash in the store with it: entries, consents,
    /// national lists and the history of removals alike. Whoever knows only the earlier secrets can try no address on the store any
    /// more. Nobody else may have the store open. A crash leaves the store as it was or as it will be, and doing it again goes on.
    /// Blocking.
    ///
    /// # Errors
    /// [`StoreError::Refused`] while another program has the store open; [`StoreError::KeyUnfit`] when the key has as many
    /// secrets as it may have; any error of [`Store::open`].
    pub fn rotate_key(settings: &Settings) -> Result<Rotated, StoreError> {
        embedded::rotate::rotate(settings)
    }

    /// The same for a fleet's store, from one gateway: what the fleet's store holds is written into this gateway's journal, the
    /// journal is hashed anew, and the store is filled again from the journals of all gateways. Each of the others needs the new
    /// key file, and hashes its own journal when it starts with it. Blocking.
    ///
    /// # Errors
    /// As [`Store::rotate_key`] and [`Store::rebuild_fleet`].
    pub fn rotate_fleet_key(redis: &RedisSettings, settings: &Settings) -> Result<Rotated, StoreError> {
        Redis::rotate(redis, settings)
    }
}
