//! Gather and decide: at RCPT, before each attempt, and when somebody asks why.

use bytes::Bytes;

use crate::delivery::{DeadMailbox, Finding, Recheck, Ruling, Unavailable};
use crate::mail::{ListName, Mailbox, Recipient, Reply};
use crate::policy::{Case, Cause, Decision, Origin, Rulebook, Scope, Trace, Verdict, decide, precheck};
use crate::smtp::Transaction;
use crate::smtp::client::Hold;
use crate::spool::{Batch, Entry, RecipientIndex};
use crate::store::{Added, Dossier, NewSuppression, Store, StoreError};
use crate::telemetry::{Event, EventType};
use crate::time::Timestamp;

use super::confirmation;
use super::facts::{self, gather};
use super::note::{self, About};
use super::notice::Ours;
use super::settings::{OnRefusal, Stream};
use super::{Pipeline, answer, notice};

impl Pipeline {
    /// At RCPT: refuses what is known there, so that the tool learns it for this recipient alone.
    pub(super) async fn precheck(&self, transaction: &Transaction, to: &Recipient) -> Result<(), Reply> {
        let settings = self.settings.load_full();
        let stream = settings.streams.get(&transaction.session.identity.stream).ok_or_else(answer::no_stream)?;
        if stream.on_refusal == OnRefusal::Accept {
            // The decision falls after DATA, where the record of it is written once.
            return Ok(());
        }
        let known = gather(&self.store, stream, &[&to.mailbox]).await.map_err(|error| answer::store_down(&error))?;
        let dossier = known.first().ok_or_else(answer::ours)?;
        let now = self.clock.now();
        let (suppressions, facts) = facts::of(dossier, None);
        let case = Case { list: stream.only_list(), suppressions, facts, ..Case::new(to, &stream.rules, now) };
        let Some(decision) = precheck(&case, &settings.rulebook) else { return Ok(()) };
        let reference = self.ids.decision_ref(now);
        let reply = answer::refused(&decision, reference);
        let (rules, privacy) = (&stream.rules, &self.privacy);
        let about = About { transaction, rules, rulebook: &settings.rulebook, privacy, now };
        let event = about.decision(EventType::Rejection, to, &decision, reference);
        self.spool.note(self.log.record(&note::answered(event, &reply)));
        Err(reply)
    }

    fn withdrawal(
        &self,
        entry: &Entry,
        to: &Recipient,
        decision: &Decision,
        rulebook: &Rulebook,
        now: Timestamp,
    ) -> Bytes {
        let manifest = &entry.manifest;
        let mut event = Event::new(EventType::Withdrawn, now);
        event.sender = Some(self.privacy.form_path(&manifest.reverse_path));
        event.recipient = Some(self.privacy.form(&to.mailbox));
        event.controller = Some(manifest.label.controller.to_string());
        event.stream = Some(manifest.label.stream.to_string());
        event.created = Some(manifest.received);
        event.num_attempts = Some(entry.attempts);
        event.reference = Some(self.ids.decision_ref(now).to_string());
        note::explain(&mut event, decision, rulebook);
        let octets = entry.header.len() as u64;
        self.log.record(&note::queued(event, entry.id, &manifest.label, to, octets))
    }
}

impl Pipeline {
    /// A confirmation letter is no advertising and needs no permit; it is withdrawn when the person has said no meanwhile.
    async fn recheck_letter(
        &self,
        entry: &Entry,
        pending: &[(RecipientIndex, Recipient)],
    ) -> Result<Vec<Ruling>, Unavailable> {
        let mailboxes: Vec<_> = pending.iter().map(|(_, recipient)| &recipient.mailbox).collect();
        let known = self.store.dossier(&mailboxes).await.map_err(|error| unavailable(&error))?;
        let now = self.clock.now();
        let rule = |((_, to), dossier): (&(RecipientIndex, Recipient), &Dossier)| {
            let Some(fact) = confirmation::objection(entry, dossier, now) else { return Ruling::Send };
            let mut event = Event::new(EventType::Withdrawn, now);
            event.recipient = Some(self.privacy.form(&to.mailbox));
            event.created = Some(entry.manifest.received);
            event.num_attempts = Some(entry.attempts);
            event.reason = Some(fact.cause.reason().as_str());
            event.evidence.clone_from(&fact.evidence);
            let octets = entry.header.len() as u64;
            Ruling::Withdraw {
                note: self.log.record(&note::queued(event, entry.id, &entry.manifest.label, to, octets)),
            }
        };
        Ok(pending.iter().zip(&known).map(rule).collect())
    }
}

impl Recheck for Pipeline {
    async fn recheck(
        &self,
        entry: &Entry,
        pending: &[(RecipientIndex, Recipient)],
    ) -> Result<Vec<Ruling>, Unavailable> {
        let label = &entry.manifest.label;
        match notice::ours(label) {
            Some(Ours::Notice | Ours::Canary) => return Ok(pending.iter().map(|_| Ruling::Send).collect()),
            Some(Ours::Letter) => return self.recheck_letter(entry, pending).await,
            None => {}
        }
        let settings = self.settings.load_full();
        let stream =
            settings.streams.get(&label.stream).ok_or_else(|| unavailable(&"its stream is not configured any more"))?;
        let mailboxes: Vec<_> = pending.iter().map(|(_, recipient)| &recipient.mailbox).collect();
        let known = gather(&self.store, stream, &mailboxes).await.map_err(|error| unavailable(&error))?;
        let now = self.clock.now();
        let rule = |((_, recipient), dossier): (&(RecipientIndex, Recipient), &Dossier)| {
            let (suppressions, facts) = facts::of(dossier, None);
            let case = Case {
                controller: &label.controller,
                list: label.list.as_ref(),
                suppressions,
                facts,
                ..Case::new(recipient, &stream.rules, now)
            };
            let decision = decide(&case, &settings.rulebook);
            match decision.verdict {
                Verdict::Permit(_) => Ruling::Send,
                Verdict::Refuse(_) => {
                    Ruling::Withdraw { note: self.withdrawal(entry, recipient, &decision, &settings.rulebook, now) }
                }
            }
        };
        Ok(pending.iter().zip(&known).map(rule).collect())
    }

    fn hold(&self) -> Hold {
        Hold::new(self.fence.enter())
    }

    fn report(&self, entry: &Entry, findings: &[Finding]) -> Option<Batch> {
        self.delivery_report(entry, findings)
    }

    async fn suppress(&self, dead: &DeadMailbox) -> Result<(), Unavailable> {
        // A report that we send ourselves says nothing of a recipient: its address is the sender's. Neither does a letter to
        // an address that somebody typed: whoever has it one day has refused nothing.
        if notice::ours(&dead.label).is_some() {
            return Ok(());
        }
        let (mailbox, evidence) = (dead.mailbox.clone(), Some(dead.evidence.clone()));
        let new =
            NewSuppression::lasting(mailbox, Scope::Everything, Cause::HardBounce, Origin::Dsn, evidence, dead.at);
        let added = self.store.add(new).await.map_err(|error| {
            tracing::warn!(%error, "a dead mailbox cannot be recorded yet");
            Unavailable
        })?;
        if added == Added::New {
            let mut event = Event::new(EventType::SuppressionAdded, self.clock.now());
            event.recipient = Some(self.privacy.form(&dead.mailbox));
            event.reason = Some(Cause::HardBounce.reason().as_str());
            event.evidence = Some(dead.evidence.clone());
            event.id = Some(dead.id.to_string());
            event.queue = Some(Scope::Everything.to_string());
            event.controller = Some(dead.label.controller.to_string());
            event.stream = Some(dead.label.stream.to_string());
            self.spool.note(self.log.record(&event));
        }
        Ok(())
    }
}

fn unavailable(why: &dyn std::fmt::Display) -> Unavailable {
    tracing::warn!(%why, "a queued copy cannot be decided again and waits");
    Unavailable
}

/// A question about many recipients of one stream, outside any message.
#[derive(Clone, Copy, Debug)]
pub struct Inquiry<'a> {
    /// Where the facts are.
    pub store: &'a Store,
    /// On which stream.
    pub stream: &'a Stream,
    /// On which list; the stream's own when there is none.
    pub list: Option<&'a ListName>,
    /// By which rules.
    pub rulebook: &'a Rulebook,
    /// When.
    pub now: Timestamp,
}

/// A decision with everything it was made from, for `consentry explain`.
#[derive(Debug)]
pub struct Explained {
    /// The decision.
    pub decision: Decision,
    /// Every rule of law that was considered.
    pub trace: Trace,
    /// What is known of the recipient, whether it counted or not.
    pub known: Dossier,
}

impl Inquiry<'_> {
    /// What the gateway would decide for each of `mailboxes`, in their order, before it has seen a message.
    ///
    /// # Errors
    /// [`StoreError`] when the facts cannot be had; then the gateway would not decide either.
    pub async fn decide(&self, mailboxes: &[&Mailbox]) -> Result<Vec<Decision>, StoreError> {
        let known = gather(self.store, self.stream, mailboxes).await?;
        let each = mailboxes.iter().zip(&known);
        Ok(each
            .map(|(mailbox, dossier)| self.with_case(mailbox, dossier, |case| decide(case, self.rulebook)))
            .collect())
    }

    /// What the gateway would decide for `mailbox`, and why.
    ///
    /// # Errors
    /// As [`Inquiry::decide`].
    pub async fn explain(&self, mailbox: &Mailbox) -> Result<Explained, StoreError> {
        let known = gather(self.store, self.stream, &[mailbox]).await?.pop().ok_or(StoreError::Stopping)?;
        let (decision, trace) = self.with_case(mailbox, &known, |case| crate::policy::explain(case, self.rulebook));
        Ok(Explained { decision, trace, known })
    }

    fn with_case<T>(&self, mailbox: &Mailbox, dossier: &Dossier, ask: impl FnOnce(&Case<'_>) -> T) -> T {
        let recipient = Recipient::new(mailbox.clone());
        let (suppressions, facts) = facts::of(dossier, None);
        let list = self.list.or(self.stream.rules.list.as_ref());
        ask(&Case { list, suppressions, facts, ..Case::new(&recipient, &self.stream.rules, self.now) })
    }
}
