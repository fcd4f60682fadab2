//! The grammar of SMTP, without sockets.

pub mod reply;
