//! Suppression facts: who must not be written to, by whom, and why.

use std::fmt;

use crate::mail::{ControllerId, ListName};
use crate::time::Timestamp;

use super::word::words;

/// How far a suppression reaches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Every controller on this gateway.
    Everything,
    /// All mail of one controller: what an objection under GDPR article 21(2) asks for.
    Controller(ControllerId),
    /// One list of one controller: what a one-click unsubscribe asks for (RFC 8058).
    List(ControllerId, ListName),
}

impl Scope {
    /// Whether mail of `controller` on `list` lies within this scope.
    pub fn covers(&self, controller: &ControllerId, list: Option<&ListName>) -> bool {
        match self {
            Self::Everything => true,
            Self::Controller(theirs) => theirs == controller,
            Self::List(theirs, name) => theirs == controller && Some(name) == list,
        }
    }
}

/// `everything`, `controller:NAME` or `list:CONTROLLER/NAME`: the form of command lines, files and logs.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("everything"),
            Self::Controller(controller) => write!(f, "controller:{controller}"),
            Self::List(controller, list) => write!(f, "list:{controller}/{list}"),
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || format!("`{text}` is not a scope; expected `everything`, `controller:NAME` or `list:CONTROLLER/NAME`");
        if text == "everything" {
            return Ok(Self::Everything);
        }
        let (kind, rest) = text.split_once(':').ok_or_else(expected)?;
        match kind {
            "controller" => ControllerId::new(rest).map(Self::Controller).map_err(|e| e.to_string()),
            "list" => {
                let (controller, list) = rest.split_once('/').ok_or_else(expected)?;
                let controller = ControllerId::new(controller).map_err(|e| e.to_string())?;
                Ok(Self::List(controller, ListName::new(list).map_err(|e| e.to_string())?))
            }
            _ => Err(expected()),
        }
    }
}

words! {
    /// Why someone must not be written to. Declared from the strongest to the weakest: where several apply, the
    /// decision names the first (complaint > objection > unsubscribe > manual > erased > invalid > hard bounce).
    Cause {
        /// The person reported a message as spam (RFC 5965).
        Complaint = "complaint",
        /// The person objected to marketing (GDPR article 21(2)).
        LegalObjection = "legal_objection",
        /// The person left a list.
        Unsubscribe = "unsubscribe",
        /// An operator entered it.
        Manual = "manual",
        /// The person's data was erased (GDPR article 17); the entry keeps the erasure effective.
        Erased = "erased",
        /// The address cannot exist.
        Invalid = "invalid",
        /// The mailbox does not exist (RFC 3463 X.1.1 and its kin).
        HardBounce = "hard_bounce",
    }
    expected "`unsubscribe`, `complaint`, `hard_bounce`, `manual`, `legal_objection`, `erased` or `invalid`"
}

impl Cause {
    /// Whether the person said no. Such an entry never expires by itself (promise P10).
    pub const fn is_opt_out(self) -> bool {
        matches!(self, Self::Complaint | Self::LegalObjection | Self::Unsubscribe)
    }

    /// Whether this stops mail that is not marketing too: there is nobody to write to, or nobody who may be.
    pub const fn stops_every_class(self) -> bool {
        matches!(self, Self::HardBounce | Self::Erased | Self::Invalid | Self::Manual)
    }

    /// Whether the scope of the entry is read as `everything`, whatever was recorded: a mailbox that does not
    /// exist exists for nobody, and an erased person is erased for everybody.
    pub const fn reaches_everything(self) -> bool {
        matches!(self, Self::HardBounce | Self::Erased | Self::Invalid)
    }
}

words! {
    /// Through which door a fact came in.
    Origin {
        /// An operator at the command line.
        Operator = "operator",
        /// An import of a file.
        Import = "import",
        /// RFC 8058 one-click POST.
        OneClick = "one_click",
        /// The unsubscribe page.
        Page = "page",
        /// The unsubscribe mailbox.
        Mailto = "mailto",
        /// A bounce (RFC 3464), in session or mailed back.
        Dsn = "dsn",
        /// A feedback loop (RFC 5965).
        Fbl = "fbl",
        /// The admin API.
        Api = "api",
    }
    expected "`operator`, `import`, `one_click`, `page`, `mailto`, `dsn`, `fbl` or `api`"
}

/// One suppression fact about one recipient, as the store answers it: the address itself stays in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    /// How far it reaches.
    pub scope: Scope,
    /// Why.
    pub cause: Cause,
    /// Through which door.
    pub origin: Origin,
    /// A reference to what proves it: a message id, a file and line, a ticket.
    pub evidence: Option<String>,
    /// When it began to count.
    pub since: Timestamp,
    /// When it stops counting; never set for opt-outs.
    pub expires: Option<Timestamp>,
}

impl Suppression {
    /// Whether this counts at `now`: from `since` on and, unless it is an opt-out, strictly before `expires`.
    ///
    /// `since` in the future counts already: an opt-out must never be missed because two clocks differ.
    pub fn counts_at(&self, now: Timestamp) -> bool {
        self.cause.is_opt_out() || self.expires.is_none_or(|end| now < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_read_back_what_they_write() {
        for text in ["everything", "controller:acme", "list:acme/news"] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        for bad in ["", "list:acme", "controller:", "world", "list:/x"] {
            assert!(bad.parse::<Scope>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_opt_out_outlives_any_expiry() {
        let now = Timestamp::from_secs(100);
        let mut fact = Suppression {
            scope: Scope::Everything,
            cause: Cause::HardBounce,
            origin: Origin::Dsn,
            evidence: None,
            since: Timestamp::from_secs(1),
            expires: Some(now),
        };
        assert!(!fact.counts_at(now));
        assert!(fact.counts_at(Timestamp::from_millis(99_999)));
        fact.cause = Cause::Unsubscribe;
        assert!(fact.counts_at(now));
    }
}
