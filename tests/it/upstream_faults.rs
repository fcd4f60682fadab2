//! Upstreams that misbehave at every stage: `smtp-sink` of Postfix with its fault flags, and scripted ones.
//! `docs/reference/upstream-faults.md` says which test shows what.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::name_server::NameServer;
use crate::support::{Client, Gateway, Spec, Upstream, eventually};

const MESSAGE: &[u8] = b"From: News <news@acme.example>\r\nSubject: Hello\r\n\r\nHi.\r\n";

/// A `smtp-sink` that keeps what it takes, one file for each message.
struct Sink {
    child: Child,
    taken: PathBuf,
}

impl Sink {
    fn start(address: SocketAddr, folder: &Path, flags: &[&str]) -> Self {
        let taken = folder.join(format!("taken-{address}"));
        std::fs::create_dir_all(&taken).unwrap();
        // It gives up being root, and still has to write there.
        assert!(Command::new("chown").arg("nobody").arg(&taken).status().unwrap().success());
        let child = Command::new("smtp-sink")
            .args(["-u", "nobody", "-d", "m."])
            .args(flags)
            .arg(address.to_string())
            .arg("64")
            .current_dir(&taken)
            .stderr(Stdio::null())
            .spawn()
            .expect("smtp-sink comes with Postfix; `tests/run` installs it");
        eventually("smtp-sink to listen", || std::net::TcpStream::connect(address).ok());
        Self { child, taken }
    }

    /// Messages that it has seen the end of, whatever it answered then.
    fn messages(&self) -> usize {
        std::fs::read_dir(&self.taken).unwrap().count()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A place for the server of `N.example`, on loopback, so that one gateway finds all of them at one port.
fn place(number: usize, port: u16) -> SocketAddr {
    let last = u8::try_from(number + 1).unwrap();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 7, last)), port)
}

/// A gateway that knows the way to `count` such servers. Folders in which others write have to be entered by them.
fn gateway(folder: &Path, count: usize, port: u16, notices: SocketAddr) -> Gateway {
    let mut zone = String::new();
    for number in 0..count {
        writeln!(zone, "f{number}.example A {}", place(number, port).ip()).unwrap();
    }
    let names = NameServer::start(&zone);
    let mut spec = Spec::new(notices);
    spec.stream = "route = \"direct\"\n".to_owned();
    spec.more = format!(
        "[dns]\nservers = [\"{}\"]\n[[route]]\nname = \"direct\"\nkind = \"mx\"\nport = {port}\ndeliver_to_loopback = true\n",
        names.address
    );
    Gateway::start(folder, &spec)
}

fn send(gateway: &Gateway, to: &str) {
    let reply = Client::connect(gateway.smtp).message("b@acme.example", &[to], MESSAGE).1;
    assert!(reply.as_ref().is_some_and(|reply| reply.starts_with("250")), "{reply:?}");
}

/// The first event of one of these kinds about that recipient.
fn first(gateway: &Gateway, kinds: &[&str], to: &str) -> Option<serde_json::Value> {
    kinds.iter().flat_map(|kind| gateway.events(kind)).find(|event| event["recipient"] == to)
}

/// What has to become of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It waits.
    Waits,
    /// It waits, and may come twice: the record says so.
    WaitsAndMayComeTwice,
    /// It is refused for good, and its sender is told.
    Bounces,
    /// It waits while the refusal overtakes our content, as a reply that nothing was asked for, and bounces once it does not.
    WaitsOrBounces,
    /// It is delivered, however long that took.
    Arrives,
}

use Fate::{Arrives, Bounces, Waits, WaitsAndMayComeTwice, WaitsOrBounces};

/// Flags of `smtp-sink`, and what has to become of a message that it is given.
const FAULTS: [(&[&str], Fate); 29] = [
    (&["-r", "CONNECT"], Waits),
    (&["-r", "EHLO,HELO"], Waits),
    (&["-r", "MAIL"], Waits),
    (&["-r", "RCPT"], Waits),
    (&["-r", "DATA"], Waits),
    (&["-r", "."], Waits),
    (&["-f", "CONNECT", "-B", "554 5.7.0 no"], Waits),
    (&["-f", "EHLO,HELO", "-B", "550 5.7.0 no"], Waits),
    (&["-f", "MAIL", "-B", "550 5.7.1 no"], Bounces),
    (&["-f", "RCPT", "-B", "550 5.1.1 no"], Bounces),
    (&["-f", "DATA", "-B", "554 5.6.0 no"], Bounces),
    (&["-f", ".", "-B", "554 5.6.0 no"], Bounces),
    (&["-Q", "CONNECT"], Waits),
    (&["-Q", "EHLO"], Waits),
    (&["-Q", "MAIL"], Waits),
    (&["-Q", "RCPT"], Waits),
    (&["-Q", "DATA"], Waits),
    (&["-Q", "."], Waits),
    (&["-q", "CONNECT"], Waits),
    (&["-q", "EHLO"], Waits),
    (&["-q", "MAIL"], Waits),
    (&["-q", "RCPT"], Waits),
    (&["-q", "DATA"], Waits),
    (&["-q", "."], WaitsAndMayComeTwice),
    (&["-A", "0"], WaitsOrBounces),
    (&["-W", ".:2"], Arrives),
    (&["-w", "2"], Arrives),
    (&["-H", "2"], Arrives),
    (&["-p", "-e"], Arrives),
];

fn to(number: usize) -> String {
    format!("p@f{number}.example")
}

/// UP-01, UP-04, UP-05, UP-06: what `smtp-sink` can do, at every stage. Whatever waits arrives once a good server stands
/// in the place of the bad one; nothing arrives there that was said to have been delivered or refused before.
#[test]
fn smtp_sink_misbehaves_at_every_stage_and_nothing_is_lost_or_said_to_be_delivered() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let port = crate::support::ports::free_port();
    let places: Vec<_> = (0..FAULTS.len()).map(|number| place(number, port)).collect();
    let start = |(at, (flags, _)): (&SocketAddr, &(&[&str], Fate))| Sink::start(*at, folder.path(), flags);
    let sinks: Vec<_> = places.iter().zip(&FAULTS).map(start).collect();
    let notices = Upstream::start();
    let gateway = gateway(folder.path(), FAULTS.len(), port, notices.address);
    for number in 0..FAULTS.len() {
        send(&gateway, &to(number));
    }
    each_has_its_fate(&gateway);
    // Good servers in the place of the bad ones.
    let ended: Vec<_> = sinks.iter().map(Sink::messages).collect();
    drop(sinks);
    let good: Vec<_> = places.into_iter().map(|at| Upstream::start_on(at, Duration::ZERO)).collect();
    what_waited_arrives_once(&gateway, &ended, &good);
    let bounced = gateway.events("Bounce").len();
    eventually("a report about each refusal", || (notices.received().len() == bounced).then_some(()));
    let suppressed: BTreeSet<_> = gateway.events("SuppressionAdded").iter().map(ToString::to_string).collect();
    assert!(suppressed.is_empty(), "{suppressed:?}");
}

fn each_has_its_fate(gateway: &Gateway) {
    for (number, (flags, fate)) in FAULTS.iter().enumerate() {
        let kinds = ["Delivery", "Bounce", "TransientFailure"];
        let event = eventually(&format!("what became of {flags:?}"), || first(gateway, &kinds, &to(number)));
        let expected: &[_] = match fate {
            Waits | WaitsAndMayComeTwice => &["TransientFailure"],
            Bounces => &["Bounce"],
            WaitsOrBounces => &["TransientFailure", "Bounce"],
            Arrives => &["Delivery"],
        };
        assert!(expected.iter().any(|kind| event["type"] == *kind), "{flags:?}: {event}");
        assert_eq!(warns(&event), *fate == WaitsAndMayComeTwice, "{flags:?}: {event}");
    }
}

fn warns(event: &serde_json::Value) -> bool {
    event.to_string().contains("may be sent more than once")
}

/// `ended`: contents that the bad server had taken to their end, whatever it answered then.
fn what_waited_arrives_once(gateway: &Gateway, ended: &[usize], good: &[Upstream]) {
    for (number, (flags, fate)) in FAULTS.iter().enumerate() {
        let about = |kind: &str| {
            let events = gateway.events(kind).into_iter();
            events.filter(|event| event["recipient"] == to(number)).collect::<Vec<_>>()
        };
        eventually(&format!("the end after {flags:?}"), || about("Delivery").pop().or_else(|| about("Bounce").pop()));
        let bounced = match fate {
            Waits | WaitsAndMayComeTwice | Arrives => false,
            Bounces => true,
            WaitsOrBounces => !about("Bounce").is_empty(),
        };
        assert_eq!(good[number].received().len(), usize::from(!bounced && *fate != Arrives), "{flags:?}");
        assert_eq!(
            (about("Bounce").len(), about("Delivery").len()),
            if bounced { (1, 0) } else { (0, 1) },
            "{flags:?}"
        );
        match fate {
            Arrives => assert_eq!(ended[number], 1, "{flags:?}: no duplicate"),
            // The protocol leaves no choice; each of these is an attempt that the record warns of.
            WaitsAndMayComeTwice => {
                let warned = about("TransientFailure").iter().filter(|event| warns(event)).count();
                assert!(ended[number] <= warned, "{flags:?}: {} came, {warned} warnings", ended[number]);
            }
            Waits | Bounces | WaitsOrBounces => {}
        }
    }
}

/// UP-08: what is no reply is an error of the protocol and defers; the next message is answered by its own replies.
#[test]
fn nonsense_in_the_place_of_a_reply_defers_and_does_not_shift_the_next_message() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    let endless = "250-and so on\r\n".repeat(100_000);
    let long = format!("250 {}", "x".repeat(10_000_000));
    let nonsense = [
        endless.as_str(),
        long.as_str(),
        "250-first\r\n550 second",
        "hello",
        "99 too short",
        "2500 too long",
        "250 with\0nul",
        "250 bare\nline end",
        "354 not asked for",
        "250 ok\r\n250 ok\r\n250 ok",
    ];
    for (number, text) in nonsense.iter().enumerate() {
        let shown = text.get(..20).unwrap_or(text);
        upstream.say("MAIL", Some(text));
        let to = format!("p{number}@b.example");
        send(&gateway, &to);
        let kinds = ["Delivery", "Bounce", "TransientFailure"];
        let event = eventually(shown, || first(&gateway, &kinds, &to));
        assert_eq!(event["type"], "TransientFailure", "{shown:?}: {event}");
        upstream.say("MAIL", None);
        eventually("delivery after it", || first(&gateway, &["Delivery"], &to));
    }
    let mut arrived: Vec<_> = upstream.received().iter().flat_map(|message| message.to.clone()).collect();
    arrived.sort();
    let mut expected: Vec<_> = (0..nonsense.len()).map(|number| format!("p{number}@b.example")).collect();
    expected.sort();
    assert_eq!(arrived, expected, "each of them once");
}

/// UP-08: the words of a refusal are shown to people, in the log and in the report, and cannot do anything there.
#[test]
fn the_words_of_a_refusal_are_harmless_in_log_and_report() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    upstream.refuse_with("ann@b.example", "550 5.1.1 \u{1b}[2J\u{7}<script>\u{202e} \"}{\" caf\u{e9} \u{9b}31m");
    send(&gateway, "ann@b.example");
    let bounce = eventually("the refusal", || first(&gateway, &["Bounce"], "ann@b.example"));
    let line = bounce["response"]["content"].as_str().unwrap().to_owned();
    assert!(line.contains("<script>"), "{line:?}");
    assert!(!line.chars().any(char::is_control), "{line:?}");
    let report = eventually("the report", || {
        let received = upstream.received();
        received.iter().find(|message| message.to == ["b@acme.example"]).cloned()
    });
    let text = String::from_utf8_lossy(&report.content).replace(['\r', '\n', '\t'], " ");
    assert!(text.contains("5.1.1") && !text.chars().any(char::is_control), "{text:?}");
}

/// UP-11: that an upstream has taken a message is all that is said, in its words, which hold its own id.
#[test]
fn a_delivery_is_recorded_in_the_words_of_who_took_it() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    upstream.say(".", Some("250 2.0.0 Ok: queued as 4ZxT7k1"));
    send(&gateway, "ann@b.example");
    let event = eventually("the record", || first(&gateway, &["Delivery"], "ann@b.example"));
    assert!(event["response"]["content"].as_str().unwrap().contains("queued as 4ZxT7k1"), "{event}");
    assert!(upstream.received().is_empty(), "and it has lied");
}
