//! `consentry events`: a reader that comes back has each event once, over a restart of the gateway.

use std::process::Output;

use crate::support::gateway::command;
use crate::support::{Client, Gateway, Spec, Upstream, eventually};

fn send(gateway: &Gateway, to: &str) {
    let message = b"From: News <news@acme.example>\r\nSubject: hello\r\n\r\nHello\r\n";
    let (rcpt, end) = Client::connect(gateway.smtp).message("b@acme.example", &[to], message);
    assert!(end.as_deref().unwrap_or_default().starts_with("250"), "{rcpt:?} {end:?}");
}

/// Types and recipients' names of the events behind `after`, and the position behind them.
fn read(folder: &std::path::Path, after: &str, more: &[&str]) -> (Vec<(String, String)>, String) {
    let said: Output = command(folder).args(["events", "--after", after]).args(more).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    let text = String::from_utf8(said.stdout).unwrap();
    let event = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        (text("type"), text("recipient"))
    };
    let next = String::from_utf8(said.stderr).unwrap();
    (text.lines().map(event).collect(), next.trim().strip_prefix("next: ").unwrap().to_owned())
}

#[test]
fn a_reader_that_comes_back_has_each_event_once() {
    let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    let mut gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    let settled = |count: usize| {
        eventually("the delivery", || {
            (read(folder.path(), "0", &["--type", "Delivery"]).0.len() == count).then_some(())
        });
    };
    send(&gateway, "ann@one.example");
    settled(1);
    let (first, next) = read(folder.path(), "0", &[]);
    let kinds: Vec<_> = first.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["Reception", "Delivery"]);
    assert_eq!(gateway.stop(), Some(0));
    let gateway = Gateway::restart_there(folder.path());
    send(&gateway, "bob@two.example");
    settled(2);
    let (second, end) = read(folder.path(), &next, &[]);
    assert_eq!(second.len(), 2, "{second:?}");
    assert!(second.iter().all(|(_, recipient)| recipient.ends_with("@two.example")), "{second:?}");
    assert_eq!(read(folder.path(), &end, &[]).0, []);
    assert_eq!(read(folder.path(), "0", &["--limit", "1"]).0.len(), 1);
    let refused = command(folder.path()).args(["events", "--after", "yesterday"]).output().unwrap();
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("no position"));
}
