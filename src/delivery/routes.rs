//! Which way mail goes, as the operator has set it.

use std::collections::HashMap;
use std::sync::Arc;

use super::mx::Loopback;
use crate::mail::{Label, RouteName, StreamName};
use crate::smtp::client;
use crate::tls::ClientConfig;

/// A smarthost that mail can be handed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smarthost {
    /// Name or address, resolved anew for each connection.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Its share of the mail beside the route's other hosts while all keep up; at least one.
    pub weight: u32,
}

/// Where a route leads.
#[derive(Clone, Debug)]
pub enum Way {
    /// To smarthosts, at least one. Those that are down are passed over.
    Smarthosts(Vec<Smarthost>),
    /// To the mail servers of each recipient's domain.
    Exchanges {
        /// 25, except in a laboratory.
        port: u16,
        /// What to do about servers on this machine.
        loopback: Loopback,
        /// Who says how their sessions are protected.
        assurance: Assurance,
    },
}

/// Who says how sessions with the mail servers of a domain are protected.
#[derive(Clone, Debug)]
pub enum Assurance {
    /// The route, for everybody the same.
    Route,
    /// The domain's policy (RFC 8461): a mail server that it is enforced on is met with this configuration. Where there is
    /// no policy, the route.
    MtaSts(Arc<ClientConfig>),
    /// The TLSA records of each of its servers (RFC 7672).
    Dane(WithoutTlsa),
}

/// What to do about a server that has provably no TLSA record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutTlsa {
    /// What the route says.
    ByRoute,
    /// It is not sent to.
    Refuse,
}

/// In front of a route's name: the stream of mail that has to leave by this route and no other. No operator's stream begins
/// with an underscore.
pub const CANARY_STREAM: &str = "_canary.";

/// One route.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name.
    pub name: RouteName,
    /// Where it leads.
    pub way: Way,
    /// EHLO name, TLS, login, source addresses, deadlines.
    pub client: client::Settings,
    /// Connections at a time, at least one: to each smarthost, or to all domains together.
    pub max_connections: usize,
}

impl Route {
    /// The simple form: one smarthost, in clear, greeted as `hello`.
    pub fn smarthost(name: RouteName, host: String, port: u16, hello: String) -> Self {
        let hosts = vec![Smarthost { host, port, weight: 1 }];
        Self { name, way: Way::Smarthosts(hosts), client: client::Settings::new(hello), max_connections: 16 }
    }
}

/// All routes, and which stream takes which.
#[derive(Clone, Debug)]
pub struct Routes {
    default: Arc<Route>,
    others: Vec<Arc<Route>>,
    by_stream: HashMap<StreamName, usize>,
}

impl Routes {
    /// Everything goes by `default`.
    pub fn new(default: Route) -> Self {
        Self { default: Arc::new(default), others: Vec::new(), by_stream: HashMap::new() }
    }

    /// One more route, for `streams`.
    pub fn add(&mut self, route: Route, streams: impl IntoIterator<Item = StreamName>) {
        self.others.push(Arc::new(route));
        let place = self.others.len();
        self.by_stream.extend(streams.into_iter().map(|stream| (stream, place)));
    }

    /// The route that mail of `stream` takes.
    pub fn of_stream(&self, stream: &StreamName) -> &Route {
        let other = self.place_of(stream).checked_sub(1).and_then(|place| self.others.get(place));
        other.unwrap_or(&self.default)
    }

    /// Whether there is a route of this name.
    pub fn has(&self, name: &RouteName) -> bool {
        self.all().any(|route| route.name == *name)
    }

    /// The place in [`Routes::all`] of the route of this name.
    pub(super) fn place_named(&self, name: &RouteName) -> Option<usize> {
        self.all().position(|route| route.name == *name)
    }

    /// All of them, the default first.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Route>> {
        std::iter::once(&self.default).chain(&self.others)
    }

    /// The place in [`Routes::all`] of the route for this mail. Our own notices, and mail of a stream that is not
    /// configured any more, take the default.
    pub(super) fn place_for(&self, label: &Label) -> usize {
        self.place_of(&label.stream)
    }

    /// The same for a stream.
    pub(super) fn place_of(&self, stream: &StreamName) -> usize {
        if let Some(name) = stream.as_str().strip_prefix(CANARY_STREAM) {
            return RouteName::new(name).ok().and_then(|name| self.place_named(&name)).unwrap_or(0);
        }
        self.by_stream.get(stream).copied().unwrap_or(0)
    }
}
