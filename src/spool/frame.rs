//! Segments and frames as they lie on disk; `docs/reference/spool-format.md` has the tables.
//!
//! A segment begins with its header, twice, so that one damaged sector does not hide the whole file. The header carries
//! a random salt that goes into the checksum of every frame header: a sender cannot hide a frame in a message that
//! would be taken for ours when the frame around it is damaged.

use std::ops::Range;

use super::settings::FRAME_MAX;

/// The version of the format that is written; a higher one in a segment header is refused without touching anything.
pub const FORMAT_VERSION: u16 = 2;
/// First octets of a segment. They, the version and the checksum keep their places in every future version.
const SEGMENT_MAGIC: [u8; 8] = *b"CONSPOOL";
/// One copy of the segment header.
const HEADER_COPY: usize = 48;
/// Both copies.
pub(super) const SEGMENT_HEADER: usize = 2 * HEADER_COPY;
/// First octets of a frame.
const FRAME_MAGIC: [u8; 4] = *b"cFrm";
/// Magic, kind, three reserved octets, payload length, sequence number, payload checksum, header checksum.
pub(super) const FRAME_HEADER: usize = 28;
/// End mark and the low half of the sequence number.
pub(super) const FRAME_TRAILER: usize = 8;
/// Last octets of a frame, before the repeated sequence number.
const FRAME_END: [u8; 4] = *b"mEnd";
/// The only kind of frame: one transaction.
const KIND_TRANSACTION: u8 = 1;

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// Order among the segments; also in the file name.
    pub(super) number: u64,
    /// Goes into the checksum of each frame header.
    pub(super) salt: u64,
    /// No frame before this segment has this sequence number or a higher one.
    pub(super) next_seq: u64,
    /// The highest queue id given out before this segment, as far as the spool knew.
    pub(super) last_id: u64,
}

/// Why a segment header was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderFault {
    /// Written by a later version of the program.
    Newer(u16),
    /// Neither copy is whole.
    Damaged,
}

impl SegmentHeader {
    /// Both copies.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(SEGMENT_HEADER);
        copy.extend_from_slice(&SEGMENT_MAGIC);
        copy.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        copy.extend_from_slice(&[0; 2]);
        for word in [self.number, self.salt, self.next_seq, self.last_id] {
            copy.extend_from_slice(&word.to_le_bytes());
        }
        copy.extend_from_slice(&crc32fast::hash(&copy).to_le_bytes());
        copy.extend_from_within(..);
        copy
    }

    /// Reads whichever copy is whole.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let first = Self::decode_copy(bytes.get(..HEADER_COPY).unwrap_or_default());
        match first {
            Err(HeaderFault::Damaged) => Self::decode_copy(bytes.get(HEADER_COPY..SEGMENT_HEADER).unwrap_or_default()),
            known => known,
        }
    }

    fn decode_copy(copy: &[u8]) -> Result<Self, HeaderFault> {
        let (body, crc) = copy.split_at_checked(HEADER_COPY - 4).ok_or(HeaderFault::Damaged)?;
        let whole = body.starts_with(&SEGMENT_MAGIC) && crc == crc32fast::hash(body).to_le_bytes();
        if !whole {
            return Err(HeaderFault::Damaged);
        }
        let version = body.get(8..10).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes);
        if version > FORMAT_VERSION {
            return Err(HeaderFault::Newer(version));
        }
        let word = |at: usize| -> Result<u64, HeaderFault> {
            let bytes = body.get(at..at + 8).and_then(|b| b.try_into().ok()).ok_or(HeaderFault::Damaged)?;
            Ok(u64::from_le_bytes(bytes))
        };
        Ok(Self { number: word(12)?, salt: word(20)?, next_seq: word(28)?, last_id: word(36)? })
    }
}

/// Which segment a frame belongs to: part of its header's checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) number: u64,
    pub(super) salt: u64,
}

/// The header of a frame whose payload has `length` octets with checksum `crc`.
pub(super) fn frame_header(home: Home, seq: u64, length: u32, crc: u32) -> [u8; FRAME_HEADER] {
    let mut head = [0; FRAME_HEADER];
    let fields = FRAME_MAGIC
        .into_iter()
        .chain([KIND_TRANSACTION, 0, 0, 0])
        .chain(length.to_le_bytes())
        .chain(seq.to_le_bytes())
        .chain(crc.to_le_bytes());
    for (place, octet) in head.iter_mut().zip(fields) {
        *place = octet;
    }
    let check = header_check(home, head.get(..FRAME_HEADER - 4).unwrap_or_default()).to_le_bytes();
    for (place, octet) in head.iter_mut().skip(FRAME_HEADER - 4).zip(check) {
        *place = octet;
    }
    head
}

/// What follows the payload of the frame `seq`.
pub(super) fn frame_trailer(seq: u64) -> [u8; FRAME_TRAILER] {
    let [e0, e1, e2, e3] = FRAME_END;
    let [s0, s1, s2, s3, ..] = seq.to_le_bytes();
    [e0, e1, e2, e3, s0, s1, s2, s3]
}

fn header_check(home: Home, fields: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&home.salt.to_le_bytes());
    crc.update(&home.number.to_le_bytes());
    crc.update(fields);
    crc.finalize()
}

/// A whole and sound frame within the octets that were looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) start: usize,
    pub(super) payload: Range<usize>,
    pub(super) end: usize,
    pub(super) seq: u64,
}

/// Why there is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameFault {
    /// It goes on behind the end of the file: what an interrupted write leaves.
    Unfinished,
    /// Something else; the words go into the quarantine's reason.
    Damaged(&'static str),
}

/// Reads the frame at `start`; nothing is allocated, and lengths are believed only after their checksum.
pub(super) fn frame_at(bytes: &[u8], start: usize, home: Home) -> Result<Frame, FrameFault> {
    let head = bytes.get(start..).and_then(|rest| rest.get(..FRAME_HEADER)).ok_or(FrameFault::Unfinished)?;
    let (fields, check) = head.split_at_checked(FRAME_HEADER - 4).ok_or(FrameFault::Unfinished)?;
    if !head.starts_with(&FRAME_MAGIC) || check != header_check(home, fields).to_le_bytes() {
        return Err(FrameFault::Damaged("no sound frame header"));
    }
    if head.get(4..8) != Some(&[KIND_TRANSACTION, 0, 0, 0]) {
        return Err(FrameFault::Damaged("unknown kind of frame"));
    }
    let word = |at: usize| head.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
    let (length, crc) = (usize::try_from(word(8)).unwrap_or(usize::MAX), word(20));
    let seq = u64::from(word(12)) | (u64::from(word(16)) << 32);
    if length > FRAME_MAX {
        return Err(FrameFault::Damaged("longer than a frame may be"));
    }
    let payload = start + FRAME_HEADER..start + FRAME_HEADER + length;
    let end = payload.end + FRAME_TRAILER;
    let trailer = bytes.get(payload.end..end).ok_or(FrameFault::Unfinished)?;
    if trailer != frame_trailer(seq) {
        return Err(FrameFault::Damaged("no end mark"));
    }
    match bytes.get(payload.clone()) {
        Some(content) if crc32fast::hash(content) == crc => Ok(Frame { start, payload, end, seq }),
        Some(_) => Err(FrameFault::Damaged("checksum of the content")),
        None => Err(FrameFault::Unfinished),
    }
}

/// A stretch of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A sound frame.
    Frame(Frame),
    /// Octets between sound frames that are none.
    Damage {
        /// Where.
        range: Range<usize>,
        /// Why the frame at its beginning was not sound.
        fault: FrameFault,
    },
}

/// Cuts the octets of a segment, header included, into frames and damage. Behind damage it goes on at the next sound
/// frame of the same segment.
pub(super) fn pieces(bytes: &[u8], home: Home) -> Vec<Piece> {
    let mut found = Vec::new();
    let mut at = SEGMENT_HEADER.min(bytes.len());
    while at < bytes.len() {
        match frame_at(bytes, at, home) {
            Ok(frame) => {
                at = frame.end;
                found.push(Piece::Frame(frame));
            }
            Err(fault) => {
                let next = next_frame(bytes, at + 1, home).unwrap_or(bytes.len());
                let blank = bytes.get(at..next).is_some_and(|rest| rest.iter().all(|octet| *octet == 0));
                // File systems leave zeros where a length reached the disk before the content did.
                let fault = if blank { FrameFault::Unfinished } else { fault };
                found.push(Piece::Damage { range: at..next, fault });
                at = next;
            }
        }
    }
    found
}

fn next_frame(bytes: &[u8], from: usize, home: Home) -> Option<usize> {
    let rest = bytes.get(from..)?;
    memchr::memmem::find_iter(rest, &FRAME_MAGIC).map(|at| from + at).find(|at| frame_at(bytes, *at, home).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: Home = Home { number: 7, salt: 0x1234_5678_9abc_def0 };

    fn frame(seq: u64, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap();
        let mut out = frame_header(HOME, seq, length, crc32fast::hash(payload)).to_vec();
        out.extend_from_slice(payload);
        out.extend_from_slice(&frame_trailer(seq));
        out
    }

    fn segment(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut out = SegmentHeader { number: HOME.number, salt: HOME.salt, next_seq: 1, last_id: 2 }.encode();
        for frame in frames {
            out.extend_from_slice(frame);
        }
        out
    }

    fn seqs(bytes: &[u8]) -> Vec<u64> {
        let whole = pieces(bytes, HOME).into_iter();
        whole.filter_map(|piece| if let Piece::Frame(frame) = piece { Some(frame.seq) } else { None }).collect()
    }

    #[test]
    fn the_segment_header_survives_damage_to_either_copy_but_not_to_both() {
        let sound = SegmentHeader { number: 9, salt: 8, next_seq: 7, last_id: u64::MAX };
        for at in 0..SEGMENT_HEADER {
            let mut bytes = sound.encode();
            bytes[at] ^= 0x40;
            assert_eq!(SegmentHeader::decode(&bytes), Ok(sound), "octet {at}");
            bytes[(at + HEADER_COPY) % SEGMENT_HEADER] ^= 0x40;
            assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderFault::Damaged), "octets {at}");
        }
    }

    #[test]
    fn a_later_version_is_named() {
        let mut bytes = SegmentHeader { number: 9, salt: 8, next_seq: 7, last_id: 0 }.encode();
        bytes[8] = 3;
        let crc = crc32fast::hash(&bytes[..HEADER_COPY - 4]).to_le_bytes();
        bytes[HEADER_COPY - 4..HEADER_COPY].copy_from_slice(&crc);
        assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderFault::Newer(3)));
    }

    #[test]
    fn any_flipped_octet_costs_at_most_the_frame_it_is_in() {
        let frames = [frame(1, b"one"), frame(2, b"two cFrm two"), frame(5, b"")];
        let bytes = segment(&frames);
        assert_eq!(seqs(&bytes), [1, 2, 5]);
        let second = SEGMENT_HEADER + frames[0].len();
        let third = second + frames[1].len();
        for at in SEGMENT_HEADER..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x01;
            let expected: &[u64] = if at < second {
                &[2, 5]
            } else if at < third {
                &[1, 5]
            } else {
                &[1, 2]
            };
            assert_eq!(seqs(&damaged), expected, "octet {at}");
        }
    }

    #[test]
    fn every_cut_leaves_the_frames_before_it_and_an_unfinished_end() {
        let frames = [frame(1, b"one"), frame(2, b"two")];
        let bytes = segment(&frames);
        let second = SEGMENT_HEADER + frames[0].len();
        for cut in SEGMENT_HEADER..bytes.len() {
            let found = pieces(&bytes[..cut], HOME);
            assert_eq!(seqs(&bytes[..cut]).len(), usize::from(cut >= second), "cut {cut}");
            if cut != SEGMENT_HEADER && cut != second {
                assert!(
                    matches!(found.last(), Some(Piece::Damage { fault: FrameFault::Unfinished, .. })),
                    "cut {cut}: {found:?}"
                );
            }
        }
    }

    #[test]
    fn a_frame_hidden_in_a_message_is_not_taken_for_ours() {
        let other = Home { salt: HOME.salt ^ 1, ..HOME };
        let mut hidden = frame_header(other, 9, 2, crc32fast::hash(b"xx")).to_vec();
        hidden.extend_from_slice(b"xx");
        hidden.extend_from_slice(&frame_trailer(9));
        let outer = frame(1, &hidden);
        let mut bytes = segment(&[outer, frame(2, b"two")]);
        bytes[SEGMENT_HEADER] ^= 1;
        assert_eq!(seqs(&bytes), [2]);
    }

    #[test]
    fn zeros_behind_the_last_frame_are_an_unfinished_write() {
        let mut bytes = segment(&[frame(1, b"one")]);
        bytes.extend_from_slice(&[0; 100]);
        let found = pieces(&bytes, HOME);
        assert!(matches!(found.last(), Some(Piece::Damage { fault: FrameFault::Unfinished, .. })), "{found:?}");
    }

    #[test]
    fn lengths_are_bounded_at_and_past_the_limit() {
        let limit = u32::try_from(FRAME_MAX).unwrap();
        let at = frame_header(HOME, 1, limit, 0);
        assert_eq!(frame_at(&at, 0, HOME), Err(FrameFault::Unfinished));
        let past = frame_header(HOME, 1, limit + 1, 0);
        assert_eq!(frame_at(&past, 0, HOME), Err(FrameFault::Damaged("longer than a frame may be")));
    }
}
