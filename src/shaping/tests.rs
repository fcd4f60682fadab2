//! Books as files, and paces under a given clock.

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;

use super::book::{Limits, Reach};
use super::file::{SHIPPED, with_operator};
use super::{Book, GroupNumber, Pace, Rate, WAIT_MAX, embedded, load};
use crate::mail::{Domain, RouteName};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn route(name: &str) -> RouteName {
    RouteName::new(name).unwrap()
}

fn rate(text: &str) -> Rate {
    text.parse().unwrap()
}

fn count(number: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(number)
}

fn name_of(book: &Book, number: Option<GroupNumber>) -> &'static str {
    number.and_then(|number| book.group(number)).map_or("none", |group| group.name)
}

#[test]
fn a_rate_is_read_and_written_alike_and_what_is_none_is_told() {
    for (text, millis) in [("100/s", 10), ("20/m", 3000), ("5000/h", 720), ("100000/d", 864)] {
        let rate = rate(text);
        assert_eq!((rate.to_string().as_str(), rate.interval()), (text, Duration::from_millis(millis)));
    }
    assert_eq!(
        (rate("100/s").burst(), rate("20/m").burst(), rate("4/s").burst()),
        (count(25).unwrap(), count(1).unwrap(), count(1).unwrap())
    );
    for wrong in ["", "100", "100/", "/s", "0/s", "-1/s", "1.5/s", "100/sec", "100 /s", "100001/s", "9999999999/s"] {
        assert!(wrong.parse::<Rate>().unwrap_err().contains("expected"), "{wrong}");
    }
    assert!("100000/s".parse::<Rate>().is_ok());
}

#[test]
fn what_is_shipped_is_right_and_every_figure_has_its_source() {
    let book = embedded().unwrap();
    for name in ["gmail", "outlook", "yahoo", "orange", "free", "laposte", "sfr", "icloud", "gmx-webde"] {
        assert!(book.groups().any(|(_, group)| group.name == name), "{name}");
    }
    assert!(book.groups().all(|(_, group)| group.limits != Limits::default() && !group.source.is_empty()));
    let (mut seen, text) = (std::collections::HashSet::new(), SHIPPED.1);
    for (_, group) in book.groups() {
        for pattern in group.domains.iter().chain(&group.mx) {
            assert!(seen.insert(pattern.to_string()), "{pattern} stands in two groups");
        }
    }
    assert!(text.len() > 1000);
}

#[test]
fn a_domain_is_found_by_its_name_or_by_its_servers() {
    let book = embedded().unwrap();
    let by_name = |text: &str| name_of(&book, book.by_domain(&Domain::parse(text).unwrap()));
    assert_eq!(
        (by_name("GMail.com"), by_name("wanadoo.fr"), by_name("corp.onmicrosoft.com")),
        ("gmail", "orange", "microsoft365")
    );
    assert_eq!((by_name("example.org"), by_name("notgmail.com"), by_name("x.gmail.com")), ("none", "none", "none"));
    let by_mx = |hosts: &[&str]| name_of(&book, book.by_mx(hosts.iter().copied()));
    assert_eq!(by_mx(&["ASPMX.L.Google.com.", "x.example"]), "gmail");
    assert_eq!(by_mx(&["mx.example", "corp-de.mail.protection.outlook.com"]), "microsoft365");
    assert_eq!((by_mx(&["google.com"]), by_mx(&["mx.notgoogle.com"]), by_mx(&[])), ("none", "none", "none"));
}

#[test]
fn what_an_operator_says_stands_before_what_is_shipped_and_the_rest_stays() {
    let text = r#"
        [[group]]
        name = "orange"
        connections = 1
        [[group]]
        name = "corp"
        domains = ["*.gmail.com", "corp.example"]
        [other]
        connections = 2
        [[limit]]
        route = "direct"
        group = "gmail"
        rate = "20/s"
        [[limit]]
        route = "relay"
        group = "all"
        rate = "14/s"
        [[limit]]
        route = "relay"
        group = "other"
        rate = "5/m"
    "#;
    let book = with_operator("own.toml", text).unwrap();
    let of = |domain: &str| book.by_domain(&Domain::parse(domain).unwrap());
    let limits = |name: &str, reach, domain: &str| book.limits(&route(name), reach, of(domain));
    let orange = limits("direct", Reach::Direct, "orange.fr");
    assert_eq!((orange.connections, orange.messages_per_connection), (count(1), count(100)));
    let gmail = limits("direct", Reach::Direct, "gmail.com");
    assert_eq!((gmail.rate, gmail.connections), (Some(rate("20/s")), count(10)));
    assert_eq!(limits("direct2", Reach::Direct, "gmail.com").rate, None, "said for one route");
    assert_eq!((name_of(&book, of("x.gmail.com")), name_of(&book, of("corp.example"))), ("corp", "corp"));
    let other = limits("direct", Reach::Direct, "example.org");
    assert_eq!((other.connections, other.recipients), (count(2), count(100)));
    assert_eq!(
        limits("relay", Reach::Smarthost, "gmail.com"),
        Limits::default(),
        "what is shipped is about their servers"
    );
    assert_eq!(limits("relay", Reach::Smarthost, "example.org").rate, Some(rate("5/m")));
    assert_eq!((book.whole(&route("relay")), book.whole(&route("direct"))), (Some(rate("14/s")), None));
    assert!(book.shapes(&route("relay"), Reach::Smarthost) && book.shapes(&route("direct"), Reach::Direct));
    assert!(!book.shapes(&route("plain"), Reach::Smarthost));
}

#[test]
fn a_wrong_file_is_told_by_line_with_what_was_expected() {
    let cases = [
        (
            "[[group]]\nname = \"x\"\nrate = \"fast\"\ndomains = [\"a.example\"]",
            3,
            "`rate`: `fast`: expected a number and /s",
        ),
        ("[[group]]\nname = \"x\"\n", 1, "expected at least one of `domains` and `mx`"),
        ("[[group]]\nname = \"all\"\nmx = [\"a.example\"]", 1, "neither `all` nor `other`"),
        ("[[group]]\nname = \"x\"\nmx = [\"*.a.example\", \"a*.example\"]", 3, "expected a name such as gmail.com"),
        ("[[group]]\nname = \"gmail\"\nconnections = 0", 1, "0 would stop everything"),
        ("[[group]]\nname = \"gmail\"\n[[group]]\nname = \"gmail\"", 3, "already in this file"),
        ("[[limit]]\nroute = \"r\"\ngroup = \"gmial\"\nrate = \"1/s\"", 3, "there is no group `gmial`"),
        ("[[limit]]\nroute = \"r\"\ngroup = \"gmail\"", 1, "expected at least one of `rate`"),
        ("[[limit]]\nroute = \"r\"\ngroup = \"all\"\nconnections = 3", 1, "there is `rate` alone"),
        ("[[limit]]\ngroup = \"all\"\nrate = \"1/s\"", 1, "`route` is missing"),
        ("[[group]]\nname = \"gmail\"\nspeed = 3", 3, "unknown key `speed`"),
        ("[[group]\n", 1, ""),
    ];
    for (text, line, words) in cases {
        let problems = with_operator("own.toml", text).unwrap_err();
        let found = problems.iter().any(|problem| problem.line == line && problem.message.contains(words));
        assert!(found, "wanted {line}: {words} in {problems:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.toml");
    assert!(load(&path).is_err());
    std::fs::write(&path, "# ".repeat(128 * 1024)).unwrap();
    assert!(load(&path).is_ok(), "at the limit");
    std::fs::write(&path, "#  ".repeat(128 * 1024)).unwrap();
    assert!(load(&path).unwrap_err().to_string().contains("larger than"));
}

#[test]
fn a_pace_lets_its_burst_through_and_then_one_by_one() {
    let mut pace = Pace::new(rate("20/m"));
    assert_eq!(pace.take(NOW), Ok(()));
    let next = pace.take(NOW).unwrap_err();
    assert_eq!(next, NOW.plus(Duration::from_secs(3)));
    assert!(pace.take(NOW.plus(Duration::from_millis(2999))).is_err());
    assert_eq!(pace.take(next), Ok(()));
    assert_eq!(pace.used(), 2);
    let mut fast = Pace::new(rate("100/s"));
    assert_eq!(fast.fill(10, NOW), Ok(10), "as many as are wanted");
    assert_eq!(fast.fill(1000, NOW), Ok(25), "and what is kept is part of the burst");
    for _ in 0..25 {
        assert_eq!(fast.take(NOW), Ok(()));
    }
    assert!(fast.take(NOW).is_err());
}

#[test]
fn those_who_wait_come_one_after_the_other_and_none_waits_longer_than_the_limit() {
    let mut pace = Pace::new(rate("20/m"));
    pace.take(NOW).unwrap();
    let until = pace.take(NOW).unwrap_err();
    let turns: Vec<_> = (0..4).map(|_| pace.turn(until, NOW).since(NOW).as_secs()).collect();
    assert_eq!(turns, [3, 6, 9, 12]);
    for _ in 0..1000 {
        assert!(pace.turn(until, NOW) <= NOW.plus(WAIT_MAX));
    }
}

#[test]
fn a_clock_that_jumps_neither_stops_a_pace_nor_opens_it() {
    let mut pace = Pace::new(rate("20/m"));
    pace.take(NOW).unwrap();
    let back = Timestamp::from_secs(1000);
    let next = pace.take(back).unwrap_err();
    assert!(next.since(back) <= Duration::from_secs(3));
    assert_eq!(pace.take(next), Ok(()));
    let far = NOW.plus(Duration::from_hours(100_000));
    assert_eq!(pace.take(far), Ok(()));
    assert!(pace.take(far).is_err(), "a burst and no more");
}

proptest! {
    /// However it is asked: never more than rate and burst, and whoever comes when they were told to is let through.
    #[test]
    fn a_pace_never_gives_more_than_rate_and_burst(
        count in 1_u32..2000, per in "[smh]", steps in prop::collection::vec((0_u64..2000, 1_u32..40), 1..200)
    ) {
        let rate: Rate = format!("{count}/{per}").parse().unwrap();
        let mut pace = Pace::new(rate);
        let (mut now, mut passed) = (NOW, 0_u64);
        for (millis, wanted) in steps {
            now = now.plus(Duration::from_millis(millis));
            let given = pace.fill(wanted, now);
            if let Err(until) = given {
                prop_assert!(until > now && pace.fill(1, now).is_err());
                now = until;
                prop_assert_eq!(pace.fill(1, now), Ok(1));
            }
            for _ in 0..given.unwrap_or(1) {
                pace.take(now).unwrap();
                passed += 1;
            }
            let elapsed = now.since(NOW).as_nanos();
            let bound = u128::from(rate.burst().get()) + elapsed / rate.interval().as_nanos() + 1;
            prop_assert!(u128::from(passed) <= bound, "{} passed, {} allowed", passed, bound);
        }
    }
}
