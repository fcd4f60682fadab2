//! How a receiver knows that a body is ours. Pure.

use std::fmt;

use aws_lc_rs::hmac;

use crate::hex;
use crate::time::Timestamp;

/// Fewest octets of a secret: whoever has seen one call can try all shorter ones in their own time.
const SECRET_MIN: usize = 32;
/// Secrets at a time: the new one and the one that receivers still have.
const SECRETS_MAX: usize = 2;

/// What a hook's calls are signed with.
#[derive(Clone)]
pub struct Secrets(Vec<hmac::Key>);

impl Secrets {
    /// Reads a file of one line, or of two while receivers change over. The octets of a line are the key.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() || lines.len() > SECRETS_MAX || lines.iter().any(|line| line.len() < SECRET_MIN) {
            return Err(format!("expected one secret of at least {SECRET_MIN} characters, or two on a line each"));
        }
        Ok(Self(lines.iter().map(|line| hmac::Key::new(hmac::HMAC_SHA256, line.as_bytes())).collect()))
    }

    /// The value of the signature field: the time in seconds, and for each secret the HMAC-SHA256 (RFC 2104) of time, dot
    /// and body. Signed together, an old call cannot be passed off as a new one.
    pub(super) fn sign(&self, at: Timestamp, body: &[u8]) -> String {
        let seconds = at.as_secs().to_string();
        let signature = |key: &hmac::Key| {
            let mut context = hmac::Context::with_key(key);
            context.update(seconds.as_bytes());
            context.update(b".");
            context.update(body);
            format!(",v1={}", hex::encode(context.sign().as_ref()))
        };
        format!("t={seconds}{}", self.0.iter().map(signature).collect::<String>())
    }
}

/// Without the secrets.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "0123456789abcdef0123456789abcdef";
    const OLD: &str = "fedcba9876543210fedcba9876543210";

    /// The expected value is OpenSSL's: `printf '1800000000.[{"seq":1}]' | openssl dgst -sha256 -hmac "$NEW"`.
    #[test]
    fn time_and_body_are_signed_with_each_secret() {
        let at = Timestamp::from_millis(1_800_000_000_999);
        let one = Secrets::parse(&format!("{NEW}\n")).unwrap().sign(at, br#"[{"seq":1}]"#);
        assert_eq!(one, "t=1800000000,v1=e0644d7290802c16a13395074cf999d1ecb4037d1e89efa459edf51702341373");
        let two = Secrets::parse(&format!("{NEW}\n\n {OLD} \n")).unwrap().sign(at, br#"[{"seq":1}]"#);
        assert!(two.starts_with(&format!("{one},v1=")) && two.len() == one.len() + 68, "{two}");
        let old = Secrets::parse(OLD).unwrap();
        assert!(two.ends_with(old.sign(at, br#"[{"seq":1}]"#).split_once(',').unwrap().1));
    }

    #[test]
    fn secrets_are_long_and_at_most_two() {
        for bad in [String::new(), "\n".to_owned(), NEW.replacen('0', "", 1), format!("{NEW}\n{OLD}\n{NEW}")] {
            assert!(Secrets::parse(&bad).unwrap_err().contains("expected one secret"), "{bad:?}");
        }
        assert!(!format!("{:?}", Secrets::parse(NEW).unwrap()).contains("0123"));
    }
}
