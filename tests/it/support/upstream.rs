//! A smarthost that takes everything and remembers it byte for byte.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

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
    forward_paths: Mutex<Vec<(String, Instant)>>,
    /// What is answered to a forward path, instead of taking it.
    refused: Mutex<HashMap<String, String>>,
    /// What is answered to a command, whoever it is about; `.` stands for the content.
    said: Mutex<HashMap<String, String>>,
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
                let (stream, shared) = (stream.unwrap(), Arc::clone(&shared));
                std::thread::spawn(move || session(stream, &shared, delay));
            }
        });
        upstream
    }

    /// Everything that arrived so far.
    pub(crate) fn received(&self) -> MutexGuard<'_, Vec<Received>> {
        self.shared.received.lock().unwrap()
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
        self.shared.forward_paths.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
    }

    /// When the last RCPT for this forward path was read.
    pub(crate) fn last_named(&self, wanted: &str) -> Option<Instant> {
        let named = self.shared.forward_paths.lock().unwrap();
        named.iter().filter(|(path, _)| path == wanted).map(|(_, at)| *at).max()
    }
}

fn session(stream: TcpStream, shared: &Shared, delay: Duration) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut out = stream.try_clone().ok()?;
    let mut input = BufReader::new(stream);
    out.write_all(b"220 upstream.example ESMTP\r\n").ok()?;
    let (mut from, mut to) = (String::new(), Vec::new());
    let mut in_transaction = false;
    loop {
        let mut line = Vec::new();
        if input.read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        let path = || {
            line.split_once('<')
                .and_then(|(_, rest)| rest.rsplit_once('>'))
                .map_or(String::new(), |(path, _)| path.to_owned())
        };
        let verb = line.get(..4).unwrap_or_default().to_uppercase();
        let said = shared.said.lock().unwrap().get(&verb).cloned();
        if let Some(reply) = said {
            in_transaction &= verb != "MAIL";
            if verb == "RCPT" {
                shared.forward_paths.lock().unwrap().push((path(), Instant::now()));
            }
            out.write_all(format!("{reply}\r\n").as_bytes()).ok()?;
            continue;
        }
        let reply: &[u8] = match verb.as_str() {
            "EHLO" => {
                b"250-upstream.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 104857600\r\n"
            }
            "MAIL" => {
                (from, to, in_transaction) = (path(), Vec::new(), true);
                b"250 2.1.0 ok\r\n"
            }
            "RCPT" if !in_transaction => b"503 5.5.1 MAIL first\r\n",
            "RCPT" => {
                shared.forward_paths.lock().unwrap().push((path(), Instant::now()));
                if let Some(reply) = refusal(shared, &path()) {
                    out.write_all(format!("{reply}\r\n").as_bytes()).ok()?;
                    continue;
                }
                to.push(path());
                b"250 2.1.5 ok\r\n"
            }
            "DATA" if to.is_empty() => b"554 5.5.1 no valid recipients\r\n",
            "DATA" => {
                out.write_all(b"354 go\r\n").ok()?;
                let content = content(&mut input)?;
                std::thread::sleep(delay);
                let said = shared.said.lock().unwrap().get(".").cloned();
                if let Some(reply) = said {
                    out.write_all(format!("{reply}\r\n").as_bytes()).ok()?;
                    continue;
                }
                shared.received.lock().unwrap().push(Received {
                    from: from.clone(),
                    to: std::mem::take(&mut to),
                    content,
                });
                b"250 2.0.0 taken\r\n"
            }
            "QUIT" => {
                out.write_all(b"221 bye\r\n").ok()?;
                return None;
            }
            _ => b"250 ok\r\n",
        };
        out.write_all(reply).ok()?;
    }
}

fn refusal(shared: &Shared, path: &str) -> Option<String> {
    let refused = shared.refused.lock().unwrap();
    let domain = path.rsplit_once('@').map(|(_, domain)| format!("@{domain}")).unwrap_or_default();
    refused.get(path).or_else(|| refused.get(&domain)).cloned()
}

fn content(input: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let mut line = Vec::new();
        if input.read_until(b'\n', &mut line).ok()? == 0 {
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
