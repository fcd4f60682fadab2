//! From the file as written to the settings of each room.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use crate::pipeline::OneClickScope;

use super::error::Problems;
use super::value::{domain, duration, parsed, word};
use super::{LogAddresses, Settings, files, http, law, smtp, store, streams, upstream, v1};

/// Checks everything; problems are noted and the rest is still checked, so that one run shows all of them.
pub(super) fn settings(spec: &v1::Spec, path: &Path, problems: &mut Problems<'_>) -> Option<Settings> {
    let base = path.parent().unwrap_or_else(|| Path::new("."));
    word(problems, "version", &spec.version, &[("v1", ())]);
    let hostname = domain(problems, "gateway.hostname", &spec.gateway.hostname);
    let data_dir = base.join(spec.gateway.data_dir.as_ref());
    let levels = [("hash", LogAddresses::Hash), ("domain", LogAddresses::Domain), ("full", LogAddresses::Full)];
    let log_addresses = match &spec.gateway.log_addresses {
        Some(level) => word(problems, "gateway.log_addresses", level, &levels),
        None => Some(LogAddresses::Hash),
    };
    let smtp_listen = smtp::listen_addresses(&spec.smtp, problems);
    let http_listen = http::listen_address(&spec.http, problems);
    let hostname = hostname?;
    let signers = streams::signers(spec, base, problems);
    let public_url = parsed(problems, "http.public_url", &spec.http.public_url, http::public_url);
    let url = public_url.as_deref().unwrap_or_default();
    let streams = streams::streams(spec, &hostname, url, &signers, problems);
    let whole_controller = streams
        .values()
        .filter(|s| s.one_click_scope == OneClickScope::Controller)
        .map(|s| s.rules.controller.clone())
        .collect::<HashSet<_>>();
    let credentials = streams::credentials(spec, &streams, problems);
    let delivery = upstream::settings(spec, base, &hostname, problems);
    let smtp = smtp::settings(&spec.smtp, &hostname, problems);
    let store = store::settings(&spec.store, base, &data_dir, problems);
    let delivery = delivery?;
    let pipeline = crate::pipeline::Settings {
        upstream: delivery.smarthost.host.clone(),
        public_url: public_url?,
        unsubscribe_mailbox: parsed(problems, "http.mailto", &spec.http.mailto, http::mailto)?,
        give_up: duration(problems, "retry.give_up", spec.retry.give_up.as_ref(), GIVE_UP)?,
        hostname: hostname.clone(),
        rulebook: law::rulebook(&spec.rules, base, problems)?,
        streams,
        credentials,
    };
    let token_keys = match &spec.token.key_file {
        Some(text) => parsed(problems, "token.key_file", text, |text| files::resolve(base, text))?,
        None => files::default_key("consentry.token.key", &data_dir, "token.keys"),
    };
    let mut spool = crate::spool::Settings::new(data_dir.join("spool"));
    if let Some(octets) = &spec.spool.min_free_octets {
        spool.min_free = *octets.as_ref();
    }
    Some(Settings {
        hostname,
        data_dir,
        log_addresses: log_addresses?,
        smtp_listen: smtp_listen?,
        smtp: smtp?,
        http_listen: http_listen?,
        unsubscribe: crate::unsubscribe::Settings { whole_controller },
        pipeline,
        delivery,
        spool,
        store: store?,
        rules_directory: spec.rules.directory.as_ref().map(|directory| base.join(directory.as_ref())),
        token_keys,
    })
}

/// RFC 5321 section 4.5.4.1 asks for 4 to 5 days.
const GIVE_UP: Duration = Duration::from_hours(4 * 24);
