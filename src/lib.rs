//! Consentry: the last gate before campaign mail leaves an organisation.

pub mod delivery;
pub mod hex;
pub mod mail;
pub mod message;
pub mod policy;
pub mod rules;
pub mod smtp;
pub mod spool;
pub mod telemetry;
pub mod time;
pub mod token;
