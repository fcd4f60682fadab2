//! How many may be inside at once, and whose they are.
//!
//! **Promise:** there are never more inside than there may be, neither in all nor from one neighbourhood; whoever leaves gives
//! their place back, and whoever stays outside is told so without being waited for.
//!
//! **Owns:** the counts; what counts as one neighbourhood.
//!
//! **Never knows:** what is done inside, by which protocol, the words for those who stay outside.
//!
//! **Standards:** RFC 4291 section 2.5.1 (a subnet of IPv6).

mod neighbourhood;
mod places;
mod turned_away;

pub(crate) use neighbourhood::Neighbourhood;
pub use places::Places;
pub(crate) use places::{Census, Place};
pub(crate) use turned_away::turn_away;
