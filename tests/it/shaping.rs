//! How fast mail leaves: paces and connections by destination, streams beside each other.

use std::time::{Duration, Instant};

use crate::support::name_server::NameServer;
use crate::support::{Client, Gateway, Spec, Upstream, eventually};

const MESSAGE: &[u8] = b"From: News <news@acme.example>\r\nSubject: Hello\r\n\r\nHi.\r\n";

/// Everything by the default upstream, with an operator's file of groups and limits.
fn shaped(folder: &std::path::Path, upstream: &Upstream, limits: &str) -> Spec {
    std::fs::write(folder.join("shaping.toml"), limits).unwrap();
    let mut spec = Spec::new(upstream.address);
    spec.more = "[shaping]\nfile = \"shaping.toml\"\n".to_owned();
    spec
}

fn send(client: &mut Client, to: &str) {
    let reply = client.message("b@acme.example", &[to], MESSAGE).1;
    assert!(reply.as_ref().is_some_and(|reply| reply.starts_with("250")), "{to}: {reply:?}");
}

fn arrived(upstream: &Upstream, domain: &str) -> usize {
    let ending = format!("@{domain}");
    upstream.received().iter().filter(|message| message.to.iter().any(|to| to.ends_with(&ending))).count()
}

fn stats(gateway: &Gateway) -> String {
    String::from_utf8_lossy(&gateway.run(&["queue", "stats"]).stdout).into_owned()
}

/// The slow group keeps its pace however much of it stands before the others, and nobody calls that an attempt.
#[test]
fn a_group_keeps_its_pace_and_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let limits = "[[limit]]\nroute = \"upstream\"\ngroup = \"gmail\"\nrate = \"5/s\"\n";
    let gateway = Gateway::start(folder.path(), &shaped(folder.path(), &upstream, limits));
    let mut client = Client::connect(gateway.smtp);
    let begun = Instant::now();
    for n in 0..20 {
        send(&mut client, &format!("p{n}@gmail.com"));
    }
    for n in 0..10 {
        send(&mut client, &format!("p{n}@b.example"));
    }
    eventually("the others", || (arrived(&upstream, "b.example") == 10).then_some(()));
    // Never more than the rate and its burst; what the machine's noise takes away is not held against it.
    while arrived(&upstream, "gmail.com") < 20 {
        let (passed, elapsed) = (arrived(&upstream, "gmail.com"), begun.elapsed());
        assert!(passed as u128 <= 2 + elapsed.as_millis() / 200, "{passed} after {elapsed:?}");
        assert!(elapsed < Duration::from_mins(1), "only {passed}");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(begun.elapsed() >= Duration::from_millis(3500), "{:?}", begun.elapsed());
    let attempts: Vec<_> = gateway.events("Delivery").iter().map(|event| event["num_attempts"].as_u64()).collect();
    assert!(attempts.iter().all(|attempts| *attempts == Some(1)), "{attempts:?}");
    assert!(gateway.events("TransientFailure").is_empty());
    let stats = stats(&gateway);
    assert!(stats.contains("limited gmail by upstream: 5/s, 20 passed"), "{stats}");
}

/// Groups are told apart within one message too: each transaction is for one of them.
#[test]
fn a_message_to_several_groups_is_a_transaction_for_each() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let limits = "[[limit]]\nroute = \"upstream\"\ngroup = \"orange\"\nrecipients = 2\n";
    let mut spec = shaped(folder.path(), &upstream, limits);
    spec.more += "[[stream]]\nname = \"receipts\"\ncontroller = \"acme\"\nclass = \"transactional\"\n\
                  [[credential]]\nname = \"shop\"\nstream = \"receipts\"\naddresses = [\"127.0.0.1/32\"]\n";
    spec.stream.clear();
    let gateway = Gateway::start(folder.path(), &spec);
    let mut client = Client::connect(gateway.smtp);
    let to = ["a@orange.fr", "x@b.example", "b@wanadoo.fr", "c@orange.fr", "d@orange.fr", "e@orange.fr"];
    assert!(client.message("shop@acme.example", &to, MESSAGE).1.unwrap().starts_with("250"));
    eventually("everybody", || {
        let received = upstream.received();
        (received.iter().map(|message| message.to.len()).sum::<usize>() == to.len()).then_some(())
    });
    let mut heard: Vec<_> = upstream.received().iter().map(|message| message.to.clone()).collect();
    heard.sort();
    assert!(heard.contains(&vec!["x@b.example".to_owned()]), "{heard:?}");
    assert!(heard.iter().all(|to| to.len() <= 2), "{heard:?}");
    let mut all = heard.concat();
    all.sort();
    let mut expected = to.map(str::to_owned);
    expected.sort();
    assert_eq!(all, expected, "each once");
}

/// Two domains whose servers are one provider's share its connections and its pace, though their names tell nothing.
#[test]
fn domains_of_one_provider_are_found_by_their_servers() {
    let folder = tempfile::tempdir().unwrap();
    let notices = Upstream::start();
    let upstream = Upstream::start_on(([127, 0, 0, 1], 0).into(), Duration::from_millis(5));
    let names = NameServer::start(
        "one.example MX 10 mx1.provider.example\ntwo.example MX 10 mx2.provider.example\nfree.example A 127.0.0.1\n\
         mx1.provider.example A 127.0.0.1\nmx2.provider.example A 127.0.0.1",
    );
    let limits = "[[group]]\nname = \"provider\"\nmx = [\"*.provider.example\"]\nconnections = 1\n\
                  messages_per_connection = 10\n[[limit]]\nroute = \"direct\"\ngroup = \"provider\"\nrate = \"50/s\"\n";
    let mut spec = shaped(folder.path(), &notices, limits);
    spec.stream = "route = \"direct\"\n".to_owned();
    let direct = format!(
        "[dns]\nservers = [\"{}\"]\n[[route]]\nname = \"direct\"\nkind = \"mx\"\nport = {}\ndeliver_to_loopback = true\n",
        names.address,
        upstream.address.port()
    );
    spec.more.push_str(&direct);
    let gateway = Gateway::start(folder.path(), &spec);
    let mut client = Client::connect(gateway.smtp);
    let begun = Instant::now();
    for n in 0..50 {
        send(&mut client, &format!("p{n}@one.example"));
        send(&mut client, &format!("p{n}@two.example"));
    }
    eventually("every delivery", || (upstream.received().len() == 100).then_some(()));
    // A hundred at 50/s, less the burst and what several workers had in hand before the first lookup.
    assert!(begun.elapsed() >= Duration::from_millis(1400), "{:?}", begun.elapsed());
    assert_eq!(upstream.most_sessions(), 1, "one connection to the provider");
    let stats = stats(&gateway);
    assert!(stats.contains("limited provider by direct: 50/s, "), "{stats}");
    let asked = gateway.run(&["shaping", "two.example"]);
    let said = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(said.contains("group     provider (by its mail server mx2.provider.example"), "{said}");
    assert!(said.contains("route     direct: 50/s messages, 1 connections, 10 messages a connection"), "{said}");
    assert!(said.contains("route     upstream: no limit"), "{said}");
}

/// What is wrong in an operator's file is said with its own lines, and a limit needs a route that is there.
#[test]
fn a_wrong_file_is_told_by_check() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let good = "[[limit]]\nroute = \"upstream\"\ngroup = \"all\"\nrate = \"14/s\"\n";
    let gateway = Gateway::start(folder.path(), &shaped(folder.path(), &upstream, good));
    assert!(gateway.run(&["check"]).status.success());
    let bad = [
        (
            "[[limit]]\nroute = \"upstream\"\ngroup = \"gmail\"\nrate = \"fast\"\n",
            "shaping.toml:4: `rate`: `fast`: expected a number and /s",
        ),
        ("[[limit]]\nroute = \"relay\"\ngroup = \"all\"\nrate = \"1/s\"\n", "no [[route]] of this name"),
    ];
    for (text, words) in bad {
        std::fs::write(folder.path().join("shaping.toml"), text).unwrap();
        let checked = gateway.run(&["check"]);
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(checked.status.code() == Some(78) && said.contains(words), "wanted {words} in {said}");
    }
}

fn today() -> String {
    use consentry::time::Clock;
    consentry::time::SystemClock.now().rfc3339()[..10].to_owned()
}

/// The day's messages leave, the rest waits, and a killed gateway does not begin the day anew.
#[test]
fn a_day_of_a_warm_up_has_an_end_also_over_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let mut spec = Spec::new(upstream.address);
    spec.more = format!(
        "[[warmup]]\nname = \"new\"\ndomain = \"acme.example\"\nstart = \"{}\"\ncaps = [5]\nfactor = 2.0\n",
        today()
    );
    let mut gateway = Gateway::start(folder.path(), &spec);
    let mut client = Client::connect(gateway.smtp);
    for n in 0..8 {
        send(&mut client, &format!("p{n}@b.example"));
    }
    let full =
        eventually("a full day", || gateway.events("Pace").into_iter().find(|event| event["reason"] == "DAY_FULL"));
    assert!(full["evidence"].as_str().unwrap().contains("warm-up new has sent the 5 messages of its day 1"), "{full}");
    eventually("the day's messages", || (upstream.received().len() == 5).then_some(()));
    let stats = stats(&gateway);
    assert!(stats.contains("warm-up new: day 1, 5 of 5") && stats.contains("copies 3"), "{stats}");
    assert!(gateway.events("TransientFailure").is_empty());
    gateway.kill();
    let gateway = Gateway::start(folder.path(), &spec);
    let mut client = Client::connect(gateway.smtp);
    send(&mut client, "late@b.example");
    eventually("what waits", || self::stats(&gateway).contains("copies 4").then_some(()));
    // Mail that no plan is about goes on, behind whatever would have been let through.
    assert!(client.message("b@other.example", &["last@b.example"], MESSAGE).1.unwrap().starts_with("250"));
    eventually("the other domain's", || (upstream.received().len() > 5).then_some(()));
    let received = upstream.received();
    assert_eq!(received.iter().filter(|message| message.from.contains("acme.example")).count(), 5);
}

/// What is over takes the other route when there is one; an address that is warmed up is counted by itself.
#[test]
fn what_is_over_takes_the_other_route() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, new) = (Upstream::start(), Upstream::start());
    let mut spec = Spec::new(upstream.address);
    spec.stream = "route = \"new\"\n".to_owned();
    spec.more = format!(
        "[[route]]\nname = \"new\"\nkind = \"smarthost\"\nhosts = [{{ host = \"127.0.0.1\", port = {} }}]\n\
         sources = [{{ address = \"127.0.0.1\" }}, {{ address = \"127.0.0.2\" }}]\n\
         [[warmup]]\nname = \"one\"\nsource = \"127.0.0.1\"\nstart = \"{today}\"\ncaps = [3]\ninstead = \"upstream\"\n\
         [[warmup]]\nname = \"two\"\nsource = \"127.0.0.2\"\nstart = \"{today}\"\ncaps = [4]\ninstead = \"upstream\"\n",
        new.address.port(),
        today = today()
    );
    let gateway = Gateway::start(folder.path(), &spec);
    let mut client = Client::connect(gateway.smtp);
    for n in 0..20 {
        send(&mut client, &format!("p{n}@b.example"));
    }
    eventually("everything", || (upstream.received().len() + new.received().len() == 20).then_some(()));
    assert_eq!((new.received().len(), upstream.received().len()), (7, 13));
    let stats = stats(&gateway);
    assert!(stats.contains("warm-up one: day 1, 3 of 3") && stats.contains("warm-up two: day 1, 4 of 4"), "{stats}");
}
