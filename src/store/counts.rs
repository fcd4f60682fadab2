//! What the gateways of a fleet count together: paces and days. Facts are elsewhere; what is lost here is counted anew.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use super::redis::Redis;
use super::{Store, StoreError};

/// Paces in one call: some hundred lookups, which a server does in a millisecond.
pub const PACES_MAX: usize = 256;
/// How long a gateway's word holds that it lets the others use its share: after a loss of the server it has to keep still for as
/// long before it may use its share itself.
pub const STAY: Duration = Duration::from_secs(2);
/// What is beyond it is no limit to a day: the largest number that the server counts exactly, with room.
const DAY_MAX: u64 = 1 << 50;

/// The server's time, in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerTime(pub i64);

impl ServerTime {
    /// So much later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }
}

/// What one pace is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaceClaim {
    /// Its name, the same at every gateway.
    pub name: String,
    /// From one message to the next of one gateway's share; what it may have grows by this for each gateway that stays.
    pub interval: Duration,
    /// What may be left over from a pause.
    pub burst: NonZeroU32,
    /// How many are wanted.
    pub wanted: u32,
}

/// What one day of a plan is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayClaim {
    /// The plan's and the day's name, the same at every gateway.
    pub name: String,
    /// How many the day may have.
    pub limit: u64,
    /// How many of them this gateway was given, as far as it knows.
    pub mine: u64,
    /// How many it would like to have been given: asked twice, it is given once.
    pub target: u64,
    /// How many were given to all, as it was last told.
    pub seen: u64,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Until then this gateway lets the others use its share. A call that is carried out later gives nothing; in the past: only
    /// the time is asked for.
    pub until: ServerTime,
    /// How many gateways there are.
    pub gateways: NonZeroU16,
    /// At most [`PACES_MAX`].
    pub paces: Vec<PaceClaim>,
    /// Days.
    pub days: Vec<DayClaim>,
}

/// What a pace was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaceGrant {
    /// How many may go.
    pub count: u32,
    /// When there will be one more, if nobody else takes it.
    pub next: Duration,
}

/// What a day has given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayGrant {
    /// To this gateway.
    pub mine: u64,
    /// To all.
    pub total: u64,
}

/// What was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants {
    /// The server's time of the answer.
    pub at: ServerTime,
    /// Gateways that let the others use their share, this one included.
    pub here: u64,
    /// In the order of the claims; nothing when the call came too late.
    pub paces: Vec<PaceGrant>,
    /// In the order of the claims; nothing when the call came too late.
    pub days: Vec<DayGrant>,
}

/// Where a fleet counts.
#[derive(Clone, Debug)]
pub struct Counts(Redis);

impl Counts {
    /// Asks for some, all at one moment. What is given and not used is lost.
    ///
    /// # Errors
    /// [`StoreError::Away`]: it is not known whether anything was given.
    pub async fn claim(&self, claims: &Claims) -> Result<Grants, StoreError> {
        self.0.claim(claims).await
    }

    /// The same as if the server's clock stood at `now`.
    #[cfg(test)]
    pub(crate) async fn claim_at(&self, claims: &Claims, now: ServerTime) -> Result<Grants, StoreError> {
        self.0.claim_at(claims, now).await
    }
}

impl Store {
    /// Where the fleet counts; `None` for a store of one gateway.
    pub fn counts(&self) -> Option<Counts> {
        match self {
            Self::Redis(store) => Some(Counts(store.clone())),
            Self::Embedded(_) | Self::Memory(_) => None,
        }
    }
}

impl DayClaim {
    /// Numbers that the server counts exactly.
    pub(super) fn numbers(&self) -> [u64; 4] {
        [self.limit, self.mine, self.target, self.seen].map(|number| number.min(DAY_MAX))
    }
}
