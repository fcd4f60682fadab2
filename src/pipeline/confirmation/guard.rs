//! Nobody's mailbox is filled by forms that robots submit ("list bombing"): how often an address is asked, and how often
//! one place on the network may have somebody asked.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::crowd::Neighbourhood;
use crate::mail::Mailbox;

/// Letters to one address, of all controllers together: somebody signs up for some lists of one house on one day.
const ADDRESS: Rate = Rate { burst: NonZeroU32::new(4).unwrap(), every: Duration::from_hours(6) };
/// The same question to one address: a form that is submitted twice is one wish.
const QUESTION: Rate = Rate { burst: NonZeroU32::new(1).unwrap(), every: Duration::from_mins(10) };
/// Letters caused from one network: a classroom signs up together, a robot goes on.
const NETWORK: Rate = Rate { burst: NonZeroU32::new(30).unwrap(), every: Duration::from_mins(2) };
/// Addresses, questions or networks that are remembered, at some fifty octets each. When so many were asked within the
/// time, nobody new is until the first are forgotten: that many sign-ups are no campaign's.
pub(super) const REMEMBERED_MAX: usize = 65_536;

#[derive(Clone, Copy)]
struct Rate {
    burst: NonZeroU32,
    every: Duration,
}

type Limiter<C> = RateLimiter<u64, HashMapStateStore<u64>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// All three. They begin anew with a restart; a request that is let through after one is one letter more.
pub(in crate::pipeline) struct Guard<C: Clock = DefaultClock> {
    hasher: RandomState,
    address: Limiter<C>,
    question: Limiter<C>,
    network: Limiter<C>,
}

impl Default for Guard {
    fn default() -> Self {
        Self::with_clock(&DefaultClock::default())
    }
}

impl<C: Clock + Clone> Guard<C> {
    fn with_clock(clock: &C) -> Self {
        Self {
            hasher: RandomState::new(),
            address: limiter(ADDRESS, clock),
            question: limiter(QUESTION, clock),
            network: limiter(NETWORK, clock),
        }
    }

    /// Whether `mailbox` may be asked `question` because of somebody at `ip`. A yes is counted; of a no, only what was
    /// asked before it.
    pub(super) fn lets(&self, mailbox: &Mailbox, question: &str, ip: Option<IpAddr>) -> bool {
        let whom = (mailbox.local_part().to_lowercase(), mailbox.domain().clone());
        ip.is_none_or(|ip| pass(&self.network, self.hasher.hash_one(Neighbourhood::of(ip))))
            && pass(&self.question, self.hasher.hash_one((&whom, question)))
            && pass(&self.address, self.hasher.hash_one(&whom))
    }
}

fn limiter<C: Clock + Clone>(rate: Rate, clock: &C) -> Limiter<C> {
    let quota = Quota::with_period(rate.every).unwrap_or(Quota::per_hour(rate.burst)).allow_burst(rate.burst);
    RateLimiter::hashmap_with_clock(quota, clock.clone())
}

fn pass<C: Clock>(limiter: &Limiter<C>, key: u64) -> bool {
    if limiter.len() >= REMEMBERED_MAX {
        limiter.retain_recent();
        if limiter.len() >= REMEMBERED_MAX {
            return false;
        }
    }
    limiter.check_key(&key).is_ok()
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn who(name: &str) -> Mailbox {
        Mailbox::parse(&format!("{name}@b.example")).unwrap()
    }

    #[test]
    fn each_limit_ends_at_its_burst_and_comes_back() {
        let clock = FakeRelativeClock::default();
        let guard = Guard::with_clock(&clock);
        assert!(guard.lets(&who("ann"), "acme:marketing", None));
        assert!(!guard.lets(&who("Ann"), "acme:marketing", None), "one wish, submitted twice");
        clock.advance(QUESTION.every);
        assert!(guard.lets(&who("ann"), "acme:marketing", None));
        for list in 2..ADDRESS.burst.get() {
            assert!(guard.lets(&who("ann"), &format!("acme:list:{list}"), None));
        }
        assert!(!guard.lets(&who("ann"), "other:marketing", None), "whoever asks");
        assert!(guard.lets(&who("bob"), "other:marketing", None));
        clock.advance(ADDRESS.every);
        assert!(guard.lets(&who("ann"), "third:marketing", None));
    }

    #[test]
    fn one_network_has_so_many_asked_and_no_more() {
        let clock = FakeRelativeClock::default();
        let guard = Guard::with_clock(&clock);
        let (here, there) = (Some("192.0.2.1".parse().unwrap()), Some("192.0.2.2".parse().unwrap()));
        for number in 0..NETWORK.burst.get() {
            assert!(guard.lets(&who(&format!("p{number}")), "acme:marketing", here));
        }
        assert!(!guard.lets(&who("one-more"), "acme:marketing", here));
        assert!(guard.lets(&who("one-more"), "acme:marketing", there));
    }

    #[test]
    fn a_full_memory_asks_nobody_new_until_it_forgets() {
        let clock = FakeRelativeClock::default();
        let guard = Guard::with_clock(&clock);
        for number in 0..u64::try_from(REMEMBERED_MAX).unwrap() {
            assert!(pass(&guard.question, number));
        }
        assert!(!pass(&guard.question, u64::MAX));
        clock.advance(QUESTION.every * 2);
        assert!(pass(&guard.question, u64::MAX));
    }
}
