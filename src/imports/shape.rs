//! Whose export a file is, and what its rows say.

use clap::ValueEnum;

use crate::mail::Mailbox;
use crate::policy::{Cause, Scope};

use super::{Cells, services, tools};

/// The export of one system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// Our own names: kind, address, scope, cause, since…; also any list with a column for the address.
    Own,
    /// SendGrid: bounces.
    SendgridBounces,
    /// SendGrid: blocks. Nobody's wish and no dead mailbox: nothing is taken from it.
    SendgridBlocks,
    /// SendGrid: invalid emails.
    SendgridInvalid,
    /// SendGrid: spam reports.
    SendgridSpam,
    /// SendGrid: global unsubscribes, or those of one group (say which with a scope).
    SendgridUnsubscribes,
    /// Mailgun: bounces.
    MailgunBounces,
    /// Mailgun: unsubscribes.
    MailgunUnsubscribes,
    /// Mailgun: complaints.
    MailgunComplaints,
    /// Mailgun: allow list. It lifts nothing.
    MailgunAllow,
    /// Amazon SES: account suppression list.
    SesList,
    /// Postmark: suppressions of a message stream.
    Postmark,
    /// SparkPost: suppression list.
    Sparkpost,
    /// Mandrill: rejection list.
    Mandrill,
    /// Mailchimp: subscribed, unsubscribed or cleaned.
    Mailchimp,
    /// Brevo: contacts.
    Brevo,
    /// Brevo: blocked contacts of the API.
    BrevoBlocked,
    /// MailUp: unsubscribed.
    Mailup,
    /// ActiveCampaign: contacts.
    Activecampaign,
    /// listmonk: subscribers.
    Listmonk,
    /// Mautic: contacts.
    Mautic,
}

/// Headers that tell a system: every name has to be there. The narrower ones stand first.
const HEADERS: [(Shape, &[&str]); 17] = [
    (Shape::Mandrill, &["email", "reason", "detail", "created_at", "expires_at"]),
    (Shape::SendgridBounces, &["status", "reason", "email", "created"]),
    (Shape::SendgridSpam, &["ip", "email", "created"]),
    (Shape::MailgunBounces, &["address", "code", "error", "created_at"]),
    (Shape::MailgunUnsubscribes, &["address", "tags", "created_at"]),
    (Shape::MailgunAllow, &["value", "type", "reason", "createdat"]),
    (Shape::Sparkpost, &["recipient", "type", "description"]),
    (Shape::Sparkpost, &["email", "transactional", "non_transactional"]),
    (Shape::Mailchimp, &["email address", "leid", "euid"]),
    (Shape::Brevo, &["email", "email_blacklisted"]),
    (Shape::Mailup, &["e-mail", "idlist", "optout_date"]),
    (Shape::Activecampaign, &["email", "date created", "ip", "status"]),
    (Shape::Listmonk, &["uuid", "email", "attributes", "status"]),
    (Shape::Mautic, &["email", "donotemail"]),
    (Shape::BrevoBlocked, &["email", "reason.code", "blockedat"]),
    (Shape::Postmark, &["emailaddress", "suppressionreason", "origin"]),
    (Shape::SesList, &["emailaddress", "reason"]),
];
/// Headers that must be there and nothing else, for they are made of common names.
const WHOLE_HEADERS: [(Shape, &[&str]); 2] =
    [(Shape::SendgridUnsubscribes, &["email", "created"]), (Shape::MailgunComplaints, &["address", "created_at"])];
/// Two exports of SendGrid that look the same and mean the opposite.
const TWO_MEANINGS: &[&str] = &["reason", "email", "created"];

/// What is asked of a file.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The scope that the operator names for rows without one.
    pub scope: &'a Scope,
    /// The cause that the operator names.
    pub cause: Option<Cause>,
}

/// What one row gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Cells under our own names.
    Says(Cells),
    /// Nothing of the kind that was asked for, and why. That is no fault of the row.
    Passes(&'static str),
}

impl Shape {
    /// Whose export has this (lower-case) header.
    ///
    /// # Errors
    /// A sentence, when it could be two.
    pub(super) fn of_header(header: &[String]) -> Result<Self, String> {
        let holds = |names: &[&str]| names.iter().all(|name| header.iter().any(|known| known == name));
        let is = |names: &[&str]| names.len() == header.len() && holds(names);
        if is(TWO_MEANINGS) {
            return Err(
                "SendGrid's blocks and invalid emails have the same header; say --source sendgrid-invalid, or \
                        leave blocks out: they are nobody's wish and no dead mailbox"
                    .to_owned(),
            );
        }
        let whole = WHOLE_HEADERS.iter().find(|(_, names)| is(names));
        let part = HEADERS.iter().find(|(_, names)| holds(names));
        Ok(whole.or(part).map_or(Self::Own, |(shape, _)| *shape))
    }

    /// Whose export an object with these names is.
    pub(super) fn of_object(names: &[String]) -> Self {
        Self::of_header(names).unwrap_or(Self::Own)
    }

    pub(super) fn is_allow_list(header: &[String]) -> bool {
        Self::of_header(header) == Ok(Self::MailgunAllow)
    }

    /// `address,BOUNCE` or `address,COMPLAINT`: SES writes no header.
    pub(super) fn is_ses_line(first: &str) -> bool {
        first.split_once(',').is_some_and(|(address, reason)| {
            matches!(reason.trim(), "BOUNCE" | "COMPLAINT") && Mailbox::parse(address.trim()).is_ok()
        })
    }

    /// What a row says of somebody who must not be written to: cells of a suppression entry.
    ///
    /// # Errors
    /// A sentence naming the cell and what was expected.
    pub fn suppression(self, row: Cells, wanted: &Wanted<'_>) -> Result<Reading, String> {
        match self {
            Self::Own => Ok(Reading::Says(row)),
            Self::SendgridBounces => services::bounce(&row, "status", "reason", "created"),
            Self::SendgridBlocks => Ok(Reading::Passes("a block is nobody's wish and no dead mailbox")),
            Self::SendgridInvalid => services::listed(&row, Cause::Invalid, "created", "reason"),
            Self::SendgridSpam => services::listed(&row, Cause::Complaint, "created", "ip"),
            Self::SendgridUnsubscribes => {
                services::listed(&row, wanted.cause.unwrap_or(Cause::Unsubscribe), "created", "")
            }
            Self::MailgunBounces => services::bounce(&row, "code", "error", "created_at"),
            Self::MailgunUnsubscribes => services::mailgun_unsubscribe(&row, wanted.scope),
            Self::MailgunComplaints => {
                services::listed(&row, wanted.cause.unwrap_or(Cause::Complaint), "created_at", "")
            }
            Self::MailgunAllow => Ok(Reading::Passes("an allow list lifts nothing")),
            Self::SesList => services::ses(&row),
            Self::Postmark => services::postmark(&row),
            Self::Sparkpost => services::sparkpost(&row),
            Self::Mandrill => services::mandrill(&row),
            Self::Mailchimp => tools::mailchimp_stop(&row),
            Self::Brevo => tools::brevo_stop(&row),
            Self::BrevoBlocked => tools::brevo_blocked(&row),
            Self::Mailup => tools::mailup(&row, wanted.scope),
            Self::Activecampaign => tools::activecampaign_stop(&row),
            Self::Listmonk => tools::listmonk_stop(&row),
            Self::Mautic => tools::mautic(&row),
        }
    }

    /// What a row says of somebody who agreed: cells of a consent record. Without a basis of its own the operator's
    /// counts: that somebody is on a list does not say why.
    ///
    /// # Errors
    /// A sentence naming the cell and what was expected.
    pub fn consent(self, row: Cells) -> Result<Reading, String> {
        match self {
            Self::Own => Ok(Reading::Says(row)),
            Self::Mailchimp => tools::mailchimp_consent(&row),
            Self::Brevo => tools::brevo_consent(&row),
            Self::Activecampaign => tools::activecampaign_consent(&row),
            Self::Listmonk => tools::listmonk_consent(&row),
            Self::SendgridBounces
            | Self::SendgridBlocks
            | Self::SendgridInvalid
            | Self::SendgridSpam
            | Self::SendgridUnsubscribes
            | Self::MailgunBounces
            | Self::MailgunUnsubscribes
            | Self::MailgunComplaints
            | Self::MailgunAllow
            | Self::SesList
            | Self::Postmark
            | Self::Sparkpost
            | Self::Mandrill
            | Self::BrevoBlocked
            | Self::Mailup
            | Self::Mautic => Ok(Reading::Passes("this export holds nobody's consent")),
        }
    }
}
