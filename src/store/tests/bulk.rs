//! What an import relies on: who was new, and that taking back takes nothing but what came in.

use super::*;

fn listed(subject: &str, cause: Cause, origin: Origin) -> NewSuppression {
    let told = Suppression { origin, evidence: Some(origin.to_string()), ..fact(cause) };
    NewSuppression::new(Subject::parse(subject).unwrap(), told, now()).unwrap()
}

fn withdrawal(prints: Vec<Print>, because: &str) -> Withdrawal {
    Withdrawal { prints, by: "tester".to_owned(), because: because.to_owned(), at: now() }
}

/// The whole store as lines, in an order that every kind of store gives alike.
fn everything(store: &Store) -> Vec<String> {
    let mut out = Vec::new();
    store.export(&mut out, EntryFormat::Ndjson, &Selection::default()).unwrap();
    let mut lines: Vec<_> = String::from_utf8(out).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn a_chunk_tells_of_each_what_became_of_it(store: &Store) {
    store.blocking_add(&listed("old@x.example", Cause::Unsubscribe, Origin::OneClick)).unwrap();
    let chunk = ["old@x.example", "new@x.example", "@new.example", "NEW@x.example", "new+tag@x.example"]
        .map(|subject| listed(subject, Cause::Unsubscribe, Origin::Import));
    let became = store.add_chunk(&chunk).unwrap();
    assert_eq!(became, [Added::Existing, Added::New, Added::New, Added::Existing, Added::New]);
    assert!(store.add_chunk(&[]).unwrap().is_empty());
    let counts = store.add_many(chunk).unwrap();
    assert_eq!((counts.new, counts.existing), (0, 5));
}

fn taking_back_restores_exactly_what_was_there(store: &Store) {
    let old = ["old@x.example", "old+tag@x.example", "@old.example"];
    store.add_many(old.map(|subject| listed(subject, Cause::Complaint, Origin::Operator))).unwrap();
    let before = everything(store);
    let chunk = ["old@x.example", "o.ther@gmail.com", "old+other@x.example", "@sub.old.example"]
        .map(|subject| listed(subject, Cause::Complaint, Origin::Import));
    let prints = store.prints(&chunk);
    store.add_chunk(&chunk).unwrap();
    for (print, stands) in prints.iter().zip([false, true, true, true]) {
        assert_eq!(store.standing(print).unwrap().is_some(), stands, "{print}");
    }
    let refused = store.withdraw(&withdrawal(prints.clone(), " "));
    assert!(matches!(refused, Err(StoreError::ReasonNeeded { cause: Cause::Complaint })));
    assert_eq!(store.withdraw(&withdrawal(prints.clone(), "wrong list")).unwrap(), 3);
    assert_eq!(everything(store), before);
    assert_eq!(store.withdraw(&withdrawal(prints, "wrong list")).unwrap(), 0);
}

fn what_somebody_said_since_is_not_taken_back(store: &Store) {
    let chunk = ["click@x.example", "again@x.example", "stays@x.example"]
        .map(|subject| listed(subject, Cause::Unsubscribe, Origin::Import));
    let prints = store.prints(&chunk);
    store.add_chunk(&chunk).unwrap();
    let later = Suppression { since: Timestamp::from_secs(1_795_999_999), ..fact(Cause::Unsubscribe) };
    let click = NewSuppression::new(Subject::parse("click@x.example").unwrap(), later.clone(), now()).unwrap();
    assert_eq!(store.blocking_add(&click).unwrap(), Added::Renewed);
    let [now_theirs] = facts(store, "click@x.example").try_into().unwrap();
    assert_eq!((now_theirs.since, now_theirs.origin, now_theirs.evidence), (now(), later.origin, later.evidence));
    let again = listed("again@x.example", Cause::Unsubscribe, Origin::Import);
    assert_eq!(store.blocking_add(&again).unwrap(), Added::Existing);
    assert_eq!(store.withdraw(&withdrawal(prints, "wrong list")).unwrap(), 2);
    assert_eq!(facts(store, "click@x.example").len(), 1);
    assert!(facts(store, "again@x.example").is_empty());
}

fn a_window_leaves_what_the_order_of_the_list_would(store: &Store) {
    let told = |at: usize| {
        let (name, is_address) = (at % 7, !at.is_multiple_of(3));
        let subject = if is_address { format!("v{name}@x.example") } else { format!("@d{name}.example") };
        let since = Timestamp::from_secs(1_795_482_123 + i64::try_from(at).unwrap());
        let fact = Suppression { origin: Origin::Import, evidence: Some(at.to_string()), since, ..fact(Cause::Manual) };
        let expires = (!at.is_multiple_of(5))
            .then(|| since.plus(std::time::Duration::from_hours(u64::try_from(at % 11).unwrap())));
        NewSuppression::new(Subject::parse(&subject).unwrap(), Suppression { expires, ..fact }, now()).unwrap()
    };
    let list: Vec<_> = (0..200).map(told).collect();
    let in_order = Store::memory();
    let expected = in_order.add_many(list.iter().cloned()).unwrap();
    let (mut window, mut new) = (Window::new(store, 60), 0);
    for part in list.chunks(60) {
        for told in part {
            window.put(told);
        }
        let mut add = |chunk: Vec<Entry>| -> Result<(), StoreError> {
            new += store.add_entries(&chunk)?.iter().filter(|became| **became == Added::New).count();
            Ok(())
        };
        window.each_chunk(9, &mut add).unwrap();
    }
    assert_eq!(u64::try_from(new).unwrap(), expected.new);
    for name in 0..7 {
        for address in [format!("v{name}@x.example"), format!("any@d{name}.example")] {
            assert_eq!(facts(store, &address), facts(&in_order, &address), "{address}");
        }
    }
}

/// What every kind of store has to do.
pub(super) const EVERY_KIND: &[Expectation] = &[
    ("a_chunk_tells_of_each_what_became_of_it", a_chunk_tells_of_each_what_became_of_it),
    ("taking_back_restores_exactly_what_was_there", taking_back_restores_exactly_what_was_there),
    ("what_somebody_said_since_is_not_taken_back", what_somebody_said_since_is_not_taken_back),
    ("a_window_leaves_what_the_order_of_the_list_would", a_window_leaves_what_the_order_of_the_list_would),
];
