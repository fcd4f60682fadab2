//! A real Redis (or Valkey) server of the test's own: on a free loopback port, in a folder of its own, gone with its owner.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::ports::free_port;

/// How long a server may take to start or to change its role.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server.
pub(crate) struct RedisServer {
    child: Child,
    program: String,
    arguments: Vec<String>,
    folder: tempfile::TempDir,
    /// Where it listens.
    pub(crate) port: u16,
}

impl RedisServer {
    /// Starts `redis-server` with more arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_program("redis-server", arguments)
    }

    /// Starts a server that speaks the same language.
    pub(crate) fn start_program(program: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        // Another process may take the port between the look and the start.
        for _ in 0..5 {
            let port = free_port();
            let mut child = spawn(program, folder.path(), port, &arguments);
            if answers(&mut child, port) {
                return Self { child, program: program.to_owned(), arguments, folder, port };
            }
        }
        panic!("{program} did not start; see {}", folder.keep().display());
    }

    /// Starts three servers of a cluster that each hold a third of the slots.
    pub(crate) fn cluster() -> Vec<Self> {
        let enabled = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--appendonly", "no"];
        let nodes: Vec<_> = (0..3).map(|_| Self::start(&enabled)).collect();
        for (node, slots) in nodes.iter().zip([("0", "5461"), ("5462", "10922"), ("10923", "16383")]) {
            node.command(&["CLUSTER", "ADDSLOTSRANGE", slots.0, slots.1]);
            nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &node.port.to_string()]);
        }
        for node in &nodes {
            node.wait_for(&["CLUSTER", "INFO"], "cluster_state:ok");
            node.wait_for(&["CLUSTER", "INFO"], "cluster_known_nodes:3");
        }
        nodes
    }

    /// Runs one command and gives what `redis-cli` prints.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        let output =
            Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(words).output().expect("redis-cli");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Waits until a command prints something with `wanted` in it.
    pub(crate) fn wait_for(&self, words: &[&str], wanted: &str) {
        let start = Instant::now();
        while !self.command(words).contains(wanted) {
            assert!(start.elapsed() < PATIENCE, "waited in vain for {words:?} to print {wanted}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where its files lie.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sends a signal, such as STOP and CONT.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
    }

    /// SIGKILL, now.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts again after a kill, with the same files on the same port.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(&self.program, self.folder.path(), self.port, &self.arguments);
        assert!(answers(&mut self.child, self.port), "it did not start again");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn spawn(program: &str, folder: &Path, port: u16, arguments: &[String]) -> Child {
    let log: PathBuf = folder.join("log");
    let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
    let mut command = Command::new(program);
    // A configuration file comes first, as Sentinel needs one.
    let (file, rest) = match arguments.split_first() {
        Some((first, rest)) if first.starts_with('/') => (Some(first), rest),
        _ => (None, arguments),
    };
    command.args(file);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(folder);
    command.args(["--save", ""]).args(rest);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.spawn().unwrap_or_else(|error| panic!("{program} (Debian: redis-server): {error}"))
}

fn answers(child: &mut Child, port: u16) -> bool {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}
