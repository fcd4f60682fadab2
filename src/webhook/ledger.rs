//! `webhooks.db`: where each hook stands in the trail, events that it refused with what waits behind them, and dead letters.
//! SQLite, written by the daemon and by the command line beside it.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior, params};

use super::WebhookError;
use crate::events::{Event, Position};
use crate::mail::HookName;
use crate::time::Timestamp;

/// `PRAGMA application_id`: "Hook" in ASCII.
const APPLICATION_ID: i64 = 0x486F_6F6B;
/// `PRAGMA user_version`: the one schema there is.
const SCHEMA_VERSION: i64 = 1;
/// Events of one hook that wait at most: some 10 MB. With more it stays where it is until some are through.
pub(super) const PARKED_MAX: u64 = 10_000;
/// Dead letters of one hook at most. With more the event stays among those that wait: nothing is thrown away to make room.
pub(super) const DEAD_MAX: u64 = 10_000;
/// How long the daemon and the command line wait for each other: longer than any transaction of theirs.
const BUSY: Duration = Duration::from_secs(5);
/// What is kept of the log after a checkpoint.
const LOG_KEPT: i64 = 16 << 20;

const TABLES: &str = "
CREATE TABLE hooks (
    name TEXT PRIMARY KEY,
    position TEXT NOT NULL,
    paused TEXT,
    trouble TEXT
) STRICT;
CREATE TABLE parked (
    hook TEXT NOT NULL,
    seq INTEGER NOT NULL,
    subject TEXT NOT NULL,
    line BLOB NOT NULL,
    since INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    next INTEGER NOT NULL,
    PRIMARY KEY (hook, seq)
) STRICT;
CREATE INDEX parked_by_subject ON parked (hook, subject, seq);
CREATE TABLE dead (
    hook TEXT NOT NULL,
    seq INTEGER NOT NULL,
    subject TEXT NOT NULL,
    line BLOB NOT NULL,
    died INTEGER NOT NULL,
    why TEXT NOT NULL,
    PRIMARY KEY (hook, seq)
) STRICT;
";

/// The first event of each subject is the one that is tried.
const IS_HEAD: &str =
    "NOT EXISTS (SELECT 1 FROM parked q WHERE q.hook = p.hook AND q.subject = p.subject AND q.seq < p.seq)";

/// What the daemon needs to know of a hook to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) position: Position,
    pub(super) is_paused: bool,
    pub(super) has_trouble: bool,
}

/// Who waits.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Subjects of which an event waits.
    pub(super) blocked: HashSet<String>,
    /// How many more events may.
    pub(super) room: u64,
}

/// An event that is to wait until `next`.
#[derive(Clone, Debug)]
pub(super) struct Parking {
    pub(super) event: Event,
    pub(super) attempts: u32,
    pub(super) since: Timestamp,
    pub(super) next: Timestamp,
}

/// An event that waits, the first of its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parked {
    pub(super) seq: u64,
    pub(super) line: Bytes,
    pub(super) since: Timestamp,
    pub(super) attempts: u32,
}

/// What is due, and when something will be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) heads: Vec<Parked>,
    pub(super) next: Option<Timestamp>,
}

/// What the daemon did with an event that it gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Burial {
    /// It is a dead letter.
    Done,
    /// There are [`DEAD_MAX`] of them: it waits on.
    NoRoom,
}

/// Whether a step was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Advance {
    /// It was.
    Done,
    /// More than [`PARKED_MAX`] would wait: nothing was changed.
    NoRoom,
}

/// How a hook stands, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which.
    pub name: HookName,
    /// All that is in front of it was delivered, waits below or is dead.
    pub position: Position,
    /// Events that were refused and wait, and those behind them.
    pub parked: u64,
    /// How many subjects they are of.
    pub subjects: u64,
    /// Dead letters.
    pub dead: u64,
    /// Why nothing is sent until somebody resumes it.
    pub paused: Option<String>,
    /// Why nothing was taken of late.
    pub trouble: Option<String>,
}

/// An event that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    /// Its number in the trail.
    pub seq: u64,
    /// The JSON object.
    pub line: Bytes,
    /// When it was given up.
    pub died: Timestamp,
    /// What was answered last.
    pub why: String,
}

/// The file. Cheap to clone; its operations block on the disk.
#[derive(Clone, Debug)]
pub struct Ledger(Arc<Mutex<Connection>>);

impl Ledger {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// [`WebhookError::File`].
    pub fn open(path: &Path) -> Result<Self, WebhookError> {
        let failed = |reason: String| WebhookError::File { path: path.to_owned(), reason };
        // SQLite gives its other files the rights of this one.
        let made = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        made.map_err(|error| failed(error.to_string()))?;
        let mut connection = Connection::open(path).map_err(|error| failed(error.to_string()))?;
        if !settle(&mut connection).map_err(|error| failed(error.to_string()))? {
            return Err(failed(format!("expected a database of Consentry, version {SCHEMA_VERSION}")));
        }
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    fn held(&self) -> MutexGuard<'_, Connection> {
        // Whoever panicked had a transaction, which was rolled back.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something as a whole; it is on disk when this returns.
    fn change<T>(&self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, WebhookError> {
        let mut held = self.held();
        let transaction = held.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let value = work(&transaction)?;
        transaction.commit()?;
        Ok(value)
    }

    /// How the hook stands; one that is new begins at `new`.
    pub(super) fn enter(
        &self,
        hook: &HookName,
        new: impl FnOnce() -> Result<Position, WebhookError>,
    ) -> Result<State, WebhookError> {
        if let Some(state) = self.state(hook)? {
            return Ok(state);
        }
        let position = new()?;
        self.change(|transaction| {
            let hook = params![hook.as_str(), position.to_string()];
            transaction.execute("INSERT OR IGNORE INTO hooks (name, position) VALUES (?1, ?2)", hook)
        })?;
        Ok(State { position, is_paused: false, has_trouble: false })
    }

    fn state(&self, hook: &HookName) -> Result<Option<State>, WebhookError> {
        let held = self.held();
        let mut find =
            held.prepare_cached("SELECT position, paused IS NOT NULL, trouble IS NOT NULL FROM hooks WHERE name = ?1")?;
        let state = find.query_row([hook.as_str()], |row| {
            Ok(State { position: position(row, 0)?, is_paused: row.get(1)?, has_trouble: row.get(2)? })
        });
        Ok(state.optional()?)
    }

    /// Who of `subjects` has an event that waits, and how many more may wait.
    pub(super) fn waiting(&self, hook: &HookName, subjects: &[String]) -> Result<Waiting, WebhookError> {
        let held = self.held();
        let mut find = held.prepare_cached("SELECT 1 FROM parked WHERE hook = ?1 AND subject = ?2 LIMIT 1")?;
        let mut blocked = HashSet::new();
        for subject in subjects {
            if find.exists([hook.as_str(), subject])? {
                blocked.insert(subject.clone());
            }
        }
        Ok(Waiting { blocked, room: PARKED_MAX.saturating_sub(count(&held, "parked", hook)?) })
    }

    /// Everything in front of `to` is delivered, but for `parking`, which waits from now on.
    pub(super) fn advance(&self, hook: &HookName, to: Position, parking: &[Parking]) -> Result<Advance, WebhookError> {
        self.change(|transaction| {
            if !parking.is_empty() {
                let waiting = count(transaction, "parked", hook)?;
                if waiting.saturating_add(parking.len() as u64) > PARKED_MAX {
                    return Ok(Advance::NoRoom);
                }
            }
            let mut park =
                transaction.prepare_cached("INSERT OR IGNORE INTO parked VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
            for Parking { event, attempts, since, next } in parking {
                let (seq, line) = (number(event.seq), event.line.as_ref());
                let times = (since.as_millis(), next.as_millis());
                park.execute(params![hook.as_str(), seq, event.subject, line, times.0, attempts, times.1])?;
            }
            let mut step = transaction.prepare_cached("UPDATE hooks SET position = ?2 WHERE name = ?1")?;
            step.execute([hook.as_str(), &to.to_string()])?;
            Ok(Advance::Done)
        })
    }

    /// At most `most` events whose time has come, each the first of its subject.
    pub(super) fn due(&self, hook: &HookName, now: Timestamp, most: usize) -> Result<Due, WebhookError> {
        let held = self.held();
        let mut find = held.prepare_cached(&format!(
            "SELECT p.seq, p.line, p.since, p.attempts, p.next FROM parked p WHERE p.hook = ?1 AND {IS_HEAD} \
             ORDER BY p.next, p.seq LIMIT ?2"
        ))?;
        let mut rows = find.query(params![hook.as_str(), i64::try_from(most).unwrap_or(i64::MAX)])?;
        let mut due = Due::default();
        while let Some(row) = rows.next()? {
            let next = Timestamp::from_millis(row.get(4)?);
            if next > now {
                due.next = Some(next);
                break;
            }
            due.heads.push(Parked {
                seq: row.get::<_, i64>(0)?.cast_unsigned(),
                line: Bytes::from(row.get::<_, Vec<u8>>(1)?),
                since: Timestamp::from_millis(row.get(2)?),
                attempts: row.get(3)?,
            });
        }
        Ok(due)
    }

    /// An event that waited was taken.
    pub(super) fn delivered(&self, hook: &HookName, seq: u64) -> Result<(), WebhookError> {
        let delete = "DELETE FROM parked WHERE hook = ?1 AND seq = ?2";
        self.change(|transaction| transaction.execute(delete, params![hook.as_str(), number(seq)])).map(drop)
    }

    /// An event that waits was refused once more.
    pub(super) fn put_off(
        &self,
        hook: &HookName,
        seq: u64,
        attempts: u32,
        next: Timestamp,
    ) -> Result<(), WebhookError> {
        let update = "UPDATE parked SET attempts = ?3, next = ?4 WHERE hook = ?1 AND seq = ?2";
        let values = params![hook.as_str(), number(seq), attempts, next.as_millis()];
        self.change(|transaction| transaction.execute(update, values)).map(drop)
    }

    /// An event that waits is given up.
    pub(super) fn bury(&self, hook: &HookName, seq: u64, why: &str, now: Timestamp) -> Result<Burial, WebhookError> {
        self.change(|transaction| {
            if count(transaction, "dead", hook)? >= DEAD_MAX {
                return Ok(Burial::NoRoom);
            }
            let (name, seq) = (hook.as_str(), number(seq));
            transaction.execute(
                "INSERT OR IGNORE INTO dead SELECT hook, seq, subject, line, ?3, ?4 FROM parked \
                 WHERE hook = ?1 AND seq = ?2",
                params![name, seq, now.as_millis(), why],
            )?;
            transaction.execute("DELETE FROM parked WHERE hook = ?1 AND seq = ?2", params![name, seq])?;
            Ok(Burial::Done)
        })
    }

    /// Nothing is taken, and why; or something is again.
    pub(super) fn trouble(&self, hook: &HookName, why: Option<&str>) -> Result<(), WebhookError> {
        let update = "UPDATE hooks SET trouble = ?2 WHERE name = ?1";
        self.change(|transaction| transaction.execute(update, params![hook.as_str(), why])).map(drop)
    }

    /// Nothing is sent until somebody resumes it.
    pub(super) fn pause(&self, hook: &HookName, why: &str) -> Result<(), WebhookError> {
        let update = "UPDATE hooks SET paused = ?2 WHERE name = ?1";
        self.change(|transaction| transaction.execute(update, [hook.as_str(), why])).map(drop)
    }

    /// Every hook that there was an event for, by name.
    ///
    /// # Errors
    /// [`WebhookError::NotNow`].
    pub fn standings(&self) -> Result<Vec<Standing>, WebhookError> {
        let held = self.held();
        let mut find = held.prepare_cached(
            "SELECT name, position, (SELECT count(*) FROM parked WHERE hook = name), \
             (SELECT count(DISTINCT subject) FROM parked WHERE hook = name), \
             (SELECT count(*) FROM dead WHERE hook = name), paused, trouble FROM hooks ORDER BY name",
        )?;
        let standings = find.query_map([], |row| {
            Ok(Standing {
                name: text(row, 0)?,
                position: position(row, 1)?,
                parked: row.get::<_, i64>(2)?.cast_unsigned(),
                subjects: row.get::<_, i64>(3)?.cast_unsigned(),
                dead: row.get::<_, i64>(4)?.cast_unsigned(),
                paused: row.get(5)?,
                trouble: row.get(6)?,
            })
        });
        Ok(standings?.collect::<rusqlite::Result<_>>()?)
    }

    /// The dead letters of a hook, oldest first.
    ///
    /// # Errors
    /// [`WebhookError::NotNow`].
    pub fn dead(&self, hook: &HookName) -> Result<Vec<Dead>, WebhookError> {
        let held = self.held();
        let mut find = held.prepare_cached("SELECT seq, line, died, why FROM dead WHERE hook = ?1 ORDER BY seq")?;
        let dead = find.query_map([hook.as_str()], |row| {
            Ok(Dead {
                seq: row.get::<_, i64>(0)?.cast_unsigned(),
                line: Bytes::from(row.get::<_, Vec<u8>>(1)?),
                died: Timestamp::from_millis(row.get(2)?),
                why: row.get(3)?,
            })
        });
        Ok(dead?.collect::<rusqlite::Result<_>>()?)
    }

    /// Has dead letters tried again from `now` on, in front of what waits of the same subjects: the one numbered `seq`, or as
    /// many as there is room for, oldest first. How many.
    ///
    /// # Errors
    /// [`WebhookError::NotNow`].
    pub fn replay(&self, hook: &HookName, seq: Option<u64>, now: Timestamp) -> Result<u64, WebhookError> {
        self.change(|transaction| {
            let room = PARKED_MAX.saturating_sub(count(transaction, "parked", hook)?);
            let mut which = transaction
                .prepare("SELECT seq FROM dead WHERE hook = ?1 AND (?2 IS NULL OR seq = ?2) ORDER BY seq LIMIT ?3")?;
            let which = which.query_map(params![hook.as_str(), seq.map(number), number(room)], |row| row.get(0))?;
            let which: Vec<i64> = which.collect::<rusqlite::Result<_>>()?;
            for seq in &which {
                transaction.execute(
                    "INSERT OR IGNORE INTO parked SELECT hook, seq, subject, line, ?3, 0, 0 FROM dead \
                     WHERE hook = ?1 AND seq = ?2",
                    params![hook.as_str(), seq, now.as_millis()],
                )?;
                transaction.execute("DELETE FROM dead WHERE hook = ?1 AND seq = ?2", params![hook.as_str(), seq])?;
            }
            Ok(which.len() as u64)
        })
    }

    /// Ends a pause or a rest: everything of the hook is tried at once. Whether the hook is known.
    ///
    /// # Errors
    /// [`WebhookError::NotNow`].
    pub fn resume(&self, hook: &HookName) -> Result<bool, WebhookError> {
        self.change(|transaction| {
            transaction.execute("UPDATE parked SET next = 0 WHERE hook = ?1", [hook.as_str()])?;
            let known = "UPDATE hooks SET paused = NULL, trouble = NULL WHERE name = ?1";
            Ok(transaction.execute(known, [hook.as_str()])? > 0)
        })
    }

    /// Removes all that is kept of a hook which is no longer configured. Whether there was anything.
    ///
    /// # Errors
    /// [`WebhookError::NotNow`].
    pub fn forget(&self, hook: &HookName) -> Result<bool, WebhookError> {
        self.change(|transaction| {
            transaction.execute("DELETE FROM parked WHERE hook = ?1", [hook.as_str()])?;
            transaction.execute("DELETE FROM dead WHERE hook = ?1", [hook.as_str()])?;
            Ok(transaction.execute("DELETE FROM hooks WHERE name = ?1", [hook.as_str()])? > 0)
        })
    }
}

/// SQLite has signed numbers only; the trail's stay positive for longer than anybody will care.
const fn number(seq: u64) -> i64 {
    seq.cast_signed()
}

fn count(connection: &Connection, table: &str, hook: &HookName) -> rusqlite::Result<u64> {
    let mut count = connection.prepare_cached(&format!("SELECT count(*) FROM {table} WHERE hook = ?1"))?;
    count.query_row([hook.as_str()], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
}

/// A value that we wrote as text.
fn text<T: std::str::FromStr<Err: std::fmt::Display>>(row: &Row<'_>, at: usize) -> rusqlite::Result<T> {
    let text: String = row.get(at)?;
    text.parse().map_err(|error: T::Err| {
        let error = std::io::Error::new(std::io::ErrorKind::InvalidData, error.to_string());
        rusqlite::Error::FromSqlConversionFailure(at, rusqlite::types::Type::Text, Box::new(error))
    })
}

/// Where a hook stands: never at a start that moves on with the oldest event, as 0 once meant.
fn position(row: &Row<'_>, at: usize) -> rusqlite::Result<Position> {
    let position = text(row, at)?;
    Ok(if position == Position::START { Position::before(1) } else { position })
}

/// Makes the tables of a new file, or checks whose file it is. Whether it is ours.
fn settle(connection: &mut Connection) -> rusqlite::Result<bool> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
    // Synced at every commit: a position that is lost is a repeat, an event that is lost is lost. Events are about people,
    // and are overwritten when removed.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update_and_check(None, "secure_delete", "ON", |row| row.get::<_, i64>(0))?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_KEPT, |row| row.get::<_, i64>(0))?;
    connection.pragma_update(None, "trusted_schema", "OFF")?;
    // The daemon and a command may both come first.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let objects: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if objects == 0 {
        transaction.execute_batch(&format!(
            "{TABLES} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
        ))?;
    }
    let number = |name: &str| transaction.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let is_ours = number("application_id")? == APPLICATION_ID && number("user_version")? == SCHEMA_VERSION;
    transaction.commit()?;
    Ok(is_ours)
}
