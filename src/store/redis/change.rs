//! Changes: read, merged here by the same rules as everywhere, and written only if nothing changed in between.
//!
//! A partition's change number is what is compared. So the rules are written once, in Rust, and the script in the server
//! knows nothing of them: it compares, writes, and counts, as one step that no other client can come between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use redis::Script;

use super::codec;
use super::fact::Fact;
use super::layout::{Bucket, Partition, Shelf, cursor, field};
use super::link::{Link, Run};
use super::look::{Answer, Doubt, Ground, Want, look};
use super::registers::expect_hashes;
use crate::store::bulk::said_again;
use crate::store::entry::{Cursor, Entry, Removal};
use crate::store::event::{Event, View};
use crate::store::key::AddressKey;
use crate::store::{Added, StoreError};

/// How often a change that met another one is tried again before the caller is told to come back.
pub(super) const TRIES_MAX: usize = 50;

/// Compares, writes and counts. KEYS: the partition's meta, then each bucket. ARGV: origin, change number before and
/// after, the change's own name or nothing, the name and the change of each counter, then for each bucket its name and how many writes, then
/// bucket number, field and value of each write, where an empty value takes the field out. Answers 1 when written, also when a change of that
/// name was written a moment ago, 0 when another change came first, -1 when the partition is not of this store and generation, -2 when a
/// bucket has lost or gained fields. Everything is checked before anything is written, since a script is not undone.
static SCRIPT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local head = redis.call('HMGET', KEYS[1], 'o', 'n', 'w')
if head[1] ~= ARGV[1] then return -1 end
local last = head[3] or ''
if ARGV[4] ~= '' and string.find(last, ARGV[4], 1, true) then return 1 end
if (head[2] or '0') ~= ARGV[2] then return 0 end
local at = 5
local counters = tonumber(ARGV[at]); at = at + 1
local first_counter = at
at = at + 2 * counters
local names = at
for i = 2, #KEYS do
  local kind = redis.call('TYPE', KEYS[i])['ok']
  if kind ~= 'hash' and kind ~= 'none' then return -2 end
  local expected = redis.call('HGET', KEYS[1], ARGV[at]) or '0'
  if tostring(redis.call('HLEN', KEYS[i])) ~= expected then return -2 end
  at = at + 1
end
while at < #ARGV do
  local key = KEYS[tonumber(ARGV[at])]
  if ARGV[at + 2] == '' then
    redis.call('HDEL', key, ARGV[at + 1])
  else
    redis.call('HSET', key, ARGV[at + 1], ARGV[at + 2])
  end
  at = at + 3
end
for i = 2, #KEYS do
  redis.call('HSET', KEYS[1], ARGV[names + i - 2], redis.call('HLEN', KEYS[i]))
end
for i = 0, counters - 1 do
  redis.call('HINCRBY', KEYS[1], ARGV[first_counter + 2 * i], ARGV[first_counter + 2 * i + 1])
end
redis.call('HSET', KEYS[1], 'n', ARGV[3])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'w', string.sub(ARGV[4] .. last, 1, 64)) end
return 1
",
    )
});

/// What is to be written to one partition.
pub(super) struct Writes {
    partition: Partition,
    pub(super) before: i64,
    pub(super) after: i64,
    /// By which it is known again when it is sent twice; empty where that changes nothing.
    name: String,
    /// How much each counter changes.
    counters: BTreeMap<&'static str, i64>,
    values: BTreeMap<(Bucket, AddressKey), Vec<u8>>,
    /// The record of a removal: field and value.
    removals: Vec<(String, Vec<u8>)>,
}

impl Writes {
    pub(super) fn new(partition: Partition, before: i64) -> Self {
        Self {
            partition,
            before,
            after: before,
            name: String::new(),
            counters: BTreeMap::new(),
            values: BTreeMap::new(),
            removals: Vec::new(),
        }
    }

    /// Known again by `name`, which has the length of [`conditional::NAME_LEN`](super::conditional::NAME_LEN).
    pub(super) fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    fn count(&mut self, counter: &'static str, by: i64) {
        *self.counters.entry(counter).or_default() += by;
    }

    const fn next(&mut self) -> i64 {
        self.after += 1;
        self.after
    }

    fn put(&mut self, ground: &Ground, want: &Want, value: Vec<u8>) {
        self.values.insert((ground.layout.bucket(want.shelf, &want.key), want.key), value);
    }

    fn run(&self, ground: &Ground) -> Run {
        let layout = &ground.layout;
        let mut buckets: Vec<(String, String)> = Vec::new();
        let mut writes: Vec<(usize, Vec<u8>, &[u8])> = Vec::new();
        let mut place = |key: String, name: String| {
            // Values come bucket by bucket: the last one is nearly always it.
            let known = buckets.iter().rposition(|(known, _)| *known == key);
            // The keys of a script are numbered from 1, and the first is the partition's meta.
            known.unwrap_or_else(|| {
                buckets.push((key, name));
                buckets.len() - 1
            }) + 2
        };
        for ((bucket, key), value) in &self.values {
            writes.push((place(layout.key(bucket), bucket.name()), field(key).to_vec(), value));
        }
        for (name, value) in &self.removals {
            writes.push((place(layout.removals(self.partition), "x".to_owned()), name.clone().into_bytes(), value));
        }
        let mut arguments = vec![
            ground.origin().into_bytes(),
            self.before.to_string().into_bytes(),
            self.after.to_string().into_bytes(),
            self.name.clone().into_bytes(),
            self.counters.len().to_string().into_bytes(),
        ];
        for (counter, by) in &self.counters {
            arguments.extend([counter.as_bytes().to_vec(), by.to_string().into_bytes()]);
        }
        arguments.extend(buckets.iter().map(|(_, name)| name.clone().into_bytes()));
        for (number, field, value) in writes {
            arguments.extend([number.to_string().into_bytes(), field, value.to_vec()]);
        }
        let keys =
            std::iter::once(layout.meta(self.partition)).chain(buckets.into_iter().map(|(key, _)| key)).collect();
        Run { keys, arguments }
    }
}

/// Whether facts are told for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    /// They happened now: an event is the last word.
    First,
    /// They may have been told before, and others after them: an event takes the place that its time gives it.
    Again,
}

/// Tells the store some facts, in partitions side by side; answers for each whether it was new.
pub(super) async fn tell(link: &Link, ground: &Ground, facts: &[Fact], telling: Telling) -> Result<Vec<Added>, Doubt> {
    if facts.iter().any(|fact| matches!(fact, Fact::Suppression(entry) if entry.is_published())) {
        expect_hashes(link).await?;
    }
    let mut added = vec![Added::Existing; facts.len()];
    let mut left: BTreeMap<Partition, Vec<usize>> = BTreeMap::new();
    for (index, fact) in facts.iter().enumerate() {
        left.entry(Partition::of(fact.key())).or_default().push(index);
    }
    for _ in 0..TRIES_MAX {
        let told = |index: &usize| facts.get(*index).map(|fact| (*index, fact));
        let wants: Vec<Want> = left.values().flatten().filter_map(told).flat_map(|(_, fact)| wants(fact)).collect();
        let answer = look(link, ground, &wants).await?;
        let mut all = Vec::new();
        for (partition, indexes) in &left {
            let mut writes = Writes::new(*partition, answer.changes.get(partition).copied().unwrap_or(0));
            merge(ground, &answer, indexes.iter().filter_map(told), telling, &mut writes, &mut added)?;
            if writes.after > writes.before {
                all.push(writes);
            }
        }
        let conflicts = write(link, ground, &all).await?;
        left.retain(|partition, _| conflicts.contains(partition));
        if left.is_empty() {
            return Ok(added);
        }
    }
    Err(Doubt::Away(StoreError::Busy))
}

pub(super) const fn want(fact: &Fact) -> Want {
    match fact {
        Fact::Suppression(entry) => Want { shelf: Shelf::Suppressions, key: entry.family },
        Fact::Event(event) => Want { shelf: Shelf::Events, key: event.exact },
    }
}

/// What has to be seen before a fact can be merged: what is told of the same key, and for a suppression the consents of
/// its address, one of which may have lifted what was told before.
pub(super) fn wants(fact: &Fact) -> impl Iterator<Item = Want> {
    let consents = match fact {
        Fact::Suppression(entry) => Some(Want { shelf: Shelf::Events, key: entry.exact }),
        Fact::Event(_) => None,
    };
    std::iter::once(want(fact)).chain(consents)
}

/// Merges facts of one partition into what lies there.
pub(super) fn merge<'a>(
    ground: &Ground,
    answer: &Answer,
    facts: impl Iterator<Item = (usize, &'a Fact)>,
    telling: Telling,
    writes: &mut Writes,
    added: &mut [Added],
) -> Result<(), Doubt> {
    let mut entries: BTreeMap<Want, Vec<Entry>> = BTreeMap::new();
    let mut events: BTreeMap<Want, Vec<Event>> = BTreeMap::new();
    for (index, fact) in facts {
        let want = want(fact);
        let before = writes.after;
        let became = match fact {
            Fact::Suppression(entry) => {
                let all = match entries.remove(&want) {
                    Some(all) => all,
                    None => entries_of(&want.key, answer.get(&want))?,
                };
                let told = Want { shelf: Shelf::Events, key: entry.exact };
                let view = View::of(&events_of(&told.key, answer.get(&told))?);
                let (all, became) = merge_entry(all, entry, &view, writes);
                entries.insert(want, all);
                became
            }
            Fact::Event(event) => {
                let all = match events.remove(&want) {
                    Some(all) => all,
                    None => events_of(&want.key, answer.get(&want))?,
                };
                let (all, became) = merge_event(all, event, telling, writes);
                events.insert(want, all);
                became
            }
        };
        if writes.after > before {
            match fact {
                Fact::Suppression(_) => {
                    writes.put(ground, &want, encode(entries.get(&want).map_or(&[], Vec::as_slice)));
                }
                Fact::Event(_) => writes.put(ground, &want, encode_events(events.get(&want))),
            }
        }
        if let Some(added) = added.get_mut(index) {
            *added = became;
        }
    }
    Ok(())
}

/// The entries with one more, with one that is there saying more, or with one said again after a consent.
fn merge_entry(mut all: Vec<Entry>, new: &Entry, view: &View, writes: &mut Writes) -> (Vec<Entry>, Added) {
    let same = |known: &&mut Entry| {
        (known.kind, known.exact, &known.fact.scope, known.fact.cause)
            == (new.kind, new.exact, &new.fact.scope, new.fact.cause)
    };
    if let Some(known) = all.iter_mut().find(same) {
        if view.lifts(&known.fact, new.fact.since) {
            let record = record_of(known, &Removal::said_again(known, new.created));
            let change = writes.next();
            writes.removals.push((change.to_string(), record));
            *known = Entry { cursor: Cursor(writes.next()), ..new.clone() };
            return (all, Added::New);
        }
        let Some(fact) = said_again(known, &new.fact) else { return (all, Added::Existing) };
        known.fact = fact;
        writes.next();
        return (all, Added::Renewed);
    }
    all.push(Entry { cursor: Cursor(writes.next()), ..new.clone() });
    writes.count("s", 1);
    (all, Added::New)
}

/// The history with one more event, unless it was told before or changes nothing of what holds.
fn merge_event(mut all: Vec<Event>, new: &Event, telling: Telling, writes: &mut Writes) -> (Vec<Event>, Added) {
    let known = telling == Telling::Again && all.iter().any(|event| event.is_same(new));
    if known || View::of(&all).holds(&new.told) {
        return (all, Added::Existing);
    }
    let event = Event { cursor: Cursor(writes.next()), ..new.clone() };
    match telling {
        Telling::First => all.push(event),
        Telling::Again => in_time(&mut all, event),
    }
    writes.count("e", 1);
    (all, Added::New)
}

/// Puts an event that was told before into the place that its time gives it.
fn in_time(history: &mut Vec<Event>, event: Event) {
    let at = history.iter().position(|later| later.at > event.at).unwrap_or(history.len());
    history.insert(at, event);
}

/// Takes out what `covers` says of the entries under some keys, in partitions side by side, and keeps who did it and why. Answers
/// what went; on an error of the removal itself nothing has gone.
pub(super) async fn remove(
    link: &Link,
    ground: &Ground,
    keys: &BTreeSet<AddressKey>,
    removal: &Removal,
    covers: impl Fn(&Entry) -> bool,
) -> Result<Vec<Entry>, Doubt> {
    let mut left: Vec<Want> = keys.iter().map(|key| Want { shelf: Shelf::Suppressions, key: *key }).collect();
    let mut out = Vec::new();
    for _ in 0..TRIES_MAX {
        let answer = look(link, ground, &left).await?;
        let mut all: BTreeMap<Partition, (Writes, Vec<Entry>)> = BTreeMap::new();
        for want in &left {
            let (mut gone, kept): (Vec<_>, Vec<_>) =
                entries_of(&want.key, answer.get(want))?.into_iter().partition(&covers);
            if gone.is_empty() {
                continue;
            }
            removal.check(&gone)?;
            let bucket = ground.layout.bucket(want.shelf, &want.key);
            let before = answer.changes.get(&bucket.partition).copied().unwrap_or(0);
            let (writes, taken) =
                all.entry(bucket.partition).or_insert_with(|| (Writes::new(bucket.partition, before), Vec::new()));
            take_out(ground, want, &mut gone, &kept, removal, writes);
            taken.append(&mut gone);
        }
        let (writes, taken): (Vec<Writes>, Vec<Vec<Entry>>) = all.into_values().unzip();
        let conflicts = write(link, ground, &writes).await?;
        for (writes, taken) in writes.iter().zip(taken) {
            if !conflicts.contains(&writes.partition) {
                out.extend(taken);
            }
        }
        left.retain(|want| conflicts.contains(&Partition::of(&want.key)));
        if left.is_empty() {
            return Ok(out);
        }
    }
    Err(Doubt::Away(StoreError::Busy))
}

/// Leaves `kept` under a key and writes `gone` down as removed; their cursors become those of listings.
pub(super) fn take_out(
    ground: &Ground,
    want: &Want,
    gone: &mut [Entry],
    kept: &[Entry],
    removal: &Removal,
    writes: &mut Writes,
) {
    let bucket = ground.layout.bucket(want.shelf, &want.key);
    for entry in gone {
        let change = writes.next();
        writes.removals.push((change.to_string(), record_of(entry, removal)));
        writes.count("s", -1);
        entry.cursor = Cursor(cursor(&bucket, entry.cursor.0));
    }
    writes.put(ground, want, encode(kept));
}

/// Puts keys of a national opt-out list into its copy.
pub(super) async fn list(link: &Link, ground: &Ground, copy: i64, keys: &[AddressKey]) -> Result<u64, Doubt> {
    let wants: Vec<Want> = keys.iter().map(|key| Want { shelf: Shelf::Register(copy), key: *key }).collect();
    let mut left: Vec<Want> = wants;
    let mut new = 0;
    for _ in 0..TRIES_MAX {
        let answer = look(link, ground, &left).await?;
        let mut all: BTreeMap<Partition, Writes> = BTreeMap::new();
        for want in &left {
            let partition = Partition::of(&want.key);
            let before = answer.changes.get(&partition).copied().unwrap_or(0);
            let writes = all.entry(partition).or_insert_with(|| Writes::new(partition, before));
            if answer.get(want).is_none() {
                writes.after = before + 1;
                writes.put(ground, want, LISTED.to_vec());
            }
        }
        let changed: Vec<Writes> = all.into_values().filter(|writes| writes.after > writes.before).collect();
        let conflicts = write(link, ground, &changed).await?;
        new += changed.iter().filter(|w| !conflicts.contains(&w.partition)).map(|w| w.values.len()).sum::<usize>();
        left.retain(|want| conflicts.contains(&Partition::of(&want.key)));
        if left.is_empty() {
            return Ok(u64::try_from(new).unwrap_or(u64::MAX));
        }
    }
    Err(Doubt::Away(StoreError::Busy))
}

/// The value of a listed key.
pub(super) const LISTED: &[u8] = b"1";

/// Writes to partitions side by side; answers those where another change came first.
pub(super) async fn write(link: &Link, ground: &Ground, all: &[Writes]) -> Result<Vec<Partition>, Doubt> {
    let runs = all.iter().map(|writes| writes.run(ground)).collect();
    let answers = link.run(&SCRIPT, runs).await?;
    let mut conflicts = Vec::new();
    for (writes, answer) in all.iter().zip(answers) {
        match answer {
            1 => ground.saw(writes.partition, writes.after),
            0 => conflicts.push(writes.partition),
            -1 => return Err(Doubt::Unsettled("another generation of the store has begun".to_owned())),
            _ => {
                let at = writes.partition.0;
                return Err(Doubt::Damaged(format!("a bucket of partition {at:02x} lost or gained fields")));
            }
        }
    }
    Ok(conflicts)
}

pub(super) fn entries_of(key: &AddressKey, value: Option<&[u8]>) -> Result<Vec<Entry>, Doubt> {
    value.map_or(Ok(Vec::new()), |octets| codec::entries(key, octets).ok_or_else(|| unreadable(key)))
}

pub(super) fn events_of(key: &AddressKey, value: Option<&[u8]>) -> Result<Vec<Event>, Doubt> {
    value.map_or(Ok(Vec::new()), |octets| codec::events(key, octets).ok_or_else(|| unreadable(key)))
}

pub(super) fn unreadable(key: &AddressKey) -> Doubt {
    Doubt::Damaged(format!("what lies under {key} is not what was written"))
}

fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut octets = Vec::new();
    for entry in entries {
        codec::put_entry(entry, entry.cursor.0, &mut octets);
    }
    octets
}

fn encode_events(events: Option<&Vec<Event>>) -> Vec<u8> {
    let mut octets = Vec::new();
    events.into_iter().flatten().for_each(|event| codec::put_event(event, &mut octets));
    octets
}

/// What is kept of an entry that was removed: hashes, and who did it and why. A line of JSON, for people to read.
fn record_of(entry: &Entry, removal: &Removal) -> Vec<u8> {
    let record = serde_json::json!({
        "kind": entry.kind.as_str(),
        "exact": entry.exact.to_string(),
        "family": entry.family.to_string(),
        "scope": entry.fact.scope.to_string(),
        "cause": entry.fact.cause.as_str(),
        "origin": entry.fact.origin.as_str(),
        "since": entry.fact.since.rfc3339(),
        "created": entry.created.rfc3339(),
        "removed_at": removal.at.rfc3339(),
        "removed_by": removal.by,
        "because": removal.because,
    });
    record.to_string().into_bytes()
}
