//! The sentences of pages and letters, in six languages (Project Fluent). The files lie in `locales/` and are part of the program.

use std::sync::LazyLock;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource};

use super::Language;

/// Arguments that a sentence may name; every one may stand in every sentence.
#[derive(Clone, Copy, Debug, Default)]
pub struct Names<'a> {
    /// Who writes.
    pub sender: &'a str,
    /// The masked address.
    pub address: &'a str,
    /// A list's title.
    pub list: &'a str,
    /// The titles of all lists.
    pub lists: &'a str,
    /// For how many days something holds.
    pub days: &'a str,
}

/// The sentence `id`. A test holds that every file has every sentence; if one were missing, its name would show.
pub fn say(language: Language, id: &str, names: &Names<'_>) -> String {
    let bundle = bundle(language);
    let Some(pattern) = bundle.get_message(id).and_then(|message| message.value()) else { return id.to_owned() };
    let mut arguments = FluentArgs::new();
    arguments.set("sender", names.sender);
    arguments.set("address", names.address);
    arguments.set("list", names.list);
    arguments.set("lists", names.lists);
    arguments.set("days", names.days);
    let mut errors = Vec::new();
    bundle.format_pattern(pattern, Some(&arguments), &mut errors).into_owned()
}

const fn source(language: Language) -> &'static str {
    match language {
        Language::English => include_str!("../../locales/en.ftl"),
        Language::French => include_str!("../../locales/fr.ftl"),
        Language::German => include_str!("../../locales/de.ftl"),
        Language::Spanish => include_str!("../../locales/es.ftl"),
        Language::Italian => include_str!("../../locales/it.ftl"),
        Language::Dutch => include_str!("../../locales/nl.ftl"),
    }
}

type Bundle = FluentBundle<FluentResource>;

fn bundle(language: Language) -> &'static Bundle {
    static ENGLISH: LazyLock<Bundle> = LazyLock::new(|| read(Language::English));
    static FRENCH: LazyLock<Bundle> = LazyLock::new(|| read(Language::French));
    static GERMAN: LazyLock<Bundle> = LazyLock::new(|| read(Language::German));
    static SPANISH: LazyLock<Bundle> = LazyLock::new(|| read(Language::Spanish));
    static ITALIAN: LazyLock<Bundle> = LazyLock::new(|| read(Language::Italian));
    static DUTCH: LazyLock<Bundle> = LazyLock::new(|| read(Language::Dutch));
    match language {
        Language::English => &ENGLISH,
        Language::French => &FRENCH,
        Language::German => &GERMAN,
        Language::Spanish => &SPANISH,
        Language::Italian => &ITALIAN,
        Language::Dutch => &DUTCH,
    }
}

fn read(language: Language) -> Bundle {
    // A file that could not be read in part gives the rest; a test holds that none is like that.
    let resource = FluentResource::try_new(source(language).to_owned()).unwrap_or_else(|(resource, _)| resource);
    let identifier = language.tag().parse().unwrap_or_default();
    let mut bundle = FluentBundle::new_concurrent(vec![identifier]);
    // Marks of direction around arguments would be copied along with an address; all six run from left to right.
    bundle.set_use_isolating(false);
    bundle.add_resource_overriding(resource);
    bundle
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// The sentences of a file, each with the arguments it names.
    fn shape(text: &str) -> BTreeMap<String, BTreeSet<String>> {
        let mut shape = BTreeMap::<String, BTreeSet<String>>::new();
        let mut current = String::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some((id, _)) = line.split_once(" =").filter(|_| !line.starts_with(' ')) {
                current = id.to_owned();
                assert!(shape.insert(current.clone(), BTreeSet::new()).is_none(), "{current} stands there twice");
            }
            let named =
                line.split("{ $").skip(1).filter_map(|rest| rest.split_once(" }")).map(|(name, _)| name.to_owned());
            shape.entry(current.clone()).or_default().extend(named);
        }
        shape.remove("");
        shape
    }

    #[test]
    fn every_file_is_sound_and_has_the_same_sentences_with_the_same_arguments() {
        let wanted = shape(source(Language::English));
        assert!(wanted.len() > 30, "{}", wanted.len());
        for language in Language::ALL {
            FluentResource::try_new(source(language).to_owned())
                .unwrap_or_else(|(_, errors)| panic!("{language:?}: {errors:?}"));
            let there = shape(source(language));
            for (id, arguments) in &wanted {
                assert_eq!(there.get(id), Some(arguments), "{language:?}: {id}");
            }
            assert_eq!(there.len(), wanted.len(), "{language:?}: {:?}", there.keys().collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_sentence_can_be_said_and_none_is_left_in_english() {
        let names = Names { sender: "S", address: "A", list: "L", lists: "M", days: "7" };
        let ids: Vec<_> = shape(source(Language::English)).into_keys().collect();
        for id in &ids {
            let mut said = BTreeSet::new();
            for language in Language::ALL {
                let text = say(language, id, &names);
                assert!(text != *id && !text.is_empty() && !text.contains('{'), "{language:?}: {id}: {text}");
                said.insert(text);
            }
            assert!(said.len() > 1, "{id} is the same in all languages");
        }
    }
}
