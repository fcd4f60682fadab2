//! The faults of a fleet's Redis that a real server shows only on its worst days, by the ids of
//! `docs/reference/attack-tests.md`: nobody who opted out is named to the upstream, and every opt-out is there afterwards.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::redis::{answers_again, prepare, spec_at, submit, suppress};
use crate::support::redis_proxy::{Conduct, RedisProxy};
use crate::support::redis_server::RedisServer;
use crate::support::{Gateway, Upstream, eventually};

/// Recipients that opted out before the first fault.
const PROTECTED: usize = 5;
/// Past this an answer at RCPT has not been bounded: a call to the server is given up after 3 seconds, and a busy machine
/// takes its time as well.
const BOUND: Duration = Duration::from_secs(30);
/// Most memory of a gateway to which a server sends without end: what comes within the second that an answer may take is the
/// server's choice, and a gigabyte would be all of it.
const RESIDENT_MAX_KIB: u64 = 700 * 1024;

/// A gateway that speaks to its Redis through a proxy, and some people who opted out.
struct Stage {
    redis: RedisServer,
    proxy: RedisProxy,
    upstream: Upstream,
    gateway: Gateway,
    /// Everybody who opted out so far.
    out: Vec<String>,
    folder: tempfile::TempDir,
}

impl Stage {
    fn set(arguments: &[&str]) -> Self {
        let redis = RedisServer::start(arguments);
        let proxy = RedisProxy::start(redis.port);
        let upstream = Upstream::start();
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path(), &spec_at(upstream.address, proxy.port), None);
        let gateway = Gateway::restart_there(folder.path());
        let mut stage = Self { redis, proxy, upstream, gateway, out: Vec::new(), folder };
        for number in 0..PROTECTED {
            stage.opts_out(&format!("no{number}@b.example"));
        }
        stage
    }

    fn opts_out(&mut self, address: &str) {
        suppress(&self.gateway, address);
        self.out.push(address.to_owned());
    }

    /// Nobody who opted out is taken, whatever is the matter.
    fn nobody_is_taken(&self, what: &str) {
        for address in &self.out {
            let start = Instant::now();
            let reply = submit(self.gateway.smtp, address);
            assert!(!reply.starts_with("250"), "{what}: {address} was taken: {reply}");
            assert!(start.elapsed() < BOUND, "{what}: answered after {:?}", start.elapsed());
        }
    }

    /// While `what` lasts nobody is sent to and opt-outs are taken; when it is over they are all there.
    fn survives(&mut self, what: &str, end: impl FnOnce(&mut Self)) {
        self.nobody_is_taken(what);
        let reply = submit(self.gateway.smtp, "free@b.example");
        assert!(reply.starts_with("451 4.3.0"), "{what}: {reply}");
        let late = format!("late{}@b.example", self.out.len());
        self.opts_out(&late);
        self.nobody_is_taken(what);
        end(self);
        self.heals(what);
    }

    fn heals(&self, what: &str) {
        answers_again(&self.gateway);
        self.all_are_there(what);
    }

    fn all_are_there(&self, what: &str) {
        for address in &self.out {
            let reply = submit(self.gateway.smtp, address);
            assert!(reply.starts_with("550") && reply.contains("SUP_UNSUBSCRIBE"), "{what}: {address}: {reply}");
        }
        let named = self.upstream.forward_paths();
        assert!(named.iter().all(|path| path == "free@b.example"), "{what}: {named:?}");
    }
}

/// Resident at most since the start, in KiB.
fn peak_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn st_03_no_error_and_no_strange_reply_of_the_server_is_an_answer_about_a_person() {
    let mut stage = Stage::set(&[]);
    for said in [
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-READONLY You can't write against a read only replica.\r\n",
        "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        "-NOAUTH Authentication required.\r\n",
        "-NOPERM this user has no permissions to run the 'hget' command\r\n",
        "-MOVED 3999 127.0.0.1:1\r\n",
        "-CLUSTERDOWN The cluster is down\r\n",
        "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
        "-EXECABORT Transaction discarded because of previous errors.\r\n",
        "-BUSY Redis is busy running a script.\r\n",
        "+OK\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "*0\r\n",
        ":0\r\n",
        "*2\r\n$-1\r\n:0\r\n",
        "HTTP/1.1 400 Bad Request\r\n\r\n",
    ] {
        stage.proxy.behave(Conduct::Say(said.to_owned()));
        stage.survives(said, |stage| stage.proxy.behave(Conduct::Pass));
    }
}

#[test]
fn st_03_half_a_reply_silence_and_a_string_without_end_are_bounded_and_no_answer() {
    let mut stage = Stage::set(&[]);
    for conduct in [Conduct::Half, Conduct::Silence, Conduct::Flood] {
        let what = format!("{conduct:?}");
        stage.proxy.behave(conduct);
        stage.survives(&what, |stage| stage.proxy.behave(Conduct::Pass));
        let peak = peak_kib(stage.gateway.id());
        println!("{what}: at most {peak} KiB resident");
        assert!(peak < RESIDENT_MAX_KIB, "{what}: {peak} KiB resident");
    }
}

#[test]
fn st_03_a_server_without_memory_without_a_master_and_behind_another_password_is_closed() {
    let mut stage = Stage::set(&[]);
    let set = |stage: &Stage, name: &str, value: &str| {
        assert_eq!(stage.redis.command(&["CONFIG", "SET", name, value]), "OK");
    };
    set(&stage, "maxmemory", "1");
    // Reading goes on in such a server; the second's look is what finds it out.
    let closed = |stage: &Stage| {
        eventually("the store to close", || {
            submit(stage.gateway.smtp, "free@b.example").starts_with("451").then_some(())
        });
    };
    closed(&stage);
    stage.survives("OOM", |stage| set(stage, "maxmemory", "0"));

    stage.redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
    closed(&stage);
    stage.survives("READONLY", |stage| drop(stage.redis.command(&["REPLICAOF", "NO", "ONE"])));

    set(&stage, "requirepass", "other");
    stage.redis.command(&["-a", "other", "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    closed(&stage);
    stage.survives("NOAUTH", |stage| drop(stage.redis.command(&["-a", "other", "CONFIG", "SET", "requirepass", ""])));
}

#[test]
fn st_03_a_name_of_ours_with_something_else_under_it_is_damage_until_an_operator_has_looked() {
    let mut stage = Stage::set(&[]);
    let bucket = stage.redis.command(&["KEYS", "consentry:*:s:*"]).lines().next().unwrap().to_owned();
    stage.redis.command(&["SET", &bucket, "x"]);
    stage.nobody_is_taken("wrong type");
    stage.survives("wrong type", |stage| rebuild(&stage.gateway));
}

fn rebuild(gateway: &Gateway) {
    let rebuilt = gateway.run(&["store", "rebuild", "--yes"]);
    assert!(rebuilt.status.success(), "{}", String::from_utf8_lossy(&rebuilt.stderr));
}

#[test]
fn st_05_what_the_server_really_evicted_between_two_looks_is_missed() {
    let stage = Stage::set(&[]);
    let before = stage.redis.command(&["DBSIZE"]);
    // Within the second between two looks; then it looks as if nothing had been.
    for (name, value) in [("maxmemory-policy", "allkeys-random"), ("maxmemory", "1")] {
        assert_eq!(stage.redis.command(&["CONFIG", "SET", name, value]), "OK");
    }
    stage.redis.wait_for(&["DBSIZE"], "0");
    for (name, value) in [("maxmemory", "0"), ("maxmemory-policy", "noeviction")] {
        assert_eq!(stage.redis.command(&["CONFIG", "SET", name, value]), "OK");
    }
    println!("{before} keys before, {} after", stage.redis.command(&["DBSIZE"]));
    stage.nobody_is_taken("evicted");
    assert!(submit(stage.gateway.smtp, "free@b.example").starts_with("451 4.3.0"));
    rebuild(&stage.gateway);
    stage.heals("evicted");
}

#[test]
fn st_04_and_06_gateway_and_server_die_together_and_an_old_snapshot_comes_back() {
    let mut stage = Stage::set(&[]);
    stage.redis.command(&["SAVE"]);
    for round in 0..3 {
        // Acknowledged, and nothing more: both are killed at once.
        stage.opts_out(&format!("last{round}@b.example"));
        stage.gateway.kill();
        stage.redis.kill();
        stage.redis.start_again();
        stage.gateway = Gateway::restart_there(stage.folder.path());
        stage.nobody_is_taken("both died");
        answers_again(&stage.gateway);
        stage.all_are_there("both died");
    }
}

#[test]
fn st_08_a_gateway_cut_off_from_redis_sends_nothing_and_keeps_what_it_is_told() {
    let stage = Stage::set(&[]);
    let second = tempfile::tempdir().unwrap();
    prepare(second.path(), &spec_at(stage.upstream.address, stage.redis.port), Some(stage.folder.path()));
    let other = Gateway::restart_there(second.path());
    stage.proxy.behave(Conduct::Silence);
    assert!(submit(stage.gateway.smtp, "free@b.example").starts_with("451"));
    suppress(&other, "there@b.example");
    suppress(&stage.gateway, "here@b.example");
    // The one that is cut off answers nobody; the other knows what it was told itself.
    for address in ["there@b.example", "here@b.example", "free@b.example"] {
        assert!(submit(stage.gateway.smtp, address).starts_with("451"), "{address}");
    }
    assert!(submit(other.smtp, "there@b.example").starts_with("550"));
    assert_eq!(pending(second.path()), Some(0));
    assert_eq!(pending(stage.folder.path()), Some(1));
    stage.proxy.behave(Conduct::Pass);
    answers_again(&stage.gateway);
    for gateway in [&stage.gateway, &other] {
        for address in ["there@b.example", "here@b.example"] {
            assert!(submit(gateway.smtp, address).starts_with("550"), "{address}");
        }
    }
    stage.all_are_there("cut off");
}

/// How many facts Redis does not have yet, as `store status` says.
fn pending(folder: &Path) -> Option<u64> {
    let output = crate::support::gateway::command(folder).args(["store", "status", "--json"]).output().unwrap();
    serde_json::from_slice::<serde_json::Value>(&output.stdout).ok()?["pending"].as_u64()
}

#[test]
fn st_01_what_waits_in_the_queue_goes_to_nobody_while_redis_is_down_and_never_to_who_opted_out_then() {
    let mut stage = Stage::set(&["--appendonly", "yes", "--appendfsync", "always"]);
    for address in ["leaves@b.example", "stays@b.example"] {
        stage.upstream.refuse_with(address, "450 4.2.0 later");
        assert!(submit(stage.gateway.smtp, address).starts_with("250"));
        eventually("the first attempt", || (!stage.upstream.namings(address).is_empty()).then_some(()));
    }
    stage.redis.kill();
    stage.opts_out("leaves@b.example");
    // Whoever had read the facts before has acted by now, and nobody can read any.
    assert!(submit(stage.gateway.smtp, "free@b.example").starts_with("451 4.3.0"));
    let named = ["leaves@b.example", "stays@b.example"].map(|address| stage.upstream.namings(address).len());
    stage.upstream.take("leaves@b.example");
    stage.upstream.take("stays@b.example");
    let after = ["leaves@b.example", "stays@b.example"].map(|address| stage.upstream.namings(address).len());
    assert_eq!(named, after, "somebody was named while there were no facts");
    stage.redis.start_again();
    eventually("the copy that may go", || {
        stage.upstream.received().iter().any(|message| message.to == ["stays@b.example"]).then_some(())
    });
    eventually("the copy that may not go to be withdrawn", || {
        stage.gateway.audit().iter().any(|record| record["type"] == "Withdrawn").then_some(())
    });
    assert_eq!(stage.upstream.namings("leaves@b.example").len(), named[0], "named after the opt-out");
}
