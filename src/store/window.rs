//! Many entries at once, in the order in which their store keeps them.
//!
//! Keys are hashes, so neighbours of a list lie anywhere in an index: each entry touches a page, or a bucket, of its own. Entries
//! that are held back until there are many of them can go in as they will lie, and then some share what they touch.

use super::entry::{Entry, NewSuppression};
use super::key::{AddressKey, KEY_LEN};
use super::redis::{entry_octets, entry_of};
use super::{Store, StoreError};

/// Most octets of entries in a window, beside 48 octets of order for each: so many entries of the usual hundred octets and less as the most
/// rows are, and of rows with a long evidence fewer.
pub const WINDOW_OCTETS: usize = 64 << 20;

/// What lies near each other in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nearness {
    /// Neighbours of the exact key: the larger of the two indexes of the embedded store. The other, of the families, cannot be in
    /// order at the same time.
    Exact,
    /// Those of one partition, in it those of one bucket, of so many.
    Buckets(u16),
}

impl Nearness {
    /// Entries of one exact key have one place, whatever lies near.
    fn place(self, entry: &Entry) -> [u8; KEY_LEN] {
        match self {
            Self::Exact => *entry.exact.octets(),
            Self::Buckets(count) => in_buckets(&entry.family, count),
        }
    }
}

/// Partition and number of the bucket, and behind them as much of the key as there is room for.
fn in_buckets(key: &AddressKey, count: u16) -> [u8; KEY_LEN] {
    let [partition, high, low, ..] = *key.octets();
    let [bucket_high, bucket_low] = (u16::from_be_bytes([high, low]) & count.saturating_sub(1)).to_be_bytes();
    let mut place = [0; KEY_LEN];
    let octets = [partition, bucket_high, bucket_low].into_iter().chain(key.octets().iter().skip(1).copied());
    place.iter_mut().zip(octets).for_each(|(to, from)| *to = from);
    place
}

/// In which order a window gives its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Near,
    AsRead,
}

/// Where an entry lies in the window, and where it will lie in the store.
#[derive(Clone, Copy, Debug)]
struct Held {
    place: [u8; KEY_LEN],
    from: usize,
    to: usize,
}

/// Entries on their way into a store. It names nobody more than the store does.
pub struct Window<'a> {
    store: &'a Store,
    nearness: Nearness,
    rows_max: usize,
    octets_max: usize,
    order: Order,
    held: Vec<Held>,
    octets: Vec<u8>,
    buffer: String,
}

impl std::fmt::Debug for Window<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Window").field("held", &self.held.len()).finish_non_exhaustive()
    }
}

impl<'a> Window<'a> {
    /// An empty one for at most so many entries, and [`WINDOW_OCTETS`].
    pub fn new(store: &'a Store, rows_max: usize) -> Self {
        Self::bounded(store, rows_max, WINDOW_OCTETS)
    }

    fn bounded(store: &'a Store, rows_max: usize, octets_max: usize) -> Self {
        let nearness = match store {
            Store::Embedded(_) | Store::Memory(_) => Nearness::Exact,
            Store::Redis(store) => store.nearness(),
        };
        // Room that is not used costs nothing; room that grows is there twice while it is moved.
        let (held, octets) = (Vec::with_capacity(rows_max), Vec::with_capacity(octets_max));
        Self { store, nearness, rows_max, octets_max, order: Order::Near, held, octets, buffer: String::new() }
    }

    /// Takes one in.
    pub fn put(&mut self, new: &NewSuppression) {
        let entry = self.store.entry(new, &mut self.buffer);
        let from = self.octets.len();
        self.octets.extend_from_slice(&entry_octets(&entry));
        self.held.push(Held { place: self.nearness.place(&entry), from, to: self.octets.len() });
    }

    /// What it holds now stays in the order in which it came: the order of recording is a part of what comes in.
    pub fn keep_order(&mut self) {
        self.order = Order::AsRead;
    }

    /// Whether nothing more goes in.
    pub fn is_full(&self) -> bool {
        self.held.len() >= self.rows_max || self.octets.len() >= self.octets_max
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Gives all that it holds, by at most `chunk` entries, and is empty then. Entries that are about the same stay in the order in
    /// which they came.
    ///
    /// # Errors
    /// What `visit` answers; [`StoreError::Damaged`] when the memory is not what was put there.
    pub fn each_chunk<E: From<StoreError>>(
        &mut self,
        chunk: usize,
        visit: &mut dyn FnMut(Vec<Entry>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.order == Order::Near {
            self.held.sort_unstable_by_key(|held| (held.place, held.from));
        }
        for held in self.held.chunks(chunk.max(1)) {
            visit(held.iter().map(|held| self.read(held)).collect::<Result<_, _>>()?)?;
        }
        self.held.clear();
        self.octets.clear();
        self.order = Order::Near;
        Ok(())
    }

    fn read(&self, held: &Held) -> Result<Entry, StoreError> {
        let entry = self.octets.get(held.from..held.to).and_then(entry_of);
        entry.ok_or_else(|| StoreError::Damaged {
            path: "memory".into(),
            what: "an entry on its way into the store is not what was read".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Cause, Origin, Scope, Suppression};
    use crate::store::Subject;
    use crate::time::Timestamp;

    fn new(address: &str, evidence: &str) -> NewSuppression {
        let fact = Suppression {
            scope: Scope::Everything,
            cause: Cause::Unsubscribe,
            origin: Origin::Import,
            evidence: Some(evidence.to_owned()),
            since: Timestamp::from_secs(1),
            expires: None,
        };
        NewSuppression::new(Subject::parse(address).unwrap(), fact, Timestamp::from_secs(1)).unwrap()
    }

    fn chunks(window: &mut Window<'_>, chunk: usize) -> Vec<Vec<Entry>> {
        let mut given = Vec::new();
        window
            .each_chunk(chunk, &mut |entries| -> Result<(), StoreError> {
                given.push(entries);
                Ok(())
            })
            .unwrap();
        given
    }

    #[test]
    fn a_window_is_full_at_its_rows_or_its_octets() {
        let store = Store::memory();
        let mut window = Window::bounded(&store, 3, 1 << 20);
        for at in 0..3 {
            assert!(!window.is_full(), "{at}");
            window.put(&new(&format!("v{at}@x.example"), ""));
        }
        assert!(window.is_full());
        assert_eq!(chunks(&mut window, 2).iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
        assert!(window.is_empty() && !window.is_full());
        let octets = entry_octets(&store.entry(&new("v0@x.example", "long"), &mut String::new())).len();
        let mut window = Window::bounded(&store, 3, 2 * octets);
        window.put(&new("v0@x.example", "long"));
        assert!(!window.is_full());
        window.put(&new("v1@x.example", "long"));
        assert!(window.is_full(), "at it");
        let mut window = Window::bounded(&store, 3, 2 * octets + 1);
        window.put(&new("v0@x.example", "long"));
        window.put(&new("v1@x.example", "long"));
        assert!(!window.is_full(), "one octet before it");
    }

    #[test]
    fn entries_come_near_each_other_and_the_same_in_their_order() {
        let store = Store::memory();
        let mut window = Window::new(&store, 1000);
        for round in 0..3 {
            for at in 0..100 {
                window.put(&new(&format!("v{at}@x.example"), &round.to_string()));
            }
        }
        let [given] = chunks(&mut window, 300).try_into().unwrap();
        assert!(given.is_sorted_by_key(|entry| entry.exact));
        for of_one in given.chunks(3) {
            let rounds: Vec<_> = of_one.iter().map(|entry| entry.fact.evidence.as_deref().unwrap()).collect();
            assert_eq!(rounds, ["0", "1", "2"]);
        }
        let listed = ["b@x.example", "a@x.example", "c@x.example", "d@x.example"];
        let fill = |window: &mut Window<'_>| {
            for address in listed {
                window.put(&new(address, ""));
            }
        };
        fill(&mut window);
        window.keep_order();
        let addresses: Vec<_> = chunks(&mut window, 9).concat().into_iter().filter_map(|entry| entry.address).collect();
        assert_eq!(addresses, listed);
        fill(&mut window);
        assert!(chunks(&mut window, 9).concat().is_sorted_by_key(|entry| entry.exact), "the next is in order again");
    }

    #[test]
    fn of_a_fleet_neighbours_share_partition_and_bucket() {
        let place = |octets: [u8; 4]| {
            let mut key = [7; KEY_LEN];
            key.iter_mut().zip(octets).for_each(|(to, from)| *to = from);
            in_buckets(&AddressKey::from_octets(key), 256)
        };
        // Of the second and third octet the low eight bits number the bucket.
        let in_order = [[0, 9, 1, 5], [0, 9, 1, 6], [0, 10, 1, 0], [0, 0, 2, 0], [1, 0, 0, 0]];
        assert!(in_order.map(place).is_sorted());
        assert_eq!(place([3, 9, 1, 5]), place([3, 9, 1, 5]));
        assert_eq!(in_buckets(&AddressKey::from_octets([9; KEY_LEN]), 1)[..3], [9, 0, 0], "one bucket");
    }
}
