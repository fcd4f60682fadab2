//! Entries as rows of the database: columns, their checksum, and the way back.
//!
//! SQLite checks its structure, not the octets within it. A flipped bit in a stored key would silently turn a
//! suppressed person into an unknown one, so every row carries a CRC-32 over its own columns and is refused without.

use rusqlite::Row;

use super::StoreError;
use super::entry::{Cursor, Entry, Kind};
use super::key::{AddressKey, KEY_LEN};
use crate::mail::{ControllerId, ListName};
use crate::policy::{Cause, Origin, Scope, Suppression};
use crate::time::Timestamp;

/// The columns that [`read`] expects, in this order.
pub(super) const COLUMNS: &str = "seq, kind, exact, family, address, scope_kind, controller, list, cause, origin, \
                                  evidence, since, expires, created, sum";

/// A scope as three columns; a missing name is the empty text, because NULLs are never equal and so never unique.
pub(super) fn scope_columns(scope: &Scope) -> (&'static str, &str, &str) {
    match scope {
        Scope::Everything => ("everything", "", ""),
        Scope::Controller(controller) => ("controller", controller.as_str(), ""),
        Scope::List(controller, list) => ("list", controller.as_str(), list.as_str()),
    }
}

fn scope_of(kind: &str, controller: &str, list: &str) -> Option<Scope> {
    match kind {
        "everything" => Some(Scope::Everything),
        "controller" => ControllerId::new(controller).ok().map(Scope::Controller),
        "list" => Some(Scope::List(ControllerId::new(controller).ok()?, ListName::new(list).ok()?)),
        _ => None,
    }
}

/// CRC-32 over all columns but the checksum, each text with its length before it.
pub(super) fn checksum(entry: &Entry) -> i64 {
    let mut hasher = crc32fast::Hasher::new();
    let mut text = |part: Option<&str>| {
        let len = part.map_or(u64::MAX, |text| u64::try_from(text.len()).unwrap_or(u64::MAX - 1));
        hasher.update(&len.to_le_bytes());
        hasher.update(part.unwrap_or_default().as_bytes());
    };
    let (scope_kind, controller, list) = scope_columns(&entry.fact.scope);
    for part in [entry.kind.as_str(), scope_kind, controller, list] {
        text(Some(part));
    }
    text(Some(entry.fact.cause.as_str()));
    text(Some(entry.fact.origin.as_str()));
    text(entry.address.as_deref());
    text(entry.fact.evidence.as_deref());
    hasher.update(entry.exact.octets());
    hasher.update(entry.family.octets());
    let expires = entry.fact.expires.map_or(i64::MIN, Timestamp::as_millis);
    for number in [entry.cursor.0, entry.fact.since.as_millis(), expires, entry.created.as_millis()] {
        hasher.update(&number.to_le_bytes());
    }
    i64::from(hasher.finalize())
}

/// Reads a row of [`COLUMNS`].
///
/// # Errors
/// SQLite's own, and `FromSqlConversionFailure` for a row that is not what was written.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let key = |column: usize| -> rusqlite::Result<AddressKey> {
        row.get::<_, [u8; KEY_LEN]>(column).map(AddressKey::from_octets)
    };
    let instant = |column: usize| row.get::<_, i64>(column).map(Timestamp::from_millis);
    let text = |column: usize| -> rusqlite::Result<&str> { Ok(row.get_ref(column)?.as_str()?) };
    let scope = scope_of(text(5)?, text(6)?, text(7)?).ok_or_else(|| broken(5, "scope"))?;
    let entry = Entry {
        cursor: Cursor(row.get(0)?),
        kind: Kind::parse(text(1)?).ok_or_else(|| broken(1, "kind"))?,
        exact: key(2)?,
        family: key(3)?,
        address: row.get(4)?,
        fact: Suppression {
            scope,
            cause: text(8)?.parse::<Cause>().map_err(|_| broken(8, "cause"))?,
            origin: text(9)?.parse::<Origin>().map_err(|_| broken(9, "origin"))?,
            evidence: row.get(10)?,
            since: instant(11)?,
            expires: row.get::<_, Option<i64>>(12)?.map(Timestamp::from_millis),
        },
        created: instant(13)?,
    };
    if row.get::<_, i64>(14)? == checksum(&entry) { Ok(entry) } else { Err(broken(14, "checksum")) }
}

pub(super) fn broken(column: usize, what: &'static str) -> rusqlite::Error {
    let why = StoreError::Damaged { path: "row".into(), what: format!("unexpected {what}") };
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(why))
}
