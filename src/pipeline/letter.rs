//! Letters of our own to a person, in plain text and 7-bit.

use bytes::Bytes;
use lettre::message::header::{self, ContentTransferEncoding, ContentType, Headers};
use lettre::message::{Body as Encoded, Mailbox as Written, Mailboxes};

use crate::mail::{Domain, Mailbox};
use crate::time::Timestamp;

/// Why nobody typed this letter (RFC 3834 section 5): vacation programs answer neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Automatic {
    /// It answers something that the person sent or pressed.
    Replied,
    /// It was caused by something else.
    Generated,
}

impl Automatic {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Replied => "auto-replied",
            Self::Generated => "auto-generated",
        }
    }
}

/// Who writes to whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Letter<'a> {
    /// The name that the person knows.
    pub(super) brand: &'a str,
    /// The author's mailbox.
    pub(super) from: &'a str,
    /// The person.
    pub(super) to: &'a Mailbox,
    /// Domain of the Message-ID.
    pub(super) host: &'a Domain,
    /// When.
    pub(super) now: Timestamp,
    /// Why.
    pub(super) kind: Automatic,
}

impl Letter<'_> {
    /// Header section with its blank line, and body, all of it 7-bit. `None` when our own mailbox is none to lettre.
    pub(super) fn compose(self, id: &str, subject: &str, text: &str) -> Option<(Bytes, Bytes)> {
        let Self { from, to, host, now, kind, .. } = self;
        // Names are configured by hand; whatever they hold, they stay one line.
        let (brand, subject) = (one_line(self.brand), one_line(subject));
        let text = format!("{text}\r\n\r\n-- \r\n{brand}\r\n");
        let body = Encoded::new_with_encoding(text, ContentTransferEncoding::QuotedPrintable).ok()?;
        let mut fields = Headers::new();
        let author = Mailboxes::from(Written::new(Some(brand), from.parse().ok()?));
        fields.set(header::From::from(author));
        fields.set(header::Subject::from(subject));
        fields.set(header::MIME_VERSION_1_0);
        fields.set(ContentType::TEXT_PLAIN);
        fields.set(ContentTransferEncoding::QuotedPrintable);
        let written_to = if to.needs_smtputf8() {
            // The address is in the envelope; a header that stays 7-bit cannot hold it (RFC 6854 allows an empty group).
            "undisclosed-recipients:;".to_owned()
        } else {
            format!("<{}>", to.as_str())
        };
        let section = format!(
            "{fields}To: {written_to}\r\nDate: {}\r\nMessage-ID: <{id}@{host}>\r\nAuto-Submitted: {}\r\n\r\n",
            now.rfc5322(),
            kind.as_str()
        );
        Some((Bytes::from(section), Bytes::from(body.into_vec())))
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter<'a>(brand: &'a str, to: &'a Mailbox, host: &'a Domain) -> Letter<'a> {
        let now = Timestamp::from_secs(0);
        Letter { brand, from: "u@u.example", to, host, now, kind: Automatic::Replied }
    }

    #[test]
    fn a_letter_is_seven_bit_and_says_what_it_was_given() {
        let (to, host) = (Mailbox::parse("ann@b.example").unwrap(), Domain::parse("gate.example").unwrap());
        let (subject, text) = ("Désinscription – enregistrée\r\nBcc: z@y.example", "C'est noté : « fini ».");
        let letter = letter("Café \"Brüssel\"\r\nBcc: x@y.example", &to, &host);
        let (header, body) = letter.compose("1", subject, text).unwrap();
        assert!(header.is_ascii() && body.is_ascii());
        let whole = [header.clone(), body].concat();
        let message = mail_parser::MessageParser::default().parse(&whole).unwrap();
        assert!(message.subject().unwrap().starts_with("Désinscription – enregistrée"), "{:?}", message.subject());
        assert!(message.body_text(0).unwrap().starts_with(text));
        assert_eq!(message.from().unwrap().first().unwrap().address(), Some("u@u.example"));
        assert_eq!(message.to().unwrap().first().unwrap().address(), Some("ann@b.example"));
        let names: Vec<_> = message.headers().iter().map(|field| field.name().to_lowercase()).collect();
        assert!(!names.contains(&"bcc".to_owned()) && names.contains(&"auto-submitted".to_owned()), "{names:?}");
        assert_eq!(String::from_utf8(header.to_vec()).unwrap().matches("\r\n\r\n").count(), 1);
    }

    proptest::proptest! {
        #[test]
        fn no_name_is_too_strange(brand in ".{0,80}", subject in ".{0,80}") {
            let (to, host) = (Mailbox::parse("a@b.example").unwrap(), Domain::parse("gate.example").unwrap());
            let (header, body) = letter(&brand, &to, &host).compose("1", &subject, "text").unwrap();
            proptest::prop_assert!(header.is_ascii() && body.is_ascii());
            crate::message::HeaderSection::parse(header).unwrap();
        }
    }
}
