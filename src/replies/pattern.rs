//! What an entry compares a reply with.

use std::fmt;
use std::str::FromStr;

use crate::mail::{EnhancedStatus, ReplyCode};

/// Shortest fragment, in octets: shorter ones stand in every second sentence.
pub const FRAGMENT_MIN: usize = 4;
/// Longest fragment, in octets: longer ones are whole sentences, which providers reword.
pub const FRAGMENT_MAX: usize = 80;

/// A reply code with `x` for any digit: `550`, `55x`, `4xx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodePattern([Option<u8>; 3]);

impl CodePattern {
    /// Whether `code` fits.
    pub fn fits(self, code: ReplyCode) -> bool {
        let number = code.as_u16();
        let digits = [number / 100, number / 10 % 10, number % 10];
        self.0.iter().zip(digits).all(|(wanted, digit)| wanted.is_none_or(|wanted| u16::from(wanted) == digit))
    }
}

impl fmt::Display for CodePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|digit| match digit {
            Some(digit) => write!(f, "{digit}"),
            None => f.write_str("x"),
        })
    }
}

impl FromStr for CodePattern {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}` is not a reply code; expected 4 or 5 and two more digits, `x` for any");
        let digits: [u8; 3] = text.as_bytes().try_into().map_err(|_| expected())?;
        if !matches!(digits.first(), Some(b'4' | b'5')) {
            return Err(expected());
        }
        let mut pattern = [None; 3];
        for (place, digit) in pattern.iter_mut().zip(digits) {
            *place = match digit {
                b'x' => None,
                b'0'..=b'9' => Some(digit - b'0'),
                _ => return Err(expected()),
            };
        }
        Ok(Self(pattern))
    }
}

/// An enhanced status with `x` for any number: `5.1.1`, `x.7.x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusPattern {
    class: Option<u8>,
    subject: Option<u16>,
    detail: Option<u16>,
}

impl StatusPattern {
    /// Whether `status` fits.
    pub fn fits(self, status: EnhancedStatus) -> bool {
        self.class.is_none_or(|class| class == status.class)
            && self.subject.is_none_or(|subject| subject == status.subject)
            && self.detail.is_none_or(|detail| detail == status.detail)
    }
}

impl fmt::Display for StatusPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |part: Option<u16>| part.map_or_else(|| "x".to_owned(), |part| part.to_string());
        write!(f, "{}.{}.{}", part(self.class.map(u16::from)), part(self.subject), part(self.detail))
    }
}

impl FromStr for StatusPattern {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || format!("`{text}` is not an enhanced status; expected such as `5.1.1`, with `x` for any number");
        let mut parts = text.split('.');
        let mut number = || match parts.next() {
            Some("x") => Ok(None),
            Some(digits) if digits.len() <= 3 => digits.parse::<u16>().map(Some).map_err(|_| expected()),
            Some(_) | None => Err(expected()),
        };
        let (class, subject, detail) = (number()?, number()?, number()?);
        let class = match class {
            None => None,
            Some(4) => Some(4),
            Some(5) => Some(5),
            Some(_) => return Err(expected()),
        };
        if parts.next().is_some() { Err(expected()) } else { Ok(Self { class, subject, detail }) }
    }
}

/// Words that stand somewhere in a reply's text, in any case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment(Box<str>);

impl Fragment {
    /// Whether it stands in `text`, in lower case and without addresses.
    pub fn stands_in(&self, text: &str) -> bool {
        memchr::memmem::find(text.as_bytes(), self.0.as_bytes()).is_some()
    }

    /// The words.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Fragment {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let fits = (FRAGMENT_MIN..=FRAGMENT_MAX).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_graphic() || c == ' ')
            && folded(text) == text;
        let expected = "expected printable ASCII in lower case, single blanks, no address";
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(format!("`{text}`: {expected}, {FRAGMENT_MIN} to {FRAGMENT_MAX} octets"))
        }
    }
}

/// A reply's text as fragments are compared with it: lower case, single blanks, and without addresses and repeated
/// codes. A recipient who is called `spam` must not make a refusal one for spam.
pub(super) fn folded(text: &str) -> String {
    let words = text.split_whitespace().filter(|word| !word.contains('@') && !is_repeated_code(word));
    let mut out = String::with_capacity(text.len());
    for word in words {
        if !out.is_empty() {
            out.push(' ');
        }
        out.extend(word.chars().map(|c| c.to_ascii_lowercase()));
    }
    out
}

/// `550-5.7.1`: providers repeat both codes on every line, and lines are joined before they come here.
fn is_repeated_code(word: &str) -> bool {
    word.split_once('-').is_some_and(|(code, status)| {
        code.len() == 3
            && code.bytes().all(|b| b.is_ascii_digit())
            && EnhancedStatus::parse_prefix(status).is_some_and(|(_, rest)| rest.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_fit_digit_by_digit() {
        let fits = |pattern: &str, code| pattern.parse::<CodePattern>().unwrap().fits(ReplyCode::new(code).unwrap());
        assert!(fits("550", 550) && fits("55x", 559) && fits("5xx", 521) && fits("4xx", 421));
        assert!(!fits("550", 551) && !fits("55x", 541) && !fits("5xx", 450));
        for bad in ["", "55", "5500", "250", "x50", "55y", "5é"] {
            assert!(bad.parse::<CodePattern>().unwrap_err().contains("is not a reply code"), "{bad}");
        }
    }

    #[test]
    fn statuses_fit_number_by_number() {
        let fits = |pattern: &str, class, subject, detail| {
            pattern.parse::<StatusPattern>().unwrap().fits(EnhancedStatus::new(class, subject, detail))
        };
        assert!(fits("5.1.1", 5, 1, 1) && fits("x.7.x", 4, 7, 509) && fits("5.x.x", 5, 0, 0));
        assert!(!fits("5.1.1", 5, 1, 10) && !fits("5.1.1", 4, 1, 1) && !fits("x.7.x", 5, 1, 7));
        for bad in ["", "5.1", "5.1.1.1", "2.1.1", "5.1.1000", "5..1", "550", "5.1.y"] {
            assert!(bad.parse::<StatusPattern>().unwrap_err().contains("is not an enhanced status"), "{bad}");
        }
    }

    #[test]
    fn an_address_or_a_repeated_code_in_the_text_decides_nothing() {
        let text = folded("<spam@quota.example>:  User\tUnknown 550-5.7.1 or  550 5.7.1 moved to new@x.example");
        assert_eq!(text, "user unknown or 550 5.7.1 moved to");
        let fragment: Fragment = "user unknown".parse().unwrap();
        assert!(fragment.stands_in(&text) && !"spam".parse::<Fragment>().unwrap().stands_in(&text));
    }

    #[test]
    fn fragments_are_bounded_at_both_ends() {
        assert!("a".repeat(FRAGMENT_MIN).parse::<Fragment>().is_ok());
        assert!("a".repeat(FRAGMENT_MIN - 1).parse::<Fragment>().is_err());
        assert!("a".repeat(FRAGMENT_MAX).parse::<Fragment>().is_ok());
        assert!("a".repeat(FRAGMENT_MAX + 1).parse::<Fragment>().is_err());
        for bad in ["Upper case", "two  blanks", "an@address", "caf\u{e9}s", " edge"] {
            assert!(bad.parse::<Fragment>().is_err(), "{bad}");
        }
    }
}
