//! The list on disk: what is promised stays, what is done with goes, and it does not grow past its bounds.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const URL: &str = "https://tool.example/leave?who=ann";

fn settings() -> Settings {
    let hosts = HashMap::from([(stream(), vec![AllowedHost::parse("tool.example").unwrap()])]);
    Settings { hosts, kept: Duration::from_hours(24), ..Settings::default() }
}

fn stream() -> StreamName {
    StreamName::new("news").unwrap()
}

fn id(number: u64) -> QueueId {
    QueueId::from_u64(number)
}

fn open(folder: &tempfile::TempDir, settings: Settings) -> Tools {
    Tools::open(&folder.path().join("tools.db"), Arc::new(ArcSwap::from_pointee(settings))).unwrap()
}

async fn keep(tools: &Tools, number: u64) {
    tools.keep(&stream(), id(number), URL, NOW).await.unwrap();
}

/// The messages whose tools are due at `now`; they are left alone for a minute then.
async fn due(tools: &Tools, now: Timestamp) -> Vec<u64> {
    let due = tools.ledger.lease(now, now.plus(Duration::from_mins(1)), 100).await.unwrap();
    due.notices.iter().map(|notice| notice.message.as_u64()).collect()
}

#[tokio::test]
async fn a_tool_is_told_of_a_message_once_and_only_after_an_opt_out() {
    let folder = tempfile::tempdir().unwrap();
    let tools = open(&folder, settings());
    keep(&tools, 1).await;
    keep(&tools, 2).await;
    assert!(due(&tools, NOW).await.is_empty(), "before anybody left");
    tools.opted_out(id(1), NOW).await.unwrap();
    tools.opted_out(id(1), NOW).await.unwrap();
    tools.opted_out(id(3), NOW).await.unwrap();
    drop(tools);
    let tools = open(&folder, settings());
    let found = tools.ledger.lease(NOW, NOW.plus(Duration::from_mins(1)), 100).await.unwrap();
    let [notice] = found.notices.as_slice() else { panic!("{found:?}") };
    assert_eq!((notice.message, &notice.stream, notice.url.as_str(), notice.attempts), (id(1), &stream(), URL, 0));
    assert!(!format!("{notice:?}").contains("ann"));
    tools.ledger.settle(id(1)).await.unwrap();
    tools.opted_out(id(1), NOW).await.unwrap();
    assert!(due(&tools, NOW.plus(Duration::from_hours(1))).await.is_empty(), "told a second time");
}

#[tokio::test]
async fn a_notice_is_left_alone_while_it_is_called_and_until_its_next_time() {
    let folder = tempfile::tempdir().unwrap();
    let tools = open(&folder, settings());
    keep(&tools, 1).await;
    tools.opted_out(id(1), NOW).await.unwrap();
    assert_eq!(due(&tools, NOW).await, [1]);
    let (minute, millisecond) = (Duration::from_mins(1), Duration::from_millis(1));
    assert!(due(&tools, NOW.plus(minute.checked_sub(millisecond).unwrap())).await.is_empty());
    assert_eq!(due(&tools, NOW.plus(minute)).await, [1]);
    let later = NOW.plus(Duration::from_hours(1));
    tools.ledger.put_off(id(1), 7, later).await.unwrap();
    let early = tools.ledger.lease(NOW.plus(minute), NOW, 100).await.unwrap();
    assert_eq!((early.notices.len(), early.next), (0, Some(later)));
    let at = tools.ledger.lease(later, later.plus(minute), 100).await.unwrap();
    assert_eq!(at.notices.first().unwrap().attempts, 7);
    drop(tools);
    assert_eq!(due(&open(&folder, settings()), NOW).await, [1], "a call that a crash cut off");
}

#[tokio::test]
async fn only_what_may_be_told_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let tools = open(&folder, settings());
    let other = StreamName::new("other").unwrap();
    for (stream, url) in [
        (&other, URL),
        (&stream(), "https://evil.example/"),
        (&stream(), "http://tool.example/"),
        (&stream(), "https://tool.example:8443/"),
    ] {
        tools.keep(stream, id(1), url, NOW).await.unwrap();
    }
    tools.opted_out(id(1), NOW).await.unwrap();
    assert!(due(&tools, NOW).await.is_empty());
}

#[tokio::test]
async fn the_oldest_make_room_at_the_bound() {
    let folder = tempfile::tempdir().unwrap();
    let bound = Settings { links_max: 2, ..settings() };
    let tools = open(&folder, bound.clone());
    for number in 1..=2 {
        keep(&tools, number).await;
    }
    drop(tools);
    let tools = open(&folder, bound);
    keep(&tools, 3).await;
    for number in 1..=3 {
        tools.opted_out(id(number), NOW).await.unwrap();
    }
    assert_eq!(due(&tools, NOW).await, [2, 3], "two are kept, and the first was the oldest");
}

#[tokio::test]
async fn what_was_kept_long_enough_is_removed_and_no_earlier() {
    let folder = tempfile::tempdir().unwrap();
    let tools = open(&folder, settings());
    let many = 1001;
    let mut keepers = tokio::task::JoinSet::new();
    for number in 1..=many {
        let tools = tools.clone();
        keepers.spawn(async move { keep(&tools, number).await });
    }
    keepers.join_all().await;
    let end = NOW.plus(settings().kept);
    assert_eq!(tools.ledger.sweep(end).await.unwrap(), 0);
    assert_eq!(tools.ledger.sweep(end.plus(Duration::from_millis(1))).await.unwrap(), many, "more than one piece");
    tools.opted_out(id(1), NOW).await.unwrap();
    assert!(due(&tools, NOW).await.is_empty());
}

#[test]
fn a_file_that_is_not_ours_is_named_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tools.db");
    let refused = || Tools::open(&path, Arc::default()).unwrap_err().to_string();
    std::fs::write(&path, "this is no database, but long enough to look at it as one".repeat(20)).unwrap();
    assert!(refused().contains("tools.db") && refused().contains("move it away"), "{}", refused());
    std::fs::remove_file(&path).unwrap();
    let foreign = rusqlite::Connection::open(&path).unwrap();
    foreign.execute_batch("CREATE TABLE theirs (x); PRAGMA user_version = 1;").unwrap();
    assert!(refused().contains("expected a database of Consentry, version 1"), "{}", refused());
    drop(foreign);
    std::fs::remove_file(&path).unwrap();
    drop(Tools::open(&path, Arc::default()).unwrap());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "others could read it");
    rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 2;").unwrap();
    assert!(refused().contains("version 1"), "{}", refused());
}

/// What a released version has written: URLs are kept for years.
#[tokio::test]
async fn version_1_stays_readable() {
    let folder = tempfile::tempdir().unwrap();
    let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tell/v1/tools.db");
    std::fs::copy(frozen, folder.path().join("tools.db")).unwrap();
    let tools = open(&folder, settings());
    tools.opted_out(id(2), NOW).await.unwrap();
    let found = tools.ledger.lease(NOW, NOW.plus(Duration::from_mins(1)), 100).await.unwrap();
    let read: Vec<_> = found.notices.iter().map(|n| (n.message.as_u64(), n.url.as_str(), n.attempts)).collect();
    assert_eq!(read, [(1, URL, 3), (2, URL, 0)]);
}
