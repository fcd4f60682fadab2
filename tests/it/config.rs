//! Configuration files: what is shipped is right, and what is wrong is said with file, line, key and what was expected.

use std::path::Path;

use crate::support::gateway::command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_shipped_file_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("dkim-example-rsa");
    let made = command(folder.path())
        .args(["keygen", "dkim", "--domain", "example.org", "--selector", "c1", "--out"])
        .arg(&key)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    std::fs::copy(root().join("config/consentry.toml"), folder.path().join("consentry.toml")).unwrap();
    let checked = command(folder.path()).arg("check").env("CREDENTIALS_DIRECTORY", folder.path()).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(said.contains("warning: nobody takes mail to unsubscribe@unsubscribe.example.org"), "{said}");
}

/// Each line of a bad file that begins with `#! ` says where a problem must be reported and with which words:
/// `#! LINE KEY: words`.
#[test]
fn every_bad_file_is_refused_at_the_right_place() {
    let mut count = 0;
    for entry in std::fs::read_dir(root().join("tests/configs-bad")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("consentry.toml"), &text).unwrap();
        let checked = command(folder.path()).arg("check").output().unwrap();
        let said = String::from_utf8(checked.stderr).unwrap();
        assert_eq!(checked.status.code(), Some(78), "{}: {said}", path.display());
        let expected: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("#! ")).collect();
        assert!(!expected.is_empty(), "{} expects nothing", path.display());
        for line in expected {
            let (number, words) = line.split_once(' ').unwrap();
            let place = format!("consentry.toml:{number}:");
            assert!(
                said.lines().any(|s| s.contains(&place) && s.contains(words)),
                "{}: wanted `{line}` in:\n{said}",
                path.display()
            );
        }
        count += 1;
    }
    assert!(count >= 5, "only {count} bad files");
}

#[test]
fn keys_are_private_and_never_overwritten() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    let make = || {
        command(folder.path())
            .args(["keygen", "dkim", "--domain", "a.example", "--selector", "s", "--kind", "ed25519", "--out"])
            .arg(&key)
            .output()
            .unwrap()
    };
    let first = make();
    assert!(
        first.status.success()
            && String::from_utf8(first.stdout)
                .unwrap()
                .starts_with("s._domainkey.a.example. IN TXT \"v=DKIM1; k=ed25519; p=")
    );
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let content = std::fs::read(&key).unwrap();
    assert!(!make().status.success());
    assert_eq!(std::fs::read(&key).unwrap(), content);
}
