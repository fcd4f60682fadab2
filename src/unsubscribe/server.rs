//! The listener: one request on each connection, and the end of it within half a minute.
//!
//! Requests are not sent behind each other on one connection: a click is one request, and where there is no second one
//! there is nothing to smuggle it in (ADR 0011).

use std::io::Cursor;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::Service as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::head::{self, Fault, HEAD_MAX, Progress};
use super::{Door, effect, routes};
use crate::crowd::{self, Census, Neighbourhood, Place};

/// How long the head of a request may take, from the connection on, and the TLS handshake before it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may last in all: handshake, head, body, answer.
const CONNECTION_MAX: Duration = Duration::from_secs(30);
/// How long a client that was turned away may go on sending before the line is cut; it could not read our answer else.
const LINGER: Duration = Duration::from_secs(2);
/// How much of that is read and thrown away.
const LINGER_OCTETS: u64 = 256 * 1024;
/// How long to wait when a connection cannot be accepted: it stays in the queue, so accept fails again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often quotas forget, and the counts of opt-outs are looked at.
const SWEEP_EVERY: Duration = Duration::from_mins(1);
/// What a client is told for whom there is no place.
const FULL: &str = "503 Service Unavailable";

/// Where and when a request came in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// The other end of the connection.
    pub(super) peer: IpAddr,
    /// When its connection was accepted.
    pub(super) at: Instant,
}

/// Serves the door until `stop` resolves; requests under way are finished. What the listener complains of is logged and
/// waited out.
pub(super) async fn serve(listener: TcpListener, door: Door, stop: impl Future<Output = ()> + Send) {
    let census = Arc::new(Census::default());
    let service = TowerToHyperService::new(routes::routes(door.clone()));
    let mut connections = JoinSet::new();
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    let mut reports = effect::Reports::default();
    // Its end tells connections that have not asked for anything yet.
    let (open, closing) = watch::channel(());
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                report(ended);
                continue;
            }
            _ = sweep.tick() => {
                door.limits.sweep();
                reports.tick(&door.effects);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let conversation = Conversation { service: service.clone(), closing: closing.clone() };
                admit(stream, peer.ip(), &door, &census, conversation, &mut connections);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop((open, listener));
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
    effect::report(&door.effects.histogram());
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection of the unsubscribe door broke");
    }
}

fn admit(
    stream: TcpStream,
    peer: IpAddr,
    door: &Door,
    census: &Arc<Census>,
    conversation: Conversation,
    connections: &mut JoinSet<()>,
) {
    let settings = door.settings.load();
    let is_proxy = settings.trusted_proxies.iter().any(|range| range.contains(peer));
    let from = (!is_proxy).then(|| Neighbourhood::of(peer));
    let acceptor = settings.certificates.as_ref().map(crate::tls::Certificates::acceptor);
    let Some(place) = census.enter(from, settings.places) else {
        if acceptor.is_none() {
            // Or the client does without.
            let _told = crowd::turn_away(stream, canned(FULL).as_bytes());
        }
        tracing::warn!(%peer, "no place for another connection to the unsubscribe door");
        return;
    };
    let arrival = Arrival { peer, at: Instant::now() };
    connections.spawn(async move {
        let talk = async {
            match acceptor {
                None => conversation.hold(stream, arrival).await,
                Some(acceptor) => match timeout(HEAD_TIMEOUT, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => conversation.hold(stream, arrival).await,
                    Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS"),
                    Err(_elapsed) => tracing::debug!(%peer, "a TLS handshake took too long"),
                },
            }
        };
        if timeout(CONNECTION_MAX, talk).await.is_err() {
            tracing::debug!(%peer, "a connection was cut off");
        }
        drop::<Place>(place);
    });
}

/// One request and its answer.
struct Conversation {
    service: TowerToHyperService<Router>,
    /// Changes when the door closes.
    closing: watch::Receiver<()>,
}

impl Conversation {
    async fn hold<S>(mut self, stream: S, arrival: Arrival)
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut octets = Vec::with_capacity(1024);
        let read = tokio::select! {
            biased;
            _closing = self.closing.changed() => return,
            read = timeout(HEAD_TIMEOUT, read_head(&mut reader, &mut octets)) => read,
        };
        match read.unwrap_or(if octets.is_empty() { Head::Gone } else { Head::Refused(Fault::TooSlow) }) {
            Head::Gone => {}
            Head::Refused(fault) => turn_away(&mut reader, &mut writer, fault).await,
            Head::Whole => self.answer(Cursor::new(octets).chain(reader), writer, arrival).await,
        }
    }

    async fn answer<R, W>(self, reader: R, writer: W, arrival: Arrival)
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let service = self.service;
        let handle = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(arrival);
            service.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .keep_alive(false)
            .half_close(true)
            .max_headers(head::FIELDS_MAX)
            .serve_connection(TokioIo::new(tokio::io::join(reader, writer)), handle);
        if let Err(error) = connection.await {
            tracing::debug!(peer = %arrival.peer, %error, "a request broke off");
        }
    }
}

enum Head {
    /// The client left, or never spoke.
    Gone,
    /// All of it is there.
    Whole,
    /// It is not taken.
    Refused(Fault),
}

async fn read_head(reader: &mut (impl AsyncRead + Unpin), octets: &mut Vec<u8>) -> Head {
    let mut block = [0; 2048];
    loop {
        let count = match reader.read(&mut block).await {
            Ok(0) | Err(_) => return Head::Gone,
            Ok(count) => count,
        };
        octets.extend_from_slice(block.get(..count).unwrap_or_default());
        match head::look(octets) {
            Ok(Progress::Whole) => return Head::Whole,
            // A head and what came behind it in the same block.
            Ok(Progress::Partial) if octets.len() > HEAD_MAX + block.len() => {
                return Head::Refused(Fault::HeadTooLarge);
            }
            Ok(Progress::Partial) => {}
            Err(fault) => return Head::Refused(fault),
        }
    }
}

/// Answers, says that no more will come, and lets the client finish for a moment: a line that is cut while data is
/// under way is reset, and the answer would be lost with it.
async fn turn_away(reader: &mut (impl AsyncRead + Unpin), writer: &mut (impl AsyncWrite + Unpin), fault: Fault) {
    let linger = async {
        writer.write_all(canned(fault.status()).as_bytes()).await?;
        writer.shutdown().await?;
        tokio::io::copy(&mut reader.take(LINGER_OCTETS), &mut tokio::io::sink()).await
    };
    // Whatever becomes of it, the connection ends here.
    let _ended = timeout(LINGER, linger).await;
}

fn canned(status: &str) -> String {
    let retry = if status == FULL { "Retry-After: 10\r\n" } else { "" };
    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\nCache-Control: no-store\r\n{retry}\r\n")
}
