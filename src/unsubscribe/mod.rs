//! The person's HTTP door: RFC 8058 one-click, and pages where people leave, come back and choose.
//!
//! **Promise:** a POST that carries a token of ours is answered 200 once the opt-out is durable and nobody acts on older
//! facts, and not before. GET and HEAD change nothing. Whatever is wrong with a token, the answer is the same. No
//! cookie, no redirect, no script. Nobody can keep the door busy for longer than half a minute at a time, and nobody
//! can use up what somebody else needs.
//!
//! **Owns:** the listener, the route `/u/{token}`, the pages and their six languages.
//!
//! **Never knows:** the spool, delivery, how decisions are made, header syntax of mail.
//!
//! **Standards:** RFC 8058 section 3.2; RFC 9110 and 9112 (HTTP); CPCE article L34-5 (leaving must be simple and free of
//! charge); GDPR articles 7, 12 and 21; WCAG 2.2 level AA.

mod acts;
mod answer;
mod client;
mod coming_back;
mod confirmation;
mod effect;
mod form;
mod head;
mod limits;
mod page;
mod routes;
mod sender;
mod server;
mod wish;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

pub use sender::{Colour, Contact, LISTS_MAX, Offer, SHOWN_MAX, Sender, Shown, WebAddress};

use crate::cidr::AddressRange;
use crate::crowd::Places;
use crate::mail::ControllerId;
use crate::optout::OptOuts;
use crate::telemetry::Effects;
use crate::tls::Certificates;
use crate::token::Keyring;

/// What the door needs to know; replaced as a whole at a reload, and with it the certificates.
#[derive(Debug)]
pub struct Settings {
    /// Controllers whose one-click ends all their marketing instead of one list.
    pub whole_controller: HashSet<ControllerId>,
    /// How pages show each controller.
    pub senders: HashMap<ControllerId, Sender>,
    /// Whose word on where a request comes from is believed.
    pub trusted_proxies: Vec<AddressRange>,
    /// What is shown to clients; without them the door speaks plain HTTP, behind a proxy.
    pub certificates: Option<Certificates>,
    /// How many connections there may be, at some forty kilobytes each. Proxies that we trust are not counted as a neighbourhood:
    /// everybody comes through them.
    pub places: Places,
    /// How soon after its POST an opt-out must be in effect before somebody is told.
    pub effect_bound: Duration,
}

/// What the door is built from.
#[derive(Clone)]
pub struct Door {
    opt_outs: OptOuts,
    keyring: Arc<Keyring>,
    settings: Arc<ArcSwap<Settings>>,
    limits: Arc<limits::Limits>,
    effects: Arc<Effects>,
}

impl Door {
    /// A door that takes opt-outs to `opt_outs` for tokens of `keyring`.
    pub fn new(opt_outs: OptOuts, keyring: Arc<Keyring>, settings: Arc<ArcSwap<Settings>>) -> Self {
        Self { opt_outs, keyring, settings, limits: Arc::default(), effects: Arc::default() }
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}

/// Serves the door until `stop` resolves; requests under way are finished.
pub async fn serve(listener: tokio::net::TcpListener, door: Door, stop: impl Future<Output = ()> + Send) {
    server::serve(listener, door, stop).await;
}
