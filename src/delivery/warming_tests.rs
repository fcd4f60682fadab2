//! Days of plans: over restarts, in files that cannot be written, and divided among gateways.

use std::net::IpAddr;
use std::sync::Arc;

use super::allotment::{LOOK_FOR, Portion};
use super::routes::Route;
use super::standing::StandingError;
use super::warming::{AHEAD, ASK_AGAIN, Lead, NAME, WRITE_AGAIN, Warming, Warmth};
use crate::mail::{Domain, Mailbox, ReversePath, RouteName};
use crate::shaping::{Company, Day, Gateways, Plan, Subject};
use crate::smtp::client::Source;
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn plans(caps: &[u64], instead: Option<&str>) -> Arc<[Plan]> {
    let subject = Subject::Domain(Domain::parse("acme.example").unwrap());
    let instead = instead.map(|name| RouteName::new(name).unwrap());
    let plan =
        Plan { name: "new".to_owned(), subject, start: Day::of(NOW), caps: caps.to_vec(), factor: None, instead };
    Arc::from([plan])
}

fn path() -> ReversePath {
    ReversePath::Mailbox(Mailbox::parse("b@acme.example").unwrap())
}

fn taken(warming: &Warming, now: Timestamp, most: usize) -> usize {
    let plan = warming.of_path(&path()).unwrap();
    (0..most).take_while(|_| warming.take(&[plan], now).is_ok()).count()
}

fn route() -> Route {
    Route::smarthost(RouteName::new("r").unwrap(), "x".to_owned(), 25, "g".to_owned())
}

#[test]
fn a_day_takes_what_it_may_and_the_next_one_what_that_may() {
    let folder = tempfile::tempdir().unwrap();
    let warming = Warming::open(folder.path(), &plans(&[250, 300], None), None).unwrap();
    let plan = warming.of_path(&path()).unwrap();
    assert_eq!(warming.of_path(&ReversePath::Null), None);
    assert_eq!(taken(&warming, NOW, 249), 249);
    let full = warming.take(&[plan], NOW).unwrap();
    assert_eq!((full[0].messages, full[0].number, full[0].until), (250, 1, Day::of(NOW).end()));
    assert_eq!(warming.take(&[plan], NOW), Err(Day::of(NOW).end()));
    assert_eq!(warming.lead(&route(), &path(), NOW), Lead::Wait(Day::of(NOW).end()));
    let next = Day::of(NOW).end();
    assert_eq!(warming.lead(&route(), &path(), next), Lead::On);
    assert_eq!(taken(&warming, next, 1000), 300);
    assert_eq!(warming.all(next), [Warmth { name: "new".to_owned(), number: 2, used: 300, allowed: Some(300) }]);
    assert_eq!(warming.take(&[plan], NOW), Err(Day::of(NOW).end()), "a clock set back opens no day again");
    assert_eq!(taken(&warming, Day::of(next).end(), 1000), 1000, "the plan is over");
}

#[test]
fn what_is_over_takes_the_other_route_and_never_itself() {
    let folder = tempfile::tempdir().unwrap();
    let other = RouteName::new("other").unwrap();
    let warming = Warming::open(folder.path(), &plans(&[1], Some("other")), None).unwrap();
    assert_eq!(warming.lead(&route(), &path(), NOW), Lead::On);
    assert_eq!(taken(&warming, NOW, 5), 1);
    assert_eq!(warming.lead(&route(), &path(), NOW), Lead::Instead(other.clone()));
    let there = Route { name: other, ..route() };
    assert_eq!(warming.lead(&there, &path(), NOW), Lead::Wait(Day::of(NOW).end()));
}

/// Killed at every point: what left before and after is never more than the day may have, and less by no more than
/// what is counted ahead.
#[test]
fn a_killed_process_lets_no_more_through_and_loses_no_more_than_it_counts_ahead() {
    let ahead = usize::try_from(AHEAD).unwrap();
    for before in [0, 1, ahead - 1, ahead, ahead + 1, 2 * ahead, 299, 300] {
        let folder = tempfile::tempdir().unwrap();
        let warming = Warming::open(folder.path(), &plans(&[300], None), None).unwrap();
        assert_eq!(taken(&warming, NOW, before), before);
        drop(warming);
        let again = Warming::open(folder.path(), &plans(&[300], None), None).unwrap();
        let after = taken(&again, NOW, 1000);
        assert!(before + after <= 300, "{before} + {after}");
        assert!(before + after + ahead > 300, "{before} + {after}");
    }
}

#[test]
fn a_regular_stop_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let warming = Warming::open(folder.path(), &plans(&[300], None), None).unwrap();
    assert_eq!(taken(&warming, NOW, 42), 42);
    warming.close();
    let again = Warming::open(folder.path(), &plans(&[300], None), None).unwrap();
    assert_eq!(taken(&again, NOW, 1000), 258);
}

#[test]
fn a_count_that_cannot_be_written_lets_nothing_through_and_a_torn_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let warming = Warming::open(folder.path(), &plans(&[300], None), None).unwrap();
    std::fs::create_dir(folder.path().join("warmup.new")).unwrap();
    let plan = warming.of_path(&path()).unwrap();
    assert_eq!(warming.take(&[plan], NOW), Err(NOW.plus(WRITE_AGAIN)));
    std::fs::remove_dir(folder.path().join("warmup.new")).unwrap();
    assert!(warming.take(&[plan], NOW).is_ok());
    let file = folder.path().join(NAME);
    let whole = std::fs::read_to_string(&file).unwrap();
    for text in [&whole[..whole.len() / 2], "", &whole.replace("\"v\":1", "\"v\":2")] {
        std::fs::write(&file, text).unwrap();
        assert!(matches!(
            Warming::open(folder.path(), &plans(&[300], None), None),
            Err(StandingError::Unreadable { .. })
        ));
    }
}

#[test]
fn addresses_whose_day_is_full_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let source = |last: u8| Source { address: IpAddr::from([192, 0, 2, last]), hello: last.to_string() };
    let plan = |last: u8| Plan {
        name: last.to_string(),
        subject: Subject::Source(source(last).address),
        start: Day::of(NOW),
        caps: vec![1],
        factor: None,
        instead: None,
    };
    let warming = Warming::open(folder.path(), &Arc::from([plan(1), plan(2)]), None).unwrap();
    let mut route = route();
    route.client.sources = vec![source(1), source(2)];
    let open = |warming: &Warming| {
        let open = warming.open_sources(&route.client.sources, NOW);
        open.into_iter().map(|source| source.hello).collect::<Vec<_>>()
    };
    assert_eq!(open(&warming), ["1", "2"]);
    warming.take(&[warming.of_source(source(1).address).unwrap()], NOW).unwrap();
    assert_eq!((open(&warming), warming.closes(&route, NOW)), (vec!["2".to_owned()], None));
    warming.take(&[warming.of_source(source(2).address).unwrap()], NOW).unwrap();
    assert_eq!(warming.closes(&route, NOW), Some(Day::of(NOW).end()));
    assert_eq!(warming.lead(&route, &path(), NOW), Lead::Wait(Day::of(NOW).end()));
    let third = Route {
        client: crate::smtp::client::Settings { sources: vec![source(1), source(3)], ..route.client.clone() },
        ..route
    };
    assert_eq!(warming.lead(&third, &path(), NOW), Lead::On);
}

/// What the fleet's server does with a portion when this gateway is the only one that asks.
fn give(warming: &Warming, portion: &Portion, others: u64) {
    let target = portion.target.max(portion.mine).min(portion.limit.saturating_sub(others));
    warming.given(portion, target, target + others, NOW);
}

/// The server says what it knows, until it is believed.
fn look(warming: &Warming, held: u64) {
    for at in [NOW, NOW.plus(LOOK_FOR)] {
        let portion = warming.portions(NOW).remove(0);
        warming.given(&portion, held, held, at);
    }
}

fn fleet(folder: &std::path::Path, caps: &[u64]) -> Warming {
    Warming::open(folder, &plans(caps, None), Gateways::new(2)).unwrap()
}

/// Asks until a whole call brings nothing more, and takes what may be taken. How many left.
fn drain(warming: &Warming, others: u64, most: usize) -> usize {
    let mut left = 0;
    for at in [NOW, NOW.plus(LOOK_FOR)] {
        let portion = warming.portions(NOW).remove(0);
        warming.given(&portion, portion.mine, portion.total, at);
    }
    for _ in 0..1000 {
        left += taken(warming, NOW, most - left);
        for portion in warming.portions(NOW) {
            give(warming, &portion, others);
        }
    }
    left
}

#[test]
fn a_fleets_day_is_given_out_in_parts_and_nobody_leaves_before() {
    let folder = tempfile::tempdir().unwrap();
    let warming = fleet(folder.path(), &[300, 400]);
    let plan = warming.of_path(&path()).unwrap();
    assert!(!warming.is_thirsty());
    assert_eq!(warming.take(&[plan], NOW), Err(NOW.plus(ASK_AGAIN)), "nothing was given yet");
    assert!(warming.is_thirsty());
    assert_eq!(warming.lead(&route(), &path(), NOW), Lead::On, "it is not full");
    let portions = warming.portions(NOW);
    assert_eq!(portions[0].name, format!("new/acme.example/{}", Day::of(NOW)));
    assert_eq!((portions[0].mine, portions[0].target, portions[0].limit), (0, 0, 300), "first it only looks");
    give(&warming, &portions[0], 100);
    warming.given(&portions[0], 0, 100, NOW.plus(LOOK_FOR));
    give(&warming, &warming.portions(NOW)[0], 100);
    assert_eq!(taken(&warming, NOW, 1000), 50, "a quarter of what is left");
    assert_eq!(drain(&warming, 100, 1000), 150, "and the rest");
    assert_eq!(warming.take(&[plan], NOW), Err(Day::of(NOW).end()));
    assert_eq!(warming.lead(&route(), &path(), NOW), Lead::Wait(Day::of(NOW).end()));
    assert_eq!(warming.all(NOW)[0].used, 300, "of all gateways");
    let next = Day::of(NOW).end();
    assert_eq!(warming.take(&[plan], next), Err(next.plus(ASK_AGAIN)), "another day, nothing given");
    warming.company(Company::Alone);
    assert_eq!(warming.take(&[plan], next), Err(next.plus(WRITE_AGAIN)), "nobody to ask");
}

/// Whatever happens to the process between two calls, what left of a day is never more than the day may have.
#[test]
fn a_killed_member_uses_nothing_twice_and_a_stopped_one_loses_nothing() {
    for before in [1, 20, 74, 75, 76, 200] {
        let folder = tempfile::tempdir().unwrap();
        let warming = fleet(folder.path(), &[300]);
        assert_eq!(drain(&warming, 0, before), before);
        let held = warming.portions(NOW)[0].mine;
        drop(warming);
        let again = fleet(folder.path(), &[300]);
        // The server still knows what it gave, and is not told of more.
        let portion = again.portions(NOW).remove(0);
        assert!(portion.mine <= held, "{} of {held}", portion.mine);
        look(&again, held);
        let after = drain(&again, 0, 1000);
        assert!(before + after <= 300, "{before} + {after}");
        assert!(before + after + usize::try_from(AHEAD).unwrap() >= 300, "{before} + {after}");
        again.close();
        drop(again);

        let folder = tempfile::tempdir().unwrap();
        let warming = fleet(folder.path(), &[300]);
        assert_eq!(drain(&warming, 0, before), before);
        let held = warming.portions(NOW)[0].mine;
        warming.close();
        let again = fleet(folder.path(), &[300]);
        look(&again, held);
        assert_eq!(before + drain(&again, 0, 1000), 300);
    }
}

#[test]
fn a_member_whose_file_is_gone_counts_what_it_was_given_as_used() {
    let folder = tempfile::tempdir().unwrap();
    let warming = fleet(folder.path(), &[300]);
    assert_eq!(drain(&warming, 0, 60), 60);
    let held = warming.portions(NOW)[0].mine;
    drop(warming);
    std::fs::remove_file(folder.path().join(NAME)).unwrap();
    let again = fleet(folder.path(), &[300]);
    look(&again, held);
    let after = drain(&again, 0, 1000);
    assert_eq!(after as u64, 300 - held);
}
