//! What was found, compared with what there should be.

use std::net::IpAddr;
use std::sync::Arc;

use super::ask::{Resolver, Silent};
use super::wanted::{Allows, Expected, Wanted};
use crate::dns::Exchange;
use crate::mail::Domain;
use crate::message::dkim::TxtRecord;

/// RFC 9989 section 4.10: at most this many names are asked on the way up.
const DMARC_STEPS: usize = 8;

/// How a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it should be.
    Right,
    /// There, and only the operator can tell whether it is what is meant.
    Look,
    /// Not there.
    Missing,
    /// There, and not what it should be.
    Wrong,
    /// The DNS did not answer.
    Unknown,
    /// Nobody was asked.
    NotAsked,
}

impl Verdict {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Look => "look",
            Self::Missing => "missing",
            Self::Wrong => "wrong",
            Self::Unknown => "unknown",
            Self::NotAsked => "not_asked",
        }
    }
}

/// One record with what was found in its place.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) wanted: Wanted,
    pub(super) found: Vec<String>,
    pub(super) verdict: Verdict,
    /// A sentence, where the verdict alone does not say it.
    pub(super) why: String,
}

/// A verdict and its sentence.
type Judged = (Verdict, String);

fn judged(verdict: Verdict, why: impl Into<String>) -> Judged {
    (verdict, why.into())
}

impl Finding {
    pub(super) fn not_asked(wanted: Wanted) -> Self {
        Self { wanted, found: Vec::new(), verdict: Verdict::NotAsked, why: String::new() }
    }
}

/// Looks one record up.
pub(super) async fn check(wanted: Wanted, resolver: Arc<Resolver>) -> Finding {
    let looked_up = match &wanted.expected {
        Expected::Dkim(ours) => resolver.texts(&wanted.name).await.map(|found| (dkim(ours, &found), found)),
        Expected::Spf(allows) => resolver.texts(&wanted.name).await.map(|found| {
            let found = only_spf(found);
            (spf(allows, &found), found)
        }),
        Expected::Dmarc => dmarc(&wanted.name, &resolver).await,
        Expected::Exchange(gateway) => exchange(&wanted.name, gateway, &resolver).await,
        Expected::Addresses => resolver.addresses(&wanted.name).await.map(|found| {
            let has_four = found.iter().any(IpAddr::is_ipv4);
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            (addresses(&found, has_four), found)
        }),
    };
    match looked_up {
        Ok(((verdict, why), found)) => Finding { wanted, found, verdict, why },
        Err(Silent(reason)) => Finding { wanted, found: Vec::new(), verdict: Verdict::Unknown, why: reason },
    }
}

/// The value of a tag (RFC 6376 section 3.2): white space around and inside does not count.
fn tag(record: &str, name: &str) -> Option<String> {
    let value = record.split(';').filter_map(|tag| tag.split_once('=')).find(|(key, _)| key.trim() == name)?.1;
    Some(value.chars().filter(|c| !c.is_ascii_whitespace()).collect())
}

fn dkim(ours: &TxtRecord, found: &[String]) -> Judged {
    let [record] = found else {
        return if found.is_empty() {
            judged(Verdict::Missing, "")
        } else {
            judged(Verdict::Wrong, "several records: verifiers may take either; expected one")
        };
    };
    // RFC 6376 section 3.6.1: a record without `k` is about RSA.
    let kind = |record: &str| tag(record, "k").unwrap_or_else(|| "rsa".to_owned());
    match tag(record, "p") {
        None => judged(Verdict::Wrong, "no `p=`: this is not a DKIM key"),
        Some(key) if key.is_empty() => judged(Verdict::Wrong, "revoked: an empty `p=`"),
        Some(key) if Some(&key) != tag(ours.as_str(), "p").as_ref() || kind(record) != kind(ours.as_str()) => {
            judged(Verdict::Wrong, "another key than that of our key file: signatures do not verify")
        }
        Some(_) if tag(record, "t").is_some_and(|flags| flags.split(':').any(|flag| flag == "y")) => {
            judged(Verdict::Look, "our key, marked as a test (t=y): verifiers may ignore its signatures")
        }
        Some(_) => judged(Verdict::Right, ""),
    }
}

fn only_spf(found: Vec<String>) -> Vec<String> {
    let is_spf = |record: &String| {
        let version = record.split(' ').next().unwrap_or_default();
        version.eq_ignore_ascii_case("v=spf1")
    };
    found.into_iter().filter(is_spf).collect()
}

/// RFC 7208. What other records include is not followed.
fn spf(allows: &Allows, found: &[String]) -> Judged {
    let [record] = found else {
        return if found.is_empty() {
            judged(Verdict::Missing, "")
        } else {
            judged(Verdict::Wrong, "several SPF records are an error (RFC 7208 section 3.2); expected one")
        };
    };
    let mut terms = record.split_ascii_whitespace().skip(1).map(|term| term.trim_start_matches('+'));
    match allows {
        Allows::Mechanism(wanted) if terms.any(|term| term.eq_ignore_ascii_case(wanted)) => judged(Verdict::Right, ""),
        Allows::Mechanism(wanted) => {
            judged(Verdict::Look, format!("does not say `{wanted}` itself; another mechanism may stand for it"))
        }
        Allows::Host(host) => {
            judged(Verdict::Look, format!("make sure that it allows the addresses that {host} sends from"))
        }
    }
}

async fn dmarc(name: &str, resolver: &Resolver) -> Result<(Judged, Vec<String>), Silent> {
    let mut domain = name.strip_prefix("_dmarc.").unwrap_or(name);
    for step in 0..DMARC_STEPS {
        let asked = format!("_dmarc.{domain}");
        let mut found = resolver.texts(&asked).await?;
        found.retain(|record| tag(record, "v").is_some_and(|version| version == "DMARC1"));
        if !found.is_empty() {
            let (verdict, why) = policy(&found);
            let why = if step > 0 && why.is_empty() { format!("from {asked}") } else { why };
            return Ok(((verdict, why), found));
        }
        match domain.split_once('.') {
            Some((_, parent)) if parent.contains('.') => domain = parent,
            Some(_) | None => break,
        }
    }
    Ok((judged(Verdict::Missing, ""), Vec::new()))
}

fn policy(found: &[String]) -> Judged {
    match found {
        [record] => match tag(record, "p").as_deref() {
            Some("none" | "quarantine" | "reject") => judged(Verdict::Right, ""),
            Some(_) | None => judged(Verdict::Wrong, "no policy; expected p=none, p=quarantine or p=reject"),
        },
        _ => judged(Verdict::Wrong, "several records count as none (RFC 9989); expected one"),
    }
}

async fn exchange(name: &str, gateway: &Domain, resolver: &Resolver) -> Result<(Judged, Vec<String>), Silent> {
    let mut found = resolver.exchanges(name).await?;
    found.sort_by(|a, b| (a.preference, &a.host).cmp(&(b.preference, &b.host)));
    let shown = found.iter().map(|Exchange { preference, host }| format!("{preference} {host}.")).collect();
    let leads_here = |exchange: &Exchange| exchange.host.eq_ignore_ascii_case(gateway.as_str());
    let judged = match found.as_slice() {
        [] if name == gateway.as_str() && !resolver.addresses(name).await?.is_empty() => {
            judged(Verdict::Right, "no MX: its own address counts (RFC 5321 section 5.1)")
        }
        [] => judged(Verdict::Missing, ""),
        [Exchange { host, .. }] if host.is_empty() => {
            judged(Verdict::Wrong, "a null MX says that no mail is taken here (RFC 7505)")
        }
        [first, ..] if leads_here(first) => judged(Verdict::Right, ""),
        [first, ..] => {
            judged(Verdict::Look, format!("make sure that {} hands unsubscribe mail on to {gateway}", first.host))
        }
    };
    Ok((judged, shown))
}

fn addresses(found: &[String], has_four: bool) -> Judged {
    match (found, has_four) {
        ([], _) => judged(Verdict::Missing, ""),
        (_, true) => judged(Verdict::Right, ""),
        (_, false) => judged(Verdict::Wrong, "IPv6 only; not every mailbox provider calls over IPv6"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::dkim::{Algorithm, SigningKey};

    #[test]
    fn keys_are_compared_by_what_they_mean() {
        let ours = SigningKey::generate(Algorithm::Ed25519).unwrap().record;
        let other = SigningKey::generate(Algorithm::Ed25519).unwrap().record;
        let text = ours.as_str();
        let says = |records: &[&str]| {
            let records: Vec<String> = records.iter().map(|record| (*record).to_owned()).collect();
            dkim(&ours, &records).0
        };
        assert_eq!(says(&[text]), Verdict::Right);
        assert_eq!(says(&[&text.replace("; p=", " ;\tt=s; p= ")]), Verdict::Right);
        assert_eq!(says(&[&format!("{text}; t=y:s")]), Verdict::Look);
        assert_eq!(says(&[]), Verdict::Missing);
        for wrong in [other.as_str(), "v=DKIM1; k=ed25519; p=", "v=spf1 ~all", &text.replace("k=ed25519", "k=rsa")] {
            assert_eq!(says(&[wrong]), Verdict::Wrong, "{wrong}");
        }
        assert_eq!(says(&[text, text]), Verdict::Wrong);
    }

    #[test]
    fn spf_is_read_by_its_terms() {
        let include = Allows::Mechanism("include:sendgrid.net".to_owned());
        let says = |records: &[&str]| {
            let records = records.iter().map(|record| (*record).to_owned()).collect();
            spf(&include, &only_spf(records)).0
        };
        assert_eq!(says(&["other", "v=spf1 mx +include:SendGrid.net -all"]), Verdict::Right);
        assert_eq!(says(&["v=spf1 include:sendgrid.net.example -all"]), Verdict::Look);
        assert_eq!(says(&["v=spf10 include:sendgrid.net"]), Verdict::Missing);
        assert_eq!(says(&["v=spf1 ~all", "v=spf1 mx"]), Verdict::Wrong);
    }

    #[test]
    fn a_policy_is_one_of_three() {
        let says = |records: &[&str]| policy(&records.iter().map(|r| (*r).to_owned()).collect::<Vec<_>>()).0;
        assert_eq!(says(&["v=DMARC1; p=quarantine"]), Verdict::Right);
        assert_eq!(says(&["v=DMARC1; p=maybe"]), Verdict::Wrong);
        assert_eq!(says(&["v=DMARC1; p=none", "v=DMARC1; p=none"]), Verdict::Wrong);
    }
}
