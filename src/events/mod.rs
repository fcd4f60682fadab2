//! The stream of everything that was decided or changed, for whoever reads it from outside.
//!
//! **Promise:** every event of the audit trail in its order, each exactly once behind a position; a reader that comes back
//! goes on where it stopped, also after a restart. What is no longer kept is said, never skipped in silence.
//!
//! **Owns:** reading the trail's files, positions, filters.
//!
//! **Never knows:** who reads, what an event leads to. It writes nothing.
//!
//! **Standards:** RFC 8259 (JSON), one object per line.

mod filter;
mod position;
mod scan;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;

pub use filter::Filter;
pub use position::Position;

/// Events on one page.
pub const PAGE_MAX: usize = 1000;
/// How long a reader may wait for an event: shorter than the minute after which proxies give a silent answer up.
pub const WAIT_MAX: Duration = Duration::from_secs(50);
/// Octets looked at for one page. A filter that little passes gets an empty page with a position further on.
const LOOKED_AT_MAX: u64 = 4 * 1024 * 1024;
/// How often a waiting reader looks for more: the trail is written by another thread, or another process.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number in the trail.
    pub seq: u64,
    /// Whom or what it is about: events of one subject are told in order.
    pub subject: String,
    /// The JSON object, without line end.
    pub line: Bytes,
    /// Behind it.
    pub next: Position,
}

/// Some events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In order.
    pub events: Vec<Event>,
    /// Where to go on: behind everything that was looked at.
    pub next: Position,
    /// Whether there is more to look at now.
    pub more: bool,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// Events behind the position may have been removed. The reader has missed something, and goes on from
    /// [`Position::before`] the oldest file, or from [`Position::START`].
    #[error("events behind {after} are no longer kept; the oldest is {oldest}")]
    Gone {
        /// The position.
        after: u64,
        /// The lowest number that is kept.
        oldest: u64,
    },
    /// The system's.
    #[error("the audit trail cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// The stream of one gateway. Cheap to clone; any number may read.
#[derive(Clone, Debug)]
pub struct Events {
    directory: PathBuf,
}

impl Events {
    /// The stream of the trail in `directory`. A folder that is not there yet is an empty stream.
    pub fn of(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// At most `limit` (and [`PAGE_MAX`]) events behind `after`. Blocks on the disk.
    ///
    /// # Errors
    /// [`EventsError`].
    pub fn page(&self, after: Position, limit: usize, filter: &Filter) -> Result<Page, EventsError> {
        scan::page(&self.directory, after, limit.min(PAGE_MAX), LOOKED_AT_MAX, filter)
    }

    /// Behind the newest event: what happens from now on is behind it. Reads the newest file; blocks on the disk.
    ///
    /// # Errors
    /// The system's.
    pub fn end(&self) -> Result<Position, EventsError> {
        Ok(scan::end(&self.directory)?)
    }

    /// [`Events::page`], and when it is empty waits up to `patience` (and [`WAIT_MAX`]) for one that is not.
    ///
    /// # Errors
    /// [`EventsError`].
    pub async fn wait(
        &self,
        after: Position,
        limit: usize,
        filter: &Filter,
        patience: Duration,
    ) -> Result<Page, EventsError> {
        let end = tokio::time::Instant::now() + patience.min(WAIT_MAX);
        let mut from = after;
        loop {
            let (events, filter) = (self.clone(), filter.clone());
            let page = tokio::task::spawn_blocking(move || events.page(from, limit, &filter));
            let page = page.await.map_err(|_| io::Error::other("stopping"))??;
            let now = tokio::time::Instant::now();
            if !page.events.is_empty() || now >= end {
                return Ok(page);
            }
            from = page.next;
            if !page.more {
                tokio::time::sleep(LOOK_EVERY.min(end - now)).await;
            }
        }
    }
}
