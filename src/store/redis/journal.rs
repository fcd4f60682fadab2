//! What this gateway told the fleet's store, on its own disk: written first, so that no opt-out waits for a network.
//!
//! Every fact is here, durable, before anything is acknowledged. A fact is *done* in a generation of the fleet's store
//! once that store has it; what is not done counts at this gateway all the same and is sent again. When the fleet's store
//! loses changes its generation rises, and then nothing is done any more: everything is sent once more.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::fact::{Fact, Line};
use super::layout::PARTITIONS;
use super::tellers::Tellers;
use crate::store::StoreError;
use crate::store::embedded::later_expiry;
use crate::store::entry::Entry;
use crate::store::files::{Files, Mark};
use crate::store::key::{AddressKey, KEY_LEN, StoreKey};
use crate::store::schema::{self, WRITE_WAIT};

/// `PRAGMA application_id`: "ConJ".
const APPLICATION_ID: i64 = 0x436F_6E4A;
/// `PRAGMA user_version`: the schema that this release reads and writes.
const SCHEMA_VERSION: i64 = 1;
/// Most facts that are held in memory because the fleet's store does not have them yet. Beyond it the store does not answer
/// until they are sent: an import while Redis is away fills it, an hour of opt-outs does not.
pub(super) const WAITING_MAX: usize = 10_000;
/// Octets of a gateway's name.
const NAME_LEN: usize = 8;

/// `done` is the generation in which the fleet's store had the fact, and 0 before that.
const TABLES: &str = "
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    gateway TEXT NOT NULL,
    key_check BLOB NOT NULL,
    last INTEGER NOT NULL,
    store TEXT,
    generation INTEGER NOT NULL,
    marks BLOB,
    fleet TEXT NOT NULL
) STRICT;
CREATE TABLE facts (
    n INTEGER PRIMARY KEY,
    shelf TEXT NOT NULL CHECK (shelf IN ('suppression', 'event')),
    key BLOB NOT NULL CHECK (length(key) = 16),
    identity BLOB NOT NULL UNIQUE CHECK (length(identity) = 16),
    record BLOB NOT NULL,
    done INTEGER NOT NULL
) STRICT;
CREATE INDEX facts_by_done ON facts (done, n);
";

/// What the journal remembers of the fleet's store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Remembered {
    /// The store's own name; `None` before the first meeting.
    pub(super) store: Option<String>,
    /// The generation in which everything was sent; 0 before the first.
    pub(super) generation: i64,
    /// The last change of each partition that this gateway has seen.
    pub(super) marks: Vec<i64>,
    /// The other gateways' names.
    pub(super) fleet: Vec<String>,
}

/// Facts that the fleet's store may not have yet, by what they lie under.
pub(super) type Waiting = HashMap<AddressKey, Vec<Fact>>;

/// The journal; one for each gateway, shared by daemon and commands.
#[derive(Debug)]
pub(super) struct Journal {
    files: Files,
    gateway: String,
    writer: Mutex<Connection>,
    /// Marks what is done. It need not be durable: what is not marked is sent again.
    clerk: Mutex<Connection>,
    reader: Mutex<Reader>,
    /// Numbers of facts that somebody in this process is telling right now. The keeper leaves them alone: who tells a fact
    /// wants to know whether it was new.
    busy: Mutex<BTreeSet<i64>>,
    tellers: Tellers,
}

#[derive(Debug)]
struct Reader {
    connection: Connection,
    /// SQLite's change counter and the generation for which `waiting` was read.
    seen: Option<(i64, i64)>,
    waiting: Arc<Waiting>,
    too_many: bool,
}

impl Journal {
    /// Opens the journal beside where the embedded store would lie, or makes it when there never was one. Answers with it the
    /// stage of the key that its facts are hashed with.
    pub(super) fn open(path: &Path, key: &StoreKey) -> Result<(Self, StoreKey), StoreError> {
        let files = Files::new(path, None);
        let lock = files.lock()?;
        if !path.try_exists().map_err(StoreError::io("look for the journal", path))? {
            if files.read_mark()?.is_some() {
                return Err(StoreError::Missing { path: path.to_owned(), mark: files.mark });
            }
            create(path, key)?;
        }
        let writer = schema::connect(path, WRITE_WAIT)?;
        let (gateway, key) = check(&writer, &files, key)?;
        drop(lock);
        let clerk = schema::connect(path, WRITE_WAIT)?;
        clerk.pragma_update(None, "synchronous", "NORMAL").map_err(StoreError::sql("open the journal"))?;
        let reader = schema::connect(path, WRITE_WAIT)?;
        let reader = Reader { connection: reader, seen: None, waiting: Arc::default(), too_many: false };
        let (writer, clerk, reader) = (Mutex::new(writer), Mutex::new(clerk), Mutex::new(reader));
        let (busy, tellers) = (Mutex::default(), Tellers::of(path));
        Ok((Self { files, gateway, writer, clerk, reader, busy, tellers }, key))
    }

    /// This gateway's name in the fleet.
    pub(super) fn gateway(&self) -> &str {
        &self.gateway
    }

    /// Writes facts down; they are on disk when this returns. A fact that is told again is not done any more: somebody may
    /// have taken it out of the fleet's store meanwhile. The caller tells them now, and then calls [`Journal::release`].
    pub(super) fn append(&self, facts: &[Fact]) -> Result<Vec<Line>, StoreError> {
        let connection = lock(&self.writer);
        let write = || -> rusqlite::Result<(Vec<Line>, i64)> {
            let transaction = Transaction::new_unchecked(&connection, TransactionBehavior::Immediate)?;
            let mut last: i64 = transaction.query_row("SELECT last FROM state", [], |row| row.get(0))?;
            let mut lines = Vec::with_capacity(facts.len());
            for fact in facts {
                last += 1;
                let fact = merged(&transaction, fact)?;
                transaction
                    .prepare_cached(
                        "INSERT OR REPLACE INTO facts (n, shelf, key, identity, record, done) VALUES (?, ?, ?, ?, ?, 0)",
                    )?
                    .execute(params![last, fact.word(), fact.key().octets(), fact.identity(), fact.record()])?;
                lock(&self.busy).insert(last);
                lines.push(Line { number: last, fact });
            }
            transaction.execute("UPDATE state SET last = ?", [last])?;
            transaction.commit()?;
            Ok((lines, last))
        };
        let (lines, last) = write().map_err(StoreError::sql("write the journal"))?;
        drop(connection);
        self.files.raise_mark(&Mark { store: self.gateway.clone(), seq: last })?;
        Ok(lines)
    }

    /// Whoever told these facts has ended, well or not.
    pub(super) fn release(&self, lines: &[Line]) {
        let mut busy = lock(&self.busy);
        for line in lines {
            busy.remove(&line.number);
        }
    }

    /// Facts that are not done in `generation` and that nobody is telling now: first those that never were, then the oldest.
    pub(super) fn pending(&self, generation: i64, limit: usize) -> Result<Vec<Line>, StoreError> {
        let reader = lock(&self.reader);
        let lines = read_pending(&reader.connection, generation, limit).map_err(StoreError::sql("read the journal"))?;
        let busy = lock(&self.busy);
        Ok(lines.into_iter().filter(|line| !busy.contains(&line.number)).collect())
    }

    /// Who writes facts down and tells them, in this process and in others.
    pub(super) const fn tellers(&self) -> &Tellers {
        &self.tellers
    }

    /// How many facts are not done, and how many there are.
    pub(super) fn counts(&self) -> Result<(u64, u64), StoreError> {
        let reader = lock(&self.reader);
        let count =
            |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, i64>(1)?.unsigned_abs()));
        let question =
            "SELECT count(*) FILTER (WHERE done < max(1, (SELECT generation FROM state))), count(*) FROM facts";
        reader.connection.query_row(question, [], count).map_err(StoreError::sql("count the journal"))
    }

    /// How many suppressions and how many events there are.
    pub(super) fn census(&self) -> Result<(u64, u64), StoreError> {
        let reader = lock(&self.reader);
        let count =
            |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, i64>(1)?.unsigned_abs()));
        let question =
            "SELECT count(*) FILTER (WHERE shelf = 'suppression'), count(*) FILTER (WHERE shelf = 'event') FROM facts";
        reader.connection.query_row(question, [], count).map_err(StoreError::sql("count the journal"))
    }

    /// The fleet's store has these facts.
    pub(super) fn done(&self, lines: &[Line], generation: i64, marks: &[i64]) -> Result<(), StoreError> {
        let connection = lock(&self.clerk);
        let write = || -> rusqlite::Result<()> {
            let transaction = Transaction::new_unchecked(&connection, TransactionBehavior::Immediate)?;
            for line in lines {
                transaction
                    .prepare_cached("UPDATE facts SET done = ? WHERE n = ?")?
                    .execute(params![generation, line.number])?;
            }
            keep_marks(&transaction, generation, marks)?;
            transaction.commit()
        };
        write().map_err(StoreError::sql("mark the journal"))
    }

    /// Forgets entries that were taken out of the fleet's store, unless they were told again meanwhile.
    pub(super) fn forget(&self, entries: &[Entry], generation: i64) -> Result<(), StoreError> {
        let connection = lock(&self.writer);
        let write = || -> rusqlite::Result<()> {
            let transaction = Transaction::new_unchecked(&connection, TransactionBehavior::Immediate)?;
            for entry in entries {
                transaction.execute(
                    "DELETE FROM facts WHERE identity = ? AND done >= ?",
                    params![Fact::Suppression(entry.clone()).identity(), generation],
                )?;
            }
            transaction.commit()
        };
        write().map_err(StoreError::sql("write the journal"))
    }

    /// What is remembered of the fleet's store.
    pub(super) fn remembered(&self) -> Result<Remembered, StoreError> {
        let reader = lock(&self.reader);
        let read = |row: &rusqlite::Row<'_>| {
            let marks: Option<Vec<u8>> = row.get(2)?;
            let fleet: String = row.get(3)?;
            let (numbers, _) = marks.as_deref().unwrap_or_default().as_chunks::<8>();
            Ok(Remembered {
                store: row.get(0)?,
                generation: row.get(1)?,
                marks: numbers.iter().map(|octets| i64::from_le_bytes(*octets)).collect(),
                fleet: fleet.split_whitespace().map(str::to_owned).collect(),
            })
        };
        reader
            .connection
            .query_row("SELECT store, generation, marks, fleet FROM state", [], read)
            .map_err(StoreError::sql("read the journal"))
    }

    /// Remembers which store this is, that everything was sent to its `generation`, and who else belongs to the fleet.
    pub(super) fn remember(
        &self,
        store: &str,
        generation: i64,
        marks: &[i64],
        fleet: &[String],
    ) -> Result<(), StoreError> {
        let connection = lock(&self.writer);
        connection
            .execute(
                "UPDATE state SET store = ?, generation = ?, marks = ?, fleet = ?",
                params![store, generation, packed(marks), fleet.join(" ")],
            )
            .map(drop)
            .map_err(StoreError::sql("write the journal"))
    }

    /// Raises the marks, so that changes of others that were seen here are missed if they are lost.
    pub(super) fn raise_marks(&self, generation: i64, marks: &[i64]) -> Result<(), StoreError> {
        let connection = lock(&self.clerk);
        keep_marks(&connection, generation, marks).map_err(StoreError::sql("mark the journal"))
    }

    /// Facts that the fleet's store may not have; to be read *before* that store is asked, so that a fact on its way is
    /// met here or there. Looks at the disk only when something changed, by whichever process.
    pub(super) fn waiting(&self, generation: i64) -> Result<Arc<Waiting>, StoreError> {
        let mut reader = lock(&self.reader);
        let follow = |reader: &mut Reader| -> rusqlite::Result<()> {
            let version =
                reader.connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get::<_, i64>(0))?;
            if reader.seen == Some((version, generation)) {
                return Ok(());
            }
            let lines = read_pending(&reader.connection, generation, WAITING_MAX + 1)?;
            reader.too_many = lines.len() > WAITING_MAX;
            let mut waiting = Waiting::new();
            for line in lines {
                waiting.entry(*line.fact.key()).or_default().push(line.fact);
            }
            reader.waiting = Arc::new(waiting);
            reader.seen = Some((version, generation));
            Ok(())
        };
        follow(&mut reader).map_err(StoreError::sql("read the journal"))?;
        if reader.too_many {
            return Err(StoreError::Settling { because: "many facts of this gateway are still to be sent".to_owned() });
        }
        Ok(Arc::clone(&reader.waiting))
    }
}

/// The fact as it will be told: the new words, and the later of the two expiries. The last word is kept rather than the
/// first, because on the day when all is sent again to a store that lost it, a later no is the stronger one.
fn merged(connection: &Connection, fact: &Fact) -> rusqlite::Result<Fact> {
    let Fact::Suppression(entry) = fact else { return Ok(fact.clone()) };
    let known = connection
        .prepare_cached("SELECT n, shelf, key, record FROM facts WHERE identity = ?")?
        .query_row([fact.identity()], read_line)
        .optional()?;
    let mut entry = entry.clone();
    if let Some(Line { fact: Fact::Suppression(known), .. }) = known {
        entry.fact.expires = later_expiry(known.fact.expires, entry.fact.expires);
    }
    Ok(Fact::Suppression(entry))
}

/// In the order of the index: in that of their numbers all that is done would be gone through, beside every message.
const PENDING: &str = "SELECT n, shelf, key, record FROM facts WHERE done < ? ORDER BY done, n LIMIT ?";

fn read_pending(connection: &Connection, generation: i64, limit: usize) -> rusqlite::Result<Vec<Line>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection.prepare_cached(PENDING)?.query_map(params![generation.max(1), limit], read_line)?.collect()
}

pub(super) fn read_line(row: &rusqlite::Row<'_>) -> rusqlite::Result<Line> {
    let key = AddressKey::from_octets(row.get::<_, [u8; KEY_LEN]>(2)?);
    let fact = Fact::read(row.get_ref(1)?.as_str()?, &key, row.get_ref(3)?.as_blob()?);
    let fact = fact.ok_or_else(|| crate::store::row::broken(3, "record"))?;
    Ok(Line { number: row.get(0)?, fact })
}

fn keep_marks(connection: &Connection, generation: i64, marks: &[i64]) -> rusqlite::Result<()> {
    let question = "SELECT marks FROM state WHERE generation = ?";
    let known: Option<Option<Vec<u8>>> =
        connection.prepare_cached(question)?.query_row([generation], |row| row.get(0)).optional()?;
    // Marks of another generation say nothing about this one.
    let Some(known) = known else { return Ok(()) };
    let (known, _) = known.as_deref().unwrap_or_default().as_chunks::<8>();
    let mut highest = marks.to_vec();
    highest.iter_mut().zip(known).for_each(|(mark, octets)| *mark = (*mark).max(i64::from_le_bytes(*octets)));
    connection.prepare_cached("UPDATE state SET marks = ?")?.execute([packed(&highest)]).map(drop)
}

fn packed(marks: &[i64]) -> Vec<u8> {
    marks.iter().take(PARTITIONS).flat_map(|mark| mark.to_le_bytes()).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is a transaction of SQLite, so nothing is left half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes an empty journal under another name and moves it into place whole. The caller holds the lock.
fn create(path: &Path, key: &StoreKey) -> Result<(), StoreError> {
    let mut name = [0; NAME_LEN];
    aws_lc_rs::rand::fill(&mut name).map_err(|_| StoreError::Damaged {
        path: path.to_owned(),
        what: "the operating system gave no random octets to name a gateway".to_owned(),
    })?;
    let next: PathBuf = path.with_extension("new");
    schema::create_file(&next, |connection| {
        let whole = lay_out(connection)?;
        whole.execute(
            "INSERT INTO state (one, gateway, key_check, last, generation, fleet) VALUES (1, ?, ?, 0, 0, '')",
            params![crate::hex::encode(&name), key.check().octets()],
        )?;
        whole.commit()
    })?;
    schema::move_into_place(&next, path)
}

/// Makes the tables, empty ones, in a transaction that is still open.
pub(super) fn lay_out(connection: &Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    let whole = connection.unchecked_transaction()?;
    whole.execute_batch(TABLES)?;
    Ok(whole)
}

/// Checks that this is our journal, whole and made with our key or an earlier stage of it, and answers the gateway's name and
/// that stage.
pub(super) fn check(connection: &Connection, files: &Files, key: &StoreKey) -> Result<(String, StoreKey), StoreError> {
    let path = &files.database;
    let damaged = |e: &dyn std::fmt::Display| StoreError::Damaged { path: path.clone(), what: e.to_string() };
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    if number("application_id").map_err(|e| damaged(&e))? != APPLICATION_ID {
        return Err(damaged(&"not a journal of this program"));
    }
    let found = number("user_version").map_err(|e| damaged(&e))?;
    if found != SCHEMA_VERSION {
        return Err(StoreError::Newer { path: path.clone(), found, known: SCHEMA_VERSION });
    }
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, [u8; KEY_LEN]>(1)?, row.get(2)?));
    let (gateway, key_check, last): (String, _, i64) =
        connection.query_row("SELECT gateway, key_check, last FROM state", [], read).map_err(|e| damaged(&e))?;
    let key = key
        .with_check(&AddressKey::from_octets(key_check))
        .ok_or_else(|| StoreError::KeyWrong { path: path.clone() })?;
    match files.read_mark()? {
        Some(mark) if mark.store != gateway => {
            Err(StoreError::Foreign { path: path.clone(), mark: files.mark.clone() })
        }
        Some(mark) if mark.seq > last => {
            let mark_path = files.mark.clone();
            Err(StoreError::Older { path: path.clone(), mark: mark_path, found: last, acknowledged: mark.seq })
        }
        Some(_) | None => Ok((gateway, key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Mailbox;
    use crate::policy::{Cause, Origin, Scope};
    use crate::store::{Cleartext, NewSuppression};
    use crate::time::Timestamp;

    fn key() -> StoreKey {
        StoreKey::new(&[7; 32])
    }

    fn fact(name: &str, at: i64) -> Fact {
        let mailbox = Mailbox::parse(&format!("{name}@x.example")).unwrap();
        let at = Timestamp::from_secs(at);
        let new = NewSuppression::lasting(mailbox, Scope::Everything, Cause::Unsubscribe, Origin::Page, None, at);
        Fact::Suppression(new.entry(&key(), Cleartext::Keep, &mut String::new()))
    }

    fn journal() -> (tempfile::TempDir, Journal) {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("journal.db"), &key()).unwrap().0;
        (folder, journal)
    }

    fn numbers(journal: &Journal, generation: i64) -> Vec<i64> {
        journal.pending(generation, 10).unwrap().iter().map(|line| line.number).collect()
    }

    #[test]
    fn what_is_told_again_is_pending_again_with_its_last_date_and_once() {
        let (_folder, journal) = journal();
        let lines = journal.append(&[fact("a", 1), fact("b", 1)]).unwrap();
        assert!(numbers(&journal, 1).is_empty(), "whoever told them is still at it");
        journal.release(&lines);
        assert_eq!(numbers(&journal, 1), [1, 2]);
        journal.done(&lines, 1, &[]).unwrap();
        assert!(numbers(&journal, 1).is_empty());
        assert_eq!(numbers(&journal, 2), [1, 2], "a new generation has nothing yet");
        let again = journal.append(&[fact("a", 9)]).unwrap();
        journal.release(&again);
        let pending = journal.pending(1, 10).unwrap();
        assert_eq!((pending.len(), pending[0].number), (1, 3));
        assert_eq!(pending[0].fact, fact("a", 9));
        // A mark for the number that it had before is too late.
        journal.done(&lines, 1, &[]).unwrap();
        assert_eq!(numbers(&journal, 1), [3]);
        assert_eq!(journal.counts().unwrap(), (1, 2));
    }

    #[test]
    fn an_entry_that_was_removed_is_forgotten_unless_it_was_told_again() {
        let (_folder, journal) = journal();
        let Fact::Suppression(entry) = fact("a", 1) else { panic!() };
        let lines = journal.append(&[fact("a", 1)]).unwrap();
        journal.forget(std::slice::from_ref(&entry), 1).unwrap();
        assert_eq!(journal.counts().unwrap(), (1, 1), "it was not sent yet");
        journal.done(&lines, 1, &[]).unwrap();
        journal.forget(&[entry], 1).unwrap();
        assert_eq!(journal.counts().unwrap(), (0, 0));
    }

    #[test]
    fn what_waits_in_memory_is_bounded() {
        let (_folder, journal) = journal();
        let many: Vec<_> = (0..WAITING_MAX).map(|n| fact(&format!("v{n}"), 1)).collect();
        journal.append(&many).unwrap();
        assert_eq!(journal.waiting(1).unwrap().len(), WAITING_MAX);
        journal.append(&[fact("one-more", 1)]).unwrap();
        assert!(matches!(journal.waiting(1), Err(StoreError::Settling { .. })));
    }

    #[test]
    fn marks_rise_within_their_generation_only() {
        let (_folder, journal) = journal();
        journal.remember("s", 3, &[1; PARTITIONS], &["other".to_owned()]).unwrap();
        journal.raise_marks(3, &[5; PARTITIONS]).unwrap();
        journal.raise_marks(3, &[4; PARTITIONS]).unwrap();
        journal.raise_marks(2, &[9; PARTITIONS]).unwrap();
        let remembered = journal.remembered().unwrap();
        assert_eq!((remembered.generation, remembered.marks), (3, vec![5; PARTITIONS]));
        assert_eq!((remembered.store.as_deref(), remembered.fleet), (Some("s"), vec!["other".to_owned()]));
    }

    #[test]
    fn what_is_pending_is_found_without_going_through_what_is_done() {
        let (_folder, journal) = journal();
        let (question, reader) = (format!("EXPLAIN QUERY PLAN {PENDING}"), lock(&journal.reader));
        let plan: String = reader.connection.query_row(&question, [1, 10_001], |row| row.get(3)).unwrap();
        assert!(plan.starts_with("SEARCH facts USING INDEX facts_by_done"), "{plan}");
    }
}
