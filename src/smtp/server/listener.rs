//! The accept loop: who gets a session, and the end of all of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::channel::Channel;
use super::limits::{Limits, Place};
use super::proxy;
use super::replies;
use super::session::Session;
use super::settings::Settings;
use crate::crowd;
use crate::smtp::Intake;
use crate::time::{Clock as _, SystemClock};

/// How long to wait when a connection cannot be accepted. Without it a process out of file descriptors would spin:
/// the connection stays in the queue, so accept fails again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where clients come in.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// How a connection begins.
    pub opening: Opening,
    /// What its sessions share with those of other listeners.
    pub limits: Arc<Limits>,
}

/// How a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// With the greeting, in clear.
    Greeting,
    /// With a TLS handshake: implicit TLS (RFC 8314 section 3). [`Settings::tls`] has what is shown.
    Handshake,
}

impl From<TcpListener> for Listener {
    fn from(socket: TcpListener) -> Self {
        Self { socket, opening: Opening::Greeting, limits: Arc::default() }
    }
}

/// Serves SMTP on `listener` until `shutdown` turns true or its sender is dropped.
///
/// Then nothing more is accepted, idle sessions are told 421, those within a message may finish it. Returns when all
/// sessions have ended; how long to wait for that is for the caller to say: dropping the future ends them at once.
pub async fn serve<I: Intake>(
    listener: impl Into<Listener>,
    settings: Arc<Settings>,
    intake: Arc<I>,
    mut shutdown: watch::Receiver<bool>,
) {
    let Listener { socket, opening, limits } = listener.into();
    let door = Arc::new(Door { settings, intake, limits, opening, shutdown: shutdown.clone() });
    let mut sessions = JoinSet::new();
    let started = SystemClock.now().as_millis();
    let mut count: u64 = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = shutdown.wait_for(|stop| *stop) => break,
            Some(ended) = sessions.join_next(), if !sessions.is_empty() => {
                report(ended);
                continue;
            }
            accepted = socket.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = door.limits.enter(&door.settings) else {
            turn_away(stream, peer);
            continue;
        };
        count += 1;
        let id = format!("{started:x}-{count:x}");
        sessions.spawn(Arc::clone(&door).receive(stream, peer, place, id));
    }
    drop(socket);
    while let Some(ended) = sessions.join_next().await {
        report(ended);
    }
}

/// What all sessions of one listener share.
struct Door<I> {
    settings: Arc<Settings>,
    intake: Arc<I>,
    limits: Arc<Limits>,
    opening: Opening,
    shutdown: watch::Receiver<bool>,
}

impl<I: Intake> Door<I> {
    /// One connection from its first octet to its last.
    async fn receive(self: Arc<Self>, mut stream: TcpStream, from: SocketAddr, mut place: Place, id: String) {
        let settings = Arc::clone(&self.settings);
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, peer = %from, "cannot switch off delayed sending");
        }
        let peer = if settings.proxies.iter().any(|range| range.contains(from.ip())) {
            match proxy::client(&mut stream, from).await {
                Ok(client) => client,
                Err(error) => {
                    tracing::warn!(%error, proxy = %from, "no PROXY header, or not a good one; connection closed");
                    return;
                }
            }
        } else {
            from
        };
        if !place.settle(peer.ip(), &settings) {
            return turn_away(stream, peer);
        }
        // A new connection can be written to at once, so this waits for the first word of the kernel about it.
        // The same word says whether the client has been talking already.
        if stream.writable().await.is_err() {
            return;
        }
        let share = self.limits.share(&settings);
        let mut channel = Channel::new(stream, settings.session_timeout, share, self.shutdown.clone());
        match (self.opening, &settings.tls) {
            (Opening::Greeting, _) => {}
            (Opening::Handshake, Some(certificates)) => {
                if channel.secure(&certificates.acceptor(), settings.handshake_timeout).await.is_err() {
                    return;
                }
            }
            (Opening::Handshake, None) => {
                return tracing::error!("a listener for TLS has no certificate to show");
            }
        }
        Session::new(channel, settings, Arc::clone(&self.intake), peer, id).run().await;
        drop(place);
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a session broke down");
    }
}

/// Says 421 to a client that there is no room for, as far as that goes without waiting.
fn turn_away(stream: TcpStream, peer: SocketAddr) {
    let words = format!("{}\r\n", replies::too_many_connections());
    if let Err(error) = crowd::turn_away(stream, words.as_bytes()) {
        tracing::debug!(%error, %peer, "cannot turn a connection away politely");
    }
}
