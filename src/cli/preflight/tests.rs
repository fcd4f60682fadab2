use super::{BATCH, Sift, Tally};
use crate::exit::{Exit, Failure};
use crate::mail::{ControllerId, ListName, Mailbox, Recipient, StreamName};
use crate::policy::{
    Case, Cause, Decision, FromDomains, Law, MessageClass, Origin, Scope, StreamLaw, StreamRules, Suppression, decide,
};
use crate::rules;
use crate::store::{NewSuppression, Store, Subject};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_secs(1_795_000_000);

fn stream(law: Law) -> StreamRules {
    StreamRules {
        name: StreamName::new("news").unwrap(),
        controller: ControllerId::new("acme").unwrap(),
        class: MessageClass::Marketing,
        list: Some(ListName::new("weekly").unwrap()),
        from_domains: FromDomains::Any,
        law,
    }
}

fn france() -> Law {
    let country = "FR".parse().unwrap();
    Law::Applied(Box::new(StreamLaw { default_recipient_country: Some(country), ..StreamLaw::new(country) }))
}

fn store(suppressed: &[&str]) -> Store {
    let store = Store::memory();
    for address in suppressed {
        let fact = Suppression {
            scope: Scope::Everything,
            cause: Cause::LegalObjection,
            origin: Origin::Operator,
            evidence: None,
            since: Timestamp::from_secs(1),
            expires: None,
        };
        store.blocking_add(&NewSuppression::new(Subject::parse(address).unwrap(), fact, NOW).unwrap()).unwrap();
    }
    store
}

struct Sifted {
    tally: Result<Tally, Failure>,
    cleaned: String,
    rejects: String,
    watched: Vec<(u64, u64)>,
}

fn sifted(input: &str, decide: impl FnMut(&[&Mailbox]) -> Result<Vec<Decision>, Failure>) -> Sifted {
    let (mut cleaned, mut rejects, mut watched) = (Vec::new(), Vec::new(), Vec::new());
    let sift = Sift {
        decide,
        cleaned: Some(&mut cleaned),
        rejects: Some(&mut rejects),
        watch: |rows, octets| watched.push((rows, octets)),
        tally: Tally::default(),
    };
    let tally = sift.all(input.as_bytes());
    Sifted {
        tally,
        cleaned: String::from_utf8(cleaned).unwrap(),
        rejects: String::from_utf8(rejects).unwrap(),
        watched,
    }
}

/// Decides as the gateway does, from the facts of a store.
fn by_store(law: Law, suppressed: &[&str]) -> impl FnMut(&[&Mailbox]) -> Result<Vec<Decision>, Failure> {
    let (stream, store, book) = (stream(law), store(suppressed), rules::embedded().unwrap());
    move |mailboxes| {
        assert!(mailboxes.len() <= BATCH);
        let known = store.blocking_evidence(mailboxes)?;
        let each = mailboxes.iter().zip(&known).map(|(mailbox, facts)| {
            let recipient = Recipient::new((*mailbox).clone());
            decide(&Case { suppressions: facts, ..Case::new(&recipient, &stream, NOW) }, &book)
        });
        Ok(each.collect())
    }
}

fn text(tally: &Tally) -> String {
    let mut out = Vec::new();
    tally.write_text(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn rows_go_where_the_decision_says_and_stay_as_they_were() {
    let input = "name;email;class\r\n\"Durand; Marie\";marie@x.example;consumer\r\nBob;bob@x.example;\r\nEve;eve;\r\nZ;z@x.example;";
    let Sifted { tally, cleaned, rejects, .. } = sifted(input, by_store(Law::NotApplied, &["bob@x.example"]));
    let tally = tally.unwrap();
    assert_eq!((tally.permitted, tally.refused, tally.invalid), (2, 1, 1));
    assert_eq!(tally.exit(), Exit::Data);
    assert_eq!(cleaned, "name;email;class\r\n\"Durand; Marie\";marie@x.example;consumer\r\nZ;z@x.example;\n");
    let rejects: Vec<_> = rejects.lines().collect();
    assert_eq!(rejects[0], "line,email,reason,rule,detail");
    assert!(rejects[1].starts_with("3,bob@x.example,SUP_OBJECTION,X-010@1,GDPR"), "{rejects:?}");
    assert!(rejects[2].starts_with("4,eve,INVALID_ADDRESS,,"), "{rejects:?}");
    assert_eq!(rejects.len(), 3);
}

#[test]
fn the_exit_code_says_the_worst_that_was_found() {
    let exit = |input| sifted(input, by_store(Law::NotApplied, &["bob@x.example"])).tally.unwrap().exit();
    assert_eq!(exit("ann@x.example\n"), Exit::Done);
    assert_eq!(exit("ann@x.example\nbob@x.example\n"), Exit::No);
    assert_eq!(exit("ann@x.example\nbob@x.example\nnobody@\n"), Exit::Data);
    assert_eq!(exit("email\n"), Exit::Done);
    let nothing = sifted("", by_store(Law::NotApplied, &[])).tally.unwrap_err();
    assert_eq!(nothing.exit(), Exit::Data);
}

#[test]
fn the_law_is_asked_and_what_was_assumed_is_said() {
    let input = "email\nmarie.durand@gmail.com\nbob@x.example\n";
    let tally = sifted(input, by_store(france(), &["bob@x.example"])).tally.unwrap();
    let said = text(&tally);
    assert!(said.starts_with("2 rows: 0 permitted, 2 refused, 0 invalid\n"), "{said}");
    assert!(said.lines().any(|line| line.contains("LAW_FR_NO_OPTIN") && line.contains("FR-C1@1, CPCE")), "{said}");
    assert!(said.contains("2 rows were classified by their address"), "{said}");
    let object = tally.to_json();
    assert_eq!((&object["rows"], &object["refused"], &object["assumed_class"]), (&2.into(), &2.into(), &2.into()));
    assert!(object["decided"].as_array().unwrap().iter().any(|entry| entry["rule"] == "X-010@1" && entry["rows"] == 1));
}

#[test]
fn in_shadow_everybody_passes_and_would_be_refusals_are_counted() {
    let Law::Applied(mut law) = france() else { unreachable!() };
    law.enforcement = crate::policy::Enforcement::Shadow;
    let tally = sifted("a@gmail.com\nb@gmail.com\n", by_store(Law::Applied(law), &[])).tally.unwrap();
    assert_eq!((tally.exit(), tally.permitted), (Exit::Done, 2));
    assert!(
        text(&tally).lines().any(|line| line.contains("shadow") && line.contains(" 2 ") && line.contains("FR-C1@1"))
    );
    assert_eq!(tally.to_json()["would_refuse"][0]["rows"], 2);
}

#[test]
fn a_long_list_goes_through_in_batches() {
    let rows = 20_000;
    let line = |id: i32| format!("{id},person{id}@x{}.example", id % 7);
    let input = [String::from("id,email")].into_iter().chain((0..rows).map(line)).collect::<Vec<_>>().join("\n");
    let Sifted { tally, cleaned, rejects, watched } = sifted(&input, by_store(Law::NotApplied, &["@x3.example"]));
    let tally = tally.unwrap();
    let refused = u64::try_from((0..rows).filter(|id| id % 7 == 3).count()).unwrap();
    assert_eq!((tally.rows(), tally.refused, tally.invalid), (20_000, refused, 0));
    assert_eq!(cleaned.lines().count() + rejects.lines().count(), 20_000 + 2);
    assert_eq!(watched.len(), 20_000 / BATCH);
    assert!(watched.iter().zip(watched.iter().skip(1)).all(|(a, b)| a.0 + 500 == b.0 && a.1 < b.1));
    // In the order of the list.
    let ids = cleaned.lines().skip(1).map(|line| line.split(',').next().unwrap().parse::<u32>().unwrap());
    assert!(ids.is_sorted());
}

#[test]
fn facts_that_cannot_be_had_end_it_and_nothing_is_taken_for_decided() {
    let mut asked = 0;
    let failing = |_: &[&Mailbox]| {
        asked += 1;
        Err(Failure::new(Exit::Temporary, "the store is busy"))
    };
    let Sifted { tally, cleaned, .. } = sifted("email\na@x.example\n", failing);
    assert_eq!(tally.unwrap_err().exit(), Exit::Temporary);
    assert_eq!((asked, cleaned.as_str()), (1, "email\n"));
    let short = sifted("a@x.example\n", |_: &[&Mailbox]| Ok(Vec::new()));
    assert_eq!(short.tally.unwrap_err().exit(), Exit::Software);
}

#[test]
fn rejects_cannot_run_in_a_spreadsheet() {
    let Sifted { rejects, .. } = sifted("email\n=1+1\n\"a\u{7}b\"\n", by_store(Law::NotApplied, &[]));
    assert!(rejects.contains("2,'=1+1,INVALID_ADDRESS"), "{rejects}");
    assert!(rejects.contains("3,a b,INVALID_ADDRESS"), "{rejects}");
}
