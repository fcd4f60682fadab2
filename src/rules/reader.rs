//! Walks a TOML document by hand, so that every problem is found at once and each has its line.

use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Problem;
use super::intern::intern;

/// Where problems are collected while a file is read.
pub(crate) struct Problems<'a> {
    file: &'a str,
    text: &'a str,
    found: Vec<Problem>,
}

impl<'a> Problems<'a> {
    pub(crate) const fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text, found: Vec::new() }
    }

    /// Notes a problem at an offset of the text.
    pub(crate) fn at(&mut self, offset: usize, within: Option<&str>, message: impl Into<String>) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        let within = within.map(str::to_owned);
        self.found.push(Problem { file: self.file.to_owned(), line, within, message: message.into() });
    }

    /// Notes what the TOML parser itself did not understand.
    pub(crate) fn syntax(&mut self, error: &toml::de::Error) {
        self.at(error.span().map_or(0, |span| span.start), None, error.message().trim());
    }

    pub(crate) fn into_found(self) -> Vec<Problem> {
        self.found
    }
}

/// Parses a document; syntax errors become problems.
pub(crate) fn document<'t>(text: &'t str, problems: &mut Problems<'_>) -> Option<Spanned<DeTable<'t>>> {
    DeTable::parse(text).map_err(|error| problems.syntax(&error)).ok()
}

/// A table whose keys are asked for one by one; whatever nobody asked for is a problem.
pub(crate) struct Fields<'t> {
    table: &'t DeTable<'t>,
    place: Range<usize>,
    asked: Vec<&'static str>,
    /// The rule that this stands in.
    pub(crate) within: Option<String>,
}

impl<'t> Fields<'t> {
    pub(crate) const fn new(table: &'t DeTable<'t>, place: Range<usize>, within: Option<String>) -> Self {
        Self { table, place, asked: Vec::new(), within }
    }

    /// Where the table begins.
    pub(crate) const fn start(&self) -> usize {
        self.place.start
    }

    fn value(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.asked.push(key);
        self.table.iter().find(|(known, _)| known.get_ref() == key).map(|(_, value)| value)
    }

    fn expected(&self, at: &Range<usize>, key: &str, what: &str, problems: &mut Problems<'_>) {
        problems.at(at.start, self.within.as_deref(), format!("`{key}`: expected {what}"));
    }

    /// A string, with its place.
    pub(crate) fn text(&mut self, key: &'static str, problems: &mut Problems<'_>) -> Option<(&'t str, usize)> {
        let value = self.value(key)?;
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.expected(&value.span(), key, "a string", problems);
        }
        text.map(|text| (text, value.span().start))
    }

    /// A string that must be there and not be empty, kept for as long as the process lives.
    pub(crate) fn owed_text(&mut self, key: &'static str, problems: &mut Problems<'_>) -> Option<&'static str> {
        let found = self.text(key, problems);
        match found {
            Some((text, at)) if !text.trim().is_empty() => {
                intern(text.trim()).map_err(|message| problems.at(at, self.within.as_deref(), message)).ok()
            }
            Some((_, at)) => {
                problems.at(at, self.within.as_deref(), format!("`{key}` is empty"));
                None
            }
            None => {
                if !self.has(key) {
                    problems.at(self.start(), self.within.as_deref(), format!("`{key}` is missing"));
                }
                None
            }
        }
    }

    /// Whether the key is there.
    pub(crate) fn has(&mut self, key: &'static str) -> bool {
        self.value(key).is_some()
    }

    /// One word of a vocabulary.
    pub(crate) fn word<T: FromStr<Err = String>>(
        &mut self,
        key: &'static str,
        problems: &mut Problems<'_>,
    ) -> Option<T> {
        let (text, at) = self.text(key, problems)?;
        self.parsed(key, text, at, problems)
    }

    fn parsed<T: FromStr<Err = String>>(
        &self,
        key: &str,
        text: &str,
        at: usize,
        problems: &mut Problems<'_>,
    ) -> Option<T> {
        text.parse().map_err(|message| problems.at(at, self.within.as_deref(), format!("`{key}`: {message}"))).ok()
    }

    /// Some words of a vocabulary, at least one.
    pub(crate) fn words<T: FromStr<Err = String>>(
        &mut self,
        key: &'static str,
        problems: &mut Problems<'_>,
    ) -> Option<Box<[T]>> {
        let value = self.value(key)?;
        let Some(items) = value.get_ref().as_array().filter(|items| !items.is_empty()) else {
            self.expected(&value.span(), key, "a list of strings, not empty", problems);
            return None;
        };
        let mut words = Vec::with_capacity(items.len());
        for item in items {
            match item.get_ref().as_str() {
                Some(text) => words.extend(self.parsed::<T>(key, text, item.span().start, problems)),
                None => self.expected(&item.span(), key, "a list of strings", problems),
            }
        }
        Some(words.into_boxed_slice())
    }

    /// A whole number from 0 to `max`.
    pub(crate) fn number(&mut self, key: &'static str, max: u32, problems: &mut Problems<'_>) -> Option<u32> {
        let value = self.value(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(integer) => u32::from_str_radix(integer.as_str(), integer.radix()).ok(),
            DeValue::String(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => None,
        };
        let number = number.filter(|number| *number <= max);
        if number.is_none() {
            self.expected(&value.span(), key, &format!("a whole number from 0 to {max}"), problems);
        }
        number
    }

    /// `true`. A condition or requirement that is not wanted is left out, so `false` is a problem too.
    pub(crate) fn flag(&mut self, key: &'static str, problems: &mut Problems<'_>) -> bool {
        let Some(value) = self.value(key) else { return false };
        let is_true = value.get_ref().as_bool() == Some(true);
        if !is_true {
            self.expected(&value.span(), key, "`true`; leave the key out where it is not meant", problems);
        }
        is_true
    }

    /// A table of its own.
    pub(crate) fn table(&mut self, key: &'static str, problems: &mut Problems<'_>) -> Option<Self> {
        let value = self.value(key)?;
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.expected(&value.span(), key, "a table", problems);
        }
        table.map(|table| Self::new(table, value.span(), self.within.clone()))
    }

    /// A list of tables.
    pub(crate) fn tables(&mut self, key: &'static str, problems: &mut Problems<'_>) -> Vec<Self> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let items = value.get_ref().as_array();
        let tables: Option<Vec<_>> = items.and_then(|items| {
            let table = |item: &'t Spanned<DeValue<'t>>| {
                item.get_ref().as_table().map(|table| Self::new(table, item.span(), self.within.clone()))
            };
            items.iter().map(table).collect()
        });
        if tables.is_none() {
            self.expected(&value.span(), key, "a list of tables", problems);
        }
        tables.unwrap_or_default()
    }

    /// Notes a problem with this table as a whole.
    pub(crate) fn wrong(&self, message: impl Into<String>, problems: &mut Problems<'_>) {
        problems.at(self.start(), self.within.as_deref(), message);
    }

    /// Every key that nobody asked for is a problem, named with the keys that there are.
    pub(crate) fn finish(mut self, problems: &mut Problems<'_>) {
        self.asked.sort_unstable();
        self.asked.dedup();
        for (key, _) in self.table {
            if !self.asked.contains(&key.get_ref().as_ref()) {
                let known: Vec<_> = self.asked.iter().map(|known| format!("`{known}`")).collect();
                let message = format!("unknown key `{}`; expected one of {}", key.get_ref(), known.join(", "));
                problems.at(key.span().start, self.within.as_deref(), message);
            }
        }
    }
}
