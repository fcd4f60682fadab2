//! The unsubscribe mailbox: a token decides, whoever it comes from; machines and forgers change nothing.

use std::net::SocketAddr;
use std::path::Path;

use crate::support::client::GATEWAY;
use crate::support::gateway::free_port;
use crate::support::{Authority, Client, Gateway, Spec, Upstream, eventually};

const MAILBOX: &str = "u@u.test.example";

/// A gateway that takes mail for the mailbox, and where.
fn start(folder: &Path, upstream: &Upstream, stream: &str) -> (Gateway, SocketAddr) {
    let inbound = free_port();
    let mut spec = Spec::new(upstream.address);
    spec.more = format!(
        "[inbound]\nlisten = [\"{inbound}\"]\nalso_mailboxes = [\"old@u.test.example\"]\nmax_message_octets = 1048576\n"
    );
    spec.stream = stream.to_owned();
    let gateway = Gateway::start(folder, &spec);
    eventually("the mailbox to open", || std::net::TcpStream::connect(inbound).ok());
    (gateway, inbound)
}

/// What `to` is told when the campaign tool writes to them.
fn verdict(gateway: &Gateway, to: &str) -> String {
    let message = b"From: News <news@acme.example>\r\nSubject: hello\r\n\r\nHello\r\n";
    let (rcpt, end) = Client::connect(gateway.smtp).message("b@acme.example", &[to], message);
    end.unwrap_or_else(|| rcpt[0].clone())
}

/// Sends `to` a message, and gives the token of the mailto: link in it.
fn token_of(gateway: &Gateway, upstream: &Upstream, to: &str) -> String {
    assert!(verdict(gateway, to).starts_with("250"));
    let link = eventually("delivery", || {
        let received = upstream.received();
        received.iter().find(|message| message.to == [to]).map(|message| message.fields("List-Unsubscribe").remove(0))
    });
    let (_, mailto) = link.split_once("<mailto:").unwrap();
    let (mailbox, token) = mailto.split_once('>').unwrap().0.split_once("?subject=").unwrap();
    assert_eq!(mailbox, MAILBOX);
    token.to_owned()
}

/// Writes to the mailbox; the reply to the content.
fn write(inbound: SocketAddr, from: &str, head: &str) -> String {
    let content = format!("{head}\r\n\r\nThis message was made by a mail program.\r\n");
    Client::connect(inbound).message(from, &[MAILBOX], content.as_bytes()).1.unwrap()
}

/// The token as different mail programs write it.
fn subject(kind: &str, token: &str) -> String {
    let (start, end) = token.split_at(40);
    match kind {
        "reply" => format!("Subject: Re: {token}"),
        "case" => format!("Subject: {}", token.to_uppercase()),
        "folded" => format!("Subject:\r\n {start}\r\n {end}"),
        "encoded" => format!("Subject: =?utf-8?q?{start}?=\r\n =?utf-8?q?{end}?="),
        _ => format!("Subject: {token}"),
    }
}

#[test]
fn mail_servers_start_tls_with_the_certificate_of_submission_and_prove_nothing_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, authority) = (Upstream::start(), Authority::new(folder.path()));
    authority.issue("gate", GATEWAY);
    let inbound = free_port();
    let mut spec = Spec::new(upstream.address);
    spec.smtp = "[[smtp.tls]]\ncertificate = \"gate.pem\"\nkey = \"gate.key\"\n".to_owned();
    spec.more = format!("[inbound]\nlisten = [\"{inbound}\"]\n");
    let gateway = Gateway::start(folder.path(), &spec);
    let token = token_of(&gateway, &upstream, "ann@b.example");
    let mut clear = Client::connect(inbound);
    assert!(clear.ask("EHLO mx.b.example").contains(&"250-STARTTLS".to_owned()));
    let mut client = clear.start_tls(&authority.trust());
    let offered = client.ask("EHLO mx.b.example");
    assert!(!offered.iter().any(|line| line.contains("STARTTLS") || line.contains("AUTH")), "{offered:?}");
    let (foreign, _) = client.message("ann@b.example", &["bea@c.example"], b"Subject: x\r\n\r\nx\r\n");
    assert!(foreign[0].starts_with("550 5.7.1"), "{foreign:?}");
    let content = format!("From: ann@b.example\r\nSubject: {token}\r\n\r\n");
    let (_, end) = client.message("ann@b.example", &[MAILBOX], content.as_bytes());
    assert!(end.unwrap().starts_with("250"));
    eventually("the opt-out", || verdict(&gateway, "ann@b.example").contains("SUP_UNSUBSCRIBE").then_some(()));
    // A certificate that is renewed is shown here, too.
    authority.issue("gate", GATEWAY);
    let new = authority.certificate("gate");
    gateway.signal("HUP");
    eventually("the new certificate", || {
        let mut client = Client::connect(inbound).start_tls(&authority.trust());
        let _reply = client.say("NOOP");
        (client.tls().conn.peer_certificates()?.first() == Some(&new)).then_some(())
    });
}

#[test]
fn a_person_leaves_by_mail_from_whatever_account_and_however_the_subject_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let (mut gateway, inbound) = start(folder.path(), &upstream, "");
    let names = ["plain", "reply", "case", "folded", "encoded"];
    for name in names {
        let person = format!("{name}@b.example");
        let token = token_of(&gateway, &upstream, &person);
        let head = format!("From: Somebody <other@elsewhere.example>\r\n{}", subject(name, &token));
        let said = write(inbound, "other@elsewhere.example", &head);
        assert_eq!(said, "250 2.0.0 Ok: taken", "{name}");
        assert!(verdict(&gateway, &person).contains("SUP_UNSUBSCRIBE"), "{name}");
    }
    assert!(verdict(&gateway, "other@elsewhere.example").starts_with("250"), "the account that wrote");
    // The log is written by a thread of its own.
    let added = eventually("each event", || {
        let added = gateway.events("SuppressionAdded");
        (added.len() >= names.len()).then_some(added)
    });
    assert_eq!((added.len(), &added[0]["queue"]), (names.len(), &"list:acme/weekly".into()), "{added:?}");
    gateway.kill();
    let gateway = Gateway::restart(folder.path(), gateway.smtp, gateway.http);
    assert!(verdict(&gateway, "plain@b.example").contains("SUP_UNSUBSCRIBE"), "after SIGKILL");
    assert!(upstream.received().iter().all(|message| message.from == "b@acme.example"), "somebody was answered");
}

#[test]
fn swaks_can_unsubscribe() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let (gateway, inbound) = start(folder.path(), &upstream, "");
    let token = token_of(&gateway, &upstream, "ann@b.example");
    let sent = std::process::Command::new("swaks")
        .args(["--server", &inbound.to_string(), "--from", "x@y.example", "--to", MAILBOX, "--timeout", "30"])
        .args(["--header", &format!("Subject: {token}")])
        .output()
        .unwrap();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stdout));
    assert!(verdict(&gateway, "ann@b.example").contains("SUP_UNSUBSCRIBE"));
}

#[test]
fn machines_forgers_and_damaged_tokens_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let (gateway, inbound) = start(folder.path(), &upstream, "");
    let person = "ann@b.example";
    let token = token_of(&gateway, &upstream, person);
    let from = format!("From: Ann <{person}>");
    let automatic = [
        "Auto-Submitted: auto-replied",
        "Auto-Submitted: auto-generated (vacation)",
        "Precedence: bulk",
        "X-Auto-Response-Suppress: All",
        "X-Autoreply: yes",
        "Content-Type: multipart/report; report-type=delivery-status; boundary=x",
    ];
    for field in automatic {
        assert!(write(inbound, person, &format!("{from}\r\n{field}\r\nSubject: Re: {token}")).starts_with("250"));
    }
    for subject in ["Automatic reply: ", "Réponse automatique : ", "Out of Office: Re: "] {
        assert!(write(inbound, person, &format!("{from}\r\nSubject: {subject}{token}")).starts_with("250"));
    }
    assert!(write(inbound, "", &format!("{from}\r\nSubject: {token}")).starts_with("250"), "null reverse path");
    for head in [format!("{from}\r\nSubject: unsubscribe"), from.clone(), format!("{from}\r\nSubject: {}", &token[1..])]
    {
        assert!(write(inbound, person, &head).starts_with("250"), "{head}");
    }
    let mut client = Client::connect(inbound);
    for index in 0..token.len() {
        let mut damaged = token.clone().into_bytes();
        damaged[index] = if damaged[index] == b'a' { b'b' } else { b'a' };
        let content = format!("{from}\r\nSubject: {}\r\n\r\n", String::from_utf8(damaged).unwrap());
        assert!(client.message(person, &[MAILBOX], content.as_bytes()).1.unwrap().starts_with("250"));
    }
    let ignored = automatic.len() + 3 + 1 + 3 + token.len();
    eventually("a record of each", || (gateway.events("FeedbackIgnored").len() == ignored).then_some(()));
    assert!(verdict(&gateway, person).starts_with("250"));
    assert!(gateway.events("SuppressionAdded").is_empty());
    assert!(write(inbound, person, &format!("{from}\r\nSubject: {token}")).starts_with("250"));
    assert!(verdict(&gateway, person).contains("SUP_UNSUBSCRIBE"), "the token was good all along");
}

#[test]
fn nothing_is_relayed_and_nobody_logs_in() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let (gateway, inbound) = start(folder.path(), &upstream, "");
    let mut client = Client::connect(inbound);
    assert!(client.say("MAIL FROM:<x@y.example>").starts_with("250"));
    for other in ["ann@b.example", "ub@u.test.example", "postmaster", "u@test.example", "u%b.example@u.test.example"] {
        let said = client.say(&format!("RCPT TO:<{other}>"));
        assert!(said.starts_with("550 5."), "{other}: {said}");
    }
    assert_eq!(client.say("RCPT TO:<ann@b.example>"), "550 5.7.1 relaying denied");
    for own in ["u@u.test.example", "U@U.TEST.example", "u+x@u.test.example", "old@u.test.example"] {
        assert!(client.say(&format!("RCPT TO:<{own}>")).starts_with("250"), "{own}");
    }
    assert!(client.say("RSET").starts_with("250"));
    let login = client.say("AUTH PLAIN AGEAYQ==");
    assert!(login.starts_with('5'), "{login}");
    let mut content = b"Subject: x\r\n\r\n".to_vec();
    content.extend(std::iter::repeat_n(*b"0123456789abcdef0123456789abcdef0123456789abcdef\r\n", 30_000).flatten());
    let end = client.message("x@y.example", &[MAILBOX], &content).1.unwrap();
    assert!(end.starts_with("552 5.3.4"), "{end}");
    drop(gateway);
    assert!(upstream.forward_paths().is_empty());
}

#[test]
fn a_reload_changes_which_mailboxes_are_ours() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let (gateway, inbound) = start(folder.path(), &upstream, "");
    let file = folder.path().join("consentry.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("old@u.test.example", "older@u.test.example")).unwrap();
    gateway.signal("HUP");
    let mut client = Client::connect(inbound);
    let mut says = |to: &str| {
        client.say("MAIL FROM:<x@y.example>");
        let said = client.say(&format!("RCPT TO:<{to}>"));
        client.say("RSET");
        said
    };
    eventually("the new mailbox", || says("older@u.test.example").starts_with("250").then_some(()));
    assert!(says("old@u.test.example").starts_with("550") && says(MAILBOX).starts_with("250"));
}

#[test]
fn an_opt_out_that_cannot_be_recorded_is_not_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let (gateway, inbound) = start(folder.path(), &upstream, "");
    let token = token_of(&gateway, &upstream, "ann@b.example");
    for suffix in ["", "-wal", "-shm"] {
        let file = folder.path().join(format!("store.db{suffix}"));
        if file.exists() {
            std::fs::remove_file(file).unwrap();
        }
    }
    eventually("the loss to be noticed", || verdict(&gateway, "ann@b.example").starts_with("451").then_some(()));
    let said = write(inbound, "ann@b.example", &format!("Subject: {token}"));
    assert!(said.starts_with("451 4.3.0"), "{said}");
}

#[test]
fn belgian_law_has_the_address_that_left_told_once_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let law = "establishment = \"BE\"\nenforcement = \"shadow\"\nbrand = \"Café Acme\"\n";
    let (gateway, inbound) = start(folder.path(), &upstream, law);
    let token = token_of(&gateway, &upstream, "ann@b.example");
    let head = format!("From: <other@elsewhere.example>\r\nSubject: {token}");
    for _ in 0..3 {
        assert!(write(inbound, "other@elsewhere.example", &head).starts_with("250"));
    }
    let receipt = eventually("the receipt", || upstream.received().get(1).cloned());
    assert_eq!((receipt.from.as_str(), receipt.to.as_slice()), ("", &["ann@b.example".to_owned()][..]));
    assert_eq!(receipt.fields("Auto-Submitted"), ["auto-replied"]);
    assert_eq!(receipt.fields("To"), ["<ann@b.example>"]);
    assert!(receipt.fields("From")[0].ends_with("<u@u.test.example>"), "{:?}", receipt.fields("From"));
    let text = String::from_utf8(receipt.content.clone()).unwrap();
    assert!(text.contains("uitschrijving") && !text.contains(&token), "{text}");
    assert!(verdict(&gateway, "ann@b.example").contains("SUP_UNSUBSCRIBE"));
    eventually("an empty queue", || {
        String::from_utf8_lossy(&gateway.run(&["queue", "stats"]).stdout).contains("copies 0").then_some(())
    });
    assert_eq!(upstream.received().len(), 2, "more than one receipt");
    assert!(!upstream.forward_paths().contains(&"other@elsewhere.example".to_owned()));
}

/// Most messages of a corpus that are tried: the ones that matter are few, and each costs a transaction.
const SAMPLES_MAX: usize = 500;

/// Bounces, complaints, vacation answers and newsletters of the folder in `CONSENTRY_FEEDBACK`, when one is given.
#[test]
fn nothing_in_a_corpus_of_feedback_is_taken_for_an_opt_out() {
    let Some(corpus) = std::env::var_os("CONSENTRY_FEEDBACK") else { return };
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let (gateway, inbound) = start(folder.path(), &upstream, "");
    let mut files: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
    files.sort();
    let before = gateway.run(&["suppress", "stats"]).stdout;
    let mut replies = std::collections::BTreeMap::<String, usize>::new();
    for path in files.iter().take(SAMPLES_MAX) {
        let content = crate::messages::with_crlf(&std::fs::read(path).unwrap());
        let end = Client::connect(inbound).message("ann@b.example", &[MAILBOX], &content).1.unwrap();
        *replies.entry(end.get(..9).unwrap_or_default().to_owned()).or_default() += 1;
    }
    println!("{} messages: {replies:?}", files.len().min(SAMPLES_MAX));
    assert!(replies.keys().all(|reply| reply.starts_with("250") || reply.starts_with("550 5.6")), "{replies:?}");
    // Vacation answers to a message whose subject was the token itself.
    let token = token_of(&gateway, &upstream, "ann@b.example");
    let answers = files.iter().filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("rfc3834-"));
    for path in answers {
        let content = String::from_utf8_lossy(&std::fs::read(path).unwrap()).replace("Nyaan", &token);
        let content = crate::messages::with_crlf(content.as_bytes());
        let end = Client::connect(inbound).message("ann@b.example", &[MAILBOX], &content).1.unwrap();
        assert!(content.windows(token.len()).any(|w| w == token.as_bytes()) && end.starts_with("250"), "{end}");
    }
    assert!(gateway.events("SuppressionAdded").is_empty() && upstream.received().len() == 1);
    assert_eq!(before, gateway.run(&["suppress", "stats"]).stdout);
}
