//! The text parts of a MIME body (RFC 2045, RFC 2046 section 5.1), found in one pass and within stated bounds.
//!
//! A walk of our own and not mail-parser's: that one has no bound on the number of parts and decodes every attachment.

use std::borrow::Cow;

use mail_parser::HeaderValue;
use mail_parser::parsers::MessageStream;
use memchr::memchr;
use memchr::memmem::Finder;

use crate::message::HeaderSection;

/// The most parts that are looked at, multiparts counted. A campaign has two to five, a mail full of attachments a
/// few dozen; more would only serve to make the walk long.
pub(super) const PARTS_MAX: usize = 100;
/// How deep multiparts may nest. Alternative in related in mixed is three, a forward or two around it five.
pub(super) const DEPTH_MAX: usize = 8;
/// The longest value of a `Content-*` field or a Subject that is read, in octets; real ones stay below 1 KiB.
pub(super) const VALUE_MAX: usize = 8 * 1024;

/// How a part's octets were made fit for the wire (RFC 2045 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::message) enum Encoding {
    /// `7bit`, `8bit`, `binary`, or not said.
    Plain,
    /// `quoted-printable`.
    Quoted,
    /// `base64`.
    Base64,
    /// Anything else: nobody can be expected to read it.
    Unknown,
}

/// A part that is shown as text.
#[derive(Debug)]
pub(in crate::message) struct TextPart<'a> {
    pub(in crate::message) html: bool,
    /// It lies in a `multipart/signed` (RFC 1847 section 2.1): no octet of it may change.
    pub(in crate::message) signed: bool,
    pub(in crate::message) encoding: Encoding,
    pub(in crate::message) charset: Option<String>,
    /// Where `octets` begin in the body.
    pub(in crate::message) start: usize,
    pub(in crate::message) octets: &'a [u8],
}

/// What the walk found.
#[derive(Debug, Default)]
pub(in crate::message) struct Outline<'a> {
    pub(in crate::message) texts: Vec<TextPart<'a>>,
    /// Some of the message lies past a bound or could not be told apart, so that `texts` may not be all.
    pub(in crate::message) cut: bool,
}

/// Finds the parts that a reader is shown as text or HTML. Attachments and messages inside messages are not shown.
pub(in crate::message) fn outline<'a>(section: &HeaderSection, body: &'a [u8]) -> Outline<'a> {
    let value = |name: &'static str| section.fields(name).next().map(|field| field.unfolded().into_owned());
    let [kind, encoding, disposition] = FIELDS.map(value);
    let head = Head::read(kind.as_deref(), encoding.as_deref(), disposition.as_deref(), false);
    let dashes = Finder::new(b"\n--");
    let mut walk = Walk { body, at: 0, dashes, open: Vec::new(), pending: None, parts: 0, outline: Outline::default() };
    walk.run(head);
    walk.outline
}

const FIELDS: [&str; 3] = ["Content-Type", "Content-Transfer-Encoding", "Content-Disposition"];

enum Kind {
    Multipart { boundary: Vec<u8>, digest: bool, signed: bool },
    Text { html: bool, charset: Option<String> },
    Other,
    Unreadable,
}

struct Head {
    kind: Kind,
    encoding: Encoding,
}

impl Head {
    fn read(kind: Option<&[u8]>, encoding: Option<&[u8]>, disposition: Option<&[u8]>, digest: bool) -> Self {
        let encoding = match encoding.map(|value| value.trim_ascii().to_ascii_lowercase()).as_deref() {
            None | Some(b"" | b"7bit" | b"8bit" | b"binary") => Encoding::Plain,
            Some(b"quoted-printable") => Encoding::Quoted,
            Some(b"base64") => Encoding::Base64,
            Some(_) => Encoding::Unknown,
        };
        let attached = disposition.is_some_and(|value| {
            let word = value.split(|b| *b == b';').next().unwrap_or_default();
            word.trim_ascii().eq_ignore_ascii_case(b"attachment")
        });
        let kind = kind.map_or_else(|| default_kind(digest), content_type);
        Self { kind: if attached && matches!(kind, Kind::Text { .. }) { Kind::Other } else { kind }, encoding }
    }
}

/// RFC 2045 section 5.2 and RFC 2046 section 5.1.5: plain text, and messages in a digest.
fn default_kind(digest: bool) -> Kind {
    if digest { Kind::Other } else { Kind::Text { html: false, charset: None } }
}

fn content_type(value: &[u8]) -> Kind {
    if value.len() > VALUE_MAX {
        return Kind::Unreadable;
    }
    let mut line = value.to_vec();
    line.extend_from_slice(b"\r\n");
    let HeaderValue::ContentType(read) = MessageStream::new(&line).parse_content_type() else {
        return default_kind(false);
    };
    let is = |text: &str, word: &str| text.eq_ignore_ascii_case(word);
    let subtype = read.subtype().unwrap_or_default();
    if is(read.ctype(), "multipart") {
        return match read.attribute("boundary").map(str::trim_end).filter(|boundary| !boundary.is_empty()) {
            Some(boundary) => Kind::Multipart {
                boundary: boundary.as_bytes().to_vec(),
                digest: is(subtype, "digest"),
                signed: is(subtype, "signed"),
            },
            None => Kind::Unreadable,
        };
    }
    let html = is(subtype, "html") || is(subtype, "x-amp-html");
    // A type without subtype is malformed; RFC 2045 section 5.2 has it read as plain text.
    let shown = read.subtype().is_none() || is(read.ctype(), "text") && (html || is(subtype, "plain"));
    if shown { Kind::Text { html, charset: read.attribute("charset").map(str::to_owned) } } else { Kind::Other }
}

struct Open {
    boundary: Vec<u8>,
    digest: bool,
    signed: bool,
}

struct Walk<'a> {
    body: &'a [u8],
    at: usize,
    /// Finds what a delimiter begins with.
    dashes: Finder<'static>,
    open: Vec<Open>,
    /// The text part whose octets end at the next delimiter.
    pending: Option<TextPart<'a>>,
    parts: usize,
    outline: Outline<'a>,
}

/// A line that begins or ends a part.
struct Delimiter {
    start: usize,
    end: usize,
    level: usize,
    closing: bool,
}

impl Walk<'_> {
    fn run(&mut self, head: Head) {
        let mut more = self.enter(head);
        while more {
            let delimiter = self.next_delimiter();
            let end = delimiter.as_ref().map_or(self.body.len(), |delimiter| delimiter.start);
            self.finish(end);
            let Some(delimiter) = delimiter else { return };
            self.at = delimiter.end;
            self.open.truncate(delimiter.level + 1);
            if delimiter.closing {
                self.open.truncate(delimiter.level);
            } else {
                let head = self.part_head();
                more = self.enter(head);
            }
        }
    }

    /// Takes note of the part that begins here; false where a bound ends the walk.
    fn enter(&mut self, head: Head) -> bool {
        self.parts += 1;
        let too_deep = matches!(head.kind, Kind::Multipart { .. }) && self.open.len() == DEPTH_MAX;
        if self.parts > PARTS_MAX || too_deep {
            self.outline.cut = true;
            return false;
        }
        match head.kind {
            Kind::Multipart { boundary, digest, signed } => self.open.push(Open { boundary, digest, signed }),
            Kind::Text { html, charset } => {
                let signed = self.open.iter().any(|open| open.signed);
                let (start, encoding) = (self.at, head.encoding);
                self.pending = Some(TextPart { html, signed, encoding, charset, start, octets: &[] });
            }
            Kind::Other => {}
            Kind::Unreadable => self.outline.cut = true,
        }
        true
    }

    fn finish(&mut self, end: usize) {
        let Some(mut part) = self.pending.take() else { return };
        let octets = self.body.get(part.start..end).unwrap_or_default();
        // RFC 2046 section 5.1.1: the line break before a delimiter belongs to the delimiter.
        let octets = if self.open.is_empty() { octets } else { octets.strip_suffix(b"\n").unwrap_or(octets) };
        part.octets = octets;
        self.outline.texts.push(part);
    }

    /// The next delimiter of any open multipart, from the line at `self.at` on.
    fn next_delimiter(&self) -> Option<Delimiter> {
        let mut start = self.at;
        while !self.open.is_empty() {
            let rest = self.body.get(start..)?;
            if rest.starts_with(b"--") {
                let end = self.line_end(start);
                if let Some((level, closing)) = self.delimits(start, end) {
                    return Some(Delimiter { start, end, level, closing });
                }
            }
            // Attachments are long and hold few lines of this kind.
            start += self.dashes.find(rest)? + 1;
        }
        None
    }

    /// Behind the LF of the line at `start`, or the end.
    fn line_end(&self, start: usize) -> usize {
        let rest = self.body.get(start..).unwrap_or_default();
        memchr(b'\n', rest).map_or(self.body.len(), |at| start + at + 1)
    }

    /// Which open multipart the line delimits, the innermost first, and whether it closes it.
    fn delimits(&self, start: usize, end: usize) -> Option<(usize, bool)> {
        let line = self.body.get(start..end)?.strip_prefix(b"--")?;
        self.open.iter().enumerate().rev().find_map(|(level, open)| {
            let rest = line.strip_prefix(open.boundary.as_slice())?.trim_ascii();
            (rest.is_empty() || rest == b"--").then_some((level, !rest.is_empty()))
        })
    }

    /// Reads the header of the part at `self.at`, and goes behind its blank line.
    fn part_head(&mut self) -> Head {
        let mut found: [Option<(usize, usize)>; FIELDS.len()] = [None; FIELDS.len()];
        let mut current: Option<usize> = None;
        while self.at < self.body.len() {
            let end = self.line_end(self.at);
            // A part may lack its blank line; the delimiter behind it still counts.
            if self.delimits(self.at, end).is_some() {
                break;
            }
            let line = self.body.get(self.at..end).unwrap_or_default();
            if line.trim_ascii().is_empty() && !line.starts_with(b" ") && !line.starts_with(b"\t") {
                self.at = end;
                break;
            }
            if line.starts_with(b" ") || line.starts_with(b"\t") {
                if let Some(Some((_, to))) = current.and_then(|which| found.get_mut(which)) {
                    *to = end;
                }
            } else {
                current = which_field(line);
                let slot = current.and_then(|which| found.get_mut(which));
                match slot {
                    Some(slot) if slot.is_none() => {
                        *slot = Some((self.at + memchr(b':', line).map_or(0, |at| at + 1), end));
                    }
                    // A second field of the name: the first one counts, and its folds end here.
                    Some(_) | None => current = None,
                }
            }
            self.at = end;
        }
        let value = |(from, to): (usize, usize)| unfold(self.body.get(from..to).unwrap_or_default());
        let [kind, encoding, disposition] = found.map(|span| span.map(value));
        let digest = self.open.last().is_some_and(|open| open.digest);
        Head::read(kind.as_deref(), encoding.as_deref(), disposition.as_deref(), digest)
    }
}

fn which_field(line: &[u8]) -> Option<usize> {
    let name = line.get(..memchr(b':', line)?)?.trim_ascii_end();
    FIELDS.iter().position(|field| name.eq_ignore_ascii_case(field.as_bytes()))
}

fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    let value = value.trim_ascii();
    if memchr(b'\n', value).is_none() {
        return Cow::Borrowed(value);
    }
    Cow::Owned(value.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn find(message: &str) -> (Vec<(bool, String)>, bool) {
        let raw = message.replace('\n', "\r\n");
        let at = raw.find("\r\n\r\n").unwrap() + 4;
        let section = HeaderSection::parse(Bytes::from(raw[..at].to_owned())).unwrap();
        let found = outline(&section, &raw.as_bytes()[at..]);
        let text = |part: &TextPart<'_>| (part.html, String::from_utf8_lossy(part.octets).trim_end().to_owned());
        (found.texts.iter().map(text).collect(), found.cut)
    }

    fn plain(text: &str) -> (bool, String) {
        (false, text.to_owned())
    }

    #[test]
    fn a_message_without_mime_is_one_text() {
        assert_eq!(find("From: a\n\n--b\nhello\n"), (vec![plain("--b\r\nhello")], false));
        assert_eq!(find("From: a\nContent-Type: text/HTML\n\n<p>"), (vec![(true, "<p>".to_owned())], false));
        assert_eq!(find("From: a\nContent-Type: image/png\n\nx"), (vec![], false));
    }

    #[test]
    fn shown_parts_are_found_and_attachments_are_not() {
        let (texts, cut) = find(
            "From: a\nContent-Type: multipart/mixed;\n boundary=\"outer\"\n\npreamble\n--outer\n\
             content-type: multipart/alternative; boundary=outer2\n\n--outer2\n\none\n--outer2  \n\
             Content-Type: text/html;\n charset=latin1\n\ntwo\n--outer2--\nepilogue\n--outer\n\
             Content-Type: text/plain\nContent-Disposition: Attachment; filename=x\n\nthree\n--outer\n\
             Content-Type: message/rfc822\n\nFrom: x\n\nfour\n--outer\n\nfive\n--outer--\nsix\n",
        );
        assert_eq!(texts, [plain("one"), (true, "two".to_owned()), plain("five")]);
        assert!(!cut);
    }

    #[test]
    fn unclosed_and_headless_parts_end_at_the_next_delimiter() {
        let inner = "Content-Type: multipart/alternative; boundary=i\n\n--i\n\none\n";
        let (texts, _) =
            find(&format!("From: a\nContent-Type: multipart/mixed; boundary=o\n\n--o\n{inner}--o\n--o\n\ntwo"));
        assert_eq!(texts, [plain("one"), plain(""), plain("two")]);
    }

    #[test]
    fn a_digest_holds_messages_and_a_boundary_is_matched_whole() {
        let digest = "From: a\nContent-Type: multipart/digest; boundary=o\n\n--o\n\nFrom: x\n\none\n--o--\n";
        assert_eq!(find(digest), (vec![], false));
        let (texts, _) = find("From: a\nContent-Type: multipart/mixed; boundary=o\n\n--o\n\n--ox\none\n--o--\n");
        assert_eq!(texts, [plain("--ox\r\none")]);
    }

    #[test]
    fn the_number_of_parts_is_checked_at_and_past_the_limit() {
        let parts = |n: usize| {
            find(&format!("From: a\nContent-Type: multipart/mixed; boundary=o\n\n{}--o--\n", "--o\n\nx\n".repeat(n)))
        };
        assert_eq!((parts(PARTS_MAX - 1).0.len(), parts(PARTS_MAX - 1).1), (PARTS_MAX - 1, false));
        assert!(parts(PARTS_MAX).1);
    }

    #[test]
    fn the_depth_is_checked_at_and_past_the_limit() {
        let nested = |n: usize| {
            let level = |i: usize| format!("--b{}x\nContent-Type: multipart/mixed; boundary=b{i}x\n\n", i - 1);
            let inner = (1..n).map(level).collect::<Vec<_>>().concat();
            find(&format!(
                "From: a\nContent-Type: multipart/mixed; boundary=b0x\n\n{inner}--b{}x\n\ndeep\n",
                n.saturating_sub(1)
            ))
        };
        assert_eq!(nested(DEPTH_MAX), (vec![plain("deep")], false));
        assert_eq!(nested(DEPTH_MAX + 1), (vec![], true));
    }

    #[test]
    fn a_multipart_without_boundary_or_with_a_type_too_long_is_not_read() {
        assert!(find("From: a\nContent-Type: multipart/mixed\n\n--o\n\nx").1);
        let typed = |n: usize| format!("text/plain; x={}", "y".repeat(n - "text/plain; x=".len()));
        let part = |n| {
            find(&format!("From: a\nContent-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: {}\n\nx", typed(n)))
        };
        assert_eq!(part(VALUE_MAX), (vec![plain("x")], false));
        assert_eq!(part(VALUE_MAX + 1), (vec![], true));
    }
}
