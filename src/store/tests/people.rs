//! Consents, declarations and registers: kept whole, answered as the last word, and never lost in silence.

use std::fs;

use super::*;
use crate::policy::{
    Basis, Confirmation, ConsentFact, Contact, Contract, Country, Function, Listed, Provenance, Purpose,
    RecipientClass, RegisterName, Sale, SaleKind,
};

pub(super) fn consent(basis: Basis) -> ConsentFact {
    let mut fact = ConsentFact::new(ControllerId::new("acme").unwrap(), Purpose::Marketing, basis, now());
    fact.evidence = Some("form 7".into());
    fact
}

pub(super) fn told(address: &str, fact: ConsentFact) -> NewEvent {
    NewEvent::consent(mailbox(address), fact, "tester".to_owned(), now()).unwrap()
}

fn declared(address: &str, declaration: Declaration) -> NewEvent {
    NewEvent::contact(mailbox(address), declaration, "tester".to_owned(), now()).unwrap()
}

pub(super) fn dossier(store: &Store, address: &str) -> Dossier {
    store.blocking_dossier(&[&mailbox(address)]).unwrap().pop().unwrap()
}

pub(super) fn full() -> ConsentFact {
    let mut fact = consent(Basis::DoubleOptIn);
    fact.purpose = Purpose::List("weekly".parse().unwrap());
    fact.notice = Some("2026-01".into());
    fact.sale = Some(Sale { at: now(), family: Some("boots".parse().unwrap()), kind: SaleKind::FreeAccount });
    fact.confirmation = Confirmation::At(now());
    fact.last_contact = Some(now());
    fact.last_mailing = Some(Timestamp::from_millis(1));
    fact.expires = Some(Timestamp::from_millis(4_000_000_000_001));
    fact.provenance = Provenance {
        source: Some("https://acme.example/form".into()),
        method: Some("form".into()),
        ip: Some("2001:db8::1".parse().unwrap()),
    };
    fact
}

fn a_consent_is_answered_whole_for_the_exact_address_only(store: &Store) {
    store.blocking_record(&told("Vic+news@x.example", full())).unwrap();
    assert_eq!(dossier(store, "vic+news@X.example").consents, [full()]);
    for other in ["vic@x.example", "vic+other@x.example", "vic@y.example"] {
        assert_eq!(dossier(store, other), Dossier::default(), "{other}");
    }
}

fn the_last_word_of_each_controller_and_purpose_holds_and_every_word_stays(store: &Store) {
    let mut other = consent(Basis::Published);
    other.controller = ControllerId::new("other").unwrap();
    for fact in [consent(Basis::OptIn), full(), other.clone(), consent(Basis::None), consent(Basis::OptIn)] {
        assert_eq!(store.blocking_record(&told("v@x.example", fact)).unwrap(), Added::New);
    }
    assert_eq!(dossier(store, "v@x.example").consents, [consent(Basis::OptIn), full(), other]);
    let history = store.history(&mailbox("v@x.example")).unwrap();
    assert_eq!(history.len(), 5);
    assert!(history.is_sorted_by_key(|event| event.cursor));
    assert_eq!(history[3].told, Told::Consent(Box::new(consent(Basis::None))));
    assert_eq!((history[0].by.as_str(), history[0].address.as_deref()), ("tester", Some("v@x.example")));
}

fn what_one_teller_told_can_be_taken_back_and_nothing_else_goes(store: &Store) {
    let person = mailbox("v@example.com");
    let told = |basis, by: &str| NewEvent::consent(person.clone(), consent(basis), by.to_owned(), now()).unwrap();
    let keys = store.exact_keys(&[told(Basis::OptIn, "x")]);
    let holds = || dossier(store, "v@example.com").consents.iter().map(|fact| fact.basis).collect::<Vec<_>>();
    store.blocking_record(&told(Basis::OptOutActive, "clerk")).unwrap();
    store.blocking_record(&told(Basis::OptIn, "list, import 1")).unwrap();
    assert_eq!(holds(), [Basis::OptIn]);
    assert_eq!(store.retract(&keys, "list, import 2", "ann: none of it", now()).unwrap(), 0, "told nothing");
    assert_eq!(store.retract(&keys, "list, import 1", "ann: wrong list", now()).unwrap(), 1);
    assert_eq!(holds(), [Basis::OptOutActive], "what held before");
    assert_eq!(store.retract(&keys, "list, import 1", "ann: wrong list", now()).unwrap(), 0, "once");
    store.blocking_record(&told(Basis::OptIn, "page")).unwrap();
    assert_eq!(holds(), [Basis::OptIn], "what is said since");
    assert_eq!(store.history(&person).unwrap().len(), 4, "and all of it stays in the history");
}

fn saying_again_what_holds_adds_nothing(store: &Store) {
    let again = declared("v@x.example", Declaration { contract: Some(Contract::InForce), ..Declaration::default() });
    for (event, expected) in [
        (told("v@x.example", full()), Added::New),
        (told("V@X.example", full()), Added::Existing),
        (again.clone(), Added::New),
        (again, Added::Existing),
    ] {
        assert_eq!(store.blocking_record(&event).unwrap(), expected);
    }
    assert_eq!(store.history(&mailbox("v@x.example")).unwrap().len(), 2);
}

fn declarations_add_up_trait_by_trait(store: &Store) {
    let functions = |names: &[&str]| Some(names.iter().map(|name| Function::new(name).unwrap()).collect());
    let class = Some(RecipientClass::Professional);
    for declaration in [
        Declaration { class, functions: functions(&["it", "security"]), ..Declaration::default() },
        Declaration { country: Some(Country::parse("FR").unwrap()), ..Declaration::default() },
        Declaration { functions: functions(&["purchasing"]), ..Declaration::default() },
    ] {
        store.blocking_record(&declared("v@x.example", declaration)).unwrap();
    }
    let expected = Contact {
        class,
        country: Some(Country::parse("FR").unwrap()),
        functions: functions(&["purchasing"]).unwrap(),
        contract: Contract::None,
    };
    assert_eq!(dossier(store, "v@x.example").contact, Some(expected));
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let make = |fact| NewEvent::consent(mailbox("v@x.example"), fact, "tester".to_owned(), now());
    let with_evidence = |len: usize| ConsentFact { evidence: Some("x".repeat(len).into()), ..full() };
    assert!(make(with_evidence(TEXT_MAX)).is_ok());
    assert!(matches!(make(with_evidence(TEXT_MAX + 1)), Err(StoreError::TooLong { .. })));
    let timeless = ConsentFact { last_contact: Some(Timestamp::from_millis(i64::MAX)), ..full() };
    assert!(matches!(make(timeless), Err(StoreError::Unfit { .. })));
    let broken = make(ConsentFact { evidence: Some("a\r\nb".into()), ..full() }).unwrap();
    assert!(matches!(broken.told(), Told::Consent(fact) if fact.evidence.as_deref() == Some("a  b")));
    let declare = |told| NewEvent::contact(mailbox("v@x.example"), told, "tester".to_owned(), now());
    assert!(declare(Declaration::default()).is_err());
    let functions = |count| vec![Function::new("it").unwrap(); count];
    for (count, fits) in [(FUNCTIONS_MAX, true), (FUNCTIONS_MAX + 1, false)] {
        let told = Declaration { functions: Some(functions(count)), ..Declaration::default() };
        assert_eq!(declare(told).is_ok(), fits);
    }
}

fn recording_a_consent_takes_no_suppression_away(store: &Store) {
    let mut left = fact(Cause::Unsubscribe);
    left.scope = Scope::Controller(ControllerId::new("acme").unwrap());
    left.since = Timestamp::from_secs(1);
    let subject = Subject::parse("v@x.example").unwrap();
    store.blocking_add(&NewSuppression::new(subject, left.clone(), now()).unwrap()).unwrap();
    store.blocking_record(&told("v@x.example", consent(Basis::OptIn))).unwrap();
    let known = dossier(store, "v@x.example");
    assert_eq!(known.suppressions, [left.clone()]);
    assert!(known.consents[0].lifts(&left, now()), "whether it counts is said at each decision");
    store.blocking_record(&told("v@x.example", consent(Basis::None))).unwrap();
    assert!(!dossier(store, "v@x.example").consents[0].lifts(&left, now()), "and so the opt-out counts again");
}

/// No, yes, no again: the second no must not carry the first one's date, or the yes between them would lift it for ever.
fn an_opt_out_said_again_after_a_consent_counts_from_then(store: &Store) {
    let left_at = |at: i64| {
        let mut left = fact(Cause::Unsubscribe);
        left.scope = Scope::Controller(ControllerId::new("acme").unwrap());
        left.since = Timestamp::from_secs(at);
        NewSuppression::new(Subject::parse("v@x.example").unwrap(), left, now()).unwrap()
    };
    let agreed = consent(Basis::OptIn);
    let given = agreed.collected_at.as_secs();
    let counts = || {
        let known = dossier(store, "v@x.example");
        let suppression = known.suppressions.first().unwrap();
        assert_eq!(known.suppressions.len(), 1);
        (suppression.since.as_secs(), !known.consents.iter().any(|consent| consent.lifts(suppression, now())))
    };
    assert_eq!(store.blocking_add(&left_at(1)).unwrap(), Added::New);
    assert_eq!(store.blocking_add(&left_at(2)).unwrap(), Added::Existing);
    assert_eq!(counts(), (1, true), "the first time is kept");
    store.blocking_record(&told("v@x.example", agreed.clone())).unwrap();
    assert_eq!(counts(), (1, false), "lifted");
    assert_eq!(store.blocking_add(&left_at(given + 1)).unwrap(), Added::New);
    assert_eq!(counts(), (given + 1, true), "it counts again");
    assert_eq!(store.blocking_add(&left_at(given + 2)).unwrap(), Added::Existing);
    assert_eq!(counts(), (given + 1, true), "and the first time after the consent is kept");
}

#[test]
fn what_one_process_records_the_other_answers_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = open(folder.path());
    let command = Store::open(&settings(folder.path()), Opening::Quick, now()).unwrap();
    for round in 0..10 {
        let address = format!("v{round}@x.example");
        assert_eq!(dossier(&daemon, &address), Dossier::default());
        command.blocking_record(&told(&address, full())).unwrap();
        assert_eq!(dossier(&daemon, &address).consents.len(), 1);
        daemon.blocking_add(&new(&address, Cause::Unsubscribe)).unwrap();
        assert_eq!(dossier(&command, &address).suppressions.len(), 1);
        assert_eq!(facts(&daemon, &address).len(), 1);
    }
    drop((daemon, command));
    let again = open(folder.path());
    assert_eq!(again.stats().unwrap().changes, 20);
    assert_eq!(dossier(&again, "v3@x.example").consents, [full()]);
}

fn answers_keep_the_order_of_the_recipients(store: &Store) {
    store.blocking_record(&told("b@x.example", full())).unwrap();
    let (a, b) = (mailbox("a@x.example"), mailbox("b@x.example"));
    let counts: Vec<_> =
        store.blocking_dossier(&[&a, &b, &a]).unwrap().iter().map(|known| known.consents.len()).collect();
    assert_eq!(counts, [0, 1, 0]);
}

fn closed_with_consents() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.blocking_record(&told("a@x.example", full())).unwrap();
    store.blocking_record(&told("b@x.example", full())).unwrap();
    folder
}

fn stranger(folder: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(folder.join("store.db")).unwrap()
}

#[test]
fn the_database_itself_keeps_events_from_change() {
    let folder = closed_with_consents();
    for change in ["UPDATE events SET recorded_by = 'x'", "DELETE FROM events"] {
        assert!(stranger(folder.path()).execute(change, []).is_err(), "{change}");
    }
    assert_eq!(open(folder.path()).history(&mailbox("a@x.example")).unwrap().len(), 1);
}

#[test]
fn a_lost_or_changed_event_is_noticed() {
    for change in [
        "DELETE FROM events WHERE seq = 1",
        "UPDATE events SET fact = replace(fact, 'double_opt_in', 'opt_in')",
        "UPDATE events SET recorded_at = recorded_at + 1",
        "UPDATE events SET controller = 'other'",
        "UPDATE events SET exact = zeroblob(16) WHERE seq = 2",
    ] {
        let folder = closed_with_consents();
        let daemon = Store::open(&settings(folder.path()), Opening::Quick, now()).unwrap();
        let stranger = stranger(folder.path());
        stranger.execute_batch("DROP TRIGGER events_are_not_changed; DROP TRIGGER events_are_not_removed;").unwrap();
        stranger.execute(change, []).unwrap();
        drop(stranger);
        if change.starts_with("UPDATE") && !change.contains("zeroblob") {
            let refused = daemon.blocking_dossier(&[&mailbox("a@x.example")]);
            assert!(matches!(refused, Err(StoreError::Latched { .. })), "{change}");
        }
        let error = Store::open(&settings(folder.path()), Opening::Whole, now()).err();
        assert!(matches!(error, Some(StoreError::Damaged { .. })), "{change}: {error:?}");
    }
}

#[test]
fn a_store_of_hashes_alone_keeps_no_address_beside_a_consent() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { cleartext: Cleartext::HashOnly, ..settings(folder.path()) };
    let store = Store::open(&settings, Opening::Whole, now()).unwrap();
    store.blocking_record(&told("someone.special@x.example", full())).unwrap();
    assert_eq!(dossier(&store, "someone.special@x.example").consents.len(), 1);
    for file in fs::read_dir(folder.path()).unwrap() {
        let octets = fs::read(file.unwrap().path()).unwrap();
        assert!(!octets.windows(7).any(|w| w.eq_ignore_ascii_case(b"special")));
    }
}

fn subjects(texts: &[&str]) -> Vec<Result<Subject, StoreError>> {
    texts.iter().map(|text| Ok(Subject::parse(text).unwrap())).collect()
}

fn answers(store: &Store, address: &str) -> Vec<(String, Timestamp, Listed)> {
    let checks = dossier(store, address).registers;
    checks.into_iter().map(|check| (check.list.to_string(), check.fresh_on, check.answer)).collect()
}

fn every_register_answers_for_everybody_and_is_replaced_as_a_whole(store: &Store) {
    let (ecg, robinson) = (RegisterName::new("ecg").unwrap(), RegisterName::new("lista_robinson").unwrap());
    let (first, second) = (Timestamp::from_secs(100), Timestamp::from_secs(200));
    assert!(answers(store, "v@x.example").is_empty());
    let listed = subjects(&["v@x.example", "V+a@x.example", "@firm.example"]);
    assert_eq!(store.load_register(&ecg, first, listed, now()).unwrap(), 2);
    store.load_register(&robinson, first, subjects(&["w@x.example"]), now()).unwrap();
    let both_say = |one, other| vec![("ecg".to_owned(), first, one), ("lista_robinson".to_owned(), first, other)];
    assert_eq!(answers(store, "v+b@x.example"), both_say(Listed::Yes, Listed::No));
    assert_eq!(answers(store, "any@sub.firm.example"), both_say(Listed::Yes, Listed::No));
    assert_eq!(answers(store, "other@x.example"), both_say(Listed::No, Listed::No));
    store.load_register(&ecg, second, subjects(&["w@x.example"]), now()).unwrap();
    assert_eq!(answers(store, "v@x.example")[0], ("ecg".to_owned(), second, Listed::No));
    assert_eq!(answers(store, "w@x.example")[0], ("ecg".to_owned(), second, Listed::Yes));
    let cut = subjects(&["u@x.example"]).into_iter().chain([Err(StoreError::Stopping)]);
    assert!(store.load_register(&ecg, first, cut, now()).is_err());
    assert_eq!(answers(store, "w@x.example")[0].2, Listed::Yes, "the old copy stays");
    assert_eq!(store.registers().unwrap(), [(ecg, second, 1), (robinson, first, 1)]);
}

fn a_register_may_be_given_out_as_hashes(store: &Store) {
    let ecg = RegisterName::new("ecg").unwrap();
    // SHA-1 of v@x.example and SHA-256 of w@x.example.
    let hashes = [
        "1ca2a1aa02583c7f0ea1bb1f065d9056edc14489",
        "90e660dce664108bb5e5e9e83e75f4ebef2f225942da4389c42ce98e5b7b0789",
    ];
    let entries = hashes.map(|text| Ok(RegisterEntry::Hash(PublishedHash::parse(text).unwrap())));
    assert_eq!(store.load_register(&ecg, now(), entries, now()).unwrap(), 2);
    for (address, answer) in [("V@x.example", Listed::Yes), ("w@X.example", Listed::Yes), ("u@x.example", Listed::No)] {
        assert_eq!(answers(store, address)[0].2, answer, "{address}");
    }
}

#[test]
fn a_replaced_copy_is_swept_out_and_a_changed_one_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let ecg = RegisterName::new("ecg").unwrap();
    let store = open(folder.path());
    store.load_register(&ecg, now(), subjects(&["a@x.example", "b@x.example"]), now()).unwrap();
    store.load_register(&ecg, now(), subjects(&["c@x.example"]), now()).unwrap();
    drop(store);
    let connection = stranger(folder.path());
    let rows: i64 = connection.query_row("SELECT count(*) FROM register_entries", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
    connection.execute("UPDATE register_entries SET key = zeroblob(16)", []).unwrap();
    drop(connection);
    let error = Store::open(&settings(folder.path()), Opening::Whole, now()).err();
    assert!(matches!(error, Some(StoreError::Damaged { .. })), "{error:?}");
}

#[test]
fn a_copy_that_another_load_took_out_is_not_put_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (open(folder.path()), open(folder.path()));
    let (ecg, robinson) = (RegisterName::new("ecg").unwrap(), RegisterName::new("lista_robinson").unwrap());
    let many = (0..6000).map(|n| Subject::parse(&format!("v{n}@x.example")).unwrap());
    let disturbed = many.enumerate().map(|(n, subject)| {
        if n == 5500 {
            other.load_register(&robinson, now(), subjects(&["w@x.example"]), now()).unwrap();
        }
        Ok(subject)
    });
    assert!(matches!(one.load_register(&ecg, now(), disturbed, now()), Err(StoreError::Busy)));
    assert_eq!(one.registers().unwrap(), [(robinson, now(), 1)]);
}

#[test]
fn a_store_of_the_first_schema_is_brought_up_to_date_once() {
    let folder = tempfile::tempdir().unwrap();
    super::loss::first_release(folder.path());
    let key = fs::read(folder.path().join("store.key")).unwrap();
    fs::write(folder.path().join("store.key"), "0".repeat(64)).unwrap();
    let refused = Store::open(&settings(folder.path()), Opening::Quick, now());
    assert!(matches!(refused, Err(StoreError::KeyWrong { .. })));
    let version =
        |folder: &Path| -> i64 { stranger(folder).pragma_query_value(None, "user_version", |row| row.get(0)).unwrap() };
    assert_eq!(version(folder.path()), 1, "what is refused is left as it is");
    fs::write(folder.path().join("store.key"), key).unwrap();
    let store = Store::open(&settings(folder.path()), Opening::Quick, now()).unwrap();
    assert_eq!((version(folder.path()), store.stats().unwrap().changes), (2, 6));
    store.blocking_record(&told("Victim+x@example.com", full())).unwrap();
    drop(store);
    let again = open(folder.path());
    let known = dossier(&again, "Victim+x@example.com");
    assert_eq!((known.suppressions.len(), known.consents.len()), (1, 1));
}

/// What every kind of store has to do.
pub(super) const EVERY_KIND: &[Expectation] = &[
    ("a_consent_is_answered_whole_for_the_exact_address_only", a_consent_is_answered_whole_for_the_exact_address_only),
    (
        "the_last_word_of_each_controller_and_purpose_holds_and_every_word_stays",
        the_last_word_of_each_controller_and_purpose_holds_and_every_word_stays,
    ),
    (
        "what_one_teller_told_can_be_taken_back_and_nothing_else_goes",
        what_one_teller_told_can_be_taken_back_and_nothing_else_goes,
    ),
    ("saying_again_what_holds_adds_nothing", saying_again_what_holds_adds_nothing),
    ("declarations_add_up_trait_by_trait", declarations_add_up_trait_by_trait),
    ("recording_a_consent_takes_no_suppression_away", recording_a_consent_takes_no_suppression_away),
    ("an_opt_out_said_again_after_a_consent_counts_from_then", an_opt_out_said_again_after_a_consent_counts_from_then),
    ("answers_keep_the_order_of_the_recipients", answers_keep_the_order_of_the_recipients),
    (
        "every_register_answers_for_everybody_and_is_replaced_as_a_whole",
        every_register_answers_for_everybody_and_is_replaced_as_a_whole,
    ),
    ("a_register_may_be_given_out_as_hashes", a_register_may_be_given_out_as_hashes),
];
