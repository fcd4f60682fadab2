//! Telling programs outside what happened: events of the trail, posted to those who asked for them.
//!
//! **Promise:** every event that a hook asks for is delivered at least once, or lies among its dead letters, or it is said that
//! the trail no longer had it; events of one subject arrive in their order, and what one subject's event is refused for
//! holds up nobody else. A call is signed together with its time. No redirect is followed, and no address inside our own
//! networks is called unless the operator names the network.
//!
//! **Owns:** `webhooks.db` (where each hook stands, what it refused), the schedule of calls, the signature.
//!
//! **Never knows:** what an event means, the store, the spool. Nothing about a hook goes into the trail: no hook can be told
//! of hooks, and no call can lead to another.
//!
//! **Standards:** RFC 2104 (HMAC), RFC 8259 (JSON).

mod answer;
mod batch;
mod circuit;
mod courier;
mod ledger;
mod signature;
#[cfg(test)]
mod tests;
mod worker;

use std::path::PathBuf;
use std::time::Duration;

use crate::cidr::AddressRange;
use crate::events::Filter;
use crate::https::Target;
use crate::mail::HookName;
use crate::tls::Trust;

pub use circuit::Pauses;
pub use ledger::{Dead, Ledger, Standing};
pub use signature::Secrets;
pub use worker::Couriers;

/// The file's name in the data folder.
pub const FILE: &str = "webhooks.db";
/// How long a receiver has for its answer. It should write down what it got and work on it afterwards.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// First pause after a refusal.
pub const RETRY_FIRST: Duration = Duration::from_secs(5);
/// Longest pause: a receiver that was down hears from us soon after it is back.
pub const RETRY_LONGEST: Duration = Duration::from_mins(15);
/// How long one event is tried that a working hook refuses: over a long weekend.
pub const GIVE_UP: Duration = Duration::from_hours(4 * 24);

/// One receiver.
#[derive(Clone, Debug)]
pub struct Hook {
    /// By which it is known; its position is kept under it.
    pub name: HookName,
    /// Where it is.
    pub target: Target,
    /// Networks of our own in which it may be; addresses outside of them have to be public.
    pub networks: Vec<AddressRange>,
    /// Whom its certificate has to be signed by.
    pub trust: Trust,
    /// What calls are signed with.
    pub secrets: Secrets,
    /// Which events it wants.
    pub filter: Filter,
    /// Default [`TIMEOUT`].
    pub timeout: Duration,
    /// Default [`RETRY_FIRST`] and [`RETRY_LONGEST`].
    pub pauses: Pauses,
    /// Default [`GIVE_UP`].
    pub give_up: Duration,
}

/// Who is told. Replaced as a whole at a reload.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// In the order of the file; no name twice.
    pub hooks: Vec<Hook>,
}

/// What did not work. Ours: the disk, or a shutdown. Trying again may succeed.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The file is not ours, damaged or of a newer version.
    #[error("{path}: {reason}; move it away to start with an empty one: hooks then begin with the events from then on")]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It cannot be read or written now.
    #[error("the list of webhooks: {0}")]
    NotNow(#[from] rusqlite::Error),
    /// The trail cannot be read now.
    #[error(transparent)]
    Trail(#[from] crate::events::EventsError),
    /// The gateway stops.
    #[error("stopping")]
    Stopping,
}
