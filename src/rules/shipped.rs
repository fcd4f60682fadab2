//! The files that are built in.

macro_rules! files {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$((concat!("config/", $folder, "/", $name), include_str!(concat!("../../config/", $folder, "/", $name)))),*]
    };
}

/// Rule packs, with the names that problems are reported under.
pub(super) const PACKS: &[(&str, &str)] = files!("rules":
    "all.toml", "strict.toml", "eu.toml", "fr.toml", "de.toml", "at.toml", "it.toml", "es.toml", "ch.toml", "nl.toml",
    "be.toml", "ie.toml", "uk.toml", "us.toml", "ca.toml", "au.toml",
);

/// Words that addresses are classified by, and topics.
pub(super) const TERMS: &[(&str, &str)] = files!("classify": "roles.toml", "domains.toml", "topics.toml");
