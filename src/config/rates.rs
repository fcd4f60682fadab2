//! The section `[smtp.rates]`: how much one client may hand in.

use std::num::NonZeroU32;

use crate::pipeline::{Rate, RateSettings, Rates};

use super::error::Problems;
use super::v1;

/// The highest rate that can be set: what is beyond it is no limit.
const RATE_MAX: u64 = 10_000_000;

pub(super) fn rates(written: &v1::Rates, problems: &mut Problems<'_>) -> Option<Rates> {
    let mut read = |key: &str, value: &Option<v1::At<v1::Rate>>| match value {
        None => Some(None),
        Some(value) => rate(key, value, problems).map(Some),
    };
    let settings = RateSettings {
        credential_messages: read("smtp.rates.credential_messages", &written.credential_messages)?,
        credential_recipients: read("smtp.rates.credential_recipients", &written.credential_recipients)?,
        address_messages: read("smtp.rates.address_messages", &written.address_messages)?,
        address_recipients: read("smtp.rates.address_recipients", &written.address_recipients)?,
    };
    Some(Rates::new(&settings))
}

/// Without a burst it is a minute's worth.
fn rate(key: &str, value: &v1::At<v1::Rate>, problems: &mut Problems<'_>) -> Option<Rate> {
    let written = value.as_ref();
    let bounded = |number: u64| u32::try_from(number).ok().filter(|_| number <= RATE_MAX).and_then(NonZeroU32::new);
    let read = bounded(written.per_minute).zip(bounded(written.burst.unwrap_or(written.per_minute)));
    if read.is_none() {
        problems.add(value.span().start, key, format!("expected per_minute and burst of 1 to {RATE_MAX}"));
    }
    read.map(|(per_minute, burst)| Rate { per_minute, burst })
}
