//! The header section of a message, read exactly: RFC 5322 sections 2.1, 2.2 and 3.6.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use memchr::{memchr, memchr2, memmem};

/// The longest header section that is read, in octets, blank line included. Real campaigns stay under 16 KiB; peers
/// allow 100 KiB (Postfix `header_size_limit`) and more, and everything above only serves to eat memory.
pub const HEADER_MAX: usize = 256 * 1024;
/// The most fields that a section may have. A hundred hops with their authentication results stay below it; more
/// would make every lookup by name slow on purpose.
pub const FIELDS_MAX: usize = 1000;
/// From this many `Received` fields on a message is taken to be in a loop (RFC 5321 section 6.3: at least 100).
pub const HOPS_MAX: usize = 100;

/// Fields that RFC 5322 section 3.6 and RFC 2045 allow once. Whoever sends two wants two readers to see different ones.
const SINGLE: [&str; 13] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];

/// Why a header section was not accepted. Always the client's fault, and the same message will fail again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SectionError {
    /// More than [`HEADER_MAX`] octets.
    #[error("the header section is too long; expected at most {HEADER_MAX} octets before the blank line")]
    TooLong,
    /// More than [`FIELDS_MAX`] fields.
    #[error("line {line}: too many header fields; expected at most {FIELDS_MAX}")]
    TooManyFields {
        /// Where the first one too many begins, counted from 1.
        line: usize,
    },
    /// CR or LF alone, or a NUL.
    #[error("line {line}: expected lines that end with CRLF and hold no other CR, LF or NUL")]
    Bare {
        /// Counted from 1.
        line: usize,
    },
    /// The first line continues nothing.
    #[error("line 1: expected a field name, found white space")]
    LeadingBlank,
    /// An mbox separator before the first field.
    #[error("line 1: expected a field name, found an mbox `From ` line")]
    MboxLine,
    /// A line without colon.
    #[error("line {line}: expected `Name: value`, found no colon")]
    NoColon {
        /// Counted from 1.
        line: usize,
    },
    /// RFC 5322 section 3.6.8: a field name is one or more printable ASCII characters.
    #[error("line {line}: expected a field name of printable ASCII characters directly before the colon")]
    Name {
        /// Counted from 1.
        line: usize,
    },
    /// A field that may stand only once.
    #[error("line {line}: a second `{field}`; expected at most one")]
    Repeated {
        /// Which.
        field: &'static str,
        /// Where the second one begins, counted from 1.
        line: usize,
    },
    /// RFC 5322 section 3.6: From is mandatory.
    #[error("no `From`; expected exactly one")]
    MissingFrom,
}

/// Where a header section ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitAt {
    /// The body begins at this offset, directly behind the blank line.
    Body(usize),
    /// No blank line yet. At the end of the message this means: all of it is header (RFC 5322 section 3.5).
    Open,
}

/// Finds the blank line that ends the header section of the message beginning at `octets`.
pub fn split(octets: &[u8]) -> SplitAt {
    split_from(octets, 0)
}

/// Like [`split`], for a growing buffer whose first `searched` octets were searched before.
pub fn split_from(octets: &[u8], searched: usize) -> SplitAt {
    if octets.starts_with(b"\r\n") {
        return SplitAt::Body(2);
    }
    let from = searched.saturating_sub(3);
    let rest = octets.get(from..).unwrap_or_default();
    memmem::find(rest, b"\r\n\r\n").map_or(SplitAt::Open, |at| SplitAt::Body(from + at + 4))
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    colon: usize,
    end: usize,
}

/// A header section that obeys the line and field grammar of RFC 5322. Values are not looked at, and no octet of
/// them is changed; they may hold 8-bit characters.
#[derive(Clone)]
pub struct HeaderSection {
    raw: Bytes,
    spans: Vec<Span>,
}

impl HeaderSection {
    /// Reads the section at the start of `raw`, up to and including its blank line; a section without blank line
    /// reaches to the end. Nothing is copied.
    ///
    /// # Errors
    /// [`SectionError`], which names the line and what was expected there.
    pub fn parse(mut raw: Bytes) -> Result<Self, SectionError> {
        let mut spans: Vec<Span> = Vec::with_capacity(32);
        let mut seen = [false; SINGLE.len()];
        let (mut at, mut line) = (0, 0);
        while at < raw.len() {
            line += 1;
            let end = line_end(&raw, at, line)?;
            if end > HEADER_MAX {
                return Err(SectionError::TooLong);
            }
            let text = raw.get(at..end - 2).unwrap_or_default();
            match text.first() {
                None => {
                    at = end;
                    break;
                }
                Some(b' ' | b'\t') => spans.last_mut().ok_or(SectionError::LeadingBlank)?.end = end,
                Some(_) => {
                    let name_len = field_name(text, line)?;
                    if spans.len() == FIELDS_MAX {
                        return Err(SectionError::TooManyFields { line });
                    }
                    note_single(text.get(..name_len).unwrap_or_default(), line, &mut seen)?;
                    spans.push(Span { start: at, colon: at + name_len, end });
                }
            }
            at = end;
        }
        raw.truncate(at);
        if seen.first() == Some(&true) { Ok(Self { raw, spans }) } else { Err(SectionError::MissingFrom) }
    }

    /// Every field, from the top.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Field<'_>> + ExactSizeIterator {
        self.spans.iter().map(|span| Field {
            raw: self.raw.get(span.start..span.end).unwrap_or_default(),
            name_len: span.colon - span.start,
        })
    }

    /// The fields with this name in any case, from the top.
    pub fn fields<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = Field<'a>> {
        self.iter().filter(move |field| field.is(name))
    }

    /// Whether there is a field with this name.
    pub fn has(&self, name: &str) -> bool {
        self.fields(name).next().is_some()
    }

    /// How many `Received` fields the message has collected.
    pub fn hops(&self) -> usize {
        self.fields("Received").count()
    }

    /// Whether the message has come through [`HOPS_MAX`] hosts or more and must be refused as looping
    /// (RFC 5321 section 6.3).
    pub fn is_looping(&self) -> bool {
        self.hops() >= HOPS_MAX
    }

    /// The octets as received, with the blank line if there was one.
    pub const fn raw(&self) -> &Bytes {
        &self.raw
    }
}

/// Names the fields only: their values are personal data.
impl fmt::Debug for HeaderSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|field| field.name().to_owned())).finish()
    }
}

/// The offset behind the CRLF that ends the line beginning at `at`.
fn line_end(raw: &[u8], at: usize, line: usize) -> Result<usize, SectionError> {
    let rest = raw.get(at..).unwrap_or_default();
    let Some(length) = memchr(b'\n', rest) else {
        return Err(if raw.len() > HEADER_MAX { SectionError::TooLong } else { SectionError::Bare { line } });
    };
    let text = rest.get(..length).and_then(|text| text.strip_suffix(b"\r")).ok_or(SectionError::Bare { line })?;
    if memchr2(b'\r', 0, text).is_some() { Err(SectionError::Bare { line }) } else { Ok(at + length + 1) }
}

/// The length of the field name at the start of a line (RFC 5322 section 3.6.8).
fn field_name(text: &[u8], line: usize) -> Result<usize, SectionError> {
    if line == 1 && (text.starts_with(b"From ") || text.starts_with(b">From ")) {
        return Err(SectionError::MboxLine);
    }
    let length = memchr(b':', text).ok_or(SectionError::NoColon { line })?;
    let name = text.get(..length).unwrap_or_default();
    // The obsolete syntax allows white space before the colon. Readers disagree about it, so it is refused.
    if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
        return Err(SectionError::Name { line });
    }
    Ok(length)
}

fn note_single(name: &[u8], line: usize, seen: &mut [bool; SINGLE.len()]) -> Result<(), SectionError> {
    for (single, seen) in SINGLE.iter().zip(seen) {
        if name.eq_ignore_ascii_case(single.as_bytes()) {
            if *seen {
                return Err(SectionError::Repeated { field: single, line });
            }
            *seen = true;
        }
    }
    Ok(())
}

/// One field of a section, as it was received.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    raw: &'a [u8],
    name_len: usize,
}

impl<'a> Field<'a> {
    /// The name as written, without the colon.
    pub fn name(&self) -> &'a str {
        let name = self.raw.get(..self.name_len).unwrap_or_default();
        std::str::from_utf8(name).unwrap_or_default()
    }

    /// Whether this is the name, in any case.
    pub fn is(&self, name: &str) -> bool {
        self.name_len == name.len()
            && self.raw.get(..self.name_len).is_some_and(|n| n.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// The whole field with its folds and its final CRLF.
    pub const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// What stands behind the colon, folded as received, without the final CRLF.
    pub fn value(&self) -> &'a [u8] {
        let value = self.raw.get(self.name_len + 1..).unwrap_or_default();
        value.strip_suffix(b"\r\n").unwrap_or(value)
    }

    /// The value on one line (RFC 5322 section 2.2.3: the CRLF before white space goes, the white space stays), without
    /// white space around it.
    pub fn unfolded(&self) -> Cow<'a, [u8]> {
        let value = self.value().trim_ascii();
        if memchr(b'\r', value).is_none() {
            return Cow::Borrowed(value);
        }
        Cow::Owned(value.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect())
    }
}

/// Names the field only: its value is personal data.
impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Field").field(&self.name()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<HeaderSection, SectionError> {
        HeaderSection::parse(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn finds_the_blank_line_wherever_the_buffer_stopped() {
        let message = b"From: a\r\nTo: b\r\n\r\nbody\r\n\r\n";
        assert_eq!(split(message), SplitAt::Body(18));
        for searched in 0..=17 {
            assert_eq!(split(message.get(..searched).unwrap()), SplitAt::Open);
            assert_eq!(split_from(message, searched), SplitAt::Body(18), "{searched}");
        }
        assert_eq!(split(b"\r\nbody"), SplitAt::Body(2));
        assert_eq!(split(b"From: a\r\n"), SplitAt::Open);
    }

    #[test]
    fn fields_are_read_with_their_folds() {
        let section = parse("From: a@b.example\r\nSUBJECT:\r\n one\r\n\ttwo \r\nX:\r\n\r\nbody: no\r\n").unwrap();
        assert_eq!(section.raw().len(), 48);
        let subject = section.fields("subject").next().unwrap();
        assert_eq!(subject.name(), "SUBJECT");
        assert_eq!(subject.raw(), b"SUBJECT:\r\n one\r\n\ttwo \r\n");
        assert_eq!(subject.unfolded().as_ref(), b"one\ttwo");
        assert_eq!(section.fields("x").next().unwrap().unfolded().as_ref(), b"");
        assert!(!section.has("body"));
        assert_eq!(section.iter().len(), 3);
    }

    #[test]
    fn a_message_without_blank_line_is_all_header() {
        assert_eq!(parse("From: a\r\nTo: b\r\n").unwrap().iter().len(), 2);
    }

    #[test]
    fn eight_bit_values_pass_untouched() {
        let raw = Bytes::from_static(b"From: \xe9\xff <a@b.example>\r\n\r\n");
        let section = HeaderSection::parse(raw.clone()).unwrap();
        assert_eq!(section.raw(), &raw);
    }

    #[test]
    fn refusals_name_the_line() {
        let cases = [
            ("", SectionError::MissingFrom),
            ("\r\n", SectionError::MissingFrom),
            ("To: b\r\n\r\nFrom: a\r\n", SectionError::MissingFrom),
            (" From: a\r\n\r\n", SectionError::LeadingBlank),
            ("From a@b Thu Jan 1\r\nFrom: a\r\n\r\n", SectionError::MboxLine),
            (">From a@b Thu Jan 1\r\nFrom: a\r\n\r\n", SectionError::MboxLine),
            ("From: a\r\nhello\r\n\r\n", SectionError::NoColon { line: 2 }),
            ("From: a\r\nhello world: x\r\n\r\n", SectionError::Name { line: 2 }),
            ("From: a\r\nTo : x\r\n\r\n", SectionError::Name { line: 2 }),
            ("From: a\r\n: x\r\n\r\n", SectionError::Name { line: 2 }),
            ("From: a\r\nT\u{e9}: x\r\n\r\n", SectionError::Name { line: 2 }),
            ("From: a\r\nT\u{7f}: x\r\n\r\n", SectionError::Name { line: 2 }),
            ("From: a\r\nTo: x\n\r\n", SectionError::Bare { line: 2 }),
            ("From: a\r\nTo: x\ry\r\n\r\n", SectionError::Bare { line: 2 }),
            ("From: a\r\nTo: x\0\r\n\r\n", SectionError::Bare { line: 2 }),
            ("From: a\r\nTo: x", SectionError::Bare { line: 2 }),
            ("From: a\r\nTo: x\r\n y\r\nfrom: b\r\n\r\n", SectionError::Repeated { field: "From", line: 4 }),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).unwrap_err(), expected, "{text:?}");
        }
    }

    #[test]
    fn every_single_field_is_refused_the_second_time() {
        for field in SINGLE {
            let lower = field.to_ascii_lowercase();
            let text = format!("From: a\r\n{field}: x\r\nX: y\r\n{lower}: z\r\n\r\n");
            let line = if field == "From" { 2 } else { 4 };
            assert_eq!(parse(&text).unwrap_err(), SectionError::Repeated { field, line });
        }
    }

    #[test]
    fn size_is_checked_at_and_past_the_limit() {
        let head = "From: a\r\nX: ";
        let fits = format!("{head}{}\r\n\r\n", "x".repeat(HEADER_MAX - head.len() - 4));
        assert_eq!(fits.len(), HEADER_MAX);
        assert!(parse(&fits).is_ok());
        let past = format!("{head}{}\r\n\r\n", "x".repeat(HEADER_MAX - head.len() - 3));
        assert_eq!(parse(&past).unwrap_err(), SectionError::TooLong);
        assert_eq!(parse(&"x".repeat(HEADER_MAX + 1)).unwrap_err(), SectionError::TooLong);
    }

    #[test]
    fn the_number_of_fields_is_checked_at_and_past_the_limit() {
        let fields = "X: y\r\n".repeat(FIELDS_MAX - 1);
        assert!(parse(&format!("From: a\r\n{fields}\r\n")).is_ok());
        let past = parse(&format!("From: a\r\n{fields}X: y\r\n\r\n")).unwrap_err();
        assert_eq!(past, SectionError::TooManyFields { line: FIELDS_MAX + 1 });
    }

    #[test]
    fn hops_are_counted_and_the_hundredth_is_a_loop() {
        let trace = |n: usize| parse(&format!("{}From: a\r\n\r\n", "Received: x\r\n".repeat(n))).unwrap();
        assert_eq!(trace(3).hops(), 3);
        assert!(!trace(HOPS_MAX - 1).is_looping());
        assert!(trace(HOPS_MAX).is_looping());
    }

    proptest! {
        #[test]
        fn any_octets_are_read_or_refused_and_fields_cover_the_section(octets in prop::collection::vec(
            prop::sample::select(b"From: a\r\n\t:\0\xe9".to_vec()), 0..200)) {
            let mut message = b"From: a\r\n".to_vec();
            message.extend(octets);
            if let Ok(section) = HeaderSection::parse(Bytes::from(message)) {
                let mut joined: Vec<u8> = section.iter().flat_map(|f| f.raw().to_vec()).collect();
                if joined.len() < section.raw().len() {
                    joined.extend(b"\r\n");
                }
                prop_assert_eq!(joined, section.raw().to_vec());
            }
        }
    }
}
