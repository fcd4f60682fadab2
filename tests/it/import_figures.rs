//! A long list beside mail: what it costs in time and memory, what mail and opt-outs wait for it, and that SIGKILL in its middle,
//! importing it again and taking it back leave the store as it was. In full, for `docs/explanation/performance.md`:
//! `CONSENTRY_IMPORT=10000000 CONSENTRY_BINARY=target/release/consentry cargo test --test it import_figures -- --nocapture`, of one
//! store alone with `import_figures::embedded` or `import_figures::redis`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::redis::spec_at;
use crate::support::gateway::{Gateway, command};
use crate::support::redis_server::RedisServer;
use crate::support::{Client, Spec, Upstream, eventually};
use crate::way_through::request;

const MESSAGE: &[u8] = b"From: News <news@acme.example>\r\nSubject: hello\r\n\r\nHello\r\n";
/// Rows, unless `CONSENTRY_IMPORT` asks for figures.
const ROWS: u32 = 4000;
/// Between two messages beside the import: mail that trickles shows what each one waits.
const PAUSE: Duration = Duration::from_millis(20);
/// One of so many recipients opts out at once, and so many do at most.
const OPT_OUT_EVERY: usize = 10;
const OPT_OUTS_MAX: usize = 200;
/// Rows that are put in order at once, unless figures are asked for: the list has some windows, and a window has some chunks.
const WINDOW: &str = "1500";
/// Resident memory that an import may take, whatever its length: pages of the database, a window of rows, and the program.
const PEAK_MAX: u64 = 200 << 20;

fn rows() -> u32 {
    std::env::var("CONSENTRY_IMPORT").map_or(ROWS, |text| text.parse().expect("CONSENTRY_IMPORT=ROWS"))
}

/// The arguments that import a file: in windows of the usual size when figures are asked for.
fn import<'a>(file: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let window: &[&str] = if std::env::var_os("CONSENTRY_IMPORT").is_some() { &[] } else { &["--window", WINDOW] };
    [&["suppress", "import", file], window, more].concat()
}

/// A plain list, in no order that the store could profit from.
fn list(folder: &Path, rows: u32) -> PathBuf {
    let path = folder.join("list.txt");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    for row in 0..rows {
        writeln!(file, "person{row}@d{}.example", row % 9973).unwrap();
    }
    file.into_inner().unwrap();
    path
}

fn said(folder: &Path, arguments: &[&str]) -> String {
    let output = command(folder).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// What was seen of one run of the program.
struct Ran {
    said: String,
    took: Duration,
    peak: u64,
}

/// Runs the program and watches its memory; `until` ends it early, by SIGKILL.
fn run(folder: &Path, arguments: &[&str], mut until: impl FnMut() -> bool) -> Ran {
    let start = Instant::now();
    let mut child = command(folder).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut peak = 0;
    let mut killed = false;
    while child.try_wait().unwrap().is_none() {
        peak = peak.max(high_water(child.id()).unwrap_or(0));
        if !killed && until() {
            child.kill().unwrap();
            killed = true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let took = start.elapsed();
    let output = child.wait_with_output().unwrap();
    assert!(killed || output.status.success(), "{arguments:?}");
    Ran { said: String::from_utf8(output.stdout).unwrap(), took, peak }
}

fn high_water(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

/// What mail and opt-outs waited.
#[derive(Default)]
struct Waited {
    messages: Vec<Duration>,
    opt_outs: Vec<Duration>,
    opted_out: Vec<String>,
}

/// Mail that trickles, and some who opt out by the link in it, until it is told to stop.
fn trickle(smtp: SocketAddr, http: SocketAddr, upstream: &Upstream, stop: &AtomicBool) -> Waited {
    let mut waited = Waited::default();
    let mut client = Client::connect(smtp);
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let to = format!("free{number}@b.example");
        let start = Instant::now();
        let (named, reply) = client.message("b@acme.example", &[&to], MESSAGE);
        assert!(reply.as_ref().is_some_and(|reply| reply.starts_with("250")), "{to}: {named:?} {reply:?}");
        waited.messages.push(start.elapsed());
        if number % OPT_OUT_EVERY == 0 && waited.opted_out.len() < OPT_OUTS_MAX {
            let link = eventually("the message", || {
                let received = upstream.received();
                let mine = received.iter().rev().find(|message| message.to == [to.clone()]);
                mine.map(|message| message.fields("List-Unsubscribe").remove(0))
            });
            let path = link.split_once("u.test.example").unwrap().1.split_once('>').unwrap().0.to_owned();
            let start = Instant::now();
            let answer = request(http, &format!("POST {path} HTTP/1.1"), "List-Unsubscribe=One-Click");
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            waited.opt_outs.push(start.elapsed());
            waited.opted_out.push(to);
        }
        std::thread::sleep(PAUSE);
    }
    waited
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: usize| times.get((times.len() * share / 100).min(times.len().saturating_sub(1)));
    let millis = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1e3);
    format!(
        "{} of them, median {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
        times.len(),
        millis(at(50)),
        millis(at(99)),
        millis(times.last())
    )
}

fn journal_octets(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder.join("imports")).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum()
}

fn a_long_list(what: &str, upstream: &Upstream, folder: &Path) {
    let rows = rows();
    let file = list(folder, rows);
    let file = file.to_str().unwrap();
    let gateway = Gateway::restart_there(folder);
    for n in 0..5 {
        said(folder, &["suppress", "add", &format!("before{n}@b.example"), "--reason", "unsubscribe"]);
    }
    let before = said(folder, &["store", "verify"]);
    assert!(before.contains("5 entries"), "{before}");
    let stop = Arc::new(AtomicBool::new(false));
    let trickling = {
        let (smtp, http, upstream, stop) = (gateway.smtp, gateway.http, upstream.clone(), Arc::clone(&stop));
        std::thread::spawn(move || trickle(smtp, http, &upstream, &stop))
    };
    // A line of the journal takes some 54 octets a row: half of the rows are in when it is half as long.
    let half = u64::from(rows) * 27;
    let killed = run(folder, &import(file, &[]), || journal_octets(folder) > half);
    let resumed = run(folder, &import(file, &["--resume"]), || false);
    let took = killed.took + resumed.took;
    stop.store(true, Ordering::SeqCst);
    let waited = trickling.join().unwrap();
    let behind: u32 =
        resumed.said.lines().find_map(|line| line.strip_prefix("goes on behind row ")).unwrap().parse().unwrap();
    assert!(behind > 0 && behind < rows, "{}", resumed.said);
    assert!(resumed.said.contains(&format!("{rows} new, 0 already there")), "{}", resumed.said);
    let rate = |took: Duration| f64::from(rows) / took.as_secs_f64();
    println!(
        "{what}: {rows} rows in {:.1} s ({:.0} a second), killed and gone on behind row {behind}, at most {} and {} MiB resident",
        took.as_secs_f64(),
        rate(took),
        killed.peak >> 20,
        resumed.peak >> 20
    );
    println!("{what}: mail beside it: {}", spread(waited.messages));
    println!("{what}: opt-outs beside it: {}", spread(waited.opt_outs));
    assert!(killed.peak.max(resumed.peak) < PEAK_MAX, "{} and {}", killed.peak, resumed.peak);

    let again = run(folder, &import(file, &[]), || false);
    assert!(again.said.contains(&format!("0 new, {rows} already there")), "{}", again.said);
    println!(
        "{what}: the same again in {:.1} s ({:.0} a second), nothing new",
        again.took.as_secs_f64(),
        rate(again.took)
    );
    for said in [&again.said, &resumed.said] {
        let id = said.lines().next().and_then(|line| line.strip_prefix("import ")).unwrap();
        let undone = run(folder, &["suppress", "undo", id, "--because", "wrong list"], || false);
        println!(
            "{what}: {} in {:.1} s ({:.0} a second), at most {} MiB",
            undone.said.trim(),
            undone.took.as_secs_f64(),
            rate(undone.took),
            undone.peak >> 20
        );
    }
    for address in &waited.opted_out {
        said(folder, &["suppress", "remove", address, "--because", "end of the test"]);
    }
    assert_eq!(said(folder, &["store", "verify"]), before, "the store is not as it was");
}

#[test]
fn embedded_takes_a_long_list_beside_mail() {
    let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    let spec = Spec::new(upstream.address);
    Gateway::configure(folder.path(), &spec);
    a_long_list("embedded", &upstream, folder.path());
}

#[test]
fn redis_takes_a_long_list_beside_mail() {
    let redis = RedisServer::start(&["--hash-max-listpack-entries", "512", "--hash-max-listpack-value", "256"]);
    let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    Gateway::configure(folder.path(), &spec_at(upstream.address, redis.port));
    said(folder.path(), &["store", "create", "--expect", &rows().to_string()]);
    a_long_list("redis", &upstream, folder.path());
}
