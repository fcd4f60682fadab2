//! The grammar of SMTP, as pure functions of octets.
//!
//! **Promise:** what comes out of here was spelled as the RFC spells it. Nothing is repaired, trimmed of hidden
//! characters or guessed: a server that cleans up what it reads is how two machines come to disagree about where
//! a message ends. The one exception is content under [`LineEnds::Normalize`], and there the end is not moved.
//!
//! **Owns:** framing and parsing of command lines, paths, parameters, and the dot-stuffed content of DATA.
//!
//! **Never knows:** sockets, time, sessions, who the client is.
//!
//! **Standards:** RFC 5321 sections 2.3.8, 4.1, 4.5.2 and 4.5.3; RFC 1870 (SIZE); RFC 3461 (DSN); RFC 4954 (AUTH); RFC 6152
//! (8BITMIME); RFC 6531 (SMTPUTF8); RFC 5802 with RFC 7677 (SCRAM-SHA-256).

pub mod command;
mod decoder;
pub mod dots;
pub mod limits;
pub mod line;
mod mend;
pub mod params;
pub mod path;
pub mod proxy;
pub mod reply;
pub mod scram;

pub use command::{Command, CommandError, Mechanism};
pub use decoder::{Decoder, LineEnds};
pub use dots::{Defect, Dots, Piece};
pub use line::{Line, Lines};
pub use mend::Mender;
pub use params::{MailParams, RcptParams};
pub use path::ForwardPath;
