//! A received body, looked at where it lies: for what it shows, and for where its links go.

use std::io::Read;

use bytes::Bytes;

use crate::mail::Reply;
use crate::message::{BodyLink, BodyPlan, HeaderSection};
use crate::spool::Body;

use super::answer;
use super::settings::Stream;

/// Octets of a large body that are read. Text stands in front of attachments; what is not seen counts as not shown, and a
/// body beyond this gets no links.
pub(super) const LOOK_MAX: u64 = 1024 * 1024;
/// Octets that all copies of one message may have of the body for themselves: 160 recipients of a campaign as long as
/// Gmail shows whole. Tools that write to more at once are told to divide them.
pub(super) const OWN_MAX: usize = 16 * 1024 * 1024;

/// The beginning of a body, up to [`LOOK_MAX`]; a large one is read from its file, off the async threads.
///
/// # Errors
/// The reply to give when our own file cannot be read: a fault of ours, and worth another try.
pub(super) async fn beginning(body: &Body) -> Result<Bytes, Reply> {
    let file = match body {
        Body::Memory(octets) => return Ok(octets.clone()),
        Body::File(file) => file.path.clone(),
    };
    let read = tokio::task::spawn_blocking(move || {
        let mut start = Vec::new();
        std::fs::File::open(file)?.take(LOOK_MAX).read_to_end(&mut start).map(|_| start)
    });
    match read.await {
        Ok(Ok(start)) => Ok(Bytes::from(start)),
        Ok(Err(error)) => {
            tracing::error!(%error, "a large body could not be read back");
            Err(answer::ours())
        }
        Err(_stopping) => Err(answer::ours()),
    }
}

/// Where the links of each recipient's own go; `None` when all copies may share the body as it came. `start` is its
/// [`beginning`].
///
/// # Errors
/// The reply to give: the message asks for links that it cannot have.
pub(super) fn links(
    section: &HeaderSection,
    start: &Bytes,
    body: &Body,
    stream: &Stream,
) -> Result<Option<BodyPlan>, Reply> {
    match stream.body_link {
        BodyLink::Off => return Ok(None),
        BodyLink::Replace => {}
    }
    let plan = BodyPlan::read(section, start.clone()).map_err(answer::no_links)?;
    if plan.sealed() > 0 {
        let (stream, left) = (&stream.rules.name, plan.sealed());
        tracing::warn!(%stream, left, "placeholders in a signed part were left: replacing them would break its signature");
    }
    if plan.is_empty() {
        return Ok(None);
    }
    if body.len() > LOOK_MAX { Err(answer::too_large_for_links(LOOK_MAX)) } else { Ok(Some(plan)) }
}
