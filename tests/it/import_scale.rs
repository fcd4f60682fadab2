//! Imports of many rows with the real binary: killed in the middle, gone on with, taken back, and while mail flows.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::gateway::{audit, command};
use crate::support::{Client, Gateway, Spec, Upstream};

const MESSAGE: &[u8] = b"From: News <news@acme.example>\r\nSubject: hello\r\n\r\nHello\r\n";
/// Rows of each file: some chunks, so that a kill lands between two of them.
const ROWS: usize = 5000;

/// Rows of the file that is killed in the middle; `CONSENTRY_IMPORT=ROWS` asks for figures of more.
fn rows() -> usize {
    std::env::var("CONSENTRY_IMPORT").map_or(ROWS, |text| text.parse().expect("CONSENTRY_IMPORT=ROWS"))
}

/// Rows that are put in order at once: the file has three windows, and a window has two chunks.
const WINDOW: usize = 2000;

/// The arguments that import a file: in windows of the usual size when figures are asked for.
fn import<'a>(file: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let window: &[&str] = if rows() > ROWS { &[] } else { &["--window", "2000"] };
    [&["suppress", "import", file], window, more].concat()
}

/// What a journal takes for a row, at least.
const OCTETS_A_ROW: usize = 50;

/// A file of one service's export with `rows` rows.
fn export(folder: &Path, service: Service, rows: usize) -> PathBuf {
    let (name, mut text) = match service {
        Service::SendgridBounces => ("bounces.csv", "status,reason,email,created\n".to_owned()),
        Service::MailgunUnsubscribes => ("unsubscribes.csv", "address,tags,created_at\n".to_owned()),
        Service::MailchimpUnsubscribed => ("export.zip", "Email Address,LEID,EUID,UNSUB_TIME\n".to_owned()),
    };
    for row in 0..rows {
        match service {
            Service::SendgridBounces => {
                writeln!(text, "5.1.1,550 5.1.1 unknown user,b{row}@x{}.example,1795482123", row % 97)
            }
            Service::MailgunUnsubscribes => {
                writeln!(text, "u{row}@y{}.example,*,\"Tue, 24 Nov 2026 01:02:03 GMT\"", row % 97)
            }
            Service::MailchimpUnsubscribed => {
                writeln!(text, "m{row}@z{}.example,{row},e{row},2026-11-24 01:02:03", row % 97)
            }
        }
        .unwrap();
    }
    let path = folder.join(name);
    match service {
        Service::SendgridBounces | Service::MailgunUnsubscribes => std::fs::write(&path, text).unwrap(),
        Service::MailchimpUnsubscribed => {
            let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
            zip.start_file("unsubscribed.csv", zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
            zip.finish().unwrap();
        }
    }
    path
}

#[derive(Clone, Copy, Debug)]
enum Service {
    SendgridBounces,
    MailgunUnsubscribes,
    MailchimpUnsubscribed,
}

const SERVICES: [Service; 3] = [Service::SendgridBounces, Service::MailgunUnsubscribes, Service::MailchimpUnsubscribed];

fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(folder).args(arguments).output().unwrap()
}

fn done(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// The id on the first line.
fn id(said: &str) -> String {
    said.lines().next().and_then(|line| line.strip_prefix("import ")).unwrap_or_else(|| panic!("{said}")).to_owned()
}

fn journal(folder: &Path) -> PathBuf {
    let found: Vec<_> = std::fs::read_dir(folder.join("imports"))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "ndjson"))
        .collect();
    found.into_iter().max().unwrap_or_default()
}

/// Runs a command to its end, and tells how fast it went through the rows and how much memory it ever had.
fn measured(folder: &Path, arguments: &[&str], what: &str) -> String {
    let start = Instant::now();
    let mut child = command(folder).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = String::new();
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).map_or(peak, |line| line.trim().to_owned());
        std::thread::sleep(Duration::from_millis(20));
    }
    let took = start.elapsed();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{arguments:?}: {said}");
    let rate = u128::try_from(rows()).unwrap() * 1000 / took.as_millis().max(1);
    println!("{what}: {} rows in {took:.1?}, {rate} a second, {peak} resident at most", rows());
    said
}

/// Begins an import and kills it when its journal says that half of the rows are in.
fn begin_and_kill(folder: &Path, file: &str) {
    let mut child = command(folder).args(import(file, &[])).stdout(Stdio::null()).spawn().unwrap();
    let half = u64::try_from(rows() / 2 * OCTETS_A_ROW).unwrap();
    while std::fs::metadata(journal(folder)).map_or(0, |journal| journal.len()) < half {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_import_that_was_killed_goes_on_and_is_taken_back_exactly() {
    for service in SERVICES {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        Gateway::configure(folder, &Spec::new(Upstream::start().address));
        // Some were there before, one of them with other words, and one for a whole domain.
        for known in ["b7@x7.example", "u7@y7.example", "m7@z7.example"] {
            done(folder, &["suppress", "add", known, "--reason", "unsubscribe", "--evidence", "by letter"]);
            done(folder, &["suppress", "add", known, "--reason", "hard_bounce", "--expires", "2030-01-01"]);
        }
        done(folder, &["suppress", "add", "@x3.example"]);
        let before = done(folder, &["suppress", "export"]);
        let rows = rows();
        let file = export(folder, service, rows);
        let file = file.to_str().unwrap();
        begin_and_kill(folder, file);
        // A crash may also cut the line behind an intent, which is not synced.
        let path = journal(folder);
        let text = std::fs::read_to_string(&path).unwrap();
        let last = text.trim_end().rfind('\n').unwrap() + 1;
        if text[last..].starts_with("{\"done\"") {
            std::fs::write(&path, &text[..last + 20]).unwrap();
        }
        let refused = run(folder, &["suppress", "import", file]);
        assert_eq!(refused.status.code(), Some(64), "{}", String::from_utf8_lossy(&refused.stderr));
        assert!(String::from_utf8_lossy(&refused.stderr).contains("--resume"));
        let other = run(folder, &["suppress", "import", file, "--resume", "--scope", "controller:acme"]);
        assert_eq!(other.status.code(), Some(64));
        let said = done(folder, &import(file, &["--resume"]));
        let behind = said.lines().find_map(|line| line.strip_prefix("goes on behind row ")).unwrap();
        let behind: usize = behind.parse().unwrap();
        // With the usual window half of the rows may be less than one of it.
        assert!(rows != ROWS || (behind > 0 && behind.is_multiple_of(WINDOW)), "where a window begins: {said}");
        assert!(said.contains(&format!("{} new, ", rows - 1)), "{said}");
        let lines = done(folder, &["suppress", "export"]).lines().count();
        assert_eq!(lines, before.lines().count() + rows - 1);
        let id = id(&said);
        assert!(done(folder, &["suppress", "imports"]).contains("finished"));
        assert!(!std::fs::read_to_string(&path).unwrap().contains('@'), "a journal names nobody");
        let without_reason = run(folder, &["suppress", "undo", &id]);
        assert_eq!(without_reason.status.code(), Some(64));
        assert_eq!(run(folder, &["suppress", "undo", &id, "--dry-run"]).status.code(), Some(1));
        let undone = measured(folder, &["suppress", "undo", &id, "--because", "wrong list"], "taken back");
        assert!(undone.contains(&format!("{} removed, 0 stay", rows - 1)), "{undone}");
        let after = done(folder, &["suppress", "export"]);
        match service {
            // The bounce without an end prolonged the one that had one, and that is said rather than taken back.
            Service::SendgridBounces => {
                assert!(undone.contains("stays as this import changed it"), "{undone}");
                assert_eq!(after.lines().count(), before.lines().count());
            }
            Service::MailgunUnsubscribes | Service::MailchimpUnsubscribed => assert_eq!(after, before),
        }
        assert_eq!(run(folder, &["suppress", "undo", &id, "--because", "again"]).status.code(), Some(1));
        if rows > ROWS {
            measured(folder, &["suppress", "import", file], &format!("{service:?}"));
        }
    }
}

#[test]
fn an_import_beside_mail_stops_people_from_its_first_chunk_and_what_they_said_since_stays() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    let submit = |to: &str| {
        let (rcpt, end) = Client::connect(gateway.smtp).message("b@acme.example", &[to], MESSAGE);
        end.unwrap_or_else(|| rcpt[0].clone())
    };
    let file = export(folder.path(), Service::MailgunUnsubscribes, ROWS);
    let mut child = command(folder.path())
        .args(["suppress", "import", file.to_str().unwrap()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut sent = 0;
    while child.try_wait().unwrap().is_none() {
        assert!(submit(&format!("free{sent}@free.example")).starts_with("250"), "mail waits for an import");
        sent += 1;
    }
    println!("{sent} messages were accepted while the import ran");
    let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(submit("u0@y0.example").starts_with("550"));
    // One of them says so in person now, and the list is taken back.
    done(folder.path(), &["suppress", "add", "u1@y1.example", "--reason", "unsubscribe", "--evidence", "on the phone"]);
    let id = id(&said);
    let undone = done(folder.path(), &["suppress", "undo", &id, "--because", "wrong list"]);
    assert!(undone.contains(&format!("{} removed, 1 stay", ROWS - 1)), "{undone}");
    assert!(submit("u0@y0.example").starts_with("250"));
    assert!(submit("u1@y1.example").starts_with("550"));
    let records: Vec<_> =
        audit(folder.path()).into_iter().filter(|record| record["queue"] == format!("import:{id}")).collect();
    assert_eq!(records.len(), 1, "{records:?}");
    assert!(records[0]["evidence"].as_str().unwrap().contains("wrong list"));
}

#[test]
fn a_list_that_a_later_one_relies_on_is_taken_back_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    Gateway::configure(folder, &Spec::new(Upstream::start().address));
    let file = export(folder, Service::MailchimpUnsubscribed, 20);
    let file = file.to_str().unwrap();
    let first = id(&done(folder, &["suppress", "import", file]));
    assert!(
        done(folder, &["suppress", "import", file, "--dry-run"])
            .contains("0 would be new, 0 upgraded, 20 already there")
    );
    assert!(
        done(folder, &["suppress", "import", file, "--dry-run", "--scope", "controller:acme"])
            .contains("20 would be new")
    );
    let second = id(&done(folder, &["suppress", "import", file]));
    let refused = run(folder, &["suppress", "undo", &first, "--because", "x"]);
    assert_eq!(refused.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&refused.stderr).contains(&second));
    for id in [&second, &first] {
        done(folder, &["suppress", "undo", id, "--because", "x"]);
    }
    assert_eq!(done(folder, &["suppress", "export"]), "");
}
