//! An outgoing POST over https, to whom the operator allows.
//!
//! **Promise:** nobody is connected to who is not public, unless the operator names the network; nobody is believed without a
//! certificate of a known authority for the right name; no redirect is followed; a call ends in time and reads no more of an
//! answer than its header section.
//!
//! **Owns:** reading https URLs, the HTTP client, the guard against addresses inside.
//!
//! **Never knows:** what is said, to whom and why; whether it is said again.
//!
//! **Standards:** RFC 9110 and 9112 (HTTP), RFC 6890 (addresses for special purposes).

mod call;
mod guard;
mod target;

pub use call::{Caller, Hindrance, Post};
pub use target::{Host, Target, host_and_port};
