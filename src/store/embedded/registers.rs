//! National opt-out lists: each is one copy of what a country's registry gave out on a day, replaced as a whole.

use rusqlite::{Connection, params};

use super::writer::{change, step};
use super::{Embedded, lock};
use crate::policy::{ListCheck, Listed, RegisterName};
use crate::store::key::{AddressKey, KEY_LEN};
use crate::store::published::{RegisterEntry, register_key};
use crate::store::rotate::Raise;
use crate::store::{StoreError, row};
use crate::time::Timestamp;

/// Most entries put in or taken out in one transaction: some ten milliseconds, so that an opt-out need not wait for a
/// list of millions.
const CHUNK: usize = 5000;

/// One loaded list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Register {
    name: RegisterName,
    copy: i64,
    fresh_on: Timestamp,
    entries: i64,
    /// Of all keys, in any order: what shows that one was lost or changed.
    digest: i64,
}

impl Register {
    fn checksum(&self) -> i64 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(self.name.as_str().as_bytes());
        for number in [self.copy, self.fresh_on.as_millis(), self.entries, self.digest] {
            hasher.update(&number.to_le_bytes());
        }
        i64::from(hasher.finalize())
    }
}

impl Embedded {
    /// See [`crate::store::Store::load_register`].
    pub(in crate::store) fn load_register(
        &self,
        name: &RegisterName,
        fresh_on: Timestamp,
        mut subjects: &mut dyn Iterator<Item = Result<RegisterEntry, StoreError>>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let shared = &self.0;
        let copy = change(shared, "begin a register", |transaction| step(transaction, 0).map(Ok))?;
        let (mut buffer, mut loaded) = (String::new(), 0);
        loop {
            let keys = (&mut subjects)
                .take(CHUNK)
                .map(|entry| Ok(register_key(&entry?, &shared.key, &mut buffer)))
                .collect::<Result<Vec<AddressKey>, StoreError>>()?;
            if keys.is_empty() {
                break;
            }
            loaded += change(shared, "load a register", |transaction| {
                let mut put =
                    transaction.prepare_cached("INSERT OR IGNORE INTO register_entries (copy, key) VALUES (?, ?)")?;
                let mut new = 0;
                for key in &keys {
                    new += i64::try_from(put.execute(params![copy, key.octets()])?).unwrap_or(0);
                }
                Ok(Ok(new))
            })?;
        }
        let entries = change(shared, "put a register in its place", |transaction| {
            let (entries, digest) = content(transaction, copy)?;
            if entries != loaded {
                // Another process loaded a list meanwhile and took this copy for a leftover.
                return Ok(Err(StoreError::Busy));
            }
            let register = Register { name: name.clone(), copy, fresh_on, entries, digest };
            step(transaction, 0)?;
            point_to(transaction, &register, now.as_millis())?;
            Ok(Ok(entries))
        })?;
        self.sweep(copy)?;
        Ok(u64::try_from(entries).unwrap_or(0))
    }

    /// Takes out copies that nothing points to: the one just replaced, and what an aborted load left. Only older ones,
    /// because a newer one may be a load that another process is at.
    fn sweep(&self, before: i64) -> Result<(), StoreError> {
        let limit = i64::try_from(CHUNK).unwrap_or(i64::MAX);
        loop {
            let gone = change(&self.0, "take an old register out", |transaction| {
                let gone = transaction.execute(
                    "DELETE FROM register_entries WHERE (copy, key) IN (SELECT copy, key FROM register_entries \
                     WHERE copy < ? AND copy NOT IN (SELECT copy FROM registers) LIMIT ?)",
                    params![before, limit],
                );
                gone.map(Ok)
            })?;
            if gone == 0 {
                return Ok(());
            }
        }
    }
}

/// All lists that are loaded.
pub(in crate::store) fn all(connection: &Connection) -> rusqlite::Result<Vec<Register>> {
    let mut statement =
        connection.prepare_cached("SELECT name, copy, fresh_on, entries, digest, sum FROM registers ORDER BY name")?;
    let rows = statement.query_map([], |row| {
        let name = RegisterName::new(row.get_ref(0)?.as_str()?).map_err(|_| row::broken(0, "register name"))?;
        let fresh_on = Timestamp::from_millis(row.get(2)?);
        let register = Register { name, copy: row.get(1)?, fresh_on, entries: row.get(3)?, digest: row.get(4)? };
        if row.get::<_, i64>(5)? == register.checksum() { Ok(register) } else { Err(row::broken(5, "checksum")) }
    })?;
    rows.collect()
}

/// What each list says about the recipient with these keys: under every spelling, by domain where a list has domains, and
/// by the hashes that a registry may have published.
pub(super) fn look_up(
    connection: &Connection,
    registers: &[Register],
    keys: &[AddressKey],
) -> rusqlite::Result<Vec<ListCheck>> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM register_entries WHERE copy = ? AND key = ?")?;
    let mut answers = Vec::with_capacity(registers.len());
    for register in registers {
        let mut answer = Listed::No;
        for key in keys {
            if statement.exists(params![register.copy, key.octets()])? {
                answer = Listed::Yes;
                break;
            }
        }
        answers.push(ListCheck { list: register.name.clone(), fresh_on: register.fresh_on, answer });
    }
    Ok(answers)
}

/// Whether every list still holds what was loaded; a sentence about the first that does not.
pub(in crate::store) fn check(connection: &Connection) -> rusqlite::Result<Option<String>> {
    for register in all(connection)? {
        if content(connection, register.copy)? != (register.entries, register.digest) {
            return Ok(Some(format!("register {} is not what was loaded", register.name)));
        }
    }
    Ok(None)
}

/// Puts a list into another database, with what its keys become there.
pub(super) fn raise_register(
    from: &Connection,
    to: &Connection,
    register: Register,
    raise: &Raise<'_>,
) -> rusqlite::Result<()> {
    let loaded_at: i64 =
        from.query_row("SELECT loaded_at FROM registers WHERE copy = ?", [register.copy], |row| row.get(0))?;
    let mut put = to.prepare_cached("INSERT INTO register_entries (copy, key) VALUES (?, ?)")?;
    let mut statement = from.prepare_cached("SELECT key FROM register_entries WHERE copy = ?")?;
    let mut rows = statement.query([register.copy])?;
    while let Some(row) = rows.next()? {
        let key = raise.key(AddressKey::from_octets(row.get::<_, [u8; KEY_LEN]>(0)?));
        put.execute(params![register.copy, key.octets()])?;
    }
    let (entries, digest) = content(to, register.copy)?;
    if entries != register.entries {
        return Err(row::broken(0, "number of keys in a register"));
    }
    point_to(to, &Register { digest, ..register }, loaded_at)
}

/// Writes the row that makes a copy the one that answers.
fn point_to(connection: &Connection, register: &Register, loaded_at: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO registers (name, copy, fresh_on, entries, loaded_at, digest, sum) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            register.name.as_str(),
            register.copy,
            register.fresh_on.as_millis(),
            register.entries,
            loaded_at,
            register.digest,
            register.checksum()
        ])
        .map(drop)
}

/// How many keys a copy has, and a digest of them that does not depend on their order.
fn content(connection: &Connection, copy: i64) -> rusqlite::Result<(i64, i64)> {
    let mut statement = connection.prepare_cached("SELECT key FROM register_entries WHERE copy = ?")?;
    let mut rows = statement.query([copy])?;
    let (mut entries, mut digest) = (0, 0);
    while let Some(row) = rows.next()? {
        entries += 1;
        digest ^= i64::from(crc32fast::hash(row.get_ref(0)?.as_blob()?));
    }
    Ok((entries, digest))
}

impl Embedded {
    /// See [`crate::store::Store::registers`].
    pub(in crate::store) fn registers(&self) -> Result<Vec<(RegisterName, Timestamp, u64)>, StoreError> {
        let all = self.at_the_desk(all)?;
        let shown =
            |register: Register| (register.name, register.fresh_on, u64::try_from(register.entries).unwrap_or(0));
        Ok(all.into_iter().map(shown).collect())
    }
}

impl Embedded {
    /// See [`crate::store::Store::each_listed`].
    pub(in crate::store) fn each_listed(
        &self,
        name: &RegisterName,
        visit: &mut dyn FnMut(&[AddressKey]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let find = |desk: &Connection| Ok(all(desk)?.into_iter().find(|list| list.name == *name));
        let Some(register) = self.at_the_desk(find)? else { return Ok(()) };
        let (mut after, mut count) = (Vec::new(), 0);
        loop {
            let keys = self.at_the_desk(|desk| keys_behind(desk, register.copy, &after))?;
            let Some(last) = keys.last() else { break };
            after = last.octets().to_vec();
            count += i64::try_from(keys.len()).unwrap_or(i64::MAX);
            visit(&keys)?;
        }
        if count == register.entries { Ok(()) } else { Err(StoreError::Busy) }
    }

    fn at_the_desk<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.0.usable()?;
        let desk = lock(&self.0.desk);
        self.0.unmoved(&desk)?;
        read(&desk).map_err(|e| self.0.judge("read a register", e))
    }
}

fn keys_behind(connection: &Connection, copy: i64, after: &[u8]) -> rusqlite::Result<Vec<AddressKey>> {
    let mut statement = connection
        .prepare_cached("SELECT key FROM register_entries WHERE copy = ? AND key > ? ORDER BY key LIMIT ?")?;
    let limit = i64::try_from(CHUNK).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![copy, after, limit], |row| row.get(0).map(AddressKey::from_octets))?;
    rows.collect()
}
