//! Reading a spool back after whatever happened to it.
//!
//! Nothing is changed before every segment header has been looked at: a later format is refused untouched. Then the
//! segments are read in order. What an interrupted write left at the end of the last one was never acknowledged and is
//! cut off; other damage is copied into quarantine, and reading goes on behind it.

use std::sync::Arc;

use bytes::Bytes;

use super::body::{body_name, body_number};
use super::disk::{Disk, DiskFile};
use super::error::SpoolError;
use super::frame::{
    FORMAT_VERSION, FRAME_HEADER, FRAME_TRAILER, Frame, FrameFault, HeaderFault, Home, Piece, SEGMENT_HEADER,
    SegmentHeader, pieces,
};
use super::index::{Index, Place, Segment, Waiting};
use super::notes::NoteSink;
use super::quarantine::{Quarantine, Quarantined};
use super::record::{self, BatchRecord, StoredBody, Transaction};
use super::segment::{segment_name, segment_number};
use super::settings::{FRAME_MAX, GROUP_OCTETS_MAX, SEGMENT_MAX};
use crate::time::Timestamp;

/// No segment is longer: a full one, and behind its last rotation check one group or one largest frame.
const SEGMENT_FILE_MAX: u64 = SEGMENT_MAX + (GROUP_OCTETS_MAX + FRAME_MAX + FRAME_HEADER + FRAME_TRAILER) as u64;

/// What was found when the spool was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Copies that wait.
    pub copies: u64,
    /// Recipients that wait.
    pub recipients: u64,
    /// Damage that was put aside; the rest flows.
    pub quarantined: Vec<Quarantined>,
    /// Octets of an interrupted write that were cut off; they had never been acknowledged.
    pub torn: u64,
    /// Body files that belonged to nothing and were removed.
    pub orphans: u64,
    /// The highest queue id known, so that new ones continue above it.
    pub last_id: u64,
}

/// A segment before it is read.
struct Found {
    name: String,
    file: DiskFile,
    length: u64,
    header: SegmentHeader,
}

/// State of a recovery.
pub(super) struct Recovery<'a> {
    disk: &'a Disk,
    quarantine: Quarantine,
    sink: &'a mut dyn NoteSink,
    now: Timestamp,
    pub(super) index: Index,
    pub(super) report: Recovered,
    pub(super) next_segment: u64,
    pub(super) next_seq: u64,
    /// The lowest sequence number that the next frame may have.
    expected: u64,
}

impl<'a> Recovery<'a> {
    /// Reads the directory; blocks on the disk.
    pub(super) fn run(
        disk: &'a Disk,
        sink: &'a mut dyn NoteSink,
        index: Index,
        now: Timestamp,
    ) -> Result<Self, SpoolError> {
        let unusable = |error: std::io::Error| SpoolError::unusable("reading the spool", &error);
        let names = disk.names().map_err(unusable)?;
        refuse_newer(disk, &names)?;
        let quarantine = Quarantine::open(disk).map_err(unusable)?;
        let next_seq = sink.last() + 1;
        let report = Recovered::default();
        let mut recovery = Self { disk, quarantine, sink, now, index, report, next_segment: 1, next_seq, expected: 0 };
        recovery.read_all(&names).map_err(unusable)?;
        recovery.check_bodies(&names).map_err(unusable)?;
        recovery.report.copies = u64::try_from(recovery.index.len()).unwrap_or(u64::MAX);
        recovery.report.recipients = recovery.index.sums().recipients;
        recovery.report.quarantined = std::mem::take(&mut recovery.quarantine.found);
        Ok(recovery)
    }

    fn read_all(&mut self, names: &[String]) -> std::io::Result<()> {
        let mut segments: Vec<Found> = Vec::new();
        for name in names {
            let Some(number) = segment_number(name) else { continue };
            self.next_segment = self.next_segment.max(number.saturating_add(1));
            segments.extend(self.look_at(name)?);
        }
        segments.sort_by_key(|found| found.header.number);
        self.sink.begin(segments.first().map_or(self.next_seq, |first| first.header.next_seq));
        let mut last_number = None;
        let count = segments.len();
        for (place, found) in segments.into_iter().enumerate() {
            let header = found.header;
            if last_number.replace(header.number) == Some(header.number) {
                self.quarantine.take(&found.name, found.length, "a second segment with the same number")?;
                continue;
            }
            self.next_segment = self.next_segment.max(header.number.saturating_add(1));
            self.next_seq = self.next_seq.max(header.next_seq);
            self.report.last_id = self.report.last_id.max(header.last_id);
            self.read(found, place + 1 == count)?;
        }
        Ok(())
    }

    /// Opens one segment; what cannot be one is put aside.
    fn look_at(&mut self, name: &str) -> std::io::Result<Option<Found>> {
        let Some(length) = self.disk.length(name)? else {
            self.quarantine.take(name, 0, "not a regular file")?;
            return Ok(None);
        };
        if length < u64::try_from(SEGMENT_HEADER).unwrap_or(0) {
            // A segment is made known only after its header is on disk: nothing in it was ever acknowledged.
            self.quarantine.take(name, length, "shorter than a segment header")?;
            return Ok(None);
        }
        if length > SEGMENT_FILE_MAX {
            self.quarantine.take(name, length, "longer than any segment")?;
            return Ok(None);
        }
        let file = self.disk.open_file(name)?;
        match SegmentHeader::decode(&file.read(0, SEGMENT_HEADER)?) {
            Ok(header) => Ok(Some(Found { name: name.to_owned(), file, length, header })),
            Err(HeaderFault::Damaged | HeaderFault::Newer(_)) => {
                self.quarantine.take(name, length, "no sound segment header")?;
                Ok(None)
            }
        }
    }

    fn read(&mut self, found: Found, is_last: bool) -> std::io::Result<()> {
        let Found { name, file, length, header } = found;
        let home = Home { number: header.number, salt: header.salt };
        let bytes = Bytes::from(file.read(0, usize::try_from(length).map_err(std::io::Error::other)?)?);
        let mut kept = bytes.len();
        let segment = Arc::new(Segment { home, name: name.clone(), file });
        self.index.add_segment(Arc::clone(&segment), length);
        for piece in pieces(&bytes, home) {
            match piece {
                Piece::Frame(frame) => {
                    if let Err(reason) = self.replay(&bytes, home, &frame) {
                        let octets = bytes.get(frame.start..frame.end).unwrap_or_default();
                        self.quarantine.keep(&name, frame.start, octets, reason)?;
                    }
                }
                Piece::Damage { range, fault } => {
                    let is_tail = is_last && range.end == bytes.len();
                    let octets = bytes.get(range.clone()).unwrap_or_default();
                    match fault {
                        FrameFault::Unfinished if is_tail => {}
                        FrameFault::Unfinished => {
                            self.quarantine.keep(&name, range.start, octets, "a frame is cut off")?;
                        }
                        FrameFault::Damaged(reason) => self.quarantine.keep(&name, range.start, octets, reason)?,
                    }
                    if is_tail {
                        kept = range.start;
                    }
                }
            }
        }
        if kept < bytes.len() {
            // Else it would look like damage in the middle of the spool once there is a later segment.
            segment.file.cut(u64::try_from(kept).map_err(std::io::Error::other)?)?;
            self.report.torn += u64::try_from(bytes.len() - kept).unwrap_or(u64::MAX);
        }
        if is_last {
            // A killed process may have left settlements in the page cache; files and segments that they made needless
            // are removed before the next fsync of mail.
            segment.file.sync()?;
        }
        Ok(())
    }

    fn replay(&mut self, bytes: &Bytes, home: Home, frame: &Frame) -> Result<(), &'static str> {
        if frame.seq < self.expected {
            return Err("its sequence number is not above those before it");
        }
        let payload = bytes.slice(frame.payload.clone());
        let transaction = record::decode(&payload).ok_or("the record does not parse")?;
        let Transaction { settlement, notes, batch } = transaction;
        let numbers = u64::try_from(notes.len()).unwrap_or(u64::MAX).max(1);
        self.expected = frame.seq.saturating_add(numbers);
        self.next_seq = self.next_seq.max(self.expected);
        let already = self.sink.last();
        for (seq, note) in (frame.seq..).zip(&notes) {
            if seq > already {
                self.sink.append(seq, note);
            }
        }
        if let Some(settlement) = settlement {
            self.report.last_id = self.report.last_id.max(settlement.id);
            self.index.settle(settlement.id, &settlement.outcomes, self.now);
        }
        if let Some(batch) = batch {
            let offset = u64::try_from(frame.start).unwrap_or(u64::MAX);
            let length = u64::try_from(frame.end - frame.start).unwrap_or(u64::MAX);
            self.arrive(frame.seq, Place { segment: home.number, offset, length }, batch);
        }
        Ok(())
    }

    fn arrive(&mut self, seq: u64, place: Place, batch: BatchRecord) {
        let file = match &batch.body {
            StoredBody::File(file) => Some(*file),
            StoredBody::Inline(_) => None,
        };
        self.index.add_batch(seq, place, file);
        for copy in batch.copies {
            self.report.last_id = self.report.last_id.max(copy.id);
            if copy.pending.is_empty() || (!batch.moved && self.index.contains(copy.id)) {
                continue;
            }
            let class = self.index.class(&batch.manifest, &copy.recipients);
            let waiting = Waiting::new(copy.due, copy.attempts, &batch.manifest, copy.pending, class);
            self.index.add_copy(seq, copy.id, waiting, self.now);
        }
        self.index.drop_if_unused(seq);
    }

    /// Puts mail aside whose body file is missing, and removes body files that no mail needs.
    fn check_bodies(&mut self, names: &[String]) -> std::io::Result<()> {
        for (seq, place, file) in self.index.file_batches() {
            let name = body_name(file.name);
            if self.disk.length(&name)? == Some(file.length) {
                continue;
            }
            let segment = segment_name(place.segment);
            let offset = usize::try_from(place.offset).unwrap_or(usize::MAX);
            let reason = format!("its body file {name} is missing or has another length");
            self.quarantine.keep(&segment, offset, reason.as_bytes(), &reason)?;
            self.index.ids_of(seq).into_iter().for_each(|id| self.index.set_aside(id));
        }
        let gone = self.index.take_gone_files();
        for name in names {
            let Some(number) = body_number(name) else { continue };
            if !self.index.needs_file(number) {
                self.disk.remove(name)?;
                self.report.orphans += u64::from(!gone.contains(&number));
            }
        }
        Ok(())
    }
}

/// Looks at every segment header before anything is changed.
fn refuse_newer(disk: &Disk, names: &[String]) -> Result<(), SpoolError> {
    for name in names.iter().filter(|name| segment_number(name).is_some()) {
        let Ok(file) = disk.open_file(name) else { continue };
        let length = file.length().unwrap_or(0).min(u64::try_from(SEGMENT_HEADER).unwrap_or(0));
        let head = file.read(0, usize::try_from(length).unwrap_or(0));
        if let Some(Err(HeaderFault::Newer(version))) = head.ok().map(|head| SegmentHeader::decode(&head)) {
            return Err(SpoolError::Unusable(format!(
                "{name} has format version {version}; this program reads up to version {FORMAT_VERSION}. \
                 Nothing was changed; start the version that wrote it"
            )));
        }
    }
    Ok(())
}
