//! What is known, to whom, for how long, and what is not claimed.

use super::*;

const DAY: Duration = Duration::from_hours(24);

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn open(folder: &tempfile::TempDir, most: u64) -> Seen {
    Seen::open(&folder.path().join("seen.db"), most).unwrap()
}

fn print(seen: &Seen, credential: &str, id: &str, body: &str, to: &str) -> Print {
    seen.print(&CredentialName::new(credential).unwrap(), id.as_bytes(), body, &Mailbox::parse(to).unwrap())
}

async fn known(seen: &Seen, print: Print, now: Timestamp) -> Option<u64> {
    match seen.claim(vec![print], now).await.unwrap() {
        Claim::Taken(known, _ticket) => known[0].map(|known| known.first().as_u64()),
        Claim::Busy => panic!("nobody else is there"),
    }
}

#[tokio::test]
async fn what_was_taken_is_known_until_its_time_is_over_and_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let seen = open(&folder, 10);
    let ann = print(&seen, "shop", "<1@a>", "x", "ann@b.example");
    assert_eq!(known(&seen, ann, at(0)).await, None);
    seen.keep(vec![(ann, QueueId::from_u64(u64::MAX))], at(0), DAY).await.unwrap();
    drop(seen);
    let seen = open(&folder, 10);
    let again = print(&seen, "shop", "<1@a>", "x", "ann@b.example");
    assert_eq!(again, ann, "the key is kept with the list");
    let end = at(0).plus(DAY);
    assert_eq!(known(&seen, again, Timestamp::from_millis(end.as_millis() - 1)).await, Some(u64::MAX));
    assert_eq!(known(&seen, again, end).await, None);
}

#[test]
fn another_credential_id_body_or_recipient_is_another_message() {
    let folder = tempfile::tempdir().unwrap();
    let seen = open(&folder, 10);
    let one = print(&seen, "shop", "<1@a>", "x", "ann@b.example");
    for other in [
        print(&seen, "crm", "<1@a>", "x", "ann@b.example"),
        print(&seen, "shop", "<2@a>", "x", "ann@b.example"),
        print(&seen, "shop", "<1@a>", "y", "ann@b.example"),
        print(&seen, "shop", "<1@a>", "x", "bob@b.example"),
        print(&seen, "shop", "<1@a>x", "", "ann@b.example"),
    ] {
        assert_ne!(one, other);
    }
}

#[tokio::test]
async fn what_is_being_taken_is_nobody_elses_until_its_ticket_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let seen = open(&folder, 10);
    let (ann, bob) = (print(&seen, "s", "1", "x", "ann@b.example"), print(&seen, "s", "1", "x", "bob@b.example"));
    let Claim::Taken(_, ticket) = seen.claim(vec![ann], at(0)).await.unwrap() else { panic!() };
    assert!(matches!(seen.claim(vec![bob, ann], at(0)).await.unwrap(), Claim::Busy));
    assert_eq!(known(&seen, bob, at(0)).await, None, "a claim that failed holds nothing");
    drop(ticket);
    assert_eq!(known(&seen, ann, at(0)).await, None);
}

#[tokio::test]
async fn a_full_list_forgets_the_oldest() {
    let folder = tempfile::tempdir().unwrap();
    let seen = open(&folder, 2);
    let prints: Vec<_> = (0..3).map(|n| print(&seen, "s", &n.to_string(), "x", "ann@b.example")).collect();
    for (second, print) in (0..).zip(&prints) {
        // Said again it takes no second place; nor does it after a restart.
        for seen in [&seen, &open(&folder, 2)] {
            seen.keep(vec![(*print, QueueId::from_u64(1))], at(second), DAY).await.unwrap();
        }
    }
    let now = at(10);
    let mut found = Vec::new();
    for print in prints {
        found.push(known(&seen, print, now).await.is_some());
    }
    assert_eq!(found, [false, true, true]);
}

#[test]
fn a_file_of_somebody_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seen.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE other (x)").unwrap();
    assert!(Seen::open(&path, 10).unwrap_err().to_string().contains("expected a database of Consentry"));
    std::fs::write(&path, "no database at all, whatever it is called").unwrap();
    assert!(Seen::open(&path, 10).is_err());
}
