//! `consentry suppress import`: any list of addresses, row by row, in bounded memory.

use std::cell::Cell;
use std::io::{self, BufRead, BufWriter, Write};
use std::path::Path;

use super::{ImportArgs, ImportFormat, OperationError, Outcome, private_file};
use crate::cli::journal::{Brings, Content, Imported, Journal, Journals, Planned, Resume};
use crate::cli::progress::Progress;
use crate::cli::source::{self, Report};
use crate::imports::{Cells, Format, Reading, Rows, Wanted};
use crate::policy::{Cause, Origin, Scope, Suppression};
use crate::store::record::{Defaults, Record};
use crate::store::{Added, CHUNK_MAX, Match, NewSuppression, Store};
use crate::time::{Clock, Timestamp};

pub(super) fn import(
    args: &ImportArgs,
    store: &Store,
    folder: &Path,
    out: &mut dyn Write,
    clock: &dyn Clock,
) -> Result<Outcome, OperationError> {
    let mut report: Box<dyn Write> = match &args.errors {
        None => Box::new(io::sink()),
        Some(path) => Box::new(BufWriter::new(private_file(path).map_err(OperationError::file(path))?)),
    };
    let content = source::size_and_digest(&args.file)?.map(|(size, sha256)| Content { size, sha256 });
    let octets = Cell::new(0);
    let mut progress = Progress::new(clock, content.as_ref().map(|content| content.size));
    let mut watch = |rows| progress.draw(rows, octets.get());
    if args.dry_run {
        let mut import = Import::new(args, store, Target::Count, clock.now());
        source::each_file(&args.file, &octets, &mut |input| import.read(input, &mut report, out, &mut watch))?;
        drop(progress);
        return tell(args, import.counts, out);
    }
    let journals = Journals::open(folder)?;
    let journal =
        journals.take_up(planned(args, content, store.key_name()), Resume::asked(args.resume), clock.now())?;
    let id = journal.head.id.clone();
    let (started, so_far) = (journal.head.started(), journal.counts);
    writeln!(out, "import {id}").map_err(OperationError::output)?;
    if so_far.rows > 0 {
        writeln!(out, "goes on behind row {}", so_far.rows).map_err(OperationError::output)?;
    }
    let mut import = Import::new(args, store, Target::Record(Box::new(journal)), started);
    (import.skip, import.counts) = (so_far.rows, Imported { rows: 0, ..so_far });
    source::each_file(&args.file, &octets, &mut |input| import.read(input, &mut report, out, &mut watch))?;
    drop(progress);
    let counts = import.counts;
    if let Target::Record(journal) = &mut import.target {
        journal.finish(counts, clock.now())?;
    }
    let ended = tell(args, counts, out)?;
    writeln!(out, "to take it back: consentry suppress undo {id} --because TEXT").map_err(OperationError::output)?;
    Ok(ended)
}

fn tell(args: &ImportArgs, counts: Imported, out: &mut dyn Write) -> Result<Outcome, OperationError> {
    let Imported { invalid, passed, new, upgraded, renewed, existing, .. } = counts;
    let new = if args.dry_run { format!("{new} would be new, {upgraded} upgraded") } else { format!("{new} new") };
    let some = |count: u64, what: &str| if count > 0 { format!(", {count} {what}") } else { String::new() };
    let (renewed, passed) = (some(renewed, "prolonged or confirmed"), some(passed, "passed over"));
    writeln!(out, "{new}{renewed}, {existing} already there{passed}, {invalid} invalid")
        .map_err(OperationError::output)?;
    Ok(if invalid == 0 { Outcome::Done } else { Outcome::SomeInvalid })
}

/// What is written down of an import that begins.
fn planned(args: &ImportArgs, content: Option<Content>, key: String) -> Planned {
    let source = args.source.map_or_else(|| "auto".to_owned(), |shape| format!("{shape:?}"));
    let reason = args.reason.map_or("unsaid", Cause::as_str);
    Planned {
        brings: Brings::Suppressions,
        file: args.file.display().to_string(),
        content,
        arguments: format!("format {:?}, scope {}, reason {reason}, source {source}", args.format, args.scope),
        by: args.by.clone(),
        key,
    }
}

/// What becomes of the entries of a file.
#[derive(Debug)]
pub(super) enum Target {
    /// They are looked up.
    Count,
    /// They are added, and written down.
    Record(Box<Journal>),
}

/// An import under way.
pub(super) struct Import<'a> {
    args: &'a ImportArgs,
    store: &'a Store,
    target: Target,
    /// When it began.
    now: Timestamp,
    /// Rows that were done before.
    skip: u64,
    pub(super) counts: Imported,
}

impl<'a> Import<'a> {
    pub(super) fn new(args: &'a ImportArgs, store: &'a Store, target: Target, now: Timestamp) -> Self {
        Self { args, store, target, now, skip: 0, counts: Imported::default() }
    }

    /// Imports what `input` holds, at most [`CHUNK_MAX`] entries at a time. Bad rows go to `report` as CSV
    /// (`line,email,level,message`); when the arguments name no file for them, the first ones also go to `out`.
    ///
    /// # Errors
    /// [`OperationError`]; the rows before it are added.
    pub(super) fn read(
        &mut self,
        input: &mut dyn BufRead,
        report: &mut dyn Write,
        out: &mut dyn Write,
        watch: &mut dyn FnMut(u64),
    ) -> Result<(), OperationError> {
        let args = self.args;
        let format = match args.format {
            ImportFormat::Auto => Format::Auto,
            ImportFormat::Csv => Format::Csv,
            ImportFormat::Ndjson => Format::Json,
            ImportFormat::Plain => Format::Plain,
        };
        let shown = if args.errors.is_some() { None } else { Some(out as &mut dyn Write) };
        let mut entries = Entries {
            rows: Rows::new(input, format, args.source),
            report: Report::new(report, shown).map_err(OperationError::output)?,
            wanted: Wanted { scope: &args.scope, cause: args.reason },
            defaults: Defaults {
                scope: args.scope.clone(),
                cause: args.reason.unwrap_or(Cause::Manual),
                now: self.now,
            },
            key_name: self.store.key_name(),
            skip: self.skip,
            counts: self.counts,
            failed: None,
        };
        loop {
            let chunk: Vec<_> = entries.by_ref().take(CHUNK_MAX).collect();
            if chunk.is_empty() {
                break;
            }
            let counts = &mut entries.counts;
            match &mut self.target {
                Target::Count => look_up(&chunk, self.store, counts)?,
                Target::Record(journal) => record(&chunk, self.store, journal, counts)?,
            }
            watch(entries.counts.rows);
        }
        if let Some(error) = entries.failed {
            return Err(error);
        }
        self.counts = entries.counts;
        entries.report.finish().map_err(OperationError::output)
    }
}

/// Adds a chunk. What it will look like is written down before, and which of it was new behind it.
fn record(
    chunk: &[NewSuppression],
    store: &Store,
    journal: &mut Journal,
    counts: &mut Imported,
) -> Result<(), OperationError> {
    let prints = store.prints(chunk);
    journal.intend(&prints)?;
    let mut became = store.add_chunk(chunk)?;
    if journal.interrupted {
        // These rows may have gone in just before everything ended. What was entered at this import's own instant is its own.
        for ((new, print), became) in chunk.iter().zip(&prints).zip(&mut became) {
            let is_ours = *became == Added::Existing && new.created() == journal.head.started();
            if is_ours && store.standing(print)?.is_some() {
                *became = Added::New;
            }
        }
    }
    let (mut added, mut renewed) = (Vec::new(), Vec::new());
    for (at, (new, became)) in chunk.iter().zip(became).enumerate() {
        match became {
            Added::New => {
                counts.new += 1;
                // What a list tells in another door's name cannot be told apart from that door's own word, and stays.
                if new.fact().origin == Origin::Import {
                    added.push(at);
                }
            }
            Added::Renewed => {
                counts.renewed += 1;
                renewed.push(at);
            }
            Added::Existing => counts.existing += 1,
        }
    }
    journal.done(added, renewed, *counts)
}

/// What an import would do, without doing it. An entry that the file holds twice counts as new twice.
fn look_up(chunk: &[NewSuppression], store: &Store, counts: &mut Imported) -> Result<(), OperationError> {
    for new in chunk {
        let theirs: Vec<Suppression> = store
            .matching(new.subject())?
            .into_iter()
            .filter(|(matched, _)| match matched {
                Match::Exact | Match::Family => true,
                Match::Published => false,
                Match::Domain => matches!(new.subject(), crate::store::Subject::Domain(_)),
            })
            .map(|(_, entry)| entry.fact)
            .collect();
        let fact = new.fact();
        if theirs.iter().any(|known| (&known.scope, known.cause) == (&fact.scope, fact.cause)) {
            counts.existing += 1;
        } else if theirs.iter().any(|known| known.cause > fact.cause || is_narrower(&known.scope, &fact.scope)) {
            counts.upgraded += 1;
        } else {
            counts.new += 1;
        }
    }
    Ok(())
}

/// Whether one scope lies within the other, and is not the same.
fn is_narrower(one: &Scope, than: &Scope) -> bool {
    match (one, than) {
        (Scope::Controller(_) | Scope::List(..), Scope::Everything) => true,
        (Scope::List(theirs, _), Scope::Controller(controller)) => theirs == controller,
        (Scope::Everything | Scope::Controller(_) | Scope::List(..), Scope::Controller(_) | Scope::List(..))
        | (Scope::Everything, Scope::Everything) => false,
    }
}

/// The suppressions of a file; rows that give none are counted and reported. Ends at the first failure, which it keeps.
struct Entries<'a> {
    rows: Rows<'a>,
    report: Report<'a>,
    wanted: Wanted<'a>,
    defaults: Defaults,
    key_name: String,
    /// Rows that were done before are passed over in silence.
    skip: u64,
    counts: Imported,
    failed: Option<OperationError>,
}

impl Iterator for Entries<'_> {
    type Item = NewSuppression;

    fn next(&mut self) -> Option<NewSuppression> {
        while self.failed.is_none() {
            match self.step() {
                Ok(Some(entry)) => {
                    if let Some(entry) = entry {
                        return Some(entry);
                    }
                }
                Ok(None) => return None,
                Err(error) => self.failed = Some(error),
            }
        }
        None
    }
}

impl Entries<'_> {
    /// One row: `None` at the end, `Some(None)` when it gives no entry.
    #[expect(clippy::option_option, reason = "outer: is there a row; inner: does it give an entry")]
    fn step(&mut self) -> Result<Option<Option<NewSuppression>>, OperationError> {
        let Some(item) = self.rows.next_row()? else { return Ok(None) };
        self.counts.rows += 1;
        if self.counts.rows <= self.skip {
            return Ok(Some(None));
        }
        let who = item.row.as_ref().ok().and_then(Cells::address).unwrap_or_default().to_owned();
        match item.row.and_then(|row| self.rows.shape().suppression(row, &self.wanted)) {
            Ok(Reading::Passes(_)) => self.counts.passed += 1,
            Ok(Reading::Says(cells)) => {
                match Record::from_cells(cells.iter()).into_new(&self.defaults, &self.key_name) {
                    Ok(new) => {
                        self.counts.valid += 1;
                        return Ok(Some(Some(new)));
                    }
                    Err(why) => self.bad(item.number, &who, &why)?,
                }
            }
            Err(why) => self.bad(item.number, &who, &why)?,
        }
        Ok(Some(None))
    }

    fn bad(&mut self, number: u64, who: &str, why: &str) -> Result<(), OperationError> {
        self.counts.invalid += 1;
        self.report.bad(number, who, why).map_err(OperationError::output)
    }
}
