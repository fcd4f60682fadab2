//! An upstream that plays a script, for tests.
//!
//! One line of a script is one step: `S: text` says a line, `RAW: text` says text as it is (`\r`, `\n`, `\0` and
//! `\e` written so), `C: text` hears a line that must begin so, `TAKE` hears content up to its final dot, `EAT: n` hears n octets, `RST`
//! breaks the connection, `STALL` says nothing more and waits for the other side to close. Without either, the
//! connection is closed at the end.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{Settings, Timeouts};

/// Plays one script for each connection, in order.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    task: JoinHandle<Vec<String>>,
}

impl Upstream {
    pub(crate) async fn play(scripts: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let scripts: Vec<String> = scripts.iter().map(|script| (*script).to_owned()).collect();
        let task = tokio::spawn(async move {
            let mut heard = Vec::new();
            for script in scripts {
                let (stream, _) = listener.accept().await.unwrap();
                perform(stream, &script, &mut heard).await;
            }
            heard
        });
        Self { address, task }
    }

    /// Everything it heard, in order: command lines without CRLF, and contents without the final dot line.
    pub(crate) async fn heard(self) -> Vec<String> {
        self.task.await.unwrap()
    }
}

async fn perform(stream: TcpStream, script: &str, heard: &mut Vec<String>) {
    let mut stream = BufReader::new(stream);
    for step in script.lines().map(str::trim).filter(|step| !step.is_empty()) {
        if let Some(text) = step.strip_prefix("S: ") {
            // The client may have gone; what it makes of that is what the test asks.
            let _gone = stream.get_mut().write_all(format!("{text}\r\n").as_bytes()).await;
        } else if let Some(raw) = step.strip_prefix("RAW: ") {
            let raw = raw.replace("\\r", "\r").replace("\\n", "\n").replace("\\0", "\0").replace("\\e", "\u{1b}");
            let _gone = stream.get_mut().write_all(raw.as_bytes()).await;
        } else if let Some(expected) = step.strip_prefix("C: ") {
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            assert!(line.starts_with(expected) && line.ends_with("\r\n"), "expected {expected:?}, heard {line:?}");
            heard.push(line.trim_end().to_owned());
        } else if let Some(count) = step.strip_prefix("EAT: ") {
            stream.read_exact(&mut vec![0; count.parse().unwrap()]).await.unwrap();
        } else if step == "TAKE" {
            heard.push(take_content(&mut stream).await);
        } else if step == "RST" {
            stream.get_ref().set_zero_linger().unwrap();
            return;
        } else if step == "STALL" {
            let _end = stream.read_to_end(&mut Vec::new()).await;
        } else {
            panic!("unknown step {step:?}");
        }
    }
}

async fn take_content<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> String {
    let mut content = String::new();
    while !(content == ".\r\n" || content.ends_with("\r\n.\r\n")) {
        assert!(stream.read_line(&mut content).await.unwrap() > 0, "content ended early: {content:?}");
    }
    content.truncate(content.len() - 3);
    content
}

/// An upstream that takes everything on any number of connections, offering PIPELINING. Returns its port and the
/// contents it has taken.
pub(crate) async fn sink() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let taken = Arc::new(Mutex::new(Vec::new()));
    let contents = Arc::clone(&taken);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(take_all(stream, Arc::clone(&contents), "220 sink\r\n"));
        }
    });
    (port, taken)
}

/// Greets with `greeting` and takes whatever comes.
pub(crate) async fn take_all<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    contents: Arc<Mutex<Vec<String>>>,
    greeting: &str,
) {
    let mut stream = BufReader::new(stream);
    stream.write_all(greeting.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut line = String::new();
    while stream.read_line(&mut line).await.is_ok_and(|octets| octets > 0) {
        let reply: &[u8] = match line.get(..4) {
            Some("EHLO") => b"250-sink\r\n250 PIPELINING\r\n",
            Some("DATA") => b"354 go\r\n",
            Some("QUIT") => b"221 bye\r\n",
            _ => b"250 ok\r\n",
        };
        stream.write_all(reply).await.unwrap();
        stream.flush().await.unwrap();
        if line.starts_with("DATA") {
            let content = take_content(&mut stream).await;
            contents.lock().unwrap().push(content);
            stream.write_all(b"250 queued\r\n").await.unwrap();
            stream.flush().await.unwrap();
        }
        line.clear();
    }
}

/// Long enough that no test meets a deadline by being slow.
pub(crate) fn settings() -> Settings {
    let long = Duration::from_mins(1);
    let timeouts =
        Timeouts { connect: long, greeting: long, command: long, data: long, block: long, dot: long, quit: long };
    Settings { timeouts, ..Settings::new("gateway.example".to_owned()) }
}
