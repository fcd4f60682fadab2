//! What is logged: one type for every event, one line of JSON for each.

use aws_lc_rs::hmac;
use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};

use crate::hex;
use crate::mail::{EnhancedStatus, Mailbox, Reply};
use crate::time::Timestamp;

/// How addresses appear in log and audit.
#[derive(Clone, Debug)]
pub enum Privacy {
    /// As they are.
    Full,
    /// Local part replaced by a keyed hash: the same person gives the same text, and who holds the key can look a
    /// given address up; the domain stays.
    Hash(Box<hmac::Key>),
    /// The domain alone.
    Domain,
}

/// An address in the form that the privacy level allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct AddressForm(String);

impl Privacy {
    /// Octets of the keyed hash that are shown: 64 bits tell people of one domain apart.
    const SHOWN: usize = 8;

    /// The form of `mailbox` that may be written down.
    pub fn form(&self, mailbox: &Mailbox) -> AddressForm {
        let domain = mailbox.domain();
        AddressForm(match self {
            Self::Full => mailbox.as_str().to_owned(),
            Self::Domain => format!("*@{domain}"),
            Self::Hash(key) => {
                let folded = format!("{}@{domain}", mailbox.unquoted_local_part().to_lowercase());
                let tag = hmac::sign(key, folded.as_bytes());
                let hex = hex::encode(tag.as_ref().get(..Self::SHOWN).unwrap_or_default());
                format!("#{hex}@{domain}")
            }
        })
    }

    /// The form of a reverse path, empty for `<>`.
    pub fn form_path(&self, path: &crate::mail::ReversePath) -> AddressForm {
        match path {
            crate::mail::ReversePath::Null => AddressForm(String::new()),
            crate::mail::ReversePath::Mailbox(mailbox) => self.form(mailbox),
        }
    }
}

/// Kinds of events; KumoMTA's names where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventType {
    /// A copy for this recipient was accepted and is on disk.
    Reception,
    /// A recipient or message was refused in the session.
    Rejection,
    /// A recipient of a message that was handed in before: accepted again, and not sent a second time.
    Repeated,
    /// Accepted from the tool, not sent to this recipient: a stream with `on_refusal = "accept"`, or a refused
    /// recipient of a message that others may have.
    Suppressed,
    /// The upstream took it.
    Delivery,
    /// The upstream said not now.
    TransientFailure,
    /// It finally failed.
    Bounce,
    /// Tried too long.
    Expiration,
    /// Taken out of the queue by an operator.
    AdminBounce,
    /// Permitted at intake, refused by the decision before an attempt.
    Withdrawn,
    /// A fact was added to the store.
    SuppressionAdded,
    /// A fact was taken from the store.
    SuppressionRemoved,
    /// A person agreed, through a door of their own, or a program handed in what is known of them.
    ConsentAdded,
    /// What somebody told about people's consents was taken back.
    ConsentRemoved,
    /// A person was asked, by a letter to the address that was entered, whether they agree.
    ConsentAsked,
    /// A message to the unsubscribe mailbox changed nothing.
    FeedbackIgnored,
    /// A campaign tool was told of an opt-out.
    ToolTold,
    /// A campaign tool could not be told for now.
    ToolUnreachable,
    /// A campaign tool will not be told: it refused, or was tried too long.
    ToolNotTold,
    /// A webhook takes nothing and rests.
    WebhookDown,
    /// It takes events again.
    WebhookUp,
    /// A webhook has refused one event for too long: it is put aside.
    WebhookGivenUp,
    /// A way out does not work and rests.
    CircuitOpened,
    /// It works again.
    CircuitClosed,
    /// A session with an upstream is protected as a policy asks for.
    TlsSession,
    /// A session with an upstream could not be protected, or a policy about it could not be had.
    TlsFailure,
    /// A message to ourselves came back, broken or whole, or did not.
    Canary,
    /// Somebody should look at once: `reason` says at what.
    Alarm,
    /// A group is slowed or has recovered, or the circuit is closed again.
    Pace,
    /// An operator, or the gateway itself, changed the queue: held, released, suspended, resumed, retried.
    QueueControl,
}

impl EventType {
    /// The word in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reception => "Reception",
            Self::Rejection => "Rejection",
            Self::Repeated => "Repeated",
            Self::Suppressed => "Suppressed",
            Self::Delivery => "Delivery",
            Self::TransientFailure => "TransientFailure",
            Self::Bounce => "Bounce",
            Self::Expiration => "Expiration",
            Self::AdminBounce => "AdminBounce",
            Self::Withdrawn => "Withdrawn",
            Self::SuppressionAdded => "SuppressionAdded",
            Self::SuppressionRemoved => "SuppressionRemoved",
            Self::ConsentAdded => "ConsentAdded",
            Self::ConsentRemoved => "ConsentRemoved",
            Self::ConsentAsked => "ConsentAsked",
            Self::FeedbackIgnored => "FeedbackIgnored",
            Self::ToolTold => "ToolTold",
            Self::ToolUnreachable => "ToolUnreachable",
            Self::ToolNotTold => "ToolNotTold",
            Self::WebhookDown => "WebhookDown",
            Self::WebhookUp => "WebhookUp",
            Self::WebhookGivenUp => "WebhookGivenUp",
            Self::CircuitOpened => "CircuitOpened",
            Self::CircuitClosed => "CircuitClosed",
            Self::TlsSession => "TlsSession",
            Self::TlsFailure => "TlsFailure",
            Self::Canary => "Canary",
            Self::Alarm => "Alarm",
            Self::Pace => "Pace",
            Self::QueueControl => "QueueControl",
        }
    }
}

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PeerAddress {
    /// The name it gave, or the host that was configured.
    pub name: String,
    /// Address and port.
    pub addr: String,
}

/// What RFC 8460 wants to know (sections 4.2 and 4.3) of a session that could not be protected, or of a policy that could not
/// be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TlsFailure {
    /// What asked for protection.
    #[serde(flatten)]
    pub policy: TlsPolicy,
    /// One of the words of RFC 8460 section 4.3.
    pub result_type: &'static str,
    /// The rest, for people.
    pub detail: String,
}

/// What asked for the protection of a session (RFC 8460 section 4.4, `policy`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TlsPolicy {
    /// `sts`, `tlsa`, or `no-policy-found`.
    pub policy_type: &'static str,
    /// The domain that asked, or that could have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_domain: Option<String>,
    /// The receiving host; absent when no policy could be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// One event. Absent fields are left out of the line.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Version of the record; it grows when a field changes its meaning.
    v: u8,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// When, RFC 3339 in UTC.
    #[serde(serialize_with = "instant")]
    pub timestamp: Timestamp,
    /// The queued copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Reverse path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<AddressForm>,
    /// Forward path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient: Option<AddressForm>,
    /// `campaign:stream@domain`, the name of the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Octets of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// `permit` or `refuse`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<&'static str>,
    /// Stable reason code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Rule and version: `X-011@1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Legal or technical source of the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<&'static str>,
    /// Version of the rulebook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rulebook: Option<&'static str>,
    /// Reference of the decision, as the SMTP reply carries it.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// What proves the deciding fact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// Facts of law that were used: `country`, `class`, `basis`, each with `declared`, `assumed`, `proven` or `asserted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facts: Option<String>,
    /// In shadow: the rule that would have refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_refuse: Option<String>,
    /// Rules that were not fulfilled and only warn.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Rules that would have refused, and that the operator chose not to follow.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<String>,
    /// Who is responsible for the mail, or to whom the fact belongs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller: Option<String>,
    /// The stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// The list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<String>,
    /// The campaign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// The credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The other end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_address: Option<PeerAddress>,
    /// The route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Where a way out ends: `host:port`, or the recipients' domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Whose fault it is that a way does not work: `local`, `policy`, `peer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<&'static str>,
    /// The version of TLS that protected the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_protocol_version: Option<&'static str>,
    /// Its cipher suite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cipher: Option<&'static str>,
    /// What it was protected for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_policy: Option<TlsPolicy>,
    /// Why it was not protected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_failure: Option<TlsFailure>,
    /// What was answered, by the upstream or by us.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "response")]
    pub response: Option<Reply>,
    /// What a refusal was taken for, as KumoMTA calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bounce_classification: Option<&'static str>,
    /// The entry that decided on the class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classified_by: Option<&'static str>,
    /// Attempts so far, this one included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_attempts: Option<u32>,
    /// When the copy was accepted.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_instant")]
    pub created: Option<Timestamp>,
    /// When it will be tried again.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_instant")]
    pub next_attempt: Option<Timestamp>,
}

impl Event {
    /// Version of the record's shape.
    pub const VERSION: u8 = 1;

    /// An event with nothing but its kind and time; the caller fills in what it knows.
    pub const fn new(kind: EventType, timestamp: Timestamp) -> Self {
        Self {
            v: Self::VERSION,
            kind,
            timestamp,
            id: None,
            sender: None,
            recipient: None,
            queue: None,
            size: None,
            verdict: None,
            reason: None,
            rule: None,
            source: None,
            rulebook: None,
            reference: None,
            evidence: None,
            facts: None,
            would_refuse: None,
            warnings: Vec::new(),
            overrides: Vec::new(),
            controller: None,
            stream: None,
            list: None,
            campaign: None,
            credential: None,
            session_id: None,
            peer_address: None,
            route: None,
            site: None,
            fault: None,
            tls_protocol_version: None,
            tls_cipher: None,
            tls_policy: None,
            tls_failure: None,
            response: None,
            bounce_classification: None,
            classified_by: None,
            num_attempts: None,
            created: None,
            next_attempt: None,
        }
    }

    /// The line, without its line end.
    pub fn to_json(&self) -> Bytes {
        // Serialising plain strings and numbers into memory cannot fail; an empty object would still be one line.
        serde_json::to_vec(self).map_or_else(|_| Bytes::from_static(b"{}"), Bytes::from)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands the field by reference")]
fn instant<S: Serializer>(at: &Timestamp, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(at)
}

#[expect(clippy::ref_option, reason = "serde hands the field by reference")]
fn maybe_instant<S: Serializer>(at: &Option<Timestamp>, out: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => out.collect_str(at),
        None => out.serialize_none(),
    }
}

#[derive(Serialize)]
struct Response<'a> {
    code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    enhanced_code: Option<Enhanced>,
    content: &'a str,
}

#[derive(Serialize)]
struct Enhanced {
    class: u8,
    subject: u16,
    detail: u16,
}

#[expect(clippy::ref_option, reason = "serde hands the field by reference")]
fn response<S: Serializer>(reply: &Option<Reply>, out: S) -> Result<S::Ok, S::Error> {
    reply
        .as_ref()
        .map(|reply| Response {
            code: reply.code().as_u16(),
            enhanced_code: reply.enhanced().map(|EnhancedStatus { class, subject, detail }| Enhanced {
                class,
                subject,
                detail,
            }),
            content: reply.text(),
        })
        .serialize(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_whatever_it_carries() {
        let mut event = Event::new(EventType::Delivery, Timestamp::from_secs(0));
        event.evidence = Some("a\r\nb\u{1b}[2J\",\"x\":1".to_owned());
        event.response = Some(Reply::new(250, EnhancedStatus::new(2, 0, 0), "ok"));
        let line = event.to_json();
        assert!(!line.contains(&b'\n') && !line.contains(&0x1b));
        let back: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(back["type"], "Delivery");
        assert_eq!(back["response"]["enhanced_code"]["class"], 2);
        assert!(back.get("x").is_none() && back.get("recipient").is_none());
    }

    #[test]
    fn privacy_levels_hide_the_person_but_keep_the_domain() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"k");
        let person = Mailbox::parse("Ann.Lee@Example.org").unwrap();
        assert_eq!(Privacy::Full.form(&person).0, "Ann.Lee@Example.org");
        assert_eq!(Privacy::Domain.form(&person).0, "*@example.org");
        let hashed = Privacy::Hash(Box::new(key.clone())).form(&person).0;
        assert!(hashed.starts_with('#') && hashed.ends_with("@example.org") && !hashed.contains("nn"), "{hashed}");
        assert_eq!(hashed, Privacy::Hash(Box::new(key)).form(&Mailbox::parse("ann.lee@example.org").unwrap()).0);
    }
}
