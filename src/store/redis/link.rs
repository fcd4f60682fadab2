//! The connection: made, looked at before it is believed, bounded in time and number, thrown away at the first doubt.
//!
//! One connection carries the questions of all threads, one behind the other without waiting. After a failure nobody but
//! the keeper connects again, so that a server that is down costs every message an error and not a timeout.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue, IntoConnectionInfo, Pipeline,
    RedisConnectionInfo, RedisError, RedisFuture, Script, TlsCertificates, Value,
};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::rustls::ClientConfig;

use super::settings::{Security, Server, Settings, Topology};
use super::stream::Counted;
use crate::store::StoreError;
use crate::tls::{Protocol, Trust, client_config};

/// How long a connection may take to be made, encryption and login included.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// How long one answer may take. A server that needs longer for some hash lookups is as good as down, and mail waits better
/// than SMTP sessions do.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// How long a call may take in all, waiting for its turn included.
const CALL_MAX: Duration = Duration::from_secs(3);
/// Most calls under way at once: with a thousand sessions the others wait their turn here instead of in the server's memory.
const CALLS_MAX: usize = 256;
/// Commands that may wait to be written; the library's 50 would stall the calls above.
const WRITE_QUEUE: usize = 1024;
/// A password is one short line.
const PASSWORD_MAX: usize = 4096;

/// Who one speaks to.
#[derive(Debug)]
pub(super) struct Link {
    settings: Settings,
    login: RedisConnectionInfo,
    tls: Option<Arc<ClientConfig>>,
    /// The same for the library's own connections to a cluster.
    certificates: Option<TlsCertificates>,
    connection: Mutex<Option<Connection>>,
    /// Whom the Sentinels named when the connection was made.
    named: Mutex<Option<Server>>,
    calls: Semaphore,
}

/// An open connection; clones share it.
#[derive(Clone)]
enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(connection) => connection.req_packed_commands(cmd, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// A script with its keys and arguments.
pub(super) struct Run {
    pub(super) keys: Vec<String>,
    pub(super) arguments: Vec<Vec<u8>>,
}

impl Link {
    /// Reads what is needed to connect, and connects to nobody yet.
    pub(super) fn new(settings: Settings) -> Result<Self, StoreError> {
        // Without its name for the library a user needs no right to CLIENT, which could end others' connections.
        let bare = RedisConnectionInfo::default().set_skip_set_lib_name();
        let mut login = bare.set_db(i64::from(settings.database));
        if let Some(user) = &settings.user {
            login = login.set_username(user);
        }
        if let Some(path) = &settings.password_file {
            login = login.set_password(password(path)?);
        }
        let (tls, certificates) = match &settings.security {
            Security::Plain => (None, None),
            Security::Tls { roots } => {
                crate::tls::install_provider();
                let trust = roots.clone().map_or(Trust::System, Trust::File);
                // Redis has no name in ALPN, as submission has none.
                let tls = client_config(&trust, Protocol::Smtp)
                    .map_err(|error| StoreError::Refused { because: error.to_string() })?;
                let read = |path| std::fs::read(path).map_err(StoreError::io("read the root certificates", path));
                let root_cert = roots.as_deref().map(read).transpose()?;
                (Some(tls), Some(TlsCertificates { client_tls: None, root_cert }))
            }
        };
        let calls = Semaphore::new(CALLS_MAX);
        Ok(Self { settings, login, tls, certificates, connection: Mutex::new(None), named: Mutex::new(None), calls })
    }

    pub(super) fn prefix(&self) -> &str {
        &self.settings.prefix
    }

    /// Connects, unless there is a connection.
    pub(super) async fn connect(&self) -> Result<(), StoreError> {
        if self.current().is_some() {
            return Ok(());
        }
        let made = tokio::time::timeout(CONNECT_MAX, self.make()).await;
        let connection = made.map_err(|_| away("no connection within 2 s"))??;
        *self.slot() = Some(connection);
        Ok(())
    }

    /// Forgets the connection: what is still under way on it ends with an error.
    pub(super) fn drop_connection(&self) {
        *self.slot() = None;
    }

    /// Whether the Sentinels, where there are any, still name the server that we speak to. One that was cut off from them
    /// would go on answering with facts that are no longer those of the others.
    pub(super) async fn still_named(&self) -> Result<(), StoreError> {
        let Topology::Sentinel { sentinels, master } = &self.settings.topology else { return Ok(()) };
        let named = self.named_by(sentinels, master).await?;
        let spoken_to = self.named.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if spoken_to.as_ref() == Some(&named) {
            return Ok(());
        }
        self.drop_connection();
        Err(StoreError::Away { because: format!("the Sentinels now name {named}") })
    }

    /// What each primary says of itself, as `INFO` writes it.
    pub(super) async fn infos(&self) -> Result<Vec<String>, StoreError> {
        let command = redis::cmd("INFO");
        let answer = match self.connection()? {
            Connection::One(mut connection) => {
                self.bounded(async { command.query_async(&mut connection).await }).await?
            }
            Connection::Cluster(mut connection) => {
                let to_all = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                self.bounded(connection.route_command(command, to_all)).await?
            }
        };
        let texts = infos_of(answer);
        texts.ok_or_else(|| away("INFO was answered with something else"))
    }

    /// Sends commands, a group for each partition, all without waiting for one another; a group is answered as it stood at
    /// one moment. The answers stand in the order of the groups, one for each command.
    pub(super) async fn ask(&self, groups: Vec<Vec<Cmd>>) -> Result<Vec<Vec<Value>>, StoreError> {
        let connection = self.connection()?;
        match connection {
            Connection::One(_) => {
                let lengths: Vec<_> = groups.iter().map(Vec::len).collect();
                let mut values = self.bounded(transaction(connection, groups.concat())).await?.into_iter();
                Ok(lengths.into_iter().map(|len| values.by_ref().take(len).collect()).collect())
            }
            Connection::Cluster(_) => {
                let mut tasks = JoinSet::new();
                for (index, group) in groups.into_iter().enumerate() {
                    let connection = connection.clone();
                    tasks.spawn(async move { (index, transaction(connection, group).await) });
                }
                self.gather(tasks).await
            }
        }
    }

    /// Runs a script that facts do not depend on: whatever becomes of it, the connection stays as it is.
    pub(super) async fn count(&self, script: &'static Script, run: Run) -> Result<Vec<i64>, StoreError> {
        let mut connection = self.connection()?;
        let answer = called(script, &run, &mut connection).await;
        answer.map_err(|error| StoreError::Away { because: error.to_string() })
    }

    /// Runs a script once for each of `runs`, at the same time; the answers stand in their order.
    pub(super) async fn run(&self, script: &'static Script, runs: Vec<Run>) -> Result<Vec<i64>, StoreError> {
        let connection = self.connection()?;
        let mut tasks = JoinSet::new();
        for (index, run) in runs.into_iter().enumerate() {
            let mut connection = connection.clone();
            tasks.spawn(async move { (index, called(script, &run, &mut connection).await) });
        }
        self.gather(tasks).await
    }

    async fn gather<T: 'static>(
        &self,
        mut tasks: JoinSet<(usize, Result<T, RedisError>)>,
    ) -> Result<Vec<T>, StoreError> {
        let all = async {
            let mut answers = Vec::with_capacity(tasks.len());
            while let Some(ended) = tasks.join_next().await {
                let Ok((index, answer)) = ended else {
                    return Ok(Err(StoreError::Stopping));
                };
                answers.push((index, answer?));
            }
            answers.sort_by_key(|(index, _)| *index);
            Ok(Ok(answers.into_iter().map(|(_, answer)| answer).collect()))
        };
        self.bounded(all).await?
    }

    /// Waits for a turn and for the answer, both bounded. A connection that failed is not used again.
    async fn bounded<T>(&self, call: impl Future<Output = Result<T, RedisError>>) -> Result<T, StoreError> {
        let work = async {
            let _turn = self.calls.acquire().await;
            call.await
        };
        let outcome = match tokio::time::timeout(CALL_MAX, work).await {
            Err(_) => Err(away("no answer within 3 s")),
            Ok(Ok(value)) => return Ok(value),
            // Somebody put something else under a name of ours. Within a transaction the library tells it in words only.
            Ok(Err(error)) if error.to_string().contains("WRONGTYPE") => {
                Err(StoreError::Latched { because: error.to_string() })
            }
            Ok(Err(error)) => Err(StoreError::Away { because: error.to_string() }),
        };
        self.drop_connection();
        outcome
    }

    fn connection(&self) -> Result<Connection, StoreError> {
        self.current().ok_or_else(|| away("there is no connection"))
    }

    fn current(&self) -> Option<Connection> {
        self.slot().clone()
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Connection>> {
        // Nothing that can panic runs while it is held.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn make(&self) -> Result<Connection, StoreError> {
        let failed = |error: RedisError| StoreError::Away { because: error.to_string() };
        match &self.settings.topology {
            Topology::Single(server) => self.one(server).await.map(Connection::One).map_err(failed),
            Topology::Sentinel { sentinels, master } => {
                let server = self.named_by(sentinels, master).await?;
                *self.named.lock().unwrap_or_else(PoisonError::into_inner) = Some(server.clone());
                self.one(&server).await.map(Connection::One).map_err(failed)
            }
            Topology::Cluster(servers) => {
                let nodes =
                    servers.iter().map(|server| self.info(server)).collect::<Result<Vec<_>, _>>().map_err(failed)?;
                let mut builder = ClusterClient::builder(nodes)
                    .connection_timeout(CONNECT_MAX)
                    .response_timeout(ANSWER_MAX)
                    .overall_response_timeout(Some(CALL_MAX))
                    .tcp_settings(TcpSettings::default().set_nodelay(true));
                if let Some(certificates) = &self.certificates {
                    builder = builder.certs(certificates.clone());
                }
                let connect = async { builder.build()?.get_async_connection().await };
                connect.await.map(Connection::Cluster).map_err(failed)
            }
        }
    }

    /// The server that the first Sentinel with an answer names.
    async fn named_by(&self, sentinels: &[Server], master: &str) -> Result<Server, StoreError> {
        let mut last = "no Sentinel answers".to_owned();
        for sentinel in sentinels {
            // A Sentinel has its own users, and no databases.
            let ask = async {
                let mut connection = self.open(sentinel, &RedisConnectionInfo::default()).await?;
                redis::cmd("SENTINEL")
                    .arg("get-master-addr-by-name")
                    .arg(master)
                    .query_async::<Option<(String, u16)>>(&mut connection)
                    .await
            };
            match tokio::time::timeout(ANSWER_MAX, ask).await {
                Ok(Ok(Some((host, port)))) => return Ok(Server { host, port }),
                Ok(Ok(None)) => last = format!("{sentinel} knows no master `{master}`"),
                Ok(Err(error)) => last = format!("{sentinel}: {error}"),
                Err(_) => last = format!("{sentinel}: no answer within 1 s"),
            }
        }
        Err(StoreError::Away { because: last })
    }

    async fn one(&self, server: &Server) -> Result<MultiplexedConnection, RedisError> {
        self.open(server, &self.login).await
    }

    async fn open(&self, server: &Server, login: &RedisConnectionInfo) -> Result<MultiplexedConnection, RedisError> {
        let config =
            AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER_MAX)).set_pipeline_buffer_size(WRITE_QUEUE);
        let stream = Counted::open(server, self.tls.as_ref()).await?;
        let (connection, driver) = MultiplexedConnection::new_with_config(login, stream, config).await?;
        // It ends with the last clone of the connection.
        tokio::spawn(driver);
        Ok(connection)
    }

    fn info(&self, server: &Server) -> Result<ConnectionInfo, RedisError> {
        Ok(self.address(server)?.set_redis_settings(self.login.clone()))
    }

    fn address(&self, server: &Server) -> Result<ConnectionInfo, RedisError> {
        let (host, port) = (server.host.clone(), server.port);
        let address = match self.settings.security {
            Security::Plain => ConnectionAddr::Tcp(host, port),
            Security::Tls { .. } => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        };
        Ok(address.into_connection_info()?.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
    }
}

async fn called<T: FromRedisValue>(script: &Script, run: &Run, connection: &mut Connection) -> Result<T, RedisError> {
    let mut call = script.prepare_invoke();
    for key in &run.keys {
        call.key(key);
    }
    for argument in &run.arguments {
        call.arg(argument.as_slice());
    }
    call.invoke_async(connection).await
}

async fn transaction(mut connection: Connection, commands: Vec<Cmd>) -> Result<Vec<Value>, RedisError> {
    let mut pipeline = redis::pipe();
    pipeline.atomic();
    for command in commands {
        pipeline.add_command(command);
    }
    pipeline.query_async(&mut connection).await
}

/// The texts in the answer of one server, or of several in either form that the library gives.
fn infos_of(answer: Value) -> Option<Vec<String>> {
    match Some(answer) {
        Some(Value::Map(pairs)) => pairs.into_iter().map(|(_, value)| info_text(Some(value))).collect(),
        Some(Value::Array(values)) => values.into_iter().map(|value| info_text(Some(value))).collect(),
        value => info_text(value).map(|text| vec![text]),
    }
}

fn info_text(value: Option<Value>) -> Option<String> {
    match value {
        Some(Value::BulkString(octets)) => String::from_utf8(octets).ok(),
        Some(Value::VerbatimString { text, .. } | Value::SimpleString(text)) => Some(text),
        // A pair of a node's address and what it says.
        Some(Value::Array(pair)) => info_text(pair.into_iter().next_back()),
        _ => None,
    }
}

fn away(because: &str) -> StoreError {
    StoreError::Away { because: because.to_owned() }
}

fn password(path: &Path) -> Result<String, StoreError> {
    use std::os::unix::fs::MetadataExt as _;
    let unfit = |what: &str| StoreError::KeyUnfit { path: path.to_owned(), what: what.to_owned() };
    let mode = std::fs::metadata(path).map_err(StoreError::io("look at the password file", path))?.mode();
    if mode & 0o007 != 0 {
        return Err(unfit("everybody can read the password; take the rights of others away (chmod o= FILE)"));
    }
    let text = std::fs::read_to_string(path).map_err(StoreError::io("read the password file", path))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() || line.len() > PASSWORD_MAX {
        return Err(unfit("expected a password on the first line"));
    }
    Ok(line.to_owned())
}
