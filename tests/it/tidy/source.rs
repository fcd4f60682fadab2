//! Reads a Rust file as the checks see it: code without comments, strings and test items.

use std::ops::Range;
use std::path::{Path, PathBuf};

/// One source file below `src/`.
pub(super) struct Source {
    /// Path from the package's folder, with `/` between its parts.
    pub(super) path: String,
    /// The file as it is.
    pub(super) text: String,
    /// The same length and the same line breaks, with comments, literals and test items blanked out. Of a file that a
    /// `#[cfg(test)] mod name;` declares, nothing is left.
    pub(super) code: String,
}

impl Source {
    /// Takes a text apart; `path` need not exist.
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: without_test_items(&without_comments(text)) }
    }

    /// The room that a file belongs to: its folder or file name directly below `src/`.
    pub(super) fn room(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap_or(&self.path);
        below.split('/').next().unwrap_or(below).trim_end_matches(".rs")
    }

    /// Number of the line that an offset lies in, counted from 1.
    pub(super) fn line_at(&self, offset: usize) -> usize {
        self.text[..offset].split('\n').count()
    }

    /// Every place in the code where `word` stands with no letter, digit or underscore against its word ends.
    pub(super) fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        words(&self.code, word)
    }
}

/// Every place in `text` where `word` stands by itself. An end of `word` that is punctuation needs no border.
pub(super) fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let starts_named = word.starts_with(is_name);
    let ends_named = word.ends_with(is_name);
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = text[..at].chars().next_back().is_some_and(is_name);
        let after = text[at + word.len()..].chars().next().is_some_and(is_name);
        !(starts_named && before || ends_named && after)
    })
}

/// Whether a character may be part of a Rust name.
pub(super) fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// All sources below `root/src` in the order of their paths.
pub(super) fn all(root: &Path) -> Vec<Source> {
    let mut files = Vec::new();
    collect(&root.join("src"), &mut files);
    files.sort();
    let mut sources = Vec::new();
    let mut tests = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let path = file.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
        tests.extend(declared_tests(&path, &without_comments(&text)));
        sources.push(Source::new(&path, &text));
    }
    for source in &mut sources {
        if tests.iter().any(|test| is_within(&source.path, test)) {
            source.code = String::new();
        }
    }
    sources
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// Whether `path` is the file of module `module` (`src/spool/tests`) or lies in its folder.
fn is_within(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// The modules, as paths without `.rs`, that are declared for tests only.
fn declared_tests(path: &str, code: &str) -> Vec<String> {
    let folder = path
        .strip_suffix("/mod.rs")
        .or_else(|| path.strip_suffix("/lib.rs"))
        .or_else(|| path.strip_suffix("/main.rs"))
        .or_else(|| path.strip_suffix(".rs"))
        .unwrap_or(path);
    test_items(code)
        .into_iter()
        .filter_map(|item| {
            let (_, name) = code[item].strip_suffix(';')?.rsplit_once("mod ")?;
            Some(format!("{folder}/{}", name.trim()))
        })
        .collect()
}

fn without_test_items(code: &str) -> String {
    let mut out = code.as_bytes().to_vec();
    for item in test_items(code) {
        blank(&mut out, item);
    }
    String::from_utf8(out).unwrap()
}

/// The items under `#[cfg(test)]`, attribute included, each up to its `;` or its closing brace.
fn test_items(code: &str) -> Vec<Range<usize>> {
    let starts = code.match_indices("#[cfg(test)]").map(|(at, _)| at);
    starts.map(|start| start..item_end(code, start + "#[cfg(test)]".len())).collect()
}

fn item_end(code: &str, from: usize) -> usize {
    let (mut braces, mut brackets) = (0_usize, 0_usize);
    for (at, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets = brackets.saturating_sub(1),
            b'{' => braces += 1,
            // `use a::{b, c};` goes on behind its brace.
            b'}' if braces <= 1 => return at + 1 + usize::from(code[at + 1..].starts_with(';')),
            b'}' => braces -= 1,
            b';' if braces == 0 && brackets == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// Overwrites with spaces, but keeps line breaks: offsets and line numbers stay true.
fn blank(bytes: &mut [u8], range: Range<usize>) {
    for byte in &mut bytes[range] {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

fn without_comments(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = opaque_end(text, at);
        if end > at {
            blank(&mut out, at..end);
            at = end;
        } else {
            at += 1;
        }
    }
    String::from_utf8(out).unwrap()
}

/// Where the comment or literal that starts at `at` ends; `at` itself when none starts there.
fn opaque_end(text: &str, at: usize) -> usize {
    let rest = &text.as_bytes()[at..];
    let line_end = || rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
    let named_before = at > 0 && text.as_bytes()[at - 1].is_ascii_alphanumeric();
    at + match rest {
        [b'/', b'/', ..] => line_end(),
        [b'/', b'*', ..] => block_comment_len(rest),
        [b'"', ..] => 1 + quoted_len(&rest[1..], b'"'),
        [b'r', b'"' | b'#', ..] if !named_before || at > 0 && matches!(text.as_bytes()[at - 1], b'b' | b'c') => {
            raw_len(rest)
        }
        [b'\'', b'\\', ..] => 1 + quoted_len(&rest[1..], b'\''),
        [b'\'', ..] => char_len(&text[at..]),
        _ => 0,
    }
}

fn block_comment_len(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length up to and with the closing quote, which a backslash may hide.
fn quoted_len(rest: &[u8], quote: u8) -> usize {
    let mut at = 0;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `r"…"`, `r#"…"#`; 0 for a raw name such as `r#type`.
fn raw_len(rest: &[u8]) -> usize {
    let hashes = rest[1..].iter().take_while(|&&byte| byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let body = &rest[2 + hashes..];
    let end = body.windows(close.len()).position(|window| window == close);
    2 + hashes + end.map_or(body.len(), |end| end + close.len())
}

/// `'x'` is a character, `'a` a lifetime.
fn char_len(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(2);
    match chars.next() {
        Some((at, '\'')) => at + 1,
        _ => 0,
    }
}

#[test]
fn comments_and_literals_are_blanked_and_lines_stay() {
    let text = "a // x\nb /* y /* z */ w */ c\n\"s \\\" t\" d r#\"u\"v\"# e 'f' 'g '\\'' b\"h\" r#type\n";
    let code = without_comments(text);
    assert_eq!(code.len(), text.len());
    assert_eq!(code.lines().count(), text.lines().count());
    assert_eq!(code.split_whitespace().collect::<String>(), "abcde'gbr#type");
}

#[test]
fn test_items_are_blanked_and_what_follows_is_kept() {
    let text = "use a;\n#[cfg(test)]\nmod tests {\n    fn f() { \"}\"; }\n}\nuse b;\n#[cfg(test)]\nuse c::{D, E};\n\
                #[cfg(test)]\nfn g(x: [u8; 3]) -> u8 { x[0] }\nuse d;\n";
    let source = Source::new("src/x/mod.rs", text);
    assert_eq!(source.code.split_whitespace().collect::<String>(), "usea;useb;used;");
    assert_eq!(source.line_at(source.words("use b").next().unwrap()), 6);
}

#[test]
fn files_declared_for_tests_are_known() {
    assert_eq!(declared_tests("src/spool/mod.rs", "#[cfg(test)]\nmod tests;\nmod x;"), ["src/spool/tests"]);
    assert_eq!(declared_tests("src/spool/writer.rs", "#[cfg(test)] pub(crate) mod fake;"), ["src/spool/writer/fake"]);
    assert!(is_within("src/spool/tests.rs", "src/spool/tests"));
    assert!(is_within("src/spool/tests/crash.rs", "src/spool/tests"));
    assert!(!is_within("src/spool/tests_of_time.rs", "src/spool/tests"));
}

#[test]
fn words_have_borders() {
    let found: Vec<_> = words("async fn f; async fnord; rand::x; operand::y; TODO", "async fn").collect();
    assert_eq!(found, [0]);
    assert_eq!(words("rand::x operand::y", "rand::").count(), 1);
    assert_eq!(words("TODOS TODO", "TODO").count(), 1);
}

#[test]
fn a_room_is_the_first_name_below_src() {
    assert_eq!(Source::new("src/policy/decide.rs", "").room(), "policy");
    assert_eq!(Source::new("src/time.rs", "").room(), "time");
    assert_eq!(Source::new("src/lib.rs", "").room(), "lib");
}
