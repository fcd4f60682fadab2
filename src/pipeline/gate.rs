//! Gather and decide: at RCPT, before each attempt, and when somebody asks why.

use bytes::Bytes;

use crate::delivery::{Failure, Recheck, Ruling, Unavailable};
use crate::mail::{ListName, Mailbox, Recipient, Reply};
use crate::policy::{Case, Decision, Facts, Rulebook, Suppression, Verdict, decide, precheck};
use crate::smtp::Transaction;
use crate::smtp::client::Hold;
use crate::spool::{Batch, Entry, RecipientIndex};
use crate::store::{Store, StoreError};
use crate::telemetry::{Event, EventType};
use crate::time::Timestamp;

use super::note::{self, About};
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
        let facts = self.store.evidence(&[&to.mailbox]).await.map_err(|error| answer::store_down(&error))?;
        let now = self.clock.now();
        let suppressions = facts.first().map(Vec::as_slice).ok_or_else(answer::ours)?;
        let case = Case {
            recipient: to,
            stream: &stream.rules,
            controller: &stream.rules.controller,
            list: stream.only_list(),
            author: None,
            suppressions,
            facts: Facts::default(),
            now,
        };
        let Some(decision) = precheck(&case, &self.rulebook) else { return Ok(()) };
        let reference = self.ids.decision_ref(now);
        let reply = answer::refused(&decision, reference);
        let about = About { transaction, rulebook: &self.rulebook, privacy: &self.privacy, now };
        let event = about.decision(EventType::Rejection, to, &decision, reference);
        self.spool.note(self.log.record(&note::answered(event, &reply)));
        Err(reply)
    }

    fn withdrawal(&self, entry: &Entry, to: &Recipient, decision: &Decision, now: Timestamp) -> Bytes {
        let manifest = &entry.manifest;
        let mut event = Event::new(EventType::Withdrawn, now);
        event.sender = Some(self.privacy.form_path(&manifest.reverse_path));
        event.recipient = Some(self.privacy.form(&to.mailbox));
        event.stream = Some(manifest.label.stream.to_string());
        event.created = Some(manifest.received);
        event.num_attempts = Some(entry.attempts);
        event.reference = Some(self.ids.decision_ref(now).to_string());
        note::explain(&mut event, decision, &self.rulebook);
        let octets = entry.header.len() as u64;
        self.log.record(&note::queued(event, entry.id, &manifest.label, to, octets))
    }
}

impl Recheck for Pipeline {
    async fn recheck(
        &self,
        entry: &Entry,
        pending: &[(RecipientIndex, Recipient)],
    ) -> Result<Vec<Ruling>, Unavailable> {
        let label = &entry.manifest.label;
        if notice::is_own(label) {
            return Ok(pending.iter().map(|_| Ruling::Send).collect());
        }
        let settings = self.settings.load_full();
        let stream =
            settings.streams.get(&label.stream).ok_or_else(|| unavailable(&"its stream is not configured any more"))?;
        let mailboxes: Vec<_> = pending.iter().map(|(_, recipient)| &recipient.mailbox).collect();
        let facts = self.store.evidence(&mailboxes).await.map_err(|error| unavailable(&error))?;
        if facts.len() != pending.len() {
            return Err(unavailable(&"the store answered for other recipients"));
        }
        let now = self.clock.now();
        let rule = |((_, recipient), suppressions): (&(RecipientIndex, Recipient), &Vec<Suppression>)| {
            let case = Case {
                recipient,
                stream: &stream.rules,
                controller: &label.controller,
                list: label.list.as_ref(),
                author: None,
                suppressions,
                facts: Facts::default(),
                now,
            };
            let decision = decide(&case, &self.rulebook);
            match decision.verdict {
                Verdict::Permit(_) => Ruling::Send,
                Verdict::Refuse(_) => Ruling::Withdraw { note: self.withdrawal(entry, recipient, &decision, now) },
            }
        };
        Ok(pending.iter().zip(&facts).map(rule).collect())
    }

    fn hold(&self) -> Hold {
        Hold::new(self.fence.enter())
    }

    fn report(&self, entry: &Entry, failures: &[Failure]) -> Option<Batch> {
        self.failure_report(entry, failures)
    }
}

fn unavailable(why: &dyn std::fmt::Display) -> Unavailable {
    tracing::warn!(%why, "a queued copy cannot be decided again and waits");
    Unavailable
}

/// A decision with everything it was made from, for `consentry explain`.
#[derive(Debug)]
pub struct Explained {
    /// The decision.
    pub decision: Decision,
    /// Every fact about the recipient, whether it counted or not.
    pub facts: Vec<Suppression>,
    /// The list that the question was about.
    pub list: Option<ListName>,
}

/// Answers what the gateway would decide for `mailbox` on `stream` at `now`.
///
/// # Errors
/// [`StoreError`] when the facts cannot be had; then the gateway would not decide either.
pub async fn explain(
    store: &Store,
    stream: &Stream,
    list: Option<&ListName>,
    mailbox: &Mailbox,
    now: Timestamp,
) -> Result<Explained, StoreError> {
    let facts = store.evidence(&[mailbox]).await?.pop().unwrap_or_default();
    let recipient = Recipient { mailbox: mailbox.clone() };
    let list = list.or(stream.rules.list.as_ref());
    let case = Case {
        recipient: &recipient,
        stream: &stream.rules,
        controller: &stream.rules.controller,
        list,
        author: None,
        suppressions: &facts,
        facts: Facts::default(),
        now,
    };
    let decision = decide(&case, &Rulebook::built_in());
    Ok(Explained { decision, list: list.cloned(), facts })
}
