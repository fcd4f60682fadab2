//! `consentry doctor`: the unsubscribe door as a mailbox provider meets it, and the daemon behind it.
//!
//! The POST needs a link that opens. It is made for an address under `.invalid`, a name that can never be anybody's
//! (RFC 2606 section 2): what is recorded is about no person, and once however often the doctor comes. That proves more
//! than the answer to a link that nobody has: the way through every proxy, the token keys, and the store.

mod judge;
mod probe;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::api;
use crate::config;
use crate::control::{Answer, Question};
use crate::exit::{Exit, Failure};
use crate::mail::{Mailbox, QueueId};
use crate::message::HttpsUri;
use crate::policy::MessageClass;
use crate::tls::{Protocol, Trust, client_config};
use crate::token::{self, Subject};

use super::{Place, small_runtime};

use judge::{Check, Verdict};
use probe::{Door, Method};

/// Whom the doctor's own link is for.
const PROBE_ADDRESS: &str = "consentry-doctor@probe.invalid";
/// A link that nobody has: every door answers it, and none does anything.
const UNKNOWN_TOKEN: &str = "consentrydoctor";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Another address of the door than the configured `http.public_url`, such as one that is not public yet.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Connect here instead of where the name leads.
    #[arg(long, value_name = "ADDRESS:PORT")]
    connect: Option<SocketAddr>,
    /// Believe the certificates of this PEM file and no others.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Send only a link that nobody has: nothing is recorded, and the store is not seen at work.
    #[arg(long)]
    read_only: bool,
    /// How long each answer may take; mailbox providers are not patient.
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
    /// One JSON object for each check, one on a line.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, place: &Place, out: &mut dyn Write) -> Result<Exit, Failure> {
    let settings = place.load()?;
    let trust = arguments.ca.clone().map_or(Trust::System, Trust::File);
    let tls = client_config(&trust, Protocol::Http1).map_err(|error| Failure::new(Exit::Unavailable, error))?;
    let url = arguments.url.as_deref().unwrap_or(&settings.pipeline.public_url);
    let door = Door::new(url, arguments.connect, tls, Duration::from_secs(arguments.timeout))
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    let (link, opens) = link(arguments, &settings);
    let checks = small_runtime()?.block_on(async {
        let mut checks = Vec::new();
        for method in [Method::Get, Method::Post] {
            checks.push(judge::answer(method, opens, door.ask(method, &link).await));
        }
        checks.push(mailbox(&settings.pipeline.unsubscribe_mailbox));
        checks.push(daemon(api::ask(&settings.data_dir, Question::Stats).await));
        checks
    });
    print(&checks, arguments.json, out)?;
    let wrong = checks.iter().any(|check| check.verdict == Verdict::Wrong);
    Ok(if wrong { Exit::No } else { Exit::Done })
}

/// Whether the link of the probe is one that the door must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opens {
    Yes,
    No,
}

/// The token to ask with: the doctor's own where the keys can be read.
fn link(arguments: &Arguments, settings: &config::Settings) -> (String, Opens) {
    let own = if arguments.read_only { None } else { own_link(settings) };
    own.map_or_else(|| (UNKNOWN_TOKEN.to_owned(), Opens::No), |token| (token, Opens::Yes))
}

fn own_link(settings: &config::Settings) -> Option<String> {
    // Looking must not make the keys that the first start makes.
    if !settings.token_keys.exists() {
        return None;
    }
    let keyring = config::keyring(&settings.token_keys).ok()?;
    let mut streams: Vec<_> = settings.pipeline.streams.values().collect();
    streams.sort_by(|a, b| a.rules.name.cmp(&b.rules.name));
    let stream = streams.into_iter().find(|stream| stream.rules.class == MessageClass::Marketing)?;
    let subject = Subject {
        mailbox: Mailbox::parse(PROBE_ADDRESS).ok()?,
        controller: stream.rules.controller.clone(),
        list: stream.rules.list.clone(),
        message: QueueId::from_u64(0),
    };
    token::mint(&keyring, &subject).ok().map(|token| token.to_string())
}

/// The mailbox has to survive in a `mailto:` URI (RFC 6068); whether its mail arrives, `consentry dns` says.
fn mailbox(text: &str) -> Check {
    let what = format!("mailbox {text}");
    match Mailbox::parse(text) {
        Ok(mailbox) if mailbox.domain().as_str().starts_with('[') => {
            Check::new(what, Verdict::Wrong, "expected a domain that has an MX record")
        }
        Ok(_) => Check::new(what, Verdict::Right, ""),
        Err(error) => Check::new(what, Verdict::Wrong, error.to_string()),
    }
}

fn daemon(answer: std::io::Result<Option<Answer>>) -> Check {
    let what = "daemon of this data folder";
    match answer {
        Ok(Some(Answer::Stats(figures))) if figures.damaged > 0 || figures.notes_lost > 0 => {
            let (copies, damaged, lost) = (figures.copies, figures.damaged, figures.notes_lost);
            let why = format!("{copies} copies waiting, {damaged} damaged, {lost} audit records lost");
            Check::new(what, Verdict::Look, why)
        }
        Ok(Some(Answer::Stats(figures))) => {
            Check::new(what, Verdict::Right, format!("{} copies waiting", figures.copies))
        }
        Ok(Some(
            Answer::Done { .. } | Answer::List { .. } | Answer::Copy(_) | Answer::SignedUp(_) | Answer::Fault { .. },
        )) => Check::new(what, Verdict::Wrong, "it answers something else than was asked"),
        Ok(None) => Check::new(what, Verdict::Look, "none is running here"),
        Err(error) => Check::new(what, Verdict::Look, format!("it cannot be asked: {error}")),
    }
}

fn print(checks: &[Check], json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    for check in checks {
        let Check { what, verdict, why, took } = check;
        let milliseconds = took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        if json {
            let line = json!({ "check": what, "verdict": verdict.as_str(), "why": why, "milliseconds": milliseconds });
            writeln!(out, "{line}")?;
            continue;
        }
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        let took = milliseconds.map_or_else(String::new, |took| format!(" ({took} ms)"));
        writeln!(out, "{:<6} {what}{took}{why}", verdict.as_str())?;
    }
    Ok(())
}

/// The host, the port and the path in front of `/u/`.
fn parts(url: &str) -> Result<(String, u16, String), String> {
    let expected = || format!("`{url}`: expected https://HOST, perhaps with a port and a path");
    let uri = HttpsUri::parse(url).map_err(|_| expected())?;
    let rest = uri.as_str().get("https://".len()..).ok_or_else(expected)?;
    let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len())).ok_or_else(expected)?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| expected())?),
        None => (authority, 443),
    };
    if host.is_empty() || path.contains(['?', '#']) {
        return Err(expected());
    }
    Ok((host.to_owned(), port, path.trim_end_matches('/').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let of = |url: &str| parts(url).map_err(|_| ());
        assert_eq!(of("https://u.example"), Ok(("u.example".to_owned(), 443, String::new())));
        assert_eq!(of("https://u.example:8443/a/b/"), Ok(("u.example".to_owned(), 8443, "/a/b".to_owned())));
        for bad in ["http://u.example", "https://", "https://u.example:x", "https://u.example/?a", "u.example"] {
            assert_eq!(of(bad), Err(()), "{bad}");
        }
    }
}
