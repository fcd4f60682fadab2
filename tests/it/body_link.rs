//! Links in the body: each recipient gets their own, and nothing else of the message changes.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_auth::DkimResult;

use crate::support::upstream::Received;
use crate::support::{Client, Gateway, Spec, Upstream, eventually, gateway};
use crate::verify::{Records, dkimpy_verdicts, mail_auth_verdicts};
use crate::way_through::request;

const DOMAIN: &str = "sign.test.example";
const RECIPIENTS: [&str; 2] = ["ann@customer.example", "a.much.longer.name@another-customer.example"];
const STREAM: &str = "body_link = \"replace\"\n";

/// Text in 8bit, HTML in quoted-printable with the placeholder broken and partly encoded, HTML in base64, and what
/// must stay as it is.
fn message() -> Vec<u8> {
    let packed =
        STANDARD.encode(format!("{}<a href=\"%unsubscribe_url%\">Adieu</a>{}", "é".repeat(90), "z".repeat(50)));
    let lines: Vec<_> = packed.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!(
        "From: News <news@acme.example>\r\nTo: ann@customer.example\r\nSubject: hello\r\nMIME-Version: 1.0\r\n\
         DKIM-Signature: v=1; a=rsa-sha256; d=tool.example; s=x; h=from; bh=AAAA; b=BBBB\r\n\
         Content-Type: multipart/mixed; boundary=\"outer\"\r\n\r\npreamble {{{{unsubscribe_url}}}}\r\n\
         --outer\r\nContent-Type: multipart/alternative; boundary=inner\r\n\r\n\
         --inner\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
         Caf\u{e9} \u{2014} se d\u{e9}sinscrire : <%asm_group_unsubscribe_raw_url%>.\r\n.dot\r\n\r\n\
         --inner\r\nContent-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
         <p>caf=E9 =\r\nau lait</p>\r\n<a href=3D\"=7B=7Bunsub=\r\nscribe_url}}}}\">Se d=E9sabonner</a> {{{{{{ pm:unsubscribe }}}}}}=\r\n\
         <br>\r\nlast =\r\n--inner\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n\
         --inner--\r\n\
         --outer\r\nContent-Type: text/plain; name=x.txt\r\nContent-Disposition: attachment\r\n\r\n{{{{unsubscribe_url}}}}\r\n\
         --outer--\r\nepilogue {{{{unsubscribe_url}}}}\r\n",
        lines.join("\r\n")
    )
    .into_bytes()
}

fn signing(folder: &Path) -> (String, Records) {
    let mut records = Records::default();
    let file = folder.join("key.pem");
    let arguments = ["keygen", "dkim", "--domain", DOMAIN, "--selector", "s", "--out", file.to_str().unwrap()];
    let made = gateway::command(folder).args(arguments).output().unwrap();
    records.add(&String::from_utf8(made.stdout).unwrap());
    (format!("[[dkim]]\nname = \"k\"\ndomain = \"{DOMAIN}\"\nselector = \"s\"\nkey_file = \"key.pem\"\n"), records)
}

fn link(message: &Received) -> String {
    let field = message.fields("List-Unsubscribe").remove(0);
    field.split_once('<').unwrap().1.split_once('>').unwrap().0.to_owned()
}

fn python(script: &str, files: &[&Path]) -> (bool, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("python3").arg(root.join("tests/clients").join(script)).args(files).output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn two_recipients_get_two_links_that_work_and_nothing_else_changes() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let (dkim, records) = signing(folder.path());
    let records_file = folder.path().join("records.json");
    records.write(&records_file);
    let mut spec = Spec::new(upstream.address);
    spec.more = dkim;
    spec.stream = format!("{STREAM}dkim = [\"k\"]\n");
    let gateway = Gateway::start(folder.path(), &spec);
    let sent = message();
    let sent_file = folder.path().join("sent.eml");
    std::fs::write(&sent_file, &sent).unwrap();
    let (_, end) = Client::connect(gateway.smtp).message("b@acme.example", &RECIPIENTS, &sent);
    assert!(end.as_deref().unwrap().starts_with("250"), "{end:?}");
    eventually("both deliveries", || (upstream.received().len() == 2).then_some(()));
    let received = upstream.received().clone();
    let links: Vec<_> = received.iter().map(link).collect();
    assert_ne!(links[0], links[1]);
    for (copy, own) in received.iter().zip(&links) {
        assert_eq!(copy.to.len(), 1);
        let file = folder.path().join("received.eml");
        std::fs::write(&file, &copy.content).unwrap();
        let (right, said) = python("body_link_check.py", &[&sent_file, &file]);
        assert!(right && said.contains("4 replaced"), "{said}");
        let body = String::from_utf8_lossy(copy.split().1).into_owned();
        assert_eq!(body.matches("{{unsubscribe_url}}").count(), 3, "preamble, attachment and epilogue stay: {body}");
        for kept in ["caf=E9 =\r\nau lait</p>\r\n<a href=3D\"", "=\r\n<br>\r\nlast =\r\n--inner", ".dot\r\n\r\n--inner"]
        {
            assert!(body.contains(kept), "{kept:?} in {body}");
        }
        let other = links.iter().find(|link| *link != own).unwrap();
        let joined = body.replace("=\r\n", "");
        assert!(joined.contains(own) && !joined.contains(other.as_str()));
        assert_eq!(dkimpy_verdicts(&records_file, &file, DOMAIN), [true]);
        assert_eq!(mail_auth_verdicts(&copy.content, &records, DOMAIN), [DkimResult::Pass]);
        assert_eq!(copy.fields("DKIM-Signature").len(), 1, "the tool's own signature no longer holds");
        let path = own.strip_prefix("https://u.test.example").unwrap();
        assert!(request(gateway.http, &format!("GET {path} HTTP/1.1"), "").starts_with("HTTP/1.1 200"), "{path}");
    }
}

#[test]
fn copies_with_bodies_of_their_own_survive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let mut spec = Spec::new(closed);
    spec.stream = STREAM.to_owned();
    let mut gateway = Gateway::start(folder.path(), &spec);
    let sent = message();
    let sent_file = folder.path().join("sent.eml");
    std::fs::write(&sent_file, &sent).unwrap();
    assert!(Client::connect(gateway.smtp).message("b@acme.example", &RECIPIENTS, &sent).1.unwrap().starts_with("250"));
    gateway.kill();
    let upstream = Upstream::start_on(closed, std::time::Duration::ZERO);
    let _gateway = Gateway::restart(folder.path(), gateway.smtp, gateway.http);
    eventually("both deliveries", || (upstream.received().len() == 2).then_some(()));
    for copy in upstream.received().iter() {
        let file = folder.path().join("received.eml");
        std::fs::write(&file, &copy.content).unwrap();
        let (right, said) = python("body_link_check.py", &[&sent_file, &file]);
        assert!(right, "{said}");
    }
}

#[test]
fn what_cannot_have_links_is_refused_and_what_asks_for_none_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let mut spec = Spec::new(upstream.address);
    spec.stream = STREAM.to_owned();
    let gateway = Gateway::start(folder.path(), &spec);
    let head = "From: a@acme.example\r\nSubject: x\r\n\r\n";
    let mut client = Client::connect(gateway.smtp);
    let mut says =
        |to: &[&str], body: &str| client.message("b@acme.example", to, format!("{head}{body}").as_bytes()).1.unwrap();
    let ann = &RECIPIENTS[..1];
    let long_line = format!("{}{{{{unsubscribe_url}}}}\r\n", "x".repeat(900));
    assert!(says(ann, &long_line).starts_with("550 5.6.0 with its unsubscribe link a line"));
    assert!(says(ann, &"%unsubscribe_url%\r\n".repeat(65)).starts_with("550 5.6.0 more than 64 placeholders"));
    let fill = |octets: usize| format!("{}\r\n", "y".repeat(98)).repeat(octets / 100);
    let large = format!("{{{{unsubscribe_url}}}}\r\n{}", fill(1_048_600));
    assert!(says(ann, &large).starts_with("552 5.3.4 unsubscribe placeholders in a body longer"));
    let exactly = |octets: usize| {
        let text = format!("{{{{unsubscribe_url}}}}\r\n{}", fill(1_048_000));
        format!("{text}{}\r\n", "z".repeat(octets - text.len() - 2))
    };
    assert!(says(ann, &exactly(1024 * 1024)).starts_with("250"));
    assert!(says(ann, &exactly(1024 * 1024 + 1)).starts_with("552 5.3.4"));
    let late = format!("{}{{{{unsubscribe_url}}}}\r\n", fill(1_000_000));
    let many: Vec<_> = (0..17).map(|n| format!("r{n}@customer.example")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert!(says(&many, &late).starts_with("552 5.3.4 the recipients' own bodies"));
    assert!(says(&many[..16], &late).starts_with("250"), "within the bound, though the body came through a file");
    assert!(says(ann, &fill(2_000_000)).starts_with("250"), "large and without placeholders");
    assert!(says(&many[..2], "{unsubscribe_url}\r\n").starts_with("250"));
    eventually("the deliveries", || (upstream.received().len() == 20).then_some(()));
    for copy in upstream.received().iter() {
        let body = String::from_utf8_lossy(copy.split().1).into_owned();
        let own = body.contains(&link(copy));
        assert!(own || body == fill(2_000_000) || body == "{unsubscribe_url}\r\n", "{}", copy.to[0]);
        assert!(!body.contains("{{"));
    }
}

#[test]
fn a_placeholder_is_a_visible_way_out_only_where_it_is_replaced() {
    for (choice, expected) in [("replace", "250"), ("off", "550")] {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Upstream::start();
        let mut spec = Spec::new(upstream.address);
        spec.stream = format!(
            "body_link = \"{choice}\"\nestablishment = \"FR\"\ndefault_country = \"FR\"\nbrand = \"Acier SA\"\npostal_address = \"1 rue X, Paris\"\n"
        );
        let gateway = Gateway::start(folder.path(), &spec);
        let consent = ["consent", "set", RECIPIENTS[0], "--controller", "acme", "--purpose", "marketing"];
        let more = ["--basis", "opt_in", "--evidence", "form 17", "--collected-at", "2026-03-01"];
        assert!(gateway.run(&[&consent[..], &more].concat()).status.success());
        let offer = b"From: Acier SA <news@acier.example>\r\nSubject: Une offre\r\n\r\nAcier SA, 1 rue X, Paris. {{unsubscribe_url}}\r\n";
        let (_, end) = Client::connect(gateway.smtp).message("b@acier.example", &RECIPIENTS[..1], offer);
        assert!(end.as_deref().unwrap().starts_with(expected), "{choice}: {end:?}");
    }
}
