//! Sessions without a network: every octet of both sides is in the test's hand.

mod matrix;
mod orders;
mod tls;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

use super::channel::Channel;
use super::session::Session;
use super::settings::Settings;
use crate::mail::{EnhancedStatus, Recipient, Reply, ReversePath};
use crate::smtp::server::{Limits, Opening};
use crate::smtp::{
    Content, ContentError, Fingerprint, Identity, Intake, Login, Mechanism, SessionFacts, Transaction, Verifier,
};

/// What a client does next, once it has seen everything that was said so far.
enum Next {
    /// Nothing more before the server has said something.
    Listen,
    /// Sends these octets, in one piece.
    Say(Vec<u8>),
    /// Closes the connection.
    Leave,
}

trait Client: Send + Unpin {
    fn next(&mut self, said: &str) -> Next;
}

/// A connection whose other end is a [`Client`]. One read gives one piece.
struct Wire<C> {
    client: C,
    said: Arc<Mutex<Vec<u8>>>,
    piece: Vec<u8>,
    listens: bool,
}

impl<C: Client> AsyncRead for Wire<C> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.piece.is_empty() {
            let said = String::from_utf8(self.said.lock().unwrap().clone()).unwrap();
            match self.client.next(&said) {
                Next::Say(piece) => self.piece = piece,
                // The look before the greeting finds nothing. Whoever reads again has said nothing new, and the two
                // would wait for each other for ever.
                Next::Listen if !self.listens => {
                    self.listens = true;
                    return Poll::Pending;
                }
                Next::Listen | Next::Leave => return Poll::Ready(Ok(())),
            }
            self.listens = false;
        }
        let count = self.piece.len().min(into.remaining());
        into.put_slice(&self.piece[..count]);
        self.piece.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl<C: Client> AsyncWrite for Wire<C> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.said.lock().unwrap().extend_from_slice(octets);
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// One message as the intake got it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Taken {
    /// `from|to,to`.
    envelope: String,
    content: Vec<u8>,
}

/// Refuses what its names say, takes everything else.
#[derive(Default)]
struct Sink(Mutex<Vec<Taken>>);

fn somebody() -> Identity {
    Identity { credential: "tool".parse().unwrap(), stream: "news".parse().unwrap() }
}

impl Intake for Sink {
    type Receipt = &'static str;

    fn mechanisms(&self) -> &'static [Mechanism] {
        &[Mechanism::Plain, Mechanism::Login]
    }

    fn verifier(&self, name: &str) -> Verifier {
        Verifier::decoy(name, b"", std::num::NonZeroU32::MIN)
    }

    fn by_certificate(&self, _: &Fingerprint) -> Option<Identity> {
        None
    }

    fn by_address(&self, _: IpAddr) -> Option<Identity> {
        Some(somebody())
    }

    async fn authenticate(&self, login: Login, _: IpAddr) -> Result<Identity, Reply> {
        let wrong = || Reply::new(535, EnhancedStatus::new(5, 7, 8), "no");
        if login.name == "user" { Ok(somebody()) } else { Err(wrong()) }
    }

    async fn mail(&self, _: &SessionFacts, from: &ReversePath) -> Result<(), Reply> {
        let refused = from.as_str().starts_with("refused");
        if refused { Err(Reply::new(550, EnhancedStatus::new(5, 7, 1), "no")) } else { Ok(()) }
    }

    async fn rcpt(&self, _: &Transaction, to: &Recipient) -> Result<(), Reply> {
        let refused = to.mailbox.local_part() == "refused";
        if refused { Err(Reply::new(550, EnhancedStatus::new(5, 7, 1), "no")) } else { Ok(()) }
    }

    async fn data<C: Content>(&self, transaction: Transaction, content: &mut C) -> Result<&'static str, Reply> {
        let mut octets = Vec::new();
        while let Some(chunk) = content.next().await.map_err(ContentError::reply)? {
            octets.extend_from_slice(&chunk);
        }
        let envelope = transaction.envelope;
        let to: Vec<&str> = envelope.recipients.iter().map(|to| to.mailbox.as_str()).collect();
        if to.iter().any(|to| to.starts_with("late")) {
            return Err(Reply::new(550, EnhancedStatus::new(5, 7, 1), "no"));
        }
        let envelope = format!("{}|{}", envelope.reverse_path.as_str(), to.join(","));
        self.0.lock().unwrap().push(Taken { envelope, content: octets });
        Ok("taken")
    }
}

/// Everything that came of one session.
#[derive(Debug, PartialEq, Eq)]
struct Played {
    said: String,
    taken: Vec<Taken>,
}

async fn play(settings: &Arc<Settings>, client: impl Client) -> Played {
    let said = Arc::<Mutex<Vec<u8>>>::default();
    let wire = Wire { client, said: Arc::clone(&said), piece: Vec::new(), listens: false };
    let taken = session(settings, wire, Opening::Greeting).await;
    let said = String::from_utf8(said.lock().unwrap().clone()).unwrap();
    Played { said, taken }
}

/// One session over `stream` to its end; gives what was taken.
async fn session<S>(settings: &Arc<Settings>, stream: S, opening: Opening) -> Vec<Taken>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (_running, shutdown) = watch::channel(false);
    let sink = Arc::new(Sink::default());
    let peer = SocketAddr::from(([127, 0, 0, 1], 4000));
    let share = Arc::<Limits>::default().share(settings);
    let mut channel = Channel::new(stream, settings.session_timeout, share, shutdown);
    if opening == Opening::Handshake {
        let acceptor = settings.tls.as_ref().unwrap().acceptor();
        channel.secure(&acceptor, settings.handshake_timeout).await.unwrap();
    }
    Session::new(channel, Arc::clone(settings), Arc::clone(&sink), peer, "test".to_owned()).run().await;
    sink.0.lock().unwrap().clone()
}

/// The last line of each reply that is complete.
fn replies(said: &str) -> Vec<&str> {
    said.split_inclusive("\r\n").filter(|line| line.ends_with("\r\n") && line.get(3..4) != Some("-")).collect()
}
