//! How many may be inside at once, how often each may come, and whose they are.
//!
//! **Promise:** there are never more inside than there may be, neither in all nor from one neighbourhood; whoever leaves gives
//! their place back, and whoever stays outside is told so without being waited for. Nobody passes more often than their rate, and
//! no more are remembered for that than fit.
//!
//! **Owns:** the counts, in memory; what counts as one neighbourhood.
//!
//! **Never knows:** what is done inside, by which protocol, the words for those who stay outside.
//!
//! **Standards:** RFC 4291 section 2.5.1 (a subnet of IPv6).

mod neighbourhood;
mod places;
mod quotas;
mod turned_away;

pub(crate) use neighbourhood::Neighbourhood;
pub use places::Places;
pub(crate) use places::{Census, Place};
#[cfg(test)]
pub(crate) use quotas::REMEMBERED_MAX;
pub(crate) use quotas::{Pass, Quotas, Rate, WhenFull};
pub(crate) use turned_away::turn_away;
