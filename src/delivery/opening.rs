//! From a lane to an open session.

use std::sync::Arc;

use super::attempt::random;
use super::lane::{Line, Place};
use super::mx::{self, NoWay};
use super::outcome::{self, Reading, Verdict};
use super::routes::Way;
use crate::dns::Resolver;
use crate::smtp::client::{self, Blame, ClientError, Session, Target, TlsFault};

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

/// A session that could not be protected, for the log.
#[derive(Debug)]
pub(super) struct Unprotected {
    pub(super) host: Arc<str>,
    pub(super) fault: TlsFault,
}

/// How an opening went.
pub(super) struct Opening {
    pub(super) session: Result<Session, Unopened>,
    /// Also when there is a session: another server of the domain may have given it, or it is in clear.
    pub(super) unprotected: Vec<Unprotected>,
}

/// Opens a session on `line` with one of `targets`, as `client` says.
pub(super) async fn open(line: &Line, client: &client::Settings, targets: Vec<Target>) -> Opening {
    let mut unprotected = Vec::new();
    let mut last = ClientError::Resolve("it has no address".to_owned());
    let mut left = ATTEMPTS_MAX;
    for mut target in targets {
        target.addresses.truncate(left);
        left -= target.addresses.len();
        let host = Arc::clone(&target.name);
        match Session::open(&target, client, line.next_turn()).await {
            Ok(mut session) => {
                unprotected.extend(session.take_unprotected().map(|fault| Unprotected { host, fault }));
                return Opening { session: Ok(session), unprotected };
            }
            Err(error) => {
                if let ClientError::Tls(fault) = &error {
                    unprotected.push(Unprotected { host, fault: fault.clone() });
                }
                last = error;
            }
        }
    }
    Opening { session: Err(last.into()), unprotected }
}

/// The servers, in the order in which to try them.
pub(super) async fn targets(line: &Line, resolver: &Resolver) -> Result<Vec<Target>, Unopened> {
    match (&line.place, &line.route.way) {
        (Place::Host(host), _) => {
            let patience = line.route.client.timeouts.connect;
            Ok(vec![Target::resolve(&host.host, host.port, patience).await?])
        }
        (Place::Domain(domain), Way::Exchanges { port, loopback }) => {
            Ok(mx::servers(resolver, domain, *port, *loopback, random).await?)
        }
        // Lanes to domains are made for routes to exchanges only.
        (Place::Domain(_), Way::Smarthosts(_)) => Ok(Vec::new()),
    }
}
