//! One run of a canary: which route it left by, and when. What else it looked like follows from that.

use super::subject::name;
use super::{Keyring, Token, TokenError, open, seal};
use crate::mail::name::NAME_MAX;
use crate::mail::{QueueId, RouteName};
use crate::time::Timestamp;

/// Tells these tokens from those of people's links; the cipher authenticates it.
const VERSION: u8 = 3;
/// Identifier, instant, route behind its length.
const RUN_MAX: usize = 8 + 8 + 1 + NAME_MAX;

/// One run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// The message.
    pub message: QueueId,
    /// When it was made.
    pub at: Timestamp,
    /// The way out.
    pub route: RouteName,
}

/// Makes the token of `run` with the current key.
///
/// # Errors
/// [`TokenError`] when the cryptographic library fails.
pub fn mint(keyring: &Keyring, run: &Run) -> Result<Token, TokenError> {
    let mut plain = Vec::with_capacity(RUN_MAX);
    plain.extend_from_slice(&run.message.as_u64().to_be_bytes());
    plain.extend_from_slice(&run.at.as_millis().to_be_bytes());
    plain.push(u8::try_from(run.route.as_str().len()).map_err(|_| TokenError)?);
    plain.extend_from_slice(run.route.as_str().as_bytes());
    seal(keyring, VERSION, &plain)
}

/// The run that the token names.
///
/// # Errors
/// [`TokenError`] for everything that [`mint`] did not make with a key of this ring.
pub fn redeem(keyring: &Keyring, text: &str) -> Result<Run, TokenError> {
    let plain = open(keyring, VERSION, text, RUN_MAX)?;
    let read = || {
        let (message, rest) = plain.split_first_chunk()?;
        let (at, rest) = rest.split_first_chunk()?;
        let (route, rest) = name(rest)?;
        let run = Run {
            message: QueueId::from_u64(u64::from_be_bytes(*message)),
            at: Timestamp::from_millis(i64::from_be_bytes(*at)),
            route: RouteName::new(route).ok()?,
        };
        rest.is_empty().then_some(run)
    };
    read().ok_or(TokenError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{SECRET_LEN, TokenKey};

    #[test]
    fn a_run_comes_back_and_nobody_else_makes_one() {
        let ring = |secret| Keyring::new(TokenKey::new(1, &[secret; SECRET_LEN]).unwrap(), vec![]).unwrap();
        let route = RouteName::new("upstream").unwrap();
        let run = Run { message: QueueId::from_u64(7), at: Timestamp::from_millis(1_700_000_000_123), route };
        let token = mint(&ring(1), &run).unwrap();
        assert_eq!(redeem(&ring(1), token.as_str()), Ok(run));
        assert_eq!(redeem(&ring(2), token.as_str()), Err(TokenError));
        assert_eq!(crate::token::redeem(&ring(1), token.as_str()), Err(TokenError));
        assert_eq!(crate::token::confirmation::redeem(&ring(1), token.as_str()).unwrap_err(), TokenError);
        for cut in 0..token.as_str().len() {
            assert_eq!(redeem(&ring(1), &token.as_str()[..cut]), Err(TokenError));
        }
    }
}
