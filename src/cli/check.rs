//! `consentry check`: is the configuration right?

use std::io::Write;

use crate::exit::{Exit, Failure};
use crate::message::ExistingUnsubscribe;
use crate::pipeline::Stream;
use crate::policy::{FromDomains, Law, MessageClass};
use crate::tell;

use super::Place;

pub(super) fn run(place: &Place, out: &mut dyn Write) -> Result<Exit, Failure> {
    let file = place.file();
    let settings = place.load()?;
    writeln!(out, "{}: right", file.display())?;
    writeln!(
        out,
        "  streams: {}, credentials: {}",
        settings.pipeline.streams.len(),
        settings.pipeline.credentials.len()
    )?;
    let mut names: Vec<_> = settings.pipeline.streams.values().collect();
    names.sort_by(|a, b| a.rules.name.cmp(&b.rules.name));
    for stream in names {
        writeln!(out, "  {}: {} of {}", stream.rules.name, stream.rules.class, stream.rules.controller)?;
        for warning in warnings(stream).into_iter().chain(nothing_to_tell(&settings.tell, stream)) {
            writeln!(out, "    warning: {warning}")?;
        }
    }
    if settings.inbound_listen.is_empty() {
        let mailbox = &settings.pipeline.unsubscribe_mailbox;
        writeln!(
            out,
            "  warning: nobody takes mail to {mailbox}, which every message names as a way out: set inbound.listen"
        )?;
    }
    Ok(Exit::Done)
}

/// A tool is told only when its own link was displaced.
fn nothing_to_tell(tell: &tell::Settings, stream: &Stream) -> Option<&'static str> {
    if !tell.hosts.contains_key(&stream.rules.name) {
        return None;
    }
    match stream.existing_unsubscribe {
        ExistingUnsubscribe::Replace | ExistingUnsubscribe::Merge => None,
        ExistingUnsubscribe::Keep => {
            Some("tell_hosts: the tool's own link is kept, so it hears of most opt-outs itself")
        }
        ExistingUnsubscribe::Refuse => {
            Some("tell_hosts: messages with a link of the tool are refused, so it is never told")
        }
    }
}

/// What is allowed and yet probably not meant.
fn warnings(stream: &Stream) -> Vec<&'static str> {
    let marketing = stream.rules.class == MessageClass::Marketing;
    let mut warnings = Vec::new();
    if !stream.signing.needs_body_hash() && marketing {
        warnings.push("not signed: mailbox providers ignore one-click headers that no DKIM signature covers");
    }
    if stream.rules.law == Law::NotApplied && marketing {
        warnings.push("no law is applied: name `establishment`, or consent is not asked for");
    }
    if stream.rules.from_domains == FromDomains::Any {
        warnings.push("any From domain is accepted: name `from_domains`");
    }
    warnings
}
