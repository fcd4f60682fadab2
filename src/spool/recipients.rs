//! Which recipients of a copy are still open.

/// A set of recipient positions; no allocation for the first 64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RecipientSet {
    first: u64,
    rest: Vec<u64>,
}

const WORD: u16 = 64;

impl RecipientSet {
    /// The positions `0..count`.
    pub(super) fn all(count: usize) -> Self {
        let mut set = Self::default();
        for index in 0..u16::try_from(count).unwrap_or(u16::MAX) {
            set.insert(index);
        }
        set
    }

    pub(super) fn insert(&mut self, index: u16) {
        let place = usize::from(index / WORD);
        if place > self.rest.len() {
            self.rest.resize(place, 0);
        }
        if let Some(word) = self.word(index) {
            *word |= 1 << (index % WORD);
        }
    }

    /// Takes `index` out; says whether it was in.
    pub(super) fn remove(&mut self, index: u16) -> bool {
        let bit = 1 << (index % WORD);
        self.word(index).is_some_and(|word| {
            let was = *word & bit != 0;
            *word &= !bit;
            was
        })
    }

    fn word(&mut self, index: u16) -> Option<&mut u64> {
        match usize::from(index / WORD) {
            0 => Some(&mut self.first),
            place => self.rest.get_mut(place - 1),
        }
    }

    pub(super) fn contains(&self, index: u16) -> bool {
        let word = match usize::from(index / WORD) {
            0 => self.first,
            place => self.rest.get(place - 1).copied().unwrap_or(0),
        };
        word & (1 << (index % WORD)) != 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first == 0 && self.rest.iter().all(|word| *word == 0)
    }

    pub(super) fn len(&self) -> u64 {
        u64::from(self.first.count_ones()) + self.rest.iter().map(|word| u64::from(word.count_ones())).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_beyond_the_first_word_are_kept_apart() {
        let mut set = RecipientSet::all(200);
        assert_eq!(set.len(), 200);
        for index in 0..200 {
            assert!(set.contains(index) && set.remove(index) && !set.remove(index) && !set.contains(index));
            assert_eq!(set.len(), u64::from(199 - index));
        }
        assert!(set.is_empty() && !set.contains(u16::MAX) && !set.remove(u16::MAX));
        set.insert(u16::MAX);
        assert!(set.contains(u16::MAX) && set.len() == 1);
        assert!(RecipientSet::all(0).is_empty());
    }
}
