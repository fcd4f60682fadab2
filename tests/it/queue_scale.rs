//! A long queue: what it costs in memory, how soon it is there again after SIGKILL, how fast it goes out; and that nothing
//! of it is lost on the way. In full: `CONSENTRY_QUEUE=1000000 cargo test --release --test it queue_scale -- --nocapture`.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::gateway::{Gateway, command, resident};
use crate::support::{Client, Spec, eventually};

const CLIENTS: usize = 50;
/// Connections to the upstream, each with one message that may be sent again after a SIGKILL, and the settlements that wait
/// for the disk (`max_unsettled`).
const REPEATS_MAX: usize = 16 + 64;
/// Octets of resident memory that one more waiting copy may cost, and what the gateway has without any: its caches and what
/// the allocator keeps. The full run prints the figure.
const PER_COPY_MAX: u64 = 600;
const EMPTY_MAX: u64 = 400 * 1024 * 1024;

fn messages() -> usize {
    std::env::var("CONSENTRY_QUEUE").map_or(3000, |text| text.parse().expect("CONSENTRY_QUEUE=MESSAGES"))
}

/// A hundred domains take turns.
fn recipient(number: usize) -> String {
    format!("p{number}@d{}.example", number % 100)
}

fn content(number: usize) -> Vec<u8> {
    let mut text =
        format!("From: <n@acme.example>\r\nSubject: {number}\r\nMessage-ID: <{number}@scale.example>\r\n\r\n");
    while text.len() < 2048 {
        text.push_str("All work and no play makes a dull message, said the campaign tool.\r\n");
    }
    text.into_bytes()
}

/// Counts who was written to, and keeps nothing of the mail.
struct Counter {
    address: SocketAddr,
    arrived: Arc<Vec<AtomicU8>>,
    total: Arc<AtomicUsize>,
    closed: Arc<AtomicBool>,
}

impl Counter {
    fn start_on(address: SocketAddr, messages: usize) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let arrived: Arc<Vec<AtomicU8>> = Arc::new((0..messages).map(|_| AtomicU8::new(0)).collect());
        let (total, closed) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let counter =
            Self { address, arrived: Arc::clone(&arrived), total: Arc::clone(&total), closed: Arc::clone(&closed) };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if closed.load(Ordering::SeqCst) {
                    return;
                }
                let (arrived, total) = (Arc::clone(&arrived), Arc::clone(&total));
                // A connection that breaks off is the gateway's SIGKILL.
                std::thread::spawn(move || stream.is_ok_and(|stream| talk(&stream, &arrived, &total).is_ok()));
            }
        });
        counter
    }

    fn total(&self) -> usize {
        self.total.load(Ordering::SeqCst)
    }

    /// How many never came, and how many came again.
    fn missing_and_repeated(&self) -> (usize, usize) {
        self.arrived.iter().fold((0, 0), |(missing, repeated), times| match times.load(Ordering::SeqCst) {
            0 => (missing + 1, repeated),
            times => (missing, repeated + usize::from(times) - 1),
        })
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        // Its thread is waiting for somebody.
        let _gone = TcpStream::connect(self.address);
    }
}

fn talk(stream: &TcpStream, arrived: &[AtomicU8], total: &AtomicUsize) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut output) = (BufReader::with_capacity(64 * 1024, stream), stream);
    output.write_all(b"220 counter\r\n")?;
    let (mut line, mut said, mut whom) = (Vec::new(), String::new(), None);
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        match line.get(..4).unwrap_or_default() {
            b"EHLO" => said.push_str("250-counter\r\n250-PIPELINING\r\n250 SIZE\r\n"),
            b"RCPT" => {
                let digits =
                    line.iter().skip_while(|octet| !octet.is_ascii_digit()).take_while(|octet| octet.is_ascii_digit());
                whom = digits.map(|octet| char::from(*octet)).collect::<String>().parse::<usize>().ok();
                said.push_str("250 ok\r\n");
            }
            b"DATA" => {
                said.push_str("354 go\r\n");
                output.write_all(said.as_bytes())?;
                said.clear();
                while line != b".\r\n" {
                    line.clear();
                    if reader.read_until(b'\n', &mut line)? == 0 {
                        return Ok(());
                    }
                }
                if let Some(times) = whom.and_then(|number| arrived.get(number)) {
                    times.fetch_add(1, Ordering::SeqCst);
                    total.fetch_add(1, Ordering::SeqCst);
                }
                said.push_str("250 taken\r\n");
            }
            b"QUIT" => return output.write_all(b"221 bye\r\n"),
            _ => said.push_str("250 ok\r\n"),
        }
        if reader.buffer().is_empty() {
            output.write_all(said.as_bytes())?;
            said.clear();
        }
    }
}

/// The gateway without its log in our memory.
struct Quiet {
    child: Child,
    /// From its start to its greeting.
    ready: Duration,
}

impl Quiet {
    fn start(folder: &Path) -> Self {
        let begun = Instant::now();
        let child = command(folder).arg("serve").env("CONSENTRY_LOG", "error").stdout(Stdio::null()).spawn().unwrap();
        let mut quiet = Self { child, ready: Duration::ZERO };
        let smtp = smtp(folder);
        while TcpStream::connect(smtp).is_err() {
            assert!(quiet.child.try_wait().unwrap().is_none(), "the gateway ended");
            assert!(begun.elapsed() < Duration::from_mins(5), "not ready after five minutes");
            std::thread::sleep(Duration::from_millis(20));
        }
        quiet.ready = begun.elapsed();
        quiet
    }

    fn resident(&self) -> u64 {
        resident(self.child.id())
    }

    fn kill(self) {
        drop(self);
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn smtp(folder: &Path) -> SocketAddr {
    let ports = std::fs::read_to_string(folder.join("ports")).unwrap();
    ports.split_once(' ').unwrap().0.parse().unwrap()
}

/// Hands in everything; every message was answered with 250 when it returns.
fn fill(smtp: SocketAddr, messages: usize) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = Client::connect(smtp);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= messages {
                        return;
                    }
                    let (rcpt, end) = client.message("b@acme.example", &[&recipient(number)], &content(number));
                    assert!(end.as_deref().unwrap_or_default().starts_with("250"), "{number}: {rcpt:?} {end:?}");
                }
            });
        }
    });
}

/// How many copies `queue stats` counts, and how long the question took.
fn counted(folder: &Path) -> (u64, Duration) {
    let begun = Instant::now();
    let said = command(folder).args(["queue", "stats", "--json"]).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    let figures: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    (figures["copies"].as_u64().unwrap(), begun.elapsed())
}

#[test]
fn a_long_queue_is_bounded_in_memory_soon_there_again_and_lost_in_no_part() {
    let messages = messages();
    let folder =
        tempfile::tempdir_in(std::env::var_os("CONSENTRY_QUEUE_DIR").unwrap_or_else(|| std::env::temp_dir().into()))
            .unwrap();
    let folder = folder.path();
    let nobody = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    Gateway::configure(folder, &Spec::new(nobody));
    let mut report = format!("{messages} messages of 2 KB from {CLIENTS} clients\n");
    let gateway = Quiet::start(folder);
    let empty = gateway.resident();
    let begun = Instant::now();
    fill(smtp(folder), messages);
    let took = begun.elapsed();
    let full = gateway.resident();
    let (waiting, asked) = counted(folder);
    assert_eq!(waiting, messages as u64);
    writeln!(
        report,
        "intake {:.0}/s; resident {} KiB empty, {} KiB with all waiting; `queue stats` {asked:.2?}",
        rate(messages, took),
        empty / 1024,
        full / 1024
    )
    .unwrap();
    gateway.kill();

    let gateway = Quiet::start(folder);
    let again = gateway.resident();
    writeln!(
        report,
        "after SIGKILL ready in {:.2?}; resident {} KiB, {} octets a copy",
        gateway.ready,
        again / 1024,
        again.saturating_sub(empty) / waiting
    )
    .unwrap();
    assert!(again < EMPTY_MAX + PER_COPY_MAX * waiting, "{report}");
    assert_eq!(counted(folder).0, messages as u64, "{report}");

    let counter = Counter::start_on(nobody, messages);
    let begun = Instant::now();
    let patience = Duration::from_mins(20);
    while counter.total() < messages / 2 {
        assert!(begun.elapsed() < patience, "{report} only {} arrived", counter.total());
        std::thread::sleep(Duration::from_millis(1));
    }
    let (half, took) = (counter.total(), begun.elapsed());
    gateway.kill();
    writeln!(report, "delivery {:.0}/s from its first attempt on; killed after {half}", rate(half, took)).unwrap();
    let gateway = Quiet::start(folder);
    writeln!(report, "ready again in {:.2?} with {} waiting", gateway.ready, counted(folder).0).unwrap();
    let begun = Instant::now();
    while counted(folder).0 > 0 {
        assert!(begun.elapsed() < patience, "{report} only {} arrived", counter.total());
        std::thread::sleep(Duration::from_millis(200));
    }
    let (missing, repeated) = eventually("the last ones", || {
        let (missing, repeated) = counter.missing_and_repeated();
        (missing == 0).then_some((missing, repeated))
    });
    writeln!(report, "all arrived, {repeated} twice; resident {} KiB at the end", gateway.resident() / 1024).unwrap();
    println!("{report}");
    assert_eq!(missing, 0);
    assert!(repeated <= REPEATS_MAX, "{report}");
}

fn rate(count: usize, took: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap()) / took.as_secs_f64()
}
