//! Links of each recipient's own in the place of placeholders in the body.
//!
//! A message is read once, into a [`BodyPlan`]; each copy then gets its body by writing its link where the plan says.
//! Only `text/plain` and `text/html` parts are touched, in whatever transfer encoding they came (RFC 2045 section 6), and
//! of these only what must change:
//!
//! * 7bit, 8bit, binary: the placeholder alone. A line that would pass 998 octets (RFC 5322 section 2.1.1) is an error,
//!   since folding it would change the text.
//! * quoted-printable: the lines that held the placeholder, wrapped again at 76 (RFC 2045 section 6.7, rule 5).
//! * base64: the part's characters from the placeholder on, since those behind it move; lines keep their length.
//!
//! Left alone: attachments, messages inside messages, whatever is signed (`multipart/signed`, a clear-signed OpenPGP
//! text), charsets in which these octets need not be these characters (UTF-16, UTF-7, ISO-2022), and what lies past the
//! bounds of the walk over the parts.

mod base64;
mod placeholder;
mod plain;
mod quoted;

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;

use super::duties::decode::octets;
use super::duties::parts::{Encoding, TextPart, outline};
use super::section::HeaderSection;
use super::unsubscribe::HttpsUri;

pub(super) use placeholder::is_in;

/// The most placeholders in one message. Campaigns have one to six; each may add a link of up to
/// [`super::URI_MAX`] octets.
pub const PLACEHOLDERS_MAX: usize = 64;
/// RFC 5322 section 2.1.1, without the line end.
const LINE_OCTETS_MAX: usize = 998;
/// What a clear-signed text begins with (RFC 9580 section 7).
const CLEAR_SIGNED: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";

/// Whether a stream's messages have their placeholders replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BodyLink {
    /// Bodies stay as they are.
    #[default]
    Off,
    /// Each recipient gets a link of their own.
    Replace,
}

/// Why links could not be put into a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyLinkError {
    /// The client's. Will fail again.
    #[error("more than {PLACEHOLDERS_MAX} placeholders for the unsubscribe link")]
    TooMany,
    /// The client's. Will fail again.
    #[error(
        "with its unsubscribe link a line would be longer than {LINE_OCTETS_MAX} octets; expected quoted-printable or shorter lines"
    )]
    LineTooLong,
    /// Ours: the configured URL has characters that HTML or a transfer encoding would read otherwise.
    #[error("the unsubscribe link does not stand for itself in HTML; expected letters, digits and `-._~:/`")]
    Link,
}

impl BodyLinkError {
    /// Whether the message itself is at fault, so that the same message will be refused again.
    pub const fn is_permanent(self) -> bool {
        match self {
            Self::TooMany | Self::LineTooLong => true,
            Self::Link => false,
        }
    }
}

/// A link that stands for itself wherever it is put: no character of it means anything to HTML (`&`, quotes, angle
/// brackets), to quoted-printable (`=`) or to a reader who looks for the end of a URL (blanks, commas, parentheses).
#[derive(Clone, Copy)]
pub struct LinkText<'a>(&'a str);

impl<'a> LinkText<'a> {
    /// Accepts letters, digits and `-._~:/`.
    ///
    /// # Errors
    /// [`BodyLinkError::Link`].
    pub fn new(uri: &'a HttpsUri) -> Result<Self, BodyLinkError> {
        let text = uri.as_str();
        let stands_for_itself = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/".contains(&b);
        if text.bytes().all(stands_for_itself) { Ok(Self(text)) } else { Err(BodyLinkError::Link) }
    }

    const fn octets(self) -> &'a [u8] {
        self.0.as_bytes()
    }
}

/// The link names a person.
impl std::fmt::Debug for LinkText<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkText(…)")
    }
}

/// What to write anew, in the order of the body; no two overlap.
#[derive(Debug)]
enum Edit {
    Plain(plain::Line),
    Quoted(quoted::Run),
    Base64(base64::Rest),
}

impl Edit {
    /// The octets of the body whose place it takes.
    const fn range(&self) -> &Range<usize> {
        match self {
            Self::Plain(line) => &line.range,
            Self::Quoted(run) => &run.range,
            Self::Base64(rest) => &rest.range,
        }
    }

    fn write(&self, body: &[u8], link: LinkText<'_>, out: &mut Vec<u8>) -> Result<(), BodyLinkError> {
        match self {
            Self::Plain(plain) => plain.write(body, link, out),
            Self::Quoted(run) => {
                run.write(body, link, out);
                Ok(())
            }
            Self::Base64(rest) => {
                rest.write(link, out);
                Ok(())
            }
        }
    }
}

/// Where the links of a message go.
#[derive(Debug)]
pub struct BodyPlan {
    body: Bytes,
    edits: Vec<Edit>,
    sealed: usize,
}

impl BodyPlan {
    /// Finds the placeholders of a message. `body` is everything behind the header section.
    ///
    /// # Errors
    /// [`BodyLinkError::TooMany`].
    pub fn read(section: &HeaderSection, body: Bytes) -> Result<Self, BodyLinkError> {
        let (mut edits, mut count, mut sealed) = (Vec::new(), 0, 0);
        for part in outline(section, &body).texts {
            let found = Found::of(&part);
            if found.is_sealed {
                sealed += found.ranges.len();
                continue;
            }
            count += found.ranges.len();
            if count > PLACEHOLDERS_MAX {
                return Err(BodyLinkError::TooMany);
            }
            if found.ranges.is_empty() {
                continue;
            }
            match part.encoding {
                Encoding::Plain => edits.extend(plain::lines(&body, part.start, &found.ranges).map(Edit::Plain)),
                Encoding::Quoted => edits.extend(quoted::runs(&body, &part, &found.ranges).map(Edit::Quoted)),
                Encoding::Base64 => edits.extend(base64::rest(&part, &found).map(Edit::Base64)),
                Encoding::Unknown => {}
            }
        }
        Ok(Self { body, edits, sealed })
    }

    /// Whether there is nothing to replace, and every copy may share the body as it came.
    pub const fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// How many placeholders stand in signed parts, where they stay.
    pub const fn sealed(&self) -> usize {
        self.sealed
    }

    /// Octets of the body that each copy has for itself, before its links are written: all up to the last change.
    pub fn own_len(&self) -> usize {
        self.edits.last().map_or(0, |edit| edit.range().end)
    }

    /// The end of the body, behind the last change: the same for all copies.
    pub fn shared(&self) -> Bytes {
        self.body.slice(self.own_len().min(self.body.len())..)
    }

    /// The body of the copy whose link is `link`.
    ///
    /// # Errors
    /// [`BodyLinkError::LineTooLong`].
    pub fn own(&self, link: LinkText<'_>) -> Result<OwnBody, BodyLinkError> {
        let grown = self.edits.len() * link.octets().len();
        let (mut start, mut at) = (Vec::with_capacity(self.own_len() + grown), 0);
        for edit in &self.edits {
            let range = edit.range();
            start.extend_from_slice(self.body.get(at..range.start).unwrap_or_default());
            edit.write(&self.body, link, &mut start)?;
            at = range.end;
        }
        Ok(OwnBody { start: Bytes::from(start), shared: self.shared() })
    }
}

/// The body of one copy: a beginning of its own, and the end that all copies share.
#[derive(Clone, Debug)]
pub struct OwnBody {
    pub(super) start: Bytes,
    pub(super) shared: Bytes,
}

/// What was found in one part.
struct Found<'a> {
    /// The octets that the part stands for.
    decoded: Cow<'a, [u8]>,
    /// Placeholders in `decoded`, in order.
    ranges: Vec<Range<usize>>,
    /// Somebody has signed these octets.
    is_sealed: bool,
}

impl<'a> Found<'a> {
    fn of(part: &TextPart<'a>) -> Self {
        let decoded = octets(part, usize::MAX).filter(|_| speaks_ascii(part.charset.as_deref())).unwrap_or_default();
        let ranges = placeholder::find(&decoded);
        let is_sealed = part.signed || memmem::find(&decoded, CLEAR_SIGNED).is_some();
        Self { decoded, ranges, is_sealed }
    }
}

/// Whether placeholders of this part are replaced, where a stream asks for it.
pub(super) fn reaches(part: &TextPart<'_>, text: &str) -> bool {
    !part.signed && speaks_ascii(part.charset.as_deref()) && memmem::find(text.as_bytes(), CLEAR_SIGNED).is_none()
}

/// Whether every octet below 128 is the ASCII character wherever it stands. Of the charsets that mail is written in,
/// those with one octet a character and UTF-8 are so. In UTF-16, UTF-7, ISO-2022 and the older East Asian ones such an
/// octet may be half of something else.
fn speaks_ascii(charset: Option<&str>) -> bool {
    const FAMILIES: [&str; 8] = ["utf-8", "utf8", "us-ascii", "ascii", "iso-8859-", "iso8859-", "windows-125", "koi8-"];
    let Some(name) = charset.map(|name| name.trim().to_ascii_lowercase()) else { return true };
    FAMILIES.iter().any(|family| name.starts_with(family)) || name.starts_with("latin") || name.starts_with("cp125")
}

#[cfg(test)]
mod tests;
