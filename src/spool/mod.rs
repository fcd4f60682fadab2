//! The durable queue.
//!
//! **Promise:** once [`Spool::commit`] returned, its mail is on disk, file and directory fsynced (promise P1), and it is
//! leased to one worker at a time until every recipient has been settled. What was answered with an error is not sent
//! (promise P2). Whatever a file holds when it is read back, this room neither panics nor makes mail of it that was
//! not put in; damage is put aside and the rest flows. A settled recipient comes back only when the power failed within
//! [`SETTLE_SYNC_INTERVAL`]: delivered twice is better than lost. Memory and disk are bounded by the constants here.
//!
//! **Owns:** segments, frames, body files, recovery, the queue's order, leases, and the safe copy of audit notes.
//!
//! **Never knows:** policy, what a header field means, SMTP, tokens, how mail is delivered.
//!
//! **Standards:** RFC 5321 section 6.1 (a 250 after the final dot is a promise), section 4.2.5 (mail answered 4yz or 5yz
//! must not be delivered), section 4.5.4 (queueing). The format on disk is `docs/reference/spool-format.md`.
//!
//! ```text
//!          commit ─▶ queued ─ lease ─▶ leased ─ settle: all recipients final ─▶ gone
//!                      ▲                 │
//!                      ├── deferred ─────┤
//!                      └── lease dropped ┘
//! ```

mod appender;
mod batch;
mod body;
mod disk;
mod doors;
mod error;
#[cfg(test)]
mod faults;
mod frame;
mod handle;
mod inbox;
mod index;
mod job;
mod labels;
mod lease;
mod notes;
mod quarantine;
mod queue;
mod ready;
mod recipients;
mod reclaim;
mod record;
mod recovery;
mod segment;
mod settings;
#[cfg(test)]
mod tests;
mod waiting;

pub use appender::{AUDIT_SYNC_INTERVAL, SETTLE_SYNC_INTERVAL};
pub use batch::{Batch, Body, BodyFile, Committed, Manifest};
pub use body::BodyWriter;
#[cfg(test)]
pub(crate) use disk::Operation;
pub(crate) use disk::{Disk, DiskFile};
pub use doors::Spool;
pub use error::SpoolError;
#[cfg(test)]
pub(crate) use faults::{Fault, Faults};
pub use frame::FORMAT_VERSION;
pub use labels::Labels;
pub use lease::{Entry, LEASE_RETURN_DELAY, Lease, RecipientIndex, Settlement, Settlements};
pub use notes::{Discard, NoteSink};
pub use quarantine::Quarantined;
pub use queue::{Changed, Health, PendingCopy, Shown, Stats};
pub use ready::{Class, Sorter, Turns};
pub use recovery::Recovered;
pub use settings::{
    BODY_MEMORY_MAX, CACHE_MAX, COMMIT_CHARGE_MIN, DEAD_MIN, FRAME_MAX, GROUP_OCTETS_MAX, MIN_FREE, NOTES_OCTETS_MAX,
    PENDING_MAX, QUEUE_OCTETS_MAX, SEGMENT_MAX, Settings,
};
pub use waiting::DUE_AHEAD_MAX;
