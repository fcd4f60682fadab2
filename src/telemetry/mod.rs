//! Logs: one JSON object per event, the same object that the audit trail keeps.
//!
//! **Promise:** an event is one line of JSON of bounded length, with field names as mail operators know them
//! (KumoMTA's log record where it has one) plus verdict, reason, rule, stream and evidence. Addresses appear as
//! the privacy level says, secrets never. Writing never blocks the way of a message.
//!
//! **Never knows:** who decided, how a message is stored or sent.

mod diagnostics;
mod effect;
mod event;
mod log;

pub use diagnostics::diagnostics;
pub use effect::{Effects, Histogram};
pub use event::{AddressForm, Event, EventType, PeerAddress, Privacy, TlsFailure, TlsPolicy};
pub use log::{EventLog, LOG_QUEUE_MAX};

/// Takes an event's line for the audit trail. The daemon hands it to the spool, which rooms that use this do not know.
pub type AuditSink = std::sync::Arc<dyn Fn(bytes::Bytes) + Send + Sync>;
