//! The programs' door: facts handed in count at once, tokens reach what they are for and nothing else, limits hold.

mod conditions;
mod forms;
mod isolation;
mod others;
mod races;
mod schema;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::gateway::free_port;
use crate::support::http::{self, Answer};
use crate::support::{Authority, Client, Gateway, Spec, Upstream, eventually};

const JSON: &str = "Content-Type: application/json\r\n";
const ALL: [&str; 8] = [
    "suppressions:read",
    "suppressions:write",
    "consents:read",
    "consents:write",
    "decisions:read",
    "events:read",
    "queue:read",
    "queue:write",
];

/// A gateway with its programs' door open.
struct House {
    gateway: Gateway,
    upstream: Upstream,
    api: SocketAddr,
    folder: tempfile::TempDir,
}

/// Two controllers on streams of their own, the first in France; `more` goes into `[api]`.
fn house(more: &str) -> House {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let api = free_port();
    let mut spec = Spec::new(upstream.address);
    spec.stream =
        "establishment = \"FR\"\ndefault_country = \"FR\"\nbrand = \"Acme\"\npostal_address = \"1 rue X, Paris\"\n\
                   also_lists = [\"monthly\"]\n"
            .to_owned();
    spec.more = format!(
        "[api]\nlisten = \"{api}\"\n{more}\n[[stream]]\nname = \"others\"\ncontroller = \"other\"\nclass = \"marketing\"\n\
         list = \"weekly\"\n[[stream]]\nname = \"plain\"\ncontroller = \"acme\"\nclass = \"marketing\"\nlist = \"plain\"\n"
    );
    let gateway = Gateway::start(folder.path(), &spec);
    eventually("the programs' door", || std::net::TcpStream::connect(api).ok());
    House { gateway, upstream, api, folder }
}

impl House {
    /// Makes a token at the command line and gives its secret.
    fn token(&self, name: &str, controller: Option<&str>, rights: &[&str]) -> String {
        let mut arguments = vec!["token", "add", name];
        arguments.extend(controller.iter().flat_map(|controller| ["--controller", controller]));
        arguments.extend(rights.iter().flat_map(|right| ["--right", right]));
        let made = self.gateway.run(&arguments);
        assert!(made.status.success(), "{made:?}");
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    }

    fn whole(&self) -> String {
        self.token("whole", None, &ALL)
    }

    fn call(&self, token: &str, line: &str, body: Option<&Value>) -> Answer {
        call(self.api, token, line, "", body)
    }
}

/// One request on a connection of its own.
fn call(api: SocketAddr, token: &str, line: &str, fields: &str, body: Option<&Value>) -> Answer {
    let kind = if body.is_some() { JSON } else { "" };
    let body = body.map(ToString::to_string).unwrap_or_default();
    let fields = format!("Authorization: Bearer {token}\r\nConnection: close\r\n{kind}{fields}");
    http::request(api, line, &fields, &body)
}

fn value(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

fn opt_out(address: &str) -> Value {
    json!({ "address": address, "scope": "list:acme/weekly", "cause": "unsubscribe" })
}

fn consent(address: &str) -> Value {
    json!({
        "address": address, "controller": "acme", "basis": "opt_in", "evidence": "form 7", "notice": "v3",
        "source": "https://acme.example/form", "ip": "192.0.2.7", "class": "consumer", "country": "FR",
        "collected_at": "2026-01-02T03:04:05Z",
    })
}

const OFFER: &[u8] = b"From: Acme <news@acme.example>\r\nSubject: Une offre\r\nContent-Type: text/plain\r\n\r\n\
    Acme vous propose une offre. 1 rue X, Paris.\r\nSe desinscrire : https://u.test.example/leave\r\n";

/// What the session says about a message for one recipient.
fn hand_in(client: &mut Client, to: &str) -> String {
    let (named, taken) = client.message("b@acme.example", &[to], OFFER);
    taken.unwrap_or_else(|| named.first().cloned().unwrap_or_default())
}

#[test]
fn a_consent_lets_mail_pass_at_once_and_an_opt_out_stops_it_at_once() {
    let house = house("");
    let token = house.whole();
    let mut client = Client::connect(house.gateway.smtp);
    let before = hand_in(&mut client, "ann@b.example");
    assert!(before.starts_with('5'), "{before}");
    assert_eq!(house.call(&token, "PUT /v1/consents", Some(&consent("ann@b.example"))).status, 201);
    assert_eq!(house.call(&token, "PUT /v1/consents", Some(&consent("ann@b.example"))).status, 200);
    let after = hand_in(&mut client, "ann@b.example");
    assert!(after.starts_with("250"), "{after}");
    eventually("the message", || {
        house.upstream.received().iter().any(|message| message.to == ["ann@b.example"]).then_some(())
    });
    let gone = house.call(&token, "PUT /v1/suppressions", Some(&opt_out("ann@b.example")));
    assert_eq!((gone.status, value(&gone)), (201, json!({ "outcome": "new" })));
    let gone = house.call(&token, "PUT /v1/suppressions", Some(&opt_out("ANN@B.example")));
    assert_eq!((gone.status, value(&gone)), (200, json!({ "outcome": "existing" })));
    // Sent again by a shop that had no answer, her yes is older than her no.
    assert_eq!(house.call(&token, "PUT /v1/consents", Some(&consent("ann@b.example"))).status, 200);
    let refused = hand_in(&mut client, "ann@b.example");
    assert!(refused.starts_with('5') && refused.contains("ref="), "{refused}");
    let why = json!({ "stream": "news", "recipient": "ann@b.example" });
    let why = value(&house.call(&token, "POST /v1/explain", Some(&why)));
    assert_eq!((&why["verdict"], &why["recipient"]), (&json!("refuse"), &json!("ann@b.example")));
    let some = json!({ "stream": "news", "recipients": ["ann@b.example", "no address", "bob@b.example"] });
    let some = value(&house.call(&token, "POST /v1/check", Some(&some)));
    assert_eq!(some["recipients"][0]["reason"], why["reason"]);
    assert!(some["recipients"][1]["detail"].is_string() && some["recipients"][1]["verdict"].is_null());
    assert_eq!(some["recipients"][2]["verdict"], "refuse", "{some}");
    let logged = |kind, count| {
        eventually("its events", || Some(house.gateway.events(kind)).filter(|events| events.len() >= count))
    };
    let events = logged("SuppressionAdded", 1);
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!((&events[0]["credential"], &events[0]["controller"]), (&json!("token:whole"), &json!("acme")));
    let added = logged("ConsentAdded", 2);
    assert_eq!(
        (added.len(), &added[0]["evidence"]),
        (2, &json!("opt_in for marketing")),
        "the consent and what she is"
    );
}

#[test]
fn what_was_recorded_is_found_changed_and_removed_with_a_reason() {
    let house = house("");
    let token = house.whole();
    let complaint =
        json!({ "address": "ann@b.example", "scope": "controller:acme", "cause": "complaint", "evidence": "t-1" });
    assert_eq!(house.call(&token, "PUT /v1/suppressions", Some(&complaint)).status, 201);
    let whom = json!({ "address": "ann+news@b.example" });
    let found = house.call(&token, "POST /v1/suppressions/search", Some(&whom));
    let (entries, tag) = (value(&found)["entries"].clone(), found.field("etag").unwrap().to_owned());
    assert_eq!(
        (&entries[0]["match"], &entries[0]["evidence"], &entries[0]["origin"]),
        (&json!("family"), &json!("t-1"), &json!("api"))
    );
    // Somebody else adds an entry in between.
    assert_eq!(house.call(&token, "PUT /v1/suppressions", Some(&opt_out("ann@b.example"))).status, 201);
    let with = |because: Option<&str>| json!({ "address": "ann@b.example", "because": because });
    let stale = format!("If-Match: {tag}\r\n");
    let removed = call(house.api, &token, "POST /v1/suppressions/remove", &stale, Some(&with(Some("she asked"))));
    assert_eq!(removed.status, 412, "{removed:?}");
    assert_eq!(house.call(&token, "POST /v1/suppressions/remove", Some(&with(None))).status, 409);
    assert_eq!(house.call(&token, "POST /v1/suppressions/remove", Some(&with(Some(" ")))).status, 409);
    let found = house.call(&token, "POST /v1/suppressions/search", Some(&whom));
    assert_eq!(value(&found)["entries"].as_array().unwrap().len(), 2, "nothing went");
    let fresh = format!("If-Match: {}\r\n", found.field("etag").unwrap());
    let removed = call(house.api, &token, "POST /v1/suppressions/remove", &fresh, Some(&with(Some("she asked"))));
    assert_eq!((removed.status, value(&removed)["removed"].as_array().unwrap().len()), (200, 2));
    let found = house.call(&token, "POST /v1/suppressions/search", Some(&whom));
    assert_eq!(value(&found)["entries"], json!([]));
    eventually("two events", || (house.gateway.events("SuppressionRemoved").len() == 2).then_some(()));
    // A whole domain's entry stays when one person's go.
    let domain = json!({ "address": "@b.example", "scope": "controller:acme", "cause": "manual" });
    assert_eq!(house.call(&token, "PUT /v1/suppressions", Some(&domain)).status, 201);
    let removed = house.call(&token, "POST /v1/suppressions/remove", Some(&with(Some("she asked"))));
    assert_eq!(value(&removed)["removed"], json!([]));
    let known = house.call(&token, "POST /v1/suppressions/search", Some(&whom));
    assert_eq!(value(&known)["entries"][0]["match"], "domain");
}

#[test]
fn consents_are_shown_with_their_history_and_guarded_against_a_second_writer() {
    let house = house("");
    let token = house.whole();
    let whom = json!({ "address": "ann@b.example" });
    let nothing = house.call(&token, "POST /v1/consents/search", Some(&whom));
    assert_eq!((nothing.status, &value(&nothing)["history"]), (200, &json!([])));
    assert_eq!(house.call(&token, "PUT /v1/consents", Some(&consent("ann@b.example"))).status, 201);
    let stale = format!("If-Match: {}\r\n", nothing.field("etag").unwrap());
    let ended =
        json!({ "address": "ann@b.example", "controller": "acme", "basis": "none", "collected_at": "2026-02-03" });
    assert_eq!(call(house.api, &token, "PUT /v1/consents", &stale, Some(&ended)).status, 412);
    let found = house.call(&token, "POST /v1/consents/search", Some(&whom));
    let shown = value(&found);
    assert_eq!((&shown["consents"][0]["basis"], &shown["consents"][0]["counts"]), (&json!("opt_in"), &json!(true)));
    assert_eq!((&shown["contact"]["country"], shown["history"].as_array().unwrap().len()), (&json!("FR"), 2));
    assert_eq!(shown["history"][0]["recorded_by"], "token:whole");
    let fresh = format!("If-Match: {}\r\n", found.field("etag").unwrap());
    assert_eq!(call(house.api, &token, "PUT /v1/consents", &fresh, Some(&ended)).status, 201);
    let refused = hand_in(&mut Client::connect(house.gateway.smtp), "ann@b.example");
    assert!(refused.starts_with('5'), "{refused}");
}

#[test]
fn many_are_answered_one_by_one_and_pages_lead_to_the_end() {
    let house = house("");
    let token = house.whole();
    let mut items: Vec<_> = (0..7).map(|number| opt_out(&format!("p{number}@b.example"))).collect();
    items.push(json!({ "address": "no address", "scope": "list:acme/weekly" }));
    items.push(
        json!({ "address": "q@b.example", "scope": "everything", "cause": "unsubscribe", "expires": "2030-01-01" }),
    );
    items.push(opt_out("p0@b.example"));
    let many = value(&house.call(&token, "POST /v1/suppressions/bulk", Some(&json!({ "items": items }))));
    let statuses: Vec<_> =
        many["items"].as_array().unwrap().iter().map(|item| item["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 201, 201, 201, 201, 201, 201, 400, 400, 200]);
    let (mut after, mut seen) = (String::new(), Vec::new());
    loop {
        let page = value(&house.call(&token, &format!("GET /v1/suppressions?limit=3{after}"), None));
        seen.extend(
            page["entries"].as_array().unwrap().iter().map(|entry| entry["address"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen, (0..7).map(|number| format!("p{number}@b.example")).collect::<Vec<_>>());
    let both = json!({ "items": [consent("ann@b.example"), { "address": "bob@b.example", "controller": "acme" }] });
    let both = value(&house.call(&token, "POST /v1/consents/bulk", Some(&both)));
    assert_eq!((&both["items"][0]["status"], &both["items"][1]["status"]), (&json!(201), &json!(400)));
    let limit = |count: usize| {
        let items = vec![opt_out("many@b.example"); count];
        house.call(&token, "POST /v1/suppressions/bulk", Some(&json!({ "items": items }))).status
    };
    assert_eq!((limit(1000), limit(1001)), (200, 400));
}

#[test]
fn requests_are_bounded_and_read_in_one_way_only() {
    let house = house("requests_per_second = 5\n");
    let token = house.whole();
    let put = "PUT /v1/suppressions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ";
    let raw = |rest: String| http::raw(house.api, format!("{put}{token}\r\n{rest}").as_bytes());
    let body = opt_out("ann@b.example").to_string();
    let length = body.len();
    let chunked = format!("{JSON}Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n");
    assert_eq!(raw(chunked).status, 411);
    assert_eq!(raw(format!("Content-Length: {length}\r\n\r\n{body}")).status, 415);
    assert_eq!(raw(format!("{JSON}Content-Length: 1048577\r\n\r\n")).status, 413);
    let (fits, space) = (format!("{JSON}Content-Length: 1048576\r\n\r\n"), " ".repeat(1024 * 1024 - length));
    assert_eq!(raw(format!("{fits}{body}{space}")).status, 201, "at the bound");
    assert_eq!(raw(format!("{JSON}Content-Length: 9\r\n\r\nnot json!")).status, 400);
    let answered = call(house.api, &token, "GET /v1/lists", "X-Request-Id: job-7\r\n", None);
    assert_eq!((answered.status, answered.field("x-request-id")), (200, Some("job-7")));
    let statuses: Vec<_> = (0..40).map(|_| house.call(&token, "GET /v1/lists", None)).collect();
    let held_up: Vec<_> = statuses.iter().filter(|answer| answer.status == 429).collect();
    assert!(!held_up.is_empty() && held_up.len() < 40, "{} of 40", held_up.len());
    assert_eq!(held_up[0].field("retry-after"), Some("1"));
    assert_eq!(held_up[0].field("content-type"), Some("application/problem+json"));
}

#[test]
fn a_body_that_does_not_come_and_connections_without_a_request_are_bounded() {
    let house = house("");
    let token = house.whole();
    let mut slow = http::connect(house.api);
    let head = format!("PUT /v1/suppressions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{JSON}");
    slow.write_all(format!("{head}Content-Length: 99\r\nConnection: close\r\n\r\n{{").as_bytes()).unwrap();
    // Every place is taken, one is waited for, and the next is let in when one more leaves.
    let mut idle: Vec<_> = (2..6).flat_map(|address| crowd(&house, address)).collect();
    let (api, waiting) = (house.api, token.clone());
    let next = std::thread::spawn(move || call(api, &waiting, "GET /v1/lists", "", None).status);
    let answer = http::rest(&mut slow);
    assert_eq!(answer.status, 408, "{answer:?}");
    assert!(!next.is_finished(), "more than 256 are served at once");
    idle.truncate(1);
    assert_eq!(next.join().unwrap(), 200);
}

/// As many connections as one address may have.
fn crowd(house: &House, address: u8) -> Vec<std::net::TcpStream> {
    (0..64).map(|_| http::connect_from([127, 0, 0, address], house.api)).collect()
}

#[test]
fn one_address_has_its_part_of_the_connections_and_operators_have_their_own() {
    let house = house("");
    let token = house.whole();
    let request =
        format!("GET /v1/lists HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n");
    let asked = |mut stream: std::net::TcpStream| {
        // Whoever is turned away may be so before it has said anything.
        let _sent = stream.write_all(request.as_bytes());
        http::rest(&mut stream)
    };
    let from = |address: u8| asked(http::connect_from([127, 0, 0, address], house.api));
    let mut first = crowd(&house, 2);
    let refused = from(2);
    assert_eq!((refused.status, refused.field("retry-after")), (429, Some("10")), "{refused:?}");
    assert_eq!(refused.field("content-type"), Some("application/problem+json"));
    assert_eq!(value(&refused)["type"], "urn:consentry:problem:crowded");
    assert_eq!(from(3).status, 200, "another address");
    assert_eq!(asked(first.pop().unwrap()).status, 200, "the last that may be there");
    eventually("a place", || (from(2).status == 200).then_some(()));
    // Every place is taken now, and whoever is at the socket does not notice.
    first.extend((3..6).flat_map(|address| crowd(&house, address)));
    first.push(http::connect_from([127, 0, 0, 6], house.api));
    let said = house.gateway.run(&["queue", "stats"]);
    assert!(said.status.success(), "{said:?}");
}

#[test]
fn whoever_sees_few_of_many_gets_short_pages_that_lead_on() {
    let house = house("");
    let (whole, narrow) = (house.whole(), house.token("narrow", Some("acme"), &["suppressions:read"]));
    for part in 0..21 {
        let entry = |n| json!({ "address": format!("p{part}-{n}@b.example"), "scope": "list:other/weekly" });
        let items: Vec<_> = (0..1000).map(entry).collect();
        assert_eq!(house.call(&whole, "POST /v1/suppressions/bulk", Some(&json!({ "items": items }))).status, 200);
    }
    assert_eq!(house.call(&whole, "PUT /v1/suppressions", Some(&opt_out("own@b.example"))).status, 201);
    let first = value(&house.call(&narrow, "GET /v1/suppressions", None));
    assert_eq!(first["entries"], json!([]), "twenty thousand of others were looked at");
    let line = format!("GET /v1/suppressions?after={}", first["next"].as_str().unwrap());
    let rest = value(&house.call(&narrow, &line, None));
    assert_eq!((rest["entries"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null), "{rest}");
}

#[test]
fn events_are_read_behind_a_position_and_waited_for() {
    let house = house("");
    let token = house.whole();
    house.call(&token, "PUT /v1/suppressions", Some(&opt_out("ann@b.example")));
    let first = eventually("the event", || {
        let page = value(&house.call(&token, "GET /v1/events?type=SuppressionAdded", None));
        (page["events"].as_array().unwrap().len() == 1).then_some(page)
    });
    assert_eq!(first["events"][0]["recipient"], "ann@b.example");
    let next = first["next"].as_str().unwrap().to_owned();
    let (api, waiting) = (house.api, token.clone());
    let reader = std::thread::spawn(move || {
        let line = format!("GET /v1/events?after={next}&wait=50&type=SuppressionAdded,ConsentAdded");
        value(&call(api, &waiting, &line, "", None))
    });
    // Whether the reader is there already or not: it gets what comes behind its position.
    house.call(&token, "PUT /v1/consents", Some(&consent("bob@b.example")));
    let page = reader.join().unwrap();
    assert_eq!(page["events"][0]["type"], "ConsentAdded", "{page}");
    // The oldest file is archived: whoever stood in it has missed something, and is told so.
    let audit = house.folder.path().join("audit");
    let files: Vec<_> = std::fs::read_dir(&audit).unwrap().map(|entry| entry.unwrap().path()).collect();
    for file in files {
        std::fs::rename(&file, audit.join("audit-00000000000000000999.ndjson")).unwrap();
    }
    let missed = house.call(&token, "GET /v1/events?after=5", None);
    assert_eq!(missed.status, 410, "{missed:?}");
    assert_eq!(house.call(&token, "GET /v1/events?after=x", None).status, 400);
}

#[test]
fn a_revoked_token_opens_nothing_from_the_next_request_on() {
    let house = house("");
    let token = house.token("shop", Some("acme"), &["suppressions:read"]);
    assert_eq!(house.call(&token, "GET /v1/suppressions", None).status, 200);
    assert_eq!(
        house.call(&token, "PUT /v1/suppressions", Some(&opt_out("a@b.example"))).status,
        403,
        "it may only read"
    );
    let listed = house.gateway.run(&["token", "list"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("shop  controller acme  suppressions:read") && !listed.contains(&token), "{listed}");
    assert!(house.gateway.run(&["token", "revoke", "shop"]).status.success());
    let gone = house.call(&token, "GET /v1/suppressions", None);
    assert_eq!((gone.status, gone.field("www-authenticate")), (401, Some("Bearer realm=\"consentry\"")));
    assert_eq!(house.gateway.run(&["token", "revoke", "shop"]).status.code(), Some(1));
    assert_eq!(http::request(house.api, "GET /v1/suppressions", "Connection: close\r\n", "").status, 401);
    assert_eq!(http::request(house.api, "GET /v1/nothing", "Connection: close\r\n", "").status, 404);
    assert_eq!(http::request(house.api, "DELETE /v1/suppressions", "Connection: close\r\n", "").status, 405);
}

#[test]
fn the_door_speaks_tls_and_operators_come_in_by_the_socket() {
    let certificates = tempfile::tempdir().unwrap();
    let authority = Authority::new(certificates.path());
    authority.issue("api", "api.test.example");
    let file = |name: &str| certificates.path().join(name).display().to_string();
    let house = house(&format!("[[api.tls]]\ncertificate = \"{}\"\nkey = \"{}\"\n", file("api.pem"), file("api.key")));
    let token = house.whole();
    let curl = |arguments: &[&str]| {
        let run = std::process::Command::new("curl").args(["-sS", "-m", "30"]).args(arguments).output().unwrap();
        (run.status.code(), String::from_utf8(run.stdout).unwrap(), String::from_utf8(run.stderr).unwrap())
    };
    let (port, ca) = (house.api.port(), file("ca.pem"));
    let url = format!("https://api.test.example:{port}/v1/status");
    let to = format!("api.test.example:{port}:127.0.0.1");
    let (code, body, said) =
        curl(&["--resolve", &to, "--cacert", &ca, "-H", &format!("Authorization: Bearer {token}"), &url]);
    assert_eq!(code, Some(0), "{said}");
    assert!(body.contains("\"answers\":true"), "{body}");
    let socket = house.folder.path().join("control.sock");
    let (code, body, _) = curl(&["--unix-socket", socket.to_str().unwrap(), "http://localhost/v1/queue"]);
    assert_eq!(code, Some(0));
    assert!(body.contains("\"copies\":0"), "{body}");
    // Another user may not even connect; where the file is opened to them, the kernel says who they are.
    std::fs::set_permissions(&socket, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    open(house.folder.path());
    let nobody = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--clear-groups", "curl", "-sS", "-m", "30", "--unix-socket", socket.to_str().unwrap()])
        .arg("http://localhost/v1/queue")
        .output()
        .unwrap();
    if String::from_utf8_lossy(&nobody.stderr).contains("setresuid") || nobody.status.code() == Some(127) {
        println!("not root: no other user was tried at the socket");
    } else {
        assert!(!nobody.status.success() && nobody.stdout.is_empty(), "{nobody:?}");
    }
}

/// Lets everybody reach what lies in a folder.
fn open(folder: &Path) {
    std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}
