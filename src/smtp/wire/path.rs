//! Paths: RFC 5321 sections 4.1.2 and 4.1.1.3, appendix C (source routes).

use crate::mail::{AddressError, Domain, Mailbox, ReversePath};

/// Whom a RCPT names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardPath {
    /// `<postmaster>` without a domain, in any case: RFC 5321 section 4.5.1.
    Postmaster,
    /// A mailbox; a source route before it has been dropped (appendix C).
    Mailbox(Mailbox),
}

/// Reads a reverse path off the front of `text`; also returns what follows the closing bracket.
///
/// # Errors
/// [`AddressError`] for anything that is not `<>`, `<mailbox>` or `<@route:mailbox>`.
pub fn reverse_path(text: &str) -> Result<(ReversePath, &str), AddressError> {
    let (inner, rest) = bracketed(text)?;
    if inner.is_empty() {
        return Ok((ReversePath::Null, rest));
    }
    Ok((ReversePath::Mailbox(mailbox(inner)?), rest))
}

/// Reads a forward path off the front of `text`; also returns what follows the closing bracket.
///
/// # Errors
/// [`AddressError`] for anything that is not `<postmaster>`, `<mailbox>` or `<@route:mailbox>`.
pub fn forward_path(text: &str) -> Result<(ForwardPath, &str), AddressError> {
    let (inner, rest) = bracketed(text)?;
    if inner.eq_ignore_ascii_case("postmaster") {
        return Ok((ForwardPath::Postmaster, rest));
    }
    Ok((ForwardPath::Mailbox(mailbox(inner)?), rest))
}

/// Splits `<inner>rest`. A bracket within a quoted string does not close the path.
fn bracketed(text: &str) -> Result<(&str, &str), AddressError> {
    let after = text.strip_prefix('<').ok_or(AddressError::Shape)?;
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in after.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => {
                let (inner, rest) = after.split_at_checked(at).ok_or(AddressError::Shape)?;
                return Ok((inner, rest.get(1..).unwrap_or_default()));
            }
            _ => {}
        }
    }
    Err(AddressError::Shape)
}

fn mailbox(inner: &str) -> Result<Mailbox, AddressError> {
    if inner.starts_with('@') { Mailbox::parse(last_hop(inner)?) } else { Mailbox::parse(inner) }
}

/// What follows the source route `@one,@two:`, whose domains must be well formed.
fn last_hop(mut rest: &str) -> Result<&str, AddressError> {
    loop {
        let hop = rest.strip_prefix('@').ok_or(AddressError::Shape)?;
        // The colons of an IPv6 literal are within its brackets.
        let literal = if hop.starts_with('[') { hop.find(']').ok_or(AddressError::Domain)? } else { 0 };
        let tail = hop.get(literal..).unwrap_or_default();
        let end = literal + tail.find([',', ':']).ok_or(AddressError::Shape)?;
        let (domain, after) = hop.split_at_checked(end).ok_or(AddressError::Shape)?;
        Domain::parse(domain)?;
        if let Some(mailbox) = after.strip_prefix(':') {
            return Ok(mailbox);
        }
        rest = after.get(1..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(text: &str) -> Result<String, AddressError> {
        forward_path(text).map(|(path, rest)| match path {
            ForwardPath::Postmaster => format!("postmaster|{rest}"),
            ForwardPath::Mailbox(mailbox) => format!("{}|{rest}", mailbox.as_str()),
        })
    }

    #[test]
    fn reads_what_rfc_5321_calls_a_path() {
        for (text, expected) in [
            ("<a@b.example>", "a@b.example|"),
            ("<a@b.example> SIZE=1", "a@b.example| SIZE=1"),
            ("<\"a>b\"@c.example>x", "\"a>b\"@c.example|x"),
            ("<\"a\\\">\"@c.example>", "\"a\\\">\"@c.example|"),
            ("<PostMaster>", "postmaster|"),
            ("<@a.example:u@c.example>", "u@c.example|"),
            ("<@a.example,@[IPv6:::1],@b.example:u@c.example>", "u@c.example|"),
        ] {
            assert_eq!(forward(text).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(reverse_path("<> BODY=7BIT"), Ok((ReversePath::Null, " BODY=7BIT")));
    }

    #[test]
    fn refuses_what_only_looks_like_one() {
        for text in [
            "",
            "a@b.example",
            "<a@b.example",
            "<>",
            "< a@b.example>",
            "<a@b.example >",
            "<<a@b.example>>",
            "<postmaster@>",
            "<user>",
            "<@a.example>",
            "<@a.example,b.example:u@c.example>",
            "<@a.example:>",
            "<@a b:u@c.example>",
            "<@[192.0.2.1:u@c.example>",
            "<\"a@b.example>",
            "<a@b.example(comment)>",
        ] {
            assert!(forward(text).is_err(), "{text} was accepted");
        }
        assert!(reverse_path("<postmaster>").is_err(), "only RCPT may leave the domain out");
    }
}
