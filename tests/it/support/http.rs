//! Octets to the door and octets back: a client that says exactly what it is told to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// What came back before the connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// `404`; 0 when there was none.
    pub(crate) status: u16,
    /// Header fields as they stand there, names in lower case, without the date.
    pub(crate) fields: Vec<(String, String)>,
    /// The body.
    pub(crate) body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let fields = lines.filter_map(|line| line.split_once(':'));
        let fields = fields.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
        Self {
            status: status.unwrap_or(0),
            fields: fields.filter(|(name, _)| name != "date").collect(),
            body: body.to_owned(),
        }
    }

    /// The first field of that name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Sends octets and reads until the other side ends the connection.
pub(crate) fn raw(address: SocketAddr, octets: &[u8]) -> Answer {
    let mut stream = connect(address);
    // Whoever is turned away early may be cut off while still sending.
    let _sent = stream.write_all(octets);
    rest(&mut stream)
}

/// A connection whose reads end some day.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A connection from an address of loopback other than the usual one.
pub(crate) fn connect_from(source: [u8; 4], address: SocketAddr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let connected = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((source, 0))).unwrap();
        socket.connect(address).await.unwrap().into_std().unwrap()
    });
    connected.set_nonblocking(false).unwrap();
    connected.set_read_timeout(Some(PATIENCE)).unwrap();
    connected
}

/// Everything until the end of the connection.
pub(crate) fn rest(stream: &mut impl Read) -> Answer {
    let mut octets = Vec::new();
    // A reset after the answer is an end too; what counts is what was read before. A timeout is none.
    if let Err(error) = stream.read_to_end(&mut octets) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    Answer::parse(&String::from_utf8_lossy(&octets))
}

/// A whole request with these header lines (each ending in CRLF) and this body.
pub(crate) fn request(address: SocketAddr, line: &str, fields: &str, body: &str) -> Answer {
    let length = body.len();
    raw(
        address,
        format!("{line} HTTP/1.1\r\nHost: u.test.example\r\nContent-Length: {length}\r\n{fields}\r\n{body}").as_bytes(),
    )
}

/// RFC 8058 as Gmail sends it.
pub(crate) fn one_click(address: SocketAddr, path: &str) -> Answer {
    request(address, &format!("POST {path}"), FORM, "List-Unsubscribe=One-Click")
}

/// The header line of a form.
pub(crate) const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
