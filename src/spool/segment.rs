//! Making segments and reading frames back from them.

use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::Bytes;

use super::disk::Disk;
use super::frame::{Home, SegmentHeader, frame_at};
use super::index::{Place, Segment};
use super::record::{self, BatchRecord};

const PREFIX: &str = "seg-";
const SUFFIX: &str = ".log";

/// The file name of segment `number`.
pub(super) fn segment_name(number: u64) -> String {
    format!("{PREFIX}{number:016x}{SUFFIX}")
}

/// The number in the file name of a segment.
pub(super) fn segment_number(name: &str) -> Option<u64> {
    hex_number(name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?)
}

/// Reads exactly sixteen lower-case hexadecimal digits.
pub(super) fn hex_number(digits: &str) -> Option<u64> {
    let plain = digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if plain { u64::from_str_radix(digits, 16).ok() } else { None }
}

/// A number that nobody can foresee.
pub(super) fn random() -> io::Result<u64> {
    let mut octets = [0; 8];
    aws_lc_rs::rand::fill(&mut octets).map_err(|_| io::Error::other("no randomness"))?;
    Ok(u64::from_le_bytes(octets))
}

impl Segment {
    /// Makes an empty segment; its header and its name are on disk when this returns.
    pub(super) fn create(disk: &Disk, header: &SegmentHeader) -> io::Result<Arc<Self>> {
        let name = segment_name(header.number);
        let file = disk.create(&name)?;
        let written =
            file.append(&mut [IoSlice::new(&header.encode())]).and_then(|()| file.sync()).and_then(|()| disk.sync());
        if let Err(error) = written {
            // An unfinished segment holds nothing; recovery would remove it as well.
            let _kept = disk.remove(&name);
            return Err(error);
        }
        let home = Home { number: header.number, salt: header.salt };
        Ok(Arc::new(Self { home, name, file }))
    }

    /// Reads the batch of the frame at `place` with all its checks; the words of the error go into a log line.
    pub(super) fn read_batch(&self, place: Place) -> Result<BatchRecord, String> {
        let length = usize::try_from(place.length).map_err(|_| "frame too long".to_owned())?;
        let bytes = self.file.read(place.offset, length).map_err(|error| error.to_string())?;
        let frame = frame_at(&bytes, 0, self.home).map_err(|fault| format!("{fault:?}"))?;
        let payload = Bytes::from(bytes).slice(frame.payload);
        let transaction = record::decode(&payload).ok_or_else(|| "the record does not parse".to_owned())?;
        transaction.batch.ok_or_else(|| "the frame holds no mail".to_owned())
    }
}
