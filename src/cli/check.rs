//! `consentry check`: is the configuration right?

use std::io::Write;

use crate::exit::{Exit, Failure};
use crate::pipeline::Stream;
use crate::policy::{FromDomains, Law, MessageClass};

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
        for warning in warnings(stream) {
            writeln!(out, "    warning: {warning}")?;
        }
    }
    Ok(Exit::Done)
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
