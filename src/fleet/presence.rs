//! Whether the other gateways may be using this one's share. Pure: the time since the start is an argument.

use std::time::Duration;

use crate::shaping::Company;
use crate::store::{STAY, ServerTime};

/// Clocks run at slightly different speeds: for so much of a word's two seconds they may. A twentieth is a thousand times what they do.
const DRIFT: Duration = Duration::from_millis(100);

/// What to ask the server next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// Only what time it is there: without that nothing can be promised that a late call would not outlive.
    Time,
    /// For what is wanted; the others may use our share until then.
    Claims(ServerTime),
}

#[derive(Debug)]
struct Heard {
    server: ServerTime,
    /// When its answer was here; it said so before.
    at: Duration,
}

/// What was promised to the others, and what is known of the server's time.
#[derive(Debug, Default)]
pub(super) struct Presence {
    heard: Option<Heard>,
    /// Whether the last call was answered.
    answered: bool,
    /// The others may be using our share until then.
    promised: Option<ServerTime>,
}

impl Presence {
    /// What to ask now; a promise counts from here on, whether its call arrives or not.
    pub(super) fn question(&mut self, now: Duration) -> Question {
        let (true, Some(server)) = (self.answered, self.server(now)) else { return Question::Time };
        let until = server.plus(STAY);
        self.promised = self.promised.max(Some(until));
        Question::Claims(until)
    }

    /// The server answered.
    pub(super) const fn heard(&mut self, server: ServerTime, now: Duration) {
        self.heard = Some(Heard { server, at: now });
        self.answered = true;
    }

    /// It did not, or not in time.
    pub(super) const fn missed(&mut self) {
        self.answered = false;
    }

    /// Whether this gateway's share is its own. A process that has promised nothing waits as if one before it had.
    pub(super) fn company(&self, now: Duration) -> Company {
        let is_over = match (self.promised, self.server(now)) {
            (Some(promised), Some(server)) => server > promised.plus(DRIFT),
            (None, _) | (_, None) => now > STAY + DRIFT,
        };
        if is_over { Company::Alone } else { Company::Joined }
    }

    /// The server's time, or earlier.
    fn server(&self, now: Duration) -> Option<ServerTime> {
        let heard = self.heard.as_ref()?;
        Some(heard.server.plus(now.saturating_sub(heard.at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn nothing_is_promised_before_the_servers_time_is_known() {
        let mut presence = Presence::default();
        assert_eq!(presence.question(at(0)), Question::Time);
        presence.heard(ServerTime(5_000_000), at(10));
        assert_eq!(presence.question(at(110)), Question::Claims(ServerTime(7_100_000)));
        presence.missed();
        assert_eq!(presence.question(at(210)), Question::Time, "after a call that was not answered neither");
    }

    #[test]
    fn a_share_is_ones_own_when_every_promise_is_over() {
        let mut presence = Presence::default();
        assert_eq!(presence.company(at(2100)), Company::Joined, "one before us may have promised");
        assert_eq!(presence.company(at(2101)), Company::Alone);
        presence.heard(ServerTime(0), at(3000));
        assert_eq!(presence.company(at(3000)), Company::Alone, "nothing is promised yet");
        presence.question(at(3000));
        assert_eq!(presence.company(at(3000)), Company::Joined);
        presence.missed();
        assert_eq!(presence.company(at(5100)), Company::Joined);
        assert_eq!(presence.company(at(5101)), Company::Alone);
        // A server whose clock is behind that of the one before it: what was promised there still counts.
        presence.heard(ServerTime(1_000_000), at(6000));
        assert_eq!(presence.company(at(7101)), Company::Alone);
        assert_eq!(presence.company(at(7100)), Company::Joined);
    }
}
