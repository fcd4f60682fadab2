//! The section `[fleet]`: how many gateways keep limits together.

use crate::delivery::Settings;
use crate::shaping::{GATEWAYS_MAX, Gateways};

use super::error::Problems;
use super::value::number;
use super::{Engine, v1};

/// Who keeps the limits of `delivery` together; nobody but this gateway when `None` is inside. Limits are shared where facts are.
pub(super) fn gateways(
    spec: &v1::Spec,
    engine: Engine,
    delivery: &Settings,
    problems: &mut Problems<'_>,
) -> Option<Option<Gateways>> {
    let Some(written) = &spec.fleet else {
        if engine == Engine::Redis && (delivery.shaping.has_rates() || !delivery.warmup.is_empty()) {
            let at = spec.store.kind.as_ref().map_or(0, |kind| kind.span().start);
            let expected = "how many gateways keep these limits together? With kind \"redis\", rates and [[warmup]] are the whole \
                            fleet's; expected a section [fleet] with `gateways`";
            problems.add(at, "fleet.gateways", expected.to_owned());
            return None;
        }
        return Some(None);
    };
    let count = number(problems, "fleet.gateways", Some(&written.as_ref().gateways), 1..=GATEWAYS_MAX.into(), 1)?;
    if engine == Engine::Embedded {
        let expected = "has no meaning without [store] kind = \"redis\": there is nowhere to count together";
        problems.add(written.span().start, "fleet", expected.to_owned());
        return None;
    }
    u16::try_from(count).ok().map(Gateways::new)
}
