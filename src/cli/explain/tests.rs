use serde_json::Value;

use super::page::text;
use crate::api::explanation::{Shown, json};
use crate::mail::{ControllerId, ListName, Mailbox, Recipient, StreamName};
use crate::policy::{
    Basis, Case, Cause, ConsentFact, Contact, Decision, Enforcement, Facts, FromDomains, Law, MessageClass, Origin,
    Purpose, RecipientClass, RefusalBox, Scope, StreamLaw, StreamRules, Suppression, explain,
};
use crate::rules;
use crate::store::Dossier;
use crate::time::Timestamp;

fn when(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn stream(enforcement: Enforcement) -> StreamRules {
    let mut law = StreamLaw::new("FR".parse().unwrap());
    law.default_recipient_country = Some("FR".parse().unwrap());
    law.topics = vec!["it-security".parse().unwrap()];
    law.enforcement = enforcement;
    StreamRules {
        name: StreamName::new("news").unwrap(),
        controller: ControllerId::new("acme").unwrap(),
        class: MessageClass::Marketing,
        list: Some(ListName::new("weekly").unwrap()),
        from_domains: FromDomains::Any,
        law: Law::Applied(Box::new(law)),
    }
}

fn record(controller: &str, basis: Basis) -> ConsentFact {
    let controller = ControllerId::new(controller).unwrap();
    ConsentFact::new(controller, Purpose::Marketing, basis, when("2026-01-15T10:00:00Z"))
}

fn active() -> ConsentFact {
    ConsentFact {
        notice: Some("2025-3".into()),
        refusal_box: RefusalBox::Offered,
        evidence: Some("badge scan 88".into()),
        ..record("acme", Basis::OptOutActive)
    }
}

fn said(address: &str, stream: &StreamRules, known: &Dossier) -> (String, Value) {
    said_at("2026-11-24T12:00:00Z", address, stream, known)
}

fn said_at(at: &str, address: &str, stream: &StreamRules, known: &Dossier) -> (String, Value) {
    let book = rules::embedded().unwrap();
    let mailbox = Mailbox::parse(address).unwrap();
    let recipient = Recipient::new(mailbox.clone());
    let now = when(at);
    let facts = Facts {
        contact: known.contact.as_ref(),
        consents: &known.consents,
        registers: &known.registers,
        message: None,
    };
    let case = Case { suppressions: &known.suppressions, facts, ..Case::new(&recipient, stream, now) };
    let (decision, trace): (Decision, _) = explain(&case, &book);
    let shown = Shown {
        mailbox: &mailbox,
        stream,
        list: stream.list.as_ref(),
        rulebook: &book,
        now,
        decision: &decision,
        trace: &trace,
        known,
    };
    (text(&shown), json(&shown))
}

fn professional(functions: &[&str], consents: Vec<ConsentFact>) -> Dossier {
    let functions = functions.iter().map(|name| name.parse().unwrap()).collect();
    let class = Some(RecipientClass::Professional);
    Dossier { contact: Some(Contact { class, functions, ..Contact::default() }), consents, ..Dossier::default() }
}

#[test]
fn a_yes_names_the_basis_and_its_proof() {
    let (page, object) =
        said("dsi@corp.example", &stream(Enforcement::Enforce), &professional(&["it"], vec![active()]));
    assert!(page.starts_with("PERMIT  OK_MARKETING\n"), "{page}");
    for expected in [
        "  rule        FR-P1@1 (rulebook ",
        "              A named person at work: consent, customer, or active opt-out about their function\n",
        "  country     FR (assumed: the stream's default); sender in FR\n",
        "  class       professional (declared)\n",
        "  function    it (declared)\n",
        "  basis       opt_out_active (on record)\n",
        "  proof       badge scan 88\n",
        "  consent     opt_out_active for marketing, collected 2026-01-15T10:00:00",
        "    pass           FR-P1@1: ",
        "    not applicable FR-C1@1: ",
        "                   applies when recipient is `consumer`\n",
        "    not in view    FR-M1@1: ",
    ] {
        assert!(page.contains(expected), "{expected}\n{page}");
    }
    assert!(!page.contains("to change"), "{page}");
    assert_eq!(object["law"]["basis"], "opt_out_active");
    assert_eq!(object["law"]["evidence"], "badge scan 88");
    assert_eq!((&object["rule"], &object["law"]["functions"][0]), (&"FR-P1@1".into(), &"it".into()));
    let outcome = |id: &str| {
        let all = object["considered"].as_array().unwrap().iter();
        all.filter(|entry| entry["rule"] == id).map(|entry| entry["outcome"].as_str().unwrap().to_owned()).next()
    };
    assert_eq!(outcome("FR-P1@1").as_deref(), Some("pass"));
    assert_eq!(outcome("FR-C1@1").as_deref(), Some("not applicable"));
}

#[test]
fn a_no_says_what_would_change_it() {
    let known = professional(&["purchasing"], vec![active()]);
    let (page, object) = said("dsi@corp.example", &stream(Enforcement::Enforce), &known);
    assert!(page.starts_with("REFUSE  LAW_FR_PROFESSIONAL\n"), "{page}");
    assert!(page.contains("  basis       none on which"), "{page}");
    let (_, change) = page.split_once("  to change the answer, all of\n").unwrap();
    assert!(change.starts_with("    FR-P1: `opt_in` or `double_opt_in`"), "{page}");
    assert!(change.contains("a topic that belongs to the person's function"), "{page}");
    assert_eq!(object["remedies"][0]["rule"], "FR-P1");
    assert_eq!(object["title"], "A named person at work: consent, customer, or active opt-out about their function");
}

#[test]
fn an_assumed_class_is_called_assumed_and_other_controllers_stay_out_of_it() {
    let known = Dossier { consents: vec![record("other", Basis::OptIn)], ..Dossier::default() };
    let (page, object) = said("marie.durand@gmail.com", &stream(Enforcement::Enforce), &known);
    assert!(page.starts_with("REFUSE  LAW_FR_NO_OPTIN\n"), "{page}");
    assert!(page.contains("  class       consumer (assumed from the address)\n"), "{page}");
    assert!(!page.contains("  consent "), "{page}");
    assert_eq!(object["law"]["consents"], Value::Array(Vec::new()));
    assert_eq!(object["law"]["recipient_class_is"], "assumed");
}

#[test]
fn a_suppression_is_named_with_the_way_out_of_it() {
    let fact = |cause, expires| Suppression {
        scope: Scope::Everything,
        cause,
        origin: Origin::Page,
        evidence: Some(String::from("ticket 7")),
        since: when("2026-02-01T00:00:00Z"),
        expires,
    };
    let over = fact(Cause::HardBounce, Some(when("2026-03-01T00:00:00Z")));
    let known = Dossier {
        suppressions: vec![fact(Cause::LegalObjection, None), over],
        ..professional(&["it"], vec![active()])
    };
    let (page, object) = said("dsi@corp.example", &stream(Enforcement::Enforce), &known);
    assert!(page.starts_with("REFUSE  SUP_OBJECTION\n"), "{page}");
    assert!(page.contains("  evidence    ticket 7\n"), "{page}");
    assert!(page.contains("  fact        legal_objection (everything), by page, since 2026-02-01"), "{page}");
    assert!(page.contains("  fact        hard_bounce (everything), by page, since 2026-02-01"), "{page}");
    assert_eq!(page.matches(", expired\n").count(), 1, "{page}");
    assert!(page.contains("    X-010: a newer opt-in of the person"), "{page}");
    assert_eq!((&object["facts"][0]["counts"], &object["facts"][1]["counts"]), (&true.into(), &false.into()));
}

#[test]
fn shadow_says_what_would_have_been_refused_and_what_it_lacks() {
    let (page, object) = said("marie.durand@gmail.com", &stream(Enforcement::Shadow), &Dossier::default());
    assert!(page.starts_with("PERMIT  OK_MARKETING\n"), "{page}");
    assert!(page.contains("  in shadow   would be refused by LAW_FR_NO_OPTIN FR-C1@1: "), "{page}");
    assert!(page.contains("    FR-C1: `opt_in` or"), "{page}");
    assert_eq!(object["would_refuse"]["rule"], "FR-C1@1");
}

#[test]
fn without_a_law_the_page_says_so() {
    let stream = StreamRules { law: Law::NotApplied, ..stream(Enforcement::Enforce) };
    let (page, object) = said("a@b.example", &stream, &Dossier::default());
    assert!(page.contains("  law         none is applied to this stream"), "{page}");
    assert!(page.contains("  facts       no suppression\n"), "{page}");
    assert!(object["law"].is_null());
    let considered = object["considered"].as_array().unwrap();
    assert!(considered.iter().all(|entry| entry["stage"].is_null() && entry["outcome"] == "pass"), "{considered:?}");
}

/// What one story of the walk-through declares: address, class, function, basis, refusal box, topic of the stream.
type Story = (&'static str, RecipientClass, &'static str, Basis, RefusalBox, &'static str);

fn told(at: &str, (address, class, function, basis, refusal_box, topic): Story) -> Value {
    let mut stream = stream(Enforcement::Enforce);
    if let Law::Applied(law) = &mut stream.law {
        law.topics = vec![topic.parse().unwrap()];
    }
    let functions = Some(function).filter(|name| !name.is_empty()).map(|name| name.parse().unwrap());
    let contact = Contact {
        class: Some(class),
        country: Some("FR".parse().unwrap()),
        functions: functions.into_iter().collect(),
        ..Contact::default()
    };
    let fact = ConsentFact {
        notice: Some("2026-1".into()),
        refusal_box,
        evidence: Some("proof".into()),
        ..ConsentFact::new(ControllerId::new("acme").unwrap(), Purpose::Marketing, basis, when("2026-09-15T10:00:00Z"))
    };
    let known = Dossier { contact: Some(contact), consents: vec![fact], ..Dossier::default() };
    said_at(at, address, &stream, &known).1
}

#[test]
fn the_walk_through_of_the_documentation_is_true() {
    use Basis::{OptIn, OptOutActive, OptOutPassive};
    use RecipientClass::{Consumer, Generic, Professional};
    use RefusalBox::{NotOffered, Offered};
    let marie: Story = ("marie.durand@gmail.com", Consumer, "", OptIn, NotOffered, "cruises");
    let stories: [Story; 6] = [
        marie,
        ("paul.martin@orange.fr", Consumer, "", OptOutActive, Offered, "cruises"),
        ("claire.petit@entreprise.example", Professional, "it", OptOutActive, Offered, "it-security"),
        ("claire.petit@entreprise.example", Professional, "it", OptOutActive, Offered, "cruises"),
        ("contact@entreprise.example", Generic, "", OptOutPassive, NotOffered, "it-security"),
        ("luc.moreau@entreprise.example", Professional, "it", OptOutPassive, NotOffered, "it-security"),
    ];
    let answer = |at: &str, story: Story| {
        let object = told(at, story);
        let word = |key: &str| object[key].as_str().unwrap().to_owned();
        let rule = word("rule").split('@').next().unwrap().to_owned();
        [word("verdict").to_uppercase(), word("reason"), rule].join(" ")
    };
    let page = include_str!("../../../docs/howto/first-campaign-in-france.md");
    let is_answer = |line: &&str| line.starts_with("# PERMIT ") || line.starts_with("# REFUSE ");
    let written: Vec<_> = page
        .lines()
        .filter(is_answer)
        .map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" "))
        .collect();
    let found: Vec<_> = stories.iter().map(|story| answer("2026-11-24T12:00:00Z", *story)).collect();
    assert_eq!(written, found);
    // Three years to the second after the last contact.
    assert!(page.contains("--at 2029-09-16T00:00:00Z"));
    assert_eq!(answer("2029-09-16T00:00:00Z", marie), "REFUSE LAW_FR_INACTIVE FR-R1");
}
