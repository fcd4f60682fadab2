//! Many suppressions at once, and taking them back: what an import needs of a store.
//!
//! An entry that came in with a list is told apart from what anybody said since by what it looks like. Whoever says the
//! same through another door changes it ([`said_again`]), and from then on it is theirs.

use aws_lc_rs::digest;

use super::embedded::later_expiry;
use super::entry::{Entry, Removal};
use super::key::{AddressKey, KEY_LEN};
use super::redis::entry_octets;
use super::{Added, AddedMany, Kind, NewSuppression, Reach, Store, StoreError, Subject};
use crate::hex;
use crate::policy::{Origin, Suppression};
use crate::time::Timestamp;

/// Most suppressions in one call of [`Store::add_chunk`], which is one transaction: some ten milliseconds, so that the
/// changes of others come in between.
pub const CHUNK_MAX: usize = 1000;
/// Octets kept of an entry's digest. They only tell apart the few entries of one family.
const SUM_LEN: usize = 8;

/// What an entry looks like: where it lies, and a digest of all that it says. It names nobody (promise P9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Print {
    pub(super) kind: Kind,
    pub(super) family: AddressKey,
    sum: [u8; SUM_LEN],
}

impl Print {
    /// What this entry looks like, whatever its number.
    pub fn of(entry: &Entry) -> Self {
        let whole = digest::digest(&digest::SHA256, &entry_octets(entry));
        let sum = whole.as_ref().first_chunk().copied().unwrap_or_default();
        Self { kind: entry.kind, family: entry.family, sum }
    }

    /// Reads what `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_at_checked(1)?;
        let (family, sum) = rest.split_at_checked(2 * KEY_LEN)?;
        let kind = [Kind::Address, Kind::Domain].into_iter().find(|known| letter(*known) == kind)?;
        Some(Self { kind, family: AddressKey::parse(family)?, sum: hex::decode(sum)? })
    }
}

/// A letter for the kind, then the family key and the digest in hexadecimal digits.
impl std::fmt::Display for Print {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}{}", letter(self.kind), self.family, hex::encode(&self.sum))
    }
}

const fn letter(kind: Kind) -> &'static str {
    match kind {
        Kind::Address => "a",
        Kind::Domain => "d",
    }
}

/// Entries that are to be taken back as they came in, by whom and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// What the entries look like; an entry that looks otherwise stays.
    pub prints: Vec<Print>,
    /// Who takes them back.
    pub by: String,
    /// Why these people may be written to again; needed for complaints and legal objections.
    pub because: String,
    /// When.
    pub at: Timestamp,
}

impl Withdrawal {
    /// How the history of removals keeps one of them.
    pub(super) fn removal(&self, print: &Print) -> Removal {
        Removal {
            subject: Subject::Hashed { kind: print.kind, exact: print.family, family: print.family },
            scope: None,
            cause: None,
            reach: Reach::Gateway,
            by: self.by.clone(),
            because: Some(self.because.clone()),
            at: self.at,
        }
    }
}

/// What a known entry says after the same was said again: its first date stays, its expiry moves only later, and an
/// import's word gives way to any other door's, so that taking the import back does not take back what that door was
/// told (promise P10). `None` when nothing changes.
///
/// Of a published hash the date moves later too: whose consent may have lifted it in between cannot be known, and the
/// second no must not be lost.
pub(super) fn said_again(entry: &Entry, new: &Suppression) -> Option<Suppression> {
    let known = &entry.fact;
    let mut fact = known.clone();
    fact.expires = later_expiry(known.expires, new.expires);
    if entry.is_published() {
        fact.since = known.since.max(new.since);
    }
    if known.origin == Origin::Import && new.origin != Origin::Import {
        fact.origin = new.origin;
        fact.evidence.clone_from(&new.evidence);
    }
    (fact != *known).then_some(fact)
}

impl Store {
    /// Records many suppressions, at most [`CHUNK_MAX`] in one transaction; what was recorded before an error stays.
    /// Blocking.
    ///
    /// # Errors
    /// As [`Store::add`].
    pub fn add_many(&self, new: impl IntoIterator<Item = NewSuppression>) -> Result<AddedMany, StoreError> {
        let (mut new, mut counts) = (new.into_iter(), AddedMany::default());
        loop {
            let chunk: Vec<_> = new.by_ref().take(CHUNK_MAX).collect();
            if chunk.is_empty() {
                return Ok(counts);
            }
            for added in self.add_chunk(&chunk)? {
                match added {
                    Added::New => counts.new += 1,
                    Added::Renewed | Added::Existing => counts.existing += 1,
                }
            }
        }
    }

    /// Records some suppressions as one transaction and answers for each, in their order, what became of it. More than
    /// [`CHUNK_MAX`] of them make others wait. Blocking.
    ///
    /// # Errors
    /// As [`Store::add`]; nothing of them is recorded then, or trying again finds it there.
    pub fn add_chunk(&self, new: &[NewSuppression]) -> Result<Vec<Added>, StoreError> {
        let mut buffer = String::new();
        let chunk: Vec<Entry> = new.iter().map(|new| self.entry(new, &mut buffer)).collect();
        self.add_entries(&chunk)
    }

    /// [`Store::add_chunk`] of what a [`super::Window`] gives.
    ///
    /// # Errors
    /// As [`Store::add_chunk`].
    pub fn add_entries(&self, chunk: &[Entry]) -> Result<Vec<Added>, StoreError> {
        match self {
            Self::Embedded(store) => store.add_entries(chunk),
            Self::Redis(store) => store.add_entries(chunk),
            Self::Memory(store) => store.add_entries(chunk),
        }
    }

    /// A suppression as the entry that it will be, still without its number.
    pub(super) fn entry(&self, new: &NewSuppression, buffer: &mut String) -> Entry {
        match self {
            Self::Embedded(store) => store.entry(new, buffer),
            Self::Redis(store) => store.entry(new, buffer),
            Self::Memory(store) => store.entry(new, buffer),
        }
    }

    /// What these suppressions will look like once they are entries.
    #[cfg(test)]
    pub(crate) fn prints(&self, new: &[NewSuppression]) -> Vec<Print> {
        let mut buffer = String::new();
        new.iter().map(|new| Print::of(&self.entry(new, &mut buffer))).collect()
    }

    /// The entry that looks so, when it is there and nobody has changed it. Blocking.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn standing(&self, print: &Print) -> Result<Option<Entry>, StoreError> {
        Ok(self.family(print)?.into_iter().find(|entry| Print::of(entry) == *print))
    }

    /// Every entry of its family, whatever it looks like. Blocking.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn family(&self, print: &Print) -> Result<Vec<Entry>, StoreError> {
        let subject = Subject::Hashed { kind: print.kind, exact: print.family, family: print.family };
        Ok(self.matching(&subject)?.into_iter().map(|(_, entry)| entry).collect())
    }

    /// Removes the entries that still look as they did, and keeps who did it and why. Answers how many went; those that
    /// are gone or look otherwise are passed over. Blocking.
    ///
    /// # Errors
    /// [`StoreError::ReasonNeeded`] as [`Store::remove`]; any other, and doing it again goes on.
    pub fn withdraw(&self, withdrawal: &Withdrawal) -> Result<u64, StoreError> {
        match self {
            Self::Embedded(store) => store.withdraw(withdrawal),
            Self::Redis(store) => store.withdraw(withdrawal),
            Self::Memory(store) => store.withdraw(withdrawal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Cause, Scope};

    #[test]
    fn a_print_reads_back_and_nothing_else_does() {
        let print = Print { kind: Kind::Domain, family: AddressKey::from_octets([7; KEY_LEN]), sum: [1; SUM_LEN] };
        let text = print.to_string();
        assert_eq!(Print::parse(&text), Some(print));
        for bad in ["", "d", &text[1..], &text[..text.len() - 1], &format!("{text}0"), &text.replace('d', "x")] {
            assert_eq!(Print::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_import_gives_way_and_nobody_else_does() {
        let said = |origin, evidence: &str| Suppression {
            scope: Scope::Everything,
            cause: Cause::Unsubscribe,
            origin,
            evidence: Some(evidence.to_owned()),
            since: Timestamp::from_secs(1),
            expires: None,
        };
        let lies = |fact: &Suppression, exact: u8| Entry {
            cursor: super::super::Cursor(1),
            kind: Kind::Address,
            exact: AddressKey::from_octets([exact; KEY_LEN]),
            family: AddressKey::from_octets([7; KEY_LEN]),
            address: None,
            fact: fact.clone(),
            created: fact.since,
        };
        let (import, person) = (said(Origin::Import, "list"), said(Origin::OneClick, "click"));
        assert_eq!(said_again(&lies(&import, 1), &person), Some(person.clone()));
        assert_eq!(said_again(&lies(&person, 1), &import), None);
        assert_eq!(said_again(&lies(&import, 1), &said(Origin::Import, "other list")), None);
        assert_eq!(said_again(&lies(&person, 1), &said(Origin::Operator, "call")), None);
        let later = Suppression { since: Timestamp::from_secs(2), ..import.clone() };
        assert_eq!(said_again(&lies(&import, 1), &later), None);
        assert_eq!(said_again(&lies(&import, 7), &later), Some(later.clone()), "of a hash the later date counts");
        assert_eq!(said_again(&lies(&later, 7), &import), None);
    }
}
