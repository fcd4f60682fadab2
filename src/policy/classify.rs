//! Who reads an address: what can be told from the address alone, always as an assumption.
//!
//! The words come from data files; this is how they are put together. Whatever cannot be decided is a named person
//! at work or, at a provider of private mailboxes, a consumer: both stricter than a role.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization;

use crate::mail::Mailbox;
use crate::mail::address::LOCAL_PART_MAX;

use super::consent::RecipientClass;
use super::statute::AddressKind;

/// The words that [`Classifier::classify`] goes by. Local parts are in folded form (see [`fold_word`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classifier {
    /// Whole role names, in any language: `contact`, `serviceclients`.
    pub roles: BTreeSet<Box<str>>,
    /// Words that a second role word or a number may follow: `agence`, `service`.
    pub prefixes: BTreeSet<Box<str>>,
    /// Titles that one person holds: `dg`, `ceo`.
    pub titles: BTreeSet<Box<str>>,
    /// Technical addresses that are never written to: `postmaster`, `noreply`.
    pub technical: BTreeSet<Box<str>>,
    /// Role words that are family names too: `legal`, `boutique`.
    pub surnames: BTreeSet<Box<str>>,
    /// Role words of public bodies: `mairie`.
    pub public_roles: BTreeSet<Box<str>>,
    /// Domains of public bodies, subdomains included; a leading label may be an open one (`ac-*.fr`).
    pub public_domains: Vec<Box<str>>,
    /// Domains of private mailboxes and of relays for them.
    pub personal_domains: BTreeSet<Box<str>>,
    /// Names under which a provider has a domain in many countries: `yahoo` for `yahoo.fr`, `yahoo.co.uk`.
    pub personal_names: BTreeSet<Box<str>>,
}

/// What an address looks like. An assumption, never a declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classified {
    /// Who reads it, as far as one can tell.
    pub class: RecipientClass,
    /// Of which kind it is.
    pub address: AddressKind,
}

/// The longest ending of a provider's name in many countries: `.co.uk`, `.com.au`.
const ENDING_LABELS_MAX: usize = 2;

impl Classifier {
    /// Knows no word: everybody is a named person at work.
    pub const fn empty() -> Self {
        Self {
            roles: BTreeSet::new(),
            prefixes: BTreeSet::new(),
            titles: BTreeSet::new(),
            technical: BTreeSet::new(),
            surnames: BTreeSet::new(),
            public_roles: BTreeSet::new(),
            public_domains: Vec::new(),
            personal_domains: BTreeSet::new(),
            personal_names: BTreeSet::new(),
        }
    }

    /// Reads one address. Allocates nothing.
    pub fn classify(&self, mailbox: &Mailbox) -> Classified {
        let local = Folded::new(mailbox.local_part());
        let domain = mailbox.domain().as_str();
        let is_personal = self.is_personal(domain);
        let address = match is_personal {
            _ if self.technical.contains(local.joined()) => AddressKind::Technical,
            true => AddressKind::Personal,
            false => AddressKind::Work,
        };
        let class = if is_personal { RecipientClass::Consumer } else { self.at_work(&local, domain) };
        Classified { class, address }
    }

    fn is_personal(&self, domain: &str) -> bool {
        let named_in_many = || {
            domain.split_once('.').is_some_and(|(name, ending)| {
                self.personal_names.contains(name) && ending.split('.').count() <= ENDING_LABELS_MAX
            })
        };
        suffixes(domain).any(|suffix| self.personal_domains.contains(suffix)) || named_in_many()
    }

    fn is_public(&self, domain: &str) -> bool {
        suffixes(domain).any(|suffix| self.public_domains.iter().any(|pattern| fits(pattern, suffix)))
    }

    fn at_work(&self, local: &Folded, domain: &str) -> RecipientClass {
        let is_public = self.is_public(domain);
        if is_public && local.is_school_code() {
            return RecipientClass::PublicBody;
        }
        if !self.is_role(local) {
            return RecipientClass::Professional;
        }
        let first = local.tokens().next().unwrap_or_default();
        if is_public || self.public_roles.contains(first) || self.public_roles.contains(local.joined()) {
            RecipientClass::PublicBody
        } else {
            RecipientClass::Generic
        }
    }

    /// Whether nothing in the local part could be a person's name.
    fn is_role(&self, local: &Folded) -> bool {
        let joined = local.joined();
        if self.titles.contains(joined) {
            return false;
        }
        if self.knows(joined) {
            return true;
        }
        let mut tokens = local.tokens();
        let first = tokens.next().unwrap_or_default();
        let leads = self.prefixes.contains(first);
        if !(leads || self.knows(first)) {
            return false;
        }
        let mut others = 0_usize;
        let all_roles = tokens.all(|token| {
            others += 1;
            let may_be_a_name = self.surnames.contains(token) && !leads;
            token.is_empty() || is_language(token) || (self.knows(token) && !may_be_a_name)
        });
        // A prefix alone says nothing: `service@` is a role word in its own right or it is none.
        all_roles && (others > 0 || self.knows(first) || local.had_digits())
    }

    fn knows(&self, word: &str) -> bool {
        self.roles.contains(word) || self.public_roles.contains(word) || self.technical.contains(word)
    }
}

/// Endings that role addresses carry to tell languages and countries apart: `contact-fr`, `info-de`.
const LANGUAGES: [&str; 14] = ["at", "be", "ca", "ch", "de", "en", "es", "eu", "fr", "it", "nl", "pt", "uk", "us"];

fn is_language(token: &str) -> bool {
    LANGUAGES.contains(&token)
}

/// `a.b.c`, `b.c`, `c`.
fn suffixes(domain: &str) -> impl Iterator<Item = &str> {
    let first = std::iter::once(domain);
    first.chain(domain.match_indices('.').filter_map(|(at, _)| domain.get(at + 1..)))
}

/// Whether a domain is the pattern, whose first label may end in `*`.
fn fits(pattern: &str, domain: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == domain,
        Some((start, end)) => domain
            .strip_prefix(start)
            .and_then(|rest| rest.strip_suffix(end))
            .is_some_and(|middle| !middle.is_empty() && !middle.contains('.')),
    }
}

/// The form in which words are compared: lower case, no accents, no `.`, `-`, `_`, no trailing digits.
///
/// # Errors
/// A sentence, when nothing is left or the word is longer than a local part.
pub fn fold_word(word: &str) -> Result<Box<str>, String> {
    let folded = Folded::new(word);
    let joined = folded.joined();
    if joined.is_empty() || word.len() > LOCAL_PART_MAX || joined.contains(OTHER) {
        return Err(format!("`{word}` is not a word of a local part; expected letters and digits"));
    }
    Ok(Box::from(joined))
}

/// Stands for any character that no role word has, so that what it stands in is taken for a name.
const OTHER: char = '?';

/// A local part in comparable form, on the stack.
struct Folded {
    /// Tokens with `.` between them.
    tokens: Ascii,
    /// The same without borders, trailing digits removed.
    joined: Ascii,
    had_digits: bool,
}

struct Ascii {
    bytes: [u8; LOCAL_PART_MAX],
    len: usize,
}

impl Ascii {
    const fn new() -> Self {
        Self { bytes: [0; LOCAL_PART_MAX], len: 0 }
    }

    /// Adds one character. What does not fit is left out: a local part that long is no role word.
    fn push(&mut self, c: char) {
        if let (Some(slot), Ok(byte)) = (self.bytes.get_mut(self.len), u8::try_from(c)) {
            *slot = byte;
            self.len += 1;
        }
    }

    fn as_str(&self) -> &str {
        self.bytes.get(..self.len).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl Folded {
    fn new(local: &str) -> Self {
        let mut folded = Self { tokens: Ascii::new(), joined: Ascii::new(), had_digits: false };
        let mut put = |c: char| match c {
            'a'..='z' | '0'..='9' => {
                folded.tokens.push(c);
                folded.joined.push(c);
            }
            'A'..='Z' => {
                folded.tokens.push(c.to_ascii_lowercase());
                folded.joined.push(c.to_ascii_lowercase());
            }
            '.' | '-' | '_' | '+' => folded.tokens.push('.'),
            '\u{300}'..='\u{36f}' => {}
            _ => {
                folded.tokens.push(OTHER);
                folded.joined.push(OTHER);
            }
        };
        if local.is_ascii() {
            local.chars().for_each(&mut put);
        } else {
            local.nfd().for_each(&mut put);
        }
        folded.had_digits = folded.joined.as_str().ends_with(|c: char| c.is_ascii_digit());
        folded
    }

    fn joined(&self) -> &str {
        without_digits(self.joined.as_str())
    }

    fn tokens(&self) -> impl Iterator<Item = &str> {
        self.tokens.as_str().split('.').map(without_digits)
    }

    const fn had_digits(&self) -> bool {
        self.had_digits
    }

    /// `ce.0750001a`: a French school by its register code.
    fn is_school_code(&self) -> bool {
        let mut parts = self.tokens.as_str().split('.');
        let (kind, code) = (parts.next(), parts.next().unwrap_or_default());
        let (digits, letter) = code.split_at_checked(7).unwrap_or_default();
        kind == Some("ce")
            && parts.next().is_none()
            && digits.len() == 7
            && digits.bytes().all(|b| b.is_ascii_digit())
            && letter.len() == 1
            && letter.bytes().all(|b| b.is_ascii_lowercase())
    }
}

fn without_digits(token: &str) -> &str {
    token.trim_end_matches(|c: char| c.is_ascii_digit())
}
