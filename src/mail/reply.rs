//! SMTP replies and enhanced status codes (RFC 5321 section 4.2, RFC 3463).

use std::borrow::Cow;
use std::fmt;

/// A three-digit reply code, 200 to 599 (RFC 5321 section 4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyCode(u16);

impl ReplyCode {
    /// Accepts 200 to 599.
    pub const fn new(code: u16) -> Option<Self> {
        if code >= 200 && code <= 599 { Some(Self(code)) } else { None }
    }

    /// The number.
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// 2yz: done.
    pub const fn is_success(self) -> bool {
        self.0 / 100 == 2
    }

    /// 4yz: not now; the same command may succeed later.
    pub const fn is_transient(self) -> bool {
        self.0 / 100 == 4
    }

    /// 5yz: not ever in this form.
    pub const fn is_permanent(self) -> bool {
        self.0 / 100 == 5
    }
}

/// `class.subject.detail` of RFC 3463. The detail is kept whole: providers use values beyond 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnhancedStatus {
    /// 2, 4 or 5.
    pub class: u8,
    /// 0 to 999.
    pub subject: u16,
    /// 0 to 999.
    pub detail: u16,
}

impl EnhancedStatus {
    /// A status known at compile time.
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        Self { class, subject, detail }
    }

    /// Reads `5.1.1` at the start of `text`; also returns what follows, without the separating blank.
    pub fn parse_prefix(text: &str) -> Option<(Self, &str)> {
        let (status, rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut parts = status.split('.');
        let class = parts.next().filter(|c| matches!(*c, "2" | "4" | "5"))?.parse().ok()?;
        let mut number = || {
            let digits =
                parts.next().filter(|d| (1..=3).contains(&d.len()) && d.bytes().all(|b| b.is_ascii_digit()))?;
            digits.parse::<u16>().ok()
        };
        let (subject, detail) = (number()?, number()?);
        parts.next().is_none().then_some((Self { class, subject, detail }, rest))
    }
}

impl fmt::Display for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// One reply: ours to a client, or an upstream's to us.
///
/// The text holds no line end and no control character; [`Reply::new`] and [`Reply::received`] see to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: ReplyCode,
    enhanced: Option<EnhancedStatus>,
    text: Cow<'static, str>,
}

impl Reply {
    /// The longest text that is kept of a reply, in octets; more is cut. RFC 5321 section 4.5.3.1.5 allows lines of 512.
    pub const TEXT_MAX: usize = 1024;

    /// A reply of our own. A code outside 200..=599 becomes 451: a fault of ours must not look like success.
    pub fn new(code: u16, enhanced: EnhancedStatus, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code: ReplyCode::new(code).unwrap_or(ReplyCode(451)),
            enhanced: Some(enhanced),
            text: clean(text.into()),
        }
    }

    /// A reply without an enhanced status code: the greeting, EHLO, 334, 354.
    pub fn plain(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code: ReplyCode::new(code).unwrap_or(ReplyCode(451)), enhanced: None, text: clean(text.into()) }
    }

    /// What an upstream said, with its lines joined by blanks.
    pub fn received(code: ReplyCode, text: &str) -> Self {
        let (enhanced, rest) = match EnhancedStatus::parse_prefix(text) {
            Some((status, rest)) => (Some(status), rest),
            None => (None, text),
        };
        Self { code, enhanced, text: clean(Cow::Owned(rest.to_owned())) }
    }

    /// The reply code.
    pub const fn code(&self) -> ReplyCode {
        self.code
    }

    /// The enhanced status code, when there is one.
    pub const fn enhanced(&self) -> Option<EnhancedStatus> {
        self.enhanced
    }

    /// The text behind the codes.
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn clean(text: Cow<'static, str>) -> Cow<'static, str> {
    if text.len() <= Reply::TEXT_MAX && !text.chars().any(char::is_control) {
        return text;
    }
    let mut kept = String::with_capacity(text.len().min(Reply::TEXT_MAX));
    for c in text.chars() {
        if kept.len() + c.len_utf8() > Reply::TEXT_MAX {
            break;
        }
        kept.push(if c.is_control() { '?' } else { c });
    }
    Cow::Owned(kept)
}

/// One line as it goes over the wire, without the final CRLF.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code.0)?;
        if let Some(status) = self.enhanced {
            write!(f, " {status}")?;
        }
        if self.text.is_empty() { Ok(()) } else { write!(f, " {}", self.text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enhanced_codes_beyond_a_byte_survive() {
        let reply = Reply::received(ReplyCode::new(550).unwrap(), "5.7.515 Access denied");
        assert_eq!(reply.enhanced(), Some(EnhancedStatus::new(5, 7, 515)));
        assert_eq!(reply.to_string(), "550 5.7.515 Access denied");
    }

    #[test]
    fn what_only_looks_like_a_status_is_text() {
        for text in ["5.7 no", "3.1.1 no", "5.1.1.1 no", "5.1.1000 no", "5.. no", "5.1.x no"] {
            assert_eq!(EnhancedStatus::parse_prefix(text), None, "{text}");
        }
    }

    #[test]
    fn a_reply_is_one_line_of_bounded_length() {
        let reply = Reply::new(550, EnhancedStatus::new(5, 7, 1), format!("a\r\nb\x1b{}", "x".repeat(5000)));
        assert!(reply.text().starts_with("a??b?x"));
        assert_eq!(reply.text().len(), Reply::TEXT_MAX);
    }

    #[test]
    fn a_code_that_is_none_never_becomes_success() {
        assert!(Reply::plain(99, "x").code().is_transient());
    }
}
