//! How sessions with the mail servers of a domain have to be protected, and what is reported of those that are not.

use std::sync::Arc;

use super::attempt::Desk;
use super::mx::{NoWay, Server};
use super::routes::WithoutTlsa;
use crate::dns::{Answer, Authenticity, DnsError, Resolver, Tlsa};
use crate::mail::Domain;
use crate::smtp::client::{Blame, Protection, TlsFault};
use crate::sts::{Mode, Policy, PolicyFault};
use crate::tls::{Association, ClientConfig, dane_config, unverified_config};

/// What asked for protection: the words of RFC 8460 section 4.4 (`policy-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PolicyType {
    Sts,
    Tlsa,
    NoPolicyFound,
}

impl PolicyType {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Sts => "sts",
            Self::Tlsa => "tlsa",
            Self::NoPolicyFound => "no-policy-found",
        }
    }
}

/// Whose sessions a report of RFC 8460 counts together.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) policy_type: PolicyType,
    pub(super) domain: Option<Domain>,
    /// None when it is about the policy and no host was asked.
    pub(super) host: Option<Arc<str>>,
}

/// What such a report says about one failure.
#[derive(Clone, Debug)]
pub(super) struct TlsReport {
    pub(super) asked: Asked,
    pub(super) result_type: &'static str,
    pub(super) detail: String,
    pub(super) blame: Blame,
}

impl TlsReport {
    pub(super) fn of_session(asked: Asked, fault: &TlsFault) -> Self {
        Self { asked, result_type: fault.as_str(), detail: fault.to_string(), blame: fault.blame() }
    }

    /// Where mail for `domain` goes is not what its zone has signed.
    pub(super) fn of_zone(domain: &Domain, error: &NoWay) -> Self {
        let asked = Asked { policy_type: PolicyType::Tlsa, domain: Some(domain.clone()), host: None };
        Self { asked, result_type: "dnssec-invalid", detail: error.to_string(), blame: Blame::Policy }
    }

    pub(super) fn of_policy(domain: &Domain, fault: &PolicyFault) -> Self {
        let asked = Asked { policy_type: PolicyType::Sts, domain: Some(domain.clone()), host: None };
        Self { asked, result_type: fault.as_str(), detail: fault.to_string(), blame: Blame::Policy }
    }
}

/// What is asked of one server, and by what.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) policy_type: PolicyType,
    pub(super) demand: Demand,
}

/// How one server may be sent to.
#[derive(Clone, Debug)]
pub(super) enum Demand {
    /// By the route's own protection.
    ByRoute,
    /// Under this protection, or not at all.
    Firm(Protection),
    /// Under this protection if it succeeds; else it is reported, and the route's own has to do.
    Trial(Protection),
    /// By the route's own protection; that it would not have been allowed is reported.
    Tolerated(TlsFault),
    /// Not.
    Barred(TlsFault),
}

impl Terms {
    /// What the route says is all that is asked.
    pub(super) const BY_ROUTE: Self = Self { policy_type: PolicyType::NoPolicyFound, demand: Demand::ByRoute };

    /// RFC 8461 section 5: what `policy` makes of one server, where `verified` knows whom to trust.
    pub(super) fn of_policy(policy: &Policy, verified: &Arc<ClientConfig>, host: &str) -> Self {
        let protection = || Protection::StartTls(Arc::clone(verified));
        let foreign = || TlsFault::NotInPolicy(host.to_owned());
        let demand = match (policy.mode, policy.names(host)) {
            (Mode::Enforce, true) => Demand::Firm(protection()),
            (Mode::Enforce, false) => Demand::Barred(foreign()),
            (Mode::Testing, true) => Demand::Trial(protection()),
            (Mode::Testing, false) => Demand::Tolerated(foreign()),
            (Mode::None, _) => return Self::BY_ROUTE,
        };
        Self { policy_type: PolicyType::Sts, demand }
    }

    /// RFC 7672 section 2.2: what the TLSA records of `server` ask for. Its name becomes the one that they stand under,
    /// which is what it is asked for a certificate by (section 8.1).
    pub(super) async fn of_tlsa(
        resolver: &Resolver,
        domain: &Domain,
        server: &mut Server,
        port: u16,
        without: WithoutTlsa,
    ) -> Self {
        let of_tlsa = |demand| Self { policy_type: PolicyType::Tlsa, demand };
        for base in &server.tlsa_bases {
            match resolver.tlsa(&format!("_{port}._tcp.{base}")).await {
                Ok(Answer { records, authenticity: Authenticity::Secure }) => {
                    let names = [base.clone(), server.target.name.to_string(), domain.to_string()];
                    server.target.name = Arc::from(base.as_str());
                    return of_tlsa(Demand::of_tlsa(records, &names));
                }
                // One that nobody has signed says nothing.
                Ok(Answer { authenticity: Authenticity::Insecure, .. })
                | Err(DnsError::NoSuchName(_) | DnsError::NoRecord(_)) => {}
                Err(DnsError::Bogus(_) | DnsError::Unavailable { .. }) => {
                    return of_tlsa(Demand::Barred(TlsFault::NoTlsa(base.clone())));
                }
            }
        }
        match without {
            WithoutTlsa::ByRoute => Self::BY_ROUTE,
            WithoutTlsa::Refuse => of_tlsa(Demand::Barred(TlsFault::DaneRequired(server.target.name.to_string()))),
        }
    }
}

impl Demand {
    /// RFC 7672 section 2.2: records that can be used say who the server is; records of which none can, that it
    /// speaks TLS.
    fn of_tlsa(records: Vec<Tlsa>, names: &[String]) -> Self {
        let association = |record: Tlsa| Association::new(record.usage, record.selector, record.matching, record.data);
        let usable: Vec<_> = records.into_iter().filter_map(association).collect();
        let config = if usable.is_empty() { unverified_config() } else { dane_config(&usable, names) };
        match config {
            Ok(config) => Self::Firm(Protection::StartTls(config)),
            Err(error) => Self::Barred(TlsFault::Handshake(error.to_string())),
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
            Terms::of_policy(&Policy::parse(&text).unwrap(), &verified, host).demand
        };
        assert!(matches!(demand("enforce", "a.example"), Demand::Firm(Protection::StartTls(_))));
        assert!(matches!(demand("enforce", "b.example"), Demand::Barred(TlsFault::NotInPolicy(_))));
        assert!(matches!(demand("testing", "a.example"), Demand::Trial(Protection::StartTls(_))));
        assert!(matches!(demand("testing", "b.example"), Demand::Tolerated(TlsFault::NotInPolicy(_))));
        assert!(matches!(demand("none", "b.example"), Demand::ByRoute));
    }
}
