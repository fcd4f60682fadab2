//! Histories that go out as lines of files and come back.

use std::collections::BTreeMap;

use super::people::{consent, dossier, full, told};
use super::*;
use crate::policy::{Basis, Confirmation, Contract, Country, Function, RecipientClass};

/// Some people's histories with everything that an event can tell.
fn fill(store: &Store) {
    let mut pending = full();
    (pending.confirmation, pending.sale) = (Confirmation::Pending, None);
    for fact in [consent(Basis::OptIn), pending, full(), consent(Basis::None)] {
        store.blocking_record(&told("Ann+news@x.example", fact)).unwrap();
    }
    let mut odd = consent(Basis::Published);
    odd.evidence = Some("=1+1; \"a\", b".into());
    store.blocking_record(&told("'bob@x.example", odd)).unwrap();
    let declarations = [
        Declaration { class: Some(RecipientClass::Professional), ..Declaration::default() },
        Declaration {
            country: Some(Country::parse("fr").unwrap()),
            functions: Some(vec![Function::new("it").unwrap(), Function::new("security").unwrap()]),
            contract: Some(Contract::InForce),
            ..Declaration::default()
        },
        Declaration { functions: Some(Vec::new()), ..Declaration::default() },
    ];
    for declaration in declarations {
        let new = NewEvent::contact(mailbox("Ann+news@x.example"), declaration, "clerk, import 7".to_owned(), now());
        store.blocking_record(&new.unwrap()).unwrap();
    }
    let keys = store.exact_keys(&[told("Ann+news@x.example", full())]);
    assert_eq!(store.retract(&keys, "clerk, import 7", "ann: wrong list", now()).unwrap(), 1);
}

fn lines(store: &Store, format: EntryFormat) -> String {
    let mut out = Vec::new();
    store.export_events(&mut out, format).unwrap();
    String::from_utf8(out).unwrap()
}

fn cells(line: &str) -> BTreeMap<String, String> {
    serde_json::from_str(line).unwrap()
}

fn read(store: &Store, cells: &BTreeMap<String, String>) -> Result<Event, String> {
    store.read_sealed(cells.iter().map(|(name, cell)| (name.as_str(), cell.as_str())))
}

fn bring_back(store: &Store, text: &str) -> Vec<Restored> {
    let events = text.lines().map(|line| read(store, &cells(line)).unwrap()).collect();
    store.restore(events).unwrap()
}

#[test]
fn a_history_comes_back_as_it_was() {
    let (one, other) = (Store::memory(), Store::memory());
    fill(&one);
    let text = lines(&one, EntryFormat::Ndjson);
    assert_eq!(text.lines().count(), 9, "{text}");
    assert_eq!(bring_back(&other, &text), [Restored::New; 9]);
    assert_eq!(lines(&other, EntryFormat::Ndjson), text);
    assert_eq!(dossier(&other, "ann+news@x.example"), dossier(&one, "ann+news@x.example"));
    assert_eq!(bring_back(&other, &text), [Restored::Existing; 9]);
}

#[test]
fn a_line_that_was_touched_or_is_another_stores_does_not_come_back() {
    let one = Store::memory();
    fill(&one);
    let text = lines(&one, EntryFormat::Ndjson);
    for line in text.lines() {
        for name in cells(line).into_keys() {
            let mut touched = cells(line);
            touched.insert(name.clone(), "2020-01-01".to_owned());
            assert!(read(&one, &touched).unwrap_err().contains("seal"), "{name} of {line}");
            touched.remove(&name);
            assert!(read(&one, &touched).is_err(), "{name} of {line}");
        }
        let folder = tempfile::tempdir().unwrap();
        assert!(read(&open(folder.path()), &cells(line)).is_err(), "another key");
    }
}

#[test]
fn an_old_word_does_not_become_the_last_one() {
    let (one, other) = (Store::memory(), Store::memory());
    one.blocking_record(&told("v@x.example", consent(Basis::OptIn))).unwrap();
    let text = lines(&one, EntryFormat::Ndjson);
    let later = NewEvent::consent(
        mailbox("v@x.example"),
        consent(Basis::None),
        "tester".to_owned(),
        now().plus(std::time::Duration::from_secs(1)),
    );
    other.blocking_record(&later.unwrap()).unwrap();
    assert_eq!(bring_back(&other, &text), [Restored::GivesWay]);
    assert_eq!(dossier(&other, "v@x.example").consents, [consent(Basis::None)]);
}

#[test]
fn who_keeps_no_addresses_gets_none() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str, cleartext| {
        let key_file = Some(folder.path().join("key"));
        let settings = Settings { path: folder.path().join(name), key_file, cleartext };
        Store::open(&settings, Opening::Quick, now()).unwrap()
    };
    let (kept, hashed) = (open("kept.db", Cleartext::Keep), open("hashed.db", Cleartext::HashOnly));
    fill(&kept);
    let text = lines(&kept, EntryFormat::Ndjson);
    assert_eq!(bring_back(&hashed, &text), [Restored::New; 9]);
    let text = lines(&hashed, EntryFormat::Ndjson);
    assert!(!text.contains('@'), "{text}");
    let again = open("again.db", Cleartext::HashOnly);
    bring_back(&again, &text);
    assert_eq!(lines(&again, EntryFormat::Ndjson), text);
    assert_eq!(dossier(&again, "ann+news@x.example"), dossier(&kept, "ann+news@x.example"));
}

#[test]
fn no_cell_of_a_spreadsheet_runs() {
    let store = Store::memory();
    fill(&store);
    let text = lines(&store, EntryFormat::Csv);
    let mut rows = csv::Reader::from_reader(text.as_bytes());
    let mut count = 0;
    for row in rows.records() {
        assert!(row.unwrap().iter().all(|cell| !cell.starts_with(['=', '+', '-', '@', '\t', '\r'])));
        count += 1;
    }
    assert_eq!(count, 9);
    assert!(text.contains("\"'=1+1; \"\"a\"\", b\""), "{text}");
}

fn a_list_goes_out_and_comes_back(store: &Store) {
    let name = crate::policy::RegisterName::new("ecg").unwrap();
    let subjects = ["v@x.example", "@firm.example", "8b5a6a28fc840441be692d74a81ccd1a", "w@x.example"];
    let entry = |text: &str| match PublishedHash::parse(text) {
        Some(hash) => RegisterEntry::Hash(hash),
        None => RegisterEntry::Subject(Subject::parse(text).unwrap()),
    };
    store.load_register(&name, now(), subjects.map(|text| Ok(entry(text))), now()).unwrap();
    let kept = |store: &Store| {
        let mut all = Vec::new();
        store
            .each_listed(&name, &mut |keys| {
                all.extend_from_slice(keys);
                Ok(())
            })
            .unwrap();
        all
    };
    let before = kept(store);
    assert_eq!(before.len(), 4);
    let again: Vec<Result<RegisterEntry, StoreError>> =
        before.iter().rev().map(|key| Ok(RegisterEntry::Kept(*key))).collect();
    assert_eq!(store.load_register(&name, now(), again, now()).unwrap(), 4);
    assert_eq!(kept(store), before);
    for (address, listed) in [("v@x.example", true), ("any@firm.example", true), ("u@x.example", false)] {
        let answer = dossier(store, address).registers[0].answer;
        assert_eq!(answer == crate::policy::Listed::Yes, listed, "{address}");
    }
}

pub(super) const EVERY_KIND: &[Expectation] = &[("a_list_goes_out_and_comes_back", a_list_goes_out_and_comes_back)];
