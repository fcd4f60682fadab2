//! From received bytes and a permit to the signed bytes for one copy.

use bytes::Bytes;

use crate::mail::Recipient;

/// A rewritten and signed header section with the recipients it may be sent to.
#[derive(Debug)]
pub struct Signed {
    recipients: Vec<Recipient>,
    header: Bytes,
}

impl Signed {
    /// To whom.
    pub fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }

    /// The final header section, blank line included.
    pub const fn header(&self) -> &Bytes {
        &self.header
    }
}
