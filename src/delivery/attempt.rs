//! Before and after the wire: the decision that precedes an attempt, and the settlement that ends it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::lane::{Line, Place, Post};
use super::outcome::{self, Fate, Verdict};
use super::record::{Attempt, Peer, Recorder};
use super::retry::{self, Retry};
use super::{Finding, FindingKind, Leased, Recheck, Ruling, Settings, share};
use crate::dns::Resolver;
use crate::mail::{BodyType, Recipient};
use crate::smtp::client::{Blame, ClientError, Declared, Outgoing, Payload, Unclean};
use crate::spool::{Body, Entry, RecipientIndex, Settlement, Settlements, SpoolError};
use crate::telemetry::EventType;
use crate::time::{Clock, Timestamp};

/// A leased copy on its way, with what is already settled of it.
pub(super) struct Draft<L> {
    lease: L,
    /// Who is still to be sent to.
    to: Vec<(RecipientIndex, Recipient)>,
    /// Who is at another domain and has to wait for their turn.
    others: Vec<RecipientIndex>,
    ending: Settlements,
}

impl<L: Leased> Draft<L> {
    pub(super) fn new(lease: L, line: &Line) -> Self {
        let (to, others) = match &line.place {
            Place::Host(_) => (lease.pending().to_vec(), Vec::new()),
            Place::Domain(domain) => {
                let (here, elsewhere): (Vec<_>, Vec<_>) =
                    lease.pending().iter().cloned().partition(|(_, recipient)| recipient.mailbox.domain() == domain);
                (here, elsewhere.into_iter().map(|(index, _)| index).collect())
            }
        };
        Self { lease, to, others, ending: Settlements::default() }
    }

    /// Whether nothing was settled yet, so that another lane can have the lease as it was.
    pub(super) const fn is_untouched(&self) -> bool {
        self.ending.outcomes.is_empty()
    }

    pub(super) fn into_lease(self) -> L {
        self.lease
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
    pub(super) resolver: Resolver,
    pub(super) recorder: Recorder,
    pub(super) clock: Arc<dyn Clock>,
    /// One permit for each copy between its final dot and its settlement on disk.
    pub(super) unsettled: Arc<Semaphore>,
    /// Set when outcomes cannot be written any more.
    pub(super) broken: watch::Sender<Option<SpoolError>>,
}

impl<R: Recheck> Desk<R> {
    /// Asks for the decision on everyone who is still to be sent to. `None` when nobody is left: settled then.
    pub(super) async fn decide<L: Leased>(&self, post: &Post<L>, mut draft: Draft<L>) -> Option<Job<L>> {
        let hold = self.recheck.hold();
        let rulings = self.recheck.recheck(draft.lease.entry(), &draft.to).await;
        // An answer that does not fit the question is no answer.
        let Some(rulings) = rulings.ok().filter(|rulings| rulings.len() == draft.to.len()) else {
            self.conclude_all(post, draft, &outcome::of_missing_facts(), None).await;
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
            self.settle(post, draft, None).await;
            return None;
        }
        match outgoing(draft.lease.entry(), &draft.to) {
            Ok(outgoing) => Some(Job { draft, outgoing: outgoing.holding(hold) }),
            Err(unclean) => {
                self.conclude_all(post, draft, &outcome::of_error(&ClientError::Unclean(unclean), false), None).await;
                None
            }
        }
    }

    /// The same verdict for everyone.
    pub(super) async fn conclude_all<L: Leased>(
        &self,
        post: &Post<L>,
        draft: Draft<L>,
        verdict: &Verdict,
        peer: Option<&Peer>,
    ) {
        let verdicts = vec![verdict.clone(); draft.to.len()];
        self.conclude(post, draft, &verdicts, peer, None).await;
    }

    /// A fault of the way: it rests, and that it does is said when it begins.
    pub(super) fn fault(&self, line: &Line, verdict: &Verdict, blame: Blame) {
        let now = self.clock.now();
        if line.circuit.fault(now, jitter()).opened {
            self.recorder.circuit_opened(line, now, &verdict.reply, blame);
        }
    }

    /// A transaction came to its regular end.
    pub(super) fn success(&self, line: &Line) {
        if line.circuit.success() {
            self.recorder.circuit_closed(line, self.clock.now());
        }
    }

    /// Records the verdicts, in the order of the recipients, and settles the copy. `permit` is what was taken before
    /// the final dot.
    pub(super) async fn conclude<L: Leased>(
        &self,
        post: &Post<L>,
        mut draft: Draft<L>,
        verdicts: &[Verdict],
        peer: Option<&Peer>,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        let now = self.clock.now();
        let resting = verdicts.iter().find(|verdict| verdict.route_fault).map(|fault| {
            self.fault(post.line(), fault, Blame::Peer);
            post.group.usable_at(now)
        });
        let entry = draft.lease.entry();
        let mut findings = Vec::new();
        for ((index, recipient), verdict) in draft.to.iter().zip(verdicts) {
            let (settlement, kind) = self.ending_of(entry, verdict, now, resting);
            let next = if let Settlement::Deferred { until } = &settlement { Some(*until) } else { None };
            let reply = &verdict.reply;
            draft.ending.notes.push(self.recorder.record(&Attempt {
                kind,
                at: now,
                entry,
                recipient,
                reply,
                line: post.line(),
                peer,
                next,
            }));
            findings.extend(finding(&settlement, recipient, verdict, peer, now));
            draft.ending.outcomes.push((*index, settlement));
        }
        if !findings.is_empty() {
            draft.ending.follow_up = self.recheck.report(entry, &findings);
        }
        self.settle(post, draft, permit).await;
    }

    /// Recipients at other domains follow at once until each domain has had its turn, and then as after any attempt.
    fn leave_others<L: Leased>(&self, draft: &mut Draft<L>) {
        if draft.others.is_empty() {
            return;
        }
        let (now, entry) = (self.clock.now(), draft.lease.entry());
        let attempts = entry.attempts.saturating_add(1);
        let until = match retry::next(attempts, now, entry.manifest.expires, jitter(), &self.settings.retry) {
            Retry::At(scheduled) if share::was_last(&draft.lease) => scheduled,
            // Its last attempt is still to be made.
            Retry::At(_) | Retry::Expired => now,
        };
        let left = draft.others.drain(..).map(|index| (index, Settlement::Deferred { until }));
        draft.ending.outcomes.extend(left);
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
            Fate::Delivered | Fate::Relayed => (Settlement::Delivered, EventType::Delivery),
            Fate::Bounced => (Settlement::Bounced, EventType::Bounce),
            Fate::Deferred => {
                let attempts = entry.attempts.saturating_add(1);
                let expires = entry.manifest.expires;
                match retry::next(attempts, now, expires, jitter(), &self.settings.retry) {
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
    async fn settle<L: Leased>(&self, post: &Post<L>, mut draft: Draft<L>, permit: Option<OwnedSemaphorePermit>) {
        self.leave_others(&mut draft);
        let permit = match permit {
            Some(permit) => Some(permit),
            // Never closed; and if it were, the settlement would still have to be written.
            None => Arc::clone(&self.unsettled).acquire_owned().await.ok(),
        };
        let (broken, lane, clock) = (self.broken.clone(), Arc::clone(&post.lane), Arc::clone(&self.clock));
        tokio::spawn(async move {
            let id = draft.lease.entry().id;
            if let Err(error) = draft.lease.settle(draft.ending).await {
                tracing::error!(%id, %error, "the outcome of an attempt could not be written; the copy may be sent again");
                if matches!(error, SpoolError::Full) {
                    // It recovers by itself; until then the same mail must not go out again and again.
                    lane.line.circuit.fault(clock.now(), jitter());
                } else {
                    broken.send_replace(Some(error));
                }
            }
            drop(permit);
        });
    }
}

/// What there is to tell the sender, as far as they want to hear it.
fn finding(
    settlement: &Settlement,
    recipient: &Recipient,
    verdict: &Verdict,
    peer: Option<&Peer>,
    at: Timestamp,
) -> Option<Finding> {
    let kind = match settlement {
        Settlement::Bounced => FindingKind::Bounced,
        Settlement::Expired => FindingKind::Expired,
        Settlement::Delivered if verdict.fate == Fate::Relayed => FindingKind::Relayed,
        Settlement::Delivered | Settlement::Deferred { .. } | Settlement::Withdrawn => return None,
    };
    if !kind.is_wanted(recipient.notify) {
        return None;
    }
    let (recipient, reply) = (recipient.clone(), verdict.reply.clone());
    let upstream = peer.map(|peer| Arc::clone(&peer.host));
    Some(Finding { recipient, kind, reply, said_by_upstream: verdict.said_by_upstream, upstream, at })
}

fn outgoing(entry: &Entry, to: &[(RecipientIndex, Recipient)]) -> Result<Outgoing, Unclean> {
    let manifest = &entry.manifest;
    let body = match &entry.body {
        Body::Memory(body) => Payload::Memory(body.clone()),
        Body::File(file) => Payload::File { path: file.path.clone(), len: file.len },
    };
    let declared = Declared { eight_bit: manifest.body_type == BodyType::EightBitMime, smtputf8: manifest.smtputf8 };
    let recipients = to.iter().map(|(_, recipient)| recipient.clone()).collect();
    let outgoing = Outgoing::new(manifest.reverse_path.clone(), recipients, entry.header.clone(), body, declared)?;
    Ok(outgoing.reporting(manifest.reporting.clone()))
}

/// From 0 to 1. Without randomness there is no jitter, and nothing else is lost.
fn jitter() -> f64 {
    f64::from(random()) / f64::from(u32::MAX)
}

/// Any number. When the system has no randomness it is always the same one, in the middle.
pub(super) fn random() -> u32 {
    let mut octets = [0; 4];
    match aws_lc_rs::rand::fill(&mut octets) {
        Ok(()) => u32::from_le_bytes(octets),
        Err(_) => u32::MAX / 2,
    }
}
