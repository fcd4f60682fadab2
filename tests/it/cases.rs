//! The case files in `tests/cases`, run as `consentry rules test` runs an operator's own.

use std::path::Path;

use consentry::rules::{self, cases};

#[test]
fn every_case_comes_out_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let report = cases::run(&folder, &rules::embedded().unwrap()).unwrap();
    let failures: Vec<_> = report.failures.iter().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
    assert!(report.asked > 150, "only {} cases were found", report.asked);
}

#[test]
fn france_shows_every_rule_of_the_source_document() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/fr");
    let texts: String = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    let missing: Vec<_> = (1..=9).filter(|seed| !texts.contains(&format!("seed = \"SEED-{seed}\""))).collect();
    assert!(missing.is_empty(), "no case shows SEED {missing:?}");
}
