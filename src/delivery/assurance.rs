//! How sessions with the mail servers of a domain have to be protected, and what is reported of those that are not.

use std::sync::Arc;

use super::attempt::Desk;
use crate::mail::Domain;
use crate::smtp::client::{Blame, Protection, TlsFault};
use crate::sts::{Mode, Policy, PolicyFault};
use crate::tls::ClientConfig;

/// What asked for protection: the words of RFC 8460 section 4.4 (`policy-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PolicyType {
    Sts,
    NoPolicyFound,
}

impl PolicyType {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Sts => "sts",
            Self::NoPolicyFound => "no-policy-found",
        }
    }
}

/// What a report of RFC 8460 says about one failure.
#[derive(Clone, Debug)]
pub(super) struct TlsReport {
    pub(super) policy_type: PolicyType,
    pub(super) domain: Option<Domain>,
    /// None when it is about the policy and no host was asked.
    pub(super) host: Option<Arc<str>>,
    pub(super) result_type: &'static str,
    pub(super) detail: String,
    pub(super) blame: Blame,
}

impl TlsReport {
    pub(super) fn of_session(
        policy_type: PolicyType,
        domain: Option<&Domain>,
        host: &Arc<str>,
        fault: &TlsFault,
    ) -> Self {
        Self {
            policy_type,
            domain: domain.cloned(),
            host: Some(Arc::clone(host)),
            result_type: fault.as_str(),
            detail: fault.to_string(),
            blame: fault.blame(),
        }
    }

    pub(super) fn of_policy(domain: &Domain, fault: &PolicyFault) -> Self {
        Self {
            policy_type: PolicyType::Sts,
            domain: Some(domain.clone()),
            host: None,
            result_type: fault.as_str(),
            detail: fault.to_string(),
            blame: Blame::Policy,
        }
    }
}

/// How one server may be sent to.
#[derive(Clone, Debug)]
pub(super) enum Demand {
    /// Under this protection, or not at all.
    Firm(Protection),
    /// Under this protection if it succeeds; else it is reported, and the route's own has to do.
    Trial(Protection),
    /// By the route's own protection; that it would not have been allowed is reported.
    Tolerated(TlsFault),
    /// Not.
    Barred(TlsFault),
}

impl Demand {
    /// RFC 8461 section 5: what `policy` makes of one server, where `verified` knows whom to trust.
    pub(super) fn of_policy(policy: &Policy, verified: &Arc<ClientConfig>, host: &str) -> Option<Self> {
        let protection = || Protection::StartTls(Arc::clone(verified));
        let foreign = || TlsFault::NotInPolicy(host.to_owned());
        match (policy.mode, policy.names(host)) {
            (Mode::Enforce, true) => Some(Self::Firm(protection())),
            (Mode::Enforce, false) => Some(Self::Barred(foreign())),
            (Mode::Testing, true) => Some(Self::Trial(protection())),
            (Mode::Testing, false) => Some(Self::Tolerated(foreign())),
            (Mode::None, _) => None,
        }
    }
}

impl<R> Desk<R> {
    /// Keeps the policies of domains fresh, as long as it is not dropped.
    pub(super) async fn keep_policies(&self) {
        let report = |domain: &Domain, fault: &PolicyFault| {
            self.recorder.tls_fault(None, self.clock.now(), &TlsReport::of_policy(domain, fault));
        };
        self.policies.keep(&self.resolver, &*self.clock, report).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_bars_what_it_does_not_name_and_only_reports_it_in_testing() {
        let verified = crate::tls::unverified_config().unwrap();
        let demand = |mode: &str, host: &str| {
            let text = format!("version: STSv1\nmode: {mode}\nmx: a.example\nmax_age: 1\n");
            Demand::of_policy(&Policy::parse(&text).unwrap(), &verified, host)
        };
        assert!(matches!(demand("enforce", "a.example"), Some(Demand::Firm(Protection::StartTls(_)))));
        assert!(matches!(demand("enforce", "b.example"), Some(Demand::Barred(TlsFault::NotInPolicy(_)))));
        assert!(matches!(demand("testing", "a.example"), Some(Demand::Trial(Protection::StartTls(_)))));
        assert!(matches!(demand("testing", "b.example"), Some(Demand::Tolerated(TlsFault::NotInPolicy(_)))));
        assert!(demand("none", "b.example").is_none());
    }
}
