//! `consentry shaping`: which group a domain falls in, and how fast its mail leaves on each route.

use std::io::Write;

use serde_json::json;

use crate::config::Settings;
use crate::delivery::Way;
use crate::dns::Resolver;
use crate::exit::{Exit, Failure};
use crate::mail::Domain;
use crate::shaping::{GroupNumber, Limits, Rate, Reach};

/// What is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The domain of a recipient.
    #[arg(value_parser = Domain::parse)]
    domain: Domain,
    /// Do not ask the DNS for its mail servers.
    #[arg(long)]
    offline: bool,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Why a domain is in its group.
enum By {
    Name,
    Mx(String),
    Nothing,
    /// Nobody was asked for its mail servers, or nobody could say.
    NotAsked(String),
}

pub(super) fn run(arguments: &Arguments, settings: &Settings, out: &mut dyn Write) -> Result<Exit, Failure> {
    let book = &settings.delivery.shaping;
    let (group, by) = match book.by_domain(&arguments.domain) {
        Some(group) => (Some(group), By::Name),
        None if arguments.offline => (None, By::NotAsked("--offline".to_owned())),
        None => by_mx(arguments, settings)?,
    };
    let name = group.and_then(|number| book.group(number)).map(|group| group.name);
    let source = group.and_then(|number| book.group(number)).map(|group| group.source);
    let why = match &by {
        By::Name => "by its name".to_owned(),
        By::Mx(host) => format!("by its mail server {host}"),
        By::Nothing => "it is in no group, and limited by itself".to_owned(),
        By::NotAsked(why) => format!("not by its name; its mail servers were not asked ({why})"),
    };
    let routes: Vec<_> = settings
        .delivery
        .routes
        .all()
        .map(|route| {
            let reach = match &route.way {
                Way::Smarthosts(_) => Reach::Smarthost,
                Way::Exchanges { .. } => Reach::Direct,
            };
            (route.name.to_string(), book.limits(&route.name, reach, group), book.whole(&route.name))
        })
        .collect();
    if arguments.json {
        let routes: Vec<_> = routes.iter().map(|(name, limits, whole)| as_json(name, *limits, *whole)).collect();
        let whole = json!({ "domain": arguments.domain.as_str(), "group": name, "why": why, "source": source,
            "edition": book.version, "routes": routes });
        writeln!(out, "{whole}")?;
        return Ok(Exit::Done);
    }
    writeln!(out, "group     {} ({why})", name.unwrap_or("none"))?;
    if let Some(source) = source {
        writeln!(out, "source    {source}")?;
    }
    for (route, limits, whole) in routes {
        writeln!(out, "route     {route}: {}", words(limits, whole))?;
    }
    Ok(Exit::Done)
}

fn by_mx(arguments: &Arguments, settings: &Settings) -> Result<(Option<GroupNumber>, By), Failure> {
    let resolver = Resolver::new(&settings.dns).map_err(|error| Failure::new(Exit::Software, error))?;
    let found = super::small_runtime()?.block_on(resolver.exchanges(&arguments.domain));
    let mut exchanges = match found {
        Ok(answer) => answer.records,
        Err(error) => return Ok((None, By::NotAsked(error.to_string()))),
    };
    exchanges.sort_by_key(|exchange| exchange.preference);
    let book = &settings.delivery.shaping;
    let found = exchanges.iter().find_map(|exchange| {
        let host = exchange.host.as_str();
        Some((book.by_mx([host])?, host.to_owned()))
    });
    Ok(found.map_or((None, By::Nothing), |(group, host)| (Some(group), By::Mx(host))))
}

fn words(limits: Limits, whole: Option<Rate>) -> String {
    let Limits { rate, connections, messages_per_connection, recipients } = limits;
    let said = [
        rate.map(|rate| format!("{rate} messages")),
        connections.map(|count| format!("{count} connections")),
        messages_per_connection.map(|count| format!("{count} messages a connection")),
        recipients.map(|count| format!("{count} recipients a message")),
        whole.map(|rate| format!("{rate} messages on the route as a whole")),
    ];
    let said: Vec<_> = said.into_iter().flatten().collect();
    if said.is_empty() { "no limit".to_owned() } else { said.join(", ") }
}

fn as_json(route: &str, limits: Limits, whole: Option<Rate>) -> serde_json::Value {
    let Limits { rate, connections, messages_per_connection, recipients } = limits;
    json!({
        "route": route,
        "rate": rate.map(|rate| rate.to_string()),
        "connections": connections,
        "messages_per_connection": messages_per_connection,
        "recipients": recipients,
        "route_rate": whole.map(|rate| rate.to_string()),
    })
}
