//! The board, with time as an argument.

use super::*;
use crate::delivery::{Loopback, Smarthost, Way, breaker};
use crate::mail::{CampaignId, ControllerId, Mailbox, StreamName};
use crate::replies::Class;
use crate::smtp::client::{self, Blame};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const BREAKER: breaker::Settings = breaker::Settings { window: Duration::from_mins(1), minimum: 3, share: 50 };

struct Place {
    folder: tempfile::TempDir,
    board: Board,
}

fn up() -> RouteName {
    RouteName::new("up").unwrap()
}

fn to_smarthost() -> Way {
    Way::Smarthosts(vec![Smarthost { host: "x".to_owned(), port: 25, weight: 1 }])
}

fn settings(way: Way, grouping: Grouping) -> Settings {
    let client = client::Settings::new("g.example".to_owned());
    let route = Route { name: up(), way, client, max_connections: 1 };
    let replies = Arc::new(crate::replies::embedded().unwrap());
    Settings { grouping, breaker: BREAKER, ..Settings::new(Routes::new(route), replies) }
}

fn place_on(way: Way, grouping: Grouping) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let board = Board::open(folder.path(), &settings(way, grouping)).unwrap();
    Place { folder, board }
}

fn place(grouping: Grouping) -> Place {
    place_on(to_smarthost(), grouping)
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
    /// When it goes, if not now.
    fn pass(&self, to: &str, now: Timestamp) -> Option<Timestamp> {
        let suspended = self.board.suspended(QueueId::from_u64(1), &label(), &domain(to), now);
        suspended.or_else(|| self.board.place(&label(), &domain(to), Duration::ZERO, now))
    }
}

#[test]
fn a_suspension_counts_at_once_outlives_the_process_and_ends_by_itself() {
    let place = place(Grouping::Upstream);
    place.board.suspend(suspension(to_domain("a.example"), Some(at(60))), NOW).unwrap();
    assert_eq!(place.pass("a.example", NOW), Some(at(60)));
    assert_eq!(place.pass("b.example", NOW), None);
    let again = Board::open(place.folder.path(), &settings(to_smarthost(), Grouping::Upstream)).unwrap();
    assert_eq!(again.snapshot(NOW).suspensions.len(), 1);
    assert_eq!((place.pass("a.example", at(60)), again.snapshot(at(60)).suspensions.len()), (None, 0));
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
    assert_eq!((place.pass("a.example", NOW), place.pass("b.example", NOW)), (None, Some(NOW.plus(LOOK_AGAIN))));
    assert_eq!(place.board.resume(&Selector::default(), NOW).unwrap().len(), 1);
    let again = Board::open(place.folder.path(), &settings(to_smarthost(), Grouping::Upstream)).unwrap();
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
fn everything_suspended_pauses_the_fetching_and_nothing_suspended_costs_nothing() {
    let place = place(Grouping::Upstream);
    assert!(!place.board.restricts());
    assert_eq!(place.board.pause(NOW), None);
    let the_route = Selector { route: Some(up()), ..Selector::default() };
    for selector in [Selector::default(), the_route] {
        place.board.suspend(suspension(selector.clone(), Some(at(60))), NOW).unwrap();
        assert!(place.board.restricts());
        assert_eq!(place.board.pause(NOW), Some(PAUSE_LOOK), "{selector}");
        assert_eq!(place.board.pause(at(60)), None);
        place.board.resume(&selector, NOW).unwrap();
        assert!(!place.board.restricts());
    }
    place.board.suspend(suspension(to_domain("a.example"), Some(at(60))), NOW).unwrap();
    assert_eq!(place.board.pause(NOW), None);
    place.board.recovered(at(60));
    assert!(!place.board.restricts(), "it is over");
}

#[test]
fn a_slowed_upstream_gets_one_at_a_time_and_a_slowed_domain_alone_waits() {
    let upstream = place(Grouping::Upstream);
    assert_eq!(upstream.board.slow(&label(), &domain("a.example"), NOW).unwrap().0, Group::whole(&up()));
    assert_eq!(upstream.board.slowed(&up(), NOW), Some(at(1)));
    assert_eq!((upstream.pass("a.example", NOW), upstream.pass("b.example", NOW)), (Some(at(1)), Some(at(1))));
    assert_eq!((upstream.board.slowed(&up(), at(1)), upstream.pass("b.example", at(1))), (Some(at(1)), None));
    assert_eq!(upstream.board.slowed(&up(), at(1)), Some(at(2)), "the next place is a second later");
    let by_domain = place(Grouping::Domain);
    by_domain.board.slow(&label(), &domain("a.example"), NOW).unwrap();
    assert_eq!((by_domain.pass("a.example", NOW), by_domain.pass("a.example", NOW)), (Some(at(1)), Some(at(2))));
    assert_eq!((by_domain.pass("b.example", NOW), by_domain.board.slowed(&up(), NOW)), (None, None));
    assert_eq!(by_domain.board.recovered(at(3600)), [Group::to(&up(), &domain("a.example"))]);
    assert!(!by_domain.board.restricts());
}

#[test]
fn without_a_smarthost_a_refusal_is_always_the_destinations() {
    let direct = place_on(
        Way::Exchanges { port: 25, loopback: Loopback::Refuse, assurance: crate::delivery::Assurance::Route },
        Grouping::Upstream,
    );
    direct.board.slow(&label(), &domain("a.example"), NOW).unwrap();
    assert_eq!((direct.pass("a.example", NOW), direct.pass("b.example", NOW)), (Some(at(1)), None));
}

#[test]
fn what_one_route_meets_stops_no_other() {
    let mut ways = settings(to_smarthost(), Grouping::Upstream);
    let client = client::Settings::new("g.example".to_owned());
    let name = RouteName::new("second").unwrap();
    let second = Route { name: name.clone(), way: to_smarthost(), client, max_connections: 1 };
    ways.routes.add(second, [StreamName::new("other").unwrap()]);
    let folder = tempfile::tempdir().unwrap();
    let board = Board::open(folder.path(), &ways).unwrap();
    let other = Label { stream: StreamName::new("other").unwrap(), ..label() };
    let (id, to) = (QueueId::from_u64(1), domain("a.example"));
    assert!(board.stop(&board.group(&label(), &to), Hand::Reputation, Some(at(60)), "listed".to_owned(), NOW));
    assert_eq!(board.suspended(id, &label(), &to, NOW), Some(at(60)));
    assert_eq!((board.suspended(id, &other, &to, NOW), board.pause(NOW)), (None, None));
    board.slow(&other, &to, NOW).unwrap();
    assert_eq!((board.slowed(&name, NOW), board.slowed(&up(), NOW)), (Some(at(1)), None));
}

#[test]
fn a_tripped_group_is_doubted_and_nobody_of_it_is_confirmed() {
    let place = place(Grouping::Upstream);
    assert_eq!(place.board.dead(dead("1@a.example"), NOW), Burial::Waits);
    assert_eq!(place.board.dead(dead("2@a.example"), NOW), Burial::Waits);
    let trips = place.board.dead(dead("3@a.example"), NOW);
    let group = Group::to(&up(), &domain("a.example"));
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
    let Burial::Trips { group, forgotten: 3, .. } = &trips else { panic!("{trips:?}") };
    assert_eq!(*group, Group::whole(&up()));
    assert_eq!(place.board.pause(NOW), Some(PAUSE_LOOK), "everything is held");
    assert!(place.board.confirmed(at(600)).is_empty());
}

#[test]
fn a_trouble_is_shown_for_as_long_as_its_circuit_holds_it() {
    let place = place(Grouping::Upstream);
    let trouble = Arc::new(Trouble {
        since: NOW,
        route: up(),
        site: "x:25".to_owned(),
        blame: Blame::Local,
        class: Class::Auth,
        response: "535".to_owned(),
    });
    place.board.troubled(&trouble);
    assert_eq!(place.board.snapshot(NOW).troubles, [Arc::clone(&trouble)]);
    drop(trouble);
    assert!(place.board.snapshot(NOW).troubles.is_empty());
}
