//! A smarthost that takes everything and remembers it byte for byte.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// One message as it arrived: envelope, and content with the dots un-stuffed.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) content: Vec<u8>,
}

impl Received {
    /// Header section with its blank line, and body.
    pub(crate) fn split(&self) -> (&[u8], &[u8]) {
        let end =
            self.content.windows(4).position(|window| window == b"\r\n\r\n").map_or(self.content.len(), |at| at + 4);
        self.content.split_at(end)
    }

    /// The unfolded value of every field of that name.
    pub(crate) fn fields(&self, name: &str) -> Vec<String> {
        let header = String::from_utf8_lossy(self.split().0).replace("\r\n ", " ").replace("\r\n\t", " ");
        let wanted = format!("{}:", name.to_lowercase());
        header
            .lines()
            .filter(|line| line.to_lowercase().starts_with(&wanted))
            .map(|line| line[wanted.len()..].trim().to_owned())
            .collect()
    }
}

#[derive(Default)]
struct Shared {
    received: Mutex<Vec<Received>>,
    named: Mutex<HashMap<String, Vec<Naming>>>,
    connections: Mutex<Vec<Arc<Socket>>>,
    /// What is answered to a forward path, instead of taking it.
    refused: Mutex<HashMap<String, String>>,
    /// What is answered to a command, whoever it is about; `.` stands for the content.
    said: Mutex<HashMap<String, String>>,
    commands: Mutex<Vec<String>>,
    offers_dsn: AtomicBool,
    sessions: Mutex<Vec<TcpStream>>,
    /// Sessions at this moment, and the most that there were at one.
    open: Mutex<(usize, usize)>,
    dead: AtomicBool,
}

/// Where a RCPT stood in the octets that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Naming {
    connection: usize,
    end: u64,
}

/// How much had arrived on each connection at one moment, read by us or still in the kernel's buffer.
#[derive(Clone, Debug)]
pub(crate) struct Arrived(Vec<u64>);

impl Arrived {
    /// Whether that RCPT had arrived by then.
    pub(crate) fn holds(&self, naming: &Naming) -> bool {
        self.0.get(naming.connection).is_some_and(|arrived| naming.end <= *arrived)
    }
}

/// One connection, and how many octets were taken out of the kernel's buffer.
struct Socket {
    stream: TcpStream,
    taken: Mutex<u64>,
}

impl Socket {
    fn arrived(&self) -> u64 {
        let taken = self.taken.lock().unwrap();
        *taken + rustix::io::ioctl_fionread(&self.stream).unwrap()
    }
}

/// Waits without the lock and takes with it, so that [`Socket::arrived`] counts every octet once.
impl Read for &Socket {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stream.peek(&mut [0])?;
        let mut taken = self.taken.lock().unwrap();
        let count = (&self.stream).read(buffer)?;
        *taken += count as u64;
        Ok(count)
    }
}

/// A running upstream; its threads end with the process of the test.
#[derive(Clone)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

impl Upstream {
    /// Listens on a free port.
    pub(crate) fn start() -> Self {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), Duration::ZERO)
    }

    /// Listens on `address` and waits before each answer to a content.
    pub(crate) fn start_on(address: SocketAddr, delay: Duration) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let upstream = Self { address: listener.local_addr().unwrap(), shared: Arc::default() };
        let shared = Arc::clone(&upstream.shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.dead.load(Ordering::SeqCst) {
                    return;
                }
                let (stream, shared) = (stream.unwrap(), Arc::clone(&shared));
                shared.sessions.lock().unwrap().push(stream.try_clone().unwrap());
                std::thread::spawn(move || {
                    let presence = Presence::new(&shared);
                    session(stream, &shared, delay, presence)
                });
            }
        });
        upstream
    }

    /// The most sessions that there were at one time.
    pub(crate) fn most_sessions(&self) -> usize {
        self.shared.open.lock().unwrap().1
    }

    /// Closes its door and every session, wherever it stands.
    pub(crate) fn die(&self) {
        self.shared.dead.store(true, Ordering::SeqCst);
        // The one connection that it still accepts tells it to look.
        drop(TcpStream::connect(self.address));
        for session in self.shared.sessions.lock().unwrap().drain(..) {
            let _already_gone = session.shutdown(Shutdown::Both);
        }
        while TcpStream::connect(self.address).is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Everything that arrived so far.
    pub(crate) fn received(&self) -> MutexGuard<'_, Vec<Received>> {
        self.shared.received.lock().unwrap()
    }

    /// From now on offers DSN (RFC 3461) to whoever says EHLO.
    pub(crate) fn offer_dsn(&self) {
        self.shared.offers_dsn.store(true, Ordering::Relaxed);
    }

    /// From now on answers this forward path with 550 5.1.1.
    pub(crate) fn refuse(&self, path: &str) {
        self.refuse_with(path, "550 5.1.1 no such mailbox");
    }

    /// From now on answers this forward path, or every one at this `@domain`, with `reply`.
    pub(crate) fn refuse_with(&self, path: &str, reply: &str) {
        self.shared.refused.lock().unwrap().insert(path.to_owned(), reply.to_owned());
    }

    /// Takes a refusal back.
    pub(crate) fn take(&self, path: &str) {
        self.shared.refused.lock().unwrap().remove(path);
    }

    /// From now on answers every such command (`.` is the content) with `reply`; as usual again with `None`.
    pub(crate) fn say(&self, command: &str, reply: Option<&str>) {
        let mut said = self.shared.said.lock().unwrap();
        match reply {
            Some(reply) => said.insert(command.to_owned(), reply.to_owned()),
            None => said.remove(command),
        };
    }

    /// Every forward path that a RCPT ever named, whether a message followed or not.
    pub(crate) fn forward_paths(&self) -> Vec<String> {
        self.shared.named.lock().unwrap().keys().cloned().collect()
    }

    /// Every MAIL and RCPT command, as it was said.
    pub(crate) fn commands(&self) -> Vec<String> {
        self.shared.commands.lock().unwrap().clone()
    }

    /// Every RCPT for this forward path.
    pub(crate) fn namings(&self, path: &str) -> Vec<Naming> {
        self.shared.named.lock().unwrap().get(path).cloned().unwrap_or_default()
    }

    /// How much has arrived until now.
    pub(crate) fn arrived(&self) -> Arrived {
        let connections = self.shared.connections.lock().unwrap().clone();
        Arrived(connections.iter().map(|socket| socket.arrived()).collect())
    }
}

/// Counts a session until it ends: before the last word to the client, who may open the next one upon it.
struct Presence<'a>(&'a Shared);

impl<'a> Presence<'a> {
    fn new(shared: &'a Shared) -> Self {
        let mut open = shared.open.lock().unwrap();
        open.0 += 1;
        open.1 = open.1.max(open.0);
        Self(shared)
    }
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        self.0.open.lock().unwrap().0 -= 1;
    }
}

fn session(stream: TcpStream, shared: &Shared, delay: Duration, presence: Presence<'_>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut out = stream.try_clone().ok()?;
    let (socket, connection) = shared.connected(stream);
    let mut input = Counted { inner: BufReader::new(&*socket), read: 0 };
    out.write_all(b"220 upstream.example ESMTP\r\n").ok()?;
    let (mut from, mut to) = (String::new(), Vec::new());
    let mut in_transaction = false;
    loop {
        let mut line = Vec::new();
        if input.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        let verb = line.get(..4).unwrap_or_default().to_uppercase();
        if matches!(verb.as_str(), "MAIL" | "RCPT") {
            shared.commands.lock().unwrap().push(line.clone());
        }
        if verb == "RCPT" {
            shared.name(path(&line), Naming { connection, end: input.read });
        }
        if let Some(reply) = shared.said(&verb) {
            in_transaction &= verb != "MAIL";
            out.write_all(format!("{reply}\r\n").as_bytes()).ok()?;
            continue;
        }
        let reply = match verb.as_str() {
            "EHLO" => shared.hello().to_owned(),
            "MAIL" => {
                (from, to, in_transaction) = (path(&line), Vec::new(), true);
                "250 2.1.0 ok".to_owned()
            }
            "RCPT" if !in_transaction => "503 5.5.1 MAIL first".to_owned(),
            "RCPT" => shared.refusal(&path(&line)).unwrap_or_else(|| {
                to.push(path(&line));
                "250 2.1.5 ok".to_owned()
            }),
            "DATA" if to.is_empty() => "554 5.5.1 no valid recipients".to_owned(),
            "DATA" => {
                out.write_all(b"354 go\r\n").ok()?;
                let content = content(&mut input)?;
                std::thread::sleep(delay);
                shared.said(".").unwrap_or_else(|| {
                    let to = std::mem::take(&mut to);
                    shared.received.lock().unwrap().push(Received { from: from.clone(), to, content });
                    "250 2.0.0 taken".to_owned()
                })
            }
            "QUIT" => {
                drop(presence);
                out.write_all(b"221 bye\r\n").ok()?;
                return None;
            }
            _ => "250 ok".to_owned(),
        };
        out.write_all(format!("{reply}\r\n").as_bytes()).ok()?;
    }
}

/// What stands between the brackets.
fn path(line: &str) -> String {
    let inner = line.split_once('<').and_then(|(_, rest)| rest.rsplit_once('>'));
    inner.map_or(String::new(), |(path, _)| path.to_owned())
}

impl Shared {
    fn connected(&self, stream: TcpStream) -> (Arc<Socket>, usize) {
        let socket = Arc::new(Socket { stream, taken: Mutex::default() });
        let mut connections = self.connections.lock().unwrap();
        connections.push(Arc::clone(&socket));
        (socket, connections.len() - 1)
    }

    fn hello(&self) -> &'static str {
        if self.offers_dsn.load(Ordering::Relaxed) {
            "250-upstream.example\r\n250-PIPELINING\r\n250-DSN\r\n250-8BITMIME\r\n250 SMTPUTF8"
        } else {
            "250-upstream.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 104857600"
        }
    }

    fn name(&self, path: String, naming: Naming) {
        self.named.lock().unwrap().entry(path).or_default().push(naming);
    }

    fn said(&self, command: &str) -> Option<String> {
        self.said.lock().unwrap().get(command).cloned()
    }

    fn refusal(&self, path: &str) -> Option<String> {
        let refused = self.refused.lock().unwrap();
        let domain = path.rsplit_once('@').map(|(_, domain)| format!("@{domain}")).unwrap_or_default();
        refused.get(path).or_else(|| refused.get(&domain)).cloned()
    }
}

/// Counts what was read as lines.
struct Counted<R> {
    inner: R,
    read: u64,
}

impl<R: BufRead> Counted<R> {
    fn read_line(&mut self, line: &mut Vec<u8>) -> std::io::Result<usize> {
        let count = self.inner.read_until(b'\n', line)?;
        self.read += count as u64;
        Ok(count)
    }
}

fn content(input: &mut Counted<impl BufRead>) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let mut line = Vec::new();
        if input.read_line(&mut line).ok()? == 0 {
            return None;
        }
        assert!(
            line.ends_with(b"\r\n") && !line[..line.len() - 2].contains(&b'\r') && !line.contains(&0),
            "a bare CR, LF or NUL reached the upstream"
        );
        if line == b".\r\n" {
            return Some(content);
        }
        content.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
}
