//! Changes: each is one transaction, on disk before it is acknowledged, and remembered by the mark.

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::{Embedded, Shared, events, find, lock};
use crate::policy::Suppression;
use crate::store::bulk::{Print, Withdrawal, said_again};
use crate::store::entry::{Entry, lookup_key};
use crate::store::schema::Meta;
use crate::store::{Added, Cursor, NewSuppression, Removal, Revision, Seen, StoreError, Tried, row};
use crate::time::Timestamp;

pub(super) fn add_entries(shared: &Shared, chunk: &[Entry]) -> Result<Vec<Added>, StoreError> {
    if chunk.is_empty() {
        return Ok(Vec::new());
    }
    change(shared, "record a suppression", |transaction| {
        chunk.iter().map(|entry| add(transaction, entry)).collect::<rusqlite::Result<_>>().map(Ok)
    })
}

pub(super) fn withdraw(shared: &Shared, withdrawal: &Withdrawal) -> Result<u64, StoreError> {
    change(shared, "take an import back", |transaction| {
        let mut gone = 0;
        for print in &withdrawal.prints {
            let removal = withdrawal.removal(print);
            let mut found = Vec::new();
            find(transaction, print.kind, &print.family, &mut found)?;
            found.retain(|entry| Print::of(entry) == *print);
            if let Err(refused) = removal.check(&found) {
                return Ok(Err(refused));
            }
            for entry in &found {
                take_out(transaction, entry, &removal)?;
                gone += 1;
            }
        }
        Ok(Ok(gone))
    })
}

pub(super) fn remove(shared: &Shared, removal: &Removal) -> Result<Vec<Entry>, StoreError> {
    let (kind, key) = lookup_key(&removal.subject, &shared.key, &mut String::new());
    change(shared, "remove a suppression", |transaction| {
        let mut found = Vec::new();
        find(transaction, kind, &key, &mut found)?;
        take_out_of(transaction, found, removal)
    })
}

impl Embedded {
    /// See [`crate::store::Store::add_if`].
    pub(in crate::store) fn add_if(&self, new: &NewSuppression, seen: &Seen) -> Result<Tried<Added>, StoreError> {
        let entry = self.entry(new, &mut String::new());
        change(&self.0, "record a suppression", |transaction| {
            let mut found = Vec::new();
            find(transaction, entry.kind, &entry.family, &mut found)?;
            let present = Revision::of_entries(entry.kind, &entry.family, &seen.reach, &found);
            if !seen.is(&present) {
                return Ok(Ok(Tried::Meanwhile(present)));
            }
            add(transaction, &entry).map(|added| Ok(Tried::Done(added)))
        })
    }

    /// See [`crate::store::Store::remove_if`].
    pub(in crate::store) fn remove_if(&self, removal: &Removal, seen: &Seen) -> Result<Tried<Vec<Entry>>, StoreError> {
        let (kind, key) = lookup_key(&removal.subject, &self.0.key, &mut String::new());
        change(&self.0, "remove a suppression", |transaction| {
            let mut found = Vec::new();
            find(transaction, kind, &key, &mut found)?;
            let present = Revision::of_entries(kind, &key, &seen.reach, &found);
            if !seen.is(&present) {
                return Ok(Ok(Tried::Meanwhile(present)));
            }
            Ok(take_out_of(transaction, found, removal)?.map(Tried::Done))
        })
    }
}

/// Takes those of `found` out that are to go, all or none, and answers them.
fn take_out_of(
    transaction: &Transaction<'_>,
    mut found: Vec<Entry>,
    removal: &Removal,
) -> rusqlite::Result<Result<Vec<Entry>, StoreError>> {
    found.retain(|entry| removal.covers(&entry.fact));
    if let Err(refused) = removal.check(&found) {
        return Ok(Err(refused));
    }
    found.iter().try_for_each(|entry| take_out(transaction, entry, removal))?;
    Ok(Ok(found))
}

/// Runs `work` as one durable transaction; an inner error rolls back. The mark follows before anybody is told.
pub(super) fn change<T>(
    shared: &Shared,
    action: &'static str,
    work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<Result<T, StoreError>>,
) -> Result<T, StoreError> {
    shared.usable()?;
    let connection = lock(&shared.writer);
    shared.unmoved(&connection)?;
    let run = || -> rusqlite::Result<Result<(T, Meta), StoreError>> {
        // IMMEDIATE takes the write lock at once: a transaction that only later found it busy could not wait.
        let transaction = Transaction::new_unchecked(&connection, TransactionBehavior::Immediate)?;
        let outcome = match work(&transaction)? {
            Ok(outcome) => outcome,
            Err(refused) => return Ok(Err(refused)),
        };
        let meta = Meta::read(&transaction)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        transaction.commit()?;
        Ok(Ok((outcome, meta)))
    };
    let (outcome, meta) = run().map_err(|e| shared.judge(action, e))??;
    // A file that was taken away meanwhile took the change with it.
    shared.unmoved(&connection)?;
    drop(connection);
    shared.files.raise_mark(&meta.mark())?;
    Ok(outcome)
}

/// Counts one change and answers its number.
pub(super) fn step(connection: &Connection, entries: i64) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("UPDATE meta SET seq = seq + 1, entries = entries + ? WHERE one = 1 RETURNING seq")?
        .query_row([entries], |row| row.get(0))
}

/// Counts one event and answers its number.
pub(super) fn step_events(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("UPDATE meta SET seq = seq + 1, events = events + 1 WHERE one = 1 RETURNING seq")?
        .query_row([], |row| row.get(0))
}

pub(super) fn add(connection: &Connection, entry: &Entry) -> rusqlite::Result<Added> {
    let Some(first) = known(connection, entry)? else {
        return insert(connection, entry).map(|()| Added::New);
    };
    if events::view(connection, &entry.exact)?.lifts(&first.fact, entry.fact.since) {
        take_out(connection, &first, &Removal::said_again(&first, entry.created))?;
        return insert(connection, entry).map(|()| Added::New);
    }
    match said_again(&first, &entry.fact) {
        None => Ok(Added::Existing),
        Some(fact) => renew(connection, &Entry { fact, ..first }).map(|()| Added::Renewed),
    }
}

fn known(connection: &Connection, entry: &Entry) -> rusqlite::Result<Option<Entry>> {
    let (scope_kind, controller, list) = row::scope_columns(&entry.fact.scope);
    connection
        .prepare_cached(&format!(
            "SELECT {} FROM suppressions WHERE exact = ? AND kind = ? AND scope_kind = ? AND controller = ? \
             AND list = ? AND cause = ?",
            row::COLUMNS
        ))?
        .query_row(
            params![entry.exact.octets(), entry.kind.as_str(), scope_kind, controller, list, entry.fact.cause.as_str()],
            row::read,
        )
        .optional()
}

fn insert(connection: &Connection, entry: &Entry) -> rusqlite::Result<()> {
    put(connection, &Entry { cursor: Cursor(step(connection, 1)?), ..entry.clone() })
}

/// Writes a row for an entry that has its number.
pub(super) fn put(connection: &Connection, numbered: &Entry) -> rusqlite::Result<()> {
    let Entry { cursor, kind, exact, family, address, fact, created } = numbered;
    let Suppression { scope, cause, origin, evidence, since, expires } = fact;
    let (scope_kind, controller, list) = row::scope_columns(scope);
    let mut statement = connection.prepare_cached(&format!(
        "INSERT INTO suppressions ({}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        row::COLUMNS
    ))?;
    statement
        .execute(params![
            cursor.0,
            kind.as_str(),
            exact.octets(),
            family.octets(),
            address,
            scope_kind,
            controller,
            list,
            cause.as_str(),
            origin.as_str(),
            evidence,
            since.as_millis(),
            expires.map(Timestamp::as_millis),
            created.as_millis(),
            row::checksum(numbered)
        ])
        .map(drop)
}

/// Writes what a known entry says now.
fn renew(connection: &Connection, entry: &Entry) -> rusqlite::Result<()> {
    step(connection, 0)?;
    let Suppression { origin, evidence, since, expires, .. } = &entry.fact;
    connection
        .prepare_cached(
            "UPDATE suppressions SET origin = ?, evidence = ?, since = ?, expires = ?, sum = ? WHERE seq = ?",
        )?
        .execute(params![
            origin.as_str(),
            evidence,
            since.as_millis(),
            expires.map(Timestamp::as_millis),
            row::checksum(entry),
            entry.cursor.0
        ])
        .map(drop)
}

/// The later of two expiries, where none is the latest of all.
pub(in crate::store) fn later_expiry(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    Some(one?.max(other?))
}

/// Moves an entry into the history of removals, where only its hashes remain.
fn take_out(connection: &Connection, entry: &Entry, removal: &Removal) -> rusqlite::Result<()> {
    let seq = step(connection, -1)?;
    let (scope_kind, controller, list) = row::scope_columns(&entry.fact.scope);
    connection
        .prepare_cached(
            "INSERT INTO removals (seq, entry, kind, exact, family, scope_kind, controller, list, cause, origin, \
             since, created, removed_at, removed_by, because) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            seq,
            entry.cursor.0,
            entry.kind.as_str(),
            entry.exact.octets(),
            entry.family.octets(),
            scope_kind,
            controller,
            list,
            entry.fact.cause.as_str(),
            entry.fact.origin.as_str(),
            entry.fact.since.as_millis(),
            entry.created.as_millis(),
            removal.at.as_millis(),
            removal.by,
            removal.because
        ])?;
    connection.prepare_cached("DELETE FROM suppressions WHERE seq = ?")?.execute([entry.cursor.0]).map(drop)
}
