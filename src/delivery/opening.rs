//! From a lane to an open session.

use std::borrow::Cow;
use std::sync::Arc;

use super::assurance::{Demand, PolicyType, TlsReport};
use super::attempt::random;
use super::lane::{Line, Place};
use super::mx::{self, NoWay};
use super::outcome::{self, Reading, Verdict};
use super::routes::{Assurance, Way};
use crate::dns::Resolver;
use crate::mail::Domain;
use crate::smtp::client::{self, Blame, ClientError, Protection, Session, Target, TlsFault};
use crate::sts::{Found, Policies};
use crate::time::Timestamp;
use crate::tls::ClientConfig;

/// Addresses of a domain's mail servers that one opening tries: with 30 seconds for each a dead domain holds a worker
/// for five minutes at most.
pub const ATTEMPTS_MAX: usize = 10;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unopened {
    /// There is no server to connect to.
    #[error(transparent)]
    NoWay(#[from] NoWay),
    /// No server of those that there are gave us one; this is the last.
    #[error(transparent)]
    Refused(#[from] ClientError),
}

impl Unopened {
    /// What it means for everyone who is sent to there.
    pub(super) fn verdict(&self, reading: Reading<'_>) -> Verdict {
        match self {
            Self::NoWay(no_way) => no_way.verdict(),
            Self::Refused(error) => outcome::of_error(reading, error, false),
        }
    }

    /// Whose fault it is; `verdict` is what it means.
    pub(super) fn blame(&self, verdict: &Verdict) -> Blame {
        match self {
            Self::Refused(ClientError::Tls(fault)) => fault.blame(),
            Self::Refused(ClientError::Login(_) | ClientError::Loop(_)) => Blame::Local,
            Self::NoWay(_) | Self::Refused(_) => verdict.blame(),
        }
    }
}

/// How an opening went.
pub(super) struct Opening {
    pub(super) session: Result<Session, Unopened>,
    /// Also when there is a session: another server of the domain may have given it, or it is in clear.
    pub(super) faults: Vec<TlsReport>,
}

/// A server to try.
struct Candidate {
    target: Target,
    /// None leaves it to the route.
    demand: Option<Demand>,
}

/// Where to, and what is asked for there.
#[derive(Default)]
struct Course {
    candidates: Vec<Candidate>,
    policy_type: Option<PolicyType>,
    faults: Vec<TlsReport>,
}

/// Opens a session on `line`.
pub(super) async fn open(line: &Line, resolver: &Resolver, policies: &Policies, now: Timestamp) -> Opening {
    let mut course = match course(line, resolver, policies, now).await {
        Ok(course) => course,
        Err(error) => return Opening { session: Err(error), faults: Vec::new() },
    };
    let domain = match &line.place {
        Place::Domain(domain) => Some(domain),
        Place::Host(_) => None,
    };
    let policy_type = course.policy_type.unwrap_or(PolicyType::NoPolicyFound);
    let mut last = ClientError::Resolve("it has no address".to_owned());
    let mut left = ATTEMPTS_MAX;
    for Candidate { mut target, demand } in course.candidates {
        target.addresses.truncate(left);
        left -= target.addresses.len();
        let mut faults = Vec::new();
        let session = try_one(line, &target, demand, &mut faults).await;
        let reports = faults.iter().map(|fault| TlsReport::of_session(policy_type, domain, &target.name, fault));
        course.faults.extend(reports);
        match session {
            Ok(session) => return Opening { session: Ok(session), faults: course.faults },
            Err(error) => last = error,
        }
    }
    Opening { session: Err(last.into()), faults: course.faults }
}

/// A session with one server; `faults` takes what kept it, or a first attempt at it, from being protected.
async fn try_one(
    line: &Line,
    target: &Target,
    demand: Option<Demand>,
    faults: &mut Vec<TlsFault>,
) -> Result<Session, ClientError> {
    let route = &line.route.client;
    let under = |protection: Protection| client::Settings { protection, ..route.clone() };
    let (settings, trial) = match demand {
        None => (Cow::Borrowed(route), false),
        Some(Demand::Firm(protection)) => (Cow::Owned(under(protection)), false),
        Some(Demand::Trial(protection)) => (Cow::Owned(under(protection)), true),
        Some(Demand::Tolerated(fault)) => {
            faults.push(fault);
            (Cow::Borrowed(route), false)
        }
        Some(Demand::Barred(fault)) => {
            faults.push(fault.clone());
            return Err(fault.into());
        }
    };
    let mut opened = Session::open(target, &settings, line.next_turn()).await;
    if let Err(ClientError::Tls(fault)) = &opened
        && trial
    {
        faults.push(fault.clone());
        opened = Session::open(target, route, line.next_turn()).await;
    }
    match &mut opened {
        Ok(session) => faults.extend(session.take_unprotected()),
        Err(ClientError::Tls(fault)) => faults.push(fault.clone()),
        Err(_) => {}
    }
    opened
}

/// The servers, in the order in which to try them, and how.
async fn course(line: &Line, resolver: &Resolver, policies: &Policies, now: Timestamp) -> Result<Course, Unopened> {
    match (&line.place, &line.route.way) {
        (Place::Host(host), _) => {
            let patience = line.route.client.timeouts.connect;
            let target = Target::resolve(&host.host, host.port, patience).await?;
            Ok(Course { candidates: vec![Candidate { target, demand: None }], ..Course::default() })
        }
        (Place::Domain(domain), Way::Exchanges { port, loopback, assurance }) => {
            let targets = mx::servers(resolver, domain, *port, *loopback, random).await?;
            Ok(match assurance {
                Assurance::Route => by_route(targets),
                Assurance::MtaSts(verified) => {
                    by_policy(domain, targets, verified, policies.find(resolver, domain, now).await)
                }
            })
        }
        // Lanes to domains are made for routes to exchanges only.
        (Place::Domain(_), Way::Smarthosts(_)) => Ok(Course::default()),
    }
}

fn by_route(targets: Vec<Target>) -> Course {
    let candidates = targets.into_iter().map(|target| Candidate { target, demand: None });
    Course { candidates: candidates.collect(), ..Course::default() }
}

fn by_policy(domain: &Domain, targets: Vec<Target>, verified: &Arc<ClientConfig>, found: Found) -> Course {
    let Found { policy, fault } = found;
    let demand = |target: &Target| Demand::of_policy(policy.as_deref()?, verified, &target.name);
    let candidates = targets.into_iter().map(|target| Candidate { demand: demand(&target), target });
    Course {
        candidates: candidates.collect(),
        policy_type: policy.as_ref().map(|_| PolicyType::Sts),
        faults: fault.iter().map(|fault| TlsReport::of_policy(domain, fault)).collect(),
    }
}
