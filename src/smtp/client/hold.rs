//! What must live until the recipients of a message have been named to the upstream.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Something that is given back as soon as every RCPT of a message has been written, or when the message is dropped:
/// from then on a decision about its recipients has been acted upon and cannot be taken back.
#[derive(Clone, Default)]
pub struct Hold(Arc<Mutex<Option<Box<dyn Any + Send>>>>);

impl Hold {
    /// Holds `what`.
    pub fn new(what: impl Any + Send) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::new(what)))))
    }

    /// Gives it back; a second time nothing happens.
    pub(super) fn release(&self) {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(held);
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hold(..)")
    }
}
