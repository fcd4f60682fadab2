//! A count of this process alone (GCRA, by governor).

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::time::Timestamp;

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

/// So much at once, and one more in each interval.
#[derive(Debug)]
pub(super) struct Own {
    burst: NonZeroU32,
    limiter: RateLimiter<NotKeyed, InMemoryState, Given, NoOpMiddleware<Nanos>>,
    given: Given,
    /// When it was last asked.
    last: Option<Timestamp>,
    /// Taken from the limiter and not used yet; a burst at most.
    left: u32,
}

impl Own {
    /// With its burst unspent.
    pub(super) fn new(interval: Duration, burst: NonZeroU32) -> Self {
        let given = Given::default();
        // An interval is never zero, so there is always a quota; one a second would be the careful one.
        let quota = Quota::with_period(interval).unwrap_or(Quota::per_second(NonZeroU32::MIN));
        let limiter = RateLimiter::direct_with_clock(quota.allow_burst(burst), given.clone());
        Self { burst, limiter, given, last: None, left: 0 }
    }

    /// With its burst spent: the first one goes an interval from `now`.
    pub(super) fn spent(interval: Duration, burst: NonZeroU32, now: Timestamp) -> Self {
        let mut own = Self::new(interval, burst);
        own.go_on(now);
        while own.limiter.check().is_ok() {}
        own
    }

    pub(super) fn fill(&mut self, wanted: u32, now: Timestamp) -> Result<u32, Timestamp> {
        self.go_on(now);
        let wanted = wanted.clamp(1, self.burst.get());
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

    /// One of those that `fill` kept.
    pub(super) const fn take(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    fn go_on(&mut self, now: Timestamp) {
        let passed =
            self.last.replace(now).map_or(0, |last| u64::try_from(now.since(last).as_nanos()).unwrap_or(u64::MAX));
        let before = self.given.0.load(Ordering::Relaxed);
        self.given.0.store(before.saturating_add(passed), Ordering::Relaxed);
    }
}
