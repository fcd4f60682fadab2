//! What a user of Postfix does: `postmap lmdb:` and `check_recipient_access`, beside the embedded store, asked by one client through a
//! real `smtpd` and through us. In full, for `docs/explanation/performance.md`: `CONSENTRY_SIDE_BY_SIDE=1000000
//! CONSENTRY_BINARY=target/release/consentry cargo test --test it side_by_side -- --nocapture`.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::gateway::command;
use crate::support::postfix::Postfix;
use crate::support::{Client, Gateway, Spec, Upstream};

/// People on the list, unless `CONSENTRY_SIDE_BY_SIDE` asks for figures.
const LISTED: usize = 2000;
/// Rounds of each, in turns, and recipients in a round: every other one is on the list.
const ROUNDS: usize = 5;
const RECIPIENTS: usize = 5000;
const FEW: usize = 200;
/// Recipients of one message, and one session for each message: fewer than either program's limits.
const TOGETHER: usize = 50;
/// Octets that LMDB may map: room for some million entries.
const MAP_SIZE: u64 = 1 << 30;

fn listed() -> usize {
    std::env::var("CONSENTRY_SIDE_BY_SIDE")
        .map_or(LISTED, |text| text.parse().expect("CONSENTRY_SIDE_BY_SIDE=ADDRESSES"))
}

/// How long each recipient took, from the command to its reply.
fn ask(server: SocketAddr, round: usize, recipients: usize, listed: usize) -> Vec<Duration> {
    let mut times = Vec::with_capacity(recipients);
    let numbers: Vec<usize> = (0..recipients).collect();
    for some in numbers.chunks(TOGETHER) {
        let mut client = Client::connect(server);
        assert!(client.say("MAIL FROM:<b@acme.example>").starts_with("250"));
        for number in some {
            // Scattered over the whole list, others in each round.
            let person = (number + round * recipients).wrapping_mul(2_654_435_761) % listed;
            let (name, expected) = if number % 2 == 0 { ("person", "550") } else { ("stranger", "250") };
            let start = Instant::now();
            let reply = client.say(&format!("RCPT TO:<{name}{person}@postfix.example>"));
            times.push(start.elapsed());
            assert!(reply.starts_with(expected), "{name}{person}: {reply}");
        }
        client.say("QUIT");
    }
    times
}

fn rate(times: &[Duration]) -> f64 {
    let count = u32::try_from(times.len()).unwrap();
    f64::from(count) / times.iter().sum::<Duration>().as_secs_f64()
}

fn spread(times: &[Duration]) -> String {
    let mut times = times.to_vec();
    times.sort_unstable();
    let micros = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_micros();
    format!("{:.0} a second, median {} us, p99 {} us", rate(&times), micros(50), micros(99))
}

#[test]
fn the_same_list_and_the_same_recipients_by_postfix_and_by_us() {
    let listed = listed();
    let recipients = if listed > LISTED { RECIPIENTS } else { FEW };
    let upstream = Upstream::start();
    let lists = tempfile::tempdir().unwrap();
    let path = |name: &str| lists.path().join(name).display().to_string();
    let (mut plain, mut table) = (String::new(), String::new());
    for number in 0..listed {
        writeln!(plain, "person{number}@postfix.example").unwrap();
        writeln!(table, "person{number}@postfix.example 550 5.7.1 opted out").unwrap();
    }
    std::fs::write(path("list.txt"), plain).unwrap();
    std::fs::write(path("access"), table).unwrap();
    std::fs::set_permissions(lists.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let start = Instant::now();
    // A configuration of its own: that of an installed Postfix may be missing.
    std::fs::write(path("main.cf"), format!("compatibility_level = 3.6\nlmdb_map_size = {MAP_SIZE}\n")).unwrap();
    let table = format!("lmdb:{}", path("access"));
    let made = Command::new("postmap").arg("-c").arg(lists.path()).arg(&table).output().expect("postmap");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    println!("postmap: {listed} in {:.1} s", start.elapsed().as_secs_f64());
    // Many errors in one session and messages that are given up are this test's doing: Postfix would slow both down on purpose.
    let postfix = Postfix::start_with(
        upstream.address,
        &format!(
            "smtpd_recipient_restrictions = check_recipient_access {table}\nsmtpd_soft_error_limit = 1000\n\
             smtpd_hard_error_limit = 1000\nin_flow_delay = 0\nlmdb_map_size = {MAP_SIZE}\n"
        ),
    );
    let folder = tempfile::tempdir().unwrap();
    Gateway::configure(folder.path(), &Spec::new(upstream.address));
    let start = Instant::now();
    let list = path("list.txt");
    let imported = command(folder.path()).args(["suppress", "import", &list]).output().unwrap();
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    println!("consentry: {listed} in {:.1} s", start.elapsed().as_secs_f64());
    let gateway = Gateway::restart_there(folder.path());
    let smtpd = SocketAddr::from(([127, 0, 0, 1], postfix.exchange));
    let (mut theirs, mut ours, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let postfix = ask(smtpd, round, recipients, listed);
        let consentry = ask(gateway.smtp, round, recipients, listed);
        println!("round {round}: postfix {}; consentry {}", spread(&postfix), spread(&consentry));
        ratios.push(rate(&consentry) / rate(&postfix));
        theirs.extend(postfix);
        ours.extend(consentry);
    }
    ratios.sort_by(f64::total_cmp);
    println!("postfix, all rounds: {}", spread(&theirs));
    println!("consentry, all rounds: {}", spread(&ours));
    println!("recipients a second, ours by theirs in each round: {ratios:.2?}");
    assert!(upstream.forward_paths().is_empty(), "nobody was sent anything");
}
