//! A certificate authority of the test's own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use consentry::tls::{Protocol, Trust, client_config};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// An authority, and the folder with everything it has issued.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    pub(crate) fn new(folder: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Not the name that a leaf has: OpenSSL would take that one for its own issuer.
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder: folder.to_owned() }
    }

    /// Writes `FILE.pem` and `FILE.key` for a host.
    pub(crate) fn issue(&self, file: &str, host: &str) {
        let key = KeyPair::generate().unwrap();
        let issued = CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.folder.join(format!("{file}.pem")), issued.pem()).unwrap();
        std::fs::write(self.folder.join(format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    /// A client that believes this authority.
    pub(crate) fn trust(&self) -> Arc<ClientConfig> {
        client_config(&Trust::File(self.folder.join("ca.pem")), Protocol::Smtp).unwrap()
    }

    /// One that shows the certificate of that file, too.
    pub(crate) fn trust_showing(&self, file: &str) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.folder.join("ca.pem")).unwrap()).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.folder.join(format!("{file}.key"))).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![self.certificate(file)], key)
            .unwrap();
        Arc::new(config)
    }

    /// What was issued into that file.
    pub(crate) fn certificate(&self, file: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.folder.join(format!("{file}.pem"))).unwrap()
    }
}
