//! What our doors show: certificates from files, replaced as a whole at a reload.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use super::clients::ClientCertificates;
use super::{TlsError, provider};

/// A certificate with its chain, and its key, each in a PEM file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The chain, our certificate first.
    pub certificate: PathBuf,
    /// The key: PKCS #8, SEC 1 or PKCS #1.
    pub key: PathBuf,
}

/// What a door is told to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The first one is shown to clients that name no host, or none of ours.
    pub pairs: Vec<Pair>,
    /// Whether clients are asked for theirs.
    pub client_certificates: ClientCertificates,
}

/// What is spoken inside: it is told to the client where the protocol has a name for it (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `http/1.1`.
    Http1,
    /// No name is registered for submission.
    Smtp,
}

/// The certificates of one door. Clones share them; a reload counts from the next handshake.
#[derive(Clone, Debug)]
pub struct Certificates {
    config: Arc<ArcSwap<ServerConfig>>,
    protocol: Protocol,
}

impl Certificates {
    /// Reads every file.
    ///
    /// # Errors
    /// [`TlsError`], naming the file.
    pub fn load(settings: &Settings, protocol: Protocol) -> Result<Self, TlsError> {
        Ok(Self { config: Arc::new(ArcSwap::from_pointee(server_config(settings, protocol)?)), protocol })
    }

    /// Reads the files again; what was in force stays when anything is wrong.
    ///
    /// # Errors
    /// As [`Certificates::load`].
    pub fn reload(&self, settings: &Settings) -> Result<(), TlsError> {
        self.config.store(Arc::new(server_config(settings, self.protocol)?));
        Ok(())
    }

    /// Takes over what another set has read, as a reload does that has checked everything before.
    pub fn adopt(&self, other: &Self) {
        self.config.store(other.config.load_full());
    }

    /// For the next handshake.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }
}

fn server_config(settings: &Settings, protocol: Protocol) -> Result<ServerConfig, TlsError> {
    let shown = settings.pairs.iter().map(certified).collect::<Result<Vec<_>, _>>()?;
    if shown.is_empty() {
        return Err(TlsError::Setup("no certificate is configured".to_owned()));
    }
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| TlsError::Setup(error.to_string()))?
        .with_client_cert_verifier(settings.client_certificates.verifier())
        .with_cert_resolver(Arc::new(ByName(shown)));
    match protocol {
        Protocol::Http1 => config.alpn_protocols = vec![b"http/1.1".to_vec()],
        Protocol::Smtp => {}
    }
    Ok(config)
}

fn certified(pair: &Pair) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = read_chain(&pair.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&pair.key).map_err(|error| TlsError::File {
        path: pair.key.clone(),
        reason: error.to_string(),
        expected: "a private key in PEM",
    })?;
    CertifiedKey::from_der(chain, key, &provider()).map(Arc::new).map_err(|error| TlsError::Pair {
        certificate: pair.certificate.clone(),
        key: pair.key.clone(),
        reason: error.to_string(),
    })
}

/// Every certificate of a PEM file, in its order.
///
/// # Errors
/// [`TlsError::File`], also when there is none.
pub(super) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fault =
        |reason: String| TlsError::File { path: path.to_owned(), reason, expected: "one or more certificates in PEM" };
    let chain = CertificateDer::pem_file_iter(path)
        .map_err(|error| fault(error.to_string()))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| fault(error.to_string()))?;
    if chain.is_empty() { Err(fault("there is none in it".to_owned())) } else { Ok(chain) }
}

/// Chooses by the name that the client asks for; by the order of the settings when it asks for none of ours.
#[derive(Debug)]
struct ByName(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let wanted = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let fits = |shown: &&Arc<CertifiedKey>| {
            let parsed = shown.end_entity_cert().ok().and_then(|cert| ParsedCertificate::try_from(cert).ok());
            parsed.zip(wanted.as_ref()).is_some_and(|(cert, name)| verify_server_name(&cert, name).is_ok())
        };
        self.0.iter().find(fits).or_else(|| self.0.first()).cloned()
    }
}
