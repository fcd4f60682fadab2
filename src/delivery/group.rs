//! What is slowed, held and counted together.

use std::fmt;

use super::routes::{Route, Way};
use crate::mail::{Domain, RouteName};

/// The most groups that are kept apart at a time. A gateway writes to more domains than that, but not within the minutes
/// that a group is remembered; what comes on top is not slowed and not counted.
pub const GROUPS_MAX: usize = 10_000;

/// Mail that shares a fate: a refusal of one may be about all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    /// The route that it takes. What another route meets, with other addresses of ours, is another matter.
    pub route: RouteName,
    /// To which domain; everything on the route when there is none.
    pub domain: Option<Domain>,
}

impl Group {
    /// Everything on one route.
    pub fn whole(route: &RouteName) -> Self {
        Self { route: route.clone(), domain: None }
    }

    /// What goes to one domain by one route.
    pub fn to(route: &RouteName, domain: &Domain) -> Self {
        Self { route: route.clone(), domain: Some(domain.clone()) }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.domain {
            None => self.route.fmt(f),
            Some(domain) => write!(f, "@{domain} by {}", self.route),
        }
    }
}

/// Whose word a smarthost's refusal for rate or reputation is. Without a smarthost it is always the destination's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// The smarthost's own: it queues, and what it says is about us and it.
    Upstream,
    /// The destination's, which the smarthost hands on while we wait.
    Domain,
}

impl Grouping {
    /// The group of a recipient at `domain` whose mail goes by `route`.
    pub(super) fn of(self, route: &Route, domain: &Domain) -> Group {
        match (&route.way, self) {
            (Way::Smarthosts(_), Self::Upstream) => Group::whole(&route.name),
            (Way::Smarthosts(_), Self::Domain) | (Way::Exchanges { .. }, Self::Upstream | Self::Domain) => {
                Group::to(&route.name, domain)
            }
        }
    }
}
