//! An opt-out that races the delivery of a waiting message: once it is acknowledged, nobody names that recipient.

use std::time::{Duration, Instant};

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
    let rounds = std::env::var("CONSENTRY_RACES").map_or(ROUNDS, |all| all.parse::<usize>().unwrap().div_ceil(THREADS));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let upstream = upstream.clone();
            std::thread::spawn(move || {
                let mut client = Client::connect(smtp);
                let numbers = (0..rounds).map(|round| thread * rounds + round);
                numbers.map(|number| race(&mut client, &upstream, http, number)).collect::<Vec<_>>()
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

struct Race {
    recipient: String,
    /// The message that brought the link.
    first: Vec<Naming>,
    /// What had reached the upstream when the acknowledgement was read.
    acknowledged: Arrived,
}

/// Sends a second message while its recipient opts out by the link of the first.
fn race(client: &mut Client, upstream: &Upstream, http: std::net::SocketAddr, number: usize) -> Race {
    let recipient = format!("r{number}@b.example");
    assert!(client.message("b@acme.example", &[&recipient], MESSAGE).1.unwrap().starts_with("250"));
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
        let (rcpt, end) = client.message("b@acme.example", &[&recipient], MESSAGE);
        let last = end.unwrap_or_else(|| rcpt[0].clone());
        assert!(last.starts_with("250") || last.contains("SUP_UNSUBSCRIBE"), "{last}");
        opt_out.join().unwrap()
    });
    Race { recipient, first, acknowledged }
}
