//! Gateways that share their facts in Redis, through every fault of it: what reaches the upstream, and what is there afterwards.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use crate::support::gateway::command;
use crate::support::redis_server::RedisServer;
use crate::support::{Client, Gateway, Spec, Upstream, eventually};

const MESSAGE: &[u8] = b"From: News <news@acme.example>\r\nSubject: hello\r\n\r\nHello\r\n";
/// Recipients in each round of a fault.
const PROTECTED: usize = 10;

fn spec(upstream: SocketAddr, redis: &RedisServer) -> Spec {
    spec_at(upstream, redis.port)
}

/// The configuration of a gateway whose store is at a port.
pub(crate) fn spec_at(upstream: SocketAddr, port: u16) -> Spec {
    let mut spec = Spec::new(upstream);
    spec.more = format!("[store]\nkind = \"redis\"\n[store.redis]\nservers = [\"127.0.0.1:{port}\"]\n");
    spec
}

/// A configuration and, in the first folder, a store; the others get its key.
pub(crate) fn prepare(folder: &Path, spec: &Spec, first: Option<&Path>) {
    Gateway::configure(folder, spec);
    if let Some(first) = first {
        std::fs::copy(first.join("store.key"), folder.join("store.key")).unwrap();
        return;
    }
    let made = command(folder).args(["store", "create"]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

pub(crate) fn suppress(gateway: &Gateway, address: &str) {
    let added = gateway.run(&["suppress", "add", address, "--reason", "unsubscribe"]);
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
}

/// The first reply that settles a message to one recipient.
pub(crate) fn submit(smtp: SocketAddr, to: &str) -> String {
    let (rcpt, end) = Client::connect(smtp).message("b@acme.example", &[to], MESSAGE);
    end.unwrap_or_else(|| rcpt[0].clone())
}

pub(crate) fn answers_again(gateway: &Gateway) {
    eventually("the store to answer again", || submit(gateway.smtp, "free@b.example").starts_with("250").then_some(()));
}

/// How many opt-outs, when this run is for the figures of `docs/explanation/performance.md`.
fn figures() -> Option<usize> {
    std::env::var("CONSENTRY_OPT_OUTS").ok().map(|count| count.parse().expect("CONSENTRY_OPT_OUTS: a number"))
}

#[test]
fn an_opt_out_at_one_gateway_stops_mail_at_the_other() {
    let (redis, upstream) = (RedisServer::start(&[]), Upstream::start());
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let spec = spec(upstream.address, &redis);
    prepare(first.path(), &spec, None);
    prepare(second.path(), &spec, Some(first.path()));
    let (one, two) = (Gateway::restart_there(first.path()), Gateway::restart_there(second.path()));
    let (mut acknowledged, mut effective) = (Vec::new(), Vec::new());
    let rounds = figures().unwrap_or(40);
    for round in 0..rounds {
        let recipient = format!("r{round}@b.example");
        assert!(submit(one.smtp, &recipient).starts_with("250"));
        let link = eventually("the message", || {
            let received = upstream.received();
            let mine = received.iter().find(|message| message.to == [recipient.clone()]);
            mine.map(|message| message.fields("List-Unsubscribe").remove(0))
        });
        let path = link.split_once("u.test.example").unwrap().1.split_once('>').unwrap().0.to_owned();
        // Each gateway has keys of its own for its links, so the door is that of the gateway that sent the message.
        let asked = Instant::now();
        let answer =
            crate::way_through::request(one.http, &format!("POST {path} HTTP/1.1"), "List-Unsubscribe=One-Click");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        acknowledged.push(asked.elapsed());
        let refused = submit(two.smtp, &recipient);
        assert!(refused.contains("SUP_UNSUBSCRIBE"), "the other gateway's next attempt: {refused}");
        effective.push(asked.elapsed());
    }
    for (what, delays) in [("the 200", &mut acknowledged), ("the refusal at the other", &mut effective)] {
        delays.sort();
        let (median, late) = (delays[rounds / 2], delays[rounds * 99 / 100]);
        println!("{rounds} opt-outs, from the POST at one to {what}: median {median:?}, p99 {late:?}");
    }
    assert_eq!(upstream.forward_paths().len(), rounds, "nobody was named twice");
}

#[test]
fn nobody_who_opted_out_is_named_to_the_upstream_through_any_fault_of_redis() {
    let mut redis = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(upstream.address, &redis);
    prepare(folder.path(), &spec, None);
    let gateway = Gateway::restart_there(folder.path());
    let protected: Vec<String> = (0..PROTECTED).map(|n| format!("no{n}@b.example")).collect();
    for address in &protected {
        suppress(&gateway, address);
    }
    let none_is_taken = |what: &str| {
        for address in &protected {
            let reply = submit(gateway.smtp, address);
            assert!(!reply.starts_with("250"), "{what}: {address} was taken: {reply}");
        }
    };
    none_is_taken("sound");

    redis.kill();
    none_is_taken("killed");
    assert!(submit(gateway.smtp, "free@b.example").starts_with("451 4.3.0"), "nobody is sent to while it is down");
    suppress(&gateway, "pending@b.example");
    redis.start_again();
    redis.wait_for(&["PING"], "PONG");
    eventually("the pending opt-out to count", || {
        submit(gateway.smtp, "pending@b.example").starts_with("550").then_some(())
    });
    answers_again(&gateway);
    none_is_taken("started again");

    redis.signal("STOP");
    let start = Instant::now();
    none_is_taken("standing still");
    println!("{PROTECTED} refusals while Redis stood still: {:?}", start.elapsed());
    redis.signal("CONT");
    answers_again(&gateway);

    redis.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]);
    eventually("the policy to be noticed", || submit(gateway.smtp, "free@b.example").starts_with("451").then_some(()));
    none_is_taken("may evict");
    redis.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    answers_again(&gateway);

    redis.command(&["FLUSHALL"]);
    none_is_taken("flushed");
    assert!(submit(gateway.smtp, "free@b.example").starts_with("451 4.3.0"));
    let status = gateway.run(&["store", "status"]);
    let said = String::from_utf8_lossy(&status.stdout).into_owned() + &String::from_utf8_lossy(&status.stderr);
    assert!(!status.status.success() && said.contains("store rebuild"), "{said}");
    assert_eq!(gateway.run(&["store", "rebuild"]).status.code(), Some(64), "not unasked");
    let rebuilt = gateway.run(&["store", "rebuild", "--yes"]);
    assert!(rebuilt.status.success(), "{}", String::from_utf8_lossy(&rebuilt.stderr));
    answers_again(&gateway);
    none_is_taken("rebuilt");
    assert!(submit(gateway.smtp, "pending@b.example").starts_with("550"));

    let named = upstream.forward_paths();
    println!("{} times somebody was named to the upstream, never somebody who had opted out", named.len());
    assert!(named.iter().all(|path| path == "free@b.example"), "{named:?}");
}

#[test]
fn an_acknowledged_opt_out_survives_the_death_of_gateway_and_redis_together() {
    let mut redis = RedisServer::start(&[]);
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path(), &spec(upstream.address, &redis), None);
    let mut gateway = Gateway::restart_there(folder.path());
    redis.command(&["SAVE"]);
    assert!(redis.folder().join("dump.rdb").exists());
    suppress(&gateway, "no@b.example");
    gateway.kill();
    redis.kill();
    // Redis comes back with the snapshot from before.
    redis.start_again();
    let gateway = Gateway::restart_there(folder.path());
    eventually("a final refusal", || submit(gateway.smtp, "no@b.example").starts_with("550").then_some(()));
    assert!(upstream.forward_paths().is_empty());
}

#[test]
fn a_gateway_starts_and_takes_opt_outs_while_redis_is_away_and_refuses_a_wrong_one() {
    let mut redis = RedisServer::start(&[]);
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(upstream.address, &redis);
    Gateway::configure(folder.path(), &spec);
    std::fs::write(folder.path().join("store.key"), "0".repeat(64)).unwrap();
    restrict(&folder.path().join("store.key"));
    let unmade = command(folder.path()).arg("serve").output().unwrap();
    let said = String::from_utf8_lossy(&unmade.stderr).into_owned();
    assert!(unmade.status.code() == Some(69) && said.contains("store create"), "{said}");
    let made = command(folder.path()).args(["store", "create"]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    redis.kill();
    let gateway = Gateway::restart_there(folder.path());
    assert!(submit(gateway.smtp, "free@b.example").starts_with("451 4.3.0"));
    suppress(&gateway, "no@b.example");
    redis.start_again();
    // Nothing was saved: the store is gone, and an empty Redis is not an empty store.
    eventually("the loss to be noticed", || {
        let status = gateway.run(&["store", "status", "--json"]);
        String::from_utf8_lossy(&status.stdout).contains("is gone from Redis").then_some(())
    });
    assert!(submit(gateway.smtp, "free@b.example").starts_with("451 4.3.0"));
    assert!(gateway.run(&["store", "rebuild", "--yes"]).status.success());
    answers_again(&gateway);
    assert!(submit(gateway.smtp, "no@b.example").starts_with("550"));
}

fn restrict(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn moving_between_the_engines_is_verified_by_count_and_digest() {
    let (redis, upstream) = (RedisServer::start(&[]), Upstream::start());
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(upstream.address, &redis);
    Gateway::configure(folder.path(), &spec);
    let file = folder.path().join("consentry.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("kind = \"redis\"", "kind = \"embedded\"")).unwrap();
    let run = |words: &[&str]| {
        let output = command(folder.path()).args(words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said)
    };
    for n in 0..20 {
        assert_eq!(run(&["suppress", "add", &format!("v{n}@b.example"), "--reason", "unsubscribe"]).0, Some(0));
    }
    assert_eq!(run(&["store", "create"]).0, Some(0));
    let (code, said) = run(&["store", "copy", "--from", "embedded", "--to", "redis"]);
    assert!(code == Some(0) && said.contains("copied: 20 new") && said.contains("the same"), "{said}");
    let (_, before) = run(&["store", "verify"]);
    std::fs::write(&file, &text).unwrap();
    let (code, after) = run(&["store", "verify"]);
    assert!(code == Some(0) && after == before && after.contains("20 entries"), "{before} {after}");
    assert_eq!(run(&["suppress", "show", "v3@b.example"]).0, Some(0));
    let (code, said) = run(&["store", "copy", "--from", "redis", "--to", "embedded"]);
    assert!(code == Some(0) && said.contains("0 new, 20 already"), "{said}");
    // A key of a bucket vanishes: the walk misses it.
    let bucket = redis.command(&["KEYS", "consentry:*:s:*"]).lines().next().unwrap().to_owned();
    redis.command(&["DEL", &bucket]);
    let (code, said) = run(&["store", "verify"]);
    assert!(code != Some(0) && said.contains("fields where"), "{said}");
}
