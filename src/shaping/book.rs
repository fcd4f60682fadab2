//! Groups of domains and what they like.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use super::rate::Rate;
use crate::mail::{Domain, RouteName};

/// The most groups that there may be: a copy carries the number of its group with it through the queue.
pub const GROUPS_MAX: usize = 200;
/// Everything on a route together, where a limit names its group.
pub const ALL: &str = "all";
/// Every domain that is in no group, each by itself.
pub const OTHER: &str = "other";

/// A place in the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupNumber(pub(super) u16);

impl GroupNumber {
    /// As a number, from zero.
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// The group of this number, if a book has one.
    pub const fn from_u16(number: u16) -> Self {
        Self(number)
    }
}

/// Whether a route leads to the group's own servers, or to a smarthost that will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// We are who knocks there: what is shipped for a group counts.
    Direct,
    /// Somebody else knocks: only what the operator asks for counts.
    Smarthost,
}

/// What is liked; `None`: no limit is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Messages (transactions) in a time.
    pub rate: Option<Rate>,
    /// Connections at a time.
    pub connections: Option<NonZeroU32>,
    /// Transactions on one connection.
    pub messages_per_connection: Option<NonZeroU32>,
    /// Recipients of one transaction.
    pub recipients: Option<NonZeroU32>,
}

impl Limits {
    /// These, and where they say nothing, `others`.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            rate: self.rate.or(others.rate),
            connections: self.connections.or(others.connections),
            messages_per_connection: self.messages_per_connection.or(others.messages_per_connection),
            recipients: self.recipients.or(others.recipients),
        }
    }
}

/// A name, or `*.name` for everything below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// This one.
    Exact(String),
    /// Whatever ends so; with its leading dot.
    Below(String),
}

impl Pattern {
    /// Whether `name`, in lower case, is meant.
    pub fn fits(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Below(suffix) => name.len() > suffix.len() && name.ends_with(suffix.as_str()),
        }
    }
}

impl FromStr for Pattern {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}`: expected a name such as gmail.com, or *.google.com for those below it");
        let (below, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
        let name = Domain::parse(name).map_err(|_| expected())?;
        if name.as_str().starts_with('[') {
            return Err(expected());
        }
        Ok(if below { Self::Below(format!(".{name}")) } else { Self::Exact(name.to_string()) })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(suffix) => write!(f, "*{suffix}"),
        }
    }
}

/// Domains that one provider receives for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: &'static str,
    /// Domains of recipients.
    pub domains: Box<[Pattern]>,
    /// Names of mail servers.
    pub mx: Box<[Pattern]>,
    /// What it likes of those who knock at its servers.
    pub limits: Limits,
    /// Where that is known from.
    pub source: &'static str,
}

/// A limit for one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Special {
    pub(super) route: RouteName,
    pub(super) of: Of,
    pub(super) limits: Limits,
}

/// Whom a limit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    All,
    Other,
    Group(GroupNumber),
}

/// All groups and limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book {
    /// When what is shipped was last changed.
    pub version: &'static str,
    pub(super) groups: Vec<Group>,
    /// Direct to a domain in no group.
    pub(super) other: Limits,
    pub(super) special: Vec<Special>,
}

impl Book {
    /// Every group with its number.
    pub fn groups(&self) -> impl Iterator<Item = (GroupNumber, &Group)> {
        (0..).map(GroupNumber).zip(&self.groups)
    }

    /// The group of this number.
    pub fn group(&self, number: GroupNumber) -> Option<&Group> {
        self.groups.get(usize::from(number.0))
    }

    /// The group that a recipients' domain belongs to by its name.
    pub fn by_domain(&self, domain: &Domain) -> Option<GroupNumber> {
        self.find(|group| group.domains.iter().any(|pattern| pattern.fits(domain.as_str())))
    }

    /// The group that mail servers belong to: that of the first which belongs to any.
    pub fn by_mx<'a>(&self, hosts: impl IntoIterator<Item = &'a str>) -> Option<GroupNumber> {
        hosts.into_iter().find_map(|host| {
            let host = host.trim_end_matches('.').to_ascii_lowercase();
            self.find(|group| group.mx.iter().any(|pattern| pattern.fits(&host)))
        })
    }

    fn find(&self, fits: impl Fn(&Group) -> bool) -> Option<GroupNumber> {
        let place = self.groups.iter().position(fits)?;
        u16::try_from(place).ok().map(GroupNumber)
    }

    /// What `group` likes on `route`; a domain by itself when it is in none.
    pub fn limits(&self, route: &RouteName, reach: Reach, group: Option<GroupNumber>) -> Limits {
        let special = self.special(route, group.map_or(Of::Other, Of::Group));
        match reach {
            Reach::Smarthost => special,
            Reach::Direct => special.or(group.and_then(|number| self.group(number)).map_or(self.other, |g| g.limits)),
        }
    }

    /// The rate of everything on `route` together.
    pub fn whole(&self, route: &RouteName) -> Option<Rate> {
        self.special(route, Of::All).rate
    }

    /// Whether mail on `route` has to be told apart by its destination.
    pub fn shapes(&self, route: &RouteName, reach: Reach) -> bool {
        reach == Reach::Direct || self.special.iter().any(|known| known.route == *route && known.of != Of::All)
    }

    /// Whether there is a rate anywhere.
    pub fn has_rates(&self) -> bool {
        let groups = self.groups.iter().map(|group| group.limits);
        let special = self.special.iter().map(|special| special.limits);
        groups.chain(special).chain([self.other]).any(|limits| limits.rate.is_some())
    }

    /// Routes that limits are named for.
    pub fn routes(&self) -> impl Iterator<Item = &RouteName> {
        self.special.iter().map(|special| &special.route)
    }

    fn special(&self, route: &RouteName, of: Of) -> Limits {
        self.special
            .iter()
            .filter(|special| special.route == *route && special.of == of)
            .fold(Limits::default(), |found, special| found.or(special.limits))
    }
}
