//! What a preflight found, in numbers.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Value, json};

use crate::exit::Exit;
use crate::policy::{Certainty, Decision, ReasonCode, Rule, RuleId, Verdict};

/// Counts of everything that was decided. It grows with the number of rules, not with that of rows.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) permitted: u64,
    pub(super) refused: u64,
    pub(super) invalid: u64,
    /// Rows whose class was read from the address.
    pub(super) assumed_class: u64,
    decided: BTreeMap<(&'static str, ReasonCode, RuleId), Decided>,
    warned: BTreeMap<RuleId, (Rule, u64)>,
    would_refuse: BTreeMap<RuleId, (Rule, u64)>,
    overridden: BTreeMap<RuleId, u64>,
}

/// How often a rule decided in one way.
#[derive(Debug)]
struct Decided {
    rows: u64,
    version: u32,
    source: &'static str,
}

impl Tally {
    /// How many rows there were.
    pub(super) const fn rows(&self) -> u64 {
        self.permitted + self.refused + self.invalid
    }

    /// Counts one decision.
    pub(super) fn add(&mut self, decision: &Decision) {
        match decision.verdict {
            Verdict::Permit(_) => self.permitted += 1,
            Verdict::Refuse(_) => self.refused += 1,
        }
        let key = (decision.verdict.as_str(), decision.reason, decision.rule);
        let first = || Decided { rows: 0, version: decision.rule_version, source: decision.source };
        self.decided.entry(key).or_insert_with(first).rows += 1;
        for rule in &decision.warnings {
            self.warned.entry(rule.id).or_insert((*rule, 0)).1 += 1;
        }
        if let Some(rule) = decision.would_refuse {
            self.would_refuse.entry(rule.id).or_insert((rule, 0)).1 += 1;
        }
        for chosen in &decision.overrides {
            *self.overridden.entry(chosen.rule).or_default() += 1;
        }
        if decision.facts.as_ref().is_some_and(|facts| facts.class_is == Certainty::Assumed) {
            self.assumed_class += 1;
        }
    }

    /// 0 when every row may be written to, 1 when some may not, 65 when some could not be read.
    pub(super) const fn exit(&self) -> Exit {
        match (self.invalid, self.refused) {
            (0, 0) => Exit::Done,
            (0, _) => Exit::No,
            (_, _) => Exit::Data,
        }
    }

    /// For people: the totals, then each reason, the most frequent first.
    pub(super) fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { permitted, refused, invalid, .. } = self;
        writeln!(out, "{} rows: {permitted} permitted, {refused} refused, {invalid} invalid", self.rows())?;
        for ((verdict, reason, rule), decided) in self.by_frequency() {
            let Decided { rows, version, source } = decided;
            writeln!(out, "  {verdict:<7} {rows:>9}  {:<28} {rule}@{version}, {source}", reason.as_str())?;
        }
        for (rule, rows) in self.would_refuse.values() {
            writeln!(
                out,
                "  shadow  {rows:>9}  {:<28} {}@{}, would refuse",
                rule.reason.as_str(),
                rule.id,
                rule.version
            )?;
        }
        for (rule, rows) in self.warned.values() {
            writeln!(
                out,
                "  warning {rows:>9}  {:<28} {}@{}, {}",
                rule.reason.as_str(),
                rule.id,
                rule.version,
                rule.title
            )?;
        }
        for (rule, rows) in &self.overridden {
            writeln!(out, "  override {rows:>8}  {rule} is not followed")?;
        }
        if self.assumed_class > 0 {
            writeln!(
                out,
                "  {} rows were classified by their address; declare the class to be sure",
                self.assumed_class
            )?;
        }
        writeln!(out, "What a message must show is asked when the message comes in.")
    }

    fn by_frequency(&self) -> Vec<(&(&'static str, ReasonCode, RuleId), &Decided)> {
        let mut all: Vec<_> = self.decided.iter().collect();
        all.sort_by_key(|(key, decided)| (key.0, std::cmp::Reverse(decided.rows)));
        all
    }

    /// For programs.
    pub(super) fn to_json(&self) -> Value {
        let decided: Vec<_> = self
            .by_frequency()
            .into_iter()
            .map(|((verdict, reason, rule), decided)| {
                json!({
                    "verdict": verdict, "reason": reason.as_str(), "rule": format!("{rule}@{}", decided.version),
                    "source": decided.source, "rows": decided.rows,
                })
            })
            .collect();
        let counted = |rules: &BTreeMap<RuleId, (Rule, u64)>| {
            let one = |(rule, rows): &(Rule, u64)| {
                let name = format!("{}@{}", rule.id, rule.version);
                json!({ "rule": name, "reason": rule.reason.as_str(), "title": rule.title, "rows": rows })
            };
            rules.values().map(one).collect::<Vec<_>>()
        };
        let overridden: Vec<_> =
            self.overridden.iter().map(|(rule, rows)| json!({ "rule": rule.as_str(), "rows": rows })).collect();
        json!({
            "rows": self.rows(), "permitted": self.permitted, "refused": self.refused, "invalid": self.invalid,
            "assumed_class": self.assumed_class, "decided": decided, "would_refuse": counted(&self.would_refuse),
            "warnings": counted(&self.warned), "overridden": overridden,
        })
    }
}
