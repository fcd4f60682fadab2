//! Giving space back.
//!
//! Segments are deleted oldest first, and each deletion is on disk before the next one begins. A settlement never lies in
//! an older segment than its copy, so when a segment goes, every copy that a settlement in it speaks of has gone before or
//! goes with it: nothing settled comes back. What still waits in a segment that is to go is written again, durably, into
//! the active one; until the old one is gone the later record counts.
//!
//! ```text
//! crash before the new frame is on disk   the old frame counts
//! crash after it, before the deletion     both are there; the later one counts
//! crash after the deletion                the new frame counts
//! ```

use super::appender::Appender;
use super::body::body_name;
use super::index::{Place, Segment};
use super::job::{Job, Move};
use super::record::{BatchRecord, BatchView, CopyView, StoredBody};

/// Octets moved at a time, so that mail does not wait long behind them.
const MOVE_STEP: u64 = 1024 * 1024;
/// Segments that are let lie whatever their size, before small ones count as waste: each start makes one.
const SEGMENTS_MIN: usize = 64;

impl Appender {
    /// Removes what nothing needs, and one step of what little needs.
    pub(super) fn reclaim(&mut self) {
        self.reclaim_again = false;
        self.remove_bodies();
        while let Some(segment) = self.removable() {
            if !self.remove_segment(&segment) {
                return;
            }
        }
        if self.wasteful() && !self.reclaim_blocked {
            self.reclaim_again = self.move_some();
        }
    }

    fn remove_bodies(&mut self) {
        self.gone_files.append(&mut self.shared.index().take_gone_files());
        if self.gone_files.is_empty() || self.dirty.is_some() {
            return;
        }
        for name in std::mem::take(&mut self.gone_files) {
            self.shared.bodies.forget(&self.shared.disk, name);
            if let Err(error) = self.shared.disk.remove(&body_name(name)) {
                tracing::warn!(%error, "a body file that is needed no more stays until the next start");
            }
        }
    }

    /// The oldest segment, when nothing in it is needed and it is not the one written to.
    fn removable(&self) -> Option<std::sync::Arc<Segment>> {
        let (segment, unused) = self.shared.index().oldest_segment()?;
        (unused && segment.home.number != self.active.segment.home.number).then_some(segment)
    }

    fn remove_segment(&mut self, segment: &Segment) -> bool {
        // The settlements that made it needless and the audit records of its frames must outlive it.
        if !self.sync() || !self.sync_sink() {
            return false;
        }
        let removed = self.shared.disk.remove(&segment.name).and_then(|()| self.shared.disk.sync());
        if let Err(error) = removed {
            // Without a durable deletion the next one might reach the disk first and bring settled mail back.
            tracing::warn!(%error, segment = segment.name, "a segment cannot be removed; trying again at the next start");
            self.reclaim_blocked = true;
            return false;
        }
        self.shared.index().remove_segment(segment.home.number);
        true
    }

    /// Whether dead octets outweigh live ones by enough to be worth copying.
    fn wasteful(&self) -> bool {
        let index = self.shared.index();
        let sums = index.sums();
        let dead = sums.total - sums.live;
        let whole = usize::try_from(sums.live / self.shared.settings.sizes.segment_max.max(1)).unwrap_or(usize::MAX);
        dead > self.shared.settings.sizes.dead_min.max(sums.live)
            || index.segment_count() > SEGMENTS_MIN.saturating_add(whole.saturating_mul(4))
    }

    /// Moves mail out of the oldest segment; says whether there may be more to do at once.
    fn move_some(&mut self) -> bool {
        let mut moved = 0;
        while moved < MOVE_STEP {
            let index = self.shared.index();
            let Some((segment, _)) = index.oldest_segment() else { return false };
            let number = segment.home.number;
            let batch = index.oldest_batch_in(number);
            drop(index);
            if number == self.active.segment.home.number {
                return false;
            }
            let Some((seq, place)) = batch else { return true };
            match self.move_batch(&segment, seq, place) {
                Ok(octets) => moved += octets,
                Err(()) => return false,
            }
        }
        true
    }

    fn move_batch(&mut self, segment: &Segment, seq: u64, place: Place) -> Result<u64, ()> {
        let job = segment.read_batch(place).and_then(|record| self.moving_job(seq, &record));
        let job = match job {
            Ok(job) => job,
            Err(reason) => {
                tracing::error!(reason, segment = segment.name, "queued mail cannot be read back; its segment stays");
                self.reclaim_blocked = true;
                return Err(());
            }
        };
        let octets = job.frame_length();
        if self.write_own(vec![job]) { Ok(octets) } else { Err(()) }
    }

    fn moving_job(&self, seq: u64, record: &BatchRecord) -> Result<Job, String> {
        let index = self.shared.index();
        let live = record.copies.iter().filter_map(|copy| Some((copy, index.copy_in(seq, copy.id)?)));
        let copies: Vec<CopyView<'_>> = live
            .map(|(copy, now)| CopyView {
                id: copy.id,
                due: now.due,
                attempts: now.attempts,
                recipients: &copy.recipients,
                pending: &now.pending,
                header: &copy.header,
            })
            .collect();
        if copies.is_empty() {
            return Err("the frame holds none of its copies".to_owned());
        }
        let file = match &record.body {
            StoredBody::File(file) => Some(*file),
            StoredBody::Inline(_) => None,
        };
        let moved = Move { ids: copies.iter().map(|copy| copy.id).collect(), file };
        let view = BatchView { moved: true, manifest: &record.manifest, body: &record.body, copies };
        Job::moving(&view, moved, self.shared.settings.sizes.frame_max).map_err(|error| error.to_string())
    }
}
