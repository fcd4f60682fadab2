//! A pace that several gateways keep together, as one of them sees it. Pure.
//!
//! It gives what this gateway was given ahead, for a second at most. A gateway that the others do not hear of goes by
//! its *share*, one part of the rate in as many as there are gateways; whoever counts for all leaves that part out then.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use super::own::Own;
use super::rate::Rate;
use crate::time::Timestamp;

/// The most gateways that keep limits together.
pub const GATEWAYS_MAX: u16 = 100;
/// How long what was given may be used. Whoever dies with it in hand costs the others no more than this of the rate, and
/// nobody saves up for a burst.
pub const GIVEN_FOR: Duration = Duration::from_secs(1);
/// How soon it is worth asking again for what has not been given yet: as soon as gateways ask for more.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// How many gateways keep the limits together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gateways(NonZeroU16);

impl Gateways {
    /// `None` for zero, and for more than [`GATEWAYS_MAX`].
    pub fn new(count: u16) -> Option<Self> {
        NonZeroU16::new(count).filter(|count| count.get() <= GATEWAYS_MAX).map(Self)
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// From one message to the next of one gateway's share.
    pub fn interval(self, rate: Rate) -> Duration {
        rate.interval().saturating_mul(self.0.get().into())
    }

    fn burst(self, rate: Rate) -> NonZeroU32 {
        NonZeroU32::new(rate.burst().get() / u32::from(self.0.get())).unwrap_or(NonZeroU32::MIN)
    }
}

/// Whether this gateway's share is part of what is given out to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// It is, or may still be: nothing goes but what was given.
    Joined,
    /// It surely is not.
    Alone,
}

#[derive(Debug)]
pub(super) struct Fed {
    rate: Rate,
    gateways: Gateways,
    /// Given and not used.
    given: u32,
    good_until: Timestamp,
    /// How many more there was a use for since they were last asked for.
    missed: u32,
    /// When there may be some again.
    again: Timestamp,
    share: Option<Own>,
}

impl Fed {
    pub(super) const fn new(rate: Rate, gateways: Gateways) -> Self {
        let never = Timestamp::from_millis(i64::MIN);
        Self { rate, gateways, given: 0, good_until: never, missed: 0, again: never, share: None }
    }

    pub(super) fn fill(&mut self, wanted: u32, now: Timestamp) -> Result<u32, Timestamp> {
        let burst = self.rate.burst().get();
        let wanted = wanted.clamp(1, burst);
        if now > self.good_until {
            self.given = 0;
        }
        if self.given < wanted {
            self.missed = self.missed.saturating_add(wanted - self.given).min(burst);
        }
        match &mut self.share {
            Some(share) if self.given == 0 => share.fill(wanted, now),
            Some(_) | None if self.given > 0 => Ok(self.given.min(wanted)),
            Some(_) | None => Err(self.again.max(now.plus(ASK_AGAIN))),
        }
    }

    /// One of those that `fill` found.
    pub(super) const fn take(&mut self) {
        if self.given > 0 {
            self.given -= 1;
        } else if let Some(share) = &mut self.share {
            share.take();
        }
    }

    pub(super) const fn is_thirsty(&self) -> bool {
        self.missed > 0
    }

    /// How many to ask for; from now on it is counted anew.
    pub(super) const fn asks(&mut self) -> u32 {
        std::mem::replace(&mut self.missed, 0)
    }

    pub(super) fn give(&mut self, count: u32, next: Duration, now: Timestamp) {
        if now > self.good_until {
            self.given = 0;
        }
        if count > 0 {
            self.given = self.given.saturating_add(count).min(self.rate.burst().get());
            self.good_until = now.plus(GIVEN_FOR);
        }
        self.again = now.plus(next.min(super::WAIT_MAX));
    }

    pub(super) fn company(&mut self, company: Company, now: Timestamp) {
        match company {
            Company::Joined => self.share = None,
            Company::Alone if self.share.is_none() => {
                // Whoever comes and goes begins with nothing each time.
                let share = Own::spent(self.gateways.interval(self.rate), self.gateways.burst(self.rate), now);
                self.share = Some(share);
            }
            Company::Alone => {}
        }
    }

    pub(super) const fn gateways(&self) -> Gateways {
        self.gateways
    }
}
