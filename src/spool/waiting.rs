//! One copy as the index keeps it: when it is due, and in whose hands it is.

use std::time::Duration;

use super::batch::Manifest;
use super::index::Cached;
use super::ready::Class;
use super::recipients::RecipientSet;
use crate::time::Timestamp;

/// Farthest that a deferred copy is believed to lie ahead. Retry schedules stay far below it; a clock that stood in
/// the future for a while must not put mail off for years.
pub const DUE_AHEAD_MAX: Duration = Duration::from_hours(24);
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Queued,
    Leased,
    /// Put aside until an operator releases it.
    Held,
    Damaged,
}

/// One copy as the index keeps it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) due: i64,
    pub(super) attempts: u32,
    pub(super) received: i64,
    pub(super) expires: i64,
    pub(super) pending: RecipientSet,
    pub(super) cached: Option<Box<Cached>>,
    pub(super) batch: u64,
    pub(super) order: u64,
    pub(super) class: Class,
    pub(super) state: State,
}

impl Waiting {
    pub(super) const fn new(due: i64, attempts: u32, manifest: &Manifest, pending: RecipientSet, class: Class) -> Self {
        let (received, expires) = (manifest.received.as_millis(), manifest.expires.as_millis());
        let state = State::Queued;
        Self { due, attempts, received, expires, pending, cached: None, batch: 0, order: 0, class, state }
    }

    pub(super) fn is_leased(&self) -> bool {
        self.state == State::Leased
    }

    pub(super) fn is_held(&self) -> bool {
        self.state == State::Held
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.state == State::Damaged
    }
}

/// The time of a copy that is held.
pub(super) const HELD: i64 = i64::MAX;

/// A time that a copy may wait for.
pub(super) fn believable(due: i64, now: Timestamp) -> i64 {
    if due == HELD {
        return HELD;
    }
    due.min(now.plus(DUE_AHEAD_MAX).as_millis())
}
