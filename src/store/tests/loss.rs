//! Everything that can be lost, and that it is noticed: an error, never "nobody objected".

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn try_open(folder: &Path) -> Result<Store, StoreError> {
    Store::open(&settings(folder), Opening::Whole, now())
}

/// A folder with a closed store of one entry for each of `addresses`.
fn closed(addresses: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for address in addresses {
        store.blocking_add(&new(address, Cause::Unsubscribe)).unwrap();
    }
    folder
}

fn copy(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[test]
fn a_missing_database_is_not_an_empty_one() {
    let folder = closed(&["v@x.example"]);
    fs::remove_file(folder.path().join("store.db")).unwrap();
    assert!(matches!(try_open(folder.path()), Err(StoreError::Missing { .. })));
    assert!(!folder.path().join("store.db").exists());
    fs::remove_file(folder.path().join("store.mark")).unwrap();
    assert!(facts(&open(folder.path()), "v@x.example").is_empty(), "beginning anew is the operator's to choose");
}

#[test]
fn an_older_copy_is_refused_until_the_operator_gives_in() {
    let folder = closed(&["a@x.example"]);
    let backup = tempfile::tempdir().unwrap();
    copy(folder.path(), backup.path());
    open(folder.path()).blocking_add(&new("b@x.example", Cause::Unsubscribe)).unwrap();
    fs::copy(backup.path().join("store.db"), folder.path().join("store.db")).unwrap();
    assert!(matches!(try_open(folder.path()), Err(StoreError::Older { found: 1, acknowledged: 2, .. })));
    fs::remove_file(folder.path().join("store.mark")).unwrap();
    assert!(facts(&open(folder.path()), "b@x.example").is_empty());
    drop(open(folder.path()));
}

#[test]
fn a_log_that_was_left_behind_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.blocking_add(&new("v@x.example", Cause::Unsubscribe)).unwrap();
    let copied = tempfile::tempdir().unwrap();
    copy(folder.path(), copied.path());
    fs::remove_file(copied.path().join("store.db-wal")).unwrap();
    fs::remove_file(copied.path().join("store.db-shm")).unwrap();
    assert!(matches!(try_open(copied.path()), Err(StoreError::Older { .. })));
}

#[test]
fn a_kill_at_any_moment_leaves_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for round in 0..5 {
        let address = format!("v{round}@x.example");
        store.blocking_add(&new(&address, Cause::Unsubscribe)).unwrap();
        let killed = tempfile::tempdir().unwrap();
        copy(folder.path(), killed.path());
        let after = open(killed.path());
        assert_eq!(facts(&after, &address).len(), 1);
    }
}

#[test]
fn a_crash_between_commit_and_mark_is_healed_at_opening() {
    let folder = closed(&["a@x.example"]);
    let mark = folder.path().join("store.mark");
    let behind = fs::read(&mark).unwrap();
    open(folder.path()).blocking_add(&new("b@x.example", Cause::Unsubscribe)).unwrap();
    let ahead = fs::read(&mark).unwrap();
    fs::write(&mark, &behind).unwrap();
    drop(open(folder.path()));
    assert_eq!(fs::read(&mark).unwrap(), ahead);
}

#[test]
fn another_store_is_not_ours() {
    let (ours, theirs) = (closed(&["a@x.example"]), closed(&["b@x.example", "c@x.example"]));
    fs::copy(theirs.path().join("store.db"), ours.path().join("store.db")).unwrap();
    assert!(matches!(try_open(ours.path()), Err(StoreError::KeyWrong { .. })));
    fs::copy(theirs.path().join("store.key"), ours.path().join("store.key")).unwrap();
    assert!(matches!(try_open(ours.path()), Err(StoreError::Foreign { .. })));
}

#[test]
fn a_lost_or_changed_key_is_noticed() {
    let folder = closed(&["a@x.example"]);
    let key = folder.path().join("store.key");
    fs::write(&key, "0".repeat(64)).unwrap();
    assert!(matches!(try_open(folder.path()), Err(StoreError::KeyWrong { .. })));
    fs::remove_file(&key).unwrap();
    assert!(matches!(try_open(folder.path()), Err(StoreError::KeyMissing { .. })));
    assert!(!key.exists(), "a new key would make every entry unfindable");
}

#[test]
fn what_is_not_a_store_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    for content in [Vec::new(), b"SQLite format 3\0".to_vec(), vec![0; 4096], b"text".repeat(200)] {
        fs::write(&path, &content).unwrap();
        fs::write(folder.path().join("store.key"), "0".repeat(64)).unwrap();
        fs::set_permissions(folder.path().join("store.key"), fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(try_open(folder.path()), Err(StoreError::Damaged { .. })));
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    fs::remove_file(&path).unwrap();
    let foreign = rusqlite::Connection::open(&path).unwrap();
    foreign.execute_batch("CREATE TABLE t (x)").unwrap();
    drop(foreign);
    assert!(matches!(try_open(folder.path()), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_newer_schema_is_refused_untouched() {
    let folder = closed(&["a@x.example"]);
    let path = folder.path().join("store.db");
    let mut octets = fs::read(&path).unwrap();
    octets[60..64].copy_from_slice(&3_u32.to_be_bytes());
    fs::write(&path, &octets).unwrap();
    assert!(matches!(try_open(folder.path()), Err(StoreError::Newer { found: 3, known: 2, .. })));
    assert_eq!(fs::read(&path).unwrap(), octets);
    assert!(!folder.path().join("store.db-wal").exists());
}

#[test]
fn a_database_cut_at_any_page_is_refused() {
    let folder = closed(&["a@x.example"]);
    let path = folder.path().join("store.db");
    let whole = fs::read(&path).unwrap();
    for len in (0..whole.len()).step_by(1024) {
        fs::write(&path, &whole[..len]).unwrap();
        let error = try_open(folder.path()).err();
        assert!(matches!(error, Some(StoreError::Damaged { .. })), "{len}: {error:?}");
    }
}

#[test]
fn no_flipped_bit_makes_a_suppressed_person_unknown() {
    let addresses: Vec<String> = (0..8).map(|n| format!("person{n}@x.example")).collect();
    let folder = closed(&addresses.iter().map(String::as_str).collect::<Vec<_>>());
    let path = folder.path().join("store.db");
    let whole = fs::read(&path).unwrap();
    let used: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    let mut refused = 0;
    for at in used.into_iter().step_by(7) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&path, &flipped).unwrap();
        for left in ["store.db-wal", "store.db-shm"] {
            drop(fs::remove_file(folder.path().join(left)));
        }
        let Ok(store) = try_open(folder.path()) else {
            refused += 1;
            continue;
        };
        for address in &addresses {
            let mailbox = mailbox(address);
            match store.blocking_evidence(&[&mailbox]) {
                Ok(facts) => assert_eq!(facts[0].len(), 1, "octet {at}: {address} was forgotten"),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 0, "no damage was noticed at all");
}

#[test]
fn a_row_changed_behind_our_back_closes_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.blocking_add(&new("v@x.example", Cause::Unsubscribe)).unwrap();
    let stranger = rusqlite::Connection::open(folder.path().join("store.db")).unwrap();
    stranger.execute("UPDATE suppressions SET cause = 'hard_bounce'", []).unwrap();
    assert!(matches!(store.blocking_evidence(&[&mailbox("v@x.example")]), Err(StoreError::Latched { .. })));
    assert!(store.blocking_evidence(&[&mailbox("other@x.example")]).is_err(), "what else changed is unknown");
    drop(store);
    assert!(matches!(try_open(folder.path()), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_lost_row_is_counted() {
    let folder = closed(&["a@x.example", "b@x.example"]);
    let stranger = rusqlite::Connection::open(folder.path().join("store.db")).unwrap();
    stranger.execute("DELETE FROM suppressions WHERE seq = 1", []).unwrap();
    drop(stranger);
    assert!(matches!(try_open(folder.path()), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_database_removed_or_replaced_while_open_closes_the_store() {
    for replace in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        store.blocking_add(&new("v@x.example", Cause::Unsubscribe)).unwrap();
        let path = folder.path().join("store.db");
        let octets = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        if replace {
            fs::write(&path, octets).unwrap();
        }
        let question = store.blocking_evidence(&[&mailbox("v@x.example")]);
        assert!(matches!(question, Err(StoreError::Latched { .. })));
        assert!(store.blocking_add(&new("w@x.example", Cause::Unsubscribe)).is_err());
        assert!(store.list(&Selection::default(), Cursor::default(), 1).is_err());
        assert!(store.blocking_probe().unwrap_err().is_transient());
    }
}

#[test]
fn a_log_removed_while_open_is_noticed_by_the_probe() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.blocking_probe().unwrap();
    fs::remove_file(folder.path().join("store.db-wal")).unwrap();
    assert!(matches!(store.blocking_probe(), Err(StoreError::Latched { .. })));
    assert!(store.blocking_evidence(&[&mailbox("v@x.example")]).is_err());
}

#[test]
fn a_change_that_was_refused_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.blocking_add(&new("v@x.example", Cause::Complaint)).unwrap();
    let before = fs::read(folder.path().join("store.mark")).unwrap();
    assert!(store.blocking_remove(&removal("v@x.example", None)).is_err());
    assert_eq!(store.stats().unwrap().changes, 1);
    assert_eq!(fs::read(folder.path().join("store.mark")).unwrap(), before);
}

#[test]
fn two_processes_that_open_an_absent_store_make_one() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        let openers: Vec<_> = (0..4).map(|_| scope.spawn(|| open(folder.path()).stats().unwrap().store)).collect();
        let names: std::collections::BTreeSet<_> = openers.into_iter().map(|t| t.join().unwrap()).collect();
        assert_eq!(names.len(), 1);
    });
}

/// A store as the first release wrote it. This copy is never changed: every later release must open it.
pub(super) fn first_release(folder: &Path) {
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store/v1"), folder);
    // Version control does not keep the private mode of the key.
    fs::set_permissions(folder.join("store.key"), fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn the_store_of_the_first_release_opens_forever() {
    let folder = tempfile::tempdir().unwrap();
    first_release(folder.path());
    let store = open(folder.path());
    assert_eq!(store.stats().unwrap().changes, 6);
    assert_eq!(facts(&store, "Victim+x@example.com").len(), 1);
    assert_eq!(facts(&store, "vic.tim@gmail.com")[0].scope.to_string(), "list:acme/news");
    assert_eq!(facts(&store, "any@sub.firm.example")[0].cause, Cause::LegalObjection);
    assert_eq!(facts(&store, "ＲＥＮÉ@bücher.example")[0].expires, Some(Timestamp::from_secs(1_900_000_000)));
    assert!(facts(&store, "removed@example.com").is_empty());
}
