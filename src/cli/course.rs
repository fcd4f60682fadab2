//! The course of an import, and of taking one back, whatever it is that comes in and goes.

use std::cell::Cell;
use std::io::{BufRead, Write};
use std::path::Path;

use clap::Args;

use super::journal::{Brings, Content, ImportId, Imported, Journal, Journals, Planned, Resume, State, Summary};
use super::operation::{OperationError, Outcome};
use super::progress::{At, Progress};
use super::source;
use crate::time::{Clock, Timestamp};

/// Longest reason for an undo, in octets: it is kept, beside a name, with everybody on the list.
const BECAUSE_MAX: usize = 256;

/// What is asked of an import.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) file: &'a Path,
    /// Where rows that cannot be read are written.
    pub(super) errors: Option<&'a Path>,
    pub(super) mode: Mode,
    /// What is written down of it, but for its content.
    pub(super) planned: Planned,
}

/// Whether an import only looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    DryRun,
    Record(Resume),
}

impl Mode {
    pub(super) const fn asked(dry_run: bool, resume: bool) -> Self {
        if dry_run { Self::DryRun } else { Self::Record(Resume::asked(resume)) }
    }
}

/// What becomes of the rows of a file.
#[derive(Debug)]
pub(super) enum Target {
    /// They are compared with what is known.
    Count,
    /// They are recorded, and written down.
    Record(Box<Journal>),
}

/// An import under way.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) target: Target,
    /// When it began.
    pub(super) now: Timestamp,
    /// Rows that were done before.
    pub(super) skip: u64,
    pub(super) counts: Imported,
}

impl Course {
    /// One that only looks.
    pub(super) fn looking(now: Timestamp) -> Self {
        Self { target: Target::Count, now, skip: 0, counts: Imported::default() }
    }

    /// One that begins, or goes on where its journal ends.
    pub(super) fn of(journal: Journal) -> Self {
        // Rows behind the place are read again. What became of those that were done is counted already.
        let Imported { rows: skip, valid, invalid, passed, .. } = journal.place;
        let counts = Imported { rows: 0, valid, invalid, passed, ..journal.counts };
        Self { now: journal.head.started(), target: Target::Record(Box::new(journal)), skip, counts }
    }
}

/// What an import reads, and whom it tells.
pub(super) struct Streams<'a> {
    /// What `input` is within an archive, and nothing for a file by itself.
    pub(super) member: Option<&'a str>,
    pub(super) input: &'a mut dyn BufRead,
    /// Rows that cannot be read go here as CSV (`line,email,level,message`).
    pub(super) report: &'a mut dyn Write,
    pub(super) out: &'a mut dyn Write,
    pub(super) clock: &'a dyn Clock,
    /// Hears how far it is.
    pub(super) watch: &'a mut dyn FnMut(At),
}

/// Leads an import from its beginning to its end; `read` takes in what one stream holds, `said` tells what became of all.
pub(super) fn import(
    asked: Asked<'_>,
    folder: &Path,
    out: &mut dyn Write,
    clock: &dyn Clock,
    read: &mut dyn FnMut(&mut Course, Streams<'_>) -> Result<(), OperationError>,
    said: &dyn Fn(&Imported) -> String,
) -> Result<Outcome, OperationError> {
    let mut report = source::report_file(asked.errors)?;
    let content = source::size_and_digest(asked.file)?.map(|(size, sha256)| Content { size, sha256 });
    let octets = Cell::new(0);
    let mut progress = Progress::new(clock, content.as_ref().map(|content| content.size));
    let (_held, mut course) = match asked.mode {
        Mode::DryRun => (None, Course::looking(clock.now())),
        Mode::Record(resume) => {
            let journals = Journals::open(folder)?;
            let journal = journals.take_up(Planned { content, ..asked.planned }, resume, clock.now())?;
            begun(&journal, resume, out)?;
            (Some(journals), Course::of(journal))
        }
    };
    let mut watch = |at| progress.draw(at, octets.get());
    source::each_file(asked.file, &octets, &mut |member, input| {
        read(&mut course, Streams { member, input, report: &mut report, out, clock, watch: &mut watch })
    })?;
    drop(progress);
    let counts = course.counts;
    if let Target::Record(journal) = &mut course.target {
        journal.finish(counts, clock.now())?;
    }
    writeln!(out, "{}", said(&counts)).map_err(OperationError::output)?;
    if let Target::Record(journal) = &course.target {
        let (command, id) = (journal.head.brings.command(), &journal.head.id);
        writeln!(out, "to take it back: consentry {command} undo {id} --because TEXT")
            .map_err(OperationError::output)?;
    }
    Ok(if counts.invalid == 0 { Outcome::Done } else { Outcome::SomeInvalid })
}

fn begun(journal: &Journal, resume: Resume, out: &mut dyn Write) -> Result<(), OperationError> {
    writeln!(out, "import {}", journal.head.id).map_err(OperationError::output)?;
    match resume {
        Resume::No => Ok(()),
        Resume::Yes => writeln!(out, "goes on behind row {}", journal.place.rows).map_err(OperationError::output),
    }
}

/// Arguments of `suppress undo` and `consent undo`.
#[derive(Clone, Debug, Args)]
pub struct UndoArgs {
    /// The id that the import printed.
    #[arg(value_name = "ID", value_parser = ImportId::parse)]
    pub id: ImportId,
    /// Counts what would be taken back; changes nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Why the list does not hold; kept with everybody on it.
    #[arg(long, value_name = "TEXT", required_unless_present = "dry_run")]
    pub because: Option<String>,
    /// Who takes it back.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "operator")]
    pub by: String,
}

/// An undo under way.
#[derive(Debug)]
pub(super) struct Undoing<'a> {
    pub(super) journals: &'a Journals,
    /// What is taken back.
    pub(super) import: &'a Summary,
    /// Why; nothing in a dry run, which changes nothing.
    pub(super) because: Option<&'a str>,
}

/// Takes back or counts, tells it, and answers how many went and how many stay.
pub(super) type Work<'a> = &'a mut dyn FnMut(&Undoing<'_>, &mut dyn Write) -> Result<(u64, u64), OperationError>;

/// Leads an undo in the store whose key is `key`; its work is `work`.
pub(super) fn undo(
    args: &UndoArgs,
    brings: Brings,
    folder: &Path,
    key: &str,
    out: &mut dyn Write,
    clock: &dyn Clock,
    work: Work<'_>,
) -> Result<Outcome, OperationError> {
    let because = args.because.as_deref().map_or("", str::trim);
    if (because.is_empty() && !args.dry_run) || because.len() > BECAUSE_MAX {
        let message = format!("--because: say in at most {BECAUSE_MAX} octets why the list does not hold");
        return Err(OperationError::Usage(message));
    }
    let journals = Journals::open(folder)?;
    let import = &journals.find(&args.id, brings)?;
    import.head.expect_key(key)?;
    if import.state == State::Undone {
        writeln!(out, "{} was undone before", args.id).map_err(OperationError::output)?;
        return Ok(Outcome::Nothing);
    }
    journals.refuse_when_others_rely_on(import)?;
    if args.dry_run {
        work(&Undoing { journals: &journals, import, because: None }, out)?;
        return Ok(Outcome::Nothing);
    }
    let mut journal = journals.go_on(import)?;
    journal.undoing(&args.by, because, clock.now())?;
    let (removed, kept) = work(&Undoing { journals: &journals, import, because: Some(because) }, out)?;
    journal.undone(removed, kept, clock.now())?;
    Ok(Outcome::Undone { removed, kept })
}
