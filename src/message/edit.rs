//! New header sections out of received ones, and the lines that are added to them.

use bytes::Bytes;

use super::section::{Field, HeaderSection};

/// RFC 5322 section 2.1.1: no line may be longer, CRLF not counted.
pub const LINE_MAX: usize = 998;
/// RFC 5322 section 2.1.1: lines should not be longer, CRLF not counted.
pub const LINE_GOOD: usize = 78;

/// Why a value cannot stand in a header field of ours. The fault is with whoever configured or computed the value;
/// the same value will fail again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// A control character, a line end, or a character beyond ASCII: what header injection is made of.
    #[error("{field}: expected printable ASCII characters only")]
    NotPrintable {
        /// The field that the value is for.
        field: &'static str,
    },
    /// Longer than a line or a standard allows.
    #[error("{field}: too long; expected at most {max} octets")]
    TooLong {
        /// The field that the value is for.
        field: &'static str,
        /// What would have been accepted.
        max: usize,
    },
    /// Printable, yet not in the form that the field asks for.
    #[error("{field}: expected {expected}")]
    Form {
        /// The field that the value is for.
        field: &'static str,
        /// What would have been accepted.
        expected: &'static str,
    },
}

/// One field of ours, folded. Built word by word; a word is never broken, so a fold can only stand where one is legal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    name: &'static str,
    raw: Vec<u8>,
    column: usize,
}

impl Line {
    /// `Name:`; the first word follows on the same line, always.
    pub(super) fn new(name: &'static str) -> Self {
        let mut raw = Vec::with_capacity(256);
        raw.extend_from_slice(name.as_bytes());
        raw.push(b':');
        Self { name, column: raw.len(), raw }
    }

    /// Adds a word behind a blank, or behind a fold where the line would grow past [`LINE_GOOD`].
    ///
    /// # Errors
    /// [`ValueError`] when the word is not printable ASCII or the line would grow past [`LINE_MAX`].
    pub(super) fn word(self, word: &str) -> Result<Self, ValueError> {
        let fold = self.column + 1 + word.len() > LINE_GOOD;
        self.place(word, fold)
    }

    /// Adds a word behind a fold.
    ///
    /// # Errors
    /// Like [`Line::word`].
    pub(super) fn folded(self, word: &str) -> Result<Self, ValueError> {
        self.place(word, true)
    }

    fn place(mut self, word: &str, fold: bool) -> Result<Self, ValueError> {
        let field = self.name;
        // A blank at either end could make a line of nothing but white space, which ends a header for some readers.
        let printable = !word.is_empty() && word.bytes().all(|b| matches!(b, b' '..=b'~'));
        if !printable || word.starts_with(' ') || word.ends_with(' ') {
            return Err(ValueError::NotPrintable { field });
        }
        if fold && self.raw.len() > field.len() + 1 {
            self.raw.extend_from_slice(b"\r\n");
            self.column = 0;
        }
        self.column += 1 + word.len();
        if self.column > LINE_MAX {
            return Err(ValueError::TooLong { field, max: LINE_MAX });
        }
        self.raw.push(b' ');
        self.raw.extend_from_slice(word.as_bytes());
        Ok(self)
    }
}

/// A header section being changed. What is kept stays as it was, octet for octet.
pub(super) struct Edit<'a> {
    section: &'a HeaderSection,
    removed: Vec<bool>,
    changed: Vec<&'a str>,
    top: Vec<Line>,
    end: Vec<Line>,
}

impl<'a> Edit<'a> {
    pub(super) fn new(section: &'a HeaderSection) -> Self {
        let removed = vec![false; section.iter().len()];
        Self { section, removed, changed: Vec::new(), top: Vec::new(), end: Vec::new() }
    }

    pub(super) const fn section(&self) -> &'a HeaderSection {
        self.section
    }

    /// Removes the fields for which `unwanted` is true.
    pub(super) fn remove(&mut self, mut unwanted: impl FnMut(&Field<'a>) -> bool) {
        for (field, removed) in self.section.iter().zip(&mut self.removed) {
            if !*removed && unwanted(&field) {
                *removed = true;
                self.changed.push(field.name());
            }
        }
    }

    /// Adds a field above all others: trace fields go there (RFC 5321 section 4.4).
    pub(super) fn put_top(&mut self, line: Line) {
        self.changed.push(line.name);
        self.top.push(line);
    }

    /// Adds a field below all others.
    pub(super) fn put_end(&mut self, line: Line) {
        self.changed.push(line.name);
        self.end.push(line);
    }

    /// Whether fields of this name were added or removed.
    pub(super) fn has_changed(&self, name: &str) -> bool {
        self.changed.iter().any(|changed| changed.eq_ignore_ascii_case(name))
    }

    /// Writes the new section, blank line included.
    pub(super) fn write(self) -> Bytes {
        let added: usize = self.top.iter().chain(&self.end).map(|line| line.raw.len() + 2).sum();
        let mut out = Vec::with_capacity(self.section.raw().len() + added + 2);
        let put = |out: &mut Vec<u8>, lines: Vec<Line>| {
            for line in lines {
                out.extend_from_slice(&line.raw);
                out.extend_from_slice(b"\r\n");
            }
        };
        put(&mut out, self.top);
        for (field, removed) in self.section.iter().zip(self.removed) {
            if !removed {
                out.extend_from_slice(field.raw());
            }
        }
        put(&mut out, self.end);
        out.extend_from_slice(b"\r\n");
        Bytes::from(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: Line) -> String {
        String::from_utf8(line.raw).unwrap()
    }

    #[test]
    fn the_first_word_stays_with_the_name_and_folds_stand_between_words() {
        let word = "w".repeat(70);
        let line = Line::new("List-Unsubscribe").word(&word).unwrap().word("a").unwrap().word("b").unwrap();
        assert_eq!(text(line), format!("List-Unsubscribe: {word}\r\n a b"));
        let line = Line::new("X").folded("a").unwrap().folded("b").unwrap();
        assert_eq!(text(line), "X: a\r\n b");
    }

    #[test]
    fn good_and_greatest_length_are_checked_at_and_past_the_limit() {
        let line = Line::new("X").word(&"a".repeat(LINE_GOOD - 5)).unwrap();
        assert!(!text(line.clone().word("b").unwrap()).contains('\r'));
        assert!(text(line.word("bb").unwrap()).contains('\r'));
        assert!(Line::new("X").word(&"a".repeat(LINE_MAX - 3)).is_ok());
        let past = Line::new("X").word(&"a".repeat(LINE_MAX - 2));
        assert_eq!(past, Err(ValueError::TooLong { field: "X", max: LINE_MAX }));
        assert!(Line::new("X").word("a").unwrap().folded(&"a".repeat(LINE_MAX)).is_err());
    }

    #[test]
    fn injection_is_refused() {
        for bad in ["a\r\nBcc: v", "a\nb", "a\rb", "a\0b", "a\u{7f}", "é", "a\tb", "", " ", "a ", " a", "\u{2028}"] {
            assert!(Line::new("X").word(bad).is_err(), "{bad:?}");
        }
    }
}
