//! A plain SMTP client that shows every reply.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls_pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::PATIENCE;

/// The name in the certificate of gateways under test.
pub(crate) const GATEWAY: &str = "gate.test.example";

/// TLS as a client speaks it.
pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// One session; in clear unless it says otherwise.
pub(crate) struct Client<S: Read + Write = TcpStream> {
    reader: BufReader<S>,
}

impl Client {
    /// Connects, reads the greeting and says EHLO.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let mut client = Self::raw(address);
        assert!(client.reply().starts_with("220"));
        assert!(client.say("EHLO client.example").starts_with("250"));
        client
    }

    /// [`Client::connect`] from another address of this machine.
    pub(crate) fn connect_from(source: std::net::IpAddr, address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let connected = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::new(source, 0)).unwrap();
            socket.connect(address).await.unwrap()
        });
        let stream = connected.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Self { reader: BufReader::new(stream) };
        assert!(client.reply().starts_with("220"));
        assert!(client.say("EHLO client.example").starts_with("250"));
        client
    }

    /// Connects and does nothing else.
    pub(crate) fn raw(address: SocketAddr) -> Self {
        Self::try_raw(address).unwrap()
    }

    /// The same to a server that may be gone.
    pub(crate) fn try_raw(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    /// Starts TLS, believing `trust` alone, with the gateway's name.
    pub(crate) fn start_tls(mut self, trust: &Arc<ClientConfig>) -> Client<Tls> {
        assert!(self.say("STARTTLS").starts_with("220 2.0.0"));
        Client::under_tls(self.reader.into_inner(), trust)
    }

    /// What it talks over.
    pub(crate) fn into_inner(self) -> TcpStream {
        self.reader.into_inner()
    }
}

impl Client<Tls> {
    /// Implicit TLS: the handshake comes first, then the greeting.
    pub(crate) fn connect_tls(address: SocketAddr, trust: &Arc<ClientConfig>) -> Self {
        let mut client = Self::under_tls(Client::raw(address).into_inner(), trust);
        assert!(client.reply().starts_with("220"));
        assert!(client.say("EHLO client.example").starts_with("250"));
        client
    }

    /// The handshake alone, over a connection that is there.
    pub(crate) fn under_tls(stream: TcpStream, trust: &Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from(GATEWAY).unwrap();
        let connection = ClientConnection::new(Arc::clone(trust), name).unwrap();
        Self { reader: BufReader::new(StreamOwned::new(connection, stream)) }
    }

    /// The connection and its TLS.
    pub(crate) fn tls(&mut self) -> &mut Tls {
        self.reader.get_mut()
    }
}

impl<S: Read + Write> Client<S> {
    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Sends a line and returns the last line of the reply; empty when the connection ended.
    pub(crate) fn say(&mut self, line: &str) -> String {
        match self.send(format!("{line}\r\n").as_bytes()) {
            Ok(()) => self.reply(),
            Err(_) => String::new(),
        }
    }

    /// Sends a line and returns every line of the reply.
    pub(crate) fn ask(&mut self, line: &str) -> Vec<String> {
        self.send(format!("{line}\r\n").as_bytes()).unwrap();
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.reader.read_line(&mut line).unwrap(), 0, "the connection ended");
            lines.push(line.trim_end().to_owned());
            if line.as_bytes()[3] == b' ' {
                return lines;
            }
        }
    }

    /// The last line of the next reply; empty when the connection ended.
    pub(crate) fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            match self.reader.read_line(&mut line) {
                Ok(0) | Err(_) => return String::new(),
                Ok(_) if line.as_bytes().get(3) == Some(&b'-') => {}
                Ok(_) => return line.trim_end().to_owned(),
            }
        }
    }

    /// Sends one message; gives the reply to each RCPT and, when one was taken, the reply to the content.
    pub(crate) fn message(&mut self, from: &str, to: &[&str], content: &[u8]) -> (Vec<String>, Option<String>) {
        let mail = self.say(&format!("MAIL FROM:<{from}>"));
        if !mail.starts_with("250") {
            return (vec![mail; to.len()], None);
        }
        let replies: Vec<_> = to.iter().map(|to| self.say(&format!("RCPT TO:<{to}>"))).collect();
        if !replies.iter().any(|reply| reply.starts_with("250")) {
            self.say("RSET");
            return (replies, None);
        }
        let go = self.say("DATA");
        if !go.starts_with("354") {
            return (replies, Some(go));
        }
        let end = match self.send(&stuffed(content)) {
            Ok(()) => self.reply(),
            Err(_) => String::new(),
        };
        (replies, Some(end))
    }
}

/// Dot-stuffed content with the final dot.
pub(crate) fn stuffed(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 16);
    let mut line_start = true;
    for byte in content {
        if line_start && *byte == b'.' {
            out.push(b'.');
        }
        out.push(*byte);
        line_start = *byte == b'\n';
    }
    if !content.is_empty() && !content.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}
