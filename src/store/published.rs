//! Hashes as registries publish them: a national opt-out list that names nobody.

use aws_lc_rs::digest;

use super::entry::{Subject, lookup_key};
use super::fold;
use super::key::{AddressKey, StoreKey};
use crate::hex;
use crate::mail::Mailbox;

/// One line of a national opt-out list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisterEntry {
    /// An address or domain in clear.
    Subject(Subject),
    /// A hash of an address.
    Hash(PublishedHash),
}

impl From<Subject> for RegisterEntry {
    fn from(subject: Subject) -> Self {
        Self::Subject(subject)
    }
}

/// SHA-1 (40 digits) or SHA-256 (64 digits) of an address in lower case, as registries give it out so that a list can be
/// compared without being read. Meets that one spelling only: a hash cannot be folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedHash(String);

impl PublishedHash {
    /// Reads 40 or 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let known = hex::decode::<20>(text).is_some() || hex::decode::<32>(text).is_some();
        known.then(|| Self(text.to_ascii_lowercase()))
    }

    /// The hashes under which registries may know `mailbox`.
    fn of(mailbox: &Mailbox, buffer: &mut String) -> [Self; 2] {
        buffer.clear();
        fold::exact(mailbox, buffer);
        [&digest::SHA1_FOR_LEGACY_USE_ONLY, &digest::SHA256]
            .map(|algorithm| Self(hex::encode(digest::digest(algorithm, buffer.as_bytes()).as_ref())))
    }
}

/// The key under which a line of a register is kept: keyed like everything else, so that the copy is no list of
/// guessable hashes.
pub(super) fn register_key(entry: &RegisterEntry, key: &StoreKey, buffer: &mut String) -> AddressKey {
    match entry {
        RegisterEntry::Subject(subject) => lookup_key(subject, key, buffer).1,
        RegisterEntry::Hash(PublishedHash(text)) => key.published(text, buffer),
    }
}

/// The keys under which a published hash of `mailbox` would be kept.
pub(super) fn published_keys(mailbox: &Mailbox, key: &StoreKey, buffer: &mut String) -> [AddressKey; 2] {
    PublishedHash::of(mailbox, buffer).map(|PublishedHash(text)| key.published(&text, buffer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_address_in_lower_case() {
        let mailbox = Mailbox::parse("Ann@Example.org").unwrap();
        let [sha1, sha256] = PublishedHash::of(&mailbox, &mut String::new());
        // printf ann@example.org | sha1sum; printf ann@example.org | sha256sum
        assert_eq!(sha1.0, "a4414de3ce1f77d2615b90c3ba16219b38193ced");
        assert_eq!(sha256.0, "438c4c7afe600cdf1e455c369bec76dc970fc8ca463447c7b387a347f3c79331");
    }

    #[test]
    fn only_digests_of_the_two_lengths_are_hashes() {
        assert!(PublishedHash::parse(&"aB".repeat(20)).is_some() && PublishedHash::parse(&"0f".repeat(32)).is_some());
        for bad in ["", "ann@example.org", &"a".repeat(39), &"a".repeat(41), &"g".repeat(40), &"a".repeat(128)] {
            assert_eq!(PublishedHash::parse(bad), None, "{bad}");
        }
    }
}
