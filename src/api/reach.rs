//! What a caller may do, and whose facts they may do it to.

use crate::mail::ControllerId;
use crate::policy::{Cause, Scope};

use super::problem::Problem;

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

    /// Refuses what lies outside.
    ///
    /// # Errors
    /// 403, naming `controller`.
    pub(super) fn must_hold(&self, controller: &ControllerId) -> Result<(), Problem> {
        if self.holds(controller) { Ok(()) } else { Err(Problem::outside(&format!("controller `{controller}`"))) }
    }

    /// The controller, when it is one.
    pub(super) const fn controller(&self) -> Option<&ControllerId> {
        match self {
            Self::Gateway => None,
            Self::Controller(own) => Some(own),
        }
    }
}

macro_rules! rights {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)+) => {
        /// One thing that a token allows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Right { $($(#[$doc])* $name,)+ }

        impl Right {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The word on command lines and in the file.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }
        }
    };
}

rights! {
    /// Looking at suppressions.
    SuppressionsRead = "suppressions:read",
    /// Adding and removing suppressions.
    SuppressionsWrite = "suppressions:write",
    /// Looking at consents.
    ConsentsRead = "consents:read",
    /// Recording consents, and asking for them.
    ConsentsWrite = "consents:write",
    /// Asking what would be decided, and by which rules.
    Decisions = "decisions:read",
    /// Reading the stream of events.
    Events = "events:read",
    /// Looking at the queue and at how the gateway is.
    QueueRead = "queue:read",
    /// Holding, releasing, dropping, suspending.
    QueueWrite = "queue:write",
}

impl Right {
    /// Whether only a token for the whole gateway can have it: the queue belongs to nobody alone.
    pub const fn is_gateway_wide(self) -> bool {
        matches!(self, Self::QueueRead | Self::QueueWrite)
    }
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Right {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|right| right.as_str() == word).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|right| right.as_str()).collect();
            format!("`{word}` is not a right; expected one of {}", known.join(", "))
        })
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

    #[test]
    fn rights_read_back() {
        for right in Right::ALL {
            assert_eq!(right.as_str().parse(), Ok(*right));
        }
        assert!("everything".parse::<Right>().unwrap_err().contains("consents:write"));
    }
}
