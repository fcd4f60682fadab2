//! DKIM signatures over what leaves (RFC 6376, RFC 8301, RFC 8463).
//!
//! **Promise:** a signature covers every present instance of the fields that a person sees or a mailbox provider acts
//! on, and their absence: a second From or a second List-Unsubscribe added later breaks it. Always relaxed/relaxed,
//! never `l=`, never over trace fields.
//!
//! **Owns:** canonicalisation, keys, signature fields, [`Signed`].
//!
//! **Never knows:** DNS, files, the clock.
//!
//! **Standards:** RFC 6376 sections 3.4.2, 3.4.4, 3.5, 3.7, 5.4; RFC 8301 (key lengths), RFC 8463 (Ed25519).

mod body;
mod key;
mod relaxed;
mod signer;

pub use body::{BodyHash, BodyHasher};
pub use key::{Algorithm, GeneratedKey, KeyError, SigningKey, TXT_STRING_MAX, TxtRecord};
pub use signer::{CopyBody, SignError, Signed, Signer, Signing, sign, sign_own};
