//! The words of RFC 5321, RFC 5322, RFC 3461 and RFC 3463.
//!
//! **Promise:** whatever carries one of these types has been parsed once, at the door, and is well formed.
//!
//! **Owns:** addresses and paths, what a sender wants reported, replies and enhanced status codes, names of our own (streams, lists,
//! controllers, credentials) and identifiers.
//!
//! **Never knows:** configuration, policy, sockets, async.
//!
//! **Standards:** RFC 5321 section 4.1.2 (paths), RFC 5322 section 3.4.1 (addr-spec), RFC 6531 (UTF-8), RFC 3461 (reports),
//! RFC 3463 (enhanced status codes), RFC 5890 and UTS 46 (domain names).

pub mod address;
pub mod envelope;
pub mod id;
pub mod name;
pub mod notification;
pub mod reply;
pub mod xtext;

pub use address::{AddressError, Domain, Mailbox};
pub use envelope::{BodyType, Envelope, Label, Recipient, ReversePath};
pub use id::{DecisionRef, IdSource, QueueId};
pub use name::{CampaignId, ControllerId, CredentialName, HookName, ListName, NameError, RouteName, StreamName};
pub use notification::{EnvelopeId, NotificationError, Notify, OriginalRecipient, Reporting, Ret};
pub use reply::{EnhancedStatus, Reply, ReplyCode};
