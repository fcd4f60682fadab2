//! A new key for the address hash: the whole database once more, each hash hashed by the new secret, put in its place at once.

use std::path::Path;

use rusqlite::{Connection, params};

use super::registers::{self, raise_register};
use super::{events, writer};
use crate::store::files::Files;
use crate::store::key::{self, AddressKey, KEY_LEN};
use crate::store::rotate::Raise;
use crate::store::schema::{self, WRITE_WAIT};
use crate::store::{Rotated, Settings, StoreError, row};

/// See [`crate::store::Store::rotate_key`].
pub(in crate::store) fn rotate(settings: &Settings) -> Result<Rotated, StoreError> {
    let files = Files::new(&settings.path, settings.key_file.as_deref());
    // Held to the end: nobody opens the store meanwhile.
    let lock = files.lock()?;
    let mut newest = key::read(&files.key)?;
    schema::check_header(&files)?;
    let old = schema::connect(&files.database, WRITE_WAIT)?;
    let meta = schema::settle(&old, &files, &newest)?;
    let wrong = || StoreError::KeyWrong { path: files.key.clone() };
    let current = newest.with_check(&meta.key_check).ok_or_else(wrong)?;
    alone(&old, &files.database)?;
    schema::check_content(&old, &files.database, |_| ())?;
    // The secret is on disk before anything is hashed with it. One that an earlier attempt or the operator put there is used.
    if newest.secrets() == current.secrets() {
        newest = key::extend(&files.key)?;
    }
    let raise = Raise { from: &current, to: &newest };
    let next = files.database.with_extension("new");
    schema::create_file(&next, |new| copy(&old, new, &raise))?;
    let check = Connection::open(&next).map_err(StoreError::sql("open the new database"))?;
    schema::check_content(&check, &next, |_| ())?;
    check.close().map_err(|(_, error)| StoreError::sql("close the new database")(error))?;
    schema::move_into_place(&next, &files.database)?;
    drop((old, lock));
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(Rotated {
        key: newest.check().to_string(),
        secrets: newest.secrets(),
        entries: count(meta.entries),
        events: count(meta.events),
        waits_for: None,
    })
}

/// Makes sure that nobody else has the database open, and that nobody will before this connection is closed. The log is
/// folded in and gone afterwards, so that it cannot be taken for that of the database which comes into its place.
pub(in crate::store) fn alone(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let used = || StoreError::Refused {
        because: format!(
            "{} is open in another program; stop the daemon, and start it again afterwards",
            path.display()
        ),
    };
    let settle = || -> rusqlite::Result<String> {
        connection.pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |row| row.get::<_, String>(0))?;
        connection.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get(0))
    };
    match settle() {
        Ok(mode) if mode == "delete" => Ok(()),
        Ok(_) => Err(used()),
        Err(error) => match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => Err(used()),
            _ => Err(StoreError::sql("have the database alone")(error)),
        },
    }
}

fn copy(old: &Connection, new: &Connection, raise: &Raise<'_>) -> rusqlite::Result<()> {
    schema::for_nobody_yet(new)?;
    let whole = schema::lay_out(new)?;
    meta(old, &whole, raise)?;
    let mut statement = old.prepare(&format!("SELECT {} FROM suppressions ORDER BY seq", row::COLUMNS))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        writer::put(&whole, &raise.entry(row::read(row)?))?;
    }
    let mut statement = old.prepare(&format!("SELECT {} FROM events ORDER BY seq", events::COLUMNS))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        events::put(&whole, &raise.event(events::read(row)?))?;
    }
    removals(old, &whole, raise)?;
    for register in registers::all(old)? {
        raise_register(old, &whole, register, raise)?;
    }
    whole.commit()
}

/// Store, folding, creation, changes, entries, events.
type MetaRow = (String, i64, i64, i64, i64, i64);

fn meta(old: &Connection, new: &Connection, raise: &Raise<'_>) -> rusqlite::Result<()> {
    let question = "SELECT store_id, fold, created, seq, entries, events FROM meta WHERE one = 1";
    let read = |row: &rusqlite::Row<'_>| -> rusqlite::Result<MetaRow> {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
    };
    let (store, fold, created, seq, entries, events) = old.query_row(question, [], read)?;
    new.execute(
        "INSERT INTO meta (one, store_id, key_check, fold, created, seq, entries, events) VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
        params![store, raise.to.check().octets(), fold, created, seq, entries, events],
    )
    .map(drop)
}

/// The history of removals, whose rows are copied as they are but for the two hashes.
fn removals(old: &Connection, new: &Connection, raise: &Raise<'_>) -> rusqlite::Result<()> {
    const COLUMNS: usize = 15;
    const NAMES: &str = "exact, family, seq, entry, kind, scope_kind, controller, list, cause, origin, since, created, \
                         removed_at, removed_by, because";
    let mut put =
        new.prepare(&format!("INSERT INTO removals ({NAMES}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"))?;
    let mut statement = old.prepare(&format!("SELECT {NAMES} FROM removals ORDER BY seq"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let mut values =
            (0..COLUMNS).map(|at| row.get(at)).collect::<rusqlite::Result<Vec<rusqlite::types::Value>>>()?;
        for (at, value) in values.iter_mut().enumerate().take(2) {
            let hash = AddressKey::from_octets(row.get::<_, [u8; KEY_LEN]>(at)?);
            *value = raise.key(hash).octets().to_vec().into();
        }
        put.execute(rusqlite::params_from_iter(values))?;
    }
    Ok(())
}
