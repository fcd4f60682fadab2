//! How often each of many may come, with a bound on how many are remembered.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

/// Keys that one quota remembers, at some fifty octets each.
pub(crate) const REMEMBERED_MAX: usize = 65_536;

/// So many at once after a pause, and another one each time that `every` has gone by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) burst: NonZeroU32,
    pub(crate) every: Duration,
}

impl Rate {
    /// `None` only for a period of zero, which no rate of ours has.
    fn quota(self) -> Quota {
        Quota::with_period(self.every).unwrap_or(Quota::per_second(self.burst)).allow_burst(self.burst)
    }
}

/// Whether this one may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// It may.
    Yes,
    /// Too often.
    No,
}

/// What happens to those who are not known yet while [`REMEMBERED_MAX`] others are remembered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WhenFull {
    /// They pass: what they want is never refused because others are many.
    LetIn,
    /// They do not: honest ones are never so many.
    TurnAway,
}

/// One rate for each key. They begin anew with each start.
pub(crate) struct Quotas<K: Hash + Eq + Clone, C: Clock = DefaultClock> {
    limiter: RateLimiter<K, HashMapStateStore<K>, C, NoOpMiddleware<C::Instant>>,
    when_full: WhenFull,
}

impl<K: Hash + Eq + Clone, C: Clock + Clone> Quotas<K, C> {
    pub(crate) fn new(rate: Rate, when_full: WhenFull, clock: &C) -> Self {
        Self { limiter: RateLimiter::hashmap_with_clock(rate.quota(), clock.clone()), when_full }
    }

    /// Counts another one of `key`.
    pub(crate) fn pass(&self, key: &K) -> Pass {
        if self.limiter.len() >= REMEMBERED_MAX {
            self.limiter.retain_recent();
            if self.limiter.len() >= REMEMBERED_MAX {
                return match self.when_full {
                    WhenFull::LetIn => Pass::Yes,
                    WhenFull::TurnAway => Pass::No,
                };
            }
        }
        if self.limiter.check_key(key).is_ok() { Pass::Yes } else { Pass::No }
    }

    /// Forgets whoever has not come for a while.
    pub(crate) fn sweep(&self) {
        self.limiter.retain_recent();
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    const RATE: Rate = Rate { burst: NonZeroU32::new(3).unwrap(), every: Duration::from_secs(1) };

    #[test]
    fn each_key_has_its_burst_and_one_more_each_time() {
        let clock = FakeRelativeClock::default();
        let quotas = Quotas::new(RATE, WhenFull::TurnAway, &clock);
        let count = |key: u64| (0..10).take_while(|_| quotas.pass(&key) == Pass::Yes).count();
        assert_eq!([count(1), count(2)], [3, 3]);
        clock.advance(RATE.every);
        assert_eq!(count(1), 1);
    }

    #[test]
    fn who_is_new_to_a_full_memory_is_let_in_or_turned_away_until_it_forgets() {
        let clock = FakeRelativeClock::default();
        let (open, closed) =
            (Quotas::new(RATE, WhenFull::LetIn, &clock), Quotas::new(RATE, WhenFull::TurnAway, &clock));
        for key in 0..u64::try_from(REMEMBERED_MAX).unwrap() {
            assert_eq!((open.pass(&key), closed.pass(&key)), (Pass::Yes, Pass::Yes));
        }
        assert_eq!((open.pass(&u64::MAX), closed.pass(&u64::MAX)), (Pass::Yes, Pass::No));
        assert_eq!(open.limiter.len(), REMEMBERED_MAX);
        clock.advance(RATE.every * 2);
        assert_eq!(closed.pass(&u64::MAX), Pass::Yes);
        open.sweep();
        assert_eq!(open.limiter.len(), 0);
    }
}
