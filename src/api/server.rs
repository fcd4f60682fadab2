//! The listeners: TCP for tokens, and the socket in the data folder for operators.
//!
//! Unlike the person's door, connections are kept: a shop hands in consents all day. What smuggling needs, a body whose end two
//! parsers see at different places, is refused: bodies come with their length or not at all.

use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::Service as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::call::Caller;
use super::problem::Problem;
use super::routes::Door;
use crate::crowd::{Census, Neighbourhood, Places, turn_away};
use crate::tls::Certificates;

/// Connections at once, at some forty kilobytes each; programs keep a few each. The next one waits in the system's queue. The
/// operators' socket has as many of its own: no program keeps an operator out.
const CONNECTIONS_MAX: usize = 256;
/// Connections at once of one neighbourhood: a quarter, so that one program which loses count of its own does not keep the
/// others out, and far more than a proxy in front of many programs needs.
const CONNECTIONS_PER_ADDRESS: usize = 64;
/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long a connection may wait for the head of its next request.
const HEAD_MAX: Duration = Duration::from_mins(1);
/// Octets of a head, and the least that hyper takes.
const HEAD_OCTETS: usize = 16 * 1024;
/// Fields of a head.
const FIELDS_MAX: usize = 64;
/// How long a connection is kept, however busy it is; its client opens another one.
const CONNECTION_MAX: Duration = Duration::from_hours(1);
/// How long the last answer of a connection may take to leave: longer than an event is waited for.
const LAST_ANSWER_MAX: Duration = Duration::from_mins(2);
/// How long to wait when a connection cannot be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Name of the socket in the data folder.
const SOCKET: &str = "control.sock";

/// A bound socket for operators; its file goes when it is dropped.
#[derive(Debug)]
pub struct Local {
    listener: UnixListener,
    path: PathBuf,
    /// Whose processes may come in, besides root's: whoever runs the daemon.
    owner: u32,
}

impl Local {
    /// Where it is in a data folder.
    pub(super) fn path(data_dir: &Path) -> PathBuf {
        data_dir.join(SOCKET)
    }

    /// Binds the socket of a data folder. Only the holder of the spool's lock may call it: what is left of an earlier
    /// run is removed.
    ///
    /// # Errors
    /// The system's.
    pub fn bind(data_dir: &Path) -> io::Result<Self> {
        let path = Self::path(data_dir);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        let owner = std::fs::metadata(&path)?.uid();
        Ok(Self { listener, path, owner })
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // The next start removes what is left.
        let _gone = std::fs::remove_file(&self.path);
    }
}

/// Serves operators until the stop; requests under way are finished.
pub async fn serve_local(socket: Local, door: Door) {
    let mut house = House::new(door);
    while let Some(accepted) = house.next(|| socket.listener.accept()).await {
        let ((stream, _unnamed), place) = accepted;
        let who = stream.peer_cred().map(|credentials| credentials.uid());
        match who {
            Ok(uid) if uid == 0 || uid == socket.owner => {
                house.hold(stream, Caller::Operator { uid }, place);
            }
            Ok(uid) => tracing::warn!(uid, "a user who may not turned up at the operators' socket"),
            Err(error) => tracing::warn!(%error, "the kernel does not say who is at the operators' socket"),
        }
    }
    house.finish().await;
}

/// Serves programs until the stop; requests under way are finished.
pub async fn serve(listener: TcpListener, certificates: Option<Certificates>, door: Door) {
    let mut house = House::new(door);
    let census = Arc::new(Census::default());
    let places = Places { in_all: CONNECTIONS_MAX, per_address: CONNECTIONS_PER_ADDRESS };
    while let Some(((stream, peer), place)) = house.next(|| listener.accept()).await {
        let Some(counted) = census.enter(Some(Neighbourhood::of(peer.ip())), places) else {
            tracing::debug!(%peer, "no place for another connection of this address to the API");
            // Behind a handshake, which costs more than all that it would say, nobody is told.
            if certificates.is_none() {
                let _or_does_without = turn_away(stream, &Problem::crowded(CONNECTIONS_PER_ADDRESS).unasked());
            }
            continue;
        };
        let place = (place, counted);
        // Small answers wait for nothing.
        let _slower = stream.set_nodelay(true);
        match certificates.as_ref().map(Certificates::acceptor) {
            None => house.hold(stream, Caller::Anybody, place),
            Some(acceptor) => {
                let (service, stops) = (house.service.clone(), house.stops.clone());
                house.connections.spawn(async move {
                    match timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => talk(stream, service, Caller::Anybody, stops).await,
                        Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS"),
                        Err(_elapsed) => tracing::debug!(%peer, "a TLS handshake took too long"),
                    }
                    drop(place);
                });
            }
        }
    }
    house.finish().await;
}

/// Connections and what they are answered by.
struct House {
    service: TowerToHyperService<Router>,
    stops: watch::Receiver<bool>,
    places: Arc<Semaphore>,
    connections: JoinSet<()>,
}

impl House {
    fn new(door: Door) -> Self {
        let stops = door.desk.stops.clone();
        let service = TowerToHyperService::new(super::routes::router(door));
        Self { service, stops, places: Arc::new(Semaphore::new(CONNECTIONS_MAX)), connections: JoinSet::new() }
    }

    /// The next connection with a place for it; nothing after the stop.
    async fn next<S, F>(&mut self, mut accept: impl FnMut() -> F) -> Option<(S, OwnedSemaphorePermit)>
    where
        F: Future<Output = io::Result<S>>,
    {
        let mut stops = self.stops.clone();
        let places = Arc::clone(&self.places);
        let accepted = async {
            // It is never closed.
            let place = places.acquire_owned().await.ok()?;
            loop {
                match accept().await {
                    Ok(stream) => return Some((stream, place)),
                    Err(error) => tracing::warn!(%error, "cannot accept a connection"),
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        };
        tokio::pin!(accepted);
        loop {
            tokio::select! {
                biased;
                _stopped = stops.wait_for(|stop| *stop) => return None,
                Some(_ended) = self.connections.join_next(), if !self.connections.is_empty() => {}
                accepted = &mut accepted => return accepted,
            }
        }
    }

    /// Answers a connection; `place` is given back at its end.
    fn hold<S, P>(&mut self, stream: S, caller: Caller, place: P)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        P: Send + 'static,
    {
        let (service, stops) = (self.service.clone(), self.stops.clone());
        self.connections.spawn(async move {
            talk(stream, service, caller, stops).await;
            drop(place);
        });
    }

    async fn finish(mut self) {
        while self.connections.join_next().await.is_some() {}
    }
}

async fn talk<S>(stream: S, service: TowerToHyperService<Router>, caller: Caller, mut stops: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handle = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(caller.clone());
        service.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(HEAD_OCTETS)
        .max_headers(FIELDS_MAX)
        .serve_connection(TokioIo::new(stream), handle);
    tokio::pin!(connection);
    let stopped = async {
        // An error means that the sender is gone: stop as well.
        let _stopped = stops.wait_for(|stop| *stop).await;
    };
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        () = stopped => None,
        () = tokio::time::sleep(CONNECTION_MAX) => None,
    };
    let ended = if let Some(ended) = ended {
        Ok(ended)
    } else {
        connection.as_mut().graceful_shutdown();
        timeout(LAST_ANSWER_MAX, connection).await
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection of the API broke off"),
        Err(_elapsed) => tracing::debug!("a connection of the API was cut off"),
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio::time::{Instant, sleep, sleep_until};

    use super::*;

    /// How long the work behind `/slow` takes.
    const SLOW: Duration = Duration::from_secs(100);

    /// The other end of a connection that began now, and what stops it when it is dropped.
    fn connected() -> (DuplexStream, watch::Sender<bool>) {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (stop, stops) = watch::channel(false);
        let slow = || async {
            sleep(SLOW).await;
            "done"
        };
        let router = Router::new().route("/", get(async || "done")).route("/slow", get(slow));
        tokio::spawn(talk(near, TowerToHyperService::new(router), Caller::Anybody, stops));
        (far, stop)
    }

    async fn ask(client: &mut DuplexStream, path: &str) {
        client.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
    }

    async fn answer(client: &mut DuplexStream) -> String {
        let mut answer = String::new();
        while !answer.ends_with("done") {
            let mut octets = [0; 1024];
            let count = client.read(&mut octets).await.unwrap();
            assert!(count > 0, "cut off behind {answer:?}");
            answer.push_str(std::str::from_utf8(&octets[..count]).unwrap());
        }
        answer
    }

    /// Keeps a connection busy up to `end`, as far as requests go that wait for nothing.
    async fn keep_busy(client: &mut DuplexStream, end: Instant) {
        while Instant::now() < end {
            ask(client, "/").await;
            assert!(!answer(client).await.contains("connection: close"));
            sleep_until(end.min(Instant::now() + HEAD_MAX / 2)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_connection_is_kept_up_to_its_hour_and_not_beyond() {
        let end = Instant::now() + CONNECTION_MAX;
        let (mut client, _stop) = connected();
        keep_busy(&mut client, end - Duration::from_millis(1)).await;
        ask(&mut client, "/").await;
        answer(&mut client).await;
        sleep_until(end + Duration::from_millis(1)).await;
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0, "it is kept on");
        assert!(end.elapsed() < Duration::from_secs(1), "{:?} too late", end.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_under_way_at_the_hour_is_answered_as_the_last() {
        let end = Instant::now() + CONNECTION_MAX;
        let (mut client, _stop) = connected();
        keep_busy(&mut client, end - Duration::from_millis(1)).await;
        ask(&mut client, "/slow").await;
        let last = answer(&mut client).await;
        assert!(last.starts_with("HTTP/1.1 200") && last.contains("connection: close"), "{last}");
        assert!(end.elapsed() >= SLOW.mul_f64(0.9), "the work was under way when the hour was over");
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_take_the_last_answer_is_cut_off() {
        let end = Instant::now() + CONNECTION_MAX;
        let (near, mut client) = tokio::io::duplex(64);
        let (_stop, stops) = watch::channel(false);
        let long = Router::new().route("/", get(async || "x".repeat(1024)));
        let talked = tokio::spawn(talk(near, TowerToHyperService::new(long), Caller::Anybody, stops));
        ask(&mut client, "/").await;
        talked.await.unwrap();
        assert!(end.elapsed() >= LAST_ANSWER_MAX && end.elapsed() < LAST_ANSWER_MAX + Duration::from_secs(1));
    }
}
