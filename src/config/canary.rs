//! The section `[canary]`: messages to ourselves.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::delivery::{CANARY_STREAM, Routes};
use crate::feedback::is_ours;
use crate::mail::name::NAME_MAX;
use crate::mail::{Mailbox, RouteName, StreamName};
use crate::pipeline::{Canary, Stream};

use super::error::Problems;
use super::v1;
use super::value::{duration, parsed};

/// Often enough to notice a changed upstream on the same morning.
const EVERY: Duration = Duration::from_hours(1);
/// A seed mailbox elsewhere may greylist.
const LOST_AFTER: Duration = Duration::from_mins(30);

pub(super) fn canary(
    spec: &v1::Spec,
    streams: &HashMap<StreamName, Arc<Stream>>,
    routes: &Routes,
    unsubscribe: &[Mailbox],
    problems: &mut Problems<'_>,
) -> Option<Canary> {
    let section = spec.canary.as_ref()?;
    let (at, written) = (section.span().start, section.as_ref());
    let address = parsed(problems, "canary.address", &written.address, mailbox);
    let returns_to = match &written.returns_to {
        Some(text) => parsed(problems, "canary.returns_to", text, mailbox),
        None => address.clone(),
    };
    let (key, text) = match &written.returns_to {
        Some(text) => ("canary.returns_to", text),
        None => ("canary.address", &written.address),
    };
    if returns_to.as_ref().is_some_and(|to| is_ours(unsubscribe, to)) {
        let message =
            "expected another mailbox than that of people who unsubscribe: their mail would be taken for canaries";
        problems.add(text.span().start, key, message);
    }
    let from = parsed(problems, "canary.from", &written.from, mailbox);
    let stream = parsed(problems, "canary.stream", &written.stream, |text| {
        let known = StreamName::new(text).ok().and_then(|name| streams.get(&name));
        known.cloned().ok_or_else(|| format!("no [[stream]] is named `{text}`"))
    });
    if let (Some(from), Some(stream)) = (&from, &stream)
        && !stream.rules.from_domains.allow(from.domain())
    {
        let message = format!("stream `{}` may not use the From domain {}", stream.rules.name, from.domain());
        problems.add(written.from.span().start, "canary.from", message);
    }
    if spec.inbound.listen.is_empty() {
        problems.add(at, "canary", "expected [inbound] with a listener, where canaries come back to");
    }
    let names: Vec<RouteName> = routes.all().map(|route| route.name.clone()).collect();
    if let Some(long) = names.iter().find(|name| name.as_str().len() + CANARY_STREAM.len() > NAME_MAX) {
        let most = NAME_MAX - CANARY_STREAM.len();
        problems.add(at, "canary", format!("route `{long}`: expected a name of at most {most} octets"));
    }
    let every = duration(problems, "canary.every", written.every.as_ref(), EVERY);
    let lost_after = duration(problems, "canary.lost_after", written.lost_after.as_ref(), LOST_AFTER);
    Some(Canary {
        address: address?,
        returns_to: returns_to?,
        from: from?,
        stream: stream?,
        routes: names,
        every: every?,
        lost_after: lost_after?,
    })
}

fn mailbox(text: &str) -> Result<Mailbox, String> {
    match Mailbox::parse(text) {
        Ok(mailbox) if !mailbox.needs_smtputf8() => Ok(mailbox),
        Ok(_) => Err(format!("`{text}`: expected an ASCII mailbox")),
        Err(error) => Err(format!("`{text}`: {error}")),
    }
}
