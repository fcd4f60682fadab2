//! What the integration tests share: a gateway process in a folder of its own, an upstream that records, a client.

pub(crate) mod browser;
pub(crate) mod certificates;
pub(crate) mod client;
pub(crate) mod exchange;
pub(crate) mod front;
pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod name_server;
pub(crate) mod namespace;
pub(crate) mod policy_server;
pub(crate) mod ports;
pub(crate) mod postfix;
pub(crate) mod redis_proxy;
pub(crate) mod redis_server;
pub(crate) mod tool;
pub(crate) mod upstream;

pub(crate) use certificates::Authority;
pub(crate) use client::Client;
pub(crate) use gateway::{Gateway, Spec};
pub(crate) use upstream::Upstream;

use std::time::{Duration, Instant};

/// How long anything is waited for before a test gives up: long enough for a busy machine, and no test measures it.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until `ready` gives something.
pub(crate) fn eventually<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
