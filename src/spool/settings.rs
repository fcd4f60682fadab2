//! What an operator may set, and the bounds that are ours.

use std::path::PathBuf;

use super::ready::Sorter;

/// Octets after which a segment is closed and the next one begun: large enough that creating files (two fsyncs) is
/// rare, small enough to be read into memory whole at recovery and to be given back soon after its last delivery.
pub const SEGMENT_MAX: u64 = 32 * 1024 * 1024;
/// Largest payload of one frame. A batch beyond it is refused as unfit: recovery reads a frame whole.
pub const FRAME_MAX: usize = 64 * 1024 * 1024;
/// Bodies above this belong in a file of their own ([`super::Spool::body_writer`]): they would fill the queue of
/// waiting commits and the cache, and be rewritten when a segment is cleared.
pub const BODY_MEMORY_MAX: usize = 256 * 1024;
/// Octets of freshly committed mail kept in memory for immediate delivery; beyond it a lease reads the segment.
pub const CACHE_MAX: usize = 64 * 1024 * 1024;
/// Octets that may wait for the appender; commits beyond it wait in line for room.
pub const QUEUE_OCTETS_MAX: usize = 64 * 1024 * 1024;
/// What the smallest commit is charged, so that [`QUEUE_OCTETS_MAX`] also bounds their number, to 16,384.
pub const COMMIT_CHARGE_MIN: usize = 4 * 1024;
/// Octets written and fsynced together at most: about ten milliseconds of a slow disk.
pub const GROUP_OCTETS_MAX: usize = 8 * 1024 * 1024;
/// Octets of notes without a batch that may wait for the appender. A flood of refusals beyond it is counted as lost
/// and said in the audit trail, because refusing must never wait for a disk.
pub const NOTES_OCTETS_MAX: usize = 8 * 1024 * 1024;
/// Dead octets (settled mail, settlements, notes) that are let lie before pinned segments are cleared by copying.
pub const DEAD_MIN: u64 = 64 * 1024 * 1024;
/// Copies that may be pending: an index of about half a gigabyte. Beyond it commits are answered `Full`.
pub const PENDING_MAX: usize = 2_000_000;
/// Free octets of the file system below which mail is refused while settlements still go through.
pub const MIN_FREE: u64 = 256 * 1024 * 1024;

/// How a spool is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Directory of the spool; created (0700) when absent, its parent must exist.
    pub directory: PathBuf,
    /// Free octets of the file system below which commits are answered [`super::SpoolError::Full`].
    pub min_free: u64,
    /// Copies that may be pending before commits are answered [`super::SpoolError::Full`].
    pub pending_max: usize,
    /// Which copies are fetched together.
    pub sorter: Sorter,
    pub(super) sizes: Sizes,
}

/// Sizes that only tests make smaller.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) segment_max: u64,
    pub(super) frame_max: usize,
    pub(super) cache_max: usize,
    pub(super) dead_min: u64,
}

impl Settings {
    /// A spool in `directory` with [`MIN_FREE`] and [`PENDING_MAX`], all copies of one class.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let sizes = Sizes { segment_max: SEGMENT_MAX, frame_max: FRAME_MAX, cache_max: CACHE_MAX, dead_min: DEAD_MIN };
        Self {
            directory: directory.into(),
            min_free: MIN_FREE,
            pending_max: PENDING_MAX,
            sorter: Sorter::default(),
            sizes,
        }
    }
}
