//! `consentry suppress`: looking at, adding to, taking from, importing and exporting the suppression store.

mod import;
mod register;
mod rollback;
#[cfg(test)]
mod tests;
mod undo;

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum, value_parser};
use serde::Serialize;

pub use self::register::{ExportRegisterArgs, RegisterArgs};
pub use self::rollback::RollbackArgs;
pub(super) use self::undo::imports;
use super::course::UndoArgs;
use super::journal::Brings;
use super::operation::{OperationError, Outcome};
use crate::imports::Shape;
use crate::policy::{Cause, Origin, Scope, Suppression};
use crate::store::record::{Record, ndjson_line};
use crate::store::{
    Added, Cursor, Entry, EntryFormat, Match, NewSuppression, PAGE_MAX, Reach, Removal, Selection, Store, StoreError,
    Subject,
};
use crate::telemetry::{Event, EventType, Privacy};
use crate::time::{Clock, Timestamp};

/// Looks at and changes the list of people and domains that must not be written to.
#[derive(Clone, Debug, Args)]
pub struct SuppressArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: SuppressCommand,
}

/// What can be done with the suppression store.
#[derive(Clone, Debug, Subcommand)]
pub enum SuppressCommand {
    /// Adds one address or domain; it counts at the daemon's very next decision.
    Add(AddArgs),
    /// Removes the entries of one address or domain, and keeps who did it and why.
    Remove(RemoveArgs),
    /// Takes hard bounces back that the gateway recorded during an outage of a receiver; never what a person said.
    Rollback(RollbackArgs),
    /// Shows every entry that stops mail to an address; the exit status is 1 when nothing does.
    Show(ShowArgs),
    /// Lists entries in the order of recording.
    List(ListArgs),
    /// Adds every line of a file; lines that cannot be read are reported, all others are added.
    Import(ImportArgs),
    /// Takes an import back: removes what it added, and what nobody has confirmed since.
    Undo(UndoArgs),
    /// Lists the imports that can be gone on with or taken back.
    Imports,
    /// Loads a national opt-out list in place of the copy that was there; rules of law ask it, and how fresh it is.
    ImportRegister(register::RegisterArgs),
    /// Lists the national opt-out lists that are loaded: name, when drawn, how many subjects.
    Registers,
    /// Writes what is kept of a national opt-out list to a file; a store with the same key can load it.
    ExportRegister(ExportRegisterArgs),
    /// Writes all entries to a file.
    Export(ExportArgs),
    /// Shows how many entries there are.
    Stats(StatsArgs),
}

impl SuppressCommand {
    /// What a change is recorded as in log and audit; `None` when nothing changed, or when it came in bulk.
    pub fn event(&self, ended: Outcome, privacy: &Privacy, now: Timestamp) -> Option<Event> {
        let (kind, subject) = match (self, ended) {
            (Self::Add(args), Outcome::Done) => (EventType::SuppressionAdded, &args.subject),
            (Self::Remove(args), Outcome::Done) => (EventType::SuppressionRemoved, &args.subject),
            (Self::Rollback(args), Outcome::Done) => {
                let mut event = Event::new(EventType::SuppressionRemoved, now);
                event.evidence = Some(args.evidence()?);
                event.queue = Some(args.pattern.clone());
                return Some(event);
            }
            (Self::Undo(args), Outcome::Undone { removed, kept }) => {
                let because = args.because.as_deref().unwrap_or_default();
                let mut event = Event::new(EventType::SuppressionRemoved, now);
                event.queue = Some(format!("import:{}", args.id));
                event.evidence = Some(format!("{removed} removed, {kept} stay; undone by {}: {because}", args.by));
                return Some(event);
            }
            (
                Self::Add(_)
                | Self::Remove(_)
                | Self::Rollback(_)
                | Self::Undo(_)
                | Self::Imports
                | Self::Show(_)
                | Self::List(_)
                | Self::Import(_)
                | Self::ImportRegister(_)
                | Self::Registers
                | Self::ExportRegister(_)
                | Self::Export(_)
                | Self::Stats(_),
                Outcome::Done | Outcome::Nothing | Outcome::SomeInvalid | Outcome::Undone { .. },
            ) => return None,
        };
        let mut event = Event::new(kind, now);
        match subject {
            Subject::Address(mailbox) => event.recipient = Some(privacy.form(mailbox)),
            Subject::Domain(domain) => event.queue = Some(format!("@{domain}")),
            // The hash of an address is one to whoever has the list.
            Subject::Published(_) => event.queue = Some("hash".to_owned()),
            Subject::Hashed { exact, .. } => event.queue = Some(exact.to_string()),
        }
        if let Self::Add(args) = self {
            event.evidence = Some(format!("{} {} by operator", args.reason, args.scope));
        }
        if let Self::Remove(args) = self {
            event.evidence =
                Some(format!("removed by {}: {}", args.by, args.because.as_deref().unwrap_or("no reason given")));
        }
        Some(event)
    }

    /// Whether it may add facts that stop mail.
    pub const fn adds(&self) -> bool {
        matches!(self, Self::Add(_) | Self::Import(_) | Self::ImportRegister(_))
    }

    /// Whether it changes as much as a list holds.
    pub const fn is_about_many(&self) -> bool {
        matches!(self, Self::Import(_) | Self::ImportRegister(_) | Self::Undo(_))
    }
}

/// Arguments of `suppress add`.
#[derive(Clone, Debug, Args)]
pub struct AddArgs {
    /// `ADDRESS` or `@DOMAIN`; a domain includes its subdomains.
    #[arg(value_name = "ADDRESS|@DOMAIN", value_parser = Subject::parse)]
    pub subject: Subject,
    /// How far it reaches: `everything`, `controller:NAME` or `list:CONTROLLER/NAME`.
    #[arg(long, default_value = "everything")]
    pub scope: Scope,
    /// Why: unsubscribe, complaint, hard_bounce, manual, legal_objection, erased or invalid.
    #[arg(long, value_name = "CAUSE", default_value = "manual")]
    pub reason: Cause,
    /// What proves it: a message id, a ticket.
    #[arg(long, value_name = "TEXT")]
    pub evidence: Option<String>,
    /// When it stops counting; never for the person's own word (unsubscribe, complaint, legal_objection).
    #[arg(long, value_name = "WHEN", value_parser = Timestamp::parse)]
    pub expires: Option<Timestamp>,
    /// When it began; now when not given.
    #[arg(long, value_name = "WHEN", value_parser = Timestamp::parse)]
    pub since: Option<Timestamp>,
}

/// Arguments of `suppress remove`.
#[derive(Clone, Debug, Args)]
pub struct RemoveArgs {
    /// `ADDRESS` (under every spelling) or `@DOMAIN`.
    #[arg(value_name = "ADDRESS|@DOMAIN", value_parser = Subject::parse)]
    pub subject: Subject,
    /// Only entries of exactly this scope.
    #[arg(long)]
    pub scope: Option<Scope>,
    /// Only entries of this cause.
    #[arg(long)]
    pub cause: Option<Cause>,
    /// Why the person may be written to again; needed for complaints and legal objections.
    #[arg(long, value_name = "TEXT", alias = "reason-removed")]
    pub because: Option<String>,
    /// Who removes it.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "operator")]
    pub by: String,
}

/// Arguments of `suppress show`.
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    /// `ADDRESS` or `@DOMAIN`.
    #[arg(value_name = "ADDRESS|@DOMAIN", value_parser = Subject::parse)]
    pub subject: Subject,
    /// One JSON object per line.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `suppress list`.
#[derive(Clone, Debug, Args)]
pub struct ListArgs {
    /// Only entries of exactly this scope.
    #[arg(long)]
    pub scope: Option<Scope>,
    /// Only entries of this cause.
    #[arg(long)]
    pub cause: Option<Cause>,
    /// At most this many.
    #[arg(long, default_value_t = 100)]
    pub limit: usize,
    /// Goes on behind this entry: the number that the last listing ended with.
    #[arg(long, value_name = "CURSOR", default_value = "0")]
    pub after: Cursor,
    /// One JSON object per line.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `suppress import`.
#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// The file, or a ZIP archive of CSV files; `-` reads the standard input.
    pub file: PathBuf,
    /// How the file is written.
    #[arg(long, value_enum, default_value_t = ImportFormat::Auto)]
    pub format: ImportFormat,
    /// The scope of lines that do not say one.
    #[arg(long, default_value = "everything")]
    pub scope: Scope,
    /// The cause of lines that do not say one; `manual` when not given.
    #[arg(long, value_name = "CAUSE")]
    pub reason: Option<Cause>,
    /// Whose export it is, when its header does not tell.
    #[arg(long, value_enum, value_name = "SYSTEM")]
    pub source: Option<Shape>,
    /// Reads and checks everything and counts what would be new; adds nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Goes on with an import of this file that ended in the middle.
    #[arg(long, conflicts_with = "dry_run")]
    pub resume: bool,
    /// Rows that are read and put in order before they go in. With fewer people are stopped sooner; with more it is quicker.
    #[arg(long, value_name = "ROWS", default_value_t = import::WINDOW_MAX,
          value_parser = value_parser!(u32).range(1..=i64::from(import::WINDOW_MAX)))]
    pub window: u32,
    /// Who imports it.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "operator")]
    pub by: String,
    /// Writes the lines that cannot be read here: line, email, level, message.
    #[arg(long, value_name = "FILE")]
    pub errors: Option<PathBuf>,
}

/// How a file to import is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ImportFormat {
    /// Found out from the first line.
    Auto,
    /// A header line with a column `address`, `email` or `recipient`, separated by `,`, `;` or tab.
    Csv,
    /// One JSON object per line, or a list of objects.
    Ndjson,
    /// One `ADDRESS` or `@DOMAIN` per line; `#` begins a comment.
    Plain,
}

/// Arguments of `suppress export` and `consent export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// The file, made readable by its owner only; `-` writes to the standard output.
    #[arg(default_value = "-")]
    pub file: PathBuf,
    /// How it is written; NDJSON is the one to keep.
    #[arg(long, value_enum, default_value_t = ExportFormat::Ndjson)]
    pub format: ExportFormat,
}

impl ExportArgs {
    /// Writes to where it is asked for; `write` answers how many lines it wrote.
    ///
    /// # Errors
    /// [`OperationError`] of the file, or what `write` answers.
    pub(super) fn write(
        &self,
        out: &mut dyn Write,
        write: impl FnOnce(&mut dyn Write, EntryFormat) -> Result<u64, StoreError>,
    ) -> Result<Outcome, OperationError> {
        let format = match self.format {
            ExportFormat::Csv => EntryFormat::Csv,
            ExportFormat::Ndjson => EntryFormat::Ndjson,
        };
        if self.file == Path::new("-") {
            write(&mut BufWriter::new(out), format)?;
            return Ok(Outcome::Done);
        }
        let failed = OperationError::file(&self.file);
        let mut file = BufWriter::new(private_file(&self.file).map_err(&failed)?);
        let count = write(&mut file, format)?;
        file.into_inner().map_err(|e| failed(e.into_error()))?.sync_all().map_err(&failed)?;
        writeln!(out, "{count} entries written").map_err(OperationError::output)?;
        Ok(Outcome::Done)
    }
}

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// For spreadsheets.
    Csv,
    /// For programs: exact.
    Ndjson,
}

/// Arguments of `suppress stats`.
#[derive(Clone, Copy, Debug, Args)]
pub struct StatsArgs {
    /// One JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Runs one operation; what it has to say goes to `out`, and imports keep their journals in the folder `journals`. Blocking.
///
/// # Errors
/// [`OperationError`]; an import that fails half-way has added the lines before.
pub fn run(
    command: &SuppressCommand,
    store: &Store,
    journals: &Path,
    out: &mut dyn Write,
    clock: &dyn Clock,
) -> Result<Outcome, OperationError> {
    match command {
        SuppressCommand::Add(args) => add(args, store, out, clock.now()),
        SuppressCommand::Remove(args) => remove(args, store, out, clock.now()),
        SuppressCommand::Rollback(args) => rollback::rollback(args, store, out, clock.now()),
        SuppressCommand::Show(args) => show(args, store, out, clock.now()),
        SuppressCommand::List(args) => list(args, store, out, clock.now()),
        SuppressCommand::Import(args) => import::import(args, store, journals, out, clock),
        SuppressCommand::Undo(args) => undo::undo(args, store, journals, out, clock),
        SuppressCommand::Imports => undo::imports(journals, Brings::Suppressions, out),
        SuppressCommand::ImportRegister(args) => register::import(args, store, out, clock.now()),
        SuppressCommand::Registers => register::list(store, out),
        SuppressCommand::ExportRegister(args) => register::export(args, store, out),
        SuppressCommand::Export(args) => args.write(out, |to, format| store.export(to, format, &Selection::default())),
        SuppressCommand::Stats(args) => stats(*args, store, out),
    }
}

fn add(args: &AddArgs, store: &Store, out: &mut dyn Write, now: Timestamp) -> Result<Outcome, OperationError> {
    let fact = Suppression {
        scope: args.scope.clone(),
        cause: args.reason,
        origin: Origin::Operator,
        evidence: args.evidence.clone(),
        since: args.since.unwrap_or(now),
        expires: args.expires,
    };
    let added = store.blocking_add(&NewSuppression::new(args.subject.clone(), fact, now)?)?;
    let said = match added {
        Added::New => "added",
        Added::Renewed => "already there; its first date stays, and it says more now",
        Added::Existing => "already there; its first date and evidence stay",
    };
    writeln!(out, "{said}").map_err(OperationError::output)?;
    Ok(Outcome::Done)
}

fn remove(args: &RemoveArgs, store: &Store, out: &mut dyn Write, now: Timestamp) -> Result<Outcome, OperationError> {
    let removal = Removal {
        subject: args.subject.clone(),
        scope: args.scope.clone(),
        cause: args.cause,
        reach: Reach::Gateway,
        by: args.by.clone(),
        because: args.because.clone(),
        at: now,
    };
    let gone = store.blocking_remove(&removal)?;
    for entry in &gone {
        writeln!(out, "removed {}", line(entry, now)).map_err(OperationError::output)?;
    }
    for (matched, entry) in store.matching(&args.subject)? {
        writeln!(out, "still there ({}): {}", matched.as_str(), line(&entry, now)).map_err(OperationError::output)?;
    }
    Ok(if gone.is_empty() { Outcome::Nothing } else { Outcome::Done })
}

/// An entry as `show --json` and `list --json` write it.
#[derive(Serialize)]
struct Shown {
    cursor: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    matched: Option<&'static str>,
    counts: bool,
    #[serde(flatten)]
    record: Record,
}

fn show_entry(
    entry: &Entry,
    matched: Option<Match>,
    json: Option<&str>,
    now: Timestamp,
    out: &mut dyn Write,
) -> io::Result<()> {
    let Some(key_name) = json else {
        return match matched {
            Some(matched) => writeln!(out, "{} ({} match)", line(entry, now), matched.as_str()),
            None => writeln!(out, "{}", line(entry, now)),
        };
    };
    let shown = Shown {
        cursor: entry.cursor.to_string(),
        matched: matched.map(Match::as_str),
        counts: entry.fact.counts_at(now),
        record: Record::of(entry, key_name),
    };
    ndjson_line(&shown, out)
}

/// An entry as a person reads it, on one line.
fn line(entry: &Entry, now: Timestamp) -> String {
    let fact = &entry.fact;
    let who = entry.address.clone().unwrap_or_else(|| format!("{} {}", entry.kind.as_str(), entry.exact));
    let mut text =
        format!("{}  {who}  {}  {}  since {} by {}", entry.cursor, fact.cause, fact.scope, fact.since, fact.origin);
    if let Some(expires) = fact.expires {
        let verb = if fact.counts_at(now) { "until" } else { "expired" };
        text.extend(["  ", verb, " ", &expires.to_string()]);
    }
    if let Some(evidence) = &fact.evidence {
        text.extend(["  ", evidence]);
    }
    text
}

fn show(args: &ShowArgs, store: &Store, out: &mut dyn Write, now: Timestamp) -> Result<Outcome, OperationError> {
    let found = store.matching(&args.subject)?;
    let key_name = args.json.then(|| store.key_name());
    for (matched, entry) in &found {
        show_entry(entry, Some(*matched), key_name.as_deref(), now, out).map_err(OperationError::output)?;
    }
    let stopped = found.iter().any(|(_, entry)| entry.fact.counts_at(now));
    Ok(if stopped { Outcome::Done } else { Outcome::Nothing })
}

fn list(args: &ListArgs, store: &Store, out: &mut dyn Write, now: Timestamp) -> Result<Outcome, OperationError> {
    let selection = Selection { scope: args.scope.clone(), cause: args.cause };
    let key_name = args.json.then(|| store.key_name());
    let (mut after, mut left) = (args.after, args.limit);
    loop {
        let page = store.list(&selection, after, left.min(PAGE_MAX))?;
        for entry in page.entries.iter().take(left) {
            show_entry(entry, None, key_name.as_deref(), now, out).map_err(OperationError::output)?;
        }
        left = left.saturating_sub(page.entries.len());
        match page.next {
            None => return Ok(Outcome::Done),
            Some(next) if left == 0 => {
                if !args.json {
                    writeln!(out, "more: --after {next}").map_err(OperationError::output)?;
                }
                return Ok(Outcome::Done);
            }
            Some(next) => after = next,
        }
    }
}

fn stats(args: StatsArgs, store: &Store, out: &mut dyn Write) -> Result<Outcome, OperationError> {
    let stats = store.stats()?;
    let rows = [("changes", stats.changes.to_string()), ("addresses", stats.addresses.to_string())]
        .into_iter()
        .chain([("domains", stats.domains.to_string()), ("removed", stats.removed.to_string())])
        .chain(stats.by_cause.iter().map(|(cause, count)| (cause.as_str(), count.to_string())));
    let rows: Vec<_> = std::iter::once(("store", stats.store.clone())).chain(rows).collect();
    if args.json {
        let object = rows.iter().map(|(name, value)| {
            let number = value.parse::<u64>().ok().filter(|_| *name != "store").map(serde_json::Value::from);
            ((*name).to_owned(), number.unwrap_or_else(|| value.as_str().into()))
        });
        let object: serde_json::Map<_, _> = object.collect();
        ndjson_line(&object, out).map_err(OperationError::output)?;
    } else {
        for (name, value) in &rows {
            writeln!(out, "{name:<16} {value}").map_err(OperationError::output)?;
        }
    }
    Ok(Outcome::Done)
}

/// A new or emptied file that only its owner can read: it will hold addresses.
pub(super) fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(true).mode(0o600);
    options.open(path)
}
