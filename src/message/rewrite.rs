//! One copy of a message for the recipients that a decision permitted.

use bytes::Bytes;

use crate::mail::{CampaignId, ListName, NameError, Recipient};
use crate::policy::{OneClick, Permit};
use crate::time::Timestamp;

use super::edit::{Edit, Line, ValueError};
use super::fields::{FeedbackId, ListId, MessageId, ReceivedLine};
use super::section::{HeaderSection, SectionError};
use super::unsubscribe::{self, Displaced, ExistingUnsubscribe, Links, UnsubscribeError};

/// Fields with this prefix are spoken to the gateway and never leave it.
const CONTROL_PREFIX: &str = "Consentry-";
const CONTROL_LIST: &str = "Consentry-List";
const CONTROL_CAMPAIGN: &str = "Consentry-Campaign";
const SIGNATURE: &str = "DKIM-Signature";

/// What to make of a message for one copy.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The trace field of this hop; without one no `Received` is added.
    pub received: Option<&'a ReceivedLine>,
    /// The Date of a message that came without.
    pub now: Timestamp,
    /// The Message-ID of a message that came without.
    pub message_id: &'a MessageId,
    /// The ways out for this recipient. `None` leaves a List-Unsubscribe of the tool alone.
    pub unsubscribe: Option<&'a Links>,
    /// What becomes of a List-Unsubscribe of the tool when there are links.
    pub existing: ExistingUnsubscribe,
    /// Replaces any List-Id.
    pub list_id: Option<&'a ListId>,
    /// Replaces any Feedback-ID.
    pub feedback_id: Option<&'a FeedbackId>,
    /// What the body leaves like.
    pub body: BodyFate,
}

/// Whether the copy leaves with the body that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BodyFate {
    /// Octet for octet.
    #[default]
    Kept,
    /// With links of its own, so that no signature made before holds.
    Changed,
}

/// Why a message could not be rewritten.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// Ours: a copy for nobody.
    #[error("no permit; a copy needs at least one recipient")]
    Nobody,
    /// Ours: one link for several people would let each unsubscribe the others.
    #[error("several recipients in a copy with unsubscribe links; expected one copy for each")]
    SharedLinks,
    /// Ours: a permit owes one-click and the plan has no links.
    #[error("one-click unsubscribe is owed and the plan has no links")]
    MissingLinks,
    /// The client's: the stream refuses messages with a List-Unsubscribe of their own. Will fail again.
    #[error("List-Unsubscribe: expected none, this stream refuses messages that bring their own")]
    UnsubscribePresent,
    /// Ours: a value of the configuration does not fit into a header field.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The client's: with the fields that are added the section passes a limit. Will fail again.
    #[error("after rewriting: {0}")]
    Section(#[from] SectionError),
}

impl RewriteError {
    /// Whether the message itself is at fault, so that the same message will be refused again. Everything else is a
    /// fault of the gateway or its configuration, and the client may retry.
    pub const fn is_permanent(&self) -> bool {
        match self {
            Self::UnsubscribePresent | Self::Section(_) => true,
            Self::Nobody | Self::SharedLinks | Self::MissingLinks | Self::Value(_) => false,
        }
    }
}

impl From<UnsubscribeError> for RewriteError {
    fn from(error: UnsubscribeError) -> Self {
        match error {
            UnsubscribeError::Present => Self::UnsubscribePresent,
            UnsubscribeError::Value(value) => Self::Value(value),
        }
    }
}

/// A header section that fulfils the duties of its permits, with the recipients it may be sent to. Only [`rewrite`]
/// makes one.
#[derive(Debug)]
pub struct Rewritten {
    pub(super) recipients: Vec<Recipient>,
    pub(super) section: HeaderSection,
    pub(super) displaced: Displaced,
}

impl Rewritten {
    /// To whom.
    pub fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }

    /// The new header section, blank line included, not signed yet.
    pub const fn section(&self) -> &HeaderSection {
        &self.section
    }

    /// The unsubscribe URIs of the tool that no longer leave with the message.
    pub const fn displaced(&self) -> &Displaced {
        &self.displaced
    }

    /// The tool's own one-click URI, when it had set one and it was displaced: where an opt-out is forwarded to.
    pub fn displaced_one_click(&self) -> Option<&str> {
        self.displaced.one_click.as_ref().map(unsubscribe::HttpsUri::as_str)
    }
}

/// Rewrites the header section for the recipients of `permits`, which are used up.
///
/// Removed: `Bcc`, `Resent-Bcc`, `Return-Path`, every `Consentry-*`. Added where absent: `Date`, `Message-ID`.
/// Replaced when the plan has one: `List-Id`, `Feedback-ID`. `List-Unsubscribe` and `List-Unsubscribe-Post` follow
/// [`ExistingUnsubscribe`]. `Received` is put on top. A `DKIM-Signature` that covers a field changed here would no
/// longer verify and is removed; one that covers none of them is kept while the body is. All other fields keep every octet.
///
/// # Errors
/// [`RewriteError`], which says whose fault it is; nothing is sent then.
pub fn rewrite(section: &HeaderSection, permits: Vec<Permit>, plan: &Plan<'_>) -> Result<Rewritten, RewriteError> {
    check_duties(&permits, plan)?;
    let recipients: Vec<Recipient> = permits.into_iter().map(Permit::into_recipient).collect();
    let mut edit = Edit::new(section);
    edit.remove(|field| {
        field.is("Bcc") || field.is("Resent-Bcc") || field.is("Return-Path") || is_control(field.name())
    });
    identify(&mut edit, plan)?;
    let displaced = match plan.unsubscribe {
        Some(links) => unsubscribe::apply(&mut edit, links, plan.existing)?,
        None => Displaced::default(),
    };
    if let Some(received) = plan.received {
        let only = if let [only] = recipients.as_slice() { Some(&only.mailbox) } else { None };
        edit.put_top(received.line(only)?);
    }
    match plan.body {
        BodyFate::Kept => remove_broken_signatures(&mut edit),
        BodyFate::Changed => edit.remove(|field| field.is(SIGNATURE)),
    }
    // Reading the result again costs a microsecond and holds every rule of the scanner for what leaves, too.
    let section = HeaderSection::parse(edit.write())?;
    Ok(Rewritten { recipients, section, displaced })
}

fn check_duties(permits: &[Permit], plan: &Plan<'_>) -> Result<(), RewriteError> {
    let owed = permits.iter().any(|permit| permit.obligations().one_click == OneClick::Owed);
    match permits.len() {
        0 => Err(RewriteError::Nobody),
        _ if owed && plan.unsubscribe.is_none() => Err(RewriteError::MissingLinks),
        2.. if owed || plan.unsubscribe.is_some() => Err(RewriteError::SharedLinks),
        _ => Ok(()),
    }
}

fn is_control(name: &str) -> bool {
    name.get(..CONTROL_PREFIX.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(CONTROL_PREFIX))
}

/// What tells the message apart: Date, Message-ID, List-Id, Feedback-ID.
fn identify(edit: &mut Edit<'_>, plan: &Plan<'_>) -> Result<(), ValueError> {
    if !edit.section().has("Date") {
        edit.put_end(Line::new("Date").word(&plan.now.rfc5322())?);
    }
    if !edit.section().has("Message-ID") {
        edit.put_end(plan.message_id.line()?);
    }
    if let Some(list_id) = plan.list_id {
        edit.remove(|field| field.is("List-Id"));
        edit.put_end(list_id.line()?);
    }
    if let Some(feedback_id) = plan.feedback_id {
        edit.remove(|field| field.is("Feedback-ID"));
        edit.put_end(feedback_id.line()?);
    }
    Ok(())
}

/// RFC 6376 section 5.4: a signature covers the fields that its `h=` names, absent ones too.
fn remove_broken_signatures(edit: &mut Edit<'_>) {
    let broken: Vec<Bytes> = edit
        .section()
        .fields(SIGNATURE)
        .filter(|field| covered(&field.unfolded()).is_none_or(|names| names.iter().any(|name| edit.has_changed(name))))
        .map(|field| Bytes::copy_from_slice(field.raw()))
        .collect();
    if !broken.is_empty() {
        edit.remove(|field| field.is(SIGNATURE) && broken.iter().any(|raw| raw == field.raw()));
    }
}

/// The names in `h=`, or nothing when the signature cannot be read.
fn covered(signature: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(signature).ok()?;
    let names = text.split(';').find_map(|tag| tag.trim().strip_prefix('h')?.trim_start().strip_prefix('='))?;
    Some(names.split(':').map(|name| name.trim().to_owned()).collect())
}

/// What the campaign tool said to the gateway in control fields. They narrow a stream, never widen it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Controls {
    /// `Consentry-List`.
    pub list: Option<ListName>,
    /// `Consentry-Campaign`.
    pub campaign: Option<CampaignId>,
}

/// Why control fields were not accepted. The client's fault; the same message will fail again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The field stands more than once.
    #[error("a second {field}; expected at most one")]
    Repeated {
        /// Which.
        field: &'static str,
    },
    /// The value is not a name.
    #[error("{field}: {source}")]
    Name {
        /// Which.
        field: &'static str,
        /// What was expected.
        source: NameError,
    },
}

/// Reads `Consentry-List` and `Consentry-Campaign`.
///
/// # Errors
/// [`ControlError`], which names the field.
pub fn controls(section: &HeaderSection) -> Result<Controls, ControlError> {
    let list = control(section, CONTROL_LIST, ListName::new)?;
    let campaign = control(section, CONTROL_CAMPAIGN, CampaignId::new)?;
    Ok(Controls { list, campaign })
}

fn control<T>(
    section: &HeaderSection,
    field: &'static str,
    parse: impl FnOnce(&str) -> Result<T, NameError>,
) -> Result<Option<T>, ControlError> {
    let mut found = section.fields(field);
    let Some(only) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(ControlError::Repeated { field });
    }
    parse(&String::from_utf8_lossy(&only.unfolded())).map(Some).map_err(|source| ControlError::Name { field, source })
}

#[cfg(test)]
mod tests;
