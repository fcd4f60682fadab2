//! `from` and `confirm_within` of a `[[sender]]`: who asks people to confirm that they signed up.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::mail::{ControllerId, Mailbox, StreamName};
use crate::pipeline::{Confirming, Stream};
use crate::unsubscribe::Sender;

use super::error::Problems;
use super::v1;
use super::value::{duration, parsed};

/// Long enough for who reads mail at the weekend only; an address that is somebody else's by then confirms nothing.
const WITHIN: Duration = Duration::from_hours(7 * 24);
/// A link that nobody has time to press, and one that outlives the wish.
const WITHIN_MIN: Duration = Duration::from_mins(10);
const WITHIN_MAX: Duration = Duration::from_hours(30 * 24);

/// Every controller whose `[[sender]]` has a `from`.
pub(super) fn confirming(
    spec: &v1::Spec,
    senders: &HashMap<ControllerId, Sender>,
    streams: &HashMap<StreamName, Arc<Stream>>,
    problems: &mut Problems<'_>,
) -> HashMap<ControllerId, Confirming> {
    let mut all = HashMap::new();
    for written in spec.sender.iter().map(AsRef::as_ref) {
        let within = duration(problems, "sender.confirm_within", written.confirm_within.as_ref(), WITHIN);
        if let (Some(within), Some(text)) = (within, &written.confirm_within)
            && !(WITHIN_MIN..=WITHIN_MAX).contains(&within)
        {
            let message = "expected between 10 minutes (`10m`) and 30 days (`30d`)".to_owned();
            problems.add(text.span().start, "sender.confirm_within", message);
        }
        let Some(from) = &written.from else { continue };
        let Ok(controller) = ControllerId::new(written.controller.as_ref()) else { continue };
        let author = |text: &str| match Mailbox::parse(text) {
            Ok(mailbox) if !mailbox.needs_smtputf8() => {
                let stream = signer(streams, &controller, &mailbox);
                let stream = stream.ok_or_else(|| {
                    format!("no [[stream]] of `{controller}` may use the From domain {}", mailbox.domain())
                })?;
                Ok((mailbox, stream))
            }
            Ok(_) => Err(format!("`{text}`: expected an ASCII mailbox")),
            Err(error) => Err(format!("`{text}`: {error}")),
        };
        let Some((from, stream)) = parsed(problems, "sender.from", from, author) else { continue };
        let (Some(within), Some(sender)) = (within, senders.get(&controller)) else { continue };
        let titles = sender.lists.iter().map(|list| (list.name.clone(), list.title.as_str().to_owned())).collect();
        let name = sender.name.as_str().to_owned();
        all.insert(controller, Confirming { from, stream, within, name, titles });
    }
    all
}

/// The first stream, by name, that may write as `author`; one that signs goes before one that does not.
fn signer(
    streams: &HashMap<StreamName, Arc<Stream>>,
    controller: &ControllerId,
    author: &Mailbox,
) -> Option<Arc<Stream>> {
    let fits = |stream: &&Arc<Stream>| {
        stream.rules.controller == *controller && stream.rules.from_domains.allow(author.domain())
    };
    let mut fitting: Vec<_> = streams.values().filter(fits).collect();
    fitting.sort_by_key(|stream| (!stream.signing.needs_body_hash(), stream.rules.name.clone()));
    fitting.first().map(|stream| Arc::clone(stream))
}
