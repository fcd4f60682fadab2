//! A mail server of a domain that speaks STARTTLS, or does not, and remembers who was sent to under what.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};

use consentry::tls::{Certificates, ClientCertificates, Pair, Protocol, Settings};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// One recipient who was sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) to: String,
    pub(crate) protected: bool,
}

/// What a server does about TLS.
#[derive(Clone)]
pub(crate) enum Tls {
    /// Knows nothing of it, or somebody between takes the offer away.
    None,
    /// Offers STARTTLS and refuses it.
    Refuses,
    /// With this certificate.
    Shows(Certificates),
}

impl Tls {
    /// With `FILE.pem` and `FILE.key` in `folder`.
    pub(crate) fn shows(folder: &Path, file: &str) -> Self {
        Self::Shows(certificates(folder, file, Protocol::Smtp))
    }
}

/// What a server shows.
pub(crate) fn certificates(folder: &Path, file: &str, protocol: Protocol) -> Certificates {
    let at = |extension: &str| folder.join(format!("{file}.{extension}"));
    let pairs = vec![Pair { certificate: at("pem"), key: at("key") }];
    Certificates::load(&Settings { pairs, client_certificates: ClientCertificates::NotAsked }, protocol).unwrap()
}

/// One EHLO.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Greeting {
    /// Where it came from.
    pub(crate) from: IpAddr,
    /// What it called itself.
    pub(crate) name: String,
}

#[derive(Default)]
struct Shared {
    arrivals: Mutex<Vec<Arrival>>,
    greetings: Mutex<Vec<Greeting>>,
    connections: Mutex<usize>,
    open: Mutex<usize>,
}

/// A running server; it ends with the process of the test.
#[derive(Clone)]
pub(crate) struct Exchange {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

impl Exchange {
    /// Listens at `address`.
    pub(crate) fn start(address: SocketAddr, tls: Tls) -> Self {
        Self::start_on(std::net::TcpListener::bind(address).unwrap(), tls)
    }

    /// Listens at a place that was taken before.
    pub(crate) fn start_on(listener: std::net::TcpListener, tls: Tls) -> Self {
        let exchange = Self { address: listener.local_addr().unwrap(), shared: Arc::default() };
        let shared = Arc::clone(&exchange.shared);
        serve(listener, move |stream| {
            *shared.connections.lock().unwrap() += 1;
            let (tls, shared) = (tls.clone(), Arc::clone(&shared));
            async move {
                *shared.open.lock().unwrap() += 1;
                let end = converse(stream, tls, &shared).await;
                *shared.open.lock().unwrap() -= 1;
                end
            }
        });
        exchange
    }

    /// Everybody who was sent to until now.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.shared.arrivals.lock().unwrap().clone()
    }

    /// Everybody who has said EHLO until now.
    pub(crate) fn greetings(&self) -> Vec<Greeting> {
        self.shared.greetings.lock().unwrap().clone()
    }

    /// Sessions at this moment.
    pub(crate) fn open_sessions(&self) -> usize {
        *self.shared.open.lock().unwrap()
    }

    /// How often it was connected to.
    pub(crate) fn connections(&self) -> usize {
        *self.shared.connections.lock().unwrap()
    }
}

/// Serves every connection in a thread of its own runtime.
pub(crate) fn serve<F>(listener: std::net::TcpListener, session: impl Fn(TcpStream) -> F + Send + 'static)
where
    F: Future<Output = Option<()>> + Send + 'static,
{
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(session(stream));
            }
        });
    });
}

async fn converse(stream: TcpStream, tls: Tls, shared: &Shared) -> Option<()> {
    let from = stream.peer_addr().ok()?.ip();
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 mx.example ESMTP\r\n").await.ok()?;
    let offer = if matches!(tls, Tls::None) { "250 mx.example\r\n" } else { "250-mx.example\r\n250 STARTTLS\r\n" };
    let asked = transactions(&mut stream, offer, false, Heard { shared, from }).await?;
    let (true, Tls::Shows(certificates)) = (asked, tls) else {
        stream.write_all(b"454 4.7.0 TLS is not available\r\n").await.ok()?;
        return transactions(&mut stream, "250 mx.example\r\n", false, Heard { shared, from }).await.map(drop);
    };
    stream.write_all(b"220 go\r\n").await.ok()?;
    let stream = certificates.acceptor().accept(stream.into_inner()).await.ok()?;
    transactions(&mut BufReader::new(stream), "250 mx.example\r\n", true, Heard { shared, from }).await.map(drop)
}

/// Where what is heard goes, and who says it.
#[derive(Clone, Copy)]
struct Heard<'a> {
    shared: &'a Shared,
    from: IpAddr,
}

/// Until STARTTLS, if that is offered: then true.
async fn transactions<S>(stream: &mut BufReader<S>, offer: &str, protected: bool, heard: Heard<'_>) -> Option<bool>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let verb = line.get(..4).unwrap_or_default().to_uppercase();
        let reply = match verb.as_str() {
            "EHLO" => {
                let name = line.split_whitespace().nth(1)?.to_owned();
                heard.shared.greetings.lock().unwrap().push(Greeting { from: heard.from, name });
                offer
            }
            "STAR" if offer.contains("STARTTLS") => return Some(true),
            "STAR" => "502 5.5.1 no\r\n",
            "RCPT" => {
                let to = line.split(['<', '>']).nth(1)?.to_owned();
                heard.shared.arrivals.lock().unwrap().push(Arrival { to, protected });
                "250 ok\r\n"
            }
            "DATA" => {
                stream.write_all(b"354 go\r\n").await.ok()?;
                while line != ".\r\n" {
                    line.clear();
                    stream.read_line(&mut line).await.ok().filter(|octets| *octets > 0)?;
                }
                "250 taken\r\n"
            }
            "QUIT" => return None,
            _ => "250 ok\r\n",
        };
        stream.write_all(reply.as_bytes()).await.ok()?;
    }
}
