//! What other systems export, read as facts under our own names.
//!
//! **Promise:** a file is recognised by its header or not at all: what could mean two things is asked about, never guessed. A
//! row gives what it says and no more: a temporary failure is no dead mailbox, a block for reputation is nobody's wish, a
//! plain subscriber is no proven consent. Memory does not grow with the file (promise P11).
//!
//! **Owns:** rows and cells of CSV, JSON and plain lists; the exports of campaign tools and mail services ([`Shape`]).
//!
//! **Never knows:** whether anything is recorded, the command line.
//!
//! **Standards:** RFC 4180 (CSV), RFC 8259 (JSON), RFC 3463 (the status of a bounce).

mod instant;
mod rows;
mod services;
mod shape;
#[cfg(test)]
mod tests;
mod tools;

use crate::store::Record;

pub use rows::{Failed, Format, Item, LINE_MAX, Rows, decode, read_line};
pub use shape::{Reading, Shape, Wanted};

/// The cells of one row under lower-case names, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cells(Vec<(String, String)>);

impl Cells {
    /// Takes one more cell.
    pub fn put(&mut self, name: &str, cell: impl Into<String>) {
        self.0.push((name.to_owned(), cell.into()));
    }

    /// The first cell of this name that holds anything.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, cell)| *known == name && !cell.is_empty()).map(|(_, cell)| cell)
    }

    /// Every name with its cell.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, cell)| (name.as_str(), cell.as_str()))
    }

    /// Whom the row is about.
    pub fn address(&self) -> Option<&str> {
        self.iter().find(|(name, _)| Record::is_address_column(name)).map(|(_, cell)| cell)
    }
}
