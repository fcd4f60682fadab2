//! Workers between a queue of the test's own and scripted upstreams.

mod ways;

use std::collections::HashSet;
use std::sync::Mutex;

use super::fake::{FakeSpool, Judge, Ledger, NOW, copies, entry};
use super::*;
use crate::mail::RouteName;
use crate::smtp::client::script::{self, Upstream};
use crate::spool::{Manifest, Settlement};
use crate::time::ManualClock;

/// How long the route rests after a fault.
const REST: Duration = Duration::from_millis(100);
pub(super) const OPEN: &str = "S: 220 up.example ESMTP\nC: EHLO\nS: 250-up.example\nS: 250 PIPELINING\n";
pub(super) const GO: &str = "S: 250 ok\nS: 250 ok\nS: 354 go\n";
pub(super) const BYE: &str = "C: QUIT\nS: 221 bye\n";

/// The group of commands for `n@y.example`.
pub(super) fn group(n: u32) -> String {
    format!("C: MAIL\nC: RCPT TO:<{n}@y.example>\nC: DATA\n")
}

pub(super) fn whole(n: u32) -> String {
    format!("{}{GO}TAKE\nS: 250 2.0.0 queued\n", group(n))
}

pub(super) struct Run {
    pub(super) settled: Vec<(u64, Settlements)>,
    pub(super) postponed: Vec<(u64, Timestamp)>,
    heard: Vec<String>,
    log: Vec<serde_json::Value>,
    pub(super) judge: Arc<Judge>,
    result: Result<(), DeliveryError>,
}

impl Run {
    /// Kind of the only outcome of copy `n`, which must have been settled once.
    pub(super) fn outcome(&self, n: u64) -> Settlement {
        let of_n: Vec<_> = self.settled.iter().filter(|(id, _)| *id == n).collect();
        assert_eq!(of_n.len(), 1, "copy {n}");
        assert_eq!(of_n[0].1.outcomes.len(), 1, "copy {n}");
        of_n[0].1.outcomes[0].1.clone()
    }

    pub(super) fn notes(&self, n: u64) -> Vec<String> {
        let of_n = self.settled.iter().filter(|(id, _)| *id == n);
        of_n.flat_map(|(_, s)| s.notes.iter().map(|note| String::from_utf8(note.to_vec()).unwrap())).collect()
    }

    /// Events of one type in the log.
    fn events(&self, kind: &str) -> Vec<&serde_json::Value> {
        self.log.iter().filter(|event| event["type"] == kind).collect()
    }

    fn contents(&self) -> Vec<&str> {
        self.heard.iter().filter(|heard| heard.starts_with("Subject")).map(|heard| &heard[9..10]).collect()
    }

    fn rcpts(&self) -> Vec<&str> {
        self.heard.iter().filter_map(|heard| heard.strip_prefix("RCPT TO:<")?.split_once('@')).map(|p| p.0).collect()
    }
}

/// Delivers `copies` over one connection at a time until `endings` leases are settled.
async fn deliver(scripts: &[&str], copies: Vec<(Entry, Vec<String>)>, judge: Judge, endings: usize) -> Run {
    deliver_with(scripts, Ledger { waiting: Mutex::new(copies), ..Ledger::default() }, judge, endings, |_| {}).await
}

pub(super) async fn deliver_with(
    scripts: &[&str],
    ledger: Ledger,
    judge: Judge,
    endings: usize,
    adjust: impl FnOnce(&mut Settings),
) -> Run {
    let upstream = Upstream::play(scripts).await;
    let port = upstream.address.port();
    if ledger.linger {
        let mut heard = Vec::new();
        let run = drive(port, ledger, judge, endings, adjust, async { heard = upstream.heard().await }).await;
        return Run { heard, ..run };
    }
    let run = drive(port, ledger, judge, endings, adjust, async {}).await;
    Run { heard: upstream.heard().await, ..run }
}

/// Delivers until `endings` leases are settled and `also` has happened; what was heard is left to the caller.
pub(super) async fn drive(
    port: u16,
    ledger: Ledger,
    judge: Judge,
    endings: usize,
    adjust: impl FnOnce(&mut Settings),
    also: impl Future<Output = ()>,
) -> Run {
    let mut settings = Settings::new(Routes::new(to(&[(port, 1)], 1)), book());
    settings.rest = retry::Settings { first: REST, cap: REST, spread: 0.0 };
    adjust(&mut settings);
    run(settings, Arc::new(ledger), Arc::new(ManualClock::new(NOW)), judge, endings, also).await
}

/// A route to smarthosts on these ports, with these weights.
fn to(ports: &[(u16, u32)], max_connections: usize) -> Route {
    let host = |&(port, weight): &(u16, u32)| Smarthost { host: "127.0.0.1".to_owned(), port, weight };
    let (name, way) = (RouteName::new("up").unwrap(), Way::Smarthosts(ports.iter().map(host).collect()));
    Route { name, way, client: script::settings(), max_connections }
}

/// What refusals mean, as shipped.
fn book() -> Arc<crate::replies::Book> {
    Arc::new(crate::replies::embedded().unwrap())
}

async fn run(
    settings: Settings,
    ledger: Arc<Ledger>,
    clock: Arc<ManualClock>,
    judge: Judge,
    endings: usize,
    also: impl Future<Output = ()>,
) -> Run {
    let log = Log::default();
    let (events, writer) = EventLog::start(log.clone()).unwrap();
    let judge = Arc::new(judge);
    let recheck = Arc::clone(&judge);
    let resolver = dns::Resolver::new(&dns::Settings::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let board = Arc::new(Board::open(folder.path(), &settings).unwrap());
    if let Some(selector) = ledger.suspended.clone() {
        let (by, because) = ("ann".to_owned(), "test".to_owned());
        let suspension = Suspension { selector, since: NOW, until: None, hand: Hand::Operator, by, because };
        board.suspend(suspension, NOW).unwrap();
    }
    let policies = crate::sts::Policies::open(folder.path(), crate::sts::Settings::default());
    let privacy = Privacy::Full;
    let delivery = Delivery { recheck, settings, board, resolver, policies, events, privacy, clock };
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(delivery.run_from(FakeSpool(Arc::clone(&ledger)), |_| {}, stopped));
    while ledger.settled.lock().unwrap().len() < endings {
        ledger.changed.notified().await;
    }
    also.await;
    stop.send_replace(true);
    let result = running.await.unwrap();
    let settled = std::mem::take(&mut *ledger.settled.lock().unwrap());
    let postponed = std::mem::take(&mut *ledger.postponed.lock().unwrap());
    // Every clone of the log is gone, so its writer comes to an end.
    writer.join().unwrap();
    Run { settled, postponed, heard: Vec::new(), log: log.lines(), judge, result }
}

/// An event log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn lines(&self) -> Vec<serde_json::Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[tokio::test]
async fn copies_ready_together_ride_behind_each_other() {
    // Each envelope is heard before the reply to the dot before it is said: without looking ahead this would hang.
    let script = format!(
        "{OPEN}{}{GO}TAKE\n{}S: 250 1\n{GO}TAKE\n{}S: 250 2\n{GO}TAKE\nS: 250 3\n{BYE}",
        group(1),
        group(2),
        group(3)
    );
    let run = deliver(&[&script], copies(3), Judge::default(), 3).await;
    assert!(run.result.is_ok());
    assert_eq!(run.contents(), ["1", "2", "3"]);
    for n in 1..=3 {
        assert_eq!(run.outcome(n), Settlement::Delivered);
        let notes = run.notes(n);
        assert_eq!(notes.len(), 1);
        let event: serde_json::Value = serde_json::from_str(&notes[0]).unwrap();
        assert_eq!(event["type"], "Delivery");
        assert_eq!(event["queue"], "news@y.example");
        assert_eq!(event["response"]["content"], n.to_string());
        assert_eq!(event["num_attempts"], 1);
        assert_eq!(event["peer_address"]["name"], "127.0.0.1");
    }
}

#[tokio::test]
async fn a_refused_dot_is_its_own_messages_alone() {
    let script = format!("{OPEN}{}{GO}TAKE\n{}S: 554 5.6.0 no\n{GO}TAKE\nS: 250 2\n{BYE}", group(1), group(2));
    let run = deliver(&[&script], copies(2), Judge::default(), 2).await;
    assert_eq!((run.outcome(1), run.outcome(2)), (Settlement::Bounced, Settlement::Delivered));
    let reported = run.judge.reported.lock().unwrap();
    assert_eq!(reported.len(), 1);
    assert!(reported[0].said_by_upstream && reported[0].kind == FindingKind::Bounced);
}

#[tokio::test]
async fn each_recipient_has_its_outcome_and_one_data() {
    let script = format!(
        "{OPEN}C: MAIL\nC: RCPT TO:<a@\nC: RCPT TO:<b@\nC: RCPT TO:<c@\nC: DATA\n\
         S: 250 ok\nS: 250 ok\nS: 452 later\nS: 550 5.1.1 no\nS: 354 go\nTAKE\nS: 250 ok\n{BYE}"
    );
    let recipients = ["a@y.example", "b@y.example", "w@y.example", "c@y.example"].map(str::to_owned).to_vec();
    let judge = Judge { withdrawn: HashSet::from(["w@y.example".to_owned()]), ..Judge::default() };
    let run = deliver(&[&script], vec![(entry(1, "x"), recipients)], judge, 1).await;
    let mut outcomes = run.settled[0].1.outcomes.clone();
    outcomes.sort_by_key(|(index, _)| index.0);
    let outcomes: Vec<_> = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(outcomes[0], Settlement::Delivered);
    assert!(matches!(outcomes[1], Settlement::Deferred { until } if until > NOW.plus(Duration::from_secs(200))));
    assert_eq!(outcomes[2..], [Settlement::Withdrawn, Settlement::Bounced]);
    assert_eq!(run.notes(1).len(), 4, "one record each");
}

#[tokio::test]
async fn whoever_is_withdrawn_is_never_named_also_when_looking_ahead() {
    let script = format!("{OPEN}{}{GO}TAKE\n{}S: 250 ok\n{GO}TAKE\nS: 250 ok\n{BYE}", group(1), group(3));
    let judge = Judge { withdrawn: HashSet::from(["2@y.example".to_owned()]), ..Judge::default() };
    let run = deliver(&[&script], copies(3), judge, 3).await;
    assert_eq!(run.rcpts(), ["1", "3"]);
    assert_eq!(run.outcome(2), Settlement::Withdrawn);
    assert_eq!(run.notes(2), ["withdrawn 2@y.example"]);
    assert_eq!((run.outcome(1), run.outcome(3)), (Settlement::Delivered, Settlement::Delivered));
}

#[tokio::test]
async fn without_a_decision_nothing_is_sent() {
    for (unavailable, short) in [(true, false), (false, true)] {
        let judge = Judge { unavailable, short, ..Judge::default() };
        let two = vec![(entry(1, "x"), vec!["a@y.example".to_owned(), "b@y.example".to_owned()])];
        let run = deliver(&[&format!("{OPEN}{BYE}")], two, judge, 1).await;
        let outcomes = &run.settled[0].1.outcomes;
        assert_eq!(outcomes.len(), 2);
        assert!(outcomes.iter().all(|(_, o)| matches!(o, Settlement::Deferred { until } if *until > NOW)));
        assert!(run.rcpts().is_empty() && run.notes(1)[1].contains("4,\"subject\":3"), "{:?}", run.notes(1));
    }
}

#[tokio::test]
async fn a_close_after_the_dot_defers_and_says_that_a_duplicate_may_come() {
    let script = format!("{OPEN}{}{GO}TAKE\n", group(1));
    let run = deliver(&[&script], copies(1), Judge::default(), 1).await;
    assert!(matches!(run.outcome(1), Settlement::Deferred { .. }));
    assert!(run.notes(1)[0].contains("may be sent more than once"));
    assert!(run.notes(1)[0].contains("TransientFailure"));
}

#[tokio::test]
async fn the_copy_announced_on_a_dying_connection_is_decided_on_again_and_sent_on_another() {
    let first = format!("{OPEN}{}{GO}TAKE\n{}", group(1), group(2));
    let second = format!("{OPEN}{}{BYE}", whole(2));
    let run = deliver(&[&first, &second], copies(2), Judge::default(), 2).await;
    assert!(matches!(run.outcome(1), Settlement::Deferred { .. }));
    assert_eq!(run.outcome(2), Settlement::Delivered);
    assert_eq!(run.contents(), ["1", "2"]);
    let asked = run.judge.asked.lock().unwrap();
    assert_eq!(asked.iter().filter(|address| *address == "2@y.example").count(), 2, "before each naming");
}

#[tokio::test]
async fn a_connection_that_died_between_messages_costs_nobody_an_attempt() {
    // No pipelining, so that the second copy is named only after the first is done.
    let hello = "S: 220 x\nC: EHLO\nS: 250 x\n";
    let steps =
        |n: u32| format!("C: MAIL\nS: 250 ok\nC: RCPT TO:<{n}@\nS: 250 ok\nC: DATA\nS: 354 go\nTAKE\nS: 250 ok\n");
    for end in ["", "RST", "C: MAIL\nS: 421 too many"] {
        let first = format!("{hello}{}{end}", steps(1));
        let second = format!("{hello}{}{BYE}", steps(2));
        let run = deliver(&[&first, &second], copies(2), Judge::default(), 2).await;
        assert_eq!((run.outcome(1), run.outcome(2)), (Settlement::Delivered, Settlement::Delivered), "{end}");
        assert_eq!(run.contents(), ["1", "2"]);
    }
}

#[tokio::test]
async fn a_fault_of_the_route_is_nobodys_and_lets_the_route_rest() {
    for refusal in [
        "S: 554 go away".to_owned(),
        "S: 220 x\nC: EHLO\nS: 550 no".to_owned(),
        format!("{OPEN}{}S: 530 5.7.0 authenticate\nS: 503 x\nS: 503 x\nC: RSET\nS: 250 ok", group(1)),
        format!("{OPEN}{}S: 250 ok\nS: 554 5.7.1 Relay access denied\nS: 554 x\nC: RSET\nS: 250 ok", group(1)),
        format!("{OPEN}{}S: 421 busy", group(1)),
        format!("{OPEN}{}S: 250 ok\nS: 250 ok\nS: 250 not 354", group(1)),
    ] {
        let run = deliver(&[&refusal], copies(1), Judge::default(), 1).await;
        let until = NOW.plus(REST);
        assert_eq!(run.outcome(1), Settlement::Deferred { until }, "{refusal}");
        assert!(run.judge.reported.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_copy_past_its_time_gets_a_last_attempt_and_then_expires() {
    let mut late = copies(1);
    let manifest = Manifest { expires: NOW, ..Manifest::clone(&late[0].0.manifest) };
    late[0].0.manifest = Arc::new(manifest);
    let script = format!("{OPEN}{}S: 250 ok\nS: 450 4.2.0 later\nS: 554 x\nC: RSET\nS: 250 ok\n{BYE}", group(1));
    let run = deliver(&[&script], late, Judge::default(), 1).await;
    assert_eq!(run.outcome(1), Settlement::Expired);
    assert_eq!(run.judge.reported.lock().unwrap()[0].kind, FindingKind::Expired);
    assert!(run.notes(1)[0].contains("\"Expiration\""));
}

#[tokio::test]
async fn a_message_that_does_not_fit_is_refused_alone_and_the_connection_stays() {
    let hello = "S: 220 x\nC: EHLO\nS: 250-x\nS: 250-PIPELINING\nS: 250 SIZE 30\n";
    let script = format!("{hello}{}{BYE}", whole(2));
    let mut two = copies(2);
    two[0].0 = entry(1, &"x".repeat(50));
    let run = deliver(&[&script], two, Judge::default(), 2).await;
    assert_eq!((run.outcome(1), run.outcome(2)), (Settlement::Bounced, Settlement::Delivered));
    assert!(!run.judge.reported.lock().unwrap()[0].said_by_upstream);
}

#[tokio::test]
async fn unclean_content_is_never_sent() {
    let run =
        deliver(&[&format!("{OPEN}{BYE}")], vec![(entry(1, "a\n.\n"), copies(1)[0].1.clone())], Judge::default(), 1)
            .await;
    assert_eq!(run.outcome(1), Settlement::Bounced);
    assert!(run.rcpts().is_empty());
}

#[tokio::test]
async fn a_connection_is_worn_out_after_its_number_of_messages() {
    let ledger = || Ledger { waiting: Mutex::new(copies(3)), ..Ledger::default() };
    let first = format!("{OPEN}{}{GO}TAKE\n{}S: 250 ok\n{GO}TAKE\nS: 250 ok\n{BYE}", group(1), group(2));
    let second = format!("{OPEN}{}{BYE}", whole(3));
    let limit = |settings: &mut Settings| settings.max_messages_per_connection = 2;
    let run = deliver_with(&[&first, &second], ledger(), Judge::default(), 3, limit).await;
    assert_eq!(run.contents(), ["1", "2", "3"]);
}

#[tokio::test]
async fn a_single_permit_still_delivers_everything() {
    let ledger = Ledger { waiting: Mutex::new(copies(2)), ..Ledger::default() };
    let script = format!("{OPEN}{}{GO}TAKE\n{}S: 250 ok\n{GO}TAKE\nS: 250 ok\n{BYE}", group(1), group(2));
    let run = deliver_with(&[&script], ledger, Judge::default(), 2, |settings| settings.max_unsettled = 1).await;
    assert_eq!(run.contents(), ["1", "2"]);
}

#[tokio::test]
async fn when_outcomes_cannot_be_written_delivery_stops() {
    let fail = Some(SpoolError::Failed("disk".to_owned()));
    let ledger = Ledger { waiting: Mutex::new(copies(1)), fail, ..Ledger::default() };
    let script = format!("{OPEN}{}{BYE}", whole(1));
    let run = deliver_with(&[&script], ledger, Judge::default(), 1, |_| {}).await;
    assert!(matches!(run.result, Err(DeliveryError::Spool(_))));
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let ledger = Ledger { waiting: Mutex::new(copies(1)), linger: true, ..Ledger::default() };
    let script = format!("{OPEN}{}{BYE}", whole(1));
    let run = deliver_with(&[&script], ledger, Judge::default(), 1, |s| s.idle_close = Duration::from_millis(1)).await;
    assert_eq!(run.heard.last().map(String::as_str), Some("QUIT"));
}

#[tokio::test]
async fn a_reset_at_any_octet_before_the_dot_delivers_nothing_and_loses_nothing() {
    let content = "Subject: 1\r\n\r\nbody\r\n.\r\n";
    for octets in 0..content.len() {
        let script = format!("{OPEN}{}{GO}EAT: {octets}\nRST", group(1));
        let run = deliver(&[&script], copies(1), Judge::default(), 1).await;
        assert!(matches!(run.outcome(1), Settlement::Deferred { .. }), "after {octets}");
        assert!(run.judge.reported.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn offers_are_read_anew_in_each_session() {
    let first = format!("{OPEN}{}{BYE}", whole(1));
    let one_by_one = "C: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\nS: 354 go\nTAKE\nS: 250 ok\n";
    let second = format!("S: 220 x\nC: EHLO\nS: 250 x\n{one_by_one}{BYE}");
    let ledger = Ledger { waiting: Mutex::new(copies(2)), ..Ledger::default() };
    let limit = |settings: &mut Settings| settings.max_messages_per_connection = 1;
    let run = deliver_with(&[&first, &second], ledger, Judge::default(), 2, limit).await;
    assert_eq!(run.contents(), ["1", "2"]);
}

#[tokio::test]
async fn several_connections_share_the_work_and_each_copy_goes_once() {
    let (port, heard) = script::sink().await;
    let ledger = Ledger { waiting: Mutex::new(copies(100)), ..Ledger::default() };
    let adjust = |settings: &mut Settings| {
        settings.routes = Routes::new(to(&[(port, 1)], 3));
        settings.max_unsettled = 2;
        settings.max_messages_per_connection = 7;
    };
    let run = drive(port, ledger, Judge::default(), 100, adjust, async {}).await;
    let mut contents: Vec<String> = heard.lock().unwrap().clone();
    contents.sort_unstable();
    let mut expected: Vec<String> = (1..=100).map(|n| format!("Subject: {n}\r\n\r\nbody\r\n")).collect();
    expected.sort_unstable();
    assert_eq!(contents, expected);
    for n in 1..=100 {
        assert_eq!(run.outcome(n), Settlement::Delivered);
    }
}
