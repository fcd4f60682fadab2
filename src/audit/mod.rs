//! The audit trail: a projection of the notes that the spool holds durably.
//!
//! **Promise:** every note of a committed batch or settlement is in the trail exactly once, in the order of the spool's
//! sequence numbers, one JSON object for each line with that number as its first field, `seq`. A crash may leave
//! the trail behind the spool, never ahead of what happened; the next start cuts a torn last line and the spool hands over
//! what is missing. The spool gives up its own copy of a note only when the trail has fsynced it.
//!
//! **Owns:** the files `audit-<seq>.ndjson` in its directory: append-only, rotated at [`FILE_MAX`], named for the lowest
//! sequence number that they may hold. Old files are the operator's to archive or remove, oldest first; the newest
//! one with a line in it must stay, because it says how far the trail has come.
//!
//! **Never knows:** what a note means, policy, configuration, SMTP.
//!
//! **Standards:** RFC 8259 (JSON), one object per line.

mod line;
#[cfg(test)]
mod tests;
mod trail;

pub use trail::{BACKLOG_MAX, FILE_MAX, Trail, TrailError, file_number};
