//! Where in Redis a fact lies: 256 partitions, in each of them buckets, in each bucket one field for a keyed hash.
//!
//! Small hashes are what Redis packs tightest, so facts share buckets instead of having keys of their own. A partition is
//! what can be changed at once: all its keys carry one hash tag and so lie on one node of a cluster, whichever that is.

use crate::store::key::{AddressKey, KEY_LEN};

/// Partitions of a store: one for each value of a hash's first octet. Enough to spread over any cluster that mail needs,
/// few enough to look at all of them every second.
pub(super) const PARTITIONS: usize = 256;
/// Octets of a hash that name a field within its partition.
const FIELD_LEN: usize = KEY_LEN - 1;
/// Most bits that number the buckets of a partition: 2^20 buckets in all hold 100 million entries at 95 each.
pub(super) const BITS_MAX: u8 = 12;
/// Entries that a bucket is planned for: under the 128 up to which every release of Redis and Valkey packs a hash, with
/// room for buckets that are fuller than others.
const BUCKET_LOAD: u64 = 64;
/// Bits of a cursor that hold a change's number in its partition: one change a millisecond for 278 years.
const CHANGE_BITS: u32 = 43;

/// What can be changed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Partition(pub(super) u8);

impl Partition {
    /// The one in which facts under `key` lie.
    pub(super) fn of(key: &AddressKey) -> Self {
        Self(key.octets().first().copied().unwrap_or(0))
    }

    /// Every one.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self)
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// What kind of facts a bucket holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Shelf {
    /// Suppressions, by family or domain.
    Suppressions,
    /// Consents and declarations, by exact address.
    Events,
    /// One copy of a national opt-out list.
    Register(i64),
}

/// One hash in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Bucket {
    pub(super) partition: Partition,
    pub(super) shelf: Shelf,
    pub(super) number: u16,
}

impl Bucket {
    /// Its name within the partition: the end of its key, and the field that counts it.
    pub(super) fn name(&self) -> String {
        match self.shelf {
            Shelf::Suppressions => format!("s:{:x}", self.number),
            Shelf::Events => format!("e:{:x}", self.number),
            Shelf::Register(copy) => format!("r{copy}:{:x}", self.number),
        }
    }
}

/// The names of everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    prefix: String,
    bits: u8,
}

impl Layout {
    /// `None` for more bits than are known.
    pub(super) fn new(prefix: &str, bits: u8) -> Option<Self> {
        (bits <= BITS_MAX).then(|| Self { prefix: prefix.to_owned(), bits })
    }

    /// How many bits a store of so many entries is planned with.
    pub(super) fn bits_for(entries: u64) -> u8 {
        let buckets = (entries / BUCKET_LOAD).div_ceil(256).max(1);
        let bits = buckets.checked_next_power_of_two().map_or(u32::MAX, u64::ilog2);
        u8::try_from(bits).unwrap_or(BITS_MAX).min(BITS_MAX)
    }

    /// How many buckets a shelf has in each partition.
    pub(super) fn buckets(&self) -> u16 {
        1 << self.bits
    }

    pub(super) fn bucket(&self, on: Shelf, key: &AddressKey) -> Bucket {
        let number = match key.octets() {
            [_, high, low, ..] => u16::from_be_bytes([*high, *low]) & (self.buckets() - 1),
        };
        Bucket { partition: Partition::of(key), shelf: on, number }
    }

    /// What is said about the store as a whole.
    pub(super) fn store(prefix: &str) -> String {
        format!("{prefix}{{store}}:meta")
    }

    /// Which gateways there are, and how far each is.
    pub(super) fn fleet(prefix: &str) -> String {
        format!("{prefix}{{store}}:fleet")
    }

    /// What is said about a partition.
    pub(super) fn meta(&self, partition: Partition) -> String {
        format!("{}{{{:02x}}}:meta", self.prefix, partition.0)
    }

    /// Who removed what from a partition, and why.
    pub(super) fn removals(&self, partition: Partition) -> String {
        format!("{}{{{:02x}}}:removed", self.prefix, partition.0)
    }

    pub(super) fn key(&self, bucket: &Bucket) -> String {
        format!("{}{{{:02x}}}:{}", self.prefix, bucket.partition.0, bucket.name())
    }
}

/// The field of a key within its partition.
pub(super) fn field(key: &AddressKey) -> &[u8] {
    key.octets().get(1..).unwrap_or_default()
}

/// The key of a field; `None` for a field of another length.
pub(super) fn key_of(partition: Partition, field: &[u8]) -> Option<AddressKey> {
    let rest: &[u8; FIELD_LEN] = field.try_into().ok()?;
    let mut octets = [partition.0; KEY_LEN];
    octets.iter_mut().skip(1).zip(rest).for_each(|(to, from)| *to = *from);
    Some(AddressKey::from_octets(octets))
}

/// Where a listing can go on: bucket by bucket, within a bucket in the order of recording.
pub(super) fn cursor(bucket: &Bucket, change: i64) -> i64 {
    let place = i64::from(bucket.partition.0) << BITS_MAX | i64::from(bucket.number);
    place << CHANGE_BITS | change
}

/// The partition and bucket of a cursor.
pub(super) fn place(cursor: i64) -> (Partition, u16) {
    let place = cursor >> CHANGE_BITS;
    let number = place & ((1 << BITS_MAX) - 1);
    (Partition(u8::try_from(place >> BITS_MAX).unwrap_or(u8::MAX)), u16::try_from(number).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_is_found_again_by_its_partition_and_field(octets: [u8; KEY_LEN]) {
            let key = AddressKey::from_octets(octets);
            prop_assert_eq!(key_of(Partition::of(&key), field(&key)), Some(key));
        }

        #[test]
        fn cursors_keep_place_and_change(octets: [u8; KEY_LEN], change in 0_i64..1 << CHANGE_BITS, bits in 0..=BITS_MAX) {
            let bucket = Layout::new("c:", bits).unwrap().bucket(Shelf::Suppressions, &AddressKey::from_octets(octets));
            let cursor = cursor(&bucket, change);
            prop_assert!(cursor >= 0);
            prop_assert_eq!(place(cursor), (bucket.partition, bucket.number));
            prop_assert_eq!(cursor & ((1 << CHANGE_BITS) - 1), change);
        }
    }

    #[test]
    fn buckets_are_planned_for_the_entries_and_bounded() {
        for (entries, bits) in [(0, 0), (1_000_000, 6), (10_000_000, 10), (100_000_000, BITS_MAX), (u64::MAX, BITS_MAX)]
        {
            assert_eq!(Layout::bits_for(entries), bits, "{entries}");
        }
        assert!(Layout::new("c:", BITS_MAX).is_some() && Layout::new("c:", BITS_MAX + 1).is_none());
    }
}
