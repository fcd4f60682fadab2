//! National opt-out lists in the fleet's store: each copy has buckets of its own, and one field says which copy counts.
//!
//! The copy that was replaced stays until the next load, so that a question on its way still meets it whole.
//!
//! Beside them stands whether any suppression is a published hash. It is set before the first one is written, and never taken
//! back: who reads that there is none asked before any was acknowledged.

use std::sync::{Arc, PoisonError};

use redis::Value;

use super::change::{self, LISTED};
use super::keeper::compare_and_set;
use super::layout::{Bucket, Layout, Partition, Shelf, key_of};
use super::link::Link;
use super::listing::BUCKETS_TOGETHER;
use super::look::{Answer, Doubt, Ground, Want, look, strange, text, whole};
use super::{Asked, Redis, Shared, event, suppression};
use crate::policy::{ListCheck, Listed, RegisterName};
use crate::store::StoreError;
use crate::store::key::AddressKey;
use crate::store::published::{RegisterEntry, register_key};
use crate::time::Timestamp;

/// Keys that are put in together.
const CHUNK: usize = 5000;
/// The field of the store's meta that names the copies.
const FIELD: &str = "registers";
/// How often a list that was replaced meanwhile is looked up anew.
const TRIES_MAX: usize = 5;

/// The field of the store's meta that says that there are published hashes.
const HASHES: &str = "hashes";

/// Whether any suppression is a published hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Hashes {
    /// None was ever told.
    #[default]
    None,
    /// There may be some.
    Some,
}

/// The lists that are loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Registers {
    /// As the store writes it.
    raw: String,
    lists: Vec<Register>,
    pub(super) hashes: Hashes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Register {
    name: RegisterName,
    copy: i64,
    /// The copy before, or 0: taken out at the next load.
    before: i64,
    fresh_on: Timestamp,
    entries: i64,
}

impl Registers {
    fn parse(raw: String, hashes: Hashes) -> Result<Self, Doubt> {
        let line = |line: &str| {
            let (said, sum) = line.rsplit_once(' ')?;
            (sum == format!("{:08x}", crc32fast::hash(said.as_bytes()))).then_some(())?;
            let mut words = said.split(' ');
            let name = RegisterName::new(words.next()?).ok()?;
            let mut number = || words.next()?.parse::<i64>().ok();
            let (copy, before, fresh_on, entries) = (number()?, number()?, number()?, number()?);
            Some(Register { name, copy, before, fresh_on: Timestamp::from_millis(fresh_on), entries })
        };
        let lists = raw.lines().map(line).collect::<Option<Vec<_>>>();
        let lists =
            lists.ok_or_else(|| Doubt::Damaged("what names the registers is not what was written".to_owned()))?;
        Ok(Self { raw, lists, hashes })
    }

    fn write(mut lists: Vec<Register>) -> String {
        lists.sort_by(|a, b| a.name.cmp(&b.name));
        let line = |list: &Register| {
            let Register { name, copy, before, fresh_on, entries } = list;
            let said = format!("{name} {copy} {before} {} {entries}", fresh_on.as_millis());
            format!("{said} {:08x}\n", crc32fast::hash(said.as_bytes()))
        };
        lists.iter().map(line).collect()
    }

    /// All that is asked of some recipients.
    pub(super) fn wants(&self, asked: &[Asked]) -> Vec<Want> {
        let mut all: Vec<Want> = Vec::new();
        for one in asked {
            all.push(event(one.exact));
            all.extend(one.suppressions(self.hashes).map(|(_, key)| suppression(key)));
            all.extend(self.lists.iter().flat_map(|list| wants(list.copy, one)));
        }
        all
    }

    /// What each list says of one recipient.
    pub(super) fn checks(&self, answer: &Answer, asked: &Asked) -> Vec<ListCheck> {
        let check = |list: &Register| {
            let listed = wants(list.copy, asked).any(|want| answer.get(&want) == Some(LISTED));
            let answer = if listed { Listed::Yes } else { Listed::No };
            ListCheck { list: list.name.clone(), fresh_on: list.fresh_on, answer }
        };
        self.lists.iter().map(check).collect()
    }
}

/// Every key by which a list may know a recipient: any spelling, by domain, by the hashes that a registry publishes.
fn wants(copy: i64, asked: &Asked) -> impl Iterator<Item = Want> {
    let keys =
        std::iter::once(asked.family).chain(asked.domains.iter().copied()).chain(asked.published.iter().copied());
    keys.map(move |key| Want { shelf: Shelf::Register(copy), key })
}

/// Says that there are published hashes; to be called before any of them is told.
pub(super) async fn expect_hashes(link: &Link) -> Result<(), Doubt> {
    let mut command = redis::cmd("HSET");
    command.arg(Layout::store(link.prefix())).arg(HASHES).arg(1);
    link.ask(vec![vec![command]]).await?;
    Ok(())
}

impl Shared {
    /// The lists, and whether there are published hashes. A store that has lost its name has perhaps lost these too.
    async fn read_registers(&self) -> Result<Registers, Doubt> {
        let mut command = redis::cmd("HMGET");
        command.arg(Layout::store(self.link.prefix())).arg("id").arg(FIELD).arg(HASHES);
        let value = self.link.ask(vec![vec![command]]).await?.into_iter().flatten().next();
        let Some(Value::Array(fields)) = value else { return Err(strange()) };
        let mut fields = fields.into_iter();
        if text(fields.next())?.is_none() {
            return Err(Doubt::Unsettled("what is said about the store is gone".to_owned()));
        }
        let raw = text(fields.next())?.unwrap_or_default();
        let hashes = if text(fields.next())?.is_some() { Hashes::Some } else { Hashes::None };
        Registers::parse(raw, hashes)
    }

    /// What is asked, and the lists that were asked, in one round trip unless a list was replaced.
    pub(super) async fn look_with_registers(
        &self,
        ground: &Ground,
        wants: impl Fn(&Registers) -> Vec<Want>,
    ) -> Result<(Answer, Arc<Registers>), StoreError> {
        for _ in 0..TRIES_MAX {
            let known = Arc::clone(&self.registers.lock().unwrap_or_else(PoisonError::into_inner));
            let all = wants(&known);
            let (answer, registers) = tokio::join!(look(&self.link, ground, &all), self.read_registers());
            let (answer, registers) = (answer.map_err(|d| self.doubted(d))?, registers.map_err(|d| self.doubted(d))?);
            if (&registers.raw, registers.hashes) == (&known.raw, known.hashes) {
                return Ok((answer, known));
            }
            *self.registers.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(registers);
        }
        Err(StoreError::Busy)
    }

    async fn begin(&self) -> Result<i64, StoreError> {
        let mut command = redis::cmd("HINCRBY");
        command.arg(Layout::store(self.link.prefix())).arg("copies").arg(1);
        self.ground()?;
        let value = self.link.ask(vec![vec![command]]).await?.into_iter().flatten().next();
        match value {
            Some(Value::Int(copy)) => Ok(copy),
            Some(_) | None => Err(self.doubted(strange())),
        }
    }

    async fn put(&self, copy: i64, keys: &[AddressKey]) -> Result<u64, StoreError> {
        let ground = self.ground()?;
        change::list(&self.link, &ground, copy, keys).await.map_err(|doubt| self.doubted(doubt))
    }

    /// Makes `copy` the one that counts; answers the copy that nobody needs any more.
    async fn settle_copy(&self, mut new: Register) -> Result<i64, StoreError> {
        for _ in 0..TRIES_MAX {
            let known = self.read_registers().await.map_err(|doubt| self.doubted(doubt))?;
            let (before, others): (Vec<_>, Vec<_>) =
                known.lists.iter().cloned().partition(|list| list.name == new.name);
            let before = before.into_iter().next();
            new.before = before.as_ref().map_or(0, |list| list.copy);
            let raw = Registers::write(others.into_iter().chain([new.clone()]).collect());
            if compare_and_set(&self.link, Layout::store(self.link.prefix()), FIELD, &known.raw, &raw).await? {
                return Ok(before.map_or(0, |list| list.before));
            }
        }
        Err(StoreError::Busy)
    }

    /// Takes a copy out, partition by partition.
    async fn sweep(&self, copy: i64) -> Result<(), StoreError> {
        let ground = self.ground()?;
        for partition in Partition::all() {
            let bucket = |number| Bucket { partition, shelf: Shelf::Register(copy), number };
            let (mut gone, mut counts) = (redis::cmd("UNLINK"), redis::cmd("HDEL"));
            counts.arg(ground.layout.meta(partition));
            for bucket in (0..ground.layout.buckets()).map(bucket) {
                gone.arg(ground.layout.key(&bucket));
                counts.arg(bucket.name());
            }
            self.link.ask(vec![vec![gone, counts]]).await?;
        }
        Ok(())
    }
}

impl Redis {
    /// See [`crate::store::Store::load_register`].
    pub(in crate::store) fn load_register(
        &self,
        name: &RegisterName,
        fresh_on: Timestamp,
        mut subjects: &mut dyn Iterator<Item = Result<RegisterEntry, StoreError>>,
    ) -> Result<u64, StoreError> {
        let copy = self.blocking(|shared| async move { shared.begin().await })?;
        let (mut buffer, mut loaded) = (String::new(), 0);
        loop {
            let keys = (&mut subjects)
                .take(CHUNK)
                .map(|entry| Ok(register_key(&entry?, &self.0.shared.key, &mut buffer)))
                .collect::<Result<std::collections::BTreeSet<AddressKey>, StoreError>>();
            let keys: Vec<_> = match keys {
                Ok(keys) => keys.into_iter().collect(),
                Err(error) => {
                    self.blocking(|shared| async move { shared.sweep(copy).await })?;
                    return Err(error);
                }
            };
            if keys.is_empty() {
                break;
            }
            loaded += self.blocking(|shared| async move { shared.put(copy, &keys).await })?;
        }
        let entries = i64::try_from(loaded).unwrap_or(i64::MAX);
        let register = Register { name: name.clone(), copy, before: 0, fresh_on, entries };
        self.blocking(|shared| async move {
            match shared.settle_copy(register).await? {
                0 => Ok(()),
                unneeded => shared.sweep(unneeded).await,
            }
        })?;
        Ok(loaded)
    }

    /// See [`crate::store::Store::registers`].
    pub(in crate::store) fn registers(&self) -> Result<Vec<(RegisterName, Timestamp, u64)>, StoreError> {
        let registers = self.blocking(|shared| async move {
            shared.ground()?;
            shared.read_registers().await.map_err(|doubt| shared.doubted(doubt))
        })?;
        let shown = |list: Register| (list.name, list.fresh_on, u64::try_from(list.entries).unwrap_or(0));
        Ok(registers.lists.into_iter().map(shown).collect())
    }
}

impl Redis {
    /// See [`crate::store::Store::each_listed`]; in the order of buckets.
    pub(in crate::store) fn each_listed(
        &self,
        name: &RegisterName,
        visit: &mut dyn FnMut(&[AddressKey]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let (list, buckets) = self.blocking(|shared| async move {
            let buckets = shared.ground()?.layout.buckets();
            let known = shared.read_registers().await.map_err(|doubt| shared.doubted(doubt))?;
            Ok((known.lists, buckets))
        })?;
        let Some(list) = list.into_iter().find(|list| list.name == *name) else { return Ok(()) };
        let (mut count, numbers) = (0, (0..buckets).collect::<Vec<u16>>());
        for partition in Partition::all() {
            for some in numbers.chunks(BUCKETS_TOGETHER) {
                let bucket = |number: &u16| Bucket { partition, shelf: Shelf::Register(list.copy), number: *number };
                let buckets: Vec<_> = some.iter().map(bucket).collect();
                let keys = self.blocking(|shared| async move { shared.listed(&buckets).await })?;
                count += i64::try_from(keys.len()).unwrap_or(i64::MAX);
                visit(&keys)?;
            }
        }
        if count == list.entries { Ok(()) } else { Err(StoreError::Busy) }
    }
}

impl Shared {
    /// What these buckets of a list hold, in order.
    async fn listed(&self, buckets: &[Bucket]) -> Result<Vec<AddressKey>, StoreError> {
        let ground = self.ground()?;
        let held = whole(&self.link, &ground, buckets).await.map_err(|doubt| self.doubted(doubt))?;
        let keys =
            held.iter().flat_map(|(bucket, pairs)| pairs.iter().map(|(field, _)| key_of(bucket.partition, field)));
        let mut keys = keys.collect::<Option<Vec<_>>>().ok_or_else(|| self.doubted(strange()))?;
        keys.sort();
        Ok(keys)
    }
}
