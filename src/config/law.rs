//! What a stream says of the law, and the rules that are loaded.

use std::path::Path;
use std::sync::Arc;

use crate::mail::ControllerId;
use crate::policy::{
    Assumptions, Basis, ConsentFact, Country, Enforcement, FreeAccounts, Law, ProductFamily, Purpose, Rulebook, Sector,
    Standing, StreamLaw, Topic,
};
use crate::rules;
use crate::time::Timestamp;

use super::error::Problems;
use super::v1;
use super::value::parsed;

/// The shipped packs with the operator's own on top.
pub(super) fn rulebook(spec: &v1::Rules, base: &Path, problems: &mut Problems<'_>) -> Option<Arc<Rulebook>> {
    let loaded = match &spec.directory {
        None => rules::embedded(),
        Some(directory) => rules::load(&base.join(directory.as_ref())),
    };
    let at = spec.directory.as_ref().map_or(0, |directory| directory.span().start);
    problems.take(at, "rules.directory", loaded).map(Arc::new)
}

/// The law of a stream: none unless it names where its controller is established.
pub(super) fn law(written: &v1::Stream, controller: Option<&ControllerId>, problems: &mut Problems<'_>) -> Law {
    let Some(establishment) = &written.establishment else {
        refuse_the_rest(written, problems);
        return Law::NotApplied;
    };
    let Some(establishment) = parsed(problems, "stream.establishment", establishment, Country::parse) else {
        return Law::NotApplied;
    };
    let mut law = StreamLaw::new(establishment);
    let country = written.default_country.as_ref();
    law.default_recipient_country =
        country.and_then(|text| parsed(problems, "stream.default_country", text, Country::parse));
    law.sector = written.sector.as_ref().and_then(|text| parsed(problems, "stream.sector", text, Sector::new));
    law.topics = written.topics.iter().filter_map(|text| parsed(problems, "stream.topics", text, Topic::new)).collect();
    let family = written.product_family.as_ref();
    law.product_family = family.and_then(|text| parsed(problems, "stream.product_family", text, ProductFamily::new));
    if let Some(text) = &written.enforcement {
        law.enforcement =
            parsed(problems, "stream.enforcement", text, str::parse::<Enforcement>).unwrap_or(law.enforcement);
    }
    if written.assume_class == Some(false) {
        law.assumptions = Assumptions::Never;
    }
    if written.count_free_accounts == Some(true) {
        law.free_accounts = FreeAccounts::Counted;
    }
    law.asserted = controller.and_then(|controller| asserted(written, controller, problems));
    Law::Applied(Box::new(law))
}

/// The operator's word for contacts without a record, as old as the operator says: clocks that run from collection or
/// last contact need a date, and only the operator knows one.
fn asserted(written: &v1::Stream, controller: &ControllerId, problems: &mut Problems<'_>) -> Option<ConsentFact> {
    let text = written.asserted_basis.as_ref()?;
    let basis = parsed(problems, "stream.asserted_basis", text, str::parse::<Basis>);
    let Some(since) = &written.asserted_since else {
        let expected =
            "expected `asserted_since` beside it: the date of the last collection or contact that you vouch for";
        problems.add(text.span().start, "stream.asserted_basis", expected);
        return None;
    };
    let since = parsed(problems, "stream.asserted_since", since, Timestamp::parse)?;
    let mut fact = ConsentFact::new(controller.clone(), Purpose::Marketing, basis?, since);
    fact.standing = Standing::Asserted;
    Some(fact)
}

/// Keys that say something about the law mean nothing without the law: better said than ignored.
fn refuse_the_rest(written: &v1::Stream, problems: &mut Problems<'_>) {
    let keys = [
        ("stream.default_country", written.default_country.as_ref()),
        ("stream.sector", written.sector.as_ref()),
        ("stream.topics", written.topics.first()),
        ("stream.product_family", written.product_family.as_ref()),
        ("stream.asserted_basis", written.asserted_basis.as_ref()),
        ("stream.enforcement", written.enforcement.as_ref()),
    ];
    for (key, value) in keys {
        if let Some(value) = value {
            problems.add(
                value.span().start,
                key,
                "expected `establishment` beside it, which says that the law applies",
            );
        }
    }
}
