//! Which lease goes where: lanes, the workers on them, and what to do with a copy whose lane cannot take it now.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::attempt::Desk;
use super::circuit::{Admission, Circuit};
use super::fair::Flow;
use super::gate::Gate;
use super::lane::{Choice, Lane, Line, PROBE_LOOK, Place, Pool, Post};
use super::order::Order;
use super::queue::{Queue, Stock};
use super::routes::{Route, Way};
use super::share;
use super::warming::Lead;
use super::worker::Worker;
use super::{EMPTY_LEASE_PAUSE, Leased, Recheck, Settings, Source};
use crate::mail::Domain;
use crate::time::Timestamp;

/// Leases per worker that may wait while there is one lane alone: one to follow at once, and as many again while the
/// next batch is fetched. More would be rechecked no later but would be missing elsewhere when this process ends.
const READY_PER_WORKER: usize = 4;
/// With several lanes: leases ready for a smarthost. Enough for it to be busy until copies that were passed over
/// because of it come again.
const READY_PER_HOST: usize = 1024;
/// The same for a domain, of which there may be many.
const READY_PER_DOMAIN: usize = 32;
/// With several lanes: leases ready in all.
pub const READY_MAX: usize = 8192;
/// Fetched at once then, at least.
const BATCH: usize = 256;
/// Connections to one domain, as long as nothing else is known of what it likes.
pub const CONNECTIONS_PER_DOMAIN: usize = 4;
/// Domains that are busy or known to be ill. What a campaign to more of them brings is fetched when there is room: an idle lane
/// that nothing is known against makes room for another.
pub const DOMAINS_MAX: usize = 10_000;
/// What is known against a domain is forgotten after it was not used for this long: longer than its circuit rests.
const DOMAIN_IDLE: Duration = Duration::from_hours(1);
/// A copy whose lane has enough to do comes again after this.
const PASSED_OVER: Duration = Duration::from_millis(200);
/// After a batch of which nothing could be placed: passing over a million copies must not keep a core busy.
const FRUITLESS_PAUSE: Duration = Duration::from_millis(20);
/// How often it is looked whether a way that is slowed has a place again, or was given its full pace.
const PACE_LOOK: Duration = Duration::from_millis(500);
/// While a copy for a place of a slowed way is under way to its worker.
const PLACE_PAUSE: Duration = Duration::from_millis(10);

/// A lane to a domain, with when it was last used.
struct Remote<L> {
    lane: Arc<Lane<L>>,
    used: Timestamp,
}

/// One route with its lanes.
enum Road<L> {
    Hosts(Arc<Pool<L>>),
    Domains { route: Arc<Route>, connections: Arc<Semaphore>, lanes: HashMap<Domain, Remote<L>> },
}

impl<L> Road<L> {
    fn pool(&self) -> Option<Arc<Pool<L>>> {
        match self {
            Self::Hosts(pool) => Some(Arc::clone(pool)),
            Self::Domains { .. } => None,
        }
    }
}

/// All lanes and everyone who works on them.
pub(super) struct Dispatcher<L: Leased, R: Recheck> {
    desk: Arc<Desk<R>>,
    stock: Arc<Stock>,
    roads: Vec<Road<L>>,
    order: Order<L>,
    /// The only lane there is.
    alone: Option<Arc<Lane<L>>>,
    workers: JoinSet<()>,
}

impl<L: Leased, R: Recheck> Dispatcher<L, R> {
    pub(super) fn new(desk: Arc<Desk<R>>) -> Self {
        let settings = &desk.settings;
        let routes: Vec<_> = settings.routes.all().cloned().collect();
        let only = match routes.as_slice() {
            [route] => matches!(&route.way, Way::Smarthosts(hosts) if hosts.len() == 1).then_some(route),
            _ => None,
        };
        let per_host = only.map_or(READY_PER_HOST, |route| route.max_connections.saturating_mul(READY_PER_WORKER));
        let stock = Arc::new(match only {
            Some(_) => Stock::new(per_host, per_host.div_ceil(2)),
            None => Stock::new(READY_MAX, BATCH),
        });
        let roads: Vec<_> = routes.iter().map(|route| road(route, settings, per_host, &stock)).collect();
        let alone = match roads.as_slice() {
            [Road::Hosts(pool)] => only.and_then(|_| pool.lanes().first().cloned()),
            _ => None,
        };
        let pools: Vec<_> = roads.iter().map(Road::pool).collect();
        let order = Order::new(settings, &desk.board, &pools, &desk.clock);
        let mut dispatcher = Self { desk, stock, roads, order, alone, workers: JoinSet::new() };
        dispatcher.staff_hosts();
        dispatcher
    }

    fn staff_hosts(&mut self) {
        for road in &self.roads {
            let Road::Hosts(pool) = road else { continue };
            for lane in pool.lanes() {
                for _ in 0..lane.line.route.max_connections.max(1) {
                    let post = Post { lane: Arc::clone(lane), pool: Arc::clone(pool) };
                    self.workers.spawn(Worker::new(Arc::clone(&self.desk), post).run());
                }
            }
        }
    }

    /// Leases in batches for all workers, as many as they can use soon, and rests while every lane does.
    pub(super) async fn dispatch<S: Source<Lease = L>>(&mut self, source: &S) {
        loop {
            let room = self.stock.room().await;
            let max = match self.appetite() {
                Ok(max) => room.min(max),
                Err(rest) => {
                    tokio::time::sleep(rest).await;
                    continue;
                }
            };
            let leases = source.lease(max, &mut self.order).await;
            if leases.is_empty() {
                tokio::time::sleep(EMPTY_LEASE_PAUSE).await;
            } else if !self.place(leases) {
                tokio::time::sleep(FRUITLESS_PAUSE).await;
            }
        }
    }

    /// How many leases can be used now; or how long to rest, because no lane can take any.
    fn appetite(&self) -> Result<usize, Duration> {
        let now = self.desk.clock.now();
        if let Some(pause) = self.desk.board.pause(now) {
            return Err(pause);
        }
        let mut shortest = None::<Duration>;
        for road in &self.roads {
            let Road::Hosts(pool) = road else { return Ok(usize::MAX) };
            for lane in pool.lanes() {
                let rest = match lane.line.circuit.admission(now) {
                    Admission::Free => return self.at_pace(now),
                    Admission::Probe => return Ok(if self.alone.is_some() { 1 } else { usize::MAX }),
                    Admission::Probing(until) => until.since(now).min(PROBE_LOOK),
                    Admission::Rests(until) => until.since(now),
                };
                shortest = Some(shortest.map_or(rest, |known| known.min(rest)));
            }
        }
        Err(shortest.unwrap_or(PROBE_LOOK))
    }

    /// One at a time for the only lane while it is slowed: the rest waits in the spool.
    fn at_pace(&self, now: Timestamp) -> Result<usize, Duration> {
        let slowed = self.alone.as_ref().and_then(|lane| self.desk.board.slowed(&lane.line.route.name, now));
        match slowed {
            None => Ok(usize::MAX),
            Some(until) if until > now => Err(until.since(now).min(PACE_LOOK)),
            Some(_) if !self.stock.is_empty() => Err(PLACE_PAUSE),
            Some(_) => Ok(1),
        }
    }

    /// Says whether anything was placed.
    fn place(&mut self, leases: Vec<L>) -> bool {
        let now = self.desk.clock.now();
        if let Some(lane) = self.alone.clone() {
            return self.place_alone(&lane, leases, now);
        }
        let mut placed = false;
        for lease in leases {
            let passed_over = now.plus(PASSED_OVER);
            let flow = self.desk.flow(&lease);
            match self.choose(&lease, flow, now) {
                Choice::Lane(lane) => {
                    lane.queue.push(flow, vec![lease]);
                    self.staff_domain(&lane);
                    placed = true;
                }
                Choice::Full => lease.put_back(passed_over),
                Choice::Rests(until) => lease.put_back(until.max(passed_over)),
                Choice::Later(until) => lease.put_back(until),
            }
        }
        placed
    }

    /// On the only lane, nothing is chosen: while nothing is limited either, a batch goes there as it is.
    fn place_alone(&self, lane: &Arc<Lane<L>>, leases: Vec<L>, now: Timestamp) -> bool {
        if lane.line.circuit.admission(now) == Admission::Probe {
            lane.line.circuit.begin_probe(now);
        }
        let guarded = self.desk.board.gates().guards(&lane.line.route.name);
        let warming = !self.desk.board.warming().is_idle();
        let mut streams: Vec<(Flow, Vec<L>)> = Vec::new();
        for lease in leases {
            if warming && let Err(until) = self.place_of(&lease, now) {
                lease.put_back(until);
                continue;
            }
            if guarded && let Err(until) = self.pass_gate(&lane.line.route, &lease, now) {
                lease.put_back(until);
                continue;
            }
            let flow = self.desk.flow(&lease);
            match streams.last_mut().filter(|(known, _)| *known == flow) {
                Some((_, same)) => same.push(lease),
                None => streams.push((flow, vec![lease])),
            }
        }
        let placed = !streams.is_empty();
        for (flow, same) in streams {
            lane.queue.push(flow, same);
        }
        placed
    }

    /// The gate of whoever's turn it is in this copy, on a route to smarthosts.
    fn gate_of(&self, route: &Route, lease: &L, now: Timestamp) -> Arc<Gate> {
        let gates = self.desk.board.gates();
        match share::domain_of(lease, route, gates, now) {
            Some(domain) => gates.gate(&route.name, gates.who(&domain), now),
            None => gates.whole(&route.name),
        }
    }

    fn pass_gate(&self, route: &Route, lease: &L, now: Timestamp) -> Result<(), Timestamp> {
        self.gate_of(route, lease, now).pass(now)
    }

    /// The place of the route that a copy takes: that of its stream, or another one instead when a plan's day is full.
    ///
    /// # Errors
    /// It waits until then.
    fn place_of(&self, lease: &L, now: Timestamp) -> Result<usize, Timestamp> {
        let (routes, manifest) = (&self.desk.settings.routes, &lease.entry().manifest);
        let place = routes.place_for(&manifest.label);
        let (warming, path) = (self.desk.board.warming(), &manifest.reverse_path);
        let Some(route) = routes.all().nth(place).filter(|_| !warming.is_idle()) else { return Ok(place) };
        let other = match warming.lead(route, path, now) {
            Lead::On => return Ok(place),
            Lead::Wait(until) => return Err(until),
            Lead::Instead(other) => routes.place_named(&other).unwrap_or(place),
        };
        // Addresses of the other route may be warmed up as well. From there it goes nowhere else.
        match routes.all().nth(other).map(|route| warming.closes(route, now)) {
            Some(Some(until)) => Err(until),
            Some(None) | None => Ok(other),
        }
    }

    fn choose(&mut self, lease: &L, flow: Flow, now: Timestamp) -> Choice<L> {
        let place = match self.place_of(lease, now) {
            Ok(place) => place,
            Err(until) => return Choice::Later(until),
        };
        let (pool, gate) = match self.roads.get_mut(place) {
            None => return Choice::Full,
            Some(Road::Hosts(pool)) => {
                let pool = Arc::clone(pool);
                let Some(route) = pool.lanes().first().map(|lane| Arc::clone(&lane.line.route)) else {
                    return Choice::Full;
                };
                if let Some(until) = self.desk.board.slowed(&route.name, now).filter(|until| *until > now) {
                    return Choice::Rests(until);
                }
                let guarded = self.desk.board.gates().guards(&route.name);
                (pool, guarded.then(|| self.gate_of(&route, lease, now)))
            }
            Some(Road::Domains { route, connections, lanes }) => {
                let gates = self.desk.board.gates();
                let Some(domain) = share::domain_of(lease, route, gates, now) else { return Choice::Full };
                if !lanes.contains_key(&domain) && !make_room(lanes, now) {
                    return Choice::Full;
                }
                let remote = lanes.entry(domain.clone()).or_insert_with(|| {
                    let circuit = Circuit::new(self.desk.settings.domain_rest);
                    let queue = Queue::new(READY_PER_DOMAIN, Arc::clone(&self.stock));
                    let gate = gates.gate(&route.name, gates.who(&domain), now);
                    let place = Place::Domain(domain);
                    let line = Line::new(Arc::clone(route), place, circuit, Some(Arc::clone(connections)));
                    line.belongs_behind(&gate);
                    Remote { lane: Arc::new(Lane::new(queue, line)), used: now }
                });
                remote.used = now;
                (Post::alone(Arc::clone(&remote.lane)).pool, Some(remote.lane.line.gate()))
            }
        };
        let Some(gate) = gate.filter(|gate| gate.is_paced()) else { return pool.choose(flow, now) };
        // Before a lane is chosen, because choosing may begin a probe. What is lost when there is none is one copy's pace.
        match gate.pass(now) {
            Ok(()) => pool.choose(flow, now),
            Err(until) => Choice::Later(until),
        }
    }

    /// Workers for a domain come with its mail and leave when there is none.
    fn staff_domain(&mut self, lane: &Arc<Lane<L>>) {
        let most = lane.line.gate().limits.connections.and_then(|most| usize::try_from(most.get()).ok());
        if matches!(lane.line.place, Place::Domain(_)) && lane.hires(most.unwrap_or(CONNECTIONS_PER_DOMAIN)) {
            self.workers.spawn(Worker::new(Arc::clone(&self.desk), Post::alone(Arc::clone(lane))).run());
            while self.workers.try_join_next().is_some() {}
        }
    }

    /// Hands out nothing more and waits for everyone to finish what is under way.
    pub(super) async fn close(mut self) {
        for road in &self.roads {
            match road {
                Road::Hosts(pool) => pool.lanes().iter().for_each(|lane| lane.queue.close()),
                Road::Domains { lanes, .. } => lanes.values().for_each(|remote| remote.lane.queue.close()),
            }
        }
        while self.workers.join_next().await.is_some() {}
    }
}

/// Whether one more domain may be added, when need be after forgetting those that nothing is to be remembered of.
fn make_room<L>(lanes: &mut HashMap<Domain, Remote<L>>, now: Timestamp) -> bool {
    if lanes.len() >= DOMAINS_MAX {
        lanes.retain(|_, Remote { lane, used }| {
            !lane.is_idle() || (!lane.line.circuit.is_sound() && now.since(*used) < DOMAIN_IDLE)
        });
    }
    lanes.len() < DOMAINS_MAX
}

fn road<L>(route: &Arc<Route>, settings: &Settings, per_host: usize, stock: &Arc<Stock>) -> Road<L> {
    match &route.way {
        Way::Exchanges { .. } => {
            let connections = Arc::new(Semaphore::new(route.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
            Road::Domains { route: Arc::clone(route), connections, lanes: HashMap::new() }
        }
        Way::Smarthosts(hosts) => {
            let lane = |host: &super::Smarthost| {
                let (place, circuit) = (Place::Host(host.clone()), Circuit::new(settings.rest));
                let line = Line::new(Arc::clone(route), place, circuit, None);
                Arc::new(Lane::new(Queue::new(per_host, Arc::clone(stock)), line))
            };
            Road::Hosts(Arc::new(Pool::new(hosts.iter().map(lane).collect())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fair::NOTICES;
    use super::*;
    use crate::delivery::default_domain_rest;
    use crate::mail::RouteName;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    #[test]
    fn ten_thousand_ill_domains_are_remembered_and_the_next_one_waits_until_one_is_forgotten() {
        let route = Route::smarthost(RouteName::new("r").unwrap(), "x".to_owned(), 25, "g".to_owned());
        let (route, stock) = (Arc::new(route), Arc::new(Stock::new(READY_MAX, BATCH)));
        let remote = |n: usize| {
            let domain = Domain::parse(&format!("d{n}.example")).unwrap();
            let circuit = Circuit::new(default_domain_rest());
            circuit.fault(NOW, 0.5);
            let line = Line::new(Arc::clone(&route), Place::Domain(domain.clone()), circuit, None);
            let queue = Queue::<u32>::new(READY_PER_DOMAIN, Arc::clone(&stock));
            (domain, Remote { lane: Arc::new(Lane::new(queue, line)), used: NOW })
        };
        let mut lanes: HashMap<_, _> = (1..DOMAINS_MAX).map(remote).collect();
        assert!(make_room(&mut lanes, NOW));
        lanes.extend([remote(0)]);
        assert_eq!(lanes.len(), DOMAINS_MAX);
        assert!(!make_room(&mut lanes, NOW), "all are ill");
        lanes.values().next().unwrap().lane.line.circuit.success();
        assert!(make_room(&mut lanes, NOW), "one is well and idle");
        assert_eq!(lanes.len(), DOMAINS_MAX - 1);
        let busy = lanes.values().next().unwrap();
        busy.lane.queue.push(NOTICES, vec![1]);
        assert!(make_room(&mut lanes, NOW.plus(DOMAIN_IDLE)));
        lanes.extend((DOMAINS_MAX..2 * DOMAINS_MAX).map(remote));
        assert!(make_room(&mut lanes, NOW.plus(DOMAIN_IDLE)));
        assert_eq!(lanes.len(), 1, "the busy one");
    }
}
