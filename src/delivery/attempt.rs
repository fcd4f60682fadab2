//! Before and after the wire: the decision that precedes an attempt, and the settlement that ends it.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::board::{Board, Pass};
use super::outcome::{self, Fate, Verdict};
use super::record::{Attempt, Recorder};
use super::retry::{self, Retry};
use super::route::Route;
use super::{Failure, FailureKind, Leased, Recheck, Ruling, Settings};
use crate::mail::{BodyType, Recipient};
use crate::smtp::client::{ClientError, Declared, Outgoing, Payload, Unclean};
use crate::spool::{Body, Entry, RecipientIndex, Settlement, Settlements, SpoolError};
use crate::telemetry::EventType;
use crate::time::{Clock, Timestamp};

/// A leased copy on its way, with what is already settled of it.
pub(super) struct Draft<L> {
    lease: L,
    /// Who is still to be sent to.
    to: Vec<(RecipientIndex, Recipient)>,
    ending: Settlements,
}

impl<L: Leased> Draft<L> {
    pub(super) fn new(lease: L) -> Self {
        let to = lease.pending().to_vec();
        Self { lease, to, ending: Settlements::default() }
    }
}

/// A copy that was decided on just now. It is to be sent at once, or decided on again.
pub(super) struct Job<L> {
    pub(super) draft: Draft<L>,
    pub(super) outgoing: Outgoing,
}

/// What all workers share.
pub(super) struct Desk<R> {
    pub(super) recheck: Arc<R>,
    pub(super) settings: Settings,
    pub(super) route: Arc<Route>,
    pub(super) board: Arc<Board>,
    pub(super) recorder: Recorder,
    pub(super) clock: Arc<dyn Clock>,
    /// One permit for each copy between its final dot and its settlement on disk.
    pub(super) unsettled: Arc<Semaphore>,
    /// Set when outcomes cannot be written any more.
    pub(super) broken: watch::Sender<Option<SpoolError>>,
}

impl<R: Recheck> Desk<R> {
    /// Asks for the decision on everyone who is still to be sent to. `None` when nobody is left: settled then.
    pub(super) async fn decide<L: Leased>(&self, draft: Draft<L>) -> Option<Job<L>> {
        let mut draft = self.let_pass(draft).await?;
        let hold = self.recheck.hold();
        let rulings = self.recheck.recheck(draft.lease.entry(), &draft.to).await;
        // An answer that does not fit the question is no answer.
        let Some(rulings) = rulings.ok().filter(|rulings| rulings.len() == draft.to.len()) else {
            self.conclude_all(draft, &outcome::of_missing_facts(), None).await;
            return None;
        };
        let mut rulings = rulings.into_iter();
        let ending = &mut draft.ending;
        draft.to.retain(|(index, _)| match rulings.next() {
            Some(Ruling::Send) => true,
            Some(Ruling::Withdraw { note }) => {
                ending.outcomes.push((*index, Settlement::Withdrawn));
                ending.notes.push(note);
                false
            }
            None => false,
        });
        if draft.to.is_empty() {
            self.settle(draft, None).await;
            return None;
        }
        match outgoing(draft.lease.entry(), &draft.to) {
            Ok(outgoing) => Some(Job { draft, outgoing: outgoing.holding(hold) }),
            Err(unclean) => {
                let verdict = outcome::of_error(&self.settings.replies, &ClientError::Unclean(unclean), false);
                self.conclude_all(draft, &verdict, None).await;
                None
            }
        }
    }

    /// Takes out whoever is suspended or waits for their group's pace. `None` when nobody is left: a copy that nothing
    /// has happened to goes back to where it waits, without a trace.
    async fn let_pass<L: Leased>(&self, mut draft: Draft<L>) -> Option<Draft<L>> {
        let now = self.clock.now();
        let (id, label) = (draft.lease.entry().id, &draft.lease.entry().manifest.label);
        let mut waiting = Vec::new();
        draft.to.retain(|(index, recipient)| match self.board.pass(id, label, recipient.mailbox.domain(), now) {
            Pass::Go => true,
            Pass::Wait(until) => {
                waiting.push((*index, Settlement::Deferred { until }, until));
                false
            }
        });
        let Some(first) = waiting.iter().map(|(_, _, until)| *until).min() else { return Some(draft) };
        if draft.to.is_empty() && draft.ending.outcomes.is_empty() {
            draft.lease.postpone(first);
            return None;
        }
        draft.ending.outcomes.extend(waiting.into_iter().map(|(index, settlement, _)| (index, settlement)));
        if draft.to.is_empty() {
            self.settle(draft, None).await;
            return None;
        }
        Some(draft)
    }

    /// The same verdict for everyone.
    pub(super) async fn conclude_all<L: Leased>(&self, draft: Draft<L>, verdict: &Verdict, peer: Option<SocketAddr>) {
        let verdicts = vec![verdict.clone(); draft.to.len()];
        self.conclude(draft, &verdicts, peer, None).await;
    }

    /// Records the verdicts, in the order of the recipients, and settles the copy. `permit` is what was taken before
    /// the final dot.
    pub(super) async fn conclude<L: Leased>(
        &self,
        mut draft: Draft<L>,
        verdicts: &[Verdict],
        peer: Option<SocketAddr>,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        let now = self.clock.now();
        let resting = verdicts.iter().any(|v| v.route_fault).then(|| self.route.fault(now, jitter()));
        let entry = draft.lease.entry();
        let mut failures = Vec::new();
        for ((index, recipient), verdict) in draft.to.iter().zip(verdicts) {
            let verdict = &self.follow(entry, recipient, verdict, &mut draft.ending.notes, now);
            let (settlement, kind) = self.ending_of(entry, verdict, now, resting);
            let next = if let Settlement::Deferred { until } = &settlement { Some(*until) } else { None };
            let reply = &verdict.reply;
            draft.ending.notes.push(self.recorder.record(&Attempt {
                kind,
                at: now,
                entry,
                recipient,
                reply,
                told: verdict.told,
                peer,
                next,
            }));
            let warned = |next| retry::is_warned_now(entry.manifest.received, now, next, self.settings.warn_after);
            failures.extend(failure(&settlement, next.is_some_and(warned), recipient, verdict, now));
            draft.ending.outcomes.push((*index, settlement));
        }
        if !failures.is_empty() {
            draft.ending.follow_up = self.recheck.report(entry, &failures);
        }
        self.settle(draft, permit).await;
    }

    /// A route fault is waited for as long as the route rests: the copy has not even been looked at.
    fn ending_of(
        &self,
        entry: &Entry,
        verdict: &Verdict,
        now: Timestamp,
        resting: Option<Timestamp>,
    ) -> (Settlement, EventType) {
        match verdict.fate {
            Fate::Delivered => (Settlement::Delivered, EventType::Delivery),
            Fate::Bounced => (Settlement::Bounced, EventType::Bounce),
            Fate::Deferred => {
                let attempts = entry.attempts.saturating_add(1);
                let expires = entry.manifest.expires;
                let own = verdict.told.and_then(|told| told.schedule);
                let schedule = own.map_or(self.settings.retry, |own| retry::Settings {
                    first: own.first,
                    cap: own.longest,
                    spread: self.settings.retry.spread,
                });
                match retry::next(attempts, now, expires, jitter(), &schedule) {
                    Retry::Expired => (Settlement::Expired, EventType::Expiration),
                    Retry::At(scheduled) => {
                        let until = resting.filter(|_| verdict.route_fault).map_or(scheduled, |r| r.min(expires));
                        (Settlement::Deferred { until }, EventType::TransientFailure)
                    }
                }
            }
        }
    }

    /// Writes the ending beside the connection's next message. The number of those is bounded by the permits.
    async fn settle<L: Leased>(&self, draft: Draft<L>, permit: Option<OwnedSemaphorePermit>) {
        let permit = match permit {
            Some(permit) => Some(permit),
            // Never closed; and if it were, the settlement would still have to be written.
            None => Arc::clone(&self.unsettled).acquire_owned().await.ok(),
        };
        let (broken, route, clock) = (self.broken.clone(), Arc::clone(&self.route), Arc::clone(&self.clock));
        tokio::spawn(async move {
            let id = draft.lease.entry().id;
            if let Err(error) = draft.lease.settle(draft.ending).await {
                tracing::error!(%id, %error, "the outcome of an attempt could not be written; the copy may be sent again");
                if matches!(error, SpoolError::Full) {
                    // It recovers by itself; until then the same mail must not go out again and again.
                    route.fault(clock.now(), jitter());
                } else {
                    broken.send_replace(Some(error));
                }
            }
            drop(permit);
        });
    }
}

/// What the sender is told of: the ends of recipients, and, once, that one is `late`.
fn failure(
    settlement: &Settlement,
    late: bool,
    recipient: &Recipient,
    verdict: &Verdict,
    at: Timestamp,
) -> Option<Failure> {
    let kind = match settlement {
        Settlement::Bounced => FailureKind::Bounced,
        Settlement::Expired => FailureKind::Expired,
        Settlement::Deferred { .. } if late => FailureKind::Delayed,
        Settlement::Delivered
        | Settlement::Deferred { .. }
        | Settlement::Withdrawn
        | Settlement::Held
        | Settlement::Released => return None,
    };
    let (recipient, reply) = (recipient.clone(), verdict.reply.clone());
    Some(Failure { recipient, kind, reply, said_by_upstream: verdict.said_by_upstream, at })
}

fn outgoing(entry: &Entry, to: &[(RecipientIndex, Recipient)]) -> Result<Outgoing, Unclean> {
    let manifest = &entry.manifest;
    let body = match &entry.body {
        Body::Memory(body) => Payload::Memory(body.clone()),
        Body::File(file) => Payload::File { path: file.path.clone(), len: file.len },
    };
    let declared = Declared { eight_bit: manifest.body_type == BodyType::EightBitMime, smtputf8: manifest.smtputf8 };
    let recipients = to.iter().map(|(_, recipient)| recipient.mailbox.clone()).collect();
    Outgoing::new(manifest.reverse_path.clone(), recipients, entry.header.clone(), body, declared)
}

/// From 0 to 1. Without randomness there is no jitter, and nothing else is lost.
fn jitter() -> f64 {
    let mut octets = [0; 4];
    match aws_lc_rs::rand::fill(&mut octets) {
        Ok(()) => f64::from(u32::from_le_bytes(octets)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}
