//! Sockets that systemd has opened for us (socket activation), so that ports below 1024 need no capability and a restart
//! refuses nobody.

use std::io;
use std::net::{SocketAddr, TcpListener as Socket};

use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpSocket};

use super::StartError;

/// Connections waiting to be accepted.
const BACKLOG: u32 = 1024;

/// Sockets by the door that they are for: the `FileDescriptorName=` of their unit.
#[derive(Debug, Default)]
pub struct Sockets {
    /// `smtp`: submission, with STARTTLS when there is a certificate.
    pub(super) smtp: Vec<Socket>,
    /// `smtps`: submission under implicit TLS.
    pub(super) smtps: Vec<Socket>,
    /// `http`: the person's door.
    pub(super) http: Vec<Socket>,
}

impl Sockets {
    /// Takes what was handed over; nothing when we were started in another way. Called once, before there are threads: the
    /// variables that announce the sockets are removed.
    ///
    /// # Errors
    /// [`StartError::Listen`] when something was handed over that is no listening socket, or under a name that is no
    /// door's.
    pub fn handed_over() -> Result<Self, StartError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut handed = ListenFd::from_env();
        let mut sockets = Self::default();
        for (at, name) in names.split(':').enumerate().take(handed.len()) {
            let problem = |error| StartError::Listen { address: format!("socket `{name}` of systemd"), error };
            if let Some(socket) = handed.take_tcp_listener(at).map_err(problem)? {
                socket.set_nonblocking(true).map_err(problem)?;
                sockets.door(name).map_err(problem)?.push(socket);
            }
        }
        Ok(sockets)
    }

    fn door(&mut self, name: &str) -> io::Result<&mut Vec<Socket>> {
        match name {
            "smtp" => Ok(&mut self.smtp),
            "smtps" => Ok(&mut self.smtps),
            "http" => Ok(&mut self.http),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "expected FileDescriptorName=smtp, smtps or http in its unit",
            )),
        }
    }
}

/// The sockets of one door: those handed over, or else the configured addresses.
pub(super) fn listeners(handed: Vec<Socket>, addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, StartError> {
    if handed.is_empty() {
        return addresses.iter().map(|address| listen(*address)).collect();
    }
    handed.into_iter().map(adopted).collect()
}

/// The socket of a door that has one.
pub(super) fn listener(handed: &mut Vec<Socket>, address: SocketAddr) -> Result<TcpListener, StartError> {
    match handed.pop() {
        Some(socket) => adopted(socket),
        None => listen(address),
    }
}

fn adopted(socket: Socket) -> Result<TcpListener, StartError> {
    let problem = |error| StartError::Listen { address: "a socket of systemd".to_owned(), error };
    TcpListener::from_std(socket).map_err(problem)
}

/// Binds one address.
pub(super) fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    let open = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|error| StartError::Listen { address: address.to_string(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_of_doors_are_known() {
        let mut sockets = Sockets::default();
        for name in ["smtp", "smtps", "http"] {
            assert!(sockets.door(name).is_ok(), "{name}");
        }
        for name in ["", "smtp ", "consentry.socket", "unknown"] {
            assert!(sockets.door(name).is_err(), "{name}");
        }
    }
}
