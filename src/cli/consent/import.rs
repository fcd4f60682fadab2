//! `consentry consent import`: what another system has on record, row by row, in bounded memory.
//!
//! Whoever imports a list vouches for it (`--attest`). So its records are asserted, never proven, whatever evidence
//! their lines name; and a record that is asserted lifts nobody's opt-out (promise P10).

use std::cell::Cell;
use std::io::{self, BufRead, BufWriter, Write};

use super::form::Form;
use super::{ImportArgs, OperationError, Outcome, address};
use crate::cli::source::{self, Report};
use crate::cli::suppress::private_file;
use crate::imports::{Cells, Format, Reading, Rows};
use crate::policy::Standing;
use crate::store::{NewEvent, Record, Store};
use crate::time::Timestamp;

/// The method of records that came in with a file and name no other.
const METHOD: &str = "import";

/// What became of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Lines that could be read.
    pub valid: u64,
    /// Lines that could not.
    pub invalid: u64,
    /// Consents and declarations that changed what holds; zero in a dry run.
    pub new: u64,
    /// Consents and declarations that said what was known; zero in a dry run.
    pub unchanged: u64,
    /// Rows of an export that hold nobody's consent.
    pub passed: u64,
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
    source::each_file(&args.file, &Cell::new(0), &mut |input| {
        let one = import_from(input, &mut report, args, store, out, now)?;
        all.valid += one.valid;
        all.invalid += one.invalid;
        all.new += one.new;
        all.unchanged += one.unchanged;
        all.passed += one.passed;
        Ok(())
    })?;
    let Imported { valid, invalid, new, unchanged, passed } = all;
    let beside = if passed > 0 { format!(", {passed} passed over") } else { String::new() };
    if args.dry_run {
        writeln!(out, "{valid} lines valid{beside}, {invalid} invalid; nothing was recorded")
    } else {
        writeln!(out, "{new} new, {unchanged} unchanged{beside}, {invalid} lines invalid")
    }
    .map_err(OperationError::output)?;
    Ok(if invalid == 0 { Outcome::Done } else { Outcome::SomeInvalid })
}

/// Imports what `input` holds. Bad rows go to `report` as CSV (`line,email,level,message`); when the arguments name
/// no file for them, the first ones also go to `out`.
///
/// # Errors
/// [`OperationError`]; the rows before it are recorded.
pub fn import_from(
    input: &mut dyn BufRead,
    report: &mut dyn Write,
    args: &ImportArgs,
    store: &Store,
    out: &mut dyn Write,
    now: Timestamp,
) -> Result<Imported, OperationError> {
    if args.attest.trim().is_empty() {
        return Err(OperationError::Usage(
            "--attest: say on whose word and on what ground this list stands".to_owned(),
        ));
    }
    let shown = if args.errors.is_some() { None } else { Some(out as &mut dyn Write) };
    let mut events = Events {
        rows: Rows::new(input, Format::Records, args.source),
        report: Report::new(report, shown).map_err(OperationError::output)?,
        args,
        now,
        counts: Imported::default(),
        waiting: None,
        failed: None,
    };
    if args.dry_run {
        events.by_ref().for_each(drop);
    } else {
        let added = store.record_many(events.by_ref())?;
        (events.counts.new, events.counts.unchanged) = (added.new, added.existing);
    }
    if let Some(error) = events.failed {
        return Err(error);
    }
    events.report.finish().map_err(OperationError::output)?;
    Ok(events.counts)
}

/// The events of a file; rows that give none are counted and reported. Ends at the first failure, which it keeps.
struct Events<'a> {
    rows: Rows<'a>,
    report: Report<'a>,
    args: &'a ImportArgs,
    now: Timestamp,
    counts: Imported,
    /// The declaration of a row whose consent went out first.
    waiting: Option<NewEvent>,
    failed: Option<OperationError>,
}

impl Iterator for Events<'_> {
    type Item = NewEvent;

    fn next(&mut self) -> Option<NewEvent> {
        if let Some(event) = self.waiting.take() {
            return Some(event);
        }
        while self.failed.is_none() {
            match self.step() {
                Ok(Some(Some(event))) => return Some(event),
                Ok(Some(None)) => {}
                Ok(None) => return None,
                Err(error) => self.failed = Some(error),
            }
        }
        None
    }
}

impl Events<'_> {
    /// One row: `None` at the end, `Some(None)` when it gives no consent.
    #[expect(clippy::option_option, reason = "outer: is there a row; inner: does it give a consent")]
    fn step(&mut self) -> Result<Option<Option<NewEvent>>, OperationError> {
        let row = self.rows.next_row()?;
        if let Some(header) = self.rows.new_header() {
            check_header(header)?;
        }
        let Some(item) = row else { return Ok(None) };
        let who = item.row.as_ref().ok().and_then(Cells::address).unwrap_or_default().to_owned();
        match item.row.and_then(|row| self.rows.shape().consent(row)) {
            Ok(Reading::Passes(_)) => self.counts.passed += 1,
            Ok(Reading::Says(cells)) => match self.events(&who, &cells) {
                Ok((consent, contact)) => {
                    self.counts.valid += 1;
                    self.waiting = contact;
                    return Ok(Some(Some(consent)));
                }
                Err(why) => self.bad(item.number, &who, &why)?,
            },
            Err(why) => self.bad(item.number, &who, &why)?,
        }
        Ok(Some(None))
    }

    fn bad(&mut self, number: u64, who: &str, why: &str) -> Result<(), OperationError> {
        self.counts.invalid += 1;
        self.report.bad(number, who, why).map_err(OperationError::output)
    }

    fn events(&self, who: &str, cells: &Cells) -> Result<(NewEvent, Option<NewEvent>), String> {
        let mailbox = address(who)?;
        let mut form = Form::default();
        for (name, cell) in cells.iter().filter(|(_, cell)| !cell.is_empty()) {
            if !form.take(name, cell)? && !Record::is_address_column(name) {
                return Err(format!("`{name}` is not known; expected names of the flags of `consent set`"));
            }
        }
        form.controller = form.controller.or_else(|| self.args.controller.as_ref().map(ToString::to_string));
        form.basis = form.basis.or_else(|| self.args.basis.map(|basis| basis.to_string()));
        form.source.get_or_insert_with(|| self.args.attest.clone());
        form.method.get_or_insert_with(|| METHOD.to_owned());
        if form.collected_at.is_none() {
            // The day of the import is no day of collection; taken for one, old data would look fresh.
            return Err("collected-at: missing; expected when the address was collected".to_owned());
        }
        let mut said = form.read(self.now)?;
        said.fact.standing = Standing::Asserted;
        let by = &self.args.by;
        let consent = NewEvent::consent(mailbox.clone(), said.fact, by.clone(), self.now).map_err(|e| e.to_string())?;
        if said.contact.is_empty() {
            return Ok((consent, None));
        }
        let contact = NewEvent::contact(mailbox, said.contact, by.clone(), self.now).map_err(|e| e.to_string())?;
        Ok((consent, Some(contact)))
    }
}

/// Of a list that is nobody's export every column has to be known: a misspelt `expires` would be no small loss.
fn check_header(header: &[String]) -> Result<(), OperationError> {
    let known = |name: &&String| Record::is_address_column(name) || Form::knows(name);
    match header.iter().find(|name| !known(name)) {
        None => Ok(()),
        Some(name) => Err(OperationError::Format(format!(
            "column `{name}` is not known; take it out, or name it like a flag of `consent set`"
        ))),
    }
}
