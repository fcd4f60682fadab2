//! One strict look at the head of a request, before a tolerant parser sees it.
//!
//! Smuggling lives on heads that two parsers read differently: the proxy in front of us one way, we another. Whatever
//! could be read in two ways is refused here, and so is what is too large. Pure: octets in, a word out.
//!
//! Standards: RFC 9112 sections 2.2, 3, 5 and 6 (message syntax), 11.2 (request smuggling); RFC 6585 section 5 (431).

/// Longest request line: the longest token in the longest address that we print, several times over.
pub(super) const LINE_MAX: usize = 2048;
/// Longest head in all: browsers behind company proxies send some two to four kilobytes.
pub(super) const HEAD_MAX: usize = 16 * 1024;
/// Most fields: browsers and proxies together send about thirty.
pub(super) const FIELDS_MAX: usize = 64;
/// Longest body: a one-click body is 26 octets, the form of fifty lists some kilobytes.
pub(super) const BODY_MAX: usize = 16 * 1024;

/// Why a request is turned away before it is read. Always the client's fault; the connection ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It could be read in two ways, or in none.
    Malformed,
    /// The request line is longer than [`LINE_MAX`].
    TargetTooLong,
    /// The head is longer than [`HEAD_MAX`] or has more than [`FIELDS_MAX`] fields.
    HeadTooLarge,
    /// The body that is announced is longer than [`BODY_MAX`].
    BodyTooLarge,
    /// It did not arrive in time.
    TooSlow,
}

impl Fault {
    /// The status line's code and words.
    pub(super) const fn status(self) -> &'static str {
        match self {
            Self::Malformed => "400 Bad Request",
            Self::TargetTooLong => "414 URI Too Long",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::BodyTooLarge => "413 Content Too Large",
            Self::TooSlow => "408 Request Timeout",
        }
    }
}

/// How much of a head there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More is to come.
    Partial,
    /// All of it.
    Whole,
}

/// Looks at everything that has arrived so far.
///
/// # Errors
/// The first [`Fault`].
pub(super) fn look(octets: &[u8]) -> Result<Progress, Fault> {
    let Some(first) = memchr::memchr(b'\n', octets) else {
        return if octets.len() > LINE_MAX { Err(Fault::TargetTooLong) } else { Ok(Progress::Partial) };
    };
    if first > LINE_MAX {
        return Err(Fault::TargetTooLong);
    }
    let Some(end) = memchr::memmem::find(octets, b"\r\n\r\n") else {
        // A head that ends in bare line feeds never gets here; it is refused by its time or its size.
        return if octets.len() > HEAD_MAX { Err(Fault::HeadTooLarge) } else { Ok(Progress::Partial) };
    };
    if end > HEAD_MAX {
        return Err(Fault::HeadTooLarge);
    }
    check(octets.get(..end).unwrap_or_default()).map(|()| Progress::Whole)
}

fn check(head: &[u8]) -> Result<(), Fault> {
    let mut lines = head.split(|octet| *octet == b'\n');
    let version = request_line(ended(lines.next().unwrap_or_default(), lines.clone().next().is_none())?)?;
    let mut framing = Framing { version, hosts: 0, length: None, chunked: false };
    let mut rest = lines.peekable();
    let mut count = 0;
    while let Some(line) = rest.next() {
        count += 1;
        if count > FIELDS_MAX {
            return Err(Fault::HeadTooLarge);
        }
        let (name, value) = field(ended(line, rest.peek().is_none())?)?;
        framing.take(name, value)?;
    }
    framing.finish()
}

/// A line without its CR; the last one has lost it to the blank line already. A CR, LF or NUL within is refused.
fn ended(line: &[u8], last: bool) -> Result<&[u8], Fault> {
    let line = if last { line } else { line.strip_suffix(b"\r").ok_or(Fault::Malformed)? };
    if line.iter().any(|octet| matches!(octet, b'\r' | 0)) { Err(Fault::Malformed) } else { Ok(line) }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

/// `METHOD SP TARGET SP VERSION`, with single blanks (RFC 9112 section 3).
fn request_line(line: &[u8]) -> Result<Version, Fault> {
    let parts: Vec<_> = line.split(|octet| *octet == b' ').collect();
    let [method, target, version] = parts.as_slice() else { return Err(Fault::Malformed) };
    let plain = target.iter().all(u8::is_ascii_graphic) && target.starts_with(b"/");
    match *version {
        _ if !is_token(method) || !plain => Err(Fault::Malformed),
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        _ => Err(Fault::Malformed),
    }
}

/// `NAME: VALUE`, without a blank before the colon, and not the continuation of another (RFC 9112 sections 5.1 and 5.2).
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let colon = memchr::memchr(b':', line).ok_or(Fault::Malformed)?;
    let (name, rest) = line.split_at(colon);
    let value = rest.get(1..).unwrap_or_default();
    if is_token(name) { Ok((name, value.trim_ascii())) } else { Err(Fault::Malformed) }
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &[u8]) -> bool {
    let mark = |octet: &u8| b"!#$%&'*+-.^_`|~".contains(octet);
    !text.is_empty() && text.iter().all(|octet| octet.is_ascii_alphanumeric() || mark(octet))
}

/// What says where the body ends, and for whom the request is.
struct Framing {
    version: Version,
    hosts: usize,
    length: Option<usize>,
    chunked: bool,
}

impl Framing {
    fn take(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        if name.eq_ignore_ascii_case(b"host") {
            self.hosts += 1;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let length = digits(value)?;
            if self.length.replace(length).is_some() {
                return Err(Fault::Malformed);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault::Malformed);
            }
            self.chunked = true;
        }
        Ok(())
    }

    /// One way to tell the end of the body, and one host (RFC 9112 sections 6.1, 6.3 and 3.2).
    fn finish(self) -> Result<(), Fault> {
        let hosts_fit = match self.version {
            Version::Http11 => self.hosts == 1,
            Version::Http10 => self.hosts <= 1 && !self.chunked,
        };
        if !hosts_fit || (self.chunked && self.length.is_some()) {
            return Err(Fault::Malformed);
        }
        if self.length.is_some_and(|length| length > BODY_MAX) { Err(Fault::BodyTooLarge) } else { Ok(()) }
    }
}

/// Digits and nothing else: no sign, no list (RFC 9112 section 6.2). A number past every bound is only too large.
fn digits(value: &[u8]) -> Result<usize, Fault> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Fault::Malformed);
    }
    Ok(std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(fields: &str) -> Result<Progress, Fault> {
        look(format!("POST /u/x HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes())
    }

    #[test]
    fn usual_heads_pass_whole_and_stay_partial_until_then() {
        let head = b"POST /u/x?lang=fr HTTP/1.1\r\nHost: a\r\nContent-Length: 26\r\nX: \r\n\r\nList-";
        assert_eq!(look(head), Ok(Progress::Whole));
        let end = memchr::memmem::find(head, b"\r\n\r\n").unwrap() + 4;
        for length in 0..end {
            assert_eq!(look(&head[..length]), Ok(Progress::Partial), "{length}");
        }
        assert_eq!(with("Transfer-Encoding: Chunked\r\n"), Ok(Progress::Whole));
        assert_eq!(look(b"GET / HTTP/1.0\r\n\r\n"), Ok(Progress::Whole));
    }

    #[test]
    fn whatever_two_parsers_could_read_differently_is_refused() {
        for fields in [
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
            "Content-Length: 3\r\nContent-Length: 3\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: 5,5\r\n",
            "Content-Length: \r\n",
            "Content-Length: 0x5\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding : chunked\r\n",
            "X: a\r\n b\r\n",
            "X: a\nY: b\r\n",
            "X: a\rb\r\n",
            "X: a\0\r\n",
            "Host: b\r\n",
            "no colon\r\n",
            ": nameless\r\n",
        ] {
            assert_eq!(with(fields), Err(Fault::Malformed), "{fields:?}");
        }
    }

    #[test]
    fn request_lines_are_read_to_the_letter() {
        for line in [
            "",
            "GET",
            "GET /",
            "GET  / HTTP/1.1",
            "GET / HTTP/1.1 ",
            "GET / HTTP/2.0",
            "GET http://a/ HTTP/1.1",
            "PRI * HTTP/2.0",
            "G(T / HTTP/1.1",
            "GET /\u{e9} HTTP/1.1",
        ] {
            assert_eq!(look(format!("{line}\r\nHost: a\r\n\r\n").as_bytes()), Err(Fault::Malformed), "{line:?}");
        }
        assert_eq!(look(b"GET / HTTP/1.1\r\n\r\n"), Err(Fault::Malformed), "no host");
        assert_eq!(look(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), Err(Fault::Malformed));
        assert_eq!(look(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\n\r\n\r\n"), Err(Fault::Malformed), "TLS");
    }

    #[test]
    fn sizes_are_checked_at_and_past_their_limits() {
        let line = |more: usize| {
            let used = "GET /".len() + " HTTP/1.1\r".len();
            look(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(LINE_MAX - used + more)).as_bytes())
        };
        assert_eq!((line(0), line(1)), (Ok(Progress::Whole), Err(Fault::TargetTooLong)));
        assert_eq!(look(&[b'a'; LINE_MAX]), Ok(Progress::Partial));
        assert_eq!(look(&[b'a'; LINE_MAX + 1]), Err(Fault::TargetTooLong));
        let fields = |count: usize| with(&"X: y\r\n".repeat(count));
        assert_eq!((fields(FIELDS_MAX - 1), fields(FIELDS_MAX)), (Ok(Progress::Whole), Err(Fault::HeadTooLarge)));
        let head = |more: usize| {
            let used = "GET / HTTP/1.1\r\nHost: a\r\nX: ".len();
            look(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(HEAD_MAX - used + more)).as_bytes())
        };
        assert_eq!((head(0), head(1)), (Ok(Progress::Whole), Err(Fault::HeadTooLarge)));
        let body = |length: usize| with(&format!("Content-Length: {length}\r\n"));
        assert_eq!((body(BODY_MAX), body(BODY_MAX + 1)), (Ok(Progress::Whole), Err(Fault::BodyTooLarge)));
        assert_eq!(with(&format!("Content-Length: {}\r\n", "9".repeat(40))), Err(Fault::BodyTooLarge));
    }
}
