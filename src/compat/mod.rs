//! The suppression endpoints of Mailgun, SendGrid and Postmark: what their requests mean here, and our facts in their shapes.
//!
//! **Promise:** a foreign request becomes facts of ours or a sentence saying what was expected; a field that means nothing
//! here is not pretended to be honoured (docs/reference/compatible-endpoints.md lists them).
//!
//! **Owns:** their words, their JSON and their dates. Pure.
//!
//! **Never knows:** HTTP, tokens, the store's doors, who asks.

pub mod mailgun;
pub mod postmark;
pub mod sendgrid;

use crate::mail::{ControllerId, ListName, Mailbox};
use crate::policy::{Cause, Scope};
use crate::time::Timestamp;

/// Entries in one request: what Mailgun takes at once, the most of the three.
pub const BATCH_MAX: usize = 1000;

/// How much of one controller's mail an entry ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// All its marketing.
    Controller,
    /// One list.
    List(ListName),
}

impl Reach {
    /// As the store knows it.
    pub fn scope(&self, controller: &ControllerId) -> Scope {
        match self {
            Self::Controller => Scope::Controller(controller.clone()),
            Self::List(list) => Scope::List(controller.clone(), list.clone()),
        }
    }
}

/// One entry that a request asks to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Whose.
    pub mailbox: Mailbox,
    /// Why.
    pub cause: Cause,
    /// How far.
    pub reach: Reach,
    /// What the service knew of it.
    pub evidence: Option<String>,
    /// Since when; since the request when it does not say.
    pub since: Option<Timestamp>,
}

/// One entry as it is shown: an address that the store keeps in clear, and its fact.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The address.
    pub address: &'a str,
    /// The list that it has left, when it left one.
    pub list: Option<&'a ListName>,
    /// Why.
    pub cause: Cause,
    /// What proves it.
    pub evidence: Option<&'a str>,
    /// Since when.
    pub since: Timestamp,
    /// Whether the person or their mailbox said so, or somebody at the controller.
    pub said_by: SaidBy,
}

/// Who said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaidBy {
    /// The person, or their mailbox.
    Recipient,
    /// An operator, an import, a program.
    Customer,
}

fn mailbox(text: &str) -> Result<Mailbox, String> {
    Mailbox::parse(text.trim()).map_err(|error| format!("`{text}` is no address: {error}"))
}
