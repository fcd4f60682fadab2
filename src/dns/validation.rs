//! What DNSSEC says of an answer (RFC 4035 section 4.3), and what may be built upon it (RFC 7672 section 2).

use std::path::PathBuf;
use std::str::FromStr as _;

use hickory_resolver::net::{DnsError as Failure, NetError};
use hickory_resolver::proto::dnssec::{Proof, TrustAnchors};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, Record, RecordType};

use super::{DnsError, unrooted};

/// Where chains of signatures have to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anchors {
    /// At the root of the DNS, whose keys are compiled in.
    Root,
    /// At the DNSKEY records of a file and no others.
    File(PathBuf),
}

impl Anchors {
    /// Whether they can be read.
    ///
    /// # Errors
    /// In words: the file cannot be, or holds none.
    pub fn check(&self) -> Result<(), String> {
        self.load().map(|_| ())
    }

    pub(super) fn load(&self) -> Result<TrustAnchors, String> {
        let Self::File(path) = self else { return Ok(TrustAnchors::default()) };
        let fault = |reason: String| format!("{}: {reason}; expected DNSKEY records", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| fault(error.to_string()))?;
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with(';')) {
            return Err(fault("there is none in it".to_owned()));
        }
        TrustAnchors::from_str(&text).map_err(|error| fault(error.to_string()))
    }
}

/// Whether an answer is what its zone's owner has signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authenticity {
    /// It is, and so is everything above it.
    Secure,
    /// Its zone is provably not signed, or nobody has looked.
    Insecure,
}

/// Records with what DNSSEC says of them. What is bogus is no answer: it is a [`DnsError::Bogus`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// In no order.
    pub records: Vec<T>,
    /// Of all of them together.
    pub authenticity: Authenticity,
}

/// One TLSA record (RFC 6698 section 2), as it stands in the zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tlsa {
    /// Certificate usage.
    pub usage: u8,
    /// Selector.
    pub selector: u8,
    /// Matching type.
    pub matching: u8,
    /// Certificate association data.
    pub data: Vec<u8>,
}

/// Addresses of a host, and the names that its TLSA records may stand under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// IPv6 and IPv4.
    pub list: Vec<std::net::IpAddr>,
    /// TLSA base domains, in the order in which to look (RFC 7672 section 2.2.2). None when no TLSA record could be
    /// believed to be about this host.
    pub tlsa_bases: Vec<String>,
}

/// What DNSSEC says of the records of an answer together.
///
/// # Errors
/// [`DnsError::Bogus`], and [`DnsError::Unavailable`] when what is needed to tell could not be had.
pub(super) fn authenticity(name: &str, records: &[Record]) -> Result<Authenticity, DnsError> {
    let mut lowest = Authenticity::Secure;
    for record in records.iter().filter(|record| record.record_type() != RecordType::RRSIG) {
        match record.proof {
            Proof::Secure => {}
            Proof::Insecure => lowest = Authenticity::Insecure,
            Proof::Bogus => return Err(bogus(name)),
            Proof::Indeterminate => {
                let reason = "whether it is signed cannot be told now".to_owned();
                return Err(DnsError::Unavailable { name: name.to_owned(), reason });
            }
        }
    }
    Ok(lowest)
}

pub(super) fn bogus(name: &str) -> DnsError {
    DnsError::Bogus(name.to_owned())
}

/// RFC 7672 section 2.2.2: the last name of a chain of aliases and then the first, where all of it is signed; the first
/// alone where the alias is and what it leads to is not.
pub(super) fn tlsa_bases(host: &str, records: &[Record], authenticity: Authenticity) -> Vec<String> {
    let mut last = host.to_owned();
    let mut first_is_signed = false;
    // As many steps as there are records are enough, whatever circle they stand in.
    for step in 0..records.len() {
        let next = records.iter().find_map(|record| {
            let RData::CNAME(target) = &record.data else { return None };
            (unrooted(&record.name.to_ascii()) == last).then_some((record.proof, target))
        });
        let Some((proof, target)) = next else { break };
        first_is_signed |= step == 0 && proof.is_secure();
        last = unrooted(&target.to_ascii());
    }
    match authenticity {
        Authenticity::Secure if last == host => vec![last],
        Authenticity::Secure => vec![last, host.to_owned()],
        Authenticity::Insecure if first_is_signed => vec![host.to_owned()],
        Authenticity::Insecure => Vec::new(),
    }
}

/// What an error of a validating resolver means beside what it means anyway.
pub(super) fn failure(name: &str, error: &NetError) -> Option<DnsError> {
    let NetError::Dns(failure) = error else { return None };
    if let Failure::Nsec { response, proof: Proof::Insecure, .. } = failure {
        // That there is nothing is not signed, because the zone is not.
        let is_unknown = response.response_code == ResponseCode::NXDomain;
        let name = name.to_owned();
        return Some(if is_unknown { DnsError::NoSuchName(name) } else { DnsError::NoRecord(name) });
    }
    matches!(failure, Failure::Nsec { .. } | Failure::DnssecBogus).then(|| bogus(name))
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::rr::Name;
    use hickory_resolver::proto::rr::rdata::{A, CNAME};

    use super::*;

    fn record(name: &str, data: RData, proof: Proof) -> Record {
        let mut record = Record::from_rdata(Name::from_str(name).unwrap(), 60, data);
        record.proof = proof;
        record
    }

    fn alias(name: &str, target: &str, proof: Proof) -> Record {
        record(name, RData::CNAME(CNAME(Name::from_str(target).unwrap())), proof)
    }

    fn address(name: &str, proof: Proof) -> Record {
        record(name, RData::A(A([192, 0, 2, 1].into())), proof)
    }

    fn bases(records: &[Record]) -> Vec<String> {
        tlsa_bases("a.example", records, authenticity("a.example", records).unwrap())
    }

    #[test]
    fn the_least_authentic_record_decides() {
        let of = |proofs: &[Proof]| {
            let records: Vec<_> = proofs.iter().map(|proof| address("a.example.", *proof)).collect();
            authenticity("a.example", &records)
        };
        assert_eq!(of(&[Proof::Secure, Proof::Secure]), Ok(Authenticity::Secure));
        assert_eq!(of(&[Proof::Secure, Proof::Insecure]), Ok(Authenticity::Insecure));
        assert_eq!(of(&[Proof::Insecure, Proof::Bogus]), Err(DnsError::Bogus("a.example".to_owned())));
        assert!(matches!(of(&[Proof::Secure, Proof::Indeterminate]), Err(DnsError::Unavailable { .. })));
    }

    #[test]
    fn tlsa_records_are_looked_for_where_they_can_be_believed() {
        let (secure, insecure) = (Proof::Secure, Proof::Insecure);
        assert_eq!(bases(&[address("a.example.", secure)]), ["a.example"]);
        assert!(bases(&[address("a.example.", insecure)]).is_empty());
        let chain = |first, second, third| {
            [
                alias("A.example.", "b.example.", first),
                alias("b.example.", "c.example.", second),
                address("c.example.", third),
            ]
        };
        assert_eq!(bases(&chain(secure, secure, secure)), ["c.example", "a.example"]);
        assert_eq!(bases(&chain(secure, secure, insecure)), ["a.example"]);
        assert_eq!(bases(&chain(secure, insecure, insecure)), ["a.example"]);
        assert!(bases(&chain(insecure, secure, secure)).is_empty());
        // A circle ends.
        let circle = [alias("a.example.", "b.example.", secure), alias("b.example.", "a.example.", secure)];
        assert_eq!(bases(&circle), ["a.example"]);
    }

    #[test]
    fn a_file_without_keys_is_no_anchor() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anchors");
        let load = || Anchors::File(path.clone()).load().err();
        assert!(load().unwrap().contains("expected DNSKEY records"), "no file");
        std::fs::write(&path, "").unwrap();
        assert!(load().unwrap().contains("there is none in it"));
        std::fs::write(&path, "example. 60 IN A 192.0.2.1\n").unwrap();
        assert!(load().is_some());
        std::fs::write(&path, "; nothing yet\n\n").unwrap();
        assert!(load().unwrap().contains("there is none in it"));
        assert!(Anchors::Root.load().is_ok_and(|anchors| !anchors.is_empty()));
    }
}
