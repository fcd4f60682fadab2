//! Mailboxes and domains: RFC 5321 section 4.1.2, RFC 6531 section 3.3, UTS 46.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// RFC 5321 section 4.5.3.1.1.
pub const LOCAL_PART_MAX: usize = 64;
/// RFC 5321 section 4.5.3.1.2.
pub const DOMAIN_MAX: usize = 255;
/// RFC 5321 section 4.5.3.1.3: a path is at most 256 octets with its angle brackets.
pub const MAILBOX_MAX: usize = 254;
/// RFC 1035 section 2.3.4.
const LABEL_MAX: usize = 63;

/// Why an address was not accepted; each names the part and what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing before the `@`, or no `@`.
    #[error("expected local-part@domain")]
    Shape,
    /// A character that the local part may not hold unquoted, or an unfinished quoted string.
    #[error("local part: expected letters, digits and !#$%&'*+-/=?^_`{{|}}~ between single dots, or a quoted string")]
    LocalPart,
    /// Longer than RFC 5321 allows.
    #[error("too long: local part at most 64 octets, domain at most 255, together at most 254")]
    Length,
    /// Not a host name, not an address literal.
    #[error("domain: expected a name such as example.org or a literal such as [192.0.2.1]")]
    Domain,
}

/// A domain as it is compared: A-labels in lower case, or an address literal in brackets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(Arc<str>);

impl Domain {
    /// Parses a host name (U-labels are turned into A-labels) or an address literal.
    ///
    /// # Errors
    /// [`AddressError::Domain`] or [`AddressError::Length`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if let Some(literal) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            return address_literal(literal).map(|text| Self(Arc::from(text)));
        }
        let ascii = if text.is_ascii() && !text.split('.').any(has_prefix_xn) {
            text.to_ascii_lowercase()
        } else {
            idna::domain_to_ascii_strict(text).map_err(|_| AddressError::Domain)?
        };
        let labels_fit = ascii.split('.').all(|label| {
            (1..=LABEL_MAX).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
        let all_numeric = ascii.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        if !labels_fit || all_numeric {
            return Err(AddressError::Domain);
        }
        if ascii.len() > DOMAIN_MAX { Err(AddressError::Length) } else { Ok(Self(Arc::from(ascii))) }
    }

    /// The comparable form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is an address literal (RFC 5321 section 4.1.3) and no name.
    pub fn is_literal(&self) -> bool {
        self.0.starts_with('[')
    }

    /// Whether this is `other` or one of its subdomains.
    pub fn is_within(&self, other: &Self) -> bool {
        self == other || self.0.strip_suffix(&*other.0).is_some_and(|rest| rest.ends_with('.'))
    }
}

fn has_prefix_xn(label: &str) -> bool {
    label.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("xn--"))
}

fn address_literal(text: &str) -> Result<String, AddressError> {
    let v6 = text.get(..5).filter(|tag| tag.eq_ignore_ascii_case("IPv6:")).and_then(|_| text.get(5..));
    let address = match v6 {
        Some(rest) => rest.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| AddressError::Domain)?,
        None => text.parse::<std::net::Ipv4Addr>().map(IpAddr::V4).map_err(|_| AddressError::Domain)?,
    };
    Ok(match address {
        IpAddr::V4(v4) => format!("[{v4}]"),
        IpAddr::V6(v6) => format!("[IPv6:{v6}]"),
    })
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A mailbox: kept as it was written (the wire preserves case, RFC 5321 section 2.4), comparable by its parts.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Mailbox {
    text: Arc<str>,
    at: usize,
    domain: Domain,
}

impl Mailbox {
    /// Parses `local-part@domain` without angle brackets, comments or white space.
    ///
    /// # Errors
    /// [`AddressError`] naming the part that does not fit.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let at = local_part_end(text)?;
        let (local, rest) = text.split_at_checked(at).ok_or(AddressError::Shape)?;
        let domain_text = rest.strip_prefix('@').ok_or(AddressError::Shape)?;
        if local.len() > LOCAL_PART_MAX || text.len() > MAILBOX_MAX {
            return Err(AddressError::Length);
        }
        let domain = Domain::parse(domain_text)?;
        Ok(Self { text: Arc::from(text), at, domain })
    }

    /// The mailbox as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The local part as it was written, with its quotes if it had any.
    pub fn local_part(&self) -> &str {
        self.text.get(..self.at).unwrap_or_default()
    }

    /// The local part without quotes and backslashes: what it means (RFC 5321 section 4.1.2).
    pub fn unquoted_local_part(&self) -> String {
        match self.local_part().strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
            None => self.local_part().to_owned(),
            Some(inner) => {
                let mut out = String::with_capacity(inner.len());
                let mut chars = inner.chars();
                while let Some(c) = chars.next() {
                    out.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
                }
                out
            }
        }
    }

    /// The domain in comparable form.
    pub const fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The domain as it was written.
    pub fn domain_as_written(&self) -> &str {
        self.text.get(self.at + 1..).unwrap_or_default()
    }

    /// Whether the written form needs SMTPUTF8 (RFC 6531).
    pub fn needs_smtputf8(&self) -> bool {
        !self.text.is_ascii()
    }

    /// Whether the local part tries to route further: `%`, `!`, or an `@` inside quotes. A relay that honoured
    /// such a path would deliver past the suppression list (RFC 5321 appendix F.2 discourages them).
    pub fn routes_further(&self) -> bool {
        self.local_part().contains(['%', '!', '@'])
    }
}

/// Shows the domain only: a mailbox in a debug line would be personal data in a log.
impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "…@{}", self.domain)
    }
}

fn local_part_end(text: &str) -> Result<usize, AddressError> {
    if text.starts_with('"') {
        return quoted_end(text);
    }
    let at = text.find('@').ok_or(AddressError::Shape)?;
    let local = text.get(..at).unwrap_or_default();
    if local.is_empty() {
        return Err(AddressError::Shape);
    }
    let well_formed = local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext));
    if well_formed { Ok(at) } else { Err(AddressError::LocalPart) }
}

fn quoted_end(text: &str) -> Result<usize, AddressError> {
    let mut chars = text.char_indices().skip(1);
    while let Some((index, c)) = chars.next() {
        match c {
            '"' if index == 1 => return Err(AddressError::LocalPart),
            '"' => return Ok(index + 1),
            '\\' => {
                chars.next().filter(|(_, c)| matches!(c, ' '..='~')).ok_or(AddressError::LocalPart)?;
            }
            c if c.is_control() => return Err(AddressError::LocalPart),
            _ => {}
        }
    }
    Err(AddressError::LocalPart)
}

/// RFC 5322 section 3.2.3 atext, widened by RFC 6531 section 3.3 to characters beyond ASCII.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(
            c,
            '!' | '#'
                | '$'
                | '%'
                | '&'
                | '\''
                | '*'
                | '+'
                | '-'
                | '/'
                | '='
                | '?'
                | '^'
                | '_'
                | '`'
                | '{'
                | '|'
                | '}'
                | '~'
        )
        || (!c.is_ascii() && !c.is_control() && !c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_rfc_5321_accepts() {
        for good in [
            "a@b.example",
            "A.b+c@EXAMPLE.com",
            "\"a b\"@x.example",
            "\"a\\\"b\"@x.example",
            "x@[192.0.2.1]",
            "x@[IPv6:::1]",
            "é@bücher.example",
        ] {
            assert!(Mailbox::parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn refuses_the_rest_by_name() {
        let cases = [
            ("", AddressError::Shape),
            ("a", AddressError::Shape),
            ("@b.example", AddressError::Shape),
            ("a..b@c.example", AddressError::LocalPart),
            (".a@c.example", AddressError::LocalPart),
            ("a b@c.example", AddressError::LocalPart),
            ("\"a@c.example", AddressError::LocalPart),
            ("\"\"@c.example", AddressError::LocalPart),
            ("a\u{1}@c.example", AddressError::LocalPart),
            ("a@b..c", AddressError::Domain),
            ("a@b.example.", AddressError::Domain),
            ("a@-b.example", AddressError::Domain),
            ("a@1.2.3.4", AddressError::Domain),
            ("a@[1.2.3]", AddressError::Domain),
            ("a@b.example:25", AddressError::Domain),
            ("a@b@c.example", AddressError::Domain),
            ("a@xn---", AddressError::Domain),
            ("a@b example", AddressError::Domain),
            ("\"a\"b@c.example", AddressError::Shape),
        ];
        for (text, expected) in cases {
            assert_eq!(Mailbox::parse(text), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn lengths_are_checked_at_and_past_the_limit() {
        let local = "l".repeat(LOCAL_PART_MAX);
        assert!(Mailbox::parse(&format!("{local}@x.example")).is_ok());
        assert_eq!(Mailbox::parse(&format!("{local}l@x.example")), Err(AddressError::Length));
        let label = "d".repeat(63);
        let domain = format!("{label}.{label}.{label}.{}", "e".repeat(60));
        assert_eq!(format!("l@{domain}").len(), MAILBOX_MAX);
        assert!(Mailbox::parse(&format!("l@{domain}")).is_ok());
        assert_eq!(Mailbox::parse(&format!("lm@{domain}")), Err(AddressError::Length));
        assert_eq!(Mailbox::parse(&format!("l@{}.example", "d".repeat(64))), Err(AddressError::Domain));
    }

    #[test]
    fn domains_compare_by_their_a_labels_in_lower_case() {
        assert_eq!(Domain::parse("BÜCHER.example"), Domain::parse("xn--bcher-kva.EXAMPLE"));
        assert!(Domain::parse("a.b.example").unwrap().is_within(&Domain::parse("b.example").unwrap()));
        assert!(Domain::parse("[IPv6:::1]").unwrap().is_literal() && !Domain::parse("b.example").unwrap().is_literal());
        assert!(!Domain::parse("ab.example").unwrap().is_within(&Domain::parse("b.example").unwrap()));
    }

    #[test]
    fn meaning_is_free_of_quotes_and_the_debug_form_of_the_person() {
        let quoted = Mailbox::parse("\"vic\\tim\"@x.example").unwrap();
        assert_eq!(quoted.unquoted_local_part(), "victim");
        assert_eq!(format!("{quoted:?}"), "…@x.example");
        for hack in ["a%b@c.example", "b!a@c.example", "\"a@b\"@c.example"] {
            assert!(Mailbox::parse(hack).unwrap().routes_further(), "{hack}");
        }
    }
}
