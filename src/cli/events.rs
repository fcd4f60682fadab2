//! `consentry events`: what was decided and changed, as a program outside reads it.

use std::io::Write;
use std::time::Duration;

use crate::events::{Events, EventsError, Filter, PAGE_MAX, Position};
use crate::exit::{Exit, Failure};
use crate::mail::{ControllerId, ListName, StreamName};

/// What is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Behind this position: the `next` that was printed at the end of an earlier call. From the oldest when not given.
    #[arg(long, value_name = "POSITION", default_value = "0")]
    after: Position,
    /// Only events of these types, as the record names them.
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only events of this stream.
    #[arg(long, value_name = "NAME")]
    stream: Option<StreamName>,
    /// Only events of this list.
    #[arg(long, value_name = "NAME")]
    list: Option<ListName>,
    /// Only events about mail and facts of this controller.
    #[arg(long, value_name = "NAME")]
    controller: Option<ControllerId>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = PAGE_MAX, conflicts_with = "follow")]
    limit: usize,
    /// Goes on with what happens from now on, until it is stopped.
    #[arg(long)]
    follow: bool,
}

/// Prints events one JSON object a line, and at the end the position behind them on the error output.
pub(super) fn run(arguments: &Arguments, events: &Events, out: &mut dyn Write) -> Result<Exit, Failure> {
    let filter = Filter {
        types: arguments.types.clone(),
        stream: arguments.stream.clone(),
        list: arguments.list.clone(),
        controller: arguments.controller.clone(),
    };
    let runtime = super::small_runtime()?;
    let patience = if arguments.follow { Duration::MAX } else { Duration::ZERO };
    let (mut position, mut left) = (arguments.after, arguments.limit);
    loop {
        let wait = if arguments.follow { PAGE_MAX } else { left };
        let page = runtime.block_on(events.wait(position, wait, &filter, patience)).map_err(|error| failure(&error))?;
        for event in &page.events {
            out.write_all(&event.line)?;
            out.write_all(b"\n")?;
        }
        out.flush()?;
        (position, left) = (page.next, left.saturating_sub(page.events.len()));
        if !arguments.follow && (!page.more || left == 0) {
            break;
        }
    }
    writeln!(std::io::stderr(), "next: {position}")?;
    Ok(Exit::Done)
}

fn failure(error: &EventsError) -> Failure {
    let exit = match error {
        EventsError::Gone { .. } => Exit::Data,
        EventsError::Io(_) => Exit::Io,
    };
    Failure::new(exit, format!("{error}; --after 0 begins with the oldest"))
}
