//! How a group that was told "too much" is slowed, and how it recovers. Pure: time is an argument.
//!
//! Each rate reply doubles the pause between two copies; a while without one halves it again, until the group is free.
//! Replies that were already under way when it was slowed say nothing new, and count once.

use std::collections::HashMap;
use std::time::Duration;

use super::group::{GROUPS_MAX, Group};
use crate::time::Timestamp;

/// Pause between two copies at the first level: at once a fraction of what any provider allows, and no standstill.
pub const GAP_FIRST: Duration = Duration::from_secs(1);
/// Levels: the last one leaves one copy in a little over a minute, enough to notice that it is over.
pub const LEVEL_MAX: u32 = 7;
/// Replies this soon after a change are answers to what was sent before it.
pub const BURST: Duration = Duration::from_secs(10);
/// Time without a rate reply after which one level is given back. Providers count by minutes.
pub const RECOVER_EVERY: Duration = Duration::from_mins(2);
/// The farthest that a copy of a slowed group is put off: after it, it asks again, and the group may be free.
pub const WAIT_MAX: Duration = Duration::from_mins(10);

/// How slow a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From 1 to [`LEVEL_MAX`].
    pub level: u32,
    /// Pause between two copies.
    pub gap: Duration,
    /// Since when it is slowed at all.
    pub since: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Slow {
    level: u32,
    since: Timestamp,
    /// When the level last changed.
    changed: Timestamp,
    /// When the next copy may go.
    next: Timestamp,
}

impl Slow {
    /// The level after the steps that time has given back.
    fn level_at(&self, now: Timestamp) -> u32 {
        let steps = now.since(self.changed).as_millis() / RECOVER_EVERY.as_millis();
        self.level.saturating_sub(u32::try_from(steps).unwrap_or(u32::MAX))
    }
}

fn gap(level: u32) -> Duration {
    GAP_FIRST.saturating_mul(1 << level.saturating_sub(1).min(LEVEL_MAX))
}

/// Groups that are slowed.
#[derive(Debug, Default)]
pub struct Backoff {
    groups: HashMap<Group, Slow>,
}

impl Backoff {
    /// A rate reply for `group`. The new pace, or `None` when the reply says nothing new.
    pub fn slow(&mut self, group: &Group, now: Timestamp) -> Option<Pace> {
        self.groups.retain(|_, slow| slow.level_at(now) > 0);
        if let Some(known) = self.groups.get_mut(group) {
            if now.since(known.changed) < BURST {
                return None;
            }
            let level = known.level_at(now).saturating_add(1).min(LEVEL_MAX);
            *known = Slow { level, changed: now, next: now.plus(gap(level)), since: known.since };
        } else if self.groups.len() < GROUPS_MAX {
            let slow = Slow { level: 1, since: now, changed: now, next: now.plus(gap(1)) };
            self.groups.insert(group.clone(), slow);
        } else {
            return None;
        }
        self.pace(group, now)
    }

    /// How slow `group` is; `None` when it is free.
    pub fn pace(&self, group: &Group, now: Timestamp) -> Option<Pace> {
        let slow = self.groups.get(group)?;
        let level = slow.level_at(now);
        (level > 0).then(|| Pace { level, gap: gap(level), since: slow.since })
    }

    /// Asks for a place for one copy: zero when it may go now, else how long it waits. A place is taken either way, so
    /// that those who wait come one after the other; none lies farther than [`WAIT_MAX`] ahead. `usual` is the pause that
    /// the group keeps when it is not slowed: each level doubles it, where that is longer.
    pub fn take_place(&mut self, group: &Group, usual: Duration, now: Timestamp) -> Duration {
        let Some(pace) = self.pace(group, now) else { return Duration::ZERO };
        let Some(slow) = self.groups.get_mut(group) else { return Duration::ZERO };
        // A clock that was set back must not stop the group.
        let at = slow.next.min(now.plus(WAIT_MAX)).max(now);
        slow.next = at.plus(pace.gap.max(usual.saturating_mul(1 << pace.level.min(LEVEL_MAX))));
        at.since(now)
    }

    /// How long the next copy of `group` would wait.
    pub fn waits(&self, group: &Group, now: Timestamp) -> Duration {
        match (self.pace(group, now), self.groups.get(group)) {
            (Some(_), Some(slow)) => slow.next.since(now).min(WAIT_MAX),
            (Some(_) | None, Some(_) | None) => Duration::ZERO,
        }
    }

    /// Whether no group is slowed, or was until just now.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Every group that is slowed now, in order.
    pub fn all(&self, now: Timestamp) -> Vec<(Group, Pace)> {
        let mut all: Vec<_> =
            self.groups.keys().filter_map(|group| Some((group.clone(), self.pace(group, now)?))).collect();
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    /// Forgets groups that have recovered, and names them.
    pub fn recovered(&mut self, now: Timestamp) -> Vec<Group> {
        let free: Vec<_> =
            self.groups.iter().filter(|(_, slow)| slow.level_at(now) == 0).map(|(group, _)| group.clone()).collect();
        for group in &free {
            self.groups.remove(group);
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mail::{Domain, RouteName};

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn up() -> RouteName {
        RouteName::new("up").unwrap()
    }

    fn at(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn each_rate_reply_doubles_the_gap_and_quiet_halves_it() {
        let mut backoff = Backoff::default();
        let group = Group::whole(&up());
        let mut now = 0;
        for level in 1..=LEVEL_MAX {
            let pace = backoff.slow(&group, at(now)).unwrap();
            assert_eq!((pace.level, pace.gap), (level, GAP_FIRST * (1 << (level - 1))));
            assert_eq!(backoff.slow(&group, at(now + BURST.as_secs() - 1)), None, "sent before");
            now += BURST.as_secs();
        }
        assert_eq!(backoff.slow(&group, at(now)).unwrap().level, LEVEL_MAX);
        for steps in 1..u64::from(LEVEL_MAX) {
            let later = at(now + RECOVER_EVERY.as_secs() * steps);
            assert_eq!(u64::from(backoff.pace(&group, later).unwrap().level), u64::from(LEVEL_MAX) - steps);
            assert!(backoff.recovered(later).is_empty());
        }
        let free = at(now + RECOVER_EVERY.as_secs() * u64::from(LEVEL_MAX));
        assert_eq!(
            (backoff.pace(&group, free), backoff.take_place(&group, Duration::ZERO, free)),
            (None, Duration::ZERO)
        );
        assert_eq!(backoff.recovered(free), [group]);
        assert!(backoff.all(free).is_empty());
    }

    #[test]
    fn places_follow_each_other_and_end_at_the_limit() {
        let mut backoff = Backoff::default();
        let group = Group::to(&up(), &Domain::parse("a.example").unwrap());
        backoff.slow(&group, NOW);
        let waits: Vec<_> = (0..4).map(|_| backoff.take_place(&group, Duration::ZERO, NOW).as_secs()).collect();
        assert_eq!(waits, [1, 2, 3, 4]);
        for _ in 0..2000 {
            assert!(backoff.take_place(&group, Duration::ZERO, NOW) <= WAIT_MAX);
        }
        assert_eq!(
            backoff.take_place(&Group::whole(&up()), Duration::ZERO, NOW),
            Duration::ZERO,
            "another group is free"
        );
    }

    #[test]
    fn a_pace_that_the_group_keeps_anyhow_is_multiplied() {
        let mut backoff = Backoff::default();
        let group = Group::whole(&up());
        let usual = Duration::from_secs(3);
        backoff.slow(&group, NOW);
        let waits: Vec<_> = (0..3).map(|_| backoff.take_place(&group, usual, NOW).as_secs()).collect();
        assert_eq!(waits, [1, 7, 13], "twice three seconds");
        backoff.slow(&group, at(BURST.as_secs()));
        let later: Vec<_> = (0..2).map(|_| backoff.take_place(&group, usual, at(BURST.as_secs())).as_secs()).collect();
        assert_eq!(later[1] - later[0], 12, "four times");
    }

    #[test]
    fn groups_are_bounded() {
        let mut backoff = Backoff::default();
        let group = |n: usize| Group::to(&up(), &Domain::parse(&format!("d{n}.example")).unwrap());
        for n in 0..GROUPS_MAX {
            assert!(backoff.slow(&group(n), NOW).is_some());
        }
        assert_eq!(backoff.slow(&group(GROUPS_MAX), NOW), None);
        assert!(backoff.slow(&group(0), at(BURST.as_secs())).is_some(), "a known one is slowed further");
    }

    proptest! {
        /// Whatever comes when, also with a clock that jumps: no group is stopped for longer than the limit, and quiet
        /// frees every one.
        #[test]
        fn a_group_always_recovers(steps in prop::collection::vec((0_i64..2_000_000, any::<bool>()), 1..60)) {
            let mut backoff = Backoff::default();
            let mut last = 0;
            for (at, rate) in steps {
                let now = Timestamp::from_secs(at);
                if rate {
                    backoff.slow(&Group::whole(&up()), now);
                }
                prop_assert!(backoff.take_place(&Group::whole(&up()), Duration::from_secs(100), now) <= WAIT_MAX);
                last = last.max(at);
            }
            let quiet = Timestamp::from_secs(last).plus(RECOVER_EVERY * LEVEL_MAX);
            prop_assert_eq!(backoff.pace(&Group::whole(&up()), quiet), None);
        }
    }
}
