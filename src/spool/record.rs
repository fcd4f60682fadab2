//! The payload of a frame: one transaction, as `docs/reference/spool-format.md` lays it out.
//!
//! Everything is checked when it is read back, addresses and names by the same parsers that checked them at the door:
//! a record that does not parse is damage, whatever its checksum says.

use bytes::Bytes;

use super::batch::Manifest;
use super::lease::Settlement;
use super::recipients::RecipientSet;
use crate::mail::{BodyType, CampaignId, ControllerId, Label, ListName, Mailbox, Recipient, ReversePath, StreamName};
use crate::time::Timestamp;

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
const BATCH_FRESH: u8 = 1;
const BATCH_MOVED: u8 = 2;
const BODY_INLINE: u8 = 0;
const BODY_FILE: u8 = 1;
const DELIVERED: u8 = 1;
const DEFERRED: u8 = 2;
const BOUNCED: u8 = 3;
const EXPIRED: u8 = 4;
const WITHDRAWN: u8 = 5;

/// What a copy is written from, without owning it.
#[derive(Debug)]
pub(super) struct CopyView<'a> {
    pub(super) id: u64,
    pub(super) due: i64,
    pub(super) attempts: u32,
    pub(super) recipients: &'a [Recipient],
    pub(super) pending: &'a RecipientSet,
    pub(super) header: &'a Bytes,
}

/// What a batch is written from, without owning it.
#[derive(Debug)]
pub(super) struct BatchView<'a> {
    pub(super) moved: bool,
    pub(super) manifest: &'a Manifest,
    pub(super) body: &'a StoredBody,
    pub(super) copies: Vec<CopyView<'a>>,
}

/// Writes the leading part of a payload (everything but header sections and body) behind what `out` holds.
/// `None` when a count or length does not fit its field.
pub(super) fn encode_lead(
    out: &mut Vec<u8>,
    settlement: Option<&SettleRecord>,
    notes: &[Bytes],
    batch: Option<&BatchView<'_>>,
) -> Option<()> {
    let length_at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.push(u8::from(settlement.is_some()));
    if let Some(settlement) = settlement {
        put_settlement(out, settlement)?;
    }
    out.extend_from_slice(&u32::try_from(notes.len()).ok()?.to_le_bytes());
    for note in notes {
        out.extend_from_slice(&u32::try_from(note.len()).ok()?.to_le_bytes());
        out.extend_from_slice(note);
    }
    match batch {
        None => out.push(BATCH_NONE),
        Some(batch) => put_batch(out, batch)?,
    }
    let length = u32::try_from(out.len().checked_sub(length_at + 4)?).ok()?;
    out.get_mut(length_at..length_at + 4)?.copy_from_slice(&length.to_le_bytes());
    Some(())
}

fn put_settlement(out: &mut Vec<u8>, settlement: &SettleRecord) -> Option<()> {
    out.extend_from_slice(&settlement.id.to_le_bytes());
    out.extend_from_slice(&u16::try_from(settlement.outcomes.len()).ok()?.to_le_bytes());
    for (index, outcome) in &settlement.outcomes {
        let (code, until) = match outcome {
            Settlement::Delivered => (DELIVERED, 0),
            Settlement::Deferred { until } => (DEFERRED, until.as_millis()),
            Settlement::Bounced => (BOUNCED, 0),
            Settlement::Expired => (EXPIRED, 0),
            Settlement::Withdrawn => (WITHDRAWN, 0),
        };
        out.extend_from_slice(&index.to_le_bytes());
        out.push(code);
        out.extend_from_slice(&until.to_le_bytes());
    }
    Some(())
}

fn put_batch(out: &mut Vec<u8>, batch: &BatchView<'_>) -> Option<()> {
    out.push(if batch.moved { BATCH_MOVED } else { BATCH_FRESH });
    let Manifest { reverse_path, label, body_type, smtputf8, received, expires } = batch.manifest;
    put_text(out, reverse_path.as_str())?;
    put_text(out, label.stream.as_str())?;
    put_text(out, label.controller.as_str())?;
    put_text(out, label.list.as_ref().map_or("", ListName::as_str))?;
    put_text(out, label.campaign.as_ref().map_or("", CampaignId::as_str))?;
    out.push(match body_type {
        BodyType::SevenBit => 0,
        BodyType::EightBitMime => 1,
    });
    out.push(u8::from(*smtputf8));
    out.extend_from_slice(&received.as_millis().to_le_bytes());
    out.extend_from_slice(&expires.as_millis().to_le_bytes());
    match batch.body {
        StoredBody::Inline(bytes) => {
            out.push(BODY_INLINE);
            out.extend_from_slice(&u32::try_from(bytes.len()).ok()?.to_le_bytes());
        }
        StoredBody::File(file) => {
            out.push(BODY_FILE);
            out.extend_from_slice(&file.name.to_le_bytes());
            out.extend_from_slice(&file.length.to_le_bytes());
            out.extend_from_slice(&file.crc.to_le_bytes());
        }
    }
    out.extend_from_slice(&u16::try_from(batch.copies.len()).ok()?.to_le_bytes());
    batch.copies.iter().try_for_each(|copy| put_copy(out, copy))
}

fn put_copy(out: &mut Vec<u8>, copy: &CopyView<'_>) -> Option<()> {
    out.extend_from_slice(&copy.id.to_le_bytes());
    out.extend_from_slice(&copy.due.to_le_bytes());
    out.extend_from_slice(&copy.attempts.to_le_bytes());
    out.extend_from_slice(&u32::try_from(copy.header.len()).ok()?.to_le_bytes());
    out.extend_from_slice(&u16::try_from(copy.recipients.len()).ok()?.to_le_bytes());
    for (index, recipient) in (0..=u16::MAX).zip(copy.recipients) {
        out.push(u8::from(copy.pending.contains(index)));
        put_text(out, recipient.mailbox.as_str())?;
    }
    Some(())
}

fn put_text(out: &mut Vec<u8>, text: &str) -> Option<()> {
    out.extend_from_slice(&u16::try_from(text.len()).ok()?.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    Some(())
}

/// Reads a payload whose checksum was right. Header sections and body are slices of `payload`, not copies.
/// `None` when anything in it is not what this room writes.
pub(super) fn decode(payload: &Bytes) -> Option<Transaction> {
    let mut input = Input { bytes: payload, at: 0 };
    let lead_end = usize::try_from(input.u32()?).ok()?.checked_add(4)?;
    let settlement = if input.flag()? { Some(get_settlement(&mut input)?) } else { None };
    let mut notes = Vec::new();
    for _ in 0..input.u32()? {
        let length = input.u32()?;
        notes.push(input.slice(length)?);
    }
    let mut batch = match input.u8()? {
        BATCH_NONE => None,
        BATCH_FRESH => Some(get_batch(&mut input, false)?),
        BATCH_MOVED => Some(get_batch(&mut input, true)?),
        _ => return None,
    };
    if input.at != lead_end {
        return None;
    }
    if let Some((batch, lengths, body_length)) = &mut batch {
        for (copy, length) in batch.copies.iter_mut().zip(lengths) {
            copy.header = input.slice(*length)?;
        }
        if let StoredBody::Inline(body) = &mut batch.body {
            *body = input.slice(*body_length)?;
        }
    }
    (input.at == payload.len()).then_some(Transaction { settlement, notes, batch: batch.map(|(batch, ..)| batch) })
}

fn get_settlement(input: &mut Input<'_>) -> Option<SettleRecord> {
    let id = input.u64()?;
    let mut outcomes = Vec::new();
    for _ in 0..input.u16()? {
        let index = input.u16()?;
        let (code, until) = (input.u8()?, input.i64()?);
        let outcome = match code {
            DELIVERED => Settlement::Delivered,
            DEFERRED => Settlement::Deferred { until: Timestamp::from_millis(until) },
            BOUNCED => Settlement::Bounced,
            EXPIRED => Settlement::Expired,
            WITHDRAWN => Settlement::Withdrawn,
            _ => return None,
        };
        outcomes.push((index, outcome));
    }
    Some(SettleRecord { id, outcomes })
}

fn get_batch(input: &mut Input<'_>, moved: bool) -> Option<(BatchRecord, Vec<u32>, u32)> {
    let reverse_path = match input.text()? {
        "" => ReversePath::Null,
        text => ReversePath::Mailbox(Mailbox::parse(text).ok()?),
    };
    let stream = StreamName::new(input.text()?).ok()?;
    let controller = ControllerId::new(input.text()?).ok()?;
    let list = Some(input.text()?).filter(|text| !text.is_empty()).map(ListName::new).transpose().ok()?;
    let campaign = Some(input.text()?).filter(|text| !text.is_empty()).map(CampaignId::new).transpose().ok()?;
    let body_type = if input.flag()? { BodyType::EightBitMime } else { BodyType::SevenBit };
    let smtputf8 = input.flag()?;
    let received = Timestamp::from_millis(input.i64()?);
    let expires = Timestamp::from_millis(input.i64()?);
    let label = Label { stream, controller, list, campaign };
    let manifest = Manifest { reverse_path, label, body_type, smtputf8, received, expires };
    let (body, body_length) = match input.u8()? {
        BODY_INLINE => (StoredBody::Inline(Bytes::new()), input.u32()?),
        BODY_FILE => {
            let file = FileRecord { name: input.u64()?, length: input.u64()?, crc: input.u32()? };
            (StoredBody::File(file), 0)
        }
        _ => return None,
    };
    let (mut copies, mut lengths) = (Vec::new(), Vec::new());
    for _ in 0..input.u16()? {
        let (copy, length) = get_copy(input)?;
        copies.push(copy);
        lengths.push(length);
    }
    Some((BatchRecord { moved, manifest, body, copies }, lengths, body_length))
}

fn get_copy(input: &mut Input<'_>) -> Option<(CopyRecord, u32)> {
    let (id, due, attempts, header_length) = (input.u64()?, input.i64()?, input.u32()?, input.u32()?);
    let (mut recipients, mut pending) = (Vec::new(), RecipientSet::default());
    for index in 0..input.u16()? {
        if input.flag()? {
            pending.insert(index);
        }
        recipients.push(Recipient { mailbox: Mailbox::parse(input.text()?).ok()? });
    }
    Some((CopyRecord { id, due, attempts, recipients, pending, header: Bytes::new() }, header_length))
}

/// Reads fields one after the other; `None` behind the end.
struct Input<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::from(self.u16()?);
        std::str::from_utf8(self.take(length)?).ok()
    }

    fn slice(&mut self, length: u32) -> Option<Bytes> {
        let start = self.at;
        self.take(usize::try_from(length).ok()?)?;
        Some(self.bytes.slice(start..self.at))
    }
}
