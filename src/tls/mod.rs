//! TLS: the certificates that our own doors show, and whom our own connections believe.
//!
//! **Promise:** a certificate is shown only with the key that fits it; a reload that fails leaves the old one in force;
//! no server is believed without a chain to a trusted root and the right name, or a TLSA record that vouches for it, except
//! where the alternative is no TLS at all; a client that shows a certificate holds its key, and that is all that is known of it. TLS 1.2 and 1.3, nothing older.
//!
//! **Owns:** reading PEM files, choosing a certificate by name (SNI), root stores.
//!
//! **Never knows:** what is said inside a connection.
//!
//! **Standards:** RFC 8446, RFC 5246 with RFC 7627, RFC 6066 section 3 (SNI), RFC 7301 (ALPN), RFC 9325 (versions and suites),
//! RFC 6698, RFC 7671 and RFC 7672 section 3 (TLSA records).

mod certificates;
mod clients;
mod dane;
mod signatures;
mod trust;
mod unverified;

use std::path::PathBuf;
use std::sync::Arc;

pub use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};

pub use certificates::{Certificates, Pair, Protocol, Settings};
pub use clients::ClientCertificates;
pub use dane::{Association, NotVouchedFor, dane_config};
pub use trust::{Trust, client_config};
pub use unverified::unverified_config;

/// Why TLS cannot be set up. The operator's fault; the same files never succeed.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not the PEM that it should be.
    #[error("{path}: {reason}; expected {expected}")]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// What should be there.
        expected: &'static str,
    },
    /// The key does not belong to the certificate, or is of a kind that is not known.
    #[error("{certificate} and {key} do not fit: {reason}")]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What the library says.
        reason: String,
    },
    /// The settings as a whole do not make a configuration.
    #[error("TLS: {0}")]
    Setup(String),
}

/// The one provider of cryptography in this program.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Makes that provider the one of libraries that choose none themselves. Calling it again changes nothing.
pub fn install_provider() {
    // An error means that one is installed already, and there is no other in this program.
    let _installed_before = aws_lc_rs::default_provider().install_default();
}

#[cfg(test)]
mod tests;
