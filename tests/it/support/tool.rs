//! A campaign tool's own unsubscribe address: a real TLS listener that counts who comes and what they ask.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

/// One request: its head without the blank line, and its body.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Asked {
    /// The value of a header field.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let wanted = format!("{name}:");
        let line = self.head.lines().find(|line| line.to_lowercase().starts_with(&wanted))?;
        Some(line[wanted.len()..].trim().to_owned())
    }
}

/// Certificates for `localhost` and `127.0.0.1`, and the authority that signed them in `ca.pem`.
#[derive(Clone)]
pub(crate) struct Certified(Arc<ServerConfig>);

impl Certified {
    pub(crate) fn new(folder: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let issued = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(issued.pem().as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Self(Arc::new(config))
    }
}

/// A running tool; its threads end with the process of the test.
#[derive(Clone)]
pub(crate) struct Tool {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<AtomicUsize>,
}

impl Tool {
    /// Listens on a free port and answers everything with `answer`, a status line with further fields.
    pub(crate) fn start(certified: &Certified, answer: &'static str) -> Self {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), certified, answer)
    }

    pub(crate) fn start_on(address: SocketAddr, certified: &Certified, answer: &'static str) -> Self {
        Self::answering(address, certified, move |_| answer.to_owned())
    }

    /// Answers each request with what `answer` makes of it, a status line with further fields.
    pub(crate) fn answering(
        address: SocketAddr,
        certified: &Certified,
        answer: impl Fn(&Asked) -> String + Send + Sync + 'static,
    ) -> Self {
        let answer = Arc::new(answer);
        let listener = TcpListener::bind(address).unwrap();
        let tool = Self { address: listener.local_addr().unwrap(), asked: Arc::default(), connections: Arc::default() };
        let (shared, config) = (tool.clone(), Arc::clone(&certified.0));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let (shared, config, answer) = (shared.clone(), Arc::clone(&config), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream.unwrap(), config, &shared.asked, &*answer));
            }
        });
        tool
    }

    /// `https://localhost:PORT` and `path`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    /// Everything that was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How often somebody connected, whether they asked anything or not.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn serve(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    asked: &Mutex<Vec<Asked>>,
    answer: &dyn Fn(&Asked) -> String,
) -> Option<()> {
    let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(config).ok()?, stream));
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let mut request = Asked { head: head.trim_end().to_owned(), body: String::new() };
    let length = request.field("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    request.body = String::from_utf8(body).unwrap();
    asked.lock().unwrap().push(request.clone());
    let answer = answer(&request);
    stream.get_mut().write_all(format!("{answer}\r\nContent-Length: 0\r\n\r\n").as_bytes()).ok()?;
    stream.get_mut().flush().ok()
}
