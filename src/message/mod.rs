//! From received bytes and a permit to one signed copy: its header section, and its body where it has one of its own.
//!
//! **Promise:** apart from the changes that [`rewrite`] lists, and the links that [`BodyPlan`] puts into a body where
//! its stream asks for them, no octet of a message changes (promise P7). Marketing
//! mail leaves with exactly one List-Unsubscribe and one List-Unsubscribe-Post, unique to its recipient, and every
//! signature made here covers and oversigns both (promise P6). Nothing that a client or an operator says can add a
//! field, end a header early or put a bare CR, LF or NUL on the wire: values are checked when they are made.
//!
//! **Owns:** the header scanner and editor, the fields that the gateway adds, unsubscribe headers, DKIM, and the
//! links [`Rewritten`] and [`Signed`] of the chain of types; only this room makes them.
//!
//! **Never knows:** I/O, the wall clock, randomness except for signature blinding and new keys, SMTP replies,
//! configuration, how a token is made.
//!
//! **Standards:** RFC 5322 (header syntax), RFC 5321 section 4.4 (trace), RFC 2369 and RFC 8058 (unsubscribe),
//! RFC 2919 (List-Id), RFC 6376, RFC 8301 and RFC 8463 (DKIM).

mod author;
mod body_link;
pub mod dkim;
mod duties;
mod edit;
mod fields;
mod rewrite;
mod section;
mod unsubscribe;

pub use author::{AuthorError, author_domain};
pub use body_link::{BodyLink, BodyLinkError, BodyPlan, LinkText, OwnBody, PLACEHOLDERS_MAX};
pub use dkim::{BodyHash, BodyHasher, CopyBody, SignError, Signed, Signer, Signing, sign, sign_own};
pub use duties::{Expected, read_duties};
pub use edit::{LINE_GOOD, LINE_MAX, ValueError};
pub use fields::{FeedbackId, ListId, MessageId, ReceivedLine, Transport};
pub use rewrite::{BodyFate, ControlError, Controls, Plan, RewriteError, Rewritten, controls, rewrite};
pub use section::{FIELDS_MAX, Field, HEADER_MAX, HOPS_MAX, HeaderSection, SectionError, SplitAt, split, split_from};
pub use unsubscribe::{Displaced, ExistingUnsubscribe, HttpsUri, Links, MERGED_MAX, MailtoUri, URI_MAX};
