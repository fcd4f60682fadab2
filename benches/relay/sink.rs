//! A smarthost that takes everything and counts it.
//!
//! One thread for all connections, one read and one write for whatever a client sends at once: the sink must never be
//! what is measured.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, mpsc};

use memchr::memmem::Finder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::ledger::Ledger;
use crate::letter::{ID_PREFIX, Number};

/// Room for one read: what a 10 KB message needs and more, so that it arrives in few reads.
const READ_OCTETS: usize = 64 * 1024;
/// Larger messages end the connection; far above anything that `--size` allows.
const MESSAGE_OCTETS_MAX: usize = 64 * 1024 * 1024;
/// Ends a content (RFC 5321 section 4.1.1.4). The first CRLF belongs to the last line.
const END: &[u8] = b"\r\n.\r\n";
const GREETING: &[u8] = b"220 sink.bench.example ESMTP\r\n";
const EHLO: &[u8] =
    b"250-sink.bench.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 67108864\r\n";

/// Starts the sink on a free port of loopback. It ends with the process.
///
/// # Errors
/// The system's, when it cannot listen.
pub(crate) fn start(ledger: Arc<Ledger>) -> io::Result<SocketAddr> {
    let (told, address) = mpsc::channel();
    std::thread::Builder::new().name("sink".to_owned()).spawn(move || {
        let outcome = tokio::runtime::Builder::new_current_thread().enable_io().build().and_then(|runtime| {
            runtime.block_on(async {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                let _nobody_waits = told.send(listener.local_addr());
                listen(listener, ledger).await
            })
        });
        if let Err(error) = outcome {
            let _nobody_waits = told.send(Err(error));
        }
    })?;
    address.recv().map_err(io::Error::other)?
}

async fn listen(listener: TcpListener, ledger: Arc<Ledger>) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A connection that breaks is the client's affair: its message is then missing from the ledger.
        tokio::spawn(serve(stream, Arc::clone(&ledger)));
    }
}

async fn serve(mut stream: TcpStream, ledger: Arc<Ledger>) -> io::Result<()> {
    stream.write_all(GREETING).await?;
    let mut dialogue = Dialogue::new(&ledger);
    loop {
        dialogue.input.reserve(READ_OCTETS);
        if stream.read_buf(&mut dialogue.input).await? == 0 {
            return Ok(());
        }
        dialogue.answer();
        stream.write_all(&dialogue.replies).await?;
        if matches!(dialogue.awaiting, Awaiting::Nothing) || dialogue.input.len() > MESSAGE_OCTETS_MAX {
            return Ok(());
        }
    }
}

/// What is read next.
#[derive(Clone, Copy, Debug)]
enum Awaiting {
    Command,
    /// A content; this many octets of it are known not to begin the end mark.
    Content {
        searched: usize,
    },
    /// The client has said QUIT.
    Nothing,
}

/// The answer to a complete command or content.
struct Step {
    reply: &'static [u8],
    then: Awaiting,
    /// How much of the input it answers.
    length: usize,
}

/// The protocol without its socket.
struct Dialogue<'a> {
    ledger: &'a Ledger,
    end: Finder<'static>,
    id: Finder<'static>,
    input: Vec<u8>,
    replies: Vec<u8>,
    awaiting: Awaiting,
}

impl<'a> Dialogue<'a> {
    fn new(ledger: &'a Ledger) -> Self {
        Self {
            ledger,
            end: Finder::new(END),
            id: Finder::new(ID_PREFIX),
            input: Vec::new(),
            replies: Vec::new(),
            awaiting: Awaiting::Command,
        }
    }

    /// Takes everything that is complete out of the input and puts all answers together (RFC 2920 section 3.2).
    fn answer(&mut self) {
        self.replies.clear();
        let mut done = 0;
        loop {
            let rest = self.input.get(done..).unwrap_or_default();
            let step = match self.awaiting {
                Awaiting::Command => command(rest),
                Awaiting::Content { searched } => self.content(rest, searched),
                Awaiting::Nothing => None,
            };
            let Some(Step { reply, then, length }) = step else { break };
            self.replies.extend_from_slice(reply);
            self.awaiting = then;
            done += length;
        }
        self.input.drain(..done);
        if let Awaiting::Content { searched } = &mut self.awaiting {
            *searched = self.input.len().saturating_sub(END.len() - 1);
        }
    }

    fn content(&self, rest: &[u8], searched: usize) -> Option<Step> {
        let end = searched + self.end.find(rest.get(searched..)?)?;
        let content = rest.get(..end)?;
        let number = self.id.find(content).and_then(|at| Number::parse(content.get(at + ID_PREFIX.len()..)?));
        if let Some(number) = number {
            self.ledger.arrived(number);
        }
        Some(Step { reply: b"250 2.0.0 taken\r\n", then: Awaiting::Command, length: end + END.len() })
    }
}

fn command(rest: &[u8]) -> Option<Step> {
    let length = memchr::memchr(b'\n', rest)? + 1;
    let verb = rest.get(..4).unwrap_or_default().to_ascii_uppercase();
    let (reply, then): (&'static [u8], _) = match verb.as_slice() {
        b"EHLO" => (EHLO, Awaiting::Command),
        b"HELO" | b"MAIL" | b"RCPT" | b"RSET" | b"NOOP" => (b"250 2.0.0 OK\r\n", Awaiting::Command),
        b"DATA" => (b"354 go on\r\n", Awaiting::Content { searched: 0 }),
        b"QUIT" => (b"221 2.0.0 bye\r\n", Awaiting::Nothing),
        _ => (b"500 5.5.1 what?\r\n", Awaiting::Command),
    };
    Some(Step { reply, then, length })
}
