//! The one thread that writes: everything that waits goes out together, one fsync for all of it.
//!
//! ```text
//! take what waits ─▶ refuse what has no space ─▶ rotate? ─▶ write (settlements first, mail behind them)
//!   ─▶ fsync when there is mail ─▶ index ─▶ audit sink ─▶ answer ─▶ duties (late fsync, held jobs, reclaiming)
//! ```
//!
//! Mail is answered after the fsync. Settlements and notes are answered after the write: a killed process loses
//! nothing of the page cache, and after a power loss the worst is a second delivery. Whatever fails with want of space
//! is cut off the segment again, and the cut is fsynced, before anybody is told that it was not taken. Any other failure
//! latches the spool: after a failed fsync the kernel may call lost pages clean (Rebello et al., ATC 2020), so nothing
//! that this file says can be believed until it has been scanned anew.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::error::{SpoolError, is_full};
use super::frame::{FRAME_TRAILER, SEGMENT_HEADER, SegmentHeader, frame_trailer};
use super::handle::Shared;
use super::index::{Cached, Place, Segment, Waiting};
use super::job::{Arrival, Job};
use super::notes::NoteSink;
use super::recipients::RecipientSet;
use super::segment::random;
use super::settings::GROUP_OCTETS_MAX;

/// Longest time that a settlement stays in the page cache alone: what a power loss may make be delivered again.
pub const SETTLE_SYNC_INTERVAL: Duration = Duration::from_millis(100);
/// Longest time that audit records stay in the page cache alone; the spool's own frames hold them durably.
pub const AUDIT_SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// How often settlements that found no space are tried again.
const HELD_RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// How often finished but never committed body files are looked for.
const ABANDONED_INTERVAL: Duration = Duration::from_secs(10);
/// How often free space is looked at: statvfs for every group would be a system call wasted.
const SPACE_INTERVAL: Duration = Duration::from_secs(1);
/// Octets written after which free space is looked at again, however short the time.
const SPACE_OCTETS: u64 = 32 * 1024 * 1024;

/// The segment that is written to.
pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    /// Octets that are whole.
    pub(super) length: u64,
}

/// State of the writing thread.
pub(super) struct Appender {
    pub(super) shared: Arc<Shared>,
    pub(super) sink: Box<dyn NoteSink>,
    pub(super) active: Active,
    pub(super) next_segment: u64,
    pub(super) next_seq: u64,
    pub(super) last_id: u64,
    /// Since when something written is not fsynced.
    pub(super) dirty: Option<Instant>,
    /// Since when the sink has something unsynced.
    pub(super) sink_dirty: Option<Instant>,
    /// Settlements that found no space.
    held: Vec<Job>,
    /// Body files to remove once what made them needless is on disk.
    pub(super) gone_files: Vec<u64>,
    /// Clearing segments met something unreadable: no more of it until the next start.
    pub(super) reclaim_blocked: bool,
    /// There is more to clear at once.
    pub(super) reclaim_again: bool,
    space_checked: Option<Instant>,
    space_octets: u64,
    swept: Instant,
    /// Locked as long as the thread lives.
    _lock: std::fs::File,
}

impl Appender {
    pub(super) fn new(
        shared: Arc<Shared>,
        sink: Box<dyn NoteSink>,
        active: Active,
        header: SegmentHeader,
        lock: std::fs::File,
    ) -> Self {
        Self {
            shared,
            sink,
            active,
            next_segment: header.number + 1,
            next_seq: header.next_seq,
            last_id: header.last_id,
            dirty: None,
            sink_dirty: Some(Instant::now()),
            held: Vec::new(),
            gone_files: Vec::new(),
            reclaim_blocked: false,
            reclaim_again: false,
            space_checked: None,
            space_octets: 0,
            swept: Instant::now(),
            _lock: lock,
        }
    }

    /// Works until the inbox is closed and empty.
    pub(super) fn run(mut self) {
        let octets = u64::try_from(GROUP_OCTETS_MAX).unwrap_or(u64::MAX);
        let mut answered = 0;
        loop {
            let patience = self.patience();
            // Those answered last are likely to come back, beside those who wait already.
            let expected = self.shared.inbox.waiting() + answered;
            let taken = self.shared.inbox.take(patience, octets, expected);
            let closed = taken.closed;
            answered = taken.jobs.len();
            let mut jobs = taken.jobs;
            jobs.extend(self.notes_job(taken.notes, taken.notes_lost));
            self.group(jobs);
            self.duties();
            if closed {
                break;
            }
        }
        self.finish();
    }

    fn notes_job(&self, mut notes: Vec<Bytes>, lost: u64) -> Option<Job> {
        if lost > 0 {
            notes.push(Bytes::from(format!("{{\"v\":1,\"type\":\"AuditLost\",\"lines\":{lost}}}")));
        }
        if notes.is_empty() {
            return None;
        }
        // The inbox bounds waiting notes below the size of a frame.
        Job::new(None, notes, None, self.shared.settings.sizes.frame_max).ok()
    }

    /// How long there is nothing to do of one's own accord.
    fn patience(&self) -> Option<Duration> {
        if self.reclaim_again {
            return Some(Duration::ZERO);
        }
        let left = |since: Instant, interval: Duration| interval.saturating_sub(since.elapsed());
        let failed = self.shared.failure().is_some();
        let dirty = self.dirty.filter(|_| !failed).map(|since| left(since, SETTLE_SYNC_INTERVAL));
        let sink = self.sink_dirty.map(|since| left(since, AUDIT_SYNC_INTERVAL));
        let held = (!self.held.is_empty()).then_some(HELD_RETRY_INTERVAL);
        let sweep = self.shared.bodies.any_uncommitted().then(|| left(self.swept, ABANDONED_INTERVAL));
        [dirty, sink, held, sweep].into_iter().flatten().min()
    }

    //----------- One group ---

    fn group(&mut self, mut jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        let permits: usize = jobs.iter().map(|job| job.charge).sum();
        self.refuse_what_does_not_fit(&mut jobs);
        // Settlements first: when the fsync for the mail behind them fails, only the mail is cut off.
        jobs.sort_by_key(|job| job.durable);
        self.write_or_refuse(jobs);
        self.shared.room.add_permits(permits);
    }

    /// Answers what must not be written: everything when failed, mail when there is no space, ids used twice.
    fn refuse_what_does_not_fit(&mut self, jobs: &mut Vec<Job>) {
        if let Some(reason) = self.shared.failure() {
            let error = SpoolError::Failed(reason.to_owned());
            jobs.drain(..).for_each(|mut job| job.answer(Err(error.clone())));
            return;
        }
        let space = self.has_space();
        let index = self.shared.index();
        let mut room = self.shared.settings.pending_max.saturating_sub(index.len());
        jobs.retain_mut(|job| {
            let Some(arrival) = &job.arrival else { return true };
            let refusal = if arrival.copies.iter().any(|copy| index.contains(copy.id.as_u64())) {
                Some(SpoolError::Unfit("a queue id is already in use"))
            } else if (!space || arrival.copies.len() > room) && job.may_be_refused() {
                Some(SpoolError::Full)
            } else {
                room = room.saturating_sub(arrival.copies.len());
                None
            };
            refusal.is_none_or(|error| {
                job.answer(Err(error));
                false
            })
        });
    }

    fn has_space(&mut self) -> bool {
        let recent = self.space_checked.is_some_and(|at| at.elapsed() < SPACE_INTERVAL);
        if !recent || self.space_octets > SPACE_OCTETS {
            self.space_checked = Some(Instant::now());
            self.space_octets = 0;
            // A file system that does not say how much is free is believed to have some: writing will tell.
            let free = self.shared.disk.free().unwrap_or(u64::MAX);
            self.shared.set_full(free < self.shared.settings.min_free);
        }
        !self.shared.is_full()
    }

    fn write_or_refuse(&mut self, mut jobs: Vec<Job>) {
        while !jobs.is_empty() {
            match self.write(&mut jobs) {
                Ok(places) => return self.done(jobs, &places),
                Err(error) if is_full(&error) && self.shared.failure().is_none() => {
                    self.shared.set_full(true);
                    // The next mail asks the file system again instead of waiting for the interval.
                    self.space_checked = None;
                    let (refused, kept): (Vec<_>, Vec<_>) = jobs.into_iter().partition(Job::may_be_refused);
                    let worth_retrying = !refused.is_empty();
                    for mut job in refused {
                        job.answer(Err(SpoolError::Full));
                    }
                    jobs = kept;
                    if !worth_retrying {
                        self.held.append(&mut jobs);
                    }
                }
                Err(error) => {
                    let failed = self.shared.fail(&format!("write: {error}"));
                    jobs.drain(..).for_each(|mut job| job.answer(Err(failed.clone())));
                }
            }
        }
    }

    /// Writes the jobs and fsyncs them if one of them needs it. After an error nothing of them is left in the
    /// segment, as far as the disk obeys.
    fn write(&mut self, jobs: &mut [Job]) -> io::Result<Vec<(u64, Place)>> {
        let octets: u64 = jobs.iter().map(Job::frame_length).sum();
        let header = u64::try_from(SEGMENT_HEADER).unwrap_or(0);
        if self.active.length > header && self.active.length + octets > self.shared.settings.sizes.segment_max {
            self.rotate()?;
        }
        let (home, start) = (self.active.segment.home, self.active.length);
        let mut places = Vec::with_capacity(jobs.len());
        let mut at = start;
        let mut durable_from = None;
        for job in jobs.iter_mut() {
            if job.durable && durable_from.is_none() {
                durable_from = Some(at);
            }
            let length = job.frame_length();
            job.seal(home, self.next_seq);
            places.push((self.next_seq, Place { segment: home.number, offset: at, length }));
            self.next_seq += job.numbers();
            at += length;
        }
        let trailers: Vec<[u8; FRAME_TRAILER]> = places.iter().map(|(seq, _)| frame_trailer(*seq)).collect();
        let mut slices = Vec::with_capacity(jobs.len() * 4);
        jobs.iter().zip(&trailers).for_each(|(job, trailer)| job.slices(trailer, &mut slices));
        let file = &self.active.segment.file;
        if let Err(error) = file.append(&mut slices) {
            return Err(self.undo(start, error));
        }
        if let Some(durable_from) = durable_from {
            if let Err(error) = self.sync_mail(jobs) {
                // Never a second fsync on this file; the cut is the best that can be done about unacknowledged mail.
                let _best_effort = self.active.segment.file.cut(durable_from);
                return Err(io::Error::other(format!("fsync: {error}")));
            }
            self.dirty = None;
        } else {
            self.dirty.get_or_insert_with(Instant::now);
        }
        self.active.length = at;
        self.space_octets += octets;
        Ok(places)
    }

    fn sync_mail(&self, jobs: &[Job]) -> io::Result<()> {
        let has_file = |job: &Job| job.arrival.as_ref().is_some_and(|arrival| arrival.file.is_some());
        if jobs.iter().any(has_file) {
            self.shared.disk.sync()?;
        }
        self.active.segment.file.sync()
    }

    /// Takes a failed write back. The answer "not taken" must be as durable as the mail would have been.
    fn undo(&mut self, length: u64, error: io::Error) -> io::Error {
        let file = &self.active.segment.file;
        let undone = file.cut(length).and_then(|()| if is_full(&error) { file.sync() } else { Ok(()) });
        match undone {
            Ok(()) => {
                if is_full(&error) {
                    self.dirty = None;
                }
                error
            }
            Err(second) => io::Error::other(format!("{error}; taking it back: {second}")),
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        if self.dirty.is_some() {
            self.active.segment.file.sync().map_err(|error| io::Error::other(format!("fsync: {error}")))?;
            self.dirty = None;
        }
        let header = SegmentHeader {
            number: self.next_segment,
            salt: random()?,
            next_seq: self.next_seq,
            last_id: self.last_id,
        };
        self.next_segment += 1;
        let segment = Segment::create(&self.shared.disk, &header)?;
        let length = u64::try_from(SEGMENT_HEADER).unwrap_or(0);
        self.shared.index().add_segment(Arc::clone(&segment), length);
        self.active = Active { segment, length };
        Ok(())
    }

    //----------- After the write ---

    fn done(&mut self, mut jobs: Vec<Job>, places: &[(u64, Place)]) {
        let now = self.shared.clock.now();
        let mut arrived = false;
        {
            let mut index = self.shared.index();
            for (job, (seq, place)) in jobs.iter_mut().zip(places) {
                index.grow_segment(place.segment, place.length);
                if let Some(settlement) = &job.settlement {
                    index.settle(settlement.id, &settlement.outcomes, now);
                    arrived = true;
                }
                if let Some(arrival) = job.arrival.take() {
                    arrived = true;
                    if let Some(file) = arrival.file {
                        self.shared.bodies.commit(&self.shared.disk, file.name);
                    }
                    self.last_id = arrival.copies.iter().map(|copy| copy.id.as_u64()).fold(self.last_id, u64::max);
                    arrive(&mut index, *seq, *place, arrival, now);
                }
                if let Some(moved) = &job.moved {
                    index.add_batch(*seq, *place, moved.file);
                    index.move_copies(&moved.ids, *seq);
                    index.drop_if_unused(*seq);
                }
            }
            self.gone_files.append(&mut index.take_gone_files());
        }
        self.project(&jobs, places);
        for job in &mut jobs {
            job.answer(Ok(()));
        }
        if arrived {
            self.shared.due.notify_one();
        }
    }

    fn project(&mut self, jobs: &[Job], places: &[(u64, Place)]) {
        let mut any = false;
        for (job, (first, _)) in jobs.iter().zip(places) {
            for (seq, note) in (*first..).zip(&job.notes) {
                self.sink.append(seq, note);
                any = true;
            }
        }
        if any {
            self.sink_dirty.get_or_insert_with(Instant::now);
            if let Err(error) = self.sink.write() {
                tracing::warn!(%error, "the audit trail cannot be written; the spool keeps its records");
            }
        }
    }

    //----------- Duties ---

    fn duties(&mut self) {
        if self.sink_dirty.is_some_and(|since| since.elapsed() >= AUDIT_SYNC_INTERVAL) {
            self.sync_sink();
        }
        if self.shared.failure().is_some() {
            self.refuse_held();
            return;
        }
        if self.dirty.is_some_and(|since| since.elapsed() >= SETTLE_SYNC_INTERVAL) {
            self.sync();
        }
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            self.write_or_refuse(held);
        }
        if self.swept.elapsed() >= ABANDONED_INTERVAL {
            self.swept = Instant::now();
            for name in self.shared.bodies.abandoned() {
                self.gone_files.push(name);
            }
        }
        if self.held.is_empty() {
            self.reclaim();
        }
    }

    /// Fsyncs what is written; says whether all of it is on disk now.
    pub(super) fn sync(&mut self) -> bool {
        if self.shared.failure().is_some() {
            return false;
        }
        if self.dirty.is_some() {
            if let Err(error) = self.active.segment.file.sync() {
                self.shared.fail(&format!("fsync: {error}"));
                return false;
            }
            self.dirty = None;
        }
        true
    }

    /// Fsyncs the audit trail; says whether all of it is on disk now.
    pub(super) fn sync_sink(&mut self) -> bool {
        self.sink_dirty = None;
        self.sink.sync().is_ok()
    }

    /// Writes jobs of the appender's own, such as mail moved out of an old segment; says whether that worked.
    pub(super) fn write_own(&mut self, mut jobs: Vec<Job>) -> bool {
        match self.write(&mut jobs) {
            Ok(places) => {
                self.done(jobs, &places);
                true
            }
            Err(error) => {
                if !is_full(&error) {
                    self.shared.fail(&format!("write: {error}"));
                }
                false
            }
        }
    }

    fn refuse_held(&mut self) {
        let error = self.shared.failure().map_or(SpoolError::Full, |reason| SpoolError::Failed(reason.to_owned()));
        self.held.drain(..).for_each(|mut job| job.answer(Err(error.clone())));
    }

    fn finish(mut self) {
        let held = std::mem::take(&mut self.held);
        self.write_or_refuse(held);
        self.refuse_held();
        if self.sync() {
            self.reclaim();
        }
        if let Err(error) = self.sink.sync() {
            tracing::warn!(%error, "the audit trail is behind; the next start catches up");
        }
        for mut job in self.shared.inbox.drain() {
            job.answer(Err(Shared::shut_down()));
        }
    }
}

/// Makes a committed batch known, with its mail in memory as far as there is room.
fn arrive(index: &mut super::index::Index, seq: u64, place: Place, arrival: Arrival, now: crate::time::Timestamp) {
    let Arrival { manifest, body, file, copies } = arrival;
    index.add_batch(seq, place, file);
    for copy in copies {
        let pending = RecipientSet::all(copy.recipients.len());
        if pending.is_empty() {
            continue;
        }
        let class = index.class(&manifest, &copy.recipients);
        let mut waiting = Waiting::new(manifest.received.as_millis(), 0, &manifest, pending, class);
        waiting.cached = Some(Box::new(Cached {
            manifest: Arc::clone(&manifest),
            recipients: copy.recipients,
            header: copy.header,
            body: body.clone(),
        }));
        index.add_copy(seq, copy.id.as_u64(), waiting, now);
    }
    index.drop_if_unused(seq);
}
