//! Gateways, a server and a network in which everything goes wrong, under a clock of the test's own. The server is a real one: what
//! is tested is the script that it runs.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use proptest::prelude::*;

use super::presence::{Presence, Question};
use crate::shaping::{Company, Gateways, Pace, Rate};
use crate::store::tests::redis_server::RedisServer;
use crate::store::{
    Claims, Cleartext, Counts, Grants, PaceClaim, RedisSettings, STAY, Security, Server, ServerTime, Settings, Store,
    Topology,
};
use crate::time::Timestamp;

const GATEWAYS: usize = 3;
const BEGIN: Timestamp = Timestamp::from_secs(1_800_000_000);
/// The server's clock is not ours.
const SERVER_AHEAD: i64 = 77_000_000;

fn redis(server: &RedisServer) -> RedisSettings {
    RedisSettings {
        topology: Topology::Single(Server { host: "127.0.0.1".to_owned(), port: server.port }),
        security: Security::Plain,
        user: None,
        password_file: None,
        database: 0,
        prefix: "c:".to_owned(),
    }
}

/// A server and the way of each gateway to it.
struct Place {
    server: RedisServer,
    runtime: tokio::runtime::Runtime,
    counts: Vec<Counts>,
    _folders: Vec<tempfile::TempDir>,
}

impl Place {
    fn new() -> Self {
        let server = RedisServer::start(&[]);
        let folders: Vec<_> = (0..GATEWAYS).map(|_| tempfile::tempdir().unwrap()).collect();
        let settings = |folder: &tempfile::TempDir| Settings {
            path: folder.path().join("store.db"),
            key_file: None,
            cleartext: Cleartext::Keep,
        };
        let first = Store::create_fleet(&redis(&server), &settings(&folders[0]), 1_000).unwrap();
        let mut counts = vec![first.counts().unwrap()];
        for folder in &folders[1..] {
            std::fs::copy(folders[0].path().join("store.key"), folder.path().join("store.key")).unwrap();
            counts.push(Store::open_fleet(&redis(&server), &settings(folder)).unwrap().counts().unwrap());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { server, runtime, counts, _folders: folders }
    }

    fn claim(&self, who: usize, claims: &Claims, at: u64) -> Grants {
        let at = ServerTime(i64::try_from(at).unwrap() * 1000 + SERVER_AHEAD);
        self.runtime.block_on(self.counts[who].claim_at(claims, at)).unwrap()
    }
}

/// How the network treats a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Well,
    /// It never arrives.
    Lost,
    /// The answer never arrives.
    Deaf,
    /// It arrives later, and nobody hears of it.
    Late,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// So many rounds, so many milliseconds apart: everybody calls and sends as much as may be.
    Rounds(u64, u64),
    Way(usize, Way),
    /// Killed and started again.
    Restart(usize),
    /// What was late arrives.
    Arrive,
    Flush,
}

fn event() -> impl Strategy<Value = Event> {
    let who = 0..GATEWAYS;
    let way = prop_oneof![4 => Just(Way::Well), 3 => Just(Way::Lost), 1 => Just(Way::Deaf), 1 => Just(Way::Late)];
    prop_oneof![
        12 => (1_u64..12, 1_u64..700).prop_map(|(count, apart)| Event::Rounds(count, apart)),
        12 => (who.clone(), way).prop_map(|(who, way)| Event::Way(who, way)),
        2 => who.prop_map(Event::Restart),
        2 => Just(Event::Arrive),
        1 => Just(Event::Flush),
    ]
}

struct Gateway {
    begun: u64,
    presence: Presence,
    pace: Pace,
}

struct World<'a> {
    place: &'a Place,
    rate: Rate,
    gateways: Gateways,
    /// Milliseconds since the beginning.
    now: u64,
    all: Vec<Gateway>,
    ways: [Way; GATEWAYS],
    /// The last call that is still on its way.
    late: Vec<(usize, Claims)>,
    sent: u64,
    flushes: u64,
}

impl<'a> World<'a> {
    fn new(place: &'a Place, rate: Rate) -> Self {
        place.server.command(&["FLUSHALL"]);
        let gateways = Gateways::new(u16::try_from(GATEWAYS).unwrap()).unwrap();
        let gateway = |_| Gateway { begun: 0, presence: Presence::default(), pace: Pace::shared(rate, gateways) };
        let all = (0..GATEWAYS).map(gateway).collect();
        Self { place, rate, gateways, now: 0, all, ways: [Way::Well; GATEWAYS], late: Vec::new(), sent: 0, flushes: 0 }
    }

    fn clock(&self) -> Timestamp {
        BEGIN.plus(Duration::from_millis(self.now))
    }

    fn own_time(&self, who: usize) -> Duration {
        Duration::from_millis(self.now - self.all[who].begun)
    }

    fn company(&mut self, who: usize) -> Company {
        let (own, now) = (self.own_time(who), self.clock());
        let gateway = &mut self.all[who];
        let company = gateway.presence.company(own);
        gateway.pace.company(company, now);
        company
    }

    /// One step of a member, as [`super::Member`] takes them.
    fn call(&mut self, who: usize, way: Way) {
        self.company(who);
        let own = self.own_time(who);
        let question = self.all[who].presence.question(own);
        self.company(who);
        let (until, asked) = match question {
            Question::Time => (ServerTime(0), None),
            Question::Claims(until) => (until, self.all[who].pace.asks()),
        };
        let pace = asked.map(|asked| PaceClaim {
            name: "up/all".to_owned(),
            interval: asked.interval,
            burst: asked.burst,
            wanted: asked.wanted.get(),
        });
        let gateways = NonZeroU16::new(self.gateways.get()).unwrap();
        let claims = Claims { until, gateways, paces: pace.into_iter().collect(), days: Vec::new() };
        match way {
            Way::Lost => {}
            Way::Late => self.late = vec![(who, claims)],
            Way::Well | Way::Deaf => {
                let grants = self.place.claim(who, &claims, self.now);
                if way == Way::Well {
                    let now = self.clock();
                    self.all[who].presence.heard(grants.at, own);
                    for grant in &grants.paces {
                        self.all[who].pace.give(grant.count, grant.next, now);
                    }
                }
            }
        }
        if way != Way::Well {
            self.all[who].presence.missed();
        }
        self.company(who);
    }

    fn send(&mut self, who: usize, count: u32) {
        let now = self.clock();
        let pace = &mut self.all[who].pace;
        let _room = pace.fill(count, now);
        self.sent += u64::from((0..count).map_while(|_| pace.take(now).ok()).map(|()| 1_u32).sum::<u32>());
    }

    fn meet(&mut self, event: Event) {
        match event {
            Event::Rounds(count, apart) => {
                for _ in 0..count {
                    for who in 0..GATEWAYS {
                        self.send(who, 1000);
                        self.call(who, self.ways[who]);
                        self.send(who, 1000);
                    }
                    self.now += apart;
                }
            }
            Event::Way(who, way) => self.ways[who] = way,
            Event::Restart(who) => {
                self.all[who] = Gateway {
                    begun: self.now,
                    presence: Presence::default(),
                    pace: Pace::shared(self.rate, self.gateways),
                };
            }
            Event::Arrive => {
                for (who, claims) in std::mem::take(&mut self.late) {
                    self.place.claim(who, &claims, self.now);
                }
            }
            Event::Flush => {
                self.place.server.command(&["FLUSHALL"]);
                self.flushes += 1;
            }
        }
    }

    /// What may have left by now: the burst, again after each loss of what was counted, and the rate.
    fn bound(&self) -> u64 {
        let rate = u128::from(self.now) * 1_000_000 / self.rate.interval().as_nanos();
        u64::from(self.rate.burst().get()) * (1 + self.flushes) + u64::try_from(rate).unwrap()
    }
}

#[test]
fn the_time_in_which_a_gateway_went_by_its_own_share_fills_nothing_for_all() {
    let place = Place::new();
    let ask = |at: u64| {
        let until = ServerTime(i64::try_from(at).unwrap() * 1000 + SERVER_AHEAD).plus(STAY);
        // A burst that ten seconds do not fill, so that the fill itself is seen.
        let burst = NonZeroU32::new(100).unwrap();
        let wanted = PaceClaim { name: "p".to_owned(), interval: Duration::from_secs(1), burst, wanted: 100 };
        let claims = Claims { until, gateways: NonZeroU16::new(2).unwrap(), paces: vec![wanted], days: Vec::new() };
        place.claim(0, &claims, at).paces[0].count
    };
    assert_eq!((ask(1000), ask(2000)), (100, 1), "full at first, then by one share");
    assert_eq!(ask(14_000), 0, "its word of two seconds had run out ten seconds before");
    assert_eq!(ask(15_000), 1);
}

#[test]
fn however_gateways_and_outages_come_together_they_send_no_faster_than_the_rate() {
    let place = Place::new();
    let strategy = ("[1-9][0-9]{0,2}/[sm]", prop::collection::vec(event(), 1..80));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases: 96, ..ProptestConfig::default() });
    let outcome = runner.run(&strategy, |(rate, events)| {
        let mut world = World::new(&place, rate.parse().unwrap());
        for event in events {
            world.meet(event);
            prop_assert!(
                world.sent <= world.bound(),
                "{} sent, {} allowed at {}",
                world.sent,
                world.bound(),
                world.now
            );
        }
        Ok(())
    });
    outcome.unwrap();
}

/// A second of calls as members make them, with more to send than may be.
fn busy(world: &mut World<'_>, seconds: u64, ways: &[(usize, Way)]) -> u64 {
    let before = world.sent;
    for _ in 0..seconds * 10 {
        for (who, way) in ways {
            world.call(*who, *way);
            world.send(*who, 1000);
        }
        world.now += 100;
    }
    world.sent - before
}

/// What is not used by one is used by the other, and what is lost is no more than is told.
#[test]
fn gateways_together_use_the_whole_rate_and_one_that_is_cut_off_its_share() {
    let place = Place::new();
    let mut world = World::new(&place, "90/s".parse().unwrap());
    let well = [(0, Way::Well), (1, Way::Well), (2, Way::Well)];
    busy(&mut world, 3, &well);
    let whole = busy(&mut world, 20, &well);
    assert!((1780..=1800).contains(&whole), "{whole} of 1800");
    // The third one has nothing to send, and says that it is there.
    let before = world.sent;
    for _ in 0..200 {
        for who in [0, 1] {
            world.call(who, Way::Well);
            world.send(who, 1000);
        }
        world.call(2, Way::Well);
        world.now += 100;
    }
    let lent = world.sent - before;
    assert!((1780..=1800).contains(&lent), "{lent} of 1800");
    // The third one is cut off: it goes by its share, the others by theirs.
    let cut = [(0, Way::Well), (1, Way::Well), (2, Way::Lost)];
    busy(&mut world, 5, &cut);
    let divided = busy(&mut world, 20, &cut);
    assert!((1780..=1800).contains(&divided), "{divided} of 1800");
    // The server is away for all.
    let away = [(0, Way::Lost), (1, Way::Lost), (2, Way::Lost)];
    busy(&mut world, 5, &away);
    let shares = busy(&mut world, 20, &away);
    assert!((1780..=1800).contains(&shares), "{shares} of 1800");
    assert!(world.sent <= world.bound());
    // Everybody comes back.
    busy(&mut world, 3, &well);
    let again = busy(&mut world, 20, &well);
    assert!((1780..=1800).contains(&again), "{again} of 1800");
}

/// What the script and the pace say of the burst is the same thing.
#[test]
fn a_pause_leaves_one_burst_for_all_gateways_together() {
    let place = Place::new();
    let mut world = World::new(&place, "100/s".parse().unwrap());
    let burst = u64::from(NonZeroU32::new(25).unwrap().get());
    let well = [(0, Way::Well), (1, Way::Well), (2, Way::Well)];
    busy(&mut world, 2, &well);
    for _ in 0..100 {
        for who in 0..GATEWAYS {
            world.call(who, Way::Well);
        }
        world.now += 100;
    }
    let before = world.sent;
    for _ in 0..3 {
        for who in 0..GATEWAYS {
            world.send(who, 1000);
            world.call(who, Way::Well);
            world.send(who, 1000);
        }
    }
    assert_eq!(world.sent - before, burst);
}
