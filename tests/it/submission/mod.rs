//! The submission door of a running gateway on a hostile network. Tests bear the ids of
//! `docs/reference/attack-tests.md`.

mod auth;
mod limits;
mod patience;
mod proxy;
mod tls;

use std::net::SocketAddr;
use std::path::Path;

use crate::support::gateway::free_port;
use crate::support::{Authority, Client, Gateway, Spec, Upstream};

/// SHA-256 of `open sesame`.
const SESAME: &str = "41ef4bb0b23661e66301aac36066912dac037827b4ae63a7b1165a5aa93ed4eb";
/// `AUTH PLAIN` of `shop` with `open sesame`.
const SHOP: &str = "AUTH PLAIN AHNob3AAb3BlbiBzZXNhbWU=";
/// A message that any stream lets through.
const MESSAGE: &[u8] = b"From: news@acme.example\r\nTo: ann@customer.example\r\nSubject: s\r\n\r\nHello\r\n";

/// A gateway with a certificate, on both kinds of listener, and where the one for implicit TLS is.
fn secured(folder: &Path, upstream: &Upstream, authority: &Authority, more: &str) -> (Gateway, SocketAddr) {
    authority.issue("gate", crate::support::client::GATEWAY);
    let tls = free_port();
    let mut spec = Spec::new(upstream.address);
    spec.smtp =
        format!("listen_tls = [\"{tls}\"]\n{more}\n[[smtp.tls]]\ncertificate = \"gate.pem\"\nkey = \"gate.key\"\n");
    spec.more = format!(
        "[[stream]]\nname = \"receipts\"\ncontroller = \"acme\"\nclass = \"transactional\"\n\
         [[credential]]\nname = \"shop\"\nstream = \"receipts\"\ntoken_sha256 = \"{SESAME}\"\n"
    );
    (Gateway::start(folder, &spec), tls)
}

/// Restarts a gateway after a change of its file.
fn reconfigured(mut gateway: Gateway, change: impl FnOnce(String) -> String) -> Gateway {
    let (folder, smtp, http) = (gateway.folder.clone(), gateway.smtp, gateway.http);
    assert_eq!(gateway.stop(), Some(0));
    rewrite(&folder, change);
    Gateway::restart(&folder, smtp, http)
}

/// Changes the file alone.
fn rewrite(folder: &Path, change: impl FnOnce(String) -> String) {
    let file = folder.join("consentry.toml");
    std::fs::write(&file, change(std::fs::read_to_string(&file).unwrap())).unwrap();
}

/// Nobody is known by address any more.
fn strangers(text: &str) -> String {
    text.replace("127.0.0.0/8", "203.0.113.9")
}

/// A client that a proxy on loopback speaks for.
fn from(client: &str, gateway: SocketAddr) -> Client {
    let mut connection = Client::raw(gateway);
    let family = if client.contains(':') { "TCP6 {} ::1" } else { "TCP4 {} 192.0.2.99" };
    let header = format!("PROXY {} 40000 25\r\n", family.replace("{}", client));
    connection.send(header.as_bytes()).unwrap();
    assert!(connection.reply().starts_with("220"), "no greeting for {client}");
    assert!(connection.say("EHLO c").starts_with("250"));
    connection
}
