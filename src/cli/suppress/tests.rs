//! The operations as an operator meets them: arguments in, text out, and what the store then holds.

use std::path::PathBuf;

use clap::Parser;
use proptest::prelude::*;

use super::import::read;
use super::*;
use crate::cli::course::{Course, Streams};
use crate::cli::journal::{Brings, Imported, Journals, Planned};
use crate::exit::Exit;
use crate::imports::LINE_MAX;
use crate::mail::Mailbox;
use crate::store::{Cleartext, Opening, Settings};
use crate::time::ManualClock;

const NOW: Timestamp = Timestamp::from_secs(1_795_482_123);

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    suppress: SuppressArgs,
}

fn parse(arguments: &[&str]) -> Result<SuppressCommand, clap::Error> {
    Line::try_parse_from(std::iter::once(&"suppress").chain(arguments)).map(|line| line.suppress.command)
}

fn try_run(store: &Store, arguments: &[&str]) -> (Result<Outcome, OperationError>, String) {
    let folder = tempfile::tempdir().unwrap();
    try_run_in(folder.path(), store, arguments)
}

fn try_run_in(folder: &Path, store: &Store, arguments: &[&str]) -> (Result<Outcome, OperationError>, String) {
    let mut out = Vec::new();
    let outcome = run(&parse(arguments).unwrap(), store, folder, &mut out, &ManualClock::new(NOW));
    (outcome, String::from_utf8(out).unwrap())
}

fn done(store: &Store, arguments: &[&str]) -> String {
    let (outcome, said) = try_run(store, arguments);
    assert_eq!(outcome.unwrap(), Outcome::Done, "{said}");
    said
}

fn facts(store: &Store, address: &str) -> Vec<Suppression> {
    store.blocking_evidence(&[&Mailbox::parse(address).unwrap()]).unwrap().pop().unwrap()
}

fn import_text(store: &Store, text: &[u8], arguments: &[&str]) -> (Imported, String) {
    let SuppressCommand::Import(args) = parse(&[&["import", "-"], arguments].concat()).unwrap() else {
        panic!("not an import");
    };
    let mut report = Vec::new();
    let mut course = course(&args);
    let streams = Streams {
        member: None,
        clock: &ManualClock::new(NOW),
        input: &mut &*text,
        report: &mut report,
        out: &mut io::sink(),
        watch: &mut |_| {},
    };
    read(&args, store, &mut course, streams).unwrap();
    (Imported { rows: 0, ..course.counts }, String::from_utf8(report).unwrap())
}

fn course(args: &ImportArgs) -> Course {
    let folder = tempfile::tempdir().unwrap();
    let journals = Journals::open(folder.path()).unwrap();
    let (brings, text) = (Brings::Suppressions, String::new);
    let planned = Planned { brings, file: text(), content: None, arguments: text(), by: text(), key: text() };
    if args.dry_run { Course::looking(NOW) } else { Course::of(journals.begin(planned, NOW).unwrap()) }
}

fn counts(valid: u64, invalid: u64, new: u64, existing: u64) -> Imported {
    Imported { valid, invalid, new, existing, ..Imported::default() }
}

#[test]
fn an_added_address_is_shown_and_removed() {
    let store = Store::memory();
    assert_eq!(done(&store, &["add", "Vic@Example.com", "--evidence", "ticket 7"]), "added\n");
    assert!(done(&store, &["add", "vic@example.com"]).contains("already there"));
    let said = done(&store, &["show", "vic+x@example.com"]);
    assert!(said.contains("Vic@Example.com  manual  everything") && said.contains("ticket 7 (family match)"), "{said}");
    assert!(done(&store, &["show", "vic@example.com"]).contains("(exact match)"));
    assert_eq!(try_run(&store, &["show", "other@example.com"]).0.unwrap().exit(), Exit::No);
    assert!(done(&store, &["remove", "vic@example.com"]).contains("removed 1  Vic@Example.com"));
    assert_eq!(try_run(&store, &["remove", "vic@example.com"]).0.unwrap(), Outcome::Nothing);
}

#[test]
fn removing_tells_what_still_stops_mail() {
    let store = Store::memory();
    done(&store, &["add", "@firm.example", "--reason", "legal_objection"]);
    done(&store, &["add", "v@firm.example"]);
    let said = done(&store, &["remove", "v@firm.example"]);
    assert!(said.contains("still there (domain): 1  @firm.example"), "{said}");
}

#[test]
fn a_complaint_needs_a_reason_to_leave() {
    let store = Store::memory();
    done(&store, &["add", "v@x.example", "--reason", "complaint"]);
    assert_eq!(try_run(&store, &["remove", "v@x.example"]).0.unwrap_err().exit(), Exit::Usage);
    for flag in ["--because", "--reason-removed"] {
        done(&store, &["add", "v@x.example", "--reason", "complaint"]);
        done(&store, &["remove", "v@x.example", flag, "a letter"]);
    }
}

#[test]
fn an_opt_out_cannot_be_given_an_end() {
    let store = Store::memory();
    let (outcome, _) = try_run(&store, &["add", "v@x.example", "--reason", "unsubscribe", "--expires", "2030-01-01"]);
    assert_eq!(outcome.unwrap_err().exit(), Exit::Usage);
    assert!(facts(&store, "v@x.example").is_empty());
}

#[test]
fn an_expired_entry_is_shown_but_stops_nothing() {
    let store = Store::memory();
    done(&store, &["add", "v@x.example", "--expires", "2020-01-01", "--since", "2019-01-01"]);
    let (outcome, said) = try_run(&store, &["show", "v@x.example"]);
    assert_eq!(outcome.unwrap(), Outcome::Nothing);
    assert!(said.contains("expired 2020-01-01"), "{said}");
}

#[test]
fn arguments_are_checked_before_anything_is_touched() {
    for bad in [
        ["add", "not an address"].as_slice(),
        &["add", "v@x.example", "--scope", "world"],
        &["add", "v@x.example", "--reason", "boredom"],
        &["add", "v@x.example", "--expires", "soon"],
        &["list", "--after", "-1"],
        &["import", "-", "--format", "xml"],
    ] {
        assert!(parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn json_carries_what_the_text_says() {
    let store = Store::memory();
    done(&store, &["add", "v@x.example", "--scope", "list:acme/news"]);
    let shown: serde_json::Value = serde_json::from_str(&done(&store, &["show", "v@x.example", "--json"])).unwrap();
    assert_eq!(shown["matched"], "exact");
    assert_eq!(shown["counts"], true);
    assert_eq!(shown["scope"], "list:acme/news");
    assert_eq!(shown["since"], NOW.rfc3339());
    let listed: serde_json::Value = serde_json::from_str(&done(&store, &["list", "--json"])).unwrap();
    assert_eq!(listed["cursor"], "1");
    let stats: serde_json::Value = serde_json::from_str(&done(&store, &["stats", "--json"])).unwrap();
    assert_eq!((&stats["addresses"], &stats["manual"]), (&1.into(), &1.into()));
}

#[test]
fn a_listing_says_where_to_go_on() {
    let store = Store::memory();
    import_text(&store, b"a@x.example\nb@x.example\nc@x.example\nd@x.example\ne@x.example\n", &[]);
    let said = done(&store, &["list", "--limit", "2"]);
    assert!(said.ends_with("more: --after 2\n"), "{said}");
    let said = done(&store, &["list", "--limit", "3", "--after", "2"]);
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(!said.contains("more:"));
}

#[test]
fn a_plain_list_is_imported_with_its_comments() {
    let store = Store::memory();
    let text =
        "\u{FEFF}# our list\r\nv@x.example\r\n\r\n@firm.example # a client\r\n#x@y.example\r\nnobody\r\na#b@y.example";
    let (outcome, report) = import_text(&store, text.as_bytes(), &["--reason", "unsubscribe"]);
    assert_eq!(outcome, counts(3, 1, 3, 0));
    assert_eq!(report.lines().next().unwrap(), "6,nobody,error,expected local-part@domain");
    assert_eq!(facts(&store, "v@x.example")[0].cause, Cause::Unsubscribe);
    assert_eq!(facts(&store, "any@firm.example").len(), 1);
    assert_eq!(facts(&store, "a#b@y.example").len(), 1);
}

#[test]
fn csv_is_read_by_its_header_whatever_separates_it() {
    for delimiter in [",", ";", "\t"] {
        let store = Store::memory();
        let header = ["Name", "EMAIL", "Reason", "created_at", "scope"].join(delimiter);
        let line = ["\"M. \"\"X\"\"\"", "V@x.example", "BOUNCE", "1795482000", "controller:acme"].join(delimiter);
        let short = ["y", "w@x.example"].join(delimiter);
        let text = format!("\u{FEFF}{header}\r\n{line}\r\n{short}\r\n");
        assert_eq!(import_text(&store, text.as_bytes(), &[]).0, counts(2, 0, 2, 0), "{delimiter:?}");
        let fact = facts(&store, "v@x.example").pop().unwrap();
        assert_eq!((fact.cause, fact.since.as_secs()), (Cause::HardBounce, 1_795_482_000));
        assert_eq!(fact.scope.to_string(), "controller:acme");
        assert_eq!(facts(&store, "w@x.example")[0].cause, Cause::Manual);
    }
}

#[test]
fn bad_lines_are_reported_and_all_others_are_in() {
    let store = Store::memory();
    let text = "email,cause,expires\nv@x.example,unsubscribe,2030-01-01\nw@x.example,whim,\n=1+1,,\nok@x.example,,\n";
    let (outcome, report) = import_text(&store, text.as_bytes(), &[]);
    assert_eq!(outcome, counts(1, 3, 1, 0));
    assert_eq!(report.lines().count(), 3);
    assert!(report.contains("\n4,'=1+1,error,"), "the report is safe in a spreadsheet too: {report}");
    assert_eq!(facts(&store, "ok@x.example").len(), 1);
}

#[test]
fn importing_twice_changes_nothing() {
    let store = Store::memory();
    let text = b"v@x.example\nw@x.example\nV@X.example\n";
    assert_eq!(import_text(&store, text, &[]).0, counts(3, 0, 2, 1));
    assert_eq!(import_text(&store, text, &[]).0, counts(3, 0, 0, 3));
}

#[test]
fn a_dry_run_adds_nothing() {
    let store = Store::memory();
    done(&store, &["add", "w@x.example"]);
    let text = b"v@x.example\nx\nW+tag@x.example\n";
    assert_eq!(import_text(&store, text, &["--dry-run"]).0, counts(2, 1, 1, 1));
    assert!(facts(&store, "v@x.example").is_empty());
}

#[test]
fn an_archive_gives_every_list_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export.zip");
    let mut archive = zip::ZipWriter::new(File::create(&path).unwrap());
    let head = "Email Address,First Name,OPTIN_TIME,OPTIN_IP,LEID,EUID";
    for (name, text) in [
        ("subscribed_members_1.csv", format!("{head}\na@x.example,A,2026-01-01 00:00:00,192.0.2.1,1,x\n")),
        ("unsubscribed_members_1.csv", format!("{head},UNSUB_TIME\nb@x.example,B,,,2,y,2026-02-01 00:00:00\n")),
        ("readme.txt", "c@x.example\n".to_owned()),
    ] {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(text.as_bytes()).unwrap();
    }
    archive.finish().unwrap();
    let store = Store::memory();
    let said = done(&store, &["import", path.to_str().unwrap(), "--scope", "controller:acme"]);
    assert!(said.contains("\n1 new, 0 already there, 1 passed over, 0 invalid\n"), "{said}");
    let fact = facts(&store, "b@x.example").pop().unwrap();
    assert_eq!((fact.cause, fact.since), (Cause::Unsubscribe, Timestamp::parse("2026-02-01").unwrap()));
}

#[test]
fn bad_lines_of_an_archive_name_the_file_that_they_stand_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let mut archive = zip::ZipWriter::new(File::create(path("export.zip")).unwrap());
    for name in ["one.csv", "folder/two\r\n.csv"] {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(b"email,reason\nv@x.example,\nnobody,\nw@x.example,whim\n").unwrap();
    }
    archive.finish().unwrap();
    let (outcome, said) = try_run(&Store::memory(), &["import", &path("export.zip")]);
    assert_eq!(outcome.unwrap().exit(), Exit::Data);
    assert!(
        said.contains("\nline 3: one.csv: expected ") && said.contains("\nline 3: folder/two  .csv: exp"),
        "{said}"
    );
    try_run(&Store::memory(), &["import", &path("export.zip"), "--errors", &path("errors")]).0.unwrap();
    let report = std::fs::read_to_string(path("errors")).unwrap();
    let lines: Vec<_> = report.lines().map(|line| line.splitn(4, ',').collect::<Vec<_>>()).collect();
    assert_eq!(lines.len(), 5, "{report}");
    for (line, (number, who, file)) in lines.iter().skip(1).zip([
        ("3", "nobody", "one.csv: "),
        ("4", "w@x.example", "one.csv: "),
        ("3", "nobody", "folder/two  .csv: "),
        ("4", "w@x.example", "folder/two  .csv: "),
    ]) {
        assert_eq!(line[..3], [number, who, "error"]);
        assert!(line[3].trim_start_matches('"').starts_with(file), "{report}");
    }
}

#[test]
fn lines_are_bounded_and_old_encodings_are_read() {
    let store = Store::memory();
    let fits = format!("{}v@x.example\n", " ".repeat(LINE_MAX - 12));
    assert_eq!(fits.len(), LINE_MAX);
    assert_eq!(import_text(&store, fits.as_bytes(), &[]).0, counts(1, 0, 1, 0));
    let long = format!("{}\nw@x.example\n", "x".repeat(LINE_MAX + 1));
    assert_eq!(import_text(&store, long.as_bytes(), &[]).0, counts(1, 1, 1, 0));
    assert_eq!(import_text(&store, b"email,name\nl@x.example,Ren\xE9\n", &[]).0, counts(1, 0, 1, 0));
}

#[test]
fn a_file_that_is_not_what_was_said_is_refused() {
    let store = Store::memory();
    let SuppressCommand::Import(args) = parse(&["import", "-", "--format", "csv"]).unwrap() else { panic!() };
    let text = b"v@x.example\n";
    let streams = Streams {
        member: None,
        clock: &ManualClock::new(NOW),
        input: &mut text.as_slice(),
        report: &mut io::sink(),
        out: &mut io::sink(),
        watch: &mut |_| {},
    };
    let refused = read(&args, &store, &mut course(&args), streams);
    assert_eq!(refused.unwrap_err().exit(), Exit::Data);
    let (outcome, _) = try_run(&store, &["import", "/nowhere/at/all"]);
    assert_eq!(outcome.unwrap_err().exit(), Exit::Io);
}

#[test]
fn files_are_written_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let store = Store::memory();
    done(&store, &["add", "v@x.example"]);
    assert_eq!(done(&store, &["export", &path("all")]), "1 entries written\n");
    std::fs::write(path("bad"), "v@x.example\nrubbish\n").unwrap();
    let (outcome, said) = try_run(&store, &["import", &path("bad"), "--errors", &path("errors")]);
    assert_eq!(outcome.unwrap().exit(), Exit::Data);
    assert!(said.contains("\n0 new, 1 already there, 1 invalid\n"), "{said}");
    for name in ["all", "errors"] {
        assert_eq!(std::fs::metadata(path(name)).unwrap().permissions().mode() & 0o077, 0, "{name}");
    }
}

/// Exports, imports into a new store that has the same key, and answers both exports.
fn there_and_back(entries: &[NewSuppression], cleartext: Cleartext, format: &str) -> (String, String) {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let key_file = folders[0].path().join("shared.key");
    let open = |folder: &tempfile::TempDir| {
        let path: PathBuf = folder.path().join("store.db");
        let settings = Settings { path, key_file: Some(key_file.clone()), cleartext };
        Store::open(&settings, Opening::Whole, NOW).unwrap()
    };
    let (first, second) = (open(&folders[0]), open(&folders[1]));
    first.add_many(entries.iter().cloned()).unwrap();
    let text = done(&first, &["export", "--format", format]);
    let (counts, report) = import_text(&second, text.as_bytes(), &["--scope", "controller:default"]);
    assert_eq!(counts.invalid, 0, "{report}\n{text}");
    (done(&first, &["export"]), done(&second, &["export"]))
}

fn entries() -> impl Strategy<Value = Vec<NewSuppression>> {
    let subject = prop_oneof![
        "[a-z'=+-][a-zA-Z0-9'=+-]{0,8}@[a-z]{1,6}\\.example",
        "\"[ -!#-Z]{1,8}\"@x\\.example",
        "@[a-z]{1,6}\\.example",
        "[éàüＡ-Ｚ]{1,5}@bücher\\.example"
    ];
    let scope = prop_oneof![Just("everything"), Just("controller:acme"), Just("list:acme/news")];
    let entry = (
        subject.prop_filter_map("not an address", |text| Subject::parse(&text).ok()),
        scope,
        prop::sample::select(Cause::ALL),
        prop::sample::select(Origin::ALL),
        prop::option::of("[ -~é]{1,20}"),
        (0_i64..4_000_000_000_000, 0_i64..4_000_000_000_000, prop::option::of(0_i64..4_000_000_000_000)),
    );
    let made = entry.prop_map(|(subject, scope, cause, origin, evidence, (since, created, expires))| {
        let fact = Suppression {
            scope: scope.parse().unwrap(),
            cause,
            origin,
            evidence,
            since: Timestamp::from_millis(since),
            expires: expires.filter(|_| !cause.is_opt_out()).map(Timestamp::from_millis),
        };
        NewSuppression::new(subject, fact, Timestamp::from_millis(created)).unwrap()
    });
    prop::collection::vec(made, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn export_wipe_import_gives_the_same_store(entries in entries(), hashed in any::<bool>()) {
        let cleartext = if hashed { Cleartext::HashOnly } else { Cleartext::Keep };
        let (before, after) = there_and_back(&entries, cleartext, "ndjson");
        prop_assert_eq!(before, after);
    }
}

#[test]
fn a_spreadsheet_export_comes_back_with_every_address() {
    let new = |text: &str| {
        let fact = Suppression {
            scope: Scope::Everything,
            cause: Cause::Unsubscribe,
            origin: Origin::Page,
            evidence: Some("a, \"b\"; =c".to_owned()),
            since: NOW,
            expires: None,
        };
        NewSuppression::new(Subject::parse(text).unwrap(), fact, NOW).unwrap()
    };
    let all = ["=1+1@e.example", "+cmd@e.example", "-2@e.example", "'=x@e.example", "@e.example", "\"a,b\"@e.example"];
    let (before, after) = there_and_back(&all.map(new), Cleartext::Keep, "csv");
    assert_eq!(before, after);
    assert_eq!(before.lines().count(), all.len());
}

#[test]
fn a_register_is_loaded_whole_or_not_at_all() {
    use crate::policy::Listed;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list").to_str().unwrap().to_owned();
    let store = Store::memory();
    let listed = |address: &str| {
        let known = store.blocking_dossier(&[&Mailbox::parse(address).unwrap()]).unwrap().pop().unwrap();
        known.registers.first().map(|check| (check.list.to_string(), check.fresh_on, check.answer))
    };
    let load = |text: &str| {
        std::fs::write(&path, text).unwrap();
        try_run(&store, &["import-register", "ecg", "--fresh-on", "2026-11-01", &path])
    };
    let (outcome, said) = load("\u{FEFF}# drawn today\r\nv@x.example\r\n\r\n@firm.example\r\n");
    assert_eq!(outcome.unwrap(), Outcome::Done);
    assert_eq!(said, "ecg: 2 subjects, drawn 2026-11-01T00:00:00.000Z\n");
    let drawn = Timestamp::parse("2026-11-01").unwrap();
    assert_eq!(listed("any@firm.example"), Some(("ecg".to_owned(), drawn, Listed::Yes)));
    let (outcome, said) = load("w@x.example\nnobody\n");
    assert_eq!(outcome.unwrap().exit(), Exit::Data);
    assert!(said.contains("line 2:") && said.contains("stays as it was"), "{said}");
    assert_eq!(listed("v@x.example").unwrap().2, Listed::Yes);
    assert_eq!(listed("w@x.example").unwrap().2, Listed::No);
}

#[test]
fn a_dry_run_tells_what_is_more_than_is_there() {
    let store = Store::memory();
    done(&store, &["add", "weak@x.example", "--reason", "hard_bounce"]);
    done(&store, &["add", "narrow@x.example", "--reason", "unsubscribe", "--scope", "list:acme/news"]);
    done(&store, &["add", "same@x.example", "--reason", "unsubscribe"]);
    done(&store, &["add", "strong@x.example", "--reason", "complaint"]);
    done(&store, &["add", "@firm.example", "--reason", "hard_bounce"]);
    let text = b"weak@x.example\nnarrow@x.example\nsame@x.example\nstrong@x.example\nv@firm.example\nn@x.example\n";
    let before = done(&store, &["export"]);
    let (found, _) = import_text(&store, text, &["--dry-run", "--reason", "unsubscribe"]);
    assert_eq!((found.new, found.upgraded, found.existing), (3, 2, 1));
    assert_eq!(done(&store, &["export"]), before);
}
