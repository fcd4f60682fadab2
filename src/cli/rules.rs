//! `consentry rules`: reading the law that the gateway goes by, and checking an operator's own additions to it.

mod show;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::policy::{Pack, Rule, Rulebook};
use crate::rules::{self, RulesError, cases};

/// What is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Folder with rule files of your own, which are added to the shipped ones; the configuration's when left out.
    #[arg(long, global = true, value_name = "DIR")]
    rules: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

/// What to do with the rules.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Every pack with its version and who reviewed it, and every rule in it.
    List {
        /// One JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Everything about one rule: source, when it applies, what it asks, and cases that it decides.
    Show {
        /// Such as `FR-C1`.
        #[arg(value_name = "ID")]
        id: String,
        /// One JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Say everything that is wrong with rule files (exit code 78).
    Check {
        /// Folder with rule files; that of --rules or of the configuration when left out.
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
    },
    /// Ask the questions of case files and compare the answers (exit code 1 when one differs).
    Test {
        /// Folder with case files; `cases` in the folder of your rules when there is one, else the shipped cases.
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
    },
    /// Print the reference page of all rules, in Markdown.
    Reference,
}

impl Arguments {
    /// Whether the arguments say themselves where the rules are.
    pub(super) const fn name_a_folder(&self) -> bool {
        self.rules.is_some() || matches!(self.command, Command::Check { folder: Some(_) })
    }
}

/// Runs one operation. `configured` is the folder that the configuration names; without it and without `--rules`, the
/// shipped packs are the law.
///
/// Ends with 0, with 1 when a case came out otherwise or nothing was found, with 78 when rule files are wrong.
pub(super) fn run(arguments: &Arguments, configured: Option<&Path>, out: &mut dyn Write) -> Result<Exit, Failure> {
    let own = arguments.rules.as_deref().or(configured);
    let own = match &arguments.command {
        Command::Check { folder } => folder.as_deref().or(own),
        Command::List { .. } | Command::Show { .. } | Command::Test { .. } | Command::Reference => own,
    };
    let book = match own.map_or_else(rules::embedded, rules::load) {
        Ok(book) => book,
        Err(error) => return report(&error, out),
    };
    match &arguments.command {
        Command::List { json: false } => list(&book, out),
        Command::List { json: true } => list_json(&book, out),
        Command::Show { id, json } => show::run(id, *json, &book, out),
        Command::Check { .. } => right(&book, out),
        Command::Test { folder } => test(folder.as_deref(), own, &book, out),
        Command::Reference => {
            out.write_all(rules::reference(&book).as_bytes())?;
            Ok(Exit::Done)
        }
    }
}

/// Every problem on a line of its own, so that editors can jump to it.
fn report(error: &RulesError, out: &mut dyn Write) -> Result<Exit, Failure> {
    match error {
        RulesError::Read { .. } => Err(Failure::new(Exit::Io, error)),
        RulesError::Wrong(_) => {
            writeln!(out, "{error}")?;
            Ok(Exit::Config)
        }
    }
}

fn list(book: &Rulebook, out: &mut dyn Write) -> Result<Exit, Failure> {
    writeln!(out, "rulebook {}: a reviewed starting point, not legal advice", book.version())?;
    for pack in book.packs() {
        let rules = counted(pack.rules.len(), "rule");
        writeln!(out, "\n{}  {}, version {}, {}, {rules}", pack.name, pack.title, pack.version, reviewed(pack))?;
        for law in &pack.rules {
            let followed = if law.overridden.is_some() { "  (overridden: not followed)" } else { "" };
            list_rule(&law.rule, followed, out)?;
        }
    }
    writeln!(out, "\nbuilt in  suppression and the streams' own rules, {}", counted(book.rules().len(), "rule"))?;
    for rule in book.rules() {
        list_rule(rule, "", out)?;
    }
    Ok(Exit::Done)
}

fn list_rule(rule: &Rule, followed: &str, out: &mut dyn Write) -> Result<(), Failure> {
    writeln!(out, "  {:<12}  {}{followed}", format!("{}@{}", rule.id, rule.version), rule.title)?;
    Ok(())
}

fn list_json(book: &Rulebook, out: &mut dyn Write) -> Result<Exit, Failure> {
    let one = |rule: &Rule| json!({ "id": rule.id.as_str(), "version": rule.version, "title": rule.title });
    let packs: Vec<_> = book
        .packs()
        .iter()
        .map(|pack| {
            let mut object = pack_json(pack);
            let rules = pack.rules.iter().map(|law| {
                let mut rule = one(&law.rule);
                add(&mut rule, "overridden", law.overridden.is_some().into());
                rule
            });
            add(&mut object, "rules", rules.collect());
            object
        })
        .collect();
    let built_in: Vec<_> = book.rules().iter().map(one).collect();
    writeln!(out, "{}", json!({ "rulebook": book.version(), "packs": packs, "built_in": built_in }))?;
    Ok(Exit::Done)
}

fn add(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

fn pack_json(pack: &Pack) -> Value {
    let countries: Vec<_> = pack.countries.iter().map(ToString::to_string).collect();
    json!({
        "pack": pack.name, "title": pack.title, "version": pack.version, "countries": countries,
        "reviewed_by": pack.review.map(|review| review.by), "reviewed_on": pack.review.map(|review| review.on),
    })
}

fn reviewed(pack: &Pack) -> String {
    pack.review
        .map_or_else(|| String::from("not reviewed"), |review| format!("reviewed by {} on {}", review.by, review.on))
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn right(book: &Rulebook, out: &mut dyn Write) -> Result<Exit, Failure> {
    let laws = || book.packs().iter().flat_map(|pack| &pack.rules);
    // A rule that several packs share is one rule.
    let ids: BTreeSet<_> = laws().map(|law| law.rule.id).collect();
    writeln!(
        out,
        "right: {} with {} (rulebook {})",
        counted(book.packs().len(), "pack"),
        counted(ids.len(), "rule"),
        book.version()
    )?;
    let mut overrides: Vec<_> = laws().filter_map(|law| law.overridden).collect();
    overrides.sort_by_key(|chosen| chosen.rule);
    overrides.dedup();
    for chosen in overrides {
        writeln!(out, "  {} is not followed: {} ({}, {})", chosen.rule, chosen.reason, chosen.by, chosen.on)?;
    }
    let unsigned: Vec<_> = book.packs().iter().filter(|pack| pack.review.is_none()).map(|pack| pack.name).collect();
    if !unsigned.is_empty() {
        writeln!(out, "  not reviewed by a lawyer: {}", unsigned.join(", "))?;
    }
    Ok(Exit::Done)
}

fn test(asked: Option<&Path>, own: Option<&Path>, book: &Rulebook, out: &mut dyn Write) -> Result<Exit, Failure> {
    let beside = own.map(|own| own.join("cases")).filter(|cases| cases.is_dir());
    let result = match asked.or(beside.as_deref()) {
        Some(folder) => cases::run(folder, book),
        None => cases::shipped(book),
    };
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(error) => return report(&error, out),
    };
    for failure in &outcome.failures {
        writeln!(out, "{failure}")?;
    }
    // One case may differ in several answers.
    let failed: BTreeSet<_> = outcome.failures.iter().map(|failure| (&failure.file, failure.line)).collect();
    writeln!(out, "{}, {} failed (rulebook {})", counted(outcome.asked, "case"), failed.len(), book.version())?;
    if outcome.asked == 0 {
        return Err(Failure::new(Exit::Data, "there is no case to ask"));
    }
    Ok(if failed.is_empty() { Exit::Done } else { Exit::No })
}
