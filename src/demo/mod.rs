//! The newcomer's first minute: the real gateway with an embedded store in a folder, a smarthost that captures, a few
//! facts, a small campaign over real SMTP, and what became of each recipient.
//!
//! **Promise:** everything shown happened: the campaign went over SMTP, the verdicts are read from the event log, the
//! message from what the smarthost received. With `--keep` it stays up, and can stand in front of your own tools.
//!
//! **Owns:** the demo's folder, its configuration, the capturing smarthost.
//!
//! **Never knows:** a way around the gateway.

mod campaign;
mod folder;
mod france;
mod outcome;
mod show;
mod sink;
mod submit;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use crate::config;
use crate::daemon::{self, Gateway};
use crate::exit::{Exit, Failure};
use crate::telemetry::EventLog;
use crate::time::Clock;

use folder::Folder;
use sink::Sink;

/// How the demo runs.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Stay up until SIGTERM or Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Where campaign tools submit; a free port when left out.
    #[arg(long, value_name = "ADDR")]
    submission: Option<SocketAddr>,
    /// Where the unsubscribe door listens; a free port when left out.
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// A smarthost of your own instead of the capturing one.
    #[arg(long, value_name = "HOST:PORT", value_parser = upstream)]
    upstream: Option<(String, u16)>,
    /// Send no campaign.
    #[arg(long)]
    no_campaign: bool,
    /// The key that signs.
    #[arg(long, value_enum, default_value_t = Dkim::Ed25519)]
    dkim: Dkim,
}

/// Which key signs in the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Dkim {
    /// None.
    None,
    /// Ed25519.
    Ed25519,
    /// RSA 2048.
    Rsa,
    /// One signature of each.
    Both,
}

fn upstream(text: &str) -> Result<(String, u16), String> {
    let expected = || format!("`{text}`: expected HOST:PORT such as 127.0.0.1:2600");
    let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.parse().map_err(|_| expected())?;
    if host.is_empty() { Err(expected()) } else { Ok((host.to_owned(), port)) }
}

/// Runs the demo to its end.
///
/// # Errors
/// [`Failure`] with what could not be done.
pub fn run(arguments: &Arguments, data: Option<PathBuf>, clock: Arc<dyn Clock>) -> Result<Exit, Failure> {
    crate::telemetry::diagnostics("warn");
    let folder = Folder::open(data)?;
    let runtime = daemon::runtime()?;
    let (log, writer) = EventLog::start(folder.event_log()?)?;
    let outcome = runtime.block_on(demonstrate(arguments, &folder, log, clock));
    drop(runtime);
    daemon::finish_log(writer);
    outcome
}

async fn demonstrate(
    arguments: &Arguments,
    folder: &Folder,
    log: EventLog,
    clock: Arc<dyn Clock>,
) -> Result<Exit, Failure> {
    let mut out = std::io::stdout();
    let sink = match arguments.upstream {
        None => Some(Sink::start(folder.captured()).await?),
        Some(_) => None,
    };
    let upstream = match (&sink, &arguments.upstream) {
        (Some(sink), _) => (sink.address().ip().to_string(), sink.address().port()),
        (None, Some(upstream)) => upstream.clone(),
        (None, None) => return Err(Failure::new(Exit::Software, "no smarthost")),
    };
    let record = folder.signing_key(arguments.dkim)?;
    let file = folder.configure(arguments, &upstream)?;
    let mut settings = config::load(&file)?;
    settings.delivery.retry.first = folder::RETRY_FIRST;
    let gateway = daemon::start(settings, daemon::Sockets::default(), log, clock).await?;
    folder.note_addresses(&gateway, arguments, &upstream)?;
    show::opening(&mut out, folder, &gateway, &upstream, record.as_deref())?;
    if !arguments.no_campaign {
        campaign::run(&mut out, folder, &gateway, sink.is_some()).await?;
        france::run(&mut out, folder, &gateway, sink.is_some()).await?;
        show::farewell(&mut out, folder, sink.is_some())?;
    }
    if arguments.keep {
        stay(&mut out, folder, &gateway).await?;
    }
    gateway.stop().await;
    if let Some(sink) = sink {
        sink.stop().await;
    }
    Ok(Exit::Done)
}

async fn stay(out: &mut impl Write, folder: &Folder, gateway: &Gateway) -> Result<(), Failure> {
    show::next_steps(out, folder, gateway)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    writeln!(out, "READY")?;
    out.flush()?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_are_host_and_port() {
        assert_eq!(upstream("127.0.0.1:2600"), Ok(("127.0.0.1".to_owned(), 2600)));
        assert_eq!(upstream("[::1]:25"), Ok(("::1".to_owned(), 25)));
        for bad in ["localhost", ":25", "x:70000", "x:"] {
            assert!(upstream(bad).unwrap_err().contains("expected HOST:PORT"), "{bad}");
        }
    }
}
