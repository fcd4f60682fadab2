//! Asked against achieved rates, and how long a receipt takes beside a campaign.
//!
//! Both run small by default. `CONSENTRY_SHAPING=100000` makes them what `docs/explanation/performance.md` quotes: rates over
//! twenty seconds, and a campaign of so many messages. `CONSENTRY_BINARY` names another build to hold them against.

use std::time::{Duration, Instant};

use crate::support::{Client, Gateway, Spec, Upstream, eventually, ports};

const MESSAGE: &[u8] = b"From: Shop <shop@acme.example>\r\nSubject: Hello\r\n\r\nHi.\r\n";
/// Groups with the messages of a second that they like.
const GROUPS: [(&str, u64); 3] = [("one", 20), ("two", 100), ("three", 300)];

/// Copies that may have been let through and not have arrived: four for each of 16 connections, and two on each.
const IN_HAND: u128 = 96;

/// How many messages the campaign has, when this run is for figures.
fn figures() -> Option<usize> {
    std::env::var("CONSENTRY_SHAPING").ok().map(|count| count.parse().expect("CONSENTRY_SHAPING: a number of messages"))
}

/// A second stream, for whoever comes from the shop's address.
fn two_streams(spec: &mut Spec, more: &str) {
    let streams = format!(
        "[[stream]]\nname = \"receipts\"\ncontroller = \"acme\"\n{more}\n\
         [[credential]]\nname = \"shop\"\nstream = \"receipts\"\naddresses = [\"127.0.0.2/32\"]\n"
    );
    spec.more.push_str(&streams);
}

/// A client that is taken for the shop: it comes from the shop's address.
fn shop(gateway: &Gateway) -> Client {
    Client::connect_from([127, 0, 0, 2].into(), gateway.smtp)
}

fn feed(mut client: Client, addresses: impl Iterator<Item = String>) {
    for to in addresses {
        let reply = client.message("b@acme.example", &[&to], MESSAGE).1;
        assert!(reply.as_ref().is_some_and(|reply| reply.starts_with("250")), "{to}: {reply:?}");
    }
}

/// How many arrived for each group, by stream.
fn counts(upstream: &Upstream) -> Vec<[usize; 2]> {
    let received = upstream.received();
    let of = |group: &str, stream: &str| {
        let (start, end) = (format!("{stream}-"), format!("@{group}.example"));
        received.iter().filter(|m| m.to.iter().any(|to| to.starts_with(&start) && to.ends_with(&end))).count()
    };
    GROUPS.iter().map(|(group, _)| [of(group, "news"), of(group, "receipts")]).collect()
}

#[test]
fn rates_are_achieved_as_asked_by_three_groups_and_two_streams() {
    let window = figures().map_or(Duration::from_secs(2), |_| Duration::from_secs(20));
    let folder = tempfile::tempdir().unwrap();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], ports::free_port()));
    let limits = GROUPS.map(|(group, rate)| {
        format!(
            "[[group]]\nname = \"{group}\"\ndomains = [\"{group}.example\"]\n\
             [[limit]]\nroute = \"upstream\"\ngroup = \"{group}\"\nrate = \"{rate}/s\"\n"
        )
    });
    std::fs::write(folder.path().join("shaping.toml"), limits.concat()).unwrap();
    let mut spec = Spec::new(address);
    spec.more = "[shaping]\nfile = \"shaping.toml\"\n".to_owned();
    two_streams(&mut spec, "class = \"transactional\"\npriority = \"usual\"");
    let gateway = Gateway::start(folder.path(), &spec);
    // Nobody listens yet: of each stream there is enough for three quarters of the pace, until the end.
    let feeders: Vec<_> = GROUPS
        .iter()
        .flat_map(|(group, rate)| [("news", *group, *rate), ("receipts", *group, *rate)])
        .map(|(stream, group, rate)| {
            let client = if stream == "news" { Client::connect(gateway.smtp) } else { shop(&gateway) };
            let numbers = 0..rate * (window.as_secs() + 4) * 3 / 4;
            std::thread::spawn(move || feed(client, numbers.map(|n| format!("{stream}-{n}@{group}.example"))))
        })
        .collect();
    for feeder in feeders {
        feeder.join().unwrap();
    }
    let upstream = Upstream::start_on(address, Duration::ZERO);
    eventually("mail of every group and stream", || counts(&upstream).iter().flatten().all(|n| *n > 0).then_some(()));
    let (begun, before) = (Instant::now(), counts(&upstream));
    std::thread::sleep(window);
    let (after, elapsed) = (counts(&upstream), begun.elapsed());
    for ((group, asked), (before, after)) in GROUPS.iter().zip(before.iter().zip(&after)) {
        let [news, receipts] = [after[0] - before[0], after[1] - before[1]];
        let passed = u64::try_from(news + receipts).unwrap();
        let (millis, asked_in_all) = (elapsed.as_millis(), u128::from(*asked) * elapsed.as_millis() / 1000);
        println!(
            "{group}: asked {asked}/s, achieved {}.{:02}/s over {millis} ms (news {news}, receipts {receipts})",
            u128::from(passed) * 1000 / millis,
            u128::from(passed) * 100_000 / millis % 100
        );
        // A quarter of a second's worth may follow a pause of the machine, and what was on its way already arrives as well.
        let most = asked_in_all + u128::from(asked / 4) + IN_HAND;
        assert!(u128::from(passed) <= most, "{group}: {passed} of {asked_in_all}");
        if figures().is_some() {
            assert!(u128::from(passed) * 100 >= asked_in_all * 95, "{group}: {passed} of {asked_in_all}");
        }
    }
}

/// From the 250 to the recipient's name at the upstream, for ten messages one after the other.
fn receipts(gateway: &Gateway, upstream: &Upstream, round: usize) -> Vec<Duration> {
    let mut client = shop(gateway);
    let mut sent = Vec::new();
    for n in 0..10 {
        let to = format!("receipt-{round}-{n}@b.example");
        feed_one(&mut client, &to);
        sent.push((to, Instant::now()));
    }
    let mut took = Vec::new();
    let begun = Instant::now();
    while !sent.is_empty() {
        sent.retain(|(to, at)| {
            let arrived = !upstream.namings(to).is_empty();
            took.extend(arrived.then(|| at.elapsed()));
            !arrived
        });
        assert!(begun.elapsed() < Duration::from_mins(2), "{sent:?} did not arrive");
        std::thread::sleep(Duration::from_micros(200));
    }
    took
}

fn feed_one(client: &mut Client, to: &str) {
    let reply = client.message("b@acme.example", &[to], MESSAGE).1;
    assert!(reply.as_ref().is_some_and(|reply| reply.starts_with("250")), "{to}: {reply:?}");
}

fn show(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |share: usize| took[(took.len() * share).div_ceil(100).saturating_sub(1)];
    println!(
        "{what}: {} receipts, median {:?}, p99 {:?}, longest {:?}",
        took.len(),
        at(50),
        at(99),
        took[took.len() - 1]
    );
}

#[test]
fn a_receipt_does_not_wait_for_a_campaign() {
    let (bulk, rounds) = figures().map_or((400, 1), |bulk| (bulk, 10));
    let folder = tempfile::tempdir().unwrap();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], ports::free_port()));
    let mut spec = Spec::new(address);
    two_streams(&mut spec, "class = \"transactional\"");
    let gateway = Gateway::start(folder.path(), &spec);
    // Nobody listens yet: the campaign waits as a whole.
    let threads = 8;
    let feeders: Vec<_> = (0..threads)
        .map(|thread| {
            let client = Client::connect(gateway.smtp);
            let numbers = (thread..bulk).step_by(threads);
            std::thread::spawn(move || feed(client, numbers.map(|n| format!("bulk-{n}@b.example"))))
        })
        .collect();
    for feeder in feeders {
        feeder.join().unwrap();
    }
    let upstream = Upstream::start_on(address, Duration::from_millis(if bulk > 1000 { 5 } else { 50 }));
    eventually("the first of the campaign", || (!upstream.received().is_empty()).then_some(()));
    let begun = Instant::now();
    let beside: Vec<_> = (0..rounds).flat_map(|round| receipts(&gateway, &upstream, round)).collect();
    let (arrived, elapsed) = (upstream.received().len(), begun.elapsed());
    assert!(arrived < bulk, "the campaign had ended: {arrived} of {bulk}");
    println!("campaign of {bulk}: {arrived} at the upstream when the last receipt was, after {elapsed:?}");
    eventually_slowly("the whole campaign", || upstream.received().len() >= bulk + beside.len());
    let alone: Vec<_> = (rounds..2 * rounds).flat_map(|round| receipts(&gateway, &upstream, round)).collect();
    show("beside the campaign", beside);
    show("alone", alone);
}

/// A campaign of a hundred thousand takes longer than anything else that is waited for.
fn eventually_slowly(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_mins(10), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
