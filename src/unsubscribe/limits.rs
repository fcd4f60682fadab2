//! How often somebody may ask.
//!
//! A mailbox provider sends the clicks of millions from a few addresses. So an address is only counted for tokens that
//! are not ours, and whoever brings ours is counted by the person in it: nobody can use up what somebody else needs.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};

use crate::crowd::{Neighbourhood, Pass, Quotas, Rate, WhenFull};
use crate::mail::{ControllerId, Mailbox};
use crate::token::Subject;
use crate::token::confirmation::Asked;

/// Tokens that are not ours, from one neighbourhood: a garbled link in a newsletter is opened by a whole company behind
/// one address, and that is far below this.
const FOREIGN: Rate = Rate { burst: NonZeroU32::new(300).unwrap(), every: Duration::from_secs(1) };
/// Requests with one person's token: a provider may repeat a POST a thousand times and is told 200 each time.
const PERSON: Rate = Rate { burst: NonZeroU32::new(1200).unwrap(), every: Duration::from_millis(100) };
/// Opt-ins and changed choices of one person. Each adds an event that is kept for good (promise P11); leaving is not
/// counted, because it must always be possible.
const CHANGES: Rate = Rate { burst: NonZeroU32::new(20).unwrap(), every: Duration::from_mins(3) };

/// All quotas of the door.
pub(super) struct Limits<C: Clock + Clone = DefaultClock> {
    /// Only forgers fill it.
    foreign: Quotas<Neighbourhood, C>,
    /// An opt-out is never refused because others are many.
    person: Quotas<u64, C>,
    changes: Quotas<u64, C>,
    hasher: std::hash::RandomState,
}

impl Default for Limits {
    fn default() -> Self {
        Self::with_clock(&DefaultClock::default())
    }
}

impl<C: Clock + Clone> Limits<C> {
    fn with_clock(clock: &C) -> Self {
        Self {
            foreign: Quotas::new(FOREIGN, WhenFull::TurnAway, clock),
            person: Quotas::new(PERSON, WhenFull::LetIn, clock),
            changes: Quotas::new(CHANGES, WhenFull::TurnAway, clock),
            hasher: std::hash::RandomState::new(),
        }
    }

    /// Another token from there that is not ours.
    pub(super) fn foreign(&self, from: IpAddr) -> Pass {
        self.foreign.pass(&Neighbourhood::of(from))
    }

    /// Another request with this person's token.
    pub(super) fn person(&self, subject: &Subject) -> Pass {
        self.person.pass(&self.key(subject))
    }

    /// Another opt-in or set of choices of this person.
    pub(super) fn change(&self, subject: &Subject) -> Pass {
        self.changes.pass(&self.key(subject))
    }

    /// Another request behind this person's confirmation letter.
    pub(super) fn invited(&self, asked: &Asked) -> Pass {
        self.person.pass(&self.key_of(&asked.mailbox, &asked.controller))
    }

    /// Another confirmation of this person, counted with the opt-ins.
    pub(super) fn confirmation(&self, asked: &Asked) -> Pass {
        self.changes.pass(&self.key_of(&asked.mailbox, &asked.controller))
    }

    /// Forgets whoever has not come for a while: addresses are personal data too.
    pub(super) fn sweep(&self) {
        self.foreign.sweep();
        self.person.sweep();
        self.changes.sweep();
    }

    /// A number instead of the address, under a key of this run: nobody can choose two people who share a quota.
    fn key(&self, subject: &Subject) -> u64 {
        self.key_of(&subject.mailbox, &subject.controller)
    }

    fn key_of(&self, mailbox: &Mailbox, controller: &ControllerId) -> u64 {
        use std::hash::BuildHasher as _;
        self.hasher.hash_one((mailbox, controller))
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;
    use crate::crowd::REMEMBERED_MAX;
    use crate::mail::QueueId;

    fn subject(name: &str) -> Subject {
        Subject {
            mailbox: Mailbox::parse(&format!("{name}@b.example")).unwrap(),
            controller: ControllerId::new("acme").unwrap(),
            list: None,
            message: QueueId::from_u64(1),
        }
    }

    fn count(mut pass: impl FnMut() -> Pass) -> u32 {
        (0..10_000).take_while(|_| pass() == Pass::Yes).count().try_into().unwrap()
    }

    #[test]
    fn each_quota_ends_at_its_burst_and_comes_back() {
        let clock = FakeRelativeClock::default();
        let limits = Limits::with_clock(&clock);
        let (here, there) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let (ann, bob) = (subject("ann"), subject("bob"));
        assert_eq!(count(|| limits.foreign(here)), FOREIGN.burst.get());
        assert_eq!(limits.foreign(there), Pass::Yes, "another address");
        assert_eq!(count(|| limits.person(&ann)), PERSON.burst.get());
        assert_eq!(limits.person(&bob), Pass::Yes, "another person");
        assert_eq!(count(|| limits.change(&ann)), CHANGES.burst.get());
        clock.advance(FOREIGN.every);
        assert_eq!(count(|| limits.foreign(here)), 1);
        clock.advance(CHANGES.every);
        assert_eq!(count(|| limits.change(&ann)), 1);
    }

    #[test]
    fn a_full_table_lets_people_in_and_forgers_not_until_it_is_swept() {
        let clock = FakeRelativeClock::default();
        let limits = Limits::with_clock(&clock);
        for number in 0..u32::try_from(REMEMBERED_MAX).unwrap() {
            assert_eq!(limits.person.pass(&u64::from(number)), Pass::Yes);
            assert_eq!(limits.foreign(std::net::Ipv4Addr::from_bits(number).into()), Pass::Yes);
        }
        let more = std::net::Ipv4Addr::from_bits(u32::MAX).into();
        assert_eq!((limits.person(&subject("ann")), limits.foreign(more)), (Pass::Yes, Pass::No));
        clock.advance(FOREIGN.every * 2);
        limits.sweep();
        assert_eq!(limits.foreign(more), Pass::Yes);
    }
}
