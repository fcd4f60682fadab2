//! Whether one more may go now; if not, when. Pure: time is an argument.
//!
//! The seam for limits that a whole fleet keeps: who asks, asks for a few at once and keeps what it got ([`Pace::fill`]),
//! so that a count kept elsewhere is asked once for a batch. Here the count is kept in this process, by governor (GCRA).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use super::rate::Rate;
use crate::time::Timestamp;

/// The farthest that a copy is put off at a time: then it asks again, and the limits may be others.
pub const WAIT_MAX: Duration = Duration::from_mins(10);

/// Time as it was given last, which never goes back: a wall clock that is set back must not stop a pace, and one that is set
/// forward gives a burst and no more.
#[derive(Clone, Debug, Default)]
struct Given(Arc<AtomicU64>);

impl Clock for Given {
    type Instant = Nanos;
    fn now(&self) -> Nanos {
        Nanos::new(self.0.load(Ordering::Relaxed))
    }
}

/// One rate at work.
#[derive(Debug)]
pub struct Pace {
    rate: Rate,
    limiter: RateLimiter<NotKeyed, InMemoryState, Given, NoOpMiddleware<Nanos>>,
    given: Given,
    /// When it was last asked.
    last: Option<Timestamp>,
    /// Taken from the limiter and not used yet; a burst at most.
    left: u32,
    /// When the last of those who were sent away comes again.
    promised: Timestamp,
    used: u64,
}

impl Pace {
    /// With its burst unspent.
    pub fn new(rate: Rate) -> Self {
        let given = Given::default();
        // An interval is never zero, so there is always a quota; one a second would be the careful one.
        let quota = Quota::with_period(rate.interval()).unwrap_or(Quota::per_second(std::num::NonZeroU32::MIN));
        let limiter = RateLimiter::direct_with_clock(quota.allow_burst(rate.burst()), given.clone());
        Self { rate, limiter, given, last: None, left: 0, promised: Timestamp::from_millis(0), used: 0 }
    }

    /// The rate.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// How many have gone since the start.
    pub const fn used(&self) -> u64 {
        self.used
    }

    /// How many may go now, `wanted` at most; they are kept for whoever takes them. When none may: when the next one may.
    ///
    /// # Errors
    /// The time before which it is in vain to ask again.
    pub fn fill(&mut self, wanted: u32, now: Timestamp) -> Result<u32, Timestamp> {
        self.go_on(now);
        let wanted = wanted.clamp(1, self.rate.burst().get());
        while self.left < wanted {
            match self.limiter.check() {
                Ok(()) => self.left += 1,
                Err(not_until) if self.left == 0 => {
                    let wait = not_until.wait_time_from(self.given.now());
                    // Rounded up to what clocks here can tell, or it would be asked in vain once more.
                    return Err(now.plus(wait.max(Duration::from_millis(1)) + Duration::from_micros(999)));
                }
                Err(_) => break,
            }
        }
        Ok(self.left.min(wanted))
    }

    /// One goes now.
    ///
    /// # Errors
    /// It may not before then.
    pub fn take(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        self.fill(1, now)?;
        self.left = self.left.saturating_sub(1);
        self.used = self.used.saturating_add(1);
        Ok(())
    }

    /// When somebody who was told to wait until `until` should come again: behind those who were told before, so that
    /// they do not all come for one place; none farther away than [`WAIT_MAX`].
    pub fn turn(&mut self, until: Timestamp, now: Timestamp) -> Timestamp {
        let last = self.promised.min(now.plus(WAIT_MAX));
        self.promised = until.max(last.plus(self.rate.interval())).min(now.plus(WAIT_MAX));
        self.promised
    }

    fn go_on(&mut self, now: Timestamp) {
        let passed =
            self.last.replace(now).map_or(0, |last| u64::try_from(now.since(last).as_nanos()).unwrap_or(u64::MAX));
        let before = self.given.0.load(Ordering::Relaxed);
        self.given.0.store(before.saturating_add(passed), Ordering::Relaxed);
    }
}
