//! The fleet's store under every fault that Redis has: what is answered, and what is there afterwards.

use std::time::{Duration, Instant};

use super::conformance::{GatewayFolder, redis_at};
use super::*;
use crate::policy::Basis;

/// How long a store may take to be whole again before a test gives up; no test measures it.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server with a store on it, and the first gateway.
struct Fleet {
    server: RedisServer,
    redis: RedisSettings,
    first: GatewayFolder,
    store: Store,
}

impl Fleet {
    fn start(arguments: &[&str]) -> Self {
        Self::on(RedisServer::start(arguments))
    }

    fn on(server: RedisServer) -> Self {
        let redis = redis_at(server.port, "c:");
        let first = GatewayFolder::new();
        let store = Store::create_fleet(&redis, &first.settings, 10_000).unwrap();
        Self { server, redis, first, store }
    }

    /// One more gateway.
    fn join(&self) -> (GatewayFolder, Store) {
        let gateway = self.first.beside();
        let store = Store::open_fleet(&self.redis, &gateway.settings).unwrap();
        (gateway, store)
    }

    fn reopen(&self) -> Store {
        Store::open_fleet(&self.redis, &self.first.settings).unwrap()
    }
}

fn add(store: &Store, address: &str) -> Added {
    store.blocking_add(&new(address, Cause::Unsubscribe)).unwrap()
}

/// Waits until `ready` gives something.
pub(super) fn eventually<T>(mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits for stores to be whole again, looking at them as daemons do.
pub(super) fn whole_again(stores: &[&Store]) {
    eventually(|| {
        let outcomes: Vec<_> = stores.iter().map(|store| store.blocking_probe()).collect();
        if outcomes.iter().any(Result::is_err) {
            println!("{outcomes:?}");
        }
        outcomes.iter().all(Result::is_ok).then_some(())
    });
}

/// Nobody may be told "nobody objected" now, about anybody.
fn is_closed(store: &Store) {
    for address in ["known@x.example", "unknown@y.example"] {
        let answer = store.blocking_evidence(&[&mailbox(address)]);
        assert!(answer.is_err(), "{address}: {answer:?}");
        assert!(store.blocking_dossier(&[&mailbox(address)]).is_err(), "{address}");
    }
}

#[test]
fn what_one_gateway_is_told_the_others_know() {
    let fleet = Fleet::start(&[]);
    let (_folder, other) = fleet.join();
    for round in 0..50 {
        let address = format!("v{round}@x.example");
        assert!(facts(&other, &address).is_empty());
        assert_eq!(add(&fleet.store, &address), Added::New);
        assert_eq!(facts(&other, &address).len(), 1);
        assert_eq!(add(&other, &address), Added::Existing);
        other.blocking_remove(&removal(&address, None)).unwrap();
        assert!(facts(&fleet.store, &address).is_empty());
    }
}

#[test]
fn a_store_is_made_once_and_by_nobody_unasked() {
    let fleet = Fleet::start(&[]);
    let second = fleet.first.beside();
    let again = Store::create_fleet(&fleet.redis, &second.settings, 1);
    assert!(matches!(again, Err(StoreError::Refused { .. })), "{again:?}");
    let elsewhere = RedisSettings { prefix: "other:".to_owned(), ..fleet.redis.clone() };
    let unmade = Store::open_fleet(&elsewhere, &second.settings);
    assert!(matches!(unmade, Err(StoreError::Refused { .. })), "an empty Redis is no store");
    let stranger = GatewayFolder::new();
    let keyless = Store::open_fleet(&fleet.redis, &stranger.settings);
    assert!(matches!(keyless, Err(StoreError::KeyMissing { .. })));
    std::fs::write(stranger.folder.path().join("store.key"), "0".repeat(64)).unwrap();
    let key = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(stranger.folder.path().join("store.key"), key).unwrap();
    let other_key = Store::open_fleet(&fleet.redis, &stranger.settings);
    assert!(matches!(other_key, Err(StoreError::KeyWrong { .. })), "{other_key:?}");
}

#[test]
fn an_opt_out_is_taken_while_redis_is_down_and_told_before_anything_is_answered() {
    let mut fleet = Fleet::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    add(&fleet.store, "known@x.example");
    fleet.server.kill();
    assert!(fleet.store.blocking_evidence(&[&mailbox("known@x.example")]).is_err());
    is_closed(&fleet.store);
    assert_eq!(add(&fleet.store, "pending@x.example"), Added::New);
    assert!(fleet.store.blocking_remove(&removal("known@x.example", None)).is_err(), "nothing is weakened meanwhile");
    // The gateway dies too, and starts while Redis is still down.
    let (redis, settings) = (fleet.redis.clone(), fleet.first.settings.clone());
    fleet.store = Store::open_fleet(&redis, &settings).unwrap();
    is_closed(&fleet.store);
    assert_eq!(add(&fleet.store, "later@x.example"), Added::New);
    assert_eq!(fleet.store.fleet_status().unwrap().unwrap().pending.0, 2);
    fleet.server.start_again();
    is_closed(&fleet.store);
    whole_again(&[&fleet.store]);
    let (_folder, other) = fleet.join();
    for store in [&fleet.store, &other] {
        for address in ["known@x.example", "pending@x.example", "later@x.example"] {
            assert_eq!(facts(store, address).len(), 1, "{address}");
        }
    }
    assert_eq!(fleet.store.fleet_status().unwrap().unwrap().pending.0, 0);
}

#[test]
fn a_server_that_stands_still_is_an_error_within_a_bounded_time() {
    let fleet = Fleet::start(&[]);
    add(&fleet.store, "known@x.example");
    fleet.server.signal("STOP");
    let start = Instant::now();
    assert!(fleet.store.blocking_evidence(&[&mailbox("known@x.example")]).is_err());
    assert!(start.elapsed() < PATIENCE);
    let start = Instant::now();
    for _ in 0..1000 {
        is_closed(&fleet.store);
    }
    assert!(start.elapsed() < PATIENCE, "whoever asks after the first does not wait");
    assert_eq!(add(&fleet.store, "pending@x.example"), Added::New);
    fleet.server.signal("CONT");
    whole_again(&[&fleet.store]);
    assert_eq!(facts(&fleet.store, "pending@x.example").len(), 1);
}

#[test]
fn a_flushed_store_is_gone_and_not_empty_until_every_journal_filled_it_again() {
    let fleet = Fleet::start(&[]);
    let (folder, other) = fleet.join();
    add(&fleet.store, "known@x.example");
    add(&other, "theirs@x.example");
    other.blocking_record(&people::told("theirs@x.example", people::full())).unwrap();
    whole_again(&[&fleet.store, &other]);
    fleet.server.command(&["FLUSHALL"]);
    for store in [&fleet.store, &other] {
        is_closed(store);
        assert!(matches!(store.blocking_probe(), Err(StoreError::Refused { .. })));
        is_closed(store);
    }
    drop(other);
    let (rebuilt, outcome) = Store::rebuild_fleet(&fleet.redis, &fleet.first.settings, 10_000).unwrap();
    assert!(matches!(outcome, Rebuilt::Waiting(_)), "the other gateway's journal is still missing: {outcome:?}");
    is_closed(&rebuilt);
    is_closed(&fleet.store);
    let other = Store::open_fleet(&fleet.redis, &folder.settings).unwrap();
    whole_again(&[&rebuilt, &other, &fleet.store]);
    for store in [&rebuilt, &other, &fleet.store] {
        assert_eq!(facts(store, "known@x.example").len(), 1);
        assert_eq!(facts(store, "theirs@x.example").len(), 1);
        assert_eq!(people::dossier(store, "theirs@x.example").consents, [people::full()]);
    }
}

#[test]
fn a_gateway_that_is_gone_for_good_is_waited_for_until_it_is_taken_off() {
    let fleet = Fleet::start(&[]);
    let (_folder, other) = fleet.join();
    whole_again(&[&fleet.store]);
    let gone = other.fleet_status().unwrap().unwrap().gateway;
    drop(other);
    fleet.server.command(&["FLUSHALL"]);
    let (rebuilt, _waiting) = Store::rebuild_fleet(&fleet.redis, &fleet.first.settings, 10_000).unwrap();
    let waits = rebuilt.blocking_probe();
    assert!(matches!(&waits, Err(StoreError::Settling { because }) if because.contains(&gone)), "{waits:?}");
    assert!(rebuilt.forget_gateway(&gone).unwrap());
    assert!(!rebuilt.forget_gateway(&gone).unwrap());
    whole_again(&[&rebuilt]);
}

#[test]
fn an_old_snapshot_is_noticed_and_every_gateway_sends_what_it_lacks() {
    let mut fleet = Fleet::start(&[]);
    let (_folder, other) = fleet.join();
    add(&fleet.store, "early@x.example");
    fleet.server.command(&["SAVE"]);
    add(&fleet.store, "late@x.example");
    add(&other, "theirs@x.example");
    whole_again(&[&fleet.store, &other]);
    fleet.server.kill();
    fleet.server.start_again();
    for store in [&fleet.store, &other] {
        is_closed(store);
    }
    whole_again(&[&fleet.store, &other]);
    for store in [&fleet.store, &other] {
        for address in ["early@x.example", "late@x.example", "theirs@x.example"] {
            assert_eq!(facts(store, address).len(), 1, "{address}");
        }
    }
    assert!(fleet.store.fleet_status().unwrap().unwrap().store.unwrap().1 > 1, "a new generation began");
}

#[test]
fn a_snapshot_that_is_older_than_the_last_start_is_noticed_at_the_next() {
    let mut fleet = Fleet::start(&[]);
    fleet.server.command(&["SAVE"]);
    add(&fleet.store, "late@x.example");
    fleet.server.kill();
    fleet.server.start_again();
    let again = fleet.reopen();
    whole_again(&[&again]);
    assert_eq!(facts(&again, "late@x.example").len(), 1);
}

#[test]
fn a_server_that_may_forget_is_refused_until_it_may_not() {
    let fleet = Fleet::start(&[]);
    add(&fleet.store, "known@x.example");
    fleet.server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let refused = fleet.store.blocking_probe();
    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    is_closed(&fleet.store);
    assert!(Store::open_fleet(&fleet.redis, &fleet.first.beside().settings).is_err(), "it does not start");
    assert_eq!(add(&fleet.store, "meanwhile@x.example"), Added::New);
    fleet.server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    whole_again(&[&fleet.store]);
    assert_eq!(facts(&fleet.store, "meanwhile@x.example").len(), 1);
}

/// The keys that hold facts, partitions' heads aside.
fn buckets(server: &RedisServer) -> Vec<String> {
    let keys = server.command(&["KEYS", "c:*:s:*"]);
    keys.lines().map(str::to_owned).collect()
}

#[test]
fn a_bucket_that_was_evicted_deleted_or_replaced_is_damage_and_no_absence() {
    for harm in [&["DEL"][..], &["SET"], &["HDEL"], &["HSET"], &["RENAME"]] {
        let fleet = Fleet::start(&[]);
        add(&fleet.store, "known@x.example");
        let bucket = buckets(&fleet.server).remove(0);
        let field = fleet.server.command(&["HKEYS", &bucket]);
        assert!(!field.is_empty());
        let script = match harm {
            ["DEL"] => "redis.call('DEL', KEYS[1])",
            ["SET"] => "redis.call('SET', KEYS[1], 'x')",
            ["HDEL"] => "redis.call('HDEL', KEYS[1], redis.call('HKEYS', KEYS[1])[1])",
            ["HSET"] => {
                "local f = redis.call('HKEYS', KEYS[1])[1]; \
                 redis.call('HSET', KEYS[1], f, string.sub(redis.call('HGET', KEYS[1], f), 1, -2) .. '0')"
            }
            _ => "redis.call('RENAME', KEYS[1], 'elsewhere')",
        };
        fleet.server.command(&["EVAL", script, "1", &bucket]);
        let answer = fleet.store.blocking_evidence(&[&mailbox("known@x.example")]);
        assert!(matches!(answer, Err(StoreError::Latched { .. })), "{harm:?}: {answer:?}");
        is_closed(&fleet.store);
        assert!(fleet.store.blocking_probe().is_err(), "{harm:?}: it does not heal by itself");
        let (rebuilt, outcome) = Store::rebuild_fleet(&fleet.redis, &fleet.first.settings, 10_000).unwrap();
        assert_eq!(outcome, Rebuilt::Whole);
        whole_again(&[&fleet.store]);
        for store in [&rebuilt, &fleet.store] {
            assert_eq!(facts(store, "known@x.example").len(), 1, "{harm:?}");
        }
    }
}

#[test]
fn what_the_server_says_in_anger_is_never_an_answer() {
    let fleet = Fleet::start(&[]);
    add(&fleet.store, "known@x.example");
    // NOAUTH: a password that we do not know.
    fleet.server.command(&["CONFIG", "SET", "requirepass", "secret"]);
    fleet.server.command(&["-a", "secret", "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    is_closed(&fleet.store);
    assert!(fleet.store.blocking_probe().is_err());
    is_closed(&fleet.store);
    fleet.server.command(&["-a", "secret", "CONFIG", "SET", "requirepass", ""]);
    whole_again(&[&fleet.store]);
    // OOM: nothing can be written any more.
    fleet.server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(add(&fleet.store, "pending@x.example"), Added::New);
    assert!(fleet.store.blocking_probe().is_err());
    is_closed(&fleet.store);
    fleet.server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    whole_again(&[&fleet.store]);
    assert_eq!(facts(&fleet.store, "pending@x.example").len(), 1);
    // READONLY: it became a replica.
    fleet.server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    assert!(fleet.store.blocking_probe().is_err());
    is_closed(&fleet.store);
    fleet.server.command(&["REPLICAOF", "NO", "ONE"]);
    whole_again(&[&fleet.store]);
    assert_eq!(facts(&fleet.store, "known@x.example").len(), 1);
}

#[test]
fn another_store_under_our_prefix_is_refused() {
    let fleet = Fleet::start(&[]);
    fleet.server.command(&["FLUSHALL"]);
    let other = fleet.first.beside();
    let _theirs = Store::create_fleet(&fleet.redis, &other.settings, 1).unwrap();
    assert!(matches!(fleet.store.blocking_probe(), Err(StoreError::Refused { .. })));
    is_closed(&fleet.store);
    let rebuilt = Store::rebuild_fleet(&fleet.redis, &fleet.first.settings, 1);
    assert!(matches!(rebuilt, Err(StoreError::Refused { .. })), "it is not ours to empty");
}

#[test]
fn many_gateways_write_to_the_same_places_and_nothing_is_lost() {
    let fleet = Fleet::start(&[]);
    let (_one, one) = fleet.join();
    let (_two, two) = fleet.join();
    std::thread::scope(|scope| {
        for (number, store) in [&fleet.store, &one, &two].into_iter().enumerate() {
            scope.spawn(move || {
                let all = (0..500).map(|n| new(&format!("v{}@x.example", n * (number + 1)), Cause::Unsubscribe));
                store.add_many(all).unwrap();
                for n in 0..50 {
                    add(store, &format!("v{n}@y.example"));
                }
            });
        }
    });
    let expected: std::collections::BTreeSet<_> = (0..500).flat_map(|n| [n, 2 * n, 3 * n]).collect();
    let stats = fleet.store.stats().unwrap();
    assert_eq!(stats.addresses, u64::try_from(expected.len()).unwrap() + 50);
    let census = fleet.store.census().unwrap().unwrap();
    assert_eq!(census.entries, stats.addresses);
}

#[test]
fn moving_house_and_back_keeps_everything_the_same() {
    let server = RedisServer::start(&[]);
    let gateway = GatewayFolder::new();
    let embedded = open(gateway.folder.path());
    embedded.add_many((0..1500).map(|n| new(&format!("v{n}@x.example"), Cause::Unsubscribe))).unwrap();
    embedded.blocking_add(&new("@firm.example", Cause::LegalObjection)).unwrap();
    for fact in [people::full(), people::consent(Basis::None), people::consent(Basis::OptIn)] {
        embedded.blocking_record(&people::told("v1@x.example", fact)).unwrap();
    }
    let redis = redis_at(server.port, "c:");
    let fleet = Store::create_fleet(&redis, &gateway.settings, 1_000).unwrap();
    assert_eq!(embedded.copy_to(&fleet, |_| ()).unwrap(), AddedMany { new: 1504, existing: 0 });
    let digest = embedded.digest().unwrap();
    assert_eq!((digest.entries, digest.events), (1501, 3));
    assert_eq!(fleet.digest().unwrap(), digest);
    assert_eq!(embedded.copy_to(&fleet, |_| ()).unwrap().existing, 1504, "copying again adds nothing");
    fleet.blocking_add(&new("late@x.example", Cause::Complaint)).unwrap();
    assert_ne!(fleet.digest().unwrap(), digest);
    let other = gateway.beside();
    let back = open(other.folder.path());
    fleet.copy_to(&back, |_| ()).unwrap();
    fleet.copy_to(&back, |_| ()).unwrap();
    assert_eq!(back.digest().unwrap(), fleet.digest().unwrap());
    assert_eq!(people::dossier(&back, "v1@x.example"), people::dossier(&fleet, "v1@x.example"));
    assert_eq!(fleet.census().unwrap(), Some(Census { entries: 1502, events: 3 }));
    let stranger = tempfile::tempdir().unwrap();
    let refused = fleet.copy_to(&open(stranger.path()), |_| ());
    assert!(matches!(refused, Err(StoreError::Refused { .. })), "another key");
}

#[test]
fn a_lost_or_older_journal_is_noticed() {
    let fleet = Fleet::start(&[]);
    add(&fleet.store, "a@x.example");
    let journal = fleet.first.folder.path().join("journal.db");
    let gone = |suffix: &str| drop(std::fs::remove_file(fleet.first.folder.path().join(format!("journal.db{suffix}"))));
    ["", "-wal", "-shm"].into_iter().for_each(gone);
    assert!(!journal.exists());
    let refused = Store::open_fleet(&fleet.redis, &fleet.first.settings);
    assert!(matches!(refused, Err(StoreError::Missing { .. })), "{refused:?}");
}

#[test]
fn a_store_of_hashes_alone_tells_redis_no_address() {
    let server = RedisServer::start(&[]);
    let gateway = GatewayFolder::new();
    let settings = Settings { cleartext: Cleartext::HashOnly, ..gateway.settings.clone() };
    let store = Store::create_fleet(&redis_at(server.port, "c:"), &settings, 1).unwrap();
    store.blocking_add(&new("someone.special@x.example", Cause::Erased)).unwrap();
    assert_eq!(facts(&store, "Someone.Special@x.example").len(), 1);
    server.command(&["SAVE"]);
    let mut files: Vec<_> = std::fs::read_dir(gateway.folder.path()).unwrap().map(|f| f.unwrap().path()).collect();
    files.push(server.folder().join("dump.rdb"));
    for file in files {
        let octets = std::fs::read(&file).unwrap();
        assert!(!octets.windows(7).any(|w| w.eq_ignore_ascii_case(b"special")), "{}", file.display());
    }
}
