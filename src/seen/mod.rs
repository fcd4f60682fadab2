//! What was taken within the last hours or days, so that a client who missed its 250 and hands a message in again is told
//! so and nobody is written to twice (ADR 0022).
//!
//! **Promise:** a recipient is called known only when the copy of the first time was on disk before that was written down.
//! In doubt (a crash between the two, a full list, a message that differs) the message counts as new: rather twice than
//! never.
//!
//! **Owns:** `seen.db`, the prints in it, who is being taken just now.
//!
//! **Never knows:** addresses and message ids in clear, decisions, SMTP.
//!
//! **Standards:** RFC 5321 section 4.5.4.1 (a client that did not get the reply tries again), RFC 5322 section 3.6.4.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::mail::{CredentialName, Mailbox, QueueId};
use crate::time::Timestamp;

/// Longest time that a message is remembered: clients give up after five days (RFC 5321 section 4.5.4.1).
pub const WINDOW_MAX: Duration = Duration::from_hours(7 * 24);
/// Recipients that are remembered at most, at some 70 octets each on disk. Beyond it the oldest are forgotten.
pub const ENTRIES_MAX: u64 = 10_000_000;
/// How many are forgotten at once, so that whoever writes does not wait long.
const FORGET_STEP: i64 = 1000;
/// `PRAGMA application_id`: "Seen" in ASCII.
const APPLICATION_ID: i64 = 0x5365_656E;
/// `PRAGMA user_version`: the one schema there is.
const SCHEMA_VERSION: i64 = 1;
const PRINT_LEN: usize = 16;

const TABLES: &str = "
CREATE TABLE seen (
    print BLOB PRIMARY KEY,
    message INTEGER NOT NULL,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX seen_by_end ON seen (until);
CREATE TABLE secret (key BLOB NOT NULL) STRICT;
INSERT INTO secret VALUES (randomblob(32));
";

/// Why the list cannot be used. Ours: the disk.
#[derive(Debug, thiserror::Error)]
pub enum SeenError {
    /// The file is not ours, damaged or of a newer version.
    #[error("{path}: {reason}; move it away to start with an empty one: what is handed in again is then sent again")]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It does not answer now. The cause is in the diagnostics.
    #[error("the list of messages that were taken does not answer")]
    NotNow,
}

/// One recipient of one message, without saying who or which.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Print([u8; PRINT_LEN]);

impl fmt::Debug for Print {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Print(…)")
    }
}

/// Proof that a recipient's copy was taken before. Only the list makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    first: QueueId,
}

impl Known {
    /// The copy of the first time.
    pub const fn first(self) -> QueueId {
        self.first
    }
}

/// How recipients stand, in the order in which they were asked about.
#[derive(Debug)]
pub enum Claim {
    /// Those that are not known are this claim's until its ticket is dropped.
    Taken(Vec<Option<Known>>, Ticket),
    /// The same is being taken by another session; whether it succeeds nobody knows yet.
    Busy,
}

/// The list. Cheap to clone.
#[derive(Clone)]
pub struct Seen(Arc<List>);

struct List {
    file: Mutex<Held>,
    key: hmac::Key,
    under_way: Mutex<HashSet<Print>>,
    most: u64,
}

/// The file, and how many recipients it holds: counting them anew for each message would read all of it.
struct Held {
    connection: Connection,
    count: u64,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen").finish_non_exhaustive()
    }
}

/// Recipients that this session is taking. Dropped, they are anybody's again.
#[derive(Debug)]
pub struct Ticket {
    list: Seen,
    prints: Vec<Print>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut under_way = self.list.0.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        for print in &self.prints {
            under_way.remove(print);
        }
    }
}

impl Seen {
    /// Opens `seen.db`, or makes it, with room for `most` recipients (default [`ENTRIES_MAX`]).
    ///
    /// # Errors
    /// [`SeenError::File`].
    pub fn open(path: &Path, most: u64) -> Result<Self, SeenError> {
        let failed = |reason: String| SeenError::File { path: path.to_owned(), reason };
        // SQLite gives its other files the rights of this one.
        let made = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        made.map_err(|error| failed(error.to_string()))?;
        let connection = Connection::open(path).map_err(|error| failed(error.to_string()))?;
        let key = settle(&connection).map_err(|error| failed(error.to_string()))?;
        let key = key.ok_or_else(|| failed(format!("expected a database of Consentry, version {SCHEMA_VERSION}")))?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let counted = connection.query_row("SELECT count(*) FROM seen", [], |row| row.get::<_, i64>(0));
        let count = counted.map_err(|error| failed(error.to_string()))?.cast_unsigned();
        let file = Mutex::new(Held { connection, count });
        Ok(Self(Arc::new(List { file, key, under_way: Mutex::default(), most })))
    }

    /// Stands for `to` of the message that `credential` calls `message_id`, as long as its body has the digest `body`: a
    /// tool that gives two messages one id must not lose the second.
    pub fn print(&self, credential: &CredentialName, message_id: &[u8], body: &str, to: &Mailbox) -> Print {
        let mut context = hmac::Context::with_key(&self.0.key);
        for part in [credential.as_str().as_bytes(), message_id, body.as_bytes(), to.as_str().as_bytes()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut print = [0; PRINT_LEN];
        for (to, from) in print.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        Print(print)
    }

    /// How `prints` stand at `now`.
    ///
    /// # Errors
    /// [`SeenError::NotNow`].
    pub async fn claim(&self, prints: Vec<Print>, now: Timestamp) -> Result<Claim, SeenError> {
        let wanted = {
            let mut under_way = self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            if prints.iter().any(|print| under_way.contains(print)) {
                return Ok(Claim::Busy);
            }
            under_way.extend(&prints);
            Ticket { list: self.clone(), prints: prints.clone() }
        };
        let known = self
            .elsewhere(move |connection, _| {
                let mut find = connection.prepare_cached("SELECT message FROM seen WHERE print = ?1 AND until > ?2")?;
                let mut known = |print: &Print| {
                    let found = find.query_row(params![print.0, now.as_millis()], |row| row.get::<_, i64>(0));
                    Ok(found.optional()?.map(|message| Known { first: QueueId::from_u64(message.cast_unsigned()) }))
                };
                prints.iter().map(&mut known).collect::<rusqlite::Result<Vec<_>>>()
            })
            .await?;
        Ok(Claim::Taken(known, wanted))
    }

    /// Writes down that the copies behind `taken` are on disk, for `window`. A process that is killed keeps it; a machine that
    /// loses its power may not.
    ///
    /// # Errors
    /// [`SeenError::NotNow`]: handed in again, they are taken again.
    pub async fn keep(&self, taken: Vec<(Print, QueueId)>, now: Timestamp, window: Duration) -> Result<(), SeenError> {
        let (until, most) = (now.plus(window.min(WINDOW_MAX)).as_millis(), self.0.most);
        self.elsewhere(move |connection, count| {
            let mut gone = connection.prepare_cached("DELETE FROM seen WHERE print = ?1")?;
            let mut add = connection.prepare_cached("INSERT INTO seen VALUES (?1, ?2, ?3)")?;
            for (print, message) in &taken {
                // One whose time is over and that was not forgotten yet makes room for its own new one.
                *count = count.saturating_sub(gone.execute(params![print.0])? as u64);
                *count += add.execute(params![print.0, message.as_u64().cast_signed(), until])? as u64;
            }
            forget(connection, count, now, most)
        })
        .await
    }

    async fn elsewhere<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &mut u64) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, SeenError> {
        let list = Arc::clone(&self.0);
        let work = tokio::task::spawn_blocking(move || {
            let mut held = list.file.lock().unwrap_or_else(PoisonError::into_inner);
            let mut count = held.count;
            let transaction = held.connection.unchecked_transaction()?;
            let value = work(&transaction, &mut count)?;
            transaction.commit()?;
            held.count = count;
            Ok::<_, rusqlite::Error>(value)
        });
        match work.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                tracing::error!(%error, "the list of messages that were taken does not answer");
                Err(SeenError::NotNow)
            }
            Err(_stopping) => Err(SeenError::NotNow),
        }
    }
}

/// Those whose time is over, and the oldest beyond `most`; a bounded number at a time.
fn forget(connection: &Connection, count: &mut u64, now: Timestamp, most: u64) -> rusqlite::Result<()> {
    let mut over = connection.prepare_cached(
        "DELETE FROM seen WHERE print IN (SELECT print FROM seen WHERE until <= ?1 ORDER BY until LIMIT ?2)",
    )?;
    *count = count.saturating_sub(over.execute(params![now.as_millis(), FORGET_STEP])? as u64);
    let surplus = count.saturating_sub(most);
    if surplus > 0 {
        let mut oldest = connection
            .prepare_cached("DELETE FROM seen WHERE print IN (SELECT print FROM seen ORDER BY until LIMIT ?1)")?;
        let gone = oldest.execute(params![surplus.min(FORGET_STEP.cast_unsigned()).cast_signed()])?;
        *count = count.saturating_sub(gone as u64);
    }
    Ok(())
}

/// Makes the tables in an empty file; answers the key, or nothing when the file is another's.
fn settle(connection: &Connection) -> rusqlite::Result<Option<Vec<u8>>> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // What a killed process wrote stays; only a machine that stops may forget the last moments.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    if tables == 0 {
        connection.execute_batch(&format!(
            "BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; {TABLES} COMMIT;"
        ))?;
    }
    if (number("application_id")?, number("user_version")?) != (APPLICATION_ID, SCHEMA_VERSION) {
        return Ok(None);
    }
    connection.query_row("SELECT key FROM secret", [], |row| row.get(0)).optional()
}
