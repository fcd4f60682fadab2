//! Lists that name nobody: who is on one by a hash of their address is not written to, until the list is taken back.

use crate::support::{Client, Gateway, Spec, Upstream};

/// Of `ann@example.org`, by md5sum, sha1sum and sha256sum.
const ANN: [&str; 3] = [
    "8b5a6a28fc840441be692d74a81ccd1a",
    "a4414de3ce1f77d2615b90c3ba16219b38193ced",
    "438c4c7afe600cdf1e455c369bec76dc970fc8ca463447c7b387a347f3c79331",
];

fn is_refused(gateway: &Gateway, to: &str) -> bool {
    let message = b"From: News <news@acme.example>\r\nSubject: hello\r\n\r\nHello\r\n";
    let (rcpt, end) = Client::connect(gateway.smtp).message("b@acme.example", &[to], message);
    let refused = rcpt[0].starts_with("550 5.7.1");
    assert!(refused || end.as_deref().unwrap_or_default().starts_with("250"), "{rcpt:?} {end:?}");
    refused
}

#[test]
fn a_list_of_hashes_suppresses_whom_it_means_and_nobody_else() {
    let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    let gateway = Gateway::start(folder.path(), &Spec::new(upstream.address));
    for hash in ANN {
        let list = folder.path().join("list.txt");
        std::fs::write(&list, format!("{hash}\n")).unwrap();
        assert!(!is_refused(&gateway, "ann@example.org"), "not yet");
        let list = list.to_str().unwrap();
        let imported =
            gateway.run(&["suppress", "import", list, "--reason", "unsubscribe", "--scope", "controller:acme"]);
        assert!(imported.status.success(), "{imported:?}");
        for spelling in ["ann@example.org", "Ann@EXAMPLE.org", "ann+news@example.org"] {
            assert!(is_refused(&gateway, spelling), "{spelling} by {hash}");
        }
        assert!(!is_refused(&gateway, "anne@example.org"), "somebody else");
        let said = String::from_utf8(imported.stdout).unwrap();
        let id = said.lines().find_map(|line| line.strip_prefix("import ")).unwrap().trim().to_owned();
        let undone = gateway.run(&["suppress", "undo", &id, "--because", "the wrong list"]);
        assert!(undone.status.success(), "{undone:?}");
    }
    assert!(!is_refused(&gateway, "ann@example.org"), "taken back");
}
