//! Changes of copies, page by page.

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::delivery::Selector;
use crate::mail::QueueId;
use crate::spool::{Changed, Spool, SpoolError};
use crate::telemetry::{Event, EventType};

use super::Desk;
use super::answer::{Answer, WhyNot, control_event, is_chosen, page};
use super::question::Change;

/// Changes under way together: they ride in one write of the spool.
const TOGETHER: usize = 64;

/// Changes the copies of one page that `which` covers, each with a record in the audit trail.
pub(super) async fn change(
    desk: &Desk,
    to: Change,
    which: &Selector,
    after: Option<QueueId>,
    by: &str,
    because: &str,
) -> Answer {
    let (found, next) = page(desk, which, after).await;
    let chosen: Vec<_> = found
        .iter()
        .filter(|(copy, labels)| is_chosen(&desk.board, which, copy, labels.as_ref()))
        .map(|(copy, _)| copy.id)
        .collect();
    let (mut copies, mut busy) = (0_u64, 0_u64);
    let mut fault = None;
    for some in chosen.chunks(TOGETHER) {
        let mut under_way = JoinSet::new();
        for id in some {
            let (spool, id) = (desk.spool.clone(), *id);
            let note = note(desk, to, id, by, because);
            under_way.spawn(async move { one(&spool, to, id, note).await });
        }
        while let Some(result) = under_way.join_next().await {
            match result {
                Ok(Ok(Changed::Done)) => copies += 1,
                Ok(Ok(Changed::Leased)) => busy += 1,
                Ok(Ok(Changed::Already | Changed::Unknown)) => {}
                Ok(Err(error)) => fault = Some(error),
                Err(error) => fault = Some(SpoolError::Failed(error.to_string())),
            }
        }
    }
    if copies > 0 {
        let summary = format!("{because} ({copies} copies)");
        desk.spool.note(desk.log.record(&control_event(desk, to.as_str(), which, by, &summary)));
    }
    match fault {
        Some(error) => Answer::Fault { message: format!("after {copies} copies: {error}"), why: WhyNot::Failed },
        None => Answer::Done { copies, busy, next },
    }
}

fn note(desk: &Desk, to: Change, id: QueueId, by: &str, because: &str) -> Bytes {
    let kind = match to {
        Change::Drop => EventType::AdminBounce,
        Change::Retry | Change::Hold | Change::Release => EventType::QueueControl,
    };
    let mut event = Event::new(kind, desk.clock.now());
    event.id = Some(id.to_string());
    event.reason = Some(to.as_str());
    event.evidence = Some(format!("{} by {by}: {because}", to.as_str()));
    event.to_json()
}

async fn one(spool: &Spool, to: Change, id: QueueId, note: Bytes) -> Result<Changed, SpoolError> {
    match to {
        Change::Retry => Ok(if spool.retry_now(id, note) { Changed::Done } else { Changed::Already }),
        Change::Hold => spool.hold(id, note).await,
        Change::Release => spool.release(id, note).await,
        Change::Drop => spool.drop(id, note).await,
    }
}
