//! The wire: replies and the client session.

pub mod client;
pub mod wire;
