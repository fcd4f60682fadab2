//! Between the answer of the API and the next message there is no gap.

use std::net::SocketAddr;

use serde_json::json;

use super::{call, consent, hand_in, house, opt_out};
use crate::support::{Client, eventually};

const THREADS: usize = 8;
/// Rounds of each thread, unless `CONSENTRY_RACES` says how many there are in all.
const ROUNDS: usize = 25;

#[test]
fn what_was_answered_holds_for_the_very_next_message() {
    let house = house("requests_per_second = 100000\n");
    let token = house.whole();
    let rounds = std::env::var("CONSENTRY_RACES").map_or(ROUNDS, |all| all.parse::<usize>().unwrap().div_ceil(THREADS));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (api, smtp, token) = (house.api, house.gateway.smtp, token.clone());
            std::thread::spawn(move || {
                let mut client = Client::connect(smtp);
                (0..rounds).for_each(|round| race(&mut client, api, &token, thread * rounds + round));
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    eventually("an empty queue", || {
        String::from_utf8_lossy(&house.gateway.run(&["queue", "stats"]).stdout).contains("copies 0").then_some(())
    });
    // Each was sent the message between their yes and their no at most: their no may have caught that one in the queue.
    for number in 0..THREADS * rounds {
        let address = format!("r{number}@b.example");
        let sent = house.upstream.received().iter().filter(|message| message.to == [address.clone()]).count();
        assert!(sent <= 1, "{address}: {sent}");
    }
    println!("{} people: sent after their consent, refused after their opt-out, each time", THREADS * rounds);
}

fn race(client: &mut Client, api: SocketAddr, token: &str, number: usize) {
    let address = format!("r{number}@b.example");
    assert_eq!(call(api, token, "PUT /v1/consents", "", Some(&consent(&address))).status, 201);
    let sent = hand_in(client, &address);
    assert!(sent.starts_with("250"), "{address}: {sent}");
    let gone = if number.is_multiple_of(2) {
        opt_out(&address)
    } else {
        json!({ "address": address, "scope": "controller:acme", "cause": "legal_objection" })
    };
    assert_eq!(call(api, token, "PUT /v1/suppressions", "", Some(&gone)).status, 201);
    let refused = hand_in(client, &address);
    assert!(refused.starts_with('5'), "{address}: {refused}");
}
