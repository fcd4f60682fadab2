//! What a refusal can mean, and what can follow from it: closed vocabularies.

use crate::policy::words;

words! {
    /// What a refusal means.
    Class {
        /// There is no such mailbox.
        MailboxDead = "mailbox_dead",
        /// It has no room.
        MailboxFull = "mailbox_full",
        /// It is there and takes nothing now: suspended, locked, not used.
        MailboxDisabled = "mailbox_disabled",
        /// The domain takes no mail or does not exist.
        DomainDead = "domain_dead",
        /// The text of the recipient's address is not accepted.
        AddressRefused = "address_refused",
        /// The reverse path is not accepted.
        SenderRefused = "sender_refused",
        /// SPF, DKIM or DMARC of the sending domain did not hold.
        SenderUnproven = "sender_unproven",
        /// A rule of the receiver that is about neither content nor reputation.
        Policy = "policy",
        /// The address or domain that we send from is listed, or has a bad name.
        Reputation = "reputation",
        /// Too much at once.
        Rate = "rate",
        /// First contact is put off on purpose.
        Greylisted = "greylisted",
        /// It looks like spam, or carries what is not let in.
        Content = "content",
        /// It is too large.
        Size = "size",
        /// Our login was refused, or one is asked for. Ours.
        Auth = "auth",
        /// The smarthost does not take this mail from us. Ours.
        RelayDenied = "relay_denied",
        /// TLS is asked for, or failed. Ours.
        Tls = "tls",
        /// A command was not understood, or came out of order.
        Protocol = "protocol",
        /// A name could not be looked up.
        Dns = "dns",
        /// It went in a circle, or nobody knows the way.
        Routing = "routing",
        /// A refusal for now that says no more.
        Temporary = "temporary",
        /// A final refusal that says no more.
        Other = "other",
    }
    expected "one of the classes in docs/reference/replies.md"
}

words! {
    /// What follows from a class. Where the reply is 4yz, `fail` and `suppress` are `retry`.
    Follows {
        /// Later, by the schedule.
        Retry = "retry",
        /// Later, and the whole group more slowly for a while.
        Slow = "slow",
        /// Later, and nothing for the whole group for a while.
        Suspend = "suspend",
        /// Later, and nothing on the whole route until it works again.
        Circuit = "circuit",
        /// This copy is given up and its sender told.
        Fail = "fail",
        /// As `fail`, and nobody writes to this mailbox again.
        Suppress = "suppress",
    }
    expected "`retry`, `slow`, `suspend`, `circuit`, `fail` or `suppress`"
}

words! {
    /// When a refusal came.
    Stage {
        /// At the greeting, or before it.
        Connect = "connect",
        /// EHLO, HELO, STARTTLS, AUTH.
        Hello = "ehlo",
        /// MAIL.
        Mail = "mail",
        /// RCPT.
        Rcpt = "rcpt",
        /// DATA.
        Data = "data",
        /// The final dot.
        Dot = "dot",
    }
    expected "`connect`, `ehlo`, `mail`, `rcpt`, `data` or `dot`"
}

impl Class {
    /// Whether it lies between the smarthost and us: nobody's mail is at fault, and all of it waits.
    pub const fn is_local(self) -> bool {
        matches!(self, Self::Auth | Self::RelayDenied | Self::Tls)
    }

    /// Whether `follows` may follow, whatever a file says. A refusal for reasons of policy, reputation or content is
    /// no news about a person; a fault of ours is nobody else's.
    pub const fn allows(self, follows: Follows) -> bool {
        match follows {
            Follows::Suppress => matches!(self, Self::MailboxDead),
            Follows::Circuit => self.is_local() || matches!(self, Self::Protocol),
            Follows::Retry | Follows::Slow | Follows::Suspend | Follows::Fail => !self.is_local(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_dead_mailbox_suppresses_and_our_own_faults_only_open_the_circuit() {
        for class in Class::ALL {
            assert_eq!(class.allows(Follows::Suppress), *class == Class::MailboxDead, "{class}");
            let allowed: Vec<_> = Follows::ALL.iter().filter(|follows| class.allows(**follows)).collect();
            assert!(!allowed.is_empty(), "{class}");
            if class.is_local() {
                assert_eq!(allowed, [&Follows::Circuit], "{class}");
            }
        }
    }
}
