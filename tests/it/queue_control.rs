//! What an operator does to the queue: by every selector, over a restart, with and without a daemon, each recorded.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use serde_json::Value;

use crate::support::gateway::{audit, command};
use crate::support::{Client, Gateway, Spec, Upstream, eventually};

fn send(gateway: &Gateway, to: &str, campaign: Option<&str>) {
    let campaign = campaign.map_or_else(String::new, |name| format!("Consentry-Campaign: {name}\r\n"));
    let message = format!("From: News <news@acme.example>\r\nSubject: hello\r\n{campaign}\r\nHello\r\n");
    let (rcpt, end) = Client::connect(gateway.smtp).message("b@acme.example", &[to], message.as_bytes());
    assert!(end.as_deref().unwrap_or_default().starts_with("250"), "{rcpt:?} {end:?}");
}

fn queue(folder: &Path, arguments: &[&str]) -> Output {
    command(folder).arg("queue").args(arguments).output().unwrap()
}

fn told(folder: &Path, arguments: &[&str]) -> String {
    let said = queue(folder, arguments);
    assert!(said.status.success(), "{arguments:?}: {said:?}");
    String::from_utf8(said.stdout).unwrap()
}

/// Recipients' domain and state of every copy that is listed.
fn listed(folder: &Path, arguments: &[&str]) -> Vec<(String, String)> {
    let mut all = vec!["list", "--json"];
    all.extend(arguments);
    let lines = told(folder, &all);
    let row = |line: &str| {
        let copy: Value = serde_json::from_str(line).unwrap();
        (copy["domains"][0].as_str().unwrap().to_owned(), copy["state"].as_str().unwrap().to_owned())
    };
    lines.lines().map(row).collect()
}

fn pairs(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter().map(|(domain, state)| ((*domain).to_owned(), (*state).to_owned())).collect()
}

fn closed_port() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}

fn delivered(upstream: &Upstream) -> Vec<String> {
    let mut all: Vec<_> = upstream.received().iter().flat_map(|message| message.to.clone()).collect();
    all.sort_unstable();
    all
}

#[test]
fn copies_are_held_released_dropped_and_retried_by_every_selector_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let address = closed_port();
    let mut gateway = Gateway::start(path, &Spec::new(address));
    for (to, campaign) in [
        ("a@one.example", Some("c1")),
        ("a@two.example", None),
        ("a@three.example", None),
        ("a@four.example", Some("c2")),
    ] {
        send(&gateway, to, campaign);
    }
    let hold = |selector: &[&str]| {
        let mut arguments = vec!["hold", "--by", "ann", "--because", "we look into it"];
        arguments.extend(selector);
        // A copy that a worker has at this moment is left alone, and the operator asks again.
        eventually("nobody at work on it", || queue(path, &arguments).status.success().then_some(()));
    };
    hold(&["--campaign", "c1"]);
    hold(&["--domain", "two.example"]);
    gateway.kill();
    let third: Value =
        serde_json::from_str(told(path, &["list", "--json", "--domain", "three.example"]).trim()).unwrap();
    let third = third["id"].as_str().unwrap();
    hold(&["--id", third]);
    let expected =
        [("one.example", "held"), ("two.example", "held"), ("three.example", "held"), ("four.example", "waiting")];
    assert_eq!(listed(path, &[]), pairs(&expected), "without a daemon");
    let upstream = Upstream::start_on(address, Duration::ZERO);
    let gateway = Gateway::restart(path, gateway.smtp, gateway.http);
    eventually("what is not held", || (delivered(&upstream) == ["a@four.example"]).then_some(()));
    assert!(told(path, &["stats"]).contains("held 3"));
    assert!(told(path, &["show", third]).contains("state held"));
    assert_eq!(queue(path, &["retry", "--all"]).status.code(), Some(1), "held is stronger than retry");
    told(path, &["release", "--campaign", "c1"]);
    eventually("the first", || delivered(&upstream).contains(&"a@one.example".to_owned()).then_some(()));
    told(path, &["release", "--domain", "two.example", "--by", "ann", "--because", "fine"]);
    eventually("the second", || delivered(&upstream).contains(&"a@two.example".to_owned()).then_some(()));
    told(path, &["drop", "--id", third, "--by", "ann", "--because", "not wanted"]);
    assert_eq!(queue(path, &["drop", "--id", third, "--because", "again"]).status.code(), Some(1));
    assert!(listed(path, &[]).is_empty() && delivered(&upstream).len() == 3);
    drop(gateway);
    let records = audit(path);
    let count = |kind: &str, reason: &str| {
        records
            .iter()
            .filter(|event| event["type"] == kind && event["reason"] == reason && event["id"].is_string())
            .count()
    };
    assert!(count("QueueControl", "hold") >= 3 && count("QueueControl", "release") >= 2, "{records:?}");
    assert_eq!(count("AdminBounce", "drop"), 1);
    let by_ann = records.iter().filter(|event| event["evidence"] == "hold by ann: we look into it").count();
    assert_eq!(by_ann, 3, "one for each copy");
}

#[test]
fn suspensions_stop_what_comes_too_and_hold_over_a_restart_until_they_are_lifted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let upstream = Upstream::start();
    let mut gateway = Gateway::start(path, &Spec::new(upstream.address));
    told(path, &["suspend", "--domain", "one.example", "--by", "ann", "--because", "they asked"]);
    told(path, &["suspend", "--campaign", "c1", "--for", "2h"]);
    told(path, &["suspend", "--stream", "other"]);
    send(&gateway, "a@one.example", None);
    send(&gateway, "a@two.example", Some("c1"));
    send(&gateway, "a@three.example", None);
    eventually("what is not suspended", || (delivered(&upstream) == ["a@three.example"]).then_some(()));
    let expected = pairs(&[("one.example", "suspended"), ("two.example", "suspended")]);
    eventually("both back where they wait", || (listed(path, &[]) == expected).then_some(()));
    gateway.kill();
    told(path, &["resume", "--stream", "other"]);
    assert_eq!(queue(path, &["resume", "--stream", "other"]).status.code(), Some(1), "nothing left to lift");
    let gateway = Gateway::restart(path, gateway.smtp, gateway.http);
    send(&gateway, "b@three.example", None);
    eventually("what is not suspended", || (delivered(&upstream).len() == 2).then_some(()));
    assert_eq!(listed(path, &[]), expected);
    assert_eq!(listed(path, &["--campaign", "c1"]).len(), 1);
    told(path, &["resume", "--campaign", "c1"]);
    eventually("the campaign", || delivered(&upstream).contains(&"a@two.example".to_owned()).then_some(()));
    told(path, &["suspend", "--all"]);
    send(&gateway, "c@three.example", None);
    told(path, &["resume", "--domain", "one.example"]);
    assert_eq!(delivered(&upstream).len(), 3, "everything is still suspended");
    told(path, &["resume", "--all", "--by", "ann", "--because", "go on"]);
    eventually("everything", || (delivered(&upstream).len() == 5).then_some(()));
    drop(gateway);
    let records = audit(path);
    let of = |reason: &str| {
        records.iter().filter(|event| event["type"] == "QueueControl" && event["reason"] == reason).count()
    };
    assert_eq!((of("suspend"), of("resume")), (4, 4));
    assert!(
        records
            .iter()
            .any(|event| event["queue"] == "domain=one.example" && event["evidence"] == "suspend by ann: they asked")
    );
}

#[test]
fn a_command_about_the_queue_says_what_it_is_about() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(folder.path(), &Spec::new(closed_port()));
    for bad in [
        &["hold"][..],
        &["drop", "--all"],
        &["hold", "--all", "--stream", "news"],
        &["suspend", "--stream", "a b"],
        &["suspend", "--all", "--for", "soon"],
        &["release", "--id", "x"],
        &["show", "x"],
    ] {
        assert_eq!(queue(folder.path(), bad).status.code(), Some(64), "{bad:?}");
    }
    drop(gateway);
}
