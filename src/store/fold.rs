//! Two canonical spellings of a mailbox, pure: the exact one and the family one.
//!
//! A suppression must meet its person under every spelling that reaches the same mailbox, so the family spelling
//! folds hard: it would rather stop one message too many than one too few. Consent is never matched by it.
//!
//! Stored hashes cannot be folded again, so these rules are frozen as [`FOLD_VERSION`]. Unicode keeps the
//! normalised form of every assigned character forever (UAX #15, stability policy), so newer tables do not move them.

use unicode_normalization::UnicodeNormalization as _;

use crate::mail::Mailbox;

/// Which folding the stored hashes were made with; a store made with another one cannot be read.
pub(super) const FOLD_VERSION: i64 = 1;

/// How often compatibility folding is repeated until nothing changes. Two rounds are enough for every character of
/// today's tables; the bound only keeps a surprise from becoming a loop.
const FOLD_ROUNDS: usize = 4;

/// Mailbox providers with more than one domain for the same mailbox: (written, canonical).
const SAME_PROVIDER: [(&str, &str); 6] = [
    ("googlemail.com", "gmail.com"),
    ("protonmail.com", "proton.me"),
    ("protonmail.ch", "proton.me"),
    ("pm.me", "proton.me"),
    ("me.com", "icloud.com"),
    ("mac.com", "icloud.com"),
];

/// Relay domains whose addresses are unique per sender: two spellings there are two agreements, never one person.
const RELAYS: [&str; 7] =
    ["privaterelay.appleid.com", "duck.com", "mozmail.com", "aleeas.com", "addy.io", "simplelogin.com", "anonaddy.com"];
/// Relay services that use one name under several top-level domains.
const RELAY_NAMES: [&str; 2] = ["simplelogin", "anonaddy"];

/// Appends the exact spelling: unquoted local part in NFC and lower case, `@`, A-label domain in lower case.
pub(super) fn exact(mailbox: &Mailbox, out: &mut String) {
    let local = mailbox.local_part();
    if is_plain(local) {
        push_lower(local, out);
    } else {
        out.extend(lower(mailbox.unquoted_local_part().nfc()).nfc());
    }
    out.push('@');
    out.push_str(mailbox.domain().as_str());
}

/// Appends the family spelling: the exact one, folded further by compatibility (NFKC), without invisible characters
/// and blanks, without `+tag`, and by the habits of the large mailbox providers.
pub(super) fn family(mailbox: &Mailbox, out: &mut String) {
    let start = out.len();
    let domain = mailbox.domain().as_str();
    let habits = Habits::of(domain);
    let written = mailbox.local_part();
    if is_plain(written) {
        push_lower(written, out);
    } else {
        out.push_str(&skeleton(&mailbox.unquoted_local_part()));
    }
    if habits.plus {
        cut_tag(out, start, '+');
    }
    if habits.dash {
        cut_tag(out, start, '-');
    }
    if habits.dots {
        let kept: String = out.get(start..).unwrap_or_default().chars().filter(|c| *c != '.').collect();
        out.truncate(start);
        out.push_str(&kept);
    }
    if out.len() == start {
        // Folding left nothing (`"."@gmail.com`): such a mailbox is its own family.
        return exact(mailbox, out);
    }
    out.push('@');
    out.push_str(habits.canonical);
}

/// What a provider does with the local part.
struct Habits<'a> {
    canonical: &'a str,
    plus: bool,
    dash: bool,
    dots: bool,
}

impl<'a> Habits<'a> {
    fn of(domain: &'a str) -> Self {
        if is_relay(domain) {
            return Self { canonical: domain, plus: false, dash: false, dots: false };
        }
        let canonical =
            SAME_PROVIDER.iter().find(|(written, _)| *written == domain).map_or(domain, |(_, canonical)| canonical);
        let yahoo = domain.starts_with("yahoo.") || matches!(domain, "ymail.com" | "rocketmail.com");
        Self { canonical, plus: true, dash: yahoo, dots: canonical == "gmail.com" }
    }
}

fn is_relay(domain: &str) -> bool {
    let within = |relay: &str| domain.strip_suffix(relay).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    RELAYS.iter().any(|relay| within(relay))
        || RELAY_NAMES.iter().any(|name| domain.split_once('.').is_some_and(|(first, _)| first == *name))
}

/// Whether lower case is all that is needed: no quotes, no escapes, nothing beyond ASCII.
fn is_plain(local: &str) -> bool {
    local.is_ascii() && !local.starts_with('"')
}

fn push_lower(text: &str, out: &mut String) {
    out.extend(text.chars().map(|c| c.to_ascii_lowercase()));
}

/// Lower case character by character, so that no letter depends on its neighbours (`Σ` always becomes `σ`).
fn lower(chars: impl Iterator<Item = char>) -> impl Iterator<Item = char> {
    chars.flat_map(char::to_lowercase).map(|c| if c == 'ς' { 'σ' } else { c })
}

fn skeleton(text: &str) -> String {
    let mut folded = text.to_owned();
    for _ in 0..FOLD_ROUNDS {
        let next: String = lower(folded.nfkc().filter(|c| !c.is_whitespace() && !is_invisible(*c))).nfkc().collect();
        if next == folded {
            break;
        }
        folded = next;
    }
    folded
}

/// Characters that are not seen and that providers ignore or refuse (the default ignorable ones of UAX #44 that can
/// stand in a local part).
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{AD}'
            | '\u{34F}'
            | '\u{61C}'
            | '\u{115F}'..='\u{1160}'
            | '\u{17B4}'..='\u{17B5}'
            | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}'
            | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}'
            | '\u{3164}'
            | '\u{FE00}'..='\u{FE0F}'
            | '\u{FEFF}'
            | '\u{FFA0}'
            | '\u{E0000}'..='\u{E0FFF}'
    )
}

/// Cuts at the first `mark` that has something before it: `+cmd@` is a name, not a tag.
fn cut_tag(out: &mut String, start: usize, mark: char) {
    let local = out.get(start..).unwrap_or_default();
    let cut = local.char_indices().skip(1).find(|(_, c)| *c == mark).map(|(at, _)| at);
    if let Some(at) = cut {
        out.truncate(start + at);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mailbox(text: &str) -> Mailbox {
        Mailbox::parse(text).unwrap_or_else(|e| panic!("{text:?}: {e}"))
    }

    fn family_of(text: &str) -> String {
        let mut out = String::new();
        family(&mailbox(text), &mut out);
        out
    }

    fn exact_of(text: &str) -> String {
        let mut out = String::new();
        exact(&mailbox(text), &mut out);
        out
    }

    #[test]
    fn every_spelling_of_one_mailbox_is_one_family() {
        let same = [
            ("victim@example.com", "Victim@EXAMPLE.com"),
            ("victim@example.com", "\"victim\"@example.com"),
            ("victim@example.com", "\"vic\\tim\"@example.com"),
            ("victim@example.com", "\"victim \"@example.com"),
            ("victim@example.com", "victim+tag@example.com"),
            ("victim@example.com", "victim+a+b@example.com"),
            ("victim@example.com", "ｖｉｃｔｉｍ@example.com"),
            ("victim@example.com", "victim＋tag@example.com"),
            ("victim@example.com", "vic\u{200B}tim@example.com"),
            ("victim@bücher.example", "victim@xn--bcher-kva.example"),
            ("ren\u{e9}@x.example", "rene\u{301}@x.example"),
            ("REN\u{c9}@x.example", "rene\u{301}@x.example"),
            ("ΟΔΟΣ@x.example", "οδος@x.example"),
            ("vic.tim@gmail.com", "victim@googlemail.com"),
            ("v.i.c.tim+x@gmail.com", "VICTIM@gmail.com"),
            ("v@proton.me", "v@protonmail.com"),
            ("v@pm.me", "v+x@protonmail.ch"),
            ("v@me.com", "v@icloud.com"),
            ("v@mac.com", "v@icloud.com"),
            ("v-shop@yahoo.fr", "v@yahoo.fr"),
            ("v-shop@ymail.com", "v@ymail.com"),
        ];
        for (a, b) in same {
            assert_eq!(family_of(a), family_of(b), "{a} {b}");
        }
    }

    #[test]
    fn different_people_stay_different() {
        let different = [
            ("vic.tim@example.com", "victim@example.com"),
            ("v-shop@example.com", "v@example.com"),
            ("+a@example.com", "+b@example.com"),
            ("a+x@duck.com", "a+y@duck.com"),
            ("a+x@me.anonaddy.com", "a+y@me.anonaddy.com"),
            ("a+x@simplelogin.co", "a+y@simplelogin.co"),
            ("a@myyahoo.fr", "a@yahoo.fr"),
            ("a@notgmail.com", "a@gmail.com"),
            ("\".\"@gmail.com", "\"..\"@gmail.com"),
        ];
        for (a, b) in different {
            assert_ne!(family_of(a), family_of(b), "{a} {b}");
        }
    }

    #[test]
    fn the_exact_spelling_keeps_tags_dots_and_width() {
        assert_eq!(exact_of("\"Vic\\.Tim+x\"@GMAIL.com"), "vic.tim+x@gmail.com");
        assert_eq!(exact_of("rene\u{301}@bücher.example"), "ren\u{e9}@xn--bcher-kva.example");
        assert_ne!(exact_of("ｖ@x.example"), exact_of("v@x.example"));
        assert_eq!(exact_of("ΟΔΟΣ@x.example"), exact_of("οδος@x.example"));
        assert_eq!(family_of("x@[192.0.2.1]"), "x@[192.0.2.1]");
    }

    proptest! {
        #[test]
        fn equal_exact_spellings_are_equal_families(local in "[a-zA-Z0-9.+éÉßſKﬁ-]{1,12}", upper in any::<bool>()) {
            let text = format!("\"{local}\"@x.example");
            let other = if upper { local.to_uppercase() } else { local.to_lowercase() };
            let again = format!("\"{other}\"@X.example");
            if exact_of(&text) == exact_of(&again) {
                prop_assert_eq!(family_of(&text), family_of(&again));
            }
        }

        #[test]
        fn folding_settles(local in "\\PC{1,12}") {
            let once = skeleton(&local);
            prop_assert_eq!(skeleton(&once), once);
        }

        #[test]
        fn case_width_tags_and_quotes_never_escape(
            name in "[a-z][a-z0-9]{0,10}", tag in "[a-z0-9]{0,6}", upper in any::<bool>(), wide in any::<bool>(),
            quoted in any::<bool>(),
        ) {
            let mut local = format!("{name}+{tag}");
            if upper { local = local.to_uppercase(); }
            if wide {
                local = local.chars().map(|c| char::from_u32(u32::from(c) + 0xFEE0).unwrap_or(c)).collect();
            }
            if quoted { local = format!("\"{local}\""); }
            prop_assume!(local.len() <= 64);
            prop_assert_eq!(family_of(&format!("{local}@Example.COM")), format!("{name}@example.com"));
        }
    }
}
