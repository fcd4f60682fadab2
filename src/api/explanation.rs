//! A decision with everything that it was made from, and how it reads for programs.

use serde_json::{Value, json};

use crate::mail::{ListName, Mailbox};
use crate::pipeline::{Explained, Inquiry};
use crate::policy::{
    ConsentFact, Considered, Decision, FactsUsed, Outcome, Purpose, Rule, RuleId, Rulebook, StreamRules, Trace, Verdict,
};
use crate::store::Dossier;
use crate::time::Timestamp;

/// A decision with everything that it was made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a> {
    /// For whom.
    pub(crate) mailbox: &'a Mailbox,
    /// On which stream.
    pub(crate) stream: &'a StreamRules,
    /// On which list.
    pub(crate) list: Option<&'a ListName>,
    /// By which rules.
    pub(crate) rulebook: &'a Rulebook,
    /// When.
    pub(crate) now: Timestamp,
    /// The answer.
    pub(crate) decision: &'a Decision,
    /// Every rule that was considered.
    pub(crate) trace: &'a Trace,
    /// What is known of the recipient, whether it counted or not.
    pub(crate) known: &'a Dossier,
}

impl<'a> Shown<'a> {
    /// What was answered to `inquiry` about `mailbox`.
    pub(crate) fn of(inquiry: &'a Inquiry<'a>, mailbox: &'a Mailbox, answer: &'a Explained) -> Self {
        Self {
            mailbox,
            stream: &inquiry.stream.rules,
            list: inquiry.list,
            rulebook: inquiry.rulebook,
            now: inquiry.now,
            decision: &answer.decision,
            trace: &answer.trace,
            known: &answer.known,
        }
    }
}

impl Shown<'_> {
    /// The deciding rule in plain words.
    pub(crate) fn title(&self) -> Option<&'static str> {
        let id = self.decision.rule;
        let built_in = self.rulebook.rules().iter();
        let law = self.rulebook.packs().iter().flat_map(|pack| &pack.rules).map(|law| &law.rule);
        built_in.chain(law).find(|rule| rule.id == id).map(|rule| rule.title)
    }

    /// Records given to this controller: those of others count for nothing here and are nobody's business here.
    pub(crate) fn consents(&self) -> impl Iterator<Item = &ConsentFact> {
        self.known.consents.iter().filter(|fact| fact.controller == self.stream.controller)
    }

    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.decision.verdict, Verdict::Refuse(_))
    }
}

/// `RULE@VERSION`, as logs and audit records name it.
pub(crate) fn name(id: RuleId, version: u32) -> String {
    format!("{id}@{version}")
}

pub(crate) fn purpose(purpose: &Purpose) -> String {
    match purpose {
        Purpose::Marketing => String::from("marketing"),
        Purpose::Topic(topic) => format!("topic {topic}"),
        Purpose::List(list) => format!("list {list}"),
        Purpose::OpenTracking => String::from("open_tracking"),
    }
}

/// One object for programs.
pub(crate) fn json(shown: &Shown<'_>) -> Value {
    let Shown { stream, decision, now, .. } = *shown;
    let suppressions: Vec<_> = shown
        .known
        .suppressions
        .iter()
        .map(|fact| {
            json!({
                "cause": fact.cause.as_str(), "scope": fact.scope.to_string(), "origin": fact.origin.as_str(),
                "evidence": fact.evidence, "since": fact.since.to_string(),
                "expires": fact.expires.map(|at| at.to_string()), "counts": fact.counts_at(now),
            })
        })
        .collect();
    let remedies: Vec<_> =
        shown.trace.remedies().map(|(rule, remedy)| json!({ "rule": rule.id.as_str(), "asks_for": remedy })).collect();
    let overrides: Vec<_> = decision
        .overrides
        .iter()
        .map(
            |chosen| json!({ "rule": chosen.rule.as_str(), "reason": chosen.reason, "by": chosen.by, "on": chosen.on }),
        )
        .collect();
    json!({
        "recipient": shown.mailbox.as_str(), "stream": stream.name.as_str(), "class": stream.class.as_str(),
        "controller": stream.controller.as_str(), "list": shown.list.map(ListName::as_str), "at": now.to_string(),
        "verdict": decision.verdict.as_str(), "reason": decision.reason.as_str(),
        "rule": name(decision.rule, decision.rule_version), "title": shown.title(),
        "rulebook": shown.rulebook.version(), "source": decision.source, "evidence": decision.evidence,
        "facts": suppressions, "law": decision.facts.as_ref().map(|facts| law_json(facts, shown)),
        "considered": shown.trace.considered().iter().map(considered_json).collect::<Vec<_>>(),
        "warnings": decision.warnings.iter().map(rule_json).collect::<Vec<_>>(),
        "would_refuse": decision.would_refuse.as_ref().map(rule_json), "overrides": overrides, "remedies": remedies,
    })
}

fn law_json(facts: &FactsUsed, shown: &Shown<'_>) -> Value {
    let consents: Vec<_> = shown
        .consents()
        .map(|fact| {
            json!({
                "basis": fact.basis.as_str(), "purpose": purpose(&fact.purpose), "standing": fact.standing.as_str(),
                "collected_at": fact.collected_at.to_string(), "counts": fact.counts_at(shown.now),
                "last_contact": fact.last_contact.map(|at| at.to_string()), "evidence": fact.evidence.as_deref(),
            })
        })
        .collect();
    let functions = shown.known.contact.iter().flat_map(|contact| &contact.functions);
    let registers = shown.known.registers.iter().map(|check| {
        json!({ "list": check.list.as_str(), "listed": check.answer.as_str(), "fresh_on": check.fresh_on.to_string() })
    });
    json!({
        "country": facts.country.map(|country| country.to_string()), "country_is": facts.country_is.as_str(),
        "establishment": facts.establishment.to_string(),
        "recipient_class": facts.class.as_str(), "recipient_class_is": facts.class_is.as_str(),
        "functions": functions.map(ToString::to_string).collect::<Vec<_>>(),
        "basis": facts.basis.map(|(basis, _)| basis.as_str()),
        "standing": facts.basis.map(|(_, standing)| standing.as_str()), "evidence": facts.evidence.as_deref(),
        "consents": consents, "registers": registers.collect::<Vec<_>>(),
    })
}

fn rule_json(rule: &Rule) -> Value {
    json!({
        "rule": name(rule.id, rule.version), "reason": rule.reason.as_str(), "title": rule.title, "source": rule.source,
    })
}

fn considered_json(entry: &Considered) -> Value {
    let (because, remedies) = match &entry.outcome {
        Outcome::NotApplicable { because } => (Some(because.clone()), &[][..]),
        Outcome::Failed { remedies } => (None, remedies.as_slice()),
        Outcome::Overridden(chosen) => (Some(chosen.reason.to_owned()), &[][..]),
        Outcome::Passed | Outcome::NotInView => (None, &[][..]),
    };
    json!({
        "rule": name(entry.rule.id, entry.rule.version), "title": entry.rule.title, "source": entry.rule.source,
        "stage": entry.stage.map(crate::policy::Stage::as_str), "effect": entry.effect.as_str(),
        "outcome": entry.outcome.as_str(), "because": because, "asks_for": remedies,
    })
}
