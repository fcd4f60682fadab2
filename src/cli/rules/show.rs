//! `consentry rules show`: one rule, as a lawyer reads it.

use std::io::Write;

use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::policy::{Condition, LawRule, MessageClass, Pack, Requirement, Rule, Rulebook};
use crate::rules::cases;
use crate::time::Timestamp;

use super::{pack_json, reviewed};

/// One rule of law with the packs that it stands in, or one that is built in.
enum Found<'a> {
    Law(&'a LawRule, Vec<&'a Pack>),
    BuiltIn(&'a Rule),
}

/// Shows the rule that `id` names, in any case, with or without `@VERSION`.
pub(super) fn run(id: &str, json: bool, book: &Rulebook, out: &mut dyn Write) -> Result<Exit, Failure> {
    let name = id.split('@').next().unwrap_or(id).to_ascii_uppercase();
    let Some(found) = find(&name, book) else {
        let shown: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
        return Err(Failure::new(Exit::No, format!("there is no rule `{shown}`; `consentry rules list` names all")));
    };
    let shown = cases::shipped(book).map_err(|error| Failure::new(Exit::Software, error))?;
    let mut decides: Vec<_> = shown
        .answers
        .into_iter()
        .filter(|answer| answer.rule.as_str() == name || answer.noted.iter().any(|id| id.as_str() == name))
        .collect();
    decides.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    if json {
        write_json(&found, &decides, out)?;
    } else {
        write_text(&found, &decides, out)?;
    }
    Ok(Exit::Done)
}

fn find<'a>(name: &str, book: &'a Rulebook) -> Option<Found<'a>> {
    let holds = |pack: &&Pack| pack.rules.iter().any(|law| law.rule.id.as_str() == name);
    let packs: Vec<_> = book.packs().iter().filter(holds).collect();
    let law = packs.first().and_then(|pack| pack.rules.iter().find(|law| law.rule.id.as_str() == name));
    match law {
        Some(law) => Some(Found::Law(law, packs)),
        None => book.rules().iter().find(|rule| rule.id.as_str() == name).map(Found::BuiltIn),
    }
}

impl Found<'_> {
    const fn rule(&self) -> &Rule {
        match self {
            Self::Law(law, _) => &law.rule,
            Self::BuiltIn(rule) => rule,
        }
    }
}

/// A name in the left column, and what it means.
fn row(out: &mut dyn Write, name: &str, text: &str) -> Result<(), Failure> {
    writeln!(out, "  {name:<11} {text}")?;
    Ok(())
}

fn write_text(found: &Found<'_>, decides: &[cases::Answer], out: &mut dyn Write) -> Result<(), Failure> {
    let rule = found.rule();
    writeln!(out, "{}@{}  {}", rule.id, rule.version, rule.title)?;
    row(out, "source", rule.source)?;
    row(out, "reason", rule.reason.as_str())?;
    match found {
        Found::BuiltIn(_) => row(out, "pack", "none: built in, and asked on every stream")?,
        Found::Law(law, packs) => write_law(law, packs, out)?,
    }
    if decides.is_empty() {
        row(out, "cases", "none of those that are shipped")?;
    }
    for (at, case) in decides.iter().enumerate() {
        let text = format!("{}: {} ({}:{})", case.verdict, case.title, case.file, case.line);
        row(out, if at == 0 { "cases" } else { "" }, &text)?;
    }
    Ok(())
}

fn write_law(law: &LawRule, packs: &[&Pack], out: &mut dyn Write) -> Result<(), Failure> {
    for pack in packs {
        row(out, "pack", &format!("{} ({}), version {}, {}", pack.name, pack.title, pack.version, reviewed(pack)))?;
    }
    row(out, "stage", law.stage.as_str())?;
    row(out, "effect", law.effect.as_str())?;
    row(out, "mail", &mail(law).join(", "))?;
    row(out, "in force", &in_force(law))?;
    lines(out, "when", &when(law))?;
    lines(out, "asks for", &asks(law))?;
    if let Some(chosen) = law.overridden {
        row(out, "overridden", &format!("not followed: {} ({}, {})", chosen.reason, chosen.by, chosen.on))?;
    }
    Ok(())
}

fn lines(out: &mut dyn Write, name: &str, texts: &[String]) -> Result<(), Failure> {
    for (at, text) in texts.iter().enumerate() {
        row(out, if at == 0 { name } else { "" }, text)?;
    }
    Ok(())
}

fn mail(law: &LawRule) -> Vec<&'static str> {
    law.mail.iter().copied().map(MessageClass::as_str).collect()
}

/// The day of an instant: rules begin and end with days.
fn day(at: Timestamp) -> String {
    at.rfc3339().chars().take(10).collect()
}

fn in_force(law: &LawRule) -> String {
    match (law.effective_from, law.effective_until) {
        (None, None) => String::from("always"),
        (Some(from), None) => format!("from {} on", day(from)),
        (None, Some(until)) => format!("until the day before {}", day(until)),
        (Some(from), Some(until)) => format!("from {} until the day before {}", day(from), day(until)),
    }
}

/// All conditions; the second and later ones begin with "and".
fn when(law: &LawRule) -> Vec<String> {
    if law.when.is_empty() {
        return vec![String::from("always")];
    }
    joined(law.when.iter().map(Condition::describe), "and")
}

/// All requirements, and of one that leaves a choice each way on a line of its own.
fn asks(law: &LawRule) -> Vec<String> {
    let each = law.require.iter().enumerate();
    each.flat_map(|(at, requirement)| {
        let mut lines = match requirement {
            Requirement::OneOf(routes) => joined(routes.iter().map(crate::policy::Route::describe), "or"),
            Requirement::Never
            | Requirement::Within(..)
            | Requirement::Register(..)
            | Requirement::Message(_)
            | Requirement::TrackingConsent
            | Requirement::UnsubscribeLife(_)
            | Requirement::OptOutWithin(_) => vec![requirement.describe()],
        };
        if let Some(first) = lines.first_mut().filter(|_| at > 0) {
            first.insert_str(0, "and ");
        }
        lines
    })
    .collect()
}

fn joined(texts: impl Iterator<Item = String>, word: &str) -> Vec<String> {
    texts.enumerate().map(|(at, text)| if at == 0 { text } else { format!("{word} {text}") }).collect()
}

fn write_json(found: &Found<'_>, decides: &[cases::Answer], out: &mut dyn Write) -> Result<(), Failure> {
    let rule = found.rule();
    let cases: Vec<_> = decides
        .iter()
        .map(|case| json!({ "title": case.title, "verdict": case.verdict, "file": case.file, "line": case.line }))
        .collect();
    let law = match found {
        Found::BuiltIn(_) => None,
        Found::Law(law, packs) => Some(json!({
            "packs": packs.iter().map(|pack| pack_json(pack)).collect::<Vec<_>>(),
            "stage": law.stage.as_str(), "effect": law.effect.as_str(), "mail": mail(law),
            "effective_from": law.effective_from.map(Timestamp::rfc3339),
            "effective_until": law.effective_until.map(Timestamp::rfc3339),
            "when": law.when.iter().map(Condition::describe).collect::<Vec<_>>(),
            "require": law.require.iter().map(Requirement::describe).collect::<Vec<_>>(),
            "overridden": law.overridden.map(|chosen| json!({ "reason": chosen.reason, "by": chosen.by, "on": chosen.on })),
        })),
    };
    let object = json!({
        "id": rule.id.as_str(), "version": rule.version, "title": rule.title, "source": rule.source,
        "reason": rule.reason.as_str(), "law": law, "cases": cases,
    });
    writeln!(out, "{object}")?;
    Ok(())
}
