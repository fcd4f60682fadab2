//! A cluster whose slots move from node to node, with their keys, while two gateways look people up and take opt-outs.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::redis::{answers_again, prepare, submit, suppress};
use crate::support::gateway::command;
use crate::support::redis_server::RedisServer;
use crate::support::{Gateway, Spec, Upstream, eventually};

/// Opt-outs before and during the storm.
const PROTECTED: usize = 40;
/// Moves that there are at least: some for each partition of the store.
const MOVES: usize = 600;
/// Keys of one slot that are moved at a time.
const KEYS_AT_ONCE: &str = "100";

fn spec(upstream: SocketAddr, nodes: &[RedisServer]) -> Spec {
    let servers: Vec<_> = nodes.iter().map(|node| format!("\"127.0.0.1:{}\"", node.port)).collect();
    let mut spec = Spec::new(upstream);
    spec.more = format!(
        "[store]\nkind = \"redis\"\n[store.redis]\ntopology = \"cluster\"\nservers = [{}]\n",
        servers.join(", ")
    );
    spec
}

/// Moves one slot to the next node, as `redis-cli --cluster reshard` does: key by key, while it is asked for.
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
        for key in keys {
            let port = nodes[to].port.to_string();
            let answer = nodes[from].command(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
            assert!(answer == "OK" || answer == "NOKEY", "{key}: {answer}");
        }
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
    let spec = spec(upstream.address, &nodes);
    prepare(first.path(), &spec, None);
    prepare(second.path(), &spec, Some(first.path()));
    let gateways = [Gateway::restart_there(first.path()), Gateway::restart_there(second.path())];
    let protected: Vec<String> = (0..PROTECTED).map(|n| format!("no{n}@b.example")).collect();
    let (before, during) = protected.split_at(PROTECTED / 2);
    for address in before {
        suppress(&gateways[0], address);
    }
    let ends = AtomicBool::new(false);
    let (mut taken, mut deferred) = (0, 0);
    let moves = std::thread::scope(|scope| {
        let storm = scope.spawn(|| storm(&nodes, &ends));
        for round in 0.. {
            if round >= during.len() && storm.is_finished() {
                break;
            }
            if let Some(address) = during.get(round) {
                suppress(&gateways[round % 2], address);
            }
            for (at, gateway) in gateways.iter().enumerate() {
                // What was said at this gateway counts here from then on. At the other it does when the servers have it, which a
                // storm can keep from them (ADR 0016); both are asked about everybody at the end.
                let said_here = during[..(round + 1).min(during.len())].iter().skip(at).step_by(2);
                let known: Vec<_> = before.iter().chain(said_here).collect();
                let address = known[(round * 7) % known.len()];
                let reply = submit(gateway.smtp, address);
                assert!(!reply.starts_with("250"), "{address} was taken in round {round}: {reply}");
                let reply = submit(gateway.smtp, &format!("yes{round}@b.example"));
                match reply.get(..3) {
                    Some("250") => taken += 1,
                    Some("451") => deferred += 1,
                    _ => panic!("{reply}"),
                }
            }
            ends.store(round + 1 >= during.len(), Ordering::Relaxed);
        }
        storm.join().unwrap()
    });
    println!("{moves} slots moved; of those who may be written to {taken} were taken and {deferred} deferred");
    for gateway in &gateways {
        answers_again(gateway);
        for address in &protected {
            // A server that is slow just now is one more reason to wait, and none to take anybody.
            let decided = || Some(submit(gateway.smtp, address)).filter(|reply| !reply.starts_with("451"));
            let reply = eventually("a decision", decided);
            assert!(reply.starts_with("550") && reply.contains("SUP_UNSUBSCRIBE"), "{address}: {reply}");
        }
    }
    let verified = command(first.path()).args(["store", "verify"]).output().unwrap();
    assert!(verified.status.success(), "{verified:?}");
    let named = upstream.forward_paths();
    assert!(!named.iter().any(|to| to.starts_with("no")), "{named:?}");
}
