//! Hashes as they are published: a national opt-out list or a partner's suppression list that names nobody.
//!
//! A hash cannot be folded: it meets the one spelling that was hashed. So a recipient is asked about under the spellings that
//! whoever hashed may have had: as it is written, in lower case, and as its provider folds it.

use aws_lc_rs::digest;
use md5::{Digest as _, Md5};

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
    /// What a store with the same key kept of one of these.
    Kept(AddressKey),
}

impl From<Subject> for RegisterEntry {
    fn from(subject: Subject) -> Self {
        Self::Subject(subject)
    }
}

/// MD5 (32 digits), SHA-1 (40) or SHA-256 (64) of an address in lower case, as lists are given out that can be compared without
/// being read. Meets that one spelling only: a hash cannot be folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedHash(String);

impl PublishedHash {
    /// Reads 32, 40 or 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let known =
            hex::decode::<16>(text).is_some() || hex::decode::<20>(text).is_some() || hex::decode::<32>(text).is_some();
        known.then(|| Self(text.to_ascii_lowercase()))
    }

    /// The digits, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The three hashes of one spelling.
    fn of(spelling: &str) -> [Self; 3] {
        let octets = spelling.as_bytes();
        let sha = |algorithm| hex::encode(digest::digest(algorithm, octets).as_ref());
        [hex::encode(&Md5::digest(octets)), sha(&digest::SHA1_FOR_LEGACY_USE_ONLY), sha(&digest::SHA256)].map(Self)
    }
}

/// The key under which a line of a register is kept: keyed like everything else, so that the copy is no list of
/// guessable hashes.
pub(super) fn register_key(entry: &RegisterEntry, key: &StoreKey, buffer: &mut String) -> AddressKey {
    match entry {
        RegisterEntry::Subject(subject) => lookup_key(subject, key, buffer).1,
        RegisterEntry::Hash(PublishedHash(text)) => key.published(text, buffer),
        RegisterEntry::Kept(kept) => *kept,
    }
}

/// The keys under which a published hash of `mailbox` would be kept: three of its exact spelling, and three more where its
/// family spelling is another.
pub(super) fn published_keys(mailbox: &Mailbox, key: &StoreKey, buffer: &mut String) -> Vec<AddressKey> {
    let (mut exact, mut family) = (String::new(), String::new());
    fold::exact(mailbox, &mut exact);
    fold::family(mailbox, &mut family);
    let spellings = std::iter::once(exact.as_str()).chain((family != exact).then_some(family.as_str()));
    spellings.flat_map(PublishedHash::of).map(|PublishedHash(text)| key.published(&text, buffer)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_address_in_lower_case_and_folded() {
        let (key, mut buffer) = (StoreKey::new(&[7; 32]), String::new());
        // printf ann@example.org | md5sum, sha1sum, sha256sum
        let hashes = [
            "8b5a6a28fc840441be692d74a81ccd1a",
            "a4414de3ce1f77d2615b90c3ba16219b38193ced",
            "438c4c7afe600cdf1e455c369bec76dc970fc8ca463447c7b387a347f3c79331",
        ];
        let expected = hashes.map(|text| key.published(text, &mut buffer));
        let plain = published_keys(&Mailbox::parse("Ann@Example.org").unwrap(), &key, &mut buffer);
        assert_eq!(plain, expected);
        let tagged = published_keys(&Mailbox::parse("ann+news@example.org").unwrap(), &key, &mut buffer);
        assert_ne!(&tagged[..3], &expected[..]);
        assert_eq!(&tagged[3..], &expected[..]);
    }

    #[test]
    fn only_digests_of_the_three_lengths_are_hashes() {
        for length in [16, 20, 32] {
            assert!(PublishedHash::parse(&"aB".repeat(length)).is_some(), "{length}");
        }
        for bad in ["", "ann@example.org", &"a".repeat(39), &"a".repeat(41), &"g".repeat(40), &"a".repeat(128)] {
            assert_eq!(PublishedHash::parse(bad), None, "{bad}");
        }
    }
}
