//! Ports for servers that are told where to listen.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that the system gives to connections (from 32768 on), so that none of those takes one in between.
const FIRST: u16 = 10_000;
const LAST: u16 = 21_900;
/// How far test programs that run side by side begin from one another.
const STRIDE: u32 = 97;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port that is free, and that nobody else in this program is given. The one 10,000 above it is left alone too, where a
/// node of a Redis Cluster talks to the others.
pub(crate) fn free_port() -> u16 {
    let span = u32::from(LAST - FIRST);
    let start = std::process::id().wrapping_mul(STRIDE) % span;
    for _ in 0..span {
        let taken = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + u16::try_from((start + taken) % span).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free between {FIRST} and {LAST}");
}
