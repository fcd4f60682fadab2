//! A store in memory, with the same answers as the embedded one and a switch to fail: what other rooms test with.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::bulk::{Print, Withdrawal, said_again};
use super::copy::Copied;
use super::entry::{Cursor, Entry, PAGE_MAX, Page, Selection, Stats, Subject, lookup_key};
use super::event::{Event, NewEvent, View};
use super::key::{AddressKey, StoreKey};
use super::published::{RegisterEntry, published_keys, register_key};
use super::{
    Added, AddedMany, Cleartext, Dossier, Kind, Match, NewSuppression, Removal, Revision, Seen, StoreError, Tried,
};
use crate::mail::Mailbox;
use crate::policy::{Cause, ListCheck, Listed, RegisterName, Suppression};
use crate::time::Timestamp;

/// A key that is no secret: what lies in memory is as readable as the key itself.
const OPEN_KEY: [u8; 32] = [0; 32];

/// Suppressions in memory; clones share them.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    key: StoreKey,
    failing: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<Entry>,
    seq: i64,
    removed: u64,
    events: Vec<Event>,
    registers: BTreeMap<RegisterName, (Timestamp, HashSet<AddressKey>)>,
}

impl Default for Memory {
    fn default() -> Self {
        let (failing, state) = (AtomicBool::new(false), Mutex::default());
        Self(Arc::new(Shared { key: StoreKey::new(&OPEN_KEY), failing, state }))
    }
}

impl Memory {
    /// From now on every call fails with a transient error, or succeeds again.
    pub fn fail(&self, failing: bool) {
        self.0.failing.store(failing, Ordering::SeqCst);
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        self.probe()?;
        Ok(self.0.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn probe(&self) -> Result<(), StoreError> {
        if self.0.failing.load(Ordering::SeqCst) {
            return Err(StoreError::Latched { because: "it was told to fail".to_owned() });
        }
        Ok(())
    }

    pub(super) fn evidence(&self, recipients: &[&Mailbox]) -> Result<Vec<Vec<Suppression>>, StoreError> {
        self.probe()?;
        let facts = |mailbox: &&Mailbox| {
            let found = self.matching(&Subject::Address((*mailbox).clone()))?;
            Ok(found.into_iter().map(|(_, entry)| entry.fact).collect())
        };
        recipients.iter().map(facts).collect()
    }

    pub(super) fn matching(&self, subject: &Subject) -> Result<Vec<(Match, Entry)>, StoreError> {
        let state = self.state()?;
        let mut buffer = String::new();
        let key = &self.0.key;
        let (kind, first) = lookup_key(subject, key, &mut buffer);
        let (domain, exact) = match subject {
            Subject::Address(mailbox) => (Some(mailbox.domain()), key.exact(mailbox, &mut buffer)),
            Subject::Domain(domain) => (Some(domain), first),
            Subject::Published(_) => (None, first),
            Subject::Hashed { exact, .. } => (None, *exact),
        };
        let published = match subject {
            Subject::Address(mailbox) => published_keys(mailbox, key, &mut buffer),
            Subject::Domain(_) | Subject::Published(_) | Subject::Hashed { .. } => Vec::new(),
        };
        let domains = domain.map(|domain| key.domains(domain, &mut buffer)).unwrap_or_default();
        let meets = |entry: &&Entry| {
            (entry.kind == kind && (entry.family == first || published.contains(&entry.family)))
                || (entry.kind == Kind::Domain && domains.contains(&entry.family))
        };
        Ok(state.entries.iter().filter(meets).map(|entry| (entry.matched(&exact), entry.clone())).collect())
    }

    pub(super) fn dossier(&self, recipients: &[&Mailbox]) -> Result<Vec<Dossier>, StoreError> {
        let suppressions = self.evidence(recipients)?;
        let state = self.state()?;
        let mut buffer = String::new();
        let key = &self.0.key;
        let one = |(mailbox, suppressions): (&&Mailbox, Vec<Suppression>)| {
            let exact = key.exact(mailbox, &mut buffer);
            let family = key.family(mailbox, &mut buffer);
            let domains = key.domains(mailbox.domain(), &mut buffer);
            let published = published_keys(mailbox, key, &mut buffer);
            let view = state.view(&exact);
            let check = |(list, (fresh_on, keys)): (&RegisterName, &(Timestamp, HashSet<AddressKey>))| {
                let listed = keys.contains(&family) || domains.iter().chain(&published).any(|key| keys.contains(key));
                let answer = if listed { Listed::Yes } else { Listed::No };
                ListCheck { list: list.clone(), fresh_on: *fresh_on, answer }
            };
            let registers = state.registers.iter().map(check).collect();
            Dossier { suppressions, contact: view.contact, consents: view.consents, registers }
        };
        Ok(recipients.iter().zip(suppressions).map(one).collect())
    }

    pub(super) fn event(&self, new: &NewEvent, buffer: &mut String) -> Event {
        new.event(&self.0.key, Cleartext::Keep, buffer)
    }

    pub(super) fn record_events(&self, events: &[Event]) -> Result<Vec<Added>, StoreError> {
        let mut state = self.state()?;
        Ok(events.iter().map(|event| state.record(event)).collect())
    }

    pub(super) fn record_if(
        &self,
        key: &AddressKey,
        events: &[Event],
        seen: &Seen,
    ) -> Result<Tried<Vec<Added>>, StoreError> {
        let mut state = self.state()?;
        let present = Revision::of_events(key, &seen.reach, &state.told(key));
        if !seen.is(&present) {
            return Ok(Tried::Meanwhile(present));
        }
        Ok(Tried::Done(events.iter().map(|event| state.record(event)).collect()))
    }

    pub(super) fn histories(&self, keys: &[AddressKey]) -> Result<Vec<Vec<Event>>, StoreError> {
        let state = self.state()?;
        Ok(keys.iter().map(|key| state.told(key)).collect())
    }

    pub(super) fn events(&self, after: Cursor, limit: usize) -> Result<Vec<(Cursor, Event)>, StoreError> {
        let state = self.state()?;
        let later = state.events.iter().filter(|event| event.cursor > after).take(limit);
        Ok(later.map(|event| (event.cursor, event.clone())).collect())
    }

    pub(super) fn take(&self, copied: Vec<Copied>) -> Result<AddedMany, StoreError> {
        let mut state = self.state()?;
        let mut counts = AddedMany::default();
        for fact in copied {
            let is_new = match fact {
                Copied::Entry(entry) => state.add(entry) == Added::New,
                Copied::Event(event) if state.events.iter().any(|known| known.is_same(&event)) => false,
                Copied::Event(event) => {
                    state.seq += 1;
                    let cursor = Cursor(state.seq);
                    state.events.push(Event { cursor, ..event });
                    true
                }
            };
            if is_new {
                counts.new += 1;
            } else {
                counts.existing += 1;
            }
        }
        Ok(counts)
    }

    pub(super) fn history(&self, mailbox: &Mailbox) -> Result<Vec<Event>, StoreError> {
        let exact = self.0.key.exact(mailbox, &mut String::new());
        Ok(self.state()?.told(&exact))
    }

    pub(super) fn load_register(
        &self,
        name: &RegisterName,
        fresh_on: Timestamp,
        subjects: &mut dyn Iterator<Item = Result<RegisterEntry, StoreError>>,
    ) -> Result<u64, StoreError> {
        let mut buffer = String::new();
        let key = |entry: Result<RegisterEntry, _>| Ok(register_key(&entry?, &self.0.key, &mut buffer));
        let keys = subjects.map(key).collect::<Result<HashSet<_>, StoreError>>()?;
        let count = u64::try_from(keys.len()).unwrap_or(u64::MAX);
        self.state()?.registers.insert(name.clone(), (fresh_on, keys));
        Ok(count)
    }

    pub(super) fn registers(&self) -> Result<Vec<(RegisterName, Timestamp, u64)>, StoreError> {
        let state = self.state()?;
        let shown = |(name, (fresh_on, keys)): (&RegisterName, &(Timestamp, HashSet<AddressKey>))| {
            (name.clone(), *fresh_on, u64::try_from(keys.len()).unwrap_or(u64::MAX))
        };
        Ok(state.registers.iter().map(shown).collect())
    }

    pub(super) fn each_listed(
        &self,
        name: &RegisterName,
        visit: &mut dyn FnMut(&[AddressKey]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let keys = self.state()?.registers.get(name).map(|(_, keys)| keys.clone()).unwrap_or_default();
        let mut keys: Vec<_> = keys.into_iter().collect();
        keys.sort();
        visit(&keys)
    }

    pub(super) fn entry(&self, new: &NewSuppression, buffer: &mut String) -> Entry {
        new.entry(&self.0.key, Cleartext::Keep, buffer)
    }

    pub(super) fn add_entries(&self, chunk: &[Entry]) -> Result<Vec<Added>, StoreError> {
        let mut state = self.state()?;
        Ok(chunk.iter().map(|entry| state.add(entry.clone())).collect())
    }

    pub(super) fn add_if(&self, new: &NewSuppression, seen: &Seen) -> Result<Tried<Added>, StoreError> {
        let entry = self.entry(new, &mut String::new());
        let mut state = self.state()?;
        let present = Revision::of_entries(entry.kind, &entry.family, &seen.reach, &state.entries);
        if !seen.is(&present) {
            return Ok(Tried::Meanwhile(present));
        }
        Ok(Tried::Done(state.add(entry)))
    }

    pub(super) fn withdraw(&self, withdrawal: &Withdrawal) -> Result<u64, StoreError> {
        let mut state = self.state()?;
        let mut gone = 0;
        for print in &withdrawal.prints {
            let goes = |entry: &Entry| Print::of(entry) == *print;
            let found: Vec<Entry> = state.entries.iter().filter(|entry| goes(entry)).cloned().collect();
            withdrawal.removal(print).check(&found)?;
            state.entries.retain(|entry| !goes(entry));
            for _ in &found {
                state.seq += 1;
                state.removed += 1;
                gone += 1;
            }
        }
        Ok(gone)
    }

    pub(super) fn remove(&self, removal: &Removal) -> Result<Vec<Entry>, StoreError> {
        let (kind, key) = lookup_key(&removal.subject, &self.0.key, &mut String::new());
        self.state()?.remove(kind, &key, removal)
    }

    pub(super) fn remove_if(&self, removal: &Removal, seen: &Seen) -> Result<Tried<Vec<Entry>>, StoreError> {
        let (kind, key) = lookup_key(&removal.subject, &self.0.key, &mut String::new());
        let mut state = self.state()?;
        let present = Revision::of_entries(kind, &key, &seen.reach, &state.entries);
        if !seen.is(&present) {
            return Ok(Tried::Meanwhile(present));
        }
        state.remove(kind, &key, removal).map(Tried::Done)
    }

    pub(super) fn list(&self, selection: &Selection, after: Cursor, limit: usize) -> Result<Page, StoreError> {
        let state = self.state()?;
        let limit = limit.clamp(1, PAGE_MAX);
        let shown = |entry: &&Entry| entry.cursor > after && selection.covers(&entry.fact);
        let mut entries: Vec<Entry> = state.entries.iter().filter(shown).take(limit + 1).cloned().collect();
        let more = entries.len() > limit;
        entries.truncate(limit);
        let next = entries.last().map(|entry| entry.cursor).filter(|_| more);
        Ok(Page { entries, next })
    }

    pub(super) fn stats(&self) -> Result<Stats, StoreError> {
        let state = self.state()?;
        let count = |test: &dyn Fn(&Entry) -> bool| {
            u64::try_from(state.entries.iter().filter(|entry| test(entry)).count()).unwrap_or(u64::MAX)
        };
        Ok(Stats {
            store: "memory".to_owned(),
            changes: state.seq,
            addresses: count(&|entry| entry.kind == Kind::Address),
            domains: count(&|entry| entry.kind == Kind::Domain),
            removed: state.removed,
            by_cause: Cause::ALL.iter().map(|cause| (*cause, count(&|entry| entry.fact.cause == *cause))).collect(),
        })
    }

    pub(super) fn key(&self) -> &StoreKey {
        &self.0.key
    }
}

impl State {
    /// Every event about one exact address.
    fn told(&self, exact: &AddressKey) -> Vec<Event> {
        self.events.iter().filter(|event| event.exact == *exact).cloned().collect()
    }

    fn view(&self, exact: &AddressKey) -> View {
        View::of(&self.told(exact))
    }

    fn record(&mut self, event: &Event) -> Added {
        if self.view(&event.exact).holds(&event.told) {
            return Added::Existing;
        }
        self.seq += 1;
        let cursor = Cursor(self.seq);
        self.events.push(Event { cursor, ..event.clone() });
        Added::New
    }

    fn remove(&mut self, kind: Kind, key: &AddressKey, removal: &Removal) -> Result<Vec<Entry>, StoreError> {
        let goes = |entry: &Entry| entry.kind == kind && entry.family == *key && removal.covers(&entry.fact);
        let found: Vec<Entry> = self.entries.iter().filter(|entry| goes(entry)).cloned().collect();
        removal.check(&found)?;
        self.entries.retain(|entry| !goes(entry));
        for _ in &found {
            self.seq += 1;
            self.removed += 1;
        }
        Ok(found)
    }

    fn add(&mut self, mut entry: Entry) -> Added {
        let same = |known: &&mut Entry| {
            (known.kind, known.exact, &known.fact.scope, known.fact.cause)
                == (entry.kind, entry.exact, &entry.fact.scope, entry.fact.cause)
        };
        let view = self.view(&entry.exact);
        if let Some(known) = self.entries.iter_mut().find(same) {
            if view.lifts(&known.fact, entry.fact.since) {
                known.fact = entry.fact;
                known.created = entry.created;
                return Added::New;
            }
            let Some(renewed) = said_again(known, &entry.fact) else { return Added::Existing };
            known.fact = renewed;
            return Added::Renewed;
        }
        self.seq += 1;
        entry.cursor = Cursor(self.seq);
        self.entries.push(entry);
        Added::New
    }
}
