//! The text of delivery reports: RFC 3464 in the multipart/report of RFC 6522, as RFC 3461 section 6 asks for it. Pure.
//!
//! The report is 7-bit whatever the upstream said and the recipients are called, so that it passes everywhere; what
//! an upstream said is quoted as data, never as structure.

use std::fmt::Write;

use bytes::Bytes;
use lettre::message::header::{ContentTransferEncoding, ContentType};
use lettre::message::{Body, MultiPart, SinglePart};

use super::{Finding, FindingKind};
use crate::mail::{Domain, EnvelopeId, Mailbox, QueueId, Ret, ReversePath};
use crate::spool::{Body as StoredBody, Entry};

/// Octets of the failed message's header section that a report returns: enough to tell which message it was.
pub const RETURNED_HEADER_MAX: usize = 16 * 1024;
/// Octets of a message that a report returns whole when its sender asks for it (RET=FULL). Campaign messages stay below;
/// of a larger one the header section tells as much, and a report is not to be a second attachment.
pub const RETURNED_MESSAGE_MAX: usize = 256 * 1024;
/// Octets of one line. RFC 5322 section 2.1.1 wants no more than 78, and never more than 998.
const LINE_MAX: usize = 76;
/// Octets after which a word without blanks is broken.
const WORD_MAX: usize = 500;

/// What a report is about and who sends it.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The copy.
    pub entry: &'a Entry,
    /// What became of its recipients, those about whom the sender wants to hear.
    pub findings: &'a [Finding],
    /// Our own name.
    pub hostname: &'a Domain,
    /// The identifier of the report itself.
    pub id: QueueId,
}

/// A report, to be sent with the null reverse path (RFC 5321 section 6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Where to: the reverse path of the copy.
    pub recipient: Mailbox,
    /// Header section with its blank line.
    pub header: Bytes,
    /// Body.
    pub body: Bytes,
}

/// Composes one report about all findings on a copy. `None` when there is nobody to report to (the null reverse
/// path: a report must never cause another) or nothing to report.
pub fn compose(about: &About<'_>) -> Option<Report> {
    let ReversePath::Mailbox(recipient) = &about.entry.manifest.reverse_path else { return None };
    let at = about.findings.first()?.at;
    let (host, id) = (about.hostname, about.id);
    let boundary = format!("=_report_{id}");
    let kind = format!("multipart/report; report-type=delivery-status; boundary=\"{boundary}\"");
    let parts = MultiPart::builder()
        .header(ContentType::parse(&kind).ok()?)
        .singlepart(part("text/plain; charset=us-ascii", explanation(about))?)
        .singlepart(part("message/delivery-status", status(about))?)
        .singlepart(returned(about, &boundary)?);
    let to = if recipient.needs_smtputf8() {
        // The address is in the envelope; a header that stays 7-bit cannot hold it (RFC 6854 allows an empty group).
        "undisclosed-recipients:;".to_owned()
    } else {
        format!("<{}>", recipient.as_str())
    };
    let mut message = format!(
        "From: Mail Delivery System <MAILER-DAEMON@{host}>\r\nTo: {to}\r\n\
         Subject: {}\r\nDate: {}\r\nMessage-ID: <{id}@{host}>\r\n\
         Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n",
        subject(about),
        at.rfc5322()
    )
    .into_bytes();
    message.extend(parts.formatted());
    let message = Bytes::from(message);
    let end = memchr::memmem::find(&message, b"\r\n\r\n")? + 4;
    Some(Report { recipient: recipient.clone(), header: message.slice(..end), body: message.slice(end..) })
}

fn part(kind: &str, text: String) -> Option<SinglePart> {
    // All texts are made of short ASCII lines with CRLF, so nothing is left to encode.
    let body = Body::dangerous_pre_encoded(text.into_bytes(), ContentTransferEncoding::SevenBit);
    Some(SinglePart::builder().header(ContentType::parse(kind).ok()?).body(body))
}

/// Whether it reports a failure at all: RFC 3461 section 4.3 gives no whole message back otherwise.
fn has_failed(about: &About<'_>) -> bool {
    about.findings.iter().any(|finding| match finding.kind {
        FindingKind::Bounced | FindingKind::Expired => true,
        FindingKind::Delayed | FindingKind::Relayed => false,
    })
}

/// Names the worst that it reports.
fn subject(about: &About<'_>) -> &'static str {
    if has_failed(about) {
        "Undelivered mail returned to sender"
    } else if about.findings.iter().any(|finding| finding.kind == FindingKind::Delayed) {
        "Delayed mail (still being retried)"
    } else {
        "Mail passed on"
    }
}

/// The third part: the message when its sender asked for it and it can be given back as it is, else its header section.
fn returned(about: &About<'_>, boundary: &str) -> Option<SinglePart> {
    let Entry { manifest, header, body, .. } = about.entry;
    match (manifest.reporting.ret, body) {
        (Some(Ret::Full), StoredBody::Memory(body)) if has_failed(about) && fits(header, body, boundary) => {
            part("message/rfc822", String::from_utf8([header.as_ref(), body.as_ref()].concat()).ok()?)
        }
        (Some(Ret::Full | Ret::Headers) | None, StoredBody::Memory(_) | StoredBody::File(_)) => {
            part("text/rfc822-headers", returned_header(header))
        }
    }
}

/// Octets beyond ASCII could meet a server that does not take them, and a report is not sent twice.
fn fits(header: &[u8], body: &[u8], boundary: &str) -> bool {
    header.len() + body.len() <= RETURNED_MESSAGE_MAX
        && [header, body]
            .iter()
            .all(|part| part.is_ascii() && memchr::memmem::find(part, boundary.as_bytes()).is_none())
}

/// For people.
fn explanation(about: &About<'_>) -> String {
    let manifest = &about.entry.manifest;
    let mut text = format!(
        "This is the mail gateway at {}.\r\n\r\n\
         This is about a message of yours, accepted on\r\n{}\r\nunder the number {}.\r\n",
        about.hostname,
        manifest.received.rfc5322(),
        about.entry.id,
    );
    for finding in about.findings {
        let why = match (finding.kind, finding.said_by_upstream) {
            (FindingKind::Bounced, true) => {
                "It could not be delivered. The next mail server refused it with these words:"
            }
            (FindingKind::Bounced, false) => "It cannot be sent:",
            (FindingKind::Expired, _) => "It was tried until its time was over. What the last attempt met:",
            (FindingKind::Delayed, _) => "Delayed and tried on; you need not send it again. The last attempt met:",
            (FindingKind::Relayed, _) => {
                "It was passed on to a mail server that may not report what becomes of it, with these words:"
            }
        };
        let address = fold(&ascii_address(&finding.recipient.mailbox), "  ");
        // Writing into memory cannot fail.
        let _written = write!(text, "\r\n  {address}\r\n{why}\r\n    {}\r\n", fold(&said(finding), "    "));
    }
    text
}

/// For programs: RFC 3464 section 2.
fn status(about: &About<'_>) -> String {
    let manifest = &about.entry.manifest;
    let mut text =
        format!("Reporting-MTA: dns; {}\r\nArrival-Date: {}\r\n", about.hostname, manifest.received.rfc5322());
    if let Some(id) = &manifest.reporting.envelope_id {
        let _written = write!(text, "Original-Envelope-Id: {}\r\n", EnvelopeId::as_str(id));
    }
    for finding in about.findings {
        let mailbox = &finding.recipient.mailbox;
        let kind = if mailbox.needs_smtputf8() { "utf-8" } else { "rfc822" };
        let (diagnostic, remote) = if finding.said_by_upstream {
            let remote = finding.upstream.as_deref().map(|host| format!("Remote-MTA: dns; {}\r\n", ascii(host)));
            ("smtp", remote.unwrap_or_default())
        } else {
            ("x-consentry", String::new())
        };
        // RFC 3461 section 6.3: without xtext; it is printable, so it stays on its line.
        let original = finding.recipient.original.as_ref().map_or(String::new(), |original| {
            format!("Original-Recipient: {}; {}\r\n", original.kind(), ascii(&original.ascii_address()))
        });
        let _written = write!(
            text,
            "\r\n{original}Final-Recipient: {kind}; {}\r\nAction: {}\r\nStatus: {}\r\n{remote}\
             Diagnostic-Code: {diagnostic};\r\n {}\r\nLast-Attempt-Date: {}\r\n",
            ascii_address(mailbox),
            action(finding.kind),
            status_code(finding),
            fold(&said(finding), " "),
            finding.at.rfc5322(),
        );
        if finding.kind == FindingKind::Delayed {
            let _written = write!(text, "Will-Retry-Until: {}\r\n", manifest.expires.rfc5322());
        }
    }
    text
}

/// RFC 3464 section 2.3.3.
const fn action(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::Bounced | FindingKind::Expired => "failed",
        FindingKind::Delayed => "delayed",
        FindingKind::Relayed => "relayed",
    }
}

/// RFC 3463: what the upstream said when it fits the failure, else the code that says the least.
fn status_code(finding: &Finding) -> String {
    match (finding.kind, finding.reply.enhanced()) {
        (FindingKind::Expired, _) => "4.4.7".to_owned(),
        (FindingKind::Bounced, Some(status)) if status.class == 5 => status.to_string(),
        (FindingKind::Bounced, _) => "5.0.0".to_owned(),
        (FindingKind::Delayed, Some(status)) if status.class == 4 => status.to_string(),
        (FindingKind::Delayed, _) => "4.0.0".to_owned(),
        (FindingKind::Relayed, Some(status)) if status.class == 2 => status.to_string(),
        (FindingKind::Relayed, _) => "2.0.0".to_owned(),
    }
}

fn said(finding: &Finding) -> String {
    ascii(&finding.reply.to_string())
}

/// Printable ASCII as it is, everything else as a question mark.
fn ascii(text: &str) -> String {
    text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect()
}

/// RFC 6533 section 3: `\x{e9}` for what is not ASCII.
fn ascii_address(mailbox: &Mailbox) -> String {
    let mut out = String::new();
    let escape = mailbox.needs_smtputf8();
    for c in mailbox.as_str().chars() {
        if c.is_ascii() && !(escape && matches!(c, '\\' | '+' | '=')) {
            out.push(c);
        } else {
            let _written = write!(out, "\\x{{{:X}}}", u32::from(c));
        }
    }
    out
}

/// Breaks `text` into lines that go on with `indent`. Words are kept whole as long as a line can hold them at all.
fn fold(text: &str, indent: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 16);
    let mut column = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        for (index, piece) in chunks(word).enumerate() {
            let first = column == 0;
            if !first && (index > 0 || column + 1 + piece.len() > LINE_MAX) {
                out.push_str("\r\n");
                out.push_str(indent);
                column = 0;
            } else if !first {
                out.push(' ');
                column += 1;
            }
            out.push_str(piece);
            column += piece.len();
        }
    }
    out
}

/// `word` in pieces of at most [`WORD_MAX`]; it is ASCII, so every cut is between characters.
fn chunks(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at_checked(WORD_MAX).unwrap_or((rest, ""));
        rest = after;
        Some(piece)
    })
}

/// The first whole lines of the failed message's header, made 7-bit.
fn returned_header(header: &[u8]) -> String {
    let mut out = String::new();
    for line in header.split(|octet| *octet == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || out.len() + line.len() + 2 > RETURNED_HEADER_MAX {
            break;
        }
        // The intake lets no line longer than 998 octets in; one that is would break this report.
        let shown = line.iter().take(998).map(|b| if *b == b'\t' || matches!(b, b' '..=b'~') { *b } else { b'?' });
        out.extend(shown.map(char::from));
        out.push_str("\r\n");
    }
    out
}

#[cfg(test)]
#[path = "dsn_tests.rs"]
mod tests;
