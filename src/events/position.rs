//! Where a reader stands.

use std::fmt;
use std::str::FromStr;

/// Behind one event: its number, and where the next line began when it was read. The place is a hint, checked before it is
/// believed, so that nobody reads a file from its beginning for every page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub(super) seq: u64,
    pub(super) hint: Option<Hint>,
}

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hint {
    /// The file's number.
    pub(super) file: u64,
    /// Octets in front of the next line.
    pub(super) at: u64,
}

impl Position {
    /// In front of the oldest event that is kept, whichever that is: nothing is ever missed behind it. A reader that wants to
    /// know stands at a place, as every `next` is, also that of a page without events.
    pub const START: Self = Self { seq: 0, hint: None };

    /// In front of everything that the file `number` may hold, and of all files behind it.
    pub const fn before(number: u64) -> Self {
        Self { seq: number.saturating_sub(1), hint: Some(Hint { file: number, at: 0 }) }
    }

    /// The number of the last event in front of it; 0 at the start.
    pub const fn seq(self) -> u64 {
        self.seq
    }
}

/// Digits and dots, to be given back as they are.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.hint {
            None => write!(f, "{}", self.seq),
            Some(Hint { file, at }) => write!(f, "{}.{file}.{at}", self.seq),
        }
    }
}

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}` is no position; expected the `next` of an answer, or 0");
        let number = |part: &str| {
            part.parse::<u64>().ok().filter(|_| part.bytes().all(|octet| octet.is_ascii_digit())).ok_or_else(expected)
        };
        let parts: Vec<_> = text.split('.').collect();
        match parts.as_slice() {
            [seq] => Ok(Self { seq: number(seq)?, hint: None }),
            [seq, file, at] => {
                Ok(Self { seq: number(seq)?, hint: Some(Hint { file: number(file)?, at: number(at)? }) })
            }
            _ => Err(expected()),
        }
    }
}
