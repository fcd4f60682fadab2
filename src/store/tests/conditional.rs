//! Changes that hold only against what their writer saw: of two that saw the same, one is first, whoever and wherever they are.

use std::sync::Barrier;

use super::conformance::{Cluster, GatewayFolder, redis_at};
use super::*;
use crate::policy::Basis;

/// Who change the same facts at the same time.
const WRITERS: usize = 4;
/// Times that all of them saw the same and try.
const ROUNDS: usize = 25;
/// Changes that each makes by reading, changing and trying again.
const STEPS: usize = 15;
/// Where a test of two processes tells the other one what to open.
const ELSEWHERE: &str = "CONSENTRY_TEST_ELSEWHERE";

fn whole(revision: Revision) -> Seen {
    Seen { reach: Reach::Gateway, any_of: vec![revision] }
}

fn entries(store: &Store, subject: &str) -> (Vec<Entry>, Revision) {
    let subject = Subject::parse(subject).unwrap();
    let (found, revision) = store.matching_within(&subject, &Reach::Gateway).unwrap();
    (found.into_iter().map(|(_, entry)| entry).collect(), revision)
}

fn told(store: &Store, address: &str) -> (Vec<Event>, Revision) {
    store.history_within(&mailbox(address), &Reach::Gateway).unwrap()
}

/// A consent that is told apart from others by its evidence.
fn consent(address: &str, number: usize) -> NewEvent {
    let mut fact = people::consent(Basis::OptIn);
    fact.evidence = Some(number.to_string().into());
    people::told(address, fact)
}

/// An entry that is told apart from others by its list.
fn listed(subject: &str, number: usize) -> NewSuppression {
    let mut fact = fact(Cause::Unsubscribe);
    fact.scope = format!("list:acme/l{number}").parse().unwrap();
    NewSuppression::new(Subject::parse(subject).unwrap(), fact, now()).unwrap()
}

fn present<T: std::fmt::Debug>(tried: Tried<T>) -> Revision {
    match tried {
        Tried::Meanwhile(present) => present,
        Tried::Done(done) => panic!("somebody was first, and it was done all the same: {done:?}"),
    }
}

fn a_change_is_made_against_what_was_seen_and_against_nothing_else(store: &Store) {
    let (_, nothing) = entries(store, "v@x.example");
    assert_ne!(nothing, entries(store, "w@x.example").1, "nothing is known of both, and it is not the same nothing");
    assert_ne!(nothing, told(store, "v@x.example").1);
    let add = |cause, revision| store.add_if(&new("v@x.example", cause), &whole(revision)).unwrap();
    assert_eq!(add(Cause::Manual, nothing), Tried::Done(Added::New));
    let (_, one) = entries(store, "V+tag@x.example");
    assert_eq!(present(add(Cause::Unsubscribe, nothing)), one);
    assert_eq!(present(add(Cause::Manual, nothing)), one, "also what is there already");
    assert_eq!(add(Cause::Manual, one), Tried::Done(Added::Existing));
    assert_eq!(entries(store, "v@x.example").1, one, "what changes nothing leaves the revision");
    // Another's change in between, by any door.
    store.blocking_add(&new("v@x.example", Cause::Complaint)).unwrap();
    let (found, two) = entries(store, "v@x.example");
    let remove = |because, revision| store.remove_if(&removal("v@x.example", because), &whole(revision));
    assert_eq!(present(remove(Some("asked"), one).unwrap()), two);
    assert!(matches!(remove(None, two), Err(StoreError::ReasonNeeded { .. })));
    assert_eq!(entries(store, "v@x.example"), (found.clone(), two), "nothing went");
    assert_eq!(remove(Some("asked"), two).unwrap(), Tried::Done(found));
    assert_eq!(store.stats().unwrap().removed, 2);
    assert_eq!(remove(None, entries(store, "v@x.example").1).unwrap(), Tried::Done(vec![]));
    // What reaches a person by their domain or by a hash of their address has a revision of its own.
    let (_, before) = entries(store, "v@x.example");
    store.blocking_add(&new("@x.example", Cause::Manual)).unwrap();
    assert_eq!(entries(store, "v@x.example").1, before);
    let (_, domain) = entries(store, "@x.example");
    let of_domain = store.remove_if(&removal("@x.example", None), &whole(domain)).unwrap();
    assert!(matches!(of_domain, Tried::Done(gone) if gone.len() == 1));
    let any = Seen { reach: Reach::Gateway, any_of: vec![one, before] };
    assert_eq!(store.add_if(&new("v@x.example", Cause::Manual), &any).unwrap(), Tried::Done(Added::New));
    let none = Seen { reach: Reach::Gateway, any_of: vec![] };
    present(store.add_if(&new("u@x.example", Cause::Manual), &none).unwrap());
    assert!(facts(store, "u@x.example").is_empty());
}

fn a_published_hash_is_compared_like_an_address(store: &Store) {
    let hash = "a".repeat(64);
    let (_, nothing) = entries(store, &hash);
    assert_eq!(store.add_if(&new(&hash, Cause::Manual), &whole(nothing)).unwrap(), Tried::Done(Added::New));
    let (_, one) = entries(store, &hash);
    assert_eq!(present(store.add_if(&new(&hash, Cause::Complaint), &whole(nothing)).unwrap()), one);
    let gone = store.remove_if(&removal(&hash, None), &whole(one)).unwrap();
    assert!(matches!(gone, Tried::Done(gone) if gone.len() == 1));
}

fn a_record_is_made_against_what_was_seen(store: &Store) {
    let record = |number, revision| store.record_if(&[consent("v@x.example", number)], &whole(revision)).unwrap();
    let (_, nothing) = told(store, "v@x.example");
    assert_eq!(record(0, nothing), Tried::Done(vec![Added::New]));
    let (history, one) = told(store, "v@x.example");
    assert_eq!(present(record(1, nothing)), one);
    assert_eq!(told(store, "v@x.example"), (history, one), "nothing was recorded");
    assert_eq!(record(0, one), Tried::Done(vec![Added::Existing]));
    let two = [consent("v@x.example", 2), consent("V@x.example", 3)];
    assert_eq!(store.record_if(&two, &whole(one)).unwrap(), Tried::Done(vec![Added::New; 2]));
    for mixed in [&[][..], &[consent("v@x.example", 4), consent("w@x.example", 4)]] {
        assert!(matches!(store.record_if(mixed, &whole(one)), Err(StoreError::Unfit { .. })));
    }
    assert_eq!(people::dossier(store, "v@x.example").consents[0].evidence.as_deref(), Some("3"));
}

fn a_controller_is_not_told_by_a_revision_what_others_know(store: &Store) {
    let acme = Reach::Controller(ControllerId::new("acme").unwrap());
    let subject = Subject::parse("v@x.example").unwrap();
    let own = || {
        let (found, of_entries) = store.matching_within(&subject, &acme).unwrap();
        let (history, of_events) = store.history_within(&mailbox("v@x.example"), &acme).unwrap();
        (found.len(), history.len(), of_entries, of_events)
    };
    let nothing = own();
    store.blocking_add(&new("v@x.example", Cause::Unsubscribe)).unwrap();
    let mut others = people::consent(Basis::OptIn);
    others.controller = ControllerId::new("other").unwrap();
    store.blocking_record(&people::told("v@x.example", others)).unwrap();
    assert_eq!(own(), nothing);
    let seen = |revision| Seen { reach: acme.clone(), any_of: vec![revision] };
    assert_eq!(store.add_if(&listed("v@x.example", 1), &seen(nothing.2)).unwrap(), Tried::Done(Added::New));
    let consent = [consent("v@x.example", 1)];
    assert_eq!(store.record_if(&consent, &seen(nothing.3)).unwrap(), Tried::Done(vec![Added::New]));
    let before = own();
    assert_eq!((before.0, before.1), (1, 1));
    // Taken back by the operator: the record of that is not theirs to see, and that theirs counts no more is.
    assert_eq!(store.retract(&store.exact_keys(&consent), "tester", "ann", now()).unwrap(), 1);
    assert_eq!((own().1, own().3 == before.3), (1, false));
    let removal = Removal { reach: acme.clone(), ..removal("v@x.example", None) };
    let gone = store.remove_if(&removal, &seen(before.2)).unwrap();
    assert!(matches!(gone, Tried::Done(gone) if gone.len() == 1), "their own alone");
    assert_eq!(facts(store, "v@x.example").len(), 1);
}

/// Rounds in which all writers hold the same revision, over whichever stores they have. What each was answered is looked at when all
/// have ended: none waits for one that failed.
fn one_is_first(stores: &[Store]) {
    for number in 0..ROUNDS {
        let address = format!("r{number}@x.example");
        let ((_, entries_seen), (_, told_seen)) = (entries(&stores[0], &address), told(&stores[0], &address));
        let change = |writer: usize, store: &Store| {
            let added = store.add_if(&listed(&address, writer), &whole(entries_seen)).unwrap();
            (added, store.record_if(&[consent(&address, writer)], &whole(told_seen)).unwrap())
        };
        let (added, said): (Vec<_>, Vec<_>) = at_once(stores, &change).into_iter().unzip();
        let ((found, entries_now), (history, told_now)) = (entries(&stores[0], &address), told(&stores[0], &address));
        assert_eq!((found.len(), history.len()), (1, 1), "{address}");
        first_of(added, &Added::New, entries_now);
        first_of(said, &vec![Added::New], told_now);
        let removal = removal(&address, None);
        let remove = |_, store: &Store| store.remove_if(&removal, &whole(entries_now)).unwrap();
        first_of(at_once(stores, &remove), &found, entries(&stores[0], &address).1);
    }
}

/// What each writer is answered when all of them change something at the same time.
fn at_once<T: Send>(stores: &[Store], change: &(impl Fn(usize, &Store) -> T + Sync)) -> Vec<T> {
    let barrier = Barrier::new(stores.len());
    let one = |(writer, store): (usize, &Store)| {
        barrier.wait();
        change(writer, store)
    };
    std::thread::scope(|scope| {
        let one = &one;
        let all: Vec<_> = stores.iter().enumerate().map(|each| scope.spawn(move || one(each))).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// One did it, and all others were told what is there now.
fn first_of<T: PartialEq + std::fmt::Debug>(tried: Vec<Tried<T>>, done: &T, now: Revision) {
    let (first, others): (Vec<_>, Vec<_>) = tried.into_iter().partition(|tried| matches!(tried, Tried::Done(_)));
    assert!(matches!(first.as_slice(), [Tried::Done(one)] if one == done), "{first:?}");
    assert!(others.iter().all(|tried| *tried == Tried::Meanwhile(now)), "{others:?}");
}

/// Counts one further, `steps` times, as whoever reads, changes and tries again does. Answers how often somebody else was first.
fn count_on(store: &Store, address: &str, steps: usize) -> usize {
    let mut behind = 0;
    for _ in 0..steps {
        loop {
            let (found, revision) = entries(store, address);
            match store.add_if(&listed(address, found.len()), &whole(revision)).unwrap() {
                Tried::Done(Added::New) => break,
                Tried::Done(other) => panic!("a number was given twice: {other:?}"),
                Tried::Meanwhile(_) => behind += 1,
            }
        }
        loop {
            let (history, revision) = told(store, address);
            match store.record_if(&[consent(address, history.len())], &whole(revision)).unwrap() {
                Tried::Done(_) => break,
                Tried::Meanwhile(_) => behind += 1,
            }
        }
    }
    behind
}

fn nothing_is_lost(store: &Store, address: &str, steps: usize) {
    let numbers: Vec<_> = (0..steps).map(|number| number.to_string()).collect();
    let mut lists: Vec<_> = entries(store, address).0.into_iter().map(|entry| entry.fact.scope.to_string()).collect();
    let mut expected: Vec<_> = numbers.iter().map(|number| format!("list:acme/l{number}")).collect();
    lists.sort();
    expected.sort();
    assert_eq!(lists, expected);
    let evidence = |event: Event| match event.told {
        Told::Consent(fact) => fact.evidence.unwrap().to_string(),
        other @ (Told::Contact(_) | Told::Retraction(_)) => panic!("{other:?}"),
    };
    assert_eq!(told(store, address).0.into_iter().map(evidence).collect::<Vec<_>>(), numbers, "in their order");
}

/// All that several writers do at once, each with a store of its own or a clone of one.
fn writers_meet(stores: &[Store]) {
    one_is_first(stores);
    let behind: usize = std::thread::scope(|scope| {
        let count = |store| scope.spawn(move || count_on(store, "count@x.example", STEPS));
        let counting: Vec<_> = stores.iter().map(count).collect();
        counting.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    println!("{} steps were counted, and {behind} tries came second", stores.len() * STEPS);
    nothing_is_lost(&stores[0], "count@x.example", stores.len() * STEPS);
}

fn of_writers_that_saw_the_same_one_is_first(store: &Store) {
    writers_meet(&vec![store.clone(); WRITERS]);
}

#[test]
fn two_openings_of_one_embedded_store_lose_no_update() {
    let folder = tempfile::tempdir().unwrap();
    let command = Store::open(&settings(folder.path()), Opening::Quick, now()).unwrap();
    let daemon = open(folder.path());
    writers_meet(&[daemon.clone(), command.clone(), daemon, command]);
}

#[test]
fn two_processes_on_one_embedded_store_lose_no_update() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let other = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::conditional::the_other_process", "--nocapture"])
        .env(ELSEWHERE, folder.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let behind = count_on(&store, "count@x.example", 10 * STEPS);
    let other = other.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&other.stdout);
    assert!(other.status.success() && said.contains("the other process"), "{said}");
    println!("{behind} tries of this process came second; {said}");
    nothing_is_lost(&store, "count@x.example", 20 * STEPS);
}

/// What [`two_processes_on_one_embedded_store_lose_no_update`] starts; by itself it has nothing to do.
#[test]
fn the_other_process() {
    let Some(folder) = std::env::var_os(ELSEWHERE) else { return };
    let store = Store::open(&settings(Path::new(&folder)), Opening::Quick, now()).unwrap();
    println!("{} tries of the other process came second", count_on(&store, "count@x.example", 10 * STEPS));
}

/// Two gateways of a fleet, each with two writers.
fn two_gateways(redis: &RedisSettings) -> (Vec<Store>, [GatewayFolder; 2]) {
    let first = GatewayFolder::new();
    let one = Store::create_fleet(redis, &first.settings, 1_000).unwrap();
    let second = first.beside();
    let two = Store::open_fleet(redis, &second.settings).unwrap();
    (vec![one.clone(), two.clone(), one, two], [first, second])
}

#[test]
fn two_gateways_of_a_fleet_lose_no_update() {
    let server = RedisServer::start(&[]);
    let (stores, _folders) = two_gateways(&redis_at(server.port, "c:"));
    writers_meet(&stores);
}

#[test]
fn two_gateways_on_a_cluster_lose_no_update() {
    let cluster = Cluster::start();
    let (stores, _folders) = two_gateways(&cluster.settings("c:"));
    writers_meet(&stores);
}

#[test]
fn what_cannot_be_compared_is_refused_and_never_recorded_afterwards() {
    let mut server = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let (stores, _folders) = two_gateways(&redis_at(server.port, "c:"));
    let (store, other) = (&stores[0], &stores[1]);
    store.blocking_add(&new("v@x.example", Cause::Manual)).unwrap();
    let (_, revision) = entries(store, "v@x.example");
    let (_, nothing) = told(store, "v@x.example");
    server.kill();
    for _ in 0..3 {
        let added = store.add_if(&new("v@x.example", Cause::Complaint), &whole(revision));
        assert!(matches!(added, Err(StoreError::Away { .. })), "{added:?}");
        assert!(store.remove_if(&removal("v@x.example", None), &whole(revision)).is_err());
        assert!(store.record_if(&[consent("v@x.example", 1)], &whole(nothing)).is_err());
    }
    let pending = || store.fleet_status().unwrap().unwrap().pending.0;
    assert_eq!(pending(), 0, "nothing of it waits to be told");
    // An opt-out that names no state is taken as ever, and is part of what is compared as soon as Redis has it.
    assert_eq!(store.blocking_add(&new("v@x.example", Cause::Unsubscribe)).unwrap(), Added::New);
    server.start_again();
    fleet::whole_again(&[store, other]);
    assert_eq!(present(other.remove_if(&removal("v@x.example", None), &whole(revision)).unwrap()), {
        let (found, present) = entries(store, "v@x.example");
        assert_eq!(found.len(), 2);
        present
    });
    assert!(told(store, "v@x.example").0.is_empty());
}

#[test]
fn what_was_compared_and_recorded_is_in_the_journal_and_outlives_redis() {
    let server = RedisServer::start(&[]);
    let redis = redis_at(server.port, "c:");
    let (stores, folders) = two_gateways(&redis);
    let (_, nothing) = entries(&stores[1], "v@x.example");
    let added = stores[1].add_if(&new("v@x.example", Cause::Complaint), &whole(nothing)).unwrap();
    assert_eq!(added, Tried::Done(Added::New));
    let (_, nothing) = told(&stores[1], "v@x.example");
    let said = stores[1].record_if(&[consent("v@x.example", 1)], &whole(nothing)).unwrap();
    assert_eq!(said, Tried::Done(vec![Added::New]));
    assert_eq!(stores[1].fleet_status().unwrap().unwrap().pending, (0, 2));
    server.command(&["FLUSHALL"]);
    let (rebuilt, _waiting) = Store::rebuild_fleet(&redis, &folders[0].settings, 1_000).unwrap();
    fleet::whole_again(&[&rebuilt, &stores[1]]);
    assert_eq!((entries(&rebuilt, "v@x.example").0.len(), told(&rebuilt, "v@x.example").0.len()), (1, 1));
}

/// What every kind of store has to do.
pub(super) const EVERY_KIND: &[Expectation] = &[
    (
        "a_change_is_made_against_what_was_seen_and_against_nothing_else",
        a_change_is_made_against_what_was_seen_and_against_nothing_else,
    ),
    ("a_published_hash_is_compared_like_an_address", a_published_hash_is_compared_like_an_address),
    ("a_record_is_made_against_what_was_seen", a_record_is_made_against_what_was_seen),
    (
        "a_controller_is_not_told_by_a_revision_what_others_know",
        a_controller_is_not_told_by_a_revision_what_others_know,
    ),
    ("of_writers_that_saw_the_same_one_is_first", of_writers_that_saw_the_same_one_is_first),
];
