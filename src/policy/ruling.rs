//! Asks the rules of law, stage by stage, and keeps what they answered.

use super::MessageClass;
use super::consent::{ConsentFact, Standing};
use super::decision::FactsUsed;
use super::law::Enforcement;
use super::rulebook::{self, Profile, Rule};
use super::statute::{Effect, LawRule, Override, Requirement, Stage};
use super::trace::{Considered, Outcome, Witness};
use super::view::{Fulfilment, View};

/// What the rules of law have answered so far.
#[derive(Default)]
pub(super) struct Ruling<'a> {
    /// The first rule that refused.
    refused_by: Option<Rule>,
    /// The first rule that said on what basis the message may leave, and the record that fulfilled it.
    granted_by: Option<Rule>,
    granted_on: Option<&'a ConsentFact>,
    warnings: Vec<Rule>,
    overrides: Vec<Override>,
    /// Whether something outside the law has stopped the message: what follows is for the witness only.
    stopped: bool,
}

/// The answer, in the words of a decision.
pub(super) struct Answer {
    /// The rule that refuses, when rules of law are enforced.
    pub(super) refused_by: Option<Rule>,
    /// The rule that would have refused, when they are not.
    pub(super) would_refuse: Option<Rule>,
    pub(super) granted_by: Option<Rule>,
    pub(super) warnings: Vec<Rule>,
    pub(super) overrides: Vec<Override>,
    pub(super) facts: FactsUsed,
}

impl<'a> Ruling<'a> {
    /// Whether the answer is settled and more rules cannot change it.
    pub(super) fn is_refused(&self, view: &View<'a>) -> bool {
        self.refused_by.is_some() && view.law().enforcement == Enforcement::Enforce
    }

    /// Something outside the law has stopped the message.
    pub(super) const fn stop(&mut self) {
        self.stopped = true;
    }

    /// Asks every rule of one stage, the recipient's law first.
    pub(super) fn ask<W: Witness>(&mut self, view: &View<'a>, stage: Stage, witness: &mut W) {
        for profile in view.profiles() {
            for law in profile.rules(stage) {
                if law.is_in_force(view.now()) && law.mail.contains(&view.mail()) {
                    self.ask_one(view, law, witness);
                }
                if !W::EXHAUSTIVE && self.is_refused(view) {
                    return;
                }
            }
        }
        if stage == Stage::Basis {
            self.ask_for_a_grant(view, witness);
        }
    }

    fn ask_one<W: Witness>(&mut self, view: &View<'a>, law: &LawRule, witness: &mut W) {
        if let Some(condition) = law.when.iter().find(|condition| !view.applies(condition)) {
            witness.note(|| considered(law, Outcome::NotApplicable { because: condition.describe() }));
            return;
        }
        let answer = fulfilment(view, law);
        // An explanation goes on after the decision has fallen; the decision does not change by it.
        if !self.stopped && !self.is_refused(view) {
            self.keep(law, answer);
        }
        witness.note(|| considered(law, outcome(view, law, answer)));
    }

    fn keep(&mut self, law: &LawRule, answer: Fulfilment<'a>) {
        let grants = law.grants() && self.granted_by.is_none() && self.refused_by.is_none();
        match (answer, law.overridden, law.effect) {
            (Fulfilment::Yes(fact), _, _) if grants => {
                self.granted_by = Some(law.rule);
                self.granted_on = fact;
            }
            (Fulfilment::Yes(_) | Fulfilment::NotInView, _, _) => {}
            (Fulfilment::No, Some(chosen), _) => {
                if !self.overrides.contains(&chosen) {
                    self.overrides.push(chosen);
                }
                if grants {
                    self.granted_by = Some(law.rule);
                }
            }
            (Fulfilment::No, None, Effect::Warn) => {
                if !self.warnings.iter().any(|known| known.id == law.rule.id) {
                    self.warnings.push(law.rule);
                }
            }
            (Fulfilment::No, None, Effect::Refuse) => {
                self.refused_by.get_or_insert(law.rule);
            }
        }
    }

    /// A law that says nothing about somebody allows nothing: each one that applies must have had its say.
    fn ask_for_a_grant<W: Witness>(&mut self, view: &View<'a>, witness: &mut W) {
        if view.mail() != MessageClass::Marketing {
            return;
        }
        let speaks = |profile: &Profile| {
            profile.rules(Stage::Basis).iter().any(|law| {
                law.grants()
                    && law.is_in_force(view.now())
                    && law.mail.contains(&MessageClass::Marketing)
                    && law.when.iter().all(|condition| view.applies(condition))
            })
        };
        let each_speaks = view.countries().all(speaks);
        if each_speaks && view.laws_are_known() {
            return;
        }
        if !self.stopped {
            self.refused_by.get_or_insert(rulebook::NO_LAW);
        }
        witness.note(|| Considered {
            rule: rulebook::NO_LAW,
            stage: None,
            effect: Effect::Refuse,
            outcome: Outcome::Failed {
                remedies: vec![String::from("a rule that says on what basis this recipient may be written to")],
            },
        });
    }

    /// Sums up.
    pub(super) fn answer(self, view: &View<'a>) -> Answer {
        let enforced = view.law().enforcement == Enforcement::Enforce;
        let basis = self.granted_on.map(|fact| (fact.basis, fact.standing));
        let evidence =
            self.granted_on.filter(|fact| fact.standing == Standing::Proven).and_then(|fact| fact.evidence.clone());
        Answer {
            refused_by: self.refused_by.filter(|_| enforced),
            would_refuse: self.refused_by.filter(|_| !enforced),
            granted_by: self.granted_by,
            warnings: self.warnings,
            overrides: self.overrides,
            facts: FactsUsed {
                country: view.country,
                country_is: view.country_is,
                establishment: view.law().establishment,
                class: view.class,
                class_is: view.class_is,
                basis,
                evidence,
            },
        }
    }
}

/// The worst answer of all that a rule asks, with the record that fulfilled it.
fn fulfilment<'a>(view: &View<'a>, law: &LawRule) -> Fulfilment<'a> {
    let mut worst = Fulfilment::Yes(None);
    for requirement in &law.require {
        match view.fulfils(requirement) {
            Fulfilment::No => return Fulfilment::No,
            Fulfilment::NotInView => worst = Fulfilment::NotInView,
            Fulfilment::Yes(Some(fact)) if worst == Fulfilment::Yes(None) => worst = Fulfilment::Yes(Some(fact)),
            Fulfilment::Yes(_) => {}
        }
    }
    worst
}

fn considered(law: &LawRule, outcome: Outcome) -> Considered {
    Considered { rule: law.rule, stage: Some(law.stage), effect: law.effect, outcome }
}

fn outcome(view: &View<'_>, law: &LawRule, answer: Fulfilment<'_>) -> Outcome {
    match (answer, law.overridden) {
        (Fulfilment::Yes(_), _) => Outcome::Passed,
        (Fulfilment::NotInView, _) => Outcome::NotInView,
        (Fulfilment::No, Some(chosen)) => Outcome::Overridden(chosen),
        (Fulfilment::No, None) => {
            let unmet = law.require.iter().filter(|requirement| view.fulfils(requirement) == Fulfilment::No);
            Outcome::Failed { remedies: unmet.map(Requirement::describe).collect() }
        }
    }
}
