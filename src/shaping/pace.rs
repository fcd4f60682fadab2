//! Whether one more may go now; if not, when. Pure: time is an argument.
//!
//! The count is this process' own, or a fleet's: then it is asked for a batch at a time, ahead and elsewhere, and here is
//! what was given.

use std::num::NonZeroU32;
use std::time::Duration;

use super::fleet::{Company, Fed, Gateways};
use super::own::Own;
use super::rate::Rate;
use crate::time::Timestamp;

/// The farthest that a copy is put off at a time: then it asks again, and the limits may be others.
pub const WAIT_MAX: Duration = Duration::from_mins(10);

#[derive(Debug)]
enum Count {
    Own(Own),
    Fleet(Fed),
}

/// One rate at work.
#[derive(Debug)]
pub struct Pace {
    rate: Rate,
    count: Count,
    /// When the last of those who were sent away comes again.
    promised: Timestamp,
    used: u64,
}

/// What a pace asks a fleet for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// From one message to the next of one gateway's share.
    pub interval: Duration,
    /// What may be left over from a pause, for all gateways together.
    pub burst: NonZeroU32,
    /// How many.
    pub wanted: NonZeroU32,
}

impl Pace {
    /// Kept by this process alone, with its burst unspent.
    pub fn new(rate: Rate) -> Self {
        Self::with(rate, Count::Own(Own::new(rate.interval(), rate.burst())))
    }

    /// Kept together with other gateways. Nothing goes before something is [given](Pace::give).
    pub const fn shared(rate: Rate, gateways: Gateways) -> Self {
        Self::with(rate, Count::Fleet(Fed::new(rate, gateways)))
    }

    const fn with(rate: Rate, count: Count) -> Self {
        Self { rate, count, promised: Timestamp::from_millis(0), used: 0 }
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
        match &mut self.count {
            Count::Own(own) => own.fill(wanted, now),
            Count::Fleet(fed) => fed.fill(wanted, now),
        }
    }

    /// One goes now.
    ///
    /// # Errors
    /// It may not before then.
    pub fn take(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        self.fill(1, now)?;
        match &mut self.count {
            Count::Own(own) => own.take(),
            Count::Fleet(fed) => fed.take(),
        }
        self.used = self.used.saturating_add(1);
        Ok(())
    }

    /// Whether something is known here that a new pace of the same rate would not know.
    pub fn remembers(&mut self, now: Timestamp) -> bool {
        match &mut self.count {
            Count::Own(own) => own.fill(1, now).is_err(),
            // Whoever counts for all remembers; what was given is forgone.
            Count::Fleet(_) => false,
        }
    }

    /// When somebody who was told to wait until `until` should come again: behind those who were told before, so that
    /// they do not all come for one place; none farther away than [`WAIT_MAX`].
    pub fn turn(&mut self, until: Timestamp, now: Timestamp) -> Timestamp {
        let last = self.promised.min(now.plus(WAIT_MAX));
        self.promised = until.max(last.plus(self.rate.interval())).min(now.plus(WAIT_MAX));
        self.promised
    }

    /// Whether the fleet should be asked.
    pub const fn is_thirsty(&self) -> bool {
        match &self.count {
            Count::Own(_) => false,
            Count::Fleet(fed) => fed.is_thirsty(),
        }
    }

    /// What to ask the fleet for since this was last called; nothing when there is no fleet or no use for more.
    pub fn asks(&mut self) -> Option<Asked> {
        let Count::Fleet(fed) = &mut self.count else { return None };
        let wanted = NonZeroU32::new(fed.asks())?;
        Some(Asked { interval: fed.gateways().interval(self.rate), burst: self.rate.burst(), wanted })
    }

    /// So many may go within [`super::GIVEN_FOR`]; it is in vain to ask for more before `next` has passed.
    pub fn give(&mut self, count: u32, next: Duration, now: Timestamp) {
        if let Count::Fleet(fed) = &mut self.count {
            fed.give(count, next, now);
        }
    }

    /// Whether this gateway goes by its own share from now on.
    pub fn company(&mut self, company: Company, now: Timestamp) {
        if let Count::Fleet(fed) = &mut self.count {
            fed.company(company, now);
        }
    }
}
