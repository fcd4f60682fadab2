//! Who the message says it is from: the domain of the one mailbox in From.

use mail_parser::parsers::MessageStream;
use mail_parser::{Address, HeaderValue};

use crate::mail::{Domain, Mailbox};

use super::section::HeaderSection;

/// Why no author domain could be read. Always the client's fault, and the same message will fail again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorError {
    /// No From field.
    #[error("no From; expected exactly one")]
    Missing,
    /// More than one mailbox, or a group (RFC 6854): there is no single author whose domain could be checked.
    #[error("From: expected exactly one mailbox, found a list or a group")]
    Several,
    /// Not `name <local@domain>` nor `local@domain`.
    #[error("From: expected `Name <local@domain>` or `local@domain`; put names with special characters in quotes")]
    Syntax,
    /// An encoded word inside the address itself (RFC 2047 section 5 forbids it).
    #[error("From: expected the address without encoded words")]
    Encoded,
    /// Two readers see two addresses; which one a person would see cannot be known.
    #[error("From: expected an address that every reader understands alike")]
    Ambiguous,
}

/// The domain of the one mailbox in From, as RFC 5322 section 3.6.2 writes it and Gmail asks for it.
///
/// The field is read twice, by the strict grammar here and by a lenient reader of the kind that mail programs use.
/// Where the two do not find the same domain the message is refused: a wrong domain would be worse than none.
///
/// # Errors
/// [`AuthorError`] with what was expected.
pub fn author_domain(section: &HeaderSection) -> Result<Domain, AuthorError> {
    let field = section.fields("From").next().ok_or(AuthorError::Missing)?;
    let value = field.unfolded();
    let address = address_of(&value)?;
    let address = std::str::from_utf8(address.trim_ascii()).map_err(|_| AuthorError::Syntax)?;
    if address.contains("=?") {
        return Err(AuthorError::Encoded);
    }
    let domain = Mailbox::parse(address).map_err(|_| AuthorError::Syntax)?.domain().clone();
    if lenient_domain(&value).as_ref() == Some(&domain) { Ok(domain) } else { Err(AuthorError::Ambiguous) }
}

/// The text of the addr-spec in a field that holds one mailbox.
fn address_of(value: &[u8]) -> Result<&[u8], AuthorError> {
    let mut scan = Scan { value, at: 0 };
    // Without angle brackets the address is what stands outside of comments, and must be in one piece.
    let mut bare: Option<(usize, usize)> = None;
    while let Some((start, token)) = scan.next_token()? {
        match token {
            Token::Comment => {}
            Token::Special(b'<') => {
                // A bare `@` before the bracket is an address to some readers and a name to others.
                let name = value.get(..start).unwrap_or_default();
                if bare.is_some() && has_unquoted_at(name)? {
                    return Err(AuthorError::Ambiguous);
                }
                return bracketed(&mut scan);
            }
            Token::Special(b',' | b';' | b':') => return Err(AuthorError::Several),
            Token::Special(b'>' | b'[' | b']' | b'\\') if !is_literal(value, start) => return Err(AuthorError::Syntax),
            Token::Special(_) | Token::Word => {
                bare = Some(bare.map_or((start, scan.at), |(first, _)| (first, scan.at)));
            }
        }
    }
    let (first, last) = bare.ok_or(AuthorError::Syntax)?;
    value.get(first..last).ok_or(AuthorError::Syntax)
}

/// Whether a bracket belongs to a domain literal in a bare address; the address grammar checks the rest.
fn is_literal(value: &[u8], at: usize) -> bool {
    let before = value.get(..at).unwrap_or_default();
    match value.get(at) {
        Some(b'[') => before.ends_with(b"@"),
        Some(b']') => before.contains(&b'['),
        _ => false,
    }
}

/// The text up to `>`; only comments and white space may follow.
fn bracketed<'a>(scan: &mut Scan<'a>) -> Result<&'a [u8], AuthorError> {
    let start = scan.at;
    let end = loop {
        match scan.next_token()? {
            Some((at, Token::Special(b'>'))) => break at,
            Some((_, Token::Special(b'<') | Token::Comment)) | None => return Err(AuthorError::Syntax),
            Some(_) => {}
        }
    };
    while let Some((_, token)) = scan.next_token()? {
        match token {
            Token::Comment => {}
            Token::Special(b',' | b';') => return Err(AuthorError::Several),
            Token::Special(_) | Token::Word => return Err(AuthorError::Syntax),
        }
    }
    scan.value.get(start..end).ok_or(AuthorError::Syntax)
}

fn has_unquoted_at(name: &[u8]) -> Result<bool, AuthorError> {
    let mut scan = Scan { value: name, at: 0 };
    while let Some((_, token)) = scan.next_token()? {
        if matches!(token, Token::Special(b'@')) {
            return Ok(true);
        }
    }
    Ok(false)
}

enum Token {
    Word,
    Comment,
    Special(u8),
}

/// Walks over the tokens of RFC 5322 section 3.2: white space, comments, quoted strings, atoms, specials.
struct Scan<'a> {
    value: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn next_token(&mut self) -> Result<Option<(usize, Token)>, AuthorError> {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
        let start = self.at;
        let Some(first) = self.peek() else { return Ok(None) };
        self.at += 1;
        let token = match first {
            b'"' => self.quoted()?,
            b'(' => self.comment()?,
            b'<' | b'>' | b'@' | b',' | b';' | b':' | b'[' | b']' | b'\\' | b'.' => Token::Special(first),
            b')' | ..b' ' | 0x7f => return Err(AuthorError::Syntax),
            b' '..=b'~' | 0x80.. => {
                while self.peek().is_some_and(|b| !b" \t\"(),:;<>@[\\].".contains(&b)) {
                    self.at += 1;
                }
                Token::Word
            }
        };
        Ok(Some((start, token)))
    }

    fn peek(&self) -> Option<u8> {
        self.value.get(self.at).copied()
    }

    fn quoted(&mut self) -> Result<Token, AuthorError> {
        loop {
            let b = self.peek().ok_or(AuthorError::Syntax)?;
            self.at += 1;
            match b {
                b'"' => return Ok(Token::Word),
                b'\\' => self.at += 1,
                _ => {}
            }
        }
    }

    fn comment(&mut self) -> Result<Token, AuthorError> {
        let mut depth = 1_usize;
        while depth > 0 {
            let b = self.peek().ok_or(AuthorError::Syntax)?;
            self.at += 1;
            match b {
                b'(' => depth += 1,
                b')' => depth -= 1,
                b'\\' => self.at += 1,
                _ => {}
            }
        }
        Ok(Token::Comment)
    }
}

/// The domain of the one address that a lenient reader finds.
fn lenient_domain(value: &[u8]) -> Option<Domain> {
    let mut line = value.to_vec();
    line.extend_from_slice(b"\r\n");
    let HeaderValue::Address(Address::List(list)) = MessageStream::new(&line).parse_address() else { return None };
    let [only] = list.as_slice() else { return None };
    let (_, domain) = only.address.as_deref()?.rsplit_once('@')?;
    Domain::parse(domain).ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn read(value: &str) -> Result<String, AuthorError> {
        let raw = Bytes::from(format!("From:{value}\r\n\r\n"));
        author_domain(&HeaderSection::parse(raw).unwrap()).map(|domain| domain.as_str().to_owned())
    }

    #[test]
    fn the_domain_of_the_address_is_read() {
        for good in [
            " a@b.example",
            "<a@b.example>",
            " Acme <a@B.Example>",
            " Acme Inc. <a@b.example>",
            " \"x@evil.example\" <a@b.example>",
            " \"Acme, Inc.\" <a@b.example>",
            " \"q\\\"<x@evil.example>\" <a@b.example>",
            " =?utf-8?Q?=C3=A9t=C3=A9?= <a@b.example>",
            " été <a@b.example>",
            " Acme\r\n <a@b.example>",
            " Acme <a@b.example> (news (weekly))",
            " a@b.example (Acme)",
            " <\"a b\"@b.example>",
        ] {
            assert_eq!(read(good).as_deref(), Ok("b.example"), "{good}");
        }
        assert_eq!(read(" x <a@bücher.example>").as_deref(), Ok("xn--bcher-kva.example"));
    }

    #[test]
    fn everything_else_is_refused_and_never_guessed() {
        use AuthorError::{Ambiguous, Encoded, Several, Syntax};
        for (bad, expected) in [
            ("", Syntax),
            (" Acme", Syntax),
            (" a@b.example, c@d.example", Several),
            (" Acme, Inc. <a@b.example>", Several),
            (" <a@b.example>, <c@d.example>", Several),
            (" Group: a@b.example;", Several),
            (" undisclosed-recipients:;", Several),
            (" <a@b.example> <c@d.example>", Syntax),
            (" <a@b.example> c@d.example", Syntax),
            (" <@x.example:a@b.example>", Syntax),
            (" <a@b.example", Syntax),
            (" a@b.example>", Syntax),
            (" \"a@b.example", Syntax),
            (" (a@b.example", Syntax),
            (" <a@b.example(c)>", Syntax),
            (" <a @ b.example>", Syntax),
            (" <<a@b.example>>", Syntax),
            (" a@evil.example <a@b.example>", Ambiguous),
            (" <\"a> <x@evil.example>\"@b.example>", Ambiguous),
            (" <\"(\"@b.example>", Ambiguous),
            (" <=?utf-8?Q?a=40evil.example=3E?=@b.example>", Encoded),
            (" =?utf-8?Q?a=40b.example?=", Encoded),
            (" =?utf-8?Q?=3Ca=40b.example=3E?=", Encoded),
            (" a@b.example\u{1}", Syntax),
        ] {
            assert_eq!(read(bad), Err(expected), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered_and_an_answer_is_what_a_lenient_reader_sees(value in "[ a-c@<>,;:.\"()\\\\\\[\\]=?é]{0,40}") {
            if let Ok(domain) = read(&value) {
                let lenient = lenient_domain(value.trim().as_bytes());
                prop_assert_eq!(lenient.map(|d| d.as_str().to_owned()), Some(domain));
            }
        }
    }
}
