//! A real Postfix behind us: as a smarthost with TLS and AUTH, and as the mail server of a domain.

use std::fmt::Write as _;
use std::path::Path;

use crate::support::name_server::NameServer;
use crate::support::postfix::{PASSWORD, Postfix, USER};
use crate::support::upstream::Received;
use crate::support::{Client, Gateway, Spec, Upstream, eventually};

const MESSAGE: &[u8] = b"From: News <news@acme.example>\r\nSubject: Hello\r\n\r\nHi.\r\n";

/// A gateway whose stream goes by `route`; the password lies in a file beside the configuration.
fn gateway(folder: &Path, route: &str, password: &str) -> Gateway {
    std::fs::write(folder.join("password"), format!("{password}\n")).unwrap();
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut spec = Spec::new(nowhere);
    spec.stream = "route = \"relay\"\n".to_owned();
    spec.more = format!("[[route]]\nname = \"relay\"\n{route}\n");
    Gateway::start(folder, &spec)
}

fn smarthost(port: u16, more: &str) -> String {
    format!(
        "kind = \"smarthost\"\nhosts = [{{ host = \"localhost\", port = {port} }}]\nuser = \"{USER}\"\npassword_file = \"password\"\n{more}"
    )
}

fn send(gateway: &Gateway, to: &str) {
    let reply = Client::connect(gateway.smtp).message("b@acme.example", &[to], MESSAGE).1;
    assert!(reply.as_ref().is_some_and(|reply| reply.starts_with("250")), "{reply:?}");
}

fn arrival(upstream: &Upstream, to: &str) -> Received {
    eventually("arrival behind Postfix", || upstream.received().iter().find(|message| message.to == [to]).cloned())
}

#[test]
fn postfix_as_a_smarthost_is_verified_and_knows_us() {
    let upstream = Upstream::start();
    let postfix = Postfix::start(upstream.address);
    let trusted = format!("ca_file = \"{}\"", postfix.ca_file().display());
    for (port, implicit) in [(postfix.submission, ""), (postfix.submissions, "\nimplicit_tls = true")] {
        let folder = tempfile::tempdir().unwrap();
        let gateway = gateway(folder.path(), &smarthost(port, &format!("{trusted}{implicit}")), PASSWORD);
        let to = format!("p{port}@b.example");
        send(&gateway, &to);
        let received = arrival(&upstream, &to).fields("Received").join("\n");
        assert!(received.contains("with ESMTPSA") && received.contains(USER), "{received}");
        let delivered = eventually("the record", || gateway.events("Delivery").pop());
        assert_eq!(
            (&delivered["tls_protocol_version"], &delivered["peer_address"]["name"]),
            (&"TLSv1.3".into(), &"localhost".into())
        );
        assert_eq!(delivered["route"], "relay");
    }
}

/// UP-02: what is between the upstream and us is never the recipients'; it waits, it is said, and it heals.
#[test]
fn a_wrong_password_or_certificate_holds_the_mail_and_says_why() {
    let upstream = Upstream::start();
    let postfix = Postfix::start(upstream.address);
    let stranger = tempfile::tempdir().unwrap();
    let foreign = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(stranger.path().join("ca.pem"), foreign.cert.pem()).unwrap();
    let trusted = format!("ca_file = \"{}\"", postfix.ca_file().display());
    let untrusted = format!("ca_file = \"{}\"", stranger.path().join("ca.pem").display());
    let folder = tempfile::tempdir().unwrap();
    let cases = [(untrusted.as_str(), PASSWORD, "policy"), (trusted.as_str(), "guessed", "local")];
    for (number, (ca_file, password, fault)) in cases.into_iter().enumerate() {
        let mut gateway = gateway(folder.path(), &smarthost(postfix.submission, ca_file), password);
        send(&gateway, &format!("p{number}@b.example"));
        let opened = eventually("the circuit to open", || gateway.events("CircuitOpened").pop());
        assert_eq!((&opened["fault"], &opened["route"]), (&fault.into(), &"relay".into()), "{opened}");
        assert!(!opened.to_string().contains("guessed"));
        let failures = gateway.events("TlsFailure");
        assert_eq!(failures.is_empty(), fault == "local");
        for failure in failures {
            assert_eq!(failure["tls_failure"]["result_type"], "certificate-not-trusted");
        }
        assert!(gateway.events("Bounce").is_empty());
        assert_eq!(gateway.stop(), Some(0));
    }
    assert!(upstream.forward_paths().is_empty());
    let _healed = gateway(folder.path(), &smarthost(postfix.submission, &trusted), PASSWORD);
    for number in 0..cases.len() {
        arrival(&upstream, &format!("p{number}@b.example"));
    }
}

#[test]
fn postfix_as_the_server_of_a_domain_takes_its_mail_under_tls_and_refuses_other_domains() {
    let upstream = Upstream::start();
    let postfix = Postfix::start(upstream.address);
    let names = NameServer::start(
        "postfix.example MX 10 localhost.example\nlocalhost.example A 127.0.0.1\nother.example MX 5 localhost.example",
    );
    let mut route =
        format!("kind = \"mx\"\nport = {}\ndeliver_to_loopback = true\ntls = \"opportunistic\"\n", postfix.exchange);
    writeln!(route, "[dns]\nservers = [\"{}\"]", names.address).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let gateway = gateway(folder.path(), &route, PASSWORD);
    send(&gateway, "ann@postfix.example");
    let received = arrival(&upstream, "ann@postfix.example").fields("Received").join("\n");
    assert!(received.contains("with ESMTPS ") && received.contains("localhost"), "{received}");
    let delivered = eventually("the record", || gateway.events("Delivery").pop());
    assert_eq!(delivered["peer_address"]["name"], "localhost.example");
    send(&gateway, "bob@other.example");
    let bounce = || gateway.events("Bounce").into_iter().find(|event| event["recipient"] == "bob@other.example");
    let refused = eventually("a refusal", bounce);
    assert_eq!(refused["bounce_classification"], "relay_denied", "{refused}");
    let rests = |event: &serde_json::Value| event["site"] == "other.example";
    assert!(!gateway.events("CircuitOpened").iter().any(rests), "a stranger's server is no fault of ours");
}
