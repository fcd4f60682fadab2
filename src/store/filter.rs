//! A memory of what is surely absent, so that most recipients cost no question to the database.
//!
//! A Bloom filter over all keys: it may say "perhaps present" of an absent key, never "absent" of a present one.
//! Keys are outputs of HMAC and so already as random as hashes get: slices of them serve as the hash functions.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::key::AddressKey;

/// Bits per entry: with four probes about one absent key in 400 is asked about needlessly.
const BITS_PER_ENTRY: usize = 16;
/// Smallest filter: 2^20 bits (128 KiB) keep 65,000 entries cheap, so that a new store can grow until its next opening.
const BITS_LOG_MIN: u32 = 20;
/// Largest filter: 2^31 bits (256 MiB), 130 million entries. Beyond it lookups become slower, never wrong.
const BITS_LOG_MAX: u32 = 31;

/// The set of all keys in the store, as a filter. It only grows; a removed key costs a needless question until the
/// store is opened again.
#[derive(Debug)]
pub(super) struct Filter {
    words: Box<[AtomicU64]>,
    mask: u32,
    /// Whether any entry is a published hash: without one nobody has to be hashed six times.
    published: AtomicBool,
}

impl Filter {
    /// An empty filter with room for `entries` and as many again.
    pub(super) fn with_room_for(entries: usize) -> Self {
        let wanted = entries.saturating_mul(2).saturating_mul(BITS_PER_ENTRY).checked_next_power_of_two();
        let log = wanted.map_or(BITS_LOG_MAX, usize::ilog2).clamp(BITS_LOG_MIN, BITS_LOG_MAX);
        let words = (0..1_usize << (log - 6)).map(|_| AtomicU64::new(0)).collect();
        Self { words, mask: u32::MAX >> (32 - log), published: AtomicBool::new(false) }
    }

    /// Remembers a key. Visible to every thread that later synchronises with this one.
    pub(super) fn insert(&self, key: &AddressKey) {
        for (word, bit) in self.places(key) {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Remembers that there is an entry under a published hash; visible like a key.
    pub(super) fn insert_published(&self, key: &AddressKey) {
        self.published.store(true, Ordering::Relaxed);
        self.insert(key);
    }

    /// Whether any published hash may be in the store; `false` is certain.
    pub(super) fn may_hold_published(&self) -> bool {
        self.published.load(Ordering::Relaxed)
    }

    /// Whether the key may be in the store; `false` is certain.
    pub(super) fn may_hold(&self, key: &AddressKey) -> bool {
        self.places(key).all(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
    }

    fn places(&self, key: &AddressKey) -> impl Iterator<Item = (&AtomicU64, u64)> {
        let (slices, _) = key.octets().as_chunks::<4>();
        let places = slices.iter().map(|slice| u32::from_le_bytes(*slice) & self.mask);
        places.filter_map(|place| {
            let index = usize::try_from(place >> 6).ok()?;
            Some((self.words.get(index)?, 1_u64 << (place & 63)))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_inserted_is_never_absent(keys in proptest::collection::vec(any::<[u8; 16]>(), 1..200)) {
            let filter = Filter::with_room_for(0);
            let keys: Vec<_> = keys.into_iter().map(AddressKey::from_octets).collect();
            for key in &keys {
                filter.insert(key);
            }
            prop_assert!(keys.iter().all(|key| filter.may_hold(key)));
        }
    }

    #[test]
    fn an_empty_filter_holds_nothing_and_sizes_stay_in_their_bounds() {
        let filter = Filter::with_room_for(0);
        assert_eq!(filter.words.len(), 1 << (BITS_LOG_MIN - 6));
        for octet in 0..=255 {
            assert!(!filter.may_hold(&AddressKey::from_octets([octet; 16])));
        }
        assert_eq!(Filter::with_room_for(40_000).words.len() * 64, 1 << 21);
    }

    #[test]
    fn few_absent_keys_are_asked_about_at_the_planned_load() {
        let filter = Filter::with_room_for(0);
        let key = |n: u64| {
            let tag = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &n.to_le_bytes());
            AddressKey::from_octets(tag.as_ref()[..16].try_into().unwrap())
        };
        (0..65_536).for_each(|n| filter.insert(&key(n)));
        let false_alarms = (100_000..110_000).filter(|n| filter.may_hold(&key(*n))).count();
        assert!(false_alarms < 60, "{false_alarms} of 10000");
    }
}
