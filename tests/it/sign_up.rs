//! Double opt-in for a site that has none: the letter, the page behind its link, and who may be written to afterwards.

use std::path::Path;
use std::process::Output;

use crate::support::gateway::command;
use crate::support::{Client, Gateway, Spec, Upstream, eventually};
use crate::way_through::request;

const MESSAGE: &[u8] =
    b"From: Acme <news@acme.example>\r\nSubject: Une offre\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
    Acme vous propose une offre.\r\nSe desinscrire : https://u.test.example/leave\r\n";
const PRESS: &str = "do=confirm";

/// A gateway of a French sender who needs consent, signs, and has sign-ups confirmed.
fn start(folder: &Path, upstream: &Upstream) -> Gateway {
    let made = command(folder)
        .args(["keygen", "dkim", "--domain", "acme.example", "--selector", "c1", "--kind", "ed25519", "--out"])
        .arg(folder.join("c1.key"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let mut spec = Spec::new(upstream.address);
    spec.stream = "establishment = \"FR\"\ndefault_country = \"FR\"\nbrand = \"Acme\"\npostal_address = \"1 rue X, 75001 Paris\"\n\
                   from_domains = [\"acme.example\"]\ndkim = [\"c1\"]\n"
        .to_owned();
    spec.more = "[[dkim]]\nname = \"c1\"\ndomain = \"acme.example\"\nselector = \"c1\"\nkey_file = \"c1.key\"\n\
                 [[sender]]\ncontroller = \"acme\"\nname = \"Acme\"\nfrom = \"news@acme.example\"\n\
                 [[sender.list]]\nname = \"weekly\"\ntitle = \"The weekly letter\"\n"
        .to_owned();
    Gateway::start(folder, &spec)
}

fn ask(gateway: &Gateway, address: &str, more: &[&str]) -> Output {
    let all = [&["consent", "ask", address, "--controller", "acme", "--purpose", "list:weekly"], more].concat();
    gateway.run(&all)
}

/// Asks, and gives the path of the link in the letter.
fn link(gateway: &Gateway, upstream: &Upstream, address: &str) -> String {
    let said =
        ask(gateway, address, &["--source", "https://acme.example/form", "--ip", "192.0.2.7", "--language", "fr"]);
    assert!(said.status.success(), "{said:?}");
    let letter = eventually("the letter", || {
        let received = upstream.received();
        received.iter().rev().find(|message| message.to == [address]).cloned()
    });
    assert_eq!(letter.from, "", "nobody is told of its bounces");
    assert_eq!(letter.fields("From"), ["Acme <news@acme.example>"]);
    assert_eq!(letter.fields("Auto-Submitted"), ["auto-generated"]);
    assert_eq!(letter.fields("DKIM-Signature").len(), 1);
    assert!(letter.fields("List-Unsubscribe").is_empty(), "it is no list's mail");
    let parsed = mail_parser::MessageParser::default().parse(&letter.content).unwrap();
    assert!(parsed.subject().unwrap().contains("The weekly letter"), "{:?}", parsed.subject());
    let text = parsed.body_text(0).unwrap().into_owned();
    assert!(text.contains("Cette adresse a été saisie") && !text.contains("acme.example/form"), "{text}");
    let url = text.lines().find_map(|line| line.strip_prefix("https://u.test.example")).unwrap();
    url.trim().to_owned()
}

fn get(gateway: &Gateway, path: &str) -> String {
    request(gateway.http, &format!("GET {path} HTTP/1.1"), "")
}

fn press(gateway: &Gateway, path: &str) -> String {
    request(gateway.http, &format!("POST {path} HTTP/1.1"), PRESS)
}

fn verdict(gateway: &Gateway, to: &str) -> String {
    let (rcpt, end) = Client::connect(gateway.smtp).message("b@acme.example", &[to], MESSAGE);
    end.unwrap_or_else(|| rcpt[0].clone())
}

#[test]
fn who_presses_the_button_may_be_written_to_and_who_only_opens_the_link_may_not() {
    let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    let gateway = start(folder.path(), &upstream);
    let ann = "ann@orange.example";
    assert!(verdict(&gateway, ann).contains("550 5.7.1"), "no consent yet");
    let path = link(&gateway, &upstream, ann);
    for _ in 0..3 {
        let page = get(&gateway, &path);
        assert!(page.starts_with("HTTP/1.1 200") && page.contains("value=\"confirm\""), "{page}");
        assert!(!page.contains("ann@"), "no page shows an address");
    }
    let other = request(gateway.http, &format!("POST {path} HTTP/1.1"), "List-Unsubscribe=One-Click");
    assert!(other.starts_with("HTTP/1.1 400"), "{other}");
    assert!(verdict(&gateway, ann).contains("550 5.7.1"), "opened, and not pressed");
    for _ in 0..2 {
        assert!(press(&gateway, &path).starts_with("HTTP/1.1 200"));
    }
    let now = verdict(&gateway, ann);
    assert!(now.starts_with("250"), "{now}");
    let proof = gateway.run(&["consent", "history", ann, "--json"]);
    let proof = String::from_utf8(proof.stdout).unwrap();
    for part in ["double_opt_in", "https://acme.example/form", "192.0.2.7", "behind the link in message"] {
        assert!(proof.contains(part), "{part}: {proof}");
    }
    assert_eq!(gateway.audit().iter().filter(|event| event["type"] == "ConsentAdded").count(), 1, "once");
    let again = ask(&gateway, ann, &[]);
    assert!(again.status.code() == Some(1) && String::from_utf8_lossy(&again.stdout).contains("confirmed this before"));
    // Its token opens no other door, and half of it none at all.
    for path in [path.replace("/c/", "/u/"), path[..path.len() - 1].to_owned()] {
        assert!(press(&gateway, &path).starts_with("HTTP/1.1 404"), "{path}");
    }
}

#[test]
fn an_old_link_lifts_no_newer_no_and_nobody_is_asked_too_often_or_in_vain() {
    let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    let gateway = start(folder.path(), &upstream);
    let suppress = |address: &str, reason: &str| {
        let added = gateway.run(&["suppress", "add", address, "--scope", "controller:acme", "--reason", reason]);
        assert!(added.status.success(), "{added:?}");
    };
    let path = link(&gateway, &upstream, "ann@orange.example");
    suppress("ann@orange.example", "legal_objection");
    assert!(get(&gateway, &path).starts_with("HTTP/1.1 409"));
    assert!(press(&gateway, &path).starts_with("HTTP/1.1 409"));
    assert!(verdict(&gateway, "ann@orange.example").contains("550 5.7.1"));
    let twice = ask(&gateway, "ann@orange.example", &[]);
    assert!(
        twice.status.code() == Some(1) && String::from_utf8_lossy(&twice.stdout).contains("too often"),
        "{twice:?}"
    );
    suppress("bob@orange.example", "manual");
    let shut = ask(&gateway, "bob@orange.example", &[]);
    assert!(shut.status.code() == Some(1) && String::from_utf8_lossy(&shut.stdout).contains("blocked"), "{shut:?}");
    for (more, said) in
        [(["--controller", "other"], "no [[sender]] of `other`"), (["--language", "xx"], "expected one of")]
    {
        let all = [&["consent", "ask", "eve@orange.example"], &more[..]].concat();
        let all = if more[0] == "--controller" { all } else { [&all[..], &["--controller", "acme"]].concat() };
        let refused = gateway.run(&all);
        assert!(String::from_utf8_lossy(&refused.stderr).contains(said), "{refused:?}");
    }
    assert!(
        upstream.received().iter().all(|message| message.to == ["ann@orange.example"]),
        "nobody else was written to"
    );
}
