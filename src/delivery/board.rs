//! What stands on the board: suspensions, slowed groups, dead mailboxes that wait to be confirmed, the open circuit.
//!
//! Workers look at it before each copy and write on it after each reply; operators read and change it through the
//! control socket. Suspensions outlive the process, in one small file; the rest is about minutes and starts empty.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::DeadMailbox;
use super::backoff::{Backoff, Pace};
use super::breaker::{self, Answer, Breaker, Counted};
use super::group::{Group, Grouping};
use super::standing::{self, StandingError};
use super::suspension::{Hand, SUSPENSIONS_MAX, Selector, Suspension};
use crate::mail::{Domain, Label, QueueId};
use crate::replies::Class;
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

/// Whether a recipient may be attempted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    Go,
    Wait(Timestamp),
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

/// The circuit of the route is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circuit {
    /// Since when.
    pub since: Timestamp,
    /// What kind of fault.
    pub class: Class,
    /// What the upstream said, or what we met.
    pub response: String,
}

/// What an operator sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// In force, oldest first.
    pub suspensions: Vec<Suspension>,
    /// Slowed groups.
    pub slowed: Vec<(Group, Pace)>,
    /// The open circuit.
    pub circuit: Option<Circuit>,
    /// Dead mailboxes that wait for confirmation.
    pub unconfirmed: usize,
}

struct State {
    suspensions: Vec<Suspension>,
    backoff: Backoff,
    breaker: Breaker<DeadMailbox>,
    circuit: Option<Circuit>,
}

/// Shared by workers and operators.
pub struct Board {
    file: PathBuf,
    grouping: Grouping,
    state: Mutex<State>,
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
    pub fn open(data_dir: &Path, grouping: Grouping, breaker: breaker::Settings) -> Result<Self, BoardError> {
        let file = data_dir.join(standing::NAME);
        let suspensions = standing::read(&file)?;
        let (backoff, breaker) = (Backoff::default(), Breaker::new(breaker));
        Ok(Self { file, grouping, state: Mutex::new(State { suspensions, backoff, breaker, circuit: None }) })
    }

    /// The group whose word a refusal to a recipient at `domain` is.
    pub(super) fn group(&self, domain: &Domain) -> Group {
        self.grouping.of(domain)
    }

    //----------- Before an attempt ---

    /// Whether a recipient at `domain` of the copy `id` may be attempted.
    pub(super) fn pass(&self, id: QueueId, label: &Label, domain: &Domain, now: Timestamp) -> Pass {
        let mut state = self.lock();
        let covers =
            |suspension: &&Suspension| !suspension.is_over(now) && suspension.selector.covers(id, label, domain);
        if let Some(stopped) = state.suspensions.iter().find(covers) {
            let look = now.plus(LOOK_AGAIN);
            return Pass::Wait(stopped.until.map_or(look, |until| until.min(look)));
        }
        let wait = match self.grouping {
            // The dispatcher keeps that pace.
            Grouping::Upstream => Duration::ZERO,
            Grouping::Domain => state.backoff.take_place(&Group::Domain(domain.clone()), now),
        };
        if wait.is_zero() { Pass::Go } else { Pass::Wait(now.plus(wait)) }
    }

    /// How long nothing at all is fetched: everything is suspended, or the upstream is slowed.
    pub(super) fn pause(&self, now: Timestamp) -> Duration {
        let state = self.lock();
        if state.suspensions.iter().any(|suspension| !suspension.is_over(now) && suspension.selector.is_all()) {
            return PAUSE_LOOK;
        }
        state.backoff.waits(&Group::Upstream, now).min(PAUSE_LOOK)
    }

    /// How many of `room` copies may be fetched now that no pause is left.
    pub(super) fn places(&self, room: usize, now: Timestamp) -> usize {
        let mut state = self.lock();
        if state.backoff.pace(&Group::Upstream, now).is_none() {
            return room;
        }
        usize::from(state.backoff.take_place(&Group::Upstream, now).is_zero())
    }

    //----------- After a reply ---

    /// A final answer about a recipient at `domain` that is no dead mailbox.
    pub(super) fn answered(&self, domain: &Domain, now: Timestamp) {
        let mut state = self.lock();
        state.breaker.count(&Group::Domain(domain.clone()), now, Answer::Other);
        state.breaker.count(&Group::Upstream, now, Answer::Other);
    }

    /// The upstream says for good that `dead` does not exist. A group that trips by it is stopped in the same moment, so
    /// that no other worker counts one of it anew.
    pub(super) fn dead(&self, dead: DeadMailbox, now: Timestamp) -> Burial {
        let domain = dead.mailbox.domain().clone();
        let mut state = self.lock();
        if state.is_stopped_by_breaker(&domain, now) {
            return Burial::Doubted;
        }
        let group = Group::Domain(domain);
        let counted = match state.breaker.count(&group, now, Answer::Dead(dead)) {
            Counted::Quietly => (Group::Upstream, state.breaker.count(&Group::Upstream, now, Answer::DeadElsewhere)),
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
    pub(super) fn slow(&self, domain: &Domain, now: Timestamp) -> Option<(Group, Pace)> {
        let group = self.group(domain);
        let pace = self.lock().backoff.slow(&group, now)?;
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
        let domain = match group {
            Group::Upstream => None,
            Group::Domain(domain) => Some(domain.clone()),
        };
        let selector = Selector { domain, ..Selector::default() };
        let is_same = |known: &Suspension| !known.is_over(now) && known.selector == selector && known.hand == hand;
        if state.suspensions.iter().any(is_same) || state.suspensions.len() >= SUSPENSIONS_MAX {
            return false;
        }
        let by = hand.as_str().to_owned();
        state.suspensions.push(Suspension { selector, since: now, until, hand, by, because });
        if let Err(error) = standing::write(&self.file, &state.suspensions) {
            tracing::error!(%error, "a suspension holds until the next start only");
        }
        true
    }

    /// The route works; returns the circuit that is closed by it.
    pub(super) fn works(&self) -> Option<Circuit> {
        self.lock().circuit.take()
    }

    /// The route does not work; says whether it is news.
    pub(super) fn fails(&self, class: Class, response: &str, now: Timestamp) -> bool {
        let mut state = self.lock();
        let is_news = state.circuit.as_ref().is_none_or(|known| known.class != class);
        if is_news {
            state.circuit = Some(Circuit { since: now, class, response: response.to_owned() });
        }
        is_news
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
        self.lock().backoff.recovered(now)
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
            let group = known.selector.domain.clone().map_or(Group::Upstream, Group::Domain);
            state.breaker.forget(&group);
        }
        Ok(lifted)
    }

    /// What stands on the board.
    pub fn snapshot(&self, now: Timestamp) -> Snapshot {
        let state = self.lock();
        Snapshot {
            suspensions: state.suspensions.iter().filter(|known| !known.is_over(now)).cloned().collect(),
            slowed: state.backoff.all(now),
            circuit: state.circuit.clone(),
            unconfirmed: state.breaker.waiting(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_stopped_by_breaker(&self, domain: &Domain, now: Timestamp) -> bool {
        self.suspensions.iter().any(|known| {
            known.hand == Hand::Breaker
                && !known.is_over(now)
                && known.selector.domain.as_ref().is_none_or(|stopped| stopped == domain)
        })
    }
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
