//! Who belongs together as a destination, how much each of them likes, and whether one more may go now.
//!
//! **Promise:** a domain falls into one group, by its name before its mail servers; the limits of a group on a route are what
//! the operator said for that route, else what is shipped for the group; a pace never lets more through than its rate
//! and its burst, also when several gateways keep it together.
//!
//! **Owns:** the TOML of groups and limits, what is shipped, paces (GCRA, or what a fleet gave) and plans for warming up.
//!
//! **Never knows:** queues, recipients, sockets, the DNS.

mod book;
mod file;
mod fleet;
mod own;
mod pace;
mod rate;
#[cfg(test)]
mod tests;
mod warmup;

pub use book::{ALL, Book, GROUPS_MAX, Group, GroupNumber, Limits, OTHER, Pattern, Reach};
#[cfg(test)]
pub(crate) use file::with_operator;
pub use file::{ShapingError, embedded, load};
pub use fleet::{Company, GATEWAYS_MAX, GIVEN_FOR, Gateways};
pub use pace::{Asked, Pace, WAIT_MAX};
pub use rate::{BURST_SPAN, Rate};
pub use warmup::{Allowance, CAPS_MAX, Day, FACTOR_MAX, Plan, Subject};
