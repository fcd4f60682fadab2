//! The words that addresses are classified by, and the functions that topics belong to.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::{Classifier, Function, Topic, fold_word};

use super::error::Problem;
use super::reader::{Fields, Problems, document};

/// What the files of `config/classify` hold.
#[derive(Default)]
pub(super) struct Terms {
    pub(super) classifier: Classifier,
    pub(super) topics: BTreeMap<Topic, Vec<Function>>,
}

/// A word of a local part, folded as local parts are.
struct Folded(Box<str>);

impl std::str::FromStr for Folded {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        fold_word(text).map(Self)
    }
}

/// A domain, or a pattern with one `*` in its first label.
struct DomainPattern(Box<str>);

impl std::str::FromStr for DomainPattern {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'*');
        let stars = text.matches('*').count();
        let star_is_first = text.split('.').skip(1).all(|label| !label.contains('*'));
        if text.is_empty() || !text.bytes().all(fits) || stars > 1 || !star_is_first {
            return Err(format!("`{text}` is not a domain; expected lower case, and `*` in the first label at most"));
        }
        Ok(Self(Box::from(text)))
    }
}

/// A domain, or `name.*` for a provider's domains in every country.
enum Provider {
    Domain(Box<str>),
    Name(Box<str>),
}

impl std::str::FromStr for Provider {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.strip_suffix(".*");
        match (name, name.unwrap_or(text).parse::<DomainPattern>()?.0) {
            (_, rest) if rest.contains('*') => Err(format!("`{text}` is not a domain; expected `a.b` or `name.*`")),
            (Some(_), name) => Ok(Self::Name(name)),
            (None, domain) => Ok(Self::Domain(domain)),
        }
    }
}

impl Terms {
    /// Adds one file: `[roles]` and its kin hold lists by language, `[topic]` holds functions by topic. Lists of several
    /// files add up; nothing is taken away.
    pub(super) fn add(&mut self, file: &str, text: &str) -> Vec<Problem> {
        let mut problems = Problems::new(file, text);
        if let Some(document) = document(text, &mut problems) {
            let mut fields = Fields::new(document.get_ref(), document.span(), None);
            let words = &mut self.classifier;
            for (key, set) in [
                ("roles", &mut words.roles),
                ("prefixes", &mut words.prefixes),
                ("titles", &mut words.titles),
                ("technical", &mut words.technical),
                ("surnames", &mut words.surnames),
                ("public_roles", &mut words.public_roles),
            ] {
                add_words(&mut fields, key, set, &mut problems);
            }
            let domains = fields.words::<DomainPattern>("public_domains", &mut problems).unwrap_or_default();
            words.public_domains.extend(domains.into_iter().map(|domain| domain.0));
            for provider in fields.words::<Provider>("personal_domains", &mut problems).unwrap_or_default() {
                match provider {
                    Provider::Name(name) => words.personal_names.insert(name),
                    Provider::Domain(domain) => words.personal_domains.insert(domain),
                };
            }
            self.add_topics(&mut fields, &mut problems);
            fields.finish(&mut problems);
        }
        problems.into_found()
    }

    fn add_topics(&mut self, fields: &mut Fields<'_>, problems: &mut Problems<'_>) {
        for mut table in fields.tables("topic", problems) {
            let name = table.word::<Topic>("name", problems);
            let functions = table.words::<Function>("functions", problems);
            match (name, functions) {
                (Some(name), Some(functions)) => self.topics.entry(name).or_default().extend(functions),
                (_, _) => table.wrong("a topic has a `name` and `functions`", problems),
            }
            table.finish(problems);
        }
    }
}

fn add_words(fields: &mut Fields<'_>, key: &'static str, set: &mut BTreeSet<Box<str>>, problems: &mut Problems<'_>) {
    let words = fields.words::<Folded>(key, problems).unwrap_or_default();
    set.extend(words.into_iter().map(|word| word.0));
}
