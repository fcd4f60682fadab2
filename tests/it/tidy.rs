//! Taste that a machine can check: the walls between the rooms, and how a room looks from outside.

use std::path::Path;

use consentry::policy::Rulebook;

mod imports;
mod source;
mod taste;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn none_of(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn imports_follow_the_table_of_the_architecture_page() {
    let table = imports::Table::parse(&page("docs/architecture.md")).unwrap_or_else(|problems| {
        panic!("docs/architecture.md:\n{}", problems.join("\n"));
    });
    let sources = source::all(root());
    assert!(sources.len() > 10, "found only {} sources", sources.len());
    none_of(&table.violations(&sources));
}

#[test]
fn every_source_is_short_finished_and_well_named() {
    let problems: Vec<_> = source::all(root()).iter().flat_map(taste::violations).collect();
    none_of(&problems);
}

#[test]
fn every_rule_and_reason_is_explained() {
    none_of(&unexplained(&page("docs/reference/reasons.md"), Rulebook::built_in().rules()));
}

/// Rules without a table row that shows both the reason code and the rule's id.
fn unexplained(page: &str, rules: &[consentry::policy::Rule]) -> Vec<String> {
    let is_row =
        |line: &str, rule: &consentry::policy::Rule| line.starts_with(&format!("| `{}` | {} |", rule.reason, rule.id));
    let missing = rules.iter().filter(|rule| !page.lines().any(|line| is_row(line, rule)));
    missing
        .map(|rule| format!("docs/reference/reasons.md has no row for `{}` of rule {}", rule.reason, rule.id))
        .collect()
}

#[test]
fn a_rule_without_its_row_is_noticed() {
    let page = page("docs/reference/reasons.md");
    let rules = Rulebook::built_in().rules();
    let first = rules.first().unwrap();
    let without: String = page.lines().filter(|line| !line.contains(first.reason.as_str())).collect();
    assert!(!unexplained(&without, rules).is_empty());
}
