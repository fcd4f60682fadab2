//! Certificates that clients show. They are not believed for who signed them: a client proves that it holds the key, and
//! whoever asks compares the certificate's fingerprint with those that are known.

use std::sync::Arc;

use rustls_pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::server::NoClientAuth;
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::provider;
use super::signatures::signatures_by;

/// Whether clients are asked for a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not: nobody is known by one.
    #[default]
    NotAsked,
    /// They are, and may do without. Whatever they show is taken, with proof that they hold its key.
    Asked,
}

impl ClientCertificates {
    pub(super) fn verifier(self) -> Arc<dyn ClientCertVerifier> {
        match self {
            Self::NotAsked => Arc::new(NoClientAuth),
            Self::Asked => Arc::new(HoldsTheKey(provider())),
        }
    }
}

/// Believes that a client holds the key of its certificate, and nothing else.
#[derive(Debug)]
struct HoldsTheKey(Arc<CryptoProvider>);

impl ClientCertVerifier for HoldsTheKey {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    signatures_by!(0);
}
