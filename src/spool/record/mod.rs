//! The payload of a frame: one transaction, as `docs/reference/spool-format.md` lays it out.
//!
//! Everything is checked when it is read back, addresses and names by the same parsers that checked them at the door:
//! a record that does not parse is damage, whatever its checksum says.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use bytes::Bytes;

use super::batch::Manifest;
use super::lease::Settlement;
use super::recipients::RecipientSet;
use crate::mail::Recipient;

pub(super) use decode::decode;
pub(super) use encode::{BatchView, CopyView, encode_lead};

/// How recipients of one copy ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SettleRecord {
    pub(super) id: u64,
    pub(super) outcomes: Vec<(u16, Settlement)>,
}

/// Where the body of a batch is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StoredBody {
    /// In the frame.
    Inline(Bytes),
    /// In a file of its own.
    File(FileRecord),
}

/// A body file as a frame names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileRecord {
    pub(super) name: u64,
    pub(super) length: u64,
    pub(super) crc: u32,
}

/// One copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CopyRecord {
    pub(super) id: u64,
    pub(super) due: i64,
    pub(super) attempts: u32,
    pub(super) recipients: Vec<Recipient>,
    pub(super) pending: RecipientSet,
    pub(super) header: Bytes,
}

/// Copies with what they share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BatchRecord {
    /// Copied from an older segment to clear it: replaces what is known of these copies.
    pub(super) moved: bool,
    pub(super) manifest: Manifest,
    pub(super) body: StoredBody,
    pub(super) copies: Vec<CopyRecord>,
}

/// What one frame does, all or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Transaction {
    pub(super) settlement: Option<SettleRecord>,
    pub(super) notes: Vec<Bytes>,
    pub(super) batch: Option<BatchRecord>,
}

const BATCH_NONE: u8 = 0;
/// As format version 1 wrote a batch: without what RFC 3461 adds. Read for ever, written no more.
const BATCH_FRESH_1: u8 = 1;
/// The same, moved.
const BATCH_MOVED_1: u8 = 2;
const BATCH_FRESH: u8 = 3;
const BATCH_MOVED: u8 = 4;
const RET_UNSAID: u8 = 0;
const RET_FULL: u8 = 1;
const RET_HEADERS: u8 = 2;
/// NOTIFY is one octet: one bit for each occasion, none of them when nothing was said, or this.
const NOTIFY_NEVER: u8 = 0x80;
const NOTIFY_SUCCESS: u8 = 0x01;
const NOTIFY_FAILURE: u8 = 0x02;
const NOTIFY_DELAY: u8 = 0x04;
const BODY_INLINE: u8 = 0;
const BODY_FILE: u8 = 1;
const DELIVERED: u8 = 1;
const DEFERRED: u8 = 2;
const BOUNCED: u8 = 3;
const EXPIRED: u8 = 4;
const WITHDRAWN: u8 = 5;
/// Instants of a deferral that are none: held until released, and released. A release that does not know them waits for
/// a day at most, or sends at once, which is what becomes of a queue that nobody can hold.
const HELD: i64 = i64::MAX;
const RELEASED: i64 = i64::MIN;
