//! From a lane to an open session.

use std::borrow::Cow;
use std::sync::Arc;

use super::assurance::{Asked, Demand, PolicyType, Terms, TlsReport};
use super::attempt::random;
use super::lane::{Line, Place};
use super::mx::{self, NoWay, Server};
use super::outcome::{self, Reading, Verdict};
use super::routes::{Assurance, Way, WithoutTlsa};
use crate::dns::{DnsError, Resolver};
use crate::mail::Domain;
use crate::smtp::client::{self, Blame, ClientError, Protection, Session, Target, TlsFault};
use crate::sts::{Found, Policies, Policy};
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
    /// The policy that the session is protected by, if it was asked for by one and had it at once.
    pub(super) fulfilled: Option<Asked>,
}

/// Where to, and who says how.
pub(super) struct Course<'a> {
    servers: Vec<Server>,
    by: By<'a>,
    faults: Vec<TlsReport>,
}

impl Course<'_> {
    /// The servers' names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.servers.iter().map(|server| &*server.target.name)
    }
}

/// Who says how the servers are met.
enum By<'a> {
    Route,
    Policy { policy: Arc<Policy>, verified: &'a Arc<ClientConfig> },
    Tlsa { resolver: &'a Resolver, domain: &'a Domain, port: u16, without: WithoutTlsa },
}

impl By<'_> {
    async fn terms(&self, server: &mut Server) -> Terms {
        match self {
            Self::Route => Terms::BY_ROUTE,
            Self::Policy { policy, verified } => Terms::of_policy(policy, verified, &server.target.name),
            Self::Tlsa { resolver, domain, port, without } => {
                Terms::of_tlsa(resolver, domain, server, *port, *without).await
            }
        }
    }
}

/// Opens a session on `line` with one of the servers of `course`, as `client` says.
pub(super) async fn open(line: &Line, client: &client::Settings, mut course: Course<'_>) -> Opening {
    let domain = match &line.place {
        Place::Domain(domain) => Some(domain),
        Place::Host(_) => None,
    };
    let mut last = ClientError::Resolve("it has no address".to_owned());
    let mut left = ATTEMPTS_MAX;
    for mut server in course.servers {
        let Terms { policy_type, demand } = course.by.terms(&mut server).await;
        let mut target = server.target;
        target.addresses.truncate(left);
        left -= target.addresses.len();
        let mut faults = Vec::new();
        let session = try_one(line, client, &target, demand, &mut faults).await;
        let asked = Asked { policy_type, domain: domain.cloned(), host: Some(Arc::clone(&target.name)) };
        course.faults.extend(faults.iter().map(|fault| TlsReport::of_session(asked.clone(), fault)));
        match session {
            Ok(session) => {
                let fulfilled = faults.is_empty() && policy_type != PolicyType::NoPolicyFound;
                let fulfilled = fulfilled.then_some(asked);
                return Opening { session: Ok(session), faults: course.faults, fulfilled };
            }
            Err(error) => last = error,
        }
    }
    Opening { session: Err(last.into()), faults: course.faults, fulfilled: None }
}

/// A zone that signs, and whose servers cannot be found because an answer is forged, is told of it.
pub(super) fn of_no_course(line: &Line, error: &Unopened) -> Option<TlsReport> {
    match (&line.place, error) {
        (Place::Domain(domain), Unopened::NoWay(no_way @ NoWay::Unknown(DnsError::Bogus(_)))) => {
            Some(TlsReport::of_zone(domain, no_way))
        }
        _ => None,
    }
}

/// A session with one server; `faults` takes what kept it, or a first attempt at it, from being protected.
async fn try_one(
    line: &Line,
    client: &client::Settings,
    target: &Target,
    demand: Demand,
    faults: &mut Vec<TlsFault>,
) -> Result<Session, ClientError> {
    let under = |protection: Protection| Cow::Owned(client::Settings { protection, ..client.clone() });
    let (settings, trial) = match demand {
        Demand::ByRoute => (Cow::Borrowed(client), false),
        Demand::Firm(protection) => (under(protection), false),
        Demand::Trial(protection) => (under(protection), true),
        Demand::Tolerated(fault) => {
            faults.push(fault);
            (Cow::Borrowed(client), false)
        }
        Demand::Barred(fault) => {
            faults.push(fault.clone());
            return Err(fault.into());
        }
    };
    let mut opened = Session::open(target, &settings, line.next_turn()).await;
    if let Err(ClientError::Tls(fault)) = &opened
        && trial
    {
        faults.push(fault.clone());
        opened = Session::open(target, client, line.next_turn()).await;
    }
    match &mut opened {
        Ok(session) => faults.extend(session.take_unprotected()),
        Err(ClientError::Tls(fault)) => faults.push(fault.clone()),
        Err(_) => {}
    }
    opened
}

/// The servers, in the order in which to try them, and how.
pub(super) async fn course<'a>(
    line: &'a Line,
    resolver: &'a Resolver,
    policies: &Policies,
    now: Timestamp,
) -> Result<Course<'a>, Unopened> {
    let by_route = |servers| Course { servers, by: By::Route, faults: Vec::new() };
    match (&line.place, &line.route.way) {
        (Place::Host(host), _) => {
            let patience = line.route.client.timeouts.connect;
            let target = Target::resolve(&host.host, host.port, patience).await?;
            Ok(by_route(vec![Server { target, tlsa_bases: Vec::new() }]))
        }
        (Place::Domain(domain), Way::Exchanges { port, loopback, assurance }) => {
            let servers = |resolver: &'a Resolver| mx::servers(resolver, domain, *port, *loopback, random);
            match assurance {
                Assurance::Route => Ok(by_route(servers(resolver).await?)),
                Assurance::MtaSts(verified) => {
                    let servers = servers(resolver).await?;
                    let Found { policy, fault } = policies.find(resolver, domain, now).await;
                    let by = policy.map_or(By::Route, |policy| By::Policy { policy, verified });
                    let faults = fault.iter().map(|fault| TlsReport::of_policy(domain, fault)).collect();
                    Ok(Course { servers, by, faults })
                }
                Assurance::Dane(without) => {
                    let resolver = resolver.validating().ok_or_else(|| NoWay::not_validated(domain))?;
                    let servers = servers(resolver).await?;
                    let by = By::Tlsa { resolver, domain, port: *port, without: *without };
                    Ok(Course { servers, by, faults: Vec::new() })
                }
            }
        }
        // Lanes to domains are made for routes to exchanges only.
        (Place::Domain(_), Way::Smarthosts(_)) => Ok(by_route(Vec::new())),
    }
}
