//! What the hall needs to know about streams and credentials, checked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::cidr::AddressRange;
use crate::mail::{ControllerId, CredentialName, Domain, ListName, Mailbox, StreamName};
use crate::message::{BodyLink, ExistingUnsubscribe, Expected, Signing};
use crate::policy::{FromDomains, Rulebook, StreamRules};
use crate::smtp::{Fingerprint, Verifier};

use super::rates::Rates;

/// Streams and credentials, replaced as a whole at a reload.
#[derive(Debug)]
pub struct Settings {
    /// What this gateway calls itself in Received and Message-ID.
    pub hostname: Domain,
    /// `https://host` in front of `/u/TOKEN`.
    pub public_url: String,
    /// Mailbox of the mailto: alternative.
    pub unsubscribe_mailbox: String,
    /// The rules in force.
    pub rulebook: Arc<Rulebook>,
    /// How long a copy is tried before it expires.
    pub give_up: Duration,
    /// Streams by name.
    pub streams: HashMap<StreamName, Arc<Stream>>,
    /// Controllers whose sign-ups we have confirmed, and how.
    pub confirming: HashMap<ControllerId, Confirming>,
    /// Messages to ourselves through each route.
    pub canary: Option<super::Canary>,
    /// How much one credential or address may hand in.
    pub rates: Rates,
    /// Who may submit.
    pub credentials: Vec<Credential>,
}

/// One stream with everything that intake and rewriting ask of it.
#[derive(Debug)]
pub struct Stream {
    /// What policy looks at.
    pub rules: StreamRules,
    /// The domains of reverse paths that it may use.
    pub mail_from: FromDomains,
    /// Lists that a control header may choose beside the stream's own.
    pub also_lists: Vec<ListName>,
    /// What happens to a refused recipient.
    pub on_refusal: OnRefusal,
    /// What happens to a List-Unsubscribe that the tool set.
    pub existing_unsubscribe: ExistingUnsubscribe,
    /// What one click ends.
    pub one_click_scope: OneClickScope,
    /// Whether placeholders in the body become links.
    pub body_link: BodyLink,
    /// Domain of the List-Id: the controller's name under the configured domain.
    pub list_domain: Domain,
    /// The name that recipients know the sender by.
    pub brand: String,
    /// Who is written to about their opt-out.
    pub receipts: Receipts,
    /// SenderId of the Feedback-ID, when one is set.
    pub feedback_sender_id: Option<String>,
    /// What its messages are expected to show: names of the sender, postal address, ways out.
    pub expected: Expected,
    /// The keys that sign.
    pub signing: Signing,
    /// Who shares a copy, where nobody needs one of their own.
    pub sharing: Sharing,
    /// For how long a message that is handed in again is known; not at all when there is nothing.
    pub remembered_for: Option<Duration>,
}

/// How a controller's sign-ups are confirmed by their mailbox.
#[derive(Clone, Debug)]
pub struct Confirming {
    /// The author of the letters.
    pub from: Mailbox,
    /// The stream that signs them: one that may use the author's domain.
    pub stream: Arc<Stream>,
    /// How long a link works.
    pub within: Duration,
    /// The name that people know.
    pub name: String,
    /// Titles of its lists.
    pub titles: HashMap<ListName, String>,
}

/// Which recipients of a message share one copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// All of them: one smarthost takes it.
    Together,
    /// Those of one domain: each domain has mail servers of its own.
    ByDomain,
}

impl Stream {
    /// The list to use when a control header asks for `wanted`; `Err` when the stream does not have it: a header
    /// narrows a stream and never widens it.
    ///
    /// # Errors
    /// The list that was asked for.
    pub fn choose_list<'a>(&'a self, wanted: Option<&'a ListName>) -> Result<Option<&'a ListName>, &'a ListName> {
        match wanted {
            None => Ok(self.rules.list.as_ref()),
            Some(list) if self.rules.list.as_ref() == Some(list) || self.also_lists.contains(list) => Ok(Some(list)),
            Some(list) => Err(list),
        }
    }

    /// The list that holds whatever the content says; `None` while a control header may still choose.
    pub fn only_list(&self) -> Option<&ListName> {
        self.rules.list.as_ref().filter(|_| self.also_lists.is_empty())
    }
}

/// What the tool is told about a refused recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRefusal {
    /// 550, at RCPT where it is known there.
    Reject,
    /// 250, and a record that nothing was sent: for tools that disable a contact at the first 5yz.
    Accept,
}

/// What RFC 8058 one-click ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OneClickScope {
    /// The list that the message was for; the whole controller when the message had no list.
    List,
    /// All marketing of the controller.
    Controller,
}

/// Whether a person is sent a receipt of their opt-out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Receipts {
    /// Where the law of their country or of the sender's asks for one.
    #[default]
    AsLawAsks,
    /// Everybody.
    Always,
    /// Nobody, whatever a law asks: somebody else sends it.
    Never,
}

/// What a campaign tool presents, and the stream that it leads to.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Login name.
    pub name: CredentialName,
    /// Where it leads.
    pub stream: StreamName,
    /// How it proves itself.
    pub proof: Proof,
}

/// How a credential proves itself.
#[derive(Clone, Debug)]
pub enum Proof {
    /// SHA-256 of a random token. A fast hash is right for it: 256 random bits cannot be guessed.
    Token([u8; 32]),
    /// An argon2id hash in PHC form, for passwords that people chose.
    Password(String),
    /// What SCRAM keeps of a password (RFC 5802); it also tells whether a password in clear is the right one.
    Scram(Verifier),
    /// By the certificate that it holds the key of.
    Certificate(Fingerprint),
    /// By where it connects from.
    Addresses(Vec<AddressRange>),
}
