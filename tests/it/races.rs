//! An opt-out that races the delivery of a waiting message: once it is acknowledged, nobody names that recipient.

use std::time::{Duration, Instant};

use crate::support::{Client, Gateway, Spec, Upstream, eventually};
use crate::way_through::request;

const THREADS: usize = 8;
/// Races of each thread, unless `CONSENTRY_RACES` says how many there are in all: a release is held against 10,000.
const ROUNDS: usize = 60;
/// Opt-outs begin at a moment within this time after the message began, so that they fall before, into and after its way.
const WINDOW_MICROS: u64 = 3000;
/// The upstream of the test notes when it read a RCPT, which on a busy machine is a little after it was written.
const READ_LATE: Duration = Duration::from_millis(10);

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
                (0..rounds).filter(|round| race(&mut client, &upstream, http, thread * rounds + round)).count()
            })
        })
        .collect();
    let delivered: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    let all = THREADS * rounds;
    println!("{delivered} of {all} were named before the opt-out was acknowledged, none after");
    assert!(delivered > 0 && delivered < all, "{delivered} of {all}: there was no race");
}

/// Whether the second message was named to the upstream, which may only be before the acknowledgement.
fn race(client: &mut Client, upstream: &Upstream, http: std::net::SocketAddr, number: usize) -> bool {
    let recipient = format!("r{number}@b.example");
    assert!(client.message("b@acme.example", &[&recipient], MESSAGE).1.unwrap().starts_with("250"));
    let link = eventually("the first message", || {
        let received = upstream.received();
        received
            .iter()
            .find(|message| message.to == [recipient.clone()])
            .map(|message| message.fields("List-Unsubscribe").remove(0))
    });
    let path = link.split_once("u.test.example").unwrap().1.split_once('>').unwrap().0.to_owned();
    let before = upstream.last_named(&recipient).unwrap();
    let moment = Duration::from_micros((number as u64).wrapping_mul(2_654_435_761) % WINDOW_MICROS);
    let acknowledged = std::thread::scope(|scope| {
        let opt_out = scope.spawn(|| {
            let start = Instant::now();
            while start.elapsed() < moment {
                std::hint::spin_loop();
            }
            let answer = request(http, &format!("POST {path} HTTP/1.1"), "List-Unsubscribe=One-Click");
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            Instant::now()
        });
        // Accepted, or refused because the opt-out came first: both are right.
        let (rcpt, end) = client.message("b@acme.example", &[&recipient], MESSAGE);
        let last = end.unwrap_or_else(|| rcpt[0].clone());
        assert!(last.starts_with("250") || last.contains("SUP_UNSUBSCRIBE"), "{last}");
        opt_out.join().unwrap()
    });
    // Whatever is still on its way has time to show itself.
    std::thread::sleep(READ_LATE * 2);
    let last = upstream.last_named(&recipient).unwrap();
    assert!(
        last < acknowledged + READ_LATE,
        "{recipient} was named {:?} after the acknowledgement",
        last - acknowledged
    );
    last > before
}
