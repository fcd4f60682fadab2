//! Limits that two gateways keep together: counted at the upstream, by what arrived.

use std::time::{Duration, Instant};

use crate::redis::{prepare, spec_at};
use crate::support::redis_server::RedisServer;
use crate::support::{Client, Gateway, Spec, Upstream, eventually};

const MESSAGE: &[u8] = b"From: News <news@acme.example>\r\nSubject: Hello\r\n\r\nHi.\r\n";

/// Two gateways on one Redis, with the same limits.
struct Fleet {
    redis: RedisServer,
    upstream: Upstream,
    folders: [tempfile::TempDir; 2],
    gateways: Vec<Gateway>,
}

impl Fleet {
    fn start(more: &str, limits: &str) -> Self {
        let (redis, upstream) =
            (RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]), Upstream::start());
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let mut spec: Spec = spec_at(upstream.address, redis.port);
        let shared = "[fleet]\ngateways = 2\n[shaping]\nfile = \"shaping.toml\"\n";
        spec.more = [&spec.more, shared, more].concat();
        for (folder, first) in folders.iter().zip([None, Some(folders[0].path())]) {
            std::fs::write(folder.path().join("shaping.toml"), limits).unwrap();
            prepare(folder.path(), &spec, first);
        }
        let gateways = folders.iter().map(|folder| Gateway::restart_there(folder.path())).collect();
        Self { redis, upstream, folders, gateways }
    }

    fn submit(&self, who: usize, count: usize, named: &str) {
        let mut client = Client::connect(self.gateways[who].smtp);
        for n in 0..count {
            let reply = client.message("b@acme.example", &[&format!("{named}{n}@b.example")], MESSAGE).1;
            assert!(reply.as_ref().is_some_and(|reply| reply.starts_with("250")), "{reply:?}");
        }
    }

    fn arrived(&self) -> usize {
        self.upstream.received().len()
    }

    fn queued(&self, who: usize) -> String {
        String::from_utf8_lossy(&self.gateways[who].run(&["queue", "stats"]).stdout).into_owned()
    }
}

fn today() -> String {
    use consentry::time::Clock;
    consentry::time::SystemClock.now().rfc3339()[..10].to_owned()
}

/// What both send together is one rate.
#[test]
fn two_gateways_keep_one_rate_together() {
    let fleet = Fleet::start("", "[[limit]]\nroute = \"upstream\"\ngroup = \"all\"\nrate = \"10/s\"\n");
    let begun = Instant::now();
    fleet.submit(0, 40, "a");
    fleet.submit(1, 40, "c");
    // 80 at 10 a second, with a burst of two. Counted against the time that has passed, never against one that it should take.
    loop {
        let (arrived, elapsed) = (fleet.arrived(), begun.elapsed());
        assert!(arrived as u128 <= 2 + elapsed.as_millis() / 100, "{arrived} after {elapsed:?}");
        if arrived == 80 {
            break;
        }
        assert!(elapsed < Duration::from_mins(2), "only {arrived}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let passed = |who| {
        let stats = fleet.queued(who);
        let line = stats.lines().find(|line| line.contains("limited all by upstream")).unwrap().to_owned();
        line.split("10/s, ").nth(1).unwrap().split(' ').next().unwrap().parse::<usize>().unwrap()
    };
    assert_eq!(passed(0) + passed(1), 80);
    assert!(passed(0) >= 20 && passed(1) >= 20, "both had their turn");
    let keys = fleet.redis.command(&["KEYS", "consentry:{limits}:*"]);
    assert!(keys.contains("pace:upstream/all") && keys.contains("gateways"), "{keys}");
}

/// The day is one for both; when Redis and a gateway are killed and the count is deleted, the day is not given again.
#[test]
fn a_day_of_a_warm_up_is_one_for_all_gateways_and_is_not_given_twice() {
    let plan = format!(
        "[[warmup]]\nname = \"new\"\ndomain = \"acme.example\"\nstart = \"{}\"\ncaps = [20]\nfactor = 2.0\n",
        today()
    );
    let mut fleet = Fleet::start(&plan, "");
    fleet.submit(0, 15, "a");
    fleet.submit(1, 15, "c");
    eventually("a full day", || {
        let stats = [fleet.queued(0), fleet.queued(1)];
        stats.iter().all(|stats| stats.contains("warm-up new: day 1, 20 of 20")).then_some(())
    });
    eventually("the day's messages", || (fleet.arrived() == 20).then_some(()));
    let told = fleet.gateways.iter().flat_map(|gateway| gateway.events("Pace")).count();
    assert!(told >= 1, "somebody tells of the full day");
    // Killed, and started again with what is on its disk.
    fleet.redis.kill();
    fleet.redis.start_again();
    fleet.redis.command(&["DEL", &format!("consentry:{{limits}}:day:new/acme.example/{}", today())]);
    // A gateway that was killed knows only what is written down.
    fleet.gateways[0].kill();
    fleet.gateways[0] = Gateway::restart_there(fleet.folders[0].path());
    for gateway in &fleet.gateways {
        // Of a domain that no plan is about.
        eventually("the store to answer again", || {
            let reply = Client::connect(gateway.smtp).message("b@other.example", &["x@b.example"], MESSAGE);
            reply.1.is_some_and(|reply| reply.starts_with("250")).then_some(())
        });
    }
    fleet.submit(0, 3, "late");
    fleet.submit(1, 3, "later");
    eventually("the day to be full again", || {
        let stats = [fleet.queued(0), fleet.queued(1)];
        stats.iter().all(|stats| stats.contains("warm-up new: day 1, 20 of 20")).then_some(())
    });
    let ours = || fleet.upstream.received().iter().filter(|message| message.from.contains("acme.example")).count();
    assert_eq!(ours(), 20, "nothing of the day left twice");
}

/// A user who may not run the script: the facts are there, so mail goes on, by this gateway's share, and it is said.
#[test]
fn where_the_counts_cannot_be_had_a_gateway_goes_by_its_share_and_says_so() {
    let fleet = Fleet::start("", "[[limit]]\nroute = \"upstream\"\ngroup = \"all\"\nrate = \"10/s\"\n");
    fleet.redis.command(&["ACL", "SETUSER", "default", "-time"]);
    let said = |reason: &str| {
        let events = || fleet.gateways[0].events("Pace");
        eventually(reason, || events().iter().any(|event| event["reason"] == reason).then_some(()));
    };
    said("FLEET_AWAY");
    let begun = Instant::now();
    fleet.submit(0, 20, "a");
    loop {
        let (arrived, elapsed) = (fleet.arrived(), begun.elapsed());
        // Five a second, and at most what had been given before: a burst of two.
        assert!(arrived as u128 <= 2 + 1 + elapsed.as_millis() / 200, "{arrived} after {elapsed:?}");
        if arrived == 20 {
            break;
        }
        assert!(elapsed < Duration::from_mins(2), "only {arrived}");
        std::thread::sleep(Duration::from_millis(50));
    }
    fleet.redis.command(&["ACL", "SETUSER", "default", "+time"]);
    said("FLEET_BACK");
}
