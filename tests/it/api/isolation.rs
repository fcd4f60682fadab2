//! A token of one controller, tried over every route of the description: it reads and changes nothing of another's.

use serde_json::{Value, json};

use super::{ALL, House, call, house, value};

/// What a token of one controller may have.
const NARROW: [&str; 6] =
    ["suppressions:read", "suppressions:write", "consents:read", "consents:write", "decisions:read", "events:read"];

/// Bodies that name the other controller, for every route that takes one.
fn hostile(path: &str) -> Vec<Value> {
    let suppression = |scope: &str, cause: &str| json!({ "address": "eve@b.example", "scope": scope, "cause": cause });
    let consent =
        json!({ "address": "eve@b.example", "controller": "other", "basis": "opt_in", "collected_at": "2026-01-02" });
    let whom = json!({ "address": "bob@b.example" });
    match path {
        "/v1/suppressions" => vec![
            suppression("list:other/weekly", "unsubscribe"),
            suppression("controller:other", "complaint"),
            suppression("everything", "unsubscribe"),
            suppression("controller:acme", "hard_bounce"),
            suppression("controller:acme", "erased"),
        ],
        "/v1/suppressions/bulk" => vec![json!({ "items": [suppression("list:other/weekly", "unsubscribe")] })],
        "/v1/suppressions/remove" => vec![
            json!({ "address": "bob@b.example", "because": "x" }),
            json!({ "address": "bob@b.example", "scope": "list:other/weekly", "because": "x" }),
            json!({ "address": "bob@b.example", "scope": "everything", "because": "x" }),
        ],
        "/v1/suppressions/search" | "/v1/consents/search" => vec![whom],
        "/v1/consents" => vec![
            consent,
            json!({ "address": "eve@b.example", "controller": "other", "confirm": true }),
            json!({ "address": "eve@b.example", "controller": "acme", "basis": "opt_in", "collected_at": "2026-01-02", "country": "FR" }),
        ],
        "/v1/consents/bulk" => vec![json!({ "items": [consent] })],
        "/v1/check" => vec![json!({ "stream": "others", "recipients": ["bob@b.example"] })],
        "/v1/explain" => vec![json!({ "stream": "others", "recipient": "bob@b.example" })],
        "/v1/queue/changes" => vec![json!({ "change": "drop", "which": {}, "because": "x" })],
        "/v1/queue/suspensions" | "/v1/queue/resumptions" => vec![json!({ "which": {}, "because": "x" })],
        "/v1/fence" | "/v1/records" => vec![json!({})],
        "/v3/{domain}/{kind}" => {
            vec![
                json!({ "address": "eve@b.example", "tag": "*" }),
                json!({ "address": "eve@b.example", "code": "550" }),
            ]
        }
        "/v3/suppression/{kind}" => vec![json!({ "emails": ["bob@b.example"] })],
        "/v3/asm/suppressions/global" | "/v3/asm/groups/{group}/suppressions" => {
            vec![json!({ "recipient_emails": ["eve@b.example"] })]
        }
        "/message-streams/{stream}/suppressions" | "/message-streams/{stream}/suppressions/delete" => {
            vec![json!({ "Suppressions": [{ "EmailAddress": "bob@b.example" }] })]
        }
        unknown => panic!("say what a hostile body for {unknown} is"),
    }
}

/// Facts of the other controller, which name it everywhere.
fn furnish(house: &House, whole: &str) {
    for scope in ["list:other/weekly", "controller:other", "everything"] {
        let fact = json!({ "address": "bob@b.example", "scope": scope, "cause": "unsubscribe", "evidence": "secret-of-other" });
        assert_eq!(house.call(whole, "PUT /v1/suppressions", Some(&fact)).status, 201);
    }
    let consent = json!({
        "address": "bob@b.example", "controller": "other", "basis": "opt_in", "evidence": "secret-of-other", "country": "DE",
        "collected_at": "2026-01-02",
    });
    assert_eq!(house.call(whole, "PUT /v1/consents", Some(&consent)).status, 201);
}

/// Everything that the other controller has.
fn facts(house: &House, whole: &str) -> Value {
    let whom = |address: &str| json!({ "address": address });
    let all = value(&house.call(whole, "GET /v1/suppressions", None));
    let of = |address| value(&house.call(whole, "POST /v1/consents/search", Some(&whom(address))));
    json!([all, of("bob@b.example"), of("eve@b.example")])
}

/// The request line of a route, with something in every part of its path.
fn line(method: &str, path: &str, stream: &str) -> String {
    let parts = [
        ("{id}", "0000000000001"),
        ("{domain}", "b.example"),
        ("{kind}", if path.starts_with("/v3/suppression") { "spam_reports" } else { "bounces" }),
        ("{group}", "weekly"),
        ("{stream}", stream),
        ("{email}", "bob%40b.example"),
        ("{address}", "bob%40b.example"),
    ];
    let path = parts.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value));
    format!("{} {path}", method.to_uppercase())
}

#[test]
fn a_token_of_one_controller_reaches_nothing_of_another() {
    let house = house("");
    let whole = house.whole();
    furnish(&house, &whole);
    let token = house.token("narrow", Some("acme"), &NARROW);
    let before = facts(&house, &whole);
    let described: Value = serde_json::from_str(include_str!("../../../docs/reference/openapi.json")).unwrap();
    let mut tried = 0;
    for (path, methods) in described["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            // The domain is one that streams of both may write from; the stream is the other's.
            let line = line(method, path, "others");
            let bodies =
                operation.get("requestBody").map_or(vec![None], |_| hostile(path).into_iter().map(Some).collect());
            for body in bodies {
                let answer = house.call(&token, &line, body.as_ref());
                let known = path == "/v1/openapi.json" || !answer.body.contains("secret-of-other");
                let turned_away = answer.body.contains("is outside what this token is for");
                let named =
                    answer.body.contains("other") && !turned_away && answer.status < 300 && path != "/v1/openapi.json";
                assert!(known && !named, "{line} {body:?}: {answer:?}");
                tried += 1;
            }
        }
    }
    assert!(tried > 25, "{tried}");
    // What it could record was its own: the opt-outs that it added through the doors of other services.
    let own = |entry: &Value| entry["scope"].as_str().unwrap().contains("acme");
    let mut after = facts(&house, &whole);
    after[0]["entries"].as_array_mut().unwrap().retain(|entry| !own(entry));
    assert_eq!(after, before, "nothing was changed");
    // Its own it may have, and in the stream of events it sees that alone.
    let seen = crate::support::eventually("its own event", || {
        let page = value(&house.call(&token, "GET /v1/events", None));
        (!page["events"].as_array().unwrap().is_empty()).then_some(page)
    });
    let seen = seen["events"].as_array().unwrap();
    assert!(seen.iter().all(|event| event["controller"] == "acme"), "{seen:?}");
}

#[test]
fn a_token_without_a_right_is_turned_away_wherever_it_is_needed() {
    let house = house("");
    let described: Value = serde_json::from_str(include_str!("../../../docs/reference/openapi.json")).unwrap();
    for right in ALL {
        let others: Vec<_> = ALL.into_iter().filter(|other| *other != right).collect();
        let token = house.token(&right.replace(':', "-"), None, &others);
        for (path, methods) in described["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let line = line(method, path, "news");
                let empty = json!({});
                let body = operation.get("requestBody").map(|_| &empty);
                let status = call(house.api, &token, &line, "", body).status;
                match operation["x-right"].as_str() {
                    Some(needed) if needed == right || needed == "operator" => assert_eq!(status, 403, "{line}"),
                    Some(_) | None => assert!(status != 403 && status != 401, "{line}: {status}"),
                }
                let nobody = call(house.api, "consentry_none", &line, "", body).status;
                assert!(nobody == 401 || nobody == 429, "{line}: {nobody}");
            }
        }
    }
}
