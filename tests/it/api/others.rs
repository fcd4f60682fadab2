//! Scripts written for other services, with another host and key.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{House, call, hand_in, house, value};
use crate::support::gateway::free_port;
use crate::support::{Client, Gateway, Spec, Upstream, eventually};

const BOTH: [&str; 2] = ["suppressions:read", "suppressions:write"];

/// What a script of `tests/clients` tells of its calls.
fn found_by(interpreter: &Path, script: &str, house: &House, token: &str) -> Value {
    let ran = Command::new(interpreter)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script))
        .args([&format!("http://{}", house.api), token, "acme.example"])
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).unwrap()
}

#[test]
fn the_libraries_of_sendgrid_and_mailgun_add_read_and_list_suppressions() {
    let house = house("");
    let token = house.token("script", Some("acme"), &BOTH);
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python3");
    assert_eq!(
        found_by(&python, "suppressions.py", &house, &token),
        json!({
            "groups": ["monthly", "plain", "weekly"], "added": 201, "of_group": ["s1@b.example", "s2@b.example"],
            "global": { "recipient_email": "s3@b.example" }, "unsubscribes": ["s3@b.example"], "deleted": 204,
            "left": ["s1@b.example"], "limited": 1, "mailgun_added": [200, "m1@b.example"], "mailgun_one": ["monthly"],
            "mailgun_page": ["s1@b.example", "s3@b.example"], "mailgun_next": true, "mailgun_complaints": ["m2@b.example"],
            "mailgun_refused": 409, "mailgun_gone": 200, "mailgun_absent": 404,
        })
    );
    // What they added stops mail like any other opt-out.
    let whole = house.whole();
    for address in ["s1@b.example", "s3@b.example", "m2@b.example"] {
        assert_eq!(house.call(&whole, "PUT /v1/consents", Some(&super::consent(address))).status, 201);
        let refused = hand_in(&mut Client::connect(house.gateway.smtp), address);
        assert!(refused.starts_with('5'), "{address}: {refused}");
    }
}

/// A gateway for one controller alone: with a token of the whole of it, a domain says whose facts are meant.
fn alone() -> House {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let api = free_port();
    let mut spec = Spec::new(upstream.address);
    spec.stream = "also_lists = [\"monthly\"]\n".to_owned();
    spec.more = format!("[api]\nlisten = \"{api}\"\n");
    let gateway = Gateway::start(folder.path(), &spec);
    eventually("the programs' door", || std::net::TcpStream::connect(api).ok());
    House { gateway, upstream, api, folder }
}

#[test]
fn the_javascript_libraries_of_mailgun_and_sendgrid_do_so_too() {
    let house = alone();
    let token = house.token("script", None, &BOTH);
    assert_eq!(
        found_by(Path::new("node"), "suppressions.mjs", &house, &token),
        json!({
            "added": [200, "Address has been added to the table"], "addedMany": "3 addresses have been added to the table",
            // Somebody who left two lists stands there twice.
            "unsubscribes": [["u1@b.example", "u2@b.example", "u2@b.example", "u3@b.example", "u4@b.example"], 3],
            "one": ["unsubscribes", "u2@b.example", ["monthly", "weekly"], "2026-01-02T03:04:05.000Z"],
            "bounces": [["b1@b.example", "b2@b.example", "b3@b.example"], 2], "bounce": [550, "5.1.1 na\u{ef}ve"], "soft": 400,
            "complaints": [["c1@b.example", "c2@b.example"], 1],
            "gone": [200, 404, 200, 404, 409, 200], "allowed": 404,
            "sendgridAdded": [201, ["s1@b.example"]], "sendgridGroup": ["u2@b.example", "s1@b.example"],
            "sendgridBounce": [["b3@b.example", "511"]], "sendgridGone": 204, "sendgridRefused": [409, 1],
        })
    );
    // Each of them is told once, with who did it and why.
    let told = eventually("their events", || {
        Some(house.gateway.events("SuppressionAdded")).filter(|events| events.len() >= 11)
    });
    let of = |kind: &str| {
        told.iter().filter(|event| event["reason"] == kind && event["credential"] == "token:script").count()
    };
    let reasons = ["SUP_UNSUBSCRIBE", "SUP_HARD_BOUNCE", "SUP_COMPLAINT"].map(of);
    assert_eq!((told.len(), reasons), (11, [6, 3, 2]), "{told:?}");
    for address in ["u3@b.example", "b2@b.example", "c2@b.example"] {
        let refused = hand_in(&mut Client::connect(house.gateway.smtp), address);
        assert!(refused.starts_with('5'), "{address}: {refused}");
    }
}

#[test]
fn the_calls_of_mailgun_s_manual_add_by_a_form_in_parts() {
    let house = alone();
    let token = house.token("script", None, &BOTH);
    let key = format!("api:{token}");
    let curl = |kind: &str, arguments: &[&str]| {
        let url = format!("http://{}/v3/acme.example/{kind}", house.api);
        let run = Command::new("curl")
            .args(["-sS", "-m", "30", "-w", "\n%{http_code}", "--user", &key, &url])
            .args(arguments)
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let said = String::from_utf8(run.stdout).unwrap();
        let (body, status) = said.rsplit_once('\n').unwrap();
        (status.parse::<u16>().unwrap(), serde_json::from_str::<Value>(body).unwrap())
    };
    let (status, said) = curl("bounces", &["-F", "address=bob@example.com"]);
    assert_eq!((status, &said["address"]), (200, &json!("bob@example.com")));
    let more = ["-F", "address=ann@example.com", "-F", "code=551", "-F", "error=550-5.1.1 moved;type=text/plain"];
    assert_eq!(curl("bounces", &more).0, 200);
    assert_eq!(curl("bounces/ann@example.com", &[]).1["code"], "551");
    let lists = ["-F", "address=eve@example.com", "-F", "tags=weekly", "-F", "tags=monthly"];
    assert_eq!(curl("unsubscribes", &lists).0, 200);
    let (_, page) = curl("unsubscribes", &[]);
    let tags: Vec<_> = page["items"].as_array().unwrap().iter().map(|item| item["tags"][0].as_str().unwrap()).collect();
    assert_eq!(tags, ["weekly", "monthly"], "an entry for each list");
    assert_eq!(curl("unsubscribes/eve@example.com", &[]).1["tags"], json!(["weekly", "monthly"]));
    assert_eq!(curl("complaints", &["-F", "address=sue@example.com"]).0, 200);
    assert_eq!(curl("complaints/sue@example.com", &["-X", "DELETE"]).0, 409, "it needs a reason");
    // A file is no field, and nothing of such a form is recorded.
    let list = house.folder.path().join("bounces.csv");
    std::fs::write(&list, "address\nzoe@example.com\n").unwrap();
    let (status, said) =
        curl("bounces", &["-F", "address=zoe@example.com", "-F", &format!("file=@{}", list.display())]);
    assert_eq!(status, 400);
    assert!(said["message"].as_str().unwrap().contains("`file` is a file"), "{said}");
    assert_eq!(curl("bounces/zoe@example.com", &[]).0, 404);
    assert_eq!(curl("bounces/import", &["-F", &format!("file=@{}", list.display())]).0, 405);
    // Where no form is taken, one in parts is none either.
    let url = format!("http://{}/v3/asm/suppressions/global", house.api);
    let run = Command::new("curl")
        .args(["-sS", "-m", "30", "--oauth2-bearer", &token, &url, "-F", "recipient_emails=zoe@example.com"])
        .output()
        .unwrap();
    let said = String::from_utf8(run.stdout).unwrap();
    assert!(said.contains("expected Content-Type: application/json\""), "{said}");
}

#[test]
fn a_message_stream_of_postmark_is_a_stream_of_ours() {
    let house = house("");
    let token = house.token("script", Some("acme"), &BOTH);
    let key = format!("X-Postmark-Server-Token: {token}\r\n");
    let say = |line: &str, body: Option<Value>| call(house.api, "", line, &key, body.as_ref());
    let some = |addresses: &[&str]| {
        let all: Vec<_> = addresses.iter().map(|address| json!({ "EmailAddress": address })).collect();
        Some(json!({ "Suppressions": all }))
    };
    let made = say("POST /message-streams/news/suppressions", some(&["p1@b.example", "p2@b.example", "nobody"]));
    let made = value(&made)["Suppressions"].clone();
    let statuses: Vec<_> = made.as_array().unwrap().iter().map(|one| one["Status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["Suppressed", "Suppressed", "Failed"]);
    let gone = say("POST /message-streams/news/suppressions/delete", some(&["p2@b.example"]));
    assert_eq!(value(&gone)["Suppressions"][0]["Status"], "Deleted");
    let dump = |query: &str| {
        let dump = value(&say(&format!("GET /message-streams/news/suppressions/dump{query}"), None));
        let all = dump["Suppressions"].as_array().unwrap().clone();
        all.iter().map(|one| one["EmailAddress"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(dump(""), ["p1@b.example"]);
    assert_eq!(dump("?SuppressionReason=ManualSuppression&Origin=Customer&fromdate=2026-01-01"), ["p1@b.example"]);
    for none in
        ["?SuppressionReason=HardBounce", "?Origin=Recipient", "?todate=2026-01-01", "?EmailAddress=p2@b.example"]
    {
        assert!(dump(none).is_empty(), "{none}");
    }
    let unknown = say("GET /message-streams/none/suppressions/dump", None);
    assert_eq!((unknown.status, &value(&unknown)["ErrorCode"]), (404, &json!(1226)));
    let too_many = vec!["a@b.example"; 51];
    let refused = say("POST /message-streams/news/suppressions", some(&too_many));
    assert_eq!((refused.status, &value(&refused)["ErrorCode"]), (400, &json!(300)));
    assert_eq!(say("POST /message-streams/news/suppressions", some(&too_many[..50])).status, 200);
}

#[test]
fn bounces_are_for_tokens_of_the_whole_gateway_and_lists_are_not_emptied() {
    let house = house("");
    let narrow = house.token("script", Some("acme"), &BOTH);
    let bounce = json!({ "address": "dead@b.example", "code": "550", "error": "no such user" });
    let line = "POST /v3/acme.example/bounces";
    assert_eq!(house.call(&narrow, line, Some(&bounce)).status, 403);
    assert_eq!(value(&house.call(&narrow, "GET /v3/suppression/bounces", None)), json!([]));
    // Streams of two controllers may write from that domain: whose it is must be said.
    let refused = house.call(&house.whole(), line, Some(&bounce));
    assert_eq!((refused.status, value(&refused)["message"].is_string()), (400, true));
    let all = house.call(&narrow, "DELETE /v3/suppression/spam_reports", Some(&json!({ "delete_all": true })));
    assert_eq!((all.status, value(&all)["errors"][0]["message"].is_string()), (400, true));
}
