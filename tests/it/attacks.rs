//! `docs/reference/attack-tests.md` names a test for every attack, `docs/reference/upstream-faults.md` for every fault of an
//! upstream, `docs/reference/store-faults.md` for every fault of the store, and the tests are there.

use std::path::Path;

const PAGES: [&str; 3] =
    ["docs/reference/attack-tests.md", "docs/reference/upstream-faults.md", "docs/reference/store-faults.md"];
/// Families of ids with the number of the last one.
const FAMILIES: [(&str, usize); 12] = [
    ("SM", 67),
    ("TL", 12),
    ("AU", 8),
    ("PX", 5),
    ("RL", 7),
    ("IN", 11),
    ("SD", 6),
    ("LM", 11),
    ("EX", 6),
    ("LP", 6),
    ("UP", 12),
    ("ST", 10),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All, one behind the other.
fn pages() -> String {
    PAGES.map(|page| std::fs::read_to_string(root().join(page)).unwrap()).concat()
}

/// The cells of each row whose first cell is no heading.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let lines = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| id ") && !line.starts_with("| what "));
    lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

fn between_backticks(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn is_dialogue(named: &str) -> bool {
    Path::new(named).extension().is_some_and(|extension| extension == "smtp")
}

/// Why what is named here as a test is none; `None` when it is one, or something else that stands in backticks.
fn missing(named: &str) -> Option<String> {
    if is_dialogue(named) {
        let there = root().join("tests/dialogues").join(named).is_file();
        return (!there).then(|| format!("there is no dialogue {named}"));
    }
    let (file, function) = named.split_once("::")?;
    let text = std::fs::read_to_string(root().join(file)).unwrap_or_default();
    let there = text.contains(&format!("fn {function}("));
    (!there).then(|| format!("{file} has no test {function}"))
}

#[test]
fn every_test_that_the_page_names_is_there() {
    let page = pages();
    let rows = rows(&page);
    assert!(rows.len() > 60, "{} rows were read", rows.len());
    let mut faults = Vec::new();
    for row in rows {
        let [id, _, held_by] = row[..] else { panic!("three cells are expected in {row:?}") };
        let named: Vec<_> =
            between_backticks(held_by).filter(|text| is_dialogue(text) || text.contains("::")).collect();
        if named.is_empty() && !held_by.starts_with("does not apply: ") {
            faults.push(format!("{id}: names no test and no reason"));
        }
        faults.extend(named.into_iter().filter_map(missing).map(|fault| format!("{id}: {fault}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_id_has_its_place_on_the_page() {
    let page = pages();
    let is_covered = |family: &str, number: usize| {
        let id = format!("{family}-{number:02}");
        let in_range = page.match_indices(" to ").any(|(at, _)| {
            let number_of = |text: &str| text.strip_prefix(family)?.strip_prefix('-')?.parse::<usize>().ok();
            let first = page.get(at.saturating_sub(5)..at).and_then(number_of);
            let last = page.get(at + 4..at + 9).and_then(number_of);
            first.zip(last).is_some_and(|(first, last)| (first..=last).contains(&number))
        });
        page.contains(&id) || in_range
    };
    let missing: Vec<_> = FAMILIES
        .iter()
        .flat_map(|(family, last)| (1..=*last).map(move |number| (*family, number)))
        .filter(|(family, number)| !is_covered(family, *number))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
