//! What is slowed, held and counted together.

use std::fmt;

use crate::mail::Domain;

/// The most groups that are kept apart at a time. A gateway writes to more domains than that, but not within the minutes
/// that a group is remembered; what comes on top is not slowed and not counted.
pub const GROUPS_MAX: usize = 10_000;

/// Mail that shares a fate: a refusal of one may be about all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Everything on the route.
    Upstream,
    /// Everything to one domain.
    Domain(Domain),
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upstream => f.write_str("upstream"),
            Self::Domain(domain) => write!(f, "@{domain}"),
        }
    }
}

/// Whose word a refusal for rate or reputation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// The smarthost's own: it queues, and what it says is about us and it.
    Upstream,
    /// The destination's, which the smarthost hands on while we wait, or which we reach without one.
    Domain,
}

impl Grouping {
    /// The group that a recipient at `domain` belongs to.
    pub fn of(self, domain: &Domain) -> Group {
        match self {
            Self::Upstream => Group::Upstream,
            Self::Domain => Group::Domain(domain.clone()),
        }
    }
}
