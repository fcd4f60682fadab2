//! A host of its own: a network namespace behind a pair of virtual interfaces, gone with its owner.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

static NEXT: AtomicU8 = AtomicU8::new(1);

/// One host.
pub(crate) struct Namespace {
    name: String,
    /// Our end of the wire.
    wire: String,
    /// Its address.
    pub(crate) address: String,
    programs: Vec<Child>,
}

impl Namespace {
    /// A host that can be reached. `None`, and a word about it, for who may not make one: everybody but root, and root where it
    /// was locked in.
    pub(crate) fn new() -> Option<Self> {
        let (number, process) = (NEXT.fetch_add(1, Ordering::Relaxed), std::process::id());
        let (name, wire) = (format!("cg{process}n{number}"), format!("cg{}w{number}", process % 100_000));
        let subnet = format!("10.{}.{number}", 128 + process % 100);
        let host = Self { name, wire, address: format!("{subnet}.2"), programs: Vec::new() };
        let Self { name, wire, address, .. } = &host;
        let made = Command::new("ip").args(["netns", "add", name]).output().expect("ip, of the package iproute2");
        let complaint = String::from_utf8_lossy(&made.stderr);
        if complaint.contains("not permitted") || complaint.contains("Permission denied") {
            eprintln!("NOT SHOWN: network namespaces are not permitted here: {complaint}");
            return None;
        }
        assert!(made.status.success(), "ip netns add: {complaint}");
        ip(&["link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", name]);
        ip(&["addr", "add", &format!("{subnet}.1/24"), "dev", wire]);
        ip(&["link", "set", wire, "up"]);
        ip(&["-n", name, "addr", "add", &format!("{address}/24"), "dev", "eth0"]);
        host.mend();
        Some(host)
    }

    /// Starts a program there.
    pub(crate) fn run(&mut self, program: &[&str]) {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).args(program).stdout(Stdio::null()).stderr(Stdio::null());
        self.programs.push(command.spawn().unwrap());
    }

    /// Cuts the wire: what is sent is swallowed, and nobody answers that it was.
    pub(crate) fn cut(&self) {
        ip(&["-n", &self.name, "link", "set", "eth0", "down"]);
    }

    /// Mends it.
    pub(crate) fn mend(&self) {
        ip(&["-n", &self.name, "link", "set", "eth0", "up"]);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        for program in &mut self.programs {
            let _already_gone = program.kill();
            let _reaped = program.wait();
        }
        let _gone = Command::new("ip").args(["link", "del", &self.wire]).status();
        let _gone = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

fn ip(arguments: &[&str]) {
    let said = Command::new("ip").args(arguments).output().expect("ip, of the package iproute2");
    assert!(said.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&said.stderr));
}
