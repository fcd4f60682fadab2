//! LM-08, LM-09, TL-11 and our own: whoever takes too long, comes too often or takes too much, and those who do not.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use consentry::time::Timestamp;

use super::{MESSAGE, SHOP, from, secured};
use crate::support::gateway::{command, free_port, resident};
use crate::support::{Authority, Client, Gateway, PATIENCE, Spec, Upstream, eventually};

#[test]
fn rates_let_a_burst_through_and_then_say_how_long_to_wait() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, authority) = (Upstream::start(), Authority::new(folder.path()));
    let rates = "proxy_protocol_from = [\"127.0.0.1\"]\nauth_without_tls = true\n[smtp.rates]\n\
                 credential_messages = { per_minute = 1, burst = 2 }\naddress_recipients = { per_minute = 1, burst = 3 }";
    let (gateway, _) = secured(folder.path(), &upstream, &authority, rates);
    let login = |address: &str| {
        let mut client = from(address, gateway.smtp);
        assert!(client.say(SHOP).starts_with("235"));
        client
    };
    let mut client = login("198.51.100.7");
    let to = ["a@customer.example", "b@customer.example"];
    let (replies, end) = client.message("news@acme.example", &to, MESSAGE);
    assert!(replies.iter().all(|reply| reply.starts_with("250")) && end.unwrap().starts_with("250"));
    let (replies, _) = client.message("news@acme.example", &to, MESSAGE);
    assert!(replies[0].starts_with("250"), "{replies:?}");
    assert!(replies[1].starts_with("451 4.7.1 too many recipients from this client; try again in "), "{replies:?}");
    // Another address has its own recipients; the credential's messages are used up everywhere.
    let told = login("198.51.100.8").say("MAIL FROM:<news@acme.example>");
    assert!(told.starts_with("451 4.7.1 too many messages from this client; try again in "), "{told}");
}

#[test]
fn lm_09_out_of_descriptors_the_excess_waits_and_the_loop_neither_ends_nor_spins() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let (smtp, http) = (free_port(), free_port());
    std::fs::write(folder.path().join("consentry.toml"), Spec::new(upstream.address).text(smtp, http)).unwrap();
    let serve = format!("ulimit -n 64; exec {} serve", env!("CARGO_BIN_EXE_consentry"));
    let mut child = Command::new("bash")
        .args(["-c", &serve])
        .env("CONSENTRY_DATA", folder.path())
        .env("CONSENTRY_LOG", "warn")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("the gateway", || TcpStream::connect(smtp).ok());
    let crowd: Vec<_> = (0..100).map(|_| TcpStream::connect(smtp).unwrap()).collect();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("cannot accept a connection") {
        line.clear();
        assert_ne!(errors.read_line(&mut line).unwrap(), 0, "the descriptors sufficed");
    }
    // Ten more tries to accept, each of which fails at once: without a pause they would take no time at all. When each was, its
    // own line says; we may come to read them late.
    let said_at = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        Timestamp::parse(line["timestamp"].as_str().unwrap()).unwrap().as_millis()
    };
    let start = said_at(&line);
    for _ in 0..10 {
        line.clear();
        assert_ne!(errors.read_line(&mut line).unwrap(), 0, "the gateway ended");
    }
    assert!(said_at(&line) - start >= 500, "the loop spins");
    std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
    drop(crowd);
    // The store may have wanted a descriptor meanwhile, and says 451 until it has looked again.
    eventually("a message to be taken", || {
        let mut client = Client::raw(smtp);
        let inside = client.reply().starts_with("220") && client.say("EHLO c").starts_with("250");
        let (_, end) = client.message("news@acme.example", &["ann@customer.example"], MESSAGE);
        (inside && end.is_some_and(|end| end.starts_with("250"))).then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

/// How many clients take their time, and how many do nothing: for the full run set `CONSENTRY_CROWD=10000,5000`.
fn crowd() -> (usize, usize) {
    let chosen = std::env::var("CONSENTRY_CROWD").ok();
    let parsed =
        chosen.as_deref().and_then(|text| text.split_once(',')).map(|(slow, idle)| (slow.parse(), idle.parse()));
    match parsed {
        Some((Ok(slow), Ok(idle))) => (slow, idle),
        Some(_) => panic!("expected CONSENTRY_CROWD=SLOW,IDLE"),
        None => (400, 200),
    }
}

/// Resident memory and open descriptors of a process.
fn footprint(gateway: &Gateway) -> (u64, usize) {
    (resident(gateway.id()) / 1024, std::fs::read_dir(format!("/proc/{}/fd", gateway.id())).unwrap().count())
}

/// A client that has sent half a message and goes on with an octet now and then.
fn slow(address: SocketAddr, number: usize) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut expect = |code: &str| {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert!(line.starts_with(code), "slow client {number}: {line}");
    };
    expect("220");
    stream.write_all(b"HELO slow\r\n").unwrap();
    expect("250");
    // Half of them drip into a command, half into a message.
    if number.is_multiple_of(2) {
        stream.write_all(b"MAIL FROM:<a@acme.example>\r\nRCPT TO:<b@customer.example>\r\nDATA\r\n").unwrap();
        (0..2).for_each(|_| expect("250"));
        expect("354");
    }
    stream.write_all(b"S").unwrap();
    stream
}

#[test]
fn lm_08_a_crowd_of_slow_and_idle_clients_does_not_keep_a_normal_one_waiting() {
    let (slow_ones, idle_ones) = crowd();
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let mut spec = Spec::new(upstream.address);
    spec.smtp =
        "max_connections = 20000\nmax_connections_per_address = 20000\nmax_memory_octets = 2147483648".to_owned();
    let gateway = Gateway::start(folder.path(), &spec);
    let before = footprint(&gateway);
    let mut dripping: Vec<_> = (0..slow_ones).map(|number| slow(gateway.smtp, number)).collect();
    let idle: Vec<_> = (0..idle_ones).map(|_| TcpStream::connect(gateway.smtp).unwrap()).collect();
    eventually("everybody inside", || (footprint(&gateway).1 >= slow_ones + idle_ones).then_some(()));
    let full = footprint(&gateway);
    let (mut times, mut cut_off) = (Vec::new(), 0);
    for round in 0..50 {
        for stream in &mut dripping {
            // On a slow machine a minute passes, and whoever drips has been cut off by then.
            cut_off += usize::from(stream.write_all(b"x").is_err());
        }
        let start = Instant::now();
        let mut client = Client::connect(gateway.smtp);
        let to = format!("ann{round}@customer.example");
        let (_, end) = client.message("news@acme.example", &[&to], MESSAGE);
        assert!(end.unwrap().starts_with("250"));
        times.push(start.elapsed());
    }
    times.sort();
    let after = footprint(&gateway);
    println!(
        "{slow_ones} slow and {idle_ones} idle clients: a normal message takes {:?} (median), {:?} (worst of 50); \
         resident {} KiB and {} descriptors before, {} and {} with the crowd, {} and {} after 50 octets of each, {cut_off} of which came too late",
        times[times.len() / 2],
        times[times.len() - 1],
        before.0,
        before.1,
        full.0,
        full.1,
        after.0,
        after.1
    );
    // Flat: what drips in does not add up. A hundred octets for each of them would be much.
    assert!(after.0 <= full.0 + 8 * 1024 + u64::try_from(slow_ones).unwrap() * 2, "{full:?} {after:?}");
    eventually("fifty deliveries", || (upstream.received().len() == 50).then_some(()));
    drop((dripping, idle));
}

/// A gateway that the first connection to one of `listen` starts.
fn activated(folder: &Path, listen: &[SocketAddr], names: &str) -> Child {
    Command::new("systemd-socket-activate")
        .args(listen.iter().map(|address| format!("--listen={address}")))
        .arg(format!("--fdname={names}"))
        .arg(format!("--setenv=CONSENTRY_DATA={}", folder.display()))
        .arg("--setenv=CONSENTRY_LOG=warn")
        .args([env!("CARGO_BIN_EXE_consentry"), "serve"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn nobody_is_let_in_by_a_gateway_that_cannot_open_every_door() {
    let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    // Somebody else has the address of the last door.
    let (taken, smtp) = (TcpListener::bind("127.0.0.1:0").unwrap(), free_port());
    let text = Spec::new(upstream.address).text(free_port(), taken.local_addr().unwrap());
    std::fs::write(folder.path().join("consentry.toml"), text).unwrap();
    let mut child = activated(folder.path(), &[smtp], "smtp");
    let mut first = eventually("a socket", || TcpStream::connect(smtp).ok());
    first.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut greeting = Vec::new();
    let _reset = first.read_to_end(&mut greeting);
    assert!(!child.wait().unwrap().success());
    assert!(greeting.is_empty(), "{}", String::from_utf8_lossy(&greeting));
}

#[test]
fn sockets_of_systemd_are_served_by_the_name_of_their_door() {
    let folder = tempfile::tempdir().unwrap();
    let (upstream, authority) = (Upstream::start(), Authority::new(folder.path()));
    let (mut gateway, configured) = secured(folder.path(), &upstream, &authority, "");
    assert_eq!(gateway.stop(), Some(0));
    let (smtp, smtps) = (free_port(), free_port());
    let start = |names: &str| activated(folder.path(), &[smtp, smtps], names);
    let mut child = start("smtp:smtps");
    // The first connection starts the gateway, and waits in the queue meanwhile.
    let mut first = eventually("a socket", || TcpStream::connect(smtp).ok());
    first.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut greeting = [0; 4];
    first.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"220 ");
    let mut secure = Client::connect_tls(smtps, &authority.trust());
    let (_, end) = secure.message("news@acme.example", &["ann@customer.example"], MESSAGE);
    assert!(end.unwrap().starts_with("250"));
    for address in [gateway.smtp, configured] {
        assert!(TcpStream::connect(address).is_err(), "{address}: configured, and not opened beside the sockets");
    }
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    let mut child = start("smtp:imap");
    let _wakes = eventually("a socket", || TcpStream::connect(smtp).ok());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("socket `imap` of systemd") && !child.wait().unwrap().success(), "{said}");
    assert!(!command(folder.path()).arg("queue").output().unwrap().status.success(), "nothing runs");
}
