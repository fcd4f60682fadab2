//! TL-01 to TL-12: STARTTLS and implicit TLS.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;

use tokio_rustls::rustls::HandshakeKind;

use super::{MESSAGE, SHOP, reconfigured, rewrite, secured, strangers};
use crate::support::client::{GATEWAY, stuffed};
use crate::support::{Authority, Client, Gateway, PATIENCE, Upstream, eventually};

struct Scene {
    // Dropped first: the gateway writes into the folder.
    gateway: Gateway,
    upstream: Upstream,
    authority: Authority,
    tls: SocketAddr,
    _folder: tempfile::TempDir,
}

fn scene() -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, authority) = (Upstream::start(), Authority::new(folder.path()));
    let (gateway, tls) = secured(folder.path(), &upstream, &authority, "");
    Scene { gateway, upstream, authority, tls, _folder: folder }
}

/// Everything that comes until the connection ends.
fn rest(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut octets = Vec::new();
    // A reset is an end, too.
    let _reset = stream.read_to_end(&mut octets);
    String::from_utf8_lossy(&octets).into_owned()
}

#[test]
fn starttls_and_implicit_tls_carry_a_message_and_say_so_in_received() {
    let scene = scene();
    let trust = scene.authority.trust();
    let mut clear = Client::connect(scene.gateway.smtp);
    assert!(clear.ask("EHLO c").contains(&"250-STARTTLS".to_owned()));
    let mut client = clear.start_tls(&trust);
    let offered = client.ask("EHLO c");
    assert!(!offered.iter().any(|line| line.contains("STARTTLS")), "{offered:?}");
    assert!(offered.iter().any(|line| line.starts_with("250-AUTH PLAIN LOGIN")), "{offered:?}");
    assert!(client.say(SHOP).starts_with("235"));
    let (_, end) = client.message("news@acme.example", &["ann@customer.example"], MESSAGE);
    assert!(end.unwrap().starts_with("250 2.0.0"));
    let mut client = Client::connect_tls(scene.tls, &trust);
    let (_, end) = client.message("news@acme.example", &["bea@customer.example"], MESSAGE);
    assert!(end.unwrap().starts_with("250 2.0.0"));
    eventually("two deliveries", || (scene.upstream.received().len() == 2).then_some(()));
    for message in scene.upstream.received().iter() {
        let with = if message.to == ["ann@customer.example"] { " with ESMTPSA " } else { " with ESMTPS " };
        assert!(message.fields("Received")[0].contains(with), "{:?}", message.fields("Received"));
    }
}

#[test]
fn tl_01_and_02_what_is_sent_along_with_starttls_is_never_read_as_if_it_came_under_tls() {
    let scene = scene();
    let noops = "NOOP\r\n".repeat(1000);
    for injected in ["MAIL FROM:<a@b.example>\r\n", "AUTH PLAIN AHUAcA==\r\n", "RSET\r\n", &noops, "EHL", "\r\n"] {
        let mut client = Client::connect(scene.gateway.smtp);
        client.send(format!("STARTTLS\r\n{injected}").as_bytes()).unwrap();
        let said = rest(&mut client.into_inner());
        assert!(said.starts_with("554 5.5.0 wait for the reply to STARTTLS") && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn tl_02_a_command_that_comes_instead_of_the_handshake_is_not_answered() {
    let scene = scene();
    let mut client = Client::connect(scene.gateway.smtp);
    assert!(client.say("STARTTLS").starts_with("220"));
    client.send(b"EHLO c\r\nMAIL FROM:<a@b.example>\r\n").unwrap();
    let said = rest(&mut client.into_inner());
    assert!(!said.contains("250"), "{said:?}");
}

#[test]
fn tl_03_nothing_is_carried_from_clear_into_tls() {
    let scene = scene();
    let trust = scene.authority.trust();
    let mut client = Client::connect(scene.gateway.smtp);
    assert!(client.say(SHOP).starts_with("235"), "loopback may use AUTH in clear");
    assert_eq!(client.say("STARTTLS"), "503 5.5.1 STARTTLS is not permitted now");
    let mut client = Client::connect(scene.gateway.smtp);
    assert!(client.say("MAIL FROM:<a@acme.example>").starts_with("250"));
    assert_eq!(client.say("STARTTLS"), "503 5.5.1 STARTTLS is not permitted now");
    assert_eq!(client.say("STARTTLS now"), "501 5.5.4 syntax error: this command takes no argument");
    assert!(client.say("RSET").starts_with("250"));
    let mut client = client.start_tls(&trust);
    assert_eq!(client.say("MAIL FROM:<a@acme.example>"), "503 5.5.1 send EHLO or HELO first");
    assert_eq!(client.say(SHOP), "503 5.5.1 AUTH is not permitted now");
    assert!(client.say("EHLO c").starts_with("250"));
    assert_eq!(client.say("STARTTLS"), "503 5.5.1 STARTTLS is not permitted now");
    let mut early = Client::raw(scene.gateway.smtp);
    early.reply();
    assert_eq!(early.say("STARTTLS"), "503 5.5.1 STARTTLS is not permitted now");
}

#[test]
fn tl_04_the_word_elsewhere_is_not_the_command() {
    let scene = scene();
    let mut client = Client::connect(scene.gateway.smtp);
    let content = [MESSAGE, b"STARTTLS\r\n"].concat();
    let (replies, end) = client.message("news@acme.example", &["starttls@customer.example"], &content);
    assert!(replies[0].starts_with("250") && end.unwrap().starts_with("250"));
    let got = eventually("delivery", || scene.upstream.received().first().cloned());
    assert!(got.content.ends_with(b"Hello\r\nSTARTTLS\r\n") && got.to == ["starttls@customer.example"]);
}

#[test]
fn tl_08_the_end_of_tls_is_the_end_of_the_connection() {
    let scene = scene();
    let mut client = Client::connect_tls(scene.tls, &scene.authority.trust());
    for line in ["MAIL FROM:<a@acme.example>", "RCPT TO:<ann@customer.example>", "DATA"] {
        assert!(client.say(line).starts_with(['2', '3']), "{line}");
    }
    client.send(MESSAGE).unwrap();
    let tls = client.tls();
    tls.conn.send_close_notify();
    tls.flush().unwrap();
    // In clear, what would end the message.
    tls.sock.write_all(b"\r\n.\r\n").unwrap();
    rest(&mut tls.sock);
    let mut next = Client::connect(scene.gateway.smtp);
    assert!(next.message("a@acme.example", &["bea@customer.example"], MESSAGE).1.unwrap().starts_with("250"));
    eventually("the second message", || (!scene.upstream.received().is_empty()).then_some(()));
    assert_eq!(scene.upstream.forward_paths(), ["bea@customer.example"]);
}

#[test]
fn tl_09_a_connection_cut_after_the_dot_leaves_the_message_and_before_it_nothing() {
    let scene = scene();
    let trust = scene.authority.trust();
    for (to, content) in [("before@customer.example", MESSAGE.to_vec()), ("after@customer.example", stuffed(MESSAGE))] {
        let mut client = Client::connect_tls(scene.tls, &trust);
        for line in ["MAIL FROM:<a@acme.example>", &format!("RCPT TO:<{to}>"), "DATA"] {
            assert!(client.say(line).starts_with(['2', '3']), "{line}");
        }
        client.send(&content).unwrap();
        client.tls().sock.shutdown(std::net::Shutdown::Write).unwrap();
        rest(&mut client.tls().sock);
    }
    eventually("the message that ended", || (!scene.upstream.received().is_empty()).then_some(()));
    assert_eq!(scene.upstream.forward_paths(), ["after@customer.example"]);
}

#[test]
fn tl_10_a_session_that_is_resumed_elsewhere_proves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, authority) = (Upstream::start(), Authority::new(folder.path()));
    let (gateway, tls) = secured(folder.path(), &upstream, &authority, "");
    let gateway = reconfigured(gateway, |text| strangers(&text));
    let trust = authority.trust();
    let mut first = Client::connect(gateway.smtp).start_tls(&trust);
    assert!(first.say("EHLO c").starts_with("250"));
    assert!(first.say(SHOP).starts_with("235"));
    assert!(first.say("QUIT").starts_with("221"));
    // The same configuration remembers the session and offers to go on with it.
    let mut second = Client::connect_tls(tls, &trust);
    assert_eq!(second.say("MAIL FROM:<a@acme.example>"), "530 5.7.0 authentication required");
    assert_eq!(second.tls().conn.handshake_kind(), Some(HandshakeKind::Resumed), "else this shows nothing");
}

/// One handshake by OpenSSL; what it says, and whether it got through.
fn openssl(address: SocketAddr, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string(), "-servername", GATEWAY])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    (output.status.success(), said)
}

#[test]
fn tl_11_old_versions_and_weak_suites_are_refused_and_new_ones_taken() {
    let scene = scene();
    let plain = ["-starttls", "smtp"];
    for (address, start) in [(scene.tls, &[][..]), (scene.gateway.smtp, &plain[..])] {
        for (version, shown) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
            let (taken, said) = openssl(address, &[start, &[version]].concat());
            assert!(taken && said.contains(shown) && said.contains("Compression: NONE"), "{version}: {said}");
            assert!(said.contains("Secure Renegotiation IS") || version == "-tls1_3", "{said}");
        }
        for version in ["-tls1", "-tls1_1"] {
            let weak = [start, &[version, "-cipher", "ALL:@SECLEVEL=0"]].concat();
            assert!(!openssl(address, &weak).0, "{version}");
        }
        for suite in ["AES128-SHA", "ECDHE-RSA-AES128-SHA", "ECDHE-ECDSA-AES128-SHA", "AES256-GCM-SHA384"] {
            let suite = format!("{suite}:@SECLEVEL=0");
            let weak = [start, &["-tls1_2", "-cipher", &suite]].concat();
            assert!(!openssl(address, &weak).0, "{suite}");
        }
    }
}

#[test]
fn tl_12_a_new_certificate_counts_from_the_next_handshake_and_a_broken_one_never() {
    let scene = scene();
    let trust = scene.authority.trust();
    let shown = || {
        let mut client = Client::connect_tls(scene.tls, &trust);
        client.tls().conn.peer_certificates().unwrap()[0].clone().into_owned()
    };
    let old = scene.authority.certificate("gate");
    assert_eq!(shown(), old);
    let mut open = Client::connect_tls(scene.tls, &trust);
    scene.authority.issue("gate", GATEWAY);
    scene.gateway.signal("HUP");
    let new = scene.authority.certificate("gate");
    eventually("the new certificate", || (shown() == new).then_some(()));
    assert!(open.say("NOOP").starts_with("250"), "a session under way goes on");
    std::fs::write(scene.gateway.folder.join("gate.key"), "broken").unwrap();
    rewrite(&scene.gateway.folder, |text| strangers(&text));
    scene.gateway.signal("HUP");
    // The reload as a whole is refused: the credential by address still counts.
    for _ in 0..20 {
        assert_eq!(shown(), new);
        let mut client = Client::connect(scene.gateway.smtp);
        assert!(client.say("MAIL FROM:<a@acme.example>").starts_with("250"));
    }
    assert!(!scene.gateway.run(&["check"]).status.success());
}

#[test]
fn a_certificate_of_a_client_is_a_credential_when_its_fingerprint_is_known_and_its_key_held() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, authority) = (Upstream::start(), Authority::new(folder.path()));
    for name in ["known", "other"] {
        authority.issue(name, "tool.acme.example");
    }
    let fingerprint = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(folder.path().join("known.pem"))
        .output()
        .unwrap();
    let fingerprint = String::from_utf8(fingerprint.stdout).unwrap();
    let fingerprint = fingerprint.trim().rsplit_once('=').unwrap().1.to_owned();
    let (gateway, tls) = secured(folder.path(), &upstream, &authority, "");
    let gateway = reconfigured(gateway, |text| {
        strangers(&text)
            + &format!(
                "[[credential]]\nname = \"machine\"\nstream = \"receipts\"\nclient_certificate_sha256 = \"{fingerprint}\"\n"
            )
    });
    let answer = |trust: &Arc<_>| {
        let implicit = Client::connect_tls(tls, trust).say("MAIL FROM:<a@acme.example>");
        let mut started = Client::connect(gateway.smtp).start_tls(trust);
        started.say("EHLO c");
        assert_eq!(started.say("MAIL FROM:<a@acme.example>"), implicit);
        implicit
    };
    assert_eq!(answer(&authority.trust_showing("known")), "250 2.1.0 Ok");
    assert_eq!(answer(&authority.trust_showing("other")), "530 5.7.0 authentication required");
    assert_eq!(answer(&authority.trust()), "530 5.7.0 authentication required");
}
