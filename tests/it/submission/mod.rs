//! The submission door of a running gateway on a hostile network. Tests bear the ids of
//! `docs/reference/attack-tests.md`.

mod tls;

use std::path::Path;

use crate::support::gateway::free_port;
use crate::support::{Authority, Gateway, Spec, Upstream};

/// SHA-256 of `open sesame`.
const SESAME: &str = "41ef4bb0b23661e66301aac36066912dac037827b4ae63a7b1165a5aa93ed4eb";
/// `AUTH PLAIN` of `shop` with `open sesame`.
const SHOP: &str = "AUTH PLAIN AHNob3AAb3BlbiBzZXNhbWU=";
/// A message that any stream lets through.
const MESSAGE: &[u8] = b"From: news@acme.example\r\nTo: ann@customer.example\r\nSubject: s\r\n\r\nHello\r\n";

/// A gateway with a certificate, on both kinds of listener, and where the one for implicit TLS is.
fn secured(folder: &Path, upstream: &Upstream, authority: &Authority, more: &str) -> (Gateway, std::net::SocketAddr) {
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
