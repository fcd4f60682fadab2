//! The exports of other systems in `tests/imports`, brought in with the real binary: reason, scope, time and evidence of each
//! row are what `outcomes.toml` says, and no system that is known is without a file.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use clap::ValueEnum as _;
use consentry::imports::{Format, Rows, Shape};
use serde::Deserialize;

use crate::support::gateway::{audit, command};
use crate::support::{Gateway, Spec, Upstream, eventually};

/// One file and what becomes of it; `outcomes.toml` tells what each means.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    source: String,
    #[serde(default)]
    named: bool,
    scope: Option<String>,
    reason: Option<String>,
    #[serde(default)]
    stops: Vec<String>,
    #[serde(default)]
    passed: u64,
    #[serde(default)]
    invalid: Vec<String>,
    agrees: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Outcomes {
    file: Vec<File>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/imports")
}

fn outcomes() -> Vec<File> {
    let text = std::fs::read_to_string(folder().join("outcomes.toml")).unwrap();
    toml::from_str::<Outcomes>(&text).unwrap().file
}

fn shape(file: &File) -> Shape {
    Shape::from_str(&file.source, false).unwrap_or_else(|error| panic!("{}: {error}", file.name))
}

/// The file as an operator has it: of a folder the archive of what lies in it.
fn brought(file: &File, to: &Path) -> PathBuf {
    let path = folder().join(&file.name);
    if path.is_file() {
        return path;
    }
    let archive = to.join("export.zip");
    let mut zip = zip::ZipWriter::new(std::fs::File::create(&archive).unwrap());
    for member in members(&path) {
        zip.start_file(member.file_name().unwrap().to_str().unwrap(), zip::write::SimpleFileOptions::default())
            .unwrap();
        zip.write_all(&std::fs::read(member).unwrap()).unwrap();
    }
    zip.finish().unwrap();
    archive
}

fn members(folder: &Path) -> Vec<PathBuf> {
    let mut members: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    members.sort();
    members
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(folder).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A field of an exported entry; empty when it has none.
fn field<'a>(entry: &'a serde_json::Value, name: &str) -> &'a str {
    entry[name].as_str().unwrap_or_default()
}

/// The store's entries in the words of the table.
fn stops(folder: &Path) -> Vec<String> {
    let exported = run(folder, &["suppress", "export"]);
    assert!(exported.status.success(), "{}", text(&exported));
    let line = |line: &str| {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        let since = field(&entry, "since");
        let since = if since == field(&entry, "created") { "import" } else { since };
        let [address, cause, scope] = ["address", "cause", "scope"].map(|name| field(&entry, name));
        let (expires, evidence) = (field(&entry, "expires"), field(&entry, "evidence"));
        tidy(&format!("{address} | {cause} | {scope} | {since} | {expires} | {evidence}"))
    };
    String::from_utf8(exported.stdout).unwrap().lines().map(line).collect()
}

/// Empty cells in one form.
fn tidy(line: &str) -> String {
    line.split('|').map(str::trim).collect::<Vec<_>>().join("|")
}

fn wanted(lines: &[String]) -> Vec<String> {
    lines.iter().map(|line| tidy(line)).collect()
}

fn same(mut found: Vec<String>, mut expected: Vec<String>, what: &str) {
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "{what}");
}

#[test]
fn every_system_has_a_file_and_every_file_its_outcome() {
    let outcomes = outcomes();
    let without: Vec<_> =
        Shape::value_variants().iter().filter(|known| !outcomes.iter().any(|file| shape(file) == **known)).collect();
    assert!(without.is_empty(), "no file in tests/imports shows {without:?}");
    let lying: Vec<_> = members(&folder()).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    let unsaid: Vec<_> = lying
        .iter()
        .filter(|name| *name != "outcomes.toml" && !outcomes.iter().any(|file| *name == &*file.name))
        .collect();
    assert!(unsaid.is_empty(), "outcomes.toml does not say what becomes of {unsaid:?}");
}

#[test]
fn whose_export_a_file_is_stands_in_its_beginning() {
    for file in outcomes() {
        let path = folder().join(&file.name);
        let paths = if path.is_file() { vec![path] } else { members(&path) };
        for path in paths {
            let octets = std::fs::read(path).unwrap();
            let mut input = &octets[..];
            let mut rows = Rows::new(&mut input, Format::Auto, None);
            match rows.next_row() {
                Ok(Some(_)) => assert_eq!((rows.shape(), file.named), (shape(&file), false), "{}", file.name),
                Ok(None) => panic!("{} is empty", file.name),
                Err(error) => assert!(file.named && error.to_string().contains("--source"), "{}: {error}", file.name),
            }
        }
    }
}

#[test]
fn every_export_stops_whom_it_names_for_its_reason_and_no_more() {
    let upstream = Upstream::start();
    for file in outcomes() {
        let place = tempfile::tempdir().unwrap();
        let place = place.path();
        Gateway::configure(place, &Spec::new(upstream.address));
        let brought = brought(&file, place);
        let errors = place.join("errors.csv");
        let mut arguments = vec!["suppress", "import", brought.to_str().unwrap(), "--errors", errors.to_str().unwrap()];
        if file.named {
            arguments.extend(["--source", &file.source]);
        }
        arguments.extend(file.scope.iter().flat_map(|scope| ["--scope", scope]));
        arguments.extend(file.reason.iter().flat_map(|reason| ["--reason", reason]));
        let (count, invalid) = (file.stops.len(), file.invalid.len());
        let beside = if file.passed > 0 { format!(", {} passed over", file.passed) } else { String::new() };
        let dry = run(place, &[&arguments[..], &["--dry-run"]].concat());
        let said = format!("{count} would be new, 0 upgraded, 0 already there{beside}, {invalid} invalid");
        assert!(text(&dry).contains(&said), "{}: {}", file.name, text(&dry));
        assert!(stops(place).is_empty(), "{}: a dry run adds nothing", file.name);
        let imported = run(place, &arguments);
        let said = format!("{count} new, 0 already there{beside}, {invalid} invalid");
        assert!(text(&imported).contains(&said), "{}: {}", file.name, text(&imported));
        assert_eq!(imported.status.code(), Some(if invalid == 0 { 0 } else { 65 }), "{}", file.name);
        same(stops(place), wanted(&file.stops), &file.name);
        let reported = std::fs::read_to_string(&errors).unwrap();
        let reported: Vec<_> =
            reported.lines().skip(1).map(|line| line.split(',').take(2).collect::<Vec<_>>().join(",")).collect();
        same(reported, file.invalid.clone(), &file.name);
        let again = run(place, &arguments);
        // A hash without a date counts from the last list that holds it.
        let is_undated_hash = file.stops.iter().any(|line| line.starts_with(" |") && line.contains("| import |"));
        let said = if is_undated_hash { "0 new, 1 prolonged" } else { &format!("0 new, {count} already there") };
        assert!(text(&again).contains(said), "{}: {}", file.name, text(&again));
    }
}

/// What is on record of whoever the table names, in its words.
fn agrees(folder: &Path, lines: &[String]) -> Vec<String> {
    let shown = |line: &String| {
        let address = line.split('|').next().unwrap().trim();
        let shown = run(folder, &["consent", "show", address, "--json"]);
        let fact: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap_or_default();
        let names = ["address", "basis", "collected_at", "confirmation", "ip"];
        let [address, basis, at, confirmation, ip] = names.map(|name| field(&fact, name));
        assert_eq!((field(&fact, "standing"), field(&fact, "source")), ("asserted", "our own list"), "{fact}");
        tidy(&format!("{address} | {basis} | {at} | {confirmation} | {ip}"))
    };
    lines.iter().map(shown).collect()
}

#[test]
fn every_export_with_people_who_agreed_says_since_when_and_how_it_knows() {
    let upstream = Upstream::start();
    for file in outcomes() {
        let Some(expected) = &file.agrees else { continue };
        let place = tempfile::tempdir().unwrap();
        let place = place.path();
        Gateway::configure(place, &Spec::new(upstream.address));
        let brought = brought(&file, place);
        let import = ["consent", "import", brought.to_str().unwrap(), "--controller", "acme", "--basis", "opt_in"];
        assert_eq!(run(place, &import).status.code(), Some(64), "{}: nobody vouches for it", file.name);
        let imported = run(place, &[&import[..], &["--attest", "our own list"]].concat());
        let said = format!("{} new, 0 upgraded, 0 already there, 0 ignored", expected.len());
        assert!(text(&imported).contains(&said), "{}: {}", file.name, text(&imported));
        same(agrees(place, expected), wanted(expected), &file.name);
    }
}

#[test]
fn taking_an_import_of_consents_back_is_told_in_log_and_audit() {
    let place = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(place.path(), &Spec::new(Upstream::start().address));
    let list = folder().join("brevo.csv");
    let import = ["consent", "import", list.to_str().unwrap(), "--controller", "acme", "--basis", "opt_in"];
    let imported = text(&gateway.run(&[&import[..], &["--attest", "our own list"]].concat()));
    let id = imported.lines().find_map(|line| line.strip_prefix("import ")).unwrap();
    assert_eq!(gateway.run(&["consent", "undo", id, "--dry-run"]).status.code(), Some(1));
    let holds = || gateway.run(&["consent", "show", "here@north.example"]).status.code() == Some(0);
    assert!(holds(), "a dry run takes nothing back");
    let undo = ["consent", "undo", id, "--because", "bought, not collected", "--by", "ann"];
    assert_eq!(gateway.run(&undo).status.code(), Some(0));
    assert!(!holds(), "what is told has been done");
    assert_eq!(gateway.run(&undo).status.code(), Some(1), "undone before");
    let told = |events: Vec<serde_json::Value>| {
        let ours: Vec<_> = events.into_iter().filter(|event| event["queue"] == format!("import:{id}")).collect();
        let [event] = &ours[..] else { panic!("{ours:?}") };
        assert_eq!(event["type"], "ConsentRemoved");
        assert_eq!(event["evidence"], "taken back of 1 people by ann: bought, not collected");
    };
    eventually("the log", || (!gateway.events("ConsentRemoved").is_empty()).then_some(()));
    told(gateway.events("ConsentRemoved"));
    told(audit(place.path()));
}
