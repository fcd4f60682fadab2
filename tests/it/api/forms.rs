//! What the pages tell people to write: the handlers of a form, and the calls of the API's own page.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::{House, house, value};
use crate::support::eventually;
use crate::support::gateway::free_port;
use crate::support::http::{self, FORM};

const SENDER: &str = "[[sender]]\ncontroller = \"acme\"\nname = \"Acme\"\nfrom = \"news@acme.example\"\n";

/// The blocks of a page in one language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/howto").join(page);
    let text = std::fs::read_to_string(path).unwrap();
    let open = format!("```{language}\n");
    text.split(&open).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// A server that ends with the test.
struct Handler(Child);

impl Drop for Handler {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn serve(house: &House, token: &str, language: &str, folder: &Path) -> (Handler, SocketAddr) {
    let at = free_port();
    let [text] = blocks("sign-up-form.md", language).try_into().unwrap();
    let script = folder.join(format!("form.{language}"));
    std::fs::write(&script, text).unwrap();
    let mut program = match language {
        "python" => Command::new("python3"),
        "js" => Command::new("node"),
        _ => {
            let mut php = Command::new("php");
            php.args(["-S", &at.to_string()]);
            php
        }
    };
    let child = program
        .arg(&script)
        .env("CONSENTRY_API", format!("http://{}", house.api))
        .env("CONSENTRY_TOKEN", token)
        .env("PORT", at.port().to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the form's server", || std::net::TcpStream::connect(at).ok());
    (Handler(child), at)
}

#[test]
fn a_form_in_three_languages_signs_people_up_by_their_own_mailbox() {
    let house = house(SENDER);
    let token = house.token("website", Some("acme"), &["consents:write"]);
    let folder = tempfile::tempdir().unwrap();
    for language in ["python", "php", "js"] {
        let (_handler, at) = serve(&house, &token, language, folder.path());
        let fields = format!("{FORM}Connection: close\r\n");
        let unticked = http::request(at, "POST /sign-up", &fields, &format!("email=no-{language}%40b.example"));
        let shown = http::request(at, "POST /sign-up", &fields, &format!("email={language}%40b.example&offers=yes"));
        assert_eq!((shown.status, &shown.body), (unticked.status, &unticked.body), "nobody learns who is on a list");
        assert!(shown.body.contains("look into your mailbox"), "{language}: {shown:?}");
        let to = format!("{language}@b.example");
        eventually("the letter", || {
            house.upstream.received().iter().any(|letter| letter.to == [to.clone()]).then_some(())
        });
    }
    let letters: Vec<_> = house.upstream.received().iter().flat_map(|letter| letter.to.clone()).collect();
    assert!(letters.iter().all(|to| !to.starts_with("no-")), "who ticked nothing is not asked: {letters:?}");
}

#[test]
fn the_calls_of_the_page_about_the_api_do_what_it_says() {
    let house = house(SENDER);
    let token = house.whole();
    let calls = blocks("api.md", "sh").pop().unwrap();
    let calls = calls.replace("http://127.0.0.1:8026", &format!("http://{}", house.api)).replace("wait=50", "wait=1");
    let ran = Command::new("bash").args(["-euc", &calls]).env("TOKEN", &token).output().unwrap();
    let said = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    assert!(!said.contains("urn:consentry:problem"), "{said}");
    assert!(said.contains("\"outcome\":\"accepted\"") && said.contains("\"verdict\":\"permit\""), "{said}");
    let ann = value(&house.call(&token, "POST /v1/consents/search", Some(&json!({ "address": "ann@example.org" }))));
    assert_eq!(ann["consents"][0]["basis"], "opt_in");
    let carol = json!({ "address": "carol@example.org" });
    let carol = value(&house.call(&token, "POST /v1/suppressions/search", Some(&carol)));
    assert_eq!(carol["entries"][0]["scope"], "controller:acme");
}
