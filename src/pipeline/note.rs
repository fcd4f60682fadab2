//! Decisions as events: the one object that goes to log and audit (promise P5).

use std::fmt::Write as _;

use crate::mail::{DecisionRef, Label, QueueId, Recipient, Reply};
use crate::policy::{Country, Decision, FactsUsed, Rule, Rulebook, StreamRules};
use crate::smtp::Transaction;
use crate::telemetry::{Event, EventType, Privacy};
use crate::time::Timestamp;

/// What all decisions of one message have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    pub(super) transaction: &'a Transaction,
    /// Of its stream.
    pub(super) rules: &'a StreamRules,
    pub(super) rulebook: &'a Rulebook,
    pub(super) privacy: &'a Privacy,
    pub(super) now: Timestamp,
}

impl About<'_> {
    /// The event of one decision.
    pub(super) fn decision(
        &self,
        kind: EventType,
        to: &Recipient,
        decision: &Decision,
        reference: DecisionRef,
    ) -> Event {
        let session = &self.transaction.session;
        let mut event = Event::new(kind, self.now);
        event.sender = Some(self.privacy.form_path(&self.transaction.envelope.reverse_path));
        event.recipient = Some(self.privacy.form(&to.mailbox));
        explain(&mut event, decision, self.rulebook);
        event.reference = Some(reference.to_string());
        event.controller = Some(self.rules.controller.to_string());
        event.stream = Some(session.identity.stream.to_string());
        event.credential = Some(session.identity.credential.to_string());
        event.session_id = Some(session.id.clone());
        event
    }
}

/// Writes verdict, reason, rule and source into an event.
pub(super) fn explain(event: &mut Event, decision: &Decision, rulebook: &Rulebook) {
    event.verdict = Some(decision.verdict.as_str());
    event.reason = Some(decision.reason.as_str());
    event.rule = Some(format!("{}@{}", decision.rule, decision.rule_version));
    event.source = Some(decision.source);
    event.rulebook = Some(rulebook.version());
    event.evidence.clone_from(&decision.evidence);
    event.facts = decision.facts.as_ref().map(facts);
    event.would_refuse = decision.would_refuse.as_ref().map(named);
    event.warnings = decision.warnings.iter().map(named).collect();
    event.overrides = decision.overrides.iter().map(|chosen| format!("{}: {}", chosen.rule, chosen.reason)).collect();
}

fn named(rule: &Rule) -> String {
    format!("{}@{}", rule.id, rule.version)
}

fn facts(used: &FactsUsed) -> String {
    let country = used.country.as_ref().map_or("unknown", Country::as_str);
    let mut text = format!(
        "sender {}; country {country} ({}); class {} ({})",
        used.establishment.as_str(),
        used.country_is,
        used.class,
        used.class_is
    );
    if let Some((basis, standing)) = used.basis {
        let _infallible = write!(text, "; basis {basis} ({standing})");
    }
    if let Some(evidence) = &used.evidence {
        let _infallible = write!(text, "; evidence {evidence}");
    }
    text
}

/// What an event says of a copy that was queued.
pub(super) fn queued(mut event: Event, id: QueueId, label: &Label, to: &Recipient, octets: u64) -> Event {
    event.id = Some(id.to_string());
    event.size = Some(octets);
    event.queue = Some(queue_name(label, to));
    labelled(event, label)
}

/// List and campaign.
pub(super) fn labelled(mut event: Event, label: &Label) -> Event {
    event.list = label.list.as_ref().map(ToString::to_string);
    event.campaign = label.campaign.as_ref().map(ToString::to_string);
    event
}

/// What we answered.
pub(super) fn answered(mut event: Event, reply: &Reply) -> Event {
    event.response = Some(reply.clone());
    event
}

/// `campaign:stream@domain`, KumoMTA's way to name a queue.
pub(super) fn queue_name(label: &Label, to: &Recipient) -> String {
    match &label.campaign {
        Some(campaign) => format!("{campaign}:{}@{}", label.stream, to.mailbox.domain()),
        None => format!("{}@{}", label.stream, to.mailbox.domain()),
    }
}
