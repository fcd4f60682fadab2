//! How fast: `100/s`, `20/m`, `5000/h`, `100000/d`.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

/// What may follow at once after a pause: as much as the rate gives in this time, and one at least. Long enough that
/// a fetch from the disk costs no pace, short enough that no receiver sees it as a burst.
pub const BURST_SPAN: Duration = Duration::from_millis(250);
/// The highest rate per second: what is beyond it is no limit.
const PER_SECOND_MAX: u32 = 100_000;

/// So many messages in a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: NonZeroU32,
    per: Per,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Per {
    Second,
    Minute,
    Hour,
    Day,
}

impl Per {
    const fn seconds(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86_400,
        }
    }
}

impl Rate {
    /// From one message to the next in the long run; never zero.
    pub fn interval(self) -> Duration {
        Duration::from_secs(self.per.seconds().into()) / self.count.get()
    }

    /// Messages that may follow at once after a pause.
    pub fn burst(self) -> NonZeroU32 {
        let fits = BURST_SPAN.as_nanos() / self.interval().as_nanos().max(1);
        u32::try_from(fits).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN)
    }
}

impl FromStr for Rate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}`: expected a number and /s, /m, /h or /d, such as 100/s or 5000/h");
        let (count, per) = text.split_once('/').ok_or_else(expected)?;
        let per = match per {
            "s" => Per::Second,
            "m" => Per::Minute,
            "h" => Per::Hour,
            "d" => Per::Day,
            _ => return Err(expected()),
        };
        let count: NonZeroU32 = count.parse().map_err(|_| expected())?;
        if count.get() / per.seconds() > PER_SECOND_MAX {
            return Err(format!(
                "`{text}`: expected {PER_SECOND_MAX}/s at most; leave the rate out where there is no limit"
            ));
        }
        Ok(Self { count, per })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = match self.per {
            Per::Second => 's',
            Per::Minute => 'm',
            Per::Hour => 'h',
            Per::Day => 'd',
        };
        write!(f, "{}/{per}", self.count)
    }
}
