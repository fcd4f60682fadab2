//! Findings for people and for programs.

use std::io::{self, Write};

use serde_json::json;

use super::judge::{Finding, Verdict};

/// For people: the line to publish can be copied as it stands.
pub(super) fn text(findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
    for finding in findings {
        writeln!(out, "; {}", finding.wanted.purpose)?;
        writeln!(out, "{}", finding.wanted.zone())?;
        if finding.verdict == Verdict::NotAsked {
            writeln!(out)?;
            continue;
        }
        for found in &finding.found {
            writeln!(out, ";   found: {found}")?;
        }
        let why = if finding.why.is_empty() { String::new() } else { format!(": {}", finding.why) };
        writeln!(out, ";   {}{why}\n", finding.verdict.as_str())?;
    }
    if findings.iter().any(|finding| finding.verdict != Verdict::NotAsked) {
        writeln!(out, "; {}", sums(findings))?;
    }
    Ok(())
}

fn sums(findings: &[Finding]) -> String {
    let verdicts = [Verdict::Right, Verdict::Look, Verdict::Missing, Verdict::Wrong, Verdict::Unknown];
    let counts = verdicts.into_iter().filter_map(|verdict| {
        let count = findings.iter().filter(|finding| finding.verdict == verdict).count();
        (count > 0).then(|| format!("{count} {}", verdict.as_str()))
    });
    counts.collect::<Vec<_>>().join(", ")
}

/// For programs.
pub(super) fn json(findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
    for finding in findings {
        let line = json!({
            "purpose": finding.wanted.purpose,
            "name": finding.wanted.name,
            "type": finding.wanted.kind(),
            "expected": finding.wanted.zone(),
            "found": finding.found,
            "verdict": finding.verdict.as_str(),
            "why": finding.why,
        });
        writeln!(out, "{line}")?;
    }
    Ok(())
}
