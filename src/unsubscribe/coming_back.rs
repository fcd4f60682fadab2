//! The way back: a person allows again what they had ended.
//!
//! The link was sent to this mailbox and to nobody else, and the button is pressed by a deliberate POST under the words
//! that it means. That is an opt-in which the mailbox itself confirmed, so it is recorded as such, with everything that
//! proves it (GDPR article 7(1)): when, by what action, under which notice, from which address.

use std::net::IpAddr;

use super::Door;
use super::wish::Reach;
use crate::locale::Language;
use crate::mail::ListName;
use crate::policy::{Basis, Confirmation, ConsentFact, Provenance, Purpose};
use crate::store::{Added, NewEvent, StoreError};
use crate::telemetry::{Event, EventType};
use crate::token::Subject;

/// Version of the sentences `list-notice` and `all-notice`: a test fails when they change and this does not.
pub(super) const NOTICE: &str = "unsubscribe-page/1";
/// Who enters these records.
const BY: &str = "unsubscribe page";

/// Records that the person agrees to `purpose`.
///
/// # Errors
/// [`StoreError`]; nothing is acknowledged then.
pub(super) async fn record(
    door: &Door,
    subject: &Subject,
    purpose: Purpose,
    language: Language,
    from: IpAddr,
) -> Result<Added, StoreError> {
    let now = door.opt_outs.clock.now();
    let evidence = format!("button pressed behind the link in message {}", subject.message);
    let fact = ConsentFact {
        confirmation: Confirmation::At(now),
        last_contact: Some(now),
        notice: Some(format!("{NOTICE}/{}", language.tag()).into()),
        evidence: Some(evidence.as_str().into()),
        provenance: Provenance { source: Some(BY.into()), method: Some("page".into()), ip: Some(from) },
        ..ConsentFact::new(subject.controller.clone(), purpose, Basis::DoubleOptIn, now)
    };
    let queue = format!("{}:{}", subject.controller, fact.purpose);
    let added =
        door.opt_outs.store.record(NewEvent::consent(subject.mailbox.clone(), fact, BY.to_owned(), now)?).await?;
    if added == Added::New {
        let mut event = Event::new(EventType::ConsentAdded, now);
        event.recipient = Some(door.opt_outs.privacy.form(&subject.mailbox));
        event.evidence = Some(evidence);
        event.id = Some(subject.message.to_string());
        event.controller = Some(subject.controller.to_string());
        event.queue = Some(queue);
        (door.opt_outs.audit)(door.opt_outs.log.record(&event));
    }
    Ok(added)
}

/// What an opt-in must be for, to be as wide as what it takes back.
pub(super) fn purpose(reach: Reach, list: Option<&ListName>) -> Option<Purpose> {
    match (reach, list) {
        (Reach::List, list) => list.cloned().map(Purpose::List),
        (Reach::Sender, _) => Some(Purpose::Marketing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locale::{Names, say};

    /// What people agreed to under a version must stay what that version says.
    #[test]
    fn the_notice_keeps_its_version_for_as_long_as_its_words() {
        let words: String = Language::ALL
            .into_iter()
            .flat_map(|language| ["list-notice", "all-notice"].map(|id| say(language, id, &Names::default())))
            .collect();
        assert_eq!((NOTICE, crc32fast::hash(words.as_bytes())), ("unsubscribe-page/1", 662_534_862));
    }
}
