//! Rotating the key: everything is found as before, by whoever has all secrets and by nobody else.

use super::conformance::{GatewayFolder, every_expectation, redis_at};
use super::fleet::{eventually, whole_again};
use super::people::{full, told};
use super::*;
use crate::policy::{ListCheck, Listed, RegisterName};

fn key_text(settings: &Settings) -> String {
    std::fs::read_to_string(settings.path.with_extension("key")).unwrap()
}

/// One of each kind of fact.
fn fill(store: &Store) {
    let no = |subject: &str| store.blocking_add(&new(subject, Cause::Unsubscribe)).unwrap();
    for subject in ["no@x.example", "@domain.example", "8b5a6a28fc840441be692d74a81ccd1a", "removed@x.example"] {
        no(subject);
    }
    store.blocking_remove(&removal("removed@x.example", Some("asked for it"))).unwrap();
    store.blocking_record(&told("yes@x.example", full())).unwrap();
    // Only hashes are known of this one.
    let hashed = Subject::Hashed {
        kind: Kind::Address,
        exact: store_key(store, "hashed@x.example").0,
        family: store_key(store, "hashed@x.example").1,
    };
    store.blocking_add(&NewSuppression::new(hashed, fact(Cause::Unsubscribe), now()).unwrap()).unwrap();
}

/// Exact and family key of somebody, as the store prints them.
fn store_key(store: &Store, address: &str) -> (AddressKey, AddressKey) {
    store.blocking_add(&new(address, Cause::Manual)).unwrap();
    let found = store.matching(&Subject::parse(address).unwrap()).unwrap();
    let keys = found.iter().map(|(_, entry)| (entry.exact, entry.family)).next().unwrap();
    store.blocking_remove(&removal(address, Some("only asked"))).unwrap();
    keys
}

fn expect_all(store: &Store) {
    for address in ["no@x.example", "NO+tag@x.example", "who@sub.domain.example", "ann@example.org", "hashed@x.example"]
    {
        assert_eq!(facts(store, address).len(), 1, "{address}");
    }
    assert_eq!(facts(store, "removed@x.example"), []);
    assert_eq!(facts(store, "free@x.example"), []);
    let yes = store.blocking_dossier(&[&mailbox("yes@x.example")]).unwrap().pop().unwrap();
    assert_eq!(yes.consents, [full()]);
    assert_eq!(store.history(&mailbox("yes@x.example")).unwrap().len(), 1);
    assert_eq!(store.matching(&Subject::parse("no@x.example").unwrap()).unwrap()[0].0, Match::Exact);
    let again = store.blocking_add(&new("no@x.example", Cause::Unsubscribe)).unwrap();
    assert_eq!(again, Added::Existing);
}

#[test]
fn a_rotated_embedded_store_conforms() {
    for (name, expectation) in every_expectation() {
        println!("{name}");
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path()));
        Store::rotate_key(&settings(folder.path())).unwrap();
        expectation(&open(folder.path()));
    }
}

#[test]
fn a_rotated_fleet_store_conforms() {
    let server = RedisServer::start(&[]);
    for (name, expectation) in every_expectation() {
        println!("{name}");
        let gateway = GatewayFolder::new();
        let redis = redis_at(server.port, &format!("{name}:"));
        drop(Store::create_fleet(&redis, &gateway.settings, 1000).unwrap());
        Store::rotate_fleet_key(&redis, &gateway.settings).unwrap();
        expectation(&Store::open_fleet(&redis, &gateway.settings).unwrap());
    }
}

#[test]
fn everything_is_found_under_the_new_key_and_nothing_under_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let store = open(folder.path());
    fill(&store);
    let robinson = RegisterName::new("robinson").unwrap();
    let listed = [RegisterEntry::Subject(Subject::parse("listed@x.example").unwrap())];
    store.load_register(&robinson, now(), listed.into_iter().map(Ok), now()).unwrap();
    expect_all(&store);
    let (name, before, stats) = (store.key_name(), store.digest().unwrap(), store.stats().unwrap());
    let old = store_key(&store, "no2@x.example");
    drop(store);
    let old_key = key_text(&settings);

    let rotated = Store::rotate_key(&settings).unwrap();
    assert_eq!((rotated.secrets, rotated.entries, rotated.events), (2, before.entries, before.events));
    let store = open(folder.path());
    assert_eq!(store.key_name(), rotated.key);
    assert_ne!(store.key_name(), name);
    expect_all(&store);
    let checks = store.blocking_dossier(&[&mailbox("listed@x.example")]).unwrap().pop().unwrap().registers;
    assert_eq!(checks, [ListCheck { list: robinson, fresh_on: now(), answer: Listed::Yes }]);
    let (after, now_stats) = (store.digest().unwrap(), store.stats().unwrap());
    assert_eq!((after.entries, after.events), (before.entries, before.events));
    assert_ne!(after.sum, before.sum);
    assert_eq!((now_stats.store, now_stats.by_cause), (stats.store, stats.by_cause), "it is still the same store");
    // Whoever has the old key alone can hash whom they like: no hash in the file is one of theirs.
    assert_ne!(store_key(&store, "no2@x.example"), old);
    drop(store);
    let new_key = key_text(&settings);
    std::fs::write(settings.path.with_extension("key"), &old_key).unwrap();
    let refused = Store::open(&settings, Opening::Whole, now());
    assert!(matches!(refused, Err(StoreError::KeyWrong { .. })), "{refused:?}");
    std::fs::write(settings.path.with_extension("key"), new_key).unwrap();
    Store::rotate_key(&settings).unwrap();
    expect_all(&open(folder.path()));
}

#[test]
fn a_rotation_waits_for_nobody_and_goes_on_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let daemon = open(folder.path());
    fill(&daemon);
    let refused = Store::rotate_key(&settings);
    assert!(
        matches!(&refused, Err(StoreError::Refused { because }) if because.contains("stop the daemon")),
        "{refused:?}"
    );
    expect_all(&daemon);
    daemon.blocking_add(&new("later@x.example", Cause::Unsubscribe)).unwrap();
    drop(daemon);
    assert_eq!(key_text(&settings).lines().count(), 1, "a refused rotation adds no secret");

    // A crash between the key file and the database: the secret is there, half of a new database too.
    crate::store::key::extend(&settings.path.with_extension("key")).unwrap();
    std::fs::write(settings.path.with_extension("new"), b"half").unwrap();
    let store = open(folder.path());
    expect_all(&store);
    store.blocking_add(&new("meanwhile@x.example", Cause::Unsubscribe)).unwrap();
    drop(store);
    let rotated = Store::rotate_key(&settings).unwrap();
    assert_eq!(rotated.secrets, 2, "the secret that waits is used");
    assert_eq!(key_text(&settings).lines().count(), 2);
    let store = open(folder.path());
    expect_all(&store);
    for address in ["later@x.example", "meanwhile@x.example"] {
        assert_eq!(facts(&store, address).len(), 1, "{address}");
    }
}

#[test]
fn a_damaged_store_is_not_rotated() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    fill(&open(folder.path()));
    let stranger = rusqlite::Connection::open(&settings.path).unwrap();
    stranger.execute("UPDATE suppressions SET family = zeroblob(16) WHERE seq = 1", []).unwrap();
    stranger.close().unwrap();
    assert!(matches!(Store::rotate_key(&settings), Err(StoreError::Damaged { .. })));
    assert_eq!(key_text(&settings).lines().count(), 1);
}

#[test]
fn a_fleet_rotates_from_one_gateway_and_the_others_follow_with_what_only_they_know() {
    let server = RedisServer::start(&[]);
    let redis = redis_at(server.port, "c:");
    let first = GatewayFolder::new();
    let one = Store::create_fleet(&redis, &first.settings, 1000).unwrap();
    let second = first.beside();
    let two = Store::open_fleet(&redis, &second.settings).unwrap();
    fill(&one);
    two.blocking_add(&new("at-two@x.example", Cause::Unsubscribe)).unwrap();
    let refused = Store::rotate_fleet_key(&redis, &first.settings);
    assert!(
        matches!(&refused, Err(StoreError::Refused { because }) if because.contains("stop the daemon")),
        "{refused:?}"
    );
    expect_all(&one);
    drop(one);

    let rotated = Store::rotate_fleet_key(&redis, &first.settings).unwrap();
    assert_eq!(rotated.secrets, 2);
    assert!(rotated.waits_for.is_some(), "the other gateway has yet to follow");
    // The other one stays closed, takes opt-outs all the same, and needs the new key file.
    eventually(|| two.blocking_probe().is_err().then_some(()));
    assert!(two.blocking_evidence(&[&mailbox("no@x.example")]).is_err());
    two.blocking_add(&new("while-closed@x.example", Cause::Unsubscribe)).unwrap();
    drop(two);
    assert!(matches!(Store::open_fleet(&redis, &second.settings), Err(StoreError::KeyWrong { .. })));
    std::fs::copy(first.settings.path.with_extension("key"), second.settings.path.with_extension("key")).unwrap();
    let two = Store::open_fleet(&redis, &second.settings).unwrap();
    let one = Store::open_fleet(&redis, &first.settings).unwrap();
    whole_again(&[&one, &two]);
    for store in [&one, &two] {
        assert_eq!(store.key_name(), rotated.key);
        expect_all(store);
        for address in ["at-two@x.example", "while-closed@x.example"] {
            assert_eq!(facts(store, address).len(), 1, "{address}");
        }
    }
}

#[test]
fn a_fleets_rotation_that_ended_in_the_middle_goes_on() {
    let server = RedisServer::start(&[]);
    let redis = redis_at(server.port, "c:");
    let gateway = GatewayFolder::new();
    let store = Store::create_fleet(&redis, &gateway.settings, 1000).unwrap();
    fill(&store);
    drop(store);
    // The journal was hashed anew, and Redis knows nothing of it.
    eventually(|| crate::store::redis::half_a_rotation(&gateway.settings).ok());
    let refused = Store::open_fleet(&redis, &gateway.settings);
    assert!(matches!(&refused, Err(StoreError::Refused { because }) if because.contains("rotate-key")), "{refused:?}");
    let rotated = Store::rotate_fleet_key(&redis, &gateway.settings).unwrap();
    assert_eq!(rotated.secrets, 2);
    let store = Store::open_fleet(&redis, &gateway.settings).unwrap();
    expect_all(&store);
}
