//! The file: what is refused waits in its order, nothing is thrown away at the bounds, and the command line has its say.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bytes::Bytes;

use super::ledger::{Advance, Burial, DEAD_MAX, PARKED_MAX, Parking};
use super::*;
use crate::events::{Event, Position};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn hook() -> HookName {
    HookName::new("crm").unwrap()
}

fn at(seq: u64) -> Position {
    seq.to_string().parse().unwrap()
}

fn open(folder: &tempfile::TempDir) -> Ledger {
    let ledger = Ledger::open(&folder.path().join("webhooks.db")).unwrap();
    ledger.enter(&hook(), || Ok(at(7))).unwrap();
    ledger
}

/// An event of a subject, to be tried at a time.
fn parking(seq: u64, subject: &str, attempts: u32, next: Timestamp) -> Parking {
    let line = Bytes::from(format!("{{\"seq\":{seq}}}"));
    Parking { event: Event { seq, subject: subject.to_owned(), line, next: at(seq) }, attempts, since: NOW, next }
}

fn park(ledger: &Ledger, to: u64, parking: &[Parking]) {
    assert_eq!(ledger.advance(&hook(), at(to), parking).unwrap(), Advance::Done);
}

fn due(ledger: &Ledger, now: Timestamp) -> (Vec<u64>, Option<Timestamp>) {
    let due = ledger.due(&hook(), now, 10).unwrap();
    (due.heads.iter().map(|parked| parked.seq).collect(), due.next)
}

#[test]
fn a_new_hook_begins_where_it_is_told_and_goes_on_from_there() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(&folder);
    park(&ledger, 12, &[]);
    drop(ledger);
    let state = open(&folder).enter(&hook(), || unreachable!("it is known")).unwrap();
    assert_eq!((state.position, state.is_paused, state.has_trouble), (at(12), false, false));
}

#[test]
fn only_the_first_of_a_subject_is_tried_and_the_next_one_when_it_is_through() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(&folder);
    let (start, later) = (Timestamp::from_millis(0), NOW.plus(Duration::from_secs(5)));
    park(&ledger, 10, &[parking(8, "ann", 1, later), parking(9, "ann", 0, start), parking(10, "eve", 1, NOW)]);
    assert_eq!(due(&ledger, NOW), (vec![10], Some(later)), "9 waits behind 8");
    let subjects = ["ann", "ben", "eve"].map(str::to_owned);
    let waiting = ledger.waiting(&hook(), &subjects).unwrap();
    assert!(waiting.blocked.contains("ann") && waiting.blocked.contains("eve") && waiting.blocked.len() == 2);
    assert_eq!(waiting.room, PARKED_MAX - 3);
    ledger.delivered(&hook(), 10).unwrap();
    assert_eq!(due(&ledger, later), (vec![8], None));
    ledger.put_off(&hook(), 8, 2, later.plus(Duration::from_secs(1))).unwrap();
    assert_eq!(due(&ledger, later).0, [0; 0]);
    ledger.delivered(&hook(), 8).unwrap();
    assert_eq!(due(&ledger, later).0, [9]);
    ledger.delivered(&hook(), 9).unwrap();
    assert!(ledger.waiting(&hook(), &subjects).unwrap().blocked.is_empty());
}

#[test]
fn a_dead_letter_that_is_replayed_goes_in_front_of_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(&folder);
    let later = NOW.plus(Duration::from_secs(5));
    park(&ledger, 10, &[parking(8, "ann", 1, NOW), parking(9, "ann", 0, NOW), parking(10, "eve", 1, later)]);
    assert_eq!(ledger.bury(&hook(), 8, "HTTP 500", NOW).unwrap(), Burial::Done);
    assert_eq!(due(&ledger, NOW).0, [9], "whoever waited behind it is tried");
    let dead = ledger.dead(&hook()).unwrap();
    assert_eq!(
        dead,
        [Dead { seq: 8, line: Bytes::from_static(b"{\"seq\":8}"), died: NOW, why: "HTTP 500".to_owned() }]
    );
    let standing = ledger.standings().unwrap().remove(0);
    assert_eq!((standing.parked, standing.subjects, standing.dead), (2, 2, 1));
    assert_eq!(ledger.replay(&hook(), Some(99), NOW).unwrap(), 0);
    assert_eq!(ledger.replay(&hook(), Some(8), NOW).unwrap(), 1);
    assert_eq!((due(&ledger, NOW).0, ledger.dead(&hook()).unwrap().len()), (vec![8], 0));
    ledger.bury(&hook(), 8, "HTTP 500", NOW).unwrap();
    assert_eq!(ledger.replay(&hook(), None, NOW).unwrap(), 1);
}

#[test]
fn nothing_is_thrown_away_at_the_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(&folder);
    let many: Vec<_> = (1..PARKED_MAX).map(|seq| parking(seq, "ann", 0, NOW)).collect();
    park(&ledger, 20_000, &many);
    let two = [parking(30_001, "eve", 0, NOW), parking(30_002, "eve", 0, NOW)];
    assert_eq!(ledger.advance(&hook(), at(30_002), &two).unwrap(), Advance::NoRoom);
    assert_eq!(ledger.enter(&hook(), || unreachable!()).unwrap().position, at(20_000), "it stays where it is");
    park(&ledger, 30_001, &two[..1]);
    assert_eq!(ledger.waiting(&hook(), &[]).unwrap().room, 0);
    let beside = rusqlite::Connection::open(folder.path().join("webhooks.db")).unwrap();
    beside
        .execute_batch(
            "BEGIN; INSERT INTO dead SELECT hook, seq, subject, line, since, 'HTTP 500' FROM parked WHERE subject = 'ann'; \
             DELETE FROM parked WHERE subject = 'ann'; COMMIT;",
        )
        .unwrap();
    park(&ledger, 30_003, &[parking(30_002, "eve", 0, NOW)]);
    assert_eq!(ledger.bury(&hook(), 30_001, "HTTP 500", NOW).unwrap(), Burial::Done);
    assert_eq!(ledger.dead(&hook()).unwrap().len() as u64, DEAD_MAX);
    assert_eq!(ledger.bury(&hook(), 30_002, "HTTP 500", NOW).unwrap(), Burial::NoRoom);
    assert_eq!(due(&ledger, NOW).0, [30_002], "it waits on");
    assert_eq!(ledger.replay(&hook(), None, NOW).unwrap(), PARKED_MAX - 1, "as many as there is room for");
    assert_eq!(ledger.dead(&hook()).unwrap().len(), 1);
}

#[test]
fn somebody_beside_the_daemon_resumes_a_hook_and_forgets_one() {
    let folder = tempfile::tempdir().unwrap();
    let (daemon, beside) = (open(&folder), open(&folder));
    park(&daemon, 8, &[parking(8, "ann", 3, NOW)]);
    daemon.pause(&hook(), "HTTP 410").unwrap();
    daemon.trouble(&hook(), Some("HTTP 500")).unwrap();
    let state = daemon.enter(&hook(), || unreachable!()).unwrap();
    assert!(state.is_paused && state.has_trouble);
    let standing = beside.standings().unwrap().remove(0);
    assert_eq!((standing.paused.as_deref(), standing.trouble.as_deref()), (Some("HTTP 410"), Some("HTTP 500")));
    assert!(beside.resume(&hook()).unwrap() && !beside.resume(&HookName::new("x").unwrap()).unwrap());
    let state = daemon.enter(&hook(), || unreachable!()).unwrap();
    assert!(!state.is_paused && !state.has_trouble);
    assert_eq!(due(&daemon, Timestamp::from_millis(0)).0, [8], "what waits is tried at once");
    assert!(beside.forget(&hook()).unwrap() && !beside.forget(&hook()).unwrap());
    assert_eq!((daemon.standings().unwrap().len(), due(&daemon, NOW).0.len()), (0, 0));
}

#[test]
fn a_file_that_is_not_ours_is_named_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("webhooks.db");
    drop(Ledger::open(&path).unwrap());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "others could read it");
    rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 2;").unwrap();
    let refused = |path: &Path| Ledger::open(path).unwrap_err().to_string();
    assert!(refused(&path).contains("webhooks.db") && refused(&path).contains("version 1"), "{}", refused(&path));
    std::fs::write(&path, "this is no database, but long enough to look at it as one".repeat(20)).unwrap();
    assert!(refused(&path).contains("move it away"), "{}", refused(&path));
}
