//! A new key for a fleet's address hash.
//!
//! Redis is not hashed anew in place: its facts go into this gateway's journal, which is, and from the journals it is filled
//! again as after a loss ([`super::keeper`]). So the one thing that has to be right about a rotation is the journal, on our own disk.

use std::path::Path;

use rusqlite::{Connection, params};

use super::fact::{Fact, Line};
use super::journal;
use super::keeper::Head;
use super::{Rebuilt, Redis, RedisSettings, Shared, admin, journal_path, key_file};
use crate::store::copy::Copied;
use crate::store::embedded::rotate::alone;
use crate::store::entry::Cursor;
use crate::store::event::Event;
use crate::store::files::Files;
use crate::store::key::{self, AddressKey, StoreKey};
use crate::store::rotate::{Raise, Rotated};
use crate::store::schema::{self, WRITE_WAIT};
use crate::store::{Settings, Store, StoreError};

/// How the fleet's store stands to this gateway's journal.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// Both are made with one key.
    Same,
    /// The store's key has secrets that the journal is not hashed with yet.
    Ahead(Box<StoreKey>),
    /// The store's key lacks secrets that the journal is hashed with: a rotation ended in the middle.
    Behind,
    /// Another key altogether.
    Other,
}

impl Stage {
    pub(super) fn of(key_check: &str, shared: &Shared) -> Self {
        let Some(check) = AddressKey::parse(key_check) else { return Self::Other };
        if check == shared.key.check() {
            return Self::Same;
        }
        match (shared.key.with_check(&check), shared.newest.with_check(&check)) {
            (Some(_), _) => Self::Behind,
            (None, Some(key)) => Self::Ahead(Box::new(key)),
            (None, None) => Self::Other,
        }
    }
}

impl Redis {
    /// See [`Store::rotate_fleet_key`].
    pub(in crate::store) fn rotate(redis: &RedisSettings, settings: &Settings) -> Result<Rotated, StoreError> {
        let (path, key_file) = (journal_path(settings), key_file(settings));
        let store = Self::unmet(redis, settings)?;
        let head =
            store.blocking(|shared| async move { admin::known(&shared).await.map_err(|d| shared.doubted(d)) })?;
        let stage = head.map(|head: Head| Stage::of(&head.key_check, &store.0.shared));
        // When the journal is ahead of the store, an attempt ended in the middle: the journal has everything already.
        if !matches!(stage, Some(Stage::Behind)) {
            store.probe()?;
            let current = store.0.shared.key.clone();
            drop(store);
            // Asked before the long way, and again at its end.
            alone(&schema::connect(&path, WRITE_WAIT)?, &path)?;
            let store = Self::open(redis, settings)?;
            store.probe()?;
            store.absorb()?;
            drop(store);
            let mut newest = key::read(&key_file)?;
            if newest.secrets() == current.secrets() {
                newest = key::extend(&key_file)?;
            }
            raise(&path, &newest, &newest)?;
        }
        // What lies there says how many buckets there are.
        let (store, rebuilt) = Self::rebuild(redis, settings, 0)?;
        let shared = &store.0.shared;
        let (entries, events) = shared.journal.census()?;
        let waits_for = match rebuilt {
            Rebuilt::Whole => None,
            Rebuilt::Waiting(because) => Some(because),
        };
        Ok(Rotated { key: store.key().check().to_string(), secrets: shared.key.secrets(), entries, events, waits_for })
    }

    /// Brings the journal to the key of the fleet's store when another gateway has rotated that. Answers itself when there was
    /// nothing to do; else it has to be opened again.
    pub(super) fn follow(self, settings: &Settings) -> Result<Option<Self>, StoreError> {
        let shared = &self.0.shared;
        if shared.newest.secrets() == shared.key.secrets() {
            return Ok(Some(self));
        }
        let head = self.blocking(|shared| async move { admin::known(&shared).await.map_err(|d| shared.doubted(d)) });
        // A server that does not answer is met later; then it says which key it wants.
        let Ok(Some(head)) = head else { return Ok(Some(self)) };
        let Stage::Ahead(key) = Stage::of(&head.key_check, shared) else { return Ok(Some(self)) };
        let newest = shared.newest.clone();
        drop(self);
        raise(&journal_path(settings), &newest, &key)?;
        Ok(None)
    }

    /// Writes everything that the fleet's store holds into this gateway's journal.
    fn absorb(&self) -> Result<(), StoreError> {
        let shared = &self.0.shared;
        let ground = shared.ground()?;
        Store::Redis(self.clone()).each_page(|page| {
            let fact = |copied| match copied {
                Copied::Entry(entry) => Fact::Suppression(entry),
                // Its place is not part of what was told.
                Copied::Event(event) => Fact::Event(Event { cursor: Cursor(0), ..event }),
            };
            let facts: Vec<Fact> = page.into_iter().map(fact).collect();
            let lines = shared.journal.append(&facts)?;
            let done = shared.journal.done(&lines, ground.generation, &ground.marks());
            shared.journal.release(&lines);
            done
        })
    }
}

/// What a crash between the journal and Redis leaves.
#[cfg(test)]
pub(in crate::store) fn half_a_rotation(settings: &Settings) -> Result<(), StoreError> {
    let key_file = key_file(settings);
    let newest = match key::read(&key_file)? {
        key if key.secrets() == 1 => key::extend(&key_file)?,
        key => key,
    };
    raise(&journal_path(settings), &newest, &newest)
}

/// Hashes a journal anew, up to the stage `to` of the key. Nobody else may have it open: what they wrote would be lost.
fn raise(path: &Path, newest: &StoreKey, to: &StoreKey) -> Result<(), StoreError> {
    let files = Files::new(path, None);
    let lock = files.lock()?;
    let old = schema::connect(path, WRITE_WAIT)?;
    let (_, from) = journal::check(&old, &files, newest)?;
    alone(&old, path)?;
    let next = path.with_extension("new");
    schema::create_file(&next, |new| copy(&old, new, &Raise { from: &from, to }))?;
    schema::move_into_place(&next, path)?;
    drop((old, lock));
    Ok(())
}

fn copy(old: &Connection, new: &Connection, raise: &Raise<'_>) -> rusqlite::Result<()> {
    schema::for_nobody_yet(new)?;
    let whole = journal::lay_out(new)?;
    let mut state = old.prepare("SELECT gateway, last, store, generation, marks, fleet FROM state")?;
    let values = state
        .query_row([], |row| (0..6).map(|at| row.get(at)).collect::<rusqlite::Result<Vec<rusqlite::types::Value>>>())?;
    whole.execute(
        "INSERT INTO state (one, gateway, last, store, generation, marks, fleet, key_check) VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
        rusqlite::params_from_iter(values.into_iter().chain([raise.to.check().octets().to_vec().into()])),
    )?;
    let mut put =
        whole.prepare("INSERT INTO facts (n, shelf, key, identity, record, done) VALUES (?, ?, ?, ?, ?, ?)")?;
    let mut facts = old.prepare("SELECT n, shelf, key, record, done FROM facts ORDER BY n")?;
    let mut rows = facts.query([])?;
    while let Some(row) = rows.next()? {
        let Line { number, fact } = journal::read_line(row)?;
        let fact = match fact {
            Fact::Suppression(entry) => Fact::Suppression(raise.entry(entry)),
            Fact::Event(event) => Fact::Event(raise.event(event)),
        };
        let done: i64 = row.get(4)?;
        put.execute(params![number, fact.word(), fact.key().octets(), fact.identity(), fact.record(), done])?;
    }
    drop((put, rows));
    whole.commit()
}
