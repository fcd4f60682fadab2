//! From the file as written to the settings of each room.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::mail::{Domain, StreamName};
use crate::pipeline::Stream;

use super::error::Problems;
use super::value::{domain, duration, parsed, word};
use super::{
    LogAddresses, Settings, api, canary, confirming, files, fleet, http, inbound, law, mta_sts, rates, smtp, store,
    streams, tell, upstream, v1, webhooks,
};

/// Checks everything; problems are noted and the rest is still checked, so that one run shows all of them.
pub(super) fn settings(spec: &v1::Spec, path: &Path, problems: &mut Problems<'_>) -> Option<Settings> {
    let base = path.parent().unwrap_or_else(|| Path::new("."));
    word(problems, "version", &spec.version, &[("v1", ())]);
    let hostname = domain(problems, "gateway.hostname", &spec.gateway.hostname);
    let data_dir = base.join(spec.gateway.data_dir.as_ref());
    let log_addresses = log_addresses(&spec.gateway, problems);
    let hostname = hostname?;
    let signers = streams::signers(spec, base, problems);
    let public_url = parsed(problems, "http.public_url", &spec.http.public_url, http::public_url);
    let url = public_url.as_deref().unwrap_or_default();
    let streams = streams::streams(spec, &hostname, url, &signers, problems);
    let doors = doors(spec, base, &hostname, &streams, problems);
    let credentials = streams::credentials(spec, &streams, problems);
    let delivery = upstream::settings(spec, base, &hostname, problems);
    let (dns, mta_sts) = (upstream::dns(spec, base, problems), mta_sts::settings(&spec.mta_sts, base, problems));
    let rates = rates::rates(&spec.smtp.rates, problems);
    let store = store::settings(&spec.store, base, &data_dir, problems);
    let (tell, tell_trust) = (tell::settings(spec, problems), tell::trust(&spec.tell, base, problems));
    let webhooks = webhooks::settings(spec, base, problems);
    let engine = store::engine(&spec.store, base, problems);
    let senders = doors.as_ref().map(|doors| doors.unsubscribe.senders.clone()).unwrap_or_default();
    let confirming = confirming::confirming(spec, &senders, &streams, problems);
    let mut delivery = delivery?;
    let mailboxes = doors.as_ref().map(|doors| doors.feedback.mailboxes.clone()).unwrap_or_default();
    let canary = canary::canary(spec, &streams, &delivery.routes, &mailboxes, problems);
    let pipeline = crate::pipeline::Settings {
        public_url: public_url?,
        unsubscribe_mailbox: parsed(problems, "http.mailto", &spec.http.mailto, http::mailto)?,
        give_up: duration(problems, "retry.give_up", spec.retry.give_up.as_ref(), GIVE_UP)?,
        hostname: hostname.clone(),
        rulebook: law::rulebook(&spec.rules, base, problems)?,
        streams,
        credentials,
        confirming,
        canary,
        rates: rates?,
    };
    let token_keys = token_keys(&spec.token, base, &data_dir, problems)?;
    let (mut doors, (engine, redis)) = (doors?, engine?);
    fleet::join(spec, engine, &mut delivery, problems);
    doors.feedback.canaries = pipeline.canary.as_ref().map(|canary| canary.returns_to.clone());
    let spool = spool(&spec.spool, &data_dir, delivery.sorter());
    Some(Settings {
        hostname,
        data_dir,
        log_addresses: log_addresses?,
        smtp_listen: doors.smtp_listen,
        smtp_listen_tls: doors.smtp_listen_tls,
        smtp: doors.smtp,
        http_listen: doors.http_listen,
        unsubscribe: doors.unsubscribe,
        api: doors.api,
        inbound_listen: doors.inbound_listen,
        inbound: doors.inbound,
        feedback: doors.feedback,
        tell: tell?,
        tell_trust: tell_trust?,
        webhooks,
        pipeline,
        delivery,
        dns: dns?,
        mta_sts: mta_sts?,
        spool,
        store: store?,
        engine,
        redis,
        rules_directory: spec.rules.directory.as_ref().map(|directory| base.join(directory.as_ref())),
        token_keys,
    })
}

fn token_keys(written: &v1::Token, base: &Path, data_dir: &Path, problems: &mut Problems<'_>) -> Option<PathBuf> {
    match &written.key_file {
        Some(text) => parsed(problems, "token.key_file", text, |text| files::resolve(base, text)),
        None => Some(files::default_key("consentry.token.key", data_dir, "token.keys")),
    }
}

fn spool(written: &v1::Spool, data_dir: &Path, sorter: crate::spool::Sorter) -> crate::spool::Settings {
    let mut spool = crate::spool::Settings::new(data_dir.join("spool"));
    spool.sorter = sorter;
    if let Some(octets) = &written.min_free_octets {
        spool.min_free = *octets.as_ref();
    }
    spool
}

fn log_addresses(gateway: &v1::Gateway, problems: &mut Problems<'_>) -> Option<LogAddresses> {
    let levels = [("hash", LogAddresses::Hash), ("domain", LogAddresses::Domain), ("full", LogAddresses::Full)];
    match &gateway.log_addresses {
        Some(level) => word(problems, "gateway.log_addresses", level, &levels),
        None => Some(LogAddresses::Hash),
    }
}

/// Where others come in.
struct Doors {
    smtp_listen: Vec<SocketAddr>,
    smtp_listen_tls: Vec<SocketAddr>,
    smtp: crate::smtp::server::Settings,
    http_listen: Option<SocketAddr>,
    unsubscribe: crate::unsubscribe::Settings,
    api: crate::api::Settings,
    inbound_listen: Vec<SocketAddr>,
    inbound: crate::smtp::server::Settings,
    feedback: crate::feedback::Settings,
}

fn doors(
    spec: &v1::Spec,
    base: &Path,
    hostname: &Domain,
    streams: &HashMap<StreamName, Arc<Stream>>,
    problems: &mut Problems<'_>,
) -> Option<Doors> {
    let smtp_listen = smtp::listen_addresses(&spec.smtp, problems);
    let smtp_listen_tls = smtp::tls_addresses(&spec.smtp, problems);
    let smtp = smtp::settings(&spec.smtp, hostname, base, streams::client_certificates(spec), problems);
    let http_listen = http::listen_address(&spec.http, problems);
    let unsubscribe = http::settings(spec, base, streams, problems);
    let api = api::settings(&spec.api, base, problems);
    let whole = unsubscribe.as_ref().map(|door| door.whole_controller.clone()).unwrap_or_default();
    let feedback = inbound::mailbox(&spec.inbound, spec.http.mailto.as_ref(), whole, problems);
    let inbound_listen = inbound::listen_addresses(&spec.inbound, problems);
    let inbound = inbound::server(&spec.inbound, hostname, problems);
    Some(Doors {
        smtp_listen: smtp_listen?,
        smtp_listen_tls: smtp_listen_tls?,
        smtp: smtp?,
        http_listen: http_listen?,
        unsubscribe: unsubscribe?,
        api: api?,
        inbound_listen: inbound_listen?,
        inbound: inbound?,
        feedback,
    })
}

/// RFC 5321 section 4.5.4.1 asks for 4 to 5 days.
const GIVE_UP: Duration = Duration::from_hours(4 * 24);
