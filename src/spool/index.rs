//! What is in the spool, in memory: small facts for each copy, and mail itself only while there is room for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::batch::{Body, Manifest};
use super::disk::DiskFile;
use super::frame::Home;
use super::lease::Settlement;
use super::ready::{Class, Ready, Sorter, Turns};
use super::recipients::RecipientSet;
use super::record::FileRecord;
pub(super) use super::waiting::Waiting;
use super::waiting::{HELD, State, believable};
use crate::mail::Recipient;
use crate::time::Timestamp;

/// What a cached copy costs beside its octets: the structs around it.
const CACHE_OVERHEAD: usize = 512;

/// An open segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) home: Home,
    pub(super) name: String,
    pub(super) file: DiskFile,
}

#[derive(Debug)]
struct SegmentState {
    segment: Arc<Segment>,
    length: u64,
    live: u64,
}

/// Where a frame lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) length: u64,
}

#[derive(Debug)]
struct StoredBatch {
    place: Place,
    live: u32,
    cached: u32,
    body_charge: usize,
    file: Option<FileRecord>,
}

/// A copy's mail in memory.
#[derive(Debug)]
pub(super) struct Cached {
    pub(super) manifest: Arc<Manifest>,
    pub(super) recipients: Vec<Recipient>,
    pub(super) header: Bytes,
    pub(super) body: Body,
}

impl Cached {
    fn charge(&self) -> usize {
        self.header.len() + CACHE_OVERHEAD * self.recipients.len().max(1)
    }
}

/// Where the mail of a leased copy is.
#[derive(Debug)]
pub(super) enum Source {
    Cached(Box<Cached>),
    Stored { seq: u64, segment: Arc<Segment>, place: Place },
}

/// A copy that was just leased.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) id: u64,
    pub(super) attempts: u32,
    pub(super) pending: RecipientSet,
    pub(super) source: Source,
}

/// Sums over the index, kept up to date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) recipients: u64,
    pub(super) deferred: u64,
    pub(super) leased: u64,
    pub(super) held: u64,
    pub(super) damaged: u64,
    pub(super) live: u64,
    pub(super) total: u64,
    pub(super) cached: usize,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Index {
    copies: BTreeMap<u64, Waiting>,
    batches: BTreeMap<u64, StoredBatch>,
    segments: BTreeMap<u64, SegmentState>,
    ready: Ready,
    files: HashMap<u64, u32>,
    gone_files: Vec<u64>,
    next_order: u64,
    cache_max: usize,
    sorter: Sorter,
    sums: Sums,
}

impl Index {
    pub(super) fn new(cache_max: usize, sorter: Sorter) -> Self {
        Self { cache_max, sorter, ..Self::default() }
    }

    /// The class of a copy for `recipients`.
    pub(super) fn class(&self, manifest: &Manifest, recipients: &[Recipient]) -> Class {
        self.sorter.class_of(manifest, recipients)
    }

    //----------- Segments ---

    pub(super) fn add_segment(&mut self, segment: Arc<Segment>, length: u64) {
        self.sums.total += length;
        self.segments.insert(segment.home.number, SegmentState { segment, length, live: 0 });
    }

    pub(super) fn grow_segment(&mut self, number: u64, by: u64) {
        if let Some(state) = self.segments.get_mut(&number) {
            state.length += by;
            self.sums.total += by;
        }
    }

    /// The oldest segment, and whether nothing in it is needed any more.
    pub(super) fn oldest_segment(&self) -> Option<(Arc<Segment>, bool)> {
        self.segments.first_key_value().map(|(_, state)| (Arc::clone(&state.segment), state.live == 0))
    }

    pub(super) fn remove_segment(&mut self, number: u64) {
        if let Some(state) = self.segments.remove(&number) {
            self.sums.total -= state.length;
        }
    }

    pub(super) fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// The oldest batch, when it lies in segment `number`.
    pub(super) fn oldest_batch_in(&self, number: u64) -> Option<(u64, Place)> {
        let (seq, batch) = self.batches.first_key_value()?;
        (batch.place.segment == number).then_some((*seq, batch.place))
    }

    //----------- Batches and copies ---

    /// Makes a batch known; its copies follow.
    pub(super) fn add_batch(&mut self, seq: u64, place: Place, file: Option<FileRecord>) {
        if let Some(file) = file {
            *self.files.entry(file.name).or_default() += 1;
        }
        self.sums.live += place.length;
        if let Some(state) = self.segments.get_mut(&place.segment) {
            state.live += place.length;
        }
        self.batches.insert(seq, StoredBatch { place, live: 0, cached: 0, body_charge: 0, file });
    }

    /// Adds a copy of batch `seq`, in the place of the one with the same id if there is one.
    pub(super) fn add_copy(&mut self, seq: u64, id: u64, mut copy: Waiting, now: Timestamp) {
        self.forget(id);
        copy.batch = seq;
        copy.due = believable(copy.due, now);
        if copy.attempts == 0 && copy.due != HELD {
            copy.due = copy.due.min(now.as_millis());
        }
        let cache_max = self.cache_max;
        if let Some(batch) = self.batches.get_mut(&seq) {
            batch.live += 1;
            if let Some(cached) = &copy.cached {
                let body = if batch.cached == 0 { memory_len(&cached.body) } else { 0 };
                let charge = cached.charge() + body;
                if self.sums.cached + charge > cache_max {
                    copy.cached = None;
                } else {
                    self.sums.cached += charge;
                    batch.body_charge += body;
                    batch.cached += 1;
                }
            }
        }
        self.sums.recipients += copy.pending.len();
        self.sums.deferred += u64::from(copy.attempts > 0);
        self.copies.insert(id, copy);
        self.enqueue(id);
    }

    /// Forgets a batch that got no copies, and files and space with it.
    pub(super) fn drop_if_unused(&mut self, seq: u64) {
        if self.batches.get(&seq).is_some_and(|batch| batch.live == 0) {
            self.drop_batch(seq);
        }
    }

    /// Lets copies belong to the batch `to`, which holds the same mail elsewhere.
    pub(super) fn move_copies(&mut self, ids: &[u64], to: u64) {
        for id in ids {
            self.uncache(*id);
            let Some(copy) = self.copies.get_mut(id) else { continue };
            let from = std::mem::replace(&mut copy.batch, to);
            if let Some(batch) = self.batches.get_mut(&to) {
                batch.live += 1;
            }
            self.release(from);
        }
    }

    /// Copies of batch `seq` among `ids`, as they stand.
    pub(super) fn copy_in(&self, seq: u64, id: u64) -> Option<&Waiting> {
        self.copies.get(&id).filter(|copy| copy.batch == seq)
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.copies.contains_key(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.copies.len()
    }

    pub(super) const fn sums(&self) -> Sums {
        self.sums
    }

    pub(super) fn copies_after(&self, after: Option<u64>) -> impl Iterator<Item = (u64, &Waiting)> {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.copies.range((from, std::ops::Bound::Unbounded)).map(|(id, copy)| (*id, copy))
    }

    /// Places of all batches with a file: to be checked at recovery.
    pub(super) fn file_batches(&self) -> Vec<(u64, Place, FileRecord)> {
        self.batches.iter().filter_map(|(seq, batch)| Some((*seq, batch.place, batch.file?))).collect()
    }

    /// Ids of the copies of batch `seq`. Looks at all copies: for damage only.
    pub(super) fn ids_of(&self, seq: u64) -> Vec<u64> {
        self.copies.iter().filter(|(_, copy)| copy.batch == seq).map(|(id, _)| *id).collect()
    }

    /// Whether a live batch needs the body file `name`.
    pub(super) fn needs_file(&self, name: u64) -> bool {
        self.files.contains_key(&name)
    }

    /// Body files that no batch needs since the last call.
    pub(super) fn take_gone_files(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.gone_files)
    }

    //----------- Leasing ---

    /// Leases up to `max` copies that are due, as `turns` says.
    pub(super) fn take_due(&mut self, now: Timestamp, max: usize, turns: &mut impl Turns) -> Vec<Taken> {
        turns.begin(now);
        let mut due: Vec<_> = self.ready.firsts().filter(|(_, first)| *first <= now).collect();
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some((class, count)) = turns.next(&due, max - taken.len()).filter(|(_, count)| *count > 0)
        {
            let before = taken.len();
            while taken.len() < max.min(before + count)
                && let Some(id) = self.ready.take(class, now)
            {
                taken.extend(self.take(id));
            }
            turns.took(class, taken.len() - before);
            match self.ready.first_of(class).filter(|first| *first <= now) {
                Some(first) => due.iter_mut().filter(|(known, _)| *known == class).for_each(|known| known.1 = first),
                None => due.retain(|(known, _)| *known != class),
            }
        }
        taken
    }

    /// Leases the copy `id` whether it is due or not; `None` when it is not waiting.
    pub(super) fn take_one(&mut self, id: u64) -> Option<Taken> {
        let copy = self.copies.get(&id).filter(|copy| matches!(copy.state, State::Queued | State::Held))?;
        self.ready.remove(copy.class, copy.due, copy.order);
        self.sums.held -= u64::from(copy.is_held());
        self.take(id)
    }

    fn take(&mut self, id: u64) -> Option<Taken> {
        let cached = self.uncache(id);
        let copy = self.copies.get_mut(&id)?;
        copy.state = State::Leased;
        self.sums.leased += 1;
        let (attempts, pending) = (copy.attempts, copy.pending.clone());
        let source = match cached {
            Some(cached) => Source::Cached(cached),
            None => self.stored(id)?,
        };
        Some(Taken { id, attempts, pending, source })
    }

    /// Where the copy `id` lies on disk.
    pub(super) fn stored(&self, id: u64) -> Option<Source> {
        let seq = self.copies.get(&id)?.batch;
        let batch = self.batches.get(&seq)?;
        let segment = Arc::clone(&self.segments.get(&batch.place.segment)?.segment);
        Some(Source::Stored { seq, segment, place: batch.place })
    }

    pub(super) fn get(&self, id: u64) -> Option<&Waiting> {
        self.copies.get(&id)
    }

    /// Puts a leased copy back, due at `due`.
    pub(super) fn give_back(&mut self, id: u64, due: Timestamp, now: Timestamp) {
        if let Some(copy) = self.copies.get_mut(&id).filter(|copy| copy.state == State::Leased) {
            // A copy that was taken while it was held is held again.
            if copy.due != HELD {
                copy.due = believable(due.as_millis(), now);
            }
            self.sums.leased -= 1;
            self.enqueue(id);
        }
    }

    /// Sets a copy aside: its mail cannot be read, and it is tried again after a restart.
    pub(super) fn set_aside(&mut self, id: u64) {
        self.uncache(id);
        if let Some(copy) = self.copies.get_mut(&id) {
            match copy.state {
                State::Queued => {
                    self.ready.remove(copy.class, copy.due, copy.order);
                }
                State::Leased => self.sums.leased -= 1,
                State::Held => self.sums.held -= 1,
                State::Damaged => return,
            }
            copy.state = State::Damaged;
            self.sums.damaged += 1;
        }
    }

    /// Makes a waiting copy due now; says whether it was waiting for later.
    pub(super) fn hurry(&mut self, id: u64, now: Timestamp) -> bool {
        let later = |copy: &&mut Waiting| copy.state == State::Queued && copy.due > now.as_millis();
        let Some(copy) = self.copies.get_mut(&id).filter(later) else { return false };
        self.ready.remove(copy.class, copy.due, copy.order);
        copy.due = now.as_millis();
        self.enqueue(id);
        true
    }

    /// When the first of all is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.ready.firsts().map(|(_, first)| first).min()
    }

    /// When the next class that has nothing due has something.
    pub(super) fn due_after(&self, now: Timestamp) -> Option<Timestamp> {
        self.ready.firsts().map(|(_, first)| first).filter(|first| *first > now).min()
    }

    //----------- Settling ---

    /// Applies outcomes; a copy without open recipients is forgotten. Unknown ids are none of ours any more.
    pub(super) fn settle(&mut self, id: u64, outcomes: &[(u16, Settlement)], now: Timestamp) {
        let Some(copy) = self.copies.get_mut(&id) else { return };
        let mut retry: Option<i64> = None;
        let mut tried = false;
        for (index, outcome) in outcomes {
            match outcome {
                Settlement::Deferred { until } if copy.pending.contains(*index) => {
                    let until = until.as_millis();
                    retry = Some(retry.map_or(until, |first| first.min(until)));
                }
                Settlement::Deferred { .. } => {}
                Settlement::Held => {
                    retry = Some(HELD);
                    continue;
                }
                Settlement::Released => {
                    retry = Some(now.as_millis());
                    continue;
                }
                Settlement::Delivered | Settlement::Bounced | Settlement::Expired | Settlement::Withdrawn => {
                    self.sums.recipients -= u64::from(copy.pending.remove(*index));
                }
            }
            tried = true;
        }
        if copy.pending.is_empty() {
            self.forget(id);
            return;
        }
        if tried {
            self.sums.deferred += u64::from(copy.attempts == 0);
            copy.attempts = copy.attempts.saturating_add(1);
        }
        let due = believable(retry.unwrap_or_else(|| now.as_millis()), now);
        match copy.state {
            State::Queued => {
                self.ready.remove(copy.class, copy.due, copy.order);
            }
            State::Leased => self.sums.leased -= 1,
            State::Held => self.sums.held -= 1,
            State::Damaged => self.sums.damaged -= 1,
        }
        copy.due = due;
        self.uncache(id);
        self.enqueue(id);
    }

    fn enqueue(&mut self, id: u64) {
        if let Some(copy) = self.copies.get_mut(&id) {
            if copy.due == HELD {
                copy.state = State::Held;
                self.sums.held += 1;
                return;
            }
            copy.order = self.next_order;
            copy.state = State::Queued;
            self.next_order += 1;
            self.ready.insert(copy.class, copy.due, copy.order, id);
        }
    }

    /// Removes a copy, whatever its state.
    pub(super) fn forget(&mut self, id: u64) {
        self.uncache(id);
        let Some(copy) = self.copies.remove(&id) else { return };
        match copy.state {
            State::Queued => {
                self.ready.remove(copy.class, copy.due, copy.order);
            }
            State::Leased => self.sums.leased -= 1,
            State::Held => self.sums.held -= 1,
            State::Damaged => self.sums.damaged -= 1,
        }
        self.sums.recipients -= copy.pending.len();
        self.sums.deferred -= u64::from(copy.attempts > 0);
        self.release(copy.batch);
    }

    fn release(&mut self, seq: u64) {
        if let Some(batch) = self.batches.get_mut(&seq) {
            batch.live = batch.live.saturating_sub(1);
            if batch.live == 0 {
                self.drop_batch(seq);
            }
        }
    }

    fn drop_batch(&mut self, seq: u64) {
        let Some(batch) = self.batches.remove(&seq) else { return };
        self.sums.live -= batch.place.length;
        if let Some(state) = self.segments.get_mut(&batch.place.segment) {
            state.live -= batch.place.length;
        }
        if let Some(file) = batch.file {
            let users = self.files.get(&file.name).copied().unwrap_or(0);
            if users > 1 {
                self.files.insert(file.name, users - 1);
            } else {
                self.files.remove(&file.name);
                self.gone_files.push(file.name);
            }
        }
    }

    fn uncache(&mut self, id: u64) -> Option<Box<Cached>> {
        let copy = self.copies.get_mut(&id)?;
        let cached = copy.cached.take()?;
        self.sums.cached -= cached.charge();
        if let Some(batch) = self.batches.get_mut(&copy.batch) {
            batch.cached -= 1;
            if batch.cached == 0 {
                self.sums.cached -= std::mem::take(&mut batch.body_charge);
            }
        }
        Some(cached)
    }
}

fn memory_len(body: &Body) -> usize {
    match body {
        Body::Memory(bytes) => bytes.len(),
        Body::File(_) => 0,
    }
}
