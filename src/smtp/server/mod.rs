//! The server: a listener, and one session per connection.
//!
//! ```text
//!   accept ─▶ greeting ─▶ EHLO ─▶ [AUTH] ─▶ MAIL ─▶ RCPT.. ─▶ DATA ─▶ content ─▶ 250 | 4yz | 5yz
//!                          ▲                 ▲                                      │
//!                          └── EHLO, HELO    └───────────── RSET, next message ◀────┘
//! ```
//!
//! **Promise:** replies come in the order of the commands and are written together (RFC 2920). A session holds two
//! buffers and one timer; what the client sends cannot make it hold more, and all of them together hold no more than
//! [`Limits`] has. On shutdown nobody is cut off within a
//! message.
//!
//! **Owns:** connections, their limits and deadlines, the state of a session.
//!
//! **Never knows:** what [`super::Intake`] does with a message.
//!
//! **Standards:** RFC 5321 sections 3, 4.1.4, 4.2, 4.5.3.2; RFC 2920; RFC 3207; RFC 4954; RFC 8314.

mod auth;
mod channel;
mod data;
pub mod limits;
mod link;
mod listener;
mod pace;
mod proxy;
mod replies;
mod session;
pub mod settings;
mod tls;

#[cfg(test)]
mod tests;

pub use limits::Limits;
pub use link::Cover;
pub use listener::{Listener, Opening, serve};
pub use settings::{AuthOffer, Settings};
