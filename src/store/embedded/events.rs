//! Events in the database: rows that are added and read, never changed.

use rusqlite::{Connection, Row, params};

use super::writer::{change, step_events};
use super::{Embedded, Shared, lock};
use crate::mail::Mailbox;
use crate::store::copy::Copied;
use crate::store::event::{Event, NewEvent, View};
use crate::store::fact::Columns;
use crate::store::key::{AddressKey, KEY_LEN};
use crate::store::{Added, AddedMany, Cursor, Revision, Seen, StoreError, Tried, row};
use crate::time::Timestamp;

/// Most additions in one transaction, as for suppressions.
const CHUNK: usize = 1000;

/// The columns that [`read`] expects, in this order.
pub(in crate::store) const COLUMNS: &str =
    "seq, exact, address, kind, controller, purpose, fact, recorded_at, recorded_by, sum";
const FIND: &str = "SELECT seq, exact, address, kind, controller, purpose, fact, recorded_at, recorded_by, sum \
                    FROM events WHERE exact = ? ORDER BY seq";

impl Embedded {
    /// The event as it will lie in the store.
    pub(in crate::store) fn event(&self, new: &NewEvent, buffer: &mut String) -> Event {
        new.event(&self.0.key, self.0.cleartext, buffer)
    }

    /// See [`crate::store::Store::record_chunk`].
    pub(in crate::store) fn record_events(&self, events: &[Event]) -> Result<Vec<Added>, StoreError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        change(&self.0, "record a consent", |transaction| {
            events.iter().map(|event| add(transaction, event)).collect::<rusqlite::Result<_>>().map(Ok)
        })
    }

    /// See [`crate::store::Store::record_if`].
    pub(in crate::store) fn record_if(
        &self,
        key: &AddressKey,
        events: &[Event],
        seen: &Seen,
    ) -> Result<Tried<Vec<Added>>, StoreError> {
        change(&self.0, "record a consent", |transaction| {
            let present = Revision::of_events(key, &seen.reach, &find(transaction, key)?);
            if !seen.is(&present) {
                return Ok(Ok(Tried::Meanwhile(present)));
            }
            let added = events.iter().map(|event| add(transaction, event)).collect::<rusqlite::Result<_>>()?;
            Ok(Ok(Tried::Done(added)))
        })
    }

    /// See [`crate::store::Store::history`].
    pub(in crate::store) fn history(&self, mailbox: &Mailbox) -> Result<Vec<Event>, StoreError> {
        let exact = self.0.key.exact(mailbox, &mut String::new());
        Ok(self.histories(&[exact])?.pop().unwrap_or_default())
    }

    /// See [`crate::store::Store::histories`].
    pub(in crate::store) fn histories(&self, keys: &[AddressKey]) -> Result<Vec<Vec<Event>>, StoreError> {
        let shared: &Shared = &self.0;
        shared.usable()?;
        let desk = lock(&shared.desk);
        shared.unmoved(&desk)?;
        let read = || {
            let snapshot = desk.unchecked_transaction()?;
            keys.iter().map(|key| find(&snapshot, key)).collect::<rusqlite::Result<_>>()
        };
        read().map_err(|e| shared.judge("read a history", e))
    }
}

impl Embedded {
    /// See [`crate::store::copy`].
    pub(in crate::store) fn events(&self, after: Cursor, limit: usize) -> Result<Vec<(Cursor, Event)>, StoreError> {
        let shared: &Shared = &self.0;
        shared.usable()?;
        let desk = lock(&shared.desk);
        shared.unmoved(&desk)?;
        let page = || -> rusqlite::Result<Vec<(Cursor, Event)>> {
            let mut statement =
                desk.prepare_cached(&format!("SELECT {COLUMNS} FROM events WHERE seq > ? ORDER BY seq LIMIT ?"))?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let place = |row: &Row<'_>| read(row).map(|event| (event.cursor, event));
            statement.query_map(params![after.0, limit], place)?.collect()
        };
        page().map_err(|e| shared.judge("read events", e))
    }

    /// See [`crate::store::copy`]. The order in which they come is the order in which they stand.
    pub(in crate::store) fn take(&self, copied: &[Copied]) -> Result<AddedMany, StoreError> {
        let mut counts = AddedMany::default();
        for chunk in copied.chunks(CHUNK) {
            let new = change(&self.0, "take facts in", |transaction| {
                let mut new = 0;
                for fact in chunk {
                    new += u64::from(match fact {
                        Copied::Entry(entry) => super::writer::add(transaction, entry)? == Added::New,
                        Copied::Event(event) => take_event(transaction, event)?,
                    });
                }
                Ok(Ok(new))
            })?;
            counts.new += new;
            counts.existing += u64::try_from(chunk.len()).unwrap_or(u64::MAX).saturating_sub(new);
        }
        Ok(counts)
    }
}

fn take_event(connection: &Connection, event: &Event) -> rusqlite::Result<bool> {
    if find(connection, &event.exact)?.iter().any(|known| known.is_same(event)) {
        return Ok(false);
    }
    insert(connection, event).map(|()| true)
}

/// All events about one exact address, in the order of recording.
pub(super) fn find(connection: &Connection, exact: &AddressKey) -> rusqlite::Result<Vec<Event>> {
    let mut statement = connection.prepare_cached(FIND)?;
    let rows = statement.query_map([exact.octets()], read)?;
    rows.collect()
}

/// What holds now about one exact address.
pub(super) fn view(connection: &Connection, exact: &AddressKey) -> rusqlite::Result<View> {
    find(connection, exact).map(|events| View::of(&events))
}

/// Whether the event told anything new.
fn add(connection: &Connection, event: &Event) -> rusqlite::Result<Added> {
    if view(connection, &event.exact)?.holds(&event.told) {
        return Ok(Added::Existing);
    }
    insert(connection, event).map(|()| Added::New)
}

fn insert(connection: &Connection, event: &Event) -> rusqlite::Result<()> {
    put(connection, &Event { cursor: Cursor(step_events(connection)?), ..event.clone() })
}

/// Writes a row for an event that has its number.
pub(super) fn put(connection: &Connection, event: &Event) -> rusqlite::Result<()> {
    let columns = Columns::of(&event.told);
    connection
        .prepare_cached(&format!("INSERT INTO events ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"))?
        .execute(params![
            event.cursor.0,
            event.exact.octets(),
            event.address,
            columns.kind,
            columns.controller,
            columns.purpose,
            columns.fact,
            event.at.as_millis(),
            event.by,
            checksum(event, &columns)
        ])
        .map(drop)
}

/// Reads a row of [`COLUMNS`].
///
/// # Errors
/// SQLite's own, and `FromSqlConversionFailure` for a row that is not what was written.
pub(in crate::store) fn read(row: &Row<'_>) -> rusqlite::Result<Event> {
    let columns = Columns { kind: row.get(3)?, controller: row.get(4)?, purpose: row.get(5)?, fact: row.get(6)? };
    let told = columns.read().ok_or_else(|| row::broken(6, "fact"))?;
    let event = Event {
        cursor: Cursor(row.get(0)?),
        exact: AddressKey::from_octets(row.get::<_, [u8; KEY_LEN]>(1)?),
        address: row.get(2)?,
        told,
        at: Timestamp::from_millis(row.get(7)?),
        by: row.get(8)?,
    };
    if row.get::<_, i64>(9)? == checksum(&event, &columns) { Ok(event) } else { Err(row::broken(9, "checksum")) }
}

/// CRC-32 over all columns but the checksum, each text with its length before it.
fn checksum(event: &Event, columns: &Columns) -> i64 {
    let mut hasher = crc32fast::Hasher::new();
    let address = event.address.as_deref();
    let texts = [&columns.kind, &columns.controller, &columns.purpose, &columns.fact, &event.by];
    for text in std::iter::once(address).chain(texts.map(|text| Some(text.as_str()))) {
        let len = text.map_or(u64::MAX, |text| u64::try_from(text.len()).unwrap_or(u64::MAX - 1));
        hasher.update(&len.to_le_bytes());
        hasher.update(text.unwrap_or_default().as_bytes());
    }
    hasher.update(event.exact.octets());
    for number in [event.cursor.0, event.at.as_millis()] {
        hasher.update(&number.to_le_bytes());
    }
    i64::from(hasher.finalize())
}
