//! How fast mail goes through the gateway, beside how fast the same mail goes without it.
//!
//! ```sh
//! cargo bench --bench relay -- --messages 20000 --rounds 5 --dkim ed25519
//! ```
//!
//! Each round has two lines, one after the other: `straight`, from the load generator to a counting sink, and `gateway`,
//! with `consentry serve` between them. Figures of one machine on one day mean little; their ratio means more.
//! `docs/explanation/performance.md` tells how to read them. Loopback only; everything ends with the process.

#![expect(clippy::print_stdout, reason = "the table on standard output is what a benchmark is for")]

mod figures;
mod gateway;
mod generator;
mod ledger;
mod letter;
mod sink;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;

use figures::{Cost, Figures, Round};
use gateway::{Dkim, Gateway, Setup};
use generator::{Load, Sent};
use ledger::Ledger;
use letter::Recipients;

/// Messages before each line, not counted: connections, caches and the first files are there afterwards.
const WARM_UP: u32 = 1000;
/// When nothing new has arrived at the sink for this long, the rest is lost. Far above the pause between two attempts of
/// a delivery that nothing hinders.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// Pause between two looks at the ledger. The time that counts is taken by the sink, not by the one who looks.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Measures the gateway against the straight line.
#[derive(Clone, Debug, Parser)]
struct Options {
    /// Messages on each line.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    messages: u32,
    /// Connections of the load generator.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    sessions: u32,
    /// How often both lines are measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Octets of a body.
    #[arg(long, default_value_t = 10_240, value_parser = clap::value_parser!(u32).range(1..=20_000_000))]
    size: u32,
    /// How many of a hundred messages go to a suppressed address.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    suppressed: u32,
    /// How the gateway signs.
    #[arg(long, value_enum, default_value_t = Dkim::None)]
    dkim: Dkim,
    /// Connections that the gateway keeps to the sink, instead of its default.
    #[arg(long)]
    upstream_connections: Option<u32>,
    /// The program to measure, instead of the one that cargo built for this benchmark.
    #[arg(long, value_name = "PATH", default_value = env!("CARGO_BIN_EXE_consentry"))]
    gateway: PathBuf,
    /// Where the gateway's folder is made. It must be on a real disk: in memory, durability costs nothing.
    #[arg(long, value_name = "DIR", default_value = env!("CARGO_TARGET_TMPDIR"))]
    folder: PathBuf,
    /// Only the straight line: what generator and sink can do by themselves.
    #[arg(long)]
    straight_only: bool,
    /// `cargo bench` says this to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match Bench::new(options).and_then(Bench::run) {
        Ok(Verdict::Clean) => ExitCode::SUCCESS,
        Ok(Verdict::Unclean) => {
            println!("messages were lost, doubled or leaked: these figures are worth nothing");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every message went where it had to go, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Clean,
    Unclean,
}

/// Everything that lasts through all rounds.
struct Bench {
    options: Options,
    ledger: Arc<Ledger>,
    sink: SocketAddr,
    body: Arc<Vec<u8>>,
    /// The run after the last one.
    next_run: u32,
}

impl Bench {
    fn new(options: Options) -> io::Result<Self> {
        let ledger = Arc::new(Ledger::default());
        let sink = sink::start(Arc::clone(&ledger))?;
        let body = Arc::new(letter::body(usize::try_from(options.size).map_err(io::Error::other)?));
        Ok(Self { options, ledger, sink, body, next_run: 0 })
    }

    fn run(mut self) -> io::Result<Verdict> {
        let Options { messages, sessions, rounds, size, suppressed, dkim, .. } = self.options;
        println!("{messages} messages of {size} octets, {sessions} sessions, {suppressed} % suppressed, DKIM {dkim:?}");
        figures::print_head();
        let mut measured: Vec<Round> = Vec::new();
        let mut clean = true;
        for round in 1..=rounds {
            let straight = self.straight()?;
            straight.print(&round.to_string(), "straight");
            clean &= straight.tally.is_clean();
            if !self.options.straight_only {
                let gateway = self.gateway()?;
                gateway.print(&round.to_string(), "gateway");
                clean &= gateway.tally.is_clean();
                measured.push((straight, gateway));
            }
        }
        if !measured.is_empty() {
            figures::print_summary(&measured);
        }
        Ok(if clean { Verdict::Clean } else { Verdict::Unclean })
    }

    /// Generator to sink.
    fn straight(&mut self) -> io::Result<Figures> {
        self.pass(self.sink, WARM_UP)?;
        let (sent, through) = self.pass(self.sink, self.options.messages)?;
        Ok(self.figures(&sent, through, None))
    }

    /// Generator to gateway to sink.
    fn gateway(&mut self) -> io::Result<Figures> {
        let folder = tempfile::Builder::new().prefix("relay-").tempdir_in(&self.options.folder)?;
        let gateway = Gateway::start(folder.path(), &self.setup())?;
        match self.measure(&gateway) {
            Ok(figures) => gateway.stop().map(|()| figures),
            Err(error) => Err(gateway.complaint(&format!("was being measured: {error}"))),
        }
    }

    fn measure(&mut self, gateway: &Gateway) -> io::Result<Figures> {
        self.pass(gateway.smtp, WARM_UP)?;
        let before = gateway.processor()?;
        let (sent, through) = self.pass(gateway.smtp, self.options.messages)?;
        let after = gateway.processor()?;
        let per_message = 1000.0 / f64::from(sent.count().max(1));
        let cost = Cost {
            user_ms: (after.user - before.user) * per_message,
            system_ms: (after.system - before.system) * per_message,
            peak_mib: gateway.peak_mib()?,
        };
        Ok(self.figures(&sent, through, Some(cost)))
    }

    fn setup(&self) -> Setup {
        Setup {
            program: absolute(&self.options.gateway),
            upstream: self.sink,
            upstream_connections: self.options.upstream_connections,
            dkim: self.options.dkim,
        }
    }

    /// Sends one run and waits until it is through; says when the last message was.
    fn pass(&mut self, target: SocketAddr, messages: u32) -> io::Result<(Sent, Instant)> {
        self.next_run += 1;
        self.ledger.begin(self.next_run, usize::try_from(messages).map_err(io::Error::other)?);
        let load = Load {
            run: self.next_run,
            messages,
            sessions: self.options.sessions,
            recipients: Recipients { suppressed_percent: self.options.suppressed },
            body: Arc::clone(&self.body),
        };
        let sent = generator::send(target, &load)?;
        let through = self.drained(sent.count(), sent.ended);
        Ok((sent, through))
    }

    /// Waits until `expected` messages have arrived or nothing comes any more; says when the latest arrived.
    fn drained(&self, expected: u32, since: Instant) -> Instant {
        loop {
            let (distinct, latest) = self.ledger.progress();
            let latest = latest.unwrap_or(since);
            if distinct >= expected || latest.max(since).elapsed() > SILENCE_MAX {
                return latest;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn figures(&self, sent: &Sent, through: Instant, cost: Option<Cost>) -> Figures {
        let count = sent.count();
        Figures {
            accepted_per_second: figures::rate(count, sent.ended - sent.begun),
            // The last one may arrive before its sender reads the answer, but is not through before that.
            through_per_second: figures::rate(count, through.max(sent.ended) - sent.begun),
            tally: self.ledger.tally(&sent.accepted),
            cost,
        }
    }
}

/// The gateway runs in another folder, so a relative path would lead nowhere.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
