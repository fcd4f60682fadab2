//! What is put into the store, what lies in it, and what it answers.

use super::key::{AddressKey, StoreKey};
use super::published::PublishedHash;
use super::{Reach, StoreError};
use crate::mail::{Domain, Mailbox};
use crate::policy::{Cause, Origin, Scope, Suppression};
use crate::time::Timestamp;

/// Longest evidence and longest reason, in octets: a message id or a sentence, not a document (promise P11).
pub const TEXT_MAX: usize = 1024;
/// Most entries on one page of [`super::Store::list`]: bounds memory and the length of a read transaction.
pub const PAGE_MAX: usize = 1000;

/// Who an entry is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// One person's mailbox, under all its spellings.
    Address(Mailbox),
    /// Everybody at a domain and at all its subdomains.
    Domain(Domain),
    /// Somebody only known by a hash of their address that others gave out.
    Published(PublishedHash),
    /// Somebody only known by keyed hashes: an entry exported from a store that keeps no addresses in clear.
    Hashed {
        /// Address or domain.
        kind: Kind,
        /// Key of the exact spelling.
        exact: AddressKey,
        /// Key of the family spelling; for a domain the same as `exact`.
        family: AddressKey,
    },
}

impl Subject {
    /// Reads `local@domain`, `@domain` or a hash of an address ([`PublishedHash`]) as people write them: blanks around, a display
    /// name and angle brackets, and a trailing dot of the domain are dropped (RFC 5321 section 2.3.5 has no trailing dot, people do).
    ///
    /// # Errors
    /// A sentence naming what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(hash) = PublishedHash::parse(text) {
            return Ok(Self::Published(hash));
        }
        let bare = text.strip_suffix('>').and_then(|t| t.rsplit_once('<')).map_or(text, |(_, inner)| inner).trim();
        let bare = bare.strip_suffix('.').unwrap_or(bare);
        match bare.strip_prefix('@') {
            Some(domain) => Domain::parse(domain).map(Self::Domain).map_err(|e| e.to_string()),
            None => Mailbox::parse(bare).map(Self::Address).map_err(|e| e.to_string()),
        }
    }
}

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// One mailbox.
    Address,
    /// A domain and its subdomains.
    Domain,
}

impl Kind {
    /// The word used in files and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Domain => "domain",
        }
    }

    /// Reads what [`Kind::as_str`] writes.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Address, Self::Domain].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// A suppression to be recorded; valid by construction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSuppression {
    subject: Subject,
    fact: Suppression,
    created: Timestamp,
}

impl NewSuppression {
    /// A suppression of `subject`, entered at `created`.
    ///
    /// # Errors
    /// [`StoreError::OptOutExpires`] when an opt-out has an expiry (promise P10).
    pub fn new(subject: Subject, mut fact: Suppression, created: Timestamp) -> Result<Self, StoreError> {
        if fact.cause.is_opt_out() && fact.expires.is_some() {
            return Err(StoreError::OptOutExpires { cause: fact.cause });
        }
        fact.evidence = fact.evidence.map(tidy);
        Ok(Self { subject, fact, created })
    }

    /// The person behind `mailbox` said no, or their mailbox did, through `origin` at `at`; it never expires.
    pub fn lasting(
        mailbox: Mailbox,
        scope: Scope,
        cause: Cause,
        origin: Origin,
        evidence: Option<String>,
        at: Timestamp,
    ) -> Self {
        let evidence = evidence.map(tidy);
        let fact = Suppression { scope, cause, origin, evidence, since: at, expires: None };
        Self { subject: Subject::Address(mailbox), fact, created: at }
    }

    /// Who it is about.
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// When it was entered.
    pub const fn created(&self) -> Timestamp {
        self.created
    }

    /// What is recorded about them.
    pub const fn fact(&self) -> &Suppression {
        &self.fact
    }

    /// The entry as it will lie in the store, still without its number.
    pub(super) fn entry(&self, key: &StoreKey, cleartext: super::Cleartext, buffer: &mut String) -> Entry {
        let (kind, exact, family, clear) = match &self.subject {
            Subject::Address(mailbox) => {
                let exact = key.exact(mailbox, buffer);
                (Kind::Address, exact, key.family(mailbox, buffer), Some(mailbox.as_str().to_owned()))
            }
            Subject::Domain(domain) => {
                let exact = key.domain(domain, buffer);
                (Kind::Domain, exact, exact, Some(format!("@{domain}")))
            }
            Subject::Published(hash) => {
                let digest = key.published(hash.as_str(), buffer);
                (Kind::Address, digest, digest, None)
            }
            Subject::Hashed { kind, exact, family } => (*kind, *exact, *family, None),
        };
        let address = match cleartext {
            super::Cleartext::Keep => clear,
            super::Cleartext::HashOnly => None,
        };
        Entry { cursor: Cursor(0), kind, exact, family, address, fact: self.fact.clone(), created: self.created }
    }
}

/// The keys by which a subject is looked up.
pub(super) fn lookup_key(subject: &Subject, key: &StoreKey, buffer: &mut String) -> (Kind, AddressKey) {
    match subject {
        Subject::Address(mailbox) => (Kind::Address, key.family(mailbox, buffer)),
        Subject::Domain(domain) => (Kind::Domain, key.domain(domain, buffer)),
        Subject::Published(hash) => (Kind::Address, key.published(hash.as_str(), buffer)),
        Subject::Hashed { kind, family, .. } => (*kind, *family),
    }
}

/// One entry as it lies in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the order of recording: where a listing can go on.
    pub cursor: Cursor,
    /// Address or domain.
    pub kind: Kind,
    /// Key of the exact spelling, or of the published hash that stands for it.
    pub exact: AddressKey,
    /// Key of the family spelling, the one that is matched; for a published hash the same as `exact`.
    pub family: AddressKey,
    /// The address or `@domain` as it was given, when the store keeps it.
    pub address: Option<String>,
    /// What is recorded.
    pub fact: Suppression,
    /// When it was entered.
    pub created: Timestamp,
}

impl Entry {
    /// Whether only a stated reason takes it out (promise P10).
    pub const fn needs_reason(&self) -> bool {
        matches!(self.fact.cause, Cause::Complaint | Cause::LegalObjection)
    }

    /// Whether it is about an address of which only a published hash is known. Exact and family keys of an address never are
    /// the same: they are made over different first letters.
    pub(super) fn is_published(&self) -> bool {
        self.kind == Kind::Address && self.exact == self.family
    }

    /// How this entry meets the mailbox whose exact key is `exact`.
    pub(super) fn matched(&self, exact: &AddressKey) -> Match {
        match self.kind {
            Kind::Domain => Match::Domain,
            Kind::Address if self.exact == *exact => Match::Exact,
            Kind::Address if self.is_published() => Match::Published,
            Kind::Address => Match::Family,
        }
    }
}

/// A place in the order of recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor(pub(super) i64);

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0, f)
    }
}

impl std::str::FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.parse().ok().filter(|n| *n >= 0);
        number.map(Self).ok_or_else(|| format!("`{text}` is not a cursor; expected the number that a listing gave"))
    }
}

/// Which spelling met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Match {
    /// The same mailbox in the same spelling, but for case and quotes.
    Exact,
    /// Another spelling of the same mailbox.
    Family,
    /// A published hash of one of its spellings.
    Published,
    /// The domain or one above it.
    Domain,
}

impl Match {
    /// The word shown to operators.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Family => "family",
            Self::Published => "hash",
            Self::Domain => "domain",
        }
    }
}

/// What became of an addition. Either way the suppression counts from now on, also after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It was not known, or a consent that came after it had lifted it: then it counts from now.
    New,
    /// It was known, and now says more: a later expiry, or through which door it was said where only a list had it.
    Renewed,
    /// The same subject, scope and cause was known; its first date and evidence stay.
    Existing,
}

/// What became of many additions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddedMany {
    /// How many were [`Added::New`].
    pub new: u64,
    /// How many were [`Added::Renewed`] or [`Added::Existing`].
    pub existing: u64,
}

/// Which entries are to be removed, by whom and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Whose; an address means every spelling of it, never its domain's entry.
    pub subject: Subject,
    /// Only entries of exactly this scope, when given.
    pub scope: Option<Scope>,
    /// Only entries of this cause, when given.
    pub cause: Option<Cause>,
    /// Only entries that whoever removes may see.
    pub reach: Reach,
    /// Who removes: a login, a door.
    pub by: String,
    /// Why the person may be written to again; needed for complaints and legal objections.
    pub because: Option<String>,
    /// When.
    pub at: Timestamp,
}

impl Removal {
    /// How an opt-out leaves for a newer one with the same words. It had been lifted by a consent; with its old date it
    /// would stay so, and the person's second no would be lost (promise P10).
    pub(super) fn said_again(entry: &Entry, at: Timestamp) -> Self {
        Self {
            subject: Subject::Hashed { kind: entry.kind, exact: entry.exact, family: entry.family },
            scope: Some(entry.fact.scope.clone()),
            cause: Some(entry.fact.cause),
            reach: Reach::Gateway,
            by: "store".to_owned(),
            because: Some("said again after a consent".to_owned()),
            at,
        }
    }

    /// Refuses to lift what only a stated reason may lift (promise P10), and texts beyond their bound.
    pub(super) fn check(&self, found: &[Entry]) -> Result<(), StoreError> {
        let reason = self.because.as_deref().map_or("", str::trim);
        if reason.len() > TEXT_MAX || self.by.len() > TEXT_MAX {
            return Err(StoreError::TooLong { what: "reason or name", max: TEXT_MAX });
        }
        match found.iter().find(|entry| entry.needs_reason()) {
            Some(entry) if reason.is_empty() => Err(StoreError::ReasonNeeded { cause: entry.fact.cause }),
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn covers(&self, fact: &Suppression) -> bool {
        self.reach.holds_entry(&fact.scope, fact.cause)
            && self.scope.as_ref().is_none_or(|scope| *scope == fact.scope)
            && self.cause.is_none_or(|c| c == fact.cause)
    }
}

/// Which entries a listing shows; empty shows all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only entries of exactly this scope.
    pub scope: Option<Scope>,
    /// Only entries of this cause.
    pub cause: Option<Cause>,
}

impl Selection {
    pub(super) fn covers(&self, fact: &Suppression) -> bool {
        self.scope.as_ref().is_none_or(|scope| *scope == fact.scope) && self.cause.is_none_or(|c| c == fact.cause)
    }
}

/// One page of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The entries, oldest record first.
    pub entries: Vec<Entry>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<Cursor>,
}

/// What is in the store, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// The store's own name, which its mark remembers.
    pub store: String,
    /// How many changes were ever made.
    pub changes: i64,
    /// How many entries are about addresses.
    pub addresses: u64,
    /// How many entries are about domains.
    pub domains: u64,
    /// How many entries were removed in the store's life.
    pub removed: u64,
    /// How many entries each cause has, strongest first, causes without entries included.
    pub by_cause: Vec<(Cause, u64)>,
}

/// Evidence as it is kept: one line of at most [`TEXT_MAX`] octets. It is cut rather than refused, because a person's
/// no must not fail over a talkative server's diagnostic.
fn tidy(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_MAX));
    if text.contains(char::is_control) { text.replace(char::is_control, " ") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_read_as_people_write_them() {
        let address = Subject::Address(Mailbox::parse("v@example.com").unwrap());
        for text in ["v@example.com", "  v@example.com\t", "Vic <v@example.com>", "v@example.com.", "<v@example.com>"] {
            assert_eq!(Subject::parse(text), Ok(address.clone()), "{text}");
        }
        assert_eq!(Subject::parse("@example.com."), Ok(Subject::Domain(Domain::parse("example.com").unwrap())));
        for bad in ["", "@", "v", "v@", "v@example.com..", "<>"] {
            assert!(Subject::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_opt_out_with_an_expiry_cannot_be_made() {
        let now = Timestamp::from_secs(1);
        for cause in Cause::ALL {
            let fact = Suppression {
                scope: Scope::Everything,
                cause: *cause,
                origin: Origin::Operator,
                evidence: None,
                since: now,
                expires: Some(now),
            };
            let made = NewSuppression::new(Subject::parse("v@example.com").unwrap(), fact, now);
            assert_eq!(made.is_err(), cause.is_opt_out(), "{cause}");
        }
    }

    #[test]
    fn evidence_is_one_line_cut_at_its_bound() {
        let kept = |text: String| {
            let mailbox = Mailbox::parse("v@example.com").unwrap();
            let now = Timestamp::from_secs(1);
            let new =
                NewSuppression::lasting(mailbox, Scope::Everything, Cause::HardBounce, Origin::Dsn, Some(text), now);
            new.fact.evidence.unwrap()
        };
        assert_eq!(kept("x".repeat(TEXT_MAX)).len(), TEXT_MAX);
        assert_eq!(kept("x".repeat(TEXT_MAX + 1)).len(), TEXT_MAX);
        assert_eq!(kept(format!("{}é", "x".repeat(TEXT_MAX - 1))).len(), TEXT_MAX - 1);
        assert_eq!(kept("550 no\r\nsuch\u{85}user".to_owned()), "550 no  such user");
    }

    #[test]
    fn cursors_read_back_and_refuse_rubbish() {
        assert_eq!("12".parse::<Cursor>().unwrap().to_string(), "12");
        for bad in ["", "-1", "x", "99999999999999999999"] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }
}
