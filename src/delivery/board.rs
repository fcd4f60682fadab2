//! What stands on the board: suspensions, slowed groups, dead mailboxes that wait to be confirmed, open circuits.
//!
//! Workers look at it before each copy and write on it after each reply; operators read and change it through the
//! control socket. Suspensions outlive the process, in one small file; the rest is about minutes and starts empty.
//! While nothing is suspended or slowed, looking is one atomic load.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::backoff::{Backoff, Pace};
use super::breaker::{Answer, Breaker, Counted};
use super::circuit::Trouble;
use super::gate::{Gates, Limited};
use super::group::{Group, Grouping};
use super::routes::{Route, Routes};
use super::standing::{self, StandingError};
use super::suspension::{Hand, SUSPENSIONS_MAX, Selector, Suspension};
use super::warming::{Warming, Warmth};
use super::{DeadMailbox, Settings};
use crate::mail::{Domain, Label, QueueId, RouteName};
use crate::time::Timestamp;

/// How soon a suspended copy is looked at again; lifting a suspension makes its copies due at once.
pub const LOOK_AGAIN: Duration = Duration::from_mins(15);
/// How long a group gets nothing after a refusal for reputation. Lists and providers ask for hours; a try in between
/// finds out that it is over, and costs one refusal.
pub const REPUTATION_REST: Duration = Duration::from_mins(30);
/// How often a pause of everything is looked at again, so that a resumption is noticed.
const PAUSE_LOOK: Duration = Duration::from_millis(500);
/// Dead mailboxes recorded in one go; the rest waits for the next look.
const CONFIRM_MAX: usize = 500;

/// Why the board does not change.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// The file with the suspensions cannot be read or written. Ours, or the disk's.
    #[error(transparent)]
    Standing(#[from] StandingError),
    /// There are too many. The operator's.
    #[error("there are {SUSPENSIONS_MAX} suspensions already; resume some first")]
    TooMany,
}

/// What a dead mailbox led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Burial {
    /// It is remembered, and suppressed when its group does not trip.
    Waits,
    /// Its group is stopped: nobody believes it.
    Doubted,
    /// Its group tripped by it.
    Trips { group: Group, because: String, forgotten: usize },
}

/// What an operator sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// In force, oldest first.
    pub suspensions: Vec<Suspension>,
    /// Slowed groups.
    pub slowed: Vec<(Group, Pace)>,
    /// Limits that mail met.
    pub limited: Vec<Limited>,
    /// Plans for warming up.
    pub warmth: Vec<Warmth>,
    /// Why ways out do not work, oldest first.
    pub troubles: Vec<Arc<Trouble>>,
    /// Dead mailboxes that wait for confirmation.
    pub unconfirmed: usize,
}

struct State {
    suspensions: Vec<Suspension>,
    backoff: Backoff,
    breaker: Breaker<DeadMailbox>,
    /// Of the open circuits, which hold them: gone when it works again, or when the lane is.
    troubles: Vec<Weak<Trouble>>,
}

/// Shared by workers and operators.
pub struct Board {
    file: PathBuf,
    routes: Routes,
    grouping: Grouping,
    gates: Gates,
    warming: Warming,
    state: Mutex<State>,
    /// Whether anything is suspended or slowed.
    restricts: AtomicBool,
}

impl std::fmt::Debug for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Board").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Board {
    /// Reads the suspensions of `data_dir`; there are none when there is no file. Blocking.
    ///
    /// # Errors
    /// [`BoardError::Standing`]: what was suspended is not known, so nothing may be sent.
    pub fn open(data_dir: &Path, settings: &Settings) -> Result<Self, BoardError> {
        let file = data_dir.join(standing::NAME);
        let suspensions = standing::read(&file)?;
        let (backoff, breaker) = (Backoff::default(), Breaker::new(settings.breaker));
        let restricts = AtomicBool::new(!suspensions.is_empty());
        let state = Mutex::new(State { suspensions, backoff, breaker, troubles: Vec::new() });
        let routes = settings.routes.clone();
        let gates = Gates::new(&routes, &settings.shaping, settings.gateways);
        let warming = Warming::open(data_dir, &settings.warmup, settings.gateways)?;
        Ok(Self { file, routes, grouping: settings.grouping, gates, warming, state, restricts })
    }

    /// What groups of destinations have to keep to.
    pub(super) const fn gates(&self) -> &Gates {
        &self.gates
    }

    /// What is being warmed up.
    pub(super) const fn warming(&self) -> &Warming {
        &self.warming
    }

    /// The route that mail with this label takes.
    pub fn route_of(&self, label: &Label) -> &RouteName {
        &self.route(label).name
    }

    fn route(&self, label: &Label) -> &Route {
        self.routes.of_stream(&label.stream)
    }

    /// The group whose word a refusal to a recipient at `domain` is.
    pub(super) fn group(&self, label: &Label, domain: &Domain) -> Group {
        self.grouping.of(self.route(label), domain)
    }

    //----------- Before an attempt ---

    /// Whether anything at all is suspended or slowed.
    pub(super) fn restricts(&self) -> bool {
        self.restricts.load(Ordering::Acquire)
    }

    /// When a recipient at `domain` of the copy `id` is to be looked at again, if they are suspended.
    pub(super) fn suspended(&self, id: QueueId, label: &Label, domain: &Domain, now: Timestamp) -> Option<Timestamp> {
        let route = self.route_of(label);
        let covers =
            |suspension: &&Suspension| !suspension.is_over(now) && suspension.selector.covers(id, label, route, domain);
        let state = self.lock();
        let stopped = state.suspensions.iter().find(covers)?;
        let look = now.plus(LOOK_AGAIN);
        Some(stopped.until.map_or(look, |until| until.min(look)))
    }

    /// Takes a place for a recipient at `domain` in the pace of their group; when it comes, if that is later. On a
    /// slowed smarthost only a place that is free now is taken: who waits for it is fetched one at a time.
    /// `usual` is the pause that the group keeps anyhow: being slowed multiplies it.
    pub(super) fn place(&self, label: &Label, domain: &Domain, usual: Duration, now: Timestamp) -> Option<Timestamp> {
        let group = self.group(label, domain);
        let mut state = self.lock();
        let wait = match &group.domain {
            None => match state.backoff.waits(&group, now) {
                Duration::ZERO => state.backoff.take_place(&group, usual, now),
                wait => wait,
            },
            Some(_) => state.backoff.take_place(&group, usual, now),
        };
        (!wait.is_zero()).then(|| now.plus(wait))
    }

    /// How long nothing at all is fetched, because everything is suspended.
    pub(super) fn pause(&self, now: Timestamp) -> Option<Duration> {
        if !self.restricts() {
            return None;
        }
        let mut routes = self.routes.all();
        let only = routes.next().filter(|_| routes.next().is_none()).map(|route| route.name.clone());
        let all = [Selector { route: only, ..Selector::default() }, Selector::default()];
        let state = self.lock();
        let covers = |known: &Suspension| !known.is_over(now) && all.contains(&known.selector);
        state.suspensions.iter().any(covers).then_some(PAUSE_LOOK)
    }

    /// When the next copy may be fetched for a route that is slowed as a whole; `None` when it is not.
    pub(super) fn slowed(&self, route: &RouteName, now: Timestamp) -> Option<Timestamp> {
        if !self.restricts() {
            return None;
        }
        let (group, state) = (Group::whole(route), self.lock());
        state.backoff.pace(&group, now).map(|_| now.plus(state.backoff.waits(&group, now)))
    }

    //----------- After a reply ---

    /// A final answer about a recipient at `domain` that is no dead mailbox.
    pub(super) fn answered(&self, label: &Label, domain: &Domain, now: Timestamp) {
        let route = self.route_of(label);
        let mut state = self.lock();
        state.breaker.count(&Group::to(route, domain), now, Answer::Other);
        state.breaker.count(&Group::whole(route), now, Answer::Other);
    }

    /// The upstream says for good that `dead` does not exist. A group that trips by it is stopped in the same moment, so
    /// that no other worker counts one of it anew.
    pub(super) fn dead(&self, dead: DeadMailbox, now: Timestamp) -> Burial {
        let route = self.route_of(&dead.label);
        let (group, whole) = (Group::to(route, dead.mailbox.domain()), Group::whole(route));
        let mut state = self.lock();
        if state.is_stopped_by_breaker(&group, now) {
            return Burial::Doubted;
        }
        let counted = match state.breaker.count(&group, now, Answer::Dead(dead)) {
            Counted::Quietly => {
                let counted = state.breaker.count(&whole, now, Answer::DeadElsewhere);
                (whole, counted)
            }
            trips @ Counted::Trips { .. } => (group, trips),
        };
        match counted {
            (_, Counted::Quietly) => Burial::Waits,
            (group, Counted::Trips { dead, of, forgotten }) => {
                let because = format!("{dead} of {of} final answers say that there is no such mailbox");
                self.stop_in(&mut state, &group, Hand::Breaker, None, because.clone(), now);
                Burial::Trips { group, because, forgotten }
            }
        }
    }

    /// Slows the group of `domain`; `None` when the reply says nothing new.
    pub(super) fn slow(&self, label: &Label, domain: &Domain, now: Timestamp) -> Option<(Group, Pace)> {
        let group = self.group(label, domain);
        let mut state = self.lock();
        let pace = state.backoff.slow(&group, now)?;
        self.note(&state);
        Some((group, pace))
    }

    /// Stops `group` by itself, until `until` or until somebody lifts it; says whether it was not stopped yet. When it
    /// cannot be written it holds all the same, until the process ends.
    pub(super) fn stop(
        &self,
        group: &Group,
        hand: Hand,
        until: Option<Timestamp>,
        because: String,
        now: Timestamp,
    ) -> bool {
        self.stop_in(&mut self.lock(), group, hand, until, because, now)
    }

    fn stop_in(
        &self,
        state: &mut State,
        group: &Group,
        hand: Hand,
        until: Option<Timestamp>,
        because: String,
        now: Timestamp,
    ) -> bool {
        let Group { route, domain } = group.clone();
        let selector = Selector { route: Some(route), domain, ..Selector::default() };
        let is_same = |known: &Suspension| !known.is_over(now) && known.selector == selector && known.hand == hand;
        if state.suspensions.iter().any(is_same) || state.suspensions.len() >= SUSPENSIONS_MAX {
            return false;
        }
        let by = hand.as_str().to_owned();
        state.suspensions.push(Suspension { selector, since: now, until, hand, by, because });
        self.note(state);
        if let Err(error) = standing::write(&self.file, &state.suspensions) {
            tracing::error!(%error, "a suspension holds until the next start only");
        }
        true
    }

    /// A way does not work any more, and why.
    pub(super) fn troubled(&self, trouble: &Arc<Trouble>) {
        let troubles = &mut self.lock().troubles;
        troubles.retain(|known| known.strong_count() > 0);
        troubles.push(Arc::downgrade(trouble));
    }

    /// Dead mailboxes whose groups did not trip in time.
    pub(super) fn confirmed(&self, now: Timestamp) -> Vec<(Group, DeadMailbox)> {
        self.lock().breaker.confirmed(now, CONFIRM_MAX)
    }

    /// One that could not be recorded is tried again.
    pub(super) fn put_back(&self, group: Group, dead: DeadMailbox) {
        let at = dead.at;
        self.lock().breaker.put_back(group, dead, at);
    }

    /// Groups that are free again since the last call.
    pub(super) fn recovered(&self, now: Timestamp) -> Vec<Group> {
        let mut state = self.lock();
        let recovered = state.backoff.recovered(now);
        state.suspensions.retain(|known| !known.is_over(now));
        self.note(&state);
        recovered
    }

    //----------- For the operator ---

    /// Suspends what `suspension` covers, in place of an earlier one of the same selector and hand. It counts for the
    /// very next attempt, and is on disk when this returns.
    ///
    /// # Errors
    /// [`BoardError`]; nothing is changed then.
    pub fn suspend(&self, suspension: Suspension, now: Timestamp) -> Result<(), BoardError> {
        let mut state = self.lock();
        let mut next: Vec<_> = state.suspensions.iter().filter(|known| !known.is_over(now)).cloned().collect();
        next.retain(|known| known.selector != suspension.selector || known.hand != suspension.hand);
        if next.len() >= SUSPENSIONS_MAX {
            return Err(BoardError::TooMany);
        }
        next.push(suspension);
        standing::write(&self.file, &next)?;
        state.suspensions = next;
        self.note(&state);
        Ok(())
    }

    /// Lifts every suspension that lies within `selector`, whoever made it, and names them. A group that the breaker had
    /// stopped is counted anew.
    ///
    /// # Errors
    /// [`BoardError`]; nothing is changed then.
    pub fn resume(&self, selector: &Selector, now: Timestamp) -> Result<Vec<Suspension>, BoardError> {
        let mut state = self.lock();
        let (lifted, kept): (Vec<_>, Vec<_>) = state
            .suspensions
            .iter()
            .filter(|known| !known.is_over(now))
            .cloned()
            .partition(|known| selector.includes(&known.selector));
        standing::write(&self.file, &kept)?;
        state.suspensions = kept;
        for known in lifted.iter().filter(|known| known.hand == Hand::Breaker) {
            if let Some(route) = known.selector.route.clone() {
                state.breaker.forget(&Group { route, domain: known.selector.domain.clone() });
            }
        }
        self.note(&state);
        Ok(lifted)
    }

    /// What stands on the board.
    pub fn snapshot(&self, now: Timestamp) -> Snapshot {
        let state = self.lock();
        Snapshot {
            suspensions: state.suspensions.iter().filter(|known| !known.is_over(now)).cloned().collect(),
            slowed: state.backoff.all(now),
            limited: self.gates.all(),
            warmth: self.warming.all(now),
            troubles: state.troubles.iter().filter_map(Weak::upgrade).collect(),
            unconfirmed: state.breaker.waiting(),
        }
    }

    /// Keeps the short answer up to date. To be called after each change, before the lock is given back.
    fn note(&self, state: &State) {
        self.restricts.store(!state.suspensions.is_empty() || !state.backoff.is_empty(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_stopped_by_breaker(&self, group: &Group, now: Timestamp) -> bool {
        self.suspensions.iter().any(|known| {
            known.hand == Hand::Breaker
                && !known.is_over(now)
                && known.selector.route.as_ref() == Some(&group.route)
                && (known.selector.domain.is_none() || known.selector.domain == group.domain)
        })
    }
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
