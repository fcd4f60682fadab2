//! An opt-out that races the delivery of a waiting message: once it is acknowledged, nobody names that recipient.

use std::time::{Duration, Instant};

use crate::redis::{prepare, spec_at, submit};
use crate::support::redis_server::RedisServer;
use crate::support::upstream::{Arrived, Naming};
use crate::support::{Client, Gateway, Spec, Upstream, eventually};
use crate::way_through::request;

const THREADS: usize = 8;
/// Races of each thread, unless `CONSENTRY_RACES` says how many there are in all: a release is held against 10,000.
const ROUNDS: usize = 60;
/// Opt-outs begin at a moment within this time after the message began, so that they fall before, into and after its way.
const WINDOW_MICROS: u64 = 3000;

const MESSAGE: &[u8] = b"From: News <news@acme.example>\r\nSubject: hello\r\n\r\nHello\r\n";

#[test]
fn nobody_is_named_to_the_upstream_after_their_opt_out_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    let (smtp, http) = (gateway.smtp, gateway.http);
    let rounds = rounds();
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let upstream = upstream.clone();
            std::thread::spawn(move || {
                let mut clients = [Client::connect(smtp)];
                let numbers = (0..rounds).map(|round| thread * rounds + round);
                numbers.map(|number| race(&mut clients, &upstream, http, number)).collect::<Vec<_>>()
            })
        })
        .collect();
    let races: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    eventually("an empty queue", || {
        String::from_utf8_lossy(&gateway.run(&["queue", "stats"]).stdout).contains("copies 0").then_some(())
    });
    let mut delivered = 0;
    for Race { recipient, first, acknowledged } in &races {
        let namings = upstream.namings(recipient);
        let late: Vec<_> = namings.iter().filter(|naming| !acknowledged.holds(naming)).collect();
        assert!(late.is_empty(), "{recipient} was named after the acknowledgement: {late:?}, {acknowledged:?}");
        delivered += usize::from(namings.len() > first.len());
    }
    println!("{delivered} of {} were named before the opt-out was acknowledged, none after", races.len());
    assert!(delivered > 0 && delivered < races.len(), "{delivered} of {}: there was no race", races.len());
}

fn rounds() -> usize {
    std::env::var("CONSENTRY_RACES").map_or(ROUNDS, |all| all.parse::<usize>().unwrap().div_ceil(THREADS))
}

/// The same with the opt-out at one gateway and the delivery at another. Each has a fence of its own, so a recipient whose facts the
/// other one had read may be named there once more; how often is printed. Whatever is handed in afterwards goes to nobody.
#[test]
fn an_opt_out_that_races_the_delivery_of_another_gateway_stops_everything_behind_it() {
    let (redis, upstream) = (RedisServer::start(&[]), Upstream::start());
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let spec = spec_at(upstream.address, redis.port);
    prepare(first.path(), &spec, None);
    prepare(second.path(), &spec, Some(first.path()));
    let gateways = [Gateway::restart_there(first.path()), Gateway::restart_there(second.path())];
    let (doors, http, rounds) = (gateways.each_ref().map(|gateway| gateway.smtp), gateways[0].http, rounds());
    let races: Vec<_> = std::thread::scope(|scope| {
        let run = |thread: usize| {
            let mut clients = doors.map(Client::connect);
            let numbers = (0..rounds).map(|round| thread * rounds + round);
            numbers.map(|number| race(&mut clients, &upstream, http, number)).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || run(thread))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    for gateway in &gateways {
        eventually("an empty queue", || {
            String::from_utf8_lossy(&gateway.run(&["queue", "stats"]).stdout).contains("copies 0").then_some(())
        });
    }
    let (mut named, mut late) = (0, 0);
    for Race { recipient, first, acknowledged } in &races {
        let namings = upstream.namings(recipient);
        assert!(namings.len() <= first.len() + 1, "{recipient}: {namings:?}");
        named += usize::from(namings.len() > first.len());
        late += namings.iter().filter(|naming| !acknowledged.holds(naming)).count();
    }
    println!("{named} of {} were named at the other gateway, {late} of them after the acknowledgement", races.len());
    assert!(named > 0 && named < races.len(), "{named} of {}: there was no race", races.len());
    for Race { recipient, .. } in &races {
        for door in doors {
            let refused = submit(door, recipient);
            assert!(refused.contains("SUP_UNSUBSCRIBE"), "{recipient}: {refused}");
        }
    }
}

struct Race {
    recipient: String,
    /// The message that brought the link.
    first: Vec<Naming>,
    /// What had reached the upstream when the acknowledgement was read.
    acknowledged: Arrived,
}

/// Sends a second message, by the last of the clients, while its recipient opts out by the link of the first.
fn race(clients: &mut [Client], upstream: &Upstream, http: std::net::SocketAddr, number: usize) -> Race {
    let recipient = format!("r{number}@b.example");
    assert!(clients[0].message("b@acme.example", &[&recipient], MESSAGE).1.unwrap().starts_with("250"));
    let link = eventually("the first message", || {
        let received = upstream.received();
        received
            .iter()
            .rev()
            .find(|message| message.to == [recipient.clone()])
            .map(|message| message.fields("List-Unsubscribe").remove(0))
    });
    let path = link.split_once("u.test.example").unwrap().1.split_once('>').unwrap().0.to_owned();
    let first = upstream.namings(&recipient);
    let moment = Duration::from_micros((number as u64).wrapping_mul(2_654_435_761) % WINDOW_MICROS);
    let acknowledged = std::thread::scope(|scope| {
        let opt_out = scope.spawn(|| {
            let start = Instant::now();
            while start.elapsed() < moment {
                std::hint::spin_loop();
            }
            let answer = request(http, &format!("POST {path} HTTP/1.1"), "List-Unsubscribe=One-Click");
            let arrived = upstream.arrived();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            arrived
        });
        // Accepted, or refused because the opt-out came first: both are right.
        let (rcpt, end) = clients.last_mut().unwrap().message("b@acme.example", &[&recipient], MESSAGE);
        let last = end.unwrap_or_else(|| rcpt[0].clone());
        assert!(last.starts_with("250") || last.contains("SUP_UNSUBSCRIBE"), "{last}");
        opt_out.join().unwrap()
    });
    Race { recipient, first, acknowledged }
}
