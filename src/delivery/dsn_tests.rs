//! Reports, read back by an independent parser.

use std::sync::Arc;

use mail_parser::{MessageParser, MimeHeaders};
use proptest::prelude::*;

use super::*;
use crate::mail::{
    BodyType, ControllerId, EnvelopeId, Label, OriginalRecipient, Recipient, Reply, ReplyCode, Reporting, Ret,
    StreamName,
};
use crate::spool::Manifest;
use crate::time::Timestamp;

fn entry(reverse_path: ReversePath, header: &[u8]) -> Entry {
    let label = Label {
        stream: StreamName::new("news").unwrap(),
        controller: ControllerId::new("acme").unwrap(),
        list: None,
        campaign: None,
    };
    let received = Timestamp::from_secs(1_795_482_123);
    let manifest = Manifest {
        reverse_path,
        label,
        body_type: BodyType::SevenBit,
        smtputf8: false,
        reporting: Reporting::default(),
        received,
        expires: received,
    };
    Entry {
        id: QueueId::from_u64(7),
        manifest: Arc::new(manifest),
        header: Bytes::copy_from_slice(header),
        body: crate::spool::Body::Memory(Bytes::new()),
        attempts: 3,
    }
}

fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text).unwrap()
}

fn failure(address: &str, kind: FindingKind, code: u16, text: &str) -> Finding {
    Finding {
        recipient: Recipient::new(mailbox(address)),
        kind,
        reply: Reply::received(ReplyCode::new(code).unwrap(), text),
        said_by_upstream: kind == FindingKind::Bounced,
        upstream: Some(Arc::from("relay.example")),
        at: Timestamp::from_secs(1_795_482_999),
    }
}

fn report(reverse_path: ReversePath, header: &[u8], failures: &[Finding]) -> Option<Report> {
    let entry = entry(reverse_path, header);
    let hostname = Domain::parse("gateway.example").unwrap();
    let id = QueueId::from_u64(99);
    compose(&About { entry: &entry, findings: failures, hostname: &hostname, id })
}

fn sender() -> ReversePath {
    ReversePath::Mailbox(mailbox("bounces@x.example"))
}

fn whole(report: &Report) -> Vec<u8> {
    [report.header.as_ref(), report.body.as_ref()].concat()
}

fn asking(ret: Option<Ret>, header: &[u8], body: &[u8]) -> Entry {
    let mut entry = entry(sender(), header);
    let reporting = Reporting { ret, envelope_id: Some(EnvelopeId::parse("Q+2B1+20x").unwrap()) };
    entry.manifest = Arc::new(Manifest { reporting, ..Manifest::clone(&entry.manifest) });
    entry.body = crate::spool::Body::Memory(Bytes::copy_from_slice(body));
    entry
}

fn report_on(entry: &Entry, findings: &[Finding]) -> Vec<u8> {
    let hostname = Domain::parse("gateway.example").unwrap();
    let id = QueueId::from_u64(99);
    whole(&compose(&About { entry, findings, hostname: &hostname, id }).unwrap())
}

/// Octet by octet: CRLF only, seven bits, lines that pass everywhere.
fn assert_clean(message: &[u8]) {
    let text = std::str::from_utf8(message).unwrap();
    assert!(text.is_ascii() && text.ends_with("\r\n"));
    for line in text.split("\r\n") {
        assert!(!line.contains(['\r', '\n', '\0']) && line.len() <= 998, "{line:?}");
    }
}

#[test]
fn nobody_reports_to_the_null_reverse_path_or_about_nothing() {
    let failures = [failure("a@y.example", FindingKind::Bounced, 550, "no")];
    assert_eq!(report(ReversePath::Null, b"A: b\r\n\r\n", &failures), None);
    assert_eq!(report(sender(), b"A: b\r\n\r\n", &[]), None);
}

#[test]
fn one_report_holds_three_parts_about_all_failures() {
    let failures = [
        failure("a@y.example", FindingKind::Bounced, 550, "5.1.1 unknown"),
        failure("b@y.example", FindingKind::Expired, 451, "4.4.1 nobody there"),
    ];
    let made = report(sender(), b"Subject: hello\r\nX: y\r\n\r\n", &failures).unwrap();
    assert_eq!(made.recipient, mailbox("bounces@x.example"));
    let message = whole(&made);
    assert_clean(&message);
    assert!(made.header.ends_with(b"\r\n\r\n"));
    let header = std::str::from_utf8(&made.header).unwrap();
    for field in [
        "From: Mail Delivery System <MAILER-DAEMON@gateway.example>\r\n",
        "To: <bounces@x.example>\r\n",
        "Auto-Submitted: auto-replied\r\n",
        "MIME-Version: 1.0\r\n",
        "Date: Tue, 24 Nov 2026 01:16:39 +0000\r\n",
    ] {
        assert!(header.contains(field), "{field} not in {header}");
    }
    let parsed = MessageParser::default().parse(&message).unwrap();
    let kind = parsed.content_type().unwrap();
    assert_eq!((kind.ctype(), kind.subtype()), ("multipart", Some("report")));
    assert_eq!(kind.attribute("report-type"), Some("delivery-status"));
    let kinds: Vec<_> = parsed.parts[1..].iter().filter_map(|p| p.content_type()?.subtype()).collect();
    assert_eq!(kinds, ["plain", "delivery-status", "rfc822-headers"]);

    let status = String::from_utf8(parsed.parts[2].contents().to_vec()).unwrap();
    for field in [
        "Reporting-MTA: dns; gateway.example\r\n",
        "Final-Recipient: rfc822; a@y.example\r\nAction: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; relay.example\r\n\
         Diagnostic-Code: smtp;\r\n 550 5.1.1 unknown\r\n",
        "Final-Recipient: rfc822; b@y.example\r\nAction: failed\r\nStatus: 4.4.7\r\n\
         Diagnostic-Code: x-consentry;\r\n 451 4.4.1 nobody there\r\n",
    ] {
        assert!(status.contains(field), "{field} not in {status}");
    }
    assert_eq!(status.split("\r\n\r\n").count(), 3, "one group for the message, one for each recipient");
    assert!(String::from_utf8_lossy(parsed.parts[3].contents()).contains("Subject: hello"));
}

#[test]
fn a_delay_is_told_as_one_and_not_as_an_end() {
    let findings = [failure("a@y.example", FindingKind::Delayed, 451, "4.3.0 later")];
    let text = String::from_utf8(whole(&report(sender(), b"Subject: x\r\n\r\n", &findings).unwrap())).unwrap();
    for wanted in
        ["Subject: Delayed mail", "Action: delayed\r\nStatus: 4.3.0\r\n", "Will-Retry-Until: ", "you need not send"]
    {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    let both = [findings[0].clone(), failure("b@y.example", FindingKind::Bounced, 550, "5.1.1 no")];
    let text = String::from_utf8(whole(&report(sender(), b"Subject: x\r\n\r\n", &both).unwrap())).unwrap();
    assert!(text.contains("Undelivered mail") && text.contains("Action: failed") && text.contains("Action: delayed"));
}

#[test]
fn the_senders_own_names_for_envelope_and_recipient_come_back_without_xtext() {
    let mut finding = failure("a@y.example", FindingKind::Bounced, 550, "5.1.1 unknown");
    finding.recipient.original = Some(OriginalRecipient::parse("rfc822;a+2Bb@z.example").unwrap());
    let message = String::from_utf8(report_on(&asking(None, b"A: b\r\n\r\n", b""), &[finding])).unwrap();
    assert!(message.contains("\r\nOriginal-Envelope-Id: Q+1 x\r\n"), "{message}");
    assert!(
        message
            .contains("\r\n\r\nOriginal-Recipient: rfc822; a+b@z.example\r\nFinal-Recipient: rfc822; a@y.example\r\n"),
        "{message}"
    );
}

#[test]
fn what_was_passed_on_to_a_server_without_reports_is_relayed() {
    let relayed = failure("a@y.example", FindingKind::Relayed, 250, "2.0.0 queued");
    let message = report_on(&asking(Some(Ret::Full), b"A: b\r\n\r\n", b"body\r\n"), &[relayed]);
    assert_clean(&message);
    let text = String::from_utf8(message).unwrap();
    assert!(text.contains("Action: relayed\r\nStatus: 2.0.0\r\n") && text.contains("Subject: Mail passed on\r\n"));
    assert!(text.contains("text/rfc822-headers") && !text.contains("body\r\n"), "RFC 3461 section 4.3: {text}");
}

#[test]
fn the_whole_message_comes_back_when_it_is_asked_for_and_passes_everywhere() {
    let failures = [failure("a@y.example", FindingKind::Bounced, 550, "no")];
    let header = b"Subject: hello\r\n\r\n".as_slice();
    let of_length = |octets: usize| {
        let line = |octets: usize| format!("{}\r\n", "x".repeat(octets - 2));
        (line(100).repeat(octets / 100 - 1) + &line(100 + octets % 100)).into_bytes()
    };
    let longest = of_length(RETURNED_MESSAGE_MAX - header.len());
    let past = of_length(RETURNED_MESSAGE_MAX - header.len() + 1);
    for (ret, body, expected) in [
        (Some(Ret::Full), b"body\r\n".as_slice(), "rfc822"),
        (Some(Ret::Full), &longest, "rfc822"),
        (Some(Ret::Full), &past, "rfc822-headers"),
        (Some(Ret::Full), "\u{e9}\r\n".as_bytes(), "rfc822-headers"),
        (Some(Ret::Full), b"--=_report_99--\r\n", "rfc822-headers"),
        (Some(Ret::Headers), b"body\r\n", "rfc822-headers"),
        (None, b"body\r\n", "rfc822-headers"),
    ] {
        let body = if body.starts_with(b"--") {
            format!("--=_report_{}--\r\n", QueueId::from_u64(99)).into_bytes()
        } else {
            body.to_vec()
        };
        let message = report_on(&asking(ret, header, &body), &failures);
        assert_clean(&message);
        let parsed = MessageParser::default().parse(&message).unwrap();
        let kind = parsed.parts[3].content_type().unwrap().subtype().unwrap();
        assert_eq!(kind, expected, "{ret:?}, {} octets", body.len());
    }
}

#[test]
fn what_is_not_ascii_is_escaped() {
    let failures = [failure("j\u{f6}rg+x@y.example", FindingKind::Bounced, 550, "n\u{f6} \u{202e}\u{1b}[2J")];
    let path = ReversePath::Mailbox(mailbox("\u{e9}@x.example"));
    let made = report(path, "Subject: \u{e9}\r\n\r\n".as_bytes(), &failures).unwrap();
    let message = whole(&made);
    assert_clean(&message);
    let text = String::from_utf8(message).unwrap();
    assert!(text.contains("To: undisclosed-recipients:;\r\n"));
    assert!(text.contains("Final-Recipient: utf-8; j\\x{F6}rg\\x{2B}x@y.example\r\n"));
    assert!(text.contains("Status: 5.0.0\r\n") && text.contains("550 n? ??[2J"));
}

#[test]
fn the_returned_header_is_bounded_in_whole_lines() {
    let line = format!("X: {}\r\n", "x".repeat(59));
    let fits = line.repeat(RETURNED_HEADER_MAX / 64);
    assert_eq!(returned_header(fits.as_bytes()).len(), RETURNED_HEADER_MAX);
    let past = format!("{fits}{line}\r\n");
    assert_eq!(returned_header(past.as_bytes()).len(), RETURNED_HEADER_MAX);
}

#[test]
fn long_words_are_broken_and_short_ones_kept() {
    let text = format!("{} {}", "word ".repeat(40), "x".repeat(1200));
    let folded = fold(&text, " ");
    assert!(folded.split("\r\n").all(|line| line.len() <= WORD_MAX + 1), "{folded}");
    assert_eq!(folded.replace("\r\n", "").replace(' ', ""), text.replace(' ', ""));
}

proptest! {
    #[test]
    fn no_upstream_can_write_into_the_structure(said in ".{0,300}", header in "(\\PC{0,40}\r\n){0,5}\r\n", code in 200_u16..600) {
        let failures = [failure("a@y.example", FindingKind::Bounced, code, &said)];
        let made = report(sender(), header.as_bytes(), &failures).unwrap();
        let message = whole(&made);
        assert_clean(&message);
        let parsed = MessageParser::default().parse(&message).unwrap();
        prop_assert_eq!(parsed.parts.len(), 4);
        let status = String::from_utf8(parsed.parts[2].contents().to_vec()).unwrap();
        prop_assert_eq!(status.matches("\r\nFinal-Recipient:").count(), 1);
        prop_assert_eq!(status.split("\r\n\r\n").count(), 2);
    }
}
