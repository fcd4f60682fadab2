//! The board, with time as an argument.

use super::*;
use crate::mail::{CampaignId, ControllerId, Mailbox, StreamName};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const BREAKER: breaker::Settings = breaker::Settings { window: Duration::from_mins(1), minimum: 3, share: 50 };

struct Place {
    folder: tempfile::TempDir,
    board: Board,
}

fn place(grouping: Grouping) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let board = Board::open(folder.path(), grouping, BREAKER).unwrap();
    Place { folder, board }
}

fn label() -> Label {
    Label {
        stream: StreamName::new("news").unwrap(),
        controller: ControllerId::new("acme").unwrap(),
        list: None,
        campaign: Some(CampaignId::new("c1").unwrap()),
    }
}

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

fn at(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

fn dead(address: &str) -> DeadMailbox {
    let mailbox = Mailbox::parse(address).unwrap();
    DeadMailbox { id: QueueId::from_u64(1), label: label(), mailbox, evidence: "550".to_owned(), at: NOW }
}

fn suspension(selector: Selector, until: Option<Timestamp>) -> Suspension {
    let (by, because) = ("ann".to_owned(), "test".to_owned());
    Suspension { selector, since: NOW, until, hand: Hand::Operator, by, because }
}

fn to_domain(name: &str) -> Selector {
    Selector { domain: Some(domain(name)), ..Selector::default() }
}

impl Place {
    fn pass(&self, to: &str, now: Timestamp) -> Pass {
        self.board.pass(QueueId::from_u64(1), &label(), &domain(to), now)
    }
}

#[test]
fn a_suspension_counts_at_once_outlives_the_process_and_ends_by_itself() {
    let place = place(Grouping::Upstream);
    place.board.suspend(suspension(to_domain("a.example"), Some(at(60))), NOW).unwrap();
    assert_eq!(place.pass("a.example", NOW), Pass::Wait(at(60)));
    assert_eq!(place.pass("b.example", NOW), Pass::Go);
    let again = Board::open(place.folder.path(), Grouping::Upstream, BREAKER).unwrap();
    assert_eq!(again.snapshot(NOW).suspensions.len(), 1);
    assert_eq!((place.pass("a.example", at(60)), again.snapshot(at(60)).suspensions.len()), (Pass::Go, 0));
}

#[test]
fn resuming_lifts_what_lies_within_and_nothing_else() {
    let place = place(Grouping::Upstream);
    for name in ["a.example", "b.example"] {
        place.board.suspend(suspension(to_domain(name), None), NOW).unwrap();
    }
    place.board.suspend(suspension(to_domain("a.example"), None), NOW).unwrap();
    assert_eq!(place.board.snapshot(NOW).suspensions.len(), 2, "the same one is replaced");
    assert_eq!(place.board.resume(&to_domain("a.example"), NOW).unwrap().len(), 1);
    assert_eq!(
        (place.pass("a.example", NOW), place.pass("b.example", NOW)),
        (Pass::Go, Pass::Wait(NOW.plus(LOOK_AGAIN)))
    );
    assert_eq!(place.board.resume(&Selector::default(), NOW).unwrap().len(), 1);
    let again = Board::open(place.folder.path(), Grouping::Upstream, BREAKER).unwrap();
    assert!(again.snapshot(NOW).suspensions.is_empty());
}

#[test]
fn suspensions_are_bounded() {
    let place = place(Grouping::Upstream);
    let many: Vec<_> = (0..SUSPENSIONS_MAX).map(|n| suspension(to_domain(&format!("d{n}.example")), None)).collect();
    place.board.lock().suspensions = many;
    let one_more = suspension(to_domain("more.example"), None);
    assert!(matches!(place.board.suspend(one_more.clone(), NOW), Err(BoardError::TooMany)));
    place.board.resume(&to_domain("d0.example"), NOW).unwrap();
    place.board.suspend(one_more, NOW).unwrap();
}

#[test]
fn everything_suspended_pauses_the_fetching() {
    let place = place(Grouping::Upstream);
    assert_eq!((place.board.pause(NOW), place.board.places(7, NOW)), (Duration::ZERO, 7));
    place.board.suspend(suspension(Selector::default(), None), NOW).unwrap();
    assert_eq!(place.board.pause(NOW), PAUSE_LOOK);
}

#[test]
fn a_slowed_upstream_gets_one_at_a_time_and_a_slowed_domain_alone_waits() {
    let upstream = place(Grouping::Upstream);
    assert_eq!(upstream.board.slow(&domain("a.example"), NOW).unwrap().0, Group::Upstream);
    assert_eq!(upstream.board.pause(NOW), PAUSE_LOOK);
    assert_eq!((upstream.board.pause(at(1)), upstream.board.places(7, at(1))), (Duration::ZERO, 1));
    assert!(!upstream.board.pause(at(1)).is_zero(), "the next place is a second later");
    let by_domain = place(Grouping::Domain);
    by_domain.board.slow(&domain("a.example"), NOW).unwrap();
    assert_eq!(by_domain.pass("a.example", NOW), Pass::Wait(at(1)));
    assert_eq!((by_domain.pass("b.example", NOW), by_domain.board.pause(NOW)), (Pass::Go, Duration::ZERO));
    assert_eq!(by_domain.board.recovered(at(3600)), [Group::Domain(domain("a.example"))]);
}

#[test]
fn a_tripped_group_is_doubted_and_nobody_of_it_is_confirmed() {
    let place = place(Grouping::Upstream);
    assert_eq!(place.board.dead(dead("1@a.example"), NOW), Burial::Waits);
    assert_eq!(place.board.dead(dead("2@a.example"), NOW), Burial::Waits);
    let trips = place.board.dead(dead("3@a.example"), NOW);
    let group = Group::Domain(domain("a.example"));
    assert!(
        matches!(&trips, Burial::Trips { group: g, forgotten: 2, because } if *g == group && because.starts_with("3 of 3 ")),
        "{trips:?}"
    );
    assert!(!place.board.stop(&group, Hand::Breaker, None, "outage".to_owned(), NOW), "no news");
    assert_eq!(place.board.dead(dead("4@a.example"), NOW), Burial::Doubted);
    assert_eq!(place.board.dead(dead("1@b.example"), NOW), Burial::Waits, "another group");
    let confirmed = place.board.confirmed(at(60));
    assert_eq!(confirmed.iter().map(|(_, dead)| dead.mailbox.as_str()).collect::<Vec<_>>(), ["1@b.example"]);
    place.board.resume(&to_domain("a.example"), at(60)).unwrap();
    assert_eq!(place.board.dead(dead("5@a.example"), at(60)), Burial::Waits, "counted anew");
}

#[test]
fn dead_mailboxes_all_over_trip_the_upstream() {
    let place = place(Grouping::Upstream);
    assert_eq!(place.board.dead(dead("1@a.example"), NOW), Burial::Waits);
    assert_eq!(place.board.dead(dead("1@b.example"), NOW), Burial::Waits);
    let trips = place.board.dead(dead("1@c.example"), NOW);
    assert!(matches!(trips, Burial::Trips { group: Group::Upstream, forgotten: 3, .. }));
    assert_eq!(place.board.pause(NOW), PAUSE_LOOK, "everything is held");
    assert!(place.board.confirmed(at(600)).is_empty());
}

#[test]
fn a_circuit_is_news_once_and_closes_when_it_works() {
    let place = place(Grouping::Upstream);
    assert!(place.board.fails(Class::Auth, "535", NOW) && !place.board.fails(Class::Auth, "535", at(1)));
    assert!(place.board.fails(Class::RelayDenied, "554", at(2)), "another fault");
    assert_eq!(place.board.works().unwrap().class, Class::RelayDenied);
    assert_eq!(place.board.works(), None);
}
