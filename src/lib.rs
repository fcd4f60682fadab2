//! Consentry: the last gate before campaign mail leaves an organisation.

pub mod mail;
pub mod policy;
pub mod time;
