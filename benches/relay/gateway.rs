//! `consentry serve` as a process of its own, in a folder of its own, with what it costs read from the kernel.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::letter::{AUTHOR_DOMAIN, SUPPRESSED, suppressed_address};

/// How long it may take to listen, and to stop.
const PATIENCE: Duration = Duration::from_secs(40);
/// Pause between two looks at something that takes a while.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Clock ticks of /proc/PID/stat in a second: fixed at 100 in what Linux shows to programs (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;
/// Where the events go. A file, because a pipe would make the harness pay for reading it.
const EVENTS: &str = "events.ndjson";
/// Where the gateway's own complaints go; shown when it ends early.
const COMPLAINTS: &str = "stderr.txt";

/// How messages are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Dkim {
    /// Not at all.
    None,
    /// With an Ed25519 key (RFC 8463).
    Ed25519,
    /// With an RSA key of 2048 bits.
    Rsa,
}

/// How the gateway is set up. Everything else is what it does by default.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// The program.
    pub(crate) program: PathBuf,
    /// The smarthost.
    pub(crate) upstream: SocketAddr,
    /// Connections kept to it, when not the default.
    pub(crate) upstream_connections: Option<u32>,
    /// How messages are signed.
    pub(crate) dkim: Dkim,
}

/// Processor time used since the process began, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Processor {
    /// In the program.
    pub(crate) user: f64,
    /// In the kernel on its behalf.
    pub(crate) system: f64,
}

/// A running gateway; killed when dropped.
#[derive(Debug)]
pub(crate) struct Gateway {
    child: Child,
    folder: PathBuf,
    /// Where it takes mail.
    pub(crate) smtp: SocketAddr,
}

impl Gateway {
    /// Writes keys, facts and configuration into `folder`, which is empty, and starts.
    ///
    /// # Errors
    /// The system's; or what the gateway said when it ended at once.
    pub(crate) fn start(folder: &Path, setup: &Setup) -> io::Result<Self> {
        // The port is free until somebody else takes it in the next moment, which loopback makes unlikely.
        let smtp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let signature = make_key(folder, setup)?;
        std::fs::write(folder.join("consentry.toml"), configuration(smtp, setup, &signature))?;
        suppress(folder, setup)?;
        let child = command(folder, setup)
            .arg("serve")
            .stdout(File::create(folder.join(EVENTS))?)
            .stderr(File::create(folder.join(COMPLAINTS))?)
            .spawn()?;
        let mut gateway = Self { child, folder: folder.to_owned(), smtp };
        let begun = Instant::now();
        while TcpStream::connect(smtp).is_err() {
            if begun.elapsed() > PATIENCE || gateway.child.try_wait()?.is_some() {
                return Err(gateway.complaint("does not listen"));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(gateway)
    }

    /// Processor time so far, from /proc/PID/stat (proc_pid_stat(5), fields 14 and 15), all threads together.
    ///
    /// # Errors
    /// When the process has gone.
    pub(crate) fn processor(&self) -> io::Result<Processor> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name in parentheses may hold anything, so the fields are counted from its end: the next one is the third.
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace().skip(11);
        let mut seconds = || fields.next()?.parse::<u32>().ok().map(|ticks| f64::from(ticks) / TICKS_PER_SECOND);
        let (user, system) = (seconds(), seconds());
        user.zip(system)
            .map(|(user, system)| Processor { user, system })
            .ok_or_else(|| io::Error::other("/proc/PID/stat is strange"))
    }

    /// The most memory that was resident at once, in MiB: `VmHWM` of /proc/PID/status.
    ///
    /// # Errors
    /// When the process has gone.
    pub(crate) fn peak_mib(&self) -> io::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u32>().ok());
        kib.map(|kib| f64::from(kib) / 1024.0).ok_or_else(|| io::Error::other("/proc/PID/status is strange"))
    }

    /// Asks it to stop, and waits until it has.
    ///
    /// # Errors
    /// When it does not stop in time, or not in good order.
    pub(crate) fn stop(mut self) -> io::Result<()> {
        Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status()?;
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                return if status.success() { Ok(()) } else { Err(self.complaint("stopped in disorder")) };
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Err(self.complaint("does not stop"))
    }

    /// What happened, with the gateway's own words.
    pub(crate) fn complaint(&self, what: &str) -> io::Error {
        let words = std::fs::read_to_string(self.folder.join(COMPLAINTS)).unwrap_or_default();
        io::Error::other(format!("the gateway {what}\n{}", words.trim_end()))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn command(folder: &Path, setup: &Setup) -> Command {
    let mut command = Command::new(&setup.program);
    command
        .env("CONSENTRY_DATA", folder)
        .env_remove("CONSENTRY_CONFIG")
        .env("CONSENTRY_LOG", "warn")
        .stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim_end())))
}

/// Makes the signing key, and the lines of the configuration that name it and use it.
fn make_key(folder: &Path, setup: &Setup) -> io::Result<[String; 2]> {
    let kind = match setup.dkim {
        Dkim::None => return Ok([String::new(), String::new()]),
        Dkim::Ed25519 => "ed25519",
        Dkim::Rsa => "rsa",
    };
    let mut keygen = command(folder, setup);
    keygen.args(["keygen", "dkim", "--domain", AUTHOR_DOMAIN, "--selector", "c1", "--kind", kind, "--out"]);
    run(keygen.arg(folder.join("dkim.pem")))?;
    let key =
        format!("[[dkim]]\nname = \"k\"\ndomain = \"{AUTHOR_DOMAIN}\"\nselector = \"c1\"\nkey_file = \"dkim.pem\"\n");
    Ok([key, "dkim = [\"k\"]\n".to_owned()])
}

fn suppress(folder: &Path, setup: &Setup) -> io::Result<()> {
    let lines: String = (0..SUPPRESSED).map(|index| suppressed_address(index) + "\n").collect();
    let file = folder.join("suppressed.txt");
    std::fs::write(&file, lines)?;
    run(command(folder, setup).args(["suppress", "import"]).arg(file).args(["--reason", "unsubscribe"]))
}

/// A marketing stream for everybody on loopback. The door for persons is closed: nobody knocks.
fn configuration(smtp: SocketAddr, setup: &Setup, [key, use_of_key]: &[String; 2]) -> String {
    let upstream = setup.upstream;
    let connections =
        setup.upstream_connections.map(|number| format!("max_connections = {number}\n")).unwrap_or_default();
    format!(
        "version = \"v1\"\n[gateway]\nhostname = \"gate.bench.example\"\ndata_dir = \".\"\n\
         [smtp]\nlisten = [\"{smtp}\"]\nmax_connections = 20000\nmax_connections_per_address = 20000\n\
         [http]\nlisten = \"\"\npublic_url = \"https://u.bench.example\"\nmailto = \"u@u.bench.example\"\n\
         [upstream]\nhost = \"{}\"\nport = {}\n{connections}{key}\
         [[stream]]\nname = \"news\"\ncontroller = \"bench\"\nclass = \"marketing\"\nlist = \"weekly\"\n{use_of_key}\
         [[credential]]\nname = \"loopback\"\nstream = \"news\"\naddresses = [\"127.0.0.0/8\"]\n",
        upstream.ip(),
        upstream.port(),
    )
}
