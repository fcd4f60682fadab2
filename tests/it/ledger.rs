//! Nothing is lost, nothing refused is sent, under load and under SIGKILL; and log, audit and upstream tell the same story.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Client, Gateway, Spec, Upstream, client::stuffed, eventually, gateway};

const MESSAGES: usize = 10_000;
const CLIENTS: usize = 50;
/// One in twenty goes to a suppressed recipient.
const SUPPRESSED_EVERY: usize = 20;

fn recipient(number: usize) -> String {
    if number.is_multiple_of(SUPPRESSED_EVERY) {
        format!("no{}@b.example", number / SUPPRESSED_EVERY % 100)
    } else {
        format!("r{number}@b.example")
    }
}

fn content(number: usize, octets: usize) -> Vec<u8> {
    let mut text = format!(
        "From: <n@acme.example>\r\nTo: <{}>\r\nSubject: {number}\r\nMessage-ID: <{number}@ledger.example>\r\n\r\n",
        recipient(number)
    )
    .into_bytes();
    while text.len() < octets {
        text.extend_from_slice(b"All work and no play makes a dull message, said the campaign tool.\r\n");
    }
    text
}

fn suppress_a_hundred(folder: &std::path::Path) {
    let file = folder.join("no.txt");
    let lines: Vec<_> = (0..100).map(|n| format!("no{n}@b.example")).collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let imported = gateway::command(folder)
        .args(["suppress", "import", file.to_str().unwrap(), "--reason", "unsubscribe"])
        .output()
        .unwrap();
    assert!(imported.status.success(), "{imported:?}");
}

#[test]
fn ten_thousand_messages_from_fifty_clients() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    suppress_a_hundred(folder.path());
    let next = Arc::new(AtomicUsize::new(0));
    let (accepted, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (next, accepted, refused, smtp) =
                (Arc::clone(&next), Arc::clone(&accepted), Arc::clone(&refused), gateway.smtp);
            std::thread::spawn(move || {
                let mut client = Client::connect(smtp);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= MESSAGES {
                        return;
                    }
                    let (rcpt, end) = client.message("b@acme.example", &[&recipient(number)], &content(number, 10_240));
                    match end {
                        Some(end) => assert!(end.starts_with("250"), "{end}"),
                        None => assert!(rcpt[0].starts_with("550 5.7.1"), "{rcpt:?}"),
                    }
                    if rcpt[0].starts_with("250") { &accepted } else { &refused }.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    let (accepted, refused) = (accepted.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
    assert_eq!((accepted, refused), (MESSAGES - MESSAGES / SUPPRESSED_EVERY, MESSAGES / SUPPRESSED_EVERY));
    eventually("every delivery", || (gateway.events("Delivery").len() >= accepted).then_some(()));
    let subjects: Vec<_> = upstream.received().iter().map(|message| message.fields("Subject").remove(0)).collect();
    assert_eq!(subjects.len(), accepted);
    assert_eq!(subjects.iter().collect::<HashSet<_>>().len(), accepted, "each exactly once");
    assert!(upstream.forward_paths().iter().all(|path| path.starts_with('r')), "none to a suppressed recipient");
    assert_eq!(
        (gateway.events("Reception").len(), gateway.events("Delivery").len(), gateway.events("Rejection").len()),
        (accepted, accepted, refused)
    );
    let count = |kind: &str| gateway.audit().iter().filter(|record| record["type"] == kind).count();
    eventually("the audit trail", || {
        (count("Reception") == accepted && count("Delivery") == accepted && count("Rejection") == refused).then_some(())
    });
}

/// What the clients of the crash test know.
#[derive(Default)]
struct Ledger {
    /// Answered 250.
    acknowledged: Mutex<HashSet<usize>>,
    /// Answered 4yz or 5yz after DATA, or refused at RCPT.
    refused: Mutex<HashSet<usize>>,
}

const ROUNDS: usize = 50;
const CRASH_CLIENTS: usize = 8;
/// Messages that may be under way to the upstream at once: `upstream.max_connections` (4 in this test) times two,
/// because the next message may follow the final dot of the last.
const IN_FLIGHT: usize = 8;

#[test]
fn fifty_kills_lose_nothing_and_repeat_little() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), Duration::from_millis(1));
    suppress_ready(&folder, upstream.address);
    let ledger = Arc::new(Ledger::default());
    let next = Arc::new(AtomicUsize::new(0));
    let (mut smtp, mut http) = (None, None);
    for round in 0..ROUNDS {
        let mut gateway = match (smtp, http) {
            (Some(smtp), Some(http)) => Gateway::restart(folder.path(), smtp, http),
            _ => Gateway::start(folder.path(), &crash_spec(upstream.address)),
        };
        (smtp, http) = (Some(gateway.smtp), Some(gateway.http));
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..CRASH_CLIENTS).map(|_| spawn_client(gateway.smtp, &ledger, &next, &stop)).collect();
        std::thread::sleep(Duration::from_millis(20 + pseudo_random(round) % 300));
        gateway.kill();
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().unwrap();
        }
    }
    let gateway = Gateway::restart(folder.path(), smtp.unwrap(), http.unwrap());
    let acknowledged = ledger.acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() > ROUNDS, "the load was too small to show anything: {}", acknowledged.len());
    eventually("every acknowledged message", || {
        let arrived = arrivals(&upstream);
        acknowledged.iter().all(|number| arrived.contains_key(number)).then_some(())
    });
    eventually("an empty queue", || {
        String::from_utf8_lossy(&gateway.run(&["queue", "stats"]).stdout).contains("copies 0").then_some(())
    });
    let arrived = arrivals(&upstream);
    let refused = ledger.refused.lock().unwrap();
    assert!(!arrived.keys().any(|number| refused.contains(number)), "something refused was sent");
    assert!(upstream.forward_paths().iter().all(|path| path.starts_with('r')), "something suppressed was sent");
    let repeats: usize = arrived.values().map(|times| times - 1).sum();
    println!("acknowledged {}, arrived {}, repeated {repeats} in {ROUNDS} kills", acknowledged.len(), arrived.len());
    assert!(repeats <= ROUNDS * IN_FLIGHT, "{repeats} repeats");
}

fn crash_spec(upstream: SocketAddr) -> Spec {
    let mut spec = Spec::new(upstream);
    spec.connections = "max_connections = 4".to_owned();
    spec
}

fn suppress_ready(folder: &tempfile::TempDir, upstream: SocketAddr) {
    let mut gateway = Gateway::start(folder.path(), &crash_spec(upstream));
    suppress_a_hundred(folder.path());
    gateway.stop();
}

fn spawn_client(
    smtp: SocketAddr,
    ledger: &Arc<Ledger>,
    next: &Arc<AtomicUsize>,
    stop: &Arc<AtomicBool>,
) -> std::thread::JoinHandle<()> {
    let (ledger, next, stop) = (Arc::clone(ledger), Arc::clone(next), Arc::clone(stop));
    std::thread::spawn(move || {
        // On a busy machine the kill comes before the thread has begun.
        let Ok(mut client) = Client::try_raw(smtp) else { return };
        if !client.reply().starts_with("220") || !client.say("EHLO c.example").starts_with("250") {
            return;
        }
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            match one_message(&mut client, number).as_deref().and_then(|reply| reply.get(..1)) {
                Some("2") => drop(ledger.acknowledged.lock().unwrap().insert(number)),
                Some("4" | "5") => drop(ledger.refused.lock().unwrap().insert(number)),
                // The connection ended: nobody knows, and both outcomes are right.
                _ => return,
            }
        }
    })
}

/// The reply that ended the message; `None` when the connection ended first.
fn one_message(client: &mut Client, number: usize) -> Option<String> {
    let known = |reply: String| if reply.is_empty() { None } else { Some(reply) };
    known(client.say("MAIL FROM:<b@acme.example>"))?;
    let rcpt = known(client.say(&format!("RCPT TO:<{}>", recipient(number))))?;
    if !rcpt.starts_with("250") {
        known(client.say("RSET"))?;
        return Some(rcpt);
    }
    known(client.say("DATA"))?;
    client.send(&stuffed(&content(number, 4096))).ok()?;
    known(client.reply())
}

fn arrivals(upstream: &Upstream) -> HashMap<usize, usize> {
    let mut arrived = HashMap::new();
    for message in upstream.received().iter() {
        *arrived.entry(message.fields("Subject").remove(0).parse().unwrap()).or_insert(0) += 1;
    }
    arrived
}

/// Spread over the round without a generator: the moment of a kill need not be unpredictable, only varied.
fn pseudo_random(round: usize) -> u64 {
    (round as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40
}
