//! `tools.db`: URLs that tools were promised a call to, and the notices that wait. SQLite, written by one thread that
//! commits for everybody who waits (ADR 0012).

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use super::TellError;
use crate::mail::{QueueId, StreamName};
use crate::time::Timestamp;

/// `PRAGMA application_id`: "Tell" in ASCII.
const APPLICATION_ID: i64 = 0x5465_6C6C;
/// `PRAGMA user_version`: the one schema there is.
const SCHEMA_VERSION: i64 = 1;
/// Jobs that wait for the thread; more wait in their callers.
const JOBS_MAX: usize = 1024;
/// Jobs of one transaction, so that the first of them does not wait long for the last.
const BATCH_MAX: usize = 256;
/// Expired URLs that are removed at once, so that whoever writes does not wait long.
const SWEEP_MAX: i64 = 1000;
/// What is kept of the log after a checkpoint.
const LOG_KEPT: i64 = 16 << 20;

const TABLES: &str = "
CREATE TABLE links (
    message INTEGER PRIMARY KEY,
    stream TEXT NOT NULL,
    url TEXT NOT NULL,
    kept_until INTEGER NOT NULL
) STRICT;
CREATE INDEX links_by_end ON links (kept_until);
CREATE TABLE notices (
    message INTEGER PRIMARY KEY,
    stream TEXT NOT NULL,
    url TEXT NOT NULL,
    created INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    next INTEGER NOT NULL
) STRICT;
CREATE INDEX notices_by_time ON notices (next);
";

/// Every notice may be tried now.
const ALL_DUE: &str = "UPDATE notices SET next = created";

/// A URL that a tool put into a message.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) message: QueueId,
    pub(super) stream: StreamName,
    pub(super) url: String,
    pub(super) kept_until: Timestamp,
}

/// A tool that has to be told.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) message: QueueId,
    pub(super) stream: StreamName,
    pub(super) url: String,
    pub(super) created: Timestamp,
    /// Failed ones so far.
    pub(super) attempts: u32,
}

/// Without the URL, which names a person.
impl std::fmt::Debug for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Notice({}, {} attempts)", self.message, self.attempts)
    }
}

/// What is due, and when something will be.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) notices: Vec<Notice>,
    pub(super) next: Option<Timestamp>,
}

/// Does one thing within a transaction, and hands back what to say once that is on disk.
type Job = Box<dyn FnOnce(&Transaction<'_>) -> rusqlite::Result<Said> + Send>;
type Said = Box<dyn FnOnce() + Send>;

/// The file. Clones share its thread, which ends with the last of them.
#[derive(Clone)]
pub(super) struct Ledger {
    jobs: mpsc::Sender<Job>,
    held: Arc<AtomicU64>,
    crowded: Arc<AtomicBool>,
}

impl Ledger {
    /// Opens the file, or makes it, and starts the thread.
    pub(super) fn open(path: &Path) -> Result<Self, TellError> {
        let failed = |reason: String| TellError::File { path: path.to_owned(), reason };
        // SQLite gives its other files the rights of this one.
        let made = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        made.map_err(|error| failed(error.to_string()))?;
        let connection = Connection::open(path).map_err(|error| failed(error.to_string()))?;
        let held = settle(&connection).map_err(|error| failed(error.to_string()))?;
        let held = held.ok_or_else(|| failed(format!("expected a database of Consentry, version {SCHEMA_VERSION}")))?;
        let (jobs, waiting) = mpsc::channel(JOBS_MAX);
        let thread = std::thread::Builder::new().name("tools".to_owned());
        thread.spawn(move || work(connection, waiting)).map_err(|error| failed(error.to_string()))?;
        Ok(Self { jobs, held: Arc::new(AtomicU64::new(held)), crowded: Arc::default() })
    }

    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, TellError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |transaction| {
            let value = work(transaction)?;
            Ok(Box::new(move || {
                // Whoever asked may be gone; what was done stays done.
                let _nobody_waits = answer.send(value);
            }))
        });
        self.jobs.send(job).await.map_err(|_| TellError::NotWritten)?;
        answered.await.map_err(|_| TellError::NotWritten)
    }

    /// Adds a URL; when there are more than `most`, the oldest make room.
    pub(super) async fn keep(&self, link: Link, most: u64) -> Result<(), TellError> {
        let surplus = self.held.fetch_add(1, Ordering::Relaxed).saturating_add(1).saturating_sub(most);
        if surplus > 0 && !self.crowded.swap(true, Ordering::Relaxed) {
            tracing::warn!(most, "the list of tools to tell is full; from now on the oldest make room");
        }
        let kept = self.ask(move |transaction| {
            let mut insert = transaction.prepare_cached("INSERT INTO links VALUES (?1, ?2, ?3, ?4)")?;
            let until = link.kept_until.as_millis();
            insert.execute(params![number(link.message), link.stream.as_str(), link.url, until])?;
            if surplus == 0 {
                return Ok(0);
            }
            let mut oldest = transaction.prepare_cached(
                "DELETE FROM links WHERE message IN (SELECT message FROM links ORDER BY message LIMIT ?1)",
            )?;
            oldest.execute([i64::try_from(surplus).unwrap_or(i64::MAX)])
        });
        let left = kept.await.inspect_err(|_| self.forget(1))?;
        self.forget(u64::try_from(left).unwrap_or(0));
        Ok(())
    }

    fn forget(&self, fewer: u64) {
        // The closure always has an answer, so this cannot fail.
        let _before =
            self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| Some(held.saturating_sub(fewer)));
    }

    /// Turns the URL of a message into a notice. Whether there was one.
    pub(super) async fn opted_out(&self, message: QueueId, now: Timestamp) -> Result<bool, TellError> {
        let moved = self.ask(move |transaction| {
            let mut insert = transaction.prepare_cached(
                "INSERT OR IGNORE INTO notices SELECT message, stream, url, ?2, 0, ?2 FROM links WHERE message = ?1",
            )?;
            let made = insert.execute(params![number(message), now.as_millis()])?;
            if made > 0 {
                transaction.prepare_cached("DELETE FROM links WHERE message = ?1")?.execute([number(message)])?;
            }
            Ok(made > 0)
        });
        let moved = moved.await?;
        if moved {
            self.forget(1);
        }
        Ok(moved)
    }

    /// At most `most` notices whose time has come. They are put off until `until` first, so that nobody is called when the
    /// disk takes no more, and so that no tool is called twice at a time.
    pub(super) async fn lease(&self, now: Timestamp, until: Timestamp, most: usize) -> Result<Due, TellError> {
        let (now, until, most) = (now.as_millis(), until.as_millis(), i64::try_from(most).unwrap_or(i64::MAX));
        self.ask(move |transaction| {
            let mut lease = transaction.prepare_cached(
                "UPDATE notices SET next = ?2 WHERE message IN (SELECT message FROM notices WHERE next <= ?1 \
                 ORDER BY next LIMIT ?3) RETURNING message, stream, url, created, attempts",
            )?;
            let notices = lease.query_map([now, until, most], read)?.collect::<rusqlite::Result<_>>()?;
            let mut later = transaction.prepare_cached("SELECT min(next) FROM notices")?;
            let next = later.query_row([], |row| row.get::<_, Option<i64>>(0))?;
            Ok(Due { notices, next: next.map(Timestamp::from_millis) })
        })
        .await
    }

    /// Makes every notice due.
    pub(super) async fn hurry(&self) -> Result<(), TellError> {
        self.ask(|transaction| transaction.execute(ALL_DUE, [])).await.map(drop)
    }

    /// The notice has been tried `attempts` times and waits.
    pub(super) async fn put_off(&self, message: QueueId, attempts: u32, until: Timestamp) -> Result<(), TellError> {
        self.ask(move |transaction| {
            let mut update =
                transaction.prepare_cached("UPDATE notices SET attempts = ?2, next = ?3 WHERE message = ?1")?;
            update.execute(params![number(message), attempts, until.as_millis()])
        })
        .await
        .map(drop)
    }

    /// The notice is done with, one way or the other.
    pub(super) async fn settle(&self, message: QueueId) -> Result<(), TellError> {
        self.ask(move |transaction| {
            transaction.prepare_cached("DELETE FROM notices WHERE message = ?1")?.execute([number(message)])
        })
        .await
        .map(drop)
    }

    /// Removes URLs that have been kept long enough, piece by piece. How many.
    pub(super) async fn sweep(&self, now: Timestamp) -> Result<u64, TellError> {
        let mut removed = 0;
        loop {
            let piece = self.ask(move |transaction| {
                let mut delete = transaction.prepare_cached(
                    "DELETE FROM links WHERE message IN (SELECT message FROM links WHERE kept_until < ?1 LIMIT ?2)",
                )?;
                delete.execute([now.as_millis(), SWEEP_MAX])
            });
            let piece = u64::try_from(piece.await?).unwrap_or(0);
            self.forget(piece);
            removed += piece;
            if piece < SWEEP_MAX.unsigned_abs() {
                return Ok(removed);
            }
        }
    }
}

/// SQLite has signed numbers only; identifiers begin with the time and stay positive for longer than anybody will care.
const fn number(message: QueueId) -> i64 {
    message.as_u64().cast_signed()
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Notice> {
    let stream: String = row.get(1)?;
    let stream = StreamName::new(&stream)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(error)))?;
    Ok(Notice {
        message: QueueId::from_u64(row.get::<_, i64>(0)?.cast_unsigned()),
        stream,
        url: row.get(2)?,
        created: Timestamp::from_millis(row.get(3)?),
        attempts: row.get(4)?,
    })
}

/// Makes the tables of a new file, or checks whose file it is and makes every notice due. How many URLs it holds; `None` when it is not ours.
fn settle(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
    // Synced at every commit: what was promised is on disk. URLs that were removed are overwritten.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update_and_check(None, "secure_delete", "ON", |row| row.get::<_, i64>(0))?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_KEPT, |row| row.get::<_, i64>(0))?;
    connection.pragma_update(None, "trusted_schema", "OFF")?;
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if objects == 0 {
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        ))?;
    }
    if number("application_id")? != APPLICATION_ID || number("user_version")? != SCHEMA_VERSION {
        return Ok(None);
    }
    // Nobody is being called: what was cut off, and what waits for its next time, is tried again at once.
    connection.execute(ALL_DUE, [])?;
    let held: i64 = connection.query_row("SELECT count(*) FROM links", [], |row| row.get(0))?;
    Ok(Some(u64::try_from(held).unwrap_or(0)))
}

/// The thread: takes what waits, does it in one transaction, and says so when that is on disk.
fn work(mut connection: Connection, mut waiting: mpsc::Receiver<Job>) {
    while let Some(first) = waiting.blocking_recv() {
        let mut jobs = vec![first];
        while jobs.len() < BATCH_MAX
            && let Ok(job) = waiting.try_recv()
        {
            jobs.push(job);
        }
        match commit(&mut connection, jobs) {
            Ok(said) => said.into_iter().for_each(|say| say()),
            // Whoever waits is told by the end of their channel.
            Err(error) => tracing::error!(%error, "the list of tools to tell could not be written"),
        }
    }
}

fn commit(connection: &mut Connection, jobs: Vec<Job>) -> rusqlite::Result<Vec<Said>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let said = jobs.into_iter().map(|job| job(&transaction)).collect::<rusqlite::Result<Vec<_>>>()?;
    transaction.commit()?;
    Ok(said)
}
