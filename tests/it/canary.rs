//! Canaries: a message to ourselves through the upstream, which passes it on as it came, or not.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;

use crate::support::gateway::{command, free_port};
use crate::support::{Client, Gateway, Spec, Upstream, eventually};

const MAILBOX: &str = "canary@u.test.example";

/// What it is called, what an upstream does, what is told of it.
type Case = (&'static str, fn(&str) -> String, &'static str);

/// A gateway that signs, and sends itself a message each second.
fn start(folder: &Path, upstream: &Upstream, lost_after: &str) -> (Gateway, SocketAddr) {
    let key = folder.join("c1.key");
    let made = command(folder)
        .args(["keygen", "dkim", "--domain", "acme.example", "--selector", "c1", "--kind", "ed25519", "--out"])
        .arg(&key)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let inbound = free_port();
    let mut spec = Spec::new(upstream.address);
    spec.stream = "dkim = [\"c1\"]\n".to_owned();
    spec.more = format!(
        "[inbound]\nlisten = [\"{inbound}\"]\n\
         [canary]\naddress = \"{MAILBOX}\"\nfrom = \"news@acme.example\"\nstream = \"news\"\nevery = \"1s\"\n\
         lost_after = \"{lost_after}\"\n\
         [[dkim]]\nname = \"c1\"\ndomain = \"acme.example\"\nselector = \"c1\"\nkey_file = \"c1.key\"\n"
    );
    let gateway = Gateway::start(folder, &spec);
    eventually("the mailbox to open", || std::net::TcpStream::connect(inbound).ok());
    (gateway, inbound)
}

/// The next canary that the upstream was given and that this test has not seen.
fn next(upstream: &Upstream, seen: &mut usize) -> String {
    let message = eventually("a canary", || {
        let received = upstream.received();
        let (header, body) = received.get(*seen)?.split();
        Some([header, body].concat())
    });
    *seen += 1;
    String::from_utf8(message).unwrap()
}

/// Passes a message on to where canaries come back to.
fn pass_on(inbound: SocketAddr, message: &str) {
    let end = Client::connect(inbound).message("relay@relay.example", &[MAILBOX], message.as_bytes()).1;
    assert!(end.as_deref().unwrap_or_default().starts_with("250"), "{end:?}");
}

/// The value of a field with its folds, as it stands there.
fn field<'a>(message: &'a str, name: &str) -> &'a str {
    let start = message.find(&format!("{name}: ")).unwrap_or_else(|| panic!("{name}: {message}"));
    let rest = &message[start..];
    let mut end = 0;
    for line in rest.split_inclusive("\r\n") {
        if end > 0 && !line.starts_with([' ', '\t']) {
            break;
        }
        end += line.len();
    }
    &rest[..end]
}

fn verdicts(gateway: &Gateway) -> Vec<Value> {
    gateway.audit().into_iter().filter(|event| event["type"] == "Canary").collect()
}

#[test]
fn what_an_upstream_does_to_the_way_out_is_told_by_name() {
    let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    let (mut gateway, inbound) = start(folder.path(), &upstream, "1h");
    let mut seen = 0;
    let relayed = |message: &str| format!("Received: from gate by relay.example; now\r\nX-Relay: yes\r\n{message}");
    let cases: [Case; 7] = [
        ("faithful", str::to_owned, "as it was sent"),
        (
            "replaced",
            |m| m.replace(field(m, "List-Unsubscribe"), "List-Unsubscribe: <https://esp.example/u/1>\r\n"),
            "List-Unsubscribe was replaced",
        ),
        (
            "added",
            |m| format!("List-Unsubscribe: <https://esp.example/u/1>\r\n{m}"),
            "List-Unsubscribe was added once more",
        ),
        ("no post", |m| m.replace(field(m, "List-Unsubscribe-Post"), ""), "List-Unsubscribe-Post was removed"),
        ("no signature", |m| m.replace(field(m, "DKIM-Signature"), ""), "DKIM-Signature was removed"),
        ("footer", |m| format!("{m}\r\n-- \r\nSent with Relay\r\n"), "the body was changed"),
        ("date", |m| m.replace(field(m, "Date"), "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n"), "Date was changed"),
    ];
    for (number, (case, change, expected)) in cases.iter().enumerate() {
        let message = next(&upstream, &mut seen);
        pass_on(inbound, &relayed(&change(&message)));
        let verdict = eventually(case, || verdicts(&gateway).get(number).cloned());
        let (reason, evidence) = (verdict["reason"].as_str().unwrap(), verdict["evidence"].as_str().unwrap());
        assert!(evidence.contains(expected), "{case}: {verdict}");
        assert_eq!(reason, if *case == "faithful" { "OK" } else { "BROKEN" }, "{case}");
        assert!(!evidence.contains(';'), "{case}: one difference: {evidence}");
        assert_eq!(verdict["route"], "upstream", "{case}");
    }
    // Nobody else makes one: no token, somebody else's message, half a token.
    let message = next(&upstream, &mut seen);
    let subject = field(&message, "Subject");
    let forged = message.replace(subject, &format!("{}\r\n", &subject[..subject.len() - 6]));
    for message in ["Subject: Consentry canary aaaa\r\n\r\nx\r\n", &forged] {
        pass_on(inbound, message);
    }
    // Pressing its link does no harm: nobody's mail ends, and canaries go on.
    let link = field(&message, "List-Unsubscribe")
        .split_once("u.test.example")
        .unwrap()
        .1
        .split_once('>')
        .unwrap()
        .0
        .to_owned();
    let answer =
        crate::way_through::request(gateway.http, &format!("POST {link} HTTP/1.1"), "List-Unsubscribe=One-Click");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // All that had left by then, and one that left afterwards.
    seen = upstream.received().len();
    (0..2).for_each(|_| drop(next(&upstream, &mut seen)));
    // It is known again after a restart, for everything about it follows from its token.
    assert_eq!(gateway.stop(), Some(0));
    let gateway = Gateway::restart_there(folder.path());
    eventually("the mailbox to open", || std::net::TcpStream::connect(inbound).ok());
    for _ in 0..3 {
        pass_on(inbound, &relayed(&message));
    }
    let last = eventually("the last one", || verdicts(&gateway).get(cases.len()).cloned());
    assert_eq!((last["reason"].as_str(), verdicts(&gateway).len()), (Some("OK"), cases.len() + 1), "{last}");
}

/// A person's wish that is sent to both mailboxes at once is a wish.
#[test]
fn an_opt_out_that_names_the_canaries_mailbox_too_is_not_lost() {
    let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    let (gateway, inbound) = start(folder.path(), &upstream, "1h");
    let message = b"From: News <news@acme.example>\r\nSubject: hello\r\n\r\nHello\r\n";
    let send = || Client::connect(gateway.smtp).message("b@acme.example", &["ann@b.example"], message);
    assert!(send().1.unwrap().starts_with("250"));
    let link = eventually("the message", || {
        let received = upstream.received();
        received.iter().find(|message| message.to == ["ann@b.example"]).map(|m| m.fields("List-Unsubscribe").remove(0))
    });
    let token = link.rsplit_once("?subject=").unwrap().1.trim_end_matches('>').to_owned();
    let wish = format!("From: ann@b.example\r\nSubject: {token}\r\n\r\nplease\r\n");
    let both = ["u@u.test.example", MAILBOX];
    let (rcpt, end) = Client::connect(inbound).message("ann@b.example", &both, wish.as_bytes());
    assert!(end.as_deref().unwrap_or_default().starts_with("250"), "{rcpt:?} {end:?}");
    assert!(send().0[0].contains("SUP_UNSUBSCRIBE"), "acknowledged and in effect");
}

#[test]
fn one_leaves_by_each_route_and_whoever_does_not_come_back_is_missed() {
    let (folder, upstream, second) = (tempfile::tempdir().unwrap(), Upstream::start(), Upstream::start());
    let (mut gateway, _) = start(folder.path(), &upstream, "1s");
    assert_eq!(gateway.stop(), Some(0));
    let file = folder.path().join("consentry.toml");
    let route = format!(
        "[[route]]\nname = \"second\"\nkind = \"smarthost\"\nhosts = [{{ host = \"127.0.0.1\", port = {} }}]\n",
        second.address.port()
    );
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + &route).unwrap();
    let gateway = Gateway::restart_there(folder.path());
    for route in ["upstream", "second"] {
        let missed = eventually(route, || verdicts(&gateway).into_iter().find(|verdict| verdict["route"] == route));
        assert_eq!(missed["reason"], "LOST", "{missed}");
    }
    eventually("a canary by the other route", || {
        second.received().first().map(|message| assert_eq!(message.to, [MAILBOX]))
    });
}
