use std::path::Path;

use super::book::{embedded, load, with_texts};
use super::cases::{self, Report};
use super::reference::reference;
use super::{Problem, RulesError};
use crate::policy::{LawRule, Rulebook};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

fn problems(text: &str) -> Vec<String> {
    match with_texts(&[("mine.toml", text)]) {
        Err(RulesError::Wrong(problems)) => problems.iter().map(Problem::to_string).collect(),
        Err(other) => vec![other.to_string()],
        Ok(_) => Vec::new(),
    }
}

fn all_rules(rules: &Rulebook) -> impl Iterator<Item = &LawRule> {
    rules.packs().iter().flat_map(|pack| &pack.rules)
}

#[test]
fn the_cases_of_this_repository_come_out_as_they_say() {
    let report = cases::run(&root().join("tests/cases"), &embedded().unwrap()).unwrap();
    assert!(report.failures.is_empty(), "\n{}\n", lines(&report.failures));
    assert!(report.asked > 150, "only {} cases were found", report.asked);
}

#[test]
fn every_case_file_is_shipped() {
    let rules = embedded().unwrap();
    let report = cases::run(&root().join("tests/cases"), &rules).unwrap();
    let shipped = cases::shipped(&rules).unwrap();
    let below_root = |file: &str| file.strip_prefix(&format!("{}/", root().display())).unwrap_or(file).to_owned();
    let titles = |report: &Report| {
        let mut names: Vec<_> =
            report.answers.iter().map(|answer| (below_root(&answer.file), answer.title.clone())).collect();
        names.sort();
        names
    };
    assert_eq!(titles(&shipped), titles(&report));
    assert_eq!(shipped.answers.len(), shipped.asked);
}

#[test]
fn every_rule_decides_a_case() {
    let rules = embedded().unwrap();
    let report = cases::run(&root().join("tests/cases"), &rules).unwrap();
    let idle: Vec<_> = all_rules(&rules).map(|law| law.rule.id).filter(|id| !report.deciding.contains(id)).collect();
    assert!(idle.is_empty(), "rules that decide no case: {idle:?}");
}

#[test]
fn the_page_of_the_rules_is_fresh() {
    let path = root().join("docs/reference/rules.md");
    let page = reference(&embedded().unwrap());
    if std::env::var_os("CONSENTRY_WRITE_REFERENCE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(committed == page, "docs/reference/rules.md is stale: run this test with CONSENTRY_WRITE_REFERENCE=1");
}

const ATLANTIS: &str = r#"
pack = "XA"
title = "Atlantis"
version = "1"
countries = ["XA"]

[[rule]]
id = "XA-1"
version = 1
title = "Nobody is written to on land"
source = "Atlantean Code of Shores, article 1"
stage = "basis"
reason = "LAW_XA_ASHORE"
when = { class = ["consumer", "professional"] }
one_of = [{ basis = ["opt_in"] }, { basis = ["opt_out_active"], informed = true }]
"#;

const ATLANTIS_CASES: &str = r#"
establishment = "XA"
country = "XA"
now = "2026-11-24T12:00:00Z"

[[case]]
title = "Opt-out with notice passes"
address = "nemo@deep.example"
held = [{ basis = "opt_out_active", collected_at = "2026-01-01", notice = "1" }]
expect = { verdict = "permit", rule = "XA-1", source = "Code of Shores" }

[[case]]
title = "Without notice it does not"
address = "nemo@deep.example"
held = [{ basis = "opt_out_active", collected_at = "2026-01-01" }]
expect = { verdict = "refuse", rule = "XA-1", reason = "LAW_XA_ASHORE", source = "Code of Shores" }

[[case]]
title = "About a class that its law does not mention nothing is allowed"
address = "info@deep.example"
held = [{ basis = "opt_in", collected_at = "2026-01-01" }]
expect = { verdict = "refuse", rule = "LAW-0", reason = "LAW_NO_RULE", source = "13(1)" }
"#;

fn run(rules: &Rulebook, cases: &str) -> Report {
    let mut report = Report::default();
    cases::run_text("cases.toml", cases, rules, &mut report).unwrap();
    report
}

#[test]
fn a_new_country_is_one_file_and_its_cases() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("xa.toml"), ATLANTIS).unwrap();
    let report = run(&load(folder.path()).unwrap(), ATLANTIS_CASES);
    assert!(report.failures.is_empty(), "\n{}\n", lines(&report.failures));
    assert_eq!(report.asked, 3);
    let without = run(&embedded().unwrap(), ATLANTIS_CASES);
    assert_eq!(without.failures.first().map(|problem| problem.line), Some(6), "{:?}", without.failures);
}

#[test]
fn an_operator_may_tighten_and_loosen_only_by_name() {
    let tighter = r#"
pack = "FR"
title = "France, our house rules"
version = "1"

[[rule]]
id = "FR-HOUSE-1"
version = 1
title = "We do not follow the doctrine for professionals"
source = "house rule"
stage = "basis"
reason = "LAW_FR_HOUSE"
when = { class = ["professional"], lacks = ["opt_in", "double_opt_in"] }
forbid = true
"#;
    let case = |verdict: &str, rule: &str, source: &str, overrides: &str| {
        format!(
            "establishment = \"FR\"\ncountry = \"FR\"\nnow = \"2026-11-24\"\n[[case]]\ntitle = \"t\"\n\
             address = \"a.b@c.example\"\nfunctions = [\"it\"]\nstream = {{ topics = [\"software\"] }}\n\
             held = [{{ basis = \"opt_out_active\", collected_at = \"2026-01-01\", notice = \"1\", refusal_box = \"offered\" }}]\n\
             expect = {{ verdict = \"{verdict}\", rule = \"{rule}\", source = \"{source}\", overrides = [{overrides}] }}\n"
        )
    };
    let shipped = embedded().unwrap();
    assert!(run(&shipped, &case("permit", "FR-P1", "CNIL", "")).failures.is_empty());
    let tightened = with_texts(&[("a.toml", tighter)]).unwrap();
    assert!(run(&tightened, &case("refuse", "FR-HOUSE-1", "house rule", "")).failures.is_empty());
    assert_ne!(tightened.version(), shipped.version());
    let loosened = "pack = \"FR\"\ntitle = \"t\"\nversion = \"1\"\n[[override]]\nrule = \"FR-HOUSE-1\"\n\
                    reason = \"counsel agreed\"\nby = \"A. Person\"\non = \"2026-11-24\"\n";
    let both = with_texts(&[("a.toml", tighter), ("b.toml", loosened)]).unwrap();
    let report = run(&both, &case("permit", "FR-P1", "CNIL", "\"FR-HOUSE-1\""));
    assert!(report.failures.is_empty(), "\n{}\n", lines(&report.failures));
}

#[test]
fn a_shipped_rule_or_country_cannot_be_taken_over() {
    let stolen = ATLANTIS.replace("XA-1", "FR-C1");
    assert_eq!(problems(&stolen).len(), 1, "{:?}", problems(&stolen));
    assert!(problems(&stolen)[0].contains("rule FR-C1 exists already"));
    let stolen = ATLANTIS.replace(r#"countries = ["XA"]"#, r#"countries = ["FR"]"#);
    assert_eq!(problems(&stolen), ["mine.toml:1: FR has a pack already; add rules to it by naming that pack"]);
    let own = ATLANTIS.replace(r#"countries = ["XA"]"#, r#"countries = ["PT"]"#);
    assert!(problems(&own).is_empty(), "a country under the baseline may get a pack of its own");
}

#[test]
fn every_problem_is_named_at_once_with_file_line_rule_and_what_was_expected() {
    let text = r#"
pack = "XA"
title = ""
version = "1"
countries = ["Atlantis"]
colour = "blue"
reviewed_by = "A. Person"
include = ["XB-9"]

[[rule]]
id = "XA-1"
version = -1
title = "t"
source = "s"
stage = "before"
reason = "BECAUSE"
effective_from = "soon"
when = { class = ["nobody"], weather = "rain" }
require = { within_months = 3, message = "postal_address" }
one_of = [{ informed = false }]

[[rule]]
title = "t"

[[override]]
rule = "XA-7"
reason = "r"
by = "b"
on = "today"
"#;
    let found = problems(text);
    let expected = [
        "mine.toml:3: `title` is empty",
        "mine.toml:5: `countries`: `Atlantis` is not a country",
        "mine.toml:6: unknown key `colour`; expected one of",
        "`reviewed_by` and a day",
        "mine.toml:12: rule XA-1: `version`: expected a whole number",
        "mine.toml:15: rule XA-1: `stage`: `before` is not known; expected `ban`",
        "`BECAUSE` is no reason code; expected",
        "mine.toml:17: rule XA-1: `effective_from`: `soon` is not an instant; expected",
        "mine.toml:18: rule XA-1: `class`: `nobody` is not known; expected `consumer`",
        "mine.toml:18: rule XA-1: unknown key `weather`; expected one of",
        "`within_months` and `since` belong together",
        "mine.toml:19: rule XA-1: `message`: expected a list of strings",
        "mine.toml:20: rule XA-1: `basis` is missing",
        "mine.toml:20: rule XA-1: `informed`: expected `true`; leave the key out",
        "mine.toml:22: `id` is missing",
        "`on`: expected a day such as 2026-11-24",
    ];
    for sentence in expected {
        assert!(found.iter().any(|problem| problem.contains(sentence)), "{sentence}\nnot in\n{}", found.join("\n"));
    }
    assert!(problems("pack = \n")[0].starts_with("mine.toml:1: "));
    let dangling = ATLANTIS.replace("countries", "include = [\"XB-9\"]\ncountries");
    assert_eq!(problems(&dangling).len(), 1);
    assert!(problems(&dangling)[0].contains("there is no rule XB-9"));
}

#[test]
fn case_files_name_what_is_wrong_with_them() {
    let rules = embedded().unwrap();
    for (text, expected) in [
        ("now = 1", "cases.toml:1: "),
        (&*ATLANTIS_CASES.replace("nemo@deep.example", "nemo"), "cases.toml:6: Opt-out with notice passes: `address`"),
        (&*ATLANTIS_CASES.replace("opt_in", "opt_at"), "`opt_at` is not known; expected `opt_in`"),
    ] {
        let error = cases::run_text("cases.toml", text, &rules, &mut Report::default()).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}\nnot in\n{error}");
    }
}

#[test]
fn addresses_are_read_as_the_words_say() {
    use crate::mail::Mailbox;
    use crate::policy::RecipientClass::{Consumer, Generic, Professional, PublicBody};
    let rules = embedded().unwrap();
    for (address, class) in [
        ("contact@acier.example", Generic),
        ("Contact@ACIER.example", Generic),
        ("comptabilité@acier.example", Generic),
        ("service.clients@acier.example", Generic),
        ("agence75@acier.example", Generic),
        ("agence-12@acier.example", Generic),
        ("contact-fr@acier.example", Generic),
        ("pole-technique@acier.example", Generic),
        ("buchhaltung@stahl.example", Generic),
        ("contact-marie@acier.example", Professional),
        ("marie.compta@acier.example", Professional),
        ("secretariat.dr.dupont@acier.example", Professional),
        ("contact.legal@acier.example", Professional),
        ("service.legal@acier.example", Generic),
        ("paul.martin@acier.example", Professional),
        ("pm@acier.example", Professional),
        ("dg@acier.example", Professional),
        ("p.d.g@acier.example", Professional),
        ("\"contact\"@acier.example", Professional),
        ("contact+marie@acier.example", Professional),
        ("contact@gmail.com", Consumer),
        ("contact@yahoo.co.uk", Consumer),
        ("contact@yahoo.acier.some.example", Generic),
        ("mairie.lac@orange.fr", Consumer),
        ("x@relay.duck.com", Consumer),
        ("mairie@lac.example", PublicBody),
        ("ce.0750001a@ac-paris.fr", PublicBody),
        ("ce.0750001a@paris.example", Professional),
        ("ce.075000a@ac-paris.fr", Professional),
        ("info@culture.gouv.fr", PublicBody),
        ("paul.martin@culture.gouv.fr", Professional),
    ] {
        let mailbox = Mailbox::parse(address).unwrap();
        assert_eq!(rules.classifier().classify(&mailbox).class, class, "{address}");
    }
}

#[test]
fn an_explanation_names_every_rule_and_what_would_change_the_answer() {
    use crate::mail::{ControllerId, Mailbox, Recipient, StreamName};
    use crate::policy::{Basis, Case, ConsentFact, Country, Facts, FromDomains, Law, Purpose, StreamLaw, StreamRules};
    use crate::policy::{MessageClass, explain};
    use crate::time::Timestamp;

    let controller = ControllerId::new("sender").unwrap();
    let now = Timestamp::parse("2026-11-24").unwrap();
    let held = [ConsentFact::new(controller.clone(), Purpose::Marketing, Basis::OptOutActive, now)];
    let france = Country::parse("FR").unwrap();
    let law = StreamLaw { default_recipient_country: Some(france), ..StreamLaw::new(france) };
    let name = StreamName::new("news").unwrap();
    let (class, law) = (MessageClass::Marketing, Law::Applied(Box::new(law)));
    let stream = StreamRules { name, controller, class, list: None, from_domains: FromDomains::Any, law };
    let recipient = Recipient::new(Mailbox::parse("paul.martin@acier.example").unwrap());
    let facts = Facts { consents: &held, ..Facts::default() };
    let rules = embedded().unwrap();
    let (decision, trace) = explain(&Case { facts, ..Case::new(&recipient, &stream, now) }, &rules);
    let used = decision.facts.unwrap();
    assert_eq!((used.class.as_str(), used.class_is.as_str()), ("professional", "assumed"));
    assert_eq!((used.country, used.country_is.as_str()), (Some(france), "assumed"));
    let outcome = |id: &str| {
        let entry = trace.considered().iter().find(|entry| entry.rule.id.as_str() == id);
        entry.map(|entry| entry.outcome.as_str())
    };
    for (id, expected) in [
        ("FR-BAN", Some("not applicable")),
        ("X-010", Some("pass")),
        ("FR-C1", Some("not applicable")),
        ("FR-P1", Some("fail")),
        ("FR-R1", Some("pass")),
        ("FR-M1", Some("not in view")),
        ("DE-1", None),
    ] {
        assert_eq!(outcome(id), expected, "{id}");
    }
    let remedies: Vec<_> = trace.remedies().collect();
    assert_eq!(remedies.len(), 1, "{remedies:?}");
    let (rule, remedy) = remedies[0];
    assert_eq!(rule.id, decision.rule);
    assert!(remedy.contains("`opt_in` or `double_opt_in`; or `existing_customer` with"), "{remedy}");
    assert!(remedy.contains("`opt_out_active` with the notice shown at collection"), "{remedy}");
}
