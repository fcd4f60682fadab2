//! One POST to one target.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;

use super::guard;
use super::target::{Host, Target};
use crate::cidr::AddressRange;
use crate::tls::{self, Protocol, TlsError, Trust};

/// How long one address of a host may take to answer, so that the next one is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Addresses of one name that are looked at. A name with more is nobody's door.
const ADDRESSES_MAX: usize = 16;
/// Octets of an answer's header section. Of its body nothing is read.
const ANSWER_MAX: usize = 16 * 1024;

/// What is said.
#[derive(Clone, Debug)]
pub struct Post {
    /// What the body is.
    pub content_type: &'static str,
    /// Further fields: a name in lower case, and a value.
    pub fields: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
}

/// Why there is no answer. The operator can change the first two. Trying again may succeed.
#[derive(Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// We have no roots to believe anybody by.
    NoTrust(String),
    /// An address is not in a network that we may reach. The operator may name it.
    Forbidden(IpAddr),
    /// The name has no address.
    NoAddress(String),
    /// Nobody answers.
    NotConnected(String),
    /// The certificate does not fit.
    NotTrusted(String),
    /// It did not speak HTTP to the end.
    BrokenOff(String),
    /// It took too long.
    TimedOut,
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTrust(why) => write!(f, "{why}"),
            Self::Forbidden(address) => {
                write!(f, "{address} is not public and not within the networks that may be reached; not connected")
            }
            Self::NoAddress(why) => write!(f, "no address: {why}"),
            Self::NotConnected(why) => write!(f, "not connected: {why}"),
            Self::NotTrusted(why) => write!(f, "TLS: {why}"),
            Self::BrokenOff(why) => write!(f, "HTTP: {why}"),
            Self::TimedOut => f.write_str("no answer in time"),
        }
    }
}

/// Calls whoever shows a certificate that `trust` believes. Each call has a connection of its own.
#[derive(Debug)]
pub struct Caller {
    trust: Trust,
    /// Made at the first call: a gateway that calls nobody needs no roots.
    config: OnceLock<Arc<ClientConfig>>,
}

impl Caller {
    /// Reads nothing yet.
    pub const fn new(trust: Trust) -> Self {
        Self { trust, config: OnceLock::new() }
    }

    /// Makes the call, within `patience`, at a public address or one in `networks`. Any status is an answer, a redirect too.
    ///
    /// # Errors
    /// [`Hindrance`].
    pub async fn post(
        &self,
        target: &Target,
        networks: &[AddressRange],
        post: Post,
        patience: Duration,
    ) -> Result<StatusCode, Hindrance> {
        let attempt = tokio::time::timeout(patience, self.attempt(target, networks, post));
        attempt.await.unwrap_or(Err(Hindrance::TimedOut))
    }

    async fn attempt(&self, target: &Target, networks: &[AddressRange], post: Post) -> Result<StatusCode, Hindrance> {
        let addresses = reachable(resolve(target).await?, networks)?;
        let config = self.config().map_err(|error| Hindrance::NoTrust(error.to_string()))?;
        let stream = secured(config, target, connect(&addresses).await?).await?;
        say(target, post, stream).await.map_err(|error| Hindrance::BrokenOff(error.to_string()))
    }

    fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let config = tls::client_config(&self.trust, Protocol::Http1)?;
        Ok(Arc::clone(self.config.get_or_init(|| config)))
    }
}

async fn resolve(target: &Target) -> Result<Vec<SocketAddr>, Hindrance> {
    match &target.host {
        Host::Address(address) => Ok(vec![SocketAddr::new(*address, target.port)]),
        Host::Name(name) => tokio::net::lookup_host((name.as_str(), target.port))
            .await
            .map(|found| found.take(ADDRESSES_MAX + 1).collect())
            .map_err(|error| Hindrance::NoAddress(error.to_string())),
    }
}

/// All addresses, when every one of them may be reached: a name that leads inside and outside is not to be trusted at all.
fn reachable(addresses: Vec<SocketAddr>, networks: &[AddressRange]) -> Result<Vec<SocketAddr>, Hindrance> {
    if let Some(inside) = addresses.iter().find(|address| !guard::may_reach(address.ip(), networks)) {
        return Err(Hindrance::Forbidden(inside.ip()));
    }
    match addresses.len() {
        0 => Err(Hindrance::NoAddress("the name has none".to_owned())),
        1..=ADDRESSES_MAX => Ok(addresses),
        _ => Err(Hindrance::NoAddress(format!("the name has more than {ADDRESSES_MAX}"))),
    }
}

/// Connects to exactly these addresses, one after the other. A name is not resolved again: it could lead elsewhere by now.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, Hindrance> {
    let mut last = String::new();
    for address in addresses {
        match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error.to_string(),
            Err(_elapsed) => "no answer in time".clone_into(&mut last),
        }
    }
    Err(Hindrance::NotConnected(last))
}

async fn secured(
    config: Arc<ClientConfig>,
    target: &Target,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, Hindrance> {
    let distrust = |error: &dyn fmt::Display| Hindrance::NotTrusted(error.to_string());
    let name = match &target.host {
        Host::Name(name) => ServerName::try_from(name.as_str().to_owned()).map_err(|error| distrust(&error))?,
        Host::Address(address) => ServerName::from(*address),
    };
    TlsConnector::from(config).connect(name, stream).await.map_err(|error| distrust(&error))
}

async fn say<S>(target: &Target, post: Post, stream: S) -> Result<StatusCode, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut request = Request::new(Full::new(post.body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target.path.clone().into();
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(post.content_type));
    headers.insert(header::USER_AGENT, HeaderValue::from_static("Consentry"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    // Letters, digits and punctuation, of a host and of ours: always header values.
    let host = std::iter::once(("host", target.authority()));
    for (name, value) in host.chain(post.fields) {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(ANSWER_MAX).handshake(TokioIo::new(stream)).await?;
    // Dropped at the end of this function, and with it the connection: the body of the answer is not read.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    Ok(sender.send_request(request).await?.status())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const BODY: &str = "asked";

    fn question() -> Post {
        Post { content_type: "text/plain", fields: Vec::new(), body: Bytes::from_static(BODY.as_bytes()) }
    }

    /// What becomes of an answer whose header section has about `octets`, in front of a body that never ends.
    async fn answered(octets: usize) -> Result<StatusCode, hyper::Error> {
        let (near, mut far) = tokio::io::duplex(1024);
        let tool = tokio::spawn(async move {
            let mut request = Vec::new();
            while !request.ends_with(BODY.as_bytes()) {
                assert!(far.read_buf(&mut request).await.unwrap() > 0);
            }
            let head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(octets - 24));
            let mut written = far.write_all(head.as_bytes()).await;
            while written.is_ok() {
                written = far.write_all(&[b'x'; 1024]).await;
            }
        });
        let status = say(&Target::parse("https://tool.example/x").unwrap(), question(), near).await;
        // It ends because nobody reads: the connection is closed.
        tool.await.unwrap();
        status
    }

    #[tokio::test]
    async fn an_answer_is_read_up_to_the_limit_and_its_body_not_at_all() {
        assert_eq!(answered(ANSWER_MAX - 1).await.unwrap(), StatusCode::OK);
        assert!(answered(ANSWER_MAX * 2).await.is_err());
    }

    #[tokio::test]
    async fn who_says_nothing_is_left_after_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let silent = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("https://127.0.0.1:{}/", silent.local_addr().unwrap().port());
        let root = rcgen::generate_simple_self_signed(vec!["x.example".to_owned()]).unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, root.cert.pem()).unwrap();
        let caller = Caller::new(Trust::File(file));
        let networks = [AddressRange::parse("127.0.0.0/8").unwrap()];
        let target = Target::parse(&url).unwrap();
        let outcome = caller.post(&target, &networks, question(), Duration::from_millis(50)).await;
        assert_eq!(outcome, Err(Hindrance::TimedOut));
    }

    #[test]
    fn one_address_inside_forbids_the_name_and_so_do_too_many() {
        let address = |text: &str| SocketAddr::new(text.parse().unwrap(), 443);
        let (outside, inside) = (address("1.1.1.1"), address("::ffff:169.254.169.254"));
        assert_eq!(reachable(vec![outside, inside], &[]), Err(Hindrance::Forbidden(inside.ip())));
        assert_eq!(reachable(vec![outside], &[]), Ok(vec![outside]));
        assert!(reachable(vec![outside; ADDRESSES_MAX], &[]).is_ok());
        assert!(matches!(reachable(vec![outside; ADDRESSES_MAX + 1], &[]), Err(Hindrance::NoAddress(_))));
        assert!(matches!(reachable(vec![], &[]), Err(Hindrance::NoAddress(_))));
    }
}
