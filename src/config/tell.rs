//! The section `[tell]` and each stream's `tell_hosts`: campaign tools that are told of opt-outs.

use std::path::Path;

use crate::cidr::AddressRange;
use crate::mail::StreamName;
use crate::tell::{AllowedHost, Settings};
use crate::tls::{self, Protocol, Trust};

use super::error::Problems;
use super::value::{duration, parsed};
use super::{files, v1};

pub(super) fn settings(spec: &v1::Spec, problems: &mut Problems<'_>) -> Option<Settings> {
    let written = &spec.tell;
    let mut settings = Settings::default();
    for entry in &spec.stream {
        let stream = entry.as_ref();
        let hosts = stream.tell_hosts.iter();
        let hosts: Vec<_> =
            hosts.filter_map(|host| parsed(problems, "stream.tell_hosts", host, AllowedHost::parse)).collect();
        // A name that is none is reported where streams are read.
        if let Ok(name) = StreamName::new(stream.name.as_ref())
            && !hosts.is_empty()
        {
            settings.hosts.insert(name, hosts);
        }
    }
    let networks = written.networks.iter();
    settings.networks =
        networks.filter_map(|range| parsed(problems, "tell.networks", range, AddressRange::parse)).collect();
    settings.kept = duration(problems, "tell.keep", written.keep.as_ref(), settings.kept)?;
    settings.first = duration(problems, "tell.first", written.first.as_ref(), settings.first)?;
    settings.longest = duration(problems, "tell.longest", written.longest.as_ref(), settings.longest)?;
    settings.give_up = duration(problems, "tell.give_up", written.give_up.as_ref(), settings.give_up)?;
    if settings.longest < settings.first {
        problems.add(0, "tell.longest", "expected to be at least tell.first");
    }
    Some(settings)
}

/// Whom a tool's certificate has to be signed by.
pub(super) fn trust(spec: &v1::Tell, base: &Path, problems: &mut Problems<'_>) -> Option<Trust> {
    let Some(text) = &spec.ca_file else { return Some(Trust::System) };
    parsed(problems, "tell.ca_file", text, |text| {
        let trust = Trust::File(files::resolve(base, text)?);
        tls::client_config(&trust, Protocol::Http1).map_err(|error| error.to_string())?;
        Ok::<_, String>(trust)
    })
}
