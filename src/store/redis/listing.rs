//! Walking through the store, bucket by bucket: listings, numbers, and whether everything is as it was written.

use super::change::unreadable;
use super::codec;
use super::layout::{Bucket, Partition, Shelf, cursor, key_of, place};
use super::look::{Doubt, Ground, number, other_kind, strange, whole};
use super::{Redis, Shared};
use crate::policy::Cause;
use crate::store::entry::{Cursor, Entry, PAGE_MAX, Page, Selection, Stats};
use crate::store::event::Event;
use crate::store::{Kind, StoreError};

/// Buckets that are read together: at the planned load some four thousand entries.
pub(super) const BUCKETS_TOGETHER: usize = 64;

/// The entry with its place in the listing.
pub(super) fn placed(bucket: &Bucket, entry: Entry) -> Entry {
    Entry { cursor: Cursor(cursor(bucket, entry.cursor.0)), ..entry }
}

/// The counters of a partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counters {
    pub(super) changes: i64,
    pub(super) entries: i64,
    pub(super) events: i64,
    pub(super) removed: i64,
}

/// The counters of all partitions, read at once.
pub(super) async fn counters(shared: &Shared, ground: &Ground) -> Result<Vec<Counters>, Doubt> {
    let ask = |partition| {
        let mut command = redis::cmd("HMGET");
        command.arg(ground.layout.meta(partition)).arg(&["n", "s", "e", "x"]);
        vec![command]
    };
    let answers = shared.link.ask(Partition::all().map(ask).collect()).await?;
    let read = |values: Vec<redis::Value>| {
        let Some(redis::Value::Array(four)) = values.into_iter().next() else { return Err(other_kind()) };
        let mut four = four.into_iter();
        Ok(Counters {
            changes: number(four.next())?,
            entries: number(four.next())?,
            events: number(four.next())?,
            removed: number(four.next())?,
        })
    };
    answers.into_iter().map(read).collect()
}

/// Up to `limit` and one more facts behind `after`, in the order of buckets.
async fn page<T>(
    shared: &Shared,
    after: Cursor,
    limit: usize,
    shelf: Shelf,
    read: impl Fn(&Bucket, &[u8], &[u8]) -> Result<Vec<(i64, T)>, Doubt>,
) -> Result<Vec<(i64, T)>, Doubt> {
    let ground = shared.ground()?;
    let counters = counters(shared, &ground).await?;
    let (first, mut number) = place(after.0);
    let mut found: Vec<(i64, T)> = Vec::new();
    for partition in Partition::all().skip(first.index()) {
        let held = counters.get(partition.index()).map_or(0, |counters| match shelf {
            Shelf::Suppressions => counters.entries,
            Shelf::Events => counters.events,
            Shelf::Register(_) => 0,
        });
        let numbers: Vec<u16> = if held == 0 { Vec::new() } else { (number..ground.layout.buckets()).collect() };
        number = 0;
        for some in numbers.chunks(BUCKETS_TOGETHER) {
            let buckets: Vec<_> = some.iter().map(|number| Bucket { partition, shelf, number: *number }).collect();
            for (bucket, pairs) in whole(&shared.link, &ground, &buckets).await? {
                let mut inside = Vec::new();
                for (field, value) in pairs {
                    inside.extend(read(&bucket, &field, &value)?);
                }
                inside.sort_by_key(|(at, _)| *at);
                found.extend(inside.into_iter().filter(|(at, _)| *at > after.0));
            }
            if found.len() > limit {
                found.truncate(limit + 1);
                return Ok(found);
            }
        }
    }
    Ok(found)
}

fn read_entries(
    selection: &Selection,
    bucket: &Bucket,
    field: &[u8],
    value: &[u8],
) -> Result<Vec<(i64, Entry)>, Doubt> {
    let key = key_of(bucket.partition, field).ok_or_else(strange)?;
    let entries = codec::entries(&key, value).ok_or_else(|| unreadable(&key))?;
    let shown = entries.into_iter().map(|entry| placed(bucket, entry)).filter(|entry| selection.covers(&entry.fact));
    Ok(shown.map(|entry| (entry.cursor.0, entry)).collect())
}

fn read_events(bucket: &Bucket, field: &[u8], value: &[u8]) -> Result<Vec<(i64, Event)>, Doubt> {
    let key = key_of(bucket.partition, field).ok_or_else(strange)?;
    let events = codec::events(&key, value).ok_or_else(|| unreadable(&key))?;
    Ok(events.into_iter().map(|event| (cursor(bucket, event.cursor.0), event)).collect())
}

impl Redis {
    /// See [`crate::store::Store::list`]; in the order of buckets.
    pub(in crate::store) fn list(
        &self,
        selection: &Selection,
        after: Cursor,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let (selection, limit) = (selection.clone(), limit.clamp(1, PAGE_MAX));
        let mut entries = self.blocking(|shared| async move {
            let read = |bucket: &Bucket, field: &[u8], value: &[u8]| read_entries(&selection, bucket, field, value);
            page(&shared, after, limit, Shelf::Suppressions, read).await.map_err(|doubt| shared.doubted(doubt))
        })?;
        let more = entries.len() > limit;
        entries.truncate(limit);
        let next = entries.last().map(|(at, _)| Cursor(*at)).filter(|_| more);
        Ok(Page { entries: entries.into_iter().map(|(_, entry)| entry).collect(), next })
    }

    /// See [`crate::store::Store::events`].
    pub(in crate::store) fn events(&self, after: Cursor, limit: usize) -> Result<Vec<(Cursor, Event)>, StoreError> {
        let limit = limit.clamp(1, PAGE_MAX);
        let mut events = self.blocking(|shared| async move {
            page(&shared, after, limit, Shelf::Events, read_events).await.map_err(|doubt| shared.doubted(doubt))
        })?;
        events.truncate(limit);
        Ok(events.into_iter().map(|(at, event)| (Cursor(at), event)).collect())
    }

    /// See [`crate::store::Store::stats`].
    pub(in crate::store) fn stats(&self) -> Result<Stats, StoreError> {
        let (store, counters) = self.blocking(|shared| async move {
            let ground = shared.ground()?;
            let counters = counters(&shared, &ground).await.map_err(|doubt| shared.doubted(doubt))?;
            Ok((ground.store.clone(), counters))
        })?;
        let sum = |part: fn(&Counters) -> i64| counters.iter().map(part).sum::<i64>();
        let mut stats = Stats {
            store,
            changes: sum(|counters| counters.changes),
            addresses: 0,
            domains: 0,
            removed: u64::try_from(sum(|counters| counters.removed)).unwrap_or(0),
            by_cause: Cause::ALL.iter().map(|cause| (*cause, 0)).collect(),
        };
        let mut after = Cursor::default();
        loop {
            let page = self.list(&Selection::default(), after, PAGE_MAX)?;
            for entry in &page.entries {
                match entry.kind {
                    Kind::Address => stats.addresses += 1,
                    Kind::Domain => stats.domains += 1,
                }
                if let Some((_, count)) = stats.by_cause.iter_mut().find(|(cause, _)| *cause == entry.fact.cause) {
                    *count += 1;
                }
            }
            match page.next {
                Some(next) => after = next,
                None => return Ok(stats),
            }
        }
    }
}
