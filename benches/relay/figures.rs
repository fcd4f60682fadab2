//! What a line measured, how it is printed, and what is made of several rounds.

use std::time::Duration;

use crate::ledger::Tally;

/// One line of one round.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// Messages answered with 250, in a second of the generator's time.
    pub(crate) accepted_per_second: f64,
    /// The same messages, in a second of the time until the last of them had arrived at the sink.
    pub(crate) through_per_second: f64,
    /// What became of them.
    pub(crate) tally: Tally,
    /// What the gateway used, when there was one.
    pub(crate) cost: Option<Cost>,
}

/// What the gateway used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Processor time in the program, in milliseconds per accepted message.
    pub(crate) user_ms: f64,
    /// Processor time in the kernel, likewise.
    pub(crate) system_ms: f64,
    /// Most memory resident at once, in MiB.
    pub(crate) peak_mib: f64,
}

impl Cost {
    fn total_ms(self) -> f64 {
        self.user_ms + self.system_ms
    }
}

/// `count` in a second, when they took `time`.
pub(crate) fn rate(count: u32, time: Duration) -> f64 {
    f64::from(count) / time.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// The head of the table.
pub(crate) fn print_head() {
    println!(
        "{:<8}{:<10}{:>10}{:>10}{:>10}{:>6}{:>6}{:>6}{:>9}{:>9}{:>9}{:>9}",
        "round",
        "line",
        "accept/s",
        "through/s",
        "distinct",
        "twice",
        "lost",
        "leak",
        "user ms",
        "sys ms",
        "cpu ms",
        "peak MiB"
    );
}

impl Figures {
    /// One row of it.
    pub(crate) fn print(&self, round: &str, line: &str) {
        let Tally { distinct, duplicates, lost, leaked } = self.tally;
        let (accepted, through) = (self.accepted_per_second, self.through_per_second);
        print!("{round:<8}{line:<10}{accepted:>10.0}{through:>10.0}{distinct:>10}{duplicates:>6}{lost:>6}{leaked:>6}");
        match self.cost {
            Some(cost) => {
                let Cost { user_ms, system_ms, peak_mib } = cost;
                println!("{user_ms:>9.4}{system_ms:>9.4}{:>9.4}{peak_mib:>9.1}", cost.total_ms());
            }
            None => println!("{:>9}{:>9}{:>9}{:>9}", "-", "-", "-", "-"),
        }
    }
}

/// Straight line and gateway of one round, measured one after the other.
pub(crate) type Round = (Figures, Figures);

/// Medians of all rounds, and the ratio. The ratio is taken within each round before its median is taken: what else the
/// machine does changes over minutes, and hits both lines of a round alike.
pub(crate) fn print_summary(rounds: &[Round]) {
    for (name, figures) in [("straight", of(rounds, |round| &round.0)), ("gateway", of(rounds, |round| &round.1))] {
        let accepted = median(figures.iter().map(|f| f.accepted_per_second));
        let through = median(figures.iter().map(|f| f.through_per_second));
        println!("median {name}: {accepted:.0} accepted/s, {through:.0} through/s");
    }
    let costs: Vec<_> = rounds.iter().filter_map(|round| round.1.cost).collect();
    println!(
        "median cost: {:.4} ms CPU per message ({:.4} user, {:.4} system), peak {:.1} MiB",
        median(costs.iter().map(|cost| cost.total_ms())),
        median(costs.iter().map(|cost| cost.user_ms)),
        median(costs.iter().map(|cost| cost.system_ms)),
        median(costs.iter().map(|cost| cost.peak_mib)),
    );
    println!(
        "ratio gateway/straight: {:.1} % accepted, {:.1} % through",
        100.0 * median(rounds.iter().map(|(s, g)| g.accepted_per_second / s.accepted_per_second)),
        100.0 * median(rounds.iter().map(|(s, g)| g.through_per_second / s.through_per_second)),
    );
}

fn of(rounds: &[Round], side: fn(&Round) -> &Figures) -> Vec<&Figures> {
    rounds.iter().map(side).collect()
}

/// The middle value; of an even number the mean of the two in the middle; of none, not a number.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle).copied().unwrap_or(f64::NAN);
    if values.len().is_multiple_of(2) {
        let lower = middle.checked_sub(1).and_then(|at| values.get(at)).copied().unwrap_or(f64::NAN);
        f64::midpoint(lower, upper)
    } else {
        upper
    }
}
