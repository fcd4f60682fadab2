//! What may be leased, in lines: one for each class, the longest due first within each.
//!
//! The spool does not know what a class means. Whoever opens it says by a [`Sorter`] which class a copy is of, and whoever
//! leases says by [`Turns`] whose turn it is: a million copies that may not go now, or that others have to be served
//! beside, are then not even looked at.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::batch::Manifest;
use crate::mail::Recipient;
use crate::time::Timestamp;

/// Copies that are fetched together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class(pub u16);

type Sort = dyn Fn(&Manifest, &[Recipient]) -> Class + Send + Sync;

/// Says which class a copy is of; asked once for each copy, at its arrival and at every start.
#[derive(Clone)]
pub struct Sorter(Arc<Sort>);

impl Sorter {
    /// By `sort`, which sees what the copy shares with its batch and whom it is for.
    pub fn new(sort: impl Fn(&Manifest, &[Recipient]) -> Class + Send + Sync + 'static) -> Self {
        Self(Arc::new(sort))
    }

    /// The class of a copy for `recipients`.
    pub(crate) fn class_of(&self, manifest: &Manifest, recipients: &[Recipient]) -> Class {
        (self.0)(manifest, recipients)
    }
}

impl Default for Sorter {
    /// All copies are alike.
    fn default() -> Self {
        Self::new(|_, _| Class::default())
    }
}

impl fmt::Debug for Sorter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sorter")
    }
}

/// Says whose turn it is. Asked under the spool's lock: it must not wait.
pub trait Turns: Send {
    /// A fetch begins.
    fn begin(&mut self, now: Timestamp);
    /// The class to fetch from next, and how many copies at most, of which up to `max` are wanted; `due` holds each class
    /// that has something due, with when its first was. `None`: nothing of these now.
    fn next(&mut self, due: &[(Class, Timestamp)], max: usize) -> Option<(Class, usize)>;
    /// So many were fetched of it.
    fn took(&mut self, class: Class, count: usize);
    /// In what time those that were passed over should be asked for again; only when something becomes due if `None`.
    fn again(&self) -> Option<Duration>;
}

/// All lines.
#[derive(Debug, Default)]
pub(super) struct Ready {
    lines: BTreeMap<Class, BTreeMap<(i64, u64), u64>>,
}

impl Ready {
    pub(super) fn insert(&mut self, class: Class, due: i64, order: u64, id: u64) {
        self.lines.entry(class).or_default().insert((due, order), id);
    }

    pub(super) fn remove(&mut self, class: Class, due: i64, order: u64) {
        if let Some(line) = self.lines.get_mut(&class) {
            line.remove(&(due, order));
            if line.is_empty() {
                self.lines.remove(&class);
            }
        }
    }

    /// Takes the id of the copy of `class` that is the longest due.
    pub(super) fn take(&mut self, class: Class, now: Timestamp) -> Option<u64> {
        let line = self.lines.get_mut(&class)?;
        let first = line.first_entry().filter(|entry| entry.key().0 <= now.as_millis())?;
        let id = first.remove();
        if line.is_empty() {
            self.lines.remove(&class);
        }
        Some(id)
    }

    /// When the first of `class` is due.
    pub(super) fn first_of(&self, class: Class) -> Option<Timestamp> {
        let ((due, _), _) = self.lines.get(&class)?.first_key_value()?;
        Some(Timestamp::from_millis(*due))
    }

    /// Each class, with when its first is due.
    pub(super) fn firsts(&self) -> impl Iterator<Item = (Class, Timestamp)> {
        self.lines.iter().filter_map(|(class, line)| {
            let ((due, _), _) = line.first_key_value()?;
            Some((*class, Timestamp::from_millis(*due)))
        })
    }
}

/// The longest due first, of whatever class.
pub(super) struct LongestDue;

impl Turns for LongestDue {
    fn begin(&mut self, _: Timestamp) {}
    fn next(&mut self, due: &[(Class, Timestamp)], max: usize) -> Option<(Class, usize)> {
        let (class, _) = due.iter().min_by_key(|(_, first)| *first)?;
        Some((*class, if due.len() == 1 { max } else { 1 }))
    }
    fn took(&mut self, _: Class, _: usize) {}
    fn again(&self) -> Option<Duration> {
        None
    }
}
