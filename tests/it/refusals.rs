//! What refusals lead to: each class its outcome, faults of ours nobody's end, dead mailboxes suppressed and outages not.

use serde_json::{Value, json};

use crate::support::{Client, Gateway, Spec, Upstream, eventually};

const MESSAGE: &[u8] = b"From: News <news@acme.example>\r\nSubject: hello\r\n\r\nHello\r\n";

fn send(gateway: &Gateway, to: &str) -> String {
    let (rcpt, end) = Client::connect(gateway.smtp).message("bounce@acme.example", &[to], MESSAGE);
    end.unwrap_or_else(|| rcpt[0].clone())
}

fn about(gateway: &Gateway, kind: &str, to: &str) -> Option<Value> {
    gateway.events(kind).into_iter().find(|event| event["recipient"] == to)
}

fn stats(gateway: &Gateway) -> Value {
    let said = gateway.run(&["queue", "stats", "--json"]);
    assert!(said.status.success(), "{said:?}");
    serde_json::from_slice(&said.stdout).unwrap()
}

fn suppressed(gateway: &Gateway) -> Vec<Value> {
    let said = gateway.run(&["suppress", "list", "--json", "--limit", "1000"]);
    String::from_utf8(said.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_class_has_its_outcome_and_only_a_dead_mailbox_is_suppressed() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let mut spec = Spec::new(upstream.address);
    spec.more = "[bounces]\nwindow = \"1s\"\n[replies]\ngroups = \"domain\"\n".to_owned();
    let gateway = Gateway::start(folder.path(), &spec);
    let table = [
        ("a@dead.example", "550 5.1.1 no such user", "Bounce", "mailbox_dead"),
        ("a@full.example", "552 5.2.2 mailbox full", "Bounce", "mailbox_full"),
        ("a@off.example", "550 5.2.1 account is disabled", "Bounce", "mailbox_disabled"),
        ("a@policy.example", "550 5.7.1 denied by policy, user unknown", "Bounce", "policy"),
        ("a@spam.example", "554 5.7.1 this looks like spam", "Bounce", "content"),
        ("a@size.example", "552 5.3.4 message too large", "Bounce", "size"),
        ("a@nullmx.example", "556 5.1.10 null MX", "Bounce", "domain_dead"),
        ("a@grey.example", "450 4.2.0 greylisted", "TransientFailure", "greylisted"),
        ("a@later.example", "450 4.1.1 user unknown", "TransientFailure", "mailbox_dead"),
        ("a@rate.example", "450 4.7.1 rate limit exceeded", "TransientFailure", "rate"),
        ("a@listed.example", "554 5.7.1 blocked using dnsbl.example", "TransientFailure", "reputation"),
    ];
    for (to, reply, _, _) in table {
        upstream.refuse_with(to, reply);
        assert!(send(&gateway, to).starts_with("250"), "{to}");
    }
    for (to, reply, kind, class) in table {
        let event = eventually(reply, || about(&gateway, kind, to));
        assert_eq!(event["bounce_classification"], class, "{reply}");
        assert!(!event["classified_by"].as_str().unwrap().is_empty());
    }
    let added = eventually("the suppression", || gateway.events("SuppressionAdded").pop());
    assert_eq!((&added["recipient"], &added["reason"]), (&"a@dead.example".into(), &"SUP_HARD_BOUNCE".into()));
    let evidence = added["evidence"].as_str().unwrap();
    let id = about(&gateway, "Bounce", "a@dead.example").unwrap()["id"].as_str().unwrap().to_owned();
    assert!(evidence.starts_with("550 5.1.1 by DEAD-STATUS") && evidence.ends_with(&id), "{evidence}");
    assert!(send(&gateway, "A@dead.example").contains("SUP_HARD_BOUNCE"));
    let kept = suppressed(&gateway);
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(
        gateway.events("Alarm").iter().map(|alarm| alarm["reason"].clone()).collect::<Vec<_>>(),
        ["REPUTATION_REFUSED"]
    );
    assert_eq!(gateway.events("Pace")[0]["reason"], "SLOWED");
    let figures = stats(&gateway);
    assert_eq!(
        (&figures["slowed"][0]["group"], &figures["suspended"][0]["what"]),
        (&"@rate.example by upstream".into(), &"route=upstream domain=listed.example".into())
    );
    let audit = gateway.audit();
    let classes: Vec<_> = audit.iter().filter(|event| event["bounce_classification"] == "policy").collect();
    assert_eq!(classes.len(), 1, "the class is in the audit trail too");
}

#[test]
fn faults_of_ours_end_nobodys_mail_and_open_the_circuit() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    let faults = [
        ("MAIL", "530 5.7.0 Authentication required", "auth"),
        ("MAIL", "535 5.7.8 Authentication credentials invalid", "auth"),
        ("MAIL", "530 5.7.0 Must issue a STARTTLS command first", "tls"),
        ("RCPT", "554 5.7.1 <x@y.example>: Relay access denied", "relay_denied"),
        (".", "550 relaying denied", "relay_denied"),
    ];
    for (round, (command, reply, class)) in faults.into_iter().enumerate() {
        upstream.say(command, Some(reply));
        let to = format!("{round}@x.example");
        assert!(send(&gateway, &to).starts_with("250"));
        let opened = eventually("the open circuit", || gateway.events("CircuitOpened").get(round).cloned());
        assert_eq!((&opened["fault"], &opened["bounce_classification"]), (&"local".into(), &class.into()), "{reply}");
        let circuit = &stats(&gateway)["circuits"][0];
        assert_eq!((&circuit["class"], &circuit["route"]), (&class.into(), &"upstream".into()), "{reply}");
        upstream.say(command, None);
        eventually("delivery", || about(&gateway, "Delivery", &to));
        eventually("the closed circuit", || (stats(&gateway)["circuits"] == json!([])).then_some(()));
    }
    assert!(gateway.events("Bounce").is_empty() && suppressed(&gateway).is_empty());
    let closed = eventually("the last to close", || {
        Some(gateway.events("CircuitClosed").len()).filter(|closed| *closed == faults.len())
    });
    let opened = gateway.events("CircuitOpened");
    assert_eq!(opened.len(), closed, "each is told once: {opened:?}");
    assert!(gateway.events("Alarm").is_empty(), "nor is it told twice");
}

#[test]
fn an_outage_trips_the_breaker_nobody_is_suppressed_and_the_mail_arrives_after_it() {
    const COUNT: usize = 200;
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let mut spec = Spec::new(upstream.address);
    spec.more = "[bounces]\nwindow = \"1m\"\nminimum = 20\nshare = 50\n".to_owned();
    let mut gateway = Gateway::start(folder.path(), &spec);
    upstream.refuse_with("@big.example", "550 5.1.1 user unknown");
    let mut client = Client::connect(gateway.smtp);
    for n in 0..COUNT {
        let (_, end) = client.message("bounce@acme.example", &[&format!("p{n}@big.example")], MESSAGE);
        assert!(end.unwrap().starts_with("250"));
    }
    let alarm = eventually("the alarm", || gateway.events("Alarm").pop());
    assert_eq!(alarm["reason"], "MASS_BOUNCE");
    assert!(
        alarm["evidence"].as_str().unwrap().contains("queue resume --route upstream --domain big.example"),
        "{alarm}"
    );
    assert!(send(&gateway, "p@small.example").starts_with("250"));
    eventually("another domain", || about(&gateway, "Delivery", "p@small.example"));
    let figures = stats(&gateway);
    assert_eq!(
        (&figures["suspended"][0]["what"], &figures["unconfirmed"]),
        (&"route=upstream domain=big.example".into(), &0.into())
    );
    upstream.take("@big.example");
    gateway.kill();
    let gateway = Gateway::restart(folder.path(), gateway.smtp, gateway.http);
    assert_eq!(stats(&gateway)["suspended"][0]["by"], "breaker", "over a restart");
    let bounced = gateway.audit().iter().filter(|event| event["type"] == "Bounce").count();
    assert!(bounced < 20, "only those before it tripped: {bounced}");
    let arrived = || upstream.received().iter().filter(|message| message.to[0].ends_with("@big.example")).count();
    assert_eq!(arrived(), 0, "nothing to the domain that is held");
    let resumed = gateway.run(&["queue", "resume", "--domain", "big.example", "--because", "their directory is back"]);
    assert!(resumed.status.success(), "{resumed:?}");
    eventually("all of them", || (arrived() == COUNT - bounced).then_some(()));
    assert!(suppressed(&gateway).is_empty() && gateway.events("SuppressionAdded").is_empty());
    eventually("an empty queue", || (stats(&gateway)["copies"] == 0).then_some(()));
}

#[test]
fn a_reply_is_classified_on_the_command_line_by_the_operators_file_too() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let mut spec = Spec::new(upstream.address);
    spec.more = "[replies]\nfile = \"own.toml\"\n".to_owned();
    let own = "[[reply]]\nid = \"OWN\"\nclass = \"rate\"\ntext = [\"too eager\"]\nsource = \"our smarthost\"\n";
    std::fs::write(folder.path().join("own.toml"), own).unwrap();
    let gateway = Gateway::start(folder.path(), &spec);
    let class =
        |reply: &str| -> Value { serde_json::from_slice(&gateway.run(&["classify", reply, "--json"]).stdout).unwrap() };
    assert_eq!(
        (&class("550 5.1.1 x")["class"], &class("550 5.1.1 x")["follows"]),
        (&"mailbox_dead".into(), &"suppress".into())
    );
    assert_eq!(
        (&class("550 too eager")["class"], &class("550 too eager")["classified_by"]),
        (&"rate".into(), &"OWN".into())
    );
    assert!(!gateway.run(&["classify", "hello"]).status.success());
    std::fs::write(folder.path().join("own.toml"), own.replace("rate", "eager")).unwrap();
    let checked = gateway.run(&["check"]);
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(
        checked.status.code() == Some(78) && said.contains("own.toml:3: OWN: `class`: `eager` is not known"),
        "{said}"
    );
}
