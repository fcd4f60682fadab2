//! `consentry doctor`: a door that works, and everything that stands in the way of one.

use std::process::Output;

use serde_json::Value;

use crate::support::front::{Behind, Certificate, Front};
use crate::support::gateway::command;
use crate::support::{Gateway, Spec, Upstream};

const HOST: &str = "u.test.example";

fn visit(folder: &std::path::Path, front: &Front, more: &[&str]) -> Output {
    let address = front.address.to_string();
    let authority = front.authority.to_str().unwrap();
    command(folder).args(["doctor", "--connect", &address, "--ca", authority]).args(more).output().unwrap()
}

/// Verdict and reason of each check.
fn checks(output: &Output) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let lines = String::from_utf8(output.stdout.clone()).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| (text(&line["verdict"]), text(&line["why"]))).collect()
}

#[test]
fn a_door_that_works_is_right_and_nobody_is_unsubscribed() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    let front = Front::start(folder.path(), HOST, Certificate::Right, Behind::Gateway(gateway.http));
    let listed = || String::from_utf8(gateway.run(&["suppress", "list"]).stdout).unwrap();
    let before = listed();
    let careful = visit(folder.path(), &front, &["--json", "--read-only"]);
    assert_eq!(careful.status.code(), Some(0), "{careful:?}");
    assert!(checks(&careful).iter().all(|(verdict, _)| verdict == "right"), "{careful:?}");
    assert!(checks(&careful)[1].1.contains("the store was not seen at work"));
    assert_eq!(listed(), before, "nothing is recorded when it is asked to be careful");
    for _ in 0..2 {
        let output = visit(folder.path(), &front, &["--json"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let found = checks(&output);
        assert!(found.len() == 4 && found.iter().all(|(verdict, _)| verdict == "right"), "{found:?}");
        assert_eq!(found[1].1, "", "the POST was answered 200");
    }
    let after = listed();
    let new: Vec<_> = after.lines().filter(|line| !before.contains(line)).collect();
    assert!(new.len() == 1 && new[0].contains("consentry-doctor@probe.invalid"), "{after}");
    let shown = String::from_utf8(visit(folder.path(), &front, &[]).stdout).unwrap();
    assert!(shown.starts_with("right  GET the doctor's link ("), "{shown}");
}

#[test]
fn without_a_daemon_the_rest_is_still_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let mut gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    assert_eq!(gateway.stop(), Some(0));
    let front = Front::start(folder.path(), HOST, Certificate::Right, Behind::Silence);
    let output = visit(folder.path(), &front, &["--json", "--timeout", "1"]);
    assert_eq!(output.status.code(), Some(1));
    let found = checks(&output);
    assert!(found[..2].iter().all(|(verdict, why)| verdict == "wrong" && why.contains("within 1 s")), "{found:?}");
    assert_eq!(found[3], ("look".to_owned(), "none is running here".to_owned()));
}

#[test]
fn a_certificate_that_is_not_believed_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("consentry.toml"), CONFIG).unwrap();
    for (certificate, words) in [
        (Certificate::OtherName, "not that of u.test.example"),
        (Certificate::Expired, "has expired"),
        (Certificate::SelfSigned, "does not lead to an authority"),
    ] {
        let front = Front::start(folder.path(), HOST, certificate, Behind::Silence);
        let output = visit(folder.path(), &front, &["--json"]);
        assert_eq!(output.status.code(), Some(1));
        let found = checks(&output);
        assert!(
            found[..2].iter().all(|(verdict, why)| verdict == "wrong" && why.contains(words)),
            "{words}: {found:?}"
        );
    }
    assert!(!folder.path().join("token.keys").exists(), "looking makes no keys");
}

const CONFIG: &str = "version = \"v1\"\n[gateway]\nhostname = \"gate.test.example\"\ndata_dir = \".\"\n\
    [http]\npublic_url = \"https://u.test.example\"\nmailto = \"u@u.test.example\"\n[upstream]\nhost = \"127.0.0.1\"\n\
    [[stream]]\nname = \"news\"\ncontroller = \"acme\"\nclass = \"marketing\"\n\
    [[credential]]\nname = \"tool\"\nstream = \"news\"\naddresses = [\"127.0.0.1\"]\n";

#[test]
fn what_stands_in_front_of_the_door_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("consentry.toml"), CONFIG).unwrap();
    let key = format!("1 {}\n", "ab".repeat(32));
    std::fs::write(folder.path().join("token.keys"), key).unwrap();
    let answer = |status: &str, fields: &str| {
        format!("HTTP/1.1 {status}\r\n{fields}Content-Length: 0\r\nConnection: close\r\n\r\n")
    };
    let private = "Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n";
    for (words, verdicts, why) in [
        (answer("200 OK", private), ["right", "right"], ""),
        (
            answer("302 Found", "Location: https://login.example/\r\n"),
            ["wrong", "wrong"],
            "302 Found to https://login.example/",
        ),
        (answer("200 OK", &format!("{private}Set-Cookie: a=b\r\n")), ["wrong", "wrong"], "a cookie was set"),
        (answer("500 Internal Server Error", ""), ["wrong", "wrong"], "failed"),
        (answer("403 Forbidden", ""), ["wrong", "wrong"], "asks for more than the link"),
        (answer("404 Not Found", ""), ["wrong", "wrong"], "other token keys"),
        (answer("200 OK", ""), ["look", "right"], "not marked no-store"),
        ("SSH-2.0-x\r\n".to_owned(), ["wrong", "wrong"], "not an answer in HTTP"),
        (String::new(), ["wrong", "wrong"], "not an answer in HTTP"),
    ] {
        let front = Front::start(folder.path(), HOST, Certificate::Right, Behind::Words(words.clone()));
        let output = visit(folder.path(), &front, &["--json"]);
        let found = checks(&output);
        assert_eq!(found[..2].iter().map(|(verdict, _)| verdict.as_str()).collect::<Vec<_>>(), verdicts, "{words}");
        assert!(found[0].1.contains(why), "{words}: {found:?}");
        assert_eq!(output.status.code(), Some(i32::from(verdicts.contains(&"wrong"))), "{words}");
    }
}
