//! `consentry check`: is the configuration right?

use std::io::Write;

use crate::exit::{Exit, Failure};

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
        let unsigned = if stream.signing.needs_body_hash() {
            ""
        } else {
            ", UNSIGNED: mailbox providers ignore one-click without a DKIM signature"
        };
        writeln!(
            out,
            "  {}: {} of {}{unsigned}",
            stream.rules.name,
            stream.rules.class.as_str(),
            stream.rules.controller
        )?;
    }
    Ok(Exit::Done)
}
