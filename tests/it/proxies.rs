//! The door with TLS: behind nginx and Caddy as the how-to shows them, and with a certificate of its own.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use consentry::tls::{Protocol, Trust, client_config};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::door::{changes, send};
use crate::support::gateway::free_port;
use crate::support::http::{Answer, FORM, connect, rest};
use crate::support::{Client, Gateway, Spec, Upstream, eventually};

const NAME: &str = "unsubscribe.example.org";

/// A certificate for [`NAME`] in that folder, and a client that believes in it alone.
fn certificate(folder: &Path) -> Arc<ClientConfig> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    std::fs::write(folder.join("chain.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    client_config(&Trust::File(folder.join("chain.pem")), Protocol::Http1).unwrap()
}

/// Octets through TLS and octets back; `None` when the other side is not believed or not there.
fn talk(config: &Arc<ClientConfig>, address: SocketAddr, octets: &[u8]) -> Option<Answer> {
    TcpStream::connect(address).ok()?;
    let session = ClientConnection::new(Arc::clone(config), ServerName::try_from(NAME).unwrap()).unwrap();
    let mut stream = StreamOwned::new(session, connect(address));
    stream.write_all(octets).ok()?;
    Some(rest(&mut stream))
}

fn post(path: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n{FORM}Content-Length: 26\r\n\r\nList-Unsubscribe=One-Click"
    )
}

struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        // Asked politely, so that it ends its workers too.
        let _told = Command::new("kill").arg(self.0.id().to_string()).status();
        let _reaped = self.0.wait();
    }
}

/// An example of the how-to, with the addresses and files of this test.
fn example(name: &str, pairs: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/howto/examples").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    pairs.iter().fold(text, |text, (theirs, ours)| {
        assert!(text.contains(theirs), "{name} has no `{theirs}`");
        text.replace(theirs, ours)
    })
}

/// What holds behind every proxy: clicks pass, no redirect, foreign answers are ours, nothing is smuggled in.
fn holds(gateway: &Gateway, upstream: &Upstream, config: &Arc<ClientConfig>, front: SocketAddr) {
    let path = send(gateway, upstream, "ann@b.example");
    let ask = |octets: &str| talk(config, front, octets.as_bytes()).unwrap();
    let before = changes(gateway);
    let page = ask(&format!("GET {path} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\nAccept-Language: nl\r\n\r\n"));
    assert!(page.status == 200 && page.field("content-language") == Some("nl"), "{page:?}");
    let unknown = ask(&post("/u/nonsense"));
    assert!(unknown.status == 404 && unknown.field("cache-control") == Some("no-store"), "{unknown:?}");
    let hidden = post(&path);
    for framing in [
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", hidden.len()),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n\r\n0\r\n\r\n", hidden.len()),
        format!("Content-Length: 0\r\nContent-Length: {}\r\n\r\n", hidden.len()),
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n".to_owned(),
        "Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n".to_owned(),
        "Content-Length: 1,2\r\n\r\n".to_owned(),
    ] {
        // The request in front asks for nothing, whatever the proxy takes for its end.
        let answer = ask(&format!("POST /u/x HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n{framing}{hidden}"));
        assert!(answer.status >= 400, "{framing:?}: {answer:?}");
        assert_eq!(changes(gateway), before, "{framing:?}");
    }
    let click = ask(&post(&path));
    assert!(
        click.status == 200 && click.field("location").is_none() && click.field("set-cookie").is_none(),
        "{click:?}"
    );
    let (rcpt, _) =
        Client::connect(gateway.smtp).message("b@acme.example", &["ann@b.example"], b"From: n@acme.example\r\n\r\n");
    assert!(rcpt[0].contains("SUP_UNSUBSCRIBE"), "{rcpt:?}");
}

fn behind(start: impl FnOnce(&Path, SocketAddr, SocketAddr) -> Command) {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    let config = certificate(folder.path());
    let front = free_port();
    let mut command = start(folder.path(), gateway.http, front);
    let _proxy = Proxy(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
    eventually("the proxy to listen", || TcpStream::connect(front).ok());
    holds(&gateway, &upstream, &config, front);
}

#[test]
fn the_nginx_example_works_as_it_stands() {
    behind(|folder, door, front| {
        let file = |name: &str| folder.join(name).display().to_string();
        let server = example(
            "nginx.conf",
            &[
                ("listen 443 ssl", &format!("listen {front} ssl")),
                ("/etc/ssl/unsubscribe.example.org.pem", &file("chain.pem")),
                ("/etc/ssl/private/unsubscribe.example.org.key", &file("key.pem")),
                ("/var/log/nginx/error.log", &file("nginx.log")),
                ("127.0.0.1:8025", &door.to_string()),
            ],
        );
        let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {};\n", file(&format!("nginx-{kind}"))))
            .concat();
        let whole = format!("daemon off;\npid {};\nevents {{}}\nhttp {{\n{paths}{server}\n}}\n", file("nginx.pid"));
        std::fs::write(folder.join("nginx.conf"), whole).unwrap();
        let mut command = Command::new("/usr/sbin/nginx");
        command.args(["-e", &file("nginx.log"), "-c", &file("nginx.conf")]);
        command
    });
}

#[test]
fn the_caddy_example_works_as_it_stands() {
    behind(|folder, door, front| {
        let file = |name: &str| folder.join(name).display().to_string();
        let site = format!(
            "https://{NAME}:{} {{\n\tbind 127.0.0.1\n\ttls {} {}\n",
            front.port(),
            file("chain.pem"),
            file("key.pem")
        );
        let sites =
            example("Caddyfile", &[("unsubscribe.example.org {\n", &site), ("127.0.0.1:8025", &door.to_string())]);
        // Neither its admin port nor port 80, which belong to nobody here.
        std::fs::write(
            folder.join("Caddyfile"),
            format!("{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{sites}"),
        )
        .unwrap();
        let mut command = Command::new("caddy");
        command.args(["run", "--config", &file("Caddyfile"), "--adapter", "caddyfile"]).stderr(Stdio::null());
        command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
        command
    });
}

#[test]
fn a_certificate_of_our_own_is_shown_and_read_again_at_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let mut spec = Spec::new(upstream.address);
    spec.http = "[[http.tls]]\ncertificate = \"chain.pem\"\nkey = \"key.pem\"\n".to_owned();
    let first = certificate(folder.path());
    let gateway = Gateway::start(folder.path(), &spec);
    let path = send(&gateway, &upstream, "ann@b.example");
    let ask =
        |config: &Arc<ClientConfig>| talk(config, gateway.http, post(&path).as_bytes()).map(|answer| answer.status);
    assert_eq!(ask(&first), Some(200));
    let plain = crate::support::http::raw(gateway.http, post(&path).as_bytes());
    assert_eq!(plain.status, 0, "no answer without TLS");

    let good = std::fs::read(folder.path().join("chain.pem")).unwrap();
    std::fs::write(folder.path().join("chain.pem"), "no certificate").unwrap();
    gateway.signal("HUP");
    assert_eq!(ask(&first), Some(200), "the old one stays when the new one is none");
    std::fs::write(folder.path().join("chain.pem"), good).unwrap();
    let second = certificate(folder.path());
    gateway.signal("HUP");
    eventually("the new certificate", || (ask(&second) == Some(200)).then_some(()));
    assert_eq!(ask(&first), None, "the old one is gone");
}
