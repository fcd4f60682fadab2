//! What a room looks like: short files, an opening promise, no loose ends, and no clock in a pure room.

use super::source::{Source, words};

/// Lines that a file may have, tests included: about what a reader can hold in one sitting.
const FILE_LINES_MAX: usize = 500;
/// Files that were longer when the rule came. It may only shrink.
const LONG_FILES: [&str; 0] = [];
/// Rooms and files whose result may depend on their arguments only.
const PURE: [&str; 19] = [
    "src/policy",
    "src/message",
    "src/token",
    "src/smtp/wire",
    "src/replies/book",
    "src/replies/class",
    "src/replies/local",
    "src/replies/pattern",
    "src/shaping/book",
    "src/shaping/rate",
    "src/shaping/pace",
    "src/shaping/warmup",
    "src/delivery/fair",
    "src/delivery/retry",
    "src/delivery/outcome",
    "src/delivery/backoff",
    "src/delivery/breaker",
    "src/delivery/group",
    "src/delivery/suspension",
];
/// Ways to reach the world, none of which a pure room may take.
const IMPURE: [&str; 16] = [
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "SystemTime::now",
    "Instant::now",
    "tokio::",
    "async fn",
    "rand::fill",
    "thread_rng",
    "getrandom",
    "SystemRandom",
];
/// The RSA signing call asks for a random source, although a PKCS #1 v1.5 signature (RFC 8017 section 8.2) is a
/// function of key and message alone. This folder makes DKIM signatures, and nothing else there may use it.
const RSA_SIGNER: (&str, &str) = ("src/message/dkim", "SystemRandom");
/// Unfinished work belongs in an issue; the letters are parted so that this file may be read by its own check.
const LOOSE_ENDS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];
/// Code that is not there, and lints and tests switched off without a word.
const BANNED_CODE: [&str; 5] = ["unimplemented!", "todo!", "#[allow", "#![allow", "#[ignore"];
/// Names of modules and types that promise nothing in particular.
const EMPTY_NAMES: [&str; 6] = ["core", "manager", "context", "utils", "util", "common"];

/// Everything that a source file can do wrong by itself, one sentence each.
pub(super) fn violations(source: &Source) -> Vec<String> {
    [too_long(source), no_promise(source), loose_ends(source), impure(source), empty_names(source)].concat()
}

fn too_long(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let excused = LONG_FILES.contains(&source.path.as_str());
    if lines <= FILE_LINES_MAX || excused {
        return Vec::new();
    }
    vec![format!("{}: {lines} lines; {FILE_LINES_MAX} are allowed: cut it where a noun appears", source.path)]
}

fn no_promise(source: &Source) -> Vec<String> {
    let is_room = source.path.split('/').count() == 3 && source.path.ends_with("/mod.rs");
    let header: String = source.text.lines().take_while(|line| line.starts_with("//!")).collect();
    let missing = ["Promise", "Never knows"].into_iter().filter(|word| is_room && !header.contains(word));
    missing.map(|word| format!("{}:1: the header of a room says `{word}`", source.path)).collect()
}

fn loose_ends(source: &Source) -> Vec<String> {
    let in_text = LOOSE_ENDS.iter().flat_map(|word| words(&source.text, word).map(move |at| (at, word)));
    // A test that is switched off hides in a test module, so the text with its comments is read here too.
    let in_code = BANNED_CODE.iter().flat_map(|word| words(&source.text, word).map(move |at| (at, word)));
    // `X.1.XXX` is how RFC 3463 writes a class of codes.
    let in_text = in_text.filter(|(at, _)| !source.text[..*at].ends_with('.'));
    in_text.chain(in_code).map(|(at, word)| at_line(source, at, &format!("`{word}` is not left behind"))).collect()
}

fn impure(source: &Source) -> Vec<String> {
    let is_in = |name: &str| source.path.strip_prefix(name).is_some_and(|rest| rest.starts_with(['/', '.']));
    if !PURE.iter().any(|name| is_in(name)) {
        return Vec::new();
    }
    let excused = |word: &str| word == RSA_SIGNER.1 && is_in(RSA_SIGNER.0);
    let found =
        IMPURE.iter().filter(|word| !excused(word)).flat_map(|word| source.words(word).map(move |at| (at, word)));
    found
        .map(|(at, word)| at_line(source, at, &format!("`{word}` in a pure room: take the value as an argument")))
        .collect()
}

fn empty_names(source: &Source) -> Vec<String> {
    let file = source.path.trim_end_matches(".rs").rsplit('/').find(|part| *part != "mod").unwrap_or_default();
    let mut found: Vec<_> = EMPTY_NAMES
        .iter()
        .filter(|name| **name == file)
        .map(|name| format!("{}:1: `{name}` is a room without a promise; name what it owns", source.path))
        .collect();
    for keyword in ["mod ", "struct ", "enum ", "trait ", "type "] {
        for at in source.words(keyword) {
            let rest = &source.code[at + keyword.len()..];
            let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            if EMPTY_NAMES.contains(&name.to_lowercase().as_str()) {
                found.push(at_line(source, at, &format!("`{name}` promises nothing; name what it owns")));
            }
        }
    }
    found
}

fn at_line(source: &Source, at: usize, sentence: &str) -> String {
    format!("{}:{}: {sentence}", source.path, source.line_at(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str) -> Vec<String> {
        violations(&Source::new(path, text))
    }

    #[test]
    fn five_hundred_lines_are_allowed_and_one_more_is_not() {
        assert!(check("src/mail/a.rs", &"\n".repeat(FILE_LINES_MAX)).is_empty());
        assert_eq!(check("src/mail/a.rs", &"\n".repeat(FILE_LINES_MAX + 1)).len(), 1);
    }

    #[test]
    fn a_room_opens_with_its_promise_and_its_limits() {
        assert!(check("src/mail/mod.rs", "//! **Promise:** x\n//! **Never knows:** y\n").is_empty());
        assert_eq!(check("src/mail/mod.rs", "//! **Promise:** x\n\n// Never knows\n").len(), 1);
        assert_eq!(check("src/mail/mod.rs", "").len(), 2);
        assert!(check("src/mail/inner/mod.rs", "").is_empty(), "only rooms, not their folders");
    }

    #[test]
    fn loose_ends_are_found_in_comments_code_and_tests() {
        for word in LOOSE_ENDS {
            assert_eq!(check("src/mail/a.rs", &format!("fn f() {{}}\n// {word}: later")).len(), 1, "{word}");
        }
        assert!(check("src/mail/a.rs", "// codes of the form X.1.XXX").is_empty());
        for word in BANNED_CODE {
            let text = format!("#[cfg(test)]\nmod t {{\n    {word}(x)\n}}\n");
            assert_eq!(check("src/mail/a.rs", &text), [format!("src/mail/a.rs:3: `{word}` is not left behind")]);
        }
    }

    #[test]
    fn a_pure_room_reaches_for_nothing() {
        for word in IMPURE {
            let text = format!("fn f() {{}}\nfn g() {{ {word} }}");
            assert_eq!(check("src/policy/decide.rs", &text).len(), 1, "{word}");
            assert!(check("src/spool/writer.rs", &text).is_empty(), "{word} outside");
        }
        for path in [
            "src/token/mod.rs",
            "src/smtp/wire/a.rs",
            "src/smtp/wire.rs",
            "src/delivery/retry.rs",
            "src/delivery/outcome.rs",
        ] {
            let text = "//! Promise Never knows\nfn f() { SystemTime::now() }";
            assert_eq!(check(path, text).len(), 1, "{path}");
        }
        assert!(check("src/policy/a.rs", "#[cfg(test)]\nmod t { use std::fs; }\n// std::fs").is_empty());
        assert!(check("src/message/dkim/key.rs", "use aws_lc_rs::rand::SystemRandom;").is_empty());
        assert_eq!(check("src/message/edit.rs", "use aws_lc_rs::rand::SystemRandom;").len(), 1);
        assert_eq!(check("src/message/dkim.rs", "use aws_lc_rs::rand::fill; fn f() { Instant::now() }").len(), 2);
    }

    #[test]
    fn names_that_promise_nothing_are_refused() {
        for text in ["pub struct Context;", "mod utils;", "enum Core {}", "trait Manager {}"] {
            assert_eq!(check("src/mail/a.rs", text).len(), 1, "{text}");
        }
        assert_eq!(check("src/mail/common.rs", "").len(), 1);
        assert_eq!(check("src/common/mod.rs", "//! Promise Never knows").len(), 1);
        assert!(check("src/mail/a.rs", "struct CoreTemperature; mod commonplace;").is_empty());
    }
}
