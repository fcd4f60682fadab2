//! Before and after the wire: the decision that precedes an attempt, and the settlement that ends it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::board::Board;
use super::circuit::Trouble;
use super::fair::Flow;
use super::gate::Gates;
use super::lane::{Line, Place, Post};
use super::outcome::{self, Fate, Reading, Speaker, Verdict};
use super::record::{Attempt, Peer, Recorder};
use super::retry::{self, Retry};
use super::share::{self, Part};
use super::{Finding, FindingKind, Leased, Recheck, Ruling, Settings};
use crate::dns::Resolver;
use crate::mail::{BodyType, Domain, Recipient, Reply};
use crate::replies::Class;
use crate::smtp::client::{Blame, ClientError, Declared, Outgoing, Payload, Unclean};
use crate::spool::{Body, Entry, RecipientIndex, Settlement, Settlements, SpoolError};
use crate::sts::Policies;
use crate::telemetry::EventType;
use crate::time::{Clock, Timestamp};

/// A leased copy on its way, with what is already settled of it.
pub(super) struct Draft<L> {
    lease: L,
    /// Who is still to be sent to.
    to: Vec<(RecipientIndex, Recipient)>,
    /// Who is at another domain and has to wait for their turn.
    others: Vec<RecipientIndex>,
    /// Whether the others have had their turn with this attempt.
    is_last: bool,
    /// Whether their groups' pace lets it go. Asked once for each attempt, because asking takes a place.
    placed: bool,
    /// Whether it is counted where something is warmed up.
    counted: bool,
    ending: Settlements,
}

impl<L: Leased> Draft<L> {
    fn new(lease: L, line: &Line, gates: &Gates, now: Timestamp) -> Self {
        let Part { to, others, is_last } = share::part(&lease, &line.route, gates, now);
        Self { lease, to, others, is_last, placed: false, counted: false, ending: Settlements::default() }
    }

    /// Whether nothing was settled yet, so that another lane can have the lease as it was.
    pub(super) const fn is_untouched(&self) -> bool {
        self.ending.outcomes.is_empty()
    }

    /// Whether it may go back as it was. With recipients elsewhere it counts as an attempt: it is their turn next.
    fn can_go_back(&self) -> bool {
        self.is_untouched() && self.others.is_empty()
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
    pub(super) board: Arc<Board>,
    pub(super) resolver: Resolver,
    pub(super) policies: Policies,
    pub(super) recorder: Recorder,
    pub(super) clock: Arc<dyn Clock>,
    /// One permit for each copy between its final dot and its settlement on disk.
    pub(super) unsettled: Arc<Semaphore>,
    /// Set when outcomes cannot be written any more.
    pub(super) broken: watch::Sender<Option<SpoolError>>,
}

impl<R: Recheck> Desk<R> {
    /// Whose turns the copy takes.
    pub(super) fn flow(&self, lease: &impl Leased) -> Flow {
        self.settings.streams.flow(&lease.entry().manifest.label)
    }

    /// What is to be sent of a lease on this way.
    pub(super) fn draft<L: Leased>(&self, lease: L, line: &Line) -> Draft<L> {
        Draft::new(lease, line, self.board.gates(), self.clock.now())
    }

    /// How replies on this way are read.
    pub(super) fn reading(&self, line: &Line) -> Reading<'_> {
        let speaker = match &line.place {
            Place::Host(_) => Speaker::Smarthost,
            Place::Domain(_) => Speaker::Exchange,
        };
        Reading { book: &self.settings.replies, speaker }
    }

    /// Takes out whoever is suspended or waits for their group's pace. `None` when nobody is left: a copy that nothing
    /// has happened to goes back to where it waits, without a trace.
    pub(super) async fn let_pass<L: Leased>(&self, post: &Post<L>, mut draft: Draft<L>) -> Option<Draft<L>> {
        if !self.board.restricts() {
            return Some(draft);
        }
        let now = self.clock.now();
        let (id, label) = (draft.lease.entry().id, &draft.lease.entry().manifest.label);
        let (placed, mut waiting) = (draft.placed, Vec::new());
        draft.to.retain(|(index, recipient)| {
            let domain = recipient.mailbox.domain();
            let place =
                || (!placed).then(|| self.board.place(label, domain, self.interval(post, domain), now)).flatten();
            let until = self.board.suspended(id, label, domain, now).or_else(place);
            waiting.extend(until.map(|until| (*index, until)));
            until.is_none()
        });
        draft.placed = true;
        let Some(first) = waiting.iter().map(|(_, until)| *until).min() else { return Some(draft) };
        if draft.to.is_empty() && draft.can_go_back() {
            draft.lease.put_back(first);
            return None;
        }
        let waiting = waiting.into_iter().map(|(index, until)| (index, Settlement::Deferred { until }));
        draft.ending.outcomes.extend(waiting);
        if draft.to.is_empty() {
            self.settle(post, draft, None).await;
            return None;
        }
        Some(draft)
    }

    /// From one copy to the next for recipients at `domain`, while nothing slows their group.
    fn interval<L: Leased>(&self, post: &Post<L>, domain: &Domain) -> Duration {
        let (line, gates) = (post.line(), self.board.gates());
        match &line.place {
            Place::Domain(_) => line.gate().interval(),
            Place::Host(_) if !gates.guards(&line.route.name) => Duration::ZERO,
            Place::Host(_) => gates.gate(&line.route.name, gates.who(domain), self.clock.now()).interval(),
        }
    }

    /// The copy may not go before `until`: back where it waits, without a trace when nothing has happened to it.
    pub(super) async fn later<L: Leased>(&self, post: &Post<L>, mut draft: Draft<L>, until: Timestamp) {
        if draft.can_go_back() {
            return draft.lease.put_back(until);
        }
        let waiting = draft.to.drain(..).map(|(index, _)| (index, Settlement::Deferred { until }));
        draft.ending.outcomes.extend(waiting);
        self.settle(post, draft, None).await;
    }

    /// Asks for the decision on everyone who is still to be sent to. `None` when nobody is left: settled then.
    pub(super) async fn decide<L: Leased>(&self, post: &Post<L>, draft: Draft<L>) -> Option<Job<L>> {
        let mut draft = self.let_pass(post, draft).await?;
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
                let verdict = outcome::of_error(self.reading(post.line()), &ClientError::Unclean(unclean), false);
                self.conclude_all(post, draft, &verdict, None).await;
                None
            }
        }
    }

    /// Counts a copy that is about to leave, from `source` where that is one of several, for what is being warmed up.
    ///
    /// # Errors
    /// The day is full; until then.
    pub(super) fn count<L: Leased>(&self, draft: &mut Draft<L>, source: Option<IpAddr>) -> Result<(), Timestamp> {
        let warming = self.board.warming();
        if draft.counted || warming.is_idle() {
            return Ok(());
        }
        let of_path = warming.of_path(&draft.lease.entry().manifest.reverse_path);
        let of_source = source.and_then(|source| warming.of_source(source));
        let plans: Vec<_> = of_path.into_iter().chain(of_source).collect();
        let now = self.clock.now();
        for full in warming.take(&plans, now)? {
            let note = self.recorder.day_full(&full, now);
            draft.ending.notes.push(note);
        }
        draft.counted = true;
        Ok(())
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

    /// A fault of the way: it rests, and that it does is said when it begins. `reply` is what may be shown.
    pub(super) fn fault(&self, line: &Line, verdict: &Verdict, reply: &Reply, blame: Blame) {
        let now = self.clock.now();
        if !line.circuit.fault(now, jitter()).counted {
            return;
        }
        let trouble = line.circuit.explain(Trouble {
            since: now,
            route: line.route.name.clone(),
            site: line.place.to_string(),
            blame,
            class: verdict.told.map_or(Class::Temporary, |told| told.class),
            response: reply.to_string(),
        });
        if let Some(trouble) = trouble {
            self.recorder.circuit_opened(line, now, reply, &trouble);
            self.board.troubled(&trouble);
        }
    }

    /// A transaction came to its regular end.
    pub(super) fn success(&self, line: &Line) {
        if line.circuit.success().is_some() {
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
        let fault = draft.to.iter().zip(verdicts).find(|(_, verdict)| verdict.route_fault);
        let resting = fault.map(|((_, recipient), verdict)| {
            let reply = self.recorder.shown(&verdict.reply, recipient);
            self.fault(post.line(), verdict, &reply, verdict.blame());
            post.pool.usable_at(now)
        });
        let entry = draft.lease.entry();
        let mut findings = Vec::new();
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
                line: post.line(),
                peer,
                next,
            }));
            let warned = |next| retry::is_warned_now(entry.manifest.received, now, next, self.settings.warn_after);
            let about = About { settlement: &settlement, late: next.is_some_and(warned), verdict, peer, at: now };
            findings.extend(about.finding(recipient));
            draft.ending.outcomes.push((*index, settlement));
        }
        if !findings.is_empty() {
            draft.ending.follow_up = self.recheck.report(entry, &findings);
        }
        self.settle(post, draft, permit).await;
    }

    /// Recipients elsewhere follow at once while something becomes of those before them, and until everyone has had
    /// their turn; then as after any attempt.
    fn leave_others<L: Leased>(&self, draft: &mut Draft<L>) {
        if draft.others.is_empty() {
            return;
        }
        let (now, entry) = (self.clock.now(), draft.lease.entry());
        let attempts = entry.attempts.saturating_add(1);
        let goes_on = draft.ending.outcomes.iter().any(|(_, how)| !matches!(how, Settlement::Deferred { .. }));
        let until = match retry::next(attempts, now, entry.manifest.expires, jitter(), &self.settings.retry) {
            Retry::At(scheduled) if draft.is_last && !goes_on => scheduled,
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

/// How an attempt ended for one recipient.
struct About<'a> {
    settlement: &'a Settlement,
    /// Whether it is now that the sender should know of the delay.
    late: bool,
    verdict: &'a Verdict,
    peer: Option<&'a Peer>,
    at: Timestamp,
}

impl About<'_> {
    /// What there is to tell the sender, as far as they want to hear it.
    fn finding(&self, recipient: &Recipient) -> Option<Finding> {
        let kind = match self.settlement {
            Settlement::Bounced => FindingKind::Bounced,
            Settlement::Expired => FindingKind::Expired,
            Settlement::Delivered if self.verdict.fate == Fate::Relayed => FindingKind::Relayed,
            Settlement::Deferred { .. } if self.late => FindingKind::Delayed,
            Settlement::Delivered
            | Settlement::Deferred { .. }
            | Settlement::Withdrawn
            | Settlement::Held
            | Settlement::Released => return None,
        };
        if !kind.is_wanted(recipient.notify) {
            return None;
        }
        let Verdict { reply, said_by_upstream, .. } = self.verdict;
        Some(Finding {
            recipient: recipient.clone(),
            kind,
            reply: reply.clone(),
            said_by_upstream: *said_by_upstream,
            upstream: self.peer.map(|peer| Arc::clone(&peer.host)),
            at: self.at,
        })
    }
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
