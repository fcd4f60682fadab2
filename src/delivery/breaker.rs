//! Whether dead mailboxes come in such a share that the receiver is more likely broken than the list. Pure.
//!
//! A provider whose directory is down answers "no such user" for everybody. So nobody is suppressed at once: a dead
//! mailbox is remembered for the length of the window, and confirmed when the group has not tripped by then. When it
//! trips, what was remembered of it is forgotten.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::group::{GROUPS_MAX, Group};
use crate::time::Timestamp;

/// Dead mailboxes that may wait for confirmation. One that finds no room is not suppressed: it will bounce again.
pub const PENDING_MAX: usize = 50_000;
/// Parts of the window that are counted apart: the share is exact to a tenth of it.
const SLOTS: u32 = 10;

/// When a group trips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What is counted together, and how long a dead mailbox waits to be confirmed.
    pub window: Duration,
    /// Dead mailboxes within the window below which nothing trips: small numbers prove nothing.
    pub minimum: u32,
    /// Share of dead mailboxes among final answers, in hundredths, at which it trips.
    pub share: u32,
}

impl Default for Settings {
    /// Old lists bounce at 10 to 15 %, and a list worth sending to at less than 2 %; half of a hundred is an outage.
    fn default() -> Self {
        Self { window: Duration::from_mins(10), minimum: 50, share: 50 }
    }
}

/// A final answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<P> {
    /// There is no such mailbox; what is to be remembered of it.
    Dead(P),
    /// As well, and it is remembered under another group.
    DeadElsewhere,
    /// Anything else that was final.
    Other,
}

/// What an answer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It was counted.
    Quietly,
    /// The group trips by it. It is not remembered, and neither are `forgotten` before it.
    Trips {
        /// Dead mailboxes in the window.
        dead: u32,
        /// Final answers in the window.
        of: u32,
        /// How many that were waiting will not be suppressed.
        forgotten: usize,
    },
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    from: Timestamp,
    dead: u32,
    all: u32,
}

#[derive(Debug)]
struct Tally<P> {
    slots: VecDeque<Slot>,
    waiting: VecDeque<(Timestamp, P)>,
}

impl<P> Default for Tally<P> {
    fn default() -> Self {
        Self { slots: VecDeque::new(), waiting: VecDeque::new() }
    }
}

impl<P> Tally<P> {
    /// Counts one answer; returns dead and all of the window.
    fn count(&mut self, dead: bool, now: Timestamp, window: Duration) -> (u32, u32) {
        let length = window / SLOTS;
        // A slot of the future is of a clock that was set back.
        self.slots.retain(|slot| slot.from <= now && now.since(slot.from) < window);
        if self.slots.back().is_none_or(|slot| now.since(slot.from) >= length) {
            self.slots.push_back(Slot { from: now, dead: 0, all: 0 });
        }
        if let Some(slot) = self.slots.back_mut() {
            slot.dead = slot.dead.saturating_add(u32::from(dead));
            slot.all = slot.all.saturating_add(1);
        }
        let sum = |of: fn(&Slot) -> u32| self.slots.iter().map(of).fold(0, u32::saturating_add);
        (sum(|slot| slot.dead), sum(|slot| slot.all))
    }

    fn is_idle(&self, now: Timestamp, window: Duration) -> bool {
        self.waiting.is_empty() && self.slots.back().is_none_or(|slot| now.since(slot.from) >= window)
    }
}

/// Counts by group.
#[derive(Debug)]
pub struct Breaker<P> {
    settings: Settings,
    groups: HashMap<Group, Tally<P>>,
    waiting: usize,
}

impl<P> Breaker<P> {
    /// Nothing counted yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, groups: HashMap::new(), waiting: 0 }
    }

    /// Counts one answer in `group`.
    pub fn count(&mut self, group: &Group, now: Timestamp, answer: Answer<P>) -> Counted {
        let Settings { window, minimum, share } = self.settings;
        if !self.groups.contains_key(group) {
            if self.groups.len() >= GROUPS_MAX {
                self.groups.retain(|_, tally| !tally.is_idle(now, window));
            }
            if self.groups.len() >= GROUPS_MAX {
                return Counted::Quietly;
            }
        }
        let tally = self.groups.entry(group.clone()).or_default();
        let (is_dead, person) = match answer {
            Answer::Dead(person) => (true, Some(person)),
            Answer::DeadElsewhere => (true, None),
            Answer::Other => (false, None),
        };
        let (dead, of) = tally.count(is_dead, now, window);
        if is_dead && dead >= minimum && u64::from(dead) * 100 >= u64::from(of) * u64::from(share) {
            return Counted::Trips { dead, of, forgotten: self.forget(group) };
        }
        if let Some(person) = person
            && self.waiting < PENDING_MAX
        {
            tally.waiting.push_back((now, person));
            self.waiting += 1;
        }
        Counted::Quietly
    }

    /// Forgets counts and whoever waits: of a domain its own, of a whole route everybody's on it. Says how many had waited.
    pub fn forget(&mut self, group: &Group) -> usize {
        let before = self.waiting;
        let waiting = &mut self.waiting;
        self.groups.retain(|known, tally| {
            // What a domain explains is not the whole route's.
            let goes =
                known.route == group.route && (group.domain.is_none() || known.domain.is_none() || known == group);
            if goes {
                *waiting = waiting.saturating_sub(tally.waiting.len());
            }
            !goes
        });
        before - self.waiting
    }

    /// What has waited for the whole window without its group tripping, at most `max` at a time.
    pub fn confirmed(&mut self, now: Timestamp, max: usize) -> Vec<(Group, P)> {
        let window = self.settings.window;
        let mut ripe = Vec::new();
        for (group, tally) in &mut self.groups {
            while ripe.len() < max && tally.waiting.front().is_some_and(|(at, _)| now.since(*at) >= window) {
                ripe.extend(tally.waiting.pop_front().map(|(_, person)| (group.clone(), person)));
            }
        }
        self.waiting -= ripe.len();
        ripe
    }

    /// Takes one back that could not be recorded; it is ripe at once.
    pub fn put_back(&mut self, group: Group, person: P, now: Timestamp) {
        if self.waiting < PENDING_MAX {
            self.groups.entry(group).or_default().waiting.push_front((now, person));
            self.waiting += 1;
        }
    }

    /// How many wait for confirmation.
    pub const fn waiting(&self) -> usize {
        self.waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Domain, RouteName};

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);
    const SETTINGS: Settings = Settings { window: Duration::from_secs(100), minimum: 10, share: 50 };

    fn group(name: &str) -> Group {
        Group::to(&up(), &Domain::parse(name).unwrap())
    }

    fn up() -> RouteName {
        RouteName::new("up").unwrap()
    }

    fn at(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn it_trips_at_the_minimum_and_the_share_and_forgets_who_waited() {
        let mut breaker = Breaker::new(SETTINGS);
        let a = group("a.example");
        for n in 0..9 {
            assert_eq!(breaker.count(&a, NOW, Answer::Dead(n)), Counted::Quietly);
        }
        assert_eq!(breaker.waiting(), 9);
        assert_eq!(breaker.count(&a, NOW, Answer::Dead(9)), Counted::Trips { dead: 10, of: 10, forgotten: 9 });
        assert_eq!((breaker.waiting(), breaker.confirmed(at(1000), 100)), (0, Vec::new()));
    }

    #[test]
    fn below_the_share_nothing_trips_however_many_they_are() {
        let mut breaker = Breaker::new(SETTINGS);
        let a = group("a.example");
        for n in 0..1000 {
            breaker.count(&a, NOW, Answer::Other);
            breaker.count(&a, NOW, Answer::Other);
            assert_eq!(breaker.count(&a, NOW, Answer::Dead(n)), Counted::Quietly);
        }
        let mut exactly = Breaker::new(SETTINGS);
        (0..10).for_each(|_| assert_eq!(exactly.count(&a, NOW, Answer::Other), Counted::Quietly));
        (0..9).for_each(|n| assert_eq!(exactly.count(&a, NOW, Answer::Dead(n)), Counted::Quietly));
        assert!(matches!(exactly.count(&a, NOW, Answer::Dead(9)), Counted::Trips { dead: 10, of: 20, .. }));
    }

    #[test]
    fn who_waited_the_whole_window_is_confirmed_and_old_counts_fade() {
        let mut breaker = Breaker::new(SETTINGS);
        let a = group("a.example");
        for n in 0..40_u64 {
            assert_eq!(breaker.count(&a, at(n * 15), Answer::Dead(n)), Counted::Quietly, "slow enough: {n}");
        }
        let confirmed = breaker.confirmed(at(39 * 15), 1000);
        assert_eq!(confirmed.len(), 33, "all but those of the last 100 s");
        assert_eq!(breaker.confirmed(at(10_000), 4).len(), 4, "at most as many as asked for");
        let (group, person) = breaker.confirmed(at(10_000), 1).remove(0);
        breaker.put_back(group, person, at(0));
        assert_eq!(breaker.confirmed(at(10_000), 10).len(), 3);
        assert_eq!(breaker.waiting(), 0);
    }

    #[test]
    fn the_upstream_takes_every_group_with_it_and_groups_do_not_touch_each_other() {
        let mut breaker = Breaker::new(SETTINGS);
        for n in 0..9 {
            breaker.count(&group("a.example"), NOW, Answer::Dead(n));
            breaker.count(&group("b.example"), NOW, Answer::Dead(n));
        }
        for _ in 0..9 {
            breaker.count(&Group::whole(&up()), NOW, Answer::DeadElsewhere);
        }
        assert_eq!(breaker.forget(&group("a.example")), 9);
        assert_eq!(
            breaker.count(&Group::whole(&up()), NOW, Answer::DeadElsewhere),
            Counted::Quietly,
            "explained by a domain"
        );
        assert_eq!((breaker.waiting(), breaker.forget(&Group::whole(&up()))), (9, 9));
        assert!(breaker.confirmed(at(1000), 100).is_empty());
    }

    #[test]
    fn what_waits_and_the_groups_are_bounded() {
        let never = Settings { minimum: u32::MAX, ..SETTINGS };
        let mut breaker = Breaker::new(never);
        let a = group("a.example");
        for n in 0..=PENDING_MAX {
            breaker.count(&a, NOW, Answer::Dead(n));
        }
        assert_eq!(breaker.waiting(), PENDING_MAX);
        let mut many = Breaker::new(never);
        for n in 0..=GROUPS_MAX {
            many.count(&group(&format!("d{n}.example")), NOW, Answer::Dead(()));
        }
        assert_eq!(many.waiting(), GROUPS_MAX);
        many.confirmed(at(200), usize::MAX);
        many.count(&group("late.example"), at(500), Answer::Dead(()));
        assert_eq!(many.waiting(), 1, "idle groups make room");
    }
}
