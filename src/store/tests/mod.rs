//! The store as its callers see it; the same expectations for the embedded one and the one in memory where both apply.

mod bulk;
mod conditional;
mod conformance;
mod counts;
mod fleet;
mod lines;
mod loss;
mod people;
#[path = "../../../tests/it/support/ports.rs"]
mod ports;
mod published_hashes;
#[path = "../../../tests/it/support/redis_server.rs"]
pub(crate) mod redis_server;
mod rotation;
mod secure;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use self::redis_server::RedisServer;
use super::*;
use crate::mail::ControllerId;
use crate::policy::{Cause, Origin, Scope};

/// Something that every kind of store has to do, with its name.
type Expectation = (&'static str, fn(&Store));

fn now() -> Timestamp {
    Timestamp::from_secs(1_795_482_123)
}

fn settings(folder: &Path) -> Settings {
    Settings { path: folder.join("store.db"), key_file: None, cleartext: Cleartext::Keep }
}

fn open(folder: &Path) -> Store {
    Store::open(&settings(folder), Opening::Whole, now()).unwrap()
}

fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text).unwrap()
}

fn fact(cause: Cause) -> Suppression {
    Suppression {
        scope: Scope::Everything,
        cause,
        origin: Origin::OneClick,
        evidence: Some("first".to_owned()),
        since: now(),
        expires: None,
    }
}

fn new(subject: &str, cause: Cause) -> NewSuppression {
    NewSuppression::new(Subject::parse(subject).unwrap(), fact(cause), now()).unwrap()
}

fn facts(store: &Store, address: &str) -> Vec<Suppression> {
    store.blocking_evidence(&[&mailbox(address)]).unwrap().pop().unwrap()
}

fn removal(subject: &str, because: Option<&str>) -> Removal {
    Removal {
        subject: Subject::parse(subject).unwrap(),
        scope: None,
        cause: None,
        reach: Reach::Gateway,
        by: "tester".to_owned(),
        because: because.map(str::to_owned),
        at: now(),
    }
}

fn every_spelling_meets_the_suppression(store: &Store) {
    store.blocking_add(&new("victim@example.com", Cause::Unsubscribe)).unwrap();
    for spelling in [
        "victim@example.com",
        "Victim@EXAMPLE.com",
        "\"victim\"@example.com",
        "\"vic\\tim\"@example.com",
        "ＶＩＣＴＩＭ@example.com",
        "victim+news@example.com",
    ] {
        assert_eq!(facts(store, spelling), [fact(Cause::Unsubscribe)], "{spelling}");
    }
    assert!(facts(store, "victims@example.com").is_empty());
    assert!(facts(store, "victim@example.org").is_empty());
}

fn a_tagged_or_dotted_entry_meets_the_plain_address(store: &Store) {
    store.blocking_add(&new("v.i.c+shop@googlemail.com", Cause::Complaint)).unwrap();
    assert_eq!(facts(store, "vic@gmail.com").len(), 1);
    let found = store.matching(&Subject::parse("vic@gmail.com").unwrap()).unwrap();
    assert_eq!(found[0].0, Match::Family);
    let found = store.matching(&Subject::parse("V.I.C+shop@googlemail.com").unwrap()).unwrap();
    assert_eq!(found[0].0, Match::Exact);
}

fn a_domain_entry_reaches_its_subdomains_and_no_others(store: &Store) {
    store.blocking_add(&new("@firm.example", Cause::LegalObjection)).unwrap();
    store.blocking_add(&new("@[192.0.2.1]", Cause::Manual)).unwrap();
    for (address, count) in [
        ("a@firm.example", 1),
        ("a@mail.FIRM.example", 1),
        ("a@x.y.firm.example", 1),
        ("a@myfirm.example", 0),
        ("a@example", 0),
        ("a@[192.0.2.1]", 1),
        ("a@[192.0.2.2]", 0),
    ] {
        assert_eq!(facts(store, address).len(), count, "{address}");
    }
    let found = store.matching(&Subject::parse("@sub.firm.example").unwrap()).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, Match::Domain);
    assert_eq!(store.matching(&Subject::parse("@firm.example").unwrap()).unwrap().len(), 1);
}

fn answers_keep_the_order_of_the_recipients_and_hold_every_scope(store: &Store) {
    let mut one_list = fact(Cause::Unsubscribe);
    one_list.scope = Scope::Controller(ControllerId::new("acme").unwrap());
    let listed = NewSuppression::new(Subject::parse("b@x.example").unwrap(), one_list.clone(), now()).unwrap();
    store.blocking_add(&listed).unwrap();
    store.blocking_add(&new("b@x.example", Cause::Unsubscribe)).unwrap();
    let (a, b) = (mailbox("a@x.example"), mailbox("b@x.example"));
    let answer = store.blocking_evidence(&[&a, &b, &a, &b]).unwrap();
    let both = vec![one_list, fact(Cause::Unsubscribe)];
    assert_eq!(answer, [vec![], both.clone(), vec![], both]);
    assert_eq!(store.blocking_evidence(&[]).unwrap(), Vec::<Vec<Suppression>>::new());
}

fn adding_again_keeps_the_first_date_and_evidence_and_only_prolongs(store: &Store) {
    let with = |expires: Option<i64>, evidence: &str| {
        let mut fact = fact(Cause::HardBounce);
        fact.evidence = Some(evidence.to_owned());
        fact.expires = expires.map(Timestamp::from_secs);
        NewSuppression::new(Subject::parse("v@x.example").unwrap(), fact, now()).unwrap()
    };
    assert_eq!(store.blocking_add(&with(Some(50), "first")).unwrap(), Added::New);
    let (same, more) = (Added::Existing, Added::Renewed);
    for (given, became, kept) in
        [(Some(40), same, Some(50)), (Some(60), more, Some(60)), (None, more, None), (Some(70), same, None)]
    {
        assert_eq!(store.blocking_add(&with(given, "later")).unwrap(), became);
        let found = facts(store, "v@x.example");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].expires, kept.map(Timestamp::from_secs));
        assert_eq!(found[0].evidence.as_deref(), Some("first"));
    }
}

fn a_complaint_leaves_only_with_a_reason_and_nothing_leaves_by_half(store: &Store) {
    for cause in [Cause::Unsubscribe, Cause::Complaint] {
        store.blocking_add(&new("v@x.example", cause)).unwrap();
    }
    store.blocking_add(&new("@x.example", Cause::Manual)).unwrap();
    for because in [None, Some("  ")] {
        let refused = store.blocking_remove(&removal("v@x.example", because));
        assert!(matches!(refused, Err(StoreError::ReasonNeeded { cause: Cause::Complaint })));
    }
    let long = "x".repeat(TEXT_MAX + 1);
    assert!(store.blocking_remove(&removal("v@x.example", Some(&long))).is_err());
    assert_eq!(facts(store, "v@x.example").len(), 3);
    let gone = store.blocking_remove(&removal("V+tag@x.example", Some("asked by letter 12"))).unwrap();
    assert_eq!(gone.len(), 2);
    assert_eq!(facts(store, "v@x.example").len(), 1, "the domain's entry stays");
    assert_eq!(store.stats().unwrap().removed, 2);
    assert!(store.blocking_remove(&removal("v@x.example", None)).unwrap().is_empty());
    assert_eq!(store.blocking_add(&new("v@x.example", Cause::Complaint)).unwrap(), Added::New);
    assert_eq!(facts(store, "v@x.example").len(), 2, "an entry added again counts again");
}

#[test]
fn what_one_process_writes_counts_at_the_next_question_of_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = open(folder.path());
    let command = Store::open(&settings(folder.path()), Opening::Quick, now()).unwrap();
    for round in 0..20 {
        let address = format!("v{round}@x.example");
        assert!(facts(&daemon, &address).is_empty());
        command.blocking_add(&new(&address, Cause::Unsubscribe)).unwrap();
        assert_eq!(facts(&daemon, &address).len(), 1);
        daemon.blocking_remove(&removal(&address, None)).unwrap();
        assert!(facts(&command, &address).is_empty());
        command.blocking_add(&new(&address, Cause::Unsubscribe)).unwrap();
        assert_eq!(facts(&daemon, &address).len(), 1);
    }
    daemon.blocking_probe().unwrap();
}

#[test]
fn what_was_added_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).blocking_add(&new("v@x.example", Cause::Unsubscribe)).unwrap();
    let again = open(folder.path());
    assert_eq!(facts(&again, "V@x.example"), [fact(Cause::Unsubscribe)]);
    for file in ["store.db", "store.db-wal", "store.key", "store.mark"] {
        let mode = std::fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file} can be read by others");
    }
    let stats = again.stats().unwrap();
    assert_eq!((stats.addresses, stats.domains, stats.changes), (1, 0, 1));
}

#[test]
fn a_store_of_hashes_alone_holds_no_address_and_still_knows_everybody() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { cleartext: Cleartext::HashOnly, ..settings(folder.path()) };
    let store = Store::open(&settings, Opening::Whole, now()).unwrap();
    store.blocking_add(&new("someone.special@x.example", Cause::Erased)).unwrap();
    store.blocking_add(&new("@firm.example", Cause::Erased)).unwrap();
    assert_eq!(facts(&store, "Someone.Special@x.example").len(), 1);
    assert_eq!(facts(&store, "any@firm.example").len(), 1);
    let entries = store.list(&Selection::default(), Cursor::default(), 10).unwrap().entries;
    assert!(entries.iter().all(|entry| entry.address.is_none()));
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let octets = std::fs::read(file.unwrap().path()).unwrap();
        for trace in ["special", "firm.example"] {
            assert!(!octets.windows(trace.len()).any(|w| w.eq_ignore_ascii_case(trace.as_bytes())), "{trace}");
        }
    }
}

fn pages_follow_each_other_and_selections_select(store: &Store) {
    store.add_many((0..25).map(|n| new(&format!("v{n}@x.example"), Cause::Manual))).unwrap();
    store.add_many((0..5).map(|n| new(&format!("v{n}@x.example"), Cause::Unsubscribe))).unwrap();
    let (mut after, mut seen) = (Cursor::default(), Vec::new());
    loop {
        let page = store.list(&Selection::default(), after, 10).unwrap();
        assert!(page.entries.len() <= 10);
        seen.extend(page.entries.iter().map(|entry| entry.cursor));
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(seen.len(), 30);
    assert!(seen.is_sorted());
    let unsubscribed = Selection { cause: Some(Cause::Unsubscribe), scope: None };
    assert_eq!(store.list(&unsubscribed, Cursor::default(), 5).unwrap().entries.len(), 5);
    assert_eq!(store.list(&unsubscribed, Cursor::default(), 5).unwrap().next, None);
    let acme = Scope::Controller(ControllerId::new("acme").unwrap());
    let of_acme = Selection { cause: None, scope: Some(acme) };
    assert!(store.list(&of_acme, Cursor::default(), 5).unwrap().entries.is_empty());
}

fn a_page_is_bounded_whatever_is_asked_for(store: &Store) {
    store.add_many((0..=PAGE_MAX).map(|n| new(&format!("v{n}@x.example"), Cause::Manual))).unwrap();
    let page = store.list(&Selection::default(), Cursor::default(), usize::MAX).unwrap();
    assert_eq!(page.entries.len(), PAGE_MAX);
    assert!(page.next.is_some());
}

#[test]
fn many_threads_see_each_others_additions_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let other = open(folder.path());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (store, other) = (store.clone(), other.clone());
            scope.spawn(move || {
                let (writer, reader) = if thread % 2 == 0 { (&store, &other) } else { (&other, &store) };
                for round in 0..25 {
                    let address = format!("t{thread}r{round}@x.example");
                    assert!(facts(reader, &address).is_empty());
                    writer.blocking_add(&new(&address, Cause::Unsubscribe)).unwrap();
                    assert_eq!(facts(reader, &address).len(), 1);
                    assert_eq!(facts(writer, &address).len(), 1);
                }
            });
        }
    });
    assert_eq!(store.stats().unwrap().addresses, 100);
    drop((store, other));
    assert_eq!(open(folder.path()).stats().unwrap().addresses, 100);
}

#[tokio::test]
async fn the_asynchronous_doors_lead_to_the_same_rooms() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    assert_eq!(store.add(new("v@x.example", Cause::Manual)).await.unwrap(), Added::New);
    assert_eq!(store.evidence(&[&mailbox("v@x.example")]).await.unwrap()[0].len(), 1);
    assert_eq!(store.remove(removal("v@x.example", None)).await.unwrap().len(), 1);
    store.probe().await.unwrap();
}

#[test]
fn a_memory_told_to_fail_answers_nothing() {
    let memory = Memory::default();
    let store = Store::Memory(memory.clone());
    store.blocking_add(&new("v@x.example", Cause::Manual)).unwrap();
    memory.fail(true);
    assert!(store.blocking_evidence(&[&mailbox("v@x.example")]).unwrap_err().is_transient());
    assert!(store.blocking_evidence(&[]).is_err());
    assert!(store.blocking_add(&new("v@x.example", Cause::Manual)).is_err());
    assert!(store.blocking_probe().is_err());
    memory.fail(false);
    assert_eq!(facts(&store, "v@x.example").len(), 1);
}

/// A fleet of one, for tests within its room.
pub(super) fn one_gateway() -> (RedisServer, conformance::GatewayFolder, Store) {
    let (server, folder) = (RedisServer::start(&[]), conformance::GatewayFolder::new());
    let store = Store::create_fleet(&conformance::redis_at(server.port, "c:"), &folder.settings, 1_000).unwrap();
    (server, folder, store)
}

/// What every kind of store has to do.
pub(super) const EVERY_KIND: &[Expectation] = &[
    ("every_spelling_meets_the_suppression", every_spelling_meets_the_suppression),
    ("a_tagged_or_dotted_entry_meets_the_plain_address", a_tagged_or_dotted_entry_meets_the_plain_address),
    ("a_domain_entry_reaches_its_subdomains_and_no_others", a_domain_entry_reaches_its_subdomains_and_no_others),
    (
        "answers_keep_the_order_of_the_recipients_and_hold_every_scope",
        answers_keep_the_order_of_the_recipients_and_hold_every_scope,
    ),
    (
        "adding_again_keeps_the_first_date_and_evidence_and_only_prolongs",
        adding_again_keeps_the_first_date_and_evidence_and_only_prolongs,
    ),
    (
        "a_complaint_leaves_only_with_a_reason_and_nothing_leaves_by_half",
        a_complaint_leaves_only_with_a_reason_and_nothing_leaves_by_half,
    ),
    ("pages_follow_each_other_and_selections_select", pages_follow_each_other_and_selections_select),
    ("a_page_is_bounded_whatever_is_asked_for", a_page_is_bounded_whatever_is_asked_for),
];
