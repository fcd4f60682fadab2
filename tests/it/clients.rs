//! Mail clients that people use deliver through the gateway.

use std::path::Path;
use std::process::Command;

use lettre::{SmtpTransport, Transport};

use crate::support::{Gateway, Spec, Upstream, eventually};

fn script(name: &str, gateway: &Gateway, environment: &[(&str, &str)]) -> Vec<serde_json::Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("tests/clients").join(name);
    let mut command = match name.rsplit_once('.').unwrap().1 {
        "py" => Command::new("python3"),
        "mjs" => Command::new("node"),
        _ => Command::new("bash"),
    };
    command.arg(path).arg(gateway.smtp.ip().to_string()).arg(gateway.smtp.port().to_string());
    command
        .args(["news@acme.example", "ann@customer.example", "no@customer.example"])
        .envs(environment.iter().copied());
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}: {error}: {text}")))
        .collect()
}

fn gateway(upstream: &Upstream, folder: &Path) -> Gateway {
    let gateway = Gateway::start(folder, &Spec::new(upstream.address));
    assert!(gateway.run(&["suppress", "add", "no@customer.example", "--reason", "unsubscribe"]).status.success());
    gateway
}

#[test]
fn clients_that_go_on_deliver_to_the_one_and_learn_why_not_to_the_other() {
    for name in ["smtplib_send.py", "nodemailer_send.mjs", "swaks_send.sh"] {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Upstream::start();
        let gateway = gateway(&upstream, folder.path());
        let results = script(name, &gateway, &[]);
        let result = |recipient: &str| {
            results
                .iter()
                .find(|result| result["recipient"] == recipient)
                .unwrap_or_else(|| panic!("{name}: {results:?}"))
        };
        assert_eq!(result("ann@customer.example")["accepted"], true, "{name}: {results:?}");
        assert_eq!(
            (&result("no@customer.example")["accepted"], &result("no@customer.example")["code"]),
            (&false.into(), &550.into()),
            "{name}"
        );
        assert!(result("no@customer.example")["reply"].as_str().unwrap().contains("SUP_UNSUBSCRIBE"), "{name}");
        eventually("delivery", || (upstream.received().len() == 1).then_some(()));
        assert_eq!(upstream.forward_paths(), ["ann@customer.example"], "{name}");
    }
}

#[test]
fn msmtp_sends_to_nobody_when_one_is_refused_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, folder.path());
    let results = script("msmtp_send.sh", &gateway, &[]);
    assert!(results.iter().all(|result| result["accepted"] == false), "{results:?}");
    assert!(gateway.run(&["suppress", "remove", "no@customer.example", "--because", "test"]).status.success());
    let results = script("msmtp_send.sh", &gateway, &[]);
    assert!(results.iter().all(|result| result["accepted"] == true), "{results:?}");
    eventually("two deliveries", || (upstream.received().len() == 2).then_some(()));
}

#[test]
fn a_client_that_authenticates_reaches_the_stream_of_its_credential() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let mut spec = Spec::new(upstream.address);
    // SHA-256 of `open sesame`.
    spec.more = "[[stream]]\nname = \"receipts\"\ncontroller = \"acme\"\nclass = \"transactional\"\n\
                 [[credential]]\nname = \"shop\"\nstream = \"receipts\"\ntoken_sha256 = \"41ef4bb0b23661e66301aac36066912dac037827b4ae63a7b1165a5aa93ed4eb\"\n"
        .to_owned();
    let gateway = Gateway::start(folder.path(), &spec);
    assert!(gateway.run(&["suppress", "add", "no@customer.example", "--reason", "unsubscribe"]).status.success());
    let environment = [("SMTP_USER", "shop"), ("SMTP_PASSWORD", "open sesame")];
    for name in ["smtplib_send.py", "nodemailer_send.mjs", "swaks_send.sh"] {
        let results = script(name, &gateway, &environment);
        assert!(results.len() == 2 && results.iter().all(|result| result["accepted"] == true), "{name}: {results:?}");
    }
    eventually("three deliveries", || (upstream.received().len() == 3).then_some(()));
    let received = upstream.received();
    assert!(received.iter().all(|message| message.to.len() == 2 && message.fields("List-Unsubscribe").is_empty()));
    assert!(received.iter().all(|message| message.fields("Received")[0].contains(" with ESMTPA ")));
}

#[test]
fn lettre_delivers() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, folder.path());
    let message = lettre::Message::builder()
        .from("news@acme.example".parse().unwrap())
        .to("ann@customer.example".parse().unwrap())
        .subject("hello")
        .body("Hello\r\n".to_owned())
        .unwrap();
    let transport = SmtpTransport::builder_dangerous(gateway.smtp.ip().to_string()).port(gateway.smtp.port()).build();
    assert!(transport.send(&message).unwrap().is_positive());
    eventually("delivery", || (upstream.received().len() == 1).then_some(()));
}
