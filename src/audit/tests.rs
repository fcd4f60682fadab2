//! Crashes, faults and rotation of the trail.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;

use super::trail::{BACKLOG_MAX, FILE_MAX};
use super::*;
use crate::mail::{BodyType, ControllerId, Label, Mailbox, QueueId, Recipient, ReversePath, StreamName};
use crate::spool::{
    Batch, Body, Disk, Fault, Faults, Manifest, NoteSink, Operation, Settings, Settlement, Settlements, Spool,
};
use crate::time::{Clock, SystemClock};

fn note(seq: u64) -> Bytes {
    Bytes::from(format!("{{\"note\":{seq},\"fill\":\"{}\"}}", "x".repeat(40)))
}

fn whole(directory: &Path) -> Vec<u64> {
    let mut names: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let text: String = names.iter().map(|name| std::fs::read_to_string(name).unwrap()).collect();
    text.lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(value["seq"], value["note"], "{line}");
            value["seq"].as_u64().unwrap()
        })
        .collect()
}

/// Hands over what the trail lacks of `1..=last`, as the spool does when it is opened.
fn catch_up(trail: &mut Trail, last: u64) {
    for seq in trail.last() + 1..=last {
        trail.append(seq, &note(seq));
    }
    trail.sync().unwrap();
}

#[test]
fn lines_are_appended_once_across_restarts() {
    let directory = TempDir::new().unwrap();
    for last in [3, 3, 5, 9] {
        let mut trail = Trail::open(directory.path()).unwrap();
        catch_up(&mut trail, last);
        assert_eq!(whole(directory.path()), (1..=last).collect::<Vec<_>>());
    }
}

#[test]
fn every_torn_end_is_cut_and_written_again() {
    let written = TempDir::new().unwrap();
    catch_up(&mut Trail::open(written.path()).unwrap(), 4);
    let name = "audit-00000000000000000001.ndjson";
    let bytes = std::fs::read(written.path().join(name)).unwrap();
    for cut in (0..=bytes.len()).step_by(3) {
        for tail in [&b""[..], b"\0\0\0", b"{\"seq\":2}\n", b"rubbish\n"] {
            let torn = TempDir::new().unwrap();
            std::fs::write(torn.path().join(name), [&bytes[..cut], tail].concat()).unwrap();
            let mut trail = Trail::open(torn.path()).unwrap();
            let lines = memchr::memchr_iter(b'\n', &bytes[..cut]).count();
            let expected = u64::try_from(lines).unwrap();
            if lines < 2 && tail.starts_with(b"{") {
                // Here that is a line in its place.
                continue;
            }
            assert_eq!(trail.last(), expected, "cut {cut}, tail {tail:?}");
            catch_up(&mut trail, 6);
            assert_eq!(whole(torn.path()), [1, 2, 3, 4, 5, 6], "cut {cut}, tail {tail:?}");
        }
    }
}

#[test]
fn files_are_rotated_and_the_last_one_with_a_line_counts() {
    let directory = TempDir::new().unwrap();
    let open = || Trail::open_on(Disk::open(directory.path()).unwrap(), 200, BACKLOG_MAX).unwrap();
    let mut trail = open();
    for seq in 1..=20 {
        trail.append(seq, &note(seq));
        trail.write().unwrap();
    }
    let files = std::fs::read_dir(directory.path()).unwrap().count();
    assert!((5..=8).contains(&files), "{files} files");
    std::fs::write(directory.path().join("audit-00000000000000000099.ndjson"), b"").unwrap();
    std::fs::write(directory.path().join("audit-x.ndjson"), b"").unwrap();
    let trail = open();
    assert_eq!(trail.last(), 20);
    assert!(!directory.path().join("audit-00000000000000000099.ndjson").exists());
    assert_eq!(whole(directory.path()), (1..=20).collect::<Vec<_>>());
    assert_eq!(FILE_MAX, 64 * 1024 * 1024);
}

/// Numbers may have no note: what comes first, and what comes behind a file, names them all the same.
#[tokio::test]
async fn a_file_is_named_for_the_lowest_number_that_it_may_hold() {
    let directory = TempDir::new().unwrap();
    let begun = |lowest| {
        let mut trail = Trail::open_on(Disk::open(directory.path()).unwrap(), 50, BACKLOG_MAX).unwrap();
        trail.begin(lowest);
        trail
    };
    let mut trail = begun(2);
    for seq in [4, 9] {
        trail.append(seq, &note(seq));
        trail.sync().unwrap();
    }
    let mut trail = begun(20);
    trail.append(23, &note(23));
    trail.sync().unwrap();
    let named = [2, 5, 10].map(|number| std::ffi::OsString::from(format!("audit-{number:020}.ndjson")));
    assert_eq!(names(directory.path()), named);
    // A spool that was new, and has been opened again before anything happened.
    let base = TempDir::new().unwrap();
    open(base.path()).shutdown().await;
    let spool = open(base.path());
    spool.commit(mail(1)).await.unwrap();
    spool.shutdown().await;
    assert_eq!(names(&base.path().join("audit")), ["audit-00000000000000000001.ndjson"]);
}

/// The n-th operation fails, for every n: what `sync` confirmed is there, nothing is there twice, and the next start
/// completes the rest.
#[test]
fn every_operation_may_fail() {
    for kind in [Fault::Full, Fault::Io, Fault::Short] {
        for n in 1.. {
            let directory = TempDir::new().unwrap();
            let faults = Arc::<Faults>::default();
            let disk = Disk::open(directory.path()).unwrap().with_faults(Arc::clone(&faults));
            let mut trail = Trail::open_on(disk, 150, BACKLOG_MAX).unwrap();
            faults.arm(kind, n, n + 1);
            let mut confirmed = 0;
            for seq in 1..=6 {
                trail.append(seq, &note(seq));
                let _later = trail.write();
                if trail.sync().is_ok() {
                    confirmed = seq;
                }
            }
            let hit = faults.count() >= n;
            faults.disarm();
            drop(trail);
            let mut trail = Trail::open(directory.path()).unwrap();
            assert!(trail.last() >= confirmed, "{kind:?} {n}: confirmed {confirmed}, found {}", trail.last());
            catch_up(&mut trail, 6);
            assert_eq!(whole(directory.path()), [1, 2, 3, 4, 5, 6], "{kind:?} {n}");
            if !hit {
                assert!(n > 10, "only {n} operations");
                break;
            }
        }
    }
}

#[test]
fn a_backlog_beyond_its_bound_stops_the_trail_until_the_next_start() {
    for (octets, stops) in [(300, false), (299, true)] {
        let directory = TempDir::new().unwrap();
        let faults = Arc::<Faults>::default();
        let disk = Disk::open(directory.path()).unwrap().with_faults(Arc::clone(&faults));
        let mut trail = Trail::open_on(disk, FILE_MAX, octets).unwrap();
        faults.only(Operation::Write);
        faults.arm(Fault::Full, 1, u64::MAX);
        let mut line = Vec::new();
        line::put(&mut line, 1, &note(1));
        let pad = Bytes::from(format!("{{\"fill\":\"{}\"}}", "x".repeat(300 - line.len() - 20)));
        trail.append(1, &note(1));
        trail.append(2, &pad);
        faults.disarm();
        assert_eq!(trail.sync().is_err(), stops, "{octets}");
        drop(trail);
        assert_eq!(Trail::open(directory.path()).unwrap().last(), if stops { 0 } else { 2 });
    }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn names(directory: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

/// What a crash leaves of a spool and its trail. The copy of the spool is of one moment: no file came or went.
fn crash(base: &Path) -> TempDir {
    loop {
        let left = TempDir::new().unwrap();
        let before = names(&base.join("spool"));
        let copied = copy(&base.join("spool"), &left.path().join("spool"));
        if copied.is_ok() && names(&base.join("spool")) == before {
            copy(&base.join("audit"), &left.path().join("audit")).unwrap();
            return left;
        }
    }
}

fn open(base: &Path) -> Spool {
    let trail = Trail::open(&base.join("audit")).unwrap();
    let mut settings = Settings::new(base.join("spool"));
    settings.min_free = 0;
    Spool::open(settings, Arc::new(SystemClock), Box::new(trail)).unwrap().0
}

fn said(base: &Path) -> Vec<u64> {
    let mut said = Vec::new();
    for name in names(&base.join("audit")) {
        for line in std::fs::read_to_string(base.join("audit").join(name)).unwrap().lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            said.push(value["said"].as_u64().unwrap());
        }
    }
    said.sort_unstable();
    said
}

fn mail(id: u64) -> Batch {
    let now = SystemClock.now();
    let label = Label {
        stream: StreamName::new("s").unwrap(),
        controller: ControllerId::new("c").unwrap(),
        list: None,
        campaign: None,
    };
    let manifest = Manifest {
        reverse_path: ReversePath::Null,
        label,
        body_type: BodyType::SevenBit,
        smtputf8: false,
        reporting: crate::mail::Reporting::default(),
        received: now,
        expires: now,
    };
    let to = Recipient::new(Mailbox::parse("a@b.example").unwrap());
    let mut batch = Batch::notice(
        QueueId::from_u64(id),
        to,
        Bytes::new(),
        manifest,
        Body::Memory(Bytes::from(vec![b'x'; 200_000])),
    );
    batch.note(Bytes::from(format!("{{\"said\":{id}}}")));
    batch
}

/// Every note of a commit or settlement that was answered is in the trail once, after a crash at every step, through
/// several segments that come and go.
#[tokio::test]
async fn no_committed_note_is_lost_or_doubled_by_a_crash() {
    let base = TempDir::new().unwrap();
    let spool = open(base.path());
    let mut expected = Vec::new();
    for id in 1..=400 {
        spool.commit(mail(id)).await.unwrap();
        expected.push(id);
        let lease = spool.lease(1).await.pop().unwrap();
        let notes = vec![Bytes::from(format!("{{\"said\":{}}}", 1000 + id))];
        let outcomes = vec![(lease.pending()[0].0, Settlement::Delivered)];
        lease.settle(Settlements { outcomes, notes, follow_up: None }).await.unwrap();
        expected.push(1000 + id);
        if id % 40 == 0 {
            expected.sort_unstable();
            let left = crash(base.path());
            let again = open(left.path());
            again.commit(mail(500)).await.unwrap();
            again.shutdown().await;
            let mut more = expected.clone();
            more.push(500);
            more.sort_unstable();
            assert_eq!(said(left.path()), more, "after {id}");
        }
    }
    spool.shutdown().await;
    assert!(!base.path().join("spool/seg-0000000000000001.log").exists(), "no segment was given back");
    assert_eq!(said(base.path()), expected);
}

/// The trail lost all it had not fsynced, and more: what is still in the spool is handed over again.
#[tokio::test]
async fn a_trail_that_fell_behind_catches_up_from_the_spool() {
    let base = TempDir::new().unwrap();
    let spool = open(base.path());
    for id in 1..=5 {
        spool.commit(mail(id)).await.unwrap();
    }
    spool.shutdown().await;
    let file = base.path().join("audit/audit-00000000000000000001.ndjson");
    let whole = std::fs::read(&file).unwrap();
    for cut in (0..whole.len()).step_by(5) {
        let left = crash(base.path());
        let torn = left.path().join("audit/audit-00000000000000000001.ndjson");
        std::fs::write(&torn, &whole[..cut]).unwrap();
        let again = open(left.path());
        again.shutdown().await;
        assert_eq!(std::fs::read(torn).unwrap(), whole, "cut {cut}");
    }
}
