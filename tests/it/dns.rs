//! `consentry dns`: what must be published, against an authority that publishes it, parts of it, or something else.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::support::gateway::command;
use crate::support::name_server::NameServer;

const CONFIG: &str = "version = \"v1\"\n[gateway]\nhostname = \"gate.example\"\ndata_dir = \".\"\n\
    [http]\npublic_url = \"https://u.example/mail\"\nmailto = \"leave@u.example\"\n[upstream]\nhost = \"smtp.sendgrid.net\"\n\
    [[dkim]]\nname = \"k\"\ndomain = \"acme.example\"\nselector = \"c1\"\nkey_file = \"key.pem\"\n\
    [[stream]]\nname = \"news\"\ncontroller = \"acme\"\nclass = \"marketing\"\nfrom_domains = [\"news.acme.example\"]\ndkim = [\"k\"]\n\
    [[stream]]\nname = \"receipts\"\ncontroller = \"acme\"\nclass = \"transactional\"\nfrom_domains = [\"news.acme.example\"]\ndkim = [\"k\"]\n\
    [[credential]]\nname = \"tool\"\nstream = \"news\"\naddresses = [\"127.0.0.1\"]\n";

/// The text of the key's record, in strings as a zone file has them.
fn configured(folder: &Path) -> String {
    let file = folder.join("key.pem");
    let made = command(folder)
        .args(["keygen", "dkim", "--domain", "acme.example", "--selector", "c1", "--out"])
        .arg(file)
        .output()
        .unwrap();
    std::fs::write(folder.join("consentry.toml"), CONFIG).unwrap();
    let printed = String::from_utf8(made.stdout).unwrap();
    printed.split('"').skip(1).step_by(2).collect::<Vec<_>>().join("|")
}

fn good(key: &str) -> Vec<String> {
    vec![
        format!("c1._domainkey.acme.example TXT {key}"),
        "news.acme.example TXT v=spf1 include:sendgrid.net ~all".to_owned(),
        "news.acme.example TXT some-verification=1".to_owned(),
        "_dmarc.acme.example TXT v=DMARC1; p=reject".to_owned(),
        "u.example MX 10 gate.example".to_owned(),
        "u.example A 192.0.2.1".to_owned(),
        "gate.example A 192.0.2.2".to_owned(),
        "gate.example AAAA 2001:db8::2".to_owned(),
    ]
}

fn ask(folder: &Path, authority: &NameServer, more: &[&str]) -> Output {
    let server = authority.address.to_string();
    command(folder).args(["dns", "--resolver", &server]).args(more).output().unwrap()
}

fn verdicts(output: &Output) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let lines = String::from_utf8(output.stdout.clone()).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| (text(&line["name"]), text(&line["verdict"]))).collect()
}

#[test]
fn what_is_published_as_it_should_be_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let authority = NameServer::start(&good(&configured(folder.path())).join("\n"));
    let output = ask(folder.path(), &authority, &["--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let expected = [
        "c1._domainkey.acme.example",
        "news.acme.example",
        "_dmarc.news.acme.example",
        "u.example",
        "u.example",
        "gate.example",
    ];
    assert_eq!(verdicts(&output), expected.map(|name| (name.to_owned(), "right".to_owned())));
    let shown = String::from_utf8(ask(folder.path(), &authority, &[]).stdout).unwrap();
    assert!(shown.contains("; DKIM key of news, receipts\nc1._domainkey.acme.example. IN TXT \"v=DKIM1; k=rsa; p="));
    assert!(shown.contains("right: from _dmarc.acme.example\n") && shown.ends_with("; 6 right\n"), "{shown}");
}

#[test]
fn each_record_that_is_missing_or_wrong_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let right = good(&configured(folder.path()));
    let cases: [(usize, &[&str], &str, &str, i32); 8] = [
        (0, &[], "c1._domainkey.acme.example", "missing", 1),
        (0, &["c1._domainkey.acme.example TXT v=DKIM1; k=rsa; p=AAAA"], "c1._domainkey.acme.example", "wrong", 1),
        (1, &[], "news.acme.example", "missing", 1),
        (1, &["news.acme.example TXT v=spf1 mx ~all"], "news.acme.example", "look", 0),
        (3, &[], "_dmarc.news.acme.example", "missing", 1),
        (4, &["u.example MX 0 ."], "u.example", "wrong", 1),
        (4, &["u.example MX 5 elsewhere.example"], "u.example", "look", 0),
        (5, &["u.example AAAA 2001:db8::1"], "u.example", "wrong", 1),
    ];
    for (index, instead, name, verdict, code) in cases {
        let mut records = right.clone();
        records.remove(index);
        records.extend(instead.iter().map(|record| (*record).to_owned()));
        let authority = NameServer::start(&records.join("\n"));
        let output = ask(folder.path(), &authority, &["--json"]);
        let not_right: Vec<_> = verdicts(&output).into_iter().filter(|(_, verdict)| verdict != "right").collect();
        assert_eq!(not_right, [(name.to_owned(), verdict.to_owned())], "{instead:?}");
        assert_eq!(output.status.code(), Some(code), "{instead:?}");
    }
}

#[test]
fn without_an_answer_nothing_is_called_missing() {
    let folder = tempfile::tempdir().unwrap();
    configured(folder.path());
    let silent = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let output = command(folder.path()).args(["dns", "--json", "--resolver", &silent.to_string()]).output().unwrap();
    assert!(verdicts(&output).iter().all(|(_, verdict)| verdict == "unknown"), "{output:?}");
    assert_eq!(output.status.code(), Some(75));
}

#[test]
fn offline_prints_a_zone_and_asks_nobody() {
    let folder = tempfile::tempdir().unwrap();
    configured(folder.path());
    let output = command(folder.path()).args(["dns", "--offline"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let records: Vec<_> = printed.lines().filter(|line| !line.starts_with(';') && !line.is_empty()).collect();
    assert_eq!(
        records[1..],
        [
            "news.acme.example. IN TXT \"v=spf1 include:sendgrid.net ~all\"",
            "_dmarc.news.acme.example. IN TXT \"v=DMARC1; p=none; rua=mailto:<mailbox for reports>\"",
            "u.example. IN MX 10 gate.example.",
            "u.example. IN A <public address>",
            "gate.example. IN A <public address>",
        ]
    );
}
