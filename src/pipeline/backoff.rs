//! Who has guessed wrong has to wait, longer each time.
//!
//! Counted is by address, and by account *and* address: whoever guesses at an account from elsewhere does not keep its
//! owner out.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::crowd::Neighbourhood;
use crate::time::Timestamp;

/// Wrong passwords for one account from one address before the next try has to wait. Ours: a person who mistypes.
const FREE_BY_ACCOUNT: u32 = 3;
/// Wrong logins from one address, whatever the account. Ours: many tools may share an address, and each may mistype.
const FREE_BY_ADDRESS: u32 = 30;
/// The first wait; each further failure doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(10);
/// The longest wait. Ours: some hundred guesses a day, and a person who has found the right password can wait for it.
const LONGEST_WAIT: Duration = Duration::from_mins(15);
/// When a failure is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(1);
/// Entries kept: some 5 MB. Beyond it the oldest goes; whoever has so many addresses is not slowed down by waiting.
const ENTRIES_MAX: usize = 50_000;
/// What is swept out at a time when there is no room left, so that a sweep is rare.
const SWEPT_AT_LEAST: usize = ENTRIES_MAX / 10;

/// The failures of late.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    hasher: RandomState,
    entries: Mutex<HashMap<Key, Failures>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Address(Neighbourhood),
    /// The name as a hash: it is the client's and may be of any length.
    Account(u64, Neighbourhood),
}

impl Key {
    const fn free(self) -> u32 {
        match self {
            Self::Address(_) => FREE_BY_ADDRESS,
            Self::Account(..) => FREE_BY_ACCOUNT,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Timestamp,
}

impl Failures {
    /// How long the next try has to wait, counted from the last failure.
    fn wait(self, free: u32) -> Duration {
        match self.count.checked_sub(free) {
            None => Duration::ZERO,
            Some(doublings) => FIRST_WAIT.saturating_mul(1 << doublings.min(16)).min(LONGEST_WAIT),
        }
    }
}

impl Backoff {
    /// How long a client at `peer` that says it is `name` still has to wait; `None` when it may try.
    pub(super) fn wait(&self, name: &str, peer: IpAddr, now: Timestamp) -> Option<Duration> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let left = |key: Key| {
            let failures = entries.get(&key)?;
            Some(failures.last.plus(failures.wait(key.free())).since(now))
        };
        self.keys(name, peer).into_iter().filter_map(left).max().filter(|left| !left.is_zero())
    }

    /// Notes a wrong login.
    pub(super) fn failed(&self, name: &str, peer: IpAddr, now: Timestamp) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        for key in self.keys(name, peer) {
            let failures = entries.entry(key).or_insert(Failures { count: 0, last: now });
            if now.since(failures.last) >= FORGOTTEN_AFTER {
                failures.count = 0;
            }
            *failures = Failures { count: failures.count.saturating_add(1), last: now };
        }
        if entries.len() > ENTRIES_MAX {
            sweep(&mut entries);
        }
    }

    /// Notes a right login: the account is no longer guessed at from there. The address may still try others.
    pub(super) fn succeeded(&self, name: &str, peer: IpAddr) {
        let [_, account] = self.keys(name, peer);
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).remove(&account);
    }

    fn keys(&self, name: &str, peer: IpAddr) -> [Key; 2] {
        let peer = Neighbourhood::of(peer);
        [Key::Address(peer), Key::Account(self.hasher.hash_one(name), peer)]
    }
}

/// Drops the oldest.
fn sweep(entries: &mut HashMap<Key, Failures>) {
    let mut times: Vec<_> = entries.values().map(|failures| failures.last).collect();
    let (_, bound, _) = times.select_nth_unstable(SWEPT_AT_LEAST);
    let bound = *bound;
    entries.retain(|_, failures| failures.last > bound);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(1_800_000_000 + seconds)
    }

    #[test]
    fn the_wait_doubles_after_the_free_tries_up_to_its_limit_and_ends() {
        let backoff = Backoff::default();
        for _ in 1..FREE_BY_ACCOUNT {
            backoff.failed("shop", HERE, at(0));
            assert_eq!(backoff.wait("shop", HERE, at(0)), None);
        }
        for wait in [10, 20, 40, 80, 160, 320, 640, 900, 900] {
            backoff.failed("shop", HERE, at(0));
            assert_eq!(backoff.wait("shop", HERE, at(0)), Some(Duration::from_secs(wait)));
            let last = i64::try_from(wait).unwrap() - 1;
            assert_eq!(backoff.wait("shop", HERE, at(last)), Some(Duration::from_secs(1)));
            assert_eq!(backoff.wait("shop", HERE, at(last + 1)), None);
        }
        backoff.failed("shop", HERE, at(3600));
        assert_eq!(backoff.wait("shop", HERE, at(3600)), None, "an hour later it is forgotten");
    }

    #[test]
    fn nobody_is_kept_out_by_guesses_from_elsewhere() {
        let backoff = Backoff::default();
        for _ in 0..10 {
            backoff.failed("shop", HERE, at(0));
        }
        assert!(backoff.wait("shop", HERE, at(0)).is_some());
        assert_eq!(backoff.wait("shop", THERE, at(0)), None);
        assert_eq!(backoff.wait("other", HERE, at(0)), None);
        backoff.succeeded("shop", HERE);
        assert_eq!(backoff.wait("shop", HERE, at(0)), None);
    }

    #[test]
    fn an_address_that_tries_many_accounts_waits_as_a_whole() {
        let backoff = Backoff::default();
        let from = |last: u16| IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, last));
        for try_number in 1..FREE_BY_ADDRESS {
            backoff.failed(&format!("account {try_number}"), from(1), at(0));
        }
        assert_eq!(backoff.wait("shop", from(2), at(0)), None);
        backoff.failed("one more", from(3), at(0));
        assert_eq!(backoff.wait("shop", from(2), at(0)), Some(FIRST_WAIT), "one /64 is one address");
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let backoff = Backoff::default();
        let each = i64::try_from(ENTRIES_MAX / 2).unwrap();
        let address = |n: i64| IpAddr::V4(std::net::Ipv4Addr::from(u32::try_from(n).unwrap()));
        for n in 0..each {
            backoff.failed("shop", address(n), at(n));
        }
        assert_eq!(backoff.entries.lock().unwrap().len(), ENTRIES_MAX);
        backoff.failed("shop", address(each), at(each));
        let left = backoff.entries.lock().unwrap();
        assert!(left.len() <= ENTRIES_MAX - SWEPT_AT_LEAST + 2, "{}", left.len());
        assert!(
            left.contains_key(&Key::Address(Neighbourhood::of(address(each))))
                && !left.contains_key(&Key::Address(Neighbourhood::of(address(0))))
        );
    }
}
