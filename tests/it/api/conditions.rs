//! If-Match holds for every writer: other requests, commands beside the daemon, other gateways of a fleet.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{ALL, call, consent, house, opt_out, value};
use crate::redis::{prepare, spec_at};
use crate::support::gateway::free_port;
use crate::support::http::Answer;
use crate::support::redis_server::RedisServer;
use crate::support::{Gateway, Upstream, eventually};

/// Changes that each writer makes by reading, changing and trying again.
const STEPS: usize = 10;

fn tag(answer: &Answer) -> String {
    answer.field("etag").unwrap_or_else(|| panic!("no tag: {answer:?}")).to_owned()
}

fn matching(tag: &str) -> String {
    format!("If-Match: {tag}\r\n")
}

#[test]
fn a_command_that_comes_between_the_look_and_the_change_is_noticed() {
    let house = house("");
    let token = house.whole();
    let whom = json!({ "address": "ann@b.example" });
    let search = |what: &str| house.call(&token, &format!("POST /v1/{what}/search"), Some(&whom));
    let with = |line: &str, tag: &str, body: &Value| call(house.api, &token, line, &matching(tag), Some(body));
    let run = |words: &[&str]| {
        let done = house.gateway.run(words);
        assert!(done.status.success(), "{done:?}");
    };
    let nothing = tag(&search("suppressions"));
    run(&["suppress", "add", "ann@b.example", "--scope", "list:acme/monthly", "--reason", "unsubscribe"]);
    let refused = with("PUT /v1/suppressions", &nothing, &opt_out("ann@b.example"));
    let one = search("suppressions");
    assert_eq!((refused.status, tag(&refused)), (412, tag(&one)), "and says which state is the present one");
    assert_eq!(search("suppressions").body, one.body, "nothing was recorded");
    assert_eq!(with("PUT /v1/suppressions", &tag(&one), &opt_out("ann@b.example")).status, 201);
    let two = tag(&search("suppressions"));
    run(&["suppress", "remove", "ann@b.example", "--scope", "list:acme/weekly"]);
    assert_eq!(with("POST /v1/suppressions/remove", &two, &whom).status, 412);
    assert_eq!(search("suppressions").body, one.body, "nothing went");
    assert_eq!(with("POST /v1/suppressions/remove", &tag(&one), &whom).status, 200);
    let unknown = tag(&search("consents"));
    let yes = ["--controller", "acme", "--purpose", "marketing", "--basis", "opt_in", "--evidence", "form 1"];
    run(&[&["consent", "set", "ann@b.example"][..], &yes].concat());
    assert_eq!(with("PUT /v1/consents", &unknown, &consent("ann@b.example")).status, 412);
    let known = search("consents");
    assert_eq!(value(&known)["history"].as_array().unwrap().len(), 1);
    assert_eq!(with("PUT /v1/consents", &tag(&known), &consent("ann@b.example")).status, 201);
}

#[test]
fn a_condition_is_read_as_it_stands_and_never_left_out() {
    let house = house("");
    let token = house.whole();
    let put = |fields: &str| call(house.api, &token, "PUT /v1/suppressions", fields, Some(&opt_out("ann@b.example")));
    let whom = json!({ "address": "ann@b.example" });
    let present = || tag(&house.call(&token, "POST /v1/suppressions/search", Some(&whom)));
    let now = present();
    let other = format!("\"{}\"", "0".repeat(32));
    for fields in [
        matching(&other),
        matching(&format!("W/{now}")),
        matching(now.trim_matches('"')),
        matching("ann"),
        matching("\"\""),
        matching(""),
        matching("\u{e9}"),
        matching(&tag(&house.call(&token, "POST /v1/consents/search", Some(&whom)))),
        matching(&tag(&house.call(
            &token,
            "POST /v1/suppressions/search",
            Some(&json!({ "address": "bob@b.example" })),
        ))),
    ] {
        assert_eq!(put(&fields).status, 412, "{fields}");
    }
    assert_eq!(present(), now, "nothing was recorded");
    assert_eq!(put(&matching(&format!("{other} , {now}"))).status, 201, "one of several");
    assert_eq!(put(&(matching(&other) + &matching(&present()))).status, 200, "on several lines");
    assert_eq!(put(&matching("*")).status, 200, "any state");
    assert_eq!(put("").status, 200);
}

#[test]
fn what_was_changed_stands_in_the_trail_in_the_order_of_its_changes() {
    let house = house("requests_per_second = 100000\n");
    let token = house.whole();
    let (api, secret) = (house.api, token.as_str());
    let says = |writer: usize, step: usize| {
        let mut said = consent("ann@b.example");
        said["purpose"] = format!("list:l{writer}-{step}").into();
        said
    };
    std::thread::scope(|scope| {
        for writer in 0..8 {
            scope.spawn(move || {
                for step in 0..STEPS {
                    let said = call(api, secret, "PUT /v1/consents", "", Some(&says(writer, step)));
                    assert_eq!(said.status, 201, "{said:?}");
                }
            });
        }
    });
    let known = value(&house.call(&token, "POST /v1/consents/search", Some(&json!({ "address": "ann@b.example" }))));
    let purpose = |event: &Value| event["consent"]["purpose"].as_str().map(|purpose| format!("opt_in for {purpose}"));
    let made: Vec<_> = known["history"].as_array().unwrap().iter().filter_map(purpose).collect();
    assert_eq!(made.len(), 8 * STEPS);
    let kept = eventually("every event", || {
        let all = house.gateway.events("ConsentAdded");
        let said = |event: &Value| event["evidence"].as_str().filter(|said| said.contains(" for ")).map(str::to_owned);
        let kept: Vec<_> = all.iter().filter_map(said).collect();
        (kept.len() == made.len()).then_some(kept)
    });
    assert_eq!(kept, made);
}

/// A gateway of a fleet with its programs' door open, and the secret of a token.
fn gateway(
    folder: &std::path::Path,
    redis: u16,
    upstream: SocketAddr,
    first: Option<&std::path::Path>,
) -> (Gateway, SocketAddr, String) {
    let api = free_port();
    let mut spec = spec_at(upstream, redis);
    spec.more = format!("{}[api]\nlisten = \"{api}\"\nrequests_per_second = 100000\n", spec.more);
    prepare(folder, &spec, first);
    let gateway = Gateway::restart_there(folder);
    eventually("the programs' door", || std::net::TcpStream::connect(api).ok());
    let rights = ALL.iter().flat_map(|right| ["--right", right]);
    let words: Vec<_> = ["token", "add", "whole"].into_iter().chain(rights).collect();
    let made = gateway.run(&words);
    assert!(made.status.success(), "{made:?}");
    (gateway, api, String::from_utf8(made.stdout).unwrap().trim().to_owned())
}

/// Records one consent behind the last, `STEPS` times, as whoever reads, changes and tries again does.
fn count_on(api: SocketAddr, token: &str) -> usize {
    let mut behind = 0;
    for _ in 0..STEPS {
        loop {
            let known = call(api, token, "POST /v1/consents/search", "", Some(&json!({ "address": "ann@b.example" })));
            if known.status == 503 {
                // Somebody's record was on its way.
                continue;
            }
            let mut next = consent("ann@b.example");
            for what in ["class", "country"] {
                next.as_object_mut().unwrap().remove(what);
            }
            next["evidence"] = value(&known)["history"].as_array().unwrap().len().to_string().into();
            match call(api, token, "PUT /v1/consents", &matching(&tag(&known)), Some(&next)).status {
                201 => break,
                412 => behind += 1,
                status => panic!("{status}"),
            }
        }
    }
    behind
}

#[test]
fn two_gateways_of_a_fleet_lose_no_update_and_refuse_what_they_cannot_compare() {
    let (mut redis, upstream) =
        (RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]), Upstream::start());
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, api_one, token_one) = gateway(first.path(), redis.port, upstream.address, None);
    let (two, api_two, token_two) = gateway(second.path(), redis.port, upstream.address, Some(first.path()));
    let behind: usize = std::thread::scope(|scope| {
        let doors = [(api_one, &token_one), (api_two, &token_two), (api_one, &token_one), (api_two, &token_two)];
        let counting = doors.map(|(api, token)| scope.spawn(move || count_on(api, token)));
        counting.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    println!("{} steps were counted at two gateways, and {behind} tries came second", 4 * STEPS);
    let whom = json!({ "address": "ann@b.example" });
    let known = value(&call(api_one, &token_one, "POST /v1/consents/search", "", Some(&whom)));
    let evidence = |event: &Value| event["consent"]["evidence"].as_str().unwrap().to_owned();
    let numbers: Vec<_> = known["history"].as_array().unwrap().iter().map(evidence).collect();
    assert_eq!(numbers, (0..4 * STEPS).map(|number| number.to_string()).collect::<Vec<_>>());
    let search = |api, token: &str| call(api, token, "POST /v1/suppressions/search", "", Some(&whom));
    let nothing = tag(&search(api_one, &token_one));
    assert_eq!(nothing, tag(&search(api_two, &token_two)), "one state has one tag at every gateway");
    redis.kill();
    let refused =
        call(api_one, &token_one, "PUT /v1/suppressions", &matching(&nothing), Some(&opt_out("ann@b.example")));
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("10")), "{refused:?}");
    let other = json!({ "address": "ann@b.example", "scope": "controller:acme" });
    assert_eq!(call(api_two, &token_two, "PUT /v1/suppressions", "", Some(&other)).status, 201, "a plain no is taken");
    redis.start_again();
    for (api, token) in [(api_one, &token_one), (api_two, &token_two)] {
        eventually("the plain opt-out, and it alone", || {
            let found = search(api, token);
            (found.status == 200 && value(&found)["entries"].as_array().unwrap().len() == 1).then_some(())
        });
        let stale = call(api, token, "POST /v1/suppressions/remove", &matching(&nothing), Some(&whom));
        assert_eq!(stale.status, 412);
    }
    drop((one, two));
}
