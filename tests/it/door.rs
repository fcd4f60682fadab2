//! The person's door by its contract: one-click, what never writes, one answer for every foreign token.

use std::collections::HashSet;

use consentry::mail::{ControllerId, ListName, Mailbox, QueueId};
use consentry::token::{self, Keyring, SECRET_LEN, Subject, TokenKey};

use crate::support::http::{Answer, FORM, one_click, request};
use crate::support::{Client, Gateway, Spec, Upstream, eventually};

const MESSAGE: &[u8] = b"From: News <news@acme.example>\r\nSubject: hello\r\n\r\nHello\r\n";
/// Forged tokens that the token room itself is asked about.
const FORGED: u64 = 1_000_000;
/// Forged tokens that go over the wire, by GET and by POST.
const FORGED_BY_HTTP: u64 = 1000;

/// Sends a message and gives the path of the link in the copy that arrived.
pub(crate) fn send(gateway: &Gateway, upstream: &Upstream, to: &str) -> String {
    let (_, end) = Client::connect(gateway.smtp).message("b@acme.example", &[to], MESSAGE);
    assert!(end.as_deref().unwrap_or_default().starts_with("250"), "{end:?}");
    let header = eventually("delivery", || {
        let received = upstream.received();
        received.iter().find(|message| message.to == [to]).map(|message| message.fields("List-Unsubscribe").remove(0))
    });
    header.split_once("u.test.example").unwrap().1.split_once('>').unwrap().0.to_owned()
}

/// The number of changes that the store has seen.
pub(crate) fn changes(gateway: &Gateway) -> String {
    let output = gateway.run(&["suppress", "stats", "--json"]);
    let stats: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    stats["changes"].to_string()
}

fn start(folder: &std::path::Path) -> (Gateway, Upstream) {
    let upstream = Upstream::start();
    (Gateway::start(folder, &Spec::new(upstream.address)), upstream)
}

fn is_plain(answer: &Answer) -> bool {
    answer.field("set-cookie").is_none()
        && answer.field("location").is_none()
        && answer.field("cache-control") == Some("no-store")
        && answer.field("referrer-policy") == Some("no-referrer")
        && answer.field("x-content-type-options") == Some("nosniff")
        && answer.field("x-robots-tag") == Some("noindex, nofollow")
        && answer.field("connection") == Some("close")
}

#[test]
fn a_click_is_taken_in_every_form_that_providers_send() {
    let folder = tempfile::tempdir().unwrap();
    let (gateway, upstream) = start(folder.path());
    let multipart = "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b--\r\n";
    let urlencoded = "List-Unsubscribe=One-Click";
    for (number, (fields, body)) in [
        (FORM.to_owned(), urlencoded),
        ("Content-Type: application/x-www-form-urlencoded; charset=ISO-8859-15\r\n".to_owned(), urlencoded),
        ("Content-Type: multipart/form-data; charset=utf-8; boundary=\"b\"\r\n".to_owned(), multipart),
        (format!("{FORM}Cookie: a=b\r\nAuthorization: Basic YTpi\r\nOrigin: https://evil.example\r\n"), urlencoded),
        (
            format!("{FORM}X-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: http\r\nForwarded: for=_x\r\n"),
            urlencoded,
        ),
        (String::new(), "List-Unsubscribe=One-Click\r\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let person = format!("r{number}@b.example");
        let path = send(&gateway, &upstream, &person);
        let answer = request(gateway.http, &format!("POST {path}"), &fields, body);
        assert!(answer.status == 200 && is_plain(&answer), "{fields} {answer:?}");
        assert!(!answer.body.contains("evil") && !answer.body.contains(&person), "{answer:?}");
        let (rcpt, _) = Client::connect(gateway.smtp).message("b@acme.example", &[&person], MESSAGE);
        assert!(rcpt[0].contains("SUP_UNSUBSCRIBE"), "{rcpt:?}");
    }
    let chunked = "POST PATH HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1a\r\nList-Unsubscribe=One-Click\r\n0\r\n\r\n";
    let path = send(&gateway, &upstream, "chunked@b.example");
    assert_eq!(crate::support::http::raw(gateway.http, chunked.replace("PATH", &path).as_bytes()).status, 200);
    eventually("seven records", || (gateway.events("SuppressionAdded").len() == 7).then_some(()));
}

#[test]
fn nothing_but_a_post_that_asks_for_it_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (gateway, upstream) = start(folder.path());
    let path = send(&gateway, &upstream, "ann@b.example");
    let before = changes(&gateway);
    for round in 0..20 {
        for prefetch in ["", "Sec-Purpose: prefetch;prerender\r\n", "Purpose: prefetch\r\n", "X-Moz: prefetch\r\n"] {
            for method in ["GET", "HEAD"] {
                let answer = request(gateway.http, &format!("{method} {path}?round={round}"), prefetch, "");
                assert!(answer.status == 200 && is_plain(&answer), "{method}: {answer:?}");
                assert_eq!(answer.body.is_empty(), method == "HEAD");
            }
        }
    }
    for method in ["OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "SPAM"] {
        let answer = request(gateway.http, &format!("{method} {path}"), FORM, "List-Unsubscribe=One-Click");
        assert_eq!((answer.status, answer.field("allow")), (405, Some("GET,HEAD,POST")), "{method}");
    }
    for (fields, body, status) in [
        (FORM, "", 400),
        (FORM, "List-Unsubscribe=Yes", 400),
        (FORM, "do=everything", 400),
        (FORM, "do=choose&shown=weekly&was=weekly&now=weekly", 200),
        (FORM, "do=choose&shown=made-up&was=made-up", 200),
        ("Content-Type: application/json\r\n", "{\"List-Unsubscribe\":\"One-Click\"}", 415),
        ("Content-Type: text/plain\r\n", "List-Unsubscribe=One-Click", 415),
        ("Content-Type: multipart/form-data\r\n", "List-Unsubscribe=One-Click", 400),
        (
            "Content-Type: multipart/form-data; boundary=b\r\n",
            "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Cl",
            400,
        ),
    ] {
        let answer = request(gateway.http, &format!("POST {path}"), fields, body);
        assert!(answer.status == status && is_plain(&answer), "{body}: {answer:?}");
    }
    assert_eq!(changes(&gateway), before);
    assert_eq!(one_click(gateway.http, &path).status, 200);
    assert_ne!(changes(&gateway), before);
}

#[test]
fn a_click_said_a_thousand_times_and_by_a_hundred_at_once_is_one_event() {
    let folder = tempfile::tempdir().unwrap();
    let (gateway, upstream) = start(folder.path());
    let path = send(&gateway, &upstream, "ann@b.example");
    let click = || assert_eq!(one_click(gateway.http, &path).status, 200);
    click();
    let first = eventually("the record", || gateway.events("SuppressionAdded").pop());
    let after_first = changes(&gateway);
    (0..1000).for_each(|_| click());
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(click);
        }
    });
    assert_eq!(changes(&gateway), after_first);
    let listed = gateway.run(&["suppress", "list", "--json"]);
    let listed: serde_json::Value =
        serde_json::from_slice(listed.stdout.split(|b| *b == b'\n').next().unwrap()).unwrap();
    assert_eq!(gateway.events("SuppressionAdded").len(), 1);
    assert_eq!(listed["since"], first["timestamp"], "the first time is kept");
}

#[test]
fn every_foreign_token_gets_the_same_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (gateway, upstream) = start(folder.path());
    let path = send(&gateway, &upstream, "ann@b.example");
    let good = path.strip_prefix("/u/").unwrap();
    let before = changes(&gateway);
    let mut tokens: Vec<String> = flips(good);
    tokens.extend((0..good.len()).map(|length| good[..length].to_owned()));
    tokens.extend(["%00", "%2561", "..%2f", "%ff", "%3Cscript%3E", "a/b", "a?b"].map(str::to_owned));
    tokens.extend((0..FORGED_BY_HTTP).map(forged));
    tokens.push(foreign_key_token());
    let mut answers = HashSet::new();
    for (number, token) in tokens.iter().enumerate() {
        // Each from an address of its own, so that no quota ends.
        let fields = format!("{FORM}X-Forwarded-For: 10.0.{}.{}\r\n", number / 256, number % 256);
        for method in ["GET", "POST"] {
            let answer = request(gateway.http, &format!("{method} /u/{token}"), &fields, "List-Unsubscribe=One-Click");
            assert_eq!(answer.status, 404, "{method} {token}");
            answers.insert((answer.fields, answer.body));
        }
    }
    assert_eq!(answers.len(), 1, "{answers:#?}");
    let (_, body) = answers.into_iter().next().unwrap();
    assert!(!body.contains("b.example") && !body.contains("script"), "{body}");
    assert_eq!(changes(&gateway), before);
    assert_eq!(one_click(gateway.http, &path).status, 200);
}

#[test]
fn a_million_forged_tokens_open_nothing() {
    let ring = Keyring::new(TokenKey::new(1, &[7; SECRET_LEN]).unwrap(), vec![]).unwrap();
    let good = token::mint(&ring, &subject()).unwrap();
    for flipped in flips(good.as_str()) {
        assert!(token::redeem(&ring, &flipped).is_err(), "{flipped}");
    }
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let hits: u64 = std::thread::scope(|scope| {
        let ring = &ring;
        let count = |thread| {
            let numbers = (0..FORGED).filter(move |number| number % threads == thread);
            numbers.map(|number| u64::from(token::redeem(ring, &forged(number)).is_ok())).sum::<u64>()
        };
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || count(thread))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(hits, 0);
    assert_eq!(token::redeem(&ring, good.as_str()), Ok(subject()), "the good one opens all the same");
}

#[test]
fn forgers_use_up_their_own_quota_and_nobody_elses() {
    let folder = tempfile::tempdir().unwrap();
    let (gateway, upstream) = start(folder.path());
    let path = send(&gateway, &upstream, "ann@b.example");
    let from = |address: &str, path: &str| {
        request(gateway.http, &format!("GET {path}"), &format!("X-Forwarded-For: {address}\r\n"), "")
    };
    let refused = eventually("the end of the quota", || {
        let answer = from("192.0.2.1", "/u/nonsense");
        (answer.status == 429).then_some(answer)
    });
    assert!(refused.field("retry-after").is_some() && is_plain(&refused), "{refused:?}");
    assert_eq!(from("192.0.2.1", &path).status, 200, "a token of ours from the same address");
    assert_eq!(from("192.0.2.2", "/u/nonsense").status, 404, "another address");
    assert_eq!(one_click(gateway.http, &path).status, 200);
}

#[test]
fn a_store_that_cannot_record_is_said_and_nothing_is_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let (gateway, upstream) = start(folder.path());
    let path = send(&gateway, &upstream, "ann@b.example");
    for suffix in ["", "-wal", "-shm"] {
        let file = folder.path().join(format!("store.db{suffix}"));
        if file.exists() {
            std::fs::remove_file(file).unwrap();
        }
    }
    let answer = eventually("503", || {
        let answer = one_click(gateway.http, &path);
        (answer.status == 503).then_some(answer)
    });
    assert!(answer.field("retry-after").is_some() && is_plain(&answer), "{answer:?}");
    let page = request(gateway.http, &format!("GET {path}"), "", "");
    assert!(page.status == 503 && page.field("retry-after").is_some(), "{page:?}");
    assert!(gateway.events("SuppressionAdded").is_empty());
}

fn subject() -> Subject {
    Subject {
        mailbox: Mailbox::parse("marie.dupont@exemple.fr").unwrap(),
        controller: ControllerId::new("acme").unwrap(),
        list: Some(ListName::new("weekly").unwrap()),
        message: QueueId::from_u64(1),
    }
}

/// Well formed in every respect, under a key that is not this gateway's.
fn foreign_key_token() -> String {
    let ring = Keyring::new(TokenKey::new(1, &[9; SECRET_LEN]).unwrap(), vec![]).unwrap();
    token::mint(&ring, &subject()).unwrap().to_string()
}

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Every token that differs from `good` in one bit of what its letters stand for.
fn flips(good: &str) -> Vec<String> {
    let letters: Vec<_> = good.bytes().map(|b| ALPHABET.iter().position(|known| *known == b).unwrap()).collect();
    let flipped = (0..letters.len() * 5).map(|bit| {
        let mut letters = letters.clone();
        letters[bit / 5] ^= 1 << (bit % 5);
        letters.into_iter().map(|letter| char::from(ALPHABET[letter])).collect()
    });
    flipped.collect()
}

/// The forged token of a number: half of them with the head of a true one, all of usual length.
fn forged(number: u64) -> String {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0x1234_5678_9ABC_DEF1);
    let letters: String = (0..104)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(ALPHABET[(state >> 59) as usize])
        })
        .collect();
    // Version 1 and key id 1, as in every token of a young gateway.
    if number.is_multiple_of(2) { format!("aeaq{}", &letters[4..]) } else { letters }
}
