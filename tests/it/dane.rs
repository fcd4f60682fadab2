//! `tls = "dane"` (RFC 7672): a signed zone, and mail servers that are what it says, or are not.

use std::net::{SocketAddr, TcpListener};

use aws_lc_rs::digest::{SHA256, digest};
use tempfile::TempDir;

use crate::support::exchange::{Arrival, Exchange, Tls};
use crate::support::name_server::NameServer;
use crate::support::{Authority, Client, Gateway, Spec, eventually};

const MESSAGE: &[u8] = b"From: News <news@acme.example>\r\nSubject: Hello\r\n\r\nHi.\r\n";

/// A mail server with a certificate that nobody but the zone vouches for, and a gateway that asks the zone.
struct Scene {
    folder: TempDir,
    authority: Authority,
    listener: TcpListener,
    port: u16,
}

/// Which name server is asked, and by whose key it is believed.
struct Trusting<'a> {
    asks: &'a NameServer,
    believes: &'a NameServer,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path());
        for (file, host) in [("ours", "mx.a.example"), ("theirs", "evil.example")] {
            authority.issue(file, host);
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { folder, authority, listener, port }
    }

    /// `_25._tcp.HOST TLSA 3 0 1 ...`: the digest of the certificate in that file.
    fn tlsa(&self, host: &str, usage: u8, file: &str) -> String {
        let digest = digest(&SHA256, self.authority.certificate(file).as_ref());
        format!("_{}._tcp.{host} TLSA {usage} 0 1 {}\n", self.port, hex(digest.as_ref()))
    }

    /// The same with the whole of it.
    fn whole(&self, host: &str, usage: u8, file: &str) -> String {
        format!("_{}._tcp.{host} TLSA {usage} 0 0 {}\n", self.port, hex(&self.authority.certificate(file)))
    }

    fn exchange(&self, tls: Tls) -> Exchange {
        Exchange::start_on(self.listener.try_clone().unwrap(), tls)
    }

    fn shows(&self, file: &str) -> Tls {
        Tls::shows(self.folder.path(), file)
    }

    fn gateway(&self, names: &NameServer, tls: &str) -> Gateway {
        self.gateway_that(&Trusting { asks: names, believes: names }, tls)
    }

    fn gateway_that(&self, trusting: &Trusting<'_>, tls: &str) -> Gateway {
        std::fs::write(self.folder.path().join("anchors"), trusting.believes.anchor()).unwrap();
        let mut spec = Spec::new(SocketAddr::from(([127, 0, 0, 1], 9)));
        spec.stream = "route = \"direct\"\n".to_owned();
        spec.more = format!(
            "[dns]\nservers = [\"{}\"]\ntrust_anchors = \"anchors\"\n\
             [[route]]\nname = \"direct\"\nkind = \"mx\"\nport = {}\ndeliver_to_loopback = true\ntls = \"{tls}\"\n",
            trusting.asks.address, self.port
        );
        Gateway::start(self.folder.path(), &spec)
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().concat()
}

fn zone(domain: &str) -> String {
    format!("{domain} MX 10 mx.{domain}\nmx.{domain} A 127.0.0.1\n")
}

fn send(gateway: &Gateway, to: &str) {
    let reply = Client::connect(gateway.smtp).message("b@acme.example", &[to], MESSAGE).1;
    assert!(reply.as_ref().is_some_and(|reply| reply.starts_with("250")), "{reply:?}");
}

fn arrived(exchange: &Exchange, to: &str, protected: bool) {
    let expected = Arrival { to: to.to_owned(), protected };
    eventually(to, || exchange.arrivals().contains(&expected).then_some(()));
}

/// Waits for a deferral, and for a failure with that result type in the log.
fn waits(gateway: &Gateway, result: &str) {
    let failure = eventually(result, || {
        let failures = gateway.events("TlsFailure").into_iter();
        failures.map(|event| event["tls_failure"].clone()).find(|failure| failure["result_type"] == result)
    });
    assert_eq!(failure["policy_type"], "tlsa", "{failure}");
    eventually("a deferral", || gateway.events("TransientFailure").pop());
    assert!(gateway.events("Bounce").is_empty());
}

/// TLSA records of the domain's server, made for a scene.
type Records = fn(&Scene) -> String;
/// What the server does about TLS.
type Makes = fn(&Scene) -> Tls;

const OURS: Records = |scene| scene.tlsa("mx.a.example", 3, "ours");
const THEIRS: Records = |scene| scene.tlsa("mx.a.example", 3, "theirs");
const AUTHORITY: Records = |scene| scene.whole("mx.a.example", 2, "ca");
/// PKIX-EE is not for SMTP: that the server speaks TLS is all that it says.
const UNUSABLE: Records = |scene| scene.tlsa("mx.a.example", 1, "theirs");
const NONE: Records = |_| String::new();

#[test]
fn a_signed_zone_is_believed_about_its_servers_and_nobody_else_is() {
    let shows_ours: Makes = |scene| scene.shows("ours");
    let shows_theirs: Makes = |scene| scene.shows("theirs");
    let stripped: Makes = |_| Tls::None;
    let cases: [(&str, Records, Makes, Result<bool, &str>); 10] = [
        ("the server itself", OURS, shows_ours, Ok(true)),
        ("its authority", AUTHORITY, shows_ours, Ok(true)),
        ("one of two", |scene| format!("{}{}", OURS(scene), THEIRS(scene)), shows_ours, Ok(true)),
        ("unusable", UNUSABLE, shows_ours, Ok(true)),
        ("no record", NONE, stripped, Ok(false)),
        ("another server", THEIRS, shows_ours, Err("tlsa-invalid")),
        ("another name", AUTHORITY, shows_theirs, Err("certificate-host-mismatch")),
        ("stripped", OURS, stripped, Err("starttls-not-supported")),
        ("refused", OURS, |_| Tls::Refuses, Err("starttls-not-supported")),
        ("unusable and stripped", UNUSABLE, stripped, Err("starttls-not-supported")),
    ];
    for (case, records, makes, expected) in cases {
        let scene = Scene::new();
        let names = NameServer::start_signed(&format!("{}{}", zone("a.example"), records(&scene)));
        let exchange = scene.exchange(makes(&scene));
        let gateway = scene.gateway(&names, "dane");
        eprintln!("{case}");
        send(&gateway, "p@a.example");
        match expected {
            Ok(protected) => {
                arrived(&exchange, "p@a.example", protected);
                let fulfilled = || gateway.events("TlsSession").pop();
                if case == "no record" {
                    eventually("the record", || gateway.events("Delivery").pop());
                    assert!(fulfilled().is_none(), "{case}");
                } else {
                    let policy = eventually(case, fulfilled)["tls_policy"].clone();
                    assert_eq!((&policy["policy_type"], &policy["host"]), (&"tlsa".into(), &"mx.a.example".into()));
                }
                assert!(gateway.events("TlsFailure").is_empty(), "{case}");
            }
            Err(result) => {
                waits(&gateway, result);
                assert!(exchange.arrivals().is_empty(), "{case}");
            }
        }
    }
}

/// Insecure is not bogus: without signatures mail goes as it always went, with forged ones it waits.
#[test]
fn an_unsigned_zone_is_no_policy_and_a_forged_or_silent_one_is_no_reason_to_go_on() {
    let cases = [
        ("unsigned.example", "dane", None),
        ("unsigned.example", "dane-only", Some("dane-required")),
        ("forged.example", "dane", Some("dnssec-invalid")),
        ("silent.example", "dane", Some("dnssec-invalid")),
    ];
    for (domain, tls, expected) in cases {
        let scene = Scene::new();
        // In the unsigned zone it could have been written by anybody.
        let zone = format!("{}{}", zone(domain), scene.tlsa(&format!("mx.{domain}"), 3, "theirs"));
        let exchange = scene.exchange(Tls::None);
        let names = NameServer::start_signed(&zone);
        let gateway = scene.gateway(&names, tls);
        eprintln!("{domain} {tls}");
        let to = format!("p@{domain}");
        send(&gateway, &to);
        match expected {
            None => arrived(&exchange, &to, false),
            Some(result) => {
                waits(&gateway, result);
                assert!(exchange.arrivals().is_empty(), "{domain} {tls}");
            }
        }
    }
}

/// Whoever can answer in the place of the DNS leads mail to a server of theirs, with records and a certificate to it.
#[test]
fn answers_that_are_signed_with_another_key_change_nothing() {
    let scene = Scene::new();
    let zone = format!("{}{}", zone("a.example"), scene.tlsa("mx.a.example", 3, "ours"));
    let (theirs, ours) = (NameServer::start_signed(&zone), NameServer::start_signed(&zone));
    let exchange = scene.exchange(scene.shows("ours"));
    let trusting = Trusting { asks: &theirs, believes: &ours };
    let gateway = scene.gateway_that(&trusting, "dane");
    send(&gateway, "p@a.example");
    waits(&gateway, "dnssec-invalid");
    assert!(exchange.arrivals().is_empty());
}
