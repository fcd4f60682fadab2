//! What stands in front of a door: TLS with certificates made on the spot, and behind it a gateway or a few fixed words.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;

/// What is done with a connection.
#[derive(Clone)]
pub(crate) enum Behind {
    /// It goes on to this address in clear.
    Gateway(SocketAddr),
    /// The request is read, these words are the answer.
    Words(String),
    /// The request is read, and nothing is said.
    Silence,
}

/// What is wrong with the certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Certificate {
    Right,
    OtherName,
    Expired,
    SelfSigned,
}

/// Serves until it is dropped.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    /// The authority to believe.
    pub(crate) authority: PathBuf,
    _runtime: Runtime,
}

fn config(folder: &Path, name: &str, certificate: Certificate) -> (ServerConfig, PathBuf) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let authority = folder.join("authority.pem");
    std::fs::write(&authority, issuer.pem()).unwrap();
    let name = if certificate == Certificate::OtherName { "other.example" } else { name };
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    if certificate == Certificate::Expired {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2020, 2, 1);
    }
    let key = KeyPair::generate().unwrap();
    let shown =
        if certificate == Certificate::SelfSigned { params.self_signed(&key) } else { params.signed_by(&key, &issuer) };
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![shown.unwrap().der().clone()], key)
        .unwrap();
    (config, authority)
}

impl Front {
    pub(crate) fn start(folder: &Path, name: &str, certificate: Certificate, behind: Behind) -> Self {
        let (config, authority) = config(folder, name, certificate);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(acceptor.clone(), stream, behind.clone()));
            }
        });
        Self { address, authority, _runtime: runtime }
    }
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, behind: Behind) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    match behind {
        Behind::Gateway(address) => {
            let mut gateway = TcpStream::connect(address).await?;
            tokio::io::copy_bidirectional(&mut stream, &mut gateway).await?;
        }
        Behind::Words(words) => {
            let mut request = [0; 4096];
            let _head = stream.read(&mut request).await?;
            stream.write_all(words.as_bytes()).await?;
            stream.shutdown().await?;
        }
        Behind::Silence => {
            let mut request = [0; 4096];
            while stream.read(&mut request).await? > 0 {}
        }
    }
    Ok(())
}
