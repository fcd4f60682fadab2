//! `consentry store`: making, looking at, moving and filling again where the facts live.

use std::io::Write;

use clap::{Args, Subcommand, ValueEnum};

use super::Place;
use crate::config::{self, Settings};
use crate::daemon::private_folder;
use crate::exit::{Exit, Failure};
use crate::store::{Digest, Opening, Rebuilt, RedisSettings, Rotated, Status, Store};
use crate::time::Clock;

/// How often a copy says how far it is.
const SAID_EVERY: u64 = 100_000;

/// Arguments of `consentry store`.
#[derive(Clone, Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Says whether the store answers, and for a fleet: who belongs to it, and what Redis does not have yet.
    Status(StatusArgs),
    /// Makes the fleet's store in Redis: once, from one gateway. Copy its key file to the others.
    Create(CreateArgs),
    /// Reads and checks every fact.
    Verify,
    /// Copies every fact into the other engine while mail flows, and compares the two.
    Copy(CopyArgs),
    /// Empties the fleet's store and fills it again from the journals of all gateways.
    Rebuild(RebuildArgs),
    /// Gives the address hash a new key, without knowing whose addresses they are: one more secret on top of the others.
    RotateKey(RotateKeyArgs),
    /// Takes a gateway that is gone for good off the list of those that are waited for.
    Forget(ForgetArgs),
}

#[derive(Clone, Copy, Debug, Args)]
struct StatusArgs {
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, Args)]
struct CreateArgs {
    /// How many entries it is planned for; more only take more memory each.
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000)]
    expect: u64,
}

#[derive(Clone, Copy, Debug, Args)]
struct CopyArgs {
    /// Where the facts are.
    #[arg(long, value_enum)]
    from: Engine,
    /// Where they go.
    #[arg(long, value_enum)]
    to: Engine,
}

#[derive(Clone, Copy, Debug, Args)]
struct RebuildArgs {
    /// How many entries it is planned for, when Redis has forgotten even that.
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000)]
    expect: u64,
    /// Says that what Redis still holds may go.
    #[arg(long)]
    yes: bool,
}

#[derive(Clone, Copy, Debug, Args)]
struct RotateKeyArgs {
    /// Says that the daemon is stopped, and for a fleet that its store in Redis may be filled again from the gateways' journals.
    #[arg(long)]
    yes: bool,
}

#[derive(Clone, Debug, Args)]
struct ForgetArgs {
    /// Its name, as `store status` shows it.
    gateway: String,
}

/// Where facts can live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Engine {
    /// SQLite in the data folder.
    Embedded,
    /// The servers of `[store.redis]`.
    Redis,
}

pub(super) fn run(
    arguments: &Arguments,
    place: &Place,
    out: &mut dyn Write,
    clock: &dyn Clock,
) -> Result<Exit, Failure> {
    let settings = place.load()?;
    private_folder(&settings.data_dir)?;
    match &arguments.command {
        Command::Status(args) => status(*args, &settings, out, clock),
        Command::Create(args) => create(*args, &settings, out),
        Command::Verify => verify(&settings, out, clock),
        Command::Copy(args) => copy(*args, &settings, out, clock),
        Command::Rebuild(args) => rebuild(*args, &settings, out),
        Command::RotateKey(args) => rotate_key(*args, &settings, out),
        Command::Forget(args) => forget(args, &settings, out),
    }
}

fn servers(settings: &Settings) -> Result<&RedisSettings, Failure> {
    let missing = || Failure::new(Exit::Config, "the configuration has no section [store.redis]");
    settings.redis.as_ref().ok_or_else(missing)
}

fn open(engine: Engine, settings: &Settings, clock: &dyn Clock) -> Result<Store, Failure> {
    match engine {
        Engine::Embedded => Ok(Store::open(&settings.store, Opening::Whole, clock.now())?),
        Engine::Redis => Ok(Store::open_fleet(servers(settings)?, &settings.store)?),
    }
}

fn status(args: StatusArgs, settings: &Settings, out: &mut dyn Write, clock: &dyn Clock) -> Result<Exit, Failure> {
    let store = match (settings.engine, &settings.redis) {
        (config::Engine::Redis, Some(redis)) => Store::unmet_fleet(redis, &settings.store)?,
        (config::Engine::Redis, None) | (config::Engine::Embedded, _) => open(Engine::Embedded, settings, clock)?,
    };
    let Some(status) = store.fleet_status()? else {
        store.blocking_probe()?;
        writeln!(
            out,
            "{}",
            if args.json { "{\"engine\":\"embedded\",\"answers\":true}" } else { "embedded: answers" }
        )?;
        return Ok(Exit::Done);
    };
    if args.json {
        writeln!(out, "{}", as_json(&status))?;
    } else {
        as_text(&status, out)?;
    }
    Ok(if status.closed.is_none() { Exit::Done } else { Exit::Temporary })
}

fn as_json(status: &Status) -> serde_json::Value {
    let fleet: Vec<_> = status
        .fleet
        .iter()
        .map(|(gateway, generation)| serde_json::json!({ "gateway": gateway, "generation": generation }))
        .collect();
    serde_json::json!({
        "engine": "redis",
        "answers": status.closed.is_none(),
        "because": status.closed,
        "gateway": status.gateway,
        "store": status.store.as_ref().map(|(name, _)| name),
        "generation": status.store.as_ref().map(|(_, generation)| generation),
        "pending": status.pending.0,
        "journal": status.pending.1,
        "fleet": fleet,
        "warnings": status.warnings,
    })
}

fn as_text(status: &Status, out: &mut dyn Write) -> std::io::Result<()> {
    match &status.closed {
        None => writeln!(out, "redis: answers")?,
        Some(because) => writeln!(out, "redis: does not answer; mail waits\n  {because}")?,
    }
    if let Some((name, generation)) = &status.store {
        writeln!(out, "store {name}, generation {generation}")?;
    }
    let (pending, journal) = status.pending;
    writeln!(out, "gateway {}: {journal} facts in the journal, {pending} not yet in Redis", status.gateway)?;
    for (gateway, generation) in &status.fleet {
        writeln!(out, "  {gateway} has sent its journal in generation {generation}")?;
    }
    status.warnings.iter().try_for_each(|warning| writeln!(out, "warning: {warning}"))
}

fn create(args: CreateArgs, settings: &Settings, out: &mut dyn Write) -> Result<Exit, Failure> {
    let _store = Store::create_fleet(servers(settings)?, &settings.store, args.expect)?;
    let key = settings.store.key_file.as_ref().map_or_else(String::new, |path| path.display().to_string());
    writeln!(out, "made; copy {key} to every other gateway: without it nothing in the store can be found")?;
    Ok(Exit::Done)
}

fn verify(settings: &Settings, out: &mut dyn Write, clock: &dyn Clock) -> Result<Exit, Failure> {
    let store = crate::daemon::open_store(settings, Opening::Whole, clock)?;
    // What is counted must also be there.
    store.census()?;
    let digest = store.digest()?;
    writeln!(out, "sound: {}", said(&digest))?;
    Ok(Exit::Done)
}

fn said(digest: &Digest) -> String {
    format!("{} entries, {} events, digest {:032x}", digest.entries, digest.events, digest.sum)
}

fn copy(args: CopyArgs, settings: &Settings, out: &mut dyn Write, clock: &dyn Clock) -> Result<Exit, Failure> {
    if args.from == args.to {
        return Err(Failure::new(Exit::Usage, "--from and --to are the same"));
    }
    let (from, to) = (open(args.from, settings, clock)?, open(args.to, settings, clock)?);
    let mut next = SAID_EVERY;
    let counts = from.copy_to(&to, |looked_at| {
        if looked_at >= next {
            next = looked_at + SAID_EVERY;
            // A progress that cannot be shown is no reason to stop.
            let _unshown = writeln!(out, "{looked_at} looked at");
        }
    })?;
    writeln!(out, "copied: {} new, {} already there", counts.new, counts.existing)?;
    let (source, target) = (from.digest()?, to.digest()?);
    writeln!(out, "source: {}\ntarget: {}", said(&source), said(&target))?;
    if source == target {
        writeln!(out, "the same; national opt-out lists are not copied, load them again")?;
        return Ok(Exit::Done);
    }
    writeln!(
        out,
        "not the same: facts came in meanwhile, or the target had facts of its own; copying again adds what is new"
    )?;
    Ok(Exit::No)
}

fn rebuild(args: RebuildArgs, settings: &Settings, out: &mut dyn Write) -> Result<Exit, Failure> {
    if !args.yes {
        let what = "this empties the store in Redis before it is filled from the gateways' journals; restoring a backup keeps \
                    national lists and the history of removals too. Say --yes to go on";
        return Err(Failure::new(Exit::Usage, what));
    }
    let (_store, rebuilt) = Store::rebuild_fleet(servers(settings)?, &settings.store, args.expect)?;
    match rebuilt {
        Rebuilt::Whole => writeln!(out, "filled again; load the national opt-out lists")?,
        Rebuilt::Waiting(because) => writeln!(out, "this gateway's journal is sent\n{because}")?,
    }
    Ok(Exit::Done)
}

fn rotate_key(args: RotateKeyArgs, settings: &Settings, out: &mut dyn Write) -> Result<Exit, Failure> {
    if !args.yes {
        let what = "this hashes every entry anew while the daemon stands still; imports made before can not be taken back or gone on \
                    with afterwards. Back up store and key file, then say --yes";
        return Err(Failure::new(Exit::Usage, what));
    }
    let rotated = match (settings.engine, &settings.redis) {
        (config::Engine::Redis, Some(redis)) => Store::rotate_fleet_key(redis, &settings.store)?,
        (config::Engine::Redis, None) | (config::Engine::Embedded, _) => Store::rotate_key(&settings.store)?,
    };
    let file = settings.store.key_file.as_ref().map_or_else(String::new, |path| path.display().to_string());
    let Rotated { key, secrets, entries, events, waits_for } = rotated;
    writeln!(out, "{entries} entries and {events} events are under key {key} now")?;
    writeln!(
        out,
        "{file} has {secrets} secrets, one a line; each of them is needed: back it up before the daemon starts"
    )?;
    if settings.engine == config::Engine::Redis {
        writeln!(out, "copy it to every other gateway, start them again, and load the national opt-out lists")?;
    }
    if let Some(because) = waits_for {
        writeln!(out, "{because}")?;
    }
    Ok(Exit::Done)
}

fn forget(args: &ForgetArgs, settings: &Settings, out: &mut dyn Write) -> Result<Exit, Failure> {
    let store = Store::open_fleet(servers(settings)?, &settings.store)?;
    if store.forget_gateway(&args.gateway)? {
        writeln!(out, "taken off")?;
        return Ok(Exit::Done);
    }
    writeln!(out, "no gateway of that name; `consentry store status` shows them")?;
    Ok(Exit::No)
}
