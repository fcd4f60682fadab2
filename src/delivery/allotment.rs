//! The part of a plan's day that this gateway was given by the fleet. Pure.
//!
//! A day cannot be divided ahead: nobody knows who will need it. So it is given out in blocks, smaller towards its end,
//! and who is cut off has what is left of its block.

use std::time::Duration;

use super::warming::AHEAD;
use crate::shaping::Gateways;
use crate::time::Timestamp;

/// How long the fleet is only looked at before anything of a day is asked for: a server that forgot has then heard again from
/// every gateway that can reach it. They tell twice a second, and are back within two after it was away.
pub(super) const LOOK_FOR: Duration = Duration::from_secs(5);

/// A day as the fleet is asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portion {
    /// What the fleet knows the plan's day by.
    pub name: String,
    /// How many the day may have.
    pub limit: u64,
    /// How many this gateway was given.
    pub mine: u64,
    /// How many it would like to have been given.
    pub target: u64,
    /// How many were given to all.
    pub total: u64,
    pub(super) place: usize,
    pub(super) day: i64,
}

/// How this gateway stands on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// So many may leave.
    Open(u64),
    /// There may be more; it is being asked.
    Asks,
    /// The day is over.
    Full,
}

/// One plan's day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Allotment {
    day: i64,
    /// Given to this gateway, used or not.
    mine: u64,
    /// Given to all.
    total: u64,
    /// When the fleet first answered, on this day and since the start.
    looked: Option<Timestamp>,
    /// Whether what it says is believed to be all.
    is_known: bool,
    is_wanted: bool,
    /// Whether it is written down how much of it was used.
    is_sure: bool,
}

impl Allotment {
    /// Of a plan whose count was found on disk.
    pub(super) fn of_a_known_plan() -> Self {
        Self { is_sure: true, ..Self::default() }
    }

    /// How it stands with `used` of `day`, which may have `limit`.
    pub(super) fn stand(&self, day: i64, used: u64, limit: u64) -> Stand {
        if limit == 0 {
            return Stand::Full;
        }
        if self.day != day || !self.is_known {
            return Stand::Asks;
        }
        match self.mine.min(limit).saturating_sub(used) {
            0 if self.total >= limit => Stand::Full,
            0 => Stand::Asks,
            left => Stand::Open(left),
        }
    }

    /// Given and known to be on `day`.
    pub(super) fn mine_on(&self, day: i64) -> u64 {
        if self.day == day { self.mine } else { 0 }
    }

    /// Given to all.
    pub(super) fn total_on(&self, day: i64) -> u64 {
        if self.day == day { self.total } else { 0 }
    }

    /// More is needed, now or soon.
    pub(super) const fn want(&mut self) {
        self.is_wanted = true;
    }

    pub(super) const fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    /// A block, so small that the others are not left without while this one has some in hand.
    pub(super) fn block(&self, limit: u64, gateways: Gateways) -> u64 {
        (limit.saturating_sub(self.total) / (2 * u64::from(gateways.get()))).clamp(1, AHEAD)
    }

    /// What to ask for: `mine` and `target`.
    pub(super) fn asks(&mut self, day: i64, used: u64, limit: u64, gateways: Gateways) -> (u64, u64) {
        if self.day != day {
            // A day that begins while we run has used nothing that we do not know.
            let is_sure = self.is_sure || self.looked.is_some();
            *self = Self { day, is_wanted: self.is_wanted, is_sure, ..Self::default() };
        }
        let mine = self.mine.max(used);
        let more = if self.is_wanted && self.is_known { self.block(limit, gateways) } else { 0 };
        self.is_wanted &= !self.is_known;
        (mine, mine.saturating_add(more))
    }

    /// The answer. How many must count as used because nothing is written down: what was given before the start may have been.
    pub(super) fn given(&mut self, day: i64, mine: u64, total: u64, now: Timestamp) -> Option<u64> {
        if self.day != day {
            return None;
        }
        self.mine = self.mine.max(mine);
        self.total = self.total.max(total);
        let is_first = self.looked.is_none();
        let looked = *self.looked.get_or_insert(now);
        self.is_known |= now.since(looked) >= LOOK_FOR;
        (is_first && !self.is_sure).then_some(mine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 20_000;
    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn later() -> Timestamp {
        NOW.plus(LOOK_FOR)
    }

    /// One that has looked for long enough.
    fn known() -> Allotment {
        let mut allotment = Allotment::default();
        allotment.asks(DAY, 0, 1000, two());
        allotment.given(DAY, 0, 0, NOW);
        allotment.given(DAY, 0, 0, later());
        allotment
    }

    fn two() -> Gateways {
        Gateways::new(2).unwrap()
    }

    /// One call that everything of is given.
    fn ask(allotment: &mut Allotment, used: u64, limit: u64) -> u64 {
        let (_, target) = allotment.asks(DAY, used, limit, two());
        allotment.given(DAY, target.min(limit), target.min(limit), NOW);
        target
    }

    #[test]
    fn nothing_leaves_before_the_fleet_was_asked_and_then_in_blocks() {
        let mut allotment = Allotment::default();
        assert_eq!(allotment.stand(DAY, 0, 1000), Stand::Asks);
        assert_eq!(allotment.stand(DAY, 0, 0), Stand::Full, "a plan that has not begun");
        allotment.want();
        assert_eq!(ask(&mut allotment, 0, 1000), 0, "the first call only looks");
        assert_eq!(ask(&mut allotment, 0, 1000), 0, "and so do those that follow at once");
        assert!(allotment.is_wanted(), "and what is wanted stays so");
        allotment.given(DAY, 0, 0, later());
        assert_eq!(ask(&mut allotment, 0, 1000), AHEAD);
        assert_eq!(allotment.stand(DAY, 40, 1000), Stand::Open(60));
        assert_eq!(allotment.stand(DAY, 100, 1000), Stand::Asks);
        assert_eq!(ask(&mut allotment, 100, 1000), 100, "nobody asked for more");
    }

    #[test]
    fn blocks_become_smaller_and_the_day_is_over_when_all_of_it_is_given() {
        let mut allotment = known();
        let mut blocks = Vec::new();
        while allotment.total < 50 {
            allotment.want();
            let before = allotment.mine;
            blocks.push(ask(&mut allotment, before, 50) - before);
        }
        assert_eq!((blocks.first(), blocks.last()), (Some(&12), Some(&1)), "{blocks:?}");
        assert_eq!(allotment.stand(DAY, 49, 50), Stand::Open(1));
        assert_eq!(allotment.stand(DAY, 50, 50), Stand::Full);
    }

    #[test]
    fn what_was_given_before_the_start_counts_as_used_and_a_day_does_not_outlive_itself() {
        let mut allotment = Allotment::default();
        assert_eq!(allotment.asks(DAY, 7, 100, two()), (7, 7));
        assert_eq!(allotment.given(DAY, 30, 60, NOW), Some(30));
        assert_eq!(allotment.given(DAY, 30, 60, later()), None, "once");
        assert_eq!(allotment.stand(DAY, 30, 100), Stand::Asks);
        let mut known = Allotment::of_a_known_plan();
        known.asks(DAY, 7, 100, two());
        assert_eq!(known.given(DAY, 30, 60, NOW), None);
        known.given(DAY, 30, 60, later());
        assert_eq!(known.stand(DAY, 7, 100), Stand::Open(23), "what was given and surely not used is used now");
        assert_eq!(allotment.given(DAY - 1, 90, 90, NOW), None, "an answer of yesterday");
        assert_eq!(allotment.mine_on(DAY), 30);
        allotment.asks(DAY + 1, 0, 100, two());
        assert_eq!((allotment.mine_on(DAY), allotment.stand(DAY + 1, 0, 100)), (0, Stand::Asks));
    }
}
