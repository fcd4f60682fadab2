//! What a reply or an error means for a recipient. Pure.
//!
//! A fault of the route is never a recipient's: a wrong password, a refused greeting, a misunderstood command defer
//! everybody and let the route rest. Only what the upstream says about this message or this mailbox is final.

use crate::mail::{EnhancedStatus, Reply};
use crate::replies::{self, Book, Class, Follows, Schedule, Whom};
use crate::smtp::client::{Blame, ClientError, EnvelopeReplies, LoginFault, Misfit, Stage, TlsFault};

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

/// What a refusal was taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its class.
    pub class: Class,
    /// The entry that decided.
    pub by: &'static str,
    /// What follows.
    pub follows: Follows,
    /// When it is tried again, where the class has a schedule of its own.
    pub schedule: Option<Schedule>,
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
    /// What a refusal was taken for; of what we say ourselves, the class alone.
    pub told: Option<Told>,
}

impl Verdict {
    /// Whose fault the fault of the route is: ours when somebody here has to mend it.
    pub fn blame(&self) -> Blame {
        match self.told.map(|told| told.follows) {
            Some(Follows::Circuit) => Blame::Local,
            Some(Follows::Retry | Follows::Slow | Follows::Suspend | Follows::Fail | Follows::Suppress) | None => {
                Blame::Peer
            }
        }
    }
}

/// Who speaks: what "I do not know you" means depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// A smarthost. It is to know us; when it does not, somebody here or there has to mend that, and everything waits.
    Smarthost,
    /// The mail server of the recipients' domain. We are strangers to it, as everybody is: that it does not relay, or
    /// wants a login, is its word about the recipient and no fault of ours.
    Exchange,
}

/// How replies are read on one way.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// What refusals mean.
    pub book: &'a Book,
    /// Who says them.
    pub speaker: Speaker,
}

impl Reading<'_> {
    fn told(self, stage: Stage, whom: Whom, reply: &Reply) -> Told {
        let meaning = self.book.classify(stage_of(stage), whom, reply);
        let stranger = self.speaker == Speaker::Exchange && matches!(meaning.class, Class::RelayDenied | Class::Auth);
        let follows = match (stranger, reply.code().is_permanent()) {
            (false, _) => meaning.follows,
            (true, true) => Follows::Fail,
            (true, false) => Follows::Retry,
        };
        Told { class: meaning.class, by: meaning.by.id(), follows, schedule: meaning.schedule }
    }
}

/// What one reply at one stage means for one recipient, or, at the dot, for all that `whom` names.
pub fn of_reply(reading: Reading<'_>, stage: Stage, whom: Whom, reply: Reply) -> Verdict {
    if reply.code().is_success() {
        return Verdict { fate: Fate::Delivered, reply, said_by_upstream: true, route_fault: false, told: None };
    }
    let told = reading.told(stage, whom, &reply);
    // With 421 it closes the session (RFC 5321 section 3.8), whatever the reason.
    let closes = reply.code().as_u16() == 421;
    let (fate, route_fault) = match told.follows {
        Follows::Retry | Follows::Slow | Follows::Suspend => (Fate::Deferred, closes),
        Follows::Circuit => (Fate::Deferred, true),
        Follows::Fail | Follows::Suppress => (Fate::Bounced, false),
    };
    Verdict { fate, reply, said_by_upstream: true, route_fault, told: Some(told) }
}

/// The stage as entries name it.
const fn stage_of(stage: Stage) -> replies::Stage {
    match stage {
        Stage::Connect | Stage::Greeting => replies::Stage::Connect,
        Stage::Hello | Stage::Tls | Stage::Auth => replies::Stage::Hello,
        Stage::Mail => replies::Stage::Mail,
        Stage::Rcpt => replies::Stage::Rcpt,
        Stage::Data | Stage::Reset => replies::Stage::Data,
        Stage::Content => replies::Stage::Dot,
    }
}

/// How many a reply to the content speaks of: everyone who has no verdict yet.
pub fn whom(verdicts: &[Option<Verdict>]) -> Whom {
    match verdicts.iter().filter(|verdict| verdict.is_none()).count() {
        0 | 1 => Whom::One,
        _ => Whom::Several,
    }
}

/// For each recipient of an envelope, in the order of RCPT: its verdict, or `None` when it was accepted and its fate
/// is that of the content.
pub fn of_envelope(reading: Reading<'_>, replies: &EnvelopeReplies, recipients: usize) -> Vec<Option<Verdict>> {
    let of_all = |stage, reply: &Reply| of_reply(reading, stage, Whom::Several, reply.clone());
    if !replies.mail.code().is_success() {
        return vec![Some(of_all(Stage::Mail, &replies.mail)); recipients];
    }
    let data = replies.data.as_ref().filter(|data| data.code().as_u16() != 354);
    let of_one = |reply: &Reply| match data {
        _ if !reply.code().is_success() => Some(of_reply(reading, Stage::Rcpt, Whom::One, reply.clone())),
        Some(data) => Some(of_all(Stage::Data, data)),
        None => None,
    };
    replies.recipients.iter().map(of_one).collect()
}

/// What a broken session means for everyone on it. `sent`: the content and its final dot had left.
pub fn of_error(reading: Reading<'_>, error: &ClientError, sent: bool) -> Verdict {
    let own = |code, status, fate, route_fault, class| {
        let again = if sent { "; the message may be sent more than once" } else { "" };
        own_words(Reply::new(code, status, format!("{error}{again}")), fate, route_fault, class)
    };
    let status = |subject, detail| EnhancedStatus::new(4, subject, detail);
    // What happens at the content may be due to the content; what happens before it is due to the upstream.
    let early = |stage: Stage| !matches!(stage, Stage::Content | Stage::Reset);
    match error {
        ClientError::Refused { stage, reply } | ClientError::Closing { stage, reply } => {
            // Whatever it says, it speaks to us and not about a message: nobody's mail ends by it.
            let verdict = of_reply(reading, *stage, Whom::Several, reply.clone());
            Verdict { fate: Fate::Deferred, route_fault: true, ..verdict }
        }
        // A password that is refused, a certificate that is not trusted, a smarthost that is ourselves: between the
        // upstream and our operator, and final for nobody.
        ClientError::Login(LoginFault::Refused(reply)) => {
            let verdict = of_reply(reading, Stage::Auth, Whom::Several, reply.clone());
            let told = verdict.told.map(|told| Told { class: Class::Auth, follows: Follows::Circuit, ..told });
            Verdict { fate: Fate::Deferred, route_fault: true, told, ..verdict }
        }
        ClientError::Login(LoginFault::InClear | LoginFault::NoMechanism) => {
            own(451, status(7, 0), Fate::Deferred, true, Class::Auth)
        }
        // RFC 3463 section 3.8: X.7.4, security features not supported; X.7.5, cryptographic failure.
        ClientError::Tls(TlsFault::NotOffered | TlsFault::Refused(_)) => {
            own(451, status(7, 4), Fate::Deferred, true, Class::Tls)
        }
        ClientError::Tls(_) => own(451, status(7, 5), Fate::Deferred, true, Class::Tls),
        ClientError::Loop(_) => own(451, status(4, 6), Fate::Deferred, true, Class::Routing),
        ClientError::Resolve(_) => own(451, status(4, 3), Fate::Deferred, true, Class::Dns),
        ClientError::Connect(_) => own(451, status(4, 1), Fate::Deferred, true, Class::Temporary),
        ClientError::Timeout(stage) | ClientError::Closed(stage) | ClientError::Io { stage, .. } => {
            own(451, status(4, 2), Fate::Deferred, early(*stage), Class::Temporary)
        }
        ClientError::Garbled { stage, .. } | ClientError::OutOfStep { stage, .. } => {
            own(451, status(5, 0), Fate::Deferred, early(*stage), Class::Protocol)
        }
        ClientError::Unclean(_) => own(550, EnhancedStatus::new(5, 6, 0), Fate::Bounced, false, Class::Content),
        ClientError::Body(_) => own(451, status(3, 0), Fate::Deferred, false, Class::Temporary),
    }
}

/// What we say in the upstream's place.
pub(super) fn own_words(reply: Reply, fate: Fate, route_fault: bool, class: Class) -> Verdict {
    let follows = match fate {
        Fate::Bounced => Follows::Fail,
        Fate::Delivered | Fate::Relayed | Fate::Deferred => Follows::Retry,
    };
    let told = Told { class, by: "built-in", follows, schedule: None };
    Verdict { fate, reply, said_by_upstream: false, route_fault, told: Some(told) }
}

/// A message that the upstream cannot take: final, and nothing was sent.
pub fn of_misfit(misfit: Misfit) -> Verdict {
    let (code, status, class) = match misfit {
        Misfit::Size { .. } => (552, EnhancedStatus::new(5, 3, 4), Class::Size),
        Misfit::Utf8 => (550, EnhancedStatus::new(5, 6, 7), Class::Protocol),
        Misfit::EightBit => (550, EnhancedStatus::new(5, 6, 3), Class::Protocol),
    };
    own_words(Reply::new(code, status, misfit.to_string()), Fate::Bounced, false, class)
}

/// Nobody could be asked whether it may be sent.
pub fn of_missing_facts() -> Verdict {
    let reply = Reply::new(451, EnhancedStatus::new(4, 3, 0), "the decision before the attempt could not be made");
    own_words(reply, Fate::Deferred, false, Class::Temporary)
}

/// The mailbox was said not to exist, while so many were that nobody believes it.
pub fn of_doubt(verdict: &Verdict) -> Verdict {
    Verdict { fate: Fate::Deferred, ..verdict.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::ReplyCode;

    fn reply(text: &str) -> Reply {
        let (code, text) = text.split_at(3);
        Reply::received(ReplyCode::new(code.parse().unwrap()).unwrap(), text.trim_start())
    }

    fn book() -> Book {
        replies::embedded().unwrap()
    }

    fn of_smarthost(book: &Book) -> Reading<'_> {
        Reading { book, speaker: Speaker::Smarthost }
    }

    fn said_by(speaker: Speaker, stage: Stage, text: &str) -> Verdict {
        of_reply(Reading { book: &book(), speaker }, stage, Whom::One, reply(text))
    }

    fn class(stage: Stage, text: &str) -> (Fate, bool) {
        let verdict = said_by(Speaker::Smarthost, stage, text);
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
    fn a_strangers_server_that_wants_no_strangers_refuses_its_recipient_and_we_mend_the_rest() {
        for (text, fate, class) in [
            ("554 5.7.1 <a@b.example>: Relay access denied", Fate::Bounced, Class::RelayDenied),
            ("550 relay not permitted", Fate::Bounced, Class::RelayDenied),
            ("530 5.7.0 Authentication required", Fate::Bounced, Class::Auth),
            ("454 4.7.0 Temporary authentication failure", Fate::Deferred, Class::Auth),
        ] {
            let verdict = said_by(Speaker::Exchange, Stage::Rcpt, text);
            assert_eq!((verdict.fate, verdict.route_fault), (fate, false), "{text}");
            assert_eq!(verdict.told.unwrap().class, class, "{text}");
        }
        let tls = said_by(Speaker::Exchange, Stage::Mail, "530 5.7.0 Must issue a STARTTLS command first");
        assert_eq!((tls.fate, tls.route_fault, tls.blame()), (Fate::Deferred, true, Blame::Local));
    }

    #[test]
    fn our_faults_are_told_from_theirs() {
        let blame = |text: &str| said_by(Speaker::Smarthost, Stage::Mail, text).blame();
        for text in ["535 5.7.8 wrong", "530 5.7.0 authenticate", "550 relay not permitted", "538 5.7.11 encrypt"] {
            assert_eq!(blame(text), Blame::Local, "{text}");
        }
        assert_eq!(blame("421 4.3.2 closing"), Blame::Peer);
        let login = ClientError::Login(LoginFault::Refused(reply("554 no")));
        let refused = of_error(of_smarthost(&book()), &login, false);
        assert_eq!((refused.fate, refused.route_fault, refused.blame()), (Fate::Deferred, true, Blame::Local));
        assert_eq!(refused.told.unwrap().class, Class::Auth);
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
            of_envelope(of_smarthost(&book()), replies, 3).into_iter().map(|verdict| verdict.map(|v| v.fate)).collect()
        };
        assert_eq!(fates(&replies), [None, Some(Fate::Deferred), Some(Fate::Bounced)]);
        let refused = EnvelopeReplies { data: Some(reply("554 no")), ..replies };
        assert_eq!(fates(&refused), [Some(Fate::Bounced), Some(Fate::Deferred), Some(Fate::Bounced)]);
        let sender = EnvelopeReplies { mail: reply("450 later"), recipients: Vec::new(), data: None };
        assert_eq!(fates(&sender), [Some(Fate::Deferred); 3]);
    }

    #[test]
    fn broken_sessions_defer_and_say_when_a_duplicate_may_come() {
        let closed = of_error(of_smarthost(&book()), &ClientError::Closed(Stage::Content), true);
        assert_eq!((closed.fate, closed.route_fault), (Fate::Deferred, false));
        assert!(closed.reply.text().contains("may be sent more than once"), "{}", closed.reply);
        let early = of_error(of_smarthost(&book()), &ClientError::Closed(Stage::Mail), false);
        assert!(early.route_fault && !early.reply.text().contains("more than once"));
        let refused = of_error(
            of_smarthost(&book()),
            &ClientError::Refused { stage: Stage::Greeting, reply: reply("554 no") },
            false,
        );
        assert_eq!((refused.fate, refused.route_fault), (Fate::Deferred, true));
        let unclean = of_error(of_smarthost(&book()), &ClientError::Unclean(crate::smtp::client::Unclean), false);
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
