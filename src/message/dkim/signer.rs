//! Signature fields, and the last link of this room: [`Signed`].

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::mail::{Domain, Recipient};
use crate::message::body_link::OwnBody;
use crate::message::edit::LINE_GOOD;
use crate::message::rewrite::Rewritten;
use crate::message::section::HeaderSection;
use crate::time::Timestamp;

use super::body::{BodyHash, BodyHasher};
use super::key::{Algorithm, KeyError, SigningKey, TxtRecord};
use super::relaxed;

const FIELD: &str = "DKIM-Signature";
/// RFC 6376 section 3.1: a selector is one or more labels; a label has at most 63 octets (RFC 1035).
const LABEL_MAX: usize = 63;
/// A selector longer than this could not stand in a DNS name beside a domain.
const SELECTOR_MAX: usize = 128;

/// Fields whose every instance is signed, and whose name is listed once more, so that adding one breaks the
/// signature. These are what a person sees, what the body's meaning hangs on and what mailbox providers act on.
const OVERSIGNED: [&str; 14] = [
    "From",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "Reply-To",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "List-Id",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "Feedback-ID",
];
/// Fields that are signed where present. Relays may add them later for good reasons, so their absence is not signed.
const SIGNED: [&str; 3] = ["Sender", "In-Reply-To", "References"];

/// Why a copy could not be signed. Always ours; the client may retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// Keys are configured and the body was not hashed.
    #[error("signing is on and no body hash was given")]
    NoBodyHash,
    /// The cryptographic library failed.
    #[error("the signature could not be made")]
    Crypto,
    /// Not a selector.
    #[error(
        "selector: expected labels of letters, digits and `-` between dots, at most {SELECTOR_MAX} octets together"
    )]
    Selector,
    /// An address literal cannot hold a key record.
    #[error("signing domain: expected a domain name")]
    Domain,
}

/// One key under one name.
#[derive(Debug)]
pub struct Signer {
    key: SigningKey,
    /// Where the public half is published.
    record_name: String,
    /// Everything before `t=`, the same for every message.
    tags: [String; 3],
}

impl Signer {
    /// A signer for `d=domain; s=selector`.
    ///
    /// # Errors
    /// [`SignError::Selector`] or [`SignError::Domain`].
    pub fn new(domain: &Domain, selector: &str, key: SigningKey) -> Result<Self, SignError> {
        let label_fits = |label: &str| {
            (1..=LABEL_MAX).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        if selector.len() > SELECTOR_MAX || !selector.split('.').all(label_fits) {
            return Err(SignError::Selector);
        }
        if domain.as_str().starts_with('[') {
            return Err(SignError::Domain);
        }
        let algorithm = key.algorithm().as_str();
        let start = format!("v=1; a={algorithm}; c=relaxed/relaxed;");
        let tags = [start, format!("d={domain};"), format!("s={selector};")];
        let record_name = format!("{selector}._domainkey.{domain}");
        Ok(Self { key, record_name, tags })
    }

    /// Where verifiers look for the public half (RFC 6376 section 3.6.2.1), without a final dot.
    pub fn record_name(&self) -> &str {
        &self.record_name
    }

    /// What they must find there.
    ///
    /// # Errors
    /// [`KeyError::Generate`] when the cryptographic library fails.
    pub fn record(&self) -> Result<TxtRecord, KeyError> {
        self.key.record()
    }

    /// The signature field with its final CRLF.
    fn field(&self, hashed: &Hashed, body: &BodyHash, now: Timestamp) -> Option<Vec<u8>> {
        let mut folder = Folder::new();
        for tag in &self.tags {
            folder.word(tag);
        }
        folder.word(&format!("t={};", now.as_secs().max(0)));
        folder.names(&hashed.names);
        folder.word(&format!("bh={};", body.to_base64()));
        folder.word("b=");
        let mut data = hashed.data.clone();
        relaxed::header(FIELD, folder.value(), &mut data);
        let signature = STANDARD.encode(self.key.sign(&data)?);
        folder.base64(&signature);
        Some(folder.finish())
    }
}

/// Whether and with which keys messages are signed.
#[derive(Debug, Default)]
pub enum Signing {
    /// Not at all: the demo, and gateways whose upstream signs.
    #[default]
    Off,
    /// With each of these, one signature per key.
    Keys(Vec<Arc<Signer>>),
}

impl Signing {
    /// Whether [`sign`] will need a body hash.
    pub const fn needs_body_hash(&self) -> bool {
        match self {
            Self::Off => false,
            Self::Keys(signers) => !signers.is_empty(),
        }
    }

    /// Whether a signature takes so long (RSA: about a millisecond) that it should not be made on an async thread.
    pub fn is_costly(&self) -> bool {
        match self {
            Self::Off => false,
            Self::Keys(signers) => signers.iter().any(|signer| signer.key.algorithm() == Algorithm::Rsa),
        }
    }
}

/// The body that a copy leaves with.
#[derive(Clone, Debug)]
pub enum CopyBody {
    /// The one that all copies share, with its hash when it was hashed.
    Shared(Option<BodyHash>),
    /// One with links of its own; it is hashed here.
    Own(OwnBody),
}

impl CopyBody {
    fn hash(&self) -> Option<BodyHash> {
        match self {
            Self::Shared(hash) => *hash,
            Self::Own(body) => {
                let mut hasher = BodyHasher::new();
                hasher.update(&body.start);
                hasher.update(&body.shared);
                Some(hasher.finish())
            }
        }
    }

    /// What the copy has for itself.
    fn start(&self) -> &[u8] {
        match self {
            Self::Shared(_) => &[],
            Self::Own(body) => &body.start,
        }
    }
}

/// A rewritten and, where keys are configured, signed header section with the recipients it may be sent to, and the part
/// of the body that was signed for them alone. Only [`sign`] makes one.
#[derive(Debug)]
pub struct Signed {
    recipients: Vec<Recipient>,
    head: Bytes,
}

impl Signed {
    /// To whom.
    pub fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }

    /// The final header section, blank line included, and behind it what this copy has of the body for itself. What all
    /// copies share follows.
    pub const fn head(&self) -> &Bytes {
        &self.head
    }

    /// A signed section as it is, for tests of other rooms, which need one without a permit.
    #[cfg(test)]
    pub(crate) const fn for_test(recipients: Vec<Recipient>, head: Bytes) -> Self {
        Self { recipients, head }
    }
}

/// Signs one copy; the signatures stand above all other fields, in the order of the keys. With [`Signing::Off`] the
/// section stays as it is and `body` is not looked at.
///
/// # Errors
/// [`SignError::NoBodyHash`] or [`SignError::Crypto`]; nothing is sent then.
pub fn sign(rewritten: Rewritten, body: &CopyBody, signing: &Signing, now: Timestamp) -> Result<Signed, SignError> {
    let Rewritten { recipients, section, displaced: _ } = rewritten;
    let fields = fields(&section, || body.hash(), signing, now)?;
    let head = match (fields.as_slice(), body.start()) {
        ([], []) => section.raw().clone(),
        (fields, start) => Bytes::from([fields, section.raw(), start].concat()),
    };
    Ok(Signed { recipients, head })
}

/// The header section of a letter of our own, signed like any other. It is no [`Signed`]: campaign mail cannot take this way.
///
/// # Errors
/// [`SignError::Crypto`].
pub fn sign_own(section: &HeaderSection, body: &[u8], signing: &Signing, now: Timestamp) -> Result<Bytes, SignError> {
    let fields = fields(section, || Some(BodyHash::of(body)), signing, now)?;
    Ok(Bytes::from([fields.as_slice(), section.raw()].concat()))
}

/// All signatures; none when nothing signs, and then `hash` is not asked for.
fn fields(
    section: &HeaderSection,
    hash: impl FnOnce() -> Option<BodyHash>,
    signing: &Signing,
    now: Timestamp,
) -> Result<Vec<u8>, SignError> {
    let signers = match signing {
        Signing::Keys(signers) if !signers.is_empty() => signers,
        Signing::Keys(_) | Signing::Off => return Ok(Vec::new()),
    };
    let hash = hash().ok_or(SignError::NoBodyHash)?;
    let hashed = Hashed::new(section);
    let mut fields = Vec::with_capacity(1024 * signers.len());
    for signer in signers {
        fields.extend_from_slice(&signer.field(&hashed, &hash, now).ok_or(SignError::Crypto)?);
    }
    Ok(fields)
}

/// The names for `h=` and the canonical fields in the same order: what all signatures of a copy share.
struct Hashed {
    names: Vec<&'static str>,
    data: Vec<u8>,
}

impl Hashed {
    fn new(section: &HeaderSection) -> Self {
        let mut hashed = Self { names: Vec::with_capacity(48), data: Vec::with_capacity(section.raw().len() + 1024) };
        for name in OVERSIGNED {
            hashed.add(section, name);
            hashed.names.push(name);
        }
        for name in SIGNED {
            hashed.add(section, name);
        }
        hashed
    }

    /// RFC 6376 section 5.4.2: several fields of one name are taken from the bottom up.
    fn add(&mut self, section: &HeaderSection, name: &'static str) {
        for field in section.fields(name).rev() {
            self.names.push(name);
            relaxed::header(name, field.value(), &mut self.data);
            self.data.extend_from_slice(b"\r\n");
        }
    }
}

/// Writes the signature field in lines of at most [`LINE_GOOD`] octets, folded where RFC 6376 section 3.5 allows it:
/// between tags, after the colons of `h=`, anywhere in `b=`.
struct Folder {
    raw: Vec<u8>,
    column: usize,
}

impl Folder {
    fn new() -> Self {
        let mut raw = Vec::with_capacity(1024);
        raw.extend_from_slice(FIELD.as_bytes());
        raw.push(b':');
        Self { column: raw.len(), raw }
    }

    fn word(&mut self, word: &str) {
        if self.column + 1 + word.len() > LINE_GOOD {
            self.fold();
        } else {
            self.raw.push(b' ');
            self.column += 1;
        }
        self.put(word);
    }

    fn names(&mut self, names: &[&str]) {
        self.word("h=");
        let last = names.len().saturating_sub(1);
        for (index, name) in names.iter().enumerate() {
            if self.column + name.len() + 1 > LINE_GOOD {
                self.fold();
            }
            self.put(name);
            self.put(if index == last { ";" } else { ":" });
        }
    }

    fn base64(&mut self, mut rest: &str) {
        while !rest.is_empty() {
            if self.column >= LINE_GOOD {
                self.fold();
            }
            let (now, later) = rest.split_at_checked(LINE_GOOD - self.column).unwrap_or((rest, ""));
            self.put(now);
            rest = later;
        }
    }

    fn fold(&mut self) {
        self.raw.extend_from_slice(b"\r\n ");
        self.column = 1;
    }

    fn put(&mut self, text: &str) {
        self.raw.extend_from_slice(text.as_bytes());
        self.column += text.len();
    }

    fn value(&self) -> &[u8] {
        self.raw.get(FIELD.len() + 1..).unwrap_or_default()
    }

    fn finish(mut self) -> Vec<u8> {
        self.raw.extend_from_slice(b"\r\n");
        self.raw
    }
}

#[cfg(test)]
mod tests;
