//! Addresses over the wire: no spelling of a suppressed mailbox gets past its entry.

use crate::support::{Client, Gateway, Spec, Upstream, eventually};

const MESSAGE: &[u8] = b"From: News <news@acme.example>\r\nTo: victim@example.com\r\nSubject: hello\r\n\r\nHello\r\n";

/// What a RCPT names, and the code that it must get: 550 where it is found to be the same mailbox, 501 where it is no
/// mailbox at all, 553 where it needs SMTPUTF8.
const SPELLINGS: [(&str, &str); 34] = [
    ("<victim@example.com>", "550 5.7.1"),
    ("<Victim@EXAMPLE.com>", "550 5.7.1"),
    ("<\"victim\"@example.com>", "550 5.7.1"),
    ("<\"vic\\tim\"@example.com>", "550 5.7.1"),
    ("<\"\\v\\i\\c\\t\\i\\m\"@Example.Com>", "550 5.7.1"),
    ("<@r.example:victim@example.com>", "550 5.7.1"),
    ("<@r.example,@[192.0.2.1]:victim@example.com>", "550 5.7.1"),
    ("<ｖictim@example.com>", "not taken"),
    ("<victim@ｅxample.com>", "550 5.7.1"),
    ("<victim@example.com.>", "501 5.1.3"),
    ("<victim@example.com >", "501 5.1.3"),
    ("<victim@example.com\t>", "500 5.5.2"),
    ("< victim@example.com>", "501 5.1.3"),
    ("<victim @example.com>", "501 5.1.3"),
    ("<victim(comment)@example.com>", "501 5.1.3"),
    ("<victim@(comment)example.com>", "501 5.1.3"),
    ("<Victim <victim@example.com>>", "501 5.1.3"),
    ("victim@example.com", "501 5.1.3"),
    ("<victim%example.com@relay.example>", "550 5.1.3"),
    ("<example.com!victim@relay.example>", "550 5.1.3"),
    ("<\"victim@example.com\"@relay.example>", "550 5.1.3"),
    ("<victim@[192.0.2.1]>", "550 5.1.3"),
    ("<victim@[IPv6:2001:db8::1]>", "550 5.1.3"),
    ("<\" victim\"@example.com>", "550 5.7.1"),
    ("<victim@example。com>", "550 5.7.1"),
    ("<victim\u{200b}@example.com>", "not taken"),
    ("<victim@b\u{fc}cher.example>", "550 5.7.1"),
    ("<victim@bu\u{308}cher.example>", "550 5.7.1"),
    ("<victim@xn--bcher-kva.example>", "550 5.7.1"),
    ("<VICTIM@XN--BCHER-KVA.example>", "550 5.7.1"),
    ("<ren\u{e9}@example.com>", "550 5.7.1"),
    ("<rene\u{301}@example.com>", "550 5.7.1"),
    ("<REN\u{c9}@example.com>", "550 5.7.1"),
    ("<\"ren\u{e9}\"@example.com>", "550 5.7.1"),
];

#[test]
fn rl_04_every_spelling_of_a_suppressed_mailbox_finds_the_suppression_or_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    for address in ["victim@example.com", "victim@b\u{fc}cher.example", "ren\u{e9}@example.com"] {
        let added = gateway.run(&["suppress", "add", address, "--scope", "everything", "--reason", "unsubscribe"]);
        assert!(added.status.success(), "{added:?}");
    }
    let mut client = Client::connect(gateway.smtp);
    let mut wrong = Vec::new();
    for (path, expected) in SPELLINGS {
        assert!(client.say("MAIL FROM:<a@acme.example> SMTPUTF8").starts_with("250"));
        let reply = client.say(&format!("RCPT TO:{path}"));
        let fits = if expected == "not taken" { reply.starts_with('5') } else { reply.starts_with(expected) };
        if !fits {
            wrong.push(format!("{path}: {reply}"));
        }
        assert!(client.say("RSET").starts_with("250"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(upstream.forward_paths().is_empty());
}

#[test]
fn rl_05_and_06_only_the_envelope_counts_and_each_recipient_for_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    let added =
        gateway.run(&["suppress", "add", "victim@example.com", "--scope", "everything", "--reason", "unsubscribe"]);
    assert!(added.status.success(), "{added:?}");
    let mut client = Client::connect(gateway.smtp);
    // The suppressed mailbox stands in To all the same, and is nobody's recipient for that.
    let to = ["one@example.com", "victim@example.com", "two@example.com"];
    let (rcpt, end) = client.message("a@acme.example", &to, MESSAGE);
    assert!(rcpt[0].starts_with("250") && rcpt[1].starts_with("550") && rcpt[2].starts_with("250"), "{rcpt:?}");
    assert!(end.unwrap().starts_with("250"));
    eventually("delivery", || (gateway.events("Delivery").len() == 2).then_some(()));
    let mut named = upstream.forward_paths();
    named.sort();
    assert_eq!(named, ["one@example.com", "two@example.com"]);
}

#[test]
fn in_08_what_looks_like_a_query_is_an_address_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    let added =
        gateway.run(&["suppress", "add", "victim@example.com", "--scope", "everything", "--reason", "unsubscribe"]);
    assert!(added.status.success(), "{added:?}");
    let mut client = Client::connect(gateway.smtp);
    let sender = "\"x'/**/UNION/**/SELECT/**/1--\"@acme.example";
    let to = ["\"'; DROP TABLE suppression; --\"@example.com", "o'hara@example.com", "*3@example.com"];
    let (rcpt, end) = client.message(sender, &to, MESSAGE);
    assert!(rcpt.iter().all(|reply| reply.starts_with("250")) && end.unwrap().starts_with("250"), "{rcpt:?}");
    eventually("delivery", || (gateway.events("Delivery").len() == 3).then_some(()));
    assert!(upstream.received().iter().all(|message| message.from == sender));
    let (rcpt, _) = client.message("a@acme.example", &["victim@example.com"], MESSAGE);
    assert!(rcpt[0].starts_with("550 5.7.1"), "the entry is still there: {rcpt:?}");
}
