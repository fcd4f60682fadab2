//! How much one credential, or one address, may hand in.

use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::crowd::Neighbourhood;
use crate::mail::CredentialName;

/// A rate with room for a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_minute: NonZeroU32,
    /// At once, after a pause.
    pub burst: NonZeroU32,
}

/// Which rates hold. `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateSettings {
    /// Messages of one credential.
    pub credential_messages: Option<Rate>,
    /// Recipients of one credential.
    pub credential_recipients: Option<Rate>,
    /// Messages from one address.
    pub address_messages: Option<Rate>,
    /// Recipients from one address.
    pub address_recipients: Option<Rate>,
}

/// The rates at work. They begin anew with each reload of the configuration.
pub struct Rates {
    hasher: RandomState,
    clock: DefaultClock,
    messages: Pair,
    recipients: Pair,
}

/// By whom and from where. Credentials are those of the configuration. Addresses are anybody's: they fall into 65 536
/// drawers, so that no number of them takes more than 2 MB; who shares a drawer changes with each start.
struct Pair {
    credential: Option<DefaultKeyedRateLimiter<CredentialName>>,
    address: Option<DefaultKeyedRateLimiter<[u8; 2]>>,
}

/// Too much, and how long until there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooFast(pub(super) Duration);

impl Rates {
    /// All of them, with their bursts unspent.
    pub fn new(settings: &RateSettings) -> Self {
        Self {
            hasher: RandomState::new(),
            clock: DefaultClock::default(),
            messages: Pair::new(settings.credential_messages, settings.address_messages),
            recipients: Pair::new(settings.credential_recipients, settings.address_recipients),
        }
    }

    /// Counts a message.
    pub(super) fn message(&self, credential: &CredentialName, peer: IpAddr) -> Result<(), TooFast> {
        self.count(&self.messages, credential, peer)
    }

    /// Counts a recipient.
    pub(super) fn recipient(&self, credential: &CredentialName, peer: IpAddr) -> Result<(), TooFast> {
        self.count(&self.recipients, credential, peer)
    }

    fn count(&self, pair: &Pair, credential: &CredentialName, peer: IpAddr) -> Result<(), TooFast> {
        if let Some(limiter) = &pair.address {
            let [drawer @ .., _, _, _, _, _, _] = self.hasher.hash_one(Neighbourhood::of(peer)).to_le_bytes();
            self.check(limiter, &drawer)?;
        }
        pair.credential.as_ref().map_or(Ok(()), |limiter| self.check(limiter, credential))
    }

    fn check<K: Clone + Eq + Hash>(&self, limiter: &DefaultKeyedRateLimiter<K>, key: &K) -> Result<(), TooFast> {
        limiter.check_key(key).map_err(|not_until| TooFast(not_until.wait_time_from(self.clock.now())))
    }
}

impl Pair {
    fn new(credential: Option<Rate>, address: Option<Rate>) -> Self {
        Self { credential: credential.map(limiter), address: address.map(limiter) }
    }
}

fn limiter<K: Clone + Eq + Hash>(rate: Rate) -> DefaultKeyedRateLimiter<K> {
    RateLimiter::keyed(Quota::per_minute(rate.per_minute).allow_burst(rate.burst))
}

impl fmt::Debug for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rates").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn rate(per_minute: u32, burst: u32) -> Rate {
        Rate { per_minute: NonZeroU32::new(per_minute).unwrap(), burst: NonZeroU32::new(burst).unwrap() }
    }

    fn name(text: &str) -> CredentialName {
        CredentialName::new(text).unwrap()
    }

    #[test]
    fn a_burst_passes_and_the_next_one_is_told_how_long_to_wait() {
        // One a minute: none comes back while the test runs.
        let rates = Rates::new(&RateSettings { credential_messages: Some(rate(1, 3)), ..RateSettings::default() });
        for _ in 0..3 {
            assert_eq!(rates.message(&name("shop"), HERE), Ok(()));
        }
        let TooFast(wait) = rates.message(&name("shop"), HERE).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_mins(1), "{wait:?}");
        assert_eq!(rates.message(&name("other"), HERE), Ok(()), "each credential has its own");
        assert_eq!(rates.recipient(&name("shop"), HERE), Ok(()), "and recipients are not messages");
    }

    #[test]
    fn an_address_is_counted_whatever_credentials_it_uses() {
        let rates = Rates::new(&RateSettings { address_recipients: Some(rate(1, 2)), ..RateSettings::default() });
        assert_eq!(rates.recipient(&name("a"), HERE), Ok(()));
        assert_eq!(rates.recipient(&name("b"), HERE), Ok(()));
        assert!(rates.recipient(&name("c"), HERE).is_err());
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        assert!(rates.recipient(&name("d"), mapped).is_err(), "one address, however it is written");
    }

    #[test]
    fn without_settings_nothing_is_limited() {
        let rates = Rates::new(&RateSettings::default());
        for _ in 0..10_000 {
            assert_eq!(rates.message(&name("a"), HERE).and(rates.recipient(&name("a"), HERE)), Ok(()));
        }
    }
}
