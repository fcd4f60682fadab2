//! Clients that mean no good, at the person's door: turned away, and the door stays as it was.

use std::io::Write;
use std::time::Duration;

use crate::door::{changes, send};
use crate::support::http::{connect, one_click, raw, request, rest};
use crate::support::{Gateway, Spec, Upstream, eventually};

fn start(folder: &std::path::Path, http: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::start();
    let mut spec = Spec::new(upstream.address);
    spec.http = http.to_owned();
    (Gateway::start(folder, &spec), upstream)
}

#[test]
fn whatever_can_be_read_in_two_ways_is_refused_and_smuggles_nothing_in() {
    let folder = tempfile::tempdir().unwrap();
    let (gateway, upstream) = start(folder.path(), "");
    let path = send(&gateway, &upstream, "ann@b.example");
    let before = changes(&gateway);
    let hidden = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 26\r\n\r\nList-Unsubscribe=One-Click"
    );
    let size = hidden.len();
    for head in [
        format!("Content-Length: {size}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {size}\r\n\r\n0\r\n\r\n"),
        format!("Content-Length: 0\r\nContent-Length: {size}\r\n\r\n"),
        "Content-Length: 0\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "Content-Length: +5\r\n\r\n".to_owned(),
        "Content-Length: 5,5\r\n\r\n".to_owned(),
        "Content-Length: -1\r\n\r\n".to_owned(),
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n".to_owned(),
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n".to_owned(),
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n".to_owned(),
        "Transfer-Encoding: chunked\r\n\r\n0x5\r\nabcde\r\n0\r\n\r\n".to_owned(),
        "Transfer-Encoding: chunked\r\n\r\n+5\r\nabcde\r\n0\r\n\r\n".to_owned(),
        "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n".to_owned(),
        "X: a\r\n b\r\n\r\n".to_owned(),
        "X: a\nY: b\r\n\r\n".to_owned(),
        "X : a\r\n\r\n".to_owned(),
        "X: a\0b\r\n\r\n".to_owned(),
        "Host: b\r\n\r\n".to_owned(),
    ] {
        let answer = raw(gateway.http, format!("POST {path} HTTP/1.1\r\nHost: a\r\n{head}{hidden}").as_bytes());
        assert_eq!(answer.status, 400, "{head:?}");
        // Refused by its head, before anything was made of it; a wrong chunk is found a step later.
        let by_its_chunk = head.starts_with("Transfer-Encoding: chunked\r\n\r\n");
        assert_eq!(answer.body.is_empty(), !by_its_chunk, "{head:?}: {answer:?}");
    }
    // Well formed, with another request behind it on the same connection: that one is not even looked at.
    let answer = raw(gateway.http, format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n{hidden}").as_bytes());
    assert_eq!(answer.status, 200);
    assert!(!answer.body.contains("HTTP/1.1"), "{answer:?}");
    assert_eq!(changes(&gateway), before);
    assert_eq!(one_click(gateway.http, &path).status, 200, "the door is unharmed");
}

#[test]
fn what_is_too_large_or_no_request_at_all_is_turned_away() {
    let folder = tempfile::tempdir().unwrap();
    let (gateway, upstream) = start(folder.path(), "");
    let path = send(&gateway, &upstream, "ann@b.example");
    let before = changes(&gateway);
    let post = |fields: &str, body: &str| {
        raw(gateway.http, format!("POST {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}").as_bytes()).status
    };
    assert_eq!(post("Content-Length: 1073741824\r\n", &"a".repeat(100_000)), 413);
    assert_eq!(post("Content-Length: 99999999999999999999999999\r\n", ""), 413);
    let chunk = format!("8000\r\n{}\r\n0\r\n\r\n", "a".repeat(0x8000));
    assert_eq!(post("Transfer-Encoding: chunked\r\n", &chunk), 413);
    assert_eq!(post(&"X: y\r\n".repeat(10_000), ""), 431);
    assert_eq!(post(&format!("X: {}\r\n", "y".repeat(20_000)), ""), 431);
    let long = format!("GET /u/{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(65_536));
    assert_eq!(raw(gateway.http, long.as_bytes()).status, 414);
    let fields = "Content-Type: application/x-www-form-urlencoded\r\n";
    assert_eq!(request(gateway.http, &format!("POST {path}"), fields, &"a=b&".repeat(257)).status, 413);
    for nonsense in [
        &b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n"[..],
        b"EHLO a\r\nMAIL FROM:<a@b>\r\n\r\n",
        b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        assert_eq!(raw(gateway.http, nonsense).status, 400, "{nonsense:?}");
    }
    assert_eq!(changes(&gateway), before);
    assert_eq!(one_click(gateway.http, &path).status, 200, "the door is unharmed");
}

/// Each of them gives up within half a minute; reading longer than that would fail by its own timeout.
#[test]
fn slow_clients_are_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let (gateway, upstream) = start(folder.path(), "");
    let path = send(&gateway, &upstream, "ann@b.example");
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n");
    let http = gateway.http;
    let cases: [(&str, String, &str, u16); 4] = [
        ("silence", String::new(), "", 0),
        ("half a head", head.clone(), "", 408),
        ("a dribbling head", head.clone(), "X: y\r\n", 408),
        ("a dribbling body", format!("{head}\r\n"), "a", 408),
    ];
    let running = cases.map(|(name, first, again, status)| {
        std::thread::spawn(move || {
            let mut stream = connect(http);
            stream.write_all(first.as_bytes()).unwrap();
            let mut dribble = stream.try_clone().unwrap();
            let ended = std::thread::spawn(move || rest(&mut stream));
            while !ended.is_finished() {
                std::thread::sleep(Duration::from_millis(500));
                if !again.is_empty() && dribble.write_all(again.as_bytes()).is_err() {
                    break;
                }
            }
            assert_eq!(ended.join().unwrap().status, status, "{name}");
        })
    });
    // Meanwhile others are served.
    assert_eq!(one_click(gateway.http, &path).status, 200);
    for thread in running {
        thread.join().unwrap();
    }
    assert_eq!(one_click(gateway.http, &path).status, 200);
}

#[test]
fn a_client_that_says_nothing_does_not_hold_up_the_stop() {
    let folder = tempfile::tempdir().unwrap();
    let (mut gateway, _upstream) = start(folder.path(), "");
    let mut silent = connect(gateway.http);
    assert_eq!(request(gateway.http, "GET /healthz", "", "").status, 200);
    gateway.signal("TERM");
    eventually("the end of the listener", || std::net::TcpStream::connect(gateway.http).err());
    let _too_late = silent.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(rest(&mut silent).status, 0);
    assert_eq!(gateway.stop(), Some(0));
}

#[test]
fn one_address_may_not_take_every_place() {
    let folder = tempfile::tempdir().unwrap();
    let (gateway, _upstream) = start(folder.path(), "trusted_proxies = []\nmax_connections_per_address = 2\n");
    let healthy = || request(gateway.http, "GET /healthz", "", "").status;
    eventually("the test's own first connection to end", || (healthy() == 200).then_some(()));
    let held = [connect(gateway.http), connect(gateway.http)];
    eventually("a full house", || {
        let answer = raw(gateway.http, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
        (answer.status == 503 && answer.field("retry-after").is_some()).then_some(())
    });
    drop(held);
    eventually("a free place", || (healthy() == 200).then_some(()));
}

#[test]
fn no_parameter_comes_back_as_markup_and_no_name_of_ours_is_anybodys_to_choose() {
    let folder = tempfile::tempdir().unwrap();
    let (gateway, upstream) = start(folder.path(), "");
    let path = send(&gateway, &upstream, "ann@b.example");
    let script = "%3Cscript%3Ealert(1)%3C/script%3E";
    let fields = "Accept-Language: <script>alert(1)</script>\r\nReferer: http://a/<script>\r\nX-Forwarded-For: <script>\r\n\
                  X-Forwarded-Host: evil.example\r\nUser-Agent: <script>\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    for line in [
        format!("GET {path}?lang={script}&x={script}"),
        format!("POST {path}?lang={script}"),
        format!("GET /u/{script}"),
        format!("GET /{script}"),
    ] {
        for body in ["List-Unsubscribe=One-Click".to_owned(), format!("do={script}&now={script}&shown={script}")] {
            let answer = request(gateway.http, &line, fields, &body);
            assert!(answer.status < 500, "{answer:?}");
            assert!(
                !answer.body.contains("script") && !answer.body.contains("alert") && !answer.body.contains("evil"),
                "{answer:?}"
            );
        }
    }
}
