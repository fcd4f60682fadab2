//! What is gathered before a decision: as much as the stream's law asks for, in one question to the store.

use crate::mail::Mailbox;
use crate::policy::{Facts, Law, MessageFacts, Suppression};
use crate::store::{Dossier, Store, StoreError};

use super::settings::Stream;

/// Asks what is known of each recipient, in their order. A stream to which no law applies needs the suppressions alone,
/// unless somebody opted out: then a later opt-in of theirs may count again (promise P10).
///
/// # Errors
/// [`StoreError`]: nothing is decided then (promise P4).
pub(super) async fn gather(store: &Store, stream: &Stream, mailboxes: &[&Mailbox]) -> Result<Vec<Dossier>, StoreError> {
    let dossiers = match stream.rules.law {
        Law::Applied(_) => store.dossier(mailboxes).await?,
        Law::NotApplied => {
            let evidence = store.evidence(mailboxes).await?;
            if evidence.iter().flatten().any(|fact| fact.cause.is_opt_out()) {
                return whole(mailboxes, store.dossier(mailboxes).await?);
            }
            evidence.into_iter().map(|suppressions| Dossier { suppressions, ..Dossier::default() }).collect()
        }
    };
    whole(mailboxes, dossiers)
}

/// An answer that does not fit the question is no answer.
fn whole(mailboxes: &[&Mailbox], dossiers: Vec<Dossier>) -> Result<Vec<Dossier>, StoreError> {
    if dossiers.len() == mailboxes.len() { Ok(dossiers) } else { Err(StoreError::Stopping) }
}

/// The facts of one recipient as policy reads them.
pub(super) fn of<'a>(dossier: &'a Dossier, message: Option<&'a MessageFacts>) -> (&'a [Suppression], Facts<'a>) {
    let facts = Facts {
        contact: dossier.contact.as_ref(),
        consents: &dossier.consents,
        registers: &dossier.registers,
        message,
    };
    (&dossier.suppressions, facts)
}
