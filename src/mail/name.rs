//! Names that an operator gives: streams, lists, controllers, credentials, campaigns.

use std::fmt;
use std::sync::Arc;

/// The longest name that is accepted, in octets: it must fit a log field, a List-Id label and a token.
pub const NAME_MAX: usize = 64;

/// Why a name was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a name; expected 1 to {NAME_MAX} of a-z, A-Z, 0-9, `.`, `_`, `-`")]
pub struct NameError {
    given: String,
}

fn check(text: &str) -> Result<Arc<str>, NameError> {
    let fits = !text.is_empty()
        && text.len() <= NAME_MAX
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if fits { Ok(Arc::from(text)) } else { Err(NameError { given: text.chars().take(80).collect() }) }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Accepts 1 to [`NAME_MAX`] letters, digits, `.`, `_`, `-`.
            ///
            /// # Errors
            /// [`NameError`] naming what was given and what was expected.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check(text).map(Self)
            }

            /// The name as given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }
    )*};
}

names! {
    /// A kind of mail with one responsible sender: what a credential is bound to.
    StreamName;
    /// One mailing list of a controller: the scope of a one-click unsubscribe.
    ListName;
    /// The legal person that decides why and how people are written to (GDPR article 4(7)).
    ControllerId;
    /// What a campaign tool presents itself as.
    CredentialName;
    /// A way on which mail leaves.
    RouteName;
    /// Somebody outside who is told of events.
    HookName;
    /// One mailing within a stream, as the campaign tool names it.
    CampaignId;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_plain() {
        assert!(StreamName::new(&"a".repeat(NAME_MAX)).is_ok());
        assert!(StreamName::new(&"a".repeat(NAME_MAX + 1)).is_err());
        for bad in ["", "a b", "a\r\nBcc: x", "é", "a/b", "<a>"] {
            assert!(ListName::new(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
