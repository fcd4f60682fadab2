//! How long the server waits and how much it holds, with limits that a test can reach.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use consentry::mail::{EnhancedStatus, Recipient, Reply, ReversePath};
use consentry::smtp::server::{Limits, Listener, Opening, Settings, serve};
use consentry::smtp::{
    Content, ContentError, Fingerprint, Identity, Intake, Login, Mechanism, SessionFacts, Transaction, Verifier,
};
use consentry::tls::{Certificates, ClientCertificates, Pair, Protocol};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::{Authority, PATIENCE};

/// Takes everything, and notes the sizes of the pieces that it came in.
#[derive(Default)]
struct Taker(Mutex<Vec<usize>>);

impl Intake for Taker {
    type Receipt = &'static str;

    fn by_address(&self, _: IpAddr) -> Option<Identity> {
        Some(Identity { credential: "tool".parse().unwrap(), stream: "news".parse().unwrap() })
    }

    fn by_certificate(&self, _: &Fingerprint) -> Option<Identity> {
        None
    }

    fn mechanisms(&self) -> &'static [Mechanism] {
        &[]
    }

    fn verifier(&self, name: &str) -> Verifier {
        Verifier::decoy(name, b"", std::num::NonZeroU32::MIN)
    }

    async fn authenticate(&self, _: Login, _: IpAddr) -> Result<Identity, Reply> {
        Err(Reply::new(535, EnhancedStatus::new(5, 7, 8), "no"))
    }

    async fn mail(&self, _: &SessionFacts, _: &ReversePath) -> Result<(), Reply> {
        Ok(())
    }

    async fn rcpt(&self, _: &Transaction, _: &Recipient) -> Result<(), Reply> {
        Ok(())
    }

    async fn data<C: Content>(&self, _: Transaction, content: &mut C) -> Result<&'static str, Reply> {
        while let Some(piece) = content.next().await.map_err(ContentError::reply)? {
            self.0.lock().unwrap().push(piece.len());
        }
        Ok("taken")
    }
}

struct Server {
    address: std::net::SocketAddr,
    taker: Arc<Taker>,
    _stop: watch::Sender<bool>,
}

async fn server(settings: Settings, opening: Opening) -> Server {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (taker, (stop, stops)) = (Arc::<Taker>::default(), watch::channel(false));
    let listener = Listener { socket, opening, limits: Arc::<Limits>::default() };
    tokio::spawn(serve(listener, Arc::new(settings), Arc::clone(&taker), stops));
    Server { address, taker, _stop: stop }
}

fn settings() -> Settings {
    Settings::new("gw.example").unwrap()
}

type Client = BufReader<TcpStream>;

async fn connected(server: &Server) -> Client {
    let mut client = BufReader::new(TcpStream::connect(server.address).await.unwrap());
    expect(&mut client, "220").await;
    say(&mut client, "HELO c\r\n", "250").await;
    client
}

async fn expect(client: &mut Client, start: &str) {
    let mut line = String::new();
    tokio::time::timeout(PATIENCE, client.read_line(&mut line)).await.expect("the server says nothing").unwrap();
    assert!(line.starts_with(start), "expected `{start}`, the server said `{line}`");
}

async fn say(client: &mut Client, text: &str, start: &str) {
    client.get_mut().write_all(text.as_bytes()).await.unwrap();
    expect(client, start).await;
}

async fn transaction(client: &mut Client) {
    say(client, "MAIL FROM:<a@a.example>\r\n", "250").await;
    say(client, "RCPT TO:<b@b.example>\r\n", "250").await;
}

/// Sends an octet now and then until the server has had enough.
async fn drip(client: &mut Client) {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if client.get_mut().write_all(b"x").await.is_err() {
            return;
        }
        let mut nothing = [0; 1];
        let answered = tokio::time::timeout(Duration::from_millis(5), client.get_mut().peek(&mut nothing)).await;
        if answered.is_ok() {
            return;
        }
    }
}

#[tokio::test]
async fn lm_08_a_command_has_one_deadline_however_many_pieces_it_comes_in() {
    let mut settings = settings();
    settings.command_timeout = Duration::from_secs(1);
    let server = server(settings, Opening::Greeting).await;
    let mut client = connected(&server).await;
    drip(&mut client).await;
    expect(&mut client, "421 4.4.2 timeout waiting for a command").await;
}

#[tokio::test]
async fn lm_08_content_slower_than_the_least_rate_is_cut_off_and_faster_content_is_not() {
    let mut settings = settings();
    settings.min_data_rate = 100_000;
    settings.data_grace = Duration::from_secs(2);
    let server = server(settings, Opening::Greeting).await;
    let mut dripping = connected(&server).await;
    transaction(&mut dripping).await;
    say(&mut dripping, "DATA\r\n", "354").await;
    drip(&mut dripping).await;
    expect(&mut dripping, "421 4.4.2 timeout waiting for message content").await;
    let mut quick = connected(&server).await;
    transaction(&mut quick).await;
    say(&mut quick, "DATA\r\n", "354").await;
    // Its pauses are longer than the grace in all, and what has come before each of them has paid for it.
    let block = ("x".repeat(78) + "\r\n").repeat(5000);
    for _ in 0..4 {
        quick.get_mut().write_all(block.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    say(&mut quick, ".\r\n", "250 2.0.0 Ok: taken").await;
}

#[tokio::test]
async fn tl_11_a_handshake_that_stalls_or_drips_is_broken_off() {
    let folder = tempfile::tempdir().unwrap();
    Authority::new(folder.path()).issue("gate", "gw.example");
    let file = |ending: &str| folder.path().join(format!("gate.{ending}"));
    let shown = consentry::tls::Settings {
        pairs: vec![Pair { certificate: file("pem"), key: file("key") }],
        client_certificates: ClientCertificates::NotAsked,
    };
    let mut settings = settings();
    settings.tls = Some(Certificates::load(&shown, Protocol::Smtp).unwrap());
    settings.handshake_timeout = Duration::from_millis(100);
    for opening in [Opening::Greeting, Opening::Handshake] {
        let server = server(settings.clone(), opening).await;
        let mut client = match opening {
            Opening::Greeting => {
                let mut client = connected(&server).await;
                say(&mut client, "STARTTLS\r\n", "220").await;
                client
            }
            Opening::Handshake => BufReader::new(TcpStream::connect(server.address).await.unwrap()),
        };
        // The head of a ClientHello whose body never comes to its end.
        client.get_mut().write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.unwrap();
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, client.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "the server waits for ever");
    }
}

#[tokio::test]
async fn content_that_drips_is_handed_on_in_pieces_worth_keeping() {
    let server = server(settings(), Opening::Greeting).await;
    let mut client = connected(&server).await;
    transaction(&mut client).await;
    say(&mut client, "DATA\r\n", "354").await;
    let content = "Subject: s\r\n\r\n".to_owned() + &"an octet at a time\r\n".repeat(500);
    for octet in content.as_bytes() {
        client.get_mut().write_all(&[*octet]).await.unwrap();
        tokio::task::yield_now().await;
    }
    say(&mut client, ".\r\n", "250 2.0.0 Ok: taken").await;
    let pieces = server.taker.0.lock().unwrap().clone();
    assert_eq!(pieces.iter().sum::<usize>(), content.len());
    assert!(pieces.iter().rev().skip(1).all(|piece| *piece >= 4096), "{pieces:?}");
}

#[tokio::test]
async fn out_of_memory_a_message_is_deferred_and_so_is_a_session_and_both_go_when_there_is_room() {
    let mut settings = settings();
    // Two sessions, and content of half a megabyte in all, with what is read at a time.
    settings.max_memory_octets = 2 * 64 * 1024 + 512 * 1024;
    let server = server(settings, Opening::Greeting).await;
    let mut client = connected(&server).await;
    let large = "x".repeat(78) + "\r\n";
    let content = format!("Subject: s\r\n\r\n{}.\r\n", large.repeat(8000));
    transaction(&mut client).await;
    say(&mut client, "DATA\r\n", "354").await;
    say(&mut client, &content, "452 4.3.1 too many messages at a time, no memory left; try again later").await;
    // The session goes on, and what was counted has been given back.
    for _ in 0..3 {
        transaction(&mut client).await;
        say(&mut client, "DATA\r\n", "354").await;
        say(&mut client, "Subject: s\r\n\r\nsmall\r\n.\r\n", "250 2.0.0").await;
    }
    // Others that hold content keep the next from starting: 452 in place of 354.
    let mut holding = connected(&server).await;
    transaction(&mut holding).await;
    say(&mut holding, "DATA\r\n", "354").await;
    holding.get_mut().write_all(large.repeat(5000).as_bytes()).await.unwrap();
    let mut refused = false;
    for _ in 0..1000 {
        transaction(&mut client).await;
        client.get_mut().write_all(b"DATA\r\n").await.unwrap();
        let mut line = String::new();
        client.read_line(&mut line).await.unwrap();
        if line.starts_with("452 4.3.1") {
            refused = true;
            break;
        }
        // What the other one sends is not all counted yet.
        say(&mut client, "Subject: s\r\n\r\nsmall\r\n.\r\n", "250 2.0.0").await;
    }
    assert!(refused, "memory for more than there is");
    say(&mut holding, ".\r\n", "250 2.0.0").await;
    transaction(&mut client).await;
    say(&mut client, "DATA\r\n", "354").await;
    say(&mut client, "Subject: s\r\n\r\nsmall\r\n.\r\n", "250 2.0.0").await;
}

#[tokio::test]
async fn a_session_that_there_is_no_memory_for_is_told_421() {
    let mut settings = settings();
    settings.max_memory_octets = 64 * 1024;
    let server = server(settings, Opening::Greeting).await;
    let first = connected(&server).await;
    let mut second = BufReader::new(TcpStream::connect(server.address).await.unwrap());
    expect(&mut second, "421 4.7.0 too many connections").await;
    drop(first);
}
