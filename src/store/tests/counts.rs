//! What gateways count together, in a real server: by its own time, and by one that the test gives.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use super::conformance::{GatewayFolder, redis_at};
use super::*;
use crate::store::{Claims, DayClaim, Grants, PACES_MAX, PaceClaim, STAY, ServerTime};

struct Fleet {
    server: RedisServer,
    _folders: Vec<GatewayFolder>,
    stores: Vec<Store>,
    runtime: tokio::runtime::Runtime,
}

fn pace(name: &str, interval: Duration, wanted: u32) -> PaceClaim {
    PaceClaim { name: name.to_owned(), interval, burst: NonZeroU32::new(5).unwrap(), wanted }
}

fn day(mine: u64, target: u64, seen: u64) -> DayClaim {
    DayClaim { name: "new/2026-11-26".to_owned(), limit: 100, mine, target, seen }
}

impl Fleet {
    fn on(server: RedisServer, redis: &RedisSettings, gateways: usize) -> Self {
        let first = GatewayFolder::new();
        let mut stores = vec![Store::create_fleet(redis, &first.settings, 10_000).unwrap()];
        let mut folders = vec![first];
        for _ in 1..gateways {
            let next = folders[0].beside();
            stores.push(Store::open_fleet(redis, &next.settings).unwrap());
            folders.push(next);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { server, _folders: folders, stores, runtime }
    }

    fn start(gateways: usize) -> Self {
        let server = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]);
        let redis = redis_at(server.port, "c:");
        Self::on(server, &redis, gateways)
    }

    fn ask(
        &self,
        who: usize,
        until: ServerTime,
        paces: Vec<PaceClaim>,
        days: Vec<DayClaim>,
    ) -> Result<Grants, StoreError> {
        let claims = Claims { until, gateways: NonZeroU16::new(2).unwrap(), paces, days };
        self.runtime.block_on(self.stores[who].counts().unwrap().claim(&claims))
    }

    fn time(&self) -> ServerTime {
        self.ask(0, ServerTime(0), Vec::new(), Vec::new()).unwrap().at
    }

    fn claim(&self, who: usize, paces: Vec<PaceClaim>, days: Vec<DayClaim>) -> Grants {
        self.ask(who, self.time().plus(STAY), paces, days).unwrap()
    }
}

#[test]
fn a_pace_is_one_for_all_gateways_and_a_late_call_gets_nothing() {
    let fleet = Fleet::start(2);
    let claim = |wanted| vec![pace("up/all", Duration::from_hours(1), wanted)];
    let first = fleet.claim(0, claim(3), Vec::new());
    assert_eq!((first.here, first.paces[0].count), (1, 3));
    let second = fleet.claim(1, claim(9), Vec::new());
    assert_eq!((second.here, second.paces[0].count), (2, 2), "what the first one left of the burst");
    let wait = second.paces[0].next;
    assert!(wait > Duration::from_mins(29) && wait <= Duration::from_mins(30), "two shares of an hour: {wait:?}");
    let late =
        fleet.ask(0, fleet.time(), vec![pace("up/other", Duration::from_hours(1), 3)], vec![day(0, 5, 0)]).unwrap();
    assert!(late.paces.is_empty() && late.days.is_empty(), "{late:?}");
    let other = fleet.claim(0, vec![pace("up/other", Duration::from_hours(1), 9)], Vec::new());
    assert_eq!(other.paces[0].count, 5, "nothing was given to the late one");
}

#[test]
fn as_many_paces_as_one_call_may_have_are_counted_at_once() {
    let fleet = Fleet::start(1);
    let claims: Vec<_> = (0..PACES_MAX).map(|n| pace(&format!("up/d{n}.example"), Duration::from_secs(1), 1)).collect();
    let grants = fleet.claim(0, claims, vec![day(0, 7, 0)]);
    assert!(grants.paces.len() == PACES_MAX && grants.paces.iter().all(|grant| grant.count == 1));
    assert_eq!((grants.days[0].mine, grants.days[0].total), (7, 7));
}

#[test]
fn a_day_is_given_once_whoever_asks_twice_and_whatever_the_server_forgets() {
    let mut fleet = Fleet::start(2);
    let ask = |fleet: &Fleet, who, mine, target, seen| {
        let grant = fleet.claim(who, Vec::new(), vec![day(mine, target, seen)]).days[0];
        (grant.mine, grant.total)
    };
    assert_eq!(ask(&fleet, 0, 0, 40, 0), (40, 40));
    assert_eq!(ask(&fleet, 0, 0, 40, 0), (40, 40), "the answer was lost, and it is asked again");
    assert_eq!(ask(&fleet, 1, 0, 30, 0), (30, 70));
    // Flushed: what either says first counts, and what it saw of the other as well.
    fleet.server.command(&["FLUSHALL"]);
    assert_eq!(ask(&fleet, 1, 30, 60, 70), (60, 100));
    assert_eq!(ask(&fleet, 0, 40, 50, 40), (40, 100));
    // Killed, and started again with what is on its disk.
    fleet.server.kill();
    assert!(fleet.ask(0, ServerTime(i64::MAX), Vec::new(), vec![day(40, 50, 100)]).is_err());
    fleet.server.start_again();
    for store in &fleet.stores {
        super::fleet::eventually(|| {
            assert!(store.blocking_probe().is_err(), "the facts are gone; what is counted does not depend on them");
            let counts = store.counts().unwrap();
            let claims =
                Claims { until: ServerTime(0), gateways: NonZeroU16::MIN, paces: Vec::new(), days: Vec::new() };
            fleet.runtime.block_on(counts.claim(&claims)).ok()
        });
    }
    assert_eq!(ask(&fleet, 0, 40, 50, 40), (40, 100));
    // An old snapshot: less than it was.
    fleet.server.command(&["HSET", "c:{limits}:day:new/2026-11-26", ":", "10"]);
    assert_eq!(ask(&fleet, 1, 60, 90, 100), (60, 100));
}

#[test]
fn a_server_that_does_not_let_the_script_run_costs_the_counts_and_not_the_facts() {
    let fleet = Fleet::start(1);
    fleet.server.command(&["ACL", "SETUSER", "default", "-time"]);
    let refused = fleet.ask(0, ServerTime(0), Vec::new(), Vec::new());
    assert!(
        matches!(&refused, Err(StoreError::Away { because }) if because.contains("can't run this command")),
        "{refused:?}"
    );
    assert!(facts(&fleet.stores[0], "a@x.example").is_empty(), "the connection is still there");
    fleet.server.command(&["ACL", "SETUSER", "default", "+time"]);
    fleet.server.signal("STOP");
    assert!(fleet.ask(0, ServerTime(0), Vec::new(), Vec::new()).is_err());
    fleet.server.signal("CONT");
    super::fleet::whole_again(&[&fleet.stores[0]]);
    fleet.time();
}

#[test]
fn in_a_cluster_everything_is_counted_on_one_node() {
    let cluster = super::conformance::Cluster::start();
    let redis = cluster.settings("c:");
    let fleet = Fleet::on(RedisServer::start(&[]), &redis, 2);
    let claim = || vec![pace("up/all", Duration::from_hours(1), 4), pace("direct/gmail", Duration::from_hours(1), 4)];
    let counts = |grants: &Grants| grants.paces.iter().map(|grant| grant.count).collect::<Vec<_>>();
    assert_eq!(counts(&fleet.claim(0, claim(), vec![day(0, 60, 0)])), [4, 4]);
    let second = fleet.claim(1, claim(), vec![day(0, 60, 0)]);
    assert_eq!((counts(&second), second.days[0].mine), (vec![1, 1], 40));
}
