//! PX-01 to PX-05: the PROXY protocol. Whoever may write a header chooses where a client seems to come from.

use std::io::Read as _;

use super::{MESSAGE, from, reconfigured, secured};
use crate::support::{Authority, Client, Gateway, PATIENCE, Upstream, eventually};

/// A gateway that trusts a proxy on loopback, and tools at 198.51.100.0/24 and at the proxy's own address.
fn scene(folder: &tempfile::TempDir, upstream: &Upstream) -> (Gateway, std::net::SocketAddr, Authority) {
    let authority = Authority::new(folder.path());
    let more = "proxy_protocol_from = [\"127.0.0.1\"]\nmax_connections_per_address = 2";
    let (gateway, tls) = secured(folder.path(), upstream, &authority, more);
    let gateway = reconfigured(gateway, |text| text.replace("127.0.0.0/8", "198.51.100.0/24"));
    (gateway, tls, authority)
}

#[test]
fn px_01_the_client_behind_a_proxy_is_who_counts() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let (gateway, ..) = scene(&folder, &upstream);
    let mut tool = from("198.51.100.7", gateway.smtp);
    let (_, end) = tool.message("news@acme.example", &["ann@customer.example"], MESSAGE);
    assert!(end.unwrap().starts_with("250"));
    let got = eventually("delivery", || upstream.received().first().cloned());
    assert!(got.fields("Received")[0].contains("[198.51.100.7]"), "{:?}", got.fields("Received"));
    let unknown = "530 5.7.0 authentication required";
    assert_eq!(from("203.0.113.7", gateway.smtp).say("MAIL FROM:<a@acme.example>"), unknown);
    assert_eq!(from("2001:db8::7", gateway.smtp).say("MAIL FROM:<a@acme.example>"), unknown);
    // Loopback in the header is no loopback connection: AUTH in clear would be offered to it.
    let second = from("198.51.100.7", gateway.smtp);
    let mut third = Client::raw(gateway.smtp);
    third.send(b"PROXY TCP4 198.51.100.7 192.0.2.99 1 25\r\n").unwrap();
    assert_eq!(third.reply(), "421 4.7.0 too many connections", "two of one address are here");
    drop((tool, second));
}

#[test]
fn px_02_a_proxy_without_a_good_header_is_not_greeted() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let (gateway, ..) = scene(&folder, &upstream);
    for bad in [
        &b"EHLO c\r\n"[..],
        b"PROXY TCP4 198.51.100.7 192.0.2.99 1 25\n",
        b"PROXY TCP4 198.51.100.7\r\n",
        b"PROXY UDP4 198.51.100.7 192.0.2.99 1 25\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\x00\x0c\xc6\x33\x64\x07\xc0\x00\x02\x63\x00\x01\x00\x19",
    ] {
        let mut client = Client::raw(gateway.smtp);
        client.send(bad).unwrap();
        let mut stream = client.into_inner();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut said = Vec::new();
        let _reset = stream.read_to_end(&mut said);
        assert!(said.is_empty(), "{}: {}", bad.escape_ascii(), said.escape_ascii());
    }
}

#[test]
fn px_03_both_versions_in_pieces_and_before_a_handshake() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let (gateway, tls, authority) = scene(&folder, &upstream);
    let version_2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc6\x33\x64\x07\xc0\x00\x02\x63\x00\x01\x00\x19";
    let mut client = Client::raw(gateway.smtp);
    for piece in version_2.chunks(5) {
        client.send(piece).unwrap();
    }
    assert!(client.reply().starts_with("220"));
    assert!(client.say("EHLO c").starts_with("250"));
    assert_eq!(client.say("MAIL FROM:<a@acme.example>"), "250 2.1.0 Ok");
    // Header and handshake in one write: not an octet too many is taken.
    let mut client = Client::raw(tls);
    client.send(version_2).unwrap();
    let mut client = Client::under_tls(client.into_inner(), &authority.trust());
    assert!(client.reply().starts_with("220"));
    assert!(client.say("EHLO c").starts_with("250"));
    assert_eq!(client.say("MAIL FROM:<a@acme.example>"), "250 2.1.0 Ok");
}

#[test]
fn px_04_a_proxy_that_asks_for_itself_is_itself() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let (gateway, ..) = scene(&folder, &upstream);
    for local in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"] {
        let mut check = Client::raw(gateway.smtp);
        check.send(local).unwrap();
        assert!(check.reply().starts_with("220"));
        assert!(check.say("EHLO c").starts_with("250"));
        assert_eq!(check.say("MAIL FROM:<a@acme.example>"), "530 5.7.0 authentication required");
    }
}

#[test]
fn px_05_a_header_from_anybody_else_is_talk_before_the_greeting() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let (gateway, ..) = scene(&folder, &upstream);
    let gateway = reconfigured(gateway, |text| text.replace("[\"127.0.0.1\"]", "[\"192.0.2.99\"]"));
    let mut client = Client::raw(gateway.smtp);
    client.send(b"PROXY TCP4 198.51.100.7 192.0.2.99 1 25\r\nMAIL FROM:<a@acme.example>\r\nQUIT\r\n").unwrap();
    let mut stream = client.into_inner();
    let mut said = String::new();
    let _reset = stream.read_to_string(&mut said);
    // Either it was heard before the greeting, or it is no command.
    assert!(!said.contains("250 2.1.0") && (said.contains("554 5.5.0") || said.contains("500 5.5.2")), "{said}");
}
