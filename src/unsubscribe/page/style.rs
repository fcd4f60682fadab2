//! The style sheet, and the policy that allows it and nothing else.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::unsubscribe::sender::Colour;

/// The sheet for a sender's colour.
pub(super) fn sheet(colour: Colour) -> String {
    format!(":root{{--brand:{colour}}}{SHEET}")
}

/// Content-Security-Policy: this very sheet by its hash, forms to ourselves, and nothing else at all.
pub(super) fn policy(sheet: &str) -> String {
    let hash = STANDARD.encode(digest::digest(&digest::SHA256, sheet.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
}

const SHEET: &str = include_str!("page.css");
