//! Groups of destinations at work: their paces and their connections, one gate for each on each route.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::group::GROUPS_MAX;
use super::routes::{Route, Routes, Way};
use crate::mail::{Domain, RouteName};
use crate::shaping::{Asked, Book, Company, Gateways, GroupNumber, Limits, Pace, Rate, Reach};
use crate::time::Timestamp;

/// Who is behind a gate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Who {
    /// A group of the book.
    Group(GroupNumber),
    /// A domain in none, by itself.
    Alone(Domain),
}

type Shared = Arc<Mutex<Pace>>;

/// What one group on one route has to keep to.
#[derive(Debug, Default)]
pub(super) struct Gate {
    pub(super) limits: Limits,
    /// Of the group.
    own: Option<Shared>,
    /// Of everything on the route.
    whole: Option<Shared>,
    /// Connections of the group; a domain by itself has a bound on its workers instead.
    pub(super) connections: Option<Arc<Semaphore>>,
}

impl Gate {
    /// Whether copies have to be let through one by one.
    pub(super) const fn is_paced(&self) -> bool {
        self.own.is_some() || self.whole.is_some()
    }

    /// How many may go now, `wanted` at most; they still have to pass.
    ///
    /// # Errors
    /// None before then.
    pub(super) fn room(&self, wanted: u32, now: Timestamp) -> Result<u32, Timestamp> {
        let mut room = wanted;
        for pace in self.paces() {
            room = lock(pace).fill(room, now)?;
        }
        Ok(room)
    }

    /// One goes through.
    ///
    /// # Errors
    /// It may not before then. That time is kept for it, behind those who were told before.
    pub(super) fn pass(&self, now: Timestamp) -> Result<(), Timestamp> {
        let mut held: Vec<_> = self.paces().map(lock).collect();
        let blocked = held.iter_mut().find_map(|pace| pace.fill(1, now).err().map(|until| pace.turn(until, now)));
        if let Some(until) = blocked {
            return Err(until);
        }
        held.iter_mut().try_for_each(|pace| pace.take(now))
    }

    /// From one copy to the next; zero where there is no rate.
    pub(super) fn interval(&self) -> Duration {
        self.paces().map(|pace| lock(pace).rate().interval()).max().unwrap_or_default()
    }

    /// Always in this order, so that nobody waits in a circle.
    fn paces(&self) -> impl Iterator<Item = &Mutex<Pace>> {
        self.whole.as_deref().into_iter().chain(self.own.as_deref())
    }

    /// Whether a new gate in its place would let more through.
    fn remembers(&self, now: Timestamp) -> bool {
        self.paces().any(|pace| lock(pace).remembers(now))
    }
}

fn pace(rate: Rate, gateways: Option<Gateways>) -> Shared {
    Arc::new(Mutex::new(gateways.map_or_else(|| Pace::new(rate), |gateways| Pace::shared(rate, gateways))))
}

fn lock(pace: &Mutex<Pace>) -> MutexGuard<'_, Pace> {
    // Nothing that can panic runs while it is held.
    pace.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A pace that could use more than it was given.
#[derive(Debug)]
pub struct Thirst {
    /// What the fleet knows it by.
    pub name: String,
    /// What to ask for.
    pub asked: Asked,
    pace: Shared,
}

impl Thirst {
    /// So many may go; it is in vain to ask for more before `next` has passed.
    pub fn give(&self, count: u32, next: Duration, now: Timestamp) {
        lock(&self.pace).give(count, next, now);
    }
}

/// What an operator sees of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limited {
    /// The route.
    pub route: RouteName,
    /// A group of the book, a domain by itself, or `all`.
    pub group: String,
    /// Its rate.
    pub rate: Option<String>,
    /// How many went since the start.
    pub passed: u64,
    /// Connections that are open, and how many may be.
    pub connections: Option<(usize, usize)>,
}

/// One route.
struct Lead {
    reach: Reach,
    /// Whether copies are told apart by their destination.
    shapes: bool,
    whole: Option<Shared>,
    /// For destinations that have no pace of their own and need no count.
    other: Arc<Gate>,
}

/// All gates.
pub(super) struct Gates {
    book: Arc<Book>,
    /// Who keeps the paces together.
    gateways: Option<Gateways>,
    leads: HashMap<RouteName, Lead>,
    known: Mutex<HashMap<(RouteName, Who), Arc<Gate>>>,
}

impl fmt::Debug for Gates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gates").finish_non_exhaustive()
    }
}

impl Gates {
    /// All open.
    pub(super) fn new(routes: &Routes, book: &Arc<Book>, gateways: Option<Gateways>) -> Self {
        let lead = |route: &Arc<Route>| {
            let reach = reach(route);
            let whole = book.whole(&route.name).map(|rate| pace(rate, gateways));
            let limits = Limits { rate: None, ..book.limits(&route.name, reach, None) };
            let other = Arc::new(Gate { limits, own: None, whole: whole.clone(), connections: None });
            let shapes = book.shapes(&route.name, reach);
            (route.name.clone(), Lead { reach, shapes, whole, other })
        };
        Self { book: Arc::clone(book), gateways, leads: routes.all().map(lead).collect(), known: Mutex::default() }
    }

    /// Whether mail on `route` is told apart by its destination.
    pub(super) fn shapes(&self, route: &RouteName) -> bool {
        self.leads.get(route).is_some_and(|lead| lead.shapes)
    }

    /// Whether every copy on `route` has to pass a gate.
    pub(super) fn guards(&self, route: &RouteName) -> bool {
        self.leads.get(route).is_some_and(|lead| lead.shapes || lead.whole.is_some())
    }

    /// Who a recipients' domain belongs to by its name.
    pub(super) fn who(&self, domain: &Domain) -> Who {
        self.book.by_domain(domain).map_or_else(|| Who::Alone(domain.clone()), Who::Group)
    }

    /// Who it belongs to by its name, or else by its mail servers.
    pub(super) fn who_by_mx<'a>(&self, domain: &Domain, hosts: impl IntoIterator<Item = &'a str>) -> Who {
        match self.who(domain) {
            alone @ Who::Alone(_) => self.book.by_mx(hosts).map_or(alone, Who::Group),
            group @ Who::Group(_) => group,
        }
    }

    /// The gate of `who` on `route`.
    pub(super) fn gate(&self, route: &RouteName, who: Who, now: Timestamp) -> Arc<Gate> {
        let Some(lead) = self.leads.get(route) else { return Arc::default() };
        if !lead.shapes {
            return Arc::clone(&lead.other);
        }
        let group = if let Who::Group(number) = &who { Some(*number) } else { None };
        let limits = self.book.limits(route, lead.reach, group);
        if group.is_none() && limits.rate.is_none() {
            return Arc::clone(&lead.other);
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (route.clone(), who);
        if let Some(gate) = known.get(&key) {
            return Arc::clone(gate);
        }
        if known.len() >= GROUPS_MAX {
            known.retain(|_, gate| Arc::strong_count(gate) > 1 || gate.remembers(now));
        }
        let connections =
            limits.connections.filter(|_| group.is_some()).and_then(|count| usize::try_from(count.get()).ok());
        let gate = Arc::new(Gate {
            limits,
            own: limits.rate.map(|rate| pace(rate, self.gateways)),
            whole: lead.whole.clone(),
            connections: connections.map(|count| Arc::new(Semaphore::new(count))),
        });
        // Beyond the bound all of them together wait for nothing but the route: what is not counted is not limited either.
        if known.len() < GROUPS_MAX {
            known.insert(key, Arc::clone(&gate));
        }
        gate
    }

    /// The gate for everything on `route`.
    pub(super) fn whole(&self, route: &RouteName) -> Arc<Gate> {
        let whole = self.leads.get(route).and_then(|lead| lead.whole.clone());
        Arc::new(Gate { whole, ..Gate::default() })
    }

    fn name_of(&self, who: &Who) -> String {
        match who {
            Who::Alone(domain) => domain.to_string(),
            Who::Group(number) => self.book.group(*number).map_or_else(String::new, |group| group.name.to_owned()),
        }
    }

    /// Shows every pace, with its route and whom it is for; nobody when it is for everything there.
    fn each(&self, mut show: impl FnMut(&RouteName, Option<&Who>, &Shared)) {
        for (route, lead) in &self.leads {
            if let Some(pace) = &lead.whole {
                show(route, None, pace);
            }
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for ((route, who), gate) in known.iter() {
            if let Some(pace) = &gate.own {
                show(route, Some(who), pace);
            }
        }
    }

    /// Whether a pace could use more than it was given.
    pub(super) fn are_thirsty(&self) -> bool {
        let mut thirsty = false;
        self.each(|_, _, pace| thirsty |= lock(pace).is_thirsty());
        thirsty
    }

    /// Those that could, and what they ask for since this was last called.
    pub(super) fn thirsts(&self) -> Vec<Thirst> {
        let mut thirsts = Vec::new();
        self.each(|route, who, pace| {
            if let Some(asked) = lock(pace).asks() {
                let whom = who.map_or_else(|| crate::shaping::ALL.to_owned(), |who| self.name_of(who));
                thirsts.push(Thirst { name: format!("{route}/{whom}"), asked, pace: Arc::clone(pace) });
            }
        });
        thirsts
    }

    /// Whether this gateway goes by its own share from now on.
    pub(super) fn company(&self, company: Company, now: Timestamp) {
        self.each(|_, _, pace| lock(pace).company(company, now));
    }

    /// Every limit that was met since the start, in order.
    pub(super) fn all(&self) -> Vec<Limited> {
        let wholes = self.leads.iter().filter_map(|(route, lead)| {
            let pace = lock(lead.whole.as_deref()?);
            let rate = Some(pace.rate().to_string());
            let group = crate::shaping::ALL.to_owned();
            Some(Limited { route: route.clone(), group, rate, passed: pace.used(), connections: None })
        });
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let groups = known.iter().map(|((route, who), gate)| {
            let group = self.name_of(who);
            let most = gate.limits.connections.and_then(|count| usize::try_from(count.get()).ok());
            let free = gate.connections.as_ref().map(|free| free.available_permits());
            Limited {
                route: route.clone(),
                group,
                rate: gate.limits.rate.map(|rate| rate.to_string()),
                passed: gate.own.as_ref().map_or(0, |pace| lock(pace).used()),
                connections: most.zip(free).map(|(most, free)| (most.saturating_sub(free), most)),
            }
        });
        let mut all: Vec<_> = wholes.chain(groups).collect();
        all.sort_by(|a, b| (&a.route, &a.group).cmp(&(&b.route, &b.group)));
        all
    }
}

pub(super) fn reach(route: &Route) -> Reach {
    match &route.way {
        Way::Smarthosts(_) => Reach::Smarthost,
        Way::Exchanges { .. } => Reach::Direct,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shaping::with_operator;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn gates(limits: &str) -> Gates {
        let route = Route::smarthost(RouteName::new("up").unwrap(), "x".to_owned(), 25, "g".to_owned());
        Gates::new(&Routes::new(route), &Arc::new(with_operator("own.toml", limits).unwrap()), None)
    }

    fn gate(gates: &Gates, domain: &str) -> Arc<Gate> {
        let who = gates.who(&Domain::parse(domain).unwrap());
        gates.gate(&RouteName::new("up").unwrap(), who, NOW)
    }

    fn limit(group: &str, rate: &str) -> String {
        format!("[[limit]]\nroute = \"up\"\ngroup = \"{group}\"\nrate = \"{rate}\"\n")
    }

    #[test]
    fn domains_of_a_group_share_its_pace_and_all_share_the_routes() {
        let gates = gates(&(limit("gmail", "1/s") + &limit("all", "2/m")));
        let (gmail, other) = (gate(&gates, "gmail.com"), gate(&gates, "x.example"));
        assert!(Arc::ptr_eq(&gmail, &gate(&gates, "googlemail.com")));
        assert_eq!(gmail.pass(NOW), Ok(()));
        assert_eq!(other.pass(NOW), Err(NOW.plus(Duration::from_secs(30))), "the route's");
        assert_eq!((gmail.interval(), other.interval()), (Duration::from_secs(30), Duration::from_secs(30)));
        let all = gates.all();
        let shown: Vec<_> = all.iter().map(|known| (known.group.as_str(), known.passed)).collect();
        assert_eq!(shown, [("all", 1), ("gmail", 1)]);
    }

    #[test]
    fn each_domain_in_no_group_has_a_pace_by_itself_and_those_who_wait_come_in_turn() {
        let gates = gates(&limit("other", "20/m"));
        let (one, two) = (gate(&gates, "one.example"), gate(&gates, "two.example"));
        assert_eq!((one.pass(NOW), two.pass(NOW)), (Ok(()), Ok(())));
        let waits: Vec<_> = (0..3).map(|_| one.pass(NOW).unwrap_err().since(NOW).as_secs()).collect();
        assert_eq!(waits, [3, 6, 9]);
        assert!(!gate(&gates, "gmail.com").is_paced(), "a group is not one of those");
    }

    #[test]
    fn gates_are_bounded_and_those_that_nobody_waits_at_make_room() {
        let gates = gates(&limit("other", "1/h"));
        let domain = |n: usize| format!("d{n}.example");
        let held: Vec<_> = (0..GROUPS_MAX).map(|n| gate(&gates, &domain(n))).collect();
        gate(&gates, &domain(GROUPS_MAX));
        assert_eq!(gates.all().len(), GROUPS_MAX, "all are in use");
        held[0].pass(NOW).unwrap();
        drop(held);
        gate(&gates, &domain(GROUPS_MAX));
        let left = gates.all();
        assert_eq!(left.len(), 2, "the one whose pace is used up, and the new one");
    }

    #[test]
    fn paces_of_a_fleet_ask_by_route_and_group_for_what_could_be_used() {
        let route = Route::smarthost(RouteName::new("up").unwrap(), "x".to_owned(), 25, "g".to_owned());
        let book = with_operator("own.toml", &(limit("gmail", "100/s") + &limit("all", "200/s"))).unwrap();
        let gates = Gates::new(&Routes::new(route), &Arc::new(book), crate::shaping::Gateways::new(2));
        let gmail = gate(&gates, "gmail.com");
        assert!(!gates.are_thirsty());
        assert!(gmail.room(20, NOW).is_err() && gmail.pass(NOW).is_err(), "nothing was given");
        let whole = gates.thirsts();
        let asked = |thirsts: &[Thirst]| {
            thirsts.iter().map(|thirst| (thirst.name.clone(), thirst.asked.wanted.get())).collect::<Vec<_>>()
        };
        assert_eq!(asked(&whole), [("up/all".to_owned(), 21)], "the next one is not asked while this one has nothing");
        whole[0].give(21, Duration::ZERO, NOW);
        assert!(gmail.room(20, NOW).is_err());
        let own = gates.thirsts();
        assert_eq!(asked(&own), [("up/gmail".to_owned(), 20)]);
        assert_eq!(own[0].asked.interval, Duration::from_millis(20), "of its share");
        own[0].give(5, Duration::ZERO, NOW);
        assert_eq!(gmail.room(20, NOW), Ok(5));
        assert_eq!((0..9).filter(|_| gmail.pass(NOW).is_ok()).count(), 5);
        let late = NOW.plus(crate::shaping::GIVEN_FOR + Duration::from_millis(1));
        assert!(gate(&gates, "x.example").pass(NOW).is_ok(), "of the route there are some left");
        assert!(gate(&gates, "x.example").pass(late).is_err(), "and they do not keep");
    }
}
