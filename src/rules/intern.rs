//! Words of rules that live as long as the process.
//!
//! Decisions name rules, reasons and sources as `&'static str`, so that a decision copies three words and counts no
//! references. The price is that a loaded word is never given back; the same word is kept once, however often rules
//! are reloaded, and all of them together are bounded.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// All words together, in octets. The packs that are shipped take about 60 KiB; this leaves room for a hundred
/// rewritten editions between two restarts.
const INTERNED_MAX: usize = 8 * 1024 * 1024;

static WORDS: Mutex<Words> = Mutex::new(Words { known: BTreeSet::new(), octets: 0 });

struct Words {
    known: BTreeSet<&'static str>,
    octets: usize,
}

impl Words {
    fn intern(&mut self, word: &str, max: usize) -> Result<&'static str, String> {
        if let Some(known) = self.known.get(word) {
            return Ok(known);
        }
        let octets = self.octets.saturating_add(word.len());
        if octets > max {
            return Err(format!("all rules loaded since the start hold more than {max} octets of text; restart"));
        }
        self.octets = octets;
        let word: &'static str = Box::leak(Box::from(word));
        self.known.insert(word);
        Ok(word)
    }
}

/// The word, for as long as the process lives.
///
/// # Errors
/// A sentence, when all words together would take more than [`INTERNED_MAX`].
pub(super) fn intern(word: &str) -> Result<&'static str, String> {
    WORDS.lock().unwrap_or_else(PoisonError::into_inner).intern(word, INTERNED_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_kept_once_and_all_of_them_are_bounded() {
        let mut words = Words { known: BTreeSet::new(), octets: 0 };
        let first = words.intern("abcd", 8).unwrap();
        assert!(std::ptr::eq(first, words.intern("abcd", 8).unwrap()));
        assert!(words.intern("efgh", 8).is_ok());
        assert!(words.intern("i", 8).is_err());
        assert!(words.intern("abcd", 8).is_ok());
    }
}
