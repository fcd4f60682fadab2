//! One request to the door, as a mailbox provider makes it: no cookies, no redirects followed, no patience.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderMap, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::{self, CertificateError, ClientConfig};

/// A page is a few KiB.
const ANSWER_MAX: usize = 256 * 1024;
/// RFC 8058 section 3.2: these octets, and no others.
const ONE_CLICK: &[u8] = b"List-Unsubscribe=One-Click";

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// The page.
    Get,
    /// One click.
    Post,
}

impl Method {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// Where the door is, and how it is believed.
pub(super) struct Door {
    host: String,
    port: u16,
    path: String,
    connect: Option<SocketAddr>,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    patience: Duration,
}

/// An answer, whatever it says.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) took: Duration,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("{0} cannot be reached: {1}")]
    Connect(String, io::Error),
    #[error("the certificate is not that of {0}")]
    Name(String),
    #[error("the certificate has expired, or is not valid yet")]
    Expired,
    #[error("the certificate does not lead to an authority that is trusted, or its chain is not whole")]
    Issuer,
    #[error("no TLS connection: {0}")]
    Tls(io::Error),
    #[error("not an answer in HTTP: {0}")]
    Http(String),
    #[error("no whole answer within {} s", .0.as_secs())]
    Late(Duration),
}

impl Door {
    /// # Errors
    /// A sentence: the URL is not one.
    pub(super) fn new(
        url: &str,
        connect: Option<SocketAddr>,
        tls: Arc<ClientConfig>,
        patience: Duration,
    ) -> Result<Self, String> {
        let (host, port, path) = super::parts(url)?;
        let name = ServerName::try_from(host.clone()).map_err(|_| format!("`{host}`: expected the name of a host"))?;
        Ok(Self { host, port, path, connect, name, tls, patience })
    }

    /// Asks once, on a connection of its own.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(super) async fn ask(&self, method: Method, token: &str) -> Result<Answered, NoAnswer> {
        let start = Instant::now();
        let talk = async {
            let stream = self.connect().await?;
            self.exchange(stream, method, token).await
        };
        let (status, headers) =
            tokio::time::timeout(self.patience, talk).await.map_err(|_elapsed| NoAnswer::Late(self.patience))??;
        Ok(Answered { status, headers, took: start.elapsed() })
    }

    async fn connect(&self) -> Result<TlsStream<TcpStream>, NoAnswer> {
        let connected = match self.connect {
            Some(address) => TcpStream::connect(address).await,
            None => TcpStream::connect((self.host.as_str(), self.port)).await,
        };
        let stream = connected.map_err(|error| NoAnswer::Connect(self.host.clone(), error))?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        connector.connect(self.name.clone(), stream).await.map_err(|error| self.distrust(error))
    }

    /// What a handshake that failed means for the operator.
    fn distrust(&self, error: io::Error) -> NoAnswer {
        let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let Some(rustls::Error::InvalidCertificate(cause)) = cause else { return NoAnswer::Tls(error) };
        if matches!(cause, CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) {
            NoAnswer::Name(self.host.clone())
        } else if matches!(
            cause,
            CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }
        ) {
            NoAnswer::Expired
        } else if matches!(cause, CertificateError::UnknownIssuer) {
            NoAnswer::Issuer
        } else {
            NoAnswer::Tls(error)
        }
    }

    async fn exchange(
        &self,
        stream: TlsStream<TcpStream>,
        method: Method,
        token: &str,
    ) -> Result<(StatusCode, HeaderMap), NoAnswer> {
        let fault = |error: hyper::Error| NoAnswer::Http(error.to_string());
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(fault)?;
        let carrier = tokio::spawn(connection);
        let request = self.request(method, token).map_err(|error| NoAnswer::Http(error.to_string()))?;
        let answer = sender.send_request(request).await.map_err(fault)?;
        let (head, body) = answer.into_parts();
        let read = Limited::new(body, ANSWER_MAX).collect().await;
        carrier.abort();
        read.map_err(|error| NoAnswer::Http(error.to_string()))?;
        Ok((head.status, head.headers))
    }

    fn request(&self, method: Method, token: &str) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let host = if self.port == 443 { self.host.clone() } else { format!("{}:{}", self.host, self.port) };
        let request = Request::builder()
            .method(method.as_str())
            .uri(format!("{}/u/{token}", self.path))
            .header(HOST, host)
            .header(USER_AGENT, concat!("consentry-doctor/", env!("CARGO_PKG_VERSION")))
            .header(CONNECTION, "close");
        match method {
            Method::Get => request.body(Full::new(Bytes::new())),
            Method::Post => request
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(Full::new(Bytes::from_static(ONE_CLICK))),
        }
    }
}
