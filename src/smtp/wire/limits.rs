//! Limits of the wire, each with its source.

/// A command line with its CRLF, in octets: RFC 5321 section 4.5.3.1.4.
pub const COMMAND_LINE_MAX: usize = 512;

/// MAIL and RCPT lines with their CRLF, in octets. RFC 5321 section 4.5.3.1.4 lets extensions lengthen them: SIZE
/// by 26, BODY by 16, AUTH by 500, SMTPUTF8 by 10, RET by 9 and ENVID by 107 for MAIL; NOTIFY by 29 and ORCPT by 507 for
/// RCPT (RFC 3461 section 4). The larger sum is 1180.
pub const PATH_LINE_MAX: usize = 1180;

/// AUTH lines and responses to its challenges with their CRLF, in octets: RFC 4954 section 4.
pub const AUTH_LINE_MAX: usize = 12_288;

/// What may be waiting without a line end before the client is cut off, in octets: the longest line there is.
pub const UNTERMINATED_MAX: usize = AUTH_LINE_MAX;

/// A line of content without its CRLF and without a stuffed dot, in octets: RFC 5321 section 4.5.3.1.6. A longer
/// one is refused, because splitting it would change the message and break its signatures.
pub const TEXT_LINE_MAX: usize = 998;

/// The name in EHLO or HELO, in octets: a domain of RFC 5321 section 4.5.3.1.2.
pub const CLIENT_NAME_MAX: usize = 255;

/// Digits of SIZE: RFC 1870 section 3 allows 20.
pub const SIZE_DIGITS_MAX: usize = 20;

const _: () = assert!(COMMAND_LINE_MAX < PATH_LINE_MAX && PATH_LINE_MAX < AUTH_LINE_MAX);
