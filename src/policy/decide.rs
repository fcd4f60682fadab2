//! The pure decision.

use crate::mail::{ControllerId, Domain, ListName, Recipient};
use crate::time::Timestamp;

use super::MessageClass;
use super::decision::{Decision, Obligations, OneClick, Permanence, Permit, Refusal, Verdict};
use super::law::{Facts, Law};
use super::rulebook::{self, Rule, Rulebook, StreamRules};
use super::ruling::Ruling;
use super::statute::{Effect, Stage};
use super::suppression::{Cause, Suppression};
use super::trace::{Considered, Nobody, Outcome, Trace, Witness};
use super::view::{Stand, View};

/// Everything a decision may look at.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// To whom.
    pub recipient: &'a Recipient,
    /// On which stream.
    pub stream: &'a StreamRules,
    /// Who is responsible. In the queue this is the controller of the time of acceptance: renaming it in the
    /// configuration must not outrun an opt-out.
    pub controller: &'a ControllerId,
    /// On which list, after control headers.
    pub list: Option<&'a ListName>,
    /// Under which author domain; `None` while it is not known yet (at RCPT).
    pub author: Option<&'a Domain>,
    /// All suppression facts about the recipient, in any order, of any scope.
    pub suppressions: &'a [Suppression],
    /// What rules of law read. The default knows nothing.
    pub facts: Facts<'a>,
    /// When.
    pub now: Timestamp,
}

impl<'a> Case<'a> {
    /// A case about which nothing is known beyond who, on which stream, and when: no list but the stream's, no
    /// suppression, no facts of law.
    pub fn new(recipient: &'a Recipient, stream: &'a StreamRules, now: Timestamp) -> Self {
        Self {
            recipient,
            stream,
            controller: &stream.controller,
            list: stream.list.as_ref(),
            author: None,
            suppressions: &[],
            facts: Facts::default(),
            now,
        }
    }
}

/// Decides one case: sector ban, suppression, the stream's own rules, national lists, basis, age, message duties,
/// provider duties, in this order; the first refusal decides. Of several laws that apply the stricter answer wins.
pub fn decide(case: &Case<'_>, rules: &Rulebook) -> Decision {
    judge(case, rules, Stand::Full, &mut Nobody)
}

/// Decides like [`decide`], and tells every rule that was considered. The decision is the same.
pub fn explain(case: &Case<'_>, rules: &Rulebook) -> (Decision, Trace) {
    let mut trace = Trace::default();
    let decision = judge(case, rules, Stand::Full, &mut trace);
    (decision, trace)
}

/// At RCPT: refuses what [`decide`] would refuse whatever the content will be; `None` promises nothing.
///
/// The list is taken from the stream: a control header may still name another, so list-scoped facts are left to
/// [`decide`] when `list` is `None`, and a consent to any list counts.
pub fn precheck(case: &Case<'_>, rules: &Rulebook) -> Option<Decision> {
    let early = Case { facts: Facts { message: None, ..case.facts }, ..*case };
    let decision = judge(&early, rules, Stand::Early, &mut Nobody);
    matches!(decision.verdict, Verdict::Refuse(_)).then_some(decision)
}

/// The stages after suppression, in order.
const STAGES: [Stage; 5] = [Stage::Register, Stage::Basis, Stage::Age, Stage::Message, Stage::Provider];

fn judge<W: Witness>(case: &Case<'_>, rules: &Rulebook, stand: Stand, witness: &mut W) -> Decision {
    let Law::Applied(law) = &case.stream.law else {
        return suppression_and_stream(case, witness).unwrap_or_else(|| permit(case, None));
    };
    let view = View::new(case, law, rules, stand);
    let mut ruling = Ruling::default();
    ruling.ask(&view, Stage::Ban, witness);
    let banned = ruling.is_refused(&view);
    let stopped = if banned && !W::EXHAUSTIVE { None } else { suppression_and_stream(case, witness) };
    if stopped.is_some() {
        ruling.stop();
    }
    if W::EXHAUSTIVE || (!banned && stopped.is_none()) {
        for stage in STAGES {
            ruling.ask(&view, stage, witness);
            if ruling.is_refused(&view) && !W::EXHAUSTIVE {
                break;
            }
        }
    }
    let answer = ruling.answer(&view);
    let decided = match (stopped, answer.refused_by) {
        (Some(stopped), refused) if !(banned && refused.is_some()) => stopped,
        (_, Some(rule)) => refuse(rule, None),
        (_, None) => permit(case, answer.granted_by),
    };
    Decision {
        facts: Some(answer.facts),
        warnings: answer.warnings,
        would_refuse: answer.would_refuse,
        overrides: answer.overrides,
        ..decided
    }
}

/// A permit, by the rule of law that grants it where one does.
fn permit(case: &Case<'_>, granted_by: Option<Rule>) -> Decision {
    let (rule, one_click) = match case.stream.class {
        MessageClass::Marketing => (rulebook::MARKETING, OneClick::Owed),
        MessageClass::Transactional => (rulebook::TRANSACTIONAL, OneClick::NotOwed),
    };
    let verdict = Verdict::Permit(Permit::new(case.recipient.clone(), Obligations { one_click }));
    let reason = rule.reason;
    Decision { reason, ..decision(granted_by.unwrap_or(rule), verdict, None) }
}

fn suppression_and_stream<W: Witness>(case: &Case<'_>, witness: &mut W) -> Option<Decision> {
    let stopping =
        case.suppressions.iter().filter(|fact| stops(fact, case)).min_by_key(|fact| (fact.cause, fact.since));
    if let Some(fact) = stopping {
        note(
            witness,
            rule_for(fact.cause),
            "a newer opt-in of the person, with evidence, or an operator's audited removal",
        );
        return Some(refuse(rule_for(fact.cause), fact.evidence.clone()));
    }
    if W::EXHAUSTIVE {
        for cause in Cause::ALL {
            witness.note(|| Considered {
                rule: rule_for(*cause),
                stage: None,
                effect: Effect::Refuse,
                outcome: Outcome::Passed,
            });
        }
    }
    case.author.filter(|domain| !case.stream.from_domains.allow(domain)).map(|_| {
        note(witness, rulebook::FROM_DOMAIN, "an author domain of this stream");
        refuse(rulebook::FROM_DOMAIN, None)
    })
}

fn note<W: Witness>(witness: &mut W, rule: Rule, remedy: &str) {
    witness.note(|| Considered {
        rule,
        stage: None,
        effect: Effect::Refuse,
        outcome: Outcome::Failed { remedies: vec![remedy.to_owned()] },
    });
}

fn stops(fact: &Suppression, case: &Case<'_>) -> bool {
    let class_fits = case.stream.class == MessageClass::Marketing || fact.cause.stops_every_class();
    fact.counts_at(case.now) && class_fits && in_scope(fact, case.controller, case.list) && !is_lifted(fact, case)
}

/// Whether a consent of the recipient lifts the entry; [`ConsentFact::lifts`] says when one does.
///
/// [`ConsentFact::lifts`]: super::consent::ConsentFact::lifts
fn is_lifted(fact: &Suppression, case: &Case<'_>) -> bool {
    case.facts.consents.iter().any(|consent| consent.lifts(fact, case.now))
}

fn in_scope(fact: &Suppression, controller: &ControllerId, list: Option<&ListName>) -> bool {
    fact.cause.reaches_everything() || fact.scope.covers(controller, list)
}

impl Cause {
    /// The reason code of a refusal for this cause, such as `SUP_UNSUBSCRIBE`.
    pub const fn reason(self) -> super::ReasonCode {
        rule_for(self).reason
    }
}

const fn rule_for(cause: Cause) -> Rule {
    match cause {
        Cause::Complaint => rulebook::COMPLAINT,
        Cause::LegalObjection => rulebook::OBJECTION,
        Cause::Unsubscribe => rulebook::UNSUBSCRIBE,
        Cause::Manual => rulebook::MANUAL,
        Cause::Erased => rulebook::ERASED,
        Cause::Invalid => rulebook::INVALID,
        Cause::HardBounce => rulebook::HARD_BOUNCE,
    }
}

fn refuse(rule: Rule, evidence: Option<String>) -> Decision {
    decision(rule, Verdict::Refuse(Refusal { permanence: Permanence::Permanent }), evidence)
}

fn decision(rule: Rule, verdict: Verdict, evidence: Option<String>) -> Decision {
    Decision {
        verdict,
        reason: rule.reason,
        rule: rule.id,
        rule_version: rule.version,
        source: rule.source,
        evidence,
        facts: None,
        warnings: Vec::new(),
        would_refuse: None,
        overrides: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mail::{Mailbox, StreamName};
    use crate::policy::rulebook::FromDomains;
    use crate::policy::{Basis, ConsentFact, Country, Origin, Purpose, Scope, StreamLaw};

    fn stream(class: MessageClass) -> StreamRules {
        StreamRules {
            name: StreamName::new("news").unwrap(),
            controller: ControllerId::new("acme").unwrap(),
            class,
            list: Some(ListName::new("weekly").unwrap()),
            from_domains: FromDomains::Only(vec![Domain::parse("acme.example").unwrap()]),
            law: Law::NotApplied,
        }
    }

    fn fact(cause: Cause, scope: &str) -> Suppression {
        Suppression {
            scope: scope.parse().unwrap(),
            cause,
            origin: Origin::Operator,
            evidence: None,
            since: Timestamp::from_secs(10),
            expires: None,
        }
    }

    fn reason(class: MessageClass, facts: &[Suppression]) -> &'static str {
        let stream = stream(class);
        let recipient = Recipient::new(Mailbox::parse("a@b.example").unwrap());
        let case = Case {
            recipient: &recipient,
            stream: &stream,
            controller: &stream.controller,
            list: stream.list.as_ref(),
            author: None,
            suppressions: facts,
            facts: Facts::default(),
            now: Timestamp::from_secs(100),
        };
        decide(&case, &Rulebook::built_in()).reason.as_str()
    }

    #[test]
    fn opt_outs_stop_marketing_in_their_scope_and_nothing_else() {
        use MessageClass::{Marketing, Transactional};
        for cause in [Cause::Unsubscribe, Cause::Complaint, Cause::LegalObjection] {
            for scope in ["everything", "controller:acme", "list:acme/weekly"] {
                assert_ne!(reason(Marketing, &[fact(cause, scope)]), "OK_MARKETING", "{cause} {scope}");
                assert_eq!(reason(Transactional, &[fact(cause, scope)]), "OK_TRANSACTIONAL", "{cause} {scope}");
            }
            for scope in ["controller:other", "list:acme/monthly", "list:other/weekly"] {
                assert_eq!(reason(Marketing, &[fact(cause, scope)]), "OK_MARKETING", "{cause} {scope}");
            }
        }
    }

    #[test]
    fn hard_bounces_and_erasures_stop_every_class_in_every_scope() {
        for cause in [Cause::HardBounce, Cause::Erased, Cause::Invalid] {
            for class in [MessageClass::Marketing, MessageClass::Transactional] {
                assert!(reason(class, &[fact(cause, "list:other/x")]).starts_with("SUP_"), "{cause} {class:?}");
            }
        }
    }

    #[test]
    fn the_strongest_cause_is_named() {
        let facts = [
            fact(Cause::HardBounce, "everything"),
            fact(Cause::Unsubscribe, "everything"),
            fact(Cause::Complaint, "everything"),
        ];
        assert_eq!(reason(MessageClass::Marketing, &facts), "SUP_COMPLAINT");
    }

    #[test]
    fn only_a_newer_proven_opt_in_lets_mail_pass_an_opt_out() {
        let stream = stream(MessageClass::Marketing);
        let recipient = Recipient::new(Mailbox::parse("a@b.example").unwrap());
        let mut opt_in = ConsentFact::new(
            stream.controller.clone(),
            Purpose::Marketing,
            Basis::OptIn,
            fact(Cause::Complaint, "everything").since.plus(std::time::Duration::from_millis(1)),
        );
        opt_in.evidence = Some("form 7".into());
        let unproven = ConsentFact { evidence: None, ..opt_in.clone() };
        let older = ConsentFact { collected_at: fact(Cause::Complaint, "everything").since, ..opt_in.clone() };
        for (cause, scope, consent, passes) in [
            (Cause::Unsubscribe, "list:acme/weekly", &opt_in, true),
            (Cause::Complaint, "controller:acme", &opt_in, true),
            (Cause::Complaint, "everything", &opt_in, false),
            (Cause::Manual, "controller:acme", &opt_in, false),
            (Cause::HardBounce, "controller:acme", &opt_in, false),
            (Cause::Erased, "controller:acme", &opt_in, false),
            (Cause::Unsubscribe, "controller:acme", &unproven, false),
            (Cause::Unsubscribe, "controller:acme", &older, false),
        ] {
            let suppressions = [fact(cause, scope)];
            let case = Case {
                suppressions: &suppressions,
                list: stream.list.as_ref(),
                facts: Facts { consents: std::slice::from_ref(consent), ..Facts::default() },
                ..Case::new(&recipient, &stream, Timestamp::from_secs(1_000_000))
            };
            let decision = decide(&case, &Rulebook::built_in());
            assert_eq!(matches!(decision.verdict, Verdict::Permit(_)), passes, "{cause} {scope} {consent:?}");
        }
    }

    #[test]
    fn a_foreign_author_domain_is_refused() {
        let stream = stream(MessageClass::Marketing);
        let recipient = Recipient::new(Mailbox::parse("a@b.example").unwrap());
        for (domain, reason) in [
            ("acme.example", "OK_MARKETING"),
            ("m.acme.example", "OK_MARKETING"),
            ("evil.example", "STREAM_FROM_DOMAIN"),
        ] {
            let domain = Domain::parse(domain).unwrap();
            let case = Case {
                recipient: &recipient,
                stream: &stream,
                controller: &stream.controller,
                list: None,
                author: Some(&domain),
                suppressions: &[],
                facts: Facts::default(),
                now: Timestamp::from_secs(1),
            };
            assert_eq!(decide(&case, &Rulebook::built_in()).reason.as_str(), reason);
        }
    }

    #[test]
    fn a_law_without_rules_lets_nothing_pass() {
        let mut stream = stream(MessageClass::Marketing);
        let recipient = Recipient::new(Mailbox::parse("a@b.example").unwrap());
        let now = Timestamp::from_secs(1);
        let without = decide(&Case::new(&recipient, &stream, now), &Rulebook::built_in());
        assert_eq!((without.reason.as_str(), without.facts), ("OK_MARKETING", None));
        stream.law = Law::Applied(Box::new(StreamLaw::new(Country::parse("FR").unwrap())));
        let with = decide(&Case::new(&recipient, &stream, now), &Rulebook::built_in());
        assert_eq!((with.reason.as_str(), with.rule.as_str()), ("LAW_NO_RULE", "LAW-0"));
        stream.class = MessageClass::Transactional;
        let receipt = decide(&Case::new(&recipient, &stream, now), &Rulebook::built_in());
        assert_eq!(receipt.reason.as_str(), "OK_TRANSACTIONAL");
    }

    fn any_fact() -> impl Strategy<Value = Suppression> {
        let scopes = prop::sample::select(vec![
            "everything",
            "controller:acme",
            "controller:x",
            "list:acme/weekly",
            "list:acme/other",
        ]);
        (prop::sample::select(Cause::ALL), scopes, 0..200_i64, prop::option::of(0..200_i64)).prop_map(
            |(cause, scope, since, expires)| Suppression {
                scope: scope.parse::<Scope>().unwrap(),
                cause,
                origin: Origin::Import,
                evidence: None,
                since: Timestamp::from_secs(since),
                expires: expires.map(Timestamp::from_secs),
            },
        )
    }

    proptest! {
        #[test]
        fn adding_a_suppression_never_permits_what_was_refused(mut facts in prop::collection::vec(any_fact(), 0..6), more in any_fact(), marketing: bool) {
            let class = if marketing { MessageClass::Marketing } else { MessageClass::Transactional };
            let before = reason(class, &facts);
            facts.push(more);
            let after = reason(class, &facts);
            prop_assert!(before.starts_with("OK_") || !after.starts_with("OK_"));
        }

        #[test]
        fn order_and_duplicates_do_not_matter(facts in prop::collection::vec(any_fact(), 0..6), marketing: bool) {
            let class = if marketing { MessageClass::Marketing } else { MessageClass::Transactional };
            let mut turned: Vec<_> = facts.iter().rev().cloned().collect();
            turned.extend(facts.clone());
            prop_assert_eq!(reason(class, &facts), reason(class, &turned));
        }

        #[test]
        fn precheck_refuses_only_what_decide_refuses(facts in prop::collection::vec(any_fact(), 0..6)) {
            let stream = stream(MessageClass::Marketing);
            let recipient = Recipient::new(Mailbox::parse("a@b.example").unwrap());
            let case = Case { recipient: &recipient, stream: &stream, controller: &stream.controller, list: stream.list.as_ref(), author: None, suppressions: &facts, facts: Facts::default(), now: Timestamp::from_secs(100) };
            let early = precheck(&case, &Rulebook::built_in());
            let full = decide(&case, &Rulebook::built_in());
            prop_assert_eq!(early.is_some(), matches!(full.verdict, Verdict::Refuse(_)));
        }
    }
}
