//! TLS under a session: RFC 3207 (STARTTLS) and RFC 8314 (TLS from the first octet).

use std::io;
use std::sync::Arc;

use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::{self, CertificateError, CipherSuite, ClientConfig, ProtocolVersion};

use crate::mail::Reply;
use crate::tls::NotVouchedFor;

/// How sessions are protected.
#[derive(Clone, Debug, Default)]
pub enum Protection {
    /// Not at all.
    #[default]
    Clear,
    /// With STARTTLS where it is offered and works, else not at all (RFC 7435).
    Opportunistic(Arc<ClientConfig>),
    /// With STARTTLS, or there is no session.
    StartTls(Arc<ClientConfig>),
    /// From the first octet.
    Implicit(Arc<ClientConfig>),
}

/// Why a session could not be protected as it has to be. The words are those of RFC 8460 section 4.3.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    /// STARTTLS is not offered.
    #[error("the upstream does not offer STARTTLS")]
    NotOffered,
    /// STARTTLS was offered and refused.
    #[error("the upstream refused STARTTLS: {0}")]
    Refused(Reply),
    /// The certificate is for another name.
    #[error("the upstream's certificate is not for this name: {0}")]
    WrongName(String),
    /// The certificate is not valid yet, or not any more.
    #[error("the upstream's certificate is not valid now: {0}")]
    Expired(String),
    /// The certificate's chain does not end at a root that we trust.
    #[error("the upstream's certificate is not trusted: {0}")]
    Untrusted(String),
    /// The handshake failed for another reason.
    #[error("the TLS handshake failed: {0}")]
    Handshake(String),
    /// The domain's MTA-STS policy does not name the host (RFC 8461 section 4.1).
    #[error("the domain's MTA-STS policy does not name {0}")]
    NotInPolicy(String),
    /// None of the host's TLSA records vouches for its certificate (RFC 7672).
    #[error("the upstream's certificate is not the one that its zone names: {0}")]
    NotVouchedFor(String),
    /// Whether the host has TLSA records cannot be told, or what came for them is forged.
    #[error("the TLSA records of {0} cannot be had")]
    NoTlsa(String),
    /// It has none, and the route goes nowhere without.
    #[error("{0} has no TLSA record, and the route asks for one")]
    DaneRequired(String),
    /// The host's configured name cannot stand in a certificate.
    #[error("`{0}` is no name that a certificate could be for")]
    Nameless(String),
}

/// Whose fault something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Ours, or our operator's: configuration, credentials.
    Local,
    /// What the other side can do is not what we ask for.
    Policy,
    /// The other side's, or of the network between.
    Peer,
}

impl Blame {
    /// The word for logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Policy => "policy",
            Self::Peer => "peer",
        }
    }
}

impl TlsFault {
    /// The result type of RFC 8460 section 4.3.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NotOffered | Self::Refused(_) => "starttls-not-supported",
            Self::WrongName(_) => "certificate-host-mismatch",
            Self::Expired(_) => "certificate-expired",
            Self::Untrusted(_) => "certificate-not-trusted",
            Self::NotVouchedFor(_) => "tlsa-invalid",
            Self::NoTlsa(_) => "dnssec-invalid",
            Self::DaneRequired(_) => "dane-required",
            Self::NotInPolicy(_) | Self::Handshake(_) | Self::Nameless(_) => "validation-failure",
        }
    }

    /// Whose it is.
    pub const fn blame(&self) -> Blame {
        match self {
            Self::NotOffered
            | Self::WrongName(_)
            | Self::Expired(_)
            | Self::Untrusted(_)
            | Self::NotInPolicy(_)
            | Self::NotVouchedFor(_)
            | Self::DaneRequired(_) => Blame::Policy,
            Self::Refused(_) | Self::Handshake(_) | Self::NoTlsa(_) => Blame::Peer,
            Self::Nameless(_) => Blame::Local,
        }
    }

    /// What the library's error means.
    fn of(error: &io::Error) -> Self {
        let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let Some(rustls::Error::InvalidCertificate(reason)) = cause else { return Self::Handshake(error.to_string()) };
        let words = reason.to_string();
        if matches!(reason, CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) {
            Self::WrongName(words)
        } else if matches!(
            reason,
            CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }
        ) {
            Self::Expired(words)
        } else if matches!(reason, CertificateError::Other(other) if other.0.is::<NotVouchedFor>()) {
            Self::NotVouchedFor(NotVouchedFor.to_string())
        } else {
            Self::Untrusted(words)
        }
    }
}

/// What protects a session, for the record of what was sent on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protected {
    /// `TLSv1.3`.
    pub version: &'static str,
    /// `TLS_AES_256_GCM_SHA384`.
    pub cipher: &'static str,
}

impl Protected {
    pub(super) fn of(stream: &TlsStream<TcpStream>) -> Self {
        let (_, connection) = stream.get_ref();
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            // Nothing older is offered.
            Some(_) | None => "TLSv1.2",
        };
        let suite = connection.negotiated_cipher_suite().map(|suite| suite.suite());
        Self { version, cipher: suite.map_or("unknown", iana_name) }
    }
}

/// The library has names of its own for the suites of TLS 1.3.
fn iana_name(suite: CipherSuite) -> &'static str {
    if suite == CipherSuite::TLS13_AES_256_GCM_SHA384 {
        "TLS_AES_256_GCM_SHA384"
    } else if suite == CipherSuite::TLS13_AES_128_GCM_SHA256 {
        "TLS_AES_128_GCM_SHA256"
    } else if suite == CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 {
        "TLS_CHACHA20_POLY1305_SHA256"
    } else {
        suite.as_str().unwrap_or("unknown")
    }
}

/// The handshake, asking for a certificate for `name`.
pub(super) async fn handshake(
    stream: TcpStream,
    name: &str,
    config: &Arc<ClientConfig>,
) -> Result<Box<TlsStream<TcpStream>>, TlsFault> {
    // An address literal in brackets is the address itself to a certificate.
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let server = ServerName::try_from(bare.to_owned()).map_err(|_| TlsFault::Nameless(name.to_owned()))?;
    let connector = TlsConnector::from(Arc::clone(config));
    connector.connect(server, stream).await.map(Box::new).map_err(|error| TlsFault::of(&error))
}
