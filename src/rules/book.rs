//! Puts the files together to one rulebook.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::policy::{LawRule, Override, Pack, RuleId, Rulebook};

use super::error::{Problem, RulesError};
use super::intern::intern;
use super::pack::{self, PackFile};
use super::reader::Problems;
use super::shipped;
use super::terms::Terms;

/// The largest file that is read, in octets: the largest pack that is shipped has a tenth of it.
pub(super) const FILE_OCTETS_MAX: u64 = 1024 * 1024;
/// The most files in an operator's folder.
pub(super) const FILES_MAX: usize = 200;
/// Version of what is shipped; a digest of every file is added to it.
const EDITION: &str = "2026.11";

/// Who wrote a file: what is shipped may state the law, what an operator writes may only add to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Author {
    Shipped,
    Operator,
}

struct Text<'a> {
    file: Cow<'a, str>,
    content: Cow<'a, str>,
    author: Author,
    is_terms: bool,
}

/// The rules that are shipped.
///
/// # Errors
/// [`RulesError::Wrong`] when the shipped files themselves are wrong, which a test excludes.
pub fn embedded() -> Result<Rulebook, RulesError> {
    with_operator(&[])
}

/// The rules that are shipped, with those of an operator's folder: `*.toml` there are rule packs, and those in its
/// `classify` folder are words. Files are taken in the order of their names.
///
/// # Errors
/// [`RulesError::Read`] when the folder or a file in it cannot be read, [`RulesError::Wrong`] with every problem of
/// every file.
pub fn load(folder: &Path) -> Result<Rulebook, RulesError> {
    let mut texts = Vec::new();
    read_folder(folder, false, &mut texts)?;
    let words = folder.join("classify");
    if words.is_dir() {
        read_folder(&words, true, &mut texts)?;
    }
    with_operator(&texts)
}

/// The rules that are shipped, with an operator's packs given as (file name, text).
#[cfg(test)]
pub(super) fn with_texts(packs: &[(&str, &str)]) -> Result<Rulebook, RulesError> {
    let texts: Vec<_> = packs.iter().map(|(file, text)| text_of(file, text, Author::Operator, false)).collect();
    with_operator(&texts)
}

const fn text_of<'a>(file: &'a str, content: &'a str, author: Author, is_terms: bool) -> Text<'a> {
    Text { file: Cow::Borrowed(file), content: Cow::Borrowed(content), author, is_terms }
}

fn read_folder(folder: &Path, is_terms: bool, texts: &mut Vec<Text<'_>>) -> Result<(), RulesError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| RulesError::Read { path, source }
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.len() > FILES_MAX {
        let source = std::io::Error::other(format!("more than {FILES_MAX} rule files"));
        return Err(RulesError::Read { path: folder.to_owned(), source });
    }
    for path in paths {
        let octets = std::fs::metadata(&path).map_err(failed(&path))?.len();
        if octets > FILE_OCTETS_MAX {
            let source = std::io::Error::other(format!("larger than {FILE_OCTETS_MAX} octets"));
            return Err(RulesError::Read { path, source });
        }
        let content = std::fs::read_to_string(&path).map_err(failed(&path))?;
        let file = Cow::Owned(path.display().to_string());
        texts.push(Text { file, content: Cow::Owned(content), author: Author::Operator, is_terms });
    }
    Ok(())
}

fn with_operator(operator: &[Text<'_>]) -> Result<Rulebook, RulesError> {
    let packs = shipped::PACKS.iter().map(|(file, text)| text_of(file, text, Author::Shipped, false));
    let terms = shipped::TERMS.iter().map(|(file, text)| text_of(file, text, Author::Shipped, true));
    let shipped: Vec<_> = packs.chain(terms).collect();
    let mut book = Book::default();
    for text in shipped.iter().chain(operator) {
        book.add(text);
    }
    book.close().map_err(RulesError::Wrong)
}

/// A rulebook while its files come in.
#[derive(Default)]
struct Book<'a> {
    files: Vec<Known<'a>>,
    terms: Terms,
    problems: Vec<Problem>,
    digest: Digest,
}

struct Known<'a> {
    file: &'a str,
    text: &'a str,
    author: Author,
    read: PackFile,
}

impl<'a> Book<'a> {
    fn add(&mut self, text: &'a Text<'a>) {
        self.digest.add(&text.content);
        if text.is_terms {
            self.problems.extend(self.terms.add(&text.file, &text.content));
            return;
        }
        let (read, problems) = pack::read(&text.file, &text.content);
        self.problems.extend(problems);
        if let Some(read) = read {
            self.files.push(Known { file: &text.file, text: &text.content, author: text.author, read });
        }
    }

    fn wrong(&mut self, known: usize, at: usize, message: String) {
        if let Some(file) = self.files.get(known) {
            let mut problems = Problems::new(file.file, file.text);
            problems.at(at, None, message);
            self.problems.extend(problems.into_found());
        }
    }

    fn close(mut self) -> Result<Rulebook, Vec<Problem>> {
        self.refuse_doubles();
        self.refuse_taken_countries();
        let rules = self.every_rule();
        let overrides = self.overrides(&rules);
        let packs = self.packs(&rules, &overrides);
        let version = intern(&format!("{EDITION}-{:08x}", self.digest.short()));
        match version {
            Ok(version) if self.problems.is_empty() => {
                Ok(Rulebook::with_law(version, packs, self.terms.classifier, self.terms.topics))
            }
            Ok(_) => Err(self.problems),
            Err(message) => {
                let file = String::from("(all rules)");
                self.problems.push(Problem { file, line: 1, within: None, message });
                Err(self.problems)
            }
        }
    }

    /// A rule's name is unique over all files: an operator's rule with a shipped name would take its place.
    fn refuse_doubles(&mut self) {
        let mut seen = BTreeSet::new();
        let mut doubles = Vec::new();
        for (index, known) in self.files.iter().enumerate() {
            for (rule, at) in known.read.pack.rules.iter().zip(&known.read.places) {
                if !seen.insert(rule.rule.id) {
                    doubles.push((index, *at, rule.rule.id));
                }
            }
        }
        for (index, at, id) in doubles {
            let message = format!("rule {id} exists already; give yours another name, or loosen with [[override]]");
            self.wrong(index, at, message);
        }
    }

    /// A country has one pack of its own. An operator may give one to a country that so far fell under the European
    /// or the strict pack; to others they may add rules only, by the name of the pack.
    fn refuse_taken_countries(&mut self) {
        let mut owner = BTreeMap::new();
        let mut taken = Vec::new();
        for (index, known) in self.files.iter().enumerate() {
            let pack = &known.read.pack;
            let is_baseline = pack.countries.len() > 1 && known.author == Author::Shipped;
            for country in pack.countries.iter().filter(|_| !is_baseline) {
                if owner.insert(*country, pack.name).is_some_and(|name| name != pack.name) {
                    taken.push((index, format!("{country} has a pack already; add rules to it by naming that pack")));
                }
            }
        }
        for (index, message) in taken {
            self.wrong(index, 0, message);
        }
    }

    fn every_rule(&self) -> BTreeMap<RuleId, LawRule> {
        let rules = self.files.iter().flat_map(|known| &known.read.pack.rules);
        rules.map(|rule| (rule.rule.id, rule.clone())).collect()
    }

    fn overrides(&mut self, rules: &BTreeMap<RuleId, LawRule>) -> BTreeMap<RuleId, Override> {
        let mut overrides = BTreeMap::new();
        let mut wrong = Vec::new();
        for (index, known) in self.files.iter().enumerate() {
            for (chosen, at) in &known.read.overrides {
                if known.author == Author::Shipped {
                    wrong.push((index, *at, String::from("what is shipped overrides nothing")));
                } else if !rules.contains_key(&chosen.rule) {
                    wrong.push((index, *at, format!("there is no rule {} to override", chosen.rule)));
                } else if overrides.insert(chosen.rule, *chosen).is_some() {
                    wrong.push((index, *at, format!("rule {} is overridden twice", chosen.rule)));
                }
            }
        }
        for (index, at, message) in wrong {
            self.wrong(index, at, message);
        }
        overrides
    }

    /// One pack for each name: an operator's file of a shipped name adds its rules, and a lawyer's signature, to that
    /// pack. Packs of operators
    /// stand first, so that a country of theirs is found before a baseline that covers it.
    fn packs(&mut self, rules: &BTreeMap<RuleId, LawRule>, overrides: &BTreeMap<RuleId, Override>) -> Vec<Pack> {
        let mut packs: Vec<(Author, Pack)> = Vec::new();
        let mut wrong = Vec::new();
        for (index, known) in self.files.iter().enumerate() {
            let mut pack = known.read.pack.clone();
            for reference in &known.read.include {
                match rules.values().find(|rule| rule.rule.id.as_str() == reference.id) {
                    Some(rule) => pack.rules.push(rule.clone()),
                    None => wrong.push((index, reference.at, format!("`include`: there is no rule {}", reference.id))),
                }
            }
            match packs.iter_mut().find(|(_, known)| known.name == pack.name) {
                Some((_, shared)) => {
                    shared.rules.append(&mut pack.rules);
                    shared.review = pack.review.or(shared.review);
                }
                None => packs.push((known.author, pack)),
            }
        }
        for (index, at, message) in wrong {
            self.wrong(index, at, message);
        }
        packs.sort_by_key(|(author, _)| *author == Author::Shipped);
        let finish = |(_, mut pack): (Author, Pack)| {
            pack.rules.sort_by_key(|rule| rule.stage);
            for rule in &mut pack.rules {
                rule.overridden = overrides.get(&rule.rule.id).copied();
            }
            pack
        };
        packs.into_iter().map(finish).collect()
    }
}

/// FNV-1a of 64 bits over every file: tells two editions apart in a log. It proves nothing.
struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    fn add(&mut self, text: &str) {
        for byte in text.bytes().chain([0]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    const fn short(&self) -> u64 {
        (self.0 >> 32) ^ (self.0 & 0xffff_ffff)
    }
}
