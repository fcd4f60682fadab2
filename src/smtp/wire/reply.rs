//! Replies of an upstream: RFC 5321 section 4.2 and the EHLO answer of section 4.1.1.1. No sockets here.

use std::borrow::Cow;

use crate::mail::{EnhancedStatus, Reply, ReplyCode};

/// Octets of one reply line without its CRLF. RFC 5321 section 4.5.3.1.5 says 512 with it; real providers exceed
/// that with links and session names, none of them fourfold.
pub const REPLY_LINE_MAX: usize = 2048;
/// Lines of one reply. The longest EHLO answers have about 30.
pub const REPLY_LINES_MAX: usize = 100;
/// Octets of one reply, so that an endless `250-` costs bounded memory and time.
pub const REPLY_MAX: usize = 64 * 1024;

/// Why what came is not a reply. The upstream's fault always; the connection cannot be trusted any more, the
/// messages on it can be sent later over another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// A line longer than [`REPLY_LINE_MAX`].
    #[error("reply line longer than {REPLY_LINE_MAX} octets")]
    LineTooLong,
    /// More lines than [`REPLY_LINES_MAX`].
    #[error("reply of more than {REPLY_LINES_MAX} lines")]
    TooManyLines,
    /// More octets than [`REPLY_MAX`].
    #[error("reply longer than {REPLY_MAX} octets")]
    TooLong,
    /// A line feed without a carriage return before it. Tolerating it would let two readers see different replies.
    #[error("reply line ends in a bare line feed")]
    BareLineFeed,
    /// The line does not begin with a code of 200 to 599 followed by a blank, a hyphen or the line's end.
    #[error("reply line without a reply code")]
    NoCode,
    /// The lines of one reply bear different codes (RFC 5321 section 4.2.1 forbids it).
    #[error("lines of one reply bear different codes")]
    MixedCodes,
}

/// Gathers octets from the wire and cuts them into replies, in whatever pieces they come.
#[derive(Debug, Default)]
pub struct ReplyReader {
    buffer: Vec<u8>,
    /// Where the reply that is being read begins.
    start: usize,
    /// Where its current line begins.
    line: usize,
    /// How far that line has been searched for its end, so that no octet is searched twice.
    searched: usize,
    /// Lines of it that are complete.
    lines: usize,
    code: Option<ReplyCode>,
}

impl ReplyReader {
    /// A reader that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether octets have come that belong to no reply handed out so far.
    pub fn is_empty(&self) -> bool {
        self.start == self.buffer.len()
    }

    /// Where new octets are to be appended. What was handed out before is forgotten here.
    pub fn space(&mut self) -> &mut Vec<u8> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.line -= self.start;
            self.searched -= self.start;
            self.start = 0;
        }
        &mut self.buffer
    }

    /// The next complete reply, or `None` when more octets are needed.
    ///
    /// # Errors
    /// [`ReplyError`]; the reader is of no further use then.
    pub fn next_reply(&mut self) -> Result<Option<Received<'_>>, ReplyError> {
        loop {
            let Some(end) = self.line_end()? else { return Ok(None) };
            let line = self.buffer.get(self.line..end).unwrap_or_default();
            let (code, last) = parse_line(line)?;
            if self.code.is_some_and(|first| first != code) {
                return Err(ReplyError::MixedCodes);
            }
            self.code = Some(code);
            self.lines += 1;
            self.line = end + 2;
            self.searched = self.line;
            if self.line - self.start > REPLY_MAX {
                return Err(ReplyError::TooLong);
            }
            if last {
                let raw = self.start..end;
                self.start = self.line;
                self.code = None;
                self.lines = 0;
                return Ok(Some(Received { code, raw: self.buffer.get(raw).unwrap_or_default() }));
            }
            if self.lines >= REPLY_LINES_MAX {
                return Err(ReplyError::TooManyLines);
            }
        }
    }

    /// The offset of the CRLF that ends the current line, if it has come.
    fn line_end(&mut self) -> Result<Option<usize>, ReplyError> {
        let fresh = self.buffer.get(self.searched..).unwrap_or_default();
        let Some(found) = memchr::memchr(b'\n', fresh) else {
            self.searched = self.buffer.len();
            // One more octet than the limit may be the CR of a line that fits.
            return if self.searched - self.line > REPLY_LINE_MAX + 1 {
                Err(ReplyError::LineTooLong)
            } else {
                Ok(None)
            };
        };
        let feed = self.searched + found;
        let line = self.buffer.get(self.line..feed).unwrap_or_default();
        if line.len() > REPLY_LINE_MAX + 1 {
            return Err(ReplyError::LineTooLong);
        }
        match line.split_last() {
            Some((b'\r', rest)) if rest.len() <= REPLY_LINE_MAX => Ok(Some(self.line + rest.len())),
            Some((b'\r', _)) => Err(ReplyError::LineTooLong),
            Some(_) | None => Err(ReplyError::BareLineFeed),
        }
    }
}

/// Code and whether this is the last line. A code alone is a last line (RFC 5321 section 4.2: "SHOULD accept").
fn parse_line(line: &[u8]) -> Result<(ReplyCode, bool), ReplyError> {
    let (digits, rest) = line.split_at_checked(3).ok_or(ReplyError::NoCode)?;
    let mut number = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return Err(ReplyError::NoCode);
        }
        number = number * 10 + u16::from(digit - b'0');
    }
    let code = ReplyCode::new(number).ok_or(ReplyError::NoCode)?;
    match rest.first() {
        None | Some(b' ') => Ok((code, true)),
        Some(b'-') => Ok((code, false)),
        Some(_) => Err(ReplyError::NoCode),
    }
}

/// One complete reply as it stands in the reader's buffer.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    code: ReplyCode,
    /// From the first code to the end of the last line, without its CRLF.
    raw: &'a [u8],
}

impl<'a> Received<'a> {
    /// The code.
    pub const fn code(&self) -> ReplyCode {
        self.code
    }

    /// The texts of its lines, without code, separator and CRLF.
    pub fn lines(&self) -> impl Iterator<Item = Cow<'a, str>> {
        let mut rest = Some(self.raw);
        std::iter::from_fn(move || {
            let raw = rest?;
            let line = if let Some(feed) = memchr::memchr(b'\n', raw) {
                rest = raw.get(feed + 1..);
                raw.get(..feed.saturating_sub(1)).unwrap_or_default()
            } else {
                rest = None;
                raw
            };
            Some(String::from_utf8_lossy(line.get(4..).unwrap_or_default()))
        })
    }

    /// The reply as the rest of the house knows it: lines joined by blanks, an enhanced status that is repeated on
    /// each line (RFC 2034 section 4) kept once.
    pub fn reply(&self) -> Reply {
        let mut lines = self.lines();
        let mut text = lines.next().unwrap_or_default();
        let first = EnhancedStatus::parse_prefix(&text).map(|(status, _)| status);
        for line in lines {
            let rest = match EnhancedStatus::parse_prefix(&line) {
                Some((status, rest)) if Some(status) == first => rest,
                Some(_) | None => &line,
            };
            // What is longer would be cut anyway.
            if text.len() <= Reply::TEXT_MAX {
                let joined = text.to_mut();
                joined.push(' ');
                joined.push_str(rest);
            }
        }
        Reply::received(self.code, &text)
    }
}

/// What an upstream offers, read anew in each session: upstreams lose and gain extensions between sessions.
#[expect(clippy::struct_excessive_bools, reason = "each is one keyword of the EHLO answer")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// RFC 2920.
    pub pipelining: bool,
    /// RFC 1870: announced at all.
    pub size: bool,
    /// RFC 1870: the largest message in octets; `None` when no limit was named (or 0, which means the same).
    pub size_limit: Option<u64>,
    /// RFC 6152.
    pub eight_bit_mime: bool,
    /// RFC 6531.
    pub smtputf8: bool,
    /// RFC 3461.
    pub dsn: bool,
    /// RFC 2034.
    pub enhanced_status_codes: bool,
    /// RFC 3207.
    pub starttls: bool,
    /// RFC 4954: the mechanisms, in capitals.
    pub auth: Vec<String>,
}

impl Capabilities {
    /// Reads the answer to EHLO. Its first line names the host; what is unknown or garbled is skipped, because an
    /// extension that is not understood must not be used.
    pub fn parse(ehlo: &Received<'_>) -> Self {
        let mut found = Self::default();
        for line in ehlo.lines().skip(1) {
            let mut words = line.split_ascii_whitespace();
            match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
                "PIPELINING" => found.pipelining = true,
                "SIZE" => {
                    found.size = true;
                    found.size_limit = words.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
                }
                "8BITMIME" => found.eight_bit_mime = true,
                "SMTPUTF8" => found.smtputf8 = true,
                "DSN" => found.dsn = true,
                "ENHANCEDSTATUSCODES" => found.enhanced_status_codes = true,
                "STARTTLS" => found.starttls = true,
                "AUTH" => found.auth = words.map(str::to_ascii_uppercase).collect(),
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(chunks: &[&[u8]]) -> Result<Vec<Reply>, ReplyError> {
        let mut reader = ReplyReader::new();
        let mut replies = Vec::new();
        for chunk in chunks {
            reader.space().extend_from_slice(chunk);
            while let Some(received) = reader.next_reply()? {
                replies.push(received.reply());
            }
        }
        Ok(replies)
    }

    fn one(text: &str) -> Result<String, ReplyError> {
        read_all(&[text.as_bytes()]).map(|replies| {
            assert_eq!(replies.len(), 1, "{text:?}");
            replies[0].to_string()
        })
    }

    #[test]
    fn single_and_several_lines() {
        assert_eq!(one("250 2.0.0 ok\r\n").unwrap(), "250 2.0.0 ok");
        assert_eq!(one("250\r\n").unwrap(), "250");
        assert_eq!(one("250 \r\n").unwrap(), "250");
        assert_eq!(
            one("550-5.7.26 one\r\n550-5.7.26 two\r\n550 5.7.26 three\r\n").unwrap(),
            "550 5.7.26 one two three"
        );
        assert_eq!(one("550-5.7.26 one\r\n550 5.1.1 two\r\n").unwrap(), "550 5.7.26 one 5.1.1 two");
        assert_eq!(one("250-\r\n250 x\r\n").unwrap(), "250  x");
    }

    #[test]
    fn what_is_no_reply_is_named() {
        let cases = [
            ("ok\r\n", ReplyError::NoCode),
            ("\r\n", ReplyError::NoCode),
            ("25\r\n", ReplyError::NoCode),
            ("199 x\r\n", ReplyError::NoCode),
            ("600 x\r\n", ReplyError::NoCode),
            ("250x\r\n", ReplyError::NoCode),
            ("2500 x\r\n", ReplyError::NoCode),
            (" 250 x\r\n", ReplyError::NoCode),
            ("250-a\r\n550 b\r\n", ReplyError::MixedCodes),
            ("250-a\r\nb\r\n", ReplyError::NoCode),
            ("250 a\n", ReplyError::BareLineFeed),
            ("\n", ReplyError::BareLineFeed),
            ("250-a\n250 b\r\n", ReplyError::BareLineFeed),
        ];
        for (text, expected) in cases {
            assert_eq!(read_all(&[text.as_bytes()]), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn hostile_octets_reach_nobody_as_they_are() {
        let reply = &read_all(&[b"550 a\x00b\x1b[2J\xff\r\n"]).unwrap()[0];
        assert_eq!(reply.text(), "a?b?[2J\u{fffd}");
    }

    #[test]
    fn a_line_is_bounded_at_the_limit_and_past_it() {
        let fits = format!("250 {}\r\n", "x".repeat(REPLY_LINE_MAX - 4));
        assert!(read_all(&[fits.as_bytes()]).is_ok());
        let past = format!("250 {}\r\n", "x".repeat(REPLY_LINE_MAX - 3));
        assert_eq!(read_all(&[past.as_bytes()]), Err(ReplyError::LineTooLong));
        let unended = vec![b'2'; REPLY_LINE_MAX + 1];
        assert_eq!(read_all(&[&unended]), Ok(Vec::new()));
        assert_eq!(read_all(&[&unended, b"2"]), Err(ReplyError::LineTooLong));
    }

    #[test]
    fn lines_and_octets_of_a_reply_are_bounded() {
        let full = format!("{}250 x\r\n", "250-x\r\n".repeat(REPLY_LINES_MAX - 1));
        assert_eq!(read_all(&[full.as_bytes()]).unwrap().len(), 1);
        let past = "250-x\r\n".repeat(REPLY_LINES_MAX);
        assert_eq!(read_all(&[past.as_bytes()]), Err(ReplyError::TooManyLines));

        let line = |sep: char, len: usize| format!("250{sep}{}\r\n", "x".repeat(len - 6));
        let many = line('-', 2048).repeat(31);
        let fits = format!("{many}{}", line(' ', 2048));
        assert_eq!(fits.len(), REPLY_MAX);
        assert!(read_all(&[fits.as_bytes()]).is_ok());
        let past = format!("{many}{}", line(' ', 2049));
        assert_eq!(read_all(&[past.as_bytes()]), Err(ReplyError::TooLong));
    }

    #[test]
    fn what_follows_a_reply_is_seen() {
        let mut reader = ReplyReader::new();
        reader.space().extend_from_slice(b"354 go\r\n550 no\r\n");
        assert_eq!(reader.next_reply().unwrap().unwrap().code().as_u16(), 354);
        assert!(!reader.is_empty());
        assert_eq!(reader.next_reply().unwrap().unwrap().code().as_u16(), 550);
        assert!(reader.is_empty());
    }

    fn capabilities(text: &str) -> Capabilities {
        let mut reader = ReplyReader::new();
        reader.space().extend_from_slice(text.as_bytes());
        Capabilities::parse(&reader.next_reply().unwrap().unwrap())
    }

    #[test]
    fn extensions_are_read_in_any_case_and_the_rest_skipped() {
        let found = capabilities(
            "250-mx.example PIPELINING\r\n250-pipelining\r\n250-SIZE 1000\r\n250-8bitmime\r\n250-AUTH plain LOGIN\r\n\
             250-XFOO 1\r\n250-\r\n250 STARTTLS\r\n",
        );
        assert_eq!(
            found,
            Capabilities {
                pipelining: true,
                size: true,
                size_limit: Some(1000),
                eight_bit_mime: true,
                starttls: true,
                auth: vec!["PLAIN".to_owned(), "LOGIN".to_owned()],
                ..Capabilities::default()
            }
        );
        assert!(!capabilities("250 mx.example PIPELINING\r\n").pipelining, "the first line is a name");
        for unlimited in ["SIZE", "SIZE 0", "SIZE x", "SIZE -5"] {
            let found = capabilities(&format!("250-mx\r\n250 {unlimited}\r\n"));
            assert!(found.size && found.size_limit.is_none(), "{unlimited}");
        }
    }

    proptest! {
        #[test]
        fn chunking_never_changes_what_is_read(
            octets in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..300),
                "((250|550|354)[ -][a-z .]{0,20}\r\n){0,8}".prop_map(String::into_bytes),
                "((250|550)[ -]?[a-z .]{0,5}\r?\n){0,8}".prop_map(String::into_bytes),
            ],
            cuts in proptest::collection::vec(0_usize..300, 0..10),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(octets.len())).collect();
            cuts.push(0);
            cuts.push(octets.len());
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &octets[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read_all(&chunks), read_all(&[&octets]));
            let single: Vec<&[u8]> = octets.chunks(1).collect();
            prop_assert_eq!(read_all(&single), read_all(&[&octets]));
        }
    }
}
