//! Writing a payload.

use bytes::Bytes;

use super::{
    BATCH_FRESH, BATCH_MOVED, BATCH_NONE, BODY_FILE, BODY_INLINE, BOUNCED, DEFERRED, DELIVERED, EXPIRED, HELD,
    NOTIFY_DELAY, NOTIFY_FAILURE, NOTIFY_NEVER, NOTIFY_SUCCESS, RELEASED, RET_FULL, RET_HEADERS, RET_UNSAID,
    SettleRecord, StoredBody, WITHDRAWN,
};
use crate::mail::notification::Occasions;
use crate::mail::{BodyType, CampaignId, EnvelopeId, ListName, Notify, OriginalRecipient, Recipient, Reporting, Ret};
use crate::spool::batch::Manifest;
use crate::spool::lease::Settlement;
use crate::spool::recipients::RecipientSet;

/// What a copy is written from, without owning it.
#[derive(Debug)]
pub(in crate::spool) struct CopyView<'a> {
    pub(in crate::spool) id: u64,
    pub(in crate::spool) due: i64,
    pub(in crate::spool) attempts: u32,
    pub(in crate::spool) recipients: &'a [Recipient],
    pub(in crate::spool) pending: &'a RecipientSet,
    pub(in crate::spool) header: &'a Bytes,
}

/// What a batch is written from, without owning it.
#[derive(Debug)]
pub(in crate::spool) struct BatchView<'a> {
    pub(in crate::spool) moved: bool,
    pub(in crate::spool) manifest: &'a Manifest,
    pub(in crate::spool) body: &'a StoredBody,
    pub(in crate::spool) copies: Vec<CopyView<'a>>,
}

/// Writes the leading part of a payload (everything but header sections and body) behind what `out` holds.
/// `None` when a count or length does not fit its field.
pub(in crate::spool) fn encode_lead(
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
            Settlement::Held => (DEFERRED, HELD),
            Settlement::Released => (DEFERRED, RELEASED),
        };
        out.extend_from_slice(&index.to_le_bytes());
        out.push(code);
        out.extend_from_slice(&until.to_le_bytes());
    }
    Some(())
}

fn put_batch(out: &mut Vec<u8>, batch: &BatchView<'_>) -> Option<()> {
    out.push(if batch.moved { BATCH_MOVED } else { BATCH_FRESH });
    let Manifest { reverse_path, label, body_type, smtputf8, reporting, received, expires } = batch.manifest;
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
    put_reporting(out, reporting)?;
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
        put_recipient(out, recipient)?;
    }
    Some(())
}

fn put_reporting(out: &mut Vec<u8>, reporting: &Reporting) -> Option<()> {
    out.push(match reporting.ret {
        None => RET_UNSAID,
        Some(Ret::Full) => RET_FULL,
        Some(Ret::Headers) => RET_HEADERS,
    });
    put_text(out, reporting.envelope_id.as_ref().map_or("", EnvelopeId::as_str))
}

fn put_recipient(out: &mut Vec<u8>, recipient: &Recipient) -> Option<()> {
    let Recipient { mailbox, notify, original } = recipient;
    put_text(out, mailbox.as_str())?;
    out.push(match notify {
        Notify::Unsaid => 0,
        Notify::Never => NOTIFY_NEVER,
        Notify::On(Occasions { success, failure, delay }) => {
            u8::from(*success) * NOTIFY_SUCCESS + u8::from(*failure) * NOTIFY_FAILURE + u8::from(*delay) * NOTIFY_DELAY
        }
    });
    put_text(out, original.as_ref().map_or("", OriginalRecipient::kind))?;
    match original {
        Some(original) => put_text(out, original.address()),
        None => Some(()),
    }
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) -> Option<()> {
    out.extend_from_slice(&u16::try_from(text.len()).ok()?.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    Some(())
}
