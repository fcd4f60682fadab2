//! What a refusal means: entries as data, held against one reply at one stage.
//!
//! **Promise:** the same refusal at the same stage always has the same class, and says which entry decided. Whatever a
//! file says, only a final "no such mailbox" about one recipient can suppress anybody, and a fault between the smarthost
//! and us is never a recipient's.
//!
//! **Owns:** the classes, what follows from each, the TOML of entries, what is shipped, the page that documents it.
//!
//! **Never knows:** who the recipient is, queues, the store, sockets.
//!
//! **Standards:** RFC 5321 section 4.2 (reply codes), RFC 3463 and RFC 5248 (enhanced status codes), RFC 7505, RFC 4954.

mod book;
mod class;
#[cfg(test)]
mod corpus;
mod file;
mod local;
mod pattern;
mod reference;
#[cfg(test)]
mod tests;

pub use book::{Book, ClassRule, DecidedBy, Entry, Meaning, Schedule, Whom};
pub use class::{Class, Follows, Stage};
pub use file::{RepliesError, embedded, load};
pub use pattern::{CodePattern, FRAGMENT_MAX, FRAGMENT_MIN, Fragment, StatusPattern};
pub use reference::reference;

use crate::mail::{Reply, ReplyCode};

/// Reads a reply as logs and reports quote it: `550 5.1.1 no such user`, `550-5.1.1 ...`. `None` when it does not begin
/// with a reply code.
pub fn quoted(text: &str) -> Option<Reply> {
    let text = text.trim();
    let (code, rest) = text.split_at_checked(3)?;
    let rest = rest.strip_prefix(['-', ' ', '#']).unwrap_or(rest);
    let code = ReplyCode::new(code.parse().ok()?)?;
    Some(Reply::received(code, rest.trim_start_matches([' ', '#'])))
}
