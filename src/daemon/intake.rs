//! Opens the doors that mail comes in through.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::smtp::Intake;
use crate::smtp::server::{Limits, Listener, Opening, Settings, serve};
use crate::tls::Certificates;

use super::StartError;
use super::sockets::{Sockets, listeners};
use super::tasks::Tasks;

/// Which addresses, when systemd hands over no sockets.
pub(super) struct Addresses<'a> {
    /// With the greeting in clear.
    pub(super) clear: &'a [SocketAddr],
    /// Under TLS from the first octet.
    pub(super) tls: &'a [SocketAddr],
}

/// What is open.
pub(super) struct Open {
    pub(super) clear: Vec<SocketAddr>,
    pub(super) tls: Vec<SocketAddr>,
}

/// Opens all of them, and serves until `stops` says so. Their sessions share one set of limits.
pub(super) fn open<I: Intake>(
    addresses: &Addresses<'_>,
    sockets: &mut Sockets,
    settings: Settings,
    hall: &Arc<I>,
    stops: &watch::Receiver<bool>,
    tasks: &mut Tasks,
) -> Result<Open, StartError> {
    if !sockets.smtps.is_empty() && settings.tls.is_none() {
        let error = std::io::Error::other("there is no certificate to show; expected one in [[smtp.tls]]");
        return Err(StartError::Listen { address: "socket `smtps` of systemd".to_owned(), error });
    }
    let clear = listeners(std::mem::take(&mut sockets.smtp), addresses.clear)?;
    let tls = listeners(std::mem::take(&mut sockets.smtps), addresses.tls)?;
    let (settings, limits) = (Arc::new(settings), Arc::<Limits>::default());
    let mut begin = |socket: TcpListener, opening| -> Result<SocketAddr, StartError> {
        let problem = |error| StartError::Listen { address: "a socket of ours".to_owned(), error };
        let at = socket.local_addr().map_err(problem)?;
        let listener = Listener { socket, opening, limits: Arc::clone(&limits) };
        tasks.add(serve(listener, Arc::clone(&settings), Arc::clone(hall), stops.clone()));
        Ok(at)
    };
    let clear = clear.into_iter().map(|socket| begin(socket, Opening::Greeting)).collect::<Result<_, _>>()?;
    let tls = tls.into_iter().map(|socket| begin(socket, Opening::Handshake)).collect::<Result<_, _>>()?;
    Ok(Open { clear, tls })
}

/// Opens those of the unsubscribe mailbox. Mail servers start TLS where it is offered, whatever name the certificate has, so
/// that of submission will do.
pub(super) fn open_mailbox<I: Intake>(
    addresses: &[SocketAddr],
    mut settings: Settings,
    certificates: Option<&Certificates>,
    mailbox: &Arc<I>,
    stops: &watch::Receiver<bool>,
    tasks: &mut Tasks,
) -> Result<Vec<SocketAddr>, StartError> {
    settings.tls = certificates.cloned();
    let addresses = Addresses { clear: addresses, tls: &[] };
    Ok(open(&addresses, &mut Sockets::default(), settings, mailbox, stops, tasks)?.clear)
}
