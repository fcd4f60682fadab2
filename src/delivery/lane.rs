//! One way out with its queue: a smarthost, or the mail servers of a domain.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::circuit::{Admission, Circuit};
use super::fair::Flow;
use super::gate::Gate;
use super::order::FULL_LOOK;
use super::queue::Queue;
use super::routes::{Route, Smarthost};
use crate::mail::Domain;
use crate::time::Timestamp;

/// How soon the answer of a probe is looked for.
pub(super) const PROBE_LOOK: Duration = Duration::from_millis(100);

/// Where a lane ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Host(Smarthost),
    Domain(Domain),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(Smarthost { host, port, .. }) => write!(f, "{host}:{port}"),
            Self::Domain(domain) => domain.fmt(f),
        }
    }
}

/// What is known of a way out, without its queue.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) route: Arc<Route>,
    pub(super) place: Place,
    pub(super) circuit: Circuit,
    /// Shared by the lanes of a route that bounds its connections as a whole.
    pub(super) connections: Option<Arc<Semaphore>>,
    /// Of the group that the place belongs to, as far as it is known; of a smarthost an open one.
    gate: Mutex<Arc<Gate>>,
    opened: AtomicUsize,
}

impl Line {
    pub(super) fn new(route: Arc<Route>, place: Place, circuit: Circuit, connections: Option<Arc<Semaphore>>) -> Self {
        Self { route, place, circuit, connections, gate: Mutex::default(), opened: AtomicUsize::new(0) }
    }

    /// What the place's group has to keep to.
    pub(super) fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.gate.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The place turned out to belong behind `gate`; says whether that is news.
    pub(super) fn belongs_behind(&self, gate: &Arc<Gate>) -> bool {
        let mut known = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = !Arc::ptr_eq(&known, gate);
        *known = Arc::clone(gate);
        is_news
    }

    /// Counts sessions, so that source addresses take turns.
    pub(super) fn next_turn(&self) -> usize {
        self.opened.fetch_add(1, Ordering::Relaxed)
    }
}

/// A way out and what waits for it.
#[derive(Debug)]
pub(super) struct Lane<L> {
    pub(super) queue: Queue<L>,
    pub(super) line: Line,
    /// Workers, where they come and go.
    staff: AtomicUsize,
}

impl<L> Lane<L> {
    pub(super) const fn new(queue: Queue<L>, line: Line) -> Self {
        Self { queue, line, staff: AtomicUsize::new(0) }
    }

    /// Whether nobody works here and nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.staff.load(Ordering::SeqCst) == 0
    }

    /// To be asked after each push: whether one more worker is to be sent here, of `max` at most. More wait than work
    /// here then; a worker that comes back for the next lease takes one without help.
    pub(super) fn hires(&self, max: usize) -> bool {
        let staff = self.staff.load(Ordering::SeqCst);
        let hires = staff < max && self.queue.len() > staff;
        if hires {
            self.staff.fetch_add(1, Ordering::SeqCst);
        }
        hires
    }

    /// A worker leaves, unless a lease was pushed while it still counted as being here: that is its next one.
    pub(super) fn leave(&self) -> Option<L> {
        self.staff.fetch_sub(1, Ordering::SeqCst);
        let lease = self.queue.try_pop();
        if lease.is_some() {
            self.staff.fetch_add(1, Ordering::SeqCst);
        }
        lease
    }
}

/// Lanes of which any will do: the smarthosts of one route.
#[derive(Debug)]
pub(super) struct Pool<L> {
    lanes: Vec<Arc<Lane<L>>>,
    /// For each lane by how much it is behind its share; see [`Pool::by_weight`].
    credits: Mutex<Vec<i64>>,
}

/// Where a worker works.
#[derive(Debug)]
pub(super) struct Post<L> {
    pub(super) lane: Arc<Lane<L>>,
    /// With those that may take its place.
    pub(super) pool: Arc<Pool<L>>,
}

impl<L> Post<L> {
    /// At a lane that no other can replace.
    pub(super) fn alone(lane: Arc<Lane<L>>) -> Self {
        Self { pool: Arc::new(Pool::new(vec![Arc::clone(&lane)])), lane }
    }

    pub(super) fn line(&self) -> &Line {
        &self.lane.line
    }
}

/// Where a lease goes.
pub(super) enum Choice<L> {
    /// There.
    Lane(Arc<Lane<L>>),
    /// Lanes are in order and have enough to do.
    Full,
    /// None may be used before then.
    Rests(Timestamp),
    /// The pace of its group does not let it go before then.
    Later(Timestamp),
}

impl<L> Pool<L> {
    pub(super) fn new(lanes: Vec<Arc<Lane<L>>>) -> Self {
        let credits = Mutex::new(vec![0; lanes.len()]);
        Self { lanes, credits }
    }

    pub(super) fn lanes(&self) -> &[Arc<Lane<L>>] {
        &self.lanes
    }

    /// The lane for the next lease. One that has rested is tried with one copy before all others: else it would
    /// never be found out that it works again.
    pub(super) fn choose(&self, flow: Flow, now: Timestamp) -> Choice<L> {
        let (mut fitting, mut full, mut soonest) = (Vec::new(), false, None::<Timestamp>);
        for (place, lane) in self.lanes.iter().enumerate() {
            match lane.line.circuit.admission(now) {
                Admission::Free if lane.queue.is_full(flow) => full = true,
                Admission::Free => fitting.push(place),
                Admission::Probe => {
                    lane.line.circuit.begin_probe(now);
                    return Choice::Lane(Arc::clone(lane));
                }
                Admission::Probing(until) | Admission::Rests(until) => {
                    soonest = Some(soonest.map_or(until, |known| known.min(until)));
                }
            }
        }
        match self.by_weight(&fitting) {
            Some(lane) => Choice::Lane(lane),
            None if full => Choice::Full,
            None => soonest.map_or(Choice::Full, Choice::Rests),
        }
    }

    /// How many of `flow` can be used soon.
    ///
    /// # Errors
    /// None before then.
    pub(super) fn room(&self, flow: Flow, now: Timestamp) -> Result<usize, Timestamp> {
        let (mut room, mut soonest) = (0_usize, None::<Timestamp>);
        for lane in &self.lanes {
            let until = match lane.line.circuit.admission(now) {
                Admission::Free if lane.queue.is_full(flow) => now.plus(FULL_LOOK),
                Admission::Free => {
                    room = room.saturating_add(lane.queue.room(flow));
                    continue;
                }
                Admission::Probe => {
                    room = room.saturating_add(1);
                    continue;
                }
                Admission::Probing(until) | Admission::Rests(until) => until.min(now.plus(PROBE_LOOK)),
            };
            soonest = Some(soonest.map_or(until, |known| known.min(until)));
        }
        match soonest {
            Some(until) if room == 0 => Err(until),
            Some(_) | None => Ok(room),
        }
    }

    /// Another lane than `failed` that is in order, for a lease that `failed` could not take.
    pub(super) fn instead_of(&self, failed: &Lane<L>, now: Timestamp) -> Option<Arc<Lane<L>>> {
        let others = self.lanes.iter().enumerate().filter(|(_, lane)| !std::ptr::eq(lane.as_ref(), failed));
        let free = others.filter(|(_, lane)| lane.line.circuit.admission(now) == Admission::Free);
        self.by_weight(&free.map(|(place, _)| place).collect::<Vec<_>>())
    }

    /// When the first of the lanes may be used: now, unless all of them rest.
    pub(super) fn usable_at(&self, now: Timestamp) -> Timestamp {
        let waits = self.lanes.iter().map(|lane| lane.line.circuit.rests_for(now));
        now.plus(waits.min().unwrap_or_default())
    }

    /// Each of `fitting` gets its weight in credit, and the one with most pays for all: in any stretch of choices
    /// everybody has its share, and whoever was away does not come back with a debt to be paid at once.
    fn by_weight(&self, fitting: &[usize]) -> Option<Arc<Lane<L>>> {
        if let [only] = fitting {
            return self.lanes.get(*only).cloned();
        }
        let mut credits = self.credits.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut total, mut best) = (0, None::<(i64, usize)>);
        for place in fitting {
            let (Some(lane), Some(credit)) = (self.lanes.get(*place), credits.get_mut(*place)) else { continue };
            let weight = match &lane.line.place {
                Place::Host(host) => i64::from(host.weight.max(1)),
                Place::Domain(_) => 1,
            };
            *credit = credit.saturating_add(weight);
            total += weight;
            if best.is_none_or(|(most, _)| *credit > most) {
                best = Some((*credit, *place));
            }
        }
        let (_, place) = best?;
        if let Some(credit) = credits.get_mut(place) {
            *credit -= total;
        }
        self.lanes.get(place).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fair::NOTICES;
    use super::*;
    use crate::delivery::circuit::default_rest;
    use crate::delivery::queue::Stock;
    use crate::mail::RouteName;

    const NOW: Timestamp = Timestamp::from_secs(1000);

    fn pool(weights: &[u32], capacity: usize) -> Pool<usize> {
        let route = Route::smarthost(RouteName::new("r").unwrap(), "x".to_owned(), 25, "g".to_owned());
        let stock = Arc::new(Stock::new(1000, 1));
        let lane = |weight: &u32| {
            let place = Place::Host(Smarthost { host: weight.to_string(), port: 25, weight: *weight });
            let line = Line::new(Arc::new(route.clone()), place, Circuit::new(default_rest()), None);
            Arc::new(Lane::new(Queue::new(capacity, Arc::clone(&stock)), line))
        };
        Pool::new(weights.iter().map(lane).collect())
    }

    /// How often each lane was chosen in `count` choices.
    fn shares(pool: &Pool<usize>, count: usize) -> Vec<usize> {
        let mut shares = vec![0; pool.lanes.len()];
        for _ in 0..count {
            let Choice::Lane(lane) = pool.choose(NOTICES, NOW) else { panic!("no lane") };
            let place = pool.lanes.iter().position(|known| Arc::ptr_eq(known, &lane)).unwrap();
            shares[place] += 1;
        }
        shares
    }

    #[test]
    fn weights_hold_and_whoever_was_away_is_owed_nothing() {
        let pool = pool(&[3, 1], 10);
        assert_eq!(shares(&pool, 40), [30, 10]);
        let until = pool.lanes[0].line.circuit.fault(NOW, 0.5).until;
        assert_eq!(shares(&pool, 40), [0, 40]);
        assert_eq!(pool.usable_at(NOW), NOW);
        assert!(Arc::ptr_eq(&pool.instead_of(&pool.lanes[0], NOW).unwrap(), &pool.lanes[1]));
        assert!(pool.instead_of(&pool.lanes[1], NOW).is_none());
        let Choice::Lane(probed) = pool.choose(NOTICES, until) else { panic!("no lane") };
        assert!(Arc::ptr_eq(&probed, &pool.lanes[0]), "one copy to see");
        let Choice::Lane(next) = pool.choose(NOTICES, until) else { panic!("no lane") };
        assert!(Arc::ptr_eq(&next, &pool.lanes[1]), "and no second one");
        pool.lanes[0].line.circuit.success();
        assert_eq!(shares(&pool, 40), [30, 10]);
    }

    #[test]
    fn workers_come_when_more_waits_than_they_can_take_and_none_leaves_a_lease_behind() {
        let pool = pool(&[1], 100);
        let lane = &pool.lanes[0];
        let mut hired = 0;
        for lease in 0..10 {
            lane.queue.push(NOTICES, vec![lease]);
            hired += usize::from(lane.hires(4));
        }
        assert_eq!(hired, 4);
        while lane.queue.try_pop().is_some() {}
        lane.queue.push(NOTICES, vec![10]);
        assert!(!lane.hires(4), "four are there for one lease");
        assert_eq!(lane.leave(), Some(10), "stays for the lease");
        assert!(!lane.is_idle());
        for _ in 0..4 {
            assert_eq!(lane.leave(), None);
        }
        assert!(lane.is_idle());
        lane.queue.push(NOTICES, vec![11]);
        assert!(!lane.is_idle() && lane.hires(4), "the first lease needs a worker");
    }

    #[test]
    fn a_full_lane_is_passed_over_and_all_resting_is_said() {
        let pool = pool(&[1, 1], 1);
        pool.lanes[0].queue.push(NOTICES, vec![1]);
        assert_eq!(shares(&pool, 4), [0, 4]);
        pool.lanes[1].queue.push(NOTICES, vec![1]);
        assert!(matches!(pool.choose(NOTICES, NOW), Choice::Full));
        let first = pool.lanes[0].line.circuit.fault(NOW, 0.0).until;
        assert!(matches!(pool.choose(NOTICES, NOW), Choice::Full), "one of them is in order");
        pool.lanes[1].line.circuit.fault(NOW, 1.0);
        assert!(matches!(pool.choose(NOTICES, NOW), Choice::Rests(until) if until == first));
        assert_eq!(pool.usable_at(NOW), first);
    }
}
