//! Small closed vocabularies, the names that an operator gives, and countries.

use std::fmt;
use std::sync::Arc;

/// An enum whose values have one word each: on command lines, in files, in logs.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* } expected $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word used on command lines, in files and in logs.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(format!("`{text}` is not known; expected {}", $expected)),
                }
            }
        }
    };
}
pub(crate) use words;

/// The longest term, in octets: as long as any other name that an operator gives.
pub const TERM_MAX: usize = 64;

fn check_term(text: &str) -> Result<Arc<str>, String> {
    let fits = !text.is_empty()
        && text.len() <= TERM_MAX
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
    let shown: String = text.chars().take(80).collect();
    if fits {
        Ok(Arc::from(text))
    } else {
        Err(format!("`{shown}` is not a term; expected 1 to {TERM_MAX} of a-z, 0-9, `_`, `-`"))
    }
}

macro_rules! terms {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Accepts 1 to [`TERM_MAX`] lower-case letters, digits, `_`, `-`.
            ///
            /// # Errors
            /// A sentence naming what was given and what was expected.
            pub fn new(text: &str) -> Result<Self, String> {
                check_term(text).map(Self)
            }

            /// The term as given.
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
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                Self::new(text)
            }
        }
    )*};
}

terms! {
    /// What a stream writes about: `it-security`, `newsletter`.
    Topic;
    /// What a person does at work: `it`, `purchasing`. A topic meets a person through their functions.
    Function;
    /// The trade that a stream advertises, where a law bans mail of that trade: `energy_renovation`.
    Sector;
    /// Products that are alike enough for "own similar products" (Directive 2002/58 article 13(2)).
    ProductFamily;
    /// A national opt-out list: `ecg`, `lista_robinson`.
    RegisterName;
}

/// A country by its ISO 3166-1 alpha-2 code, except that the United Kingdom is `UK`, as in its domain names and in
/// the name of its rule pack; `GB` is read as `UK`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

impl Country {
    /// Reads two letters of either case.
    ///
    /// # Errors
    /// A sentence naming what was given and what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.as_bytes() {
            [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                let code = [a.to_ascii_uppercase(), b.to_ascii_uppercase()];
                Ok(Self(if code == *b"GB" { *b"UK" } else { code }))
            }
            _ => {
                let shown: String = text.chars().take(20).collect();
                Err(format!("`{shown}` is not a country; expected two letters such as `FR`"))
            }
        }
    }

    /// The code in upper case.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Country {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_bounded_and_plain() {
        assert!(Topic::new(&"a".repeat(TERM_MAX)).is_ok());
        assert!(Topic::new(&"a".repeat(TERM_MAX + 1)).is_err());
        for bad in ["", "A", "a b", "é", "a/b"] {
            assert!(Sector::new(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn countries_are_two_letters_and_britain_has_one_name() {
        assert_eq!(Country::parse("fr").unwrap().as_str(), "FR");
        assert_eq!(Country::parse("GB"), Country::parse("uk"));
        for bad in ["", "F", "FRA", "F1", "é"] {
            assert!(Country::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
