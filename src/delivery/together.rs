//! What the board tells and is told when several gateways keep their limits together.

use super::allotment::Portion;
use super::board::Board;
use super::gate::Thirst;
use crate::shaping::Company;
use crate::time::Timestamp;

impl Board {
    /// Whether more could be used than was given.
    pub fn is_thirsty(&self) -> bool {
        self.gates().are_thirsty() || self.warming().is_thirsty()
    }

    /// Paces that could use more since this was last called.
    pub fn thirsts(&self) -> Vec<Thirst> {
        self.gates().thirsts()
    }

    /// Every plan's day, and how much of it is wanted.
    pub fn portions(&self, now: Timestamp) -> Vec<Portion> {
        self.warming().portions(now)
    }

    /// The fleet gave so much of that day to this gateway, and so much to all.
    pub fn portion_given(&self, portion: &Portion, mine: u64, total: u64, now: Timestamp) {
        self.warming().given(portion, mine, total, now);
    }

    /// Whether this gateway goes by its own share from now on.
    pub fn company(&self, company: Company, now: Timestamp) {
        self.gates().company(company, now);
        self.warming().company(company);
    }
}
