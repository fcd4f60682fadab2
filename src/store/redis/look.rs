//! Questions: fields of buckets, each with the proof that its absence is an absence.
//!
//! Redis answers nothing for what was never there and for what was flushed, evicted or lost alike. So each question also
//! asks how many fields the bucket has, how many it should have, and at which change its partition stands, all at one
//! moment. Only when the numbers agree is "nothing" an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};

use redis::{Cmd, Value};

use super::layout::{Bucket, Layout, PARTITIONS, Partition, Shelf, field};
use super::link::Link;
use crate::store::StoreError;
use crate::store::key::AddressKey;

/// What this gateway knows of a sound store: names, generation, and the last change of each partition that it saw.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) layout: Layout,
    /// The store's own name.
    pub(super) store: String,
    pub(super) generation: i64,
    marks: Box<[AtomicI64]>,
}

impl Ground {
    pub(super) fn new(layout: Layout, store: String, generation: i64, marks: &[i64]) -> Self {
        let mark = |index| AtomicI64::new(marks.get(index).copied().unwrap_or(0));
        Self { layout, store, generation, marks: (0..PARTITIONS).map(mark).collect() }
    }

    /// What each partition says of whose it is: no change is made and no answer is believed where it says otherwise.
    pub(super) fn origin(&self) -> String {
        origin(&self.store, self.generation)
    }

    pub(super) fn mark(&self, partition: Partition) -> i64 {
        self.marks.get(partition.index()).map_or(0, |mark| mark.load(Ordering::Acquire))
    }

    pub(super) fn saw(&self, partition: Partition, change: i64) {
        if let Some(mark) = self.marks.get(partition.index()) {
            mark.fetch_max(change, Ordering::AcqRel);
        }
    }

    pub(super) fn marks(&self) -> Vec<i64> {
        self.marks.iter().map(|mark| mark.load(Ordering::Acquire)).collect()
    }
}

/// See [`Ground::origin`].
pub(super) fn origin(store: &str, generation: i64) -> String {
    format!("{store}:{generation}")
}

/// One field that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Want {
    pub(super) shelf: Shelf,
    pub(super) key: AddressKey,
}

/// What was answered.
#[derive(Debug, Default)]
pub(super) struct Answer {
    values: BTreeMap<Want, Vec<u8>>,
    /// At which change each partition stood.
    pub(super) changes: BTreeMap<Partition, i64>,
}

impl Answer {
    /// What lies there; `None` when surely nothing does.
    pub(super) fn get(&self, want: &Want) -> Option<&[u8]> {
        self.values.get(want).map(Vec::as_slice)
    }
}

/// Why an answer is not believed.
#[derive(Debug)]
pub(super) enum Doubt {
    /// No answer came.
    Away(StoreError),
    /// Changes are missing, or another generation has begun: to be settled before anything is answered.
    Unsettled(String),
    /// What lies there is not what was put there.
    Damaged(String),
}

impl From<StoreError> for Doubt {
    fn from(error: StoreError) -> Self {
        Self::Away(error)
    }
}

/// What is asked of one partition, in the order in which it is answered.
struct Group {
    partition: Partition,
    wants: Vec<Want>,
    buckets: Vec<Bucket>,
    /// The change that must not be missing: what was seen before the question was sent.
    mark: i64,
}

impl Group {
    fn commands(&self, layout: &Layout) -> Vec<Cmd> {
        let get = |want: &Want| {
            let mut command = redis::cmd("HGET");
            command.arg(layout.key(&layout.bucket(want.shelf, &want.key))).arg(field(&want.key));
            command
        };
        let count = |bucket: &Bucket| {
            let mut command = redis::cmd("HLEN");
            command.arg(layout.key(bucket));
            command
        };
        let mut meta = redis::cmd("HMGET");
        meta.arg(layout.meta(self.partition)).arg("o").arg("n");
        for bucket in &self.buckets {
            meta.arg(bucket.name());
        }
        self.wants.iter().map(get).chain(self.buckets.iter().map(count)).chain([meta]).collect()
    }

    fn read(self, ground: &Ground, values: Vec<Value>, answer: &mut Answer) -> Result<(), Doubt> {
        let mut values = values.into_iter();
        for want in self.wants {
            if let Some(octets) = octets(values.next())? {
                answer.values.insert(want, octets);
            }
        }
        let counts = self.buckets.iter().map(|_| integer(values.next().as_ref())).collect::<Result<Vec<_>, _>>()?;
        let Some(Value::Array(meta)) = values.next() else { return Err(other_kind()) };
        let mut meta = meta.into_iter();
        let origin = text(meta.next())?;
        let change = number(meta.next())?;
        check_origin(ground, self.partition, origin.as_deref(), change, self.mark)?;
        for (bucket, found) in self.buckets.iter().zip(counts) {
            let expected = number(meta.next())?;
            if found != expected {
                let (name, partition) = (bucket.name(), self.partition.0);
                return Err(Doubt::Damaged(format!(
                    "bucket {name} of partition {partition:02x} has {found} fields where {expected} belong"
                )));
            }
        }
        answer.changes.insert(self.partition, change);
        Ok(())
    }
}

/// Whether a partition is of our store and generation, and lacks nothing that was seen.
pub(super) fn check_origin(
    ground: &Ground,
    partition: Partition,
    origin: Option<&str>,
    change: i64,
    mark: i64,
) -> Result<(), Doubt> {
    let at = partition.0;
    match origin {
        None => Err(Doubt::Unsettled(format!("partition {at:02x} is gone"))),
        Some(origin) if origin != ground.origin() => {
            Err(Doubt::Unsettled(format!("partition {at:02x} is of {origin}, expected {}", ground.origin())))
        }
        Some(_) if change < mark => {
            Err(Doubt::Unsettled(format!("partition {at:02x} stands at change {change}, and {mark} was seen")))
        }
        Some(_) => {
            ground.saw(partition, change);
            Ok(())
        }
    }
}

/// Asks for all of `wants` at once.
pub(super) async fn look(link: &Link, ground: &Ground, wants: &[Want]) -> Result<Answer, Doubt> {
    let mut by_partition: BTreeMap<Partition, BTreeSet<Want>> = BTreeMap::new();
    for want in wants {
        by_partition.entry(Partition::of(&want.key)).or_default().insert(*want);
    }
    let group = |(partition, wants): (Partition, BTreeSet<Want>)| {
        let buckets: BTreeSet<_> = wants.iter().map(|want| ground.layout.bucket(want.shelf, &want.key)).collect();
        let (wants, buckets) = (wants.into_iter().collect(), buckets.into_iter().collect());
        Group { partition, wants, buckets, mark: ground.mark(partition) }
    };
    let groups: Vec<Group> = by_partition.into_iter().map(group).collect();
    let mut answer = Answer::default();
    if groups.is_empty() {
        return Ok(answer);
    }
    let commands = groups.iter().map(|group| group.commands(&ground.layout)).collect();
    let values = link.ask(commands).await?;
    for (group, values) in groups.into_iter().zip(values) {
        group.read(ground, values, &mut answer)?;
    }
    Ok(answer)
}

/// A field and its value.
pub(super) type Pair = (Vec<u8>, Vec<u8>);

/// All fields of some buckets of one partition and one shelf.
pub(super) async fn whole(link: &Link, ground: &Ground, buckets: &[Bucket]) -> Result<Vec<(Bucket, Vec<Pair>)>, Doubt> {
    let Some(partition) = buckets.first().map(|bucket| bucket.partition) else { return Ok(Vec::new()) };
    let mark = ground.mark(partition);
    let mut commands: Vec<Cmd> = Vec::with_capacity(buckets.len() + 1);
    let mut meta = redis::cmd("HMGET");
    meta.arg(ground.layout.meta(partition)).arg("o").arg("n");
    for bucket in buckets {
        let mut command = redis::cmd("HGETALL");
        command.arg(ground.layout.key(bucket));
        commands.push(command);
        meta.arg(bucket.name());
    }
    commands.push(meta);
    let mut values = link.ask(vec![commands]).await?.into_iter().flatten();
    let contents = buckets.iter().map(|_| pairs(values.next())).collect::<Result<Vec<_>, _>>()?;
    let Some(Value::Array(meta)) = values.next() else { return Err(other_kind()) };
    let mut meta = meta.into_iter();
    let origin = text(meta.next())?;
    check_origin(ground, partition, origin.as_deref(), number(meta.next())?, mark)?;
    for (bucket, content) in buckets.iter().zip(&contents) {
        let expected = number(meta.next())?;
        if i64::try_from(content.len()) != Ok(expected) {
            let (name, found) = (bucket.name(), content.len());
            return Err(Doubt::Damaged(format!(
                "bucket {name} of partition {:02x} has {found} fields where {expected} belong",
                partition.0
            )));
        }
    }
    Ok(buckets.iter().copied().zip(contents).collect())
}

/// What lies there reads as nothing that is ever put there.
pub(super) fn strange() -> Doubt {
    Doubt::Damaged("what lies there is of no form that is known".to_owned())
}

/// Whoever answers does not speak as Redis does, or answers another question. It says nothing of what lies there: the
/// connection is thrown away, and the store is looked at anew.
pub(super) fn other_kind() -> Doubt {
    Doubt::Away(StoreError::Away { because: "an answer of another kind than was asked for".to_owned() })
}

pub(super) fn octets(value: Option<Value>) -> Result<Option<Vec<u8>>, Doubt> {
    match value {
        Some(Value::Nil) => Ok(None),
        Some(Value::BulkString(octets)) => Ok(Some(octets)),
        _ => Err(other_kind()),
    }
}

pub(super) fn text(value: Option<Value>) -> Result<Option<String>, Doubt> {
    octets(value)?.map(|octets| String::from_utf8(octets).map_err(|_| strange())).transpose()
}

/// A number that is kept as text; what was never counted is 0.
pub(super) fn number(value: Option<Value>) -> Result<i64, Doubt> {
    text(value)?.map_or(Ok(0), |text| text.parse().map_err(|_| strange()))
}

fn integer(value: Option<&Value>) -> Result<i64, Doubt> {
    match value {
        Some(Value::Int(number)) => Ok(*number),
        _ => Err(other_kind()),
    }
}

/// The pairs of a hash, in either of the protocol's two forms.
pub(super) fn pairs(value: Option<Value>) -> Result<Vec<Pair>, Doubt> {
    let one = |field, value| Ok((octets(Some(field))?.ok_or_else(strange)?, octets(Some(value))?.ok_or_else(strange)?));
    match value {
        Some(Value::Map(pairs)) => pairs.into_iter().map(|(field, value)| one(field, value)).collect(),
        Some(Value::Array(flat)) if flat.len() % 2 == 0 => {
            let mut flat = flat.into_iter();
            let mut pairs = Vec::with_capacity(flat.len() / 2);
            while let (Some(field), Some(value)) = (flat.next(), flat.next()) {
                pairs.push(one(field, value)?);
            }
            Ok(pairs)
        }
        _ => Err(other_kind()),
    }
}
