//! A smarthost that takes everything and keeps it as files: our own SMTP server behind another `Intake`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::daemon;
use crate::exit::{Exit, Failure};
use crate::mail::{CredentialName, EnhancedStatus, Recipient, Reply, ReversePath, StreamName};
use crate::smtp::server::{Settings, serve};
use crate::smtp::{Content, Fingerprint, Identity, Intake, Login, Mechanism, SessionFacts, Transaction, Verifier};

/// A running sink.
#[derive(Debug)]
pub(super) struct Sink {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Sink {
    /// Listens on a free loopback port and writes each message to `folder` as `NUMBER.eml`.
    pub(super) async fn start(folder: PathBuf) -> Result<Self, Failure> {
        daemon::private_folder(&folder)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let software = |error: &dyn fmt::Display| Failure::new(Exit::Software, error);
        let settings = Settings::new("smarthost.consentry.example").map_err(|error| software(&error))?;
        let identity = Identity {
            credential: CredentialName::new("gateway").map_err(|error| software(&error))?,
            stream: StreamName::new("captured").map_err(|error| software(&error))?,
        };
        let (stop, stops) = watch::channel(false);
        let capture = Arc::new(Capture { folder, identity, count: AtomicU64::new(0) });
        let task = tokio::spawn(serve(listener, Arc::new(settings), capture, stops));
        Ok(Self { address, stop, task })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        // Its only failure would be a panic, which the runtime has reported.
        let _ended = self.task.await;
    }
}

struct Capture {
    folder: PathBuf,
    identity: Identity,
    count: AtomicU64,
}

/// For SCRAM, which the sink does not offer.
const ITERATIONS: NonZeroU32 = NonZeroU32::MIN;

/// Which file a message went to.
struct Captured(u64);

impl fmt::Display for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "captured as {}", self.0)
    }
}

impl Intake for Capture {
    type Receipt = Captured;

    fn by_address(&self, _peer: IpAddr) -> Option<Identity> {
        Some(self.identity.clone())
    }

    fn by_certificate(&self, _certificate: &Fingerprint) -> Option<Identity> {
        None
    }

    fn mechanisms(&self) -> &'static [Mechanism] {
        &[Mechanism::Plain, Mechanism::Login]
    }

    fn verifier(&self, name: &str) -> Verifier {
        Verifier::decoy(name, &[], ITERATIONS)
    }

    async fn authenticate(&self, _login: Login, _peer: IpAddr) -> Result<Identity, Reply> {
        Ok(self.identity.clone())
    }

    async fn mail(&self, _session: &SessionFacts, _from: &ReversePath) -> Result<(), Reply> {
        Ok(())
    }

    async fn rcpt(&self, _transaction: &Transaction, _to: &Recipient) -> Result<(), Reply> {
        Ok(())
    }

    async fn data<C: Content>(&self, transaction: Transaction, content: &mut C) -> Result<Captured, Reply> {
        let broken = |_| Reply::new(451, EnhancedStatus::new(4, 4, 2), "the content did not arrive whole");
        let mut whole = Vec::new();
        // The envelope goes first, as mbox readers and people expect to see it.
        for recipient in &transaction.envelope.recipients {
            whole.extend_from_slice(format!("X-Captured-Rcpt: {}\r\n", recipient.mailbox.as_str()).as_bytes());
        }
        while let Some(chunk) = content.next().await.map_err(broken)? {
            whole.extend_from_slice(&chunk);
        }
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let file = self.folder.join(format!("{}-{number:06}.eml", std::process::id()));
        let full = |_| Reply::new(452, EnhancedStatus::new(4, 3, 1), "the message could not be kept");
        std::fs::write(file, whole).map_err(full)?;
        Ok(Captured(number))
    }
}
