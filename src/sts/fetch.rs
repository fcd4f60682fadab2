//! Fetching a policy: RFC 8461 section 3.3.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;

use super::Settings;
use super::policy::{Policy, PolicyError};
use crate::dns::Resolver;
use crate::mail::Domain;
use crate::tls::{self, Protocol, TlsError};

/// How long a fetch may take in all (section 3.3 suggests a minute).
const FETCH_TIMEOUT: Duration = Duration::from_mins(1);
/// How long one address may take to answer, so that the next one is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Addresses of a policy host that are tried: a minute holds no more.
const ADDRESSES_MAX: usize = 6;
/// Octets of a policy (section 3.3 suggests 64 KiB).
pub(super) const POLICY_MAX: usize = 64 * 1024;
/// Octets of an answer's header section.
const HEADER_MAX: usize = 16 * 1024;
const PATH: &str = "/.well-known/mta-sts.txt";

/// Why there is no policy although the zone says that there is one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFault {
    /// It could not be fetched.
    #[error("the policy cannot be fetched: {0}")]
    Fetch(String),
    /// Its server's certificate is not for the policy host, or not trusted, or not valid now.
    #[error("the policy's server is not believed: {0}")]
    WebPki(String),
    /// What was fetched is none.
    #[error("the policy is invalid: {0}")]
    Invalid(String),
}

impl PolicyFault {
    /// The result type of RFC 8460 section 4.3.2.2.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Fetch(_) => "sts-policy-fetch-error",
            Self::WebPki(_) => "sts-webpki-invalid",
            Self::Invalid(_) => "sts-policy-invalid",
        }
    }
}

impl From<PolicyError> for PolicyFault {
    fn from(error: PolicyError) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// Fetches policies. Nothing is taken from a cache of HTTP's, no redirect is followed.
#[derive(Debug)]
pub(super) struct Fetcher {
    settings: Settings,
    /// Made at the first fetch: without a policy anywhere no roots are needed.
    config: OnceLock<Arc<ClientConfig>>,
    patience: Duration,
}

impl Fetcher {
    pub(super) const fn new(settings: Settings) -> Self {
        Self { settings, config: OnceLock::new(), patience: FETCH_TIMEOUT }
    }

    /// The policy of `domain`, within [`FETCH_TIMEOUT`].
    pub(super) async fn fetch(&self, resolver: &Resolver, domain: &Domain) -> Result<Policy, PolicyFault> {
        let late = |_| Err(PolicyFault::Fetch("no answer in time".to_owned()));
        let text = timeout(self.patience, self.attempt(resolver, domain)).await.unwrap_or_else(late)?;
        Ok(Policy::parse(&text)?)
    }

    async fn attempt(&self, resolver: &Resolver, domain: &Domain) -> Result<String, PolicyFault> {
        let failed = |error: &dyn std::fmt::Display| PolicyFault::Fetch(error.to_string());
        let host = format!("mta-sts.{domain}");
        let addresses = resolver.addresses(&host).await.map_err(|error| failed(&error))?;
        let config = self.config().map_err(|error| failed(&error))?;
        let addresses = addresses.list.into_iter().map(|address| SocketAddr::new(address, self.settings.port));
        let stream = connect(addresses.take(ADDRESSES_MAX)).await?;
        let distrust = |error: &dyn std::fmt::Display| PolicyFault::WebPki(error.to_string());
        let name = ServerName::try_from(host.clone()).map_err(|error| distrust(&error))?;
        let stream = TlsConnector::from(config).connect(name, stream).await.map_err(|error| distrust(&error))?;
        get(&host, stream).await
    }

    fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let config = tls::client_config(&self.settings.trust, Protocol::Http1)?;
        Ok(Arc::clone(self.config.get_or_init(|| config)))
    }
}

async fn connect(addresses: impl Iterator<Item = SocketAddr>) -> Result<TcpStream, PolicyFault> {
    let mut last = "the host has no address".to_owned();
    for address in addresses {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = format!("{address}: {error}"),
            Err(_elapsed) => last = format!("{address}: no answer in time"),
        }
    }
    Err(PolicyFault::Fetch(last))
}

async fn get<S>(host: &str, stream: S) -> Result<String, PolicyFault>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |error: &dyn std::fmt::Display| PolicyFault::Fetch(error.to_string());
    let request = Request::get(PATH)
        .header(header::HOST, host)
        .header(header::USER_AGENT, "Consentry")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(&error))?;
    let mut builder = http1::Builder::new();
    let shaken = builder.max_buf_size(HEADER_MAX).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| failed(&error))?;
    // Dropped at the end of this function, and with it the connection.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
    check(&answer)?;
    let body = Limited::new(answer.into_body(), POLICY_MAX).collect().await;
    let body = body.map_err(|error| {
        let too_long = error.is::<http_body_util::LengthLimitError>();
        if too_long { PolicyFault::Invalid(format!("longer than {POLICY_MAX} octets")) } else { failed(&error) }
    })?;
    String::from_utf8(body.to_bytes().to_vec()).map_err(|_| PolicyFault::Invalid("not UTF-8".to_owned()))
}

/// Section 3.3: 200 and nothing else; plain text, so that nobody who may leave files on a web server makes policies.
fn check<B>(answer: &Response<B>) -> Result<(), PolicyFault> {
    if answer.status() != StatusCode::OK {
        return Err(PolicyFault::Fetch(format!("HTTP {}", answer.status().as_u16())));
    }
    let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = kind.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("text/plain") {
        Ok(())
    } else {
        Err(PolicyFault::Invalid(format!("its media type is `{}`, expected text/plain", media_type.escape_default())))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// What becomes of an answer.
    async fn answered(head: &str, body: Vec<u8>) -> Result<String, PolicyFault> {
        let (near, mut far) = tokio::io::duplex(4096);
        let head = head.to_owned();
        let server = tokio::spawn(async move {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                assert!(far.read_buf(&mut request).await.unwrap() > 0);
            }
            let request = String::from_utf8(request).unwrap().to_lowercase();
            assert!(request.starts_with("get /.well-known/mta-sts.txt http/1.1\r\n"), "{request}");
            assert!(request.contains("host: mta-sts.a.example\r\n"), "{request}");
            // It may be cut off.
            let _sent = far.write_all(head.as_bytes()).await;
            let _sent = far.write_all(&body).await;
        });
        let answer = get("mta-sts.a.example", near).await;
        server.await.unwrap();
        answer
    }

    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n";

    #[tokio::test]
    async fn a_policy_is_read_up_to_its_limit() {
        assert_eq!(answered(OK, vec![b'x'; POLICY_MAX]).await.unwrap().len(), POLICY_MAX);
        assert!(matches!(answered(OK, vec![b'x'; POLICY_MAX + 1]).await, Err(PolicyFault::Invalid(_))));
    }

    #[tokio::test]
    async fn an_answer_that_is_not_200_with_plain_text_is_none() {
        for (head, expected) in [
            ("HTTP/1.1 301 Moved\r\nLocation: https://a.example/\r\nContent-Type: text/plain\r\n\r\n", "HTTP 301"),
            ("HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n\r\n", "HTTP 404"),
            ("HTTP/1.1 204 Nothing\r\nContent-Type: text/plain\r\n\r\n", "HTTP 204"),
            ("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", "`text/html`"),
            ("HTTP/1.1 200 OK\r\n\r\n", "``"),
            ("nonsense\r\n\r\n", "cannot be fetched"),
        ] {
            let fault = answered(head, b"version: STSv1".to_vec()).await.unwrap_err();
            assert!(fault.to_string().contains(expected), "{fault}");
        }
        assert!(matches!(answered(OK, vec![0xff]).await, Err(PolicyFault::Invalid(_))));
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_left_after_a_while() {
        let mut fetcher = Fetcher::new(Settings::default());
        fetcher.patience = Duration::from_millis(50);
        // A name server that never answers.
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let servers = vec![silent.local_addr().unwrap()];
        let resolver = Resolver::new(&crate::dns::Settings { servers, dnssec: None }).unwrap();
        let fault = fetcher.fetch(&resolver, &Domain::parse("a.example").unwrap()).await.unwrap_err();
        assert_eq!(fault, PolicyFault::Fetch("no answer in time".to_owned()));
    }
}
