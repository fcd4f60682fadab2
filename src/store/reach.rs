//! Whose facts somebody sees and changes.

use super::Told;
use crate::mail::ControllerId;
use crate::policy::{Cause, Scope};

/// Whose facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everybody's.
    Gateway,
    /// Those of one controller and its lists.
    Controller(ControllerId),
}

impl Reach {
    /// Whether facts of `controller` are within it.
    pub fn holds(&self, controller: &ControllerId) -> bool {
        match self {
            Self::Gateway => true,
            Self::Controller(own) => own == controller,
        }
    }

    /// Whether entries of that scope and cause are within it. What reaches everybody's mail is nobody's own, and neither is an
    /// entry that counts as if it did.
    pub fn holds_entry(&self, scope: &Scope, cause: Cause) -> bool {
        match (self, scope) {
            (Self::Gateway, _) => true,
            (Self::Controller(_), Scope::Everything) => false,
            (Self::Controller(own), Scope::Controller(of) | Scope::List(of, _)) => {
                own == of && !cause.reaches_everything()
            }
        }
    }

    /// Whether such an event is within it. What a person is counts for every controller.
    pub fn holds_event(&self, told: &Told) -> bool {
        match told {
            Told::Consent(fact) => self.holds(&fact.controller),
            Told::Contact(_) | Told::Retraction(_) => *self == Self::Gateway,
        }
    }

    /// The controller, when it is one.
    pub const fn controller(&self) -> Option<&ControllerId> {
        match self {
            Self::Gateway => None,
            Self::Controller(own) => Some(own),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_reaches_its_own_entries_and_none_that_count_for_everybody() {
        let acme = Reach::Controller(ControllerId::new("acme").unwrap());
        for (scope, cause, held) in [
            ("list:acme/weekly", Cause::Unsubscribe, true),
            ("controller:acme", Cause::LegalObjection, true),
            ("controller:acme", Cause::HardBounce, false),
            ("controller:acme", Cause::Erased, false),
            ("controller:acme2", Cause::Unsubscribe, false),
            ("list:other/weekly", Cause::Unsubscribe, false),
            ("everything", Cause::Unsubscribe, false),
        ] {
            let scope: Scope = scope.parse().unwrap();
            assert_eq!(acme.holds_entry(&scope, cause), held, "{scope} {cause}");
            assert!(Reach::Gateway.holds_entry(&scope, cause));
        }
    }
}
