//! The programs' door: facts in, answers out, over HTTP.
//!
//! **Promise:** a change that was answered with 200 or 201 is on disk, and nobody acts on older facts any more; whoever shows the
//! token of one controller reads and changes nothing of another; every answer that is no success says why, in one shape.
//!
//! **Owns:** the table of routes and what each may answer, tokens and what they allow, the listeners, the OpenAPI description.
//!
//! **Never knows:** how a decision is made, TOML, how mail is sent.
//!
//! **Standards:** RFC 9110 (methods, conditional requests), RFC 9457 (problem details), RFC 6750 (bearer tokens), OpenAPI 3.1.

mod body;
mod call;
mod client;
mod compat;
mod consents;
mod decisions;
mod events;
pub(crate) mod explanation;
mod fields;
pub(crate) mod form;
mod openapi;
mod problem;
mod queue;
mod reach;
mod routes;
mod rules;
mod server;
pub(crate) mod shape;
mod suppressions;
mod table;
mod token;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, watch};

use crate::control;
use crate::events::Events;
use crate::pipeline;
use crate::store::Store;
use crate::telemetry::{AuditSink, Event, Privacy};
use crate::tls::Certificates;

pub use client::ask;
pub use openapi::document;
pub use reach::{Reach, Right};
pub use routes::Door;
pub use server::{Local, serve, serve_local};
pub use token::{NewToken, Revoked, Token, TokenError, TokenName, Tokens};

/// Where programs come in, besides the socket in the data folder.
#[derive(Debug)]
pub struct Settings {
    /// The address; none by default.
    pub listen: Option<SocketAddr>,
    /// What is shown there; without them the address is one of this machine.
    pub certificates: Option<Certificates>,
    /// Requests a second that one token may make, with twice as many at once.
    pub rate: std::num::NonZeroU32,
}

/// What requests are about. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    /// The facts.
    pub store: Store,
    /// Streams, lists and rules in force.
    pub settings: Arc<ArcSwap<pipeline::Settings>>,
    /// The queue and what operators do there.
    pub control: control::Desk,
    /// The audit trail as a stream.
    pub events: Events,
    /// How addresses are written down.
    pub privacy: Privacy,
    /// Where audit records go.
    pub audit: AuditSink,
    /// The file of tokens.
    pub tokens: PathBuf,
    /// Held from a change until its event is kept: changes of consents and removals that come in here stand in log and trail in the
    /// order in which they were made. Whether a thing is as its writer saw it is for the store to say.
    pub turn: Arc<Mutex<()>>,
    /// Whether callers over the network come in by TLS of ours.
    pub speaks_tls: bool,
    /// When the daemon stops.
    pub stops: watch::Receiver<bool>,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("api::Desk").finish_non_exhaustive()
    }
}

impl Desk {
    /// Keeps an event in log and audit trail.
    fn record(&self, event: &Event) {
        (self.audit)(self.control.log.record(event));
    }
}
