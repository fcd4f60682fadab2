//! `consentry store rotate-key` with the real binary: refused beside a daemon, and everything as before behind it.

use crate::support::gateway::command;
use crate::support::{Client, Gateway, Spec, Upstream};

const MESSAGE: &[u8] = b"From: News <news@acme.example>\r\nSubject: hello\r\n\r\nHello\r\n";

fn submit(gateway: &Gateway, to: &str) -> String {
    let (rcpt, end) = Client::connect(gateway.smtp).message("b@acme.example", &[to], MESSAGE);
    end.unwrap_or_else(|| rcpt[0].clone())
}

#[test]
fn the_key_is_rotated_while_the_daemon_stands_still_and_who_said_no_is_refused_as_before() {
    let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    let mut gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    let list = folder.path().join("list.txt");
    std::fs::write(&list, "listed@b.example\n@whole.example\n").unwrap();
    let imported = gateway.run(&["suppress", "import", list.to_str().unwrap()]);
    let id = String::from_utf8(imported.stdout).unwrap().lines().next().unwrap().replace("import ", "");
    let people = ["listed+news@b.example", "who@sub.whole.example"];
    for to in people {
        assert!(submit(&gateway, to).starts_with("550"), "{to}");
    }

    let run = |arguments: &[&str]| {
        let output = command(folder.path()).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    assert_eq!(run(&["store", "rotate-key"]).0, Some(64), "not unasked");
    let (code, said) = run(&["store", "rotate-key", "--yes"]);
    assert!(code != Some(0) && said.contains("stop the daemon"), "{code:?} {said}");
    assert!(submit(&gateway, people[0]).starts_with("550") && submit(&gateway, "free@b.example").starts_with("250"));
    assert_eq!(gateway.stop(), Some(0));
    let (code, said) = run(&["store", "rotate-key", "--yes"]);
    assert!(code == Some(0) && said.contains("2 entries") && said.contains("2 secrets"), "{code:?} {said}");

    let gateway = Gateway::restart_there(folder.path());
    for to in people {
        assert!(submit(&gateway, to).starts_with("550"), "{to}");
    }
    assert!(submit(&gateway, "free@b.example").starts_with("250"));
    let (code, said) = run(&["suppress", "undo", &id, "--because", "wrong list"]);
    assert!(code == Some(64) && said.contains("rotated"), "{code:?} {said}");
    assert!(submit(&gateway, people[0]).starts_with("550"));
}
