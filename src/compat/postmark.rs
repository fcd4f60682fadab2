//! Postmark: the suppressions of a message stream. Its streams are ours, by name.

use serde::{Deserialize, Serialize};

use super::{SaidBy, Shown};
use crate::mail::Mailbox;
use crate::policy::Cause;

/// Addresses in one request: Postmark's own figure.
pub const BATCH_MAX: usize = 50;

/// The body of an addition or a deletion.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Request {
    /// The addresses.
    #[serde(rename = "Suppressions")]
    pub suppressions: Vec<Named>,
}

/// One address.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Named {
    /// As it was written.
    #[serde(rename = "EmailAddress")]
    pub address: String,
}

/// An address as it was written, and what it is or what is wrong with it.
pub type Asked = (String, Result<Mailbox, String>);

impl Request {
    /// Reads a body: each address, or what is wrong with it.
    ///
    /// # Errors
    /// A sentence naming what was expected; then nothing of it is done.
    pub fn read(body: &[u8]) -> Result<Vec<Asked>, String> {
        let request: Self = serde_json::from_slice(body).map_err(|error| {
            format!("expected {{\"Suppressions\": [{{\"EmailAddress\": \"a@b.example\"}}]}}: {error}")
        })?;
        let all = request.suppressions;
        if all.len() > BATCH_MAX {
            return Err(format!("{} addresses; expected at most {BATCH_MAX}", all.len()));
        }
        let read = |Named { address }| {
            let mailbox = super::mailbox(&address);
            (address, mailbox)
        };
        Ok(all.into_iter().map(read).collect())
    }
}

/// What became of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Status {
    /// It is suppressed.
    Suppressed,
    /// It is so no longer.
    Deleted,
    /// Nothing was done.
    Failed,
}

/// One address of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Outcome {
    /// As it was written.
    pub email_address: String,
    /// What became of it.
    pub status: Status,
    /// Why nothing was done.
    pub message: Option<String>,
}

/// `{"Suppressions": [...]}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Listing<T> {
    /// The entries.
    pub suppressions: Vec<T>,
}

/// One entry of a dump.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Item {
    email_address: String,
    suppression_reason: &'static str,
    origin: &'static str,
    created_at: String,
}

/// An entry of a dump.
pub fn item(shown: &Shown<'_>) -> Item {
    Item {
        email_address: shown.address.to_lowercase(),
        suppression_reason: reason(shown.cause),
        origin: origin(shown.said_by),
        created_at: shown.since.rfc3339(),
    }
}

/// Their word for a cause.
pub const fn reason(cause: Cause) -> &'static str {
    match cause {
        Cause::HardBounce | Cause::Invalid => "HardBounce",
        Cause::Complaint => "SpamComplaint",
        Cause::LegalObjection | Cause::Unsubscribe | Cause::Manual | Cause::Erased => "ManualSuppression",
    }
}

/// Their word for who said it.
pub const fn origin(said_by: SaidBy) -> &'static str {
    match said_by {
        SaidBy::Recipient => "Recipient",
        SaidBy::Customer => "Customer",
    }
}

/// Their shape of an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Fault {
    error_code: u16,
    message: String,
}

impl Fault {
    /// A sentence under one of their codes: 10 is a bad token, 300 an invalid request, 1226 an unknown stream.
    pub fn new(error_code: u16, message: impl Into<String>) -> Self {
        Self { error_code, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn each_address_is_read_for_itself_and_a_batch_ends_at_its_limit() {
        let body = |count: usize| {
            format!(r#"{{"Suppressions":[{}]}}"#, vec![r#"{"EmailAddress":"a@b.example"}"#; count].join(","))
        };
        let read =
            Request::read(br#"{"Suppressions":[{"EmailAddress":"a@b.example"},{"EmailAddress":"nobody"}]}"#).unwrap();
        assert!(read[0].1.is_ok() && read[1].1.is_err());
        assert_eq!(Request::read(body(BATCH_MAX).as_bytes()).unwrap().len(), BATCH_MAX);
        assert!(Request::read(body(BATCH_MAX + 1).as_bytes()).is_err());
        assert!(Request::read(b"{}").unwrap_err().contains("Suppressions"));
    }

    #[test]
    fn a_dump_speaks_their_words() {
        let shown = Shown {
            address: "Ann@b.example",
            list: None,
            cause: Cause::LegalObjection,
            evidence: None,
            since: Timestamp::from_secs(0),
            said_by: SaidBy::Recipient,
        };
        let listing = Listing { suppressions: vec![item(&shown)] };
        assert_eq!(
            serde_json::to_string(&listing).unwrap(),
            r#"{"Suppressions":[{"EmailAddress":"ann@b.example","SuppressionReason":"ManualSuppression","Origin":"Recipient","CreatedAt":"1970-01-01T00:00:00.000Z"}]}"#
        );
    }
}
