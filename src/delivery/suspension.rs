//! What an operator, or the breaker, has stopped: who is covered, until when, and why. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::mail::{CampaignId, Domain, Label, QueueId, RouteName, StreamName};
use crate::time::Timestamp;

/// Suspensions at a time. Each is a decision of somebody; more than these nobody oversees.
pub const SUSPENSIONS_MAX: usize = 1000;

/// Which copies, or recipients of copies. Everything that is named must fit; nothing named means everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Selector {
    /// Of the streams that take one route.
    pub route: Option<RouteName>,
    /// Of one stream.
    pub stream: Option<StreamName>,
    /// Of one campaign.
    pub campaign: Option<CampaignId>,
    /// To one domain.
    pub domain: Option<Domain>,
    /// One copy.
    pub id: Option<QueueId>,
}

impl Selector {
    /// Whether a recipient at `domain` of the copy `id`, which goes by `route`, is covered.
    pub fn covers(&self, id: QueueId, label: &Label, route: &RouteName, domain: &Domain) -> bool {
        self.covers_copy(id, label, route) && self.domain.as_ref().is_none_or(|wanted| wanted == domain)
    }

    /// Whether the copy `id`, which goes by `route`, is covered, whoever it is for.
    pub fn covers_copy(&self, id: QueueId, label: &Label, route: &RouteName) -> bool {
        self.id.is_none_or(|wanted| wanted == id)
            && self.route.as_ref().is_none_or(|wanted| wanted == route)
            && self.stream.as_ref().is_none_or(|wanted| *wanted == label.stream)
            && self.campaign.as_ref().is_none_or(|wanted| label.campaign.as_ref() == Some(wanted))
    }

    /// Whether everything that `other` names lies within this.
    pub fn includes(&self, other: &Self) -> bool {
        self.id.is_none_or(|wanted| other.id == Some(wanted))
            && self.route.as_ref().is_none_or(|wanted| other.route.as_ref() == Some(wanted))
            && self.stream.as_ref().is_none_or(|wanted| other.stream.as_ref() == Some(wanted))
            && self.campaign.as_ref().is_none_or(|wanted| other.campaign.as_ref() == Some(wanted))
            && self.domain.as_ref().is_none_or(|wanted| other.domain.as_ref() == Some(wanted))
    }

    /// Whether it is about everything.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }
}

/// `stream=news domain=x.example`, or `everything`.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.route.as_ref().map(|name| format!("route={name}")),
            self.stream.as_ref().map(|name| format!("stream={name}")),
            self.campaign.as_ref().map(|name| format!("campaign={name}")),
            self.domain.as_ref().map(|name| format!("domain={name}")),
            self.id.map(|id| format!("id={id}")),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        if parts.is_empty() { f.write_str("everything") } else { f.write_str(&parts.join(" ")) }
    }
}

/// A selector as files and questions carry it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    campaign: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    domain: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

impl From<Selector> for Written {
    fn from(selector: Selector) -> Self {
        Self {
            route: selector.route.map(|name| name.to_string()),
            stream: selector.stream.map(|name| name.to_string()),
            campaign: selector.campaign.map(|name| name.to_string()),
            domain: selector.domain.map(|name| name.to_string()),
            id: selector.id.map(|id| id.to_string()),
        }
    }
}

impl TryFrom<Written> for Selector {
    type Error = String;
    fn try_from(written: Written) -> Result<Self, String> {
        let id = |text: String| {
            QueueId::parse(&text)
                .ok_or_else(|| format!("`{text}` is not a queue id; expected the 13 characters of a listing"))
        };
        Ok(Self {
            route: written.route.map(|name| RouteName::new(&name)).transpose().map_err(|e| e.to_string())?,
            stream: written.stream.map(|name| StreamName::new(&name)).transpose().map_err(|e| e.to_string())?,
            campaign: written.campaign.map(|name| CampaignId::new(&name)).transpose().map_err(|e| e.to_string())?,
            domain: written.domain.map(|name| Domain::parse(&name)).transpose().map_err(|e| e.to_string())?,
            id: written.id.map(id).transpose()?,
        })
    }
}

/// Who suspends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hand {
    /// A person.
    Operator,
    /// Too many dead mailboxes at once.
    Breaker,
    /// A refusal for our reputation.
    Reputation,
}

impl Hand {
    /// The word in log and listing.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Breaker => "breaker",
            Self::Reputation => "reputation",
        }
    }
}

/// One suspension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suspension {
    /// What.
    pub selector: Selector,
    /// Since when, in milliseconds since 1970.
    #[serde(with = "millis")]
    pub since: Timestamp,
    /// When it ends by itself.
    #[serde(default, with = "maybe_millis", skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Who.
    pub hand: Hand,
    /// Their name.
    pub by: String,
    /// Why.
    pub because: String,
}

impl Suspension {
    /// Whether it has ended by itself.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

mod millis {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::time::Timestamp;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands the field by reference")]
    pub(super) fn serialize<S: Serializer>(at: &Timestamp, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_i64(at.as_millis())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(input).map(Timestamp::from_millis)
    }
}

mod maybe_millis {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::time::Timestamp;

    #[expect(clippy::ref_option, reason = "serde hands the field by reference")]
    pub(super) fn serialize<S: Serializer>(at: &Option<Timestamp>, out: S) -> Result<S::Ok, S::Error> {
        at.map(Timestamp::as_millis).serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<i64>::deserialize(input)?.map(Timestamp::from_millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::ControllerId;

    fn selector(json: &str) -> Selector {
        serde_json::from_str(json).unwrap()
    }

    fn label() -> Label {
        Label {
            stream: StreamName::new("news").unwrap(),
            controller: ControllerId::new("acme").unwrap(),
            list: None,
            campaign: Some(CampaignId::new("c1").unwrap()),
        }
    }

    #[test]
    fn everything_that_is_named_must_fit() {
        let (id, domain) = (QueueId::from_u64(7), Domain::parse("x.example").unwrap());
        let route = RouteName::new("up").unwrap();
        let covers = |json: &str| selector(json).covers(id, &label(), &route, &domain);
        assert!(covers("{}") && covers(r#"{"stream":"news"}"#) && covers(r#"{"campaign":"c1","domain":"X.example"}"#));
        assert!(covers(&format!(r#"{{"id":"{id}"}}"#)));
        assert!(covers(r#"{"route":"up","domain":"x.example"}"#) && !covers(r#"{"route":"direct"}"#));
        assert!(!covers(r#"{"stream":"other"}"#) && !covers(r#"{"stream":"news","domain":"y.example"}"#));
        assert!(!covers(r#"{"campaign":"c2"}"#) && !covers(&format!(r#"{{"id":"{}"}}"#, QueueId::from_u64(8))));
    }

    #[test]
    fn what_is_wider_includes_what_is_narrower() {
        let narrow = selector(r#"{"stream":"news","domain":"x.example"}"#);
        assert!(selector("{}").includes(&narrow) && selector(r#"{"stream":"news"}"#).includes(&narrow));
        assert!(narrow.includes(&narrow) && !narrow.includes(&selector("{}")));
        assert!(!selector(r#"{"stream":"other"}"#).includes(&narrow));
        assert!(!selector(r#"{"route":"up"}"#).includes(&narrow), "it may go by another one");
        assert!(selector(r#"{"domain":"x.example"}"#).includes(&selector(r#"{"route":"up","domain":"x.example"}"#)));
    }

    #[test]
    fn what_is_written_is_read_back_and_nonsense_is_not() {
        let narrow = selector(r#"{"route":"up","stream":"news","campaign":"c1","domain":"x.example"}"#);
        assert_eq!(selector(&serde_json::to_string(&narrow).unwrap()), narrow);
        assert_eq!(narrow.to_string(), "route=up stream=news campaign=c1 domain=x.example");
        assert_eq!(Selector::default().to_string(), "everything");
        for bad in [r#"{"stream":"a b"}"#, r#"{"route":"a b"}"#, r#"{"domain":"@"}"#, r#"{"id":"x"}"#, r#"{"wat":"x"}"#]
        {
            assert!(serde_json::from_str::<Selector>(bad).is_err(), "{bad}");
        }
    }
}
