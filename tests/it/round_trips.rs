//! What a connection carries when each round trip takes 20 ms, with and without PIPELINING upstream. The delay is a relay of
//! the test's own, since not every kernel has `netem`: it holds each octet for half of a round trip, in each direction.
//! In full: `CONSENTRY_ROUND_TRIPS=500 cargo test --release --test it round_trips -- --nocapture`.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use crate::support::{Client, Gateway, Spec, Upstream, eventually};

/// Of one direction.
const HALF: Duration = Duration::from_millis(10);

/// How often the gateway had to hear an answer before it could say more.
#[derive(Default)]
struct Turns {
    answered: AtomicBool,
    taken: AtomicUsize,
}

/// Who is heard on one direction of a connection.
#[derive(Clone, Copy)]
enum Voice {
    Gateway,
    Upstream,
}

/// Listens on a port of its own and hands everything on, late.
fn far_away(upstream: SocketAddr, turns: &Arc<Turns>) -> SocketAddr {
    let turns = Arc::clone(turns);
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let (Ok(near), Ok(far)) = (near, TcpStream::connect(upstream)) else { return };
            near.set_nodelay(true).unwrap();
            far.set_nodelay(true).unwrap();
            hold(near.try_clone().unwrap(), far.try_clone().unwrap(), Voice::Gateway, &turns);
            hold(far, near, Voice::Upstream, &turns);
        }
    });
    address
}

/// Reads at once and writes when the time has come, so that what follows closely arrives closely.
fn hold(mut from: TcpStream, mut to: TcpStream, voice: Voice, turns: &Arc<Turns>) {
    let turns = Arc::clone(turns);
    let (on_the_way, arrives) = mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        let mut octets = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from.read(&mut octets) {
            match voice {
                Voice::Upstream => turns.answered.store(true, Ordering::SeqCst),
                Voice::Gateway if turns.answered.swap(false, Ordering::SeqCst) => {
                    turns.taken.fetch_add(1, Ordering::SeqCst);
                }
                Voice::Gateway => {}
            }
            if on_the_way.send((Instant::now() + HALF, octets[..read].to_vec())).is_err() {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        for (due, octets) in arrives {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&octets).is_err() {
                return;
            }
        }
        let _closed_already = to.shutdown(Shutdown::Write);
    });
}

/// Messages a second on one connection that is open when the clock starts, and turns for each of them.
fn carried(upstream: &Upstream, messages: usize) -> (f64, f64) {
    let (folder, turns) = (tempfile::tempdir().unwrap(), Arc::<Turns>::default());
    let mut spec = Spec::new(far_away(upstream.address, &turns));
    spec.connections = "max_connections = 1\n".to_owned();
    let gateway = Gateway::start(folder.path(), &spec);
    let mut client = Client::connect(gateway.smtp);
    let mut send = |number: usize| {
        let message =
            format!("From: News <news@acme.example>\r\nSubject: {number}\r\n\r\n{}", "Hello.\r\n".repeat(256));
        let end = client.message("b@acme.example", &[&format!("p{number}@b.example")], message.as_bytes()).1;
        assert!(end.unwrap().starts_with("250"));
    };
    send(0);
    eventually("the first message", || (upstream.received().len() == 1).then_some(()));
    let (begun, before) = (Instant::now(), turns.taken.load(Ordering::SeqCst));
    (1..=messages).for_each(&mut send);
    while upstream.received().len() <= messages {
        assert!(begun.elapsed() < Duration::from_mins(5), "only {} arrived", upstream.received().len());
        std::thread::sleep(Duration::from_millis(1));
    }
    let taken = turns.taken.load(Ordering::SeqCst) - before;
    let count = f64::from(u32::try_from(messages).unwrap());
    assert_eq!(upstream.most_sessions(), 1);
    (count / begun.elapsed().as_secs_f64(), f64::from(u32::try_from(taken).unwrap()) / count)
}

#[test]
fn pipelining_saves_round_trips() {
    let messages =
        std::env::var("CONSENTRY_ROUND_TRIPS").map_or(30, |text| text.parse().expect("a number of messages"));
    let (near, plain) = (Upstream::start(), Upstream::start());
    plain.say("EHLO", Some("250-upstream.example\r\n250 8BITMIME"));
    let ((with, turns), (without, turns_without)) = (carried(&near, messages), carried(&plain, messages));
    println!(
        "20 ms a round trip, one connection: {with:.1} messages/s with PIPELINING ({turns:.2} turns each), {without:.1} \
         without ({turns_without:.2}), {:.2} times",
        with / without
    );
    // MAIL, RCPT, DATA and the content each wait for an answer without it; with it the envelope is one turn at most.
    assert!(turns_without >= 4.0 && turns <= 2.5, "{turns} {turns_without}");
}
