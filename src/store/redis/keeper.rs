//! The keeper: finds out whether the fleet's store is the whole one, and brings it up to date before anybody asks it.
//!
//! A store has a *generation*. When a gateway misses changes that it saw (an old snapshot, a replica that was behind), it
//! begins the next generation: every gateway then sends its whole journal again, and nobody answers until all have. What
//! the server lost, the journals have.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::{Cmd, Script, Value};

use super::Shared;
use super::change::{self, Telling};
use super::journal::Remembered;
use super::layout::{Layout, Partition};
use super::link::{Link, Run};
use super::look::{Doubt, Ground, number, octets, origin, other_kind, pairs, strange, text};
use super::rotate::Stage;
use super::standing::Standing;
use super::tellers::Held;
use crate::store::StoreError;
use crate::store::fold::FOLD_VERSION;

/// The form of the store that this release reads and writes.
pub(super) const FORMAT: i64 = 1;
/// Facts that are sent together: enough to fill the way, few enough for one answer in time.
const SENT_TOGETHER: usize = 2000;
/// How often the keeper looks for a moment in which nobody tells, and how long it waits between two looks: a chunk of an import takes
/// some ten milliseconds, and a look that found none is made again a second later.
const LOOKS_MAX: usize = 50;
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// How many generations may begin within one settling: one when changes are missing; more means that somebody else is at it.
const ROUNDS_MAX: usize = 3;

/// Sets a field to ARGV[3] if it holds ARGV[2] (nothing counts as empty). Answers 1 when it did.
static COMPARE_AND_SET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
",
    )
});

pub(super) async fn compare_and_set(
    link: &Link,
    key: String,
    field: &str,
    old: &str,
    new: &str,
) -> Result<bool, StoreError> {
    let arguments = [field, old, new].map(|text| text.as_bytes().to_vec()).to_vec();
    let answers = link.run(&COMPARE_AND_SET, vec![Run { keys: vec![key], arguments }]).await?;
    Ok(answers == [1])
}

/// What is said about the store as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) store: String,
    pub(super) generation: i64,
    pub(super) bits: u8,
    pub(super) key_check: String,
    pub(super) fold: i64,
    /// Somebody is putting the store up; it is not whole yet.
    pub(super) is_building: bool,
}

impl Head {
    /// `None` when there is no store.
    pub(super) async fn read(link: &Link) -> Result<Option<Self>, Doubt> {
        let mut command = redis::cmd("HMGET");
        command.arg(Layout::store(link.prefix())).arg(&["v", "id", "gen", "bits", "key", "fold", "building"]);
        let Some(Value::Array(values)) = one(link, command).await? else { return Err(other_kind()) };
        let mut values = values.into_iter();
        let version = text(values.next())?;
        let Some(store) = text(values.next())? else { return Ok(None) };
        if version.as_deref() != Some(&FORMAT.to_string()) {
            let found = version.unwrap_or_default();
            return Err(refused(format!("the store is of form `{found}`, this release knows {FORMAT}")));
        }
        let generation = number(values.next())?;
        let bits = u8::try_from(number(values.next())?).map_err(|_| strange())?;
        let key_check = text(values.next())?.ok_or_else(strange)?;
        let fold = number(values.next())?;
        let is_building = octets(values.next())?.is_some();
        Ok(Some(Self { store, generation, bits, key_check, fold, is_building }))
    }

    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("v", FORMAT.to_string()),
            ("id", self.store.clone()),
            ("gen", self.generation.to_string()),
            ("bits", self.bits.to_string()),
            ("key", self.key_check.clone()),
            ("fold", self.fold.to_string()),
        ]
    }
}

fn refused(because: String) -> Doubt {
    Doubt::Away(StoreError::Refused { because })
}

async fn one(link: &Link, command: Cmd) -> Result<Option<Value>, StoreError> {
    Ok(link.ask(vec![vec![command]]).await?.into_iter().flatten().next())
}

/// Connects when needed, looks at everything, sends what is pending. The store answers from then on, or says why not.
pub(super) async fn settle(shared: &Shared) -> Result<(), StoreError> {
    let _one_at_a_time = shared.settling.lock().await;
    let outcome = match attempt(shared).await {
        Ok(()) => return Ok(()),
        Err(doubt) => shared.doubted(doubt),
    };
    // Whatever it was, nothing is answered until the next attempt finds the store sound.
    shared.close(&outcome);
    Err(outcome)
}

async fn attempt(shared: &Shared) -> Result<(), Doubt> {
    let link = &shared.link;
    link.connect().await?;
    link.still_named().await?;
    let infos = link.infos().await?;
    inspect(&infos)?;
    if !shared.warned.swap(true, Ordering::AcqRel) {
        for warning in warnings(&infos) {
            tracing::warn!("{warning}");
        }
    }
    for _ in 0..ROUNDS_MAX {
        let remembered = shared.remembered()?;
        let head = Head::read(link).await?.ok_or_else(|| absent(&remembered))?;
        check(shared, &head, &remembered)?;
        shared.latched(head.generation)?;
        let layout = Layout::new(link.prefix(), head.bits).ok_or_else(strange)?;
        let Some(changes) = align(link, &layout, &head, &remembered).await? else { continue };
        let ground = Ground::new(layout, head.store.clone(), head.generation, &changes);
        send(shared, &ground, &head, &remembered).await?;
        await_others(shared, &head, &ground).await?;
        shared.open_with(ground);
        return Ok(());
    }
    Err(Doubt::Unsettled("generations of the store follow one another; somebody else is settling it".to_owned()))
}

fn absent(remembered: &Remembered) -> Doubt {
    let because = match remembered.store {
        None => {
            "there is no store in Redis under this prefix; `consentry store create` makes one, once for the whole fleet"
        }
        Some(_) => {
            "the store was here and is gone from Redis (flushed, or another database); restore Redis from its backup, or let \
             `consentry store rebuild` fill it again from the journals of all gateways"
        }
    };
    Doubt::Away(StoreError::Refused { because: because.to_owned() })
}

fn check(shared: &Shared, head: &Head, remembered: &Remembered) -> Result<(), Doubt> {
    match Stage::of(&head.key_check, shared) {
        Stage::Same => {}
        Stage::Ahead(_) => {
            return Err(refused("another gateway has rotated the store's key; start this one again".to_owned()));
        }
        Stage::Behind => {
            let because =
                "a rotation of the key ended in the middle here; `consentry store rotate-key` goes on with it";
            return Err(refused(because.to_owned()));
        }
        Stage::Other => return Err(Doubt::Away(StoreError::KeyWrong { path: shared.key_file.clone() })),
    }
    if head.fold != FOLD_VERSION {
        return Err(refused(format!("addresses are folded by rules {}, this release knows {FOLD_VERSION}", head.fold)));
    }
    if let Some(store) = remembered.store.as_deref().filter(|store| *store != head.store) {
        return Err(refused(format!("this is store {}, and the journal belongs to store {store}", head.store)));
    }
    if head.is_building {
        return Err(Doubt::Unsettled("the store is being put up".to_owned()));
    }
    Ok(())
}

/// Brings all partitions to the head's generation. Answers at which change each stands; `None` when a new generation had to
/// begin, because changes are missing that this gateway saw.
async fn align(link: &Link, layout: &Layout, head: &Head, remembered: &Remembered) -> Result<Option<Vec<i64>>, Doubt> {
    let ask = |partition| {
        let mut command = redis::cmd("HMGET");
        command.arg(layout.meta(partition)).arg("o").arg("n");
        vec![command]
    };
    let answers = link.ask(Partition::all().map(ask).collect()).await?;
    let current = origin(&head.store, head.generation);
    let (mut changes, mut behind) = (Vec::with_capacity(answers.len()), Vec::new());
    for (partition, values) in Partition::all().zip(answers) {
        let Some(Value::Array(pair)) = values.into_iter().next() else { return Err(other_kind()) };
        let mut pair = pair.into_iter();
        let at = partition.0;
        let found = text(pair.next())?.ok_or_else(|| {
            refused(format!(
                "partition {at:02x} of the store is gone (a node lost its data, keys were evicted or deleted); restore it, or \
                 run `consentry store rebuild`"
            ))
        })?;
        if found != current {
            let (store, generation) = found.split_once(':').ok_or_else(strange)?;
            let generation: i64 = generation.parse().map_err(|_| strange())?;
            if store != head.store || generation > head.generation {
                return begin_next(link, head, generation).await.map(|()| None);
            }
            behind.push((partition, found));
        }
        changes.push(number(pair.next())?);
    }
    let raise = |(partition, found): (Partition, String)| Run {
        keys: vec![layout.meta(partition)],
        arguments: ["o", &found, &current].map(|text| text.as_bytes().to_vec()).to_vec(),
    };
    link.run(&COMPARE_AND_SET, behind.into_iter().map(raise).collect()).await?;
    let is_known = remembered.generation == head.generation;
    let lost = changes.iter().zip(&remembered.marks).any(|(change, mark)| change < mark);
    if remembered.generation > head.generation || (is_known && lost) {
        begin_next(link, head, remembered.generation).await?;
        return Ok(None);
    }
    Ok(Some(changes))
}

/// Changes are missing: from now on everything is sent again by everybody.
async fn begin_next(link: &Link, head: &Head, seen: i64) -> Result<(), Doubt> {
    let next = head.generation.max(seen) + 1;
    let (key, old) = (Layout::store(link.prefix()), head.generation.to_string());
    // When it was somebody else who did it, that is as good.
    compare_and_set(link, key, "gen", &old, &next.to_string()).await?;
    tracing::warn!(generation = next, "the fleet store lost changes; every gateway sends its journal again");
    Ok(())
}

/// A moment in which nobody tells. Tellers pause between chunks, so that a few looks find one.
async fn alone(shared: &Shared) -> Result<Option<Held>, StoreError> {
    for _ in 0..LOOKS_MAX {
        if let Some(held) = shared.journal.tellers().keep_off()? {
            return Ok(Some(held));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(None)
}

/// Sends what is not done in this generation: all of the journal when the generation is new to us.
async fn send(shared: &Shared, ground: &Ground, head: &Head, remembered: &Remembered) -> Result<(), Doubt> {
    loop {
        let Some(_alone) = alone(shared).await? else {
            if remembered.generation == head.generation {
                // What is being told counts as told while it waits; what stays behind is sent the next time.
                return Ok(());
            }
            let because = "a command is handing in facts; they are sent first".to_owned();
            return Err(Doubt::Away(StoreError::Settling { because }));
        };
        let lines = shared.journal.pending(head.generation, SENT_TOGETHER)?;
        if lines.is_empty() {
            break;
        }
        let facts: Vec<_> = lines.iter().map(|line| line.fact.clone()).collect();
        change::tell(&shared.link, ground, &facts, Telling::Again).await?;
        shared.journal.done(&lines, head.generation, &ground.marks())?;
    }
    if remembered.generation != head.generation {
        shared.journal.remember(&head.store, head.generation, &ground.marks(), &remembered.fleet)?;
    }
    Ok(())
}

/// Says how far this gateway is, and waits for no other: while one has not sent its journal, the store stays closed.
async fn await_others(shared: &Shared, head: &Head, ground: &Ground) -> Result<(), Doubt> {
    let link = &shared.link;
    let (key, gateway) = (Layout::fleet(link.prefix()), shared.journal.gateway());
    let (mut say, mut ask) = (redis::cmd("HSET"), redis::cmd("HGETALL"));
    say.arg(&key).arg(gateway).arg(head.generation);
    ask.arg(&key);
    let answers = link.ask(vec![vec![say, ask]]).await?;
    let fleet = read_fleet(answers.into_iter().flatten().nth(1))?;
    let behind: Vec<_> =
        fleet.iter().filter(|(_, reached)| **reached < head.generation).map(|(name, _)| name.as_str()).collect();
    let mut names: Vec<_> = fleet.keys().filter(|name| *name != gateway).cloned().collect();
    names.sort();
    let remembered = shared.journal.remembered()?;
    if remembered.fleet != names {
        shared.journal.remember(&head.store, head.generation, &ground.marks(), &names)?;
    }
    if behind.is_empty() {
        return Ok(());
    }
    Err(Doubt::Unsettled(format!(
        "the store lost changes, and these gateways have not sent their journals again yet: {}; one that is gone for good is \
         taken off with `consentry store forget`",
        behind.join(", ")
    )))
}

pub(super) fn read_fleet(value: Option<Value>) -> Result<BTreeMap<String, i64>, Doubt> {
    let read = |(name, reached): (Vec<u8>, Vec<u8>)| {
        let name = String::from_utf8(name).map_err(|_| strange())?;
        let reached = std::str::from_utf8(&reached).ok().and_then(|text| text.parse().ok()).ok_or_else(strange)?;
        Ok((name, reached))
    };
    pairs(value)?.into_iter().map(read).collect()
}

/// Whether a server may hold what must not be lost. What only makes a loss likelier is said once.
pub(super) fn inspect(infos: &[String]) -> Result<(), StoreError> {
    if infos.is_empty() {
        return Err(StoreError::Away { because: "no primary answers".to_owned() });
    }
    for info in infos {
        let says = |name: &str| {
            info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map_or("", str::trim_end)
        };
        if says("role") != "master" {
            return Err(StoreError::Away {
                because: "the server is a replica; facts are read from primaries only".to_owned(),
            });
        }
        if says("loading") == "1" {
            return Err(StoreError::Away { because: "the server is loading its data".to_owned() });
        }
        let policy = says("maxmemory_policy");
        if policy != "noeviction" {
            let because =
                format!("maxmemory-policy is `{policy}`: the server may forget opt-outs; expected `noeviction`");
            return Err(StoreError::Refused { because });
        }
    }
    Ok(())
}

/// What makes a loss likelier, as sentences for the log and `consentry store status`.
pub(super) fn warnings(infos: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for info in infos {
        if info.lines().any(|line| line.trim_end() == "aof_enabled:0") {
            found.push(
                "appendonly is off: a restart of the server loses changes since its last snapshot; the gateways' journals \
                 send them again, and mail waits meanwhile"
                    .to_owned(),
            );
        }
    }
    found.dedup();
    found
}

impl Shared {
    /// The store answers from now on.
    fn open_with(&self, ground: Ground) {
        let mut standing = self.standing.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let same = |known: &Ground| (known.generation, &known.store) == (ground.generation, &ground.store);
        // Marks that rose meanwhile are kept: only a new generation begins with new ones.
        if !matches!(&*standing, Standing::Ready(known) if same(known)) {
            let ground = std::sync::Arc::new(ground);
            *self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(std::sync::Arc::clone(&ground));
            *standing = Standing::Ready(ground);
        }
    }

    /// What is remembered of the store, on disk or since.
    fn remembered(&self) -> Result<Remembered, StoreError> {
        let mut remembered = self.journal.remembered()?;
        let last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        if let Some(last) = last.filter(|last| last.generation == remembered.generation) {
            let seen = last.marks();
            remembered.marks.resize(seen.len(), 0);
            remembered.marks.iter_mut().zip(seen).for_each(|(mark, seen)| *mark = (*mark).max(seen));
        }
        Ok(remembered)
    }

    /// What was found damaged stays closed for its generation: what else is damaged cannot be known.
    fn latched(&self, generation: i64) -> Result<(), Doubt> {
        if self.damaged_in.load(Ordering::Acquire) < generation {
            return Ok(());
        }
        let because = self.damage.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        Err(Doubt::Away(StoreError::Latched { because }))
    }
}
