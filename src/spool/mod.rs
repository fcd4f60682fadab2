//! Interface draft of the spool: replaced by the real room.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::mail::{BodyType, Label, QueueId, Recipient, ReversePath};
use crate::message::Signed;
use crate::time::Timestamp;

/// A message body (everything behind the blank line), shared by all copies.
#[derive(Clone, Debug)]
pub enum Body {
    /// In memory.
    Memory(Bytes),
    /// In a file of its own, because it is large.
    File(Arc<BodyFile>),
}

/// A large body on disk.
#[derive(Debug)]
pub struct BodyFile {
    /// Where.
    pub path: PathBuf,
    /// Octets.
    pub len: u64,
}

/// What every copy of a batch has in common.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Where failures are reported to.
    pub reverse_path: ReversePath,
    /// Stream, controller, list, campaign.
    pub label: Label,
    /// BODY parameter.
    pub body_type: BodyType,
    /// SMTPUTF8 was used.
    pub smtputf8: bool,
    /// When it was accepted.
    pub received: Timestamp,
    /// When it is given up.
    pub expires: Timestamp,
}

/// What is committed at once: body, copies, audit notes.
#[derive(Debug)]
pub struct Batch {
    _private: (),
}

impl Batch {
    /// A batch about `body`.
    pub fn new(_manifest: Manifest, _body: Body) -> Self {
        unimplemented!()
    }

    /// Adds one copy; its id is assigned by the caller.
    pub fn send(&mut self, _id: QueueId, _signed: Signed) {
        unimplemented!()
    }

    /// Adds one audit record (a line of JSON without its line end).
    pub fn note(&mut self, _line: Bytes) {
        unimplemented!()
    }
}

/// Proof that a batch is on disk. Only the spool makes one.
#[derive(Debug)]
pub struct Committed {
    _private: (),
}

/// Why the spool refused.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SpoolError {
    /// No space: 452; recovers by itself.
    #[error("no space left for the spool")]
    Full,
    /// A write or fsync failed: nothing is accepted until restart.
    #[error("spool failed: {0}")]
    Failed(String),
}

/// The durable queue.
#[derive(Clone, Debug)]
pub struct Spool {
    _private: (),
}

impl Spool {
    /// Durable once this returns `Ok`.
    ///
    /// # Errors
    /// [`SpoolError`]; nothing of the batch will be sent then.
    pub async fn commit(&self, _batch: Batch) -> Result<Committed, SpoolError> {
        unimplemented!()
    }

    /// Adds an audit record that rides with the next commit.
    pub fn note(&self, _line: Bytes) {
        unimplemented!()
    }

    /// Waits until something is due and leases up to `max` copies.
    pub async fn lease(&self, _max: usize) -> Vec<Lease> {
        unimplemented!()
    }
}

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecipientIndex(pub u16);

/// One copy leased to one worker. Dropped unsettled, it goes back into the queue.
#[derive(Debug)]
pub struct Lease {
    entry: Entry,
    pending: Vec<(RecipientIndex, Recipient)>,
}

/// How one recipient of a lease ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// The upstream took it.
    Delivered,
    /// Try again at `until`.
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

impl Lease {
    /// The copy.
    pub const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Recipients not settled yet.
    pub fn pending(&self) -> &[(RecipientIndex, Recipient)] {
        &self.pending
    }

    /// Ends the lease. The copy stays leased until this is written.
    ///
    /// # Errors
    /// [`SpoolError`]; the copy will be tried again after a restart.
    pub async fn settle(self, _how: Settlements) -> Result<(), SpoolError> {
        unimplemented!()
    }
}
