//! Everything that a store holds goes out, the store is made anew, everything comes in: and it is the same store, octet for octet.

use std::path::{Path, PathBuf};

use crate::redis::{prepare, spec_at};
use crate::support::gateway::command;
use crate::support::redis_server::RedisServer;
use crate::support::{Gateway, Spec, Upstream};

const DRAWN: &str = "2026-11-01T00:00:00.000Z";

fn done(folder: &Path, arguments: &[&str]) -> String {
    let output = command(folder).args(arguments).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Suppressions of every kind, consents with a history and an import that was taken back, a national list.
fn fill(folder: &Path) {
    done(folder, &["suppress", "add", "Ann@x.example", "--reason", "unsubscribe", "--evidence", "=1+1, by \"letter\""]);
    done(folder, &["suppress", "add", "@firm.example", "--reason", "legal_objection", "--scope", "controller:acme"]);
    done(folder, &["suppress", "add", "b+tag@x.example", "--reason", "hard_bounce", "--expires", "2030-01-01"]);
    let hashes = file(folder, "hashes.txt", "8b5a6a28fc840441be692d74a81ccd1a\n");
    done(folder, &["suppress", "import", &hashes, "--reason", "complaint", "--scope", "list:acme/weekly"]);
    let set = "consent set c@x.example --controller acme --basis opt_in --evidence ticket-7 --collected-at 2026-01-01";
    done(folder, &set.split(' ').collect::<Vec<_>>());
    let set = "consent set c@x.example --controller acme --purpose list:weekly --basis double_opt_in --pending --class \
               professional --country fr --function it --function security";
    done(folder, &set.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>());
    let confirm = "consent confirm c@x.example --controller acme --purpose list:weekly --evidence message-9";
    done(folder, &confirm.split(' ').collect::<Vec<_>>());
    let people = file(
        folder,
        "people.csv",
        "email,collected_at,basis,sale_at,sale_family\nc@x.example,2026-02-01,opt_in,,\nd@x.example,2026-02-01,existing_customer,2026-01-05,boots\n",
    );
    let said = done(folder, &["consent", "import", &people, "--controller", "acme", "--attest", "our shop"]);
    let id = said.lines().find_map(|line| line.strip_prefix("import ")).unwrap();
    done(folder, &["consent", "undo", id, "--because", "the wrong list"]);
    let list = file(
        folder,
        "ecg.txt",
        "e@x.example\n@shop.example\n438c4c7afe600cdf1e455c369bec76dc970fc8ca463447c7b387a347f3c79331\n",
    );
    done(folder, &["suppress", "import-register", "ecg", &list, "--fresh-on", DRAWN]);
}

/// Everything that is there, as the exports write it.
fn exports(folder: &Path) -> [String; 3] {
    let asked: [&[&str]; 3] =
        [&["suppress", "export"], &["consent", "export"], &["suppress", "export-register", "ecg"]];
    asked.map(|arguments| done(folder, arguments))
}

fn bring_in(from: &[String; 3], to: &Path) {
    let [stops, consents, list] = from;
    let (stops, consents) = (file(to, "stops", stops), file(to, "consents", consents));
    let said = done(to, &["suppress", "import", &stops]);
    assert!(said.contains("4 new, 0 already there, 0 invalid"), "{said}");
    let said = done(to, &["consent", "import", &consents, "--attest", "our own export"]);
    assert!(said.contains("6 new, 0 upgraded, 0 already there, 0 ignored, 0 invalid"), "{said}");
    let list = file(to, "list", list);
    let said = done(to, &["suppress", "import-register", "ecg", &list, "--fresh-on", DRAWN]);
    assert!(said.contains("3 subjects"), "{said}");
    assert_eq!(done(to, &["suppress", "registers"]), format!("ecg: 3 subjects, drawn {DRAWN}\n"));
}

#[test]
fn an_embedded_store_is_the_same_after_export_wipe_and_import() {
    for addresses in ["keep", "hash-only"] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut spec = Spec::new(Upstream::start().address);
        spec.more = format!("[store]\naddresses = \"{addresses}\"\n");
        Gateway::configure(folder, &spec);
        fill(folder);
        let before = exports(folder);
        assert_eq!(before.clone().map(|text| text.lines().count()), [4, 6, 3], "{before:?}");
        assert_eq!(before.concat().contains("x.example"), addresses == "keep", "{before:?}");
        let proof = ["consent", "proof", "c@x.example", "--controller", "acme"];
        let proven = done(folder, &proof);
        for name in ["store.db", "store.mark", "store.lock"] {
            std::fs::remove_file(folder.join(name)).unwrap();
        }
        assert_eq!(done(folder, &["suppress", "export"]), "", "a new store");
        bring_in(&before, folder);
        assert_eq!(exports(folder), before);
        let record = |bundle: &str| serde_json::from_str::<serde_json::Value>(bundle).unwrap()["record"].clone();
        assert_eq!(record(&done(folder, &proof)), record(&proven), "what is proven stays so");
    }
}

#[test]
fn a_spreadsheet_brings_the_same_consents_back() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, other) = (one.path(), other.path());
    for folder in [one, other] {
        Gateway::configure(folder, &Spec::new(Upstream::start().address));
    }
    fill(one);
    std::fs::copy(one.join("store.key"), other.join("store.key")).unwrap();
    let path: PathBuf = other.join("consents.csv");
    let path = path.to_str().unwrap();
    assert_eq!(done(one, &["consent", "export", "--format", "csv", path]), "6 entries written\n");
    done(other, &["consent", "import", path, "--attest", "our own export"]);
    assert_eq!(done(other, &["consent", "export"]), done(one, &["consent", "export"]));
    let text = std::fs::read_to_string(path).unwrap().replacen(",asserted,", ",proven,", 1);
    std::fs::write(path, text).unwrap();
    let forged = command(other).args(["consent", "import", path, "--attest", "our own export"]).output().unwrap();
    assert_eq!(forged.status.code(), Some(65));
    assert!(String::from_utf8_lossy(&forged.stdout).contains("seal: "), "{forged:?}");
}

#[test]
fn a_fleets_store_is_the_same_after_export_wipe_and_import() {
    let (redis, upstream) = (RedisServer::start(&[]), Upstream::start());
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    prepare(one.path(), &spec_at(upstream.address, redis.port), None);
    fill(one.path());
    let before = exports(one.path());
    redis.command(&["FLUSHALL"]);
    Gateway::configure(other.path(), &spec_at(upstream.address, redis.port));
    std::fs::copy(one.path().join("store.key"), other.path().join("store.key")).unwrap();
    done(other.path(), &["store", "create"]);
    bring_in(&before, other.path());
    assert_eq!(exports(other.path()), before);
}
