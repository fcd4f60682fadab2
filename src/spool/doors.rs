//! The doors of the room.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::appender::{Active, Appender};
use super::batch::{Batch, Committed};
use super::body::BodyWriter;
use super::disk::Disk;
use super::error::SpoolError;
use super::frame::{SEGMENT_HEADER, SegmentHeader};
use super::handle::{Handle, Shared};
use super::index::{Index, Segment, Taken};
use super::labels::{self, Labels};
use super::lease::{Claim, Lease, Settlement, lease_cached, lease_stored, read_mail};
use super::notes::NoteSink;
use super::queue::{Changed, Health, PendingCopy, Shown, Stats};
use super::ready::{LongestDue, Turns};
use super::recovery::{Recovered, Recovery};
use super::segment::random;
use super::settings::Settings;
use crate::mail::QueueId;
use crate::time::Clock;

/// Longest sleep while waiting for a copy to become due: the wall clock may be set meanwhile.
const DUE_SLEEP_MAX: Duration = Duration::from_secs(30);
/// Shortest: rounding must not make a loop spin.
const DUE_SLEEP_MIN: Duration = Duration::from_millis(1);
/// The file that is locked while the spool is open.
const LOCK_NAME: &str = "LOCK";

/// The durable queue. Cheap to clone; when the last clone and the last lease are gone the writing thread ends.
#[derive(Clone, Debug)]
pub struct Spool {
    pub(super) handle: Arc<Handle>,
}

impl Spool {
    /// Opens the spool in `settings.directory`, made if absent, and reads back what is in it. Blocks on the disk.
    /// `clock` says what is due; `sink` gets every audit note once it is safe, notes of an earlier run first.
    ///
    /// # Errors
    /// [`SpoolError::Unusable`]: another process has it open, a later version wrote it, it is a symbolic link, or it
    /// cannot be read or written. In the first three cases nothing was changed.
    pub fn open(
        settings: Settings,
        clock: Arc<dyn Clock>,
        sink: Box<dyn NoteSink>,
    ) -> Result<(Self, Recovered), SpoolError> {
        let disk = Disk::open(&settings.directory)
            .map_err(|error| SpoolError::unusable(&in_words("opening", &settings.directory), &error))?;
        Self::open_on(disk, settings, clock, sink)
    }

    pub(super) fn open_on(
        disk: Disk,
        settings: Settings,
        clock: Arc<dyn Clock>,
        mut sink: Box<dyn NoteSink>,
    ) -> Result<(Self, Recovered), SpoolError> {
        let lock = lock(&disk)?;
        let now = clock.now();
        let recovery =
            Recovery::run(&disk, sink.as_mut(), Index::new(settings.sizes.cache_max, settings.sorter.clone()), now)?;
        let Recovery { mut index, report, next_segment, next_seq, .. } = recovery;
        let unusable = |error: std::io::Error| SpoolError::unusable("making a segment", &error);
        let salt = random().map_err(unusable)?;
        let header = SegmentHeader { number: next_segment, salt, next_seq, last_id: report.last_id };
        let segment = Segment::create(&disk, &header).map_err(unusable)?;
        let length = u64::try_from(SEGMENT_HEADER).unwrap_or(0);
        index.add_segment(Arc::clone(&segment), length);
        if let Err(error) = sink.write() {
            tracing::warn!(%error, "the audit trail cannot be written; the spool keeps its records");
        }
        let shared = Arc::new(Shared::new(settings, disk, clock, index));
        let mut appender = Appender::new(Arc::clone(&shared), sink, Active { segment, length }, header, lock);
        appender.reclaim();
        let thread = std::thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || appender.run())
            .map_err(|error| SpoolError::unusable("starting the writing thread", &error))?;
        Ok((Self { handle: Arc::new(Handle { shared, thread: Mutex::new(Some(thread)) }) }, report))
    }

    /// Durable once this returns `Ok`: file and directory are fsynced. When too much waits for the disk already, this
    /// waits in line. Dropping the future does not take back what was already handed to the disk.
    ///
    /// # Errors
    /// [`SpoolError`]; nothing of the batch will be sent then.
    pub async fn commit(&self, batch: Batch) -> Result<Committed, SpoolError> {
        self.handle.push_commit(batch).await?.wait().await?;
        Ok(Committed { _private: () })
    }

    /// Adds an audit record (a JSON object on one line, without its line end) that is written promptly and fsynced with
    /// the next commit. It never waits; what a flood brings beyond [`super::NOTES_OCTETS_MAX`] is counted as lost, and
    /// the trail says so.
    pub fn note(&self, line: Bytes) {
        self.handle.shared.inbox.note(line);
    }

    /// Waits until something is due and leases up to `max` copies, the longest due first. An empty answer means that the
    /// spool failed or was shut down: there will be no other. Dropping the future gives back what it had leased.
    pub async fn lease(&self, max: usize) -> Vec<Lease> {
        self.lease_in_turns(max, &mut LongestDue).await
    }

    /// [`Spool::lease`], but of those that are due it is `turns` that says whose turn it is; it waits on while nobody's is.
    pub async fn lease_in_turns(&self, max: usize, turns: &mut impl Turns) -> Vec<Lease> {
        let shared = &self.handle.shared;
        loop {
            if shared.check().is_err() || max == 0 {
                // The next waiting worker is to learn it as well.
                shared.due.notify_one();
                return Vec::new();
            }
            let now = shared.clock.now();
            let (taken, next) = {
                let mut index = shared.index();
                let taken = index.take_due(now, max, turns);
                if taken.len() >= max && index.next_due().is_some_and(|next| next <= now) {
                    shared.due.notify_one();
                }
                (taken, index.due_after(now))
            };
            if !taken.is_empty() {
                let leases = self.leases(taken).await;
                if !leases.is_empty() {
                    return leases;
                }
                continue;
            }
            let changed = shared.due.notified();
            let next = next.map(|next| next.since(now));
            match next.into_iter().chain(turns.again()).min() {
                None => changed.await,
                Some(sleep) => {
                    // Whether time passed or something changed, the answer is to look again.
                    let _either = tokio::time::timeout(sleep.clamp(DUE_SLEEP_MIN, DUE_SLEEP_MAX), changed).await;
                }
            }
        }
    }

    async fn leases(&self, taken: Vec<Taken>) -> Vec<Lease> {
        let (mut leases, to_read) = lease_cached(&self.handle, taken);
        if !to_read.is_empty() {
            let handle = Arc::clone(&self.handle);
            let read = tokio::task::spawn_blocking(move || lease_stored(&handle, to_read)).await;
            leases.extend(read.unwrap_or_default());
        }
        leases
    }

    /// Begins a body that is too large to be kept in memory ([`super::BODY_MEMORY_MAX`]).
    ///
    /// # Errors
    /// [`SpoolError::Full`] or [`SpoolError::Failed`].
    pub fn body_writer(&self) -> Result<BodyWriter, SpoolError> {
        self.handle.shared.check()?;
        BodyWriter::new(&self.handle)
    }

    /// Writes and fsyncs an empty frame: `Ok` means that mail could be accepted now.
    ///
    /// # Errors
    /// What a commit would get.
    pub async fn probe(&self) -> Result<(), SpoolError> {
        self.handle.push_probe()?.wait().await
    }

    /// Whether the spool accepts mail, without touching the disk.
    pub fn health(&self) -> Health {
        let shared = &self.handle.shared;
        match shared.failure() {
            Some(reason) => Health::Failed(reason.to_owned()),
            None if shared.is_closed() => Health::Failed("shut down".to_owned()),
            None if shared.is_full() => Health::Full,
            None => Health::Good,
        }
    }

    /// Writes everything that was handed in, fsyncs, and stops. Later commits and settlements fail, so workers are to be
    /// stopped first; leases then open are tried again after the next start.
    pub async fn shutdown(&self) {
        self.handle.shared.close();
        let thread = self.handle.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A thread that panicked has lost nothing that was acknowledged.
            let _ended = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    //----------- For the operator ---

    /// Sums over the queue.
    pub fn stats(&self) -> Stats {
        Stats::of(&self.handle.shared)
    }

    /// Up to `limit` copies with ids above `after`, in the order of their ids, which is that of their acceptance.
    pub fn pending(&self, limit: usize, after: Option<QueueId>) -> Vec<PendingCopy> {
        let index = self.handle.shared.index();
        index.copies_after(after.map(QueueId::as_u64)).take(limit).map(|(id, copy)| PendingCopy::of(id, copy)).collect()
    }

    /// [`Spool::pending`], with what each copy shares with its batch and its open recipients, read from the disk; `None`
    /// for those that cannot be read back. Reads each frame once.
    pub async fn labelled(&self, limit: usize, after: Option<QueueId>) -> Vec<(PendingCopy, Option<Labels>)> {
        let found: Vec<_> = {
            let index = self.handle.shared.index();
            let copies = index.copies_after(after.map(QueueId::as_u64)).take(limit);
            copies.map(|(id, copy)| (PendingCopy::of(id, copy), copy.pending.clone(), index.stored(id))).collect()
        };
        tokio::task::spawn_blocking(move || labels::read(found)).await.unwrap_or_default()
    }

    /// One pending copy with its mail and open recipients, read from the disk; `None` when there is no such copy.
    ///
    /// # Errors
    /// [`SpoolError::Failed`] with the reason when it cannot be read back.
    pub async fn show(&self, id: QueueId) -> Result<Option<Shown>, SpoolError> {
        let handle = Arc::clone(&self.handle);
        let number = id.as_u64();
        let found = {
            let index = handle.shared.index();
            index.get(number).map(|copy| PendingCopy::of(number, copy)).zip(index.stored(number)).map(
                |(facts, source)| {
                    let open = index.get(number).map(|copy| copy.pending.clone()).unwrap_or_default();
                    (facts, source, open)
                },
            )
        };
        let Some((facts, source, open)) = found else { return Ok(None) };
        let read = tokio::task::spawn_blocking(move || {
            let mail = read_mail(&handle, &source)?;
            mail.copy(number).map_err(str::to_owned)
        });
        let mail = read.await.map_err(|error| SpoolError::Failed(error.to_string()))?.map_err(SpoolError::Failed)?;
        Ok(Some(Shown::of(facts, mail, &open)))
    }

    /// Makes a waiting copy due now, with `note` as the audit record; says whether it was waiting for later. This changes
    /// nothing on disk: after a restart its old time counts again.
    pub fn retry_now(&self, id: QueueId, note: Bytes) -> bool {
        let shared = &self.handle.shared;
        let hurried = shared.index().hurry(id.as_u64(), shared.clock.now());
        if hurried {
            shared.due.notify_one();
            self.note(note);
        }
        hurried
    }

    /// Takes a waiting or held copy out of the queue: its open recipients are settled as withdrawn, with `note` as the
    /// audit record.
    ///
    /// # Errors
    /// As for a settlement.
    pub async fn drop(&self, id: QueueId, note: Bytes) -> Result<Changed, SpoolError> {
        self.change(id, &Settlement::Withdrawn, note).await
    }

    /// Puts a waiting copy aside until [`Spool::release`], also over a restart. It does not expire meanwhile.
    ///
    /// # Errors
    /// As for a settlement.
    pub async fn hold(&self, id: QueueId, note: Bytes) -> Result<Changed, SpoolError> {
        self.change(id, &Settlement::Held, note).await
    }

    /// Makes a held copy due.
    ///
    /// # Errors
    /// As for a settlement.
    pub async fn release(&self, id: QueueId, note: Bytes) -> Result<Changed, SpoolError> {
        self.change(id, &Settlement::Released, note).await
    }

    async fn change(&self, id: QueueId, how: &Settlement, note: Bytes) -> Result<Changed, SpoolError> {
        let shared = &self.handle.shared;
        shared.check()?;
        let (claim, open) = {
            let mut index = shared.index();
            let Some(copy) = index.get(id.as_u64()) else { return Ok(Changed::Unknown) };
            if copy.is_leased() {
                return Ok(Changed::Leased);
            }
            if copy.is_damaged() && matches!(how, Settlement::Held | Settlement::Released) {
                return Ok(Changed::Unknown);
            }
            let is_so_already = match how {
                Settlement::Held => copy.is_held(),
                Settlement::Released => !copy.is_held(),
                Settlement::Delivered
                | Settlement::Deferred { .. }
                | Settlement::Bounced
                | Settlement::Expired
                | Settlement::Withdrawn => false,
            };
            if is_so_already {
                return Ok(Changed::Already);
            }
            let open = copy.pending.clone();
            index.take_one(id.as_u64());
            (Claim::new(Arc::clone(&self.handle), id.as_u64()), open)
        };
        claim.settle_all(&open, how, note).await?;
        Ok(Changed::Done)
    }
}

fn in_words(doing: &str, path: &Path) -> String {
    format!("{doing} {}", path.display())
}

fn lock(disk: &Disk) -> Result<std::fs::File, SpoolError> {
    let file = disk.lock_file(LOCK_NAME).map_err(|error| SpoolError::unusable("opening LOCK", &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(SpoolError::Unusable("another process has it open (it holds the lock on LOCK)".to_owned()))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(SpoolError::unusable("locking LOCK", &error)),
    }
}
