//! What the header section shows: the author's name, the subject, whether it pretends to be an answer.

use mail_parser::parsers::MessageStream;
use mail_parser::{Address, HeaderValue};

use crate::message::{Field, HeaderSection};

use super::parts::VALUE_MAX;
use super::shown::is_unseen;

/// What mail programs put before the subject of an answer or a forward, in lower case.
const PREFIXES: [&str; 30] = [
    "re", "fw", "fwd", // English and most others
    "aw", "antw", "wg",     // German, Dutch
    "doorst", // Dutch
    "tr", "réf", "rép", // French
    "rif", "r", "i", // Italian
    "rv", "reenv", // Spanish
    "res", "enc", // Portuguese
    "sv", "vs", "vb", "vl", // Nordic
    "odp", "pd", // Polish
    "ynt", "ilt", // Turkish
    "回复", "回覆", "答复", "转发", "返信", // Chinese, Japanese
];

/// The decoded text of the first field of the name (RFC 2047), as far as it is read.
pub(super) fn unstructured(section: &HeaderSection, name: &str) -> Option<String> {
    let value = line(&section.fields(name).next()?);
    match MessageStream::new(&value).parse_unstructured() {
        HeaderValue::Text(text) => Some(text.into_owned()),
        HeaderValue::TextList(texts) => Some(texts.join(" ")),
        HeaderValue::Address(_)
        | HeaderValue::DateTime(_)
        | HeaderValue::ContentType(_)
        | HeaderValue::Received(_)
        | HeaderValue::Empty => Some(String::new()),
    }
}

/// The decoded name before the address in From.
pub(super) fn author_name(section: &HeaderSection) -> Option<String> {
    let value = line(&section.fields("From").next()?);
    let HeaderValue::Address(Address::List(list)) = MessageStream::new(&value).parse_address() else { return None };
    list.into_iter().next()?.name.map(std::borrow::Cow::into_owned)
}

/// A value on one line as mail-parser reads it; what is beyond [`VALUE_MAX`] is not looked at.
fn line(field: &Field<'_>) -> Vec<u8> {
    let value = field.unfolded();
    let mut line = value.get(..VALUE_MAX).unwrap_or(&value).to_vec();
    line.extend_from_slice(b"\r\n");
    line
}

/// Whether anything in a text can be seen.
pub(super) fn is_seen(text: &str) -> bool {
    text.chars().any(|c| !c.is_whitespace() && !c.is_control() && !is_unseen(c))
}

/// Whether a subject starts like an answer or a forward: `Re:`, `RE[2] :`, `Fwd：`.
pub(super) fn pretends(subject: &str) -> bool {
    let seen = |c: char| !is_unseen(c);
    let mut chars = subject.trim_start_matches(|c: char| c.is_whitespace() || c.is_control() || !seen(c)).chars();
    let mut word = String::new();
    for c in chars.by_ref().filter(|c| seen(*c)) {
        if c.is_alphabetic() {
            word.extend(c.to_lowercase());
            continue;
        }
        let counted = |c: char| c.is_numeric() || c.is_whitespace() || matches!(c, '[' | ']' | '(' | ')' | '^' | '*');
        let mut rest = std::iter::once(c).chain(chars).filter(|c| seen(*c)).skip_while(|c| counted(*c));
        return matches!(rest.next(), Some(':' | '：')) && PREFIXES.contains(&word.as_str());
    }
    false
}

/// Whether the message says which one it answers.
pub(super) fn answers(section: &HeaderSection) -> bool {
    ["In-Reply-To", "References"].iter().any(|name| section.fields(name).any(|field| !field.unfolded().is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_forwards_are_known_by_their_prefix() {
        for subject in [
            "Re: x",
            "RE:x",
            "re : x",
            "Re[2]: x",
            "Re(3): x",
            "Aw: x",
            "Fwd: x",
            "TR : x",
            "WG: x",
            "Rif: x",
            "R: x",
            "\u{200b}Re: x",
            " Re: x",
            "R\u{ad}e: x",
            "Re：x",
            "回复：x",
            "Re:",
        ] {
            assert!(pretends(subject), "{subject:?}");
        }
        for subject in
            ["Reduced: x", "Regarding: x", "Re x", "Re-opened: x", "News: Re: x", "", ":", "2: x", "Re 50% off: x"]
        {
            assert!(!pretends(subject), "{subject:?}");
        }
    }

    #[test]
    fn what_nobody_sees_is_no_text() {
        assert!(is_seen("x"));
        for text in ["", " \t", "\u{a0}\u{200b}\u{feff}", "\u{0}"] {
            assert!(!is_seen(text), "{text:?}");
        }
    }
}
