//! The embedded store: SQLite in a file, one connection for changes, one for listings, several for questions.

pub(super) mod events;
mod reader;
pub(super) mod registers;
pub(super) mod rotate;
mod writer;

use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

use rusqlite::{Connection, FileControl, params};

use self::reader::Reader;
pub(super) use self::writer::later_expiry;
use super::entry::{Cursor, Entry, PAGE_MAX, Page, Selection, Stats, Subject, lookup_key};
use super::files::Files;
use super::filter::Filter;
use super::key::{self, AddressKey, StoreKey};
use super::published::published_keys;
use super::schema::{self, Meta, READ_WAIT, Seen, WRITE_WAIT};
use super::{
    Added, Cleartext, Dossier, Kind, Match, NewSuppression, Opening, Removal, Settings, StoreError, Withdrawal, row,
};
use crate::mail::Mailbox;
use crate::policy::{Cause, Suppression};
use crate::time::Timestamp;

/// Most connections for questions. Each answers some hundred thousand a second; more would only cost memory.
const READERS_MAX: usize = 8;

/// The embedded store; clones share it.
#[derive(Clone, Debug)]
pub struct Embedded(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    files: Files,
    key: StoreKey,
    cleartext: Cleartext,
    readers: Vec<Mutex<Reader>>,
    next_reader: AtomicUsize,
    /// What is surely absent; missing when the store was opened for one operation.
    filter: Option<Filter>,
    /// Every entry up to this number is in the filter.
    filtered: AtomicI64,
    writer: Mutex<Connection>,
    desk: Mutex<Connection>,
    /// Device and inode of SQLite's log while it was ours.
    log: Option<(u64, u64)>,
    /// The first failure that only reopening can heal.
    latched: OnceLock<String>,
}

impl Embedded {
    /// See [`super::Store::open`].
    pub(super) fn open(settings: &Settings, opening: Opening, now: Timestamp) -> Result<Self, StoreError> {
        let files = Files::new(&settings.path, settings.key_file.as_deref());
        let lock = files.lock()?;
        let key = find_or_create(&files, now)?;
        schema::check_header(&files)?;
        let writer = schema::connect(&files.database, WRITE_WAIT)?;
        let meta = schema::settle(&writer, &files, &key)?;
        // A new secret may stand in the key file already, and the entries be hashed without it still.
        let key = key.with_check(&meta.key_check).ok_or_else(|| StoreError::KeyWrong { path: files.key.clone() })?;
        // A crash between a commit and its mark leaves the mark behind: from here on it counts as acknowledged.
        if files.read_mark()?.is_none_or(|mark| mark.seq < meta.seq) {
            files.write_mark(&meta.mark())?;
        }
        drop(lock);
        if opening == Opening::Many {
            schema::ready_for_many(&writer)?;
        }
        let desk = schema::connect(&files.database, WRITE_WAIT)?;
        let (filter, last) = match opening {
            Opening::Quick | Opening::Many => (None, 0),
            Opening::Whole => {
                let filter =
                    Filter::with_room_for(usize::try_from(meta.entries.saturating_add(meta.events)).unwrap_or(0));
                let last = schema::check_content(&desk, &files.database, |seen| remember(&filter, seen))?;
                (Some(filter), last)
            }
        };
        let count = match opening {
            Opening::Quick | Opening::Many => 1,
            Opening::Whole => std::thread::available_parallelism().map_or(1, usize::from).min(READERS_MAX),
        };
        let open_reader = |_| schema::connect(&files.database, READ_WAIT).map(Reader::new).map(Mutex::new);
        let readers = (0..count).map(open_reader).collect::<Result<_, _>>()?;
        Ok(Self(Arc::new(Shared {
            log: identity(&files.log()),
            files,
            key,
            cleartext: settings.cleartext,
            readers,
            next_reader: AtomicUsize::new(0),
            filter,
            filtered: AtomicI64::new(last),
            writer: Mutex::new(writer),
            desk: Mutex::new(desk),
            latched: OnceLock::new(),
        })))
    }

    pub(super) fn evidence(&self, recipients: &[&Mailbox]) -> Result<Vec<Vec<Suppression>>, StoreError> {
        self.0.usable()?;
        let mut reader = self.0.reader()?;
        self.0.unmoved(reader.connection())?;
        reader.evidence(&self.0, recipients).map_err(|e| self.0.judge("read", e))
    }

    pub(super) fn dossier(&self, recipients: &[&Mailbox]) -> Result<Vec<Dossier>, StoreError> {
        self.0.usable()?;
        let mut reader = self.0.reader()?;
        self.0.unmoved(reader.connection())?;
        reader.dossier(&self.0, recipients).map_err(|e| self.0.judge("read", e))
    }

    pub(super) fn matching(&self, subject: &Subject) -> Result<Vec<(Match, Entry)>, StoreError> {
        self.0.usable()?;
        let mut buffer = String::new();
        let key = &self.0.key;
        let (kind, first) = lookup_key(subject, key, &mut buffer);
        let mut wanted = vec![(kind, first)];
        let (domain, exact) = match subject {
            Subject::Address(mailbox) => (Some(mailbox.domain()), key.exact(mailbox, &mut buffer)),
            Subject::Domain(domain) => (Some(domain), first),
            Subject::Published(_) => (None, first),
            Subject::Hashed { exact, .. } => (None, *exact),
        };
        if let Subject::Address(mailbox) = subject {
            wanted.extend(published_keys(mailbox, key, &mut buffer).into_iter().map(|key| (Kind::Address, key)));
        }
        if let Some(domain) = domain {
            wanted.extend(key.domains(domain, &mut buffer).iter().map(|key| (Kind::Domain, *key)));
        }
        wanted.dedup();
        let desk = lock(&self.0.desk);
        self.0.unmoved(&desk)?;
        let mut found = Vec::new();
        let look = |found: &mut Vec<Entry>| -> rusqlite::Result<()> {
            let snapshot = desk.unchecked_transaction()?;
            wanted.iter().try_for_each(|(kind, key)| find(&snapshot, *kind, key, found))
        };
        look(&mut found).map_err(|e| self.0.judge("look an entry up", e))?;
        Ok(found.into_iter().map(|entry| (entry.matched(&exact), entry)).collect())
    }

    pub(super) fn list(&self, selection: &Selection, after: Cursor, limit: usize) -> Result<Page, StoreError> {
        self.0.usable()?;
        let desk = lock(&self.0.desk);
        self.0.unmoved(&desk)?;
        page(&desk, selection, after, limit.clamp(1, PAGE_MAX)).map_err(|e| self.0.judge("list", e))
    }

    pub(super) fn stats(&self) -> Result<Stats, StoreError> {
        self.0.usable()?;
        let desk = lock(&self.0.desk);
        self.0.unmoved(&desk)?;
        stats(&desk).map_err(|e| self.0.judge("count", e))
    }

    pub(super) fn key(&self) -> &StoreKey {
        &self.0.key
    }

    pub(super) fn cleartext(&self) -> Cleartext {
        self.0.cleartext
    }

    pub(super) fn probe(&self) -> Result<(), StoreError> {
        self.0.usable()?;
        let desk = lock(&self.0.desk);
        self.0.unmoved(&desk)?;
        if self.0.log.is_some() && identity(&self.0.files.log()) != self.0.log {
            return Err(self.0.latch("the store's -wal file was removed or replaced while it was open".to_owned()));
        }
        match Meta::read(&desk).map_err(|e| self.0.judge("read its meta row", e))? {
            Some(_) => {}
            None => return Err(self.0.latch("the store's meta row is gone".to_owned())),
        }
        // What another process added in bulk is taken into the filter here rather than before somebody's mail.
        self.0.catch_up(&desk).map_err(|e| self.0.judge("follow changes", e))
    }

    pub(super) fn entry(&self, new: &NewSuppression, buffer: &mut String) -> Entry {
        new.entry(&self.0.key, self.0.cleartext, buffer)
    }

    pub(super) fn add_entries(&self, chunk: &[Entry]) -> Result<Vec<Added>, StoreError> {
        writer::add_entries(&self.0, chunk)
    }

    pub(super) fn withdraw(&self, withdrawal: &Withdrawal) -> Result<u64, StoreError> {
        writer::withdraw(&self.0, withdrawal)
    }

    pub(super) fn remove(&self, removal: &Removal) -> Result<Vec<Entry>, StoreError> {
        writer::remove(&self.0, removal)
    }
}

impl Shared {
    /// A reader that nobody uses, or the next one in turn.
    fn reader(&self) -> Result<MutexGuard<'_, Reader>, StoreError> {
        let turn = self.next_reader.fetch_add(1, Ordering::Relaxed) % self.readers.len().max(1);
        let (before, from) = self.readers.split_at_checked(turn).ok_or(StoreError::Busy)?;
        for reader in from.iter().chain(before) {
            match reader.try_lock() {
                Ok(guard) => return Ok(guard),
                Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        from.first().map(lock).ok_or(StoreError::Busy)
    }

    fn usable(&self) -> Result<(), StoreError> {
        self.latched.get().map_or(Ok(()), |because| Err(StoreError::Latched { because: because.clone() }))
    }

    /// Whether the database's name still leads to the file that is open. A replaced file would take changes that we
    /// never see, so this is asked with every question; it costs one `stat`.
    fn unmoved(&self, connection: &Connection) -> Result<(), StoreError> {
        let mut moved = 0;
        connection
            .file_control(None::<&str>, FileControl::HasMoved(&mut moved))
            .map_err(|e| self.judge("look at its file", e))?;
        if moved == 0 {
            return Ok(());
        }
        Err(self.latch(format!("{} was removed or replaced while it was open", self.files.database.display())))
    }

    fn latch(&self, because: String) -> StoreError {
        StoreError::Latched { because: self.latched.get_or_init(|| because).clone() }
    }

    /// Turns SQLite's error into ours; damage latches, because what else is damaged cannot be known.
    fn judge(&self, action: &'static str, error: rusqlite::Error) -> StoreError {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let unreadable = matches!(error, rusqlite::Error::FromSqlConversionFailure(..))
            || matches!(error, rusqlite::Error::InvalidColumnType(..));
        if unreadable || matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase)) {
            return self.latch(format!("{} is damaged: {error}", self.files.database.display()));
        }
        StoreError::sql(action)(error)
    }

    /// Takes entries into the filter that it does not know yet.
    fn catch_up(&self, connection: &Connection) -> rusqlite::Result<()> {
        let Some(filter) = &self.filter else { return Ok(()) };
        // Numbers are given in the order of commits, so whatever this snapshot holds beyond the last one is new. The
        // pair of Acquire and Release carries the filter's bits along with the number.
        let mut last = self.filtered.load(Ordering::Acquire);
        let mut statement = connection.prepare_cached(
            "SELECT seq, family, kind = 'address' AND exact = family FROM suppressions WHERE seq > ?1 \
             UNION ALL SELECT seq, exact, 0 FROM events WHERE seq > ?1",
        )?;
        let mut rows = statement.query([last])?;
        while let Some(row) = rows.next()? {
            let key = AddressKey::from_octets(row.get(1)?);
            remember(filter, if row.get(2)? { Seen::Published(key) } else { Seen::Key(key) });
            last = last.max(row.get(0)?);
        }
        self.filtered.fetch_max(last, Ordering::Release);
        Ok(())
    }
}

fn remember(filter: &Filter, seen: Seen) {
    match seen {
        Seen::Key(key) => filter.insert(&key),
        Seen::Published(key) => filter.insert_published(&key),
    }
}

/// Locks what no panic can leave half done: every change is a transaction of SQLite.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which file a name leads to. It is asked without opening the file: for want of a descriptor the store must not be taken
/// for replaced.
fn identity(path: &std::path::Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Finds the store's key and makes sure that there is a database, or names what is lost. The lock is held.
fn find_or_create(files: &Files, now: Timestamp) -> Result<StoreKey, StoreError> {
    if files.database.try_exists().map_err(StoreError::io("look for the database", &files.database))? {
        return key::read(&files.key);
    }
    if files.read_mark()?.is_some() || files.log().exists() {
        return Err(StoreError::Missing { path: files.database.clone(), mark: files.mark.clone() });
    }
    let key = match key::read(&files.key) {
        Err(StoreError::KeyMissing { .. }) => key::create(&files.key),
        other => other,
    }?;
    schema::create(files, &key, now)?;
    Ok(key)
}

/// Appends the entries of this kind with this family key.
fn find(connection: &Connection, kind: Kind, key: &AddressKey, found: &mut Vec<Entry>) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(reader::FIND)?;
    let mut rows = statement.query(params![key.octets(), kind.as_str()])?;
    while let Some(row) = rows.next()? {
        found.push(row::read(row)?);
    }
    Ok(())
}

fn page(connection: &Connection, selection: &Selection, after: Cursor, limit: usize) -> rusqlite::Result<Page> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {} FROM suppressions WHERE seq > ?1 AND (?2 IS NULL OR (scope_kind = ?2 AND controller = ?3 \
         AND list = ?4)) AND (?5 IS NULL OR cause = ?5) ORDER BY seq LIMIT ?6",
        row::COLUMNS
    ))?;
    let scope = selection.scope.as_ref().map(row::scope_columns);
    let cause = selection.cause.map(Cause::as_str);
    let more = i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX);
    let (kind, controller, list) = (scope.map(|s| s.0), scope.map(|s| s.1), scope.map(|s| s.2));
    let rows = statement.query_map(params![after.0, kind, controller, list, cause, more], row::read)?;
    let mut entries = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let next = if entries.len() > limit {
        entries.truncate(limit);
        entries.last().map(|entry| entry.cursor)
    } else {
        None
    };
    Ok(Page { entries, next })
}

fn stats(connection: &Connection) -> rusqlite::Result<Stats> {
    let snapshot = connection.unchecked_transaction()?;
    let meta = Meta::read(&snapshot)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    let count = |sql: &str, word: &str| -> rusqlite::Result<u64> {
        let number: i64 = snapshot.query_row(sql, [word], |row| row.get(0))?;
        Ok(u64::try_from(number).unwrap_or(0))
    };
    let of_kind = |kind: Kind| count("SELECT count(*) FROM suppressions WHERE kind = ?", kind.as_str());
    let of_cause = |cause: Cause| count("SELECT count(*) FROM suppressions WHERE cause = ?", cause.as_str());
    Ok(Stats {
        store: meta.store,
        changes: meta.seq,
        addresses: of_kind(Kind::Address)?,
        domains: of_kind(Kind::Domain)?,
        removed: count("SELECT count(*) FROM removals WHERE ? = ''", "")?,
        by_cause: Cause::ALL.iter().map(|c| Ok((*c, of_cause(*c)?))).collect::<rusqlite::Result<_>>()?,
    })
}
