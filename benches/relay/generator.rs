//! A campaign tool with many connections: each sends one message after the other and waits for every reply.
//!
//! No pipelining, because that is how the clients of campaign tools talk (PHPMailer, nodemailer, smtplib); a relay that
//! is fast with pipelining alone helps none of them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::letter::{self, Number, Recipients};

/// A reply longer than this is not one that a benchmark waits for.
const REPLY_OCTETS_MAX: usize = 4096;
/// After this, a run that has not ended never will.
const RUN_MAX: Duration = Duration::from_mins(15);

/// What to send.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// Number of the run, in every Message-ID.
    pub(crate) run: u32,
    /// How many messages in all.
    pub(crate) messages: u32,
    /// Over how many connections.
    pub(crate) sessions: u32,
    /// To whom.
    pub(crate) recipients: Recipients,
    /// The body of each.
    pub(crate) body: Arc<Vec<u8>>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Before the first connection.
    pub(crate) begun: Instant,
    /// After the last answer.
    pub(crate) ended: Instant,
    /// For each message whether it was answered with 250.
    pub(crate) accepted: Vec<bool>,
}

impl Sent {
    /// How many were answered with 250.
    pub(crate) fn count(&self) -> u32 {
        self.accepted.iter().map(|accepted| u32::from(*accepted)).sum()
    }
}

/// Sends everything to `target`.
///
/// # Errors
/// When a connection breaks, when a message is refused that should not be or the reverse, or after [`RUN_MAX`].
pub(crate) fn send(target: SocketAddr, load: &Load) -> io::Result<Sent> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { tokio::time::timeout(RUN_MAX, send_all(target, load)).await? })
}

async fn send_all(target: SocketAddr, load: &Load) -> io::Result<Sent> {
    let begun = Instant::now();
    let next = Arc::new(AtomicU32::new(0));
    let mut sessions = JoinSet::new();
    for _ in 0..load.sessions.min(load.messages) {
        sessions.spawn(session(target, load.clone(), Arc::clone(&next)));
    }
    let mut accepted = vec![false; usize::try_from(load.messages).map_err(io::Error::other)?];
    while let Some(ended) = sessions.join_next().await {
        for at in ended?? {
            if let Some(accepted) = usize::try_from(at).ok().and_then(|at| accepted.get_mut(at)) {
                *accepted = true;
            }
        }
    }
    Ok(Sent { begun, ended: Instant::now(), accepted })
}

/// Takes the next message until there is none left; returns those that were accepted.
async fn session(target: SocketAddr, load: Load, next: Arc<AtomicU32>) -> io::Result<Vec<u32>> {
    let mut connection = Connection::open(target).await?;
    let mut accepted = Vec::new();
    let mut content = Vec::new();
    loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        if at >= load.messages {
            break;
        }
        let to = load.recipients.address(at);
        connection.command(b"MAIL FROM:<bounce@campaign.example>\r\n", b'2').await?;
        let rcpt = connection.exchange(format!("RCPT TO:<{to}>\r\n").as_bytes()).await?;
        if rcpt.first() == Some(&b'5') && load.recipients.is_suppressed(at) {
            connection.command(b"RSET\r\n", b'2').await?;
            continue;
        }
        connection.expect(b'2')?;
        connection.command(b"DATA\r\n", b'3').await?;
        letter::compose(&mut content, Number { run: load.run, at }, &to, &load.body)?;
        connection.command(&content, b'2').await?;
        accepted.push(at);
    }
    connection.command(b"QUIT\r\n", b'2').await?;
    Ok(accepted)
}

/// One connection and the last reply on it.
struct Connection {
    stream: TcpStream,
    reply: Vec<u8>,
}

impl Connection {
    async fn open(target: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        let mut connection = Self { stream, reply: Vec::with_capacity(REPLY_OCTETS_MAX) };
        connection.read_reply().await?;
        connection.expect(b'2')?;
        connection.command(b"EHLO tool.bench.example\r\n", b'2').await?;
        Ok(connection)
    }

    /// Sends and wants a reply of the class `digit` (RFC 5321 section 4.2.1).
    async fn command(&mut self, octets: &[u8], digit: u8) -> io::Result<()> {
        self.exchange(octets).await?;
        self.expect(digit)
    }

    /// Sends and returns the whole reply.
    async fn exchange(&mut self, octets: &[u8]) -> io::Result<&[u8]> {
        self.stream.write_all(octets).await?;
        self.read_reply().await?;
        Ok(&self.reply)
    }

    async fn read_reply(&mut self) -> io::Result<()> {
        self.reply.clear();
        while !is_complete(&self.reply) {
            if self.reply.len() >= REPLY_OCTETS_MAX {
                return Err(io::Error::other("an endless reply"));
            }
            if self.stream.read_buf(&mut self.reply).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    fn expect(&self, digit: u8) -> io::Result<()> {
        if self.reply.first() == Some(&digit) {
            return Ok(());
        }
        let reply = String::from_utf8_lossy(&self.reply);
        Err(io::Error::other(format!("expected {}yz, the answer was: {}", char::from(digit), reply.trim_end())))
    }
}

/// Whether the last line is there: its code is followed by a blank, not a hyphen (RFC 5321 section 4.2.1).
fn is_complete(reply: &[u8]) -> bool {
    let Some(lines) = reply.strip_suffix(b"\n") else { return false };
    let last = lines.rsplit(|octet| *octet == b'\n').next().unwrap_or_default();
    last.get(3) != Some(&b'-')
}
