//! Which records there should be.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::delivery::{Routes, Way};
use crate::exit::{Exit, Failure};
use crate::mail::{Domain, Mailbox};
use crate::message::dkim::TxtRecord;
use crate::message::{Signer, Signing};
use crate::pipeline::{Settings, Stream};
use crate::policy::{FromDomains, MessageClass};

/// What `SPF` must allow for mail that leaves through a relay of this kind. Suffix of its host name, and the domain whose
/// record lists its addresses, as the provider's own documentation names it.
const PROVIDERS: [(&str, &str); 11] = [
    ("amazonaws.com", "amazonses.com"),
    ("brevo.com", "spf.brevo.com"),
    ("gmail.com", "_spf.google.com"),
    ("mailersend.net", "_spf.mailersend.net"),
    ("mailgun.org", "mailgun.org"),
    ("mailjet.com", "spf.mailjet.com"),
    ("office365.com", "spf.protection.outlook.com"),
    ("postmarkapp.com", "spf.mtasv.net"),
    ("scaleway.com", "_spf.tem.scaleway.com"),
    ("sendgrid.net", "sendgrid.net"),
    ("sparkpostmail.com", "_spf.sparkpostmail.com"),
];

/// What a record is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// The public half of our key.
    Dkim(TxtRecord),
    /// A record that allows the smarthost.
    Spf(Allows),
    /// A policy, here or at a parent (RFC 9989 section 4.10).
    Dmarc,
    /// A way to this gateway.
    Exchange(Domain),
    /// Addresses, IPv4 among them.
    Addresses,
}

/// What an SPF record has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Allows {
    /// This mechanism: the provider is known, or the smarthost is an address.
    Mechanism(String),
    /// The addresses that this host sends from, which it alone knows.
    Host(String),
}

/// One record that must be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// What for.
    pub(super) purpose: String,
    /// Owner name, without the final dot.
    pub(super) name: String,
    pub(super) expected: Expected,
}

impl Wanted {
    pub(super) const fn kind(&self) -> &'static str {
        match self.expected {
            Expected::Dkim(_) | Expected::Spf(_) | Expected::Dmarc => "TXT",
            Expected::Exchange(_) => "MX",
            Expected::Addresses => "A",
        }
    }

    /// A line for a zone file. What only the operator can know stands in angle brackets.
    pub(super) fn zone(&self) -> String {
        let name = &self.name;
        match &self.expected {
            Expected::Dkim(record) => format!("{name}. IN TXT {}", record.zone_text()),
            Expected::Spf(Allows::Mechanism(mechanism)) => format!("{name}. IN TXT \"v=spf1 {mechanism} ~all\""),
            Expected::Spf(Allows::Host(host)) => format!("{name}. IN TXT \"v=spf1 a:{host} ~all\""),
            Expected::Dmarc => format!("{name}. IN TXT \"v=DMARC1; p=none; rua=mailto:<mailbox for reports>\""),
            Expected::Exchange(gateway) => format!("{name}. IN MX 10 {gateway}."),
            Expected::Addresses => format!("{name}. IN A <public address>"),
        }
    }
}

/// Everything that a configuration asks for: keys first, then the From domains, then the ways out.
pub(super) fn records(hostname: &Domain, settings: &Settings, routes: &Routes) -> Result<Vec<Wanted>, Failure> {
    let mut streams: Vec<&Stream> = settings.streams.values().map(AsRef::as_ref).collect();
    streams.sort_by(|a, b| a.rules.name.cmp(&b.rules.name));
    let mut wanted = keys(&streams)?;
    for (domain, hosts) in from_domains(&streams, routes, hostname) {
        wanted.extend(hosts.iter().map(|host| Wanted {
            purpose: format!("SPF of the From domain {domain}, when it is the return path too"),
            name: domain.clone(),
            expected: Expected::Spf(allows(host)),
        }));
        wanted.push(Wanted {
            purpose: format!("DMARC of the From domain {domain}"),
            name: format!("_dmarc.{domain}"),
            expected: Expected::Dmarc,
        });
    }
    if streams.iter().any(|stream| stream.rules.class == MessageClass::Marketing) {
        wanted.extend(ways_out(hostname, settings));
    }
    Ok(wanted)
}

fn keys(streams: &[&Stream]) -> Result<Vec<Wanted>, Failure> {
    let mut found: BTreeMap<&str, (&Signer, Vec<&str>)> = BTreeMap::new();
    for stream in streams {
        let signers = match &stream.signing {
            Signing::Keys(signers) => signers.as_slice(),
            Signing::Off => &[],
        };
        for signer in signers {
            let (_, users) = found.entry(signer.record_name()).or_insert_with(|| (signer, Vec::new()));
            users.push(stream.rules.name.as_str());
        }
    }
    let wanted = found.into_iter().map(|(name, (signer, users))| {
        let record = signer.record().map_err(|error| Failure::new(Exit::Software, error))?;
        let purpose = format!("DKIM key of {}", users.join(", "));
        Ok(Wanted { purpose, name: name.to_owned(), expected: Expected::Dkim(record) })
    });
    wanted.collect()
}

/// The From domains, each with the hosts that its mail leaves by: smarthosts, or this gateway where it goes straight to
/// the recipients' servers.
fn from_domains(streams: &[&Stream], routes: &Routes, hostname: &Domain) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for stream in streams {
        let hosts: Vec<String> = match &routes.of_stream(&stream.rules.name).way {
            Way::Smarthosts(hosts) => hosts.iter().map(|smarthost| smarthost.host.clone()).collect(),
            Way::Exchanges { .. } => vec![hostname.to_string()],
        };
        match &stream.rules.from_domains {
            FromDomains::Any => {}
            FromDomains::Only(only) => {
                for domain in only {
                    found.entry(domain.to_string()).or_default().extend(hosts.iter().cloned());
                }
            }
        }
    }
    found
}

/// The mailbox of the mailto: alternative, the host of the links, and the gateway that both lead to.
fn ways_out(hostname: &Domain, settings: &Settings) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    if let Ok(mailbox) = Mailbox::parse(&settings.unsubscribe_mailbox) {
        wanted.push(Wanted {
            purpose: format!("mail to the unsubscribe mailbox {}", settings.unsubscribe_mailbox),
            name: mailbox.domain().to_string(),
            expected: Expected::Exchange(hostname.clone()),
        });
    }
    let url = settings.public_url.trim_start_matches("https://");
    let host = url.split(['/', ':']).next().unwrap_or_default();
    let addresses = |purpose: &str, name: &str| Wanted {
        purpose: purpose.to_owned(),
        name: name.to_owned(),
        expected: Expected::Addresses,
    };
    wanted.push(addresses("the host of the unsubscribe links", host));
    if host != hostname.as_str() {
        wanted.push(addresses("this gateway's own name", hostname.as_str()));
    }
    wanted
}

fn allows(upstream: &str) -> Allows {
    match upstream.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => return Allows::Mechanism(format!("ip4:{address}")),
        Ok(IpAddr::V6(address)) => return Allows::Mechanism(format!("ip6:{address}")),
        Err(_) => {}
    }
    let host = upstream.trim_end_matches('.').to_ascii_lowercase();
    let is_of =
        |suffix: &str| host.strip_suffix(suffix).is_some_and(|before| before.is_empty() || before.ends_with('.'));
    match PROVIDERS.iter().find(|(suffix, _)| is_of(suffix)) {
        Some((_, include)) => Allows::Mechanism(format!("include:{include}")),
        None => Allows::Host(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_relay_is_included_and_an_address_is_named() {
        for (host, expected) in [
            ("email-smtp.eu-west-3.amazonaws.com", "include:amazonses.com"),
            ("smtp.SENDGRID.net.", "include:sendgrid.net"),
            ("192.0.2.7", "ip4:192.0.2.7"),
            ("[2001:db8::7]", "ip6:2001:db8::7"),
        ] {
            assert_eq!(allows(host), Allows::Mechanism(expected.to_owned()));
        }
        for own in ["mx.example.org", "notsendgrid.net", "sendgrid.net.example"] {
            assert_eq!(allows(own), Allows::Host(own.to_owned()));
        }
    }
}
