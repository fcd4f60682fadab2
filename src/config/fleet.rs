//! The section `[fleet]`: how many gateways keep limits together.

use crate::delivery::Settings;
use crate::shaping::{GATEWAYS_MAX, Gateways};

use super::error::Problems;
use super::value::number;
use super::{Engine, v1};

/// Says in `delivery` who keeps its limits together: they are shared where facts are.
pub(super) fn join(spec: &v1::Spec, engine: Engine, delivery: &mut Settings, problems: &mut Problems<'_>) {
    let has_limits = delivery.shaping.has_rates() || !delivery.warmup.is_empty();
    match (&spec.fleet, engine) {
        (Some(written), Engine::Redis) => {
            let most = GATEWAYS_MAX.into();
            let count = number(problems, "fleet.gateways", Some(&written.as_ref().gateways), 1..=most, 1);
            delivery.gateways = count.and_then(|count| Gateways::new(u16::try_from(count).ok()?));
        }
        (Some(written), Engine::Embedded) => {
            let expected = "has no meaning without [store] kind = \"redis\": there is nowhere to count together";
            problems.add(written.span().start, "fleet", expected);
        }
        (None, Engine::Redis) if has_limits => {
            let at = spec.store.kind.as_ref().map_or(0, |kind| kind.span().start);
            let expected = "how many gateways keep these limits together? With kind \"redis\", rates and [[warmup]] are the \
                            whole fleet's; expected a section [fleet] with `gateways`";
            problems.add(at, "fleet.gateways", expected);
        }
        (None, Engine::Redis | Engine::Embedded) => {}
    }
}
