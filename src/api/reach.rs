//! What a caller may do, and whose facts they may do it to.

use super::problem::Problem;
use crate::mail::ControllerId;
pub use crate::store::Reach;

/// Refuses what lies outside.
///
/// # Errors
/// 403, naming `controller`.
pub(super) fn must_hold(reach: &Reach, controller: &ControllerId) -> Result<(), Problem> {
    if reach.holds(controller) { Ok(()) } else { Err(Problem::outside(&format!("controller `{controller}`"))) }
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
    fn rights_read_back() {
        for right in Right::ALL {
            assert_eq!(right.as_str().parse(), Ok(*right));
        }
        assert!("everything".parse::<Right>().unwrap_err().contains("consents:write"));
    }
}
