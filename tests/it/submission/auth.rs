//! AU-01 to AU-08 and RL-03: who may send, and how it is proven.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{SESAME, SHOP, from, reconfigured, rewrite, secured, strangers};
use crate::support::client::{GATEWAY, Tls};
use crate::support::gateway::command;
use crate::support::{Authority, Client, Gateway, Upstream, eventually};

/// A gateway behind a proxy on loopback, so that clients come from anywhere.
const BEHIND: &str = "proxy_protocol_from = [\"127.0.0.1\"]";
const REFUSED: &str = "535 5.7.8 authentication failed";

struct Scene {
    gateway: Gateway,
    tls: SocketAddr,
    upstream: Upstream,
    authority: Authority,
    folder: tempfile::TempDir,
}

/// With the credential `shop` and its token.
fn scene(more: &str) -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, authority) = (Upstream::start(), Authority::new(folder.path()));
    let (gateway, tls) = secured(folder.path(), &upstream, &authority, more);
    Scene { gateway, tls, upstream, authority, folder }
}

impl Scene {
    fn under_tls(&self) -> Client<Tls> {
        Client::connect_tls(self.tls, &self.authority.trust())
    }
}

/// What `consentry keygen password` prints for a password.
fn keygen(folder: &Path, password: &str, arguments: &[&str]) -> String {
    let mut child = command(folder)
        .args(["keygen", "password"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

fn credential(name: &str, proof: &str) -> String {
    format!("[[credential]]\nname = \"{name}\"\nstream = \"receipts\"\n{proof}\n")
}

#[test]
fn au_01_and_02_passwords_are_not_asked_for_in_clear_and_not_looked_at() {
    let scene = scene(BEHIND);
    let mut stranger = from("198.51.100.7", scene.gateway.smtp);
    assert!(!stranger.ask("EHLO x").iter().any(|line| line.contains("AUTH")));
    for login in [SHOP, "AUTH PLAIN AHUAcA==", "AUTH LOGIN", "AUTH SCRAM-SHA-256 biws"] {
        assert_eq!(stranger.say(login), "538 5.7.11 authentication is not offered on this connection");
    }
    assert_eq!(stranger.say("MAIL FROM:<a@acme.example>"), "530 5.7.0 authentication required");
    let mut secure = stranger.start_tls(&scene.authority.trust());
    assert!(secure.ask("EHLO x").contains(&"250-AUTH PLAIN LOGIN".to_owned()));
    assert!(secure.say(SHOP).starts_with("235"));
    assert!(secure.say("MAIL FROM:<a@acme.example>").starts_with("250"));
}

#[test]
fn au_02_no_log_shows_a_password_however_it_came() {
    let mut scene = scene("");
    assert_eq!(scene.gateway.stop(), Some(0));
    let log = std::fs::File::create(scene.folder.path().join("log")).unwrap();
    let mut child = command(scene.folder.path())
        .arg("serve")
        .env("CONSENTRY_LOG", "trace")
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    eventually("the gateway", || std::net::TcpStream::connect(scene.gateway.smtp).ok());
    // `\0shop\0canary-42`, right and wrong, whole and in pieces, in clear and under TLS.
    let mut clear = Client::connect(scene.gateway.smtp);
    let mut secure = scene.under_tls();
    for line in ["AUTH PLAIN AHNob3AAY2FuYXJ5LTQy", "AUTH LOGIN c2hvcA==", "Y2FuYXJ5LTQy", "AUTH PLAIN", "canary-42"] {
        let refused = |said: String| said.starts_with(['3', '4', '5']);
        assert!(refused(clear.say(line)) && refused(secure.say(line)), "{line}");
    }
    let stopped = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(stopped.success() && child.wait().unwrap().success());
    let said = std::fs::read_to_string(scene.folder.path().join("log")).unwrap();
    assert!(said.contains("ready"), "{said}");
    for secret in ["canary", "Y2FuYXJ5LTQy", "AHNob3A"] {
        assert!(!said.contains(secret), "{secret}");
    }
}

#[test]
fn au_03_what_is_no_login_is_refused_by_its_kind() {
    let scene = scene("");
    let mut client = scene.under_tls();
    let long = format!("AUTH PLAIN {}", "A".repeat(20_000));
    for (line, expected) in [
        ("AUTH PLAIN dXNlckB0ZXN0c2VydmVyAHlalala==", "501 5.5.2"),
        ("AUTH PLAIN AHNob3AAcAB4", "501 5.5.2"),
        ("AUTH FOO", "504 5.5.4"),
        ("AUTH SCRAM-SHA-256 biws", "504 5.5.4"),
        ("AUTH", "501 5.5.4"),
        ("AUTH PLAIN", "334"),
        ("*", "501 5.7.0"),
    ] {
        assert!(client.say(line).starts_with(expected), "{line}");
    }
    assert!(client.say(SHOP).starts_with("235"));
    assert_eq!(client.say(SHOP), "503 5.5.1 AUTH is not permitted now");
    let mut client = scene.under_tls();
    assert!(client.say("MAIL FROM:<a@acme.example>").starts_with("250"));
    assert_eq!(client.say(SHOP), "503 5.5.1 AUTH is not permitted now");
    assert!(scene.under_tls().say(&long).starts_with("500 5.5.2 line too long"));
}

#[test]
fn au_04_guessing_costs_time_and_keeps_nobody_else_out() {
    let scene = scene(&format!("{BEHIND}\nauth_without_tls = true"));
    let mut guesser = from("198.51.100.7", scene.gateway.smtp);
    for _ in 0..2 {
        assert_eq!(guesser.say("AUTH PLAIN AHNob3AAeA=="), REFUSED);
    }
    assert_eq!(guesser.say("AUTH PLAIN AHNob3AAeA=="), "421 4.7.0 too many failed authentications");
    assert_eq!(guesser.reply(), "", "and the connection is closed");
    let mut again = from("198.51.100.7", scene.gateway.smtp);
    let told = again.say(SHOP);
    assert!(told.starts_with("454 4.7.0 too many failed authentications; try again in "), "{told}");
    assert!(from("198.51.100.8", scene.gateway.smtp).say(SHOP).starts_with("235"), "its owner comes in from elsewhere");
}

#[test]
fn au_05_an_unknown_name_and_a_wrong_password_get_the_same_words() {
    let scene = scene("auth_without_tls = true");
    let hash = keygen(scene.folder.path(), "right one", &[]);
    let gateway = reconfigured(scene.gateway, |text| text + &credential("till", &hash));
    // shop has a token, till a password, nobody nothing; `machine` is known by its address alone.
    for name in ["shop", "till", "nobody", "loopback"] {
        let mut client = Client::connect(gateway.smtp);
        assert!(client.say("AUTH LOGIN").starts_with("334"));
        assert!(client.say(&base64(name)).starts_with("334"), "{name}");
        assert_eq!(client.say(&base64("wrong one")), REFUSED, "{name}");
    }
    let mut client = Client::connect(gateway.smtp);
    assert!(client.say(&format!("AUTH PLAIN {}", base64("\0till\0right one"))).starts_with("235"));
    drop(scene.upstream);
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn au_07_short_long_and_eight_bit_passwords_work() {
    let scene = scene("");
    let passwords = ["x".to_owned(), "pässwörd ☃".to_owned(), "y".repeat(255)];
    let mut more = String::new();
    for (number, password) in passwords.iter().enumerate() {
        more += &credential(&format!("tool-{number}"), &keygen(scene.folder.path(), password, &[]));
    }
    let gateway = reconfigured(scene.gateway, |text| text + &more);
    for (number, password) in passwords.iter().enumerate() {
        let mut client = Client::connect(gateway.smtp);
        let login = base64(&format!("\0tool-{number}\0{password}"));
        assert!(client.say(&format!("AUTH PLAIN {login}")).starts_with("235"), "{password}");
        let mut client = Client::connect(gateway.smtp);
        let login = base64(&format!("\0tool-{number}\0{password}."));
        assert_eq!(client.say(&format!("AUTH PLAIN {login}")), REFUSED, "{password}");
    }
    drop(scene.upstream);
}

#[test]
fn au_08_a_credential_that_is_taken_away_counts_no_more_in_a_session_that_is_open() {
    let scene = scene("");
    let mut open = scene.under_tls();
    assert!(open.say(SHOP).starts_with("235"));
    assert!(open.say("MAIL FROM:<a@acme.example>").starts_with("250") && open.say("RSET").starts_with("250"));
    rewrite(scene.folder.path(), |text| text.replace(SESAME, &"0".repeat(64)).replace("\"shop\"", "\"shop-2\""));
    scene.gateway.signal("HUP");
    eventually("the reload", || {
        let reply = open.say("MAIL FROM:<a@acme.example>");
        let gone = reply == "530 5.7.0 the credential of this session is not known any more";
        assert!(gone || reply.starts_with("250") && open.say("RSET").starts_with("250"), "{reply}");
        gone.then_some(())
    });
}

#[test]
fn rl_03_a_stream_sends_from_its_own_domains_alone() {
    let scene = scene("");
    let gateway = reconfigured(scene.gateway, |text| {
        text.replacen("list = \"weekly\"", "list = \"weekly\"\nmail_from_domains = [\"acme.example\"]", 1)
    });
    let mut client = Client::connect(gateway.smtp);
    let foreign = "553 5.7.1 this stream may not send from that domain";
    for (path, expected) in [
        ("a@acme.example", "250 2.1.0 Ok"),
        ("a@bounce.ACME.example", "250 2.1.0 Ok"),
        ("", "250 2.1.0 Ok"),
        ("a@other.example", foreign),
        ("a@notacme.example", foreign),
        ("a@acme.example.other.example", foreign),
    ] {
        assert_eq!(client.say(&format!("MAIL FROM:<{path}>")), expected, "{path}");
        client.say("RSET");
    }
    drop(scene.upstream);
}

fn python() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python3")
}

fn clients(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(file)
}

#[test]
fn another_implementation_of_scram_logs_in_and_believes_us() {
    let scene = scene("");
    let verifier = keygen(scene.folder.path(), "open sesame", &["--scram"]);
    let gateway =
        reconfigured(scene.gateway, |text| text.replace(&format!("token_sha256 = \"{SESAME}\""), verifier.trim()));
    let login = |user: &str, password: &str| {
        let output = Command::new(python())
            .arg(clients("scram_login.py"))
            .args([&gateway.smtp.ip().to_string(), &gateway.smtp.port().to_string()])
            .arg(scene.folder.path().join("ca.pem"))
            .args([GATEWAY, user, password])
            .output()
            .unwrap();
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    };
    let right = login("shop", "open sesame");
    assert_eq!((&right["code"], &right["offered"]), (&235.into(), &"PLAIN LOGIN SCRAM-SHA-256".into()));
    assert_eq!(login("shop", "open sesam")["code"], 535);
    assert_eq!(login("nobody", "open sesame")["code"], 535);
    // A verifier tells a right password in clear, too.
    assert!(Client::connect(gateway.smtp).say(SHOP).starts_with("235"));
    assert_eq!(Client::connect(gateway.smtp).say("AUTH PLAIN AHNob3AAeA=="), REFUSED);
    drop(scene.upstream);
}

#[test]
fn a_scram_client_that_breaks_off_or_lies_gets_nowhere() {
    let scene = scene("");
    let verifier = keygen(scene.folder.path(), "open sesame", &["--scram"]);
    let gateway =
        reconfigured(scene.gateway, |text| text.replace(&format!("token_sha256 = \"{SESAME}\""), verifier.trim()));
    let mut client = Client::connect(gateway.smtp);
    for (first, expected) in [
        ("p=tls-unique,,n=shop,r=abc", "535 5.7.8"),
        ("n,a=boss,n=shop,r=abc", "535 5.7.8"),
        ("n,,n=,r=abc", "501 5.5.2"),
    ] {
        assert!(client.say(&format!("AUTH SCRAM-SHA-256 {}", base64(first))).starts_with(expected), "{first}");
    }
    assert!(client.say(&format!("AUTH SCRAM-SHA-256 {}", base64("n,,n=shop,r=abc"))).starts_with("334 "));
    assert!(client.say("*").starts_with("501 5.7.0"));
    assert!(client.say("AUTH SCRAM-SHA-256").starts_with("334"));
    let challenge = client.say(&base64("n,,n=shop,r=abc"));
    let (_, challenge) = challenge.split_once(' ').unwrap();
    let challenge =
        String::from_utf8(base64::Engine::decode(&base64::engine::general_purpose::STANDARD, challenge).unwrap());
    let nonce = challenge.unwrap().split_once(',').unwrap().0.to_owned();
    let lie = format!("c=biws,{nonce},p={}", base64(&"x".repeat(32)));
    assert_eq!(client.say(&base64(&lie)), REFUSED);
    assert_eq!(client.say("MAIL FROM:<a@acme.example>").get(..3), Some("250"), "known by its address, as before");
    drop(scene.upstream);
}

#[test]
fn mail_programs_submit_under_tls_with_each_mechanism() {
    let mut scene = scene("");
    let verifier = keygen(scene.folder.path(), "open sesame", &["--scram"]);
    scene.gateway = reconfigured(scene.gateway, |text| {
        strangers(&text).replace(&format!("token_sha256 = \"{SESAME}\""), verifier.trim())
    });
    let ca = scene.folder.path().join("ca.pem");
    let runs = [
        ("swaks_send.sh", "starttls", "PLAIN"),
        ("swaks_send.sh", "starttls", "LOGIN"),
        ("swaks_send.sh", "implicit", "PLAIN"),
        ("swaks_send.sh", "implicit", "LOGIN"),
        ("msmtp_send.sh", "starttls", "plain"),
        ("msmtp_send.sh", "starttls", "scram-sha-256"),
        ("msmtp_send.sh", "implicit", "login"),
        ("msmtp_send.sh", "implicit", "scram-sha-256"),
    ];
    for (number, (script, tls, mechanism)) in runs.into_iter().enumerate() {
        let address = if tls == "implicit" { scene.tls } else { scene.gateway.smtp };
        let output = Command::new("bash")
            .arg(clients(script))
            .args([&address.ip().to_string(), &address.port().to_string()])
            .args(["news@acme.example", &format!("ann{number}@customer.example")])
            .envs([("SMTP_TLS", tls), ("SMTP_AUTH", mechanism), ("SMTP_HOST", GATEWAY), ("SMTP_USER", "shop")])
            .envs([("SMTP_PASSWORD", "open sesame"), ("SMTP_CA", ca.to_str().unwrap())])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let result: serde_json::Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{output:?}"));
        assert_eq!(result["accepted"], true, "{script} {tls} {mechanism}: {output:?}");
    }
    eventually("every message", || (scene.upstream.received().len() == runs.len()).then_some(()));
    for message in scene.upstream.received().iter() {
        assert!(message.fields("Received")[0].contains(" with ESMTPSA "), "{:?}", message.fields("Received"));
    }
}
