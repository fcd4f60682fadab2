//! One transaction on its way to the appender: octets ready to be written, and what to do once they are.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::batch::{Batch, Body, Manifest, NewCopy};
use super::error::SpoolError;
use super::frame::{FRAME_HEADER, FRAME_TRAILER, Home, frame_header};
use super::recipients::RecipientSet;
use super::record::{BatchView, CopyView, FileRecord, SettleRecord, StoredBody, encode_lead};

/// Mail that becomes known to the index when the job is durable.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) manifest: Arc<Manifest>,
    pub(super) body: Body,
    pub(super) file: Option<FileRecord>,
    pub(super) copies: Vec<NewCopy>,
}

/// Copies whose mail was written again elsewhere.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) ids: Vec<u64>,
    pub(super) file: Option<FileRecord>,
}

/// What a job is about. Body and header octets are shared, never copied.
#[derive(Debug)]
pub(super) struct Job {
    lead: Vec<u8>,
    tail: Vec<Bytes>,
    length: u32,
    crc: u32,
    pub(super) settlement: Option<SettleRecord>,
    pub(super) notes: Vec<Bytes>,
    pub(super) arrival: Option<Arrival>,
    pub(super) moved: Option<Move>,
    /// Whether the answer waits for the fsync.
    pub(super) durable: bool,
    /// Permits to give back to the queue.
    pub(super) charge: usize,
    pub(super) reply: Option<oneshot::Sender<Result<(), SpoolError>>>,
}

impl Job {
    /// Settles, notes, and adds `batch`, in one frame.
    pub(super) fn new(
        settlement: Option<SettleRecord>,
        mut notes: Vec<Bytes>,
        batch: Option<(Batch, Option<FileRecord>)>,
        frame_max: usize,
    ) -> Result<Self, SpoolError> {
        let arrival = batch.map(|(batch, file)| {
            let Batch { manifest, body, copies, notes: more } = batch;
            notes.extend(more);
            Arrival { manifest: Arc::new(manifest), body, file, copies }
        });
        let arrival = arrival.filter(|arrival| !arrival.copies.is_empty() || arrival.file.is_some());
        let body = arrival.as_ref().map(|arrival| match (&arrival.body, arrival.file) {
            (_, Some(file)) => StoredBody::File(file),
            (Body::Memory(bytes), None) => StoredBody::Inline(bytes.clone()),
            (Body::File(_), None) => StoredBody::Inline(Bytes::new()),
        });
        let full: Vec<RecipientSet> = arrival
            .iter()
            .flat_map(|arrival| &arrival.copies)
            .map(|copy| RecipientSet::all(copy.recipients.len()))
            .collect();
        let view = arrival.as_ref().zip(body.as_ref()).map(|(arrival, body)| BatchView {
            moved: false,
            manifest: &arrival.manifest,
            body,
            copies: arrival.copies.iter().zip(&full).map(|(copy, pending)| fresh(arrival, copy, pending)).collect(),
        });
        let (lead, tail, length, crc) = assemble(settlement.as_ref(), &notes, view.as_ref(), frame_max)?;
        let durable = arrival.is_some();
        Ok(Self { lead, tail, length, crc, settlement, notes, arrival, moved: None, durable, charge: 0, reply: None })
    }

    /// Writes the mail of `view` again, for the copies that it names.
    pub(super) fn moving(view: &BatchView<'_>, moved: Move, frame_max: usize) -> Result<Self, SpoolError> {
        let (lead, tail, length, crc) = assemble(None, &[], Some(view), frame_max)?;
        Ok(Self {
            lead,
            tail,
            length,
            crc,
            settlement: None,
            notes: Vec::new(),
            arrival: None,
            moved: Some(moved),
            durable: true,
            charge: 0,
            reply: None,
        })
    }

    /// Octets of the whole frame.
    pub(super) fn frame_length(&self) -> u64 {
        let payload = u64::from(self.length);
        let around = u64::try_from(FRAME_HEADER + FRAME_TRAILER).unwrap_or(0);
        payload + around
    }

    /// How many sequence numbers the frame takes: one for each note, at least one.
    pub(super) fn numbers(&self) -> u64 {
        u64::try_from(self.notes.len()).unwrap_or(u64::MAX).max(1)
    }

    /// Writes the frame header in its reserved place.
    pub(super) fn seal(&mut self, home: Home, seq: u64) {
        let head = frame_header(home, seq, self.length, self.crc);
        if let Some(place) = self.lead.get_mut(..FRAME_HEADER) {
            place.copy_from_slice(&head);
        }
    }

    /// The sealed frame.
    pub(super) fn slices<'a>(&'a self, trailer: &'a [u8], out: &mut Vec<IoSlice<'a>>) {
        out.push(IoSlice::new(&self.lead));
        out.extend(self.tail.iter().filter(|bytes| !bytes.is_empty()).map(|bytes| IoSlice::new(bytes)));
        out.push(IoSlice::new(trailer));
    }

    /// Whether the job only brings mail or proves that writing works: refused for want of space, the caller still
    /// has what it needs to try again. A settlement is not: what it says has happened.
    pub(super) const fn may_be_refused(&self) -> bool {
        self.settlement.is_none() && self.durable
    }

    /// Tells the caller.
    pub(super) fn answer(&mut self, result: Result<(), SpoolError>) {
        if let Some(reply) = self.reply.take() {
            // A caller that went away does not change what is on disk.
            let _gone = reply.send(result);
        }
    }
}

fn fresh<'a>(arrival: &Arrival, copy: &'a NewCopy, pending: &'a RecipientSet) -> CopyView<'a> {
    CopyView {
        id: copy.id.as_u64(),
        due: arrival.manifest.received.as_millis(),
        attempts: 0,
        recipients: &copy.recipients,
        pending,
        header: &copy.header,
    }
}

type Assembled = (Vec<u8>, Vec<Bytes>, u32, u32);

fn assemble(
    settlement: Option<&SettleRecord>,
    notes: &[Bytes],
    view: Option<&BatchView<'_>>,
    frame_max: usize,
) -> Result<Assembled, SpoolError> {
    const TOO_LARGE: SpoolError = SpoolError::Unfit("more copies, recipients or octets than one frame holds");
    let guess: usize = notes.iter().map(Bytes::len).sum();
    let mut lead = Vec::with_capacity(FRAME_HEADER + 256 + guess);
    lead.resize(FRAME_HEADER, 0);
    encode_lead(&mut lead, settlement, notes, view).ok_or(TOO_LARGE)?;
    let mut tail: Vec<Bytes> = Vec::new();
    if let Some(view) = view {
        tail.extend(view.copies.iter().map(|copy| copy.header.clone()));
        if let StoredBody::Inline(body) = view.body {
            tail.push(body.clone());
        }
    }
    let length = lead.len() - FRAME_HEADER + tail.iter().map(Bytes::len).sum::<usize>();
    if length > frame_max {
        return Err(TOO_LARGE);
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(lead.get(FRAME_HEADER..).unwrap_or_default());
    for bytes in &tail {
        crc.update(bytes);
    }
    Ok((lead, tail, u32::try_from(length).map_err(|_| TOO_LARGE)?, crc.finalize()))
}
