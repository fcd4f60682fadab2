//! MTA-STS: what domains ask of those who send to them.
//!
//! **Promise:** a policy comes from the domain's own web server, authenticated, or there is none. Once it is here it holds
//! for as long as it says, whatever becomes of the record or of the server meanwhile, and across restarts; a change of its
//! id, and a day, bring the next one. A fetch that failed is not tried again for [`RETRY_AFTER`], and what is kept is bounded.
//!
//! **Owns:** the policies and their file in the data folder.
//!
//! **Never knows:** who is connected to, messages.
//!
//! **Standards:** RFC 8461; RFC 8460 section 4.3.2.2 for the words about what went wrong.

mod fetch;
mod kept;
mod policy;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::dns::Resolver;
use crate::mail::Domain;
use crate::time::{Clock, Timestamp};
use crate::tls::Trust;

pub use fetch::PolicyFault;
pub use policy::{MAX_AGE, Mode, Pattern, Policy, PolicyError, PolicyId};

use fetch::Fetcher;
use kept::Kept;

/// After a failed fetch the same domain is left alone for this long (RFC 8461 section 3.3: five minutes or longer).
pub const RETRY_AFTER: Duration = Duration::from_mins(5);
/// A policy is fetched again after this (RFC 8461 section 3.3 suggests a day), or after half its life if that is shorter.
const REFRESH_AFTER: Duration = Duration::from_hours(24);
/// A policy that nobody has needed for this long is not fetched again; it ends when its time is over.
const UNUSED_AFTER: Duration = Duration::from_hours(30 * 24);
/// How often it is looked whether something is to be fetched or written.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// Policies fetched again at one look, one after the other: what is new is written in between.
const REFRESHED_MAX: usize = 100;
/// What is kept in all, in octets: 80,000 policies of the usual size. Beyond it those that end first are let go.
const KEPT_OCTETS_MAX: usize = 16 * 1024 * 1024;
/// What a policy takes beside its hosts and its domain.
const KEPT_OVERHEAD: usize = 160;
/// Failed fetches that are remembered; beyond it a domain may be asked sooner.
const FAILED_MAX: usize = 10_000;

/// How policies are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who may vouch for policy servers, and for mail servers that a policy is enforced on.
    pub trust: Trust,
    /// 443, except in a laboratory.
    pub port: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self { trust: Trust::System, port: 443 }
    }
}

/// What is known about a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Its policy, unless it has none.
    pub policy: Option<Arc<Policy>>,
    /// Why a newer one could not be had just now.
    pub fault: Option<PolicyFault>,
}

/// Policies of domains. Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub struct Policies(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    fetcher: Fetcher,
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    kept: HashMap<Domain, Kept>,
    octets: usize,
    /// Until when a domain is left alone.
    failed: HashMap<Domain, Timestamp>,
    /// Held while a domain's policy is fetched, so that everybody who needs it waits for one fetch.
    fetching: HashMap<Domain, Arc<tokio::sync::Mutex<()>>>,
    /// Whether the file does not hold what is here.
    unwritten: bool,
}

impl Policies {
    /// Reads what was kept in `data_dir`. What cannot be read is said and left: it is fetched again when it is needed.
    pub fn open(data_dir: &Path, settings: Settings) -> Self {
        let path = data_dir.join(kept::NAME);
        let mut state = State::default();
        match kept::read(&path) {
            Ok(policies) => {
                for (domain, kept) in policies {
                    state.insert(&domain, kept);
                }
            }
            Err(error) => tracing::warn!(path = %path.display(), %error, "MTA-STS policies are fetched anew"),
        }
        state.unwritten = false;
        Self(Arc::new(Shared { fetcher: Fetcher::new(settings), path, state: Mutex::new(state) }))
    }

    /// The policy of `domain` now: the one that its record names, or else the one that is still valid (RFC 8461 section
    /// 3.3). Takes as long as a fetch when there is something new.
    pub async fn find(&self, resolver: &Resolver, domain: &Domain, now: Timestamp) -> Found {
        if domain.is_literal() {
            return Found::default();
        }
        // Whatever is wrong with the record: who can suppress it must not get rid of the policy by it.
        let texts = resolver.texts(&format!("_mta-sts.{domain}")).await.unwrap_or_default();
        let fault = match PolicyId::find(&texts) {
            Some(id) if !self.is_settled(domain, &id, now) => self.fetch(resolver, domain, id, now).await.err(),
            Some(_) | None => None,
        };
        Found { policy: self.lock().use_now(domain, now), fault }
    }

    /// Whether there is nothing to be fetched: the policy with this id is here, or could not be had a moment ago.
    fn is_settled(&self, domain: &Domain, id: &PolicyId, now: Timestamp) -> bool {
        let state = self.lock();
        let here = state.kept.get(domain).is_some_and(|kept| kept.id == *id && now < kept.expires());
        here || state.rests(domain, now)
    }

    async fn fetch(
        &self,
        resolver: &Resolver,
        domain: &Domain,
        id: PolicyId,
        now: Timestamp,
    ) -> Result<(), PolicyFault> {
        let turn = Arc::clone(self.lock().fetching.entry(domain.clone()).or_default());
        let held = turn.lock().await;
        let fetched =
            if self.is_settled(domain, &id, now) { Ok(()) } else { self.fetch_now(resolver, domain, id, now).await };
        drop(held);
        let mut state = self.lock();
        // Ours and the map's: nobody else waits.
        if Arc::strong_count(&turn) <= 2 {
            state.fetching.remove(domain);
        }
        fetched
    }

    async fn fetch_now(
        &self,
        resolver: &Resolver,
        domain: &Domain,
        id: PolicyId,
        now: Timestamp,
    ) -> Result<(), PolicyFault> {
        let fetched = self.0.fetcher.fetch(resolver, domain).await;
        let mut state = self.lock();
        match fetched {
            Ok(policy) => {
                // One that ends at once would be fetched for each message.
                let ends_at_once = policy.max_age < RETRY_AFTER;
                let used = state.kept.get(domain).map_or(now, |kept| kept.used);
                state.insert(domain, Kept { id, policy: Arc::new(policy), fetched: now, used });
                if ends_at_once {
                    state.fail(domain, now);
                }
                Ok(())
            }
            Err(fault) => {
                state.fail(domain, now);
                Err(fault)
            }
        }
    }

    /// Fetches again what is to be fetched by now, up to a hundred; says what could not be had. [`Policies::keep`] does it
    /// by itself.
    pub async fn refresh(&self, resolver: &Resolver, now: Timestamp) -> Vec<(Domain, PolicyFault)> {
        let due = self.lock().due(now);
        let mut faults = Vec::new();
        for domain in due {
            let texts = resolver.texts(&format!("_mta-sts.{domain}")).await.unwrap_or_default();
            match PolicyId::find(&texts) {
                Some(id) => {
                    let fetched = self.fetch_now(resolver, &domain, id, now).await;
                    faults.extend(fetched.err().map(|fault| (domain, fault)));
                }
                // No record: nothing may be fetched, and what is here ends in its time.
                None => self.lock().fail(&domain, now),
            }
        }
        faults
    }

    /// Keeps policies fresh and their file up to date; runs until it is dropped. `report` hears of each that could not
    /// be had: the domain's operators want to know (RFC 8461 section 3.3).
    pub async fn keep(&self, resolver: &Resolver, clock: &dyn Clock, report: impl Fn(&Domain, &PolicyFault)) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            for (domain, fault) in self.refresh(resolver, clock.now()).await {
                report(&domain, &fault);
            }
            self.save(clock.now()).await;
        }
    }

    /// Writes down what is not on disk yet. A failure is said, and tried again at the next call.
    pub async fn save(&self, now: Timestamp) {
        let policies = {
            let mut state = self.lock();
            if !std::mem::take(&mut state.unwritten) {
                return;
            }
            let mut policies: Vec<_> = state.kept.iter().map(|(domain, kept)| (domain.clone(), kept.clone())).collect();
            policies.retain(|(_, kept)| now < kept.expires());
            policies.sort_by(|(one, _), (other, _)| one.cmp(other));
            policies
        };
        let path = self.0.path.clone();
        let written = tokio::task::spawn_blocking(move || kept::write(&path, policies)).await;
        if let Err(error) = written.unwrap_or_else(|error| Err(error.into())) {
            tracing::warn!(path = %self.0.path.display(), %error, "MTA-STS policies cannot be written down");
            self.lock().unwritten = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn insert(&mut self, domain: &Domain, kept: Kept) {
        self.failed.remove(domain);
        self.octets += octets(domain, &kept);
        if let Some(old) = self.kept.insert(domain.clone(), kept) {
            self.octets -= octets(domain, &old);
        }
        while self.octets > KEPT_OCTETS_MAX {
            let first = self.kept.iter().min_by_key(|(_, kept)| kept.expires()).map(|(domain, _)| domain.clone());
            let Some((domain, old)) = first.and_then(|domain| self.kept.remove_entry(&domain)) else { break };
            self.octets -= octets(&domain, &old);
        }
        self.unwritten = true;
    }

    fn fail(&mut self, domain: &Domain, now: Timestamp) {
        if self.failed.len() >= FAILED_MAX {
            self.failed.retain(|_, until| now < *until);
        }
        if self.failed.len() < FAILED_MAX {
            self.failed.insert(domain.clone(), now.plus(RETRY_AFTER));
        }
    }

    fn rests(&self, domain: &Domain, now: Timestamp) -> bool {
        self.failed.get(domain).is_some_and(|until| now < *until)
    }

    /// The policy that is in force. One that has ended is let go.
    fn use_now(&mut self, domain: &Domain, now: Timestamp) -> Option<Arc<Policy>> {
        let kept = self.kept.get_mut(domain)?;
        if now >= kept.expires() {
            if let Some(old) = self.kept.remove(domain) {
                self.octets -= octets(domain, &old);
            }
            self.unwritten = true;
            return None;
        }
        // By the day is exact enough, and does not write a file each minute.
        if now.since(kept.used) >= REFRESH_AFTER {
            kept.used = now;
            self.unwritten = true;
        }
        Some(Arc::clone(&kept.policy)).filter(|policy| policy.mode != Mode::None)
    }

    fn due(&self, now: Timestamp) -> Vec<Domain> {
        let is_due = |kept: &Kept| {
            let after = REFRESH_AFTER.min(kept.policy.max_age / 2);
            kept.policy.mode != Mode::None
                && now >= kept.fetched.plus(after)
                && now < kept.expires()
                && now < kept.used.plus(UNUSED_AFTER)
        };
        let due = self.kept.iter().filter(|(domain, kept)| is_due(kept) && !self.rests(domain, now));
        due.map(|(domain, _)| domain.clone()).take(REFRESHED_MAX).collect()
    }
}

fn octets(domain: &Domain, kept: &Kept) -> usize {
    domain.as_str().len() + kept.policy.octets() + KEPT_OVERHEAD
}
