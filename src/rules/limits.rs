//! Every limit of the files, at the limit and past it.

use super::RulesError;
use super::book::{FILE_OCTETS_MAX, FILES_MAX, load, with_texts};
use super::pack::{DAYS_MAX, RULES_MAX, VERSION_MAX};
use crate::policy::CODE_MAX;
use crate::policy::calendar::{BUSINESS_DAYS_MAX, MONTHS_MAX};

const HEAD: &str = "pack = \"XA\"\ntitle = \"t\"\nversion = \"1\"\ncountries = [\"XA\"]\n";

fn rule(id: &str, version: u32, require: &str) -> String {
    format!(
        "[[rule]]\nid = \"{id}\"\nversion = {version}\ntitle = \"t\"\nsource = \"s\"\nstage = \"age\"\n\
         reason = \"LAW_X\"\nrequire = {{ {require} }}\n"
    )
}

fn problems(rules: &str) -> Vec<String> {
    match with_texts(&[("x.toml", &format!("{HEAD}{rules}"))]) {
        Err(RulesError::Wrong(problems)) => problems.iter().map(ToString::to_string).collect(),
        Err(other) => vec![other.to_string()],
        Ok(_) => Vec::new(),
    }
}

fn holds_up_to(max: u32, write: impl Fn(u32) -> String) {
    assert_eq!(problems(&write(max)), [""; 0], "at the limit {max}");
    let past = problems(&write(max + 1));
    assert_eq!(past.len(), 1, "past the limit {max}: {past:?}");
    assert!(past[0].contains(&format!("from 0 to {max}")), "{past:?}");
}

#[test]
fn numbers_hold_up_to_their_limits() {
    holds_up_to(VERSION_MAX, |version| rule("XA-1", version, "tracking_consent = true"));
    holds_up_to(MONTHS_MAX, |months| rule("XA-1", 1, &format!("within_months = {months}, since = \"use\"")));
    holds_up_to(DAYS_MAX, |days| rule("XA-1", 1, &format!("unsubscribe_works_days = {days}")));
    holds_up_to(DAYS_MAX, |days| rule("XA-1", 1, &format!("register = \"ecg\", register_max_days = {days}")));
    holds_up_to(BUSINESS_DAYS_MAX, |days| rule("XA-1", 1, &format!("opt_out_within_business_days = {days}")));
}

#[test]
fn names_hold_up_to_their_length() {
    let id = |len: usize| "X".repeat(len);
    assert!(problems(&rule(&id(CODE_MAX), 1, "tracking_consent = true")).is_empty());
    assert_eq!(problems(&rule(&id(CODE_MAX + 1), 1, "tracking_consent = true")).len(), 1);
    let reason = |len: usize| {
        let word = format!("LAW_{}", "X".repeat(len - "LAW_".len()));
        rule("XA-1", 1, "tracking_consent = true").replace("LAW_X", &word)
    };
    assert!(problems(&reason(CODE_MAX)).is_empty());
    assert_eq!(problems(&reason(CODE_MAX + 1)).len(), 1);
}

#[test]
fn a_file_holds_so_many_rules_and_no_more() {
    let rules = |count: usize| -> String {
        (0..count).map(|index| rule(&format!("XA-{index}"), 1, "tracking_consent = true")).collect()
    };
    assert!(problems(&rules(RULES_MAX)).is_empty());
    assert_eq!(problems(&rules(RULES_MAX + 1)), [format!("x.toml:1: more than {RULES_MAX} rules in one file")]);
}

#[test]
fn a_folder_holds_so_many_files_of_such_a_size_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let write = |index: usize, text: &str| std::fs::write(folder.path().join(format!("{index}.toml")), text).unwrap();
    for index in 0..FILES_MAX {
        write(index, &HEAD.replace("XA", &format!("X{index}")).replace("countries", "# "));
    }
    assert!(load(folder.path()).is_ok());
    write(FILES_MAX, HEAD);
    assert!(load(folder.path()).unwrap_err().to_string().contains("rule files"));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.toml");
    let full = format!("{HEAD}#{}", " ".repeat(usize::try_from(FILE_OCTETS_MAX).unwrap() - HEAD.len() - 1));
    std::fs::write(&path, &full).unwrap();
    assert!(load(folder.path()).is_ok());
    std::fs::write(&path, format!("{full} ")).unwrap();
    assert!(load(folder.path()).unwrap_err().to_string().contains("octets"));
}
