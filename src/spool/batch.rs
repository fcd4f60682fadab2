//! What is put into the spool at once.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::mail::{BodyType, Label, QueueId, Recipient, Reporting, ReversePath};
use crate::message::{Signed, SplitAt, split};
use crate::time::Timestamp;

/// A message body (everything behind the blank line), shared by all copies.
#[derive(Clone, Debug)]
pub enum Body {
    /// In memory.
    Memory(Bytes),
    /// In a file of its own, because it is large.
    File(Arc<BodyFile>),
}

impl Body {
    /// Octets.
    pub fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Self::File(file) => file.len,
        }
    }

    /// Whether there is nothing behind the blank line.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Header section and body of a copy, from what it has for itself and what its batch shares.
pub(super) fn parted(mut own: Bytes, shared: Body) -> (Bytes, Body) {
    let start = match split(&own) {
        SplitAt::Body(end) => own.split_off(end),
        SplitAt::Open => Bytes::new(),
    };
    let body = match shared {
        shared @ (Body::Memory(_) | Body::File(_)) if start.is_empty() => shared,
        Body::Memory(shared) => {
            let mut body = BytesMut::with_capacity(start.len() + shared.len());
            body.extend_from_slice(&start);
            body.extend_from_slice(&shared);
            Body::Memory(body.freeze())
        }
        // Nobody puts such a copy in; its octets still stand in the right order.
        Body::File(file) => {
            own = Bytes::from([own, start].concat());
            Body::File(file)
        }
    };
    (own, body)
}

/// A large body on disk. The file stays until the last copy that needs it is settled.
#[derive(Debug)]
pub struct BodyFile {
    /// Where.
    pub path: PathBuf,
    /// Octets.
    pub len: u64,
}

/// What every copy of a batch has in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Where failures are reported to.
    pub reverse_path: ReversePath,
    /// Stream, controller, list, campaign.
    pub label: Label,
    /// BODY parameter.
    pub body_type: BodyType,
    /// SMTPUTF8 was used.
    pub smtputf8: bool,
    /// What the sender wants reports to be like (RFC 3461).
    pub reporting: Reporting,
    /// When it was accepted.
    pub received: Timestamp,
    /// When it is given up.
    pub expires: Timestamp,
}

/// One copy on its way into the spool.
#[derive(Debug)]
pub(super) struct NewCopy {
    pub(super) id: QueueId,
    pub(super) recipients: Vec<Recipient>,
    /// The header section with its blank line, and behind it the beginning of the body when the copy has one of its own.
    pub(super) header: Bytes,
}

/// What is committed at once, all of it or nothing: body, copies, audit notes.
#[derive(Debug)]
pub struct Batch {
    pub(super) manifest: Manifest,
    pub(super) body: Body,
    pub(super) copies: Vec<NewCopy>,
    pub(super) notes: Vec<Bytes>,
}

impl Batch {
    /// A batch about `body`.
    pub const fn new(manifest: Manifest, body: Body) -> Self {
        Self { manifest, body, copies: Vec::new(), notes: Vec::new() }
    }

    /// Mail of our own: a delivery report, or the receipt of an opt-out. Nobody's permit covers it, so this is the one way into the spool beside
    /// [`Batch::send`], and it always has the null reverse-path (RFC 5321 section 4.5.5, RFC 3461 section 6): campaign
    /// mail cannot take it. `header` is the final header section, blank line included.
    pub fn notice(id: QueueId, to: Recipient, header: Bytes, manifest: Manifest, body: Body) -> Self {
        let manifest = Manifest { reverse_path: ReversePath::Null, ..manifest };
        let copies = vec![NewCopy { id, recipients: vec![to], header }];
        Self { manifest, body, copies, notes: Vec::new() }
    }

    /// Adds one copy; what it has of the body for itself stands before [`Batch::new`]'s. Its id is assigned by the caller and must never have been used before.
    #[expect(clippy::needless_pass_by_value, reason = "a signed copy is sent once: it is used up here")]
    pub fn send(&mut self, id: QueueId, signed: Signed) {
        let (recipients, header) = (signed.recipients().to_vec(), signed.head().clone());
        self.copies.push(NewCopy { id, recipients, header });
    }

    /// Adds one audit record (a JSON object on one line, without its line end).
    pub fn note(&mut self, line: Bytes) {
        self.notes.push(line);
    }
}

/// Proof that a batch is on disk. Only the spool makes one.
#[derive(Debug)]
pub struct Committed {
    pub(super) _private: (),
}
