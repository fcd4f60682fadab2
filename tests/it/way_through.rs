//! The main job: what a campaign tool submits is checked, rewritten, kept and delivered.

use crate::support::{Client, Gateway, Spec, Upstream, eventually};

const MESSAGE: &[u8] = b"From: News <news@acme.example>\r\nTo: ann@customer.example\r\nSubject: hello\r\nBcc: secret@x.example\r\n\r\nHello\r\n.dot\r\n";

fn code(reply: &str) -> &str {
    reply.get(..3).unwrap_or_default()
}

#[test]
fn a_permitted_message_arrives_once_with_its_duties() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    let (rcpt, end) = Client::connect(gateway.smtp).message("bounce@acme.example", &["ann@customer.example"], MESSAGE);
    assert!(rcpt[0].starts_with("250") && end.as_deref().unwrap().starts_with("250 2.0.0"), "{rcpt:?} {end:?}");
    eventually("delivery", || (gateway.events("Delivery").len() == 1).then_some(()));
    let received = upstream.received().clone();
    assert_eq!(received.len(), 1);
    let message = &received[0];
    assert_eq!(
        (message.from.as_str(), message.to.as_slice()),
        ("bounce@acme.example", &["ann@customer.example".to_owned()][..])
    );
    assert_eq!(message.split().1, b"Hello\r\n.dot\r\n");
    let unsubscribe = message.fields("List-Unsubscribe");
    assert_eq!(unsubscribe.len(), 1);
    assert!(
        unsubscribe[0].starts_with("<https://u.test.example/u/")
            && unsubscribe[0].contains(", <mailto:u@u.test.example?subject="),
        "{unsubscribe:?}"
    );
    assert_eq!(message.fields("List-Unsubscribe-Post"), ["List-Unsubscribe=One-Click"]);
    assert_eq!(message.fields("List-Id"), ["<weekly.acme.gate.test.example>"]);
    assert!(message.fields("Bcc").is_empty());
    assert_eq!(
        (message.fields("Received").len(), message.fields("Date").len(), message.fields("Message-ID").len()),
        (1, 1, 1)
    );
    assert_eq!(gateway.events("Reception")[0]["reason"], "OK_MARKETING");
}

#[test]
fn an_opt_out_counts_at_the_very_next_decision_and_in_every_spelling() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    let mut client = Client::connect(gateway.smtp);
    assert_eq!(code(&client.message("b@acme.example", &["victor@gmail.com"], MESSAGE).1.unwrap()), "250");
    let added =
        gateway.run(&["suppress", "add", "victor@gmail.com", "--scope", "list:acme/weekly", "--reason", "unsubscribe"]);
    assert!(added.status.success(), "{added:?}");
    for spelling in ["victor@gmail.com", "VICTOR@GMAIL.COM", "vic.tor+x@googlemail.com", "\"victor\"@gmail.com"] {
        let (rcpt, _) = client.message("b@acme.example", &[spelling], MESSAGE);
        assert!(rcpt[0].starts_with("550 5.7.1") && rcpt[0].contains("SUP_UNSUBSCRIBE"), "{spelling}: {rcpt:?}");
    }
    let removed = gateway.run(&["suppress", "remove", "victor@gmail.com", "--because", "test"]);
    assert!(removed.status.success(), "{removed:?}");
    let record = eventually("the record of the removal", || gateway.events("SuppressionRemoved").pop());
    assert!(
        record["evidence"].as_str().unwrap().ends_with(": test") && gateway.events("SuppressionAdded").len() == 1,
        "{record}"
    );
    assert_eq!(code(&client.message("b@acme.example", &["victor@gmail.com"], MESSAGE).1.unwrap()), "250");
}

#[test]
fn one_refused_recipient_does_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    assert!(gateway.run(&["suppress", "add", "no@b.example", "--reason", "complaint"]).status.success());
    let (rcpt, end) = Client::connect(gateway.smtp).message(
        "b@acme.example",
        &["yes@b.example", "no@b.example", "too@b.example"],
        MESSAGE,
    );
    let codes: Vec<_> = rcpt.iter().map(|reply| &reply[..3]).collect();
    assert_eq!((codes.as_slice(), &end.unwrap()[..3]), (&["250", "550", "250"][..], "250"));
    eventually("two deliveries", || (gateway.events("Delivery").len() == 2).then_some(()));
    let received = upstream.received().clone();
    let links: std::collections::HashSet<_> =
        received.iter().flat_map(|message| message.fields("List-Unsubscribe")).collect();
    assert_eq!((received.len(), links.len()), (2, 2), "a copy and a link for each");
    assert!(!upstream.forward_paths().contains(&"no@b.example".to_owned()));
}

#[test]
fn one_click_is_durable_and_get_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let mut gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    let mut client = Client::connect(gateway.smtp);
    client.message("b@acme.example", &["ann@customer.example"], MESSAGE);
    eventually("delivery", || (!upstream.received().is_empty()).then_some(()));
    let header = upstream.received()[0].fields("List-Unsubscribe").remove(0);
    let path = header.split_once("u.test.example").unwrap().1.split_once('>').unwrap().0.to_owned();
    let http = gateway.http;
    assert!(request(http, &format!("GET {path} HTTP/1.1"), "").starts_with("HTTP/1.1 200"));
    assert!(client.message("b@acme.example", &["ann@customer.example"], MESSAGE).1.unwrap().starts_with("250"));
    assert!(request(http, &format!("POST {path} HTTP/1.1"), "").starts_with("HTTP/1.1 400"));
    let answer = request(http, &format!("POST {path} HTTP/1.1"), "List-Unsubscribe=One-Click");
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.to_lowercase().contains("set-cookie"), "{answer}");
    gateway.kill();
    let gateway = Gateway::restart(folder.path(), gateway.smtp, gateway.http);
    let (rcpt, _) = Client::connect(gateway.smtp).message("b@acme.example", &["Ann@Customer.example"], MESSAGE);
    assert!(rcpt[0].contains("SUP_UNSUBSCRIBE"), "{rcpt:?}");
    let forged =
        request(gateway.http, &format!("POST {}x HTTP/1.1", &path[..path.len() - 1]), "List-Unsubscribe=One-Click");
    assert!(forged.starts_with("HTTP/1.1 404"), "{forged}");
}

pub(crate) fn request(address: std::net::SocketAddr, line: &str, body: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let head = format!(
        "{line}\r\nHost: u.test.example\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_suppression_while_mail_waits_withdraws_it() {
    let folder = tempfile::tempdir().unwrap();
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let gateway = Gateway::start(folder.path(), &Spec::new(closed));
    let mut client = Client::connect(gateway.smtp);
    assert!(client.message("b@acme.example", &["ann@customer.example"], MESSAGE).1.unwrap().starts_with("250"));
    eventually("a first attempt", || (!gateway.events("TransientFailure").is_empty()).then_some(()));
    assert!(gateway.run(&["suppress", "add", "ann@customer.example", "--reason", "unsubscribe"]).status.success());
    let upstream = Upstream::start_on(closed, std::time::Duration::ZERO);
    let withdrawn = eventually("the withdrawal", || gateway.events("Withdrawn").pop());
    assert_eq!(withdrawn["reason"], "SUP_UNSUBSCRIBE");
    assert!(upstream.forward_paths().is_empty());
}

#[test]
fn a_stream_that_accepts_refusals_records_them_and_sends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let mut spec = Spec::new(upstream.address);
    spec.stream = "on_refusal = \"accept\"\n".to_owned();
    let gateway = Gateway::start(folder.path(), &spec);
    assert!(gateway.run(&["suppress", "add", "no@b.example", "--reason", "complaint"]).status.success());
    let (rcpt, end) = Client::connect(gateway.smtp).message("b@acme.example", &["no@b.example"], MESSAGE);
    assert!(rcpt[0].starts_with("250") && end.unwrap().starts_with("250"));
    let suppressed = eventually("the record", || gateway.events("Suppressed").pop());
    assert_eq!(suppressed["reason"], "SUP_COMPLAINT");
    assert!(upstream.forward_paths().is_empty());
}

#[test]
fn reload_takes_new_streams_or_keeps_the_old_ones_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    let file = folder.path().join("consentry.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, good.replace("class = \"marketing\"", "class = \"advertising\"")).unwrap();
    let checked = gateway.run(&["check"]);
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert_eq!(checked.status.code(), Some(78));
    assert!(
        said.contains("consentry.toml:")
            && said.contains("stream.class")
            && said.contains("expected `marketing` or `transactional`"),
        "{said}"
    );
    gateway.signal("HUP");
    let mut client = Client::connect(gateway.smtp);
    assert!(
        client.message("b@acme.example", &["ann@b.example"], MESSAGE).1.unwrap().starts_with("250"),
        "the old configuration stays"
    );
    std::fs::write(
        &file,
        good.replace("class = \"marketing\"", "class = \"marketing\"\nfrom_domains = [\"other.example\"]"),
    )
    .unwrap();
    gateway.signal("HUP");
    eventually("the new configuration", || {
        let end = Client::connect(gateway.smtp).message("b@acme.example", &["ann@b.example"], MESSAGE).1.unwrap();
        end.contains("STREAM_FROM_DOMAIN").then_some(())
    });
}
