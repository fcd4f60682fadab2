//! Plans for warming up at work: what left today is counted, also over a restart.
//!
//! The count on disk is ahead of what has left: [`AHEAD`] messages are written down, fsynced, before the first of them
//! leaves. So a killed process can make a day shorter by as many, and never longer; a regular stop writes what is true.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::allotment::{Allotment, Portion, Stand};
use super::routes::Route;
use super::standing::{self, StandingError};
use crate::mail::{ReversePath, RouteName};
use crate::shaping::{Allowance, Company, Day, Gateways, Plan, Subject};
use crate::smtp::client::Source;
use crate::time::Timestamp;

/// The file of counts in the data folder.
pub(super) const NAME: &str = "warmup.json";
/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;
/// Messages that are written down before they leave: the most that a killed process makes a day shorter. A fsync for each
/// hundred messages of an address that is being warmed up is nothing.
pub const AHEAD: u64 = 100;
/// How soon it is tried again when a count cannot be written. Until then nothing leaves: it would not be counted.
pub(super) const WRITE_AGAIN: Duration = Duration::from_secs(10);
/// How soon it is tried again when the fleet is being asked for more.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(200);
/// What to do about a file that cannot be read.
const REMEDY: &str = "restore it from a backup, or remove it to count this day anew";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counts {
    v: u32,
    plans: BTreeMap<String, Count>,
}

/// What one plan has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Count {
    /// The day that is counted, as when it begins.
    day: i64,
    /// Messages of that day; on disk those that may have left.
    messages: u64,
}

#[derive(Debug)]
struct State {
    /// By the place of the plan.
    used: Vec<Count>,
    /// What the file says.
    written: Vec<u64>,
    /// Plans whose day is full, as told.
    told: Vec<Option<Day>>,
    /// What the fleet gave.
    allotments: Vec<Allotment>,
    /// How soon it is worth asking again.
    again: Duration,
}

/// A plan that stands for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PlanNumber(usize);

/// Where a copy goes that a plan is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lead {
    /// Where it went anyhow.
    On,
    /// Its day is full, and what is over takes this route.
    Instead(RouteName),
    /// Its day is full.
    Wait(Timestamp),
}

/// A day that has just become full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) name: String,
    pub(super) messages: u64,
    pub(super) number: u64,
    pub(super) instead: Option<RouteName>,
    pub(super) until: Timestamp,
}

/// What an operator sees of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warmth {
    /// Its name.
    pub name: String,
    /// The number of this day in it, from 1; zero before it begins.
    pub number: u64,
    /// Messages of this day; in a fleet those that were given out to all gateways.
    pub used: u64,
    /// How many it may have; no limit when the plan is over.
    pub allowed: Option<u64>,
}

/// All plans.
#[derive(Debug)]
pub(super) struct Warming {
    file: PathBuf,
    plans: Arc<[Plan]>,
    /// Who keeps the plans together.
    gateways: Option<Gateways>,
    state: Mutex<State>,
}

impl Warming {
    /// Reads what was counted. Blocking.
    pub(super) fn open(
        data_dir: &Path,
        plans: &Arc<[Plan]>,
        gateways: Option<Gateways>,
    ) -> Result<Self, StandingError> {
        let file = data_dir.join(NAME);
        let counts = match standing::read_as::<Counts>(&file, REMEDY)? {
            Some(counts) if counts.v == VERSION => counts.plans,
            Some(counts) => {
                let what = format!("version {}, this release knows {VERSION}", counts.v);
                return Err(StandingError::Unreadable { path: file, what, remedy: REMEDY });
            }
            None => BTreeMap::new(),
        };
        let used: Vec<_> = plans.iter().map(|plan| counts.get(&plan.name).copied().unwrap_or_default()).collect();
        let written = used.iter().map(|count| count.messages).collect();
        let known = |plan: &Plan| {
            if counts.contains_key(&plan.name) { Allotment::of_a_known_plan() } else { Allotment::default() }
        };
        let (told, allotments) = (vec![None; plans.len()], plans.iter().map(known).collect());
        let state = Mutex::new(State { used, written, told, allotments, again: ASK_AGAIN });
        Ok(Self { file, plans: Arc::clone(plans), gateways, state })
    }

    /// Whether there is anything to count.
    pub(super) fn is_idle(&self) -> bool {
        self.plans.is_empty()
    }

    /// The plan for mail from `path`.
    pub(super) fn of_path(&self, path: &ReversePath) -> Option<PlanNumber> {
        let ReversePath::Mailbox(mailbox) = path else { return None };
        self.find(|subject| matches!(subject, Subject::Domain(domain) if domain == mailbox.domain()))
    }

    /// The plan for connections from `address`.
    pub(super) fn of_source(&self, address: IpAddr) -> Option<PlanNumber> {
        self.find(|subject| *subject == Subject::Source(address))
    }

    fn find(&self, fits: impl Fn(&Subject) -> bool) -> Option<PlanNumber> {
        self.plans.iter().position(|plan| fits(&plan.subject)).map(PlanNumber)
    }

    /// Where mail from `path` goes that would take `route`.
    pub(super) fn lead(&self, route: &Route, path: &ReversePath, now: Timestamp) -> Lead {
        let of_path = self.of_path(path).filter(|plan| self.is_full(*plan, now));
        match of_path.or_else(|| self.full_sources(route, now)).and_then(|plan| self.plans.get(plan.0)) {
            None => Lead::On,
            Some(Plan { instead: Some(instead), .. }) if *instead != route.name => Lead::Instead(instead.clone()),
            Some(_) => Lead::Wait(Day::of(now).end()),
        }
    }

    /// Until when `route` takes nothing, because the day is full of every address that it leaves from and nothing goes
    /// elsewhere instead.
    pub(super) fn closes(&self, route: &Route, now: Timestamp) -> Option<Timestamp> {
        let plan = self.plans.get(self.full_sources(route, now)?.0)?;
        plan.instead.is_none().then(|| Day::of(now).end())
    }

    /// The plan of the first address of `route`, when the day of all of them is full.
    fn full_sources(&self, route: &Route, now: Timestamp) -> Option<PlanNumber> {
        let sources = &route.client.sources;
        if self.is_idle() || !sources.iter().all(|source| self.is_full_source(source, now)) {
            return None;
        }
        self.of_source(sources.first()?.address)
    }

    fn is_full_source(&self, source: &Source, now: Timestamp) -> bool {
        self.of_source(source.address).is_some_and(|plan| self.is_full(plan, now))
    }

    /// Of `sources` those whose day is not full; all when it is that of every one.
    pub(super) fn open_sources(&self, sources: &[Source], now: Timestamp) -> Vec<Source> {
        let open: Vec<_> = sources.iter().filter(|source| !self.is_full_source(source, now)).cloned().collect();
        if open.is_empty() { sources.to_vec() } else { open }
    }

    fn is_full(&self, plan: PlanNumber, now: Timestamp) -> bool {
        self.stand(&self.lock(), plan, now) == Some(Stand::Full)
    }

    /// How many may still leave on this day; `None`: as many as there are.
    fn stand(&self, state: &State, PlanNumber(place): PlanNumber, now: Timestamp) -> Option<Stand> {
        let Allowance::Messages(allowed) = self.plans.get(place)?.allowance(Day::of(now)) else { return None };
        let Count { day, messages } = current(*state.used.get(place)?, now);
        if self.gateways.is_some() {
            return Some(state.allotments.get(place)?.stand(day, messages, allowed));
        }
        Some(match allowed.saturating_sub(messages) {
            0 => Stand::Full,
            left => Stand::Open(left),
        })
    }

    /// Counts one message for each of `plans`, or for none. Names those whose day is full with it. Blocks for a fsync once
    /// in [`AHEAD`] messages.
    ///
    /// # Errors
    /// It may not leave before then.
    pub(super) fn take(&self, plans: &[PlanNumber], now: Timestamp) -> Result<Vec<Full>, Timestamp> {
        let mut state = self.lock();
        let stands = || plans.iter().map(|plan| self.stand(&state, *plan, now));
        if stands().any(|stand| stand == Some(Stand::Full)) {
            return Err(Day::of(now).end());
        }
        let asks = stands().any(|stand| stand == Some(Stand::Asks));
        self.want(&mut state, plans, now);
        if asks {
            return Err(now.plus(state.again));
        }
        for PlanNumber(place) in plans {
            if let (Some(count), Some(written)) = (state.used.get(*place).copied(), state.written.get(*place).copied())
            {
                let count = current(count, now);
                let is_new = state.used.get(*place).is_some_and(|known| known.day != count.day);
                if is_new || count.messages >= written {
                    self.write_ahead(&mut state, *place, count).map_err(|error| {
                        tracing::error!(%error, "what left today cannot be counted, so nothing leaves");
                        now.plus(WRITE_AGAIN)
                    })?;
                }
                if let Some(known) = state.used.get_mut(*place) {
                    *known = Count { messages: count.messages.saturating_add(1), ..count };
                }
            }
        }
        Ok(plans.iter().filter_map(|plan| self.just_full(&mut state, *plan, now)).collect())
    }

    /// The first time on a day that a plan has nothing left.
    fn just_full(&self, state: &mut State, plan: PlanNumber, now: Timestamp) -> Option<Full> {
        let day = Day::of(now);
        if self.stand(state, plan, now) != Some(Stand::Full) || state.told.get_mut(plan.0)?.replace(day) == Some(day) {
            return None;
        }
        let Plan { name, instead, .. } = self.plans.get(plan.0)?;
        let number = self.plans.get(plan.0)?.number(day);
        let used = state.used.get(plan.0)?;
        let messages = used.messages.max(state.allotments.get(plan.0)?.total_on(used.day));
        Some(Full { name: name.clone(), messages, number, instead: instead.clone(), until: day.end() })
    }

    fn write_ahead(&self, state: &mut State, place: usize, count: Count) -> Result<(), StandingError> {
        let mut ahead = Count { messages: count.messages.saturating_add(AHEAD), ..count };
        if self.gateways.is_some() {
            // What was not given cannot have left.
            let given = state.allotments.get(place).map_or(0, |known| known.mine_on(count.day));
            ahead.messages = ahead.messages.min(given.max(count.messages.saturating_add(1)));
        }
        let mut written: Vec<_> = state
            .used
            .iter()
            .zip(&state.written)
            .map(|(used, written)| Count { messages: used.messages.max(*written), ..*used })
            .collect();
        if let Some(known) = written.get_mut(place) {
            *known = ahead;
        }
        self.write(&written)?;
        if let (Some(known), Some(used)) = (state.written.get_mut(place), state.used.get_mut(place)) {
            (*known, *used) = (ahead.messages, count);
        }
        Ok(())
    }

    /// At a regular stop: what is true, without what was written ahead.
    pub(super) fn close(&self) {
        if self.is_idle() {
            return;
        }
        let mut state = self.lock();
        match self.write(&state.used) {
            Ok(()) => state.written = state.used.iter().map(|count| count.messages).collect(),
            Err(error) => tracing::warn!(%error, ahead = AHEAD, "this day may be shorter by what was counted ahead"),
        }
    }

    fn write(&self, counts: &[Count]) -> Result<(), StandingError> {
        let plans = self.plans.iter().zip(counts).map(|(plan, count)| (plan.name.clone(), *count)).collect();
        standing::write_as(&self.file, &Counts { v: VERSION, plans })
    }

    /// Every plan, as it stands.
    pub(super) fn all(&self, now: Timestamp) -> Vec<Warmth> {
        let (state, day) = (self.lock(), Day::of(now));
        let used = |count: Count, allotment: &Allotment| count.messages.max(allotment.total_on(count.day));
        let warmth = |((plan, count), allotment): ((&Plan, &Count), &Allotment)| Warmth {
            name: plan.name.clone(),
            number: plan.number(day),
            used: used(current(*count, now), allotment),
            allowed: match plan.allowance(day) {
                Allowance::Messages(allowed) => Some(allowed),
                Allowance::NoLimit => None,
            },
        };
        self.plans.iter().zip(&state.used).zip(&state.allotments).map(warmth).collect()
    }

    /// Notes which plans need more of their day, now or soon.
    fn want(&self, state: &mut State, plans: &[PlanNumber], now: Timestamp) {
        let Some(gateways) = self.gateways else { return };
        for plan in plans {
            let soon = match (
                self.stand(state, *plan, now),
                self.plans.get(plan.0).map(|plan| plan.allowance(Day::of(now))),
            ) {
                (Some(Stand::Asks), _) => true,
                (Some(Stand::Open(left)), Some(Allowance::Messages(limit))) => {
                    state.allotments.get(plan.0).is_some_and(|known| left <= known.block(limit, gateways) / 2)
                }
                _ => false,
            };
            if let Some(known) = state.allotments.get_mut(plan.0).filter(|_| soon) {
                known.want();
            }
        }
    }

    /// Whether more of a day could be used.
    pub(super) fn is_thirsty(&self) -> bool {
        self.lock().allotments.iter().any(Allotment::is_wanted)
    }

    /// What the fleet is asked for of each plan's day.
    pub(super) fn portions(&self, now: Timestamp) -> Vec<Portion> {
        let Some(gateways) = self.gateways else { return Vec::new() };
        let (mut state, today) = (self.lock(), Day::of(now));
        let State { used, allotments, .. } = &mut *state;
        let portion = |(place, ((plan, used), known)): (usize, ((&Plan, &Count), &mut Allotment))| {
            let Allowance::Messages(limit) = plan.allowance(today) else { return None };
            let Count { day, messages } = current(*used, now);
            let (mine, target) = known.asks(day, messages, limit, gateways);
            let name = format!("{}/{}/{}", plan.name, plan.subject, Day::of(Timestamp::from_millis(day)));
            Some(Portion { name, limit, mine, target, total: known.total_on(day), place, day })
        };
        self.plans.iter().zip(&*used).zip(allotments).enumerate().filter_map(portion).collect()
    }

    /// What the fleet gave.
    pub(super) fn given(&self, portion: &Portion, mine: u64, total: u64, now: Timestamp) {
        let mut state = self.lock();
        let State { used, allotments, .. } = &mut *state;
        let (Some(used), Some(known)) = (used.get_mut(portion.place), allotments.get_mut(portion.place)) else {
            return;
        };
        if let Some(before) = known.given(portion.day, mine, total, now) {
            let messages = if used.day == portion.day { used.messages.max(before) } else { before };
            *used = Count { day: portion.day, messages };
        }
    }

    /// While the fleet cannot be asked it is asked less often.
    pub(super) fn company(&self, company: Company) {
        self.lock().again = if company == Company::Joined { ASK_AGAIN } else { WRITE_AGAIN };
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The count of the day of `now`. A clock that is set back into an earlier day goes on with the later one's count.
fn current(count: Count, now: Timestamp) -> Count {
    let day = Day::of(now).begin().as_millis();
    if day > count.day { Count { day, messages: 0 } } else { count }
}
