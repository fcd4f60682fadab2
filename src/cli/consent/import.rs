//! `consentry consent import`: what another system has on record, line by line, in bounded memory.
//!
//! Whoever imports a list vouches for it (`--attest`). So its records are asserted, never proven, whatever evidence
//! their lines name; and a record that is asserted lifts nobody's opt-out (promise P10).

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use super::form::Form;
use super::{ImportArgs, OperationError, Outcome, address};
use crate::cli::suppress::import::{DELIMITERS, LINE_MAX, QUOTED_MAX, SHOWN_MAX, cells, decode, read_line};
use crate::cli::suppress::private_file;
use crate::policy::Standing;
use crate::store::record::{Record, csv_line, unguard};
use crate::store::{NewEvent, Store};
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
}

pub(super) fn import(
    args: &ImportArgs,
    store: &Store,
    out: &mut dyn Write,
    now: Timestamp,
) -> Result<Outcome, OperationError> {
    let mut input: Box<dyn BufRead> = if args.file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(&args.file).map_err(OperationError::file(&args.file))?))
    };
    let mut report: Box<dyn Write> = match &args.errors {
        None => Box::new(io::sink()),
        Some(path) => Box::new(BufWriter::new(private_file(path).map_err(OperationError::file(path))?)),
    };
    let Imported { valid, invalid, new, unchanged } = import_from(&mut input, &mut report, args, store, out, now)?;
    if args.dry_run {
        writeln!(out, "{valid} lines valid, {invalid} invalid; nothing was recorded")
    } else {
        writeln!(out, "{new} new, {unchanged} unchanged, {invalid} lines invalid")
    }
    .map_err(OperationError::output)?;
    Ok(if invalid == 0 { Outcome::Done } else { Outcome::SomeInvalid })
}

/// Imports what `input` holds. Bad lines go to `report` as CSV (`line,email,level,message`); when the arguments name
/// no file for them, the first ones also go to `out`.
///
/// # Errors
/// [`OperationError`]; the lines before it are recorded.
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
    csv_line(["line", "email", "level", "message"], report).map_err(OperationError::output)?;
    let mut lines = Lines {
        input,
        report,
        out,
        args,
        now,
        grammar: None,
        number: 0,
        counts: Imported::default(),
        waiting: None,
        failed: None,
    };
    if args.dry_run {
        lines.by_ref().for_each(drop);
    } else {
        let added = store.record_many(lines.by_ref())?;
        (lines.counts.new, lines.counts.unchanged) = (added.new, added.existing);
    }
    if let Some(error) = lines.failed {
        return Err(error);
    }
    lines.report.flush().map_err(OperationError::output)?;
    Ok(lines.counts)
}

/// How lines are read, once the first one is known.
enum Grammar {
    Csv { header: Vec<String>, delimiter: u8 },
    Ndjson,
}

/// Reads events from lines and reports the ones it cannot read. Ends at the first failure of a file, which it keeps.
struct Lines<'a> {
    input: &'a mut dyn BufRead,
    report: &'a mut dyn Write,
    out: &'a mut dyn Write,
    args: &'a ImportArgs,
    now: Timestamp,
    grammar: Option<Grammar>,
    number: u64,
    counts: Imported,
    /// The declaration of a line whose consent went out first.
    waiting: Option<NewEvent>,
    failed: Option<OperationError>,
}

impl Iterator for Lines<'_> {
    type Item = NewEvent;

    fn next(&mut self) -> Option<NewEvent> {
        if let Some(event) = self.waiting.take() {
            return Some(event);
        }
        while self.failed.is_none() {
            match self.step() {
                Ok(Step::Event(event)) => return Some(*event),
                Ok(Step::Nothing) => {}
                Ok(Step::End) => return None,
                Err(error) => self.failed = Some(error),
            }
        }
        None
    }
}

/// What one line gave.
enum Step {
    Event(Box<NewEvent>),
    Nothing,
    End,
}

impl Lines<'_> {
    fn step(&mut self) -> Result<Step, OperationError> {
        let octets = read_line(self.input).map_err(OperationError::file(Path::new("import")))?;
        self.number += 1;
        if octets.is_empty() {
            return Ok(Step::End);
        }
        if octets.len() > LINE_MAX {
            return self.bad("", &format!("longer than {LINE_MAX} octets"));
        }
        let text = decode(octets);
        let text = if self.number == 1 { text.strip_prefix('\u{FEFF}').unwrap_or(&text) } else { &text };
        let text = text.trim();
        if text.is_empty() {
            return Ok(Step::Nothing);
        }
        let read = match &self.grammar {
            Some(Grammar::Ndjson) => json_cells(text),
            Some(Grammar::Csv { header, delimiter }) => csv_cells(text, header, *delimiter),
            None if text.starts_with('{') => {
                self.grammar = Some(Grammar::Ndjson);
                json_cells(text)
            }
            None => {
                self.grammar = Some(header_of(text)?);
                return Ok(Step::Nothing);
            }
        };
        self.line(read)
    }

    fn line(&mut self, read: Result<Vec<(String, String)>, String>) -> Result<Step, OperationError> {
        let named = |cells: &[(String, String)]| {
            let cell = cells.iter().find(|(name, _)| Record::is_address_column(name));
            cell.map(|(_, cell)| cell.clone()).unwrap_or_default()
        };
        let who = read.as_deref().map(named).unwrap_or_default();
        match read.and_then(|cells| self.events(&who, &cells)) {
            Ok((consent, contact)) => {
                self.counts.valid += 1;
                self.waiting = contact;
                Ok(Step::Event(Box::new(consent)))
            }
            Err(why) => self.bad(&who, &why),
        }
    }

    fn events(&self, who: &str, cells: &[(String, String)]) -> Result<(NewEvent, Option<NewEvent>), String> {
        let mailbox = address(who)?;
        let mut form = Form::default();
        for (name, cell) in cells {
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

    fn bad(&mut self, address: &str, why: &str) -> Result<Step, OperationError> {
        self.counts.invalid += 1;
        let quoted: String = address.chars().take(QUOTED_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
        csv_line([self.number.to_string().as_str(), &quoted, "error", why], self.report)
            .map_err(OperationError::output)?;
        if self.args.errors.is_none() && self.counts.invalid <= SHOWN_MAX {
            writeln!(self.out, "line {}: {why}", self.number).map_err(OperationError::output)?;
        }
        Ok(Step::Nothing)
    }
}

/// The filled cells of a CSV line under its header.
fn csv_cells(text: &str, header: &[String], delimiter: u8) -> Result<Vec<(String, String)>, String> {
    let cells = cells(text, delimiter).map_err(|e| format!("not a line of CSV: {e}"))?;
    let named = header.iter().zip(cells.iter()).map(|(name, cell)| (name.clone(), unguard(cell.trim()).to_owned()));
    Ok(named.filter(|(_, cell)| !cell.is_empty()).collect())
}

/// The filled fields of a JSON object; of a list each element is a field.
fn json_cells(text: &str) -> Result<Vec<(String, String)>, String> {
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|e| format!("not a JSON object: {e}"))?;
    let mut found = Vec::new();
    for (name, value) in object {
        let values = if let serde_json::Value::Array(values) = value { values } else { vec![value] };
        for value in values {
            let cell = match value {
                serde_json::Value::Null => continue,
                serde_json::Value::String(text) => text,
                serde_json::Value::Bool(word) => word.to_string(),
                serde_json::Value::Number(number) => number.to_string(),
                serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
                    return Err(format!("{name}: expected a text"));
                }
            };
            if !cell.is_empty() {
                found.push((name.to_ascii_lowercase(), cell));
            }
        }
    }
    Ok(found)
}

/// Reads the header. A column that nobody knows refuses the file: a misspelt `expires` would be no small loss.
fn header_of(first: &str) -> Result<Grammar, OperationError> {
    let read = |delimiter: &u8| {
        let names = cells(first, *delimiter).ok()?;
        let header: Vec<String> = names.iter().map(|name| name.trim().to_ascii_lowercase()).collect();
        header.iter().any(|name| Record::is_address_column(name)).then_some((header, *delimiter))
    };
    let (header, delimiter) = DELIMITERS.iter().find_map(read).ok_or_else(|| {
        OperationError::Format(
            "the first line is no header: expected a column `address` or `email`, separated by `,`, `;` or tab"
                .to_owned(),
        )
    })?;
    let known = |name: &&String| Record::is_address_column(name) || Form::knows(name);
    match header.iter().find(|name| !known(name)) {
        None => Ok(Grammar::Csv { header, delimiter }),
        Some(name) => Err(OperationError::Format(format!(
            "column `{name}` is not known; take it out, or name it like a flag of `consent set`"
        ))),
    }
}
