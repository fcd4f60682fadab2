//! Webhooks: whatever becomes of the receiver, no event is lost and none of one person comes out of order.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use aws_lc_rs::hmac;
use serde_json::Value;

use crate::support::gateway::free_port;
use crate::support::tool::{Asked, Certified, Tool};
use crate::support::{Client, Gateway, Spec, Upstream, eventually};

const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const OLD_SECRET: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
const LOOPBACK: &str = "\"127.0.0.0/8\", \"::1\"";

/// A receiver whose answers the test changes as it goes; it keeps the events that it said 200 to.
#[derive(Clone)]
struct Receiver {
    answer: Arc<Mutex<Judge>>,
    taken: Arc<Mutex<Vec<Value>>>,
}

type Judge = Box<dyn Fn(&Asked) -> &'static str + Send>;

impl Receiver {
    fn new(answer: impl Fn(&Asked) -> &'static str + Send + 'static) -> Self {
        Self { answer: Arc::new(Mutex::new(Box::new(answer))), taken: Arc::default() }
    }

    fn listen(&self, address: SocketAddr, certified: &Certified) -> Tool {
        let receiver = self.clone();
        Tool::answering(address, certified, move |asked| {
            let events = verified(asked, SECRET);
            let answer = receiver.answer.lock().unwrap()(asked);
            if answer.starts_with("HTTP/1.1 2") {
                receiver.taken.lock().unwrap().extend(events);
            }
            answer.to_owned()
        })
    }

    fn answers(&self, answer: impl Fn(&Asked) -> &'static str + Send + 'static) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }

    /// The numbers of all events that were taken so far.
    fn numbers(&self) -> BTreeSet<u64> {
        self.taken.lock().unwrap().iter().map(number).collect()
    }

    /// Waits for every event that the trail has, each person's in order when repeats are left out.
    fn has_all_of(&self, gateway: &Gateway) {
        eventually("every event of the trail", || {
            let trail: BTreeSet<_> = gateway.audit().iter().map(number).collect();
            (!trail.is_empty() && self.numbers() == trail).then_some(())
        });
        let (mut seen, mut last) = (BTreeSet::new(), HashMap::new());
        for event in self.taken.lock().unwrap().iter().filter(|event| seen.insert(number(event))) {
            let before = last.insert(subject(event), number(event)).unwrap_or(0);
            assert!(before < number(event), "{before} came before {event}");
        }
        let told_of_itself = gateway.audit().iter().any(|event| event["type"].as_str().unwrap().starts_with("Webhook"));
        assert!(!told_of_itself, "what stands in the trail would be sent again");
    }
}

fn number(event: &Value) -> u64 {
    event["seq"].as_u64().unwrap()
}

fn subject(event: &Value) -> String {
    event["recipient"].as_str().or(event["type"].as_str()).unwrap().to_owned()
}

fn taken(_: &Asked) -> &'static str {
    "HTTP/1.1 204 No Content"
}

/// The events of a call, whose signature is right, as the receiver's own code sees it.
fn verified(asked: &Asked, secret: &str) -> Vec<Value> {
    assert!(is_signed(asked, secret), "{asked:?}");
    let events: Vec<Value> = serde_json::from_str(&asked.body).unwrap();
    let numbers: Vec<_> = events.iter().map(|event| number(event).to_string()).collect();
    assert_eq!(asked.field("consentry-events"), Some(numbers.join(",")));
    assert_eq!(asked.field("content-type").as_deref(), Some("application/json"));
    assert!((1..=100).contains(&events.len()), "{} events", events.len());
    events
}

fn is_signed(asked: &Asked, secret: &str) -> bool {
    let field = asked.field("consentry-signature").unwrap();
    let mut parts = field.split(',');
    let time = parts.next().unwrap().strip_prefix("t=").unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(now.abs_diff(time.parse().unwrap()) < 300, "{field}");
    let expected = signature(secret, time, &asked.body);
    parts.any(|part| part.strip_prefix("v1=") == Some(&expected))
}

/// As docs/reference/webhooks.md tells it.
fn signature(secret: &str, time: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{time}.{body}").as_bytes());
    tag.as_ref().iter().fold(String::new(), |mut hex, octet| {
        write!(hex, "{octet:02x}").unwrap();
        hex
    })
}

/// A gateway with one hook at `port`, named `crm`, with short pauses and `more` keys.
fn spec(folder: &Path, upstream: &Upstream, port: u16, more: &str) -> Spec {
    std::fs::write(folder.join("secret"), SECRET).unwrap();
    let mut spec = Spec::new(upstream.address);
    spec.more = format!(
        "[[webhook]]\nname = \"crm\"\nurl = \"https://localhost:{port}/events?a=b\"\nsecret_file = \"secret\"\n\
         ca_file = \"ca.pem\"\nfirst = \"1s\"\nlongest = \"1s\"\n{more}\n"
    );
    spec
}

fn inside() -> String {
    format!("networks = [{LOOPBACK}]\n")
}

fn start(folder: &Path, upstream: &Upstream, port: u16) -> Gateway {
    Gateway::start(folder, &spec(folder, upstream, port, &inside()))
}

fn send(gateway: &Gateway, to: &str) {
    let message = b"From: News <news@acme.example>\r\nSubject: hello\r\n\r\nHello\r\n";
    let (rcpt, end) = Client::connect(gateway.smtp).message("b@acme.example", &[to], message);
    assert!(end.as_deref().unwrap_or_default().starts_with("250"), "{rcpt:?} {end:?}");
}

/// A line of `consentry webhook list --json`.
fn standing(gateway: &Gateway) -> Value {
    let said = gateway.run(&["webhook", "list", "--json"]);
    assert!(said.status.success(), "{said:?}");
    serde_json::from_slice(&said.stdout).unwrap()
}

fn down(gateway: &Gateway) -> String {
    let event = eventually("the hook to rest", || gateway.events("WebhookDown").pop());
    assert!(event["next_attempt"].is_string(), "{event}");
    event["evidence"].as_str().unwrap().to_owned()
}

#[test]
fn a_receiver_that_is_down_for_a_while_has_everything_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, certified, port) = (Upstream::start(), Certified::new(folder.path()), free_port());
    let gateway = start(folder.path(), &upstream, port.port());
    for to in ["ann@b.example", "ben@b.example", "ann@b.example"] {
        send(&gateway, to);
    }
    assert!(down(&gateway).starts_with("crm: not connected: "));
    let said = standing(&gateway);
    assert_eq!(
        (said["position"].as_u64(), said["waiting"].as_u64()),
        (Some(0), Some(0)),
        "it stays where it is: {said}"
    );
    assert!(said["trouble"].as_str().unwrap().contains("not connected"), "{said}");
    send(&gateway, "eve@b.example");
    let receiver = Receiver::new(taken);
    let tool = receiver.listen(port, &certified);
    receiver.has_all_of(&gateway);
    eventually("word of it", || gateway.events("WebhookUp").pop());
    assert!(tool.asked()[0].head.starts_with("POST /events?a=b HTTP/1.1"), "{:?}", tool.asked()[0]);
    assert_eq!(tool.asked()[0].field("consentry-webhook").as_deref(), Some("crm"));
    assert!(serde_json::from_str::<Vec<Value>>(&tool.asked()[0].body).unwrap().len() > 1, "many in one call");
    assert!(standing(&gateway)["trouble"].is_null());
}

#[test]
fn a_receiver_that_is_slow_is_not_waited_for_and_has_everything_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, certified) = (Upstream::start(), Certified::new(folder.path()));
    let is_slow = Arc::new(AtomicBool::new(true));
    let receiver = Receiver::new(taken);
    let slow = Tool::answering(SocketAddr::from(([127, 0, 0, 1], 0)), &certified, {
        let (receiver, is_slow) = (receiver.clone(), Arc::clone(&is_slow));
        move |asked| {
            let events = verified(asked, SECRET);
            if is_slow.load(Ordering::SeqCst) {
                // Held until the test lets go; whoever asked has gone by then, and has to come again.
                while is_slow.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(10));
                }
            } else {
                receiver.taken.lock().unwrap().extend(events);
            }
            "HTTP/1.1 200 OK".to_owned()
        }
    });
    let more = inside() + "timeout = \"1s\"\n";
    let gateway = Gateway::start(folder.path(), &spec(folder.path(), &upstream, slow.address.port(), &more));
    for to in ["ann@b.example", "ben@b.example", "eve@b.example", "ann@b.example", "joe@b.example"] {
        send(&gateway, to);
    }
    assert_eq!(down(&gateway), "crm: no answer in time");
    is_slow.store(false, Ordering::SeqCst);
    receiver.has_all_of(&gateway);
    eventually("nothing to wait", || (standing(&gateway)["waiting"] == 0).then_some(()));
}

#[test]
fn what_one_person_s_event_is_refused_for_holds_up_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, certified) = (Upstream::start(), Certified::new(folder.path()));
    let not_ann = |asked: &Asked| if asked.body.contains("ann@") { "HTTP/1.1 500 Oops" } else { "HTTP/1.1 200 OK" };
    // Her deliveries alone would be taken: they wait for what is in front of them.
    let not_her_receptions = |asked: &Asked| {
        let is_hers = asked.body.contains("ann@") && asked.body.contains("\"Reception\"");
        if is_hers { "HTTP/1.1 500 Oops" } else { "HTTP/1.1 200 OK" }
    };
    let receiver = Receiver::new(|_| "HTTP/1.1 503 Not Now");
    let tool = receiver.listen(SocketAddr::from(([127, 0, 0, 1], 0)), &certified);
    let spec = spec(folder.path(), &upstream, tool.address.port(), &(inside() + "give_up = \"1h\"\n"));
    let gateway = Gateway::start(folder.path(), &spec);
    let others = |gateway: &Gateway| {
        eventually("the others' events", || {
            let trail = gateway.audit();
            let settled = trail.iter().filter(|event| event["type"] == "Delivery").count()
                == trail.iter().filter(|event| event["type"] == "Reception").count();
            let wanted = trail.iter().filter(|event| subject(event) != "ann@b.example").map(number).collect();
            (settled && receiver.numbers() == wanted).then_some(())
        });
    };
    for to in ["ann@b.example", "ben@b.example", "ann@b.example", "eve@b.example"] {
        send(&gateway, to);
    }
    // All of them in one call.
    eventually("every delivery", || (gateway.audit().len() == 8).then_some(()));
    receiver.answers(not_her_receptions);
    others(&gateway);
    eventually("hers to wait", || {
        let said = standing(&gateway);
        (said["waiting"] == 4 && said["waiting_subjects"] == 1 && said["trouble"].is_null()).then_some(())
    });
    receiver.answers(taken);
    receiver.has_all_of(&gateway);
    // Once more, and this time it is given up.
    receiver.answers(not_ann);
    receiver.taken.lock().unwrap().retain(|event| subject(event) != "ann@b.example");
    let file = folder.path().join("consentry.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("give_up = \"1h\"", "give_up = \"1s\"")).unwrap();
    gateway.signal("HUP");
    send(&gateway, "ann@b.example");
    send(&gateway, "joe@b.example");
    let given_up =
        eventually("hers to be given up", || Some(gateway.events("WebhookGivenUp")).filter(|all| all.len() == 2));
    assert!(given_up[0]["evidence"].as_str().unwrap().ends_with(": HTTP 500"), "{given_up:?}");
    let said = gateway.run(&["webhook", "dead", "crm"]);
    let dead: Vec<Value> =
        String::from_utf8(said.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = dead.iter().map(|dead| dead["event"]["type"].as_str().unwrap()).collect();
    assert_eq!((kinds, dead[0]["why"].as_str()), (vec!["Reception", "Delivery"], Some("HTTP 500")));
    let missing = |dead: &Value| !receiver.numbers().contains(&number(dead));
    assert!(dead.iter().all(missing), "{dead:?}");
    receiver.answers(taken);
    assert!(gateway.run(&["webhook", "replay", "crm"]).status.success());
    eventually("the replayed", || (!dead.iter().any(missing)).then_some(()));
    assert_eq!(gateway.run(&["webhook", "replay", "crm"]).status.code(), Some(1), "there are no more");
    let hers: Vec<_> =
        receiver.taken.lock().unwrap().iter().filter(|event| subject(event) == "ann@b.example").map(number).collect();
    assert!(hers.is_sorted(), "{hers:?}");
}

#[test]
fn a_redirect_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, certified) = (Upstream::start(), Certified::new(folder.path()));
    let elsewhere = Tool::start(&certified, "HTTP/1.1 200 OK");
    let to: &'static str = format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {}", elsewhere.url("/x")).leak();
    let receiver = Receiver::new(move |_| to);
    let tool = receiver.listen(SocketAddr::from(([127, 0, 0, 1], 0)), &certified);
    let gateway = start(folder.path(), &upstream, tool.address.port());
    send(&gateway, "ann@b.example");
    assert_eq!(down(&gateway), "crm: HTTP 307");
    send(&gateway, "ben@b.example");
    receiver.answers(taken);
    receiver.has_all_of(&gateway);
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn nothing_is_lost_when_the_gateway_is_killed_in_the_middle() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, certified) = (Upstream::start(), Certified::new(folder.path()));
    let (begun, begins) = mpsc::channel();
    let (say, said) = mpsc::channel();
    let is_cut_off = Arc::new(AtomicBool::new(false));
    let receiver = Receiver::new({
        let is_cut_off = Arc::clone(&is_cut_off);
        move |_| {
            if !is_cut_off.swap(false, Ordering::SeqCst) {
                return "HTTP/1.1 200 OK";
            }
            begun.send(()).unwrap();
            said.recv().unwrap()
        }
    });
    let tool = receiver.listen(SocketAddr::from(([127, 0, 0, 1], 0)), &certified);
    let mut gateway = start(folder.path(), &upstream, tool.address.port());
    // Whether the receiver had written it down or not: nobody hears the answer.
    for answer in ["HTTP/1.1 500 Cut Off", "HTTP/1.1 200 OK", "HTTP/1.1 500 Cut Off", "HTTP/1.1 200 OK"] {
        is_cut_off.store(true, Ordering::SeqCst);
        for person in ["ann", "ben", "eve"] {
            send(&gateway, &format!("{person}@b.example"));
        }
        begins.recv_timeout(crate::support::PATIENCE).unwrap();
        gateway.kill();
        say.send(answer).unwrap();
        gateway = Gateway::restart_there(folder.path());
    }
    receiver.has_all_of(&gateway);
}

#[test]
fn both_secrets_sign_while_a_receiver_changes_over() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, certified) = (Upstream::start(), Certified::new(folder.path()));
    let tool = Tool::start(&certified, "HTTP/1.1 200 OK");
    let spec = spec(folder.path(), &upstream, tool.address.port(), &inside());
    let signed = |gateway: &Gateway| {
        let before = tool.asked().len();
        send(gateway, "ann@b.example");
        let asked = eventually("a call", || tool.asked().get(before).cloned());
        [is_signed(&asked, OLD_SECRET), is_signed(&asked, SECRET)]
    };
    std::fs::write(folder.path().join("secret"), format!("{SECRET}\n{OLD_SECRET}\n")).unwrap();
    Gateway::configure(folder.path(), &spec);
    let gateway = Gateway::restart_there(folder.path());
    assert_eq!(signed(&gateway), [true, true]);
    std::fs::write(folder.path().join("secret"), SECRET).unwrap();
    gateway.signal("HUP");
    eventually("the new secret alone", || (signed(&gateway) == [false, true]).then_some(()));
}

#[test]
fn a_receiver_that_is_gone_is_left_alone_until_it_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, certified) = (Upstream::start(), Certified::new(folder.path()));
    let receiver = Receiver::new(|_| "HTTP/1.1 410 Gone");
    let tool = receiver.listen(SocketAddr::from(([127, 0, 0, 1], 0)), &certified);
    let mut gateway = start(folder.path(), &upstream, tool.address.port());
    send(&gateway, "ann@b.example");
    let alarm = eventually("the alarm", || gateway.events("Alarm").pop());
    assert_eq!(alarm["reason"], "WEBHOOK_GONE");
    assert_eq!(standing(&gateway)["paused"], "HTTP 410");
    receiver.answers(taken);
    gateway.kill();
    let gateway = Gateway::restart_there(folder.path());
    send(&gateway, "ben@b.example");
    eventually("the delivery", || (upstream.received().len() == 2).then_some(()));
    assert_eq!(tool.asked().len(), 1, "asked again after it said that it is gone");
    assert!(gateway.run(&["webhook", "resume", "crm"]).status.success());
    receiver.has_all_of(&gateway);
}

#[test]
fn nobody_inside_is_called_unless_the_network_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, certified) = (Upstream::start(), Certified::new(folder.path()));
    let tool = Tool::start(&certified, "HTTP/1.1 200 OK");
    let gateway = Gateway::start(folder.path(), &spec(folder.path(), &upstream, tool.address.port(), ""));
    send(&gateway, "ann@b.example");
    assert!(down(&gateway).contains("is not public and not within the networks that may be reached"));
    assert_eq!(tool.connections(), 0);
}

#[test]
fn events_that_the_trail_lost_before_they_were_sent_are_said_to_be_missed() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, certified) = (Upstream::start(), Certified::new(folder.path()));
    let receiver = Receiver::new(taken);
    let tool = receiver.listen(SocketAddr::from(([127, 0, 0, 1], 0)), &certified);
    let mut gateway = start(folder.path(), &upstream, tool.address.port());
    send(&gateway, "ann@b.example");
    eventually("both events", || (receiver.numbers().len() == 2).then_some(()));
    receiver.answers(|_| "HTTP/1.1 503 Not Now");
    send(&gateway, "ben@b.example");
    eventually("the delivery", || (gateway.audit().len() == 4).then_some(()));
    assert_eq!(gateway.stop(), Some(0));
    archive(&gateway);
    let gateway = Gateway::restart_there(folder.path());
    let alarm = eventually("the alarm", || gateway.events("Alarm").pop());
    assert_eq!(alarm["reason"], "EVENTS_MISSED");
    receiver.answers(taken);
    send(&gateway, "eve@b.example");
    eventually("what the trail has", || {
        let trail = gateway.audit();
        let has = trail.iter().all(|event| receiver.numbers().contains(&number(event)));
        (trail.len() == 3 && has).then_some(())
    });
}

/// As if all but the newest event stood in files that were archived; the number of the newest.
fn archive(gateway: &Gateway) -> u64 {
    let newest = number(&gateway.audit().pop().unwrap());
    let trail = gateway.folder.join("audit");
    for file in std::fs::read_dir(&trail).unwrap() {
        let path = file.unwrap().path();
        let line = std::fs::read_to_string(&path).unwrap().lines().last().unwrap().to_owned();
        std::fs::remove_file(path).unwrap();
        std::fs::write(trail.join(format!("audit-{newest:020}.ndjson")), line + "\n").unwrap();
    }
    newest
}

#[test]
fn a_hook_that_began_on_an_empty_trail_says_what_it_missed_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, certified, port) = (Upstream::start(), Certified::new(folder.path()), free_port());
    let mut gateway = start(folder.path(), &upstream, port.port());
    assert_eq!(standing(&gateway)["position"], 0);
    for to in ["ann@b.example", "ben@b.example"] {
        send(&gateway, to);
    }
    eventually("both deliveries", || (gateway.audit().len() == 4).then_some(()));
    down(&gateway);
    assert_eq!(gateway.stop(), Some(0));
    let newest = archive(&gateway);
    let gateway = Gateway::restart_there(folder.path());
    let alarm = eventually("the alarm", || gateway.events("Alarm").pop());
    let what = format!("crm: events behind 0 are no longer kept; the oldest is {newest}; it goes on with that one");
    assert_eq!((&alarm["reason"], &alarm["evidence"]), (&"EVENTS_MISSED".into(), &what.into()));
    let receiver = Receiver::new(taken);
    let _tool = receiver.listen(port, &certified);
    receiver.has_all_of(&gateway);
    assert_eq!(gateway.events("Alarm").len(), 1, "said once");
}

/// The snippet of the documentation, with a call as it was really made.
#[test]
fn the_receiver_in_the_documentation_takes_our_calls_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, certified) = (Upstream::start(), Certified::new(folder.path()));
    let tool = Tool::start(&certified, "HTTP/1.1 200 OK");
    let gateway = start(folder.path(), &upstream, tool.address.port());
    send(&gateway, "ann@b.example");
    let asked = eventually("a call", || tool.asked().pop());
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/howto/webhooks.md")).unwrap();
    let snippet = page.split_once("```python\n").unwrap().1.split_once("```").unwrap().0;
    let is_taken = |secret: &str, signature: &str, body: &str| {
        let program =
            format!("{snippet}\nimport sys\nprint(is_ours({secret:?}, {signature:?}, sys.stdin.buffer.read()))\n");
        let mut python = Command::new("python3")
            .args(["-c", &program])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed by tests/run");
        std::io::Write::write_all(&mut python.stdin.take().unwrap(), body.as_bytes()).unwrap();
        let said = python.wait_with_output().unwrap();
        assert!(said.status.success(), "{said:?}");
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    };
    let field = asked.field("consentry-signature").unwrap();
    assert_eq!(is_taken(SECRET, &field, &asked.body), "True");
    assert_eq!(is_taken(SECRET, &format!("{field},v1=00"), &asked.body), "True", "a second secret's");
    assert_eq!(is_taken(OLD_SECRET, &field, &asked.body), "False");
    assert_eq!(is_taken(SECRET, &field, &asked.body.replace("ann", "eve")), "False");
    let later = field.replacen("t=", "t=1", 1);
    assert_eq!(is_taken(SECRET, &later, &asked.body), "False");
    let old = format!("t=1000000000,v1={}", signature(SECRET, "1000000000", &asked.body));
    assert_eq!(is_taken(SECRET, &old, &asked.body), "False", "an old one, rightly signed");
}
