//! Consentry: the last gate before campaign mail leaves an organisation.

pub mod cli;
pub mod mail;
pub mod message;
pub mod policy;
pub mod spool;
pub mod store;
pub mod telemetry;
pub mod time;
