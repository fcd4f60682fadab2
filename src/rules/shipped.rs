//! The files that are built in.

macro_rules! files {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$((concat!($folder, "/", $name), include_str!(concat!("../../", $folder, "/", $name)))),*]
    };
}

/// Rule packs, with the names that problems are reported under.
pub(super) const PACKS: &[(&str, &str)] = files!("config/rules":
    "all.toml", "strict.toml", "eu.toml", "fr.toml", "de.toml", "at.toml", "it.toml", "es.toml", "ch.toml", "nl.toml",
    "be.toml", "ie.toml", "uk.toml", "us.toml", "ca.toml", "au.toml",
);

/// Words that addresses are classified by, and topics.
pub(super) const TERMS: &[(&str, &str)] = files!("config/classify": "roles.toml", "domains.toml", "topics.toml");

/// Cases that show what the packs decide, for those who read a rule without the sources at hand.
pub(super) const CASES: &[(&str, &str)] = files!("tests/cases":
    "all/everywhere.toml", "strict/unknown-country.toml", "eu/baseline.toml", "fr/class-by-basis.toml",
    "fr/duties-and-deadlines.toml", "fr/people.toml", "de/werbung.toml", "at/werbung.toml", "it/marketing.toml",
    "es/publicidad.toml", "ch/massenwerbung.toml", "nl/reclame.toml", "be/publicite.toml", "ie/marketing.toml",
    "uk/marketing.toml", "us/can-spam.toml", "ca/casl.toml", "au/spam-act.toml", "borders/two-laws.toml",
);
