//! `consentry suppress import`: any list of addresses, line by line, in bounded memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write};
use std::path::Path;

use super::{ImportArgs, ImportFormat, OperationError, Outcome, private_file};
use crate::store::record::{Defaults, Record, csv_line};
use crate::store::{NewSuppression, Store};
use crate::time::Timestamp;

/// Longest line that is read, in octets: far more than an entry with all its columns needs (promise P11).
pub(in crate::cli) const LINE_MAX: usize = 64 * 1024;
/// How many bad lines are shown when no file for them is given.
pub(in crate::cli) const SHOWN_MAX: u64 = 20;
/// How much of a bad line is repeated in its report, in characters.
pub(in crate::cli) const QUOTED_MAX: usize = 254;
/// What may separate cells.
pub(in crate::cli) const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];

/// What became of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Lines that could be read.
    pub valid: u64,
    /// Lines that could not.
    pub invalid: u64,
    /// Entries that were not known; zero in a dry run.
    pub new: u64,
    /// Entries that were known; zero in a dry run.
    pub existing: u64,
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
    let counts = import_from(&mut input, &mut report, args, store, out, now)?;
    let Imported { valid, invalid, new, existing } = counts;
    if args.dry_run {
        writeln!(out, "{valid} valid, {invalid} invalid; nothing was added")
    } else {
        writeln!(out, "{new} new, {existing} already there, {invalid} invalid")
    }
    .map_err(OperationError::output)?;
    Ok(if invalid == 0 { Outcome::Done } else { Outcome::SomeInvalid })
}

/// Imports what `input` holds. Bad lines go to `report` as CSV (`line,email,level,message`); when the arguments name
/// no file for them, the first `SHOWN_MAX` also go to `out`.
///
/// # Errors
/// [`OperationError`]; the lines before it are added.
pub fn import_from(
    input: &mut dyn BufRead,
    report: &mut dyn Write,
    args: &ImportArgs,
    store: &Store,
    out: &mut dyn Write,
    now: Timestamp,
) -> Result<Imported, OperationError> {
    csv_line(["line", "email", "level", "message"], report).map_err(OperationError::output)?;
    let mut lines = Lines {
        input,
        report,
        out,
        shown: if args.errors.is_some() { 0 } else { SHOWN_MAX },
        given: args.format,
        grammar: None,
        defaults: Defaults { scope: args.scope.clone(), cause: args.reason, now },
        key_name: store.key_name(),
        number: 0,
        counts: Imported::default(),
        failed: None,
    };
    let added = if args.dry_run {
        lines.by_ref().for_each(drop);
        crate::store::AddedMany::default()
    } else {
        store.add_many(lines.by_ref())?
    };
    if let Some(error) = lines.failed {
        return Err(error);
    }
    lines.report.flush().map_err(OperationError::output)?;
    Ok(Imported { new: added.new, existing: added.existing, ..lines.counts })
}

/// How lines are read, once the first one is known.
enum Grammar {
    Csv { header: Vec<String>, delimiter: u8 },
    Ndjson,
    Plain,
}

/// Reads suppressions from lines and reports the ones it cannot read. Ends at the first failure of a file, which it
/// keeps.
struct Lines<'a> {
    input: &'a mut dyn BufRead,
    report: &'a mut dyn Write,
    out: &'a mut dyn Write,
    shown: u64,
    given: ImportFormat,
    grammar: Option<Grammar>,
    defaults: Defaults,
    key_name: String,
    number: u64,
    counts: Imported,
    failed: Option<OperationError>,
}

impl Iterator for Lines<'_> {
    type Item = NewSuppression;

    fn next(&mut self) -> Option<NewSuppression> {
        while self.failed.is_none() {
            match self.step() {
                Ok(Step::Entry(new)) => return Some(*new),
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
    Entry(Box<NewSuppression>),
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
        let Some(grammar) = &self.grammar else {
            let (grammar, is_header) = grammar_of(self.given, text)?;
            self.grammar = Some(grammar);
            return if is_header { Ok(Step::Nothing) } else { self.entry(text) };
        };
        match (grammar, text.strip_prefix('#')) {
            (Grammar::Plain, Some(_)) => Ok(Step::Nothing),
            _ => self.entry(text),
        }
    }

    fn entry(&mut self, text: &str) -> Result<Step, OperationError> {
        let record = match &self.grammar {
            Some(Grammar::Csv { header, delimiter }) => cells(text, *delimiter)
                .map(|cells| Record::from_cells(header, cells.iter()))
                .map_err(|e| format!("not a line of CSV: {e}")),
            Some(Grammar::Ndjson) => serde_json::from_str(text).map_err(|e| format!("not a JSON object of ours: {e}")),
            Some(Grammar::Plain) | None => Ok(Record { address: Some(before_comment(text)), ..Record::default() }),
        };
        let address = record.as_ref().ok().and_then(|record| record.address.clone()).unwrap_or_default();
        match record.and_then(|record| record.into_new(&self.defaults, &self.key_name)) {
            Ok(new) => {
                self.counts.valid += 1;
                Ok(Step::Entry(Box::new(new)))
            }
            Err(why) => self.bad(&address, &why),
        }
    }

    fn bad(&mut self, address: &str, why: &str) -> Result<Step, OperationError> {
        self.counts.invalid += 1;
        let quoted: String = address.chars().take(QUOTED_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
        csv_line([self.number.to_string().as_str(), &quoted, "error", why], self.report)
            .map_err(OperationError::output)?;
        if self.counts.invalid <= self.shown {
            writeln!(self.out, "line {}: {why}", self.number).map_err(OperationError::output)?;
        }
        Ok(Step::Nothing)
    }
}

/// Reads one line with its end; nothing at the end of the input. Of a line that is too long one octet more than
/// [`LINE_MAX`] is given, and the rest is passed over.
pub(in crate::cli) fn read_line(input: &mut dyn BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let limit = u64::try_from(LINE_MAX).unwrap_or(u64::MAX).saturating_add(1);
    (&mut *input).take(limit).read_until(b'\n', &mut line)?;
    if line.len() > LINE_MAX && !line.ends_with(b"\n") {
        input.skip_until(b'\n')?;
    }
    Ok(line)
}

/// UTF-8, or else ISO 8859-1 as old exports are written; either way nothing is lost.
pub(in crate::cli) fn decode(octets: Vec<u8>) -> String {
    String::from_utf8(octets).unwrap_or_else(|e| e.as_bytes().iter().copied().map(char::from).collect())
}

/// A plain line up to a `#` that stands behind a blank (`#` alone is a legal character of addresses).
fn before_comment(text: &str) -> String {
    let comment = text
        .match_indices('#')
        .map(|(at, _)| at)
        .find(|at| text.get(..*at).is_some_and(|before| before.ends_with(char::is_whitespace)));
    comment.and_then(|at| text.get(..at)).unwrap_or(text).to_owned()
}

pub(in crate::cli) fn cells(text: &str, delimiter: u8) -> Result<csv::StringRecord, csv::Error> {
    let mut record = csv::StringRecord::new();
    csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .buffer_capacity(text.len().max(1))
        .from_reader(text.as_bytes())
        .read_record(&mut record)?;
    Ok(record)
}

/// Chooses the grammar from the first line with anything on it, and tells whether that line is a header.
fn grammar_of(given: ImportFormat, first: &str) -> Result<(Grammar, bool), OperationError> {
    match given {
        ImportFormat::Ndjson => Ok((Grammar::Ndjson, false)),
        ImportFormat::Plain => Ok((Grammar::Plain, first.starts_with('#'))),
        ImportFormat::Csv => header_of(first).map(|grammar| (grammar, true)).ok_or_else(|| {
            OperationError::Format(
                "the first line is no header: expected a column `address`, `email` or `recipient`, separated by `,`, \
                 `;` or tab"
                    .to_owned(),
            )
        }),
        ImportFormat::Auto if first.starts_with('{') => Ok((Grammar::Ndjson, false)),
        ImportFormat::Auto => {
            let plain = || (Grammar::Plain, first.starts_with('#'));
            Ok(header_of(first).map_or_else(plain, |grammar| (grammar, true)))
        }
    }
}

fn header_of(first: &str) -> Option<Grammar> {
    DELIMITERS.into_iter().find_map(|delimiter| {
        let header: Vec<String> =
            cells(first, delimiter).ok()?.iter().map(|name| name.trim().to_ascii_lowercase()).collect();
        let has_address = header.iter().any(|name| Record::is_address_column(name));
        has_address.then_some(Grammar::Csv { header, delimiter })
    })
}
