//! A cluster whose slots move from node to node, with their keys, while two gateways look people up and take opt-outs.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::redis::{answers_again, prepare, submit};
use crate::support::gateway::{command, free_port};
use crate::support::redis_server::RedisServer;
use crate::support::{Gateway, Spec, Upstream, eventually, http};

/// Opt-outs before the storm.
const BEFORE: usize = 20;
/// How often some opt out while it lasts, and how many at once: enough that many of them meet a slot that has just moved, on a
/// connection that does not know it yet.
const ROUNDS: usize = 60;
const AT_ONCE: usize = 32;
/// How many are looked up at once meanwhile.
const LOOKED_UP: usize = 16;
/// Moves that there are at least: some for each partition of the store.
const MOVES: usize = 600;
/// Keys of one slot that are moved at a time: fewer than a slot has, so that for a moment some are here and some there.
const KEYS_AT_ONCE: &str = "5";

/// A gateway that programs hand opt-outs to: its connections are older than the moves.
struct Side {
    gateway: Gateway,
    api: SocketAddr,
    token: String,
}

impl Side {
    /// Starts one on the cluster; the first makes the store, and the other gets its key.
    fn start(folder: &Path, upstream: SocketAddr, nodes: &[RedisServer], first: Option<&Path>) -> Self {
        let servers: Vec<_> = nodes.iter().map(|node| format!("\"127.0.0.1:{}\"", node.port)).collect();
        let api = free_port();
        let mut spec = Spec::new(upstream);
        spec.more = format!(
            "[api]\nlisten = \"{api}\"\n[store]\nkind = \"redis\"\n[store.redis]\ntopology = \"cluster\"\nservers = [{}]\n",
            servers.join(", ")
        );
        prepare(folder, &spec, first);
        let rights = ["--right", "suppressions:write", "--right", "decisions:read"];
        let made = command(folder).args(["token", "add", "shop"]).args(rights).output().unwrap();
        let token = String::from_utf8(made.stdout).unwrap().trim().to_owned();
        let gateway = Gateway::restart_there(folder);
        eventually("the programs' door", || std::net::TcpStream::connect(api).ok());
        Self { gateway, api, token }
    }

    /// What the API answers; nothing when the store cannot be asked for now.
    fn ask(&self, line: &str, body: &Value) -> Option<Value> {
        let fields =
            format!("Authorization: Bearer {}\r\nContent-Type: application/json\r\nConnection: close\r\n", self.token);
        let answer = http::request(self.api, line, &fields, &body.to_string());
        assert!(matches!(answer.status, 200 | 503), "{line}: {answer:?}");
        (answer.status == 200).then(|| serde_json::from_str(&answer.body).unwrap())
    }

    /// Hands in opt-outs, all of which are taken.
    fn opt_out(&self, addresses: &[String]) {
        let one = |address| json!({ "address": address, "scope": "controller:acme", "cause": "unsubscribe" });
        let items: Vec<_> = addresses.iter().map(one).collect();
        let answer =
            self.ask("POST /v1/suppressions/bulk", &json!({ "items": items })).expect("it is taken all the same");
        let answers = answer["items"].as_array().unwrap();
        assert!(answers.len() == addresses.len() && answers.iter().all(|one| one["status"] == 201), "{answer}");
    }

    /// Whom of these it would write to, or refuse for another reason; nothing when the store cannot be asked for now. One look
    /// answers, where a message is decided on twice.
    fn forgotten(&self, addresses: &[&String]) -> Option<Vec<Value>> {
        let answer = self.ask("POST /v1/check", &json!({ "stream": "news", "recipients": addresses }))?;
        let answers = answer["recipients"].as_array().unwrap();
        assert_eq!(answers.len(), addresses.len());
        let is_known = |one: &&Value| one["verdict"] == "refuse" && one["reason"] == "SUP_UNSUBSCRIBE";
        Some(answers.iter().filter(|one| !is_known(one)).cloned().collect())
    }
}

/// Moves one slot to the next node, as `redis-cli --cluster reshard` does: a few keys at a time, while it is asked for.
fn move_slot(nodes: &[RedisServer], ids: &[String], slot: &str, from: usize) -> usize {
    let to = (from + 1) % nodes.len();
    let said = |node: usize, words: &[&str]| {
        let answer = nodes[node].command(words);
        assert_eq!(answer, "OK", "{words:?}");
    };
    said(to, &["CLUSTER", "SETSLOT", slot, "IMPORTING", &ids[from]]);
    said(from, &["CLUSTER", "SETSLOT", slot, "MIGRATING", &ids[to]]);
    loop {
        let keys = nodes[from].command(&["CLUSTER", "GETKEYSINSLOT", slot, KEYS_AT_ONCE]);
        let keys: Vec<_> = keys.lines().filter(|key| !key.is_empty()).collect();
        if keys.is_empty() {
            break;
        }
        let port = nodes[to].port.to_string();
        let words = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        let answer = nodes[from].command(&words.into_iter().chain(keys).collect::<Vec<_>>());
        assert!(answer == "OK" || answer == "NOKEY", "slot {slot}: {answer}");
    }
    // First whoever has the keys now, so that nobody is without an owner.
    for node in [to, from, (to + 1) % nodes.len()] {
        said(node, &["CLUSTER", "SETSLOT", slot, "NODE", &ids[to]]);
    }
    to
}

/// Moves the slots of all partitions, and of what is said of the store and of limits, round and round until `ends`. How many moves.
fn storm(nodes: &[RedisServer], ends: &AtomicBool) -> usize {
    let ids: Vec<_> = nodes.iter().map(|node| node.command(&["CLUSTER", "MYID"])).collect();
    let tags = (0..=255).map(|partition| format!("{partition:02x}")).chain(["store".to_owned(), "limits".to_owned()]);
    let slot_of = |tag: String| nodes[0].command(&["CLUSTER", "KEYSLOT", &format!("consentry:{{{tag}}}:meta")]);
    let mut slots: Vec<(String, usize)> = tags.map(slot_of).map(|slot| (slot.clone(), owner(&slot))).collect();
    slots.sort();
    slots.dedup();
    let mut moves = 0;
    while !ends.load(Ordering::Relaxed) || moves < MOVES {
        let count = slots.len();
        let (slot, at) = &mut slots[moves % count];
        *at = move_slot(nodes, &ids, slot, *at);
        moves += 1;
    }
    moves
}

/// The node that a slot is given to at the start.
fn owner(slot: &str) -> usize {
    match slot.parse::<u16>().unwrap() {
        0..=5461 => 0,
        5462..=10_922 => 1,
        _ => 2,
    }
}

#[test]
fn st_03_while_slots_move_nobody_who_opted_out_is_named_and_nothing_is_lost() {
    let (nodes, upstream) = (RedisServer::cluster(), Upstream::start());
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sides = [
        Side::start(first.path(), upstream.address, &nodes, None),
        Side::start(second.path(), upstream.address, &nodes, Some(first.path())),
    ];
    let before: Vec<String> = (0..BEFORE).map(|n| format!("no{n}@b.example")).collect();
    let some = |round| (0..AT_ONCE).map(|n| format!("no{round}x{n}@b.example")).collect();
    let during: Vec<Vec<String>> = (0..ROUNDS).map(some).collect();
    sides[0].opt_out(&before);
    let ends = AtomicBool::new(false);
    let (mut taken, mut deferred) = (0, 0);
    let moves = std::thread::scope(|scope| {
        let storm = scope.spawn(|| storm(&nodes, &ends));
        for round in 0.. {
            if round >= ROUNDS && storm.is_finished() {
                break;
            }
            if let Some(addresses) = during.get(round) {
                sides[round % 2].opt_out(addresses);
            }
            for (at, side) in sides.iter().enumerate() {
                // What was said at this gateway counts here from then on. At the other it does when the servers have it, which a
                // storm can keep from them (ADR 0016); both are asked about everybody at the end.
                let said_here = during[..(round + 1).min(ROUNDS)].iter().skip(at).step_by(2).flatten();
                let known: Vec<_> = before.iter().chain(said_here).collect();
                let address = known[(round * 7) % known.len()];
                let reply = submit(side.gateway.smtp, address);
                assert!(!reply.starts_with("250"), "{address} was taken in round {round}: {reply}");
                let some: Vec<_> = known.iter().copied().cycle().skip(round).take(LOOKED_UP).collect();
                let forgotten = side.forgotten(&some).unwrap_or_default();
                assert!(forgotten.is_empty(), "round {round}: {forgotten:?}");
                let reply = submit(side.gateway.smtp, &format!("yes{round}@b.example"));
                match reply.get(..3) {
                    Some("250") => taken += 1,
                    Some("451") => deferred += 1,
                    _ => panic!("{reply}"),
                }
            }
            ends.store(round + 1 >= ROUNDS, Ordering::Relaxed);
        }
        storm.join().unwrap()
    });
    println!("{moves} slots moved; of those who may be written to {taken} were taken and {deferred} deferred");
    // Whoever answers has told the others what waited in its journal.
    for side in &sides {
        answers_again(&side.gateway);
    }
    let protected: Vec<_> = before.iter().chain(during.iter().flatten()).collect();
    for side in &sides {
        for some in protected.chunks(AT_ONCE) {
            let forgotten = eventually("the store to be asked", || side.forgotten(some));
            assert!(forgotten.is_empty(), "{forgotten:?}");
        }
        for address in protected.iter().step_by(AT_ONCE) {
            // A server that is slow just now is one more reason to wait, and none to take anybody.
            let decided = || Some(submit(side.gateway.smtp, address)).filter(|reply| !reply.starts_with("451"));
            let reply = eventually("a decision", decided);
            assert!(reply.starts_with("550") && reply.contains("SUP_UNSUBSCRIBE"), "{address}: {reply}");
        }
    }
    let verified = command(first.path()).args(["store", "verify"]).output().unwrap();
    assert!(verified.status.success(), "{verified:?}");
    let named = upstream.forward_paths();
    assert!(!named.iter().any(|to| to.starts_with("no")), "{named:?}");
}
