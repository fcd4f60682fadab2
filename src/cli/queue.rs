//! `consentry queue`: what is waiting, and what an operator does about it, at the running daemon; without one, in the
//! spool itself.

mod output;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use crate::api::ask;
use crate::config;
use crate::control::{Answer, Change, Desk, Question, answer, nobody_asks};
use crate::delivery::Selector;
use crate::exit::{Exit, Failure};
use crate::mail::{CampaignId, Domain, QueueId, RouteName, StreamName};
use crate::store::Fence;
use crate::telemetry::EventLog;
use crate::time::{Clock, parse_span};

use super::Place;

/// What to do with the queue.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// How much is waiting, and what is suspended, slowed or broken.
    Stats {
        /// One JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
    /// What is waiting, oldest first.
    List {
        #[command(flatten)]
        which: Narrow,
        /// How many copies.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Go on behind this queue id.
        #[arg(long, value_name = "ID")]
        after: Option<String>,
        /// One JSON object a line instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// One copy: its facts, who it is for, its header section.
    Show {
        /// Its queue id.
        #[arg(value_name = "ID", value_parser = queue_id)]
        id: QueueId,
        /// One JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Try now instead of later.
    Retry(Order),
    /// Put copies that are there aside until they are released; they do not expire meanwhile.
    Hold(Order),
    /// Send what was put aside.
    Release(Order),
    /// Give up without telling the sender.
    Drop {
        #[command(flatten)]
        which: Which,
        /// Why; it is recorded.
        #[arg(long)]
        because: String,
        /// Who asks; it is recorded.
        #[arg(long, value_name = "NAME", env = "USER", default_value = "operator")]
        by: String,
    },
    /// Send nothing of this any more, of what is there and of what comes, until it is resumed.
    Suspend {
        #[command(flatten)]
        order: Order,
        /// It resumes by itself after this: `30m`, `2h`.
        #[arg(long = "for", value_name = "SPAN", value_parser = parse_span)]
        span: Option<Duration>,
    },
    /// Lift every suspension within this, also those of the breaker, and try at once what they had stopped.
    Resume(Order),
}

/// Which copies: all that fit everything named.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Narrow {
    /// Of the streams that take this route: the name of a `[[route]]`, or `upstream`.
    #[arg(long, value_name = "NAME")]
    route: Option<RouteName>,
    /// Of this stream.
    #[arg(long, value_name = "NAME")]
    stream: Option<StreamName>,
    /// Of this campaign.
    #[arg(long, value_name = "NAME")]
    campaign: Option<CampaignId>,
    /// With a recipient at this domain.
    #[arg(long, value_name = "DOMAIN", value_parser = Domain::parse)]
    domain: Option<Domain>,
    /// The copy of this queue id.
    #[arg(long, value_name = "ID", value_parser = queue_id)]
    id: Option<QueueId>,
}

/// Which copies, said on purpose.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(super) struct Which {
    #[command(flatten)]
    narrow: Narrow,
    /// Everything; instead of all the others.
    #[arg(long, conflicts_with_all = ["route", "stream", "campaign", "domain", "id"], required_unless_present_any = ["route", "stream", "campaign", "domain", "id"])]
    all: bool,
}

/// Which copies, by whom and why.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(super) struct Order {
    #[command(flatten)]
    which: Which,
    /// Why; it is recorded.
    #[arg(long, default_value = "no reason given")]
    because: String,
    /// Who asks; it is recorded.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "operator")]
    by: String,
}

impl Narrow {
    fn selector(&self) -> Selector {
        let Self { route, stream, campaign, domain, id } = self.clone();
        Selector { route, stream, campaign, domain, id }
    }
}

fn queue_id(text: &str) -> Result<QueueId, String> {
    QueueId::parse(text).ok_or_else(|| "expected the 13 characters that a listing shows".to_owned())
}

pub(super) fn run(
    command: &Command,
    place: &Place,
    clock: &Arc<dyn Clock>,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    let settings = place.load()?;
    super::small_runtime()?.block_on(async {
        let counter = Counter::open(&settings, clock).await?;
        let exit = serve(command, &counter, out).await;
        counter.close().await;
        exit
    })
}

async fn serve(command: &Command, counter: &Counter<'_>, out: &mut dyn Write) -> Result<Exit, Failure> {
    match command {
        Command::Stats { json } => match counter.ask(Question::Stats).await? {
            Answer::Stats(figures) => output::figures(&figures, *json, out),
            Answer::List { .. }
            | Answer::Copy(_)
            | Answer::SignedUp(_)
            | Answer::Done { .. }
            | Answer::Fault { .. } => Err(unexpected()),
        },
        Command::List { which, limit, after, json } => {
            list(counter, &which.selector(), *limit, after.clone(), *json, out).await
        }
        Command::Show { id, json } => match counter.ask(Question::Show { id: id.to_string() }).await? {
            Answer::Copy(copy) => output::copy(&copy, *json, out),
            Answer::Stats(_)
            | Answer::List { .. }
            | Answer::SignedUp(_)
            | Answer::Done { .. }
            | Answer::Fault { .. } => Err(unexpected()),
        },
        Command::Retry(order) => change(counter, Change::Retry, order, out).await,
        Command::Hold(order) => change(counter, Change::Hold, order, out).await,
        Command::Release(order) => change(counter, Change::Release, order, out).await,
        Command::Drop { which, because, by } => {
            let order = Order { which: which.clone(), because: because.clone(), by: by.clone() };
            change(counter, Change::Drop, &order, out).await
        }
        Command::Suspend { order, span } => {
            let Order { which, because, by } = order.clone();
            let which = which.narrow.selector();
            let question = Question::Suspend { which, seconds: span.map(|span| span.as_secs()), by, because };
            let (suspensions, _, _) = done(counter.ask(question).await?)?;
            writeln!(out, "suspended {suspensions}")?;
            Ok(Exit::Done)
        }
        Command::Resume(order) => resume(counter, order, out).await,
    }
}

/// What was stopped waits for its next look; a resumption is for now, so it is tried at once.
async fn resume(counter: &Counter<'_>, order: &Order, out: &mut dyn Write) -> Result<Exit, Failure> {
    let Order { which, because, by } = order.clone();
    let question = Question::Resume { which: which.narrow.selector(), by, because };
    let (lifted, _, _) = done(counter.ask(question).await?)?;
    writeln!(out, "resumed {lifted}")?;
    if lifted == 0 {
        return Ok(Exit::No);
    }
    change(counter, Change::Retry, order, out).await?;
    Ok(Exit::Done)
}

async fn list(
    counter: &Counter<'_>,
    which: &Selector,
    limit: usize,
    after: Option<String>,
    json: bool,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    let (mut after, mut left) = (after, limit);
    output::heading(json, out)?;
    while left > 0 {
        let question = Question::List { which: which.clone(), limit: left, after };
        let (copies, next) = match counter.ask(question).await? {
            Answer::List { copies, next } => (copies, next),
            Answer::Stats(_) | Answer::Copy(_) | Answer::SignedUp(_) | Answer::Done { .. } | Answer::Fault { .. } => {
                return Err(unexpected());
            }
        };
        output::copies(&copies, json, out)?;
        left = left.saturating_sub(copies.len());
        match next {
            None => return Ok(Exit::Done),
            Some(next) => after = Some(next),
        }
    }
    if let Some(after) = after.filter(|_| !json) {
        writeln!(out, "more: --after {after}")?;
    }
    Ok(Exit::Done)
}

/// Page after page, until the queue has been gone through.
async fn change(counter: &Counter<'_>, to: Change, order: &Order, out: &mut dyn Write) -> Result<Exit, Failure> {
    let (mut copies, mut busy, mut after) = (0, 0, None);
    loop {
        let Order { which, because, by } = order.clone();
        let question = Question::Change { change: to, which: which.narrow.selector(), after, by, because };
        let (done, left_alone, next) = done(counter.ask(question).await?)?;
        copies += done;
        busy += left_alone;
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    writeln!(out, "copies {copies}")?;
    if busy > 0 {
        writeln!(out, "under way and left alone {busy}")?;
    }
    Ok(if copies == 0 { Exit::No } else { Exit::Done })
}

fn done(answer: Answer) -> Result<(u64, u64, Option<String>), Failure> {
    match answer {
        Answer::Done { copies, busy, next } => Ok((copies, busy, next)),
        Answer::Stats(_) | Answer::List { .. } | Answer::Copy(_) | Answer::SignedUp(_) | Answer::Fault { .. } => {
            Err(unexpected())
        }
    }
}

fn unexpected() -> Failure {
    Failure::new(Exit::Software, "the daemon gave an answer to another question")
}

/// Who answers: the running daemon, or the spool that this command has opened for itself.
struct Counter<'a> {
    settings: &'a config::Settings,
    offline: Option<Desk>,
}

impl<'a> Counter<'a> {
    async fn open(settings: &'a config::Settings, clock: &Arc<dyn Clock>) -> Result<Self, Failure> {
        if ask(&settings.data_dir, Question::Stats).await?.is_some() {
            return Ok(Self { settings, offline: None });
        }
        let (spool, _) = crate::daemon::open_spool(settings, clock)?;
        let board = crate::daemon::open_board(settings)?;
        // Nobody follows the log of a command; what it changes is in the audit trail.
        let (log, _writer) = EventLog::start(std::io::sink())?;
        let desk =
            Desk { sign_ups: nobody_asks(), spool, board, log, fence: Fence::default(), clock: Arc::clone(clock) };
        Ok(Self { settings, offline: Some(desk) })
    }

    async fn ask(&self, question: Question) -> Result<Answer, Failure> {
        let answer = match &self.offline {
            Some(desk) => answer(question, desk).await,
            None => ask(&self.settings.data_dir, question)
                .await?
                .ok_or_else(|| Failure::new(Exit::Temporary, "the daemon has just ended; try again"))?,
        };
        match answer {
            Answer::Fault { message, .. } => Err(Failure::new(Exit::Data, message)),
            fine @ (Answer::Stats(_)
            | Answer::List { .. }
            | Answer::Copy(_)
            | Answer::SignedUp(_)
            | Answer::Done { .. }) => Ok(fine),
        }
    }

    async fn close(self) {
        if let Some(desk) = self.offline {
            desk.spool.shutdown().await;
        }
    }
}
