//! The accept loop: who gets a session, and the end of all of them.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::channel::Channel;
use super::replies;
use super::session::Session;
use super::settings::Settings;
use crate::smtp::Intake;
use crate::time::{Clock as _, SystemClock};

/// How long to wait when a connection cannot be accepted. Without it a process out of file descriptors would spin:
/// the connection stays in the queue, so accept fails again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves SMTP on `listener` until `shutdown` turns true or its sender is dropped.
///
/// Then nothing more is accepted, idle sessions are told 421, those within a message may finish it. Returns when all
/// sessions have ended; how long to wait for that is for the caller to say: dropping the future ends them at once.
pub async fn serve<I: Intake>(
    listener: TcpListener,
    settings: Arc<Settings>,
    intake: Arc<I>,
    mut shutdown: watch::Receiver<bool>,
) {
    let signal = shutdown.clone();
    let census = Arc::new(Census::default());
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
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = Census::enter(&census, peer.ip(), &settings) else {
            turn_away(stream, peer);
            continue;
        };
        count += 1;
        let id = format!("{started:x}-{count:x}");
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, %peer, "cannot switch off delayed sending");
        }
        let (settings, intake, signal) = (Arc::clone(&settings), Arc::clone(&intake), signal.clone());
        sessions.spawn(async move {
            // A new connection can be written to at once, so this waits for the first word of the kernel about it.
            // The same word says whether the client has been talking already.
            if stream.writable().await.is_ok() {
                let channel = Channel::new(stream, settings.session_timeout, signal);
                Session::new(channel, settings, intake, peer, id).run().await;
            }
            drop(place);
        });
    }
    drop(listener);
    while let Some(ended) = sessions.join_next().await {
        report(ended);
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a session broke down");
    }
}

/// Says 421 to a client that there is no room for, as far as that goes without waiting.
fn turn_away(stream: TcpStream, peer: SocketAddr) {
    let said = || -> io::Result<()> {
        let mut stream = stream.into_std()?;
        stream.write_all(format!("{}\r\n", replies::too_many_connections()).as_bytes())
    };
    if let Err(error) = said() {
        tracing::debug!(%error, %peer, "cannot turn a connection away politely");
    }
}

/// Who is here, by address.
#[derive(Debug, Default)]
struct Census(Mutex<Present>);

#[derive(Debug, Default)]
struct Present {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Census {
    /// Takes a place, if there is one left in all and for this address.
    fn enter(census: &Arc<Self>, address: IpAddr, settings: &Settings) -> Option<Place> {
        let address = address.to_canonical();
        let mut present = census.0.lock().unwrap_or_else(PoisonError::into_inner);
        let here = present.by_address.get(&address).copied().unwrap_or(0);
        if present.all >= settings.max_connections || here >= settings.max_connections_per_address {
            return None;
        }
        present.all += 1;
        present.by_address.insert(address, here + 1);
        drop(present);
        Some(Place { census: Arc::clone(census), address })
    }
}

/// A place that is given back when dropped.
#[derive(Debug)]
struct Place {
    census: Arc<Census>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut present = self.census.0.lock().unwrap_or_else(PoisonError::into_inner);
        present.all = present.all.saturating_sub(1);
        if let Some(here) = present.by_address.get_mut(&self.address) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                // Else every address that ever came would stay in memory.
                present.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_in_all_and_by_address_and_come_back() {
        let mut settings = Settings::new("gw.example").unwrap();
        (settings.max_connections, settings.max_connections_per_address) = (3, 2);
        let census = Arc::new(Census::default());
        let enter = |address: &str| Census::enter(&census, address.parse().unwrap(), &settings);
        let first = enter("192.0.2.1");
        let second = enter("::ffff:192.0.2.1");
        assert!(first.is_some() && second.is_some());
        assert!(enter("192.0.2.1").is_none(), "a third from one address");
        let other = enter("192.0.2.2");
        assert!(other.is_some() && enter("192.0.2.3").is_none(), "a fourth in all");
        drop((first, second));
        assert!(enter("192.0.2.1").is_some());
        drop(other);
        assert!(census.0.lock().unwrap().by_address.is_empty(), "gone addresses stay in memory");
    }
}
