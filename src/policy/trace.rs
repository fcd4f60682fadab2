//! The long answer: every rule that was considered, and what would change the decision.

use super::rulebook::Rule;
use super::statute::{Effect, Override, Stage};

/// What a rule came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It applies and is fulfilled.
    Passed,
    /// It applies and is not fulfilled. What would fulfil it, in words.
    Failed {
        /// One sentence for each unmet requirement.
        remedies: Vec<String>,
    },
    /// It does not apply. The first condition that does not hold, in words.
    NotApplicable {
        /// The condition.
        because: String,
    },
    /// It is about a message, and none is in view.
    NotInView,
    /// It was not fulfilled, and the operator chose not to follow it.
    Overridden(Override),
}

impl Outcome {
    /// The word in reports: `pass`, `fail`…
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Passed => "pass",
            Self::Failed { .. } => "fail",
            Self::NotApplicable { .. } => "not applicable",
            Self::NotInView => "not in view",
            Self::Overridden(_) => "overridden",
        }
    }
}

/// One rule that was considered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Considered {
    /// Which.
    pub rule: Rule,
    /// In which stage; `None` for a rule that is built in.
    pub stage: Option<Stage>,
    /// What not fulfilling it means.
    pub effect: Effect,
    /// What it came to.
    pub outcome: Outcome,
}

/// Every rule that was considered, in order. A rule that several laws share stands here once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    considered: Vec<Considered>,
}

impl Trace {
    /// The rules in the order in which they were asked.
    pub fn considered(&self) -> &[Considered] {
        &self.considered
    }

    /// What would change a refusal: for each rule that refused, what would fulfil it. All of them are needed.
    pub fn remedies(&self) -> impl Iterator<Item = (&Rule, &str)> {
        self.considered.iter().filter(|entry| entry.effect == Effect::Refuse).flat_map(|entry| {
            let remedies: &[String] = match &entry.outcome {
                Outcome::Failed { remedies } => remedies,
                Outcome::Passed | Outcome::NotApplicable { .. } | Outcome::NotInView | Outcome::Overridden(_) => &[],
            };
            remedies.iter().map(|remedy| (&entry.rule, remedy.as_str()))
        })
    }
}

/// Who watches a decision being made. [`super::decide`] has nobody watch, and stops at the first refusal.
pub(super) trait Witness {
    /// Whether to go on after a refusal.
    const EXHAUSTIVE: bool;

    /// Takes note of one rule. The note is made only if somebody keeps it.
    fn note(&mut self, entry: impl FnOnce() -> Considered);
}

/// Nobody.
pub(super) struct Nobody;

impl Witness for Nobody {
    const EXHAUSTIVE: bool = false;

    fn note(&mut self, _entry: impl FnOnce() -> Considered) {}
}

impl Witness for Trace {
    const EXHAUSTIVE: bool = true;

    fn note(&mut self, entry: impl FnOnce() -> Considered) {
        let entry = entry();
        if !self.considered.iter().any(|known| known.rule.id == entry.rule.id) {
            self.considered.push(entry);
        }
    }
}
