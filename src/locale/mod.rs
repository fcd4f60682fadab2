//! Sentences of ours in the six languages that they are written in.
//!
//! **Promise:** every sentence exists in every language, with the same arguments.
//!
//! **Owns:** the languages, how one is chosen, the files in `locales/`.
//!
//! **Never knows:** who reads, and on paper of which kind: pages and letters ask for the same sentences.
//!
//! **Standards:** RFC 9110 section 12.5.4 (Accept-Language), RFC 4647 section 3.4.

mod language;
mod phrases;

pub use language::Language;
pub use phrases::{Names, say};
