//! The doors of the store that only a fleet has: opening, making, filling again.

use super::{Census, Rebuilt, Redis, RedisSettings, Settings, Status, Store, StoreError};

impl Store {
    /// Opens the fleet's store and this gateway's journal, which lies beside `settings.path`. A server that does not answer
    /// is no error: opt-outs are taken and kept, and every question is answered with an error until it is back. Blocking.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when what lies there cannot be the fleet's store or may be forgotten by its server; a key
    /// error; what is wrong with the journal.
    pub fn open_fleet(redis: &RedisSettings, settings: &Settings) -> Result<Self, StoreError> {
        Redis::open(redis, settings).map(Self::Redis)
    }

    /// Opens this gateway's journal and leaves the fleet's store unmet until the first look: for telling how things stand,
    /// however they stand. Blocking.
    ///
    /// # Errors
    /// A key error; what is wrong with the journal.
    pub fn unmet_fleet(redis: &RedisSettings, settings: &Settings) -> Result<Self, StoreError> {
        Redis::unmet(redis, settings).map(Self::Redis)
    }

    /// Makes the fleet's store, planned for so many entries: once, from one gateway. Blocking.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when there is one already; [`StoreError::Away`] when the server does not answer.
    pub fn create_fleet(redis: &RedisSettings, settings: &Settings, entries: u64) -> Result<Self, StoreError> {
        Redis::create(redis, settings, entries).map(Self::Redis)
    }

    /// Empties the fleet's store and fills it again from the journals of all gateways; nobody answers until all have sent
    /// theirs. Blocking.
    ///
    /// # Errors
    /// As [`Store::create_fleet`]; also when this gateway never met the store.
    pub fn rebuild_fleet(
        redis: &RedisSettings,
        settings: &Settings,
        entries: u64,
    ) -> Result<(Self, Rebuilt), StoreError> {
        let (store, rebuilt) = Redis::rebuild(redis, settings, entries)?;
        Ok((Self::Redis(store), rebuilt))
    }

    /// How things stand in the fleet; `None` for a store that has none. Blocking.
    ///
    /// # Errors
    /// What is wrong with this gateway's own journal.
    pub fn fleet_status(&self) -> Result<Option<Status>, StoreError> {
        match self {
            Self::Redis(store) => store.status().map(Some),
            Self::Embedded(_) | Self::Memory(_) => Ok(None),
        }
    }

    /// Takes a gateway that is gone for good off the list of those whose journals are waited for. Whether it was on it.
    /// Blocking.
    ///
    /// # Errors
    /// [`StoreError::Away`] when the server does not answer.
    pub fn forget_gateway(&self, gateway: &str) -> Result<bool, StoreError> {
        match self {
            Self::Redis(store) => store.forget(gateway),
            Self::Embedded(_) | Self::Memory(_) => Ok(false),
        }
    }

    /// Walks through every fact of a fleet's store and checks it; `None` for a store that is checked at its opening.
    /// Blocking.
    ///
    /// # Errors
    /// [`StoreError::Latched`] when something is not as it was written.
    pub fn census(&self) -> Result<Option<Census>, StoreError> {
        match self {
            Self::Redis(store) => store.census().map(Some),
            Self::Embedded(_) | Self::Memory(_) => Ok(None),
        }
    }
}
