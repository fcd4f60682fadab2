//! STARTTLS, TLS from the first octet, AUTH: what goes wrong, and what is not said before.

use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;

use super::*;
use crate::smtp::client::script;
use crate::tls::{Protocol, Trust, client_config, unverified_config};

const OFFER: &str = "S: 220 x\nC: EHLO gateway.example\nS: 250-up.example\nS: 250-AUTH PLAIN\nS: 250 STARTTLS\n";
const ASK: &str = "C: STARTTLS\n";

fn with(protection: Protection) -> Settings {
    let login = Some(Arc::new(Login::new("user".to_owned(), "secret".to_owned())));
    Settings { protection, login, ..settings() }
}

fn any() -> Arc<tokio_rustls::rustls::ClientConfig> {
    unverified_config().unwrap()
}

#[tokio::test]
async fn whatever_came_in_clear_behind_the_220_ends_the_session() {
    for injected in ["250 AUTH PLAIN\\r\\n", "2", "\\r\\n"] {
        let upstream = Upstream::play(&[&format!("{OFFER}{ASK}RAW: 220 go\\r\\n{injected}\nSTALL")]).await;
        let error = open_with(&upstream, &with(Protection::StartTls(any()))).await.unwrap_err();
        assert!(matches!(error, ClientError::OutOfStep { stage: Stage::Tls, .. }), "{injected}: {error}");
    }
}

#[tokio::test]
async fn without_tls_where_it_is_required_nothing_more_is_said() {
    let plain = "S: 220 x\nC: EHLO\nS: 250-up.example\nS: 250 AUTH PLAIN\n";
    let helo = "S: 220 x\nC: EHLO\nS: 502 what\nC: HELO\nS: 250 up.example\n";
    for (script, expected) in [
        (plain.to_owned(), "starttls-not-supported"),
        (helo.to_owned(), "starttls-not-supported"),
        (format!("{OFFER}{ASK}S: 454 4.7.0 not now\n"), "starttls-not-supported"),
        (format!("{OFFER}{ASK}S: 220 go\nEAT: 20\nRAW: HTTP/1.1 400 what\\r\\n\n"), "validation-failure"),
        (format!("{OFFER}{ASK}S: 220 go\nEAT: 20\n"), "validation-failure"),
    ] {
        let upstream = Upstream::play(&[&script]).await;
        let error = open_with(&upstream, &with(Protection::StartTls(any()))).await.unwrap_err();
        let ClientError::Tls(fault) = &error else { panic!("{script}: {error}") };
        assert_eq!(fault.as_str(), expected, "{script}");
        assert!(upstream.heard().await.iter().all(|line| !line.starts_with("AUTH")), "{script}");
    }
}

#[tokio::test]
async fn opportunistic_tls_that_fails_is_left_out_but_not_where_a_password_is_to_be_said() {
    let broken = format!("{OFFER}{ASK}S: 220 go\nEAT: 20\n");
    let clear = "S: 220 x\nC: EHLO\nS: 250-up.example\nS: 250 STARTTLS\nC: QUIT\nS: 221 bye";
    let upstream = Upstream::play(&[&broken, clear]).await;
    let without = Settings { protection: Protection::Opportunistic(any()), ..settings() };
    let mut session = open_with(&upstream, &without).await.unwrap();
    assert_eq!(session.protected(), None);
    assert_eq!(session.take_unprotected().unwrap().as_str(), "validation-failure");
    session.quit().await;
    upstream.heard().await;

    let upstream = Upstream::play(&[&broken]).await;
    let error = open_with(&upstream, &with(Protection::Opportunistic(any()))).await.unwrap_err();
    assert!(matches!(error, ClientError::Tls(_)), "{error}");
    upstream.heard().await;
}

/// AUTH in the ways in which upstreams ask for it. The peer is this machine, so no TLS is needed.
#[tokio::test]
async fn plain_is_said_at_once_and_login_in_steps() {
    let hello = "S: 220 x\nC: EHLO\nS: 250-x\nS: 250 AUTH";
    let plain = "C: AUTH PLAIN AHVzZXIAc2VjcmV0\n";
    let login = "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: dXNlcg==\nS: 334 UGFzc3dvcmQ6\nC: c2VjcmV0\n";
    let good = [
        format!("{hello} LOGIN PLAIN\n{plain}S: 235 2.7.0 in\nSTALL"),
        format!("{hello} LOGIN\n{login}S: 235 in\nSTALL"),
    ];
    for script in good {
        let upstream = Upstream::play(&[&script]).await;
        open_with(&upstream, &with(Protection::Clear)).await.unwrap();
    }
    let bad = [
        (format!("{hello} PLAIN\n{plain}S: 535 5.7.8 no\n"), "refused our user name and password: 535"),
        (format!("{hello} LOGIN\nC: AUTH LOGIN\nS: 534 5.7.9 weak\n"), "refused our user name and password: 534"),
        (format!("{hello} PLAIN\n{plain}S: 454 4.7.0 later\n"), "refused the session at AUTH: 454"),
        (format!("{hello} PLAIN\n{plain}S: 421 busy\n"), "closes the session at AUTH"),
        (format!("{hello} PLAIN\n{plain}S: 334 more\n"), "protocol error at AUTH"),
        (format!("{hello} PLAIN\n{plain}S: 250 what\n"), "protocol error at AUTH"),
        (format!("{hello} GSSAPI\nSTALL"), "neither AUTH PLAIN nor AUTH LOGIN"),
    ];
    for (script, expected) in bad {
        let upstream = Upstream::play(&[&script]).await;
        let error = open_with(&upstream, &with(Protection::Clear)).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{script}: {error}");
    }
}

#[tokio::test]
async fn an_upstream_that_bears_our_own_name_is_a_circle() {
    for script in [
        "S: 220 x\nC: EHLO\nS: 250-Gateway.Example hello\nS: 250 SIZE\n",
        "S: 220 x\nC: EHLO\nS: 250 gateway.example\n",
    ] {
        let upstream = Upstream::play(&[script]).await;
        let error = open(&upstream).await.unwrap_err();
        assert!(matches!(error, ClientError::Loop(_)), "{error}");
    }
}

/// A server with a certificate for `localhost` that takes one message: TLS at once, or after STARTTLS.
async fn tls_upstream(implicit: bool) -> (u16, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            if !implicit {
                let mut line = String::new();
                stream.write_all(b"220 x\r\n").await.unwrap();
                stream.read_line(&mut line).await.unwrap();
                stream.write_all(b"250-up.example\r\n250 STARTTLS\r\n").await.unwrap();
                stream.read_line(&mut line).await.unwrap();
                stream.write_all(b"220 go\r\n").await.unwrap();
            }
            // Whether the client believes the certificate is for it to say.
            if let Ok(stream) = acceptor.accept(stream.into_inner()).await {
                tokio::spawn(script::take_all(stream, Arc::default(), if implicit { "220 x\r\n" } else { "" }));
            }
        }
    });
    (port, cert.pem())
}

#[tokio::test]
async fn a_verified_session_carries_a_large_message_and_a_wrong_name_or_root_gives_none() {
    let folder = tempfile::tempdir().unwrap();
    for implicit in [false, true] {
        let (port, pem) = tls_upstream(implicit).await;
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, pem).unwrap();
        let trusted = client_config(&Trust::File(path), Protocol::Smtp).unwrap();
        let protect = |config| if implicit { Protection::Implicit(config) } else { Protection::StartTls(config) };
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let to = |name: &str| Target::new(name, [address]);
        let verified = Settings { protection: protect(Arc::clone(&trusted)), ..settings() };
        let mut session = Session::open(&to("localhost"), &verified, 0).await.unwrap();
        let protected = session.protected().unwrap();
        assert_eq!((protected.version, protected.cipher), ("TLSv1.3", "TLS_AES_256_GCM_SHA384"));
        let large = message(&"a line of some length\r\n".repeat(50_000));
        assert!(send(&mut session, &large).await.unwrap().code().is_success());
        let (_file, from_file) = file_message("another line\r\n".repeat(50_000).as_bytes());
        assert!(send(&mut session, &from_file).await.unwrap().code().is_success());
        session.quit().await;

        let error = Session::open(&to("other.example"), &verified, 0).await.unwrap_err();
        assert!(matches!(&error, ClientError::Tls(fault) if fault.as_str() == "certificate-host-mismatch"), "{error}");
        let (_, foreign) = tls_upstream(implicit).await;
        std::fs::write(folder.path().join("foreign.pem"), foreign).unwrap();
        let foreign = client_config(&Trust::File(folder.path().join("foreign.pem")), Protocol::Smtp).unwrap();
        let untrusting = Settings { protection: protect(foreign), ..settings() };
        let error = Session::open(&to("localhost"), &untrusting, 0).await.unwrap_err();
        assert!(matches!(&error, ClientError::Tls(fault) if fault.as_str() == "certificate-not-trusted"), "{error}");
        let careless = Settings { protection: protect(any()), ..settings() };
        assert!(Session::open(&to("other.example"), &careless, 0).await.unwrap().protected().is_some());
    }
}
