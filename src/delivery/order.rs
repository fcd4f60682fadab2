//! In which order copies are fetched from the spool: whose class may go at all, and whose turn it is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::board::Board;
use super::fair::{Fair, Flow, NOTICES};
use super::gate::{Gate, Who};
use super::lane::Pool;
use super::routes::Route;
use super::{Settings, gate};
use crate::shaping::GroupNumber;
use crate::spool::{Class, Sorter, Turns};
use crate::time::{Clock, Timestamp};

/// Fetched of one class while another one waits: a disk likes some at a time, and nobody notices so few before them.
const QUANTUM: usize = 32;
/// How soon it is looked again whether a way that has enough to do has room.
pub(super) const FULL_LOOK: Duration = Duration::from_millis(10);

/// What class a copy is of: its stream, and on a route where destinations are told apart the group of its first
/// recipient. Domains in no group are of one class together.
#[derive(Debug)]
struct Classes {
    /// Groups, and one more for none.
    columns: u16,
}

impl Classes {
    fn of(settings: &Settings) -> Self {
        let groups = settings.shaping.groups().count();
        Self { columns: u16::try_from(groups).unwrap_or(u16::MAX - 1) + 1 }
    }

    /// Streams whose number is too high share the class of the last.
    const fn class(&self, flow: Flow, group: Option<GroupNumber>) -> Class {
        let column = match group {
            Some(number) => number.as_u16() + 1,
            None => 0,
        };
        Class(flow.number.saturating_mul(self.columns).saturating_add(column))
    }

    const fn parts(&self, class: Class) -> (u16, Option<GroupNumber>) {
        let group = match (class.0 % self.columns).checked_sub(1) {
            Some(number) => Some(GroupNumber::from_u16(number)),
            None => None,
        };
        (class.0 / self.columns, group)
    }
}

impl Settings {
    /// Says which copies the spool keeps in one line.
    pub fn sorter(&self) -> Sorter {
        let (classes, streams, routes, book) =
            (Classes::of(self), self.streams.clone(), self.routes.clone(), Arc::clone(&self.shaping));
        Sorter::new(move |manifest, recipients| {
            let label = &manifest.label;
            let route = routes.of_stream(&label.stream);
            let group = recipients
                .first()
                .filter(|_| book.shapes(&route.name, gate::reach(route)))
                .and_then(|recipient| book.by_domain(recipient.mailbox.domain()));
            classes.class(streams.flow(label), group)
        })
    }
}

/// A stream's place and way.
struct Lead<L> {
    flow: Flow,
    route: Arc<Route>,
    /// Where it goes to smarthosts.
    pool: Option<Arc<Pool<L>>>,
}

/// The order, across fetches.
pub(super) struct Order<L> {
    classes: Classes,
    leads: HashMap<u16, Lead<L>>,
    board: Arc<Board>,
    clock: Arc<dyn Clock>,
    gates: HashMap<Class, Arc<Gate>>,
    fair: Fair,
    now: Timestamp,
    /// Classes that may not go during this fetch.
    blocked: Vec<Class>,
    again: Option<Duration>,
}

impl<L> Order<L> {
    /// `pools` stand in the order of the routes.
    pub(super) fn new(
        settings: &Settings,
        board: &Arc<Board>,
        pools: &[Option<Arc<Pool<L>>>],
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let routes: Vec<_> = settings.routes.all().collect();
        let lead = |flow: Flow, place: usize| {
            let route = Arc::clone(routes.get(place).or_else(|| routes.first())?);
            let pool = pools.get(place).cloned().flatten();
            Some((flow.number, Lead { flow, route, pool }))
        };
        let streams = settings.streams.all();
        let leads =
            streams.filter_map(|(name, flow)| lead(flow, settings.routes.place_of(name))).chain(lead(NOTICES, 0));
        Self {
            classes: Classes::of(settings),
            leads: leads.collect(),
            board: Arc::clone(board),
            clock: Arc::clone(clock),
            gates: HashMap::new(),
            fair: Fair::default(),
            now: clock.now(),
            blocked: Vec::new(),
            again: None,
        }
    }

    fn lead(&self, class: Class) -> Option<&Lead<L>> {
        self.leads.get(&self.classes.parts(class).0)
    }

    fn flow(&self, class: Class) -> Flow {
        self.lead(class).map_or(NOTICES, |lead| lead.flow)
    }

    /// How many of `class` may go now.
    fn room(&mut self, class: Class, max: usize) -> Result<usize, Timestamp> {
        let now = self.now;
        let Some(lead) = self.leads.get(&self.classes.parts(class).0) else { return Ok(max) };
        let route = &lead.route;
        let slowed = self.board.slowed(&route.name, now).filter(|until| *until > now);
        if let Some(until) = slowed.or_else(|| self.board.warming().closes(route, now)) {
            return Err(until);
        }
        let room = match &lead.pool {
            Some(pool) => pool.room(lead.flow, now)?.min(max),
            None => max,
        };
        let gates = self.board.gates();
        if !gates.guards(&route.name) {
            return Ok(room);
        }
        let (_, group) = self.classes.parts(class);
        let gate = self.gates.entry(class).or_insert_with(|| match group {
            Some(number) => gates.gate(&route.name, Who::Group(number), now),
            None => gates.whole(&route.name),
        });
        let wanted = u32::try_from(room).unwrap_or(u32::MAX);
        gate.room(wanted, now).map(|room| usize::try_from(room).unwrap_or(usize::MAX))
    }
}

impl<L: Send + Sync> Turns for Order<L> {
    fn begin(&mut self, now: Timestamp) {
        self.now = now.max(self.clock.now());
        self.blocked.clear();
        self.again = None;
    }

    fn next(&mut self, due: &[(Class, Timestamp)], max: usize) -> Option<(Class, usize)> {
        loop {
            let free = due.iter().filter(|(class, _)| !self.blocked.contains(class));
            let flow = self.fair.next(free.clone().map(|(class, _)| self.flow(*class)))?;
            let own = free.filter(|(class, _)| self.flow(*class) == flow);
            let (class, _) = *own.min_by_key(|(_, first)| *first)?;
            match self.room(class, max) {
                Ok(room) if room > 0 => return Some((class, if due.len() > 1 { room.min(QUANTUM) } else { room })),
                Ok(_) => self.pass_over(class, FULL_LOOK),
                Err(until) => self.pass_over(class, until.since(self.now).max(Duration::from_millis(1))),
            }
        }
    }

    fn took(&mut self, class: Class, count: usize) {
        self.fair.served(self.flow(class), count);
    }

    fn again(&self) -> Option<Duration> {
        self.again
    }
}

impl<L> Order<L> {
    fn pass_over(&mut self, class: Class, wait: Duration) {
        self.blocked.push(class);
        self.again = Some(self.again.map_or(wait, |known| known.min(wait)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::routes::Routes;
    use crate::delivery::{Priority, Share, Streams};
    use crate::mail::{Label, Mailbox, Recipient, RouteName, StreamName};
    use crate::shaping::with_operator;
    use crate::spool::Manifest;
    use crate::time::ManualClock;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    struct Place {
        _folder: tempfile::TempDir,
        clock: Arc<ManualClock>,
        settings: Settings,
        order: Order<u32>,
    }

    /// Two streams on a route to a smarthost, with these limits.
    fn place(limits: &str) -> Place {
        let route = Route::smarthost(RouteName::new("up").unwrap(), "x".to_owned(), 25, "g".to_owned());
        let mut settings = Settings::new(Routes::new(route), Arc::new(crate::replies::embedded().unwrap()));
        let mut streams = Streams::default();
        streams.add(StreamName::new("news").unwrap(), Share::default());
        streams.add(StreamName::new("shop").unwrap(), Share { priority: Priority::First, ..Share::default() });
        settings.streams = Arc::new(streams);
        settings.shaping = Arc::new(with_operator("own.toml", limits).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let board = Arc::new(Board::open(folder.path(), &settings).unwrap());
        let clock = Arc::new(ManualClock::new(NOW));
        let given: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let order = Order::new(&settings, &board, &[None], &given);
        Place { _folder: folder, clock, settings, order }
    }

    impl Place {
        fn class(&self, stream: &str, to: &str) -> Class {
            let entry = crate::delivery::fake::entry(1, "");
            let label = Label { stream: StreamName::new(stream).unwrap(), ..entry.manifest.label.clone() };
            let manifest = Manifest { label, ..(*entry.manifest).clone() };
            let recipient = Recipient::new(Mailbox::parse(to).unwrap());
            self.settings.sorter().class_of(&manifest, &[recipient])
        }

        /// What is fetched of these now, and in what time to ask again.
        fn fetch(&mut self, due: &[Class], max: usize) -> (Vec<(Class, usize)>, Option<Duration>) {
            let mut due: Vec<_> = due.iter().map(|class| (*class, NOW)).collect();
            let (mut fetched, mut left) = (Vec::new(), max);
            self.order.begin(self.clock.now());
            while left > 0
                && let Some((class, count)) = self.order.next(&due, left)
            {
                self.order.took(class, count);
                left -= count;
                fetched.push((class, count));
                due.retain(|(known, _)| *known != class);
            }
            (fetched, self.order.again())
        }
    }

    const GMAIL: &str = "[[limit]]\nroute = \"up\"\ngroup = \"gmail\"\nrate = \"8/s\"\n";

    #[test]
    fn streams_and_groups_have_classes_of_their_own_where_it_matters() {
        let limited = place(GMAIL);
        let of = |stream, to| limited.class(stream, to);
        assert_eq!(of("news", "a@gmail.com"), of("news", "b@googlemail.com"));
        assert_ne!(of("news", "a@gmail.com"), of("shop", "a@gmail.com"));
        assert_ne!(of("news", "a@gmail.com"), of("news", "a@yahoo.com"));
        assert_eq!(of("news", "a@x.example"), of("news", "a@y.example"), "in no group");
        assert_ne!(of("gone", "a@x.example"), of("news", "a@x.example"));
        let plain = place("");
        assert_eq!(plain.class("news", "a@gmail.com"), plain.class("news", "a@x.example"), "nothing is limited");
    }

    #[test]
    fn a_class_whose_pace_is_used_up_is_left_alone_until_it_is_not() {
        let mut place = place(GMAIL);
        let (gmail, other) = (place.class("news", "a@gmail.com"), place.class("news", "a@x.example"));
        assert_eq!(place.fetch(&[gmail, other], 100), (vec![(gmail, 2), (other, 98)], None), "two are the burst");
        // What was fetched passes the gate, as the dispatcher lets it.
        let gate = Arc::clone(&place.order.gates[&gmail]);
        assert!(gate.pass(NOW).is_ok() && gate.pass(NOW).is_ok());
        let (fetched, again) = place.fetch(&[gmail, other], 10);
        assert_eq!(fetched, [(other, 10)]);
        assert!(again.is_some_and(|again| again <= Duration::from_millis(126)), "{again:?}");
        assert_eq!(place.fetch(&[gmail], 10).0, []);
        place.clock.advance(Duration::from_millis(125));
        assert_eq!(place.fetch(&[gmail], 10), (vec![(gmail, 1)], None));
    }

    #[test]
    fn receipts_go_first_and_nobody_is_fetched_from_a_slowed_route() {
        let mut place = place("");
        let (news, shop) = (place.class("news", "a@x.example"), place.class("shop", "a@x.example"));
        place.fetch(&[news], 1000);
        assert_eq!(place.fetch(&[news, shop], 100).0, [(shop, QUANTUM), (news, 68)]);
        let label = crate::delivery::fake::entry(1, "").manifest.label.clone();
        let domain = crate::mail::Domain::parse("x.example").unwrap();
        place.order.board.slow(&label, &domain, NOW).unwrap();
        let (fetched, again) = place.fetch(&[news, shop], 100);
        assert_eq!((fetched, again), (vec![], Some(Duration::from_secs(1))));
    }
}
