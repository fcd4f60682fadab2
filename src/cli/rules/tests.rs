use std::path::Path;

use clap::Parser as _;

use super::{Arguments, run};
use crate::exit::{Exit, Failure};

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn said(words: &[&str], configured: Option<&Path>) -> (Result<Exit, Failure>, String) {
    let line = Line::try_parse_from([&["rules"], words].concat()).unwrap();
    let mut out = Vec::new();
    let exit = run(&line.arguments, configured, &mut out);
    (exit, String::from_utf8(out).unwrap())
}

fn done(words: &[&str]) -> String {
    let (exit, text) = said(words, None);
    assert_eq!(exit.unwrap(), Exit::Done, "{text}");
    text
}

const OWN_RULE: &str = r#"
pack = "FR"
title = "France, our house rules"
version = "1"
reviewed_by = "Maître Exemple"
reviewed_on = "2026-11-20"

[[rule]]
id = "ACME-1"
version = 1
title = "We write to nobody on sole trade"
source = "house rule"
stage = "basis"
reason = "LAW_ACME_SOLE_TRADER"
when = { class = ["sole_trader"] }
forbid = true

[[override]]
rule = "FR-R1"
reason = "our retention period is in the register"
by = "A. Dupont"
on = "2026-11-20"
"#;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

#[test]
fn the_list_names_every_pack_with_its_review_and_every_rule() {
    let text = done(&["list"]);
    assert!(text.contains("FR  France, version 2026.11, not reviewed, "), "{text}");
    assert!(text.contains("FR-C1@1") && text.contains("X-012@1"), "{text}");
    let object: serde_json::Value = serde_json::from_str(&done(&["list", "--json"])).unwrap();
    let packs = object["packs"].as_array().unwrap();
    let france = packs.iter().find(|pack| pack["pack"] == "FR").unwrap();
    assert!(france["reviewed_by"].is_null());
    assert!(france["rules"].as_array().unwrap().iter().any(|rule| rule["id"] == "FR-C1"));
}

#[test]
fn a_signature_and_an_override_of_the_operator_are_shown() {
    let own = folder(&[("acme.toml", OWN_RULE)]);
    let (exit, text) = said(&["list"], Some(own.path()));
    assert_eq!(exit.unwrap(), Exit::Done);
    assert!(text.contains("reviewed by Maître Exemple on 2026-11-20"), "{text}");
    assert!(text.contains("ACME-1@1"), "{text}");
    assert!(
        text.lines().any(|line| line.contains("FR-R1@1") && line.ends_with("(overridden: not followed)")),
        "{text}"
    );
    let (exit, text) = said(&["check"], Some(own.path()));
    assert_eq!(exit.unwrap(), Exit::Done);
    assert!(text.contains("FR-R1 is not followed: our retention period is in the register (A. Dupont, 2026-11-20)"));
    let (_, text) = said(&["show", "FR-R1"], Some(own.path()));
    assert!(text.contains("overridden  not followed: our retention"), "{text}");
}

#[test]
fn one_rule_is_shown_with_its_source_its_ways_and_its_cases() {
    for name in ["FR-P1", "fr-p1", "FR-P1@1"] {
        let text = done(&["show", name]);
        assert!(text.starts_with("FR-P1@1  A named person at work"), "{text}");
        assert!(text.contains("source      CPCE article L34-5; CNIL doctrine"), "{text}");
        assert!(text.contains("reason      LAW_FR_PROFESSIONAL"), "{text}");
        assert!(text.contains("when        recipient is `professional`"), "{text}");
        assert!(text.contains("or `opt_out_active` with the notice shown at collection"), "{text}");
        assert!(text.lines().any(|line| line.contains("refuse: ") && line.contains("fr/people.toml:")));
    }
    let object: serde_json::Value = serde_json::from_str(&done(&["show", "FR-T1", "--json"])).unwrap();
    assert_eq!(object["law"]["effective_from"].as_str().map(|at| &at[..10]), Some("2026-07-15"));
    assert_eq!(object["law"]["packs"][0]["pack"], "FR");
    assert!(!object["cases"].as_array().unwrap().is_empty());
    assert!(done(&["show", "FR-BAN"]).contains("in force    from 2025-07-02 on"));
    assert!(done(&["show", "X-012"]).contains("built in"));
    // A rule that two packs share is shown with both.
    assert!(done(&["show", "EU-7"]).matches("  pack ").count() > 1);
}

#[test]
fn an_unknown_rule_is_no_answer() {
    let (exit, text) = said(&["show", "FR-NONE"], None);
    let failure = exit.unwrap_err();
    assert_eq!(failure.exit(), Exit::No);
    assert!(text.is_empty() && failure.to_string().contains("`FR-NONE`"), "{failure}");
}

#[test]
fn every_problem_of_rule_files_is_said_with_its_place() {
    let own = folder(&[("a.toml", &OWN_RULE.replace("\"basis\"", "\"bases\"")), ("b.toml", "pack = 7\n")]);
    let (exit, text) = said(&["check", own.path().to_str().unwrap()], None);
    assert_eq!(exit.unwrap(), Exit::Config);
    assert!(
        text.lines().any(|line| line.contains("a.toml:13: ") && line.contains("ACME-1") && line.contains("`basis`")),
        "{text}"
    );
    assert!(text.lines().any(|line| line.contains("b.toml:1: ")), "{text}");
    let (exit, _) = said(&["check", "/nowhere/at/all"], None);
    assert_eq!(exit.unwrap_err().exit(), Exit::Io);
}

const CASES: &str = r#"
establishment = "FR"
country = "FR"
now = "2026-11-24T12:00:00Z"

[[case]]
title = "A sole trader who agreed"
address = "jean@atelier.example"
class = "sole_trader"
held = [{ basis = "opt_in", collected_at = "2026-01-15T10:00:00Z" }]
expect = { verdict = "refuse", rule = "ACME-1", source = "house rule" }
"#;

#[test]
fn own_cases_are_asked_of_own_rules() {
    let own = folder(&[("acme.toml", OWN_RULE), ("cases/mine.toml", CASES)]);
    let (exit, text) = said(&["test"], Some(own.path()));
    assert_eq!(exit.unwrap(), Exit::Done, "{text}");
    assert!(text.starts_with("1 case, 0 failed"), "{text}");
    // The same question to the shipped rules has another answer.
    let (exit, text) = said(&["test", own.path().join("cases").to_str().unwrap()], None);
    assert_eq!(exit.unwrap(), Exit::No);
    assert!(
        text.contains("mine.toml:6: A sole trader who agreed: verdict: expected `refuse`, found `permit`"),
        "{text}"
    );
    assert!(text.contains("1 case, 1 failed"), "{text}");
}

#[test]
fn the_shipped_cases_are_asked_when_there_are_no_own_ones() {
    assert!(done(&["test"]).contains("cases, 0 failed"));
    let empty = folder(&[]);
    let (exit, _) = said(&["test", empty.path().to_str().unwrap()], None);
    assert_eq!(exit.unwrap_err().exit(), Exit::Data);
}

#[test]
fn the_reference_page_is_the_one_in_the_documentation() {
    assert_eq!(done(&["reference"]), include_str!("../../../docs/reference/rules.md"));
}

#[test]
fn the_files_in_the_documentation_are_right() {
    let page = include_str!("../../../docs/howto/sign-off-a-rule-pack.md");
    let blocks: Vec<_> =
        page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect();
    // The first block is the configuration; the others add up to one file.
    let [configuration, file @ ..] = blocks.as_slice() else { unreachable!() };
    assert!(configuration.starts_with("[rules]"));
    let own = folder(&[("fr.toml", &file.concat())]);
    let (exit, text) = said(&["check"], Some(own.path()));
    assert_eq!(exit.unwrap(), Exit::Done, "{text}");
    assert!(text.contains("FR-R1 is not followed"), "{text}");
    let (_, text) = said(&["list"], Some(own.path()));
    assert!(text.contains("reviewed by Maître Exemple, Paris on 2026-11-24") && text.contains("ACME-1@1"), "{text}");
}
