//! How an explained decision reads: for people and for programs. Both say the same.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::mail::{ListName, Mailbox};
use crate::pipeline::{Explained, Inquiry};
use crate::policy::{
    Basis, Certainty, ConsentFact, Considered, Decision, FactsUsed, Listed, Outcome, Purpose, Rule, RuleId, Rulebook,
    Standing, StreamRules, Suppression, Trace, Verdict,
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
    fn title(&self) -> Option<&'static str> {
        let id = self.decision.rule;
        let built_in = self.rulebook.rules().iter();
        let law = self.rulebook.packs().iter().flat_map(|pack| &pack.rules).map(|law| &law.rule);
        built_in.chain(law).find(|rule| rule.id == id).map(|rule| rule.title)
    }

    /// Records given to this controller: those of others count for nothing here and are nobody's business here.
    fn consents(&self) -> impl Iterator<Item = &ConsentFact> {
        self.known.consents.iter().filter(|fact| fact.controller == self.stream.controller)
    }

    fn is_refused(&self) -> bool {
        matches!(self.decision.verdict, Verdict::Refuse(_))
    }
}

/// `RULE@VERSION`, as logs and audit records name it.
fn name(id: RuleId, version: u32) -> String {
    format!("{id}@{version}")
}

/// A page for people.
pub(crate) fn text(shown: &Shown<'_>) -> String {
    let mut page = Page(String::new());
    let Shown { stream, decision, .. } = shown;
    page.line(&format!("{}  {}", decision.verdict.as_str().to_uppercase(), decision.reason));
    page.row("recipient", shown.mailbox.as_str());
    let list = shown.list.map_or_else(String::new, |list| format!(", list {list}"));
    page.row("stream", &format!("{} ({} of {}{list})", stream.name, stream.class, stream.controller));
    page.row("at", &shown.now.to_string());
    let rule = name(decision.rule, decision.rule_version);
    page.row("rule", &format!("{rule} (rulebook {})", shown.rulebook.version()));
    page.row("", shown.title().unwrap_or_default());
    page.row("source", decision.source);
    if let Some(evidence) = &decision.evidence {
        page.row("evidence", evidence);
    }
    match &decision.facts {
        Some(facts) => page.facts(facts, shown),
        None => page.row("law", "none is applied to this stream; suppression and the stream's own rules decide"),
    }
    page.known(shown);
    page.considered(shown.trace);
    page.consequences(shown);
    page.0
}

struct Page(String);

impl Page {
    fn line(&mut self, text: &str) {
        self.0.push_str(text.trim_end());
        self.0.push('\n');
    }

    fn row(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.line(&format!("  {name:<11} {text}"));
        }
    }

    fn facts(&mut self, facts: &FactsUsed, shown: &Shown<'_>) {
        let country = facts.country.map_or_else(
            || String::from("unknown: the strictest rules apply"),
            |country| match facts.country_is {
                Certainty::Declared => format!("{country} (declared)"),
                Certainty::Assumed => format!("{country} (assumed: the stream's default)"),
            },
        );
        self.row("country", &format!("{country}; sender in {}", facts.establishment));
        let class = match facts.class_is {
            Certainty::Declared => "declared",
            Certainty::Assumed => "assumed from the address",
        };
        self.row("class", &format!("{} ({class})", facts.class));
        if let Some(contact) = shown.known.contact.as_ref().filter(|contact| !contact.functions.is_empty()) {
            let functions: Vec<_> = contact.functions.iter().map(ToString::to_string).collect();
            self.row("function", &format!("{} (declared)", functions.join(", ")));
        }
        self.row("basis", &basis(facts.basis, shown));
        self.row("proof", facts.evidence.as_deref().unwrap_or_default());
    }

    fn known(&mut self, shown: &Shown<'_>) {
        let now = shown.now;
        for fact in shown.consents() {
            self.row("consent", &consent(fact, now));
        }
        for check in &shown.known.registers {
            let answer = match check.answer {
                Listed::Yes => "listed",
                Listed::No => "not listed",
            };
            self.row("register", &format!("{}: {answer}, copy of {}", check.list, check.fresh_on));
        }
        if shown.known.suppressions.is_empty() {
            self.row("facts", "no suppression");
        }
        for fact in &shown.known.suppressions {
            let Suppression { cause, scope, origin, since, .. } = fact;
            let expired = if fact.counts_at(now) { "" } else { ", expired" };
            self.row("fact", &format!("{cause} ({scope}), by {origin}, since {since}{expired}"));
        }
    }

    fn considered(&mut self, trace: &Trace) {
        if trace.considered().is_empty() {
            return;
        }
        self.line("  rules considered, in order");
        for entry in trace.considered() {
            let Considered { rule, outcome, .. } = entry;
            let mark = outcome.as_str();
            self.line(&format!("    {mark:<14} {}: {}", name(rule.id, rule.version), rule.title));
            match outcome {
                Outcome::NotApplicable { because } => self.line(&format!("    {:<14} applies when {because}", "")),
                Outcome::Failed { remedies } => {
                    for remedy in remedies {
                        self.line(&format!("    {:<14} asks for {remedy}", ""));
                    }
                }
                Outcome::Overridden(chosen) => {
                    self.line(&format!("    {:<14} {} ({}, {})", "", chosen.reason, chosen.by, chosen.on));
                }
                Outcome::Passed | Outcome::NotInView => {}
            }
        }
    }

    /// What else the decision carries, and what would change it.
    fn consequences(&mut self, shown: &Shown<'_>) {
        let decision = shown.decision;
        for rule in &decision.warnings {
            self.row("warning", &format!("{}: {} ({})", name(rule.id, rule.version), rule.title, rule.source));
        }
        for chosen in &decision.overrides {
            self.row(
                "override",
                &format!("{} not followed: {} ({}, {})", chosen.rule, chosen.reason, chosen.by, chosen.on),
            );
        }
        if let Some(rule) = decision.would_refuse {
            let why = format!("{} {}: {}", rule.reason, name(rule.id, rule.version), rule.title);
            self.row("in shadow", &format!("would be refused by {why} ({})", rule.source));
        }
        if shown.is_refused() || decision.would_refuse.is_some() {
            self.line("  to change the answer, all of");
            for (rule, remedy) in shown.trace.remedies() {
                self.line(&format!("    {}: {remedy}", rule.id));
            }
        }
    }
}

fn basis(basis: Option<(Basis, Standing)>, shown: &Shown<'_>) -> String {
    match basis {
        Some((basis, Standing::Proven)) => format!("{basis} (on record)"),
        Some((basis, Standing::Asserted)) => format!("{basis} (asserted by the operator, not proven)"),
        None if shown.is_refused() => String::from("none on which this message may leave"),
        None => String::from("none is needed, or none was found"),
    }
}

fn purpose(purpose: &Purpose) -> String {
    match purpose {
        Purpose::Marketing => String::from("marketing"),
        Purpose::Topic(topic) => format!("topic {topic}"),
        Purpose::List(list) => format!("list {list}"),
        Purpose::OpenTracking => String::from("open_tracking"),
    }
}

fn consent(fact: &ConsentFact, now: Timestamp) -> String {
    let mut text = format!("{} for {}, collected {}", fact.basis, purpose(&fact.purpose), fact.collected_at);
    if let Some(last) = fact.last_contact {
        let _never_fails = write!(text, ", last contact {last}");
    }
    if !fact.counts_at(now) {
        text.push_str(", does not count at this instant");
    }
    text
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
