//! Suppressions of people of whom only a published hash is known.

use super::*;

/// Hashes of `ann@example.org` (printf ann@example.org | md5sum, sha1sum, sha256sum).
const ANN: [&str; 3] = [
    "8b5a6a28fc840441be692d74a81ccd1a",
    "a4414de3ce1f77d2615b90c3ba16219b38193ced",
    "438C4C7AFE600CDF1E455C369BEC76DC970FC8CA463447C7B387A347F3C79331",
];

fn stops(store: &Store, address: &str) -> usize {
    let who = mailbox(address);
    let all = store.blocking_dossier(&[&who]).unwrap().pop().unwrap().suppressions;
    assert_eq!(all, facts(store, address), "both questions have one answer");
    all.len()
}

fn a_published_hash_stops_whom_it_was_made_of(store: &Store) {
    for (count, hash) in ANN.iter().enumerate() {
        assert_eq!(stops(store, "ann@example.org"), count);
        assert_eq!(store.blocking_add(&new(hash, Cause::Unsubscribe)).unwrap(), Added::New);
        assert_eq!(store.blocking_add(&new(&hash.to_lowercase(), Cause::Unsubscribe)).unwrap(), Added::Existing);
    }
    for (spelling, count) in [
        ("Ann@EXAMPLE.org", 3),
        ("\"ann\"@example.org", 3),
        ("ann+tag@example.org", 3),
        ("an.n@example.org", 0),
        ("anna@example.org", 0),
        ("ann@example.com", 0),
    ] {
        assert_eq!(stops(store, spelling), count, "{spelling}");
    }
    let pair = [mailbox("nobody@example.org"), mailbox("ann@example.org")];
    let both = store.blocking_evidence(&[&pair[0], &pair[1]]).unwrap();
    assert_eq!((both[0].len(), both[1].len()), (0, 3));
}

fn a_published_hash_is_shown_exported_and_removed(store: &Store) {
    let plain = Suppression { expires: Some(now()), ..fact(Cause::HardBounce) };
    let new = NewSuppression::new(Subject::parse(ANN[0]).unwrap(), plain, now()).unwrap();
    store.blocking_add(&new).unwrap();
    let found = store.matching(&Subject::parse("ann@example.org").unwrap()).unwrap();
    assert_eq!(found.iter().map(|(matched, _)| *matched).collect::<Vec<_>>(), [Match::Published]);
    assert!(!facts(store, "ann@example.org")[0].counts_at(now()), "it ends when it says so");
    let found = store.matching(&Subject::parse(ANN[0]).unwrap()).unwrap();
    assert_eq!(found[0].0, Match::Exact);
    assert_eq!(found[0].1.address, None, "only its keyed hash is kept");
    let mut out = Vec::new();
    store.export(&mut out, EntryFormat::Ndjson, &Selection::default()).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(!text.to_lowercase().contains(&ANN[0].to_lowercase()), "{text}");
    // The address as such was never entered; taking it out leaves the hash.
    assert!(store.blocking_remove(&removal("ann@example.org", None)).unwrap().is_empty());
    assert_eq!(stops(store, "ann@example.org"), 1);
    assert_eq!(store.blocking_remove(&removal(ANN[0], None)).unwrap().len(), 1);
    assert_eq!(stops(store, "ann@example.org"), 0);
}

fn a_published_hash_that_is_said_again_counts_from_then(store: &Store) {
    store.blocking_add(&new(ANN[2], Cause::Unsubscribe)).unwrap();
    let later = Suppression { since: Timestamp::from_secs(1_795_999_999), ..fact(Cause::Unsubscribe) };
    let again = NewSuppression::new(Subject::parse(ANN[2]).unwrap(), later.clone(), now()).unwrap();
    assert_eq!(store.blocking_add(&again).unwrap(), Added::Renewed);
    assert_eq!(facts(store, "ann@example.org"), std::slice::from_ref(&later));
    assert_eq!(store.blocking_add(&new(ANN[2], Cause::Unsubscribe)).unwrap(), Added::Existing);
    assert_eq!(facts(store, "ann@example.org"), [later]);
}

fn published_hashes_are_taken_back_as_they_came(store: &Store) {
    store.blocking_add(&new("ann@example.org", Cause::Unsubscribe)).unwrap();
    let listed = |hash: &&str| {
        let told = Suppression { origin: Origin::Import, ..fact(Cause::Unsubscribe) };
        NewSuppression::new(Subject::parse(hash).unwrap(), told, now()).unwrap()
    };
    let chunk: Vec<_> = ANN.iter().map(listed).collect();
    let prints = store.prints(&chunk);
    store.add_chunk(&chunk).unwrap();
    assert_eq!(stops(store, "ann@example.org"), 4);
    let withdrawal = Withdrawal { prints, by: "tester".to_owned(), because: "wrong list".to_owned(), at: now() };
    assert_eq!(store.withdraw(&withdrawal).unwrap(), 3);
    assert_eq!(facts(store, "ann@example.org"), [fact(Cause::Unsubscribe)]);
}

#[test]
fn another_process_and_the_next_opening_know_the_hashes() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = open(folder.path());
    assert_eq!(stops(&daemon, "ann@example.org"), 0);
    let command = Store::open(&settings(folder.path()), Opening::Quick, now()).unwrap();
    command.blocking_add(&new(ANN[1], Cause::Complaint)).unwrap();
    for store in [&daemon, &command, &open(folder.path())] {
        assert_eq!(stops(store, "ann@example.org"), 1);
    }
}

#[test]
fn a_fleet_asks_for_hashes_from_the_first_one_on() {
    let server = RedisServer::start(&[]);
    let redis = conformance::redis_at(server.port, "hash:");
    let gateway = conformance::GatewayFolder::new();
    let one = Store::create_fleet(&redis, &gateway.settings, 1_000).unwrap();
    let beside = gateway.beside();
    let other = Store::open_fleet(&redis, &beside.settings).unwrap();
    assert_eq!(stops(&other, "ann@example.org"), 0);
    one.blocking_add(&new(ANN[0], Cause::Unsubscribe)).unwrap();
    assert_eq!(stops(&other, "ann@example.org"), 1, "no window");
    // A store that lost what says so has lost its name too, and is not believed.
    server.command(&["DEL", "hash:{store}:meta"]);
    assert!(other.blocking_evidence(&[&mailbox("ann@example.org")]).is_err());
    assert!(other.blocking_evidence(&[&mailbox("bob@example.org")]).is_err());
}

/// What every kind of store has to do.
pub(super) const EVERY_KIND: &[Expectation] = &[
    ("a_published_hash_stops_whom_it_was_made_of", a_published_hash_stops_whom_it_was_made_of),
    ("a_published_hash_is_shown_exported_and_removed", a_published_hash_is_shown_exported_and_removed),
    ("a_published_hash_that_is_said_again_counts_from_then", a_published_hash_that_is_said_again_counts_from_then),
    ("published_hashes_are_taken_back_as_they_came", published_hashes_are_taken_back_as_they_came),
];
