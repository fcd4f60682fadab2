//! What `consentry queue` prints.

use std::io::Write;

use crate::control::{Circuit, Copy, Figures, Limited, Waiting, Warmup};
use crate::exit::{Exit, Failure};

/// The queue in figures.
pub(super) fn figures(figures: &Figures, json: bool, out: &mut dyn Write) -> Result<Exit, Failure> {
    if json {
        writeln!(out, "{}", to_json(figures)?)?;
        return Ok(Exit::Done);
    }
    let Figures { copies, recipients, deferred, leased, held, damaged, octets, disk_octets, .. } = figures;
    writeln!(out, "copies {copies}\nrecipients {recipients}\ndeferred {deferred}\nunder way {leased}\nheld {held}")?;
    writeln!(out, "damaged {damaged}\noctets {octets}\non disk {disk_octets}")?;
    writeln!(out, "oldest {}", figures.oldest.as_deref().unwrap_or("-"))?;
    writeln!(out, "audit records lost {}", figures.notes_lost)?;
    writeln!(out, "dead mailboxes to be confirmed {}", figures.unconfirmed)?;
    for open in &figures.circuits {
        let Circuit { since, route, site, fault, class, response } = open;
        writeln!(out, "circuit OPEN {route} {site}: since {since}, fault {fault} ({class}): {response}")?;
    }
    if figures.circuits.is_empty() {
        writeln!(out, "circuits closed")?;
    }
    for known in &figures.limited {
        let Limited { route, group, rate, passed, connections, connections_max } = known;
        let rate = rate.as_ref().map(|rate| format!("{rate}, {passed} passed"));
        let open = connections.zip(*connections_max).map(|(open, most)| format!("{open} of {most} connections"));
        let said: Vec<_> = [rate, open].into_iter().flatten().collect();
        writeln!(out, "limited {group} by {route}: {}", said.join(", "))?;
    }
    for plan in &figures.warmup {
        let Warmup { name, day, used, allowed } = plan;
        let allowed = allowed.map_or_else(|| "no limit any more".to_owned(), |allowed| format!("of {allowed}"));
        writeln!(out, "warm-up {name}: day {day}, {used} {allowed}")?;
    }
    for group in &figures.slowed {
        let (name, level, gap) = (&group.group, group.level, group.gap_s);
        writeln!(out, "slowed {name}: level {level}, one message in {gap} s, since {}", group.since)?;
    }
    for known in &figures.suspended {
        let until = known.until.as_ref().map_or_else(String::new, |until| format!(" until {until}"));
        writeln!(out, "suspended {}: since {}{until} by {}: {}", known.what, known.since, known.by, known.because)?;
    }
    Ok(Exit::Done)
}

/// One copy.
pub(super) fn copy(copy: &Copy, json: bool, out: &mut dyn Write) -> Result<Exit, Failure> {
    if json {
        writeln!(out, "{}", to_json(copy)?)?;
        return Ok(Exit::Done);
    }
    let Waiting { id, received, expires, attempts, state, .. } = &copy.facts;
    let (due, stream) = (copy.facts.due.as_deref().unwrap_or("-"), copy.facts.stream.as_deref().unwrap_or("-"));
    writeln!(
        out,
        "id {id}\nstate {state}\nstream {stream}\ncampaign {}",
        copy.facts.campaign.as_deref().unwrap_or("-")
    )?;
    writeln!(out, "received {received}\nnext attempt {due}\ngiven up {expires}\ntries {attempts}")?;
    writeln!(out, "sender <{}>\nrecipients {}", copy.sender, copy.recipients.join(", "))?;
    writeln!(out, "body octets {}\n", copy.body_octets)?;
    for line in copy.header.lines() {
        // Whatever a tool wrote there must not steer the terminal.
        let line: String = line.chars().map(|c| if c.is_control() && c != '\t' { '?' } else { c }).collect();
        writeln!(out, "{line}")?;
    }
    Ok(Exit::Done)
}

/// The first line of a table.
pub(super) fn heading(json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    if !json {
        let names = ("id", "received", "next attempt", "tries", "state", "stream");
        let (id, received, next, tries, state, stream) = names;
        writeln!(out, "{id:<13} {received:<24} {next:<24} {tries:>5} {state:<9} {stream:<16} domains")?;
    }
    Ok(())
}

/// One page of copies.
pub(super) fn copies(copies: &[Waiting], json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    for copy in copies {
        if json {
            writeln!(out, "{}", to_json(copy)?)?;
            continue;
        }
        let (stream, due) = (copy.stream.as_deref().unwrap_or("-"), copy.due.as_deref().unwrap_or("-"));
        let (id, received, tries, state) = (&copy.id, &copy.received, copy.attempts, &copy.state);
        let domains = copy.domains.join(",");
        writeln!(out, "{id:<13} {received:<24} {due:<24} {tries:>5} {state:<9} {stream:<16} {domains}")?;
    }
    Ok(())
}

fn to_json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::new(Exit::Software, error))
}
