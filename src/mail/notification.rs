//! What a sender wants to be told about: the DSN extension of RFC 3461, with RFC 6533 for addresses beyond ASCII.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use super::xtext;

/// Characters of ENVID, as it is sent: RFC 3461 section 4.4.
pub const ENVELOPE_ID_MAX: usize = 100;
/// Characters of ORCPT, as it is sent: RFC 3461 section 4.2.
pub const ORIGINAL_RECIPIENT_MAX: usize = 500;

/// A value of the DSN extension that is none; each says what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotificationError {
    /// NOTIFY.
    #[error("NOTIFY= takes NEVER, or some of SUCCESS, FAILURE and DELAY with commas between")]
    Notify,
    /// RET.
    #[error("RET= takes FULL or HDRS")]
    Ret,
    /// ENVID.
    #[error("ENVID= takes at most 100 characters of xtext that stand for printable ASCII")]
    EnvelopeId,
    /// ORCPT.
    #[error("ORCPT= takes an address type, a semicolon and xtext without control characters, together at most 500")]
    OriginalRecipient,
}

/// When a report about a recipient is wanted: RFC 3461 section 4.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Notify {
    /// Nothing was said, which asks for failures.
    #[default]
    Unsaid,
    /// Under no circumstances.
    Never,
    /// On these.
    On(Occasions),
}

/// What a report may be wanted for; at least one of the three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Occasions {
    /// It was delivered.
    pub success: bool,
    /// It failed for good.
    pub failure: bool,
    /// It is late. RFC 3461 section 4.1 leaves it to us whether to report that: an operator says so.
    pub delay: bool,
}

impl Notify {
    /// Reads the value of NOTIFY, in any case.
    ///
    /// # Errors
    /// [`NotificationError::Notify`], also for NEVER beside others.
    pub fn parse(value: &str) -> Result<Self, NotificationError> {
        if value.eq_ignore_ascii_case("NEVER") {
            return Ok(Self::Never);
        }
        let mut occasions = Occasions::default();
        for word in value.split(',') {
            let is = |name: &str| word.eq_ignore_ascii_case(name);
            if is("SUCCESS") {
                occasions.success = true;
            } else if is("FAILURE") {
                occasions.failure = true;
            } else if is("DELAY") {
                occasions.delay = true;
            } else {
                return Err(NotificationError::Notify);
            }
        }
        Ok(Self::On(occasions))
    }

    /// The value for a RCPT command; `None` when there is nothing to say.
    pub fn value(self) -> Option<String> {
        match self {
            Self::Unsaid => None,
            Self::Never => Some("NEVER".to_owned()),
            Self::On(Occasions { success, failure, delay }) => {
                let words = [(success, "SUCCESS"), (failure, "FAILURE"), (delay, "DELAY")];
                let wanted: Vec<_> =
                    words.into_iter().filter(|(is_wanted, _)| *is_wanted).map(|(_, word)| word).collect();
                Some(wanted.join(","))
            }
        }
    }

    /// Whether a failure is to be reported.
    pub const fn wants_failure(self) -> bool {
        match self {
            Self::Unsaid => true,
            Self::Never => false,
            Self::On(occasions) => occasions.failure,
        }
    }

    /// Whether a delay may be reported: who says nothing leaves it to us (RFC 3461 section 4.1).
    pub const fn wants_delay(self) -> bool {
        match self {
            Self::Unsaid => true,
            Self::Never => false,
            Self::On(occasions) => occasions.delay,
        }
    }

    /// Whether a success is to be reported.
    pub const fn wants_success(self) -> bool {
        match self {
            Self::Unsaid | Self::Never => false,
            Self::On(occasions) => occasions.success,
        }
    }
}

/// What a report of failure gives back: RFC 3461 section 4.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// The whole message.
    Full,
    /// Its header section.
    Headers,
}

impl Ret {
    /// Reads the value of RET, in any case.
    ///
    /// # Errors
    /// [`NotificationError::Ret`].
    pub fn parse(value: &str) -> Result<Self, NotificationError> {
        if value.eq_ignore_ascii_case("FULL") {
            Ok(Self::Full)
        } else if value.eq_ignore_ascii_case("HDRS") {
            Ok(Self::Headers)
        } else {
            Err(NotificationError::Ret)
        }
    }

    /// The value for a MAIL command.
    pub const fn value(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Headers => "HDRS",
        }
    }
}

/// The sender's own name for a transaction: RFC 3461 section 4.4. Printable ASCII, never empty.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EnvelopeId(Arc<str>);

impl EnvelopeId {
    /// Reads the value of ENVID.
    ///
    /// # Errors
    /// [`NotificationError::EnvelopeId`].
    pub fn parse(value: &str) -> Result<Self, NotificationError> {
        let octets = xtext::decode(value).ok_or(NotificationError::EnvelopeId)?;
        Self::new(std::str::from_utf8(&octets).map_err(|_| NotificationError::EnvelopeId)?)
    }

    /// Takes what ENVID means.
    ///
    /// # Errors
    /// [`NotificationError::EnvelopeId`] when ENVID cannot mean it.
    pub fn new(text: &str) -> Result<Self, NotificationError> {
        let is_printable = text.bytes().all(|b| matches!(b, b' '..=b'~'));
        if is_printable && (1..=ENVELOPE_ID_MAX).contains(&xtext::encode(text).len()) {
            Ok(Self(Arc::from(text)))
        } else {
            Err(NotificationError::EnvelopeId)
        }
    }

    /// What it means, without xtext.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value for a MAIL command.
    pub fn value(&self) -> String {
        xtext::encode(&self.0)
    }
}

impl fmt::Debug for EnvelopeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The address that a recipient had in the first place: RFC 3461 section 4.2, RFC 6533 section 3. It is data for the
/// sender; nothing is ever sent to it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct OriginalRecipient {
    kind: Arc<str>,
    address: Arc<str>,
}

impl OriginalRecipient {
    /// Reads the value of ORCPT.
    ///
    /// # Errors
    /// [`NotificationError::OriginalRecipient`].
    pub fn parse(value: &str) -> Result<Self, NotificationError> {
        let (kind, address) = value.split_once(';').ok_or(NotificationError::OriginalRecipient)?;
        let octets = xtext::decode(address).ok_or(NotificationError::OriginalRecipient)?;
        Self::new(kind, std::str::from_utf8(&octets).map_err(|_| NotificationError::OriginalRecipient)?)
    }

    /// Takes type and address, the address without xtext. Beyond ASCII it may go under the type `utf-8` only.
    ///
    /// # Errors
    /// [`NotificationError::OriginalRecipient`] when ORCPT cannot mean them.
    pub fn new(kind: &str, address: &str) -> Result<Self, NotificationError> {
        let kind_fits = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let address_fits = if kind.eq_ignore_ascii_case("utf-8") {
            !address.chars().any(char::is_control)
        } else {
            address.bytes().all(|b| matches!(b, b' '..=b'~'))
        };
        let original = Self { kind: Arc::from(kind), address: Arc::from(address) };
        if kind_fits && address_fits && !address.is_empty() && original.value().len() <= ORIGINAL_RECIPIENT_MAX {
            Ok(original)
        } else {
            Err(NotificationError::OriginalRecipient)
        }
    }

    /// The address type, `rfc822` or `utf-8` as a rule.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The address, without xtext.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The address in ASCII: RFC 6533 section 3 writes what lies beyond as `\x{E9}`.
    pub fn ascii_address(&self) -> String {
        let mut out = String::with_capacity(self.address.len());
        for c in self.address.chars() {
            if c.is_ascii() {
                out.push(c);
            } else {
                // Writing into memory cannot fail.
                let _written = write!(out, "\\x{{{:X}}}", u32::from(c));
            }
        }
        out
    }

    /// The value for a RCPT command, in ASCII.
    pub fn value(&self) -> String {
        format!("{};{}", self.kind, xtext::encode(&self.ascii_address()))
    }
}

/// Shows the type only: the address is personal data.
impl fmt::Debug for OriginalRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};…", self.kind)
    }
}

/// What MAIL says about reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reporting {
    /// RET.
    pub ret: Option<Ret>,
    /// ENVID.
    pub envelope_id: Option<EnvelopeId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notify_is_never_or_a_list() {
        for (text, value, failure, success, delay) in [
            ("never", "NEVER", false, false, false),
            ("FAILURE", "FAILURE", true, false, false),
            ("delay,Success", "SUCCESS,DELAY", false, true, true),
            ("SUCCESS,FAILURE,DELAY,FAILURE", "SUCCESS,FAILURE,DELAY", true, true, true),
        ] {
            let notify = Notify::parse(text).unwrap();
            assert_eq!(notify.value().as_deref(), Some(value));
            assert_eq!((notify.wants_failure(), notify.wants_success()), (failure, success), "{text}");
            assert_eq!(notify.wants_delay(), delay, "{text}");
        }
        assert_eq!((Notify::Unsaid.value(), Notify::Unsaid.wants_failure()), (None, true));
        for bad in ["", "NEVER,FAILURE", "FAILURE,", "FAILURE, DELAY", "ALWAYS"] {
            assert_eq!(Notify::parse(bad), Err(NotificationError::Notify), "{bad:?}");
        }
    }

    #[test]
    fn an_envelope_id_is_printable_and_at_most_so_long_as_sent() {
        let id = EnvelopeId::parse("a+2Bb+20c").unwrap();
        assert_eq!((id.as_str(), id.value().as_str()), ("a+b c", "a+2Bb+20c"));
        for bad in ["", "x+0A", "x+0D+0ABcc:v@x", "x+00", "x+", "x+2b", "a=b", "a b", "+C3+A9", "é"] {
            assert_eq!(EnvelopeId::parse(bad), Err(NotificationError::EnvelopeId), "{bad:?}");
        }
        let longest = "x".repeat(ENVELOPE_ID_MAX);
        assert!(EnvelopeId::parse(&longest).is_ok());
        assert!(EnvelopeId::parse(&format!("{longest}x")).is_err());
        assert!(EnvelopeId::parse(&"+2B".repeat(33)).is_ok());
        assert!(EnvelopeId::parse(&"+2B".repeat(34)).is_err(), "it would not fit when it is passed on");
    }

    #[test]
    fn an_original_recipient_has_a_type_and_cannot_hold_a_line_end() {
        for (text, address, value) in [
            ("rfc822;a+2Bb@x.example", "a+b@x.example", "rfc822;a+2Bb@x.example"),
            ("RFC822;a+20b", "a b", "RFC822;a+20b"),
            ("x400;/c=us/", "", ""),
            ("utf-8;\\x+7BE9+7D@x.example", "\\x{E9}@x.example", "utf-8;\\x{E9}@x.example"),
            ("utf-8;é@x.example", "é@x.example", "utf-8;\\x{E9}@x.example"),
            ("utf-8;+C3+A9@x.example", "é@x.example", "utf-8;\\x{E9}@x.example"),
        ] {
            let original = OriginalRecipient::parse(text);
            if value.is_empty() {
                assert!(original.is_err(), "{text}: `=` is not xtext");
                continue;
            }
            let original = original.unwrap();
            assert_eq!((original.address(), original.value().as_str()), (address, value));
        }
        for bad in [
            "",
            "a@x.example",
            ";a@x.example",
            "rfc822;",
            "rfc822;a+0D+0ABcc:v@x",
            "rfc822;a+00",
            "rfc822;é",
            "rfc822;+C3+A9",
            "utf-8;+C2+85",
            "utf-8;+FF",
            "r f;a",
            "rfc822;a+0a",
        ] {
            assert_eq!(OriginalRecipient::parse(bad), Err(NotificationError::OriginalRecipient), "{bad:?}");
        }
        let longest = format!("rfc822;{}", "x".repeat(ORIGINAL_RECIPIENT_MAX - 7));
        assert!(OriginalRecipient::parse(&longest).is_ok());
        assert!(OriginalRecipient::parse(&format!("{longest}x")).is_err());
    }

    #[test]
    fn ret_is_one_of_two() {
        assert_eq!(Ret::parse("full").map(Ret::value), Ok("FULL"));
        assert_eq!(Ret::parse("HDRS").map(Ret::value), Ok("HDRS"));
        assert_eq!(Ret::parse("X"), Err(NotificationError::Ret));
    }
}
