//! Case files: facts in, verdict, rule and source out, readable without reading Rust.
//!
//! `consentry rules test` runs an operator's own, and a test runs those of this repository.

mod file;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::policy::{Case, Decision, RuleId, Rulebook, Verdict, decide, explain};

use super::error::{Problem, RulesError};

use file::{CaseFile, Expectation, Question};

/// What became of all cases.
#[derive(Debug, Default)]
pub struct Report {
    /// How many were asked.
    pub asked: usize,
    /// Those whose answer was another than expected.
    pub failures: Vec<Problem>,
    /// Rules that decided a case, or warned in one.
    pub deciding: BTreeSet<RuleId>,
    /// The cases one by one, in the order of asking.
    pub answers: Vec<Answer>,
}

/// What became of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The file, as it was named to us.
    pub file: String,
    /// The line that the case begins on, counted from 1.
    pub line: usize,
    /// The case in one sentence.
    pub title: String,
    /// `permit` or `refuse`.
    pub verdict: &'static str,
    /// The rule that decided.
    pub rule: RuleId,
    /// Rules that warned, and the one that would have refused in shadow.
    pub noted: Vec<RuleId>,
}

/// Runs the cases that are shipped with the packs. With an operator's own rules some may come out otherwise than they
/// say: that is what the operator's rules change.
///
/// # Errors
/// [`RulesError::Wrong`] when a shipped file is not a set of cases, which a test excludes.
pub fn shipped(rules: &Rulebook) -> Result<Report, RulesError> {
    let mut report = Report::default();
    for (file, text) in super::shipped::CASES {
        run_text(file, text, rules, &mut report)?;
    }
    Ok(report)
}

/// Runs every `*.toml` below a folder, in the order of their paths.
///
/// # Errors
/// [`RulesError::Read`] when the folder cannot be read, [`RulesError::Wrong`] when a file is not a set of cases.
pub fn run(folder: &Path, rules: &Rulebook) -> Result<Report, RulesError> {
    let mut report = Report::default();
    let mut problems = Vec::new();
    for path in files(folder)? {
        let text = std::fs::read_to_string(&path).map_err(|source| RulesError::Read { path: path.clone(), source })?;
        match run_text(&path.display().to_string(), &text, rules, &mut report) {
            Ok(()) => {}
            Err(RulesError::Wrong(more)) => problems.extend(more),
            Err(other @ RulesError::Read { .. }) => return Err(other),
        }
    }
    if problems.is_empty() { Ok(report) } else { Err(RulesError::Wrong(problems)) }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, RulesError> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = |source| RulesError::Read { path: folder.clone(), source };
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            if entry.file_type().map_err(failed)?.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "toml") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Runs the cases of one file and adds what became of them to `report`.
///
/// # Errors
/// [`RulesError::Wrong`] when the text is not a set of cases.
pub fn run_text(file: &str, text: &str, rules: &Rulebook, report: &mut Report) -> Result<(), RulesError> {
    for question in CaseFile::read(file, text)?.questions()? {
        let (decision, failures) = answer(&question, rules);
        report.asked += 1;
        let noted: Vec<_> = decision.warnings.iter().chain(&decision.would_refuse).map(|rule| rule.id).collect();
        report.deciding.insert(decision.rule);
        report.deciding.extend(&noted);
        report.answers.push(Answer {
            file: file.to_owned(),
            line: question.line,
            title: question.title.clone(),
            verdict: decision.verdict.as_str(),
            rule: decision.rule,
            noted,
        });
        report.failures.extend(failures.into_iter().map(|message| Problem {
            file: file.to_owned(),
            line: question.line,
            within: Some(question.title.clone()),
            message,
        }));
    }
    Ok(())
}

fn answer(question: &Question, rules: &Rulebook) -> (Decision, Vec<String>) {
    let case = question.case();
    let decision = decide(&case, rules);
    let mut failures = differences(&question.expect, &decision);
    failures.extend(disagreement(&case, rules, &decision));
    (decision, failures)
}

/// What was expected and not found.
fn differences(expect: &Expectation, decision: &Decision) -> Vec<String> {
    let ids = |rules: &[crate::policy::Rule]| rules.iter().map(|rule| rule.id.to_string()).collect::<Vec<_>>();
    let mut found = Vec::new();
    let mut compare = |what: &str, expected: &str, actual: &str| {
        if expected != actual {
            found.push(format!("{what}: expected `{expected}`, found `{actual}`"));
        }
    };
    compare("verdict", &expect.verdict, decision.verdict.as_str());
    compare("rule", &expect.rule, decision.rule.as_str());
    if let Some(reason) = &expect.reason {
        compare("reason", reason, decision.reason.as_str());
    }
    if let Some(warns) = &expect.warns {
        compare("warns", &warns.join(", "), &ids(&decision.warnings).join(", "));
    }
    let would_refuse = decision.would_refuse.map_or("", |rule| rule.id.as_str());
    compare("would_refuse", expect.would_refuse.as_deref().unwrap_or_default(), would_refuse);
    let overrides: Vec<_> = decision.overrides.iter().map(|chosen| chosen.rule.to_string()).collect();
    compare("overrides", &expect.overrides.join(", "), &overrides.join(", "));
    if !decision.source.contains(expect.source.as_str()) || expect.source.is_empty() {
        found.push(format!("source: expected `{}` within `{}`", expect.source, decision.source));
    }
    found
}

/// The long answer must be the short one.
fn disagreement(case: &Case<'_>, rules: &Rulebook, decision: &Decision) -> Option<String> {
    let (explained, trace) = explain(case, rules);
    let refused = matches!(decision.verdict, Verdict::Refuse(_));
    let says_why = trace.remedies().any(|(rule, _)| rule.id == decision.rule);
    if explained.verdict != decision.verdict || explained.rule != decision.rule {
        Some(format!("explain says {} by {}, decide {}", explained.verdict.as_str(), explained.rule, decision.rule))
    } else if refused && !says_why {
        Some(format!("explain does not say what would change the answer of {}", decision.rule))
    } else {
        None
    }
}
