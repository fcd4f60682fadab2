//! Certificates that the DNS vouches for: RFC 6698 and RFC 7671, as RFC 7672 section 3 has them for SMTP.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

use super::signatures::signatures_by;
use super::{TlsError, provider};

/// Whom a record vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Usage {
    /// DANE-TA(2): an authority of the zone's own choice.
    Anchor,
    /// DANE-EE(3): the server itself.
    Server,
}

/// What of a certificate is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Selector {
    Certificate,
    PublicKey,
}

/// How it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Matching {
    Exact,
    Sha256,
    Sha512,
}

/// A TLSA record that can be used for SMTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Association {
    usage: Usage,
    selector: Selector,
    matching: Matching,
    data: Vec<u8>,
}

/// The certificate is none that the zone vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no TLSA record vouches for it")]
pub struct NotVouchedFor;

impl Association {
    /// Reads the fields of a TLSA record. `None` when it is not usable: the usages 0 and 1 are not for SMTP (RFC 7672
    /// section 3.1.3), the others may come some day, and a digest of a wrong length fits nothing.
    pub fn new(usage: u8, selector: u8, matching: u8, data: Vec<u8>) -> Option<Self> {
        let usage = match usage {
            2 => Usage::Anchor,
            3 => Usage::Server,
            _ => return None,
        };
        let selector = match selector {
            0 => Selector::Certificate,
            1 => Selector::PublicKey,
            _ => return None,
        };
        let (matching, fits) = match matching {
            0 => (Matching::Exact, !data.is_empty()),
            1 => (Matching::Sha256, data.len() == 32),
            2 => (Matching::Sha512, data.len() == 64),
            _ => return None,
        };
        fits.then_some(Self { usage, selector, matching, data })
    }

    fn fits(&self, certificate: &CertificateDer<'_>) -> bool {
        let selected = match self.selector {
            Selector::Certificate => certificate.as_ref().to_vec(),
            Selector::PublicKey => match ParsedCertificate::try_from(certificate) {
                Ok(parsed) => parsed.subject_public_key_info().as_ref().to_vec(),
                Err(_) => return false,
            },
        };
        match self.matching {
            Matching::Exact => selected == self.data,
            Matching::Sha256 => digest(&SHA256, &selected).as_ref() == self.data,
            Matching::Sha512 => digest(&SHA512, &selected).as_ref() == self.data,
        }
    }

    /// The authority itself, where the record holds it whole.
    fn authority(&self) -> Option<CertificateDer<'_>> {
        let whole = (self.usage, self.selector, self.matching);
        (whole == (Usage::Anchor, Selector::Certificate, Matching::Exact)).then(|| CertificateDer::from(&*self.data))
    }
}

/// A configuration for connections to a server that `associations` vouch for. An authority among them has to have
/// certified one of `names`, the reference identifiers of RFC 7672 section 3.2.3.
///
/// # Errors
/// [`TlsError::Setup`].
pub fn dane_config(associations: &[Association], names: &[String]) -> Result<Arc<ClientConfig>, TlsError> {
    let names = names.iter().filter_map(|name| ServerName::try_from(name.clone()).ok()).collect();
    let verifier = ByTlsa { associations: strongest(associations), names, provider: provider() };
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| TlsError::Setup(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Of digests of the same thing only the strongest kind counts (RFC 7671 section 9).
fn strongest(associations: &[Association]) -> Vec<Association> {
    let has_stronger = |weak: &Association| {
        let same = |other: &&Association| (other.usage, other.selector) == (weak.usage, weak.selector);
        associations.iter().filter(same).any(|other| other.matching == Matching::Sha512)
    };
    let kept = associations.iter().filter(|one| one.matching != Matching::Sha256 || !has_stronger(one));
    kept.cloned().collect()
}

/// Believes what the zone vouches for, and no other authority.
#[derive(Debug)]
struct ByTlsa {
    associations: Vec<Association>,
    names: Vec<ServerName<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ByTlsa {
    fn vouched(&self, usage: Usage, certificate: &CertificateDer<'_>) -> bool {
        self.associations.iter().any(|association| association.usage == usage && association.fits(certificate))
    }

    /// Authorities that the zone names, out of what the server shows and what the zone holds.
    fn authorities(&self, intermediates: &[CertificateDer<'_>]) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let shown = intermediates.iter().filter(|certificate| self.vouched(Usage::Anchor, certificate)).cloned();
        let held = self.associations.iter().filter_map(Association::authority);
        for certificate in shown.chain(held) {
            // One that cannot be read certifies nobody.
            let _unreadable = roots.add(certificate.into_owned());
        }
        roots
    }
}

impl ServerCertVerifier for ByTlsa {
    /// RFC 7672 section 3.1.1: the server itself is believed whatever name and time its certificate says. Section 3.1.2:
    /// below an authority of the zone's choice names and times count.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.vouched(Usage::Server, end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        let not_vouched_for = || CertificateError::Other(OtherError(Arc::new(NotVouchedFor))).into();
        let roots = self.authorities(intermediates);
        if roots.is_empty() {
            return Err(not_vouched_for());
        }
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider)).build();
        let chain = chain.map_err(|error| Error::General(error.to_string()))?;
        let mut last = not_vouched_for();
        for name in &self.names {
            match chain.verify_server_cert(end_entity, intermediates, name, ocsp_response, now) {
                Ok(verified) => return Ok(verified),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    signatures_by!(provider);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

    use super::*;

    const NOW: u64 = 1_790_000_000;

    /// A root, one below it, and a server below that.
    struct Chain {
        root: CertificateDer<'static>,
        middle: CertificateDer<'static>,
        server: CertificateDer<'static>,
    }

    fn authority(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn chain(name: &str, until: i32) -> Chain {
        let root = CertifiedIssuer::self_signed(authority("root"), KeyPair::generate().unwrap()).unwrap();
        let middle = CertifiedIssuer::signed_by(authority("middle"), KeyPair::generate().unwrap(), &root).unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = date_time_ymd(until, 1, 1);
        let server = params.signed_by(&KeyPair::generate().unwrap(), &middle).unwrap();
        Chain { root: root.der().clone(), middle: middle.der().clone(), server: server.der().clone() }
    }

    fn association(usage: u8, selector: u8, matching: u8, certificate: &CertificateDer<'_>) -> Association {
        let selected = match selector {
            0 => certificate.as_ref().to_vec(),
            _ => ParsedCertificate::try_from(certificate).unwrap().subject_public_key_info().as_ref().to_vec(),
        };
        let data = match matching {
            0 => selected,
            1 => digest(&SHA256, &selected).as_ref().to_vec(),
            _ => digest(&SHA512, &selected).as_ref().to_vec(),
        };
        Association::new(usage, selector, matching, data).unwrap()
    }

    fn verify(chain: &Chain, shown: &[&CertificateDer<'static>], associations: &[Association]) -> Result<(), Error> {
        let name = ServerName::try_from("mx.example").unwrap();
        let verifier =
            ByTlsa { associations: strongest(associations), names: vec![name.clone()], provider: provider() };
        let shown: Vec<_> = shown.iter().map(|certificate| (*certificate).clone()).collect();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW));
        verifier.verify_server_cert(&chain.server, &shown, &name, &[], now).map(|_| ())
    }

    #[test]
    fn every_kind_of_record_vouches_for_what_it_names_and_for_nothing_else() {
        let (ours, theirs) = (chain("mx.example", 2100), chain("mx.example", 2100));
        for selector in [0, 1] {
            for matching in [0, 1, 2] {
                let at = format!("{selector} {matching}");
                let shown = [&ours.middle, &ours.root];
                let with =
                    |usage, certificate| verify(&ours, &shown, &[association(usage, selector, matching, certificate)]);
                for (usage, certificate) in [(3, &ours.server), (2, &ours.middle), (2, &ours.root)] {
                    assert_eq!(with(usage, certificate), Ok(()), "{usage} {at}");
                }
                for (usage, certificate) in
                    [(3, &theirs.server), (3, &ours.root), (2, &ours.server), (2, &theirs.root), (2, &theirs.middle)]
                {
                    assert!(matches!(with(usage, certificate), Err(Error::InvalidCertificate(_))), "{usage} {at}");
                }
            }
        }
    }

    #[test]
    fn below_an_authority_names_and_times_count_and_the_server_itself_needs_neither() {
        for (name, until) in [("other.example", 2100), ("mx.example", 2001)] {
            let chain = chain(name, until);
            let shown = [&chain.middle, &chain.root];
            assert_eq!(verify(&chain, &shown, &[association(3, 1, 1, &chain.server)]), Ok(()));
            let below = verify(&chain, &shown, &[association(2, 0, 1, &chain.root)]);
            assert!(matches!(below, Err(Error::InvalidCertificate(_))), "{name} {until}: {below:?}");
        }
    }

    #[test]
    fn an_authority_that_the_zone_holds_whole_need_not_be_shown() {
        let chain = chain("mx.example", 2100);
        assert_eq!(verify(&chain, &[&chain.middle], &[association(2, 0, 0, &chain.root)]), Ok(()));
        assert!(verify(&chain, &[&chain.middle], &[association(2, 0, 1, &chain.root)]).is_err());
    }

    #[test]
    fn a_weak_digest_beside_a_strong_one_does_not_count() {
        let (ours, theirs) = (chain("mx.example", 2100), chain("mx.example", 2100));
        let (weak, strong) = (association(3, 1, 1, &ours.server), association(3, 1, 2, &theirs.server));
        assert!(verify(&ours, &[], &[weak.clone(), strong.clone()]).is_err());
        let whole = association(3, 0, 0, &ours.server);
        assert_eq!(verify(&ours, &[], &[strong, whole]), Ok(()));
        assert_eq!(verify(&ours, &[], &[weak, association(3, 0, 2, &theirs.server)]), Ok(()), "of something else");
    }

    #[test]
    fn what_is_not_for_smtp_or_not_known_is_unusable() {
        let usable =
            |usage, selector, matching, octets| Association::new(usage, selector, matching, vec![0; octets]).is_some();
        assert!(usable(2, 0, 1, 32) && usable(3, 1, 2, 64) && usable(3, 0, 0, 1));
        for (usage, selector, matching, octets) in [
            (0, 0, 1, 32),
            (1, 1, 1, 32),
            (4, 1, 1, 32),
            (3, 2, 1, 32),
            (3, 1, 3, 32),
            (3, 1, 1, 31),
            (3, 1, 1, 64),
            (3, 1, 2, 32),
            (3, 1, 0, 0),
        ] {
            assert!(!usable(usage, selector, matching, octets), "{usage} {selector} {matching} {octets}");
        }
    }
}
