//! How an explained decision reads for people. It says the same as the object for programs.

use std::fmt::Write as _;

use crate::api::explanation::{Shown, name, purpose};
use crate::policy::{
    Basis, Certainty, ConsentFact, Considered, FactsUsed, Listed, Outcome, Standing, Suppression, Trace,
};
use crate::time::Timestamp;

/// A page for people.
pub(super) fn text(shown: &Shown<'_>) -> String {
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
