//! What an operator sees of the queue.

use std::sync::Arc;

use bytes::Bytes;

use super::batch::{Body, Manifest, parted};
use super::handle::Shared;
use super::index::{Cached, Waiting};
use super::recipients::RecipientSet;
use crate::mail::{QueueId, Recipient};
use crate::time::Timestamp;

/// Whether mail is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is.
    Good,
    /// Not for want of space; that may pass.
    Full,
    /// Not before a restart; the words say why.
    Failed(String),
}

/// Sums over the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Copies that wait or are leased.
    pub copies: u64,
    /// Recipients not settled.
    pub recipients: u64,
    /// Copies that were tried at least once.
    pub deferred: u64,
    /// Copies in the hands of workers.
    pub leased: u64,
    /// Copies that an operator holds.
    pub held: u64,
    /// Copies that cannot be read back and are set aside until the next start.
    pub damaged: u64,
    /// Octets of segments that hold pending mail; body files are not counted.
    pub live_octets: u64,
    /// Octets of all segments.
    pub segment_octets: u64,
    /// Segments.
    pub segments: u64,
    /// When the oldest pending copy was accepted.
    pub oldest: Option<Timestamp>,
    /// Notes lost to a flood and not yet mentioned in the trail.
    pub notes_lost: u64,
}

impl Stats {
    pub(super) fn of(shared: &Shared) -> Self {
        let notes_lost = shared.inbox.notes_lost();
        let index = shared.index();
        let sums = index.sums();
        let oldest = index.copies_after(None).next().map(|(_, copy)| Timestamp::from_millis(copy.received));
        Self {
            copies: u64::try_from(index.len()).unwrap_or(u64::MAX),
            recipients: sums.recipients,
            deferred: sums.deferred,
            leased: sums.leased,
            held: sums.held,
            damaged: sums.damaged,
            live_octets: sums.live,
            segment_octets: sums.total,
            segments: u64::try_from(index.segment_count()).unwrap_or(u64::MAX),
            oldest,
            notes_lost,
        }
    }
}

/// One pending copy as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingCopy {
    /// Its id.
    pub id: QueueId,
    /// When it was accepted.
    pub received: Timestamp,
    /// When it is given up.
    pub expires: Timestamp,
    /// When it is tried next; never, while it is held.
    pub due: Timestamp,
    /// Attempts so far.
    pub attempts: u32,
    /// Recipients not settled.
    pub recipients: u64,
    /// Whether a worker has it.
    pub leased: bool,
    /// Whether an operator holds it.
    pub held: bool,
    /// Whether it cannot be read back.
    pub damaged: bool,
}

impl PendingCopy {
    pub(super) fn of(id: u64, copy: &Waiting) -> Self {
        Self {
            id: QueueId::from_u64(id),
            received: Timestamp::from_millis(copy.received),
            expires: Timestamp::from_millis(copy.expires),
            due: Timestamp::from_millis(copy.due),
            attempts: copy.attempts,
            recipients: copy.pending.len(),
            leased: copy.is_leased(),
            held: copy.is_held(),
            damaged: copy.is_damaged(),
        }
    }
}

/// One pending copy with its mail.
#[derive(Clone, Debug)]
pub struct Shown {
    /// What a listing shows.
    pub facts: PendingCopy,
    /// What it shares with its batch.
    pub manifest: Arc<Manifest>,
    /// Recipients not settled.
    pub recipients: Vec<Recipient>,
    /// Final header section, blank line included.
    pub header: Bytes,
    /// The body.
    pub body: Body,
}

impl Shown {
    pub(super) fn of(facts: PendingCopy, mail: Cached, open: &RecipientSet) -> Self {
        let Cached { manifest, recipients, header, body } = mail;
        let (header, body) = parted(header, body);
        let open = (0..=u16::MAX).zip(recipients).filter(|(index, _)| open.contains(*index));
        Self { facts, manifest, recipients: open.map(|(_, recipient)| recipient).collect(), header, body }
    }
}

/// What became of a copy that an operator wanted dropped, held or released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It is done.
    Done,
    /// It was so already.
    Already,
    /// A worker has it now; ask again.
    Leased,
    /// There is no such copy, or none any more.
    Unknown,
}
