//! The way to the servers: encrypted, with a user who may do no more than the manual says, and with nobody else.

use std::net::TcpListener;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::conformance::{GatewayFolder, conforms, redis_at};
use super::*;

/// Makes an authority and a certificate for loopback in `folder`.
fn certificates(folder: &Path) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    std::fs::write(folder.join("ca.pem"), issuer.pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

fn secret(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// The words that the manual gives the user, for the password `secret`.
fn documented_rights() -> Vec<String> {
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/redis.md");
    let text = std::fs::read_to_string(manual).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("user consentry ")).expect("the manual names the rights");
    line.replace(">PASSWORD", ">secret").split(' ').map(str::to_owned).collect()
}

#[test]
fn the_rights_of_the_manual_suffice_over_tls_and_nobody_else_gets_in_or_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let server = RedisServer::start(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &file("cert.pem"),
        "--tls-key-file",
        &file("key.pem"),
        "--tls-ca-cert-file",
        &file("ca.pem"),
        "--tls-auth-clients",
        "no",
    ]);
    let rights = documented_rights();
    let words: Vec<&str> =
        ["ACL", "SETUSER", "consentry", "reset"].into_iter().chain(rights.iter().map(String::as_str)).collect();
    assert_eq!(server.command(&words), "OK");
    let at = |prefix: &str| RedisSettings {
        security: Security::Tls { roots: Some(folder.path().join("ca.pem")) },
        user: Some("consentry".to_owned()),
        password_file: Some(secret(folder.path(), "password", "secret\n")),
        ..redis_at(port, &format!("consentry:{prefix}"))
    };
    conforms(at);
    let gateway = GatewayFolder::new();
    let create = |redis: &RedisSettings| Store::create_fleet(redis, &gateway.settings, 1).unwrap_err();
    let wrong_password = RedisSettings { password_file: Some(secret(folder.path(), "wrong", "guess\n")), ..at("a:") };
    assert!(matches!(create(&wrong_password), StoreError::Away { .. }));
    let strangers = tempfile::tempdir().unwrap();
    certificates(strangers.path());
    let roots = Some(strangers.path().join("ca.pem"));
    let wrong_roots = RedisSettings { security: Security::Tls { roots }, ..at("a:") };
    assert!(matches!(create(&wrong_roots), StoreError::Away { .. }));
    let plain = RedisSettings { security: Security::Plain, ..at("a:") };
    assert!(matches!(create(&plain), StoreError::Away { .. }));
    let elsewhere = RedisSettings { prefix: "other:".to_owned(), ..at("a:") };
    assert!(matches!(create(&elsewhere), StoreError::Away { .. }), "keys of others are out of reach");
}

#[test]
fn a_password_that_everybody_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = secret(folder.path(), "password", "secret\n");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o604)).unwrap();
    let redis = RedisSettings { password_file: Some(path), ..redis_at(1, "c:") };
    let refused = Store::create_fleet(&redis, &GatewayFolder::new().settings, 1);
    assert!(matches!(refused, Err(StoreError::KeyUnfit { .. })), "{refused:?}");
}
