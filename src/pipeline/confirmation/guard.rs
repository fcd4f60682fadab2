//! Nobody's mailbox is filled by forms that robots submit ("list bombing"): how often an address is asked, and how often
//! one place on the network may have somebody asked.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};

use crate::crowd::{Neighbourhood, Pass, Quotas, Rate, WhenFull};
use crate::mail::Mailbox;

/// Letters to one address, of all controllers together: somebody signs up for some lists of one house on one day.
const ADDRESS: Rate = Rate { burst: NonZeroU32::new(4).unwrap(), every: Duration::from_hours(6) };
/// The same question to one address: a form that is submitted twice is one wish.
const QUESTION: Rate = Rate { burst: NonZeroU32::new(1).unwrap(), every: Duration::from_mins(10) };
/// Letters caused from one network: a classroom signs up together, a robot goes on.
const NETWORK: Rate = Rate { burst: NonZeroU32::new(30).unwrap(), every: Duration::from_mins(2) };

/// All three. They begin anew with a restart; a request that is let through after one is one letter more. When so many were asked
/// within the time that no more are remembered, nobody new is until the first are forgotten: that many sign-ups are no campaign's.
pub(in crate::pipeline) struct Guard<C: Clock = DefaultClock> {
    hasher: RandomState,
    address: Quotas<u64, C>,
    question: Quotas<u64, C>,
    network: Quotas<Neighbourhood, C>,
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
            address: Quotas::new(ADDRESS, WhenFull::TurnAway, clock),
            question: Quotas::new(QUESTION, WhenFull::TurnAway, clock),
            network: Quotas::new(NETWORK, WhenFull::TurnAway, clock),
        }
    }

    /// Whether `mailbox` may be asked `question` because of somebody at `ip`. A yes is counted; of a no, only what was
    /// asked before it.
    pub(super) fn lets(&self, mailbox: &Mailbox, question: &str, ip: Option<IpAddr>) -> bool {
        let whom = (mailbox.local_part().to_lowercase(), mailbox.domain().clone());
        ip.is_none_or(|ip| self.network.pass(&Neighbourhood::of(ip)) == Pass::Yes)
            && self.question.pass(&self.hasher.hash_one((&whom, question))) == Pass::Yes
            && self.address.pass(&self.hasher.hash_one(&whom)) == Pass::Yes
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;
    use crate::crowd::REMEMBERED_MAX;

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
            assert_eq!(guard.question.pass(&number), Pass::Yes);
        }
        assert!(!guard.lets(&who("ann"), "acme:marketing", None));
        clock.advance(QUESTION.every * 2);
        assert!(guard.lets(&who("ann"), "acme:marketing", None));
    }
}
