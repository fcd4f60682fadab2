//! `consentry dns`: what must be published so that mail of this gateway is believed and people can leave.

mod ask;
mod judge;
mod print;
mod wanted;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::exit::{Exit, Failure};

use super::{Place, small_runtime};

use ask::Resolver;
use judge::{Finding, Verdict};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Ask this name server instead of the system's: an authoritative one shows a change before others see it.
    #[arg(long, value_name = "ADDRESS:PORT")]
    resolver: Option<SocketAddr>,
    /// Ask nobody; print what must be published.
    #[arg(long, conflicts_with = "resolver")]
    offline: bool,
    /// One JSON object for each record, one on a line.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, place: &Place, out: &mut dyn Write) -> Result<Exit, Failure> {
    let settings = place.load()?;
    let wanted = wanted::records(&settings.hostname, &settings.pipeline, &settings.delivery.routes)?;
    let findings = if arguments.offline {
        wanted.into_iter().map(Finding::not_asked).collect()
    } else {
        let runtime = small_runtime()?;
        // The resolver starts tasks of its own.
        let _entered = runtime.enter();
        let resolver = Resolver::new(arguments.resolver).map_err(|error| Failure::new(Exit::Unavailable, error))?;
        let resolver = Arc::new(resolver);
        // All at once: with a server that does not answer, one patience has to do.
        let asked: Vec<_> =
            wanted.into_iter().map(|record| tokio::spawn(judge::check(record, Arc::clone(&resolver)))).collect();
        let mut findings = Vec::with_capacity(asked.len());
        for finding in asked {
            findings.push(runtime.block_on(finding).map_err(|error| Failure::new(Exit::Software, error))?);
        }
        findings
    };
    if arguments.json {
        print::json(&findings, out)?;
    } else {
        print::text(&findings, out)?;
    }
    Ok(exit(&findings))
}

/// What is wrong counts before what could not be asked.
fn exit(findings: &[Finding]) -> Exit {
    let is = |wanted: &[Verdict]| findings.iter().any(|finding| wanted.contains(&finding.verdict));
    if is(&[Verdict::Missing, Verdict::Wrong]) {
        Exit::No
    } else if is(&[Verdict::Unknown]) {
        Exit::Temporary
    } else {
        Exit::Done
    }
}
