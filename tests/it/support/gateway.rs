//! The real binary, in a folder of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use super::eventually;

/// What a gateway is configured with.
pub(crate) struct Spec {
    /// The smarthost.
    pub(crate) upstream: SocketAddr,
    /// Lines for `[[stream]]` of the stream `news`, beside name, controller, class and list.
    pub(crate) stream: String,
    /// More of the file: keys, streams, credentials.
    pub(crate) more: String,
    /// More keys of `[smtp]`.
    pub(crate) smtp: String,
    /// More keys of `[http]`.
    pub(crate) http: String,
    /// More keys of `[upstream]`.
    pub(crate) connections: String,
}

impl Spec {
    /// Marketing from anywhere to `upstream`, unsigned.
    pub(crate) fn new(upstream: SocketAddr) -> Self {
        Self {
            upstream,
            stream: String::new(),
            more: String::new(),
            smtp: String::new(),
            http: String::new(),
            connections: String::new(),
        }
    }

    /// The file.
    pub(crate) fn text(&self, smtp: SocketAddr, http: SocketAddr) -> String {
        format!(
            "version = \"v1\"\n[gateway]\nhostname = \"gate.test.example\"\ndata_dir = \".\"\nlog_addresses = \"full\"\n\
             [smtp]\nlisten = [\"{smtp}\"]\n{}\n[http]\nlisten = \"{http}\"\npublic_url = \"https://u.test.example\"\nmailto = \"u@u.test.example\"\n{}\n\
             [upstream]\nhost = \"{}\"\nport = {}\n{}\n[retry]\nfirst = \"1s\"\nlongest = \"2s\"\n[spool]\nmin_free_octets = 1048576\n{}\n\
             [[stream]]\nname = \"news\"\ncontroller = \"acme\"\nclass = \"marketing\"\nlist = \"weekly\"\n{}\n\
             [[credential]]\nname = \"loopback\"\nstream = \"news\"\naddresses = [\"127.0.0.0/8\"]\n",
            self.smtp,
            self.http,
            self.upstream.ip(),
            self.upstream.port(),
            self.connections,
            self.more,
            self.stream
        )
    }
}

/// A running `consentry serve`.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) folder: PathBuf,
    pub(crate) smtp: SocketAddr,
    pub(crate) http: SocketAddr,
    log: Arc<Mutex<Vec<serde_json::Value>>>,
}

/// An address on loopback where nothing listens.
pub(crate) fn free_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], super::ports::free_port()))
}

impl Gateway {
    /// Configures and starts a gateway in `folder`.
    pub(crate) fn start(folder: &Path, spec: &Spec) -> Self {
        Self::configure(folder, spec);
        Self::restart_there(folder)
    }

    /// Writes a configuration with ports that are free, and starts nothing.
    pub(crate) fn configure(folder: &Path, spec: &Spec) {
        let (smtp, http) = (free_port(), free_port());
        std::fs::write(folder.join("consentry.toml"), spec.text(smtp, http)).unwrap();
        std::fs::write(folder.join("ports"), format!("{smtp} {http}")).unwrap();
    }

    /// Starts a gateway on the configuration that [`Gateway::configure`] wrote.
    pub(crate) fn restart_there(folder: &Path) -> Self {
        let ports = std::fs::read_to_string(folder.join("ports")).unwrap();
        let (smtp, http) = ports.split_once(' ').unwrap();
        Self::restart(folder, smtp.parse().unwrap(), http.parse().unwrap())
    }

    /// Starts a gateway on the configuration that is there.
    pub(crate) fn restart(folder: &Path, smtp: SocketAddr, http: SocketAddr) -> Self {
        let mut child = command(folder)
            .arg("serve")
            .env("CONSENTRY_LOG", "warn")
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let log = Arc::<Mutex<Vec<_>>>::default();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let sink = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or_else(|error| panic!("not JSON ({error}): {line}"));
                sink.lock().unwrap().push(event);
            }
        });
        let mut gateway = Self { child, folder: folder.to_owned(), smtp, http, log };
        eventually("the gateway to listen", || {
            assert!(gateway.child.try_wait().unwrap().is_none(), "the gateway ended");
            // The operators' socket is the last that every gateway opens.
            let tcp = [smtp, http].map(std::net::TcpStream::connect);
            (tcp.iter().all(Result::is_ok) && UnixStream::connect(folder.join("control.sock")).is_ok()).then_some(())
        });
        gateway
    }

    /// Runs another command on the same folder.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        command(&self.folder).args(arguments).output().unwrap()
    }

    /// Events of one type in the log.
    pub(crate) fn events(&self, kind: &str) -> Vec<serde_json::Value> {
        self.log.lock().unwrap().iter().filter(|event| event["type"] == kind).cloned().collect()
    }

    /// Of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
    }

    /// SIGKILL, now.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; returns the exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        self.signal("TERM");
        eventually("the gateway to stop", || self.child.try_wait().unwrap()).code()
    }

    /// Every record of the audit trail.
    pub(crate) fn audit(&self) -> Vec<serde_json::Value> {
        audit(&self.folder)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Resident memory of a process, in octets.
pub(crate) fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    kibibytes.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

/// The binary (or the one that `CONSENTRY_BINARY` names, for figures), told where its folder is.
pub(crate) fn command(folder: &Path) -> Command {
    let binary = std::env::var_os("CONSENTRY_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_consentry").into());
    let mut command = Command::new(binary);
    command.env("CONSENTRY_DATA", folder).env_remove("CONSENTRY_CONFIG");
    command
}

/// Every record of the audit trail in `folder`, in order.
pub(crate) fn audit(folder: &Path) -> Vec<serde_json::Value> {
    let mut files: Vec<_> =
        std::fs::read_dir(folder.join("audit")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "ndjson"));
    files.sort();
    files
        .iter()
        .flat_map(|file| {
            std::fs::read_to_string(file)
                .unwrap()
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect::<Vec<_>>()
        })
        .collect()
}
