//! Whom we believe when we connect.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::certificates::read_chain;
use super::{Protocol, TlsError, provider};

/// The roots that a chain has to end at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Those of the operating system.
    #[default]
    System,
    /// Those of a PEM file and no others.
    File(PathBuf),
}

/// A configuration for connections that we make: chain and name are verified, and there is no way around it.
///
/// # Errors
/// [`TlsError`] when the roots cannot be read, or there are none.
pub fn client_config(trust: &Trust, protocol: Protocol) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    match trust {
        Trust::System => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
        Trust::File(path) => {
            for certificate in read_chain(path)? {
                roots.add(certificate).map_err(|error| TlsError::File {
                    path: path.clone(),
                    reason: error.to_string(),
                    expected: "root certificates in PEM",
                })?;
            }
        }
    }
    if roots.is_empty() {
        return Err(TlsError::Setup("this system has no root certificates (Debian: ca-certificates)".to_owned()));
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| TlsError::Setup(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    match protocol {
        Protocol::Http1 => config.alpn_protocols = vec![b"http/1.1".to_vec()],
        Protocol::Smtp => {}
    }
    Ok(Arc::new(config))
}
