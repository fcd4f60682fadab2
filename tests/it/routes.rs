//! Ways out: the mail servers of domains, several smarthosts, one of which dies.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use crate::support::exchange::{Exchange, Greeting, Tls};
use crate::support::name_server::NameServer;
use crate::support::ports::free_port;
use crate::support::{Client, Gateway, Spec, Upstream, eventually};

const MESSAGE: &[u8] = b"From: News <news@acme.example>\r\nSubject: Hello\r\n\r\nHi.\r\n";

/// The default upstream takes our own notices; the stream goes to the servers of the recipients' domains.
fn direct(notices: SocketAddr, names: &NameServer, port: u16, more: &str) -> Spec {
    let mut spec = Spec::new(notices);
    spec.stream = "route = \"direct\"\n".to_owned();
    spec.more = format!(
        "[dns]\nservers = [\"{}\"]\n[[route]]\nname = \"direct\"\nkind = \"mx\"\nport = {port}\n{more}\n",
        names.address
    );
    spec
}

const ZONE: &str = "
    two.example MX 10 dead.example
    two.example MX 20 alive.example
    dead.example A 127.0.0.2
    alive.example A 127.0.0.1
    implicit.example A 127.0.0.1
    alias.example CNAME implicit.example
    xn--bcher-kva.example MX 10 alive.example
    null.example MX 0 .
    hollow.example MX 10 nobody.example
    half.example MX 10 x.broken.example
    half.example MX 20 alive.example
";

#[test]
fn each_kind_of_domain_has_the_outcome_that_its_zone_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, notices) = (Upstream::start(), Upstream::start());
    let names = NameServer::start(ZONE);
    let spec = direct(notices.address, &names, upstream.address.port(), "deliver_to_loopback = true");
    let gateway = Gateway::start(folder.path(), &spec);
    let delivered =
        ["a@two.example", "b@implicit.example", "c@alias.example", "d@xn--bcher-kva.example", "f@half.example"];
    let refused = [
        ("g@null.example", "556 5.1.10"),
        ("h@missing.example", "550 5.1.2"),
        ("i@hollow.example", "550 5.4.4"),
        ("j@example", "550 5.1.2"),
    ];
    let waiting = "k@broken.example";
    let mut client = Client::connect(gateway.smtp);
    for to in delivered.iter().chain(refused.iter().map(|(to, _)| to)).chain([&waiting]) {
        let reply = client.message("bounces@acme.example", &[to], MESSAGE).1;
        assert!(reply.as_ref().is_some_and(|reply| reply.starts_with("250")), "{to}: {reply:?}");
    }
    let arrived: HashSet<String> = eventually("every delivery", || {
        let received = upstream.received();
        (received.len() >= delivered.len()).then(|| received.iter().flat_map(|message| message.to.clone()).collect())
    });
    assert_eq!(arrived, delivered.iter().map(|to| (*to).to_owned()).collect());
    for (to, expected) in refused {
        let event = eventually(to, || gateway.events("Bounce").into_iter().find(|event| event["recipient"] == to));
        assert_eq!(response(&event), expected, "{event}");
        assert_eq!(event["route"], "direct");
    }
    let event = eventually(waiting, || {
        gateway.events("TransientFailure").into_iter().find(|event| event["recipient"] == waiting)
    });
    assert_eq!(response(&event), "451 4.4.3");
    let opened = gateway.events("CircuitOpened");
    assert_eq!(opened.iter().map(|event| event["site"].as_str().unwrap()).collect::<Vec<_>>(), ["broken.example"]);
    // Our own notices go by the default route.
    eventually("every notice", || (notices.received().len() == refused.len()).then_some(()));
    assert_eq!(upstream.received().len(), delivered.len());
}

/// `556 5.1.10`.
fn response(event: &serde_json::Value) -> String {
    let (response, status) = (&event["response"], &event["response"]["enhanced_code"]);
    format!("{} {}.{}.{}", response["code"], status["class"], status["subject"], status["detail"])
}

#[test]
fn mail_that_would_come_back_to_us_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, notices) = (Upstream::start(), Upstream::start());
    let zone = "we.example MX 10 us.example\nwe.example MX 20 other.example\nus.example A 127.0.0.1\nother.example A 127.0.0.1";
    let names = NameServer::start(zone);
    let gateway = Gateway::start(folder.path(), &direct(notices.address, &names, upstream.address.port(), ""));
    let mut client = Client::connect(gateway.smtp);
    for to in ["a@we.example", "b@us.example"] {
        assert!(client.message("bounces@acme.example", &[to], MESSAGE).1.unwrap().starts_with("250"));
        let event = eventually(to, || gateway.events("Bounce").into_iter().find(|event| event["recipient"] == to));
        assert_eq!(response(&event), "554 5.4.6");
    }
    assert!(upstream.forward_paths().is_empty());
}

/// A transactional message to people at two domains is one copy for each domain, and each server hears of its own.
#[test]
fn a_message_to_two_domains_is_told_to_each_about_its_own_people() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, notices) = (Upstream::start(), Upstream::start());
    let names = NameServer::start("one.example A 127.0.0.1\ntwo.example A 127.0.0.1");
    let mut spec = direct(notices.address, &names, upstream.address.port(), "deliver_to_loopback = true");
    spec.stream.clear();
    spec.more += "[[stream]]\nname = \"receipts\"\ncontroller = \"acme\"\nclass = \"transactional\"\nroute = \"direct\"\n\
                  [[credential]]\nname = \"shop\"\nstream = \"receipts\"\naddresses = [\"127.0.0.1/32\"]\n";
    let gateway = Gateway::start(folder.path(), &spec);
    let mut client = Client::connect(gateway.smtp);
    let to = ["a@one.example", "b@two.example", "c@one.example"];
    assert!(client.message("shop@acme.example", &to, MESSAGE).1.unwrap().starts_with("250"));
    eventually("both copies", || (upstream.received().len() == 2).then_some(()));
    let mut heard: Vec<_> = upstream.received().iter().map(|message| message.to.clone()).collect();
    heard.sort();
    assert_eq!(heard, [vec!["a@one.example", "c@one.example"], vec!["b@two.example"]]);
}

/// Four connections to one domain, and no more than the route has to all of them.
#[test]
fn connections_are_bounded_for_each_domain_and_for_the_route() {
    let zone = "one.example A 127.0.0.1\ntwo.example A 127.0.0.1\nthree.example A 127.0.0.1";
    for (domains, bound, expected) in [(&["one"][..], 100, 2..=4), (&["one", "two", "three"], 2, 1..=2)] {
        let folder = tempfile::tempdir().unwrap();
        let notices = Upstream::start();
        let upstream = Upstream::start_on(([127, 0, 0, 1], 0).into(), Duration::from_millis(5));
        let names = NameServer::start(zone);
        let more = format!("deliver_to_loopback = true\nmax_connections = {bound}");
        let gateway = Gateway::start(folder.path(), &direct(notices.address, &names, upstream.address.port(), &more));
        let mut client = Client::connect(gateway.smtp);
        for n in 0..100 {
            for domain in domains {
                let reply = client.message("b@acme.example", &[&format!("p{n}@{domain}.example")], MESSAGE).1;
                assert!(reply.unwrap().starts_with("250"));
            }
        }
        eventually("every delivery", || (upstream.received().len() == 100 * domains.len()).then_some(()));
        let most = upstream.most_sessions();
        assert!(expected.contains(&most), "{most} sessions at a time for {domains:?}");
    }
}

/// UP-10: aliases that lead in a circle, an answer that does not fit a datagram, a host whose other address leads nowhere.
#[test]
fn a_zone_in_disorder_ends_in_an_outcome_and_what_is_found_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, notices) = (Upstream::start(), Upstream::start());
    let mut zone = "ring.example CNAME circle.example\ncircle.example CNAME ring.example\n\
                    lost.example MX 10 ring.example\n\
                    halves.example MX 10 both.example\nboth.example AAAA 100::1\nboth.example A 127.0.0.1\n\
                    many.example MX 1 alive.example\nalive.example A 127.0.0.1\n"
        .to_owned();
    for number in 0..60 {
        writeln!(zone, "many.example MX {} a-mail-server-with-a-long-name-{number}.many.example", 100 + number)
            .unwrap();
    }
    let names = NameServer::start(&zone);
    let spec = direct(notices.address, &names, upstream.address.port(), "deliver_to_loopback = true");
    let gateway = Gateway::start(folder.path(), &spec);
    let mut client = Client::connect(gateway.smtp);
    for to in ["a@many.example", "b@halves.example", "c@ring.example", "d@lost.example"] {
        assert!(client.message("b@acme.example", &[to], MESSAGE).1.unwrap().starts_with("250"));
    }
    eventually("what can be delivered", || (upstream.received().len() == 2).then_some(()));
    // A name that leads nowhere has no record; a resolver that answers SERVFAIL instead makes the mail wait.
    for (to, expected) in [("c@ring.example", "550 5.1.2"), ("d@lost.example", "550 5.4.4")] {
        let event = eventually(to, || gateway.events("Bounce").into_iter().find(|event| event["recipient"] == to));
        assert_eq!(response(&event), expected, "{event}");
    }
}

/// Each source address is used in its turn, and is called by its own name; a route's `hello` where a source has none.
#[test]
fn a_route_connects_from_its_own_addresses_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let notices = Upstream::start();
    let exchange = Exchange::start(SocketAddr::from(([127, 0, 0, 1], free_port())), Tls::None);
    let names = NameServer::start("one.example A 127.0.0.1\nsix.example AAAA ::1");
    let more = "deliver_to_loopback = true\nhello = \"route.example\"\nsources = [\n\
                { address = \"127.0.0.11\", hello = \"out1.example\" },\n{ address = \"127.0.0.12\" },\n]";
    let gateway = Gateway::start(folder.path(), &direct(notices.address, &names, exchange.address.port(), more));
    // One worker for each domain: each opens a session of its own, and takes the next source.
    for to in ["a@one.example", "b@one.example"] {
        assert!(Client::connect(gateway.smtp).message("b@acme.example", &[to], MESSAGE).1.unwrap().starts_with("250"));
        eventually(to, || exchange.arrivals().iter().find(|arrival| arrival.to == to).cloned());
        // The session is closed for idleness before the next message.
        eventually("the end of the session", || (exchange.open_sessions() == 0).then_some(()));
    }
    let greeting = |from: [u8; 4], name: &str| Greeting { from: from.into(), name: name.to_owned() };
    assert_eq!(
        exchange.greetings(),
        [greeting([127, 0, 0, 11], "out1.example"), greeting([127, 0, 0, 12], "route.example")]
    );
    // No source of its family: not connected to, and the mail waits.
    let to = "c@six.example";
    assert!(Client::connect(gateway.smtp).message("b@acme.example", &[to], MESSAGE).1.unwrap().starts_with("250"));
    let waits =
        eventually(to, || gateway.events("TransientFailure").into_iter().find(|event| event["recipient"] == to));
    assert!(waits.to_string().contains("no source address of its family"), "{waits}");
}

fn two_smarthosts(one: SocketAddr, two: SocketAddr) -> Spec {
    let mut spec = Spec::new(one);
    spec.stream = "route = \"pair\"\n".to_owned();
    let host = |at: SocketAddr| format!("{{ host = \"127.0.0.1\", port = {} }}", at.port());
    spec.more = format!(
        "[[route]]\nname = \"pair\"\nkind = \"smarthost\"\nhosts = [{}, {}]\nmax_connections = 2\n",
        host(one),
        host(two)
    );
    spec
}

#[test]
fn when_a_smarthost_dies_the_other_takes_over_nothing_is_lost_and_its_return_is_seen() {
    const HALF: usize = 300;
    let folder = tempfile::tempdir().unwrap();
    let (mortal, steady) =
        (Upstream::start(), Upstream::start_on(([127, 0, 0, 1], 0).into(), Duration::from_millis(1)));
    let gateway = Gateway::start(folder.path(), &two_smarthosts(mortal.address, steady.address));
    let mut client = Client::connect(gateway.smtp);
    let mut submit = |numbers: std::ops::Range<usize>| {
        for n in numbers {
            assert!(
                client.message("b@acme.example", &[&format!("p{n}@b.example")], MESSAGE).1.unwrap().starts_with("250")
            );
        }
    };
    submit(0..HALF / 2);
    eventually("both to be used", || (!mortal.received().is_empty() && !steady.received().is_empty()).then_some(()));
    mortal.die();
    submit(HALF / 2..HALF);
    let people = |upstream: &Upstream| -> Vec<String> {
        upstream.received().iter().flat_map(|message| message.to.clone()).collect()
    };
    eventually("everybody's mail", || {
        let everybody: HashSet<String> = people(&mortal).into_iter().chain(people(&steady)).collect();
        (everybody.len() == HALF).then_some(())
    });
    let site = format!("127.0.0.1:{}", mortal.address.port());
    let opened = gateway.events("CircuitOpened");
    assert!(!opened.is_empty() && opened.iter().all(|event| event["site"] == *site), "{opened:?}");
    // A message whose 250 was cut off may have come twice, and the record says so.
    let warned =
        gateway.events("TransientFailure").iter().filter(|event| event.to_string().contains("more than once")).count();
    let total = people(&mortal).len() + people(&steady).len();
    assert!(total <= HALF + warned, "{total} arrived, {warned} warnings");

    let reborn = Upstream::start_on(mortal.address, Duration::ZERO);
    let mut next = HALF;
    eventually("mail at the one that is back", || {
        submit(next..next + 10);
        next += 10;
        (!reborn.received().is_empty()).then_some(())
    });
    eventually("its return in the log", || {
        gateway.events("CircuitClosed").into_iter().find(|event| event["site"] == *site)
    });
}
