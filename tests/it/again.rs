//! `remember_messages`: a client who missed its 250 hands the message in again, and nobody is written to twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Client, Gateway, Spec, Upstream, eventually};

fn spec(upstream: &Upstream) -> Spec {
    Spec { stream: "remember_messages = \"1h\"\n".to_owned(), ..Spec::new(upstream.address) }
}

fn content(id: &str, body: &str) -> String {
    format!("From: News <news@acme.example>\r\nSubject: hello\r\nMessage-ID: <{id}@acme.example>\r\n\r\n{body}\r\n")
}

/// The queue id of the 250.
fn taken(gateway: &Gateway, to: &[&str], content: &str) -> String {
    let (rcpt, end) = Client::connect(gateway.smtp).message("b@acme.example", to, content.as_bytes());
    let end = end.unwrap_or_else(|| panic!("{rcpt:?}"));
    assert!(end.starts_with("250"), "{end}");
    end.rsplit_once(' ').unwrap().1.to_owned()
}

fn arrived(upstream: &Upstream) -> Vec<String> {
    let mut all: Vec<_> = upstream.received().iter().flat_map(|message| message.to.clone()).collect();
    all.sort_unstable();
    all
}

#[test]
fn the_same_message_is_taken_once_over_a_sigkill_and_another_with_its_id_is_not_lost() {
    let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    let mut gateway = Gateway::start(folder.path(), &spec(&upstream));
    let first = taken(&gateway, &["ann@b.example"], &content("1", "hello"));
    assert_eq!(taken(&gateway, &["ann@b.example"], &content("1", "hello")), first);
    // Settled on disk: else the kill itself could send the copy a second time.
    eventually("the delivery", || gateway.audit().iter().any(|event| event["type"] == "Delivery").then_some(()));
    std::thread::sleep(Duration::from_millis(200));
    gateway.kill();
    let gateway = Gateway::restart_there(folder.path());
    assert_eq!(taken(&gateway, &["ann@b.example"], &content("1", "hello")), first);
    // Somebody else of the same message, another body under the same id, and one without an id.
    assert_ne!(taken(&gateway, &["ann@b.example", "bob@b.example"], &content("1", "hello")), first);
    assert_ne!(taken(&gateway, &["ann@b.example"], &content("1", "other")), first);
    let without = "From: News <news@acme.example>\r\nSubject: x\r\n\r\nx\r\n";
    assert_ne!(taken(&gateway, &["eve@b.example"], without), taken(&gateway, &["eve@b.example"], without));
    let expected = ["ann", "ann", "bob", "eve", "eve"].map(|name| format!("{name}@b.example"));
    eventually("all copies", || (arrived(&upstream).len() >= expected.len()).then_some(()));
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(arrived(&upstream), expected, "one for each");
    let repeated = eventually("the record", || {
        let records: Vec<_> = gateway.audit().into_iter().filter(|event| event["type"] == "Repeated").collect();
        (records.len() == 3).then_some(records)
    });
    assert!(repeated.iter().all(|event| event["id"] == first.as_str() && event["recipient"] == "ann@b.example"));
}

#[test]
fn handed_in_by_many_at_once_it_is_taken_once() {
    const CLIENTS: usize = 20;
    let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    let gateway = Gateway::start(folder.path(), &spec(&upstream));
    for round in 0..10 {
        let accepted = Arc::new(AtomicUsize::new(0));
        let ids: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (accepted, smtp) = (Arc::clone(&accepted), gateway.smtp);
                std::thread::spawn(move || {
                    let content = content(&format!("round{round}"), "hello");
                    let (_, end) =
                        Client::connect(smtp).message("b@acme.example", &["ann@b.example"], content.as_bytes());
                    let end = end.unwrap();
                    assert!(end.starts_with("250") || end.starts_with("451 4.3.0 the same message"), "{end}");
                    accepted.fetch_add(usize::from(end.starts_with("250")), Ordering::SeqCst);
                    end.starts_with("250").then(|| end.rsplit_once(' ').unwrap().1.to_owned())
                })
            })
            .collect();
        let mut ids: Vec<_> = ids.into_iter().filter_map(|client| client.join().unwrap()).collect();
        assert!(accepted.load(Ordering::SeqCst) > 0);
        ids.dedup();
        assert_eq!(ids.len(), 1, "one copy, whoever is told of it");
    }
    eventually("the copies", || (arrived(&upstream).len() >= 10).then_some(()));
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(arrived(&upstream).len(), 10);
}

#[test]
fn a_stream_that_does_not_ask_takes_everything() {
    let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    let gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    let message = content("1", "hello");
    assert_ne!(taken(&gateway, &["ann@b.example"], &message), taken(&gateway, &["ann@b.example"], &message));
}
