//! What a stream declares about the law, and what a case brings to it.

use crate::time::Timestamp;

use super::consent::{ConsentFact, Contact};
use super::word::{Country, ProductFamily, RegisterName, Sector, Topic, words};

/// Whether rules of law apply to a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Law {
    /// The operator has not said which law applies: suppression and the stream's own rules alone decide.
    #[default]
    NotApplied,
    /// The rule packs decide too.
    Applied(Box<StreamLaw>),
}

words! {
    /// Whether the rules of law refuse or only report.
    Enforcement {
        /// A refusal by a rule of law refuses.
        Enforce = "enforce",
        /// It is recorded and the mail flows. Suppression still refuses.
        Shadow = "shadow",
    }
    expected "`enforce` or `shadow`"
}

words! {
    /// Whether the class may be read from an address that nobody declared.
    Assumptions {
        /// By the heuristics, marked as assumed. Losing a declaration may then loosen the answer: a consumer at a
        /// company's domain reads as somebody at work.
        Allowed = "allowed",
        /// Never: an undeclared class is unknown, and the rules of every class apply.
        Never = "never",
    }
    expected "`allowed` or `never`"
}

words! {
    /// Whether a free account counts as a sale where a law leaves room for it (CJEU C-654/23).
    FreeAccounts {
        /// They are no sale.
        Ignored = "ignored",
        /// They are one, where the rule says so.
        Counted = "counted",
    }
    expected "`ignored` or `counted`"
}

/// How long the way out in a message keeps working.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnsubscribeLife {
    /// For ever: the gateway's own tokens do not expire.
    Unlimited,
    /// So many days after sending, when the tool's own link is what counts.
    Days(u32),
}

/// What a stream declares so that rules of law can be applied to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamLaw {
    /// Where the controller is established. Its law applies beside the recipient's; the stricter answer wins.
    pub establishment: Country,
    /// The country of recipients who declare none.
    pub default_recipient_country: Option<Country>,
    /// The trade that is advertised.
    pub sector: Option<Sector>,
    /// What the stream writes about.
    pub topics: Vec<Topic>,
    /// What it sells, for "own similar products".
    pub product_family: Option<ProductFamily>,
    /// The basis that the operator asserts for contacts without any record; its standing is `asserted`.
    pub asserted: Option<ConsentFact>,
    /// Refuse or report.
    pub enforcement: Enforcement,
    /// Heuristics or none.
    pub assumptions: Assumptions,
    /// Free accounts.
    pub free_accounts: FreeAccounts,
    /// How long the way out keeps working.
    pub unsubscribe_life: UnsubscribeLife,
    /// Business days until an opt-out is effective. Zero: at once, as the gateway does it.
    pub opt_out_business_days: u32,
}

impl StreamLaw {
    /// The law of `establishment` with nothing else declared: enforced, heuristics allowed, free accounts ignored,
    /// opt-outs effective at once, a way out that does not expire.
    pub const fn new(establishment: Country) -> Self {
        Self {
            establishment,
            default_recipient_country: None,
            sector: None,
            topics: Vec::new(),
            product_family: None,
            asserted: None,
            enforcement: Enforcement::Enforce,
            assumptions: Assumptions::Allowed,
            free_accounts: FreeAccounts::Ignored,
            unsubscribe_life: UnsubscribeLife::Unlimited,
            opt_out_business_days: 0,
        }
    }
}

/// What a national opt-out list said about the recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListCheck {
    /// Which list.
    pub list: RegisterName,
    /// When the copy that was consulted was drawn.
    pub fresh_on: Timestamp,
    /// Whether the recipient stands on it.
    pub answer: Listed,
}

words! {
    /// Whether somebody stands on a national opt-out list.
    Listed {
        /// They do.
        Yes = "yes",
        /// They do not.
        No = "no",
    }
    expected "`yes` or `no`"
}

words! {
    /// What a law may ask a message to show. Whoever reads the message says which are fulfilled; what nobody found is
    /// not fulfilled.
    Duty {
        /// Exactly one From field with exactly one mailbox (RFC 5322 section 3.6.2; mailbox providers refuse more).
        OneFrom = "one_from",
        /// A Subject that is present and not empty.
        Subject = "subject",
        /// No `Re:` or `Fwd:` before a subject without In-Reply-To or References.
        HonestPrefix = "honest_prefix",
        /// The sender's name stands in From or in the body (identity not disguised or concealed).
        SenderIdentity = "sender_identity",
        /// The advertiser is named in every text and HTML part.
        AdvertiserNamed = "advertiser_named",
        /// A visible way to ask for a stop in every text and HTML part.
        VisibleUnsubscribe = "visible_unsubscribe",
        /// The controller's postal address stands in the message.
        PostalAddress = "postal_address",
        /// Recognisable as advertising, in subject or body.
        AdvertisingLabel = "advertising_label",
        /// The source of the data and the right to object are told (GDPR articles 14 and 21(4)).
        SourceNotice = "source_notice",
    }
    expected "`one_from`, `subject`, `honest_prefix`, `sender_identity`, `advertiser_named`, `visible_unsubscribe`, `postal_address`, `advertising_label` or `source_notice`"
}

words! {
    /// Whether opens are tracked one by one.
    OpenTracking {
        /// No pixel was found.
        Absent = "absent",
        /// An individual pixel is there.
        Individual = "individual",
    }
    expected "`absent` or `individual`"
}

/// What a reader found in a message, decoded once, in plain words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageFacts {
    fulfilled: u16,
    tracking: OpenTracking,
}

impl MessageFacts {
    /// A message that shows nothing, and tracks nobody.
    pub const fn new() -> Self {
        Self { fulfilled: 0, tracking: OpenTracking::Absent }
    }

    /// The same with `duty` fulfilled.
    #[must_use]
    pub const fn with(mut self, duty: Duty) -> Self {
        self.fulfilled |= duty.bit();
        self
    }

    /// The same without `duty`.
    #[must_use]
    pub const fn without(mut self, duty: Duty) -> Self {
        self.fulfilled &= !duty.bit();
        self
    }

    /// The same with what was found about tracking.
    #[must_use]
    pub const fn tracking(mut self, tracking: OpenTracking) -> Self {
        self.tracking = tracking;
        self
    }

    /// Whether `duty` is fulfilled.
    pub const fn fulfils(self, duty: Duty) -> bool {
        self.fulfilled & duty.bit() != 0
    }

    /// Whether opens are tracked.
    pub const fn open_tracking(self) -> OpenTracking {
        self.tracking
    }
}

impl Default for MessageFacts {
    fn default() -> Self {
        Self::new()
    }
}

impl Duty {
    const fn bit(self) -> u16 {
        match self {
            Self::OneFrom => 1,
            Self::Subject => 1 << 1,
            Self::HonestPrefix => 1 << 2,
            Self::SenderIdentity => 1 << 3,
            Self::AdvertiserNamed => 1 << 4,
            Self::VisibleUnsubscribe => 1 << 5,
            Self::PostalAddress => 1 << 6,
            Self::AdvertisingLabel => 1 << 7,
            Self::SourceNotice => 1 << 8,
        }
    }
}

/// The facts of a case that rules of law read. The default knows nothing, which the rules read strictly.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// What is declared about the recipient.
    pub contact: Option<&'a Contact>,
    /// All consent records about the exact address, in any order, of any controller.
    pub consents: &'a [ConsentFact],
    /// National lists that were consulted.
    pub registers: &'a [ListCheck],
    /// What the message shows; `None` where no message is in view (at RCPT, in the queue), which leaves message duties
    /// to the decision that sees it.
    pub message: Option<&'a MessageFacts>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duties_are_kept_apart() {
        for duty in Duty::ALL {
            let facts = MessageFacts::new().with(*duty);
            for other in Duty::ALL {
                assert_eq!(facts.fulfils(*other), other == duty);
            }
            assert_eq!(facts.without(*duty), MessageFacts::new());
        }
    }
}
