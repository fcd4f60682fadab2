//! `[[warmup]]`: plans for addresses and domains that receivers do not know yet.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::delivery::Routes;
use crate::mail::{Domain, RouteName};
use crate::shaping::{CAPS_MAX, Day, FACTOR_MAX, Plan, Subject};
use crate::time::Timestamp;

use super::error::Problems;
use super::v1;
use super::value::parsed;

/// Plans together. Each is asked about every message.
const PLANS_MAX: usize = 100;
/// The highest cap of a day: what is beyond it is no limit.
const CAP_MAX: u64 = 1_000_000_000;

pub(super) fn plans(spec: &v1::Spec, routes: &Routes, problems: &mut Problems<'_>) -> Option<Arc<[Plan]>> {
    if let Some(beyond) = spec.warmup.get(PLANS_MAX) {
        problems.add(beyond.span().start, "warmup", format!("more than {PLANS_MAX} plans"));
    }
    let (mut names, mut subjects) = (HashSet::new(), Vec::new());
    let read = spec.warmup.iter().map(|entry| {
        let plan = plan(entry, routes, problems)?;
        let at = entry.as_ref().name.span().start;
        if !names.insert(plan.name.clone()) {
            problems.add(at, "warmup.name", format!("`{}` is used twice", plan.name));
        }
        if subjects.contains(&plan.subject) {
            problems.add(at, "warmup", "there is a plan for this address or domain already");
        }
        subjects.push(plan.subject.clone());
        Some(plan)
    });
    let read: Vec<Option<Plan>> = read.collect();
    read.into_iter().collect()
}

fn plan(entry: &v1::At<v1::Warmup>, routes: &Routes, problems: &mut Problems<'_>) -> Option<Plan> {
    let written = entry.as_ref();
    // The rules for names of routes will do: it is shown, and it is the key of the count.
    let name = parsed(problems, "warmup.name", &written.name, |text| RouteName::new(text).map(|name| name.to_string()));
    let subject = subject(entry, routes, problems);
    let start = parsed(problems, "warmup.start", &written.start, date);
    let (caps, at) = (written.caps.as_ref(), written.caps.span().start);
    let fits = (1..=CAPS_MAX).contains(&caps.len()) && caps.iter().all(|cap| (1..=CAP_MAX).contains(cap));
    if !fits {
        let expected =
            format!("expected the messages of 1 to {CAPS_MAX} days, 1 to {CAP_MAX} each, such as [50, 100, 200]");
        problems.add(at, "warmup.caps", expected);
    }
    let factor = match &written.factor {
        None => Some(None),
        Some(factor) => thousandths(factor, problems).map(Some),
    };
    let instead = match &written.instead {
        None => Some(None),
        Some(text) => parsed(problems, "warmup.instead", text, |text| {
            RouteName::new(text).ok().filter(|name| routes.has(name)).ok_or(format!("no [[route]] is named `{text}`"))
        })
        .map(Some),
    };
    let caps = fits.then(|| caps.clone());
    Some(Plan { name: name?, subject: subject?, start: start?, caps: caps?, factor: factor?, instead: instead? })
}

fn subject(entry: &v1::At<v1::Warmup>, routes: &Routes, problems: &mut Problems<'_>) -> Option<Subject> {
    let written = entry.as_ref();
    match (&written.source, &written.domain) {
        (Some(text), None) => parsed(problems, "warmup.source", text, |text| {
            let address: IpAddr = text.parse().map_err(|_| format!("`{text}`: expected an address of this machine"))?;
            let is_used = routes.all().any(|route| route.client.sources.iter().any(|source| source.address == address));
            if is_used {
                Ok(Subject::Source(address))
            } else {
                Err(format!("no [[route]] has `{text}` in its sources"))
            }
        }),
        (None, Some(text)) => parsed(problems, "warmup.domain", text, Domain::parse).map(Subject::Domain),
        (Some(_), Some(_)) | (None, None) => {
            problems.add(entry.span().start, "warmup", "expected exactly one of source, domain");
            None
        }
    }
}

fn date(text: &str) -> Result<Day, String> {
    let at = Timestamp::parse(text)?;
    let day = Day::of(at);
    if day.begin() == at { Ok(day) } else { Err(format!("`{text}`: expected a date such as 2026-11-26")) }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is within the bounds that were just checked"
)]
fn thousandths(factor: &v1::At<f64>, problems: &mut Problems<'_>) -> Option<u32> {
    let (number, most) = (*factor.as_ref(), f64::from(FACTOR_MAX) / 1000.0);
    if (1.0..=most).contains(&number) {
        return Some((number * 1000.0).round() as u32);
    }
    problems.add(factor.span().start, "warmup.factor", format!("{number}: expected 1.0 to {most}"));
    None
}
