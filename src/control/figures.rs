//! How much is waiting, and what is suspended, slowed or broken.

use serde::{Deserialize, Serialize};

use crate::delivery::{self, Suspension};

use super::Desk;

/// The queue in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Copies.
    pub copies: u64,
    /// Recipients not settled.
    pub recipients: u64,
    /// Copies that have been tried and wait for their next attempt.
    pub deferred: u64,
    /// Copies that a worker has now.
    pub leased: u64,
    /// Copies that an operator holds.
    pub held: u64,
    /// Copies that cannot be read back.
    pub damaged: u64,
    /// Octets of waiting mail.
    pub octets: u64,
    /// Octets of the spool's files.
    pub disk_octets: u64,
    /// When the oldest was accepted.
    pub oldest: Option<String>,
    /// Audit records lost in a flood.
    pub notes_lost: u64,
    /// What gets no attempts.
    pub suspended: Vec<Suspended>,
    /// Groups that were told "too much".
    pub slowed: Vec<Slowed>,
    /// Limits that mail met.
    #[serde(default)]
    pub limited: Vec<Limited>,
    /// What is being warmed up.
    #[serde(default)]
    pub warmup: Vec<Warmup>,
    /// Ways out that do not work.
    pub circuits: Vec<Circuit>,
    /// Dead mailboxes that will be suppressed unless their group trips.
    pub unconfirmed: u64,
}

/// One suspension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspended {
    /// What.
    pub what: String,
    /// Since when.
    pub since: String,
    /// When it ends by itself.
    pub until: Option<String>,
    /// Who: an operator's name, `breaker` or `reputation`.
    pub by: String,
    /// Why.
    pub because: String,
}

/// One slowed group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slowed {
    /// `upstream`, or another route, or `@domain by upstream`.
    pub group: String,
    /// How far.
    pub level: u32,
    /// Seconds between two messages.
    pub gap_s: u64,
    /// Since when.
    pub since: String,
}

/// A group of destinations on a route, and how fast its mail leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limited {
    /// The route.
    pub route: String,
    /// A group, a domain by itself, or `all`.
    pub group: String,
    /// The rate, such as `100/s`.
    pub rate: Option<String>,
    /// Messages that passed since the start, where there is a rate.
    pub passed: u64,
    /// Connections that are open.
    pub connections: Option<u64>,
    /// Connections that may be.
    pub connections_max: Option<u64>,
}

/// A plan for an address or a domain that is being warmed up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warmup {
    /// The plan.
    pub name: String,
    /// The number of this day in it, from 1; zero before it begins.
    pub day: u64,
    /// Messages of this day.
    pub used: u64,
    /// How many it may have; none when the plan is over.
    pub allowed: Option<u64>,
}

/// An open circuit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Circuit {
    /// Since when.
    pub since: String,
    /// The route.
    pub route: String,
    /// Where it ends: `host:port` of a smarthost, or a domain.
    pub site: String,
    /// Whose fault: `local`, `policy` or `peer`.
    pub fault: String,
    /// The class of the refusal.
    pub class: String,
    /// What the other side said.
    pub response: String,
}

/// The figures at this moment.
pub(super) fn stats(desk: &Desk) -> Figures {
    let (stats, now) = (desk.spool.stats(), desk.clock.now());
    let board = desk.board.snapshot(now);
    let suspended = |known: &Suspension| Suspended {
        what: known.selector.to_string(),
        since: known.since.to_string(),
        until: known.until.map(|until| until.to_string()),
        by: known.by.clone(),
        because: known.because.clone(),
    };
    Figures {
        copies: stats.copies,
        recipients: stats.recipients,
        deferred: stats.deferred,
        leased: stats.leased,
        held: stats.held,
        damaged: stats.damaged,
        octets: stats.live_octets,
        disk_octets: stats.segment_octets,
        oldest: stats.oldest.map(|at| at.to_string()),
        notes_lost: stats.notes_lost,
        suspended: board.suspensions.iter().map(suspended).collect(),
        slowed: board
            .slowed
            .iter()
            .map(|(group, pace)| Slowed {
                group: group.to_string(),
                level: pace.level,
                gap_s: pace.gap.as_secs(),
                since: pace.since.to_string(),
            })
            .collect(),
        limited: board.limited.iter().map(limited).collect(),
        warmup: board.warmth.iter().map(warmup).collect(),
        circuits: board
            .troubles
            .iter()
            .map(|trouble| Circuit {
                since: trouble.since.to_string(),
                route: trouble.route.to_string(),
                site: trouble.site.clone(),
                fault: trouble.blame.as_str().to_owned(),
                class: trouble.class.to_string(),
                response: trouble.response.clone(),
            })
            .collect(),
        unconfirmed: u64::try_from(board.unconfirmed).unwrap_or(u64::MAX),
    }
}

fn limited(known: &delivery::Limited) -> Limited {
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    Limited {
        route: known.route.to_string(),
        group: known.group.clone(),
        rate: known.rate.clone(),
        passed: known.passed,
        connections: known.connections.map(|(open, _)| number(open)),
        connections_max: known.connections.map(|(_, most)| number(most)),
    }
}

fn warmup(known: &delivery::Warmth) -> Warmup {
    let delivery::Warmth { name, number, used, allowed } = known.clone();
    Warmup { name, day: number, used, allowed }
}
