//! SendGrid: `/v3/suppression/*`, `/v3/asm/suppressions` and `/v3/asm/groups`.

use serde::{Deserialize, Serialize};

use super::{BATCH_MAX, Reach, Shown, Wanted, mailbox};
use crate::mail::ListName;
use crate::policy::Cause;

/// Entries of an answer when none were asked for, and most of them: SendGrid's own figure.
pub const PAGE_MAX: usize = 500;
/// How far `offset` may go: each step before it is read and thrown away.
pub const OFFSET_MAX: usize = 100_000;

/// Which of its lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Dead mailboxes.
    Bounces,
    /// Refusals for policy: none are kept here, since they are nobody's wish (`docs/reference/replies.md`).
    Blocks,
    /// Addresses that cannot exist.
    InvalidEmails,
    /// Complaints.
    SpamReports,
    /// Opt-outs from everything.
    Unsubscribes,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Bounces, Self::Blocks, Self::InvalidEmails, Self::SpamReports, Self::Unsubscribes];

    /// The word in the path.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bounces => "bounces",
            Self::Blocks => "blocks",
            Self::InvalidEmails => "invalid_emails",
            Self::SpamReports => "spam_reports",
            Self::Unsubscribes => "unsubscribes",
        }
    }

    /// Reads what stands in a path.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Which of our causes it shows.
    pub const fn causes(self) -> &'static [Cause] {
        match self {
            Self::Bounces => &[Cause::HardBounce],
            Self::Blocks => &[],
            Self::InvalidEmails => &[Cause::Invalid],
            Self::SpamReports => &[Cause::Complaint],
            Self::Unsubscribes => &[Cause::Unsubscribe, Cause::LegalObjection],
        }
    }
}

/// One entry of `/v3/suppression/*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    created: i64,
    email: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
}

/// An entry of a list of `kind`.
pub fn item(kind: Kind, shown: &Shown<'_>) -> Item {
    let reason = Some(shown.evidence.unwrap_or_default().to_owned());
    let bare = Item {
        created: shown.since.as_secs(),
        email: shown.address.to_lowercase(),
        reason: None,
        status: None,
        ip: None,
    };
    match kind {
        Kind::Bounces | Kind::Blocks => Item { status: Some(status(shown.evidence)), reason, ..bare },
        Kind::InvalidEmails => Item { reason, ..bare },
        Kind::SpamReports => Item { ip: Some(String::new()), ..bare },
        Kind::Unsubscribes => bare,
    }
}

/// The enhanced code within the evidence; the least specific one when there is none.
fn status(evidence: Option<&str>) -> String {
    let is_code = |word: &&str| {
        let mut parts = word.split('.');
        let numbers =
            parts.by_ref().take(3).filter(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
        word.starts_with("5.") && numbers.count() == 3 && parts.next().is_none()
    };
    evidence.and_then(|text| text.split_whitespace().find(is_code)).unwrap_or("5.0.0").to_owned()
}

/// `{"recipient_emails": [...]}`: the body of a POST to a group or to `global`, and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipients {
    /// Addresses.
    pub recipient_emails: Vec<String>,
}

/// Reads the body of a POST.
///
/// # Errors
/// A sentence naming what was expected; then nothing of it is recorded.
pub fn read(body: &[u8], reach: &Reach) -> Result<Vec<Wanted>, String> {
    let recipients: Recipients = serde_json::from_slice(body)
        .map_err(|error| format!("expected {{\"recipient_emails\": [\"a@b.example\"]}}: {error}"))?;
    let all = recipients.recipient_emails;
    if all.len() > BATCH_MAX {
        return Err(format!("{} addresses; expected at most {BATCH_MAX}", all.len()));
    }
    all.iter()
        .map(|address| {
            let (mailbox, reach) = (mailbox(address)?, reach.clone());
            Ok(Wanted { mailbox, cause: Cause::Unsubscribe, reach, evidence: None, since: None })
        })
        .collect()
}

/// `{"delete_all": true}` or `{"emails": [...]}`: the body of a DELETE on a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Deletion {
    /// Everything on it.
    #[serde(default)]
    pub delete_all: bool,
    /// These.
    #[serde(default)]
    pub emails: Vec<String>,
}

/// A list of ours as a group of theirs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// [`group_id`].
    pub id: u32,
    /// Its title.
    pub name: String,
    /// A sentence about it.
    pub description: String,
    /// Never: nothing is sent on a group that a tool forgot to name.
    pub is_default: bool,
}

/// The number of a list: its name has none, and their clients want one. 31 bits, always the same for the same name.
pub fn group_id(list: &ListName) -> u32 {
    crc32fast::hash(list.as_str().as_bytes()) & 0x7FFF_FFFF
}

/// One opt-out from one group, in the list over all groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Membership {
    /// Whose.
    pub email: String,
    /// [`group_id`].
    pub group_id: u32,
    /// Its title.
    pub group_name: String,
    /// Seconds since 1970.
    pub created_at: i64,
}

/// Their shape of an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Errors {
    errors: [Fault; 1],
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Fault {
    field: Option<String>,
    message: String,
}

impl Errors {
    /// One sentence.
    pub fn new(message: impl Into<String>) -> Self {
        Self { errors: [Fault { field: None, message: message.into() }] }
    }
}

#[cfg(test)]
mod tests {
    use super::super::SaidBy;
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn recipients_are_read_and_a_batch_ends_at_its_limit() {
        let body = |count: usize| {
            serde_json::to_vec(&Recipients { recipient_emails: vec!["a@b.example".to_owned(); count] }).unwrap()
        };
        let wanted = read(&body(1), &Reach::Controller).unwrap();
        assert_eq!((wanted.len(), wanted[0].cause), (1, Cause::Unsubscribe));
        assert_eq!(read(&body(BATCH_MAX), &Reach::Controller).unwrap().len(), BATCH_MAX);
        assert!(read(&body(BATCH_MAX + 1), &Reach::Controller).is_err());
        assert!(read(br#"{"recipient_emails":["nobody"]}"#, &Reach::Controller).is_err());
        assert!(read(b"[]", &Reach::Controller).unwrap_err().contains("recipient_emails"));
    }

    #[test]
    fn entries_are_shown_as_their_kind_asks() {
        let shown = Shown {
            address: "Ann@b.example",
            list: None,
            cause: Cause::HardBounce,
            evidence: Some("550 5.1.1 no such user"),
            since: Timestamp::from_secs(7),
            said_by: SaidBy::Recipient,
        };
        let text = |kind, shown: &Shown<'_>| serde_json::to_string(&item(kind, shown)).unwrap();
        assert_eq!(
            text(Kind::Bounces, &shown),
            r#"{"created":7,"email":"ann@b.example","reason":"550 5.1.1 no such user","status":"5.1.1"}"#
        );
        assert_eq!(text(Kind::SpamReports, &shown), r#"{"created":7,"email":"ann@b.example","ip":""}"#);
        assert_eq!(text(Kind::Unsubscribes, &shown), r#"{"created":7,"email":"ann@b.example"}"#);
        let vague = Shown { evidence: Some("5.1 or 5.a.1 or 5.1.1.1"), ..shown };
        assert!(text(Kind::Bounces, &vague).ends_with(r#""status":"5.0.0"}"#));
    }

    #[test]
    fn a_list_keeps_its_number() {
        assert_eq!(group_id(&ListName::new("weekly").unwrap()), group_id(&ListName::new("weekly").unwrap()));
        assert_ne!(group_id(&ListName::new("weekly").unwrap()), group_id(&ListName::new("offers").unwrap()));
    }

    #[test]
    fn a_deletion_says_what() {
        let read = |text: &str| serde_json::from_str::<Deletion>(text).unwrap();
        assert!(read(r#"{"delete_all":true}"#).delete_all);
        assert_eq!(read(r#"{"emails":["a@b.example"]}"#).emails, ["a@b.example"]);
        assert_eq!(read("{}"), Deletion::default());
    }
}
