//! One suite that every kind of store passes: what callers may rely on whichever it is.

use super::*;

pub(super) fn every_expectation() -> impl Iterator<Item = Expectation> {
    EVERY_KIND
        .iter()
        .chain(people::EVERY_KIND)
        .chain(bulk::EVERY_KIND)
        .chain(published_hashes::EVERY_KIND)
        .chain(lines::EVERY_KIND)
        .chain(conditional::EVERY_KIND)
        .copied()
}

#[test]
fn the_embedded_store_conforms() {
    for (name, expectation) in every_expectation() {
        println!("{name}");
        let folder = tempfile::tempdir().unwrap();
        expectation(&open(folder.path()));
    }
}

#[test]
fn the_store_in_memory_conforms() {
    for (name, expectation) in every_expectation() {
        println!("{name}");
        expectation(&Store::memory());
    }
}

#[test]
fn the_store_in_redis_conforms() {
    let server = RedisServer::start(&[]);
    conforms(|prefix| redis_at(server.port, prefix));
}

/// Runs the suite, each expectation in a store of its own prefix.
pub(super) fn conforms(at: impl Fn(&str) -> RedisSettings) {
    for (name, expectation) in every_expectation() {
        println!("{name}");
        let gateway = GatewayFolder::new();
        let redis = at(&format!("{name}:"));
        expectation(&Store::create_fleet(&redis, &gateway.settings, 1_000_000).unwrap());
    }
}

/// The settings of one server on loopback.
pub(super) fn redis_at(port: u16, prefix: &str) -> RedisSettings {
    RedisSettings {
        topology: Topology::Single(Server { host: "127.0.0.1".to_owned(), port }),
        security: Security::Plain,
        user: None,
        password_file: None,
        database: 0,
        prefix: prefix.to_owned(),
    }
}

/// What one gateway of a fleet has on its own disk.
pub(in crate::store) struct GatewayFolder {
    pub(super) folder: tempfile::TempDir,
    pub(super) settings: Settings,
}

impl GatewayFolder {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        Self { folder, settings }
    }

    /// Another gateway with the same key.
    pub(super) fn beside(&self) -> Self {
        let other = Self::new();
        let key = |folder: &tempfile::TempDir| folder.path().join("store.key");
        std::fs::copy(key(&self.folder), key(&other.folder)).unwrap();
        other
    }
}

/// Three servers that each hold a third of the slots.
pub(super) struct Cluster(Vec<RedisServer>);

impl Cluster {
    pub(super) fn start() -> Self {
        Self(RedisServer::cluster())
    }

    pub(super) fn settings(&self, prefix: &str) -> RedisSettings {
        let server = |node: &RedisServer| Server { host: "127.0.0.1".to_owned(), port: node.port };
        let topology = Topology::Cluster(self.0.iter().map(server).collect());
        RedisSettings { topology, ..redis_at(0, prefix) }
    }
}

#[test]
fn the_store_in_a_cluster_conforms_and_misses_a_node_that_is_down() {
    let mut cluster = Cluster::start();
    conforms(|prefix| cluster.settings(prefix));
    let keys: Vec<usize> = cluster
        .0
        .iter()
        .map(|node| node.command(&["DBSIZE"]).trim_start_matches("(integer) ").parse().unwrap())
        .collect();
    println!("keys on each node: {keys:?}");
    assert!(keys.iter().all(|count| *count > 0), "the store is not spread: {keys:?}");
    let gateway = GatewayFolder::new();
    let store = Store::create_fleet(&cluster.settings("down:"), &gateway.settings, 1_000).unwrap();
    let addresses: Vec<String> = (0..60).map(|n| format!("v{n}@x.example")).collect();
    store.add_many(addresses.iter().map(|address| new(address, Cause::Unsubscribe))).unwrap();
    cluster.0[1].kill();
    let mut answered = 0;
    for address in &addresses {
        if let Ok(found) = store.blocking_evidence(&[&mailbox(address)]) {
            answered += 1;
            assert_eq!(found[0].len(), 1, "{address} was forgotten");
        }
    }
    println!("{answered} of {} were answered with a node down", addresses.len());
    assert!(store.blocking_probe().is_err());
    assert_eq!(store.blocking_add(&new("late@x.example", Cause::Unsubscribe)).unwrap(), Added::New);
    // The node comes back with nothing: it is gone, not empty, until the journal has filled it again.
    cluster.0[1].start_again();
    for node in &cluster.0 {
        node.wait_for(&["CLUSTER", "INFO"], "cluster_state:ok");
    }
    fleet::eventually(|| match store.blocking_probe() {
        Err(StoreError::Refused { .. }) => Some(()),
        Err(_) => None,
        Ok(()) => panic!("an empty node was believed"),
    });
    assert!(addresses.iter().all(|address| store.blocking_evidence(&[&mailbox(address)]).is_err()));
    Store::rebuild_fleet(&cluster.settings("down:"), &gateway.settings, 1_000).unwrap();
    fleet::whole_again(&[&store]);
    for address in addresses.iter().map(String::as_str).chain(["late@x.example"]) {
        assert_eq!(facts(&store, address).len(), 1, "{address}");
    }
}

/// A server with a replica, and three Sentinels that watch them.
struct Watched {
    master: RedisServer,
    replica: RedisServer,
    sentinels: Vec<RedisServer>,
    /// The Sentinels rewrite their files as long as they run.
    _files: tempfile::TempDir,
}

impl Watched {
    fn start() -> Self {
        let master = RedisServer::start(&[]);
        let port = master.port.to_string();
        let replica = RedisServer::start(&["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"]);
        replica.wait_for(&["INFO", "replication"], "master_link_status:up");
        let folder = tempfile::tempdir().unwrap();
        let sentinel = |number: usize| {
            let file = folder.path().join(format!("sentinel-{number}.conf"));
            let text = format!(
                "sentinel monitor fleet 127.0.0.1 {port} 2\nsentinel down-after-milliseconds fleet 500\n\
                 sentinel failover-timeout fleet 2000\n"
            );
            std::fs::write(&file, text).unwrap();
            RedisServer::start(&[file.to_str().unwrap(), "--sentinel"])
        };
        let sentinels: Vec<_> = (0..3).map(sentinel).collect();
        for sentinel in &sentinels {
            sentinel.wait_for(&["INFO", "sentinel"], "slaves=1,sentinels=3");
        }
        Self { master, replica, sentinels, _files: folder }
    }

    pub(super) fn settings(&self, prefix: &str) -> RedisSettings {
        let server = |node: &RedisServer| Server { host: "127.0.0.1".to_owned(), port: node.port };
        let sentinels = self.sentinels.iter().map(server).collect();
        let topology = Topology::Sentinel { sentinels, master: "fleet".to_owned() };
        RedisSettings { topology, ..redis_at(0, prefix) }
    }
}

#[test]
fn the_store_behind_sentinels_conforms_and_a_stale_replica_that_takes_over_is_noticed() {
    let mut watched = Watched::start();
    conforms(|prefix| watched.settings(prefix));
    let gateway = GatewayFolder::new();
    let store = Store::create_fleet(&watched.settings("fo:"), &gateway.settings, 1_000).unwrap();
    store.blocking_add(&new("early@x.example", Cause::Unsubscribe)).unwrap();
    watched.master.command(&["WAIT", "1", "5000"]);
    // The replica is cut off and cannot come back, and is promoted without what was acknowledged since.
    watched.replica.command(&["CONFIG", "SET", "masterauth", "wrong"]);
    watched.master.command(&["CLIENT", "KILL", "TYPE", "replica"]);
    watched.replica.wait_for(&["INFO", "replication"], "master_link_status:down");
    store.blocking_add(&new("late@x.example", Cause::Unsubscribe)).unwrap();
    watched.master.kill();
    let both = |store: &Store| {
        ["early@x.example", "late@x.example"].map(|address| store.blocking_evidence(&[&mailbox(address)]))
    };
    fleet::eventually(|| {
        for answer in both(&store).into_iter().flatten() {
            assert_eq!(answer[0].len(), 1, "an acknowledged opt-out was forgotten");
        }
        store.blocking_probe().ok()
    });
    for answer in both(&store) {
        assert_eq!(answer.unwrap()[0].len(), 1);
    }
    assert!(watched.replica.command(&["ROLE"]).contains("master"));
    assert!(store.fleet_status().unwrap().unwrap().store.unwrap().1 > 1, "what was lost was noticed");
}

#[test]
fn valkey_conforms_where_it_is_installed() {
    let Ok(found) = std::process::Command::new("valkey-server").arg("--version").output() else {
        println!("valkey-server is not installed; Debian has it from release 13 on");
        return;
    };
    println!("{}", String::from_utf8_lossy(&found.stdout));
    let server = RedisServer::start_program("valkey-server", &[]);
    conforms(|prefix| redis_at(server.port, prefix));
}
