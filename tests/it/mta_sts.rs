//! `tls = "mta-sts"` (RFC 8461): real handshakes with mail servers and policy servers of domains.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use consentry::dns::{self, Resolver};
use consentry::mail::Domain;
use consentry::sts::{self, Mode, Policies, PolicyFault};
use consentry::time::Timestamp;
use consentry::tls::{Protocol, Trust};
use tempfile::TempDir;

use crate::support::exchange::{Arrival, Exchange, Tls, certificates};
use crate::support::name_server::NameServer;
use crate::support::policy_server::PolicyServer;
use crate::support::{Authority, Client, Gateway, Spec, eventually};

const MESSAGE: &[u8] = b"From: News <news@acme.example>\r\nSubject: Hello\r\n\r\nHi.\r\n";

/// The zone of `a.example` with its two servers, the id of its policy beside.
fn zone(id: &str) -> String {
    format!(
        "a.example MX 10 one.a.example\na.example MX 20 two.a.example\n\
         one.a.example A 127.0.0.2\ntwo.a.example A 127.0.0.3\n\
         mta-sts.a.example A 127.0.0.1\n_mta-sts.a.example TXT v=STSv1; id={id};\n"
    )
}

/// A domain with a policy, and a gateway that honours it.
struct Scene {
    folder: TempDir,
    names: NameServer,
    policies: PolicyServer,
    port: u16,
}

impl Scene {
    /// An authority that has issued `one`, `two` and `wrong`, and a policy server under `web`.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path());
        for (file, host) in [
            ("one", "one.a.example"),
            ("two", "two.a.example"),
            ("wrong", "evil.example"),
            ("web", "mta-sts.a.example"),
        ] {
            authority.issue(file, host);
        }
        let policies = PolicyServer::start(certificates(folder.path(), "web", Protocol::Http1));
        let names = NameServer::start(&zone("1"));
        Self { folder, names, policies, port: crate::support::ports::free_port() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The first or second server of the domain.
    fn exchange(&self, number: u8, tls: Tls) -> Exchange {
        Exchange::start(SocketAddr::from(([127, 0, 0, number + 1], self.port)), tls)
    }

    fn gateway(&self) -> Gateway {
        let mut spec = Spec::new(SocketAddr::from(([127, 0, 0, 1], 9)));
        spec.stream = "route = \"direct\"\n".to_owned();
        spec.more = format!(
            "[dns]\nservers = [\"{}\"]\n[mta_sts]\nca_file = \"ca.pem\"\nport = {}\n\
             [[route]]\nname = \"direct\"\nkind = \"mx\"\nport = {}\ndeliver_to_loopback = true\ntls = \"mta-sts\"\n",
            self.names.address,
            self.policies.address.port(),
            self.port
        );
        Gateway::start(self.path(), &spec)
    }
}

fn send(gateway: &Gateway, to: &str) {
    let reply = Client::connect(gateway.smtp).message("b@acme.example", &[to], MESSAGE).1;
    assert!(reply.as_ref().is_some_and(|reply| reply.starts_with("250")), "{reply:?}");
}

fn arrived(exchange: &Exchange, to: &str, protected: bool) {
    let expected = Arrival { to: to.to_owned(), protected };
    eventually(to, || exchange.arrivals().contains(&expected).then_some(()));
}

/// Waits for a failure of `host` with that result type in the log.
fn reported(gateway: &Gateway, host: Option<&str>, result: &str) {
    eventually(result, || {
        gateway.events("TlsFailure").into_iter().find(|event| {
            let failure = &event["tls_failure"];
            assert_eq!((&failure["policy_type"], &failure["policy_domain"]), (&"sts".into(), &"a.example".into()));
            failure["host"].as_str() == host && failure["result_type"] == result
        })
    });
}

/// What a first server does about TLS, made of the folder with the certificates.
type Makes = fn(&Path) -> Tls;

#[test]
fn an_enforced_policy_is_fulfilled_or_the_mail_waits() {
    let cases: [(&str, Makes, &str); 3] = [
        ("stripped", |_| Tls::None, "starttls-not-supported"),
        ("refused", |_| Tls::Refuses, "starttls-not-supported"),
        ("another's certificate", |folder| Tls::shows(folder, "wrong"), "certificate-host-mismatch"),
    ];
    for (case, makes, result) in cases {
        let scene = Scene::new();
        scene.policies.publish("enforce", &["one.a.example", "two.a.example"]);
        let first = scene.exchange(1, makes(scene.path()));
        let gateway = scene.gateway();
        // The other server is down: nothing is left but to wait.
        send(&gateway, "p@a.example");
        eventually(case, || gateway.events("TransientFailure").pop());
        reported(&gateway, Some("one.a.example"), result);
        assert!(gateway.events("Bounce").is_empty());
        // One that fulfils the policy takes the mail.
        let second = scene.exchange(2, Tls::shows(scene.path(), "two"));
        arrived(&second, "p@a.example", true);
        assert!(first.arrivals().is_empty(), "{case}: {:?}", first.arrivals());
        let policy = eventually(case, || gateway.events("TlsSession").pop())["tls_policy"].clone();
        assert_eq!((&policy["policy_type"], &policy["policy_domain"]), (&"sts".into(), &"a.example".into()));
        assert_eq!(policy["host"], "two.a.example");
        assert_eq!(scene.policies.requests(), 1, "kept");
    }
}

/// Somebody who answers for the DNS sends us to a server of theirs, with a good certificate for its name.
#[test]
fn a_server_that_an_enforced_policy_does_not_name_is_not_even_connected_to() {
    let scene = Scene::new();
    scene.policies.publish("enforce", &["*.b.example", "two.a.example"]);
    let first = scene.exchange(1, Tls::shows(scene.path(), "one"));
    let second = scene.exchange(2, Tls::shows(scene.path(), "two"));
    let gateway = scene.gateway();
    send(&gateway, "p@a.example");
    arrived(&second, "p@a.example", true);
    assert_eq!(first.connections(), 0);
    reported(&gateway, Some("one.a.example"), "validation-failure");
    drop(gateway);
    scene.policies.publish("enforce", &["*.b.example"]);
    scene.names.change(&zone("2"));
    let gateway = scene.gateway();
    send(&gateway, "q@a.example");
    let waits = eventually("a deferral", || gateway.events("TransientFailure").pop());
    assert_eq!(waits["bounce_classification"], "tls", "{waits}");
    assert!(waits["response"]["content"].as_str().unwrap().contains("does not name two.a.example"), "{waits}");
    let opened = eventually("the circuit", || gateway.events("CircuitOpened").pop());
    assert_eq!(opened["fault"], "policy");
    assert_eq!(second.connections(), 1);
}

#[test]
fn a_policy_in_testing_is_reported_and_stops_nothing() {
    let scene = Scene::new();
    scene.policies.publish("testing", &["one.a.example"]);
    let first = scene.exchange(1, Tls::shows(scene.path(), "wrong"));
    let gateway = scene.gateway();
    send(&gateway, "p@a.example");
    // Protected all the same, as without a policy.
    arrived(&first, "p@a.example", true);
    reported(&gateway, Some("one.a.example"), "certificate-host-mismatch");
    drop(gateway);
    scene.policies.publish("testing", &["two.a.example"]);
    scene.names.change(&zone("2"));
    let gateway = scene.gateway();
    send(&gateway, "q@a.example");
    arrived(&first, "q@a.example", true);
    reported(&gateway, Some("one.a.example"), "validation-failure");
}

#[test]
fn a_policy_outlives_its_record_its_server_and_a_restart_until_the_domain_says_otherwise() {
    let scene = Scene::new();
    scene.policies.publish("enforce", &["one.a.example", "two.a.example"]);
    let first = scene.exchange(1, Tls::None);
    let second = scene.exchange(2, Tls::shows(scene.path(), "two"));
    let mut gateway = scene.gateway();
    send(&gateway, "p@a.example");
    arrived(&second, "p@a.example", true);
    assert_eq!(gateway.stop(), Some(0));
    // Somebody takes the record away: the policy holds, and its server is not asked.
    scene.names.change(&zone("1").replace("v=STSv1", "v=none"));
    let mut gateway = scene.gateway();
    send(&gateway, "q@a.example");
    arrived(&second, "q@a.example", true);
    assert_eq!(scene.policies.requests(), 1);
    assert_eq!(gateway.stop(), Some(0));
    // Somebody changes the id and keeps us from the server: it holds, and that is reported.
    scene.names.change(&zone("2"));
    for (answer, result) in [
        (
            "HTTP/1.1 302 Found\r\nLocation: https://evil.example/\r\nContent-Length: 0\r\n\r\n",
            "sts-policy-fetch-error",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nmode:none", "sts-policy-invalid"),
    ] {
        scene.policies.answer(answer);
        let mut gateway = scene.gateway();
        send(&gateway, "r@a.example");
        arrived(&second, "r@a.example", true);
        reported(&gateway, None, result);
        assert_eq!(gateway.stop(), Some(0));
    }
    // The domain itself ends it.
    scene.policies.publish("none", &[]);
    let gateway = scene.gateway();
    send(&gateway, "s@a.example");
    arrived(&first, "s@a.example", false);
}

/// What is used is fetched again each day, also when its id stays; while it cannot be had, what is here holds.
#[test]
fn a_policy_is_fetched_again_before_it_ends() {
    const HOUR: Duration = Duration::from_hours(1);
    let scene = Scene::new();
    scene.policies.publish("enforce", &["one.a.example"]);
    let resolver = Resolver::new(&dns::Settings { servers: vec![scene.names.address], dnssec: None }).unwrap();
    let trust = Trust::File(scene.path().join("ca.pem"));
    let policies = Policies::open(scene.path(), sts::Settings { trust, port: scene.policies.address.port() });
    let (domain, start) = (Domain::parse("a.example").unwrap(), Timestamp::from_secs(1_800_000_000));
    let at = |hours: u32| start.plus(HOUR * hours);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mode = async |hours| policies.find(&resolver, &domain, at(hours)).await.policy.map(|policy| policy.mode);
        assert_eq!(mode(0).await, Some(Mode::Enforce));
        scene.policies.publish("testing", &["one.a.example"]);
        assert!(policies.refresh(&resolver, at(23)).await.is_empty());
        assert_eq!((mode(23).await, scene.policies.requests()), (Some(Mode::Enforce), 1), "not yet");
        assert!(policies.refresh(&resolver, at(24)).await.is_empty());
        assert_eq!((mode(24).await, scene.policies.requests()), (Some(Mode::Testing), 2));
        scene.policies.answer("HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n");
        let faults = policies.refresh(&resolver, at(48)).await;
        assert!(matches!(&faults[..], [(of, PolicyFault::Fetch(_))] if *of == domain), "{faults:?}");
        assert_eq!(mode(48).await, Some(Mode::Testing), "it holds");
        assert!(policies.refresh(&resolver, at(48)).await.is_empty(), "it is left alone for a while");
        assert_eq!(scene.policies.requests(), 3);
        // Without its record nothing is fetched, and it ends in its time: a week after it was fetched.
        scene.names.change("other.example A 127.0.0.1");
        scene.policies.publish("enforce", &["one.a.example"]);
        assert!(policies.refresh(&resolver, at(72)).await.is_empty());
        assert_eq!((mode(191).await, mode(192).await), (Some(Mode::Testing), None));
        assert_eq!(scene.policies.requests(), 3);
    });
}

#[test]
fn a_policy_server_that_cannot_prove_its_name_makes_no_policy() {
    let scene = Scene::new();
    let scene = Scene { policies: PolicyServer::start(certificates(scene.path(), "wrong", Protocol::Http1)), ..scene };
    scene.policies.publish("enforce", &["nobody.example"]);
    let first = scene.exchange(1, Tls::None);
    let gateway = scene.gateway();
    send(&gateway, "p@a.example");
    // As though there were none (RFC 8461 section 3.3).
    arrived(&first, "p@a.example", false);
    reported(&gateway, None, "sts-webpki-invalid");
    assert_eq!(scene.policies.requests(), 0);
}
