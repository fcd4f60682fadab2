//! `consentry suppress import`: any list of addresses, row by row, in bounded memory.

use std::io::{self, BufRead, BufWriter, Write};

use super::{ImportArgs, ImportFormat, OperationError, Outcome, private_file};
use crate::cli::source::{self, Report};
use crate::imports::{Cells, Format, Reading, Rows, Wanted};
use crate::policy::Cause;
use crate::store::record::{Defaults, Record};
use crate::store::{AddedMany, NewSuppression, Store};
use crate::time::Timestamp;

/// Entries that a dry run looks up at once.
const LOOK_UP: usize = 1000;

/// What became of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Rows that could be read.
    pub valid: u64,
    /// Rows that could not.
    pub invalid: u64,
    /// Rows of an export that say nothing of this kind.
    pub passed: u64,
    /// Entries that are not known.
    pub new: u64,
    /// Entries that are known.
    pub existing: u64,
}

pub(super) fn import(
    args: &ImportArgs,
    store: &Store,
    out: &mut dyn Write,
    now: Timestamp,
) -> Result<Outcome, OperationError> {
    let mut report: Box<dyn Write> = match &args.errors {
        None => Box::new(io::sink()),
        Some(path) => Box::new(BufWriter::new(private_file(path).map_err(OperationError::file(path))?)),
    };
    let mut all = Imported::default();
    source::each_file(&args.file, &mut |input| {
        let one = import_from(input, &mut report, args, store, out, now)?;
        all.valid += one.valid;
        all.invalid += one.invalid;
        all.passed += one.passed;
        all.new += one.new;
        all.existing += one.existing;
        Ok(())
    })?;
    let Imported { invalid, passed, new, existing, .. } = all;
    let tense = if args.dry_run { "would be new" } else { "new" };
    let beside = if passed > 0 { format!(", {passed} passed over") } else { String::new() };
    writeln!(out, "{new} {tense}, {existing} already there{beside}, {invalid} invalid")
        .map_err(OperationError::output)?;
    Ok(if invalid == 0 { Outcome::Done } else { Outcome::SomeInvalid })
}

/// Imports what `input` holds. Bad rows go to `report` as CSV (`line,email,level,message`); when the arguments name
/// no file for them, the first ones also go to `out`.
///
/// # Errors
/// [`OperationError`]; the rows before it are added.
pub fn import_from(
    input: &mut dyn BufRead,
    report: &mut dyn Write,
    args: &ImportArgs,
    store: &Store,
    out: &mut dyn Write,
    now: Timestamp,
) -> Result<Imported, OperationError> {
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
        defaults: Defaults { scope: args.scope.clone(), cause: args.reason.unwrap_or(Cause::Manual), now },
        key_name: store.key_name(),
        counts: Imported::default(),
        failed: None,
    };
    let added = if args.dry_run { look_up(&mut entries, store)? } else { store.add_many(entries.by_ref())? };
    if let Some(error) = entries.failed {
        return Err(error);
    }
    entries.report.finish().map_err(OperationError::output)?;
    Ok(Imported { new: added.new, existing: added.existing, ..entries.counts })
}

/// What an import would add, without adding it. An entry that the file holds twice counts as new twice.
fn look_up(entries: &mut Entries<'_>, store: &Store) -> Result<AddedMany, OperationError> {
    let mut counts = AddedMany::default();
    loop {
        let chunk: Vec<_> = entries.take(LOOK_UP).collect();
        if chunk.is_empty() {
            return Ok(counts);
        }
        for new in &chunk {
            let same = |found: &crate::store::Entry| {
                (&found.fact.scope, found.fact.cause) == (&new.fact().scope, new.fact().cause)
            };
            if store.matching(new.subject())?.iter().any(|(_, found)| same(found)) {
                counts.existing += 1;
            } else {
                counts.new += 1;
            }
        }
    }
}

/// The suppressions of a file; rows that give none are counted and reported. Ends at the first failure, which it keeps.
struct Entries<'a> {
    rows: Rows<'a>,
    report: Report<'a>,
    wanted: Wanted<'a>,
    defaults: Defaults,
    key_name: String,
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
