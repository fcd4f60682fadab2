//! What a token stands for, and its compact form inside the encryption.

use crate::mail::{ControllerId, ListName, Mailbox, QueueId};

/// Octets of a queue identifier.
const ID_LEN: usize = 8;

/// Who may leave what: the person, the list and the message that the link was in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The recipient, as the campaign tool spelled them.
    pub mailbox: Mailbox,
    /// Whose mail it was.
    pub controller: ControllerId,
    /// On which list; without one the link stands for all mail of the controller.
    pub list: Option<ListName>,
    /// In which message.
    pub message: QueueId,
}

impl Subject {
    /// Queue identifier, controller, list (empty for none), each name behind its length, then the mailbox.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.message.as_u64().to_be_bytes());
        for name in [self.controller.as_str(), self.list.as_ref().map_or("", ListName::as_str)] {
            // A name has at most 64 octets, so its length always fits.
            out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(name.as_bytes());
        }
        out.extend_from_slice(self.mailbox.as_str().as_bytes());
    }

    pub(super) fn decode(octets: &[u8]) -> Option<Self> {
        let (id, rest) = octets.split_first_chunk::<ID_LEN>()?;
        let (controller, rest) = name(rest)?;
        let (list, rest) = name(rest)?;
        Some(Self {
            message: QueueId::from_u64(u64::from_be_bytes(*id)),
            controller: ControllerId::new(controller).ok()?,
            list: if list.is_empty() { None } else { Some(ListName::new(list).ok()?) },
            mailbox: Mailbox::parse(std::str::from_utf8(rest).ok()?).ok()?,
        })
    }
}

/// A text behind its length, and what follows it.
pub(super) fn name(octets: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = octets.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(name).ok()?, rest))
}
