//! The health of one way out: a host, or a domain's mail servers.
//!
//! A fault of the way (it is down, it refuses us) says nothing about any message. Instead of letting every copy in the
//! queue find out for itself, the circuit opens: the way rests, longer after each further fault, up to a cap. After the
//! rest one copy is sent to see; its success closes the circuit, its fault lets the way rest again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::retry;
use crate::mail::RouteName;
use crate::replies::Class;
use crate::smtp::client::Blame;
use crate::time::Timestamp;

/// How a smarthost rests after faults: first a second, then doubling to a minute, so that a restarted upstream is
/// found soon and one that is down costs a connection a minute.
pub const fn default_rest() -> retry::Settings {
    retry::Settings { first: Duration::from_secs(1), cap: Duration::from_mins(1), spread: 0.2 }
}

/// How the mail servers of a domain rest: they are strangers, and there may be thousands of them.
pub const fn default_domain_rest() -> retry::Settings {
    retry::Settings { first: Duration::from_secs(30), cap: Duration::from_mins(30), spread: 0.2 }
}

/// The copy that is sent to see how the way is may have been withdrawn or put aside without a word: after this
/// another one is sent.
const PROBE_MAX: Duration = Duration::from_secs(10);

/// Why a way does not work, for whoever has to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Since when.
    pub since: Timestamp,
    /// The route.
    pub route: RouteName,
    /// Where it ends: `host:port` of a smarthost, or a domain.
    pub site: String,
    /// Whose fault it is.
    pub blame: Blame,
    /// What the refusal was taken for.
    pub class: Class,
    /// What was said, or what we met.
    pub response: String,
}

#[derive(Clone, Debug, Default)]
struct Health {
    /// Faults since the last success, those that came while resting counted once.
    faults: u32,
    resting_until: Option<Timestamp>,
    /// While a copy is on its way to see.
    probing_until: Option<Timestamp>,
    /// What operators were told.
    told: Option<Arc<Trouble>>,
}

/// Whether a way may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It may.
    Free,
    /// For one copy, to see whether it works again.
    Probe,
    /// That copy is under way; the answer is known by then.
    Probing(Timestamp),
    /// Not before then.
    Rests(Timestamp),
}

/// What a fault changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// When the way may be used again.
    pub(super) until: Timestamp,
    /// Whether it came while the way was not resting: those that come then say nothing new.
    pub(super) counted: bool,
}

/// Shared by all connections of one way.
#[derive(Debug)]
pub(super) struct Circuit {
    rest: retry::Settings,
    health: Mutex<Health>,
}

impl Circuit {
    pub(super) const fn new(rest: retry::Settings) -> Self {
        let health = Health { faults: 0, resting_until: None, probing_until: None, told: None };
        Self { rest, health: Mutex::new(health) }
    }

    /// How long the way still rests; zero when it may be used. Never longer than its cap allows, also when the clock
    /// was set back meanwhile.
    pub(super) fn rests_for(&self, now: Timestamp) -> Duration {
        let until = self.lock().resting_until;
        until.map_or(Duration::ZERO, |until| until.since(now)).min(self.rest.cap.saturating_mul(2))
    }

    /// Whether a copy may be given to the way now.
    pub(super) fn admission(&self, now: Timestamp) -> Admission {
        let rest = self.rests_for(now);
        if !rest.is_zero() {
            return Admission::Rests(now.plus(rest));
        }
        let health = self.lock();
        match health.probing_until.filter(|until| now < *until) {
            _ if health.faults == 0 => Admission::Free,
            None => Admission::Probe,
            Some(until) => Admission::Probing(until.min(now.plus(PROBE_MAX))),
        }
    }

    /// Whether nothing is known against the way.
    pub(super) fn is_sound(&self) -> bool {
        self.lock().faults == 0
    }

    /// A copy is on its way to see.
    pub(super) fn begin_probe(&self, now: Timestamp) {
        self.lock().probing_until = Some(now.plus(PROBE_MAX));
    }

    /// A fault. Connections that were under way together and fail together count as one.
    pub(super) fn fault(&self, now: Timestamp, jitter: f64) -> Fault {
        let mut health = self.lock();
        if let Some(until) = health.resting_until.filter(|until| now < *until) {
            return Fault { until, counted: false };
        }
        health.faults = health.faults.saturating_add(1);
        let until = now.plus(retry::delay(health.faults, jitter, &self.rest));
        health.resting_until = Some(until);
        health.probing_until = None;
        Fault { until, counted: true }
    }

    /// Notes why the way does not work. `None` when that is no news: it works again, or somebody is blamed already.
    /// When another is to blame than before it is news once more, because another has to mend it.
    pub(super) fn explain(&self, trouble: Trouble) -> Option<Arc<Trouble>> {
        let mut health = self.lock();
        if health.faults == 0 || health.told.as_ref().is_some_and(|told| told.blame == trouble.blame) {
            return None;
        }
        let since = health.told.as_ref().map_or(trouble.since, |told| told.since);
        let trouble = Arc::new(Trouble { since, ..trouble });
        health.told = Some(Arc::clone(&trouble));
        Some(trouble)
    }

    /// A transaction came to its regular end, whatever the upstream thought of the message. Says what had been told
    /// against the way.
    pub(super) fn success(&self) -> Option<Arc<Trouble>> {
        std::mem::take(&mut *self.lock()).told
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
        let circuit = Circuit::new(default_rest());
        let mut now = Timestamp::from_secs(1000);
        assert_eq!(circuit.rests_for(now), Duration::ZERO);
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            let fault = circuit.fault(now, 0.5);
            assert!(fault.counted);
            let again = Fault { counted: false, ..fault };
            assert_eq!(circuit.fault(now, 0.5), again, "another connection at the same moment");
            assert_eq!(circuit.rests_for(now), Duration::from_secs(expected));
            now = fault.until;
            assert_eq!(circuit.rests_for(now), Duration::ZERO);
        }
        circuit.success();
        circuit.fault(now, 0.5);
        assert_eq!(circuit.rests_for(now), Duration::from_secs(1));
    }

    #[test]
    fn a_trouble_is_news_once_for_whoever_has_to_mend_it_until_it_works() {
        let circuit = Circuit::new(default_rest());
        let now = Timestamp::from_secs(1000);
        let trouble = |blame, seconds| Trouble {
            since: now.plus(Duration::from_secs(seconds)),
            route: RouteName::new("up").unwrap(),
            site: "x:25".to_owned(),
            blame,
            class: Class::Auth,
            response: "535".to_owned(),
        };
        assert_eq!(circuit.explain(trouble(Blame::Peer, 0)), None, "it is in order");
        circuit.fault(now, 0.5);
        assert!(circuit.explain(trouble(Blame::Peer, 0)).is_some());
        assert_eq!(circuit.explain(trouble(Blame::Peer, 1)), None);
        let ours = circuit.explain(trouble(Blame::Local, 2)).unwrap();
        assert_eq!((ours.blame, ours.since), (Blame::Local, now), "open since the first");
        assert_eq!(circuit.success(), Some(ours));
        assert_eq!(circuit.success(), None);
    }

    #[test]
    fn after_a_rest_one_copy_is_sent_to_see() {
        let circuit = Circuit::new(default_rest());
        let now = Timestamp::from_secs(1000);
        assert_eq!(circuit.admission(now), Admission::Free);
        assert!(circuit.is_sound());
        let until = circuit.fault(now, 0.5).until;
        assert_eq!(circuit.admission(now), Admission::Rests(until));
        assert_eq!(circuit.admission(until), Admission::Probe);
        assert!(!circuit.is_sound());
        circuit.begin_probe(until);
        assert_eq!(circuit.admission(until), Admission::Probing(until.plus(PROBE_MAX)));
        assert_eq!(circuit.admission(until.plus(PROBE_MAX)), Admission::Probe, "it never came back");
        let again = circuit.fault(until, 0.5).until;
        assert_eq!(circuit.admission(again), Admission::Probe);
        circuit.begin_probe(again);
        circuit.success();
        assert_eq!(circuit.admission(again), Admission::Free);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_make_it_rest_for_years() {
        let circuit = Circuit::new(default_rest());
        circuit.fault(Timestamp::from_secs(1_000_000_000), 0.5);
        assert_eq!(circuit.rests_for(Timestamp::from_secs(0)), Duration::from_mins(2));
    }
}
