//! Sessions under TLS: the borders of the records are in the test's hand, and so is the moment of STARTTLS.

use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;

use super::matrix::{ENVELOPE, assert_same, send};
use super::orders::{CONTENT, PLACES, PROBE, WORDS, Word, assert_as_modelled};
use super::{Played, session};
use crate::smtp::server::{Opening, Settings};
use crate::smtp::wire::LineEnds;
use crate::smtp::wire::dots::tests::{SMUGGLED, matrix};
use crate::tls::{Certificates, ClientCertificates, Pair, Protocol, unverified_config};

/// More than either side ever has under way.
const PIPE: usize = 64 * 1024;

fn certificates() -> Certificates {
    let folder = tempfile::tempdir().unwrap();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["gw.example".to_owned()]).unwrap();
    let pair = Pair { certificate: folder.path().join("gate.pem"), key: folder.path().join("gate.key") };
    std::fs::write(&pair.certificate, cert.pem()).unwrap();
    std::fs::write(&pair.key, signing_key.serialize_pem()).unwrap();
    let shown = crate::tls::Settings { pairs: vec![pair], client_certificates: ClientCertificates::NotAsked };
    Certificates::load(&shown, Protocol::Smtp).unwrap()
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The client's end, and everything that it was told.
struct Talk {
    stream: Box<dyn Stream>,
    said: String,
}

impl Talk {
    fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), said: String::new() }
    }

    /// The last line of the next reply; `None` when the connection has ended.
    async fn reply(&mut self) -> Option<String> {
        let mut line = String::new();
        loop {
            // Octet by octet: nothing behind a reply is taken out of the stream that TLS is to begin in.
            let octet = self.stream.read_u8().await.ok()?;
            line.push(char::from(octet));
            if line.ends_with("\r\n") {
                self.said.push_str(&line);
                if line.get(3..4) != Some("-") {
                    return Some(line);
                }
                line.clear();
            }
        }
    }

    async fn say(&mut self, text: &[u8]) -> Option<String> {
        self.stream.write_all(text).await.ok()?;
        self.stream.flush().await.ok()?;
        self.reply().await
    }

    async fn start_tls(&mut self, client: &Arc<ClientConfig>) {
        let clear = std::mem::replace(&mut self.stream, Box::new(tokio::io::empty()));
        let name = ServerName::try_from("gw.example").unwrap();
        let connector = TlsConnector::from(Arc::clone(client));
        self.stream = Box::new(connector.connect(name, clear).await.unwrap());
    }
}

/// When the next record is written.
#[derive(Clone, Copy, Debug)]
enum Records {
    /// When the session has read the last one.
    Apart,
    /// At once: several are there when the session reads.
    Together,
}

/// Sends content in these pieces, each in a record of its own.
async fn under_tls(
    settings: &Arc<Settings>,
    client: &Arc<ClientConfig>,
    pieces: Vec<&[u8]>,
    records: Records,
) -> Played {
    let (near, far) = tokio::io::duplex(PIPE);
    let of_server = Arc::clone(settings);
    let session = tokio::spawn(async move { session(&of_server, far, Opening::Handshake).await });
    let mut talk = Talk::over(near);
    talk.start_tls(client).await;
    talk.reply().await.unwrap();
    talk.say(b"HELO tool.example\r\n").await.unwrap();
    talk.say(ENVELOPE).await.unwrap();
    while !talk.said.ends_with("<CRLF>.<CRLF>\r\n") {
        talk.reply().await.unwrap();
    }
    for piece in pieces {
        // Whoever is sent away cannot send on.
        let _gone = talk.stream.write_all(piece).await;
        match records {
            Records::Apart => {
                let _gone = talk.stream.flush().await;
                tokio::task::yield_now().await;
            }
            Records::Together => {}
        }
    }
    let _gone = talk.stream.shutdown().await;
    while talk.reply().await.is_some() {}
    Played { said: talk.said, taken: session.await.unwrap() }
}

#[tokio::test]
async fn sm_61_every_vector_gives_the_same_verdict_wherever_a_record_ends() {
    let client = unverified_config().unwrap();
    for line_ends in [LineEnds::Strict, LineEnds::Normalize] {
        let mut settings = Settings::new("gw.example").unwrap();
        (settings.line_ends, settings.tls) = (line_ends, Some(certificates()));
        let settings = Arc::new(settings);
        for (octets, ends) in matrix() {
            let shown = octets.escape_ascii();
            let whole = send(&settings, vec![&octets]).await;
            // In clear every split is tried. Here those around the dot and its line ends, and all of them at once.
            let dot = octets.len() - SMUGGLED.len();
            for at in dot.saturating_sub(7).max(1)..dot + 3 {
                let (left, right) = octets.split_at(at);
                for records in [Records::Apart, Records::Together] {
                    let split = under_tls(&settings, &client, vec![left, right], records).await;
                    assert_same(&split, &whole, ends, &format!("{shown} in records {records:?}, cut at {at}"));
                }
            }
            let single = under_tls(&settings, &client, octets.chunks(1).collect(), Records::Apart).await;
            assert_same(&single, &whole, ends, &format!("{shown} octet by octet"));
        }
    }
}

async fn speak(settings: &Arc<Settings>, client: &Arc<ClientConfig>, words: &[Word]) -> Played {
    let (near, far) = tokio::io::duplex(PIPE);
    let of_server = Arc::clone(settings);
    let session = tokio::spawn(async move { session(&of_server, far, Opening::Greeting).await });
    let mut talk = Talk::over(near);
    talk.reply().await.unwrap();
    for word in words {
        let Some(reply) = talk.say(word.line().as_bytes()).await else { break };
        if reply.starts_with("354") {
            talk.say(CONTENT.as_bytes()).await.unwrap();
        }
        if *word == Word::StartTls && reply.starts_with("220") {
            talk.start_tls(client).await;
        }
    }
    let Talk { stream, said } = talk;
    drop(stream);
    Played { said, taken: session.await.unwrap() }
}

/// STARTTLS behind every command, and every command and STARTTLS again behind it.
#[tokio::test]
async fn starttls_in_every_order_of_three_goes_as_the_model_says() {
    let client = unverified_config().unwrap();
    let mut settings = Settings::new("gw.example").unwrap();
    settings.tls = Some(certificates());
    let settings = Arc::new(settings);
    let mut started = 0;
    for place in PLACES {
        for first in WORDS {
            for last in WORDS.into_iter().chain([Word::StartTls]) {
                for hello in [&[][..], &[Word::Ehlo]] {
                    let words = [place, &[first, Word::StartTls, last], hello, &PROBE].concat();
                    let played = speak(&settings, &client, &words).await;
                    started += usize::from(played.said.contains("220 2.0.0"));
                    assert_as_modelled(&played, &words);
                }
            }
        }
    }
    assert!(started > 500, "{started} handshakes");
}
