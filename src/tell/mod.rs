//! Telling a campaign tool that a person left, by the one-click URL that it had put into the message itself.
//!
//! **Promise:** what a tool must be told is told: the URL is on disk before the message is accepted and the notice before
//! the opt-out is acknowledged, and it is tried until the tool answers or its time is over, also after a crash (then
//! perhaps twice). Only hosts that the stream names are told, by https, without following a redirect, and never an
//! address inside our own networks unless the operator names the network.
//!
//! **Owns:** `tools.db`, the schedule of notices.
//!
//! **Never knows:** who the person is, the store, the spool, why somebody left.
//!
//! **Standards:** RFC 8058 section 3.2 (the POST).

mod allowed;
mod call;
mod ledger;
mod worker;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::cidr::AddressRange;
use crate::https::Target;
use crate::mail::{QueueId, StreamName};
use crate::time::Timestamp;

use ledger::{Ledger, Link};

pub use allowed::AllowedHost;
pub use worker::Teller;

/// How long a URL is kept by default. A person may leave by an old message; after three years without contact an address
/// has to be forgotten anyway in what the French authority calls good practice, and the URL stands for an address.
pub const KEPT: Duration = Duration::from_hours(3 * 365 * 24);
/// URLs that are kept at most: some 3 GB. Beyond it the oldest make room: their messages are the least likely to be left by.
pub const LINKS_MAX: u64 = 10_000_000;
/// First pause after a failure.
pub const RETRY_FIRST: Duration = Duration::from_mins(1);
/// Longest pause.
pub const RETRY_LONGEST: Duration = Duration::from_hours(6);
/// After this a tool is given up: what is down for a week is not coming back.
pub const GIVE_UP: Duration = Duration::from_hours(7 * 24);

/// Whom we may tell, and how long we try. Replaced as a whole at a reload.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The hosts of each stream's tools; a stream without any tells nobody.
    pub hosts: HashMap<StreamName, Vec<AllowedHost>>,
    /// Networks of our own in which tools may be told; addresses outside of them have to be public.
    pub networks: Vec<AddressRange>,
    /// How long a URL is kept. Default [`KEPT`].
    pub kept: Duration,
    /// Default [`LINKS_MAX`].
    pub links_max: u64,
    /// Default [`RETRY_FIRST`].
    pub first: Duration,
    /// Default [`RETRY_LONGEST`].
    pub longest: Duration,
    /// Default [`GIVE_UP`].
    pub give_up: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hosts: HashMap::new(),
            networks: Vec::new(),
            kept: KEPT,
            links_max: LINKS_MAX,
            first: RETRY_FIRST,
            longest: RETRY_LONGEST,
            give_up: GIVE_UP,
        }
    }
}

impl Settings {
    /// Where `url` leads, when a tool of this stream may be told there.
    fn target(&self, stream: &StreamName, url: &str) -> Option<Target> {
        let target = Target::parse(url)?;
        self.hosts.get(stream)?.iter().any(|allowed| allowed.covers(&target)).then_some(target)
    }
}

/// Why nothing could be kept. Ours: the disk, or a shutdown. Trying again may succeed.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    /// The file is not ours, damaged or of a newer version.
    #[error(
        "{path}: {reason}; move it away to start with an empty one: tools are then not told of opt-outs from older mail"
    )]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The change is not on disk. The cause is in the diagnostics.
    #[error("the list of tools to tell could not be written")]
    NotWritten,
    /// It was too slow.
    #[error("the list of tools to tell did not answer in time")]
    TimedOut,
}

/// What tools have to be told. Clones share it.
#[derive(Clone)]
pub struct Tools {
    ledger: Ledger,
    settings: Arc<ArcSwap<Settings>>,
    wake: Arc<Notify>,
}

impl fmt::Debug for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tools").finish_non_exhaustive()
    }
}

/// How long an opt-out waits for the notice to be written before it goes on without.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(5);

impl Tools {
    /// Opens `tools.db`, or makes it.
    ///
    /// # Errors
    /// [`TellError::File`].
    pub fn open(path: &Path, settings: Arc<ArcSwap<Settings>>) -> Result<Self, TellError> {
        Ok(Self { ledger: Ledger::open(path)?, settings, wake: Arc::default() })
    }

    /// Keeps the URL that a tool had put into a message, if the tool may be told by it. On disk when this returns.
    ///
    /// # Errors
    /// [`TellError`]; the message must not be accepted then.
    pub async fn keep(
        &self,
        stream: &StreamName,
        message: QueueId,
        url: &str,
        now: Timestamp,
    ) -> Result<(), TellError> {
        let settings = self.settings.load_full();
        if settings.target(stream, url).is_none() {
            tracing::debug!(%stream, "a tool's own one-click URL is not within tell_hosts");
            return Ok(());
        }
        let link = Link { message, stream: stream.clone(), url: url.to_owned(), kept_until: now.plus(settings.kept) };
        self.ledger.keep(link, settings.links_max).await
    }

    /// The settings were replaced: what could not be told may be possible now.
    pub fn settings_changed(&self) {
        self.wake.notify_one();
    }

    /// The person who was sent this message leaves: its tool, if it has one, will be told. On disk when this returns;
    /// saying it again changes nothing.
    ///
    /// # Errors
    /// [`TellError`]. The opt-out counts all the same.
    pub async fn opted_out(&self, message: QueueId, now: Timestamp) -> Result<(), TellError> {
        let noted = tokio::time::timeout(NOTICE_TIMEOUT, self.ledger.opted_out(message, now));
        if noted.await.map_err(|_| TellError::TimedOut)?? {
            self.wake.notify_one();
        }
        Ok(())
    }
}

#[cfg(test)]
impl Tools {
    /// The messages whose tools have to be told now, for tests of other rooms.
    pub(crate) async fn waiting(&self) -> Vec<QueueId> {
        let end = Timestamp::from_millis(i64::MAX);
        self.ledger.lease(end, end, 1000).await.unwrap().notices.iter().map(|notice| notice.message).collect()
    }
}

#[cfg(test)]
mod tests;
