//! Rows of a file of recipients, each kept as it was read.
//!
//! RFC 4180 with any of three separators. What a reader could take for several rows is never kept as one: a quote that
//! is not closed, or that is closed lines later without the row fitting, spoils the line that it stands in and no other.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read as _};

use crate::mail::Mailbox;

/// The longest row, in octets: far more than the columns of a campaign tool's export need (promise P11).
pub(super) const ROW_MAX: usize = 64 * 1024;
/// The most lines that one row may take through quoted line ends: a note of a hundred lines is none.
pub(super) const ROW_LINES_MAX: usize = 100;
/// What may separate cells. The first one is taken when none is there.
const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];
/// Names of the column with the address, the surest first: `address` may be where somebody lives.
const COLUMNS: [&str; 10] = [
    "email",
    "e-mail",
    "email address",
    "email_address",
    "emailaddress",
    "recipient",
    "courriel",
    "adresse e-mail",
    "mail",
    "address",
];

/// One row.
#[derive(Debug)]
pub(super) struct Row {
    /// The line that it begins on, counted from 1.
    pub(super) line: u64,
    /// As it was read, with its line end.
    pub(super) raw: Vec<u8>,
    /// The address, or why there is none.
    pub(super) recipient: Result<Mailbox, Unreadable>,
}

/// A row that names no recipient.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    /// What stood in the place of the address.
    pub(super) text: String,
    /// What is wrong with it.
    pub(super) why: String,
}

/// A line as it was read, with its number.
#[derive(Debug)]
struct Line {
    number: u64,
    octets: Vec<u8>,
}

/// Reads rows one by one.
#[derive(Debug)]
pub(super) struct Rows<R> {
    input: R,
    /// Lines that were read too early.
    back: VecDeque<Line>,
    number: u64,
    octets: u64,
    delimiter: u8,
    column: usize,
    cells: usize,
    header: Option<Vec<u8>>,
}

impl<R: BufRead> Rows<R> {
    /// Reads as far as it takes to know separator, column and whether there is a header. `None`: there is nothing.
    ///
    /// # Errors
    /// When the input cannot be read; `InvalidData` when it is no text in which a line can be found.
    pub(super) fn open(input: R) -> io::Result<Option<Self>> {
        let [delimiter, ..] = DELIMITERS;
        let back = VecDeque::new();
        let mut rows = Self { input, back, number: 0, octets: 0, delimiter, column: 0, cells: 0, header: None };
        let Some(mut first) = rows.line()? else { return Ok(None) };
        if first.octets.contains(&0) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "this looks like UTF-16; save it as UTF-8"));
        }
        if let Some(rest) = first.octets.strip_prefix("\u{FEFF}".as_bytes()) {
            first.octets = rest.to_vec();
        }
        rows.delimiter = delimiter_of(&first.octets);
        let mut names = Vec::new();
        rows.cells = cells(&first.octets, rows.delimiter, |_, cell| names.push(decode(cell))).count;
        rows.learn(first, &names);
        Ok(Some(rows))
    }

    /// A first row without `@` is a header; so is one that names the column.
    fn learn(&mut self, first: Line, names: &[String]) {
        let names: Vec<_> = names.iter().map(|name| name.trim().to_lowercase()).collect();
        let column = COLUMNS.iter().find_map(|known| names.iter().position(|name| name == known));
        if column.is_some() || !names.iter().any(|name| name.contains('@')) {
            self.column = column.unwrap_or(0);
            self.header = Some(first.octets);
        } else {
            self.column = names.iter().position(|name| name.contains('@')).unwrap_or(0);
            self.back.push_front(first);
        }
    }

    /// The header as it was read, with its line end; `None` when the first row is a recipient.
    pub(super) fn header(&self) -> Option<&[u8]> {
        self.header.as_deref()
    }

    /// How much of the input was read, in octets.
    pub(super) const fn octets(&self) -> u64 {
        self.octets
    }

    /// The next row; blank lines are none.
    pub(super) fn next(&mut self) -> io::Result<Option<Row>> {
        let Some(first) = self.line()? else { return Ok(None) };
        let line = first.number;
        if first.octets.len() > ROW_MAX {
            let why = format!("longer than {ROW_MAX} octets");
            let recipient = Err(Unreadable { text: String::new(), why });
            return Ok(Some(Row { line, raw: Vec::new(), recipient }));
        }
        let (raw, shape, cell) = self.whole(first.octets)?;
        let recipient = if shape.open {
            Err(Unreadable { text: cell, why: String::from("a quote is not closed") })
        } else {
            Mailbox::parse(cell.trim()).map_err(|error| Unreadable { why: error.to_string(), text: cell })
        };
        Ok(Some(Row { line, raw, recipient }))
    }

    /// Joins the lines of a row whose cells hold line ends. Where they do not fit together, the first line stands alone
    /// and the others are read again.
    fn whole(&mut self, first: Vec<u8>) -> io::Result<(Vec<u8>, Shape, String)> {
        let (shape, cell) = self.shape(&first);
        if !shape.open {
            return Ok((first, shape, cell));
        }
        let mut raw = first.clone();
        let mut joined = Vec::new();
        while joined.len() + 1 < ROW_LINES_MAX && raw.len() <= ROW_MAX {
            let Some(next) = self.physical()? else { break };
            raw.extend_from_slice(&next.octets);
            joined.push(next);
            let (longer, cell) = self.shape(&raw);
            if !longer.open {
                if longer.odd || longer.count != self.cells || raw.len() > ROW_MAX {
                    break;
                }
                return Ok((raw, longer, cell));
            }
        }
        while let Some(line) = joined.pop() {
            self.back.push_front(line);
        }
        Ok((first, shape, cell))
    }

    fn shape(&self, raw: &[u8]) -> (Shape, String) {
        let mut wanted = String::new();
        let shape = cells(raw, self.delimiter, |at, cell| {
            if at == self.column {
                wanted = decode(cell);
            }
        });
        (shape, wanted)
    }

    /// The next line that is not blank.
    fn line(&mut self) -> io::Result<Option<Line>> {
        loop {
            match self.physical()? {
                Some(line) if line.octets.trim_ascii().is_empty() => {}
                other => return Ok(other),
            }
        }
    }

    /// The next line with its end. Of one that is too long one octet more than [`ROW_MAX`] is kept, and the rest is
    /// passed over.
    fn physical(&mut self) -> io::Result<Option<Line>> {
        if let Some(line) = self.back.pop_front() {
            return Ok(Some(line));
        }
        let mut octets = Vec::new();
        let limit = u64::try_from(ROW_MAX).unwrap_or(u64::MAX).saturating_add(1);
        let mut read = (&mut self.input).take(limit).read_until(b'\n', &mut octets)?;
        if octets.is_empty() {
            return Ok(None);
        }
        if octets.len() > ROW_MAX && !octets.ends_with(b"\n") {
            read = read.saturating_add(self.input.skip_until(b'\n')?);
        }
        self.octets = self.octets.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        self.number += 1;
        Ok(Some(Line { number: self.number, octets }))
    }
}

/// How the cells of a text came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    /// How many there are.
    count: usize,
    /// The last one is quoted and not closed.
    open: bool,
    /// Something follows a closing quote.
    odd: bool,
}

/// Cuts a text into cells and hands each over, without its quotes.
fn cells(text: &[u8], delimiter: u8, mut each: impl FnMut(usize, &[u8])) -> Shape {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let mut shape = Shape { count: 0, open: false, odd: false };
    let mut cell = Vec::new();
    let mut closed = false;
    let mut octets = text.iter().copied().peekable();
    while let Some(octet) = octets.next() {
        match octet {
            b'"' if shape.open => {
                if octets.next_if_eq(&b'"').is_some() {
                    cell.push(b'"');
                } else {
                    (shape.open, closed) = (false, true);
                }
            }
            b'"' if cell.is_empty() && !closed => shape.open = true,
            _ if octet == delimiter && !shape.open => {
                each(shape.count, &cell);
                cell.clear();
                shape.count += 1;
                closed = false;
            }
            _ => {
                shape.odd |= closed;
                cell.push(octet);
            }
        }
    }
    each(shape.count, &cell);
    shape.count += 1;
    shape
}

/// The separator that stands most often outside quotes.
fn delimiter_of(text: &[u8]) -> u8 {
    let [first, ..] = DELIMITERS;
    let counted = |delimiter: u8| cells(text, delimiter, |_, _| ()).count;
    DELIMITERS.into_iter().rev().max_by_key(|delimiter| counted(*delimiter)).unwrap_or(first)
}

/// UTF-8, or else ISO 8859-1 as old exports are written.
fn decode(octets: &[u8]) -> String {
    std::str::from_utf8(octets).map_or_else(|_| octets.iter().copied().map(char::from).collect(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<(u64, Vec<u8>, Result<String, String>)> {
        let mut rows = Rows::open(text).unwrap().unwrap();
        let mut all = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            let recipient = row.recipient.map(|mailbox| mailbox.as_str().to_owned()).map_err(|bad| bad.why);
            all.push((row.line, row.raw, recipient));
        }
        assert_eq!(rows.octets(), u64::try_from(text.len()).unwrap());
        all
    }

    fn addresses(text: &str) -> Vec<String> {
        read(text.as_bytes())
            .into_iter()
            .map(|(line, _, found)| format!("{line} {}", found.unwrap_or_default()))
            .collect()
    }

    #[test]
    fn the_column_is_found_by_its_name_or_by_what_stands_in_it() {
        assert_eq!(addresses("name,email\nA,a@x.example\n"), ["2 a@x.example"]);
        assert_eq!(addresses("address;Courriel\r\nrue 1;a@x.example\r\n"), ["2 a@x.example"]);
        assert_eq!(addresses("\u{FEFF}\"E-Mail\"\tname\na@x.example\tA"), ["2 a@x.example"]);
        assert_eq!(addresses("a@x.example\n\nb@x.example"), ["1 a@x.example", "3 b@x.example"]);
        assert_eq!(addresses("A,a@x.example\nB,b@x.example\n"), ["1 a@x.example", "2 b@x.example"]);
        assert_eq!(addresses("contact,name\na@x.example,A\n"), ["2 a@x.example"]);
    }

    #[test]
    fn quoted_cells_may_hold_separators_quotes_and_line_ends() {
        let text = "email,note\na@x.example,\"one, \"\"two\"\"\nthree\"\nb@x.example,5\" pipe\n";
        let rows = read(text.as_bytes());
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].1, b"a@x.example,\"one, \"\"two\"\"\nthree\"\n");
        assert_eq!((rows[1].0, rows[1].2.as_deref()), (4, Ok("b@x.example")));
    }

    #[test]
    fn an_open_quote_spoils_its_own_line_and_hides_no_other() {
        for rest in ["b@x.example,B\nc@x.example,C\n", "b@x.example,\"B\nc@x.example,C\n"] {
            let rows = read(format!("email,name\na@x.example,\"A\n{rest}").as_bytes());
            assert_eq!(rows.len(), 3, "{rest}");
            assert_eq!(rows[0].2, Err(String::from("a quote is not closed")), "{rest}");
            assert_eq!((rows[2].0, rows[2].2.as_deref()), (4, Ok("c@x.example")), "{rest}");
        }
    }

    #[test]
    fn a_row_has_at_most_so_many_lines() {
        let row = |lines: usize| format!("email,note\na@x.example,\"{}end\"\n", "x\n".repeat(lines - 1));
        assert_eq!(read(row(ROW_LINES_MAX).as_bytes()).len(), 1);
        assert!(read(row(ROW_LINES_MAX + 1).as_bytes()).len() > 1);
    }

    #[test]
    fn a_row_has_at_most_so_many_octets() {
        let start = "a@x.example,";
        let row = |octets: usize| format!("email,note\n{start}{}\nb@x.example,B\n", "x".repeat(octets - start.len()));
        let fits = read(row(ROW_MAX - 1).as_bytes());
        assert_eq!(fits[0].2.as_deref(), Ok("a@x.example"));
        let long = read(row(ROW_MAX).as_bytes());
        assert_eq!(long[0].2, Err(format!("longer than {ROW_MAX} octets")));
        assert_eq!((long[1].0, long[1].2.as_deref()), (3, Ok("b@x.example")));
    }

    #[test]
    fn old_encodings_are_read_and_wide_ones_named() {
        assert!(read(b"email,name\na@x.example,Ren\xe9\n")[0].2.is_ok());
        let wide: Vec<u8> = "email\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(Rows::open(wide.as_slice()).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(Rows::open(&b"\n \r\n"[..]).unwrap().is_none());
    }
}
