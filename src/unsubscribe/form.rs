//! Bodies of forms: a few named values. Pure.
//!
//! The Content-Type decides how a body is read. Mailbox providers send both kinds, with and without parameters, in
//! charsets of their own; names and values that count here are ASCII in all of them.
//!
//! Standards: RFC 8058 section 3.2, RFC 7578 and RFC 2046 section 5.1 (multipart), URL standard section 5.1 (urlencoded).

/// Fields of one form: a one-click body has one, the choices of a person three for each list.
pub(super) const FIELDS_MAX: usize = 256;
/// RFC 2046 section 5.1.1.
const BOUNDARY_MAX: usize = 70;

/// Why a body is not a form. The client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FormError {
    /// Neither of the two kinds.
    Kind,
    /// Of that kind, but not well formed.
    Malformed,
    /// More than [`FIELDS_MAX`] fields.
    TooMany,
}

/// Named values in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a body; without a Content-Type it is read as urlencoded.
    ///
    /// # Errors
    /// [`FormError`].
    pub(super) fn read(content_type: Option<&str>, body: &[u8]) -> Result<Self, FormError> {
        let (kind, parameters) = match content_type {
            Some(text) => text.split_once(';').map_or((text, ""), |(kind, parameters)| (kind, parameters)),
            None => ("application/x-www-form-urlencoded", ""),
        };
        let kind = kind.trim();
        let fields = if kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            urlencoded(body)?
        } else if kind.eq_ignore_ascii_case("multipart/form-data") {
            let boundary = parameter(parameters, "boundary").ok_or(FormError::Malformed)?;
            multipart(body, &boundary)?
        } else {
            return Err(FormError::Kind);
        };
        Ok(Self(fields))
    }

    /// The first value of that name.
    pub(super) fn first(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of that name.
    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether the field of RFC 8058 section 3.2 is there.
    pub(super) fn is_one_click(&self) -> bool {
        let is = |(name, value): &(String, String)| {
            name.eq_ignore_ascii_case("List-Unsubscribe") && value.eq_ignore_ascii_case("One-Click")
        };
        self.0.iter().any(is)
    }
}

fn urlencoded(body: &[u8]) -> Result<Vec<(String, String)>, FormError> {
    let pairs = body.trim_ascii().split(|octet| *octet == b'&').filter(|pair| !pair.is_empty());
    let mut fields = Vec::new();
    for pair in pairs {
        let (name, value) = memchr::memchr(b'=', pair)
            .and_then(|at| Some((pair.get(..at)?, pair.get(at + 1..)?)))
            .unwrap_or((pair, b""));
        push(&mut fields, percent_decoded(name), percent_decoded(value))?;
    }
    Ok(fields)
}

fn push(fields: &mut Vec<(String, String)>, name: String, value: String) -> Result<(), FormError> {
    if fields.len() == FIELDS_MAX {
        return Err(FormError::TooMany);
    }
    fields.push((name, value));
    Ok(())
}

/// `+` is a blank, `%41` is `A`; a percent sign without two digits stands for itself.
fn percent_decoded(text: &[u8]) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((octet, tail)) = rest.split_first() {
        rest = tail;
        match (octet, tail) {
            (b'+', _) => out.push(b' '),
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high * 16 + low);
                    rest = after;
                }
                _ => out.push(b'%'),
            },
            (other, _) => out.push(*other),
        }
    }
    String::from_utf8_lossy(&out).trim().to_owned()
}

fn digit(octet: u8) -> Option<u8> {
    char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The parts between delimiters; the preamble, the epilogue, and parts without a name are passed over.
fn multipart(body: &[u8], boundary: &str) -> Result<Vec<(String, String)>, FormError> {
    let delimiter = format!("\r\n--{boundary}");
    // The first delimiter may open the body, without a line end before it.
    let first = format!("--{boundary}");
    let mut rest = match body.strip_prefix(first.as_bytes()) {
        Some(rest) => rest,
        None => after(body, delimiter.as_bytes()).ok_or(FormError::Malformed)?.1,
    };
    let mut fields = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Ok(fields);
        }
        // Blanks may stand behind a delimiter (RFC 2046 section 5.1.1).
        let (padding, part) = after(rest, b"\r\n").ok_or(FormError::Malformed)?;
        if !padding.trim_ascii().is_empty() {
            return Err(FormError::Malformed);
        }
        let (part, next) = after(part, delimiter.as_bytes()).ok_or(FormError::Malformed)?;
        if let Some((name, value)) = named(part) {
            push(&mut fields, name, value)?;
        }
        rest = next;
    }
}

/// What stands before and behind the first `mark`.
fn after<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = memchr::memmem::find(text, mark)?;
    Some((text.get(..at)?, text.get(at + mark.len()..)?))
}

fn named(part: &[u8]) -> Option<(String, String)> {
    let (head, value) = after(part, b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(head);
    let disposition = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    let (kind, parameters) = disposition.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return None;
    }
    let name = parameter(parameters, "name")?;
    Some((name.trim().to_owned(), String::from_utf8_lossy(value).trim().to_owned()))
}

/// One parameter of a header field, quoted or not (RFC 9110 section 5.6.6); a boundary has at most 70 characters.
fn parameter(text: &str, wanted: &str) -> Option<String> {
    let mut rest = text;
    while !rest.trim().is_empty() {
        let (name, tail) = rest.split_once('=')?;
        let (value, tail) = if let Some(quoted) = tail.trim_start().strip_prefix('"') {
            unquoted(quoted)?
        } else {
            let (value, tail) = tail.split_once(';').unwrap_or((tail, ""));
            (value.trim().to_owned(), tail)
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return (!value.is_empty() && value.len() <= BOUNDARY_MAX).then_some(value);
        }
        rest = tail.trim_start().strip_prefix(';').unwrap_or(tail);
    }
    None
}

/// A quoted string behind its opening quote, and what follows it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(chars.next()?),
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "application/x-www-form-urlencoded";

    fn is_one_click(content_type: Option<&str>, body: &str) -> Result<bool, FormError> {
        Form::read(content_type, body.as_bytes()).map(|form| form.is_one_click())
    }

    #[test]
    fn one_click_is_known_urlencoded() {
        for kind in [
            None,
            Some(URL),
            Some("Application/X-WWW-Form-Urlencoded ; charset=utf-16"),
            Some(" application/x-www-form-urlencoded;charset=\"ISO-8859-1\""),
        ] {
            for body in [
                "List-Unsubscribe=One-Click",
                "List-Unsubscribe=One-Click\r\n",
                "list-unsubscribe=one-click",
                "a=b&List-Unsubscribe=One-Click&c",
                "%4Cist-Unsubscribe=One%2DClick",
            ] {
                assert_eq!(is_one_click(kind, body), Ok(true), "{kind:?} {body}");
            }
        }
        for other in [
            "",
            "List-Unsubscribe",
            "List-Unsubscribe=Two-Click",
            "xList-Unsubscribe=One-Click",
            "a=List-Unsubscribe=One-Click",
        ] {
            assert_eq!(is_one_click(Some(URL), other), Ok(false), "{other}");
        }
    }

    #[test]
    fn one_click_is_known_in_any_part_of_a_multipart_body() {
        let part = "Content-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click";
        let other =
            "Content-Type: text/plain\r\ncontent-disposition: FORM-DATA; filename=\"a;b\\\"c\"; name=x\r\n\r\ny";
        for (kind, body) in [
            ("multipart/form-data; boundary=x", format!("--x\r\n{part}\r\n--x--\r\n")),
            ("multipart/form-data; charset=UTF-8; boundary=\"x y\"", format!("--x y\r\n{part}\r\n--x y--")),
            (
                "Multipart/Form-Data;BOUNDARY=x",
                format!("preamble\r\n--x  \r\n{other}\r\n--x\r\n{part}\r\n--x--\r\nend"),
            ),
            ("multipart/form-data; boundary=x", format!("--x\r\n{part}\r\n--x\r\n{other}\r\n--x--\r\n")),
        ] {
            assert_eq!(is_one_click(Some(kind), &body), Ok(true), "{kind} {body}");
        }
        let named = Form::read(Some("multipart/form-data; boundary=x"), format!("--x\r\n{other}\r\n--x--").as_bytes());
        assert_eq!(named.unwrap().first("x"), Some("y"));
    }

    #[test]
    fn the_content_type_decides_and_what_is_cut_short_is_refused() {
        let urlencoded = "List-Unsubscribe=One-Click";
        let multipart =
            "--x\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--x--\r\n";
        assert_eq!(is_one_click(Some("text/plain"), urlencoded), Err(FormError::Kind));
        assert_eq!(is_one_click(Some("application/json"), urlencoded), Err(FormError::Kind));
        assert_eq!(is_one_click(Some(URL), multipart), Ok(false));
        for kind in ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=\"x"] {
            assert_eq!(is_one_click(Some(kind), multipart), Err(FormError::Malformed), "{kind}");
        }
        let long = |length: usize| {
            is_one_click(
                Some(&format!("multipart/form-data; boundary={}", "x".repeat(length))),
                &format!(
                    "--{0}\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--{0}--",
                    "x".repeat(length)
                ),
            )
        };
        assert_eq!((long(BOUNDARY_MAX), long(BOUNDARY_MAX + 1)), (Ok(true), Err(FormError::Malformed)));
        for cut in 0..multipart.len() - "--\r\n".len() {
            let read = is_one_click(Some("multipart/form-data; boundary=x"), &multipart[..cut]);
            assert_eq!(read, Err(FormError::Malformed), "{cut}");
        }
    }

    #[test]
    fn fields_are_counted_at_and_past_the_limit() {
        let body = |count: usize| Form::read(None, "a=b&".repeat(count).as_bytes());
        assert_eq!(body(FIELDS_MAX).unwrap().all("a").count(), FIELDS_MAX);
        assert_eq!(body(FIELDS_MAX + 1), Err(FormError::TooMany));
    }

    #[test]
    fn escapes_are_read_and_half_ones_stand_for_themselves() {
        let form = Form::read(None, b"a=%3Cb%3E+c&d=%4&e=%zz&f=%ff").unwrap();
        let values: Vec<_> = ["a", "d", "e", "f"].map(|name| form.first(name).unwrap()).into();
        assert_eq!(values, ["<b> c", "%4", "%zz", "\u{fffd}"]);
    }

    proptest::proptest! {
        #[test]
        fn no_body_breaks_it(body in proptest::collection::vec(proptest::num::u8::ANY, 0..300), kind in "multipart/form-data; ?boundary=\"?x?\"?") {
            let _answered = (Form::read(Some(&kind), &body), Form::read(None, &body));
        }
    }
}
