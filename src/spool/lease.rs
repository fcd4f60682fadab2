//! Copies in the hands of a worker.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::batch::{Batch, Body, Manifest, parted};
use super::error::SpoolError;
use super::handle::Handle;
use super::index::{Cached, Source, Taken};
use super::recipients::RecipientSet;
use super::record::{self, SettleRecord, StoredBody};
use crate::mail::{QueueId, Recipient};
use crate::time::Timestamp;

/// How long a copy rests whose lease was dropped unsettled: a worker that fails at once must not be handed the same
/// copy in a tight loop.
pub const LEASE_RETURN_DELAY: Duration = Duration::from_secs(5);

/// One copy as it is delivered.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its id.
    pub id: QueueId,
    /// What it shares with its batch.
    pub manifest: Arc<Manifest>,
    /// Final header section, blank line included.
    pub header: Bytes,
    /// The body.
    pub body: Body,
    /// Attempts before this one.
    pub attempts: u32,
}

/// Position of a recipient within a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecipientIndex(pub u16);

/// How one recipient of a lease ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// The upstream took it.
    Delivered,
    /// Try again at `until`. Open recipients of one copy are tried together, at the earliest of their times.
    Deferred {
        /// When.
        until: Timestamp,
    },
    /// Finally failed.
    Bounced,
    /// Too old.
    Expired,
    /// The decision before the attempt was no.
    Withdrawn,
    /// Put aside by an operator until it is released; no attempt.
    Held,
    /// Due at once again, after it was held; no attempt.
    Released,
}

/// Everything that ends a lease, committed at once.
#[derive(Debug, Default)]
pub struct Settlements {
    /// One for each pending recipient; a recipient left out is deferred to now.
    pub outcomes: Vec<(RecipientIndex, Settlement)>,
    /// Audit records.
    pub notes: Vec<Bytes>,
    /// A delivery report to queue in the same commit.
    pub follow_up: Option<Batch>,
}

/// A leased copy that goes back into the queue unless it is let go.
#[derive(Debug)]
pub(super) struct Claim {
    handle: Arc<Handle>,
    id: u64,
    armed: bool,
}

impl Claim {
    pub(super) const fn new(handle: Arc<Handle>, id: u64) -> Self {
        Self { handle, id, armed: true }
    }

    /// The copy's fate is now with the appender.
    fn let_go(&mut self) {
        self.armed = false;
    }

    async fn settle(
        &mut self,
        record: SettleRecord,
        notes: Vec<Bytes>,
        follow_up: Option<Batch>,
    ) -> Result<(), SpoolError> {
        let waiting = self.handle.push_settlement(record, notes, follow_up)?;
        self.let_go();
        waiting.wait().await
    }

    /// Settles the open recipients alike.
    pub(super) async fn settle_all(
        mut self,
        open: &RecipientSet,
        how: &Settlement,
        note: Bytes,
    ) -> Result<(), SpoolError> {
        let all = (0..=u16::MAX).filter(|index| open.contains(*index));
        let outcomes = all.map(|index| (index, how.clone())).collect();
        let record = SettleRecord { id: self.id, outcomes };
        self.settle(record, vec![note], None).await
    }

    /// Back into the queue, due at `until`.
    fn put_back(mut self, until: Timestamp) {
        self.let_go();
        self.handle.shared.give_back_at(self.id, until);
    }

    /// The copy cannot be read.
    pub(super) fn set_aside(mut self, reason: &str) {
        self.let_go();
        let id = QueueId::from_u64(self.id);
        tracing::error!(%id, reason, "a queued copy cannot be read back; it is set aside until the next start");
        self.handle.shared.index().set_aside(self.id);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.armed {
            self.handle.shared.give_back(self.id, LEASE_RETURN_DELAY);
        }
    }
}

/// One copy leased to one worker. Dropped unsettled, it goes back into the queue, due after [`LEASE_RETURN_DELAY`].
#[derive(Debug)]
pub struct Lease {
    entry: Entry,
    pending: Vec<(RecipientIndex, Recipient)>,
    claim: Claim,
}

impl Lease {
    /// The copy.
    pub const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Recipients not settled yet.
    pub fn pending(&self) -> &[(RecipientIndex, Recipient)] {
        &self.pending
    }

    /// Gives the copy back untried, due again at `until` (and, as every deferral, not farther than [`super::DUE_AHEAD_MAX`]).
    /// Nothing is written: after a restart its old time counts again.
    pub fn put_back(self, until: Timestamp) {
        self.claim.put_back(until);
    }

    /// Ends the lease. The copy stays leased until this is written; written means in the page cache, which a killed
    /// process does not lose, and on disk within [`super::SETTLE_SYNC_INTERVAL`]. After a power loss a settled copy may
    /// be delivered once more; it is never lost. With a follow-up this waits for the fsync. When the disk is full this
    /// waits until there is space, because what happened cannot be refused. Once polled, dropping the future does not
    /// take the settlement back.
    ///
    /// # Errors
    /// [`SpoolError::Failed`]: the copy will be tried again after a restart. [`SpoolError::Unfit`]: the follow-up cannot
    /// be stored; the settlement was written without it. [`SpoolError::Full`]: the spool was shut down while the disk was full.
    pub async fn settle(mut self, how: Settlements) -> Result<(), SpoolError> {
        let Settlements { outcomes, notes, follow_up } = how;
        let now = self.claim.handle.shared.clock.now();
        let mut all: Vec<(u16, Settlement)> = Vec::with_capacity(self.pending.len());
        for (index, _) in &self.pending {
            let said = outcomes.iter().find(|(of, _)| of == index).map(|(_, outcome)| outcome.clone());
            all.push((index.0, said.unwrap_or(Settlement::Deferred { until: now })));
        }
        let record = SettleRecord { id: self.claim.id, outcomes: all };
        if follow_up.is_none() {
            return self.claim.settle(record, notes, None).await;
        }
        match self.claim.settle(record.clone(), notes.clone(), follow_up).await {
            Err(SpoolError::Unfit(why)) => {
                // What happened is written down even so: else the copy would be delivered again and again.
                self.claim.settle(record, notes, None).await?;
                Err(SpoolError::Unfit(why))
            }
            other @ (Ok(()) | Err(SpoolError::Full | SpoolError::Failed(_) | SpoolError::Unusable(_))) => other,
        }
    }
}

/// Makes leases of copies that were in memory, and names those that must be read.
pub(super) fn lease_cached(handle: &Arc<Handle>, taken: Vec<Taken>) -> (Vec<Lease>, Vec<(Claim, Taken)>) {
    let (mut leases, mut to_read) = (Vec::with_capacity(taken.len()), Vec::new());
    for mut taken in taken {
        let claim = Claim::new(Arc::clone(handle), taken.id);
        match taken.source {
            Source::Cached(cached) => leases.push(lease(claim, taken.attempts, &taken.pending, *cached)),
            stored @ Source::Stored { .. } => {
                taken.source = stored;
                to_read.push((claim, taken));
            }
        }
    }
    (leases, to_read)
}

fn lease(claim: Claim, attempts: u32, pending: &RecipientSet, cached: Cached) -> Lease {
    let Cached { manifest, recipients, header, body } = cached;
    let (header, body) = parted(header, body);
    let open = (0..=u16::MAX).zip(recipients).filter(|(index, _)| pending.contains(*index));
    let pending = open.map(|(index, recipient)| (RecipientIndex(index), recipient)).collect();
    let entry = Entry { id: QueueId::from_u64(claim.id), manifest, header, body, attempts };
    Lease { entry, pending, claim }
}

/// Reads copies back from their segments, each frame once; blocks on the disk.
pub(super) fn lease_stored(handle: &Handle, to_read: Vec<(Claim, Taken)>) -> Vec<Lease> {
    let mut leases = Vec::with_capacity(to_read.len());
    let mut last: Option<(u64, Result<Mail, String>)> = None;
    for (claim, taken) in to_read {
        let Source::Stored { seq, .. } = &taken.source else { continue };
        if last.as_ref().is_none_or(|(known, _)| known != seq) {
            last = Some((*seq, read_mail(handle, &taken.source)));
        }
        let Some((_, mail)) = &last else { continue };
        let found = mail.as_ref().map_err(String::as_str).and_then(|mail| mail.copy(taken.id));
        match found {
            Ok(cached) => leases.push(lease(claim, taken.attempts, &taken.pending, cached)),
            Err(reason) => claim.set_aside(reason),
        }
    }
    leases
}

/// A batch read back.
pub(super) struct Mail {
    manifest: Arc<Manifest>,
    body: Body,
    copies: Vec<record::CopyRecord>,
}

impl Mail {
    pub(super) fn copy(&self, id: u64) -> Result<Cached, &'static str> {
        let copy = self.copies.iter().find(|copy| copy.id == id).ok_or("the frame does not hold this copy")?;
        Ok(Cached {
            manifest: Arc::clone(&self.manifest),
            recipients: copy.recipients.clone(),
            header: copy.header.clone(),
            body: self.body.clone(),
        })
    }
}

/// Reads and checks the frame of a stored copy and its body file.
pub(super) fn read_mail(handle: &Handle, source: &Source) -> Result<Mail, String> {
    let Source::Stored { segment, place, .. } = source else { return Err("not on disk".to_owned()) };
    let record = segment.read_batch(*place)?;
    let body = match record.body {
        StoredBody::Inline(bytes) => Body::Memory(bytes),
        StoredBody::File(file) => Body::File(handle.shared.bodies.stored(&handle.shared.disk, &file)?),
    };
    Ok(Mail { manifest: Arc::new(record.manifest), body, copies: record.copies })
}
