//! `consentry suppress import`: any list of addresses, row by row, in bounded memory.

use std::io::Write;
use std::path::Path;

use super::{ImportArgs, ImportFormat, OperationError, Outcome};
use crate::cli::course::{self, Asked, Course, Mode, Streams, Target};
use crate::cli::journal::{Brings, Imported, Journal, Planned};
use crate::cli::source::Report;
use crate::imports::{Cells, Format, Reading, Rows, Wanted};
use crate::policy::{Cause, Origin, Scope, Suppression};
use crate::store::record::{Defaults, Record};
use crate::store::{Added, CHUNK_MAX, Match, NewSuppression, Store};
use crate::time::Clock;

pub(super) fn import(
    args: &ImportArgs,
    store: &Store,
    folder: &Path,
    out: &mut dyn Write,
    clock: &dyn Clock,
) -> Result<Outcome, OperationError> {
    let asked = Asked {
        file: &args.file,
        errors: args.errors.as_deref(),
        mode: Mode::asked(args.dry_run, args.resume),
        planned: planned(args, store.key_name()),
    };
    course::import(asked, folder, out, clock, &mut |course, streams| read(args, store, course, streams), &|counts| {
        said(args, counts)
    })
}

fn said(args: &ImportArgs, counts: &Imported) -> String {
    let Imported { invalid, passed, new, upgraded, renewed, existing, .. } = counts;
    let new = if args.dry_run { format!("{new} would be new, {upgraded} upgraded") } else { format!("{new} new") };
    let some = |count: u64, what: &str| if count > 0 { format!(", {count} {what}") } else { String::new() };
    let (renewed, passed) = (some(*renewed, "prolonged or confirmed"), some(*passed, "passed over"));
    format!("{new}{renewed}, {existing} already there{passed}, {invalid} invalid")
}

/// What is written down of an import that begins.
fn planned(args: &ImportArgs, key: String) -> Planned {
    let source = args.source.map_or_else(|| "auto".to_owned(), |shape| format!("{shape:?}"));
    let reason = args.reason.map_or("unsaid", Cause::as_str);
    Planned {
        brings: Brings::Suppressions,
        file: args.file.display().to_string(),
        content: None,
        arguments: format!("format {:?}, scope {}, reason {reason}, source {source}", args.format, args.scope),
        by: args.by.clone(),
        key,
    }
}

/// Imports what a stream holds, at most [`CHUNK_MAX`] entries at a time. When the arguments name no file for bad rows, the first ones
/// also go to `out`.
///
/// # Errors
/// [`OperationError`]; the rows before it are added.
pub(super) fn read(
    args: &ImportArgs,
    store: &Store,
    course: &mut Course,
    streams: Streams<'_>,
) -> Result<(), OperationError> {
    let Streams { input, report, out, watch } = streams;
    let format = match args.format {
        ImportFormat::Auto => Format::Auto,
        ImportFormat::Csv => Format::Csv,
        ImportFormat::Ndjson => Format::Json,
        ImportFormat::Plain => Format::Plain,
    };
    let shown = if args.errors.is_some() { None } else { Some(out as &mut dyn Write) };
    let mut entries = Entries {
        rows: Rows::new(input, format, args.source),
        report: Report::new(report, shown),
        wanted: Wanted { scope: &args.scope, cause: args.reason },
        defaults: Defaults { scope: args.scope.clone(), cause: args.reason.unwrap_or(Cause::Manual), now: course.now },
        key_name: store.key_name(),
        skip: course.skip,
        counts: course.counts,
        failed: None,
    };
    loop {
        let chunk: Vec<_> = entries.by_ref().take(CHUNK_MAX).collect();
        if chunk.is_empty() {
            break;
        }
        let counts = &mut entries.counts;
        match &mut course.target {
            Target::Count => look_up(&chunk, store, counts)?,
            Target::Record(journal) => record(&chunk, store, journal, counts)?,
        }
        watch(entries.counts.rows);
    }
    if let Some(error) = entries.failed {
        return Err(error);
    }
    course.counts = entries.counts;
    entries.report.finish().map_err(OperationError::output)
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
