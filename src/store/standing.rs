//! How things stand between one person and one sender, as the store tells it. Pure.

use super::Dossier;
use crate::mail::{ControllerId, ListName};
use crate::policy::{Scope, Suppression};
use crate::time::Timestamp;

/// Whether something may be sent, as far as the person's own choice goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Nothing was said against it.
    Open,
    /// The person said no, and may say yes again.
    Left,
    /// Blocked for a reason that is not the person's choice: a dead mailbox, an operator's entry, an erasure.
    Shut,
}

/// The way from a controller to a person: on one list, or without one for all its marketing.
pub fn way(dossier: &Dossier, controller: &ControllerId, list: Option<&ListName>, now: Timestamp) -> Way {
    let stops = |fact: &&Suppression| {
        let covers = fact.cause.reaches_everything() || fact.scope.covers(controller, list);
        covers && fact.counts_at(now) && !dossier.consents.iter().any(|consent| consent.lifts(fact, now))
    };
    let mut way = Way::Open;
    for fact in dossier.suppressions.iter().filter(stops) {
        let own_choice = fact.cause.is_opt_out() && fact.scope != Scope::Everything;
        if !own_choice {
            return Way::Shut;
        }
        way = Way::Left;
    }
    way
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Basis, Cause, ConsentFact, Origin, Purpose};

    fn fact(scope: &str, cause: Cause) -> Suppression {
        let (scope, since) = (scope.parse().unwrap(), Timestamp::from_secs(10));
        Suppression { scope, cause, origin: Origin::Page, evidence: None, since, expires: None }
    }

    fn of(suppressions: Vec<Suppression>, consents: Vec<ConsentFact>, list: Option<&str>) -> Way {
        let dossier = Dossier { suppressions, consents, ..Dossier::default() };
        let list = list.map(|name| ListName::new(name).unwrap());
        way(&dossier, &ControllerId::new("acme").unwrap(), list.as_ref(), Timestamp::from_secs(100))
    }

    fn consent(purpose: &str, when: i64) -> ConsentFact {
        let controller = ControllerId::new("acme").unwrap();
        let mut fact =
            ConsentFact::new(controller, purpose.parse::<Purpose>().unwrap(), Basis::OptIn, Timestamp::from_secs(when));
        fact.evidence = Some("form".into());
        fact
    }

    #[test]
    fn the_way_is_open_until_somebody_says_no_and_left_until_yes() {
        let left = || vec![fact("list:acme/weekly", Cause::Unsubscribe)];
        assert_eq!(of(vec![], vec![], Some("weekly")), Way::Open);
        assert_eq!(of(left(), vec![], Some("weekly")), Way::Left);
        assert_eq!((of(left(), vec![], Some("offers")), of(left(), vec![], None)), (Way::Open, Way::Open));
        assert_eq!(of(left(), vec![consent("list:weekly", 11)], Some("weekly")), Way::Open);
        assert_eq!(of(left(), vec![consent("list:weekly", 10)], Some("weekly")), Way::Left);
        let objected = || vec![fact("controller:acme", Cause::LegalObjection)];
        assert_eq!((of(objected(), vec![], Some("weekly")), of(objected(), vec![], None)), (Way::Left, Way::Left));
        assert_eq!(of(objected(), vec![consent("list:weekly", 11)], Some("weekly")), Way::Left);
        assert_eq!(of(objected(), vec![consent("marketing", 11)], Some("weekly")), Way::Open);
        assert_eq!(of(vec![fact("controller:other", Cause::LegalObjection)], vec![], None), Way::Open);
    }

    #[test]
    fn what_the_person_did_not_choose_cannot_be_undone_here() {
        for shut in [
            fact("controller:other", Cause::HardBounce),
            fact("controller:acme", Cause::Manual),
            fact("everything", Cause::LegalObjection),
            fact("everything", Cause::Erased),
        ] {
            let both = vec![fact("list:acme/weekly", Cause::Unsubscribe), shut];
            assert_eq!(of(both, vec![consent("marketing", 11)], Some("weekly")), Way::Shut);
        }
    }
}
