//! Everything that is known of one recipient.

use crate::policy::{ConsentFact, Contact, ListCheck, Suppression};

/// What the store answers about one recipient, read in one snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dossier {
    /// As [`super::Store::evidence`] answers it.
    pub suppressions: Vec<Suppression>,
    /// What is declared about the exact address.
    pub contact: Option<Contact>,
    /// The consent records of the exact address.
    pub consents: Vec<ConsentFact>,
    /// What national opt-out lists say.
    pub registers: Vec<ListCheck>,
}
