//! The health of the way to the upstream.
//!
//! A fault of the route (it is down, it refuses us) says nothing about any message. Instead of letting every copy in
//! the queue find out for itself, the whole route rests, longer after each further fault, up to a cap.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::retry;
use crate::time::Timestamp;

/// How the route rests after faults: first a second, then doubling to a minute, so that a restarted upstream is
/// found soon and one that is down costs some connections a minute.
pub const fn default_rest() -> retry::Settings {
    retry::Settings { first: Duration::from_secs(1), cap: Duration::from_mins(1), spread: 0.2 }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Health {
    /// Faults since the last success, those that came while resting counted once.
    faults: u32,
    resting_until: Option<Timestamp>,
}

/// Shared by all connections to one upstream.
#[derive(Debug)]
pub(super) struct Route {
    rest: retry::Settings,
    health: Mutex<Health>,
}

impl Route {
    pub(super) const fn new(rest: retry::Settings) -> Self {
        Self { rest, health: Mutex::new(Health { faults: 0, resting_until: None }) }
    }

    /// How long the route still rests; zero when it may be used. Never longer than its cap allows, also when the
    /// clock was set back meanwhile.
    pub(super) fn rests_for(&self, now: Timestamp) -> Duration {
        let until = self.lock().resting_until;
        until.map_or(Duration::ZERO, |until| until.since(now)).min(self.rest.cap.saturating_mul(2))
    }

    /// A fault; returns when the route may be used again. Connections that were under way together and fail
    /// together count as one fault.
    pub(super) fn fault(&self, now: Timestamp, jitter: f64) -> Timestamp {
        let mut health = self.lock();
        if let Some(until) = health.resting_until.filter(|until| now < *until) {
            return until;
        }
        health.faults = health.faults.saturating_add(1);
        let until = now.plus(retry::delay(health.faults, jitter, &self.rest));
        health.resting_until = Some(until);
        until
    }

    /// A transaction came to its regular end, whatever the upstream thought of the message.
    pub(super) fn success(&self) {
        *self.lock() = Health::default();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Health> {
        // Nothing can panic while it is held, and the worst a half-made change could do is a rest too short.
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_and_end_and_faults_of_one_moment_count_once() {
        let route = Route::new(default_rest());
        let mut now = Timestamp::from_secs(1000);
        assert_eq!(route.rests_for(now), Duration::ZERO);
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            let until = route.fault(now, 0.5);
            assert_eq!(route.fault(now, 0.5), until, "another connection at the same moment");
            assert_eq!(route.rests_for(now), Duration::from_secs(expected));
            now = until;
            assert_eq!(route.rests_for(now), Duration::ZERO);
        }
        route.success();
        route.fault(now, 0.5);
        assert_eq!(route.rests_for(now), Duration::from_secs(1));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_make_it_rest_for_years() {
        let route = Route::new(default_rest());
        route.fault(Timestamp::from_secs(1_000_000_000), 0.5);
        assert_eq!(route.rests_for(Timestamp::from_secs(0)), Duration::from_mins(2));
    }
}
