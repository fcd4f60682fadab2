//! Takes the content of DATA: the header section is kept, everything behind it is read and dropped.

use bytes::BytesMut;

use crate::mail::{EnhancedStatus, Reply};
use crate::message::{BodyHasher, HEADER_MAX, SplitAt, split_from};
use crate::smtp::{Content, ContentError};

/// The header section, or all of a message without a blank line. `body` sees what is behind it. At most one chunk more than [`HEADER_MAX`] is in memory.
///
/// # Errors
/// The reply to give: the content broke off, or its header section is endless.
pub(super) async fn header<C: Content>(content: &mut C, mut body: Option<&mut BodyHasher>) -> Result<BytesMut, Reply> {
    let mut head = BytesMut::new();
    let mut is_whole = false;
    let mut behind = |octets: &[u8]| {
        if let Some(body) = &mut body {
            body.update(octets);
        }
    };
    while let Some(chunk) = content.next().await.map_err(ContentError::reply)? {
        if is_whole {
            behind(&chunk);
            continue;
        }
        let searched = head.len();
        head.extend_from_slice(&chunk);
        match split_from(&head, searched) {
            SplitAt::Body(end) => {
                behind(&head.split_off(end));
                is_whole = true;
            }
            SplitAt::Open => {}
        }
        if head.len() > HEADER_MAX {
            let text = format!("header section longer than {HEADER_MAX} octets");
            return Err(Reply::new(552, EnhancedStatus::new(5, 3, 4), text));
        }
    }
    Ok(head)
}
