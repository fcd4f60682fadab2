//! Whose turn it is, between streams that all have something waiting. Pure.
//!
//! Virtual time (start-time fair queueing): who was served is due again later, the later the more they got and the less
//! they weigh. Who comes back after a pause is due now: neither with a debt nor with savings. So one stream's million
//! copies and another's ten go side by side, and the ten are gone first.

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;

use crate::mail::{Label, StreamName};

/// Of sixteen copies, while both wait, fifteen are of streams that go first: a receipt is read now, and a newsletter still
/// moves.
const FIRST_WEIGHT: NonZeroU32 = NonZeroU32::MIN.saturating_add(14);
/// What one copy costs at weight one; large enough that a weight of 1000 is not rounded away.
const COST: u64 = 1 << 20;

/// Which streams go before others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Before the others, who keep a share of one in sixteen.
    First,
    /// Behind those.
    Usual,
}

/// What a stream gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share {
    /// Before or behind the others.
    pub priority: Priority,
    /// Its part beside the others of its priority.
    pub weight: NonZeroU32,
}

impl Default for Share {
    fn default() -> Self {
        Self { priority: Priority::Usual, weight: NonZeroU32::MIN }
    }
}

/// One stream in the queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Flow {
    pub(super) number: u16,
    pub(super) share: Share,
}

/// Our own notices, and mail of a stream that is not configured any more.
pub(super) const NOTICES: Flow =
    Flow { number: 0, share: Share { priority: Priority::Usual, weight: NonZeroU32::MIN } };

/// What each stream gets.
#[derive(Clone, Debug, Default)]
pub struct Streams(HashMap<StreamName, Flow>);

impl Streams {
    /// One more stream. Those beyond 65 535 share the turns of our own notices.
    pub fn add(&mut self, stream: StreamName, share: Share) {
        if let Ok(number) = u16::try_from(self.0.len().saturating_add(1)) {
            self.0.insert(stream, Flow { number, share });
        }
    }

    pub(super) fn flow(&self, label: &Label) -> Flow {
        self.0.get(&label.stream).copied().unwrap_or(NOTICES)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&StreamName, Flow)> {
        self.0.iter().map(|(name, flow)| (name, *flow))
    }
}

/// Turns among those who wait.
#[derive(Debug)]
struct Turns<K> {
    /// When whoever was served last had been due.
    now: u64,
    /// When each is due again.
    due: HashMap<K, u64>,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self { now: 0, due: HashMap::new() }
    }
}

impl<K: Copy + Eq + Hash> Turns<K> {
    fn due(&self, who: K) -> u64 {
        self.due.get(&who).map_or(self.now, |due| self.now.max(*due))
    }

    fn next(&self, waiting: impl Iterator<Item = K>) -> Option<K> {
        waiting.min_by_key(|who| self.due(*who))
    }

    fn served(&mut self, who: K, weight: NonZeroU32, count: u64) {
        self.now = self.due(who);
        let cost = COST.saturating_mul(count) / u64::from(weight.get());
        self.due.insert(who, self.now.saturating_add(cost));
    }
}

/// Turns of streams: first between priorities, then within one.
#[derive(Debug, Default)]
pub(super) struct Fair {
    priorities: Turns<Priority>,
    first: Turns<u16>,
    usual: Turns<u16>,
}

impl Fair {
    /// Who of `waiting` is next.
    pub(super) fn next(&self, waiting: impl Iterator<Item = Flow> + Clone) -> Option<Flow> {
        let priority = self.priorities.next(waiting.clone().map(|flow| flow.share.priority))?;
        let same = waiting.filter(|flow| flow.share.priority == priority);
        same.min_by_key(|flow| self.of(priority).due(flow.number))
    }

    /// So many of `flow` went.
    pub(super) fn served(&mut self, flow: Flow, count: usize) {
        let Share { priority, weight } = flow.share;
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        let of_priority = match priority {
            Priority::First => FIRST_WEIGHT,
            Priority::Usual => NonZeroU32::MIN,
        };
        self.priorities.served(priority, of_priority, count);
        match priority {
            Priority::First => self.first.served(flow.number, weight, count),
            Priority::Usual => self.usual.served(flow.number, weight, count),
        }
    }

    const fn of(&self, priority: Priority) -> &Turns<u16> {
        match priority {
            Priority::First => &self.first,
            Priority::Usual => &self.usual,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flow(number: u16, priority: Priority, weight: u32) -> Flow {
        Flow { number, share: Share { priority, weight: NonZeroU32::new(weight).unwrap() } }
    }

    /// How many each got of `count` turns of one copy, all of them always waiting.
    fn shares(fair: &mut Fair, flows: &[Flow], count: usize) -> Vec<usize> {
        let mut got = vec![0; flows.len()];
        for _ in 0..count {
            let next = fair.next(flows.iter().copied()).unwrap();
            fair.served(next, 1);
            got[flows.iter().position(|flow| *flow == next).unwrap()] += 1;
        }
        got
    }

    #[test]
    fn weights_are_parts_within_a_priority_and_the_usual_keep_a_sixteenth() {
        let flows = [flow(1, Priority::Usual, 3), flow(2, Priority::Usual, 1)];
        assert_eq!(shares(&mut Fair::default(), &flows, 400), [300, 100]);
        let flows = [flow(1, Priority::First, 1), flow(2, Priority::Usual, 1000), flow(3, Priority::First, 1)];
        assert_eq!(shares(&mut Fair::default(), &flows, 1600), [750, 100, 750]);
    }

    #[test]
    fn ten_that_come_late_are_gone_within_ten_turns_of_their_own() {
        let mut fair = Fair::default();
        let (million, ten) = (flow(1, Priority::Usual, 1), flow(2, Priority::Usual, 1));
        shares(&mut fair, &[million], 100_000);
        assert_eq!(shares(&mut fair, &[million, ten], 20), [10, 10], "no debt, no savings");
        let receipts = flow(3, Priority::First, 1);
        let got = shares(&mut fair, &[million, receipts], 11);
        assert!(got[1] >= 10, "{got:?}");
        assert_eq!(fair.next([].into_iter()), None);
    }

    #[test]
    fn whoever_was_away_is_owed_nothing() {
        let mut fair = Fair::default();
        let (one, other) = (flow(1, Priority::Usual, 1), flow(2, Priority::Usual, 1));
        shares(&mut fair, &[one, other], 10);
        shares(&mut fair, &[one], 1000);
        assert_eq!(shares(&mut fair, &[one, other], 100), [50, 50]);
    }

    proptest! {
        /// Whatever the weights and however much is taken at a time: nobody who waits is ever further behind than what one
        /// turn of each of the others brings.
        #[test]
        fn nobody_starves(weights in prop::collection::vec(1_u32..100, 2..8), batch in 1_usize..64) {
            let flows: Vec<_> =
                weights.iter().enumerate().map(|(n, w)| flow(n.try_into().unwrap(), Priority::Usual, *w)).collect();
            let mut fair = Fair::default();
            let mut got = vec![0_usize; flows.len()];
            for _ in 0..500 {
                let next = fair.next(flows.iter().copied()).unwrap();
                fair.served(next, batch);
                got[usize::from(next.number)] += batch;
            }
            let per_weight: Vec<_> = got.iter().zip(&weights).map(|(got, weight)| got / *weight as usize).collect();
            let (least, most) = (per_weight.iter().min().unwrap(), per_weight.iter().max().unwrap());
            prop_assert!(most - least <= batch + 1, "{got:?} by {weights:?}");
        }
    }
}
