//! Real handshakes with certificates made on the spot.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;

use super::*;

fn settings(pairs: Vec<Pair>) -> Settings {
    Settings { pairs, client_certificates: ClientCertificates::NotAsked }
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(folder: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.join("ca.pem"), issuer.pem()).unwrap();
        Self(issuer)
    }

    fn pair(&self, folder: &Path, name: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let issued = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        let pair =
            Pair { certificate: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key.pem")) };
        std::fs::write(&pair.certificate, issued.pem()).unwrap();
        std::fs::write(&pair.key, key.serialize_pem()).unwrap();
        pair
    }
}

/// One handshake and one word through it; the error is the client's.
async fn greets(certificates: &Certificates, client: Arc<ClientConfig>, name: &str) -> std::io::Result<()> {
    let (near, far) = tokio::io::duplex(16 * 1024);
    let acceptor = certificates.acceptor();
    let server = tokio::spawn(async move {
        let mut stream = acceptor.accept(far).await?;
        stream.write_all(b"hello").await?;
        stream.shutdown().await
    });
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut stream = TlsConnector::from(client).connect(name, near).await?;
    let mut word = String::new();
    stream.read_to_string(&mut word).await?;
    assert_eq!(word, "hello");
    server.await.unwrap()
}

#[tokio::test]
async fn the_certificate_of_the_name_is_shown_and_another_name_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let pairs = ["a.example", "b.example"].map(|name| authority.pair(folder.path(), name)).to_vec();
    let certificates = Certificates::load(&settings(pairs), Protocol::Http1).unwrap();
    let trust = client_config(&Trust::File(folder.path().join("ca.pem")), Protocol::Http1).unwrap();
    for name in ["a.example", "b.example"] {
        greets(&certificates, Arc::clone(&trust), name).await.unwrap();
    }
    assert!(greets(&certificates, Arc::clone(&trust), "c.example").await.is_err(), "a foreign name");
    let other = tempfile::tempdir().unwrap();
    Authority::new(other.path());
    let stranger = client_config(&Trust::File(other.path().join("ca.pem")), Protocol::Http1).unwrap();
    assert!(greets(&certificates, stranger, "a.example").await.is_err(), "a foreign root");
}

#[tokio::test]
async fn a_reload_counts_from_the_next_handshake_and_a_bad_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let pair = authority.pair(folder.path(), "a.example");
    let first = settings(vec![pair.clone()]);
    let certificates = Certificates::load(&first, Protocol::Smtp).unwrap();
    let trust = client_config(&Trust::File(folder.path().join("ca.pem")), Protocol::Smtp).unwrap();
    std::fs::write(&pair.certificate, "not a certificate").unwrap();
    assert!(certificates.reload(&first).is_err());
    greets(&certificates, Arc::clone(&trust), "a.example").await.unwrap();
    let next = settings(vec![authority.pair(folder.path(), "b.example")]);
    certificates.reload(&next).unwrap();
    greets(&certificates, Arc::clone(&trust), "b.example").await.unwrap();
    assert!(greets(&certificates, trust, "a.example").await.is_err());
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let (one, other) = (authority.pair(folder.path(), "a.example"), authority.pair(folder.path(), "b.example"));
    let says = |pairs: Vec<Pair>| Certificates::load(&settings(pairs), Protocol::Smtp).unwrap_err().to_string();
    let missing = Pair { certificate: folder.path().join("none.pem"), key: one.key.clone() };
    assert!(says(vec![missing]).contains("none.pem"));
    let crossed = Pair { certificate: one.certificate.clone(), key: other.key };
    assert!(says(vec![crossed]).contains("do not fit"));
    let swapped = Pair { certificate: one.key.clone(), key: one.certificate };
    assert!(says(vec![swapped]).contains("expected one or more certificates in PEM"));
    assert!(says(Vec::new()).contains("no certificate"));
    assert!(client_config(&Trust::File(one.key), Protocol::Smtp).is_err());
}
