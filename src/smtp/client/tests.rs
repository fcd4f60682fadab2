//! Sessions against scripted upstreams.

mod secure;

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;

use super::script::{Upstream, settings};
use super::*;

const OPEN: &str =
    "S: 220 up.example ESMTP\nC: EHLO gateway.example\nS: 250-up.example\nS: 250-PIPELINING\nS: 250 SIZE 1000000\n";
const PLAIN: &str = "S: 220 up.example ESMTP\nC: EHLO\nS: 250 up.example\n";
const GROUP: &str = "C: MAIL FROM:<sender@x.example>\nC: RCPT TO:<a@y.example>\nC: DATA\n";
const GO: &str = "S: 250 ok\nS: 250 ok\nS: 354 go\n";

fn mailbox(text: &str) -> crate::mail::Mailbox {
    crate::mail::Mailbox::parse(text).unwrap()
}

fn message_to(recipients: &[&str], body: &str, declared: Declared) -> Outgoing {
    let recipients = recipients.iter().map(|text| Recipient::new(mailbox(text))).collect();
    let body = Payload::Memory(Bytes::copy_from_slice(body.as_bytes()));
    let header = Bytes::from_static(b"Subject: x\r\n\r\n");
    Outgoing::new(ReversePath::Mailbox(mailbox("sender@x.example")), recipients, header, body, declared).unwrap()
}

fn message(body: &str) -> Outgoing {
    message_to(&["a@y.example"], body, Declared::default())
}

async fn open(upstream: &Upstream) -> Result<Session, ClientError> {
    open_with(upstream, &settings()).await
}

async fn open_with(upstream: &Upstream, settings: &Settings) -> Result<Session, ClientError> {
    Session::open(&Target::new("127.0.0.1", [upstream.address]), settings, 0).await
}

/// Envelope and content of one message.
async fn send(session: &mut Session, message: &Outgoing) -> Result<Reply, String> {
    let replies = session.envelope(message).await.map_err(|error| format!("envelope: {error}"))?;
    if !replies.goes_ahead() {
        session.abandon(&replies).await.map_err(|error| format!("abandon: {error}"))?;
        return Err("does not go ahead".to_owned());
    }
    session.content(message, None).await.map_err(|i| format!("content (sent: {}): {}", i.sent, i.error))
}

#[tokio::test]
async fn a_pipelined_message_costs_one_group_and_its_content() {
    let script = format!("{OPEN}{GROUP}{GO}TAKE\nS: 250 2.0.0 queued as 1\nC: QUIT\nS: 221 bye");
    let upstream = Upstream::play(&[&script]).await;
    let mut session = open(&upstream).await.unwrap();
    let reply = send(&mut session, &message(".a\r\nb")).await.unwrap();
    assert_eq!(reply.to_string(), "250 2.0.0 queued as 1");
    session.quit().await;
    let heard = upstream.heard().await;
    assert_eq!(heard[1], "MAIL FROM:<sender@x.example> SIZE=19");
    assert_eq!(heard[4], "Subject: x\r\n\r\n..a\r\nb\r\n", "a dot doubled, the missing line end added");
}

#[tokio::test]
async fn no_empty_line_is_added_to_a_body_that_ends_in_a_line_end_and_none_to_an_empty_one() {
    let script = format!("{OPEN}{GROUP}{GO}TAKE\nS: 250 ok\n{GROUP}{GO}TAKE\nS: 250 ok");
    let upstream = Upstream::play(&[&script]).await;
    let mut session = open(&upstream).await.unwrap();
    send(&mut session, &message("a\r\n")).await.unwrap();
    send(&mut session, &message("")).await.unwrap();
    let heard = upstream.heard().await;
    assert_eq!((heard[4].as_str(), heard[8].as_str()), ("Subject: x\r\n\r\na\r\n", "Subject: x\r\n\r\n"));
}

#[tokio::test]
async fn without_pipelining_each_reply_is_awaited() {
    let step =
        "C: MAIL\nS: 250 ok\nC: RCPT TO:<a@\nS: 550 no\nC: RCPT TO:<b@\nS: 250 ok\nC: DATA\nS: 354 go\nTAKE\nS: 250 ok";
    let upstream = Upstream::play(&[&format!("{PLAIN}{step}")]).await;
    let mut session = open(&upstream).await.unwrap();
    let two = message_to(&["a@y.example", "b@y.example"], "x\r\n", Declared::default());
    let next = message("next");
    let replies = session.envelope(&two).await.unwrap();
    assert!(replies.goes_ahead() && replies.recipients[0].code().is_permanent());
    let reply = session.content(&two, Some(&next)).await.unwrap();
    assert!(reply.code().is_success());
    assert_eq!(upstream.heard().await[1], "MAIL FROM:<sender@x.example>", "nothing unasked for");
}

#[tokio::test]
async fn helo_is_said_where_ehlo_is_not_known_and_nowhere_else() {
    let upstream =
        Upstream::play(&["S: 220 x\nC: EHLO\nS: 502 what\nC: HELO gateway.example\nS: 250-x\nS: 250 PIPELINING"]).await;
    assert!(!open(&upstream).await.unwrap().offers().pipelining);
    for refused in [
        "S: 554 go away",
        "S: 421 busy",
        "S: 250 strange",
        "S: 220 x\nC: EHLO\nS: 554 no",
        "S: 220 x\nC: EHLO\nS: 421 no",
    ] {
        let upstream = Upstream::play(&[refused]).await;
        let error = open(&upstream).await.unwrap_err();
        assert!(matches!(error, ClientError::Refused { .. } | ClientError::Closing { .. }), "{refused}: {error}");
    }
}

#[tokio::test]
async fn the_envelope_of_the_next_message_rides_behind_the_dot_even_when_the_dot_is_refused() {
    let script = format!(
        "{OPEN}{GROUP}{GO}TAKE\n{GROUP}S: 554 5.6.0 no\n{GO}TAKE\n{GROUP}S: 250 ok\nS: 250 ok\nS: 550 5.1.1 gone\nS: 554 no recipients\nC: RSET\nS: 250 ok\n{GROUP}{GO}TAKE\nS: 250 ok"
    );
    let upstream = Upstream::play(&[&script]).await;
    let mut session = open(&upstream).await.unwrap();
    let (first, second, third) = (message("1\r\n"), message("2\r\n"), message("3\r\n"));
    assert!(session.envelope(&first).await.unwrap().goes_ahead());
    assert_eq!(session.content(&first, Some(&second)).await.unwrap().to_string(), "554 5.6.0 no");
    assert!(session.envelope(&second).await.unwrap().goes_ahead());
    assert!(session.content(&second, Some(&third)).await.unwrap().code().is_success());
    let replies = session.envelope(&third).await.unwrap();
    assert!(!replies.goes_ahead());
    assert_eq!(replies.recipients[0].to_string(), "550 5.1.1 gone");
    session.abandon(&replies).await.unwrap();
    assert!(send(&mut session, &third).await.unwrap().code().is_success());
    let contents: Vec<String> = upstream.heard().await.into_iter().filter(|h| h.starts_with("Subject")).collect();
    assert_eq!(contents.iter().map(|c| &c[14..15]).collect::<String>(), "123");
}

#[tokio::test]
async fn a_354_that_nobody_profits_from_is_answered_with_a_lone_dot() {
    let refused = "S: 250 ok\nS: 550 no\nS: 354 go\nTAKE\n";
    let script = format!("{OPEN}{GROUP}{refused}S: 554 no recipients\n{GROUP}{GO}TAKE\nS: 250 ok");
    let upstream = Upstream::play(&[&script]).await;
    let mut session = open(&upstream).await.unwrap();
    assert_eq!(send(&mut session, &message("x")).await.unwrap_err(), "does not go ahead");
    assert!(send(&mut session, &message("x")).await.is_ok());
    assert_eq!(upstream.heard().await[4], "", "nothing but the dot");

    let upstream = Upstream::play(&[&format!("{OPEN}{GROUP}{refused}S: 250 taken")]).await;
    let mut session = open(&upstream).await.unwrap();
    assert!(send(&mut session, &message("x")).await.unwrap_err().starts_with("abandon: protocol error"));
}

/// Each of these ends the session with a named error, nothing delivered and, before the dot, nothing `sent`.
#[tokio::test]
async fn replies_out_of_place_end_the_session() {
    let cases = [
        ("S: 354 go\nS: 250 ok\nS: 354 go", "envelope: protocol error at MAIL"),
        ("S: 250 ok\nS: 354 go\nS: 354 go", "envelope: protocol error at RCPT"),
        ("S: 250 ok\nS: 250 ok\nS: 250 ok", "envelope: protocol error at DATA"),
        ("S: 250 ok\nS: 250 ok\nS: 334 x", "envelope: protocol error at DATA"),
        ("S: 550 no\nS: 250 ok\nS: 550 no", "envelope: protocol error at RCPT"),
        ("S: 550 no\nS: 550 no\nS: 354 go", "envelope: protocol error at DATA"),
        ("S: 421 bye", "envelope: the upstream closes"),
        ("S: 250 ok\nS: 421 bye", "envelope: the upstream closes"),
        ("S: 250 ok\nS: 250 ok\nS: 421 bye", "envelope: the upstream closes"),
        ("S: 250 ok\nS: 250 ok", "envelope: the upstream closed the connection at DATA"),
        ("RAW: 250 ok\\r\\n250 ok\\r\\n354 go\\r\\n550 no\\r\\n", "content (sent: false): protocol error"),
        ("RAW: 250-a\\r\\n550 b\\r\\n", "envelope: protocol error at MAIL: lines of one reply"),
        ("RAW: 250 a\\n", "envelope: protocol error at MAIL: reply line ends in a bare"),
        ("RAW: hello\\r\\n", "envelope: protocol error at MAIL: reply line without"),
        ("S: 250 ok\nS: 250 ok\nS: 354 go\nTAKE\nS: 354 more", "content (sent: true): protocol error"),
        ("S: 250 ok\nS: 250 ok\nS: 354 go\nTAKE", "content (sent: true): the upstream closed"),
        ("S: 250 ok\nS: 250 ok\nS: 354 go\nTAKE\nRAW: 25", "content (sent: true): the upstream closed"),
        ("S: 250 ok\nS: 250 ok\nS: 354 go\nTAKE\nS: 421 no", "content (sent: false): the upstream closes"),
    ];
    for (script, expected) in cases {
        let upstream = Upstream::play(&[&format!("{OPEN}{GROUP}{script}")]).await;
        let mut session = open(&upstream).await.unwrap();
        let error = send(&mut session, &message("x")).await.unwrap_err();
        assert!(error.starts_with(expected), "{script}\nexpected {expected}\ngot {error}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_dot_has_left_makes_no_duplicate() {
    // More than the network holds between the two, so that the end of it cannot have left.
    let large = message(&"a line of some length\r\n".repeat(1_500_000));
    let upstream =
        Upstream::play(&[&format!("{OPEN}C: MAIL\nC: RCPT\nC: DATA\n{GO}EAT: 10\nRST").replace(" 1000000", "")]).await;
    let mut session = open(&upstream).await.unwrap();
    let error = send(&mut session, &large).await.unwrap_err();
    assert!(error.starts_with("content (sent: false): the connection broke"), "{error}");
}

#[tokio::test]
async fn endless_replies_cost_a_bounded_amount() {
    let endless_lines = "S: 250-x\n".repeat(200);
    let long_line = format!("RAW: 250 {}", "x".repeat(10_000_000));
    for script in [endless_lines, long_line] {
        let upstream = Upstream::play(&[&format!("{OPEN}{GROUP}{script}\nSTALL")]).await;
        let mut session = open(&upstream).await.unwrap();
        let error = session.envelope(&message("x")).await.unwrap_err();
        assert!(matches!(error, ClientError::Garbled { .. }), "{error}");
        let space = session.replies.space().capacity();
        assert!(space <= 4 * crate::smtp::wire::reply::REPLY_MAX, "{space}");
        drop(session);
        upstream.heard().await;
    }
}

#[tokio::test]
async fn a_stale_reply_before_a_new_envelope_is_noticed() {
    let script = format!("{OPEN}{GROUP}{GO}TAKE\nRAW: 550 early\\r\\n250 late\\r\\n");
    let upstream = Upstream::play(&[&script]).await;
    let mut session = open(&upstream).await.unwrap();
    assert!(send(&mut session, &message("x")).await.unwrap().code().is_permanent());
    let error = send(&mut session, &message("x")).await.unwrap_err();
    assert!(error.starts_with("envelope: protocol error at MAIL: a reply that nothing"), "{error}");
}

#[tokio::test]
async fn a_shift_by_one_never_reaches_the_content_of_the_next_message() {
    let script = format!("{OPEN}{GROUP}{GO}TAKE\n{GROUP}S: 550 early\nS: 250 late\n{GO}");
    let upstream = Upstream::play(&[&script]).await;
    let mut session = open(&upstream).await.unwrap();
    let (first, second) = (message("1"), message("2"));
    session.envelope(&first).await.unwrap();
    session.content(&first, Some(&second)).await.unwrap();
    let error = session.envelope(&second).await.unwrap_err();
    assert!(matches!(error, ClientError::OutOfStep { stage: Stage::Data, .. }), "{error}");
}

#[tokio::test]
async fn what_an_upstream_cannot_take_is_known_before_anything_is_sent() {
    let upstream = Upstream::play(&["S: 220 x\nC: EHLO\nS: 250-x\nS: 250 SIZE 20\nSTALL"]).await;
    let session = open(&upstream).await.unwrap();
    assert_eq!(session.fits(&message("123456")), Ok(()));
    assert_eq!(session.fits(&message("1234567")), Err(Misfit::Size { size: 21, limit: 20 }));
    let declared = Declared { eight_bit: true, smtputf8: true };
    assert_eq!(session.fits(&message_to(&["a@y.example"], "abc", declared)), Ok(()), "declared, but not used");
    assert_eq!(session.fits(&message_to(&["a@y.example"], "\u{e9}", declared)), Err(Misfit::EightBit));
    assert_eq!(session.fits(&message_to(&["\u{e9}@y.example"], "abc", declared)), Err(Misfit::Utf8));
    assert_eq!(session.fits(&message_to(&["a@y.example"], "\u{e9}", Declared::default())), Ok(()), "not declared");
}

#[tokio::test]
async fn parameters_are_said_when_declared_and_offered() {
    let script = "S: 220 x\nC: EHLO\nS: 250-x\nS: 250-8BITMIME\nS: 250 SMTPUTF8\nC: MAIL FROM:<sender@x.example> BODY=8BITMIME SMTPUTF8\nS: 550 no";
    let upstream = Upstream::play(&[script]).await;
    let mut session = open(&upstream).await.unwrap();
    let declared = Declared { eight_bit: true, smtputf8: true };
    let replies = session.envelope(&message_to(&["a@y.example"], "x", declared)).await.unwrap();
    assert!(replies.mail.code().is_permanent() && replies.recipients.is_empty() && replies.data.is_none());
    upstream.heard().await;
}

#[tokio::test]
async fn what_the_sender_wants_reported_goes_on_to_who_offers_dsn_and_to_nobody_else() {
    use crate::mail::{EnvelopeId, Notify, OriginalRecipient, Ret};
    let asking = || {
        let recipient = Recipient {
            notify: Notify::parse("SUCCESS,FAILURE").unwrap(),
            original: Some(OriginalRecipient::parse("rfc822;a+2Bb@z.example").unwrap()),
            ..Recipient::new(mailbox("a@y.example"))
        };
        let path = ReversePath::Mailbox(mailbox("sender@x.example"));
        let body = Payload::Memory(Bytes::new());
        let header = Bytes::from_static(b"Subject: x\r\n\r\n");
        let reporting = Reporting { ret: Some(Ret::Headers), envelope_id: Some(EnvelopeId::new("Q+1").unwrap()) };
        Outgoing::new(path, vec![recipient], header, body, Declared::default()).unwrap().reporting(reporting)
    };
    for (offer, mail, rcpt) in [
        (
            "DSN",
            "MAIL FROM:<sender@x.example> RET=HDRS ENVID=Q+2B1",
            "RCPT TO:<a@y.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+2Bb@z.example",
        ),
        ("HELP", "MAIL FROM:<sender@x.example>", "RCPT TO:<a@y.example>"),
    ] {
        let script = format!("S: 220 x\nC: EHLO\nS: 250-x\nS: 250 {offer}\nC: MAIL\nS: 250 ok\nC: RCPT\nS: 550 no");
        let upstream = Upstream::play(&[&script]).await;
        open(&upstream).await.unwrap().envelope(&asking()).await.unwrap();
        let heard = upstream.heard().await;
        assert_eq!((heard[1].as_str(), heard[2].as_str()), (mail, rcpt));
    }
}

fn file_message(content: &[u8]) -> (tempfile::NamedTempFile, Outgoing) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    let len = u64::try_from(content.len()).unwrap();
    let body = Payload::File { path: file.path().to_owned(), len };
    let path = ReversePath::Mailbox(mailbox("sender@x.example"));
    let header = Bytes::from_static(b"Subject: x\r\n\r\n");
    let message =
        Outgoing::new(path, vec![Recipient::new(mailbox("a@y.example"))], header, body, Declared::default()).unwrap();
    (file, message)
}

#[tokio::test]
async fn a_large_body_comes_from_its_file_in_blocks() {
    let line = ".dots and a line of some length to cross the blocks at odd places\r\n";
    let content = line.repeat(10_000);
    let upstream = Upstream::play(&[&format!("{OPEN}{GROUP}{GO}TAKE\nS: 250 ok")]).await;
    let mut session = open(&upstream).await.unwrap();
    let (_file, large) = file_message(content.as_bytes());
    assert!(!large.is_short());
    send(&mut session, &large).await.unwrap();
    let expected = format!("Subject: x\r\n\r\n{}", format!(".{line}").repeat(10_000));
    assert!(upstream.heard().await[4] == expected);
}

#[tokio::test]
async fn a_large_body_that_is_unclean_or_gone_is_never_completed() {
    for (content, expected) in [(&b"a\n.\nb"[..], "bare"), (b"a\r", "bare")] {
        let upstream = Upstream::play(&[&format!("{OPEN}{GROUP}{GO}STALL")]).await;
        let mut session = open(&upstream).await.unwrap();
        let (_file, large) = file_message(content);
        let error = send(&mut session, &large).await.unwrap_err();
        assert!(error.starts_with("content (sent: false)") && error.contains(expected), "{error}");
    }
    let upstream = Upstream::play(&[&format!("{OPEN}{GROUP}{GO}STALL")]).await;
    let mut session = open(&upstream).await.unwrap();
    let (file, large) = file_message(b"a");
    file.close().unwrap();
    assert!(send(&mut session, &large).await.unwrap_err().contains("cannot be read"));
}

#[test]
fn unclean_content_is_no_message() {
    for (header, body) in [("a\n\n", "x"), ("a\r\n\r\n", "x\ny"), ("a\r\n\r\n", "\0"), ("a\r", "b")] {
        let body = Payload::Memory(Bytes::copy_from_slice(body.as_bytes()));
        let header = Bytes::copy_from_slice(header.as_bytes());
        assert!(Outgoing::new(ReversePath::Null, Vec::new(), header, body, Declared::default()).is_err());
    }
}

#[tokio::test]
async fn every_wait_has_its_deadline() {
    let cases = [
        ("STALL", "greeting"),
        ("S: 220 x\nC: EHLO\nSTALL", "EHLO"),
        (&format!("{OPEN}{GROUP}STALL"), "MAIL"),
        (&format!("{OPEN}{GROUP}S: 250 ok\nSTALL"), "RCPT"),
        (&format!("{OPEN}{GROUP}S: 250 ok\nS: 250 ok\nRAW: 3\nSTALL"), "DATA"),
        (&format!("{OPEN}{GROUP}{GO}TAKE\nSTALL"), "content (sent: true)"),
    ];
    for (script, expected) in cases {
        let upstream = Upstream::play(&[script]).await;
        let mut short = settings();
        let (patience, tried) = (Duration::from_millis(200), Duration::from_mins(1));
        // Only the wait that the script leads to is short, so that a slow machine changes nothing.
        let of = |name: &str| if expected.contains(name) { patience } else { tried };
        short.timeouts.greeting = of("greeting");
        short.timeouts.data = of("DATA");
        short.timeouts.dot = of("content");
        short.timeouts.command = if ["EHLO", "MAIL", "RCPT"].contains(&expected) { patience } else { tried };
        let error = match open_with(&upstream, &short).await {
            Err(error) => error.to_string(),
            Ok(mut session) => send(&mut session, &message("x")).await.unwrap_err(),
        };
        assert!(error.contains("too long") && error.contains(expected), "{expected}: {error}");
    }
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_named_so() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let target = Target::new("127.0.0.1", [std::net::SocketAddr::from(([127, 0, 0, 1], port))]);
    let error = Session::open(&target, &settings(), 0).await.unwrap_err();
    assert!(matches!(error, ClientError::Connect(_)), "{error}");
    let error = Target::resolve("nobody.invalid", port, settings().timeouts.connect).await.unwrap_err();
    assert!(matches!(error, ClientError::Resolve(_)), "{error}");
}
