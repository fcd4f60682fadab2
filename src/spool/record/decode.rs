//! Reading a payload back, trusting nothing in it.

use bytes::Bytes;

use super::{
    BATCH_FRESH, BATCH_FRESH_1, BATCH_MOVED, BATCH_MOVED_1, BATCH_NONE, BODY_FILE, BODY_INLINE, BOUNCED, BatchRecord,
    CopyRecord, DEFERRED, DELIVERED, EXPIRED, FileRecord, HELD, NOTIFY_DELAY, NOTIFY_FAILURE, NOTIFY_NEVER,
    NOTIFY_SUCCESS, RELEASED, RET_FULL, RET_HEADERS, RET_UNSAID, SettleRecord, StoredBody, Transaction, WITHDRAWN,
};
use crate::mail::notification::Occasions;
use crate::mail::{
    BodyType, CampaignId, ControllerId, EnvelopeId, Label, ListName, Mailbox, Notify, OriginalRecipient, Recipient,
    Reporting, Ret, ReversePath, StreamName,
};
use crate::spool::batch::Manifest;
use crate::spool::lease::Settlement;
use crate::spool::recipients::RecipientSet;
use crate::time::Timestamp;

/// Reads a payload whose checksum was right. Header sections and body are slices of `payload`, not copies.
/// `None` when anything in it is not what this room writes.
pub(in crate::spool) fn decode(payload: &Bytes) -> Option<Transaction> {
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
        BATCH_FRESH_1 => Some(get_batch(&mut input, Layout::Version1, false)?),
        BATCH_MOVED_1 => Some(get_batch(&mut input, Layout::Version1, true)?),
        BATCH_FRESH => Some(get_batch(&mut input, Layout::Present, false)?),
        BATCH_MOVED => Some(get_batch(&mut input, Layout::Present, true)?),
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
            DEFERRED if until == HELD => Settlement::Held,
            DEFERRED if until == RELEASED => Settlement::Released,
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

/// How the fields of a batch lie.
#[derive(Clone, Copy)]
enum Layout {
    /// Without what RFC 3461 adds.
    Version1,
    /// As they are written now.
    Present,
}

fn get_batch(input: &mut Input<'_>, layout: Layout, moved: bool) -> Option<(BatchRecord, Vec<u32>, u32)> {
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
    let reporting = match layout {
        Layout::Version1 => Reporting::default(),
        Layout::Present => get_reporting(input)?,
    };
    let received = Timestamp::from_millis(input.i64()?);
    let expires = Timestamp::from_millis(input.i64()?);
    let label = Label { stream, controller, list, campaign };
    let manifest = Manifest { reverse_path, label, body_type, smtputf8, reporting, received, expires };
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
        let (copy, length) = get_copy(input, layout)?;
        copies.push(copy);
        lengths.push(length);
    }
    Some((BatchRecord { moved, manifest, body, copies }, lengths, body_length))
}

fn get_copy(input: &mut Input<'_>, layout: Layout) -> Option<(CopyRecord, u32)> {
    let (id, due, attempts, header_length) = (input.u64()?, input.i64()?, input.u32()?, input.u32()?);
    let (mut recipients, mut pending) = (Vec::new(), RecipientSet::default());
    for index in 0..input.u16()? {
        if input.flag()? {
            pending.insert(index);
        }
        recipients.push(get_recipient(input, layout)?);
    }
    Some((CopyRecord { id, due, attempts, recipients, pending, header: Bytes::new() }, header_length))
}

fn get_reporting(input: &mut Input<'_>) -> Option<Reporting> {
    let ret = match input.u8()? {
        RET_UNSAID => None,
        RET_FULL => Some(Ret::Full),
        RET_HEADERS => Some(Ret::Headers),
        _ => return None,
    };
    let envelope_id = Some(input.text()?).filter(|text| !text.is_empty()).map(EnvelopeId::new).transpose().ok()?;
    Some(Reporting { ret, envelope_id })
}

fn get_notify(input: &mut Input<'_>) -> Option<Notify> {
    let octet = input.u8()?;
    let is_on = |bit| octet & bit != 0;
    match octet {
        0 => Some(Notify::Unsaid),
        NOTIFY_NEVER => Some(Notify::Never),
        _ if octet > NOTIFY_SUCCESS + NOTIFY_FAILURE + NOTIFY_DELAY => None,
        _ => Some(Notify::On(Occasions {
            success: is_on(NOTIFY_SUCCESS),
            failure: is_on(NOTIFY_FAILURE),
            delay: is_on(NOTIFY_DELAY),
        })),
    }
}

fn get_recipient(input: &mut Input<'_>, layout: Layout) -> Option<Recipient> {
    let mut recipient = Recipient::new(Mailbox::parse(input.text()?).ok()?);
    match layout {
        Layout::Version1 => {}
        Layout::Present => {
            recipient.notify = get_notify(input)?;
            let kind = input.text()?;
            if !kind.is_empty() {
                recipient.original = Some(OriginalRecipient::new(kind, input.text()?).ok()?);
            }
        }
    }
    Some(recipient)
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
