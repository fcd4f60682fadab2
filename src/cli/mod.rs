//! Operations that a person starts from the command line, one file per operation.
//!
//! **Promise:** an operation takes parsed arguments, the rooms it works with, a place to write to and a clock; it
//! answers a typed outcome and never ends the process itself.
//!
//! **Owns:** the arguments of each operation, and how its answers are shown.
//!
//! **Never knows:** domain rules; it asks the room that has them.
//!
//! **Standards:** sysexits(3) for exit statuses, RFC 4180 (CSV).

pub mod suppress;
