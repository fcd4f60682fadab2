//! The law as files: rule packs, and the words that addresses are classified by.
//!
//! **Promise:** a file is a set of rules, or a list of sentences each naming file, line, rule and what was expected.
//! An operator's folder may add rules and countries; it cannot take a shipped rule away except by a named override,
//! and every decision that an override changes says so.
//!
//! **Owns:** the TOML of rule packs, of classification data and of case files; the packs that are built in; the page
//! that documents them; the runner of case files.
//!
//! **Never knows:** how a rule is evaluated, streams' configuration, the store, SMTP.
//!
//! **Standards:** TOML 1.1. What the rules themselves stand on is named by each of them.

mod book;
pub mod cases;
mod error;
mod intern;
mod pack;
pub(crate) mod reader;
mod reference;
mod shipped;
mod terms;

#[cfg(test)]
mod limits;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use book::{embedded, load};
pub(crate) use error::lines;
pub use error::{Problem, RulesError};
pub use reference::reference;
