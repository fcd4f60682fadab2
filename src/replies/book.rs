//! The classes and entries in force, and how a reply is held against them. Pure.

use std::time::Duration;

use crate::mail::{EnhancedStatus, Reply};

use super::class::{Class, Follows, Stage};
use super::local::{self, Local};
use super::pattern::{CodePattern, Fragment, StatusPattern, folded};

/// When what was refused for now is tried again, where a class has a schedule of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// After the first refusal.
    pub first: Duration,
    /// Each pause doubles the one before, up to this.
    pub longest: Duration,
}

/// What one class stands for and leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassRule {
    /// Which.
    pub class: Class,
    /// In plain words.
    pub title: &'static str,
    /// What follows.
    pub follows: Follows,
    /// When it is tried again; by the general schedule when there is none.
    pub schedule: Option<Schedule>,
}

/// One pattern. Everything that it names must fit; of each list, one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, in log and classification.
    pub id: &'static str,
    /// What it tells.
    pub class: Class,
    /// At which stages; at every one when empty.
    pub stages: Box<[Stage]>,
    /// Which reply codes; every one when empty.
    pub codes: Box<[CodePattern]>,
    /// Which enhanced statuses; every one, and none, when empty.
    pub statuses: Box<[StatusPattern]>,
    /// Which words; any text when empty.
    pub texts: Box<[Fragment]>,
    /// Whose wording it is.
    pub provider: Option<&'static str>,
    /// Where it is written.
    pub source: &'static str,
    /// An operator's word that this entry is to tell another class, and why.
    pub overridden: Option<&'static str>,
}

impl Entry {
    fn fits(&self, stage: Stage, reply: &Reply, text: &str) -> bool {
        let fits_status = |status: EnhancedStatus| self.statuses.iter().any(|pattern| pattern.fits(status));
        (self.stages.is_empty() || self.stages.contains(&stage))
            && (self.codes.is_empty() || self.codes.iter().any(|pattern| pattern.fits(reply.code())))
            && (self.statuses.is_empty() || reply.enhanced().is_some_and(fits_status))
            && (self.texts.is_empty() || self.texts.iter().any(|fragment| fragment.stands_in(text)))
    }
}

/// How many people a reply speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// One recipient.
    One,
    /// Every recipient of the message, and it has several.
    Several,
}

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidedBy<'a> {
    /// A rule that no file can change.
    Code(&'static str),
    /// An entry.
    Entry(&'a Entry),
    /// No entry fits: the reply code alone.
    CodeAlone,
}

impl DecidedBy<'_> {
    /// The entry's name, or a word for what stands in its place.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Code(_) => "built-in",
            Self::Entry(entry) => entry.id,
            Self::CodeAlone => "reply-code",
        }
    }
}

/// What a refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning<'a> {
    /// Its class.
    pub class: Class,
    /// What follows here: what the class says, as far as code and stage allow it.
    pub follows: Follows,
    /// What the class says.
    pub class_follows: Follows,
    /// When it is tried again, where the class has its own schedule.
    pub schedule: Option<Schedule>,
    /// What decided.
    pub by: DecidedBy<'a>,
}

/// Every class with what follows from it, and every entry in the order of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Book {
    pub(super) version: &'static str,
    pub(super) classes: Vec<ClassRule>,
    pub(super) entries: Vec<Entry>,
}

impl Book {
    /// The edition.
    pub const fn version(&self) -> &'static str {
        self.version
    }

    /// Every class, in the order of its declaration.
    pub fn classes(&self) -> &[ClassRule] {
        &self.classes
    }

    /// Every entry, in the order of asking.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What `reply`, a refusal, means at `stage`. The same refusal always means the same.
    pub fn classify(&self, stage: Stage, whom: Whom, reply: &Reply) -> Meaning<'_> {
        match local::look(stage, reply) {
            Some(Local::Circuit(class, why)) => {
                return self.meaning(class, Follows::Circuit, DecidedBy::Code(why));
            }
            Some(Local::Again(class, why)) => return self.meaning(class, Follows::Retry, DecidedBy::Code(why)),
            None => {}
        }
        let text = folded(reply.text());
        let permanent = reply.code().is_permanent();
        let (class, by) = match self.entries.iter().find(|entry| entry.fits(stage, reply, &text)) {
            Some(entry) => (entry.class, DecidedBy::Entry(entry)),
            None if permanent => (Class::Other, DecidedBy::CodeAlone),
            None => (Class::Temporary, DecidedBy::CodeAlone),
        };
        let follows = match self.rule(class).map_or(Follows::Retry, |rule| rule.follows) {
            Follows::Suppress if permanent && is_about_mailbox(stage, whom, reply) => Follows::Suppress,
            Follows::Suppress | Follows::Fail if permanent => Follows::Fail,
            Follows::Suppress | Follows::Fail => Follows::Retry,
            kept @ (Follows::Retry | Follows::Slow | Follows::Suspend | Follows::Circuit) => kept,
        };
        self.meaning(class, follows, by)
    }

    fn meaning<'a>(&self, class: Class, follows: Follows, by: DecidedBy<'a>) -> Meaning<'a> {
        let rule = self.rule(class);
        Meaning {
            class,
            follows,
            class_follows: rule.map_or(follows, |rule| rule.follows),
            schedule: rule.and_then(|rule| rule.schedule),
            by,
        }
    }

    /// What is said of one class; every class has its rule, which reading a file sees to.
    pub fn rule(&self, class: Class) -> Option<&ClassRule> {
        self.classes.iter().find(|rule| rule.class == class)
    }
}

/// Whether a final refusal here can be about one mailbox: RCPT names one, the dot speaks of all, and DATA comes before
/// anybody looked. At the dot words alone prove nothing: filters say "user unknown" of mail that they do not like, so
/// the enhanced status has to say it. A status that contradicts its code (`550 4.2.1`) is believed in nothing.
fn is_about_mailbox(stage: Stage, whom: Whom, reply: &Reply) -> bool {
    let says_final = |status: EnhancedStatus| status.class == 5;
    match stage {
        Stage::Rcpt => reply.enhanced().is_none_or(says_final),
        Stage::Dot => whom == Whom::One && reply.enhanced().is_some_and(says_final),
        Stage::Connect | Stage::Hello | Stage::Mail | Stage::Data => false,
    }
}
