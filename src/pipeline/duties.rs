//! What a message shows, read where its body lies.

use std::io::Read;

use crate::mail::Reply;
use crate::message::{Expected, HeaderSection, read_duties};
use crate::policy::MessageFacts;
use crate::spool::Body;

use super::answer;

/// Octets of a large body that are read for what it shows. Text stands in front of attachments; what is not seen counts as
/// not shown.
const LOOK_MAX: u64 = 1024 * 1024;

/// Reads what the message shows; a large body is read from its file, off the async threads.
///
/// # Errors
/// The reply to give when our own file cannot be read: a fault of ours, and worth another try.
pub(super) async fn read(section: &HeaderSection, body: &Body, expected: &Expected) -> Result<MessageFacts, Reply> {
    let file = match body {
        Body::Memory(octets) => return Ok(read_duties(section, octets, expected)),
        Body::File(file) => file.path.clone(),
    };
    let start = tokio::task::spawn_blocking(move || {
        let mut start = Vec::new();
        std::fs::File::open(file)?.take(LOOK_MAX).read_to_end(&mut start).map(|_| start)
    });
    match start.await {
        Ok(Ok(start)) => Ok(read_duties(section, &start, expected)),
        Ok(Err(error)) => {
            tracing::error!(%error, "a large body could not be read back");
            Err(answer::ours())
        }
        Err(_stopping) => Err(answer::ours()),
    }
}
