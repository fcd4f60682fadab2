//! The fleet's store beside the embedded one: import rate, octets for an entry, lookups a second and their 99th percentile
//! over a million entries, for hits and misses, asked for one after another and by 64 at a time. Needs `redis-server`.
//!
//! `cargo bench --bench store_redis` takes a minute or two; a number as argument asks for fewer entries.

use std::error::Error;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use consentry::mail::Mailbox;
use consentry::policy::{Cause, Origin, Scope};
use consentry::store::{
    Cleartext, NewSuppression, Opening, RedisSettings, Security, Server, Settings, Store, Topology,
};
use consentry::time::Timestamp;

/// Entries in the store, unless an argument says otherwise.
const ENTRIES: u32 = 1_000_000;
/// Questions one after another: some seconds.
const QUESTIONS: u32 = 20_000;
/// Questions under way at once, as sessions of a busy gateway ask them.
const AT_ONCE: u32 = 64;

/// A server that ends with the benchmark.
struct Redis(Child, u16);

impl Drop for Redis {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

impl Redis {
    fn start() -> Result<Self, Box<dyn Error>> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.args(["--hash-max-listpack-entries", "512", "--hash-max-listpack-value", "256"]);
        let child = command.stdout(Stdio::null()).spawn()?;
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if start.elapsed() > Duration::from_secs(10) {
                return Err("redis-server does not answer".into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Self(child, port))
    }

    fn memory(&self) -> Result<u64, Box<dyn Error>> {
        let output = Command::new("redis-cli").args(["-p", &self.1.to_string(), "INFO", "memory"]).output()?;
        let text = String::from_utf8(output.stdout)?;
        let used = text.lines().find_map(|line| line.strip_prefix("used_memory:")).ok_or("no used_memory")?;
        Ok(used.trim().parse()?)
    }

    fn settings(&self) -> RedisSettings {
        RedisSettings {
            topology: Topology::Single(Server { host: "127.0.0.1".to_owned(), port: self.1 }),
            security: Security::Plain,
            user: None,
            password_file: None,
            database: 0,
            prefix: "consentry:".to_owned(),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let entries = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(ENTRIES);
    let now = Timestamp::from_secs(1_795_482_123);
    let folder = tempfile::tempdir()?;
    let settings =
        |name: &str, cleartext| Settings { path: folder.path().join(name).join("store.db"), key_file: None, cleartext };
    for name in ["embedded", "keep", "hash"] {
        std::fs::create_dir(folder.path().join(name))?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;

    let embedded = settings("embedded", Cleartext::Keep);
    let store = Store::open(&embedded, Opening::Quick, now)?;
    fill(&store, entries, now, "embedded")?;
    drop(store);
    let each = std::fs::metadata(&embedded.path)?.len() / u64::from(entries);
    say(&format!("{:<24} {each:>8} octets for an entry on disk", "embedded"))?;
    let start = Instant::now();
    let store = Store::open(&embedded, Opening::Whole, now)?;
    say(&format!("{:<24} {:>8.1} s to be opened, read whole and checked", "embedded", start.elapsed().as_secs_f64()))?;
    measure(&store, entries, &runtime, "embedded")?;
    drop(store);

    for (name, cleartext) in [("keep", Cleartext::Keep), ("hash", Cleartext::HashOnly)] {
        let redis = Redis::start()?;
        let store = Store::create_fleet(&redis.settings(), &settings(name, cleartext), u64::from(entries))?;
        let empty = redis.memory()?;
        let what = format!("redis, addresses {name}");
        fill(&store, entries, now, &what)?;
        let each = (redis.memory()? - empty) / u64::from(entries);
        say(&format!("{what:<24} {each:>8} octets for an entry in Redis"))?;
        measure(&store, entries, &runtime, &what)?;
    }
    Ok(())
}

fn address(name: &str, n: u32) -> Result<Mailbox, Box<dyn Error>> {
    Ok(Mailbox::parse(&format!("{name}{n}@example{}.org", n % 50))?)
}

fn fill(store: &Store, entries: u32, now: Timestamp, what: &str) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let new = |n| {
        let mailbox = address("person", n).ok()?;
        Some(NewSuppression::lasting(mailbox, Scope::Everything, Cause::Unsubscribe, Origin::Import, None, now))
    };
    store.add_many((0..entries).filter_map(new))?;
    let rate = f64::from(entries) / start.elapsed().as_secs_f64();
    say(&format!("{what:<24} {rate:>8.0} entries imported a second, at most {} MiB resident so far", peak_mib()?))
}

fn measure(store: &Store, entries: u32, runtime: &tokio::runtime::Runtime, what: &str) -> Result<(), Box<dyn Error>> {
    for (kind, name) in [("hit", "person"), ("miss", "stranger")] {
        // Scattered over the whole store, the same at every run.
        let people: Vec<_> =
            (0..QUESTIONS).map(|n| address(name, n.wrapping_mul(2_654_435_761) % entries)).collect::<Result<_, _>>()?;
        let mut times: Vec<Duration> = Vec::with_capacity(people.len());
        runtime.block_on(async {
            for mailbox in &people {
                let start = Instant::now();
                store.evidence(&[mailbox]).await?;
                times.push(start.elapsed());
            }
            Ok::<_, consentry::store::StoreError>(())
        })?;
        times.sort_unstable();
        let p99 = times.get(times.len() * 99 / 100).copied().unwrap_or_default();
        let each = times.iter().sum::<Duration>() / QUESTIONS;
        let together = together(store, &people, runtime)?;
        say(&format!(
            "{what:<24} {kind:<5} one by one {:>7.1} us, p99 {:>7.1} us; {AT_ONCE} at once {together:>8.0} a second",
            each.as_secs_f64() * 1e6,
            p99.as_secs_f64() * 1e6
        ))?;
    }
    Ok(())
}

fn together(store: &Store, people: &[Mailbox], runtime: &tokio::runtime::Runtime) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    let share = people.len().div_ceil(usize::try_from(AT_ONCE)?);
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for some in people.chunks(share) {
            let (store, some) = (store.clone(), some.to_vec());
            tasks.spawn(async move {
                for mailbox in &some {
                    store.evidence(&[mailbox]).await?;
                }
                Ok::<_, consentry::store::StoreError>(())
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok::<_, Box<dyn Error>>(())
    })?;
    Ok(f64::from(QUESTIONS) / start.elapsed().as_secs_f64())
}

/// Most memory that this process had resident since its start, the server's aside.
fn peak_mib() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}

fn say(line: &str) -> Result<(), Box<dyn Error>> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
