//! Faults of the machine and of the operator: said clearly, and nothing is lost.

use std::time::Duration;

use crate::support::{Client, Gateway, Spec, Upstream, eventually, gateway::command};

const MESSAGE: &[u8] = b"From: <n@acme.example>\r\nSubject: hello\r\n\r\nHello\r\n";

#[test]
fn a_second_instance_on_the_same_folder_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    let second = command(folder.path()).arg("serve").output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(69), "{said}");
    assert!(said.contains("spool"), "{said}");
    let (_, end) = Client::connect(gateway.smtp).message("b@acme.example", &["ann@b.example"], MESSAGE);
    assert!(end.unwrap().starts_with("250"));
}

#[test]
fn a_lost_store_is_noticed_and_never_read_as_nobody_objected() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let mut gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    assert!(gateway.run(&["suppress", "add", "no@b.example", "--reason", "unsubscribe"]).status.success());
    for suffix in ["", "-wal", "-shm"] {
        let file = folder.path().join(format!("store.db{suffix}"));
        if file.exists() {
            std::fs::remove_file(file).unwrap();
        }
    }
    // The open file still answers until the probe finds that it is no longer the one on disk; then nothing is decided.
    eventually("a temporary refusal", || {
        let (rcpt, _) = Client::connect(gateway.smtp).message("b@acme.example", &["ann@b.example"], MESSAGE);
        rcpt[0].starts_with("451 4.3.0").then_some(())
    });
    gateway.stop();
    let restarted = command(folder.path()).arg("serve").output().unwrap();
    assert_eq!(restarted.status.code(), Some(69), "{}", String::from_utf8_lossy(&restarted.stderr));
}

#[test]
fn what_finally_fails_is_reported_to_its_sender_and_to_nobody_when_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    upstream.refuse("gone@b.example");
    let gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    let mut client = Client::connect(gateway.smtp);
    assert!(client.message("bounce@acme.example", &["gone@b.example"], MESSAGE).1.unwrap().starts_with("250"));
    assert!(client.message("", &["gone@b.example"], MESSAGE).1.unwrap().starts_with("250"));
    eventually("two bounces", || (gateway.events("Bounce").len() == 2).then_some(()));
    let report = eventually("a report", || upstream.received().first().cloned());
    assert_eq!((report.from.as_str(), report.to.as_slice()), ("", &["bounce@acme.example".to_owned()][..]));
    let text = String::from_utf8(report.content).unwrap();
    assert!(
        text.contains("report-type=delivery-status") && text.contains("Final-Recipient: rfc822; gone@b.example"),
        "{text}"
    );
    assert!(text.contains("Status: 5.1.1") && text.contains("Auto-Submitted: auto-replied"), "{text}");
    eventually("an empty queue", || {
        String::from_utf8_lossy(&gateway.run(&["queue", "stats"]).stdout).contains("copies 0").then_some(())
    });
    assert_eq!(upstream.received().len(), 1, "a second report went out");
}

#[test]
fn a_large_message_goes_through_whole_and_one_too_large_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let mut spec = Spec::new(upstream.address);
    spec.smtp = "max_message_octets = 2000000\n".to_owned();
    let gateway = Gateway::start(folder.path(), &spec);
    let mut content = MESSAGE.to_vec();
    while content.len() < 1_900_000 {
        content
            .extend_from_slice(b"..this line begins with dots and is long enough to fill a large message quickly\r\n");
    }
    let mut client = Client::connect(gateway.smtp);
    assert!(client.message("b@acme.example", &["ann@b.example"], &content).1.unwrap().starts_with("250"));
    let arrived = eventually("delivery", || upstream.received().first().cloned());
    let body = |message: &[u8]| message.windows(4).position(|w| w == b"\r\n\r\n").map(|at| message[at..].to_vec());
    assert!(body(&arrived.content) == body(&content));
    content.extend(vec![b'x'; 900].into_iter().chain(*b"\r\n").cycle().take(200_000));
    assert!(client.message("b@acme.example", &["ann@b.example"], &content).1.unwrap().starts_with("552 5.3.4"));
    assert!(client.say("NOOP").starts_with("250"), "the session goes on");
}

#[test]
fn mail_waits_while_the_smarthost_is_down_and_survives_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let mut gateway = Gateway::start(folder.path(), &Spec::new(closed));
    let mut client = Client::connect(gateway.smtp);
    for _ in 0..20 {
        assert!(client.message("b@acme.example", &["ann@b.example"], MESSAGE).1.unwrap().starts_with("250"));
    }
    let listed = gateway.run(&["queue", "list", "--json"]);
    assert_eq!(String::from_utf8_lossy(&listed.stdout).lines().count(), 20);
    assert_eq!(gateway.stop(), Some(0));
    let listed = gateway.run(&["queue", "stats"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("copies 20"), "{listed:?}");
    let upstream = Upstream::start_on(closed, Duration::ZERO);
    let _gateway = Gateway::restart(folder.path(), gateway.smtp, gateway.http);
    eventually("every message", || (upstream.received().len() == 20).then_some(()));
}
