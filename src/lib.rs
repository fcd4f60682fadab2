//! Consentry: the last gate before campaign mail leaves an organisation.

pub mod mail;
pub mod message;
pub mod policy;
pub mod smtp;
pub mod spool;
pub mod telemetry;
pub mod time;
