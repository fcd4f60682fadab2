//! Runs every `tests/dialogues/*.smtp` against a real listener.
//!
//! | line | meaning |
//! |---|---|
//! | `# text` | comment |
//! | `@ key=value` | setting, before the first exchange: `max_recipients`, `max_message_octets`, `auth` (never, loopback), `line_ends` (strict, normalize), `known` (yes, no: whether the address alone is enough) |
//! | `C: text` | the client sends the text and CRLF; neighbouring `C` lines go out in one write |
//! | `C! text` | the same without CRLF |
//! | `C*9: text` | nine times |
//! | `S: text` | the server sends this line; a `*` at the end stands for anything; `S: <close>` for the end |
//! | `S*9: text` | nine times |
//! | `R: from\|to,to\|with` | the intake has taken a message with this envelope |
//! | `D: text` | with exactly this content |
//!
//! Escapes: `\r \n \t \0 \\ \xHH`, and `\{a*500}` for five hundred times `a`. Messages that no `R` names fail the script.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use consentry::mail::{EnhancedStatus, Recipient, Reply, ReversePath};
use consentry::smtp::server::{AuthOffer, Settings, serve};
use consentry::smtp::wire::LineEnds;
use consentry::smtp::{
    Content, ContentError, Evidence, Fingerprint, Identity, Intake, Login, Mechanism, SessionFacts, Transaction,
    Verifier,
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

/// Ends a test that hangs; nothing is measured with it.
const HANGS: Duration = Duration::from_mins(1);

/// What one message came with.
#[derive(Debug, PartialEq, Eq)]
struct Taken {
    envelope: String,
    content: Vec<u8>,
}

/// Takes everything but what its names say, and writes it down.
struct Recorder {
    known: bool,
    taken: Mutex<Vec<Taken>>,
    entered: Mutex<Option<oneshot::Sender<()>>>,
}

impl Recorder {
    fn new(known: bool) -> Self {
        Self { known, taken: Mutex::new(Vec::new()), entered: Mutex::new(None) }
    }
}

fn somebody() -> Identity {
    Identity { credential: "tool".parse().unwrap(), stream: "news".parse().unwrap() }
}

impl Intake for Recorder {
    type Receipt = String;

    fn by_address(&self, _: IpAddr) -> Option<Identity> {
        self.known.then(somebody)
    }

    fn by_certificate(&self, _: &Fingerprint) -> Option<Identity> {
        None
    }

    fn mechanisms(&self) -> &'static [Mechanism] {
        &[Mechanism::Plain, Mechanism::Login]
    }

    fn verifier(&self, name: &str) -> Verifier {
        Verifier::decoy(name, b"", std::num::NonZeroU32::MIN)
    }

    async fn authenticate(&self, login: Login, _: IpAddr) -> Result<Identity, Reply> {
        let Evidence::Password(password) = &login.evidence else { panic!("not offered: {login:?}") };
        match (login.name.as_str(), password.expose()) {
            ("user", "p w") => Ok(somebody()),
            ("down", _) => Err(Reply::new(454, EnhancedStatus::new(4, 7, 0), "cannot check now")),
            _ => Err(Reply::new(535, EnhancedStatus::new(5, 7, 8), "authentication credentials invalid")),
        }
    }

    async fn mail(&self, _: &SessionFacts, from: &ReversePath) -> Result<(), Reply> {
        match from.as_str() {
            "blocked@a.example" => Err(Reply::new(550, EnhancedStatus::new(5, 7, 1), "not your address")),
            _ => Ok(()),
        }
    }

    async fn rcpt(&self, _: &Transaction, to: &Recipient) -> Result<(), Reply> {
        match to.mailbox.local_part() {
            "suppressed" => Err(Reply::new(550, EnhancedStatus::new(5, 7, 1), "recipient refused")),
            "later" => Err(Reply::new(451, EnhancedStatus::new(4, 3, 0), "store unavailable")),
            // A fault of the intake, which must not reach the client as success.
            "confused" => Err(Reply::new(250, EnhancedStatus::new(2, 1, 5), "Ok")),
            "leave" => Err(Reply::new(421, EnhancedStatus::new(4, 7, 0), "enough")),
            _ => Ok(()),
        }
    }

    async fn data<C: Content>(&self, transaction: Transaction, content: &mut C) -> Result<String, Reply> {
        if let Some(entered) = self.entered.lock().unwrap().take() {
            entered.send(()).unwrap();
        }
        let to: Vec<&str> = transaction.envelope.recipients.iter().map(|to| to.mailbox.as_str()).collect();
        if to.contains(&"early-refusal@b.example") {
            return Err(Reply::new(550, EnhancedStatus::new(5, 7, 1), "refused unread"));
        }
        if to.contains(&"early-receipt@b.example") {
            return Ok("nothing".to_owned());
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = content.next().await.map_err(ContentError::reply)? {
            assert_ne!(chunk, Bytes::new(), "a chunk is never empty");
            bytes.extend_from_slice(&chunk);
        }
        if to.contains(&"refused-late@b.example") {
            return Err(Reply::new(554, EnhancedStatus::new(5, 6, 0), "refused at the dot"));
        }
        let with = transaction.session.protocol;
        let envelope = format!("{}|{}|{with}", transaction.envelope.reverse_path.as_str(), to.join(","));
        let mut taken = self.taken.lock().unwrap();
        taken.push(Taken { envelope, content: bytes });
        Ok(format!("queued as {:03}", taken.len()))
    }
}

struct Server {
    recorder: Arc<Recorder>,
    address: std::net::SocketAddr,
    shutdown: watch::Sender<bool>,
    served: tokio::task::JoinHandle<()>,
}

async fn server(settings: Settings, known: bool) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let recorder = Arc::new(Recorder::new(known));
    let (shutdown, signal) = watch::channel(false);
    let served = tokio::spawn(serve(listener, Arc::new(settings), Arc::clone(&recorder), signal));
    Server { recorder, address, shutdown, served }
}

type Client = BufReader<TcpStream>;

async fn line(client: &mut Client) -> String {
    let mut line = Vec::new();
    tokio::time::timeout(HANGS, client.read_until(b'\n', &mut line)).await.expect("the server says nothing").unwrap();
    let line = String::from_utf8(line).unwrap();
    if line.is_empty() { "<close>".to_owned() } else { line.strip_suffix("\r\n").expect("CRLF").to_owned() }
}

fn unescaped(text: &str) -> Vec<u8> {
    let (mut out, mut chars) = (Vec::new(), text.chars());
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend_from_slice(c.to_string().as_bytes());
            continue;
        }
        match chars.next().expect("an escape") {
            'r' => out.push(b'\r'),
            'n' => out.push(b'\n'),
            't' => out.push(b'\t'),
            '0' => out.push(0),
            '\\' => out.push(b'\\'),
            'x' => {
                let digits: String = chars.by_ref().take(2).collect();
                out.push(u8::from_str_radix(&digits, 16).unwrap());
            }
            '{' => {
                let inner: String = chars.by_ref().take_while(|c| *c != '}').collect();
                let (what, times) = inner.rsplit_once('*').unwrap();
                out.extend_from_slice(what.repeat(times.parse().unwrap()).as_bytes());
            }
            other => panic!("no such escape: \\{other}"),
        }
    }
    out
}

/// One line of a script: its letter, whether a CRLF follows, how many times, its text.
fn step(text: &str) -> (char, bool, usize, &str) {
    let end = text.find([':', '!']).expect("a step");
    let (head, tail) = text.split_at(end);
    let times = head.split_once('*').map_or(1, |(_, times)| times.parse().unwrap());
    let text = &tail[1..];
    (head.chars().next().unwrap(), tail.starts_with(':'), times, text.strip_prefix(' ').unwrap_or(text))
}

fn configured(script: &str) -> (Settings, bool) {
    let (mut settings, mut known) = (Settings::new("gw.example").unwrap(), true);
    for (key, value) in script.lines().filter_map(|l| l.strip_prefix("@ ")).map(|l| l.split_once('=').unwrap()) {
        match key {
            "max_recipients" => settings.max_recipients = value.parse().unwrap(),
            "max_message_octets" => settings.max_message_octets = value.parse().unwrap(),
            "auth" if value == "never" => settings.auth = AuthOffer::Never,
            "auth" => settings.auth = AuthOffer::Loopback,
            "line_ends" if value == "normalize" => settings.line_ends = LineEnds::Normalize,
            "known" => known = value == "yes",
            other => panic!("no such setting: {other}"),
        }
    }
    (settings, known)
}

async fn play(name: &str, script: &str) {
    let (settings, known) = configured(script);
    let server = server(settings, known).await;
    let mut client = BufReader::new(TcpStream::connect(server.address).await.unwrap());
    let (mut unsent, mut seen) = (Vec::new(), 0);
    for (number, text) in script.lines().enumerate() {
        if text.trim().is_empty() || text.starts_with(['#', '@']) {
            continue;
        }
        let place = format!("{name}:{}", number + 1);
        let (who, crlf, times, text) = step(text);
        if who != 'C' && !unsent.is_empty() {
            client.get_mut().write_all(&std::mem::take(&mut unsent)).await.unwrap();
        }
        for _ in 0..times {
            match who {
                'C' => unsent.extend([unescaped(text), if crlf { b"\r\n".to_vec() } else { Vec::new() }].concat()),
                'S' => {
                    let said = line(&mut client).await;
                    let fits = text.strip_suffix('*').map_or(said == text, |start| said.starts_with(start));
                    assert!(fits, "{place}: expected `{text}`, the server said `{said}`");
                }
                'R' => {
                    let taken = server.recorder.taken.lock().unwrap();
                    assert_eq!(taken.get(seen).map(|t| t.envelope.as_str()), Some(text), "{place}");
                    seen += 1;
                }
                'D' => {
                    let taken = server.recorder.taken.lock().unwrap();
                    let content = taken[seen - 1].content.escape_ascii().to_string();
                    assert_eq!(content, unescaped(text).escape_ascii().to_string(), "{place}");
                }
                other => panic!("{place}: no such step: {other}"),
            }
        }
    }
    assert!(unsent.is_empty(), "{name} ends with something unsent");
    drop(client);
    server.shutdown.send(true).unwrap();
    tokio::time::timeout(HANGS, server.served).await.expect("sessions remain").unwrap();
    assert_eq!(server.recorder.taken.lock().unwrap().len(), seen, "{name}: messages that the script does not name");
}

#[tokio::test]
async fn every_dialogue_goes_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
    let mut played = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let script = std::fs::read_to_string(&path).unwrap();
        play(path.file_name().unwrap().to_str().unwrap(), &script).await;
        played += 1;
    }
    assert!(played >= 20, "{played} dialogues");
}

async fn connected(server: &Server) -> Client {
    let mut client = BufReader::new(TcpStream::connect(server.address).await.unwrap());
    assert_eq!(line(&mut client).await, "220 gw.example ESMTP Consentry");
    client
}

async fn say(client: &mut Client, octets: &[u8], expected: &[&str]) {
    client.get_mut().write_all(octets).await.unwrap();
    for start in expected {
        let said = line(client).await;
        assert!(said.starts_with(start), "expected `{start}`, the server said `{said}`");
    }
}

#[tokio::test]
async fn on_shutdown_the_idle_are_told_and_a_message_under_way_is_taken() {
    let server = server(Settings::new("gw.example").unwrap(), true).await;
    let (entered, inside) = oneshot::channel();
    *server.recorder.entered.lock().unwrap() = Some(entered);
    let (mut idle, mut busy) = (connected(&server).await, connected(&server).await);
    say(&mut idle, b"HELO idle\r\n", &["250"]).await;
    say(&mut busy, b"HELO busy\r\n", &["250"]).await;
    let group = b"MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\n";
    say(&mut busy, group, &["250", "250", "354"]).await;
    inside.await.unwrap();
    server.shutdown.send(true).unwrap();
    say(&mut idle, b"", &["421 4.3.2", "<close>"]).await;
    say(&mut busy, b"Subject: s\r\n\r\nx\r\n.\r\nMAIL FROM:<a@a.example>\r\n", &["250 2.0.0", "421 4.3.2", "<close>"])
        .await;
    tokio::time::timeout(HANGS, server.served).await.expect("serve returns").unwrap();
    assert_eq!(server.recorder.taken.lock().unwrap()[0].content, b"Subject: s\r\n\r\nx\r\n");
    assert!(TcpStream::connect(server.address).await.is_err(), "still listening");
}

#[tokio::test]
async fn who_talks_before_the_greeting_is_sent_away() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = BufReader::new(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
    client.get_mut().write_all(b"EHLO early.example\r\n").await.unwrap();
    let (shutdown, signal) = watch::channel(false);
    let settings = Arc::new(Settings::new("gw.example").unwrap());
    let served = tokio::spawn(serve(listener, settings, Arc::new(Recorder::new(true)), signal));
    say(&mut client, b"", &["554 5.5.0", "<close>"]).await;
    drop(client);
    shutdown.send(true).unwrap();
    served.await.unwrap();
}

#[tokio::test]
async fn connections_beyond_the_limits_are_told_so() {
    let mut settings = Settings::new("gw.example").unwrap();
    settings.max_connections_per_address = 1;
    let server = server(settings, true).await;
    let first = connected(&server).await;
    let mut second = BufReader::new(TcpStream::connect(server.address).await.unwrap());
    say(&mut second, b"", &["421 4.7.0 too many connections", "<close>"]).await;
    drop(first);
    server.shutdown.send(true).unwrap();
    server.served.await.unwrap();
}

#[tokio::test]
async fn silence_ends_in_421_by_its_kind() {
    let short = Duration::from_millis(20);
    let mut settings = Settings::new("gw.example").unwrap();
    (settings.command_timeout, settings.data_timeout) = (short, short);
    let server_with = server(settings.clone(), true).await;
    let mut client = connected(&server_with).await;
    say(&mut client, b"", &["421 4.4.2 timeout waiting for a command", "<close>"]).await;

    (settings.command_timeout, settings.session_timeout) = (HANGS, short);
    let server_with = server(settings.clone(), true).await;
    let mut client = connected(&server_with).await;
    say(&mut client, b"", &["421 4.4.2 session lasted too long", "<close>"]).await;

    // Time enough for a busy machine to begin with the content.
    (settings.session_timeout, settings.data_timeout) = (HANGS, Duration::from_secs(1));
    let server_with = server(settings, true).await;
    let mut client = connected(&server_with).await;
    let group = b"HELO c\r\n";
    say(&mut client, group, &["250"]).await;
    let group = b"MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\n";
    say(&mut client, group, &["250", "250", "354"]).await;
    say(&mut client, b"half a li", &["421 4.4.2 timeout waiting for message content", "<close>"]).await;
    assert!(server_with.recorder.taken.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_transaction_has_a_deadline_that_no_drip_of_octets_moves() {
    let mut settings = Settings::new("gw.example").unwrap();
    settings.transaction_timeout = Duration::from_millis(200);
    let server = server(settings, true).await;
    let mut client = connected(&server).await;
    say(&mut client, b"HELO c\r\n", &["250"]).await;
    let group = b"MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\n";
    say(&mut client, group, &["250", "250"]).await;
    // Each octet comes well within the time for a block, and none of them buys another moment.
    let (mut reader, mut writer) = client.into_inner().into_split();
    let drip = tokio::spawn(async move {
        let mut sent = writer.write_all(b"DATA\r\n").await;
        while sent.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
            sent = writer.write_all(b"x").await;
        }
    });
    let mut said = Vec::new();
    // The last octets meet a closed connection, and that may be answered by a reset.
    let _reset = tokio::time::timeout(HANGS, reader.read_to_end(&mut said)).await.expect("it goes on for ever");
    drip.abort();
    let said = String::from_utf8(said).unwrap();
    // The deadline may also have come before the content was begun.
    let within = said.contains("421 4.3.2 session closed within the content");
    assert!(within || said.contains("421 4.4.2 session lasted too long"), "{said}");
    assert!(server.recorder.taken.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_transaction_that_ended_leaves_its_deadline_behind() {
    let mut settings = Settings::new("gw.example").unwrap();
    settings.transaction_timeout = Duration::from_millis(1);
    settings.command_timeout = Duration::from_millis(200);
    let server = server(settings, true).await;
    let mut client = connected(&server).await;
    // One write: the transaction is over before anything is waited for.
    say(&mut client, b"HELO c\r\n", &["250"]).await;
    say(&mut client, b"MAIL FROM:<a@a.example>\r\nRSET\r\n", &["250", "250"]).await;
    say(&mut client, b"", &["421 4.4.2 timeout waiting for a command", "<close>"]).await;
}

#[tokio::test]
async fn every_octet_of_content_arrives_whatever_the_pieces_it_is_sent_in() {
    let server = server(Settings::new("gw.example").unwrap(), true).await;
    let mut client = connected(&server).await;
    say(&mut client, b"EHLO c\r\n", &["250-"; 7]).await;
    say(&mut client, b"", &["250-AUTH", "250 HELP"]).await;
    let mut content = Vec::new();
    for number in 0..20_000_u32 {
        let line = format!("{}{number} \u{e9}{}\r\n", ".".repeat(usize::from(number % 7 == 0)), "x".repeat(30));
        content.extend_from_slice(line.as_bytes());
    }
    let mut wire = Vec::new();
    consentry::smtp::wire::dots::stuff(&content, &mut wire);
    for piece in [3, 4_099, 65_536, wire.len()] {
        let group = b"MAIL FROM:<a@a.example> BODY=8BITMIME\r\nRCPT TO:<b@b.example>\r\nDATA\r\n";
        say(&mut client, group, &["250", "250", "354"]).await;
        let (head, rest) = wire.split_at(if piece == 3 { 3_000 } else { 0 });
        for chunk in head.chunks(piece).chain(rest.chunks(piece.max(4_099))) {
            client.get_mut().write_all(chunk).await.unwrap();
        }
        say(&mut client, b"", &["250 2.0.0 Ok: queued as "]).await;
        let taken = server.recorder.taken.lock().unwrap().pop().unwrap();
        assert!(taken.content == content, "pieces of {piece}");
    }
}

#[tokio::test]
async fn a_client_that_vanishes_within_its_message_leaves_nothing() {
    let server = server(Settings::new("gw.example").unwrap(), true).await;
    let mut client = connected(&server).await;
    say(&mut client, b"HELO c\r\n", &["250"]).await;
    let group = b"MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\n";
    say(&mut client, group, &["250", "250", "354"]).await;
    client.get_mut().write_all(b"Subject: s\r\n\r\nx\r\n.\r").await.unwrap();
    client.get_mut().shutdown().await.unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty(), "nobody is there to be answered");
    server.shutdown.send(true).unwrap();
    server.served.await.unwrap();
    assert!(server.recorder.taken.lock().unwrap().is_empty());
}
