//! The operations as an operator meets them: arguments in, text out, and what then holds.

use clap::Parser;
use serde_json::Value;

use std::io;

use super::*;
use crate::cli::course::{Course, Streams};
use crate::cli::journal::{Imported, Journals, Resume};
use crate::exit::Exit;
use crate::policy::{Cause, Origin, RefusalBox, SaleKind, Scope, Standing, Suppression};
use crate::store::{Dossier, NewSuppression};
use crate::time::ManualClock;

const NOW: Timestamp = Timestamp::from_secs(1_795_482_123);

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    consent: ConsentArgs,
}

fn parse(arguments: &[&str]) -> Result<ConsentCommand, clap::Error> {
    Line::try_parse_from(std::iter::once(&"consent").chain(arguments)).map(|line| line.consent.command)
}

fn try_run(store: &Store, arguments: &[&str]) -> (Result<Outcome, OperationError>, String) {
    let mut out = Vec::new();
    let folder = tempfile::tempdir().unwrap();
    let outcome = run(&parse(arguments).unwrap(), store, folder.path(), &mut out, &ManualClock::new(NOW));
    (outcome, String::from_utf8(out).unwrap())
}

fn done(store: &Store, arguments: &[&str]) -> String {
    let (outcome, said) = try_run(store, arguments);
    assert_eq!(outcome.unwrap(), Outcome::Done, "{said}");
    said
}

fn known(store: &Store, address: &str) -> Dossier {
    store.blocking_dossier(&[&Mailbox::parse(address).unwrap()]).unwrap().pop().unwrap()
}

fn import_text(store: &Store, text: &str, arguments: &[&str]) -> (Result<Imported, OperationError>, String) {
    let all = [&["import", "-", "--attest", "our shop, export of 2026"], arguments].concat();
    let ConsentCommand::Import(args) = parse(&all).unwrap() else { panic!("not an import") };
    let (folder, mut report) = (tempfile::tempdir().unwrap(), Vec::new());
    let journals = Journals::open(folder.path()).unwrap();
    let mut course = if args.dry_run {
        Course::looking(NOW)
    } else {
        Course::of(journals.take_up(import::planned(&args, store.key_name()), Resume::No, NOW).unwrap())
    };
    let streams = Streams {
        member: None,
        clock: &ManualClock::new(NOW),
        input: &mut text.as_bytes(),
        report: &mut report,
        out: &mut io::sink(),
        watch: &mut |_| {},
    };
    let done = import::read(&args, store, &mut course, streams);
    (done.map(|()| course.counts), String::from_utf8(report).unwrap())
}

#[test]
fn everything_that_is_said_is_on_record() {
    let store = Store::memory();
    let said = "set v@x.example --controller acme --purpose list:weekly --basis existing_customer --class professional \
                --country fr --function it --function security --contract in_force --notice 2026-01 \
                --refusal-box offered --sale-at 2026-01-02 --sale-family boots --sale-kind free_account \
                --collected-at 2026-01-01 --last-contact 2026-02-01 --expires 2030-01-01 --source form --method paper \
                --ip 192.0.2.1 --evidence ticket-7";
    let arguments: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(done(&store, &arguments), "recorded\n");
    assert_eq!(done(&store, &arguments), "already on record\n");
    let Dossier { contact, consents, .. } = known(&store, "v@x.example");
    let [fact] = consents.as_slice() else { panic!("{consents:?}") };
    assert_eq!((fact.standing, fact.refusal_box), (Standing::Proven, RefusalBox::Offered));
    assert_eq!(fact.sale.as_ref().unwrap().kind, SaleKind::FreeAccount);
    assert_eq!(fact.collected_at, Timestamp::parse("2026-01-01").unwrap());
    assert_eq!(contact.unwrap().functions.len(), 2);
    let text = done(&store, &["show", "v@x.example"]);
    for part in ["FR", "function security", "contract in_force", "existing_customer (proven)", "ticket-7", "boots"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn what_contradicts_itself_is_refused_and_nothing_is_recorded() {
    let store = Store::memory();
    for wrong in [
        "--controller acme",
        "--basis opt_in",
        "--controller acme --basis maybe",
        "--controller acme --basis opt_in --pending",
        "--controller acme --basis opt_in --confirmed-at 2026-01-01",
        "--controller acme --basis opt_in --collected-at 2099-01-01",
        "--controller acme --basis existing_customer --sale-family boots",
        "--controller acme --basis double_opt_in --collected-at 2026-01-02 --confirmed-at 2026-01-01",
        "--controller acme --basis opt_in --country France",
        "--controller acme --basis opt_in --contract maybe",
        "--controller acme --basis opt_in --function IT!",
    ] {
        let arguments: Vec<&str> = ["set", "v@x.example"].into_iter().chain(wrong.split_whitespace()).collect();
        assert_eq!(try_run(&store, &arguments).0.unwrap_err().exit(), Exit::Usage, "{wrong}");
    }
    assert_eq!(known(&store, "v@x.example"), Dossier::default());
    assert!(parse(&["set", "@x.example", "--controller", "acme", "--basis", "opt_in"]).is_err());
    assert!(parse(&["import", "-"]).is_err(), "an import is attested");
}

#[test]
fn a_pending_consent_counts_only_once_it_is_confirmed() {
    let store = Store::memory();
    let about = ["v@x.example", "--controller", "acme"];
    let with = |first: &'static str, rest: &[&'static str]| [&[first], about.as_slice(), rest].concat();
    done(&store, &with("set", &["--basis", "double_opt_in", "--pending", "--collected-at", "2026-01-01"]));
    assert!(!known(&store, "v@x.example").consents[0].counts_at(NOW));
    assert!(done(&store, &["show", "v@x.example"]).contains("does not count"));
    let other = with("confirm", &["--purpose", "list:weekly"]);
    assert_eq!(try_run(&store, &other).0.unwrap(), Outcome::Nothing);
    assert_eq!(done(&store, &with("confirm", &["--evidence", "reply 9"])), "confirmed\n");
    let fact = known(&store, "v@x.example").consents.pop().unwrap();
    assert!(fact.counts_at(NOW));
    assert_eq!((fact.confirmation, fact.standing), (Confirmation::At(NOW), Standing::Proven));
    assert_eq!(fact.collected_at, Timestamp::parse("2026-01-01").unwrap(), "the date of collection stays");
    assert_eq!(try_run(&store, &with("confirm", &[])).0.unwrap().exit(), Exit::No);
    assert_eq!(done(&store, &["history", "v@x.example"]).lines().count(), 2);
}

#[test]
fn unknown_people_have_nothing_to_show() {
    let store = Store::memory();
    for command in [["show", "v@x.example"].as_slice(), &["history", "v@x.example", "--json"]] {
        assert_eq!(try_run(&store, command).0.unwrap().exit(), Exit::No);
    }
    let (outcome, said) = try_run(&store, &["proof", "v@x.example", "--controller", "acme"]);
    assert_eq!(outcome.unwrap(), Outcome::Nothing);
    assert!(said.contains(r#""record":[]"#), "{said}");
}

#[test]
fn json_carries_what_the_text_says() {
    let store = Store::memory();
    done(&store, &["set", "v@x.example", "--controller", "acme", "--basis", "opt_in", "--country", "FR"]);
    let shown = done(&store, &["show", "v@x.example", "--json"]);
    let lines: Vec<Value> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["contact"]["country"], "FR");
    assert_eq!((&lines[1]["basis"], &lines[1]["counts"]), (&"opt_in".into(), &true.into()));
    assert_eq!(lines[1]["standing"], "asserted", "without evidence it is the operator's word");
    let history = done(&store, &["history", "v@x.example", "--json"]);
    let first: Value = serde_json::from_str(history.lines().next().unwrap()).unwrap();
    assert_eq!((&first["consent"]["controller"], &first["recorded_at"]), (&"acme".into(), &NOW.rfc3339().into()));
}

#[test]
fn a_proof_bears_its_hash_and_no_other_controller() {
    let store = Store::memory();
    for (controller, basis) in [("acme", "opt_in"), ("other", "opt_in"), ("acme", "none")] {
        done(&store, &["set", "v@x.example", "--controller", controller, "--basis", basis, "--notice", "v3"]);
    }
    let said = done(&store, &["proof", "v@x.example", "--controller", "acme"]);
    assert!(!said.contains("\"other\""), "{said}");
    let mut bundle: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((bundle["record"].as_array().unwrap().len(), bundle["history"].as_array().unwrap().len()), (1, 2));
    assert_eq!((&bundle["record"][0]["basis"], &bundle["notice_versions"][0]), (&"none".into(), &"v3".into()));
    let hash = bundle.as_object_mut().unwrap().remove("sha256").unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bundle.to_string().as_bytes());
    assert_eq!(hash, Value::from(crate::hex::encode(digest.as_ref())));
}

#[test]
fn csv_and_ndjson_say_the_same() {
    let csv = "Email;Purpose;basis;collected_at;function;country;pending\n\
               v@x.example;list:weekly;double_opt_in;2026-01-01;it|security;FR;true\n";
    let ndjson = r#"{"email":"v@x.example","purpose":"list:weekly","basis":"double_opt_in","collected-at":"2026-01-01","function":["it","security"],"country":"FR","pending":true}"#;
    let [one, other] = [csv, ndjson].map(|text| {
        let store = Store::memory();
        let counts = import_text(&store, text, &["--controller", "acme"]).0.unwrap();
        assert_eq!(counts, Imported { rows: 1, valid: 1, new: 2, ..Imported::default() });
        assert_eq!(import_text(&store, text, &["--controller", "acme"]).0.unwrap().existing, 2);
        known(&store, "v@x.example")
    });
    assert_eq!(one, other);
    assert_eq!(one.consents[0].confirmation, Confirmation::Pending);
    assert_eq!(one.consents[0].provenance.source.as_deref(), Some("our shop, export of 2026"));
    assert_eq!(one.consents[0].provenance.method.as_deref(), Some("import"));
}

#[test]
fn bad_lines_are_reported_and_all_others_are_in() {
    let store = Store::memory();
    let text = "email,basis,collected_at\nv@x.example,opt_in,2026-01-01\nw@x.example,whim,2026-01-01\n\
                @x.example,opt_in,2026-01-01\nu@x.example,opt_in,\nz@x.example,,2026-01-01\n";
    let arguments = ["--controller", "acme", "--basis", "opt_out_active"];
    let (counts, report) = import_text(&store, text, &arguments);
    assert_eq!(counts.unwrap(), Imported { rows: 5, valid: 2, invalid: 3, new: 2, ..Imported::default() });
    assert_eq!(report.lines().count(), 3);
    assert!(report.contains("5,u@x.example,error,collected-at: missing"), "{report}");
    assert_eq!(known(&store, "z@x.example").consents[0].basis, Basis::OptOutActive);
    let dry = Store::memory();
    let counts = import_text(&dry, text, &[arguments.as_slice(), &["--dry-run"]].concat()).0.unwrap();
    assert_eq!(counts, Imported { rows: 5, valid: 2, invalid: 3, new: 2, ..Imported::default() });
    assert_eq!(known(&dry, "v@x.example"), Dossier::default());
}

#[test]
fn a_column_that_nobody_knows_refuses_the_file() {
    let store = Store::memory();
    for text in ["email,expiry\nv@x.example,2030-01-01\n", "v@x.example\n"] {
        let (outcome, _) = import_text(&store, text, &["--controller", "acme", "--basis", "opt_in"]);
        assert_eq!(outcome.unwrap_err().exit(), Exit::Data);
    }
    let (outcome, report) = import_text(&store, r#"{"email":"v@x.example","expiry":"2030"}"#, &[]);
    assert_eq!(outcome.unwrap().invalid, 1);
    assert!(report.contains("`expiry` is not known"), "{report}");
}

#[test]
fn no_import_lifts_an_opt_out_and_a_proven_opt_in_after_it_does() {
    let store = Store::memory();
    let left = Suppression {
        scope: Scope::Controller("acme".parse().unwrap()),
        cause: Cause::LegalObjection,
        origin: Origin::Page,
        evidence: None,
        since: Timestamp::parse("2026-03-01").unwrap(),
        expires: None,
    };
    let subject = Subject::parse("v@x.example").unwrap();
    store.blocking_add(&NewSuppression::new(subject, left.clone(), NOW).unwrap()).unwrap();
    let lifted = || known(&store, "v@x.example").consents.iter().any(|fact| fact.lifts(&left, NOW));
    let text = "email,basis,collected_at,evidence\nv@x.example,opt_in,2026-04-01,form 7\n";
    import_text(&store, text, &["--controller", "acme"]).0.unwrap();
    assert!(!lifted(), "an import");
    let set = |rest: &[&str]| {
        done(&store, &[&["set", "v@x.example", "--controller", "acme", "--basis", "opt_in"], rest].concat());
    };
    set(&["--collected-at", "2026-04-01"]);
    assert!(!lifted(), "no evidence");
    set(&["--collected-at", "2026-03-01", "--evidence", "form 7"]);
    assert!(!lifted(), "not after it");
    set(&["--collected-at", "2026-04-01", "--evidence", "form 7", "--purpose", "list:weekly"]);
    assert!(!lifted(), "narrower than what it would lift");
    set(&["--collected-at", "2026-04-01", "--evidence", "form 7"]);
    assert!(lifted());
    assert_eq!(known(&store, "v@x.example").suppressions, [left], "the entry stays on record");
}

/// What `consent undo` is for: the wrong list goes, and everybody stands as if it had never come.
#[test]
fn an_import_that_is_taken_back_leaves_what_was_there_and_what_was_said_since() {
    let (store, folder) = (Store::memory(), tempfile::tempdir().unwrap());
    let run = |arguments: &[&str]| {
        let mut out = Vec::new();
        let outcome =
            super::run(&parse(arguments).unwrap(), &store, folder.path(), &mut out, &ManualClock::new(NOW)).unwrap();
        (outcome, String::from_utf8(out).unwrap())
    };
    let set = |address: &str, collected: &str, evidence: &str| {
        let said = "--controller acme --basis opt_in --collected-at";
        let said = said.split(' ').chain([collected, "--evidence", evidence]);
        run(&["set", address].into_iter().chain(said).collect::<Vec<_>>());
    };
    let weaker = folder.path().join("weaker.csv");
    std::fs::write(&weaker, "email,basis,collected_at\nbefore@x.example,opt_out_active,2020-01-01\n").unwrap();
    run(&["import", weaker.to_str().unwrap(), "--controller", "acme", "--attest", "an older list"]);
    // A proven word gives way to no import.
    set("proven@x.example", "2020-01-01", "form 7");
    let before = ["before@x.example", "proven@x.example", "new@x.example", "since@x.example"].map(|a| known(&store, a));
    let list = folder.path().join("list.csv");
    let rows = ["before", "proven", "new", "since"].map(|name| format!("{name}@x.example,opt_in,2026-01-01\n"));
    std::fs::write(&list, format!("email,basis,collected_at\n{}", rows.concat())).unwrap();
    let list = list.to_str().unwrap();
    let (_, said) = run(&["import", list, "--controller", "acme", "--attest", "the shop's word"]);
    let id = said.lines().next().unwrap().strip_prefix("import ").unwrap().to_owned();
    assert!(known(&store, "new@x.example").consents.len() == 1, "{said}");
    assert_eq!(known(&store, "before@x.example").consents[0].basis, Basis::OptIn, "upgraded");
    assert_eq!(known(&store, "proven@x.example"), before[1], "ignored");
    set("since@x.example", "2026-02-01", "form 8");
    let since = known(&store, "since@x.example");
    let (_, counted) = run(&["undo", &id, "--dry-run"]);
    let (_, undone) = run(&["undo", &id, "--because", "another company's list"]);
    assert!(counted.contains(" of 3 people") && undone.contains(" of 3 people"), "{counted}{undone}");
    let after = ["before@x.example", "proven@x.example", "new@x.example"].map(|a| known(&store, a));
    assert_eq!(after[..], before[..3]);
    assert_eq!(known(&store, "since@x.example"), since, "what was said since holds on");
    assert_eq!(run(&["undo", &id, "--because", "again"]).0, Outcome::Nothing);
    assert!(run(&["history", "new@x.example"]).1.contains("another company's list"), "it stays in the history");
}

/// The rows of one person in one file, in the wrong order: what is later holds, and a withdrawal most of all.
#[test]
fn an_old_row_behind_a_newer_one_brings_nothing_back() {
    for (rows, holds) in [
        (["opt_in,2026-02-01", "opt_out_active,2020-01-01"], Basis::OptIn),
        (["none,2020-01-01", "opt_in,2026-02-01"], Basis::None),
    ] {
        let store = Store::memory();
        let text = format!("email,basis,collected_at\nv@x.example,{}\nv@x.example,{}\n", rows[0], rows[1]);
        let (counts, _) = import_text(&store, &text, &["--controller", "acme"]);
        let counts = counts.unwrap();
        assert_eq!((counts.new, counts.ignored), (1, 1), "{rows:?}");
        assert_eq!(known(&store, "v@x.example").consents[0].basis, holds, "{rows:?}");
        let (dry, _) = import_text(&Store::memory(), &text, &["--controller", "acme", "--dry-run"]);
        assert_eq!(dry.unwrap(), counts);
    }
}
