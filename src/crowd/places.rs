//! Places: how many there are, and who has them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Neighbourhood;

/// How many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// In all.
    pub in_all: usize,
    /// From one neighbourhood.
    pub per_address: usize,
}

/// Who is inside.
#[derive(Debug, Default)]
pub(crate) struct Census(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by: HashMap<Neighbourhood, usize>,
}

/// One place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    census: Arc<Census>,
    from: Option<Neighbourhood>,
}

impl Census {
    /// A place, when one is free; `from` is `None` for somebody whose neighbours are not counted.
    pub(crate) fn enter(self: &Arc<Self>, from: Option<Neighbourhood>, places: Places) -> Option<Place> {
        let mut counts = self.counts();
        let here = from.and_then(|from| counts.by.get(&from).copied()).unwrap_or(0);
        if counts.all >= places.in_all || here >= places.per_address {
            return None;
        }
        counts.all += 1;
        if let Some(from) = from {
            counts.by.insert(from, here + 1);
        }
        Some(Place { census: Arc::clone(self), from })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Nothing that can panic runs while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.census.counts();
        counts.all = counts.all.saturating_sub(1);
        let Some(from) = self.from else { return };
        match counts.by.get_mut(&from) {
            Some(here) if *here > 1 => *here -= 1,
            Some(_) | None => drop(counts.by.remove(&from)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_end_at_their_limits_and_are_given_back() {
        let census = Arc::new(Census::default());
        let places = Places { in_all: 3, per_address: 2 };
        let from = |text: &str| Some(Neighbourhood::of(text.parse().unwrap()));
        let first = census.enter(from("192.0.2.1"), places).unwrap();
        let second = census.enter(from("192.0.2.1"), places).unwrap();
        assert!(census.enter(from("192.0.2.1"), places).is_none(), "a third from one address");
        let third = census.enter(None, places).unwrap();
        assert!(census.enter(None, places).is_none(), "a fourth in all");
        drop(first);
        let again = census.enter(from("192.0.2.1"), places).unwrap();
        drop(again);
        drop(second);
        drop(third);
        assert!(census.counts().by.is_empty() && census.counts().all == 0, "nothing stays behind");
    }
}
