//! The operator's local door: a Unix socket in the data folder, for commands that need the running daemon.
//!
//! **Promise:** only who may open the data folder can speak here; a question gets one answer, and nothing is changed
//! without a record of it.
//!
//! **Owns:** the socket, its one-line questions and answers (JSON).
//!
//! **Never knows:** the Internet.

mod answer;
mod change;
mod question;
mod sign_up;
#[cfg(test)]
mod tests;

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use crate::delivery::Board;
use crate::spool::Spool;
use crate::store::Fence;
use crate::telemetry::EventLog;
use crate::time::Clock;

pub use answer::{Answer, Circuit, Copy, Figures, Limited, Slowed, Suspended, Waiting, Warmup};
pub use question::{Change, Question};
pub use sign_up::{SignUp, SignedUp};

/// A question is a short line.
const QUESTION_MAX: u64 = 4096;
/// How long a question may take to arrive and its answer to leave.
const TALK_MAX: Duration = Duration::from_secs(30);
/// Name of the socket in the data folder.
const SOCKET: &str = "control.sock";

/// Asks the person of a sign-up. The daemon leads it to the hall, which this room does not know.
pub type SignUpSink = Arc<dyn Fn(SignUp) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

/// Where no daemon runs, nobody is asked: the letter would lie in the queue until one does.
pub fn nobody_asks() -> SignUpSink {
    Arc::new(|_| Box::pin(async { Answer::Fault { message: "expected a running daemon".to_owned() } }))
}

/// What questions are about.
#[derive(Clone)]
pub struct Desk {
    /// Who asks people that signed up.
    pub sign_ups: SignUpSink,
    /// The queue.
    pub spool: Spool,
    /// What is suspended, slowed or broken.
    pub board: Arc<Board>,
    /// The event log.
    pub log: EventLog,
    /// Who acts on facts that were read.
    pub fence: Fence,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// A bound socket; its file goes when it is dropped.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Binds the socket of a data folder. Only the holder of the spool's lock may call it: what is left of an earlier
    /// run is removed.
    ///
    /// # Errors
    /// The system's.
    pub fn bind(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(SOCKET);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The next start removes what is left.
        let _gone = std::fs::remove_file(&self.path);
    }
}

/// Answers until the stop.
pub async fn serve(socket: Socket, desk: Desk, mut stops: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = stopped(&mut stops) => return,
            accepted = socket.listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let desk = desk.clone();
                    tokio::spawn(async move { talk(stream, &desk).await });
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket could not accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}

/// Resolves when the stop comes, or when nobody is left who could send it.
async fn stopped(stops: &mut watch::Receiver<bool>) {
    let _either_way = stops.wait_for(|stop| *stop).await;
}

async fn talk(stream: UnixStream, desk: &Desk) {
    let exchange = async {
        let (input, mut output) = stream.into_split();
        let mut line = String::new();
        BufReader::new(input).take(QUESTION_MAX).read_line(&mut line).await?;
        let answer = match serde_json::from_str::<Question>(&line) {
            Ok(question) => answer::answer(question, desk).await,
            Err(error) => Answer::Fault { message: format!("not a question: {error}") },
        };
        let mut text = serde_json::to_vec(&answer)?;
        text.push(b'\n');
        output.write_all(&text).await
    };
    match tokio::time::timeout(TALK_MAX, exchange).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a talk at the control socket broke off"),
        Err(_elapsed) => tracing::debug!("a talk at the control socket took too long"),
    }
}

/// Answers a question where no daemon runs, by whoever has the spool open.
pub async fn ask_offline(question: Question, desk: &Desk) -> Answer {
    answer::answer(question, desk).await
}

/// Asks the daemon of a data folder; `None` when none is running there.
///
/// # Errors
/// The system's, and [`io::ErrorKind::InvalidData`] for an answer that cannot be read.
pub async fn ask(data_dir: &Path, question: &Question) -> io::Result<Option<Answer>> {
    let stream = match UnixStream::connect(data_dir.join(SOCKET)).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let (input, mut output) = stream.into_split();
    let mut text = serde_json::to_vec(question)?;
    text.push(b'\n');
    output.write_all(&text).await?;
    let mut line = String::new();
    BufReader::new(input).read_line(&mut line).await?;
    Ok(Some(serde_json::from_str(&line)?))
}
