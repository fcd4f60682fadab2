//! Pages, and what is too long.

use std::path::Path;
use std::time::Duration;

use super::answer::{PAGE_MAX, TEXT_MAX, answer};
use super::*;
use crate::delivery::{self, Route, Routes, Selector};
use crate::mail::{
    BodyType, ControllerId, Label, Mailbox, QueueId, Recipient, Reporting, ReversePath, RouteName, StreamName,
};
use crate::spool::{Batch, Body, Discard, Manifest, Settings};
use crate::time::{ManualClock, Timestamp};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn desk(folder: &Path) -> Desk {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(NOW));
    let mut settings = Settings::new(folder.join("spool"));
    settings.min_free = 0;
    let (spool, _) = Spool::open(settings, Arc::clone(&clock), Box::new(Discard)).unwrap();
    let route = Route::smarthost(RouteName::new("up").unwrap(), "x".to_owned(), 25, "g.example".to_owned());
    let ways = delivery::Settings::new(Routes::new(route), Arc::new(crate::replies::embedded().unwrap()));
    let board = Board::open(folder, &ways).unwrap();
    let (log, _writer) = EventLog::start(std::io::sink()).unwrap();
    Desk { sign_ups: nobody_asks(), spool, board: Arc::new(board), log, fence: Fence::default(), clock }
}

async fn fill(desk: &Desk, count: usize) {
    let label = Label {
        stream: StreamName::new("news").unwrap(),
        controller: ControllerId::new("acme").unwrap(),
        list: None,
        campaign: None,
    };
    let manifest = Manifest {
        reverse_path: ReversePath::Null,
        label,
        body_type: BodyType::SevenBit,
        smtputf8: false,
        reporting: Reporting::default(),
        received: NOW,
        expires: NOW.plus(Duration::from_hours(1)),
    };
    let mut commits = tokio::task::JoinSet::new();
    for id in 1..=count {
        let id = QueueId::from_u64(u64::try_from(id).unwrap());
        let to = Recipient::new(Mailbox::parse("a@x.example").unwrap());
        let (header, body) = ("Subject: x\r\n\r\n".into(), Body::Memory("x\r\n".into()));
        let (spool, batch) = (desk.spool.clone(), Batch::notice(id, to, header, manifest.clone(), body));
        commits.spawn(async move { spool.commit(batch).await.map(|_| ()) });
    }
    while let Some(committed) = commits.join_next().await {
        committed.unwrap().unwrap();
    }
}

fn hold(after: Option<String>, because: String) -> Question {
    Question::Change { change: Change::Hold, which: Selector::default(), after, by: "ann".to_owned(), because }
}

#[tokio::test]
async fn a_queue_longer_than_a_page_is_gone_through_page_by_page() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path());
    fill(&desk, PAGE_MAX + 1).await;
    let list = |after| Question::List { which: Selector::default(), limit: usize::MAX, after };
    let Answer::List { copies, next } = answer(list(None), &desk).await else { panic!() };
    assert_eq!((copies.len(), next.is_some()), (PAGE_MAX, true));
    let Answer::List { copies, next } = answer(list(next), &desk).await else { panic!() };
    assert_eq!((copies.len(), next), (1, None));
    let Answer::List { copies, next } =
        answer(Question::List { which: Selector::default(), limit: 3, after: None }, &desk).await
    else {
        panic!()
    };
    assert_eq!(next.as_deref(), copies.last().map(|copy| copy.id.as_str()), "goes on behind the last one shown");
    let first = answer(hold(None, "x".to_owned()), &desk).await;
    let Answer::Done { copies, busy: 0, next: Some(next) } = first else { panic!("{first:?}") };
    assert_eq!((copies, desk.spool.stats().held), (1000, 1000));
    assert_eq!(answer(hold(Some(next), "x".to_owned()), &desk).await, Answer::Done { copies: 1, busy: 0, next: None });
}

#[tokio::test]
async fn reasons_are_bounded_and_a_wrong_cursor_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let desk = desk(folder.path());
    let fits = answer(hold(None, "x".repeat(TEXT_MAX)), &desk).await;
    assert_eq!(fits, Answer::Done { copies: 0, busy: 0, next: None });
    assert!(matches!(answer(hold(None, "x".repeat(TEXT_MAX + 1)), &desk).await, Answer::Fault { .. }));
    assert!(matches!(answer(hold(Some("x".to_owned()), "x".to_owned()), &desk).await, Answer::Fault { .. }));
}
