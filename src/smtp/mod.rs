//! SMTP on the wire: the strict grammar, and the server that campaign tools submit to, and the client that relays.
//!
//! **Promise:** one command, one reply, in order; a message ends where RFC 5321 says and nowhere else; what is not
//! well formed is refused, never repaired. No reply says 250 to a message without the receipt of whoever took it
//! ([`Intake`]), for content that ended cleanly. Memory, time and connections are bounded ([`server::Settings`]).
//!
//! **Owns:** framing, parsing, the order of commands, replies to faults of form, AUTH as a conversation, listeners.
//!
//! **Never knows:** policy, suppression, rewriting, the spool. Who may send what to whom is asked of [`Intake`].
//!
//! **Standards:** RFC 5321, RFC 1870, RFC 2920, RFC 3207, RFC 3461, RFC 3463 with RFC 2034, RFC 3848, RFC 4954, RFC 6152,
//! RFC 6531.

pub mod client;
mod intake;
pub mod server;
pub mod wire;

pub use intake::{
    Content, ContentError, Evidence, Fingerprint, Identity, Intake, Login, Protocol, Secret, SessionFacts, Transaction,
};
pub use wire::Mechanism;
pub use wire::scram::{Proven, Verifier};
