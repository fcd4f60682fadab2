//! `consentry suppress import`: any list of addresses, row by row, in bounded memory.

#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use super::{ImportArgs, ImportFormat, OperationError, Outcome};
use crate::cli::course::{self, Asked, Course, Mode, Streams, Target};
use crate::cli::journal::{Brings, Imported, Journal, Planned};
use crate::cli::progress::At;
use crate::cli::source::Report;
use crate::imports::{Cells, Format, Reading, Rows, Wanted};
use crate::policy::{Cause, Origin, Scope, Suppression};
use crate::store::record::{Defaults, Record};
use crate::store::{Added, CHUNK_MAX, Entry, Match, NewSuppression, Print, Store, Window};
use crate::time::Clock;

/// Most rows that are put in order at once, and as many as are unless `--window` says fewer. They take some 60 MiB; going on with a
/// window that was cut takes 35 more for the prints of what was done. With the 64 MiB of pages of the embedded store and the
/// program itself that stays under 200 MiB; twice as many would not.
pub(super) const WINDOW_MAX: u32 = 500_000;
/// How long rows wait for others to be put in order with: whoever writes into our standard input may take their time, and nobody
/// should wait for it to be stopped.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// How many rows are read before whoever watches is told.
const WATCH_EVERY: u64 = 1000;

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

/// Imports what a stream holds: window by window, each in the order of the store, and at most [`CHUNK_MAX`] entries in one change of
/// it. When the arguments name no file for bad rows, the first ones also go to `out`.
///
/// # Errors
/// [`OperationError`]; the rows before it are added.
pub(super) fn read(
    args: &ImportArgs,
    store: &Store,
    course: &mut Course,
    streams: Streams<'_>,
) -> Result<(), OperationError> {
    let Streams { member, input, report, out, clock, watch } = streams;
    let format = match args.format {
        ImportFormat::Auto => Format::Auto,
        ImportFormat::Csv => Format::Csv,
        ImportFormat::Ndjson => Format::Json,
        ImportFormat::Plain => Format::Plain,
    };
    let shown = if args.errors.is_some() { None } else { Some(out as &mut dyn Write) };
    let mut entries = Entries {
        rows: Rows::new(input, format, args.source),
        report: Report::new(member, report, shown),
        wanted: Wanted { scope: &args.scope, cause: args.reason },
        defaults: Defaults { scope: args.scope.clone(), cause: args.reason.unwrap_or(Cause::Manual), now: course.now },
        key_name: store.key_name(),
        skip: course.skip,
        counts: course.counts,
        failed: None,
    };
    match &mut course.target {
        Target::Count => count(&mut entries, store, watch)?,
        Target::Record(journal) => {
            let window = Window::new(store, usize::try_from(args.window).unwrap_or(CHUNK_MAX));
            Recording { store, journal, window, chunk: CHUNK_MAX, clock, watch }.run(&mut entries)?;
        }
    }
    if let Some(error) = entries.failed {
        return Err(error);
    }
    course.counts = entries.counts;
    entries.report.finish().map_err(OperationError::output)
}

/// Compares rows with what is known, in their order.
fn count(entries: &mut Entries<'_>, store: &Store, watch: &mut dyn FnMut(At)) -> Result<(), OperationError> {
    let mut more = true;
    while more {
        let mut chunk = Vec::new();
        while more && chunk.len() < CHUNK_MAX {
            match entries.step() {
                Step::Entry(new, _) => chunk.push(new),
                Step::Nothing => {}
                Step::End => more = false,
            }
        }
        look_up(&chunk, store, &mut entries.counts)?;
        watch(At { done: entries.counts.rows, ahead: 0 });
    }
    Ok(())
}

/// Where rows go that are recorded.
struct Recording<'a, 'w> {
    store: &'a Store,
    journal: &'a mut Journal,
    window: Window<'a>,
    /// Most entries in one change of the store.
    chunk: usize,
    clock: &'a dyn Clock,
    watch: &'w mut dyn FnMut(At),
}

impl Recording<'_, '_> {
    fn run(&mut self, entries: &mut Entries<'_>) -> Result<(), OperationError> {
        let mut more = entries.pass_over();
        while more {
            let begun = entries.counts;
            more = self.fill(entries);
            if !self.window.is_empty() {
                self.journal.window(begun)?;
                self.empty(begun.rows, &mut entries.counts)?;
            }
        }
        Ok(())
    }

    /// Reads rows until there are enough. Whether there may be more.
    fn fill(&mut self, entries: &mut Entries<'_>) -> bool {
        let (began, done) = (self.clock.now(), entries.counts.rows);
        while !self.window.is_full() && self.clock.now().since(began) < WAIT_MAX {
            match entries.step() {
                Step::End => return false,
                Step::Nothing => {}
                Step::Entry(new, came) => {
                    self.window.put(&new);
                    if came == Came::FromAStore {
                        self.window.keep_order();
                    }
                }
            }
            let ahead = entries.counts.rows.saturating_sub(done);
            if ahead.is_multiple_of(WATCH_EVERY) {
                (self.watch)(At { done, ahead });
            }
        }
        true
    }

    fn empty(&mut self, mut done: u64, counts: &mut Imported) -> Result<(), OperationError> {
        let Self { store, journal, window, chunk, watch, .. } = self;
        window.each_chunk(*chunk, &mut |chunk| {
            done += u64::try_from(chunk.len()).unwrap_or(0);
            record(chunk, store, journal, counts)?;
            watch(At { done, ahead: counts.rows.saturating_sub(done) });
            Ok(())
        })
    }
}

/// Adds a chunk. What it will look like is written down before, and which of it was new behind it.
fn record(
    chunk: Vec<Entry>,
    store: &Store,
    journal: &mut Journal,
    counts: &mut Imported,
) -> Result<(), OperationError> {
    let seen = chunk.into_iter().map(|entry| (Print::of(&entry), entry));
    let (prints, chunk): (Vec<_>, Vec<_>) = seen.filter(|(print, _)| !journal.left.was_done(print)).unzip();
    if chunk.is_empty() {
        return Ok(());
    }
    journal.intend(&prints)?;
    let became = store.add_entries(&chunk)?;
    let (mut added, mut renewed) = (Vec::new(), Vec::new());
    for (at, ((entry, print), mut became)) in chunk.iter().zip(&prints).zip(became).enumerate() {
        // It may have gone in just before everything ended. What was entered at this import's own instant is its own.
        if journal.left.may_be_in(print) && became == Added::Existing && entry.created == journal.head.started() {
            became = if store.standing(print)?.is_some() { Added::New } else { became };
        }
        match became {
            Added::New => {
                counts.new += 1;
                // What a list tells in another door's name cannot be told apart from that door's own word, and stays.
                if entry.fact.origin == Origin::Import {
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

/// What one row gave.
enum Step {
    Entry(NewSuppression, Came),
    /// It was passed over or reported, or done before.
    Nothing,
    /// There is no more row, or none can be read.
    End,
}

/// Where a row came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    FromAList,
    /// It went out of a store like this one, and comes back in the order in which it lay there.
    FromAStore,
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

impl Entries<'_> {
    /// Goes behind the rows that were done before. Whether there may be more.
    fn pass_over(&mut self) -> bool {
        while self.counts.rows < self.skip {
            if matches!(self.step(), Step::End) {
                return false;
            }
        }
        true
    }

    fn step(&mut self) -> Step {
        if self.failed.is_some() {
            return Step::End;
        }
        self.try_step().unwrap_or_else(|error| {
            self.failed = Some(error);
            Step::End
        })
    }

    fn try_step(&mut self) -> Result<Step, OperationError> {
        let Some(item) = self.rows.next_row()? else { return Ok(Step::End) };
        self.counts.rows += 1;
        if self.counts.rows <= self.skip {
            return Ok(Step::Nothing);
        }
        let who = item.row.as_ref().ok().and_then(Cells::address).unwrap_or_default().to_owned();
        match item.row.and_then(|row| self.rows.shape().suppression(row, &self.wanted)) {
            Ok(Reading::Passes(_)) => self.counts.passed += 1,
            Ok(Reading::Says(cells)) => {
                let record = Record::from_cells(cells.iter());
                let came = if record.is_of_an_export() { Came::FromAStore } else { Came::FromAList };
                match record.into_new(&self.defaults, &self.key_name) {
                    Ok(new) => {
                        self.counts.valid += 1;
                        return Ok(Step::Entry(new, came));
                    }
                    Err(why) => self.bad(item.number, &who, &why)?,
                }
            }
            Err(why) => self.bad(item.number, &who, &why)?,
        }
        Ok(Step::Nothing)
    }

    fn bad(&mut self, number: u64, who: &str, why: &str) -> Result<(), OperationError> {
        self.counts.invalid += 1;
        self.report.bad(number, who, why).map_err(OperationError::output)
    }
}
