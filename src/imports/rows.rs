//! From octets to rows, one at a time, in bounded memory.

use std::io::{self, BufRead, Read as _};

use super::Cells;
use super::shape::Shape;
use crate::store::Record;
use crate::store::record::unguard;

/// Longest row that is read, in octets: far more than an entry with all its columns needs (promise P11).
pub const LINE_MAX: usize = 64 * 1024;
/// What may separate cells.
const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];
/// How far a JSON document is looked into to tell lines of objects from one object around a list.
const LOOK_AHEAD: usize = 512;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Found out from its beginning.
    Auto,
    /// Found out from its beginning; never a plain list, where an address alone would say too little.
    Records,
    /// A header line, then cells separated by `,`, `;` or tab.
    Csv,
    /// One JSON object per line, or a list of objects.
    Json,
    /// One address per line.
    Plain,
}

/// One row, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The line that it begins on, from 1; in a JSON list the number of the object.
    pub number: u64,
    /// The cells.
    pub row: Result<Cells, String>,
}

/// Why a file cannot be read at all, or not on.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The file is not what it should be; the same file never succeeds.
    #[error("{0}")]
    Format(String),
    /// The system's.
    #[error(transparent)]
    Io(#[from] io::Error),
}

enum Grammar {
    Csv { header: Vec<String>, delimiter: u8 },
    Lines,
    List,
    Plain,
}

/// The rows of one file.
pub struct Rows<'a> {
    input: &'a mut dyn BufRead,
    given: Format,
    grammar: Option<Grammar>,
    shape: Option<Shape>,
    number: u64,
    header_was_seen: bool,
}

impl std::fmt::Debug for Rows<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("number", &self.number).finish_non_exhaustive()
    }
}

impl<'a> Rows<'a> {
    /// Reads `input`; `shape` is what the operator says it is, when its beginning does not tell.
    pub fn new(input: &'a mut dyn BufRead, given: Format, shape: Option<Shape>) -> Self {
        Self { input, given, grammar: None, shape, number: 0, header_was_seen: false }
    }

    /// Whose export it is; known once the first row has been asked for.
    pub fn shape(&self) -> Shape {
        self.shape.unwrap_or(Shape::Own)
    }

    /// The header of a list that is nobody's export, once, as soon as it has been read.
    pub fn new_header(&mut self) -> Option<&[String]> {
        match &self.grammar {
            Some(Grammar::Csv { header, .. }) if self.shape == Some(Shape::Own) && !self.header_was_seen => {
                self.header_was_seen = true;
                Some(header)
            }
            Some(_) | None => None,
        }
    }

    /// The next row; `None` at the end of the file.
    ///
    /// # Errors
    /// [`Failed`]; the rows before it stand.
    pub fn next_row(&mut self) -> Result<Option<Item>, Failed> {
        if self.grammar.is_none() && self.starts_a_list()? {
            self.grammar = Some(Grammar::List);
        }
        loop {
            if matches!(self.grammar, Some(Grammar::List)) {
                return self.next_object();
            }
            let in_cells = matches!(self.grammar, Some(Grammar::Csv { .. }));
            let (first, line) = match next_line(self.input, in_cells)? {
                (_, Line::End) => return Ok(None),
                (count, line) => {
                    let first = self.number + 1;
                    self.number += count;
                    (first, line)
                }
            };
            let Line::Text(text) = line else {
                return Ok(Some(Item { number: first, row: Err(format!("longer than {LINE_MAX} octets")) }));
            };
            let text = if first == 1 { text.strip_prefix('\u{FEFF}').unwrap_or(&text) } else { &text };
            let text = text.trim();
            if !text.is_empty()
                && let Some(row) = self.row(text)?
            {
                return Ok(Some(Item { number: first, row }));
            }
        }
    }

    /// What a line holds; nothing when it is the header or a comment.
    fn row(&mut self, text: &str) -> Result<Option<Result<Cells, String>>, Failed> {
        if self.grammar.is_none() {
            let (grammar, shape, is_header) = grammar_of(self.given, self.shape, text)?;
            self.grammar = Some(grammar);
            self.shape = shape;
            if is_header {
                return Ok(None);
            }
        }
        Ok(match &self.grammar {
            Some(Grammar::Csv { header, delimiter }) => Some(csv_cells(text, header, *delimiter)),
            Some(Grammar::Lines | Grammar::List) => Some(self.object(text)),
            Some(Grammar::Plain) if text.starts_with('#') => None,
            Some(Grammar::Plain) | None => {
                let mut cells = Cells::default();
                cells.put("address", before_comment(text));
                Some(Ok(cells))
            }
        })
    }

    /// The first object tells whose export it is; lines of ours have no header that could.
    fn object(&mut self, text: &str) -> Result<Cells, String> {
        let cells = json_cells(text)?;
        if self.shape.is_none() {
            let names: Vec<_> = cells.iter().map(|(name, _)| name.to_owned()).collect();
            self.shape = Some(Shape::of_object(&names));
        }
        Ok(cells)
    }

    /// `[…]`, or an object around a list: `{"Suppressions": […]}`, `{"count": 4, "contacts": […]}`.
    fn starts_a_list(&mut self) -> Result<bool, Failed> {
        if !matches!(self.given, Format::Auto | Format::Records | Format::Json) {
            return Ok(false);
        }
        let seen = self.input.fill_buf()?;
        let seen = seen.get(..LOOK_AHEAD.min(seen.len())).unwrap_or_default();
        let inner = seen.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(seen).trim_ascii_start();
        let lead = seen.len() - inner.len();
        let bracket = memchr::memchr(b'[', inner)
            .filter(|at| inner.split_at_checked(*at).is_some_and(|(before, behind)| opens_a_list(before, behind)));
        let Some(bracket) = bracket else { return Ok(false) };
        self.input.consume(lead + bracket + 1);
        Ok(true)
    }

    fn next_object(&mut self) -> Result<Option<Item>, Failed> {
        let Some(text) = object(self.input)? else { return Ok(None) };
        self.number += 1;
        let row = match text {
            Line::Text(text) => self.object(&text),
            Line::TooLong | Line::End => Err(format!("longer than {LINE_MAX} octets, or not closed")),
        };
        Ok(Some(Item { number: self.number, row }))
    }
}

/// Whether the bracket between these octets opens the document's list: one of objects, with nothing before it or the beginning of
/// an object that is itself about nobody.
fn opens_a_list(before: &[u8], behind: &[u8]) -> bool {
    let first = behind.strip_prefix(b"[").unwrap_or_default().trim_ascii_start().first();
    if before.is_empty() {
        return true;
    }
    let closed = [before, b"[]}"].concat();
    let around: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_slice(&closed);
    matches!(first, None | Some(b'{' | b']'))
        && around.is_ok_and(|object| !object.keys().any(|name| Record::is_address_column(&name.to_lowercase())))
}

/// One row of text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    /// It.
    Text(String),
    /// It had more than [`LINE_MAX`] octets, and was passed over.
    TooLong,
    /// There is none.
    End,
}

/// One line, and in CSV the lines that belong to it because a quoted cell goes over their ends; and how many they were.
fn next_line(input: &mut dyn BufRead, in_cells: bool) -> io::Result<(u64, Line)> {
    let mut whole = read_line(input)?;
    if whole.is_empty() {
        return Ok((0, Line::End));
    }
    let mut count = 1;
    let mut quotes = memchr::memchr_iter(b'"', &whole).count();
    while in_cells && quotes % 2 == 1 && whole.len() <= LINE_MAX {
        let more = read_line(input)?;
        if more.is_empty() {
            break;
        }
        count += 1;
        quotes += memchr::memchr_iter(b'"', &more).count();
        whole.extend(more);
    }
    let line = if whole.len() > LINE_MAX { Line::TooLong } else { Line::Text(decode(whole)) };
    Ok((count, line))
}

/// Reads one line with its end; nothing at the end of the input. Of a line that is too long one octet more than
/// [`LINE_MAX`] is given, and the rest is passed over.
///
/// # Errors
/// The system's.
pub fn read_line(input: &mut dyn BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let limit = u64::try_from(LINE_MAX).unwrap_or(u64::MAX).saturating_add(1);
    (&mut *input).take(limit).read_until(b'\n', &mut line)?;
    if line.len() > LINE_MAX && !line.ends_with(b"\n") {
        input.skip_until(b'\n')?;
    }
    Ok(line)
}

/// UTF-8, or else ISO 8859-1 as old exports are written; either way nothing is lost.
pub fn decode(octets: Vec<u8>) -> String {
    String::from_utf8(octets).unwrap_or_else(|e| e.as_bytes().iter().copied().map(char::from).collect())
}

/// The next object of a list: from its brace to the one that closes it. `None` at the end of the list.
fn object(input: &mut dyn BufRead) -> io::Result<Option<Line>> {
    let (mut text, mut depth, mut quoted, mut escaped, mut long) = (Vec::new(), 0_usize, false, false, false);
    for octet in input.bytes() {
        let octet = octet?;
        match octet {
            _ if depth == 0 && octet == b']' => return Ok(None),
            _ if depth == 0 && octet != b'{' => continue,
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' if !quoted => depth += 1,
            b'}' if !quoted => depth -= 1,
            _ => {}
        }
        if text.len() < LINE_MAX {
            text.push(octet);
        } else {
            long = true;
        }
        if depth == 0 {
            return Ok(Some(if long { Line::TooLong } else { Line::Text(decode(text)) }));
        }
    }
    Ok((depth > 0).then_some(Line::End))
}

/// A plain line up to a `#` that stands behind a blank (`#` alone is a legal character of addresses).
fn before_comment(text: &str) -> &str {
    let comment = text
        .match_indices('#')
        .map(|(at, _)| at)
        .find(|at| text.get(..*at).is_some_and(|before| before.ends_with(char::is_whitespace)));
    comment.and_then(|at| text.get(..at)).unwrap_or(text).trim()
}

/// The grammar and the shape that a first line tells, and whether that line is a header. Of JSON each object tells it.
///
/// # Errors
/// [`Failed::Format`] when it is not what was said, or could be two exports.
fn grammar_of(given: Format, said: Option<Shape>, first: &str) -> Result<(Grammar, Option<Shape>, bool), Failed> {
    if given == Format::Json || (matches!(given, Format::Auto | Format::Records) && first.starts_with('{')) {
        return Ok((Grammar::Lines, said, false));
    }
    let header = DELIMITERS.into_iter().find_map(|delimiter| header_of(first, delimiter));
    match (given, header) {
        (Format::Csv | Format::Auto | Format::Records, Some((header, delimiter))) => {
            let shape = said.map_or_else(|| Shape::of_header(&header), Ok).map_err(Failed::Format)?;
            Ok((Grammar::Csv { header, delimiter }, Some(shape), true))
        }
        (Format::Csv | Format::Records, None) => Err(Failed::Format(
            "the first line is no header: expected a column `address`, `email` or `recipient`, separated by `,`, `;` or \
             tab"
                .to_owned(),
        )),
        (Format::Auto, None) if Shape::is_ses_line(first) => {
            let header = vec!["address".to_owned(), "reason".to_owned()];
            Ok((Grammar::Csv { header, delimiter: b',' }, said.or(Some(Shape::SesList)), false))
        }
        (Format::Auto | Format::Plain | Format::Json, _) => Ok((Grammar::Plain, said.or(Some(Shape::Own)), first.starts_with('#'))),
    }
}

fn header_of(first: &str, delimiter: u8) -> Option<(Vec<String>, u8)> {
    let names = cells(first, delimiter).ok()?;
    let header: Vec<String> = names.iter().map(|name| name.trim().to_lowercase()).collect();
    let has_address = header.iter().any(|name| Record::is_address_column(name)) || Shape::is_allow_list(&header);
    has_address.then_some((header, delimiter))
}

fn cells(text: &str, delimiter: u8) -> Result<csv::StringRecord, csv::Error> {
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

/// The filled cells of a CSV line under its header, without the `'` that keeps a spreadsheet from running them.
fn csv_cells(text: &str, header: &[String], delimiter: u8) -> Result<Cells, String> {
    let record = cells(text, delimiter).map_err(|e| format!("not a line of CSV: {e}"))?;
    let mut found = Cells::default();
    for (name, cell) in header.iter().zip(record.iter()) {
        let cell = unguard(cell.trim());
        if !cell.is_empty() {
            found.put(name, cell);
        }
    }
    Ok(found)
}

/// The fields of a JSON object, `null` ones left out; of a list each element is a field, and a field of an inner object is `outer.inner`.
fn json_cells(text: &str) -> Result<Cells, String> {
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|e| format!("not a JSON object: {e}"))?;
    let mut found = Cells::default();
    for (name, value) in object {
        json_cell(&mut found, &name.to_lowercase(), value, 0)?;
    }
    Ok(found)
}

fn json_cell(found: &mut Cells, name: &str, value: serde_json::Value, depth: u8) -> Result<(), String> {
    use serde_json::Value;
    match value {
        Value::Null => {}
        Value::String(text) => found.put(name, text),
        Value::Bool(word) => found.put(name, word.to_string()),
        Value::Number(number) => found.put(name, number.to_string()),
        Value::Array(_) | Value::Object(_) if depth > 0 => return Err(format!("{name}: expected a text")),
        Value::Array(values) => {
            for value in values {
                json_cell(found, name, value, depth + 1)?;
            }
        }
        Value::Object(inner) => {
            for (key, value) in inner {
                json_cell(found, &format!("{name}.{}", key.to_lowercase()), value, depth + 1)?;
            }
        }
    }
    Ok(())
}
