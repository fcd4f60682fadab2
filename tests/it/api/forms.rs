//! What the pages tell people to write: the handlers of a form, and the calls of the API's own page.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
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
        .stderr(std::fs::File::create(complaints(folder, language)).unwrap())
        .spawn()
        .unwrap();
    eventually("the form's server", || std::net::TcpStream::connect(at).ok());
    (Handler(child), at)
}

/// Where a handler complains.
fn complaints(folder: &Path, language: &str) -> PathBuf {
    folder.join(format!("{language}.log"))
}

/// The path of the link in the letter that came to somebody.
fn link(house: &House, to: &str) -> String {
    let letter =
        eventually("the letter", || house.upstream.received().iter().find(|letter| letter.to == [to]).cloned());
    let parsed = mail_parser::MessageParser::default().parse(&letter.content).unwrap();
    let text = parsed.body_text(0).unwrap().into_owned();
    assert!(text.contains("This address was entered"), "the form's language: {text}");
    text.lines().find_map(|line| line.strip_prefix("https://u.test.example")).unwrap().trim().to_owned()
}

#[test]
fn a_form_in_three_languages_signs_people_up_by_their_own_mailbox() {
    let house = house(SENDER);
    let (token, whole) = (house.token("website", Some("acme"), &["consents:write"]), house.whole());
    let folder = tempfile::tempdir().unwrap();
    for language in ["python", "php", "js"] {
        let (_handler, at) = serve(&house, &token, language, folder.path());
        let fields = format!("{FORM}Connection: close\r\n");
        let unticked = http::request(at, "POST /sign-up", &fields, &format!("email=no-{language}%40b.example"));
        let shown = http::request(at, "POST /sign-up", &fields, &format!("email={language}%40b.example&offers=yes"));
        assert_eq!((shown.status, &shown.body), (unticked.status, &unticked.body), "nobody learns who is on a list");
        assert!(shown.body.contains("look into your mailbox"), "{language}: {shown:?}");
        let to = format!("{language}@b.example");
        let link = link(&house, &to);
        let known = || value(&house.call(&whole, "POST /v1/consents/search", Some(&json!({ "address": to }))));
        assert_eq!(known()["history"], json!([]), "{language}: nothing was agreed to yet");
        let complained = || std::fs::read_to_string(complaints(folder.path(), language)).unwrap();
        assert!(!complained().contains("was not taken"), "{language}: {}", complained());
        assert_eq!(http::request(house.gateway.http, &format!("POST {link}"), FORM, "do=confirm").status, 200);
        let consent = known()["consents"][0].clone();
        let proven =
            ["basis", "standing", "notice", "source", "ip"].map(|name| consent[name].as_str().unwrap_or("none"));
        let expected = ["double_opt_in", "proven", "offers-v1", "https://acme.example/sign-up", "127.0.0.1"];
        assert_eq!((proven, &consent["counts"]), (expected, &json!(true)), "{language}: {consent}");
        // What is no address, or no field, is answered by the same page, and the operator of the site reads why.
        for wrong in ["email=nobody&offers=yes", "offers=yes"] {
            let refused = http::request(at, "POST /sign-up", &fields, wrong);
            assert_eq!((refused.status, &refused.body), (shown.status, &shown.body), "{language}: {wrong}");
        }
        eventually("its complaint", || complained().contains("was not taken").then_some(()));
    }
    let letters: Vec<_> = house.upstream.received().iter().flat_map(|letter| letter.to.clone()).collect();
    assert!(letters.iter().all(|to| !to.starts_with("no-")), "who ticked nothing is not asked: {letters:?}");
}

#[test]
fn a_form_whose_gateway_is_away_shows_the_same_page() {
    let mut house = house(SENDER);
    let token = house.token("website", Some("acme"), &["consents:write"]);
    let folder = tempfile::tempdir().unwrap();
    // Nobody answers there.
    house.api = free_port();
    // They try again for a while: all three at the same time.
    std::thread::scope(|scope| {
        for language in ["python", "php", "js"] {
            let (house, token, folder) = (&house, &token, folder.path());
            scope.spawn(move || {
                let (_handler, at) = serve(house, token, language, folder);
                let fields = format!("{FORM}Connection: close\r\n");
                let shown = http::request(at, "POST /sign-up", &fields, "email=ann%40b.example&offers=yes");
                assert_eq!((shown.status, shown.body.trim()), (200, "Please look into your mailbox."), "{language}");
                let complaint = || std::fs::read_to_string(complaints(folder, language)).unwrap();
                eventually("its complaint", || complaint().contains("was not taken").then_some(()));
            });
        }
    });
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
