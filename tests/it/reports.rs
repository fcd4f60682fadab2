//! The DSN extension (RFC 3461) through the whole house, towards a smarthost that has never heard of it.

use crate::support::upstream::Received;
use crate::support::{Client, Gateway, Spec, Upstream, eventually};

const MESSAGE: &[u8] = b"From: News <news@acme.example>\r\nSubject: hello\r\n\r\nThe body.\r\n.\r\n";

fn submit(client: &mut Client, mail: &str, rcpt: &[&str]) {
    assert!(client.say(&format!("MAIL FROM:<bounce@acme.example>{mail}")).starts_with("250"));
    for to in rcpt {
        let reply = client.say(&format!("RCPT TO:{to}"));
        assert!(reply.starts_with("250"), "{to}: {reply}");
    }
    assert!(client.say("DATA").starts_with("354"));
    client.send(&[MESSAGE.strip_suffix(b".\r\n").unwrap(), b".\r\n"].concat()).unwrap();
    assert!(client.reply().starts_with("250"));
}

/// Every report that has come for the sender so far.
fn reports(upstream: &Upstream) -> Vec<Received> {
    upstream.received().iter().filter(|message| message.from.is_empty()).cloned().collect()
}

fn text(message: &Received) -> String {
    String::from_utf8(message.content.clone()).unwrap()
}

#[test]
fn a_sender_hears_what_it_asked_to_hear_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    for gone in ["gone@b.example", "gone.quietly@b.example"] {
        upstream.refuse(gone);
    }
    let gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    let mut client = Client::connect(gateway.smtp);
    submit(
        &mut client,
        " RET=FULL ENVID=Q+2B1",
        &[
            "<gone@b.example> ORCPT=rfc822;first+2Bname@b.example",
            "<gone.quietly@b.example> NOTIFY=NEVER",
            "<there@b.example> NOTIFY=SUCCESS,FAILURE",
            "<there.too@b.example>",
            "<also.there@b.example> NOTIFY=FAILURE",
        ],
    );
    eventually("every outcome", || {
        (gateway.events("Bounce").len() == 2 && gateway.events("Delivery").len() == 5).then_some(())
    });
    let reports = reports(&upstream);
    assert_eq!(reports.len(), 2, "one failure and one success");
    assert!(reports.iter().all(|report| report.to == ["bounce@acme.example"]));
    let failed = reports.iter().map(text).find(|text| text.contains("Action: failed")).unwrap();
    for expected in [
        "Original-Envelope-Id: Q+1\r\n",
        "Original-Recipient: rfc822; first+name@b.example\r\nFinal-Recipient: rfc822; gone@b.example\r\n",
        "Content-Type: message/rfc822",
        "The body.\r\n",
    ] {
        assert!(failed.contains(expected), "{expected} is not in {failed}");
    }
    let relayed = reports.iter().map(text).find(|text| text.contains("Action: relayed")).unwrap();
    assert!(
        relayed.contains("Final-Recipient: rfc822; there@b.example\r\n") && !relayed.contains("The body."),
        "{relayed}"
    );
}

#[test]
fn ex_03_undeclared_octets_beyond_ascii_are_taken_and_go_on_declared() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    let mut client = Client::connect(gateway.smtp);
    let message = "From: News <news@acme.example>\r\nSubject: caf\u{e9}\r\n\r\nseven bits\r\n";
    let (_, end) = client.message("bounce@acme.example", &["ann@b.example"], message.as_bytes());
    assert!(end.unwrap().starts_with("250"));
    eventually("delivery", || (gateway.events("Delivery").len() == 1).then_some(()));
    let mail = upstream.commands().into_iter().find(|line| line.starts_with("MAIL")).unwrap();
    assert!(mail.contains(" BODY=8BITMIME"), "{mail}");
}

#[test]
fn a_smarthost_that_offers_dsn_is_told_and_reports_itself() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    upstream.offer_dsn();
    let gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    let mut client = Client::connect(gateway.smtp);
    let recipients = ["<there@b.example> NOTIFY=SUCCESS ORCPT=rfc822;first+2Bname@b.example", "<there.too@b.example>"];
    submit(&mut client, " RET=HDRS ENVID=Q+2B1", &recipients);
    eventually("delivery", || (gateway.events("Delivery").len() == 2).then_some(()));
    let commands = upstream.commands();
    let said = |start: &str| commands.iter().find(|line| line.starts_with(start)).cloned().unwrap_or_default();
    assert!(said("MAIL").ends_with(" RET=HDRS ENVID=Q+2B1"), "{commands:?}");
    let named = "RCPT TO:<there@b.example>";
    assert_eq!(said(named), format!("{named} NOTIFY=SUCCESS ORCPT=rfc822;first+2Bname@b.example"));
    assert_eq!(said("RCPT TO:<there.too@b.example>"), "RCPT TO:<there.too@b.example>");
    assert!(reports(&upstream).is_empty());
}
