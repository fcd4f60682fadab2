//! What a reply or an error means for a recipient. Pure.
//!
//! A fault of the route is never a recipient's: a wrong password, a refused greeting, a misunderstood command defer
//! everybody and let the route rest. Only what the upstream says about this message or this mailbox is final.

use crate::mail::{EnhancedStatus, Reply};
use crate::smtp::client::{ClientError, EnvelopeReplies, LoginFault, Misfit, Stage, TlsFault};

/// How an attempt ended for one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The upstream took responsibility, also for what its sender wants reported.
    Delivered,
    /// The upstream took responsibility, and has never heard of reports (RFC 3461).
    Relayed,
    /// Not now.
    Deferred,
    /// Not ever.
    Bounced,
}

/// A fate, with what led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How it ended.
    pub fate: Fate,
    /// What the upstream said, or what we say in its place.
    pub reply: Reply,
    /// Whether the upstream said it.
    pub said_by_upstream: bool,
    /// Whether the route is to blame and should rest.
    pub route_fault: bool,
}

/// The class of one reply at one stage. 2yz counts as delivered, so this is for refusals and for the final dot.
pub fn of_reply(stage: Stage, reply: Reply) -> Verdict {
    let code = reply.code();
    let (fate, route_fault) = match code.as_u16() {
        200..=299 => (Fate::Delivered, false),
        // It closes the session (RFC 5321 section 3.8); commands not understood or out of order; TLS or
        // authentication wanted or failed (RFC 4954 section 6, RFC 3207 section 4): between the upstream and us.
        421 | 432 | 454 | 500 | 502 | 503 | 530 | 534 | 535 | 538 => (Fate::Deferred, true),
        // A parameter that it cannot read (RFC 5321 section 4.2.4) may be an address it does not like; then it says
        // so in the status, and it is final. Else it is between us, but not for the whole route to rest: one odd
        // address must not stop everybody's mail.
        501 | 504 | 555 => (if is_about_address(stage, &reply) { Fate::Bounced } else { Fate::Deferred }, false),
        _ if denies_relay(&reply) => (Fate::Deferred, true),
        _ if code.is_permanent() => (Fate::Bounced, false),
        _ => (Fate::Deferred, false),
    };
    Verdict { fate, reply, said_by_upstream: true, route_fault }
}

/// RFC 3463 section 3.2: X.1.XXX is about an address.
fn is_about_address(stage: Stage, reply: &Reply) -> bool {
    matches!(stage, Stage::Mail | Stage::Rcpt) && reply.enhanced().is_some_and(|status| status.subject == 1)
}

/// A smarthost that does not relay for us does not know us; that is no news about the recipient.
fn denies_relay(reply: &Reply) -> bool {
    let status_allows = reply.enhanced().is_none_or(|status| status.subject == 7);
    let text = reply.text().to_ascii_lowercase();
    reply.code().is_permanent()
        && status_allows
        && text.contains("relay")
        && ["denied", "not permitted", "not allowed", "prohibited", "refused"].iter().any(|word| text.contains(word))
}

/// For each recipient of an envelope, in the order of RCPT: its verdict, or `None` when it was accepted and its fate
/// is that of the content.
pub fn of_envelope(replies: &EnvelopeReplies, recipients: usize) -> Vec<Option<Verdict>> {
    if !replies.mail.code().is_success() {
        return vec![Some(of_reply(Stage::Mail, replies.mail.clone())); recipients];
    }
    let data = replies.data.as_ref().filter(|data| data.code().as_u16() != 354);
    let of_one = |reply: &Reply| match data {
        _ if !reply.code().is_success() => Some(of_reply(Stage::Rcpt, reply.clone())),
        Some(data) => Some(of_reply(Stage::Data, data.clone())),
        None => None,
    };
    replies.recipients.iter().map(of_one).collect()
}

/// What a broken session means for everyone on it. `sent`: the content and its final dot had left.
pub fn of_error(error: &ClientError, sent: bool) -> Verdict {
    let own = |code, status, fate, route_fault| {
        let again = if sent { "; the message may be sent more than once" } else { "" };
        let reply = Reply::new(code, status, format!("{error}{again}"));
        Verdict { fate, reply, said_by_upstream: false, route_fault }
    };
    let status = |subject, detail| EnhancedStatus::new(4, subject, detail);
    // What happens at the content may be due to the content; what happens before it is due to the upstream.
    let early = |stage: Stage| !matches!(stage, Stage::Content | Stage::Reset);
    match error {
        // A password that is refused, a certificate that is not trusted, a smarthost that is ourselves: between the
        // upstream and our operator, and final for nobody.
        ClientError::Refused { reply, .. }
        | ClientError::Closing { reply, .. }
        | ClientError::Login(LoginFault::Refused(reply)) => {
            Verdict { fate: Fate::Deferred, reply: reply.clone(), said_by_upstream: true, route_fault: true }
        }
        ClientError::Login(LoginFault::InClear | LoginFault::NoMechanism) => {
            own(451, status(7, 0), Fate::Deferred, true)
        }
        // RFC 3463 section 3.8: X.7.4, security features not supported; X.7.5, cryptographic failure.
        ClientError::Tls(TlsFault::NotOffered | TlsFault::Refused(_)) => own(451, status(7, 4), Fate::Deferred, true),
        ClientError::Tls(_) => own(451, status(7, 5), Fate::Deferred, true),
        ClientError::Loop(_) => own(451, status(4, 6), Fate::Deferred, true),
        ClientError::Resolve(_) => own(451, status(4, 3), Fate::Deferred, true),
        ClientError::Connect(_) => own(451, status(4, 1), Fate::Deferred, true),
        ClientError::Timeout(stage) | ClientError::Closed(stage) | ClientError::Io { stage, .. } => {
            own(451, status(4, 2), Fate::Deferred, early(*stage))
        }
        ClientError::Garbled { stage, .. } | ClientError::OutOfStep { stage, .. } => {
            own(451, status(5, 0), Fate::Deferred, early(*stage))
        }
        ClientError::Unclean(_) => own(550, EnhancedStatus::new(5, 6, 0), Fate::Bounced, false),
        ClientError::Body(_) => own(451, status(3, 0), Fate::Deferred, false),
    }
}

/// A message that the upstream cannot take: final, and nothing was sent.
pub fn of_misfit(misfit: Misfit) -> Verdict {
    let (code, status) = match misfit {
        Misfit::Size { .. } => (552, EnhancedStatus::new(5, 3, 4)),
        Misfit::Utf8 => (550, EnhancedStatus::new(5, 6, 7)),
        Misfit::EightBit => (550, EnhancedStatus::new(5, 6, 3)),
    };
    let reply = Reply::new(code, status, misfit.to_string());
    Verdict { fate: Fate::Bounced, reply, said_by_upstream: false, route_fault: false }
}

/// Nobody could be asked whether it may be sent.
pub fn of_missing_facts() -> Verdict {
    let reply = Reply::new(451, EnhancedStatus::new(4, 3, 0), "the decision before the attempt could not be made");
    Verdict { fate: Fate::Deferred, reply, said_by_upstream: false, route_fault: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::ReplyCode;

    fn reply(text: &str) -> Reply {
        let (code, text) = text.split_at(3);
        Reply::received(ReplyCode::new(code.parse().unwrap()).unwrap(), text.trim_start())
    }

    fn class(stage: Stage, text: &str) -> (Fate, bool) {
        let verdict = of_reply(stage, reply(text));
        (verdict.fate, verdict.route_fault)
    }

    #[test]
    fn what_is_said_about_a_message_is_the_messages() {
        for stage in [Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Content] {
            for text in ["450 4.2.0 grey", "452 4.3.1 full", "451 x"] {
                assert_eq!(class(stage, text), (Fate::Deferred, false), "{stage:?} {text}");
            }
            for text in ["550 5.1.1 unknown", "554 x", "552 5.3.4 large", "556 5.1.10 null MX", "550 5.7.1 spam"] {
                assert_eq!(class(stage, text), (Fate::Bounced, false), "{stage:?} {text}");
            }
        }
        assert_eq!(class(Stage::Content, "250 ok"), (Fate::Delivered, false));
    }

    #[test]
    fn what_lies_between_the_upstream_and_us_is_never_the_recipients() {
        for stage in [Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Content] {
            for text in [
                "421 4.3.2 closing",
                "500 what",
                "502 what",
                "503 order",
                "530 5.7.0 authenticate",
                "535 5.7.8 wrong",
                "538 5.7.11 encrypt",
                "554 5.7.1 <a@b.example>: Relay access denied",
                "550 relay not permitted",
            ] {
                assert_eq!(class(stage, text), (Fate::Deferred, true), "{stage:?} {text}");
            }
        }
    }

    #[test]
    fn one_odd_address_stops_nobody_else() {
        assert_eq!(class(Stage::Rcpt, "501 5.1.3 bad address syntax"), (Fate::Bounced, false));
        assert_eq!(class(Stage::Mail, "501 5.1.7 bad sender"), (Fate::Bounced, false));
        assert_eq!(class(Stage::Rcpt, "501 5.5.4 syntax"), (Fate::Deferred, false));
        assert_eq!(class(Stage::Content, "501 5.1.3 x"), (Fate::Deferred, false));
        assert_eq!(class(Stage::Rcpt, "555 parameters"), (Fate::Deferred, false));
        assert_eq!(class(Stage::Rcpt, "550 5.1.1 relay denied there"), (Fate::Bounced, false));
    }

    #[test]
    fn each_recipient_has_its_own_fate() {
        let replies = EnvelopeReplies {
            mail: reply("250 ok"),
            recipients: vec![reply("250 ok"), reply("452 later"), reply("550 5.1.1 no")],
            data: Some(reply("354 go")),
        };
        let fates = |replies: &EnvelopeReplies| -> Vec<_> {
            of_envelope(replies, 3).into_iter().map(|verdict| verdict.map(|v| v.fate)).collect()
        };
        assert_eq!(fates(&replies), [None, Some(Fate::Deferred), Some(Fate::Bounced)]);
        let refused = EnvelopeReplies { data: Some(reply("554 no")), ..replies };
        assert_eq!(fates(&refused), [Some(Fate::Bounced), Some(Fate::Deferred), Some(Fate::Bounced)]);
        let sender = EnvelopeReplies { mail: reply("450 later"), recipients: Vec::new(), data: None };
        assert_eq!(fates(&sender), [Some(Fate::Deferred); 3]);
    }

    #[test]
    fn broken_sessions_defer_and_say_when_a_duplicate_may_come() {
        let closed = of_error(&ClientError::Closed(Stage::Content), true);
        assert_eq!((closed.fate, closed.route_fault), (Fate::Deferred, false));
        assert!(closed.reply.text().contains("may be sent more than once"), "{}", closed.reply);
        let early = of_error(&ClientError::Closed(Stage::Mail), false);
        assert!(early.route_fault && !early.reply.text().contains("more than once"));
        let refused = of_error(&ClientError::Refused { stage: Stage::Greeting, reply: reply("554 no") }, false);
        assert_eq!((refused.fate, refused.route_fault), (Fate::Deferred, true));
        let unclean = of_error(&ClientError::Unclean(crate::smtp::client::Unclean), false);
        assert_eq!((unclean.fate, unclean.reply.code().as_u16()), (Fate::Bounced, 550));
    }

    #[test]
    fn misfits_carry_the_status_of_their_rfc() {
        let status = |misfit| of_misfit(misfit).reply.enhanced().map(|status| status.to_string());
        assert_eq!(status(Misfit::Size { size: 2, limit: 1 }).as_deref(), Some("5.3.4"));
        assert_eq!(status(Misfit::Utf8).as_deref(), Some("5.6.7"));
        assert_eq!(status(Misfit::EightBit).as_deref(), Some("5.6.3"));
    }
}
