//! Joins the rooms into a running gateway, and takes them apart in order.
//!
//! **Promise:** listeners open only when store and spool are sound; at the end no accepted message and no record is lost.
//!
//! **Never knows:** the rules of the domain.

mod canaries;
mod intake;
mod opt_outs;
mod programs;
mod sign_ups;
mod sockets;
mod tasks;
mod webhooks;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::audit::{Trail, TrailError};
use crate::config::{self, ConfigError, Engine, LogAddresses};
use crate::control::Desk;
use crate::delivery::{Board, BoardError, Delivery};
use crate::dns;
use crate::feedback::{self, Inbound};
use crate::fleet::Member;
use crate::mail::IdSource;
use crate::optout::OptOuts;
use crate::pipeline::{self, Parts, Pipeline};
use crate::seen::{ENTRIES_MAX, Seen, SeenError};
use crate::spool::{Recovered, Spool, SpoolError};
use crate::store::{Counts, Fence, Opening, Store, StoreError};
use crate::sts;
use crate::telemetry::{EventLog, Privacy};
use crate::tell::{self, TellError, Teller, Tools};
use crate::time::Clock;
use crate::tls::Certificates;
use crate::token::Keyring;
use crate::unsubscribe::{self, Door};
use crate::webhook::{self, WebhookError};

pub use sockets::Sockets;
use sockets::listener;
use tasks::Tasks;

/// How long sessions and attempts may take to end after the stop: under systemd's TimeoutStopSec.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// How often the store is looked at when nobody asks it.
const STORE_LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data folder cannot be used.
    #[error("{path}: {error}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The store cannot answer.
    #[error("store: {0}")]
    Store(#[from] StoreError),
    /// The spool cannot keep mail.
    #[error("spool: {0}")]
    Spool(#[from] SpoolError),
    /// What is suspended cannot be read.
    #[error("suspensions: {0}")]
    Board(#[from] BoardError),
    /// The list of tools to tell cannot be used.
    #[error(transparent)]
    Tell(#[from] TellError),
    /// The list of webhooks cannot be used.
    #[error(transparent)]
    Webhook(#[from] WebhookError),
    /// The list of messages that were taken cannot be used.
    #[error(transparent)]
    Seen(#[from] SeenError),
    /// The audit trail cannot be written.
    #[error("audit trail: {0}")]
    Audit(#[from] TrailError),
    /// A key file is wrong.
    #[error("{0}")]
    Keys(String),
    /// The DNS cannot be asked.
    #[error("DNS: {0}")]
    Dns(String),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        error: std::io::Error,
    },
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    /// Where campaign tools submit.
    pub submission: Vec<SocketAddr>,
    /// Where mail to our own mailboxes comes in.
    pub inbound: Vec<SocketAddr>,
    /// Where they do so under TLS from the first octet.
    pub submission_tls: Vec<SocketAddr>,
    /// Where the person's door is.
    pub http: Option<SocketAddr>,
    /// Where the programs' door is, besides the socket in the data folder.
    pub api: Option<SocketAddr>,
    /// The facts.
    pub store: Store,
    /// The durable queue.
    pub spool: Spool,
    live: Live,
    stop_intake: watch::Sender<bool>,
    stop_delivery: watch::Sender<bool>,
    intake: JoinSet<()>,
    outgoing: JoinSet<()>,
}

/// Settings that a reload replaces under the running rooms.
#[derive(Clone, Debug)]
pub struct Live {
    pipeline: Arc<ArcSwap<pipeline::Settings>>,
    unsubscribe: Arc<ArcSwap<unsubscribe::Settings>>,
    feedback: Arc<ArcSwap<feedback::Settings>>,
    tell: Arc<ArcSwap<tell::Settings>>,
    webhooks: Arc<watch::Sender<Arc<webhook::Settings>>>,
    certificates: Option<Certificates>,
    api_certificates: Option<Certificates>,
    tools: Tools,
}

/// What each room is told first.
type Rooms =
    (pipeline::Settings, unsubscribe::Settings, feedback::Settings, Arc<ArcSwap<tell::Settings>>, webhook::Settings);

impl Live {
    fn new(
        rooms: Rooms,
        tools: &Tools,
        certificates: Option<&Certificates>,
        api_certificates: Option<&Certificates>,
    ) -> Self {
        let (pipeline, unsubscribe, feedback, tell, webhooks) = rooms;
        Self {
            pipeline: Arc::new(ArcSwap::from_pointee(pipeline)),
            unsubscribe: Arc::new(ArcSwap::from_pointee(unsubscribe)),
            feedback: Arc::new(ArcSwap::from_pointee(feedback)),
            tell,
            webhooks: Arc::new(watch::Sender::new(Arc::new(webhooks))),
            tools: tools.clone(),
            certificates: certificates.cloned(),
            api_certificates: api_certificates.cloned(),
        }
    }

    /// Reads the file again and replaces streams, credentials, keys and certificates at once; the old settings stay when
    /// anything is wrong. Addresses, folders, routes, and whether there is TLS at all, are fixed until the next start.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong.
    pub fn reload(&self, path: &Path) -> Result<(), ConfigError> {
        let settings = config::load(path)?;
        for (shown, read) in
            [(&self.certificates, &settings.smtp.tls), (&self.api_certificates, &settings.api.certificates)]
        {
            if let (Some(shown), Some(read)) = (shown, read) {
                shown.adopt(read);
            }
        }
        self.pipeline.store(Arc::new(settings.pipeline));
        self.unsubscribe.store(Arc::new(settings.unsubscribe));
        self.feedback.store(Arc::new(settings.feedback));
        self.tell.store(Arc::new(settings.tell));
        self.tools.settings_changed();
        self.webhooks.send_replace(Arc::new(settings.webhooks));
        Ok(())
    }
}

/// The runtime of a gateway. One core is left to the threads that write the spool and the log and to signatures: with as
/// many workers as cores they would push each other aside for every message, which was measured to cost a fifth more.
///
/// # Errors
/// The system's, when no thread can be started.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = cores.saturating_sub(1).max(1);
    tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()
}

/// Makes a folder that only we can enter, unless it is there.
///
/// # Errors
/// [`StartError::Folder`].
pub fn private_folder(path: &Path) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| StartError::Folder { path: path.to_owned(), error })
}

/// Opens the store alone, as commands do that work beside a running daemon or without one.
///
/// # Errors
/// [`StartError`].
pub fn open_store(settings: &config::Settings, opening: Opening, clock: &dyn Clock) -> Result<Store, StartError> {
    private_folder(&settings.data_dir)?;
    let store = match (settings.engine, &settings.redis) {
        (Engine::Redis, Some(redis)) => Store::open_fleet(redis, &settings.store),
        (Engine::Redis, None) | (Engine::Embedded, _) => Store::open(&settings.store, opening, clock.now()),
    };
    Ok(store?)
}

/// Opens the spool with its audit trail, as the daemon does, and commands when none runs.
///
/// # Errors
/// [`StartError`]; a running daemon has it locked.
pub fn open_spool(settings: &config::Settings, clock: &Arc<dyn Clock>) -> Result<(Spool, Recovered), StartError> {
    private_folder(&settings.data_dir)?;
    let trail = Trail::open(&settings.data_dir.join("audit"))?;
    Ok(Spool::open(settings.spool.clone(), Arc::clone(clock), Box::new(trail))?)
}

/// Reads what is suspended, as the daemon does, and commands when none runs.
///
/// # Errors
/// [`StartError::Board`]: it cannot be read, and nothing may be sent.
pub fn open_board(settings: &config::Settings) -> Result<Arc<Board>, StartError> {
    Ok(Arc::new(Board::open(&settings.data_dir, &settings.delivery)?))
}

/// What must be there before anything starts.
struct Ground {
    store: Store,
    keyring: Arc<Keyring>,
    privacy: Privacy,
    resolver: dns::Resolver,
    spool: Spool,
    recovered: Recovered,
    board: Arc<Board>,
}

impl Ground {
    fn open(settings: &config::Settings, clock: &Arc<dyn Clock>) -> Result<Self, StartError> {
        let store = open_store(settings, Opening::Whole, &**clock)?;
        let keyring = Arc::new(config::keyring(&settings.token_keys).map_err(StartError::Keys)?);
        let privacy = self::privacy(settings.log_addresses, settings.store.key_file.as_deref())?;
        let resolver = dns::Resolver::new(&settings.dns).map_err(StartError::Dns)?;
        let (spool, recovered) = open_spool(settings, clock)?;
        let board = open_board(settings)?;
        report_recovery(&recovered);
        Ok(Self { store, keyring, privacy, resolver, spool, recovered, board })
    }
}

/// Starts everything. The listeners are the last to open, and nobody is let in before all of them are; `sockets` go before
/// the configured addresses.
///
/// # Errors
/// [`StartError`]; nothing is left running then.
#[expect(clippy::unused_async, reason = "the listeners it opens and the tasks it starts need a runtime around them")]
pub async fn start(
    settings: config::Settings,
    mut sockets: Sockets,
    log: EventLog,
    clock: Arc<dyn Clock>,
) -> Result<Gateway, StartError> {
    let Ground { store, keyring, privacy, resolver, spool, recovered, board } = Ground::open(&settings, &clock)?;
    let (fence, tell) = (Fence::default(), Arc::new(ArcSwap::from_pointee(settings.tell)));
    let tools = Tools::open(&settings.data_dir.join("tools.db"), Arc::clone(&tell))?;
    let rooms = (settings.pipeline, settings.unsubscribe, settings.feedback, tell, settings.webhooks);
    let live = Live::new(rooms, &tools, settings.smtp.tls.as_ref(), settings.api.certificates.as_ref());
    let parts = Parts {
        store: store.clone(),
        fence: fence.clone(),
        spool: spool.clone(),
        keyring: Arc::clone(&keyring),
        tools: tools.clone(),
        seen: Seen::open(&settings.data_dir.join("seen.db"), ENTRIES_MAX)?,
        ids: IdSource::after(recovered.last_id),
        log: log.clone(),
        privacy: privacy.clone(),
    };
    let hall = hall(parts, &live, &clock)?;
    let (stop_intake, stops) = watch::channel(false);
    let (stop_delivery, delivery_stops) = watch::channel(false);
    let (mut tasks, mut outgoing) = (Tasks::default(), Tasks::default());
    let addresses = intake::Addresses { clear: &settings.smtp_listen, tls: &settings.smtp_listen_tls };
    let submission = intake::open(&addresses, &mut sockets, settings.smtp, &hall, &stops, &mut tasks)?;
    let opt_outs = opt_outs::Parts { store: &store, fence: &fence, spool: &spool, log: &log, privacy: &privacy };
    let opt_outs = opt_outs.join(&hall, &tools, &clock);
    let mailbox = mailbox(&opt_outs, &keyring, &live, &hall)?;
    let (listen, shown) = (&settings.inbound_listen, live.certificates.as_ref());
    let inbound = intake::open_mailbox(listen, settings.inbound, shown, &mailbox, &stops, &mut tasks)?;
    let teller = Teller::new(tools, settings.tell_trust, log.clone(), Arc::clone(&opt_outs.audit), Arc::clone(&clock));
    outgoing.add(teller.run(delivery_stops.clone()));
    outgoing.add(webhooks::couriers(&settings.data_dir, &live, &log, &clock)?.run(delivery_stops.clone()));
    let programs = opt_outs.clone();
    let door = Door::new(opt_outs, keyring, Arc::clone(&live.unsubscribe));
    let http =
        settings.http_listen.map(|at| open_door(at, &mut sockets, door, stops.clone(), &mut tasks)).transpose()?;
    let sign_ups = sign_ups::sink(&hall);
    outgoing.add(canaries::run(Arc::clone(&hall), delivery_stops.clone()));
    let delivery = Delivery {
        recheck: hall,
        settings: settings.delivery,
        board: Arc::clone(&board),
        resolver,
        policies: sts::Policies::open(&settings.data_dir, settings.mta_sts),
        events: log.clone(),
        privacy,
        clock: Arc::clone(&clock),
    };
    outgoing.add(deliver(delivery, store.counts(), spool.clone(), delivery_stops));
    let desk = Desk { sign_ups, spool: spool.clone(), board, log, fence, clock };
    tasks.add(watch_store(store.clone(), stops.clone()));
    let programs = programs::Parts { data_dir: &settings.data_dir, control: desk, opt_outs: programs, stops };
    let api = programs.open(&settings.api, &live, &mut tasks)?;
    Ok(Gateway {
        submission: submission.clear,
        submission_tls: submission.tls,
        inbound,
        http,
        api,
        store,
        spool,
        live,
        stop_intake,
        stop_delivery,
        intake: tasks.begin(),
        outgoing: outgoing.begin(),
    })
}

fn mailbox(
    opt_outs: &OptOuts,
    keyring: &Arc<Keyring>,
    live: &Live,
    hall: &Arc<Pipeline>,
) -> Result<Arc<Inbound>, StartError> {
    let (settings, returned) = (Arc::clone(&live.feedback), canaries::sink(hall));
    let mailbox = Inbound::new(opt_outs.clone(), Arc::clone(keyring), settings, returned);
    Ok(Arc::new(mailbox.map_err(|error| StartError::Keys(error.to_string()))?))
}

fn hall(parts: Parts, live: &Live, clock: &Arc<dyn Clock>) -> Result<Arc<Pipeline>, StartError> {
    let hall = Pipeline::new(parts, Arc::clone(&live.pipeline), Arc::clone(clock))
        .map_err(|_| StartError::Keys("the system has no randomness".to_owned()))?;
    Ok(Arc::new(hall))
}

fn report_recovery(recovered: &Recovered) {
    let (copies, recipients) = (recovered.copies, recovered.recipients);
    tracing::info!(copies, recipients, quarantined = recovered.quarantined.len(), "spool recovered");
    for damage in &recovered.quarantined {
        tracing::error!(?damage, "a damaged part of the spool was set aside");
    }
}

/// Looks at the store about once a second: a store that was replaced or damaged is noticed before somebody asks, and
/// what another process imported is taken in before it delays mail.
async fn watch_store(store: Store, mut stops: watch::Receiver<bool>) {
    let mut last: Option<String> = None;
    loop {
        tokio::select! {
            _either_way = stops.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(STORE_LOOK_EVERY) => {}
        }
        let found = store.probe().await.err().map(|error| error.to_string());
        match &found {
            Some(error) if found != last => tracing::error!(%error, "the store does not answer; mail is deferred"),
            None if last.is_some() => tracing::info!("the store answers again"),
            Some(_) | None => {}
        }
        last = found;
    }
}

async fn deliver(delivery: Delivery<Pipeline>, counts: Option<Counts>, spool: Spool, stops: watch::Receiver<bool>) {
    let member = counts.zip(delivery.settings.gateways).map(|(counts, gateways)| {
        let (board, events) = (Arc::clone(&delivery.board), delivery.events.clone());
        Member::new(counts, board, gateways, events, Arc::clone(&delivery.clock))
    });
    let asking = async {
        if let Some(member) = member {
            member.run(stops.clone()).await;
        }
    };
    let sending = async {
        if let Err(error) = delivery.run(spool, stops.clone()).await {
            tracing::error!(%error, "delivery stopped; mail waits until a restart");
        }
    };
    tokio::join!(sending, asking);
}

fn open_door(
    address: SocketAddr,
    sockets: &mut Sockets,
    door: Door,
    mut stops: watch::Receiver<bool>,
    tasks: &mut Tasks,
) -> Result<SocketAddr, StartError> {
    let listener = listener(&mut sockets.http, address)?;
    let bound = listener.local_addr().map_err(|error| StartError::Listen { address: address.to_string(), error })?;
    tasks.add(async move {
        let stop = async move {
            // An error means that the sender is gone: stop as well.
            let _stopped = stops.wait_for(|stop| *stop).await;
        };
        unsubscribe::serve(listener, door, stop).await;
    });
    Ok(bound)
}

/// The key that hashes addresses in the log is derived from the store's, so that one secret is enough.
///
/// # Errors
/// [`StartError`] when the key cannot be read.
pub fn privacy(level: LogAddresses, key_file: Option<&Path>) -> Result<Privacy, StartError> {
    Ok(match level {
        LogAddresses::Full => Privacy::Full,
        LogAddresses::Domain => Privacy::Domain,
        LogAddresses::Hash => {
            let key_file = key_file.ok_or_else(|| StartError::Keys("the store has no key file".to_owned()))?;
            let secret =
                std::fs::read(key_file).map_err(|error| StartError::Folder { path: key_file.to_owned(), error })?;
            let master = hmac::Key::new(hmac::HMAC_SHA256, &secret);
            Privacy::Hash(Box::new(hmac::Key::new(
                hmac::HMAC_SHA256,
                hmac::sign(&master, b"consentry log addresses v1").as_ref(),
            )))
        }
    })
}

impl Gateway {
    /// What a reload replaces.
    pub fn live(&self) -> Live {
        self.live.clone()
    }

    /// Stops in order: nobody new is let in and whoever is inside finishes, then attempts end, then everything is flushed.
    pub async fn stop(mut self) {
        self.stop_intake.send_replace(true);
        drain(&mut self.intake, "intake").await;
        self.stop_delivery.send_replace(true);
        drain(&mut self.outgoing, "delivery").await;
        self.spool.shutdown().await;
    }

    /// Whether spool and store work now, by a write, a sync and a read: what feeds the watchdog. What happened to the
    /// fleet's servers is left out: our restart would heal none of it, and opt-outs are taken meanwhile.
    ///
    /// # Errors
    /// [`StartError::Spool`] or [`StartError::Store`].
    pub async fn probe(&self) -> Result<(), StartError> {
        self.spool.probe().await?;
        match (&self.store, self.store.probe().await) {
            (Store::Redis(_), Err(error)) if error.is_of_fleet() => Ok(()),
            (Store::Embedded(_) | Store::Redis(_) | Store::Memory(_), outcome) => Ok(outcome?),
        }
    }
}

async fn drain(tasks: &mut JoinSet<()>, what: &str) {
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_MAX, all).await.is_err() {
        tracing::warn!(what, "did not end in time and was cut off");
        tasks.shutdown().await;
    }
}

/// Waits for a log writer to have written everything; call it after the last clone of the log is gone.
pub fn finish_log(writer: JoinHandle<()>) {
    if writer.join().is_err() {
        tracing::error!("the event log's writer had stopped");
    }
}
