//! What follows from refusals, between a queue of the test's own and scripted upstreams.

use super::fake::{Judge, Ledger, NOW, copies, entry};
use super::tests::{BYE, GO, OPEN, deliver_with, drive, group, whole};
use super::*;
use crate::mail::Domain;
use crate::smtp::client::script::Upstream;
use crate::spool::Settlement;

fn to_domain(name: &str) -> Selector {
    Selector { domain: Some(Domain::parse(name).unwrap()), ..Selector::default() }
}

#[tokio::test]
async fn a_suspended_recipient_waits_and_the_other_of_the_same_copy_is_sent_to() {
    let script = format!("{OPEN}C: MAIL\nC: RCPT TO:<b@two.example>\nC: DATA\n{GO}TAKE\nS: 250 ok\n{BYE}");
    let both = (entry(1, "body\r\n"), vec!["a@one.example".to_owned(), "b@two.example".to_owned()]);
    let ledger = Ledger { waiting: vec![both].into(), suspended: Some(to_domain("one.example")), ..Ledger::default() };
    let run = deliver_with(&[&script], ledger, Judge::default(), 1, |_| {}).await;
    let mut outcomes = run.settled[0].1.outcomes.clone();
    outcomes.sort_by_key(|(index, _)| *index);
    let until = NOW.plus(LOOK_AGAIN);
    assert_eq!(
        outcomes,
        [(RecipientIndex(0), Settlement::Deferred { until }), (RecipientIndex(1), Settlement::Delivered)]
    );
    assert!(run.postponed.is_empty());
}

#[tokio::test]
async fn a_suspended_copy_goes_back_without_an_attempt_and_without_a_decision() {
    let script = format!("{OPEN}{}{BYE}", whole(2));
    let mut all = copies(2);
    all[0].1 = vec!["a@one.example".to_owned()];
    let ledger = Ledger { waiting: all.into(), suspended: Some(to_domain("one.example")), ..Ledger::default() };
    let run = deliver_with(&[&script], ledger, Judge::default(), 1, |_| {}).await;
    assert_eq!(run.postponed, [(1, NOW.plus(LOOK_AGAIN))]);
    assert_eq!((run.settled.len(), run.outcome(2)), (1, Settlement::Delivered));
    assert_eq!(*run.judge.asked.lock().unwrap(), ["2@y.example"], "nobody asked about the first");
}

#[tokio::test]
async fn a_dead_mailbox_is_recorded_also_when_the_store_was_away() {
    let script = format!(
        "{OPEN}{}S: 250 ok\nS: 550 5.1.1 no such user\nS: 554 nobody left\nC: RSET\nS: 250 ok\n{BYE}",
        group(1)
    );
    let upstream = Upstream::play(&[&script]).await;
    let judge = Judge { store_away: 2.into(), ..Judge::default() };
    let suppressed = Arc::clone(&judge.suppressed);
    let recorded = async {
        let recorded = async {
            while suppressed.lock().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), recorded).await.unwrap();
    };
    let ledger = Ledger { waiting: copies(1).into(), linger: true, ..Ledger::default() };
    let at_once = |settings: &mut Settings| settings.breaker.window = Duration::ZERO;
    let run = drive(upstream.address.port(), ledger, judge, 1, at_once, recorded).await;
    assert_eq!(run.outcome(1), Settlement::Bounced);
    assert_eq!(*run.judge.suppressed.lock().unwrap(), ["1@y.example"]);
}

#[tokio::test]
async fn doubted_bounces_are_deferrals() {
    let refused = |n| format!("{}S: 250 ok\nS: 550 5.1.1 no such user\nS: 554 nobody left\n", group(n));
    let rset = "C: RSET\nS: 250 ok\n";
    let script = format!("{OPEN}{}{rset}{}{rset}{BYE}", refused(1), refused(2));
    let ledger = Ledger { waiting: copies(2).into(), ..Ledger::default() };
    let second_trips = |settings: &mut Settings| settings.breaker.minimum = 2;
    let run = deliver_with(&[&script], ledger, Judge::default(), 2, second_trips).await;
    assert_eq!(run.outcome(1), Settlement::Bounced);
    assert!(matches!(run.outcome(2), Settlement::Deferred { .. }));
    let notes = run.notes(2);
    assert!(notes.iter().any(|note| note.contains("MASS_BOUNCE")), "{notes:?}");
    assert_eq!(run.judge.reported.lock().unwrap().len(), 1, "only the first sender is told");
}

#[tokio::test]
async fn a_sender_is_warned_of_a_delay_once_it_is_asked_for() {
    let script =
        format!("{OPEN}{}S: 250 ok\nS: 451 4.3.0 later\nS: 554 nobody left\nC: RSET\nS: 250 ok\n{BYE}", group(1));
    for (warn_after, expected) in [(None, 0), (Some(Duration::from_mins(1)), 1), (Some(Duration::from_hours(4)), 0)] {
        let ledger = Ledger { waiting: copies(1).into(), ..Ledger::default() };
        let run =
            deliver_with(&[&script], ledger, Judge::default(), 1, |settings| settings.warn_after = warn_after).await;
        let reported = run.judge.reported.lock().unwrap().clone();
        assert_eq!(reported.len(), expected, "{warn_after:?}");
        assert!(reported.iter().all(|finding| finding.kind == FindingKind::Delayed));
    }
}
