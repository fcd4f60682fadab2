//! What an operator does with the fleet's store: make it, look at it, fill it again, take a gateway off.

use redis::{Cmd, Value};

use super::keeper::{self, Head};
use super::layout::{Bucket, Layout, Partition, Shelf};
use super::look::{Doubt, Ground, origin, strange};
use super::{Redis, RedisSettings, Shared, listing};
use crate::store::entry::{Cursor, PAGE_MAX, Selection};
use crate::store::fold::FOLD_VERSION;
use crate::store::{Settings, StoreError, key};

/// Octets of a store's name.
const NAME_LEN: usize = 16;

/// How things stand, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// This gateway's name in the fleet.
    pub gateway: String,
    /// The store's name and generation, when it answers.
    pub store: Option<(String, i64)>,
    /// Why it does not answer, when it does not.
    pub closed: Option<String>,
    /// Facts that the store does not have yet, and facts in the journal.
    pub pending: (u64, u64),
    /// Every gateway, with the generation in which it has sent its journal.
    pub fleet: Vec<(String, i64)>,
    /// What makes a loss likelier.
    pub warnings: Vec<String>,
}

/// What a walk through everything found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Suppressions.
    pub entries: u64,
    /// Consents and declarations.
    pub events: u64,
}

/// What became of a rebuilding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rebuilt {
    /// Every gateway has sent its journal; mail flows.
    Whole,
    /// Others have yet to; a sentence naming them.
    Waiting(String),
}

impl Redis {
    /// Makes an empty store under the configured prefix, planned for so many entries; once for a whole fleet.
    pub(in crate::store) fn create(
        redis: &RedisSettings,
        settings: &Settings,
        entries: u64,
    ) -> Result<Self, StoreError> {
        let key_file = super::key_file(settings);
        if let Err(StoreError::KeyMissing { .. }) = key::read(&key_file) {
            key::create(&key_file)?;
        }
        let store = Self::unmet(redis, settings)?;
        store.blocking(|shared| async move {
            create(&shared, entries).await.map_err(|doubt| shared.doubted(doubt))?;
            keeper::settle(&shared).await
        })?;
        Ok(store)
    }

    /// How things stand. Never fails over the store itself: that is what it tells about.
    pub(in crate::store) fn status(&self) -> Result<Status, StoreError> {
        let journal = &self.0.shared.journal;
        let closed = self.probe().err().map(|error| error.to_string());
        let (store, infos, fleet) = self.blocking(|shared| async move {
            let head = Head::read(&shared.link).await.ok().flatten();
            let infos = shared.link.infos().await.unwrap_or_default();
            let fleet = fleet(&shared).await.unwrap_or_default();
            Ok((head.map(|head| (head.store, head.generation)), infos, fleet))
        })?;
        let warnings = keeper::warnings(&infos);
        Ok(Status { gateway: journal.gateway().to_owned(), store, closed, pending: journal.counts()?, fleet, warnings })
    }

    /// Takes a gateway off the list of those whose journals are waited for.
    pub(in crate::store) fn forget(&self, gateway: &str) -> Result<bool, StoreError> {
        let gateway = gateway.to_owned();
        self.blocking(|shared| async move {
            shared.link.connect().await?;
            let mut command = redis::cmd("HDEL");
            command.arg(Layout::fleet(shared.link.prefix())).arg(gateway);
            let value = shared.link.ask(vec![vec![command]]).await?.into_iter().flatten().next();
            Ok(matches!(value, Some(Value::Int(1))))
        })
    }

    /// Walks through every fact: checksums, and whether there are as many as were counted.
    pub(in crate::store) fn census(&self) -> Result<Census, StoreError> {
        let counted = self.blocking(|shared| async move {
            let ground = shared.ground()?;
            let counters = listing::counters(&shared, &ground).await.map_err(|doubt| shared.doubted(doubt))?;
            Ok(counters.iter().fold((0, 0), |(s, e), one| (s + one.entries, e + one.events)))
        })?;
        let mut census = Census::default();
        let mut after = Cursor::default();
        loop {
            let page = self.list(&Selection::default(), after, PAGE_MAX)?;
            census.entries += u64::try_from(page.entries.len()).unwrap_or(0);
            let Some(next) = page.next else { break };
            after = next;
        }
        let mut after = Cursor::default();
        loop {
            let page = self.events(after, PAGE_MAX)?;
            census.events += u64::try_from(page.len()).unwrap_or(0);
            let Some((next, _)) = page.last() else { break };
            after = *next;
        }
        let found = (i64::try_from(census.entries), i64::try_from(census.events));
        if found == (Ok(counted.0), Ok(counted.1)) {
            return Ok(census);
        }
        let Census { entries, events } = census;
        let because =
            format!("found {entries} entries and {events} events where {} and {} were counted", counted.0, counted.1);
        Err(StoreError::Latched { because })
    }

    /// Empties the store and begins its next generation: every gateway sends its journal again.
    pub(in crate::store) fn rebuild(
        redis: &RedisSettings,
        settings: &Settings,
        entries: u64,
    ) -> Result<(Self, Rebuilt), StoreError> {
        let store = Self::unmet(redis, settings)?;
        store
            .blocking(|shared| async move { rebuild(&shared, entries).await.map_err(|doubt| shared.doubted(doubt)) })?;
        let rebuilt = match store.probe() {
            Ok(()) => Rebuilt::Whole,
            Err(StoreError::Settling { because }) => Rebuilt::Waiting(because),
            Err(error) => return Err(error),
        };
        Ok((store, rebuilt))
    }
}

async fn fleet(shared: &Shared) -> Result<Vec<(String, i64)>, Doubt> {
    let mut command = redis::cmd("HGETALL");
    command.arg(Layout::fleet(shared.link.prefix()));
    let value = shared.link.ask(vec![vec![command]]).await?.into_iter().flatten().next();
    Ok(keeper::read_fleet(value)?.into_iter().collect())
}

async fn meet(shared: &Shared) -> Result<(), Doubt> {
    shared.link.connect().await?;
    shared.link.still_named().await?;
    Ok(keeper::inspect(&shared.link.infos().await?)?)
}

/// What the fleet's store says of itself; `None` when there is none.
pub(super) async fn known(shared: &Shared) -> Result<Option<Head>, Doubt> {
    meet(shared).await?;
    Head::read(&shared.link).await
}

async fn create(shared: &Shared, entries: u64) -> Result<(), Doubt> {
    meet(shared).await?;
    if shared.journal.remembered()?.store.is_some() {
        let because = "this gateway knows a store already; `consentry store rebuild` fills a lost one again".to_owned();
        return Err(Doubt::Away(StoreError::Refused { because }));
    }
    let mut name = [0; NAME_LEN];
    aws_lc_rs::rand::fill(&mut name).map_err(|_| StoreError::Refused { because: "no random octets".to_owned() })?;
    let store = crate::hex::encode(&name);
    let head = head(shared, store, 1, Layout::bits_for(entries));
    // Of two who make it at the same time one is first.
    let key = Layout::store(shared.link.prefix());
    if !keeper::compare_and_set(&shared.link, key, "id", "", &head.store).await? {
        let because = "there is a store under this prefix already".to_owned();
        return Err(Doubt::Away(StoreError::Refused { because }));
    }
    put_up(shared, &head).await
}

fn head(shared: &Shared, store: String, generation: i64, bits: u8) -> Head {
    Head { store, generation, bits, key_check: shared.key.check().to_string(), fold: FOLD_VERSION, is_building: true }
}

async fn rebuild(shared: &Shared, entries: u64) -> Result<(), Doubt> {
    meet(shared).await?;
    let remembered = shared.journal.remembered()?;
    let known = Head::read(&shared.link).await?;
    let store = remembered.store.clone().ok_or_else(|| {
        let because = "this gateway never met the store; rebuild it from one that did".to_owned();
        Doubt::Away(StoreError::Refused { because })
    })?;
    if let Some(other) = known.as_ref().filter(|head| head.store != store) {
        let because = format!("another store, {}, lies under this prefix", other.store);
        return Err(Doubt::Away(StoreError::Refused { because }));
    }
    let generation = remembered.generation.max(known.as_ref().map_or(0, |head| head.generation)) + 1;
    let bits = known.as_ref().map_or_else(|| Layout::bits_for(entries), |head| head.bits);
    // The others' journals are waited for, also when Redis has forgotten who they are.
    let mut others = redis::cmd("HSET");
    others.arg(Layout::fleet(shared.link.prefix())).arg(shared.journal.gateway()).arg(0);
    for name in &remembered.fleet {
        others.arg(name).arg(0);
    }
    shared.link.ask(vec![vec![others]]).await?;
    put_up(shared, &head(shared, store, generation, bits)).await
}

/// Writes head and partitions; whatever lies in the buckets is taken out. Nobody believes the store before the last step.
async fn put_up(shared: &Shared, head: &Head) -> Result<(), Doubt> {
    let link = &shared.link;
    let layout = Layout::new(link.prefix(), head.bits).ok_or_else(strange)?;
    let key = Layout::store(link.prefix());
    let mut begin = redis::cmd("HSET");
    begin.arg(&key).arg("building").arg(1);
    for (field, value) in head.fields() {
        begin.arg(field).arg(value);
    }
    let mut lists = redis::cmd("HDEL");
    lists.arg(&key).arg("registers");
    link.ask(vec![vec![begin, lists]]).await?;
    let ground = Ground::new(layout, head.store.clone(), head.generation, &[]);
    for partition in Partition::all() {
        link.ask(vec![clear(&ground, partition, &origin(&head.store, head.generation))]).await?;
    }
    let mut end = redis::cmd("HDEL");
    end.arg(&key).arg("building");
    link.ask(vec![vec![end]]).await?;
    Ok(())
}

fn clear(ground: &Ground, partition: Partition, origin: &str) -> Vec<Cmd> {
    let layout = &ground.layout;
    let (mut gone, mut fresh) = (redis::cmd("UNLINK"), redis::cmd("HSET"));
    gone.arg(layout.meta(partition)).arg(layout.removals(partition));
    for number in 0..layout.buckets() {
        for shelf in [Shelf::Suppressions, Shelf::Events] {
            gone.arg(layout.key(&Bucket { partition, shelf, number }));
        }
    }
    fresh.arg(layout.meta(partition)).arg("o").arg(origin).arg("n").arg(0);
    vec![gone, fresh]
}
