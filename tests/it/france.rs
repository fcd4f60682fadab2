//! The six French stories, from the command line to the smarthost.

use base64::Engine as _;

use crate::support::{Client, Gateway, Spec, Upstream, eventually};

/// Streams of one French controller: one writes to people at work about IT security, one sells cruises. The password
/// of both credentials is `open sesame`.
const STREAMS: &str = "[[stream]]\nname = \"security\"\ncontroller = \"acier\"\nclass = \"marketing\"\nestablishment = \"FR\"\n\
    default_country = \"FR\"\ntopics = [\"it-security\"]\nbrand = \"Acier SA\"\n\
    [[stream]]\nname = \"cruises\"\ncontroller = \"acier\"\nclass = \"marketing\"\nestablishment = \"FR\"\ndefault_country = \"FR\"\n\
    topics = [\"cruises\"]\nbrand = \"Acier SA\"\n\
    [[credential]]\nname = \"security\"\nstream = \"security\"\ntoken_sha256 = \"41ef4bb0b23661e66301aac36066912dac037827b4ae63a7b1165a5aa93ed4eb\"\n\
    [[credential]]\nname = \"cruises\"\nstream = \"cruises\"\ntoken_sha256 = \"41ef4bb0b23661e66301aac36066912dac037827b4ae63a7b1165a5aa93ed4eb\"\n";

const MESSAGE: &str = "From: Acier SA <news@acier.example>\r\nSubject: Une offre\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
    Acier SA vous propose une offre.\r\nSe desinscrire : https://u.test.example/leave\r\n";

struct Story {
    recipient: &'static str,
    stream: &'static str,
    consent: &'static [&'static str],
    expected: Result<(), (&'static str, &'static str)>,
}

const STORIES: &[Story] = &[
    Story {
        recipient: "marie.durand@gmail.com",
        stream: "security",
        consent: &["--basis", "opt_in", "--evidence", "form 17"],
        expected: Ok(()),
    },
    Story {
        recipient: "luc.petit@orange.fr",
        stream: "security",
        consent: &["--basis", "opt_out_active", "--notice", "2025-3", "--refusal-box", "offered"],
        expected: Err(("FR-C1", "LAW_FR_NO_OPTIN")),
    },
    Story {
        recipient: "paul.martin@usine.example",
        stream: "security",
        consent: &[
            "--basis",
            "opt_out_active",
            "--notice",
            "2025-3",
            "--refusal-box",
            "offered",
            "--class",
            "professional",
            "--function",
            "it",
        ],
        expected: Ok(()),
    },
    Story {
        recipient: "paul.martin@usine.example",
        stream: "cruises",
        consent: &[],
        expected: Err(("FR-P1", "LAW_FR_PROFESSIONAL")),
    },
    Story {
        recipient: "contact@usine.example",
        stream: "security",
        consent: &["--basis", "opt_out_passive", "--notice", "2025-3"],
        expected: Ok(()),
    },
    Story {
        recipient: "anne.morel@usine.example",
        stream: "security",
        consent: &["--basis", "opt_out_passive", "--notice", "2025-3", "--class", "professional"],
        expected: Err(("FR-P2", "LAW_FR_PASSIVE_OPT_OUT")),
    },
];

fn login(gateway: &Gateway, credential: &str) -> Client {
    let mut client = Client::connect(gateway.smtp);
    let secret = base64::engine::general_purpose::STANDARD.encode(format!("\0{credential}\0open sesame"));
    let reply = client.say(&format!("AUTH PLAIN {secret}"));
    assert!(reply.starts_with("235"), "{reply}");
    client
}

#[test]
fn the_six_stories_end_as_the_law_says() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let mut spec = Spec::new(upstream.address);
    spec.more = STREAMS.to_owned();
    let gateway = Gateway::start(folder.path(), &spec);
    for story in STORIES {
        if !story.consent.is_empty() {
            let mut arguments =
                vec!["consent", "set", story.recipient, "--controller", "acier", "--purpose", "marketing"];
            arguments.extend(["--collected-at", "2026-03-01"]);
            arguments.extend(story.consent);
            let set = gateway.run(&arguments);
            assert!(set.status.success(), "{}: {set:?}", story.recipient);
        }
        let (rcpt, end) =
            login(&gateway, story.stream).message("b@acier.example", &[story.recipient], MESSAGE.as_bytes());
        let reply = end.unwrap_or_else(|| rcpt[0].clone());
        let asked = gateway.run(&["explain", "--stream", story.stream, "--to", story.recipient, "--json"]);
        let explained = String::from_utf8(asked.stdout).unwrap();
        match story.expected {
            Ok(()) => {
                assert!(reply.starts_with("250"), "{} on {}: {reply}\n{explained}", story.recipient, story.stream);
                assert_eq!(asked.status.code(), Some(0), "{explained}");
            }
            Err((rule, reason)) => {
                assert!(
                    reply.starts_with("550 5.7.1") && reply.contains(reason),
                    "{} on {}: {reply}",
                    story.recipient,
                    story.stream
                );
                let last = eventually("the record", || gateway.events("Rejection").pop());
                assert!(last["rule"].as_str().unwrap().starts_with(&format!("{rule}@")), "{last}");
                assert_eq!(asked.status.code(), Some(1), "{explained}");
                assert!(explained.contains(reason), "{explained}");
            }
        }
    }
    let sent = STORIES.iter().filter(|story| story.expected.is_ok()).count();
    eventually("the deliveries", || (gateway.events("Delivery").len() == sent).then_some(()));
    let facts = gateway.events("Reception")[0]["facts"].as_str().unwrap().to_owned();
    assert!(facts.contains("class consumer (assumed)") && facts.contains("basis opt_in (proven)"), "{facts}");
}

#[test]
fn a_stream_in_shadow_sends_and_says_what_it_would_have_refused() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let mut spec = Spec::new(upstream.address);
    spec.stream =
        "establishment = \"FR\"\ndefault_country = \"FR\"\nenforcement = \"shadow\"\nbrand = \"Acier SA\"\n".to_owned();
    let gateway = Gateway::start(folder.path(), &spec);
    let mut client = Client::connect(gateway.smtp);
    let (_, end) = client.message("b@acier.example", &["marie.durand@gmail.com"], MESSAGE.as_bytes());
    assert!(end.unwrap().starts_with("250"));
    let reception = eventually("the record", || gateway.events("Reception").pop());
    assert!(reception["would_refuse"].as_str().unwrap().starts_with("FR-C1@"), "{reception}");
    assert!(gateway.run(&["suppress", "add", "marie.durand@gmail.com", "--reason", "unsubscribe"]).status.success());
    let (rcpt, _) = client.message("b@acier.example", &["marie.durand@gmail.com"], MESSAGE.as_bytes());
    assert!(rcpt[0].contains("SUP_UNSUBSCRIBE"), "suppression counts in shadow too: {rcpt:?}");
}
