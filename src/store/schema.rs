//! Making a database, and checking one before anything is believed.

use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::StoreError;
use super::embedded::{events, registers};
use super::files::{BUSY_TIMEOUT, Files, Mark, sync_folder};
use super::fold::FOLD_VERSION;
use super::key::{AddressKey, KEY_LEN, StoreKey};
use super::row;
use crate::time::Timestamp;

/// `PRAGMA application_id`: "Cons" in ASCII, so that `file` and other tools can tell whose database this is.
const APPLICATION_ID: i64 = 0x436F_6E73;
/// `PRAGMA user_version`: the schema that this release reads and writes.
const SCHEMA_VERSION: i64 = 2;
/// The oldest schema that is brought up to date at opening.
const SCHEMA_OLDEST: i64 = 1;
/// Octets of an SQLite header (file format, section 1.3).
const HEADER_LEN: usize = 100;
/// Databases up to this size are checked whole at opening (about half a second); larger ones by their rows.
const FULL_CHECK_MAX: u64 = 64 << 20;
/// What is kept of the log after a checkpoint: bounds the disk that a burst of changes leaves behind.
const LOG_KEPT: i64 = 64 << 20;
/// Pages of the log at which whoever changes something folds it back into the database, 64 MiB: a change here and one there cost no
/// second write and no second sync each.
const LOG_PAGES: i64 = 16_384;
/// The same for whoever changes much. It is half, so that nobody beside an import is the one who folds the log back.
const LOG_PAGES_OF_MANY: i64 = LOG_PAGES / 2;
/// Memory for pages of whoever changes much, in KiB. Keys lie anywhere in the indexes: what is not kept is read again for each row.
const PAGES_OF_MANY: i64 = 64 << 10;
/// Prepared statements kept per connection: more than this room has.
const STATEMENTS: usize = 32;

/// The tables of schema 1. `seq` numbers every change; `entries` is kept so that lost rows are noticed.
const TABLES: &str = "
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    store_id TEXT NOT NULL,
    key_check BLOB NOT NULL,
    fold INTEGER NOT NULL,
    created INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    entries INTEGER NOT NULL
) STRICT;
CREATE TABLE suppressions (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('address', 'domain')),
    exact BLOB NOT NULL CHECK (length(exact) = 16),
    family BLOB NOT NULL CHECK (length(family) = 16),
    address TEXT,
    scope_kind TEXT NOT NULL CHECK (scope_kind IN ('everything', 'controller', 'list')),
    controller TEXT NOT NULL,
    list TEXT NOT NULL,
    cause TEXT NOT NULL,
    origin TEXT NOT NULL,
    evidence TEXT,
    since INTEGER NOT NULL,
    expires INTEGER CHECK (expires IS NULL OR cause NOT IN ('unsubscribe', 'complaint', 'legal_objection')),
    created INTEGER NOT NULL,
    sum INTEGER NOT NULL,
    UNIQUE (exact, kind, scope_kind, controller, list, cause)
) STRICT;
CREATE INDEX suppressions_by_family ON suppressions (family);
CREATE TABLE removals (
    seq INTEGER PRIMARY KEY,
    entry INTEGER NOT NULL,
    kind TEXT NOT NULL,
    exact BLOB NOT NULL,
    family BLOB NOT NULL,
    scope_kind TEXT NOT NULL,
    controller TEXT NOT NULL,
    list TEXT NOT NULL,
    cause TEXT NOT NULL,
    origin TEXT NOT NULL,
    since INTEGER NOT NULL,
    created INTEGER NOT NULL,
    removed_at INTEGER NOT NULL,
    removed_by TEXT NOT NULL,
    because TEXT
) STRICT;
";

/// What schema 2 adds: events, of which the database itself lets none be changed or taken away, and national opt-out
/// lists. A list is loaded under a new `copy` number, which is what one row of `registers` points to; so the old copy
/// answers until the new one is whole.
const ADDED_IN_2: &str = "
ALTER TABLE meta ADD COLUMN events INTEGER NOT NULL DEFAULT 0;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    exact BLOB NOT NULL CHECK (length(exact) = 16),
    address TEXT,
    kind TEXT NOT NULL CHECK (kind IN ('consent', 'contact')),
    controller TEXT NOT NULL,
    purpose TEXT NOT NULL,
    fact TEXT NOT NULL,
    recorded_at INTEGER NOT NULL,
    recorded_by TEXT NOT NULL,
    sum INTEGER NOT NULL
) STRICT;
CREATE INDEX events_by_exact ON events (exact);
CREATE TRIGGER events_are_not_changed BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
CREATE TRIGGER events_are_not_removed BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are never removed'); END;
CREATE TABLE registers (
    name TEXT PRIMARY KEY,
    copy INTEGER NOT NULL UNIQUE,
    fresh_on INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    loaded_at INTEGER NOT NULL,
    digest INTEGER NOT NULL,
    sum INTEGER NOT NULL
) STRICT;
CREATE TABLE register_entries (
    copy INTEGER NOT NULL,
    key BLOB NOT NULL CHECK (length(key) = 16),
    PRIMARY KEY (copy, key)
) STRICT, WITHOUT ROWID;
";

/// What `meta` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) store: String,
    pub(super) key_check: AddressKey,
    pub(super) fold: i64,
    pub(super) seq: i64,
    pub(super) entries: i64,
    pub(super) events: i64,
}

impl Meta {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Option<Self>> {
        let mut statement = connection
            .prepare_cached("SELECT store_id, key_check, fold, seq, entries, events FROM meta WHERE one = 1")?;
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Self {
                store: row.get(0)?,
                key_check: AddressKey::from_octets(row.get::<_, [u8; KEY_LEN]>(1)?),
                fold: row.get(2)?,
                seq: row.get(3)?,
                entries: row.get(4)?,
                events: row.get(5)?,
            })
        };
        statement.query_row([], read).optional()
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { store: self.store.clone(), seq: self.seq }
    }
}

/// Makes an empty store under a temporary name and moves it into place whole: the database's name never means
/// anything but a complete database, so an empty or short file there is always damage. The caller holds the lock.
pub(super) fn create(files: &Files, key: &StoreKey, now: Timestamp) -> Result<(), StoreError> {
    let mut id = [0; KEY_LEN];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| StoreError::Damaged {
        path: files.database.clone(),
        what: "the operating system gave no random octets to name a new store".to_owned(),
    })?;
    let next = files.database.with_extension("new");
    create_file(&next, |connection| {
        let whole = lay_out(connection)?;
        whole.execute(
            "INSERT INTO meta (one, store_id, key_check, fold, created, seq, entries) VALUES (1, ?, ?, ?, ?, 0, 0)",
            params![crate::hex::encode(&id), key.check().octets(), FOLD_VERSION, now.as_millis()],
        )?;
        whole.commit()
    })?;
    move_into_place(&next, &files.database)
}

/// Makes all tables, empty ones, in a transaction that is still open.
pub(super) fn lay_out(connection: &Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    let whole = connection.unchecked_transaction()?;
    whole.execute_batch(TABLES)?;
    whole.execute_batch(ADDED_IN_2)?;
    Ok(whole)
}

/// Makes a database that only we can read, and fills it.
pub(super) fn create_file(
    next: &Path,
    fill: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> Result<(), StoreError> {
    match std::fs::remove_file(next) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(source) => return Err(StoreError::Io { action: "replace", path: next.to_owned(), source }),
    }
    // Made before SQLite sees it, because SQLite would let everybody read it; the log gets the same mode.
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(next).map_err(StoreError::io("create a new database", next))?;
    let sql = StoreError::sql("create a new database");
    let connection = Connection::open(next).map_err(&sql)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(&sql)?;
    fill(&connection).map_err(&sql)?;
    connection.close().map_err(|(_, e)| sql(e))
}

/// Makes a new database that nobody knows yet quick to fill: a crash leaves the old one, and the whole file is synced before it
/// gets its name.
pub(super) fn for_nobody_yet(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "OFF", |row| row.get::<_, String>(0))?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "cache_size", -PAGES_OF_MANY)
}

/// Gives a complete database its name: from then on whatever lies there was whole once.
pub(super) fn move_into_place(next: &Path, database: &Path) -> Result<(), StoreError> {
    std::fs::File::open(next)
        .and_then(|file| file.sync_all())
        .and_then(|()| std::fs::rename(next, database))
        .map_err(StoreError::io("put the new database in its place", database))?;
    super::files::hand_over(database);
    sync_folder(database)
}

/// Looks at the file's header without SQLite, so that a foreign, broken or newer file is left exactly as it is.
pub(super) fn check_header(files: &Files) -> Result<(), StoreError> {
    let path = files.database.as_path();
    let damaged = |what: &str| StoreError::Damaged { path: path.to_owned(), what: what.to_owned() };
    let mut header = Vec::with_capacity(HEADER_LEN);
    let limit = u64::try_from(HEADER_LEN).unwrap_or(u64::MAX);
    let read = |file: std::fs::File| {
        let len = file.metadata()?.len();
        file.take(limit).read_to_end(&mut header).map(|_| len)
    };
    let len = std::fs::File::open(path).and_then(read).map_err(StoreError::io("read the database", path))?;
    if header.len() < HEADER_LEN || !header.starts_with(b"SQLite format 3\0") {
        return Err(damaged("not an SQLite database"));
    }
    let number = |at: usize| header.get(at..at + 4).and_then(|s| s.try_into().ok()).map(u32::from_be_bytes);
    if number(68).map(i64::from) != Some(APPLICATION_ID) {
        return Err(damaged("an SQLite database, but not a store of this program"));
    }
    // Without a log the file must be as long as it says; with one, its last pages may still be in the log.
    let page = header.get(16..18).and_then(|s| s.try_into().ok()).map_or(0, u16::from_be_bytes);
    let expected = u64::from(number(28).unwrap_or(0)) * u64::from(page);
    if len < expected && !files.log().exists() {
        return Err(damaged(&format!("{len} octets where {expected} belong")));
    }
    known_version(path, number(60).map_or(0, i64::from))
}

fn known_version(path: &Path, found: i64) -> Result<(), StoreError> {
    match found {
        SCHEMA_OLDEST..=SCHEMA_VERSION => Ok(()),
        newer if newer > SCHEMA_VERSION => {
            Err(StoreError::Newer { path: path.to_owned(), found, known: SCHEMA_VERSION })
        }
        _ => Err(StoreError::Damaged { path: path.to_owned(), what: format!("schema version {found}") }),
    }
}

/// Brings a store of an earlier release up to date, and [`check`]s it. Both or neither: a store that is not the one
/// that belongs here is left as it is.
pub(super) fn settle(connection: &Connection, files: &Files, key: &StoreKey) -> Result<Meta, StoreError> {
    let version = version(connection, files)?;
    if version == SCHEMA_VERSION {
        return check(connection, files, key);
    }
    let sql = |e: rusqlite::Error| match e.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => StoreError::Busy,
        _ => StoreError::Damaged { path: files.database.clone(), what: e.to_string() },
    };
    let whole = Transaction::new_unchecked(connection, TransactionBehavior::Immediate).map_err(sql)?;
    whole.execute_batch(ADDED_IN_2).map_err(sql)?;
    whole.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(sql)?;
    let meta = check(&whole, files, key)?;
    whole.commit().map_err(sql)?;
    Ok(meta)
}

fn version(connection: &Connection, files: &Files) -> Result<i64, StoreError> {
    let version = connection
        .pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
        .map_err(|e| StoreError::Damaged { path: files.database.clone(), what: e.to_string() })?;
    known_version(&files.database, version)?;
    Ok(version)
}

/// Opens an existing database for reading and writing; never creates one.
pub(super) fn connect(path: &Path, busy: std::time::Duration) -> Result<Connection, StoreError> {
    let sql = |e: rusqlite::Error| match e.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
            StoreError::Damaged { path: path.to_owned(), what: e.to_string() }
        }
        _ => StoreError::sql("open the database")(e),
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sql)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    let settle = || -> rusqlite::Result<()> {
        connection.busy_timeout(busy)?;
        // WAL lets the command line write while the daemon reads; FULL syncs it at every commit, so that a change is
        // on disk when it is acknowledged. Erased addresses are overwritten, damage in a page is looked for.
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update_and_check(None, "secure_delete", "ON", |row| row.get::<_, i64>(0))?;
        connection.pragma_update_and_check(None, "journal_size_limit", LOG_KEPT, |row| row.get::<_, i64>(0))?;
        connection.pragma_update_and_check(None, "wal_autocheckpoint", LOG_PAGES, |row| row.get::<_, i64>(0))?;
        connection.pragma_update(None, "cell_size_check", "ON")?;
        connection.pragma_update(None, "trusted_schema", "OFF")
    };
    settle().map_err(sql)?;
    Ok(connection)
}

/// Makes a connection ready for an import: more memory, and the log folded back by it rather than by others.
pub(super) fn ready_for_many(connection: &Connection) -> Result<(), StoreError> {
    let settle = || {
        connection.pragma_update(None, "cache_size", -PAGES_OF_MANY)?;
        connection.pragma_update_and_check(None, "wal_autocheckpoint", LOG_PAGES_OF_MANY, |row| row.get::<_, i64>(0))
    };
    settle().map(drop).map_err(StoreError::sql("prepare for many changes"))
}

/// Checks that this is the store that belongs here, complete and made with our key or an earlier stage of it, and answers its
/// meta row.
fn check(connection: &Connection, files: &Files, key: &StoreKey) -> Result<Meta, StoreError> {
    let path = &files.database;
    let damaged = |what: String| StoreError::Damaged { path: path.clone(), what };
    let meta = Meta::read(connection).map_err(|e| damaged(e.to_string()))?;
    let meta = meta.ok_or_else(|| damaged("its meta row is missing".to_owned()))?;
    if meta.fold != FOLD_VERSION {
        return Err(StoreError::Newer { path: path.clone(), found: meta.fold, known: FOLD_VERSION });
    }
    if key.with_check(&meta.key_check).is_none() {
        return Err(StoreError::KeyWrong { path: files.key.clone() });
    }
    if let Some(mark) = files.read_mark()? {
        let mark_path = files.mark.clone();
        if mark.store != meta.store {
            return Err(StoreError::Foreign { path: path.clone(), mark: mark_path });
        }
        if mark.seq > meta.seq {
            let (found, acknowledged) = (meta.seq, mark.seq);
            return Err(StoreError::Older { path: path.clone(), mark: mark_path, found, acknowledged });
        }
    }
    Ok(meta)
}

/// The key of a row.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seen {
    /// Of an address, a domain or an event.
    Key(AddressKey),
    /// Of an entry that is only known by a published hash.
    Published(AddressKey),
}

/// Walks through everything once: SQLite's own check of tables and indexes for databases of bearable size, then every
/// row with its checksum, and their number. Hands each row's key to `seen`.
pub(super) fn check_content(
    connection: &Connection,
    path: &Path,
    mut seen: impl FnMut(Seen),
) -> Result<i64, StoreError> {
    let damaged = |e: &dyn std::fmt::Display| StoreError::Damaged { path: path.to_owned(), what: e.to_string() };
    let size = std::fs::metadata(path).map_err(StoreError::io("look at the database", path))?.len();
    if size <= FULL_CHECK_MAX {
        let verdict = connection
            .pragma_query_value(None, "integrity_check", |row| row.get::<_, String>(0))
            .map_err(|e| damaged(&e))?;
        if verdict != "ok" {
            return Err(damaged(&verdict));
        }
    }
    let read = read_all(connection, &mut seen).map_err(|e| damaged(&e))?;
    let Some(expected) = read.expected else { return Err(damaged(&"its meta row is missing")) };
    for (what, found, expected) in
        [("entries", read.entries, expected.entries), ("events", read.events, expected.events)]
    {
        if found != expected {
            return Err(damaged(&format!("{found} {what} where {expected} were recorded")));
        }
    }
    match read.register {
        None => Ok(read.last),
        Some(what) => Err(damaged(&what)),
    }
}

/// What [`read_all`] found.
struct Content {
    expected: Option<Meta>,
    last: i64,
    entries: i64,
    events: i64,
    register: Option<String>,
}

fn read_all(connection: &Connection, seen: &mut dyn FnMut(Seen)) -> rusqlite::Result<Content> {
    let snapshot = connection.unchecked_transaction()?;
    let mut found = Content {
        expected: Meta::read(&snapshot)?,
        last: 0,
        entries: 0,
        events: 0,
        register: registers::check(&snapshot)?,
    };
    let mut statement = snapshot.prepare(&format!("SELECT {} FROM suppressions ORDER BY seq", row::COLUMNS))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let entry = row::read(row)?;
        seen(if entry.is_published() { Seen::Published(entry.family) } else { Seen::Key(entry.family) });
        found.last = entry.cursor.0;
        found.entries += 1;
    }
    let mut statement = snapshot.prepare(&format!("SELECT {} FROM events ORDER BY seq", events::COLUMNS))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let event = events::read(row)?;
        seen(Seen::Key(event.exact));
        found.last = found.last.max(event.cursor.0);
        found.events += 1;
    }
    Ok(found)
}

/// The connection for changes waits this long for another process's change.
pub(super) const WRITE_WAIT: std::time::Duration = BUSY_TIMEOUT;
/// Point reads wait at most this long, and only while another process recovers or closes the log: they run on the
/// threads that serve everybody.
pub(super) const READ_WAIT: std::time::Duration = std::time::Duration::from_millis(250);
