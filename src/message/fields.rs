//! Values of the fields that the gateway adds: Message-ID, List-Id, Feedback-ID, Received.

use std::net::IpAddr;

use crate::mail::{Domain, ListName, Mailbox, QueueId};
use crate::time::Timestamp;

use super::edit::{Line, ValueError};

/// RFC 2919 section 3: a list identifier has at most 255 octets.
const LIST_ID_MAX: usize = 255;
/// A phrase longer than this would make the line too long; no client shows more.
const PHRASE_MAX: usize = 255;
/// RFC 5321 section 4.5.3.1.2: a host name has at most 255 octets, so does what stands for one in Received.
const HELO_MAX: usize = 255;
/// Gmail reads at most four parts in a Feedback-ID.
const FEEDBACK_PARTS_MAX: usize = 4;
/// One part of a Feedback-ID. Gmail advises 5 to 15 characters for the sender; names of ours have at most 64.
const FEEDBACK_PART_MAX: usize = 64;

/// An identifier of the gateway for messages that came without one (RFC 5322 section 3.6.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageId(String);

impl MessageId {
    /// `<id@domain>`; unique since the queue identifier is.
    pub fn new(id: QueueId, domain: &Domain) -> Self {
        Self(format!("<{id}@{domain}>"))
    }

    /// With its angle brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn line(&self) -> Result<Line, ValueError> {
        Line::new("Message-ID").word(&self.0)
    }
}

/// A List-Id value (RFC 2919): the same for every message of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListId {
    phrase: Option<String>,
    id: String,
}

impl ListId {
    /// `"Phrase" <list.domain>`, or without phrase when that is `None`.
    ///
    /// # Errors
    /// [`ValueError`] when the list name has dots that RFC 2919 does not allow, when the domain is an address
    /// literal, when the identifier is longer than 255 octets, or when the phrase is not printable ASCII of at most
    /// 255 octets.
    pub fn new(phrase: Option<&str>, list: &ListName, domain: &Domain) -> Result<Self, ValueError> {
        const FIELD: &str = "List-Id";
        let dotted = list.as_str().split('.').all(|atom| !atom.is_empty());
        if !dotted || domain.as_str().starts_with('[') {
            let expected = "a list name with single dots inside and a domain name";
            return Err(ValueError::Form { field: FIELD, expected });
        }
        let id = format!("<{list}.{domain}>");
        if id.len() - 2 > LIST_ID_MAX {
            return Err(ValueError::TooLong { field: FIELD, max: LIST_ID_MAX });
        }
        let phrase = phrase.map(quoted).transpose()?;
        Ok(Self { phrase, id })
    }

    pub(super) fn line(&self) -> Result<Line, ValueError> {
        let line = Line::new("List-Id");
        let line = match &self.phrase {
            Some(phrase) => line.word(phrase)?,
            None => line,
        };
        line.word(&self.id)
    }
}

/// A phrase as quoted-string (RFC 5322 section 3.2.4).
fn quoted(phrase: &str) -> Result<String, ValueError> {
    if phrase.len() > PHRASE_MAX {
        return Err(ValueError::TooLong { field: "List-Id", max: PHRASE_MAX });
    }
    if phrase.is_empty() || !phrase.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return Err(ValueError::NotPrintable { field: "List-Id" });
    }
    let mut text = String::with_capacity(phrase.len() + 2);
    text.push('"');
    for c in phrase.chars() {
        if matches!(c, '"' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
    Ok(text)
}

/// A Feedback-ID value as Gmail's feedback loop reads it: up to three identifiers and the sender's, between colons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedbackId(String);

impl FeedbackId {
    /// Accepts `a:b:c:sender`, `b:c:sender`, `c:sender` or `sender`, of letters, digits, `.`, `_`, `-`. All parts but
    /// the sender's may be empty.
    ///
    /// # Errors
    /// [`ValueError::Form`] with what was expected.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        let part_fits = |part: &str| {
            part.len() <= FEEDBACK_PART_MAX
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        let fits = text.split(':').count() <= FEEDBACK_PARTS_MAX && text.split(':').all(part_fits);
        if fits && text.rsplit(':').next().is_some_and(|sender| !sender.is_empty()) {
            return Ok(Self(text.to_owned()));
        }
        let expected =
            "one to four parts between colons, each of at most 64 of a-z, A-Z, 0-9, `.`, `_`, `-`, the last not empty";
        Err(ValueError::Form { field: "Feedback-ID", expected })
    }

    pub(super) fn line(&self) -> Result<Line, ValueError> {
        Line::new("Feedback-ID").word(&self.0)
    }
}

/// How a message came in: the `with` word of RFC 3848 and RFC 6531 section 4.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts of a session, one letter each in RFC 3848")]
pub struct Transport {
    /// EHLO was used.
    pub extended: bool,
    /// Under TLS.
    pub tls: bool,
    /// After AUTH.
    pub authenticated: bool,
    /// With SMTPUTF8.
    pub utf8: bool,
}

impl Transport {
    /// The registered keyword.
    pub const fn keyword(self) -> &'static str {
        match (self.utf8, self.tls, self.authenticated) {
            (true, true, true) => "UTF8SMTPSA",
            (true, true, false) => "UTF8SMTPS",
            (true, false, true) => "UTF8SMTPA",
            (true, false, false) => "UTF8SMTP",
            (false, true, true) => "ESMTPSA",
            (false, true, false) => "ESMTPS",
            (false, false, true) => "ESMTPA",
            (false, false, false) if self.extended => "ESMTP",
            (false, false, false) => "SMTP",
        }
    }
}

/// The trace field of this hop (RFC 5321 section 4.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedLine {
    from: String,
    by: Domain,
    with: Transport,
    id: QueueId,
    at: Timestamp,
}

impl ReceivedLine {
    /// What to record. A `helo` that is neither a host name nor an address literal is replaced by the address
    /// literal of the peer: what a client says of itself must not be able to shape a header.
    pub fn new(helo: &str, peer: IpAddr, by: Domain, with: Transport, id: QueueId, at: Timestamp) -> Self {
        let literal = match peer.to_canonical() {
            IpAddr::V4(v4) => format!("[{v4}]"),
            IpAddr::V6(v6) => format!("[IPv6:{v6}]"),
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
        let fits = (1..=HELO_MAX).contains(&helo.len()) && helo.bytes().all(plain);
        let from = if fits { format!("{helo} ({literal})") } else { format!("{literal} ({literal})") };
        Self { from, by, with, id, at }
    }

    /// The field, with `for` when the copy has a single recipient: with more it would tell one about the others
    /// (RFC 5321 section 7.2). An address beyond ASCII is left out, since the field must stay ASCII.
    pub(super) fn line(&self, only: Option<&Mailbox>) -> Result<Line, ValueError> {
        let by = format!("by {}", self.by);
        let with = format!("with {}", self.with.keyword());
        let date = self.at.rfc5322();
        let line = Line::new("Received").word("from")?.word(&self.from)?.word(&by)?.word(&with)?;
        match only.filter(|mailbox| mailbox.as_str().bytes().all(|b| b.is_ascii_graphic())) {
            Some(mailbox) => line.word(&format!("id {}", self.id))?.word(&format!("for <{}>;", mailbox.as_str()))?,
            None => line.word(&format!("id {};", self.id))?,
        }
        .word(&date)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::edit::Edit;
    use crate::message::section::HeaderSection;

    fn text(line: Line) -> String {
        let section = HeaderSection::parse(bytes::Bytes::from_static(b"From: a\r\n\r\n")).unwrap();
        let mut edit = Edit::new(&section);
        edit.put_top(line);
        String::from_utf8(edit.write().to_vec()).unwrap().replace("\r\nFrom: a\r\n\r\n", "")
    }

    fn domain(text: &str) -> Domain {
        Domain::parse(text).unwrap()
    }

    fn received(helo: &str, peer: &str) -> ReceivedLine {
        let with = Transport { extended: true, tls: true, authenticated: true, utf8: false };
        let id = QueueId::from_u64(7);
        ReceivedLine::new(helo, peer.parse().unwrap(), domain("gw.example"), with, id, Timestamp::from_secs(0))
    }

    #[test]
    fn received_names_the_recipient_only_when_there_is_one() {
        let line = received("tool.example", "192.0.2.1");
        let to = Mailbox::parse("a@b.example").unwrap();
        assert_eq!(
            text(line.line(Some(&to)).unwrap()),
            "Received: from tool.example ([192.0.2.1]) by gw.example with ESMTPSA\r\n id 0000000000007 for <a@b.example>; Thu, 01 Jan 1970 00:00:00 +0000"
        );
        assert_eq!(
            text(line.line(None).unwrap()),
            "Received: from tool.example ([192.0.2.1]) by gw.example with ESMTPSA\r\n id 0000000000007; Thu, 01 Jan 1970 00:00:00 +0000"
        );
        let quoted = Mailbox::parse("\"a b\"@b.example").unwrap();
        assert!(!text(line.line(Some(&quoted)).unwrap()).contains("for"));
    }

    #[test]
    fn a_helo_cannot_shape_the_header() {
        for bad in ["a\r\nBcc: v", "a b", "<script>", "a(b", "é", "", "a;b", &"a".repeat(HELO_MAX + 1)] {
            let line = text(received(bad, "::ffff:192.0.2.1").line(None).unwrap());
            assert!(line.starts_with("Received: from [192.0.2.1] ([192.0.2.1]) by"), "{line}");
        }
        let line = text(received(&"a".repeat(HELO_MAX), "2001:db8::1").line(None).unwrap());
        assert!(line.contains(&format!("{} ([IPv6:2001:db8::1])", "a".repeat(HELO_MAX))));
    }

    #[test]
    fn with_words_are_the_registered_ones() {
        let word = |extended, tls, authenticated, utf8| Transport { extended, tls, authenticated, utf8 }.keyword();
        assert_eq!(word(false, false, false, false), "SMTP");
        assert_eq!(word(true, false, false, false), "ESMTP");
        assert_eq!(word(true, false, true, false), "ESMTPA");
        assert_eq!(word(true, true, false, false), "ESMTPS");
        assert_eq!(word(true, true, true, true), "UTF8SMTPSA");
        assert_eq!(word(true, false, false, true), "UTF8SMTP");
    }

    #[test]
    fn list_ids_are_dot_atoms_under_a_domain() {
        let list = |name: &str| ListName::new(name).unwrap();
        let id = ListId::new(Some("Weekly \"best\" \\o/"), &list("weekly"), &domain("l.example")).unwrap();
        assert_eq!(text(id.line().unwrap()), "List-Id: \"Weekly \\\"best\\\" \\\\o/\" <weekly.l.example>");
        for name in [".a", "a.", "a..b"] {
            assert!(ListId::new(None, &list(name), &domain("l.example")).is_err(), "{name}");
        }
        assert!(ListId::new(None, &list("a"), &domain("[192.0.2.1]")).is_err());
        for phrase in ["a\r\nb", "é", ""] {
            assert!(ListId::new(Some(phrase), &list("a"), &domain("l.example")).is_err(), "{phrase:?}");
        }
        assert!(ListId::new(Some(&"p".repeat(PHRASE_MAX)), &list("a"), &domain("l.example")).is_ok());
        assert!(ListId::new(Some(&"p".repeat(PHRASE_MAX + 1)), &list("a"), &domain("l.example")).is_err());
    }

    #[test]
    fn list_ids_are_checked_at_and_past_the_limit() {
        let label = "d".repeat(63);
        let long = domain(&format!("{label}.{label}.{}.example", "e".repeat(55)));
        let fill = |n: usize| ListName::new(&"l".repeat(n)).unwrap();
        let room = LIST_ID_MAX - long.as_str().len() - 1;
        assert!(ListId::new(None, &fill(room), &long).is_ok());
        assert!(ListId::new(None, &fill(room + 1), &long).is_err());
    }

    #[test]
    fn feedback_ids_have_one_to_four_parts() {
        for good in ["sender", "a:b:c:sender", ":::sender", &"s".repeat(FEEDBACK_PART_MAX)] {
            assert!(FeedbackId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a:", "a:b:c:d:e", "a b", "a\r\nBcc: v", "é", &"s".repeat(FEEDBACK_PART_MAX + 1)] {
            assert!(FeedbackId::parse(bad).is_err(), "{bad:?}");
        }
    }
}
