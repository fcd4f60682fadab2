//! One rule file: `pack`, `[[rule]]`, and in an operator's file `[[override]]`.

use std::str::FromStr;

use crate::policy::calendar::{BUSINESS_DAYS_MAX, MONTHS_MAX};
use crate::policy::{
    Acknowledge, AfterOptOut, Ask, Condition, Country, Effect, LawRule, MessageClass, Override, Pack, ReasonCode,
    RegisterName, Requirement, Review, Route, Rule, RuleId, Since, Stage,
};
use crate::time::Timestamp;

use super::error::Problem;
use super::intern::intern;
use super::reader::{Fields, Problems, document};

/// The most rules in one file: more than any country has by an order of magnitude.
pub(super) const RULES_MAX: usize = 500;
/// The most days that a copy of a national list may be old, or a way out must work: ten years.
pub(super) const DAYS_MAX: u32 = 3660;
/// The highest version of a rule.
pub(super) const VERSION_MAX: u32 = 1_000_000;

/// A file as it was read; includes are names yet.
pub(super) struct PackFile {
    pub(super) pack: Pack,
    /// Rules of other packs that apply here too.
    pub(super) include: Vec<Reference>,
    /// An operator's loosenings.
    pub(super) overrides: Vec<(Override, usize)>,
    /// Where each rule begins, for later problems.
    pub(super) places: Vec<usize>,
}

/// The name of a rule of another file, with its place.
pub(super) struct Reference {
    pub(super) id: String,
    pub(super) at: usize,
}

/// Reads one file. With problems, what is returned is not to be used.
pub(super) fn read(file: &str, text: &str) -> (Option<PackFile>, Vec<Problem>) {
    let mut problems = Problems::new(file, text);
    let Some(document) = document(text, &mut problems) else { return (None, problems.into_found()) };
    let mut fields = Fields::new(document.get_ref(), document.span(), None);
    let pack = pack_file(&mut fields, &mut problems);
    fields.finish(&mut problems);
    (pack, problems.into_found())
}

fn pack_file(fields: &mut Fields<'_>, problems: &mut Problems<'_>) -> Option<PackFile> {
    let name = fields.owed_text("pack", problems);
    let title = fields.owed_text("title", problems);
    let version = fields.owed_text("version", problems);
    let countries = fields.words::<Country>("countries", problems).unwrap_or_default().into_vec();
    let review = review(fields, problems);
    let include = fields.words::<Named>("include", problems).unwrap_or_default();
    let at = fields.start();
    let after_opt_out = after_opt_out(fields, problems);
    let mut rules = Vec::new();
    let mut places = Vec::new();
    for table in fields.tables("rule", problems) {
        let place = table.start();
        if let Some(rule) = law_rule(table, problems) {
            rules.push(rule);
            places.push(place);
        }
    }
    if rules.len() > RULES_MAX {
        fields.wrong(format!("more than {RULES_MAX} rules in one file"), problems);
    }
    let overrides =
        fields.tables("override", problems).into_iter().filter_map(|table| chosen(table, problems)).collect();
    let include = include.iter().map(|named| Reference { id: named.0.clone(), at }).collect();
    let pack = Pack { name: name?, title: title?, version: version?, review, countries, rules, after_opt_out };
    Some(PackFile { pack, include, overrides, places })
}

/// A rule's name before it is known whether there is such a rule.
struct Named(String);

impl FromStr for Named {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self(text.to_owned()))
    }
}

/// Both keys are empty until a lawyer has signed.
fn review(fields: &mut Fields<'_>, problems: &mut Problems<'_>) -> Option<Review> {
    let mut kept =
        |key| fields.text(key, problems).map(|(text, _)| text.trim().to_owned()).filter(|text| !text.is_empty());
    let (by, on) = (kept("reviewed_by"), kept("reviewed_on"));
    match (by, on) {
        (Some(by), Some(on)) if is_day(&on) => Some(Review { by: intern(&by).ok()?, on: intern(&on).ok()? }),
        (None, None) => None,
        (by, on) => {
            let given = (by.unwrap_or_default(), on.unwrap_or_default());
            let message =
                format!("`reviewed_by` and a day such as 2026-11-24 in `reviewed_on` belong together; found {given:?}");
            fields.wrong(message, problems);
            None
        }
    }
}

fn is_day(text: &str) -> bool {
    text.len() == 10 && Timestamp::parse(text).is_ok()
}

fn after_opt_out(fields: &mut Fields<'_>, problems: &mut Problems<'_>) -> AfterOptOut {
    let Some(mut table) = fields.table("after_opt_out", problems) else { return AfterOptOut::default() };
    let business_days = table.number("business_days", BUSINESS_DAYS_MAX, problems);
    let acknowledge = table.word::<Acknowledge>("acknowledge", problems).unwrap_or_default();
    table.finish(problems);
    AfterOptOut { business_days, acknowledge }
}

fn chosen(mut table: Fields<'_>, problems: &mut Problems<'_>) -> Option<(Override, usize)> {
    let rule = table.owed_text("rule", problems);
    let reason = table.owed_text("reason", problems);
    let by = table.owed_text("by", problems);
    let on = table.owed_text("on", problems);
    let at = table.start();
    if on.is_some_and(|on| !is_day(on)) {
        table.wrong("`on`: expected a day such as 2026-11-24", problems);
    }
    let rule = rule.and_then(|rule| RuleId::new(rule).map_err(|message| table.wrong(message, problems)).ok());
    table.finish(problems);
    Some((Override { rule: rule?, reason: reason?, by: by?, on: on? }, at))
}

fn law_rule(mut table: Fields<'_>, problems: &mut Problems<'_>) -> Option<LawRule> {
    table.within = table.text("id", problems).map(|(id, _)| format!("rule {id}"));
    let checked = |text: Option<&'static str>, table: &Fields<'_>, problems: &mut Problems<'_>| {
        text.and_then(|text| RuleId::new(text).map_err(|message| table.wrong(message, problems)).ok())
    };
    let id = table.owed_text("id", problems);
    let id = checked(id, &table, problems);
    let title = table.owed_text("title", problems);
    let source = table.owed_text("source", problems);
    let reason = table.owed_text("reason", problems);
    let reason = reason.and_then(|word| ReasonCode::new(word).map_err(|message| table.wrong(message, problems)).ok());
    let version = table.number("version", VERSION_MAX, problems);
    let stage = table.word::<Stage>("stage", problems);
    for key in ["version", "stage"] {
        if !table.has(key) {
            table.wrong(format!("`{key}` is missing"), problems);
        }
    }
    let effect = table.word::<Effect>("effect", problems).unwrap_or(Effect::Refuse);
    let mail = table.words::<MessageClass>("mail", problems).unwrap_or_else(|| Box::from([MessageClass::Marketing]));
    let when = table.table("when", problems).map_or_else(Box::default, |when| conditions(when, problems));
    let require = requirements(&mut table, problems);
    if !["forbid", "one_of", "require"].into_iter().any(|key| table.has(key)) {
        table.wrong("asks for nothing; expected `forbid = true`, `[[rule.one_of]]` or `require`", problems);
    }
    let effective_from = table.word::<Instant>("effective_from", problems).map(|instant| instant.0);
    let effective_until = table.word::<Instant>("effective_until", problems).map(|instant| instant.0);
    let grants = require.iter().any(|require| matches!(require, Requirement::OneOf(_)));
    if grants && (stage != Some(Stage::Basis) || effect != Effect::Refuse) {
        table.wrong("`one_of` belongs to stage `basis` with effect `refuse`", problems);
    }
    table.finish(problems);
    let rule = Rule { id: id?, version: version?, title: title?, source: source?, reason: reason? };
    let stage = stage?;
    Some(LawRule { rule, stage, effect, mail, when, require, effective_from, effective_until, overridden: None })
}

struct Instant(Timestamp);

impl FromStr for Instant {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Timestamp::parse(text).map(Self)
    }
}

fn conditions(mut table: Fields<'_>, problems: &mut Problems<'_>) -> Box<[Condition]> {
    let mut when = Vec::new();
    when.extend(table.words("class", problems).map(Condition::Class));
    when.extend(table.word("class_is", problems).map(Condition::ClassIs));
    when.extend(table.words("address", problems).map(Condition::Address));
    when.extend(table.words("sector", problems).map(Condition::Sector));
    when.extend(table.words("holds", problems).map(Condition::Holds));
    when.extend(table.words("lacks", problems).map(Condition::Lacks));
    for (key, condition) in [
        ("no_contract", Condition::NoContract),
        ("open_tracking", Condition::OpenTracking),
        ("first_after_indirect", Condition::FirstAfterIndirect),
    ] {
        if table.flag(key, problems) {
            when.push(condition);
        }
    }
    if when.is_empty() {
        table.wrong("`when` names no condition; leave it out for a rule that always applies", problems);
    }
    table.finish(problems);
    when.into_boxed_slice()
}

fn requirements(rule: &mut Fields<'_>, problems: &mut Problems<'_>) -> Box<[Requirement]> {
    let mut require = Vec::new();
    if rule.flag("forbid", problems) {
        require.push(Requirement::Never);
    }
    let routes: Vec<_> = rule.tables("one_of", problems).into_iter().map(|table| route(table, problems)).collect();
    if !routes.is_empty() {
        require.push(Requirement::OneOf(routes.into_boxed_slice()));
    }
    if let Some(mut table) = rule.table("require", problems) {
        require.extend(within(&mut table, problems).map(|(months, since)| Requirement::Within(months, since)));
        let register = table.word::<RegisterName>("register", problems);
        let days = table.number("register_max_days", DAYS_MAX, problems);
        together(&mut table, ["register", "register_max_days"], problems);
        require.extend(register.zip(days).map(|(register, days)| Requirement::Register(register, days)));
        let duties = table.words("message", problems).unwrap_or_default();
        require.extend(duties.iter().copied().map(Requirement::Message));
        if table.flag("tracking_consent", problems) {
            require.push(Requirement::TrackingConsent);
        }
        let days = table.number("unsubscribe_works_days", DAYS_MAX, problems);
        require.extend(days.map(Requirement::UnsubscribeLife));
        let days = table.number("opt_out_within_business_days", BUSINESS_DAYS_MAX, problems);
        require.extend(days.map(Requirement::OptOutWithin));
        table.finish(problems);
    }
    require.into_boxed_slice()
}

fn within(table: &mut Fields<'_>, problems: &mut Problems<'_>) -> Option<(u32, Since)> {
    let months = table.number("within_months", MONTHS_MAX, problems);
    let since = table.word::<Since>("since", problems);
    together(table, ["within_months", "since"], problems);
    months.zip(since)
}

/// Two keys that mean nothing without each other.
fn together(table: &mut Fields<'_>, keys: [&'static str; 2], problems: &mut Problems<'_>) {
    let [first, second] = keys;
    if table.has(first) != table.has(second) {
        table.wrong(format!("`{first}` and `{second}` belong together"), problems);
    }
}

fn route(mut table: Fields<'_>, problems: &mut Problems<'_>) -> Route {
    let basis = table.words("basis", problems).unwrap_or_default();
    if !table.has("basis") {
        table.wrong("`basis` is missing", problems);
    }
    let mut asks = Vec::new();
    for (key, ask) in [
        ("proven", Ask::Proven),
        ("evidence", Ask::Evidence),
        ("informed", Ask::Informed),
        ("refusal_offered", Ask::RefusalOffered),
        ("from_person", Ask::FromPerson),
        ("topic_meets_function", Ask::TopicMeetsFunction),
        ("similar_product", Ask::SimilarProduct),
    ] {
        if table.flag(key, problems) {
            asks.push(ask);
        }
    }
    asks.extend(table.words("sale", problems).map(Ask::Sale));
    asks.extend(table.word("address", problems).map(Ask::Address));
    asks.extend(within(&mut table, problems).map(|(months, since)| Ask::Within(months, since)));
    table.finish(problems);
    Route { basis, asks: asks.into_boxed_slice() }
}
