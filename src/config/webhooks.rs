//! The sections `[[webhook]]`: programs outside that are told of events.

use std::collections::HashSet;
use std::path::Path;

use serde::Deserialize as _;
use serde::de::value::{Error, StrDeserializer};

use crate::cidr::AddressRange;
use crate::events::Filter;
use crate::https::Target;
use crate::mail::{ControllerId, HookName, ListName, StreamName};
use crate::telemetry::EventType;
use crate::tls::{self, Protocol, Trust};
use crate::webhook::{GIVE_UP, Hook, Pauses, RETRY_FIRST, RETRY_LONGEST, Secrets, Settings, TIMEOUT};

use super::error::Problems;
use super::value::{duration, parsed};
use super::{files, v1};

/// Each has a task of its own that looks at the trail ten times a second.
const HOOKS_MAX: usize = 32;

pub(super) fn settings(spec: &v1::Spec, base: &Path, problems: &mut Problems<'_>) -> Settings {
    let mut names = HashSet::new();
    for name in spec.webhook.iter().map(|entry| &entry.as_ref().name) {
        if !names.insert(name.as_ref()) {
            let message = format!("`{}` is there twice; expected another name", name.as_ref());
            problems.add(name.span().start, "webhook.name", message);
        }
    }
    if let Some(surplus) = spec.webhook.get(HOOKS_MAX) {
        problems.add(surplus.span().start, "webhook", format!("expected at most {HOOKS_MAX}"));
    }
    let hooks = spec.webhook.iter().filter_map(|entry| hook(entry.as_ref(), base, problems));
    Settings { hooks: hooks.collect() }
}

fn hook(written: &v1::Webhook, base: &Path, problems: &mut Problems<'_>) -> Option<Hook> {
    let name = parsed(problems, "webhook.name", &written.name, HookName::new);
    let target = parsed(problems, "webhook.url", &written.url, |text| {
        Target::parse(text).ok_or_else(|| format!("`{text}`: expected https://HOST/PATH without a user"))
    });
    let secrets = parsed(problems, "webhook.secret_file", &written.secret_file, |text| secrets(base, text));
    let networks = written.networks.iter();
    let networks =
        networks.filter_map(|range| parsed(problems, "webhook.networks", range, AddressRange::parse)).collect();
    let trust = match &written.ca_file {
        Some(text) => parsed(problems, "webhook.ca_file", text, |text| trust(base, text)),
        None => Some(Trust::System),
    };
    let filter = filter(written, problems);
    let timeout = duration(problems, "webhook.timeout", written.timeout.as_ref(), TIMEOUT);
    let first = duration(problems, "webhook.first", written.first.as_ref(), RETRY_FIRST)?;
    let longest = duration(problems, "webhook.longest", written.longest.as_ref(), RETRY_LONGEST)?;
    if longest < first {
        let at = written.longest.as_ref().or(written.first.as_ref()).map_or(0, |value| value.span().start);
        problems.add(at, "webhook.longest", "expected to be at least webhook.first");
    }
    let give_up = duration(problems, "webhook.give_up", written.give_up.as_ref(), GIVE_UP);
    Some(Hook {
        name: name?,
        target: target?,
        networks,
        trust: trust?,
        secrets: secrets?,
        filter,
        timeout: timeout?,
        pauses: Pauses { first, longest },
        give_up: give_up?,
    })
}

fn filter(written: &v1::Webhook, problems: &mut Problems<'_>) -> Filter {
    let types = written.types.iter().filter_map(|kind| parsed(problems, "webhook.types", kind, event_type)).collect();
    let (stream, list, controller) = (written.stream.as_ref(), written.list.as_ref(), written.controller.as_ref());
    Filter {
        types,
        stream: stream.and_then(|name| parsed(problems, "webhook.stream", name, StreamName::new)),
        list: list.and_then(|name| parsed(problems, "webhook.list", name, ListName::new)),
        controller: controller.and_then(|name| parsed(problems, "webhook.controller", name, ControllerId::new)),
    }
}

/// A word that no event has would fit nothing for ever.
fn event_type(text: &str) -> Result<String, String> {
    let known = EventType::deserialize(StrDeserializer::<Error>::new(text));
    known.map(|kind| kind.as_str().to_owned()).map_err(|error| error.to_string())
}

fn secrets(base: &Path, text: &str) -> Result<Secrets, String> {
    let path = files::resolve(base, text)?;
    let secrets = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Secrets::parse(&secrets).map_err(|error| format!("{}: {error}", path.display()))
}

fn trust(base: &Path, text: &str) -> Result<Trust, String> {
    let trust = Trust::File(files::resolve(base, text)?);
    tls::client_config(&trust, Protocol::Http1).map_err(|error| error.to_string())?;
    Ok(trust)
}

#[cfg(test)]
mod tests {
    use crate::config;

    #[test]
    fn there_are_so_many_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "0123456789abcdef0123456789abcdef").unwrap();
        let with = |count: usize| {
            let hook = |number| {
                format!("[[webhook]]\nname = \"h{number}\"\nurl = \"https://crm.example/\"\nsecret_file = \"secret\"\n")
            };
            let text = format!(
                "version = \"v1\"\n[gateway]\nhostname = \"gate.example\"\ndata_dir = \".\"\n[http]\n\
                 public_url = \"https://u.example\"\nmailto = \"u@u.example\"\n[upstream]\nhost = \"mx.example\"\n\
                 [[stream]]\nname = \"news\"\ncontroller = \"acme\"\nclass = \"marketing\"\n\
                 [[credential]]\nname = \"tool\"\nstream = \"news\"\naddresses = [\"127.0.0.1\"]\n{}",
                (0..count).map(hook).collect::<String>()
            );
            config::parse(&folder.path().join("consentry.toml"), &text)
        };
        assert_eq!(with(super::HOOKS_MAX).unwrap().webhooks.hooks.len(), super::HOOKS_MAX);
        let refused = with(super::HOOKS_MAX + 1).unwrap_err().to_string();
        assert!(refused.contains("webhook: expected at most 32"), "{refused}");
    }
}
