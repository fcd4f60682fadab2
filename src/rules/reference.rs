//! The page that documents the rules, made from the rules.

use std::fmt::Write as _;

use crate::policy::{Condition, Effect, LawRule, MessageClass, Pack, Requirement, Rulebook};

const OPENING: &str = "\
# Rules of law

This page is made from the files in `config/rules`; a test holds it against them. It is for whoever answers for data
protection: what each rule asks, on which source it stands, and the word under which a refusal can be found in log,
audit record and SMTP reply.

**The rule packs are a reviewed starting point, not legal advice.** They cover unsolicited and marketing mail to
recipients in the countries named below; they do not cover advertising law for particular trades (except where a rule
says so), employment, competition, or any contract. A lawyer signs a pack off by putting their name and the day into
`reviewed_by` and `reviewed_on` of its file; until then the pack says *not signed off*.

For each message the law of the recipient's country and the law of the sender's establishment are asked, together with
what holds everywhere; the stricter answer wins. Where the country is unknown, or has no pack, the strict pack stands in.
Where the class of a recipient is unknown, the rules of every class apply. A law that says nothing about a recipient
allows nothing (rule LAW-0, `LAW_NO_RULE`).

An operator's folder of rule files may add rules. It can take none away: to stop following one, it names the rule in an
`[[override]]` with a reason, a person and a day, and every decision that the override changes carries it.

## Where it began

The rules for France began with a French article on opt-out. Its statements, and where each is kept (the cases in
`tests/cases/fr` carry the same names):

| statement | kept by |
|---|---|
| SEED-1: opt-out presumes consent, opt-in asks first | the basis is recorded with each contact and never guessed; FR-C1 |
| SEED-2: active opt-out means a box to refuse was there and left empty | FR-P1 and FR-S1 ask for the offered box; a ticked one ends every basis of its record |
| SEED-3: passive opt-out enrols by the mere use of a service, and can be left later | FR-G1; an unsubscribe stops it (X-011) |
| SEED-4: opt-out is for professionals only | FR-C1 |
| SEED-5: opt-out to natural persons or private addresses is unlawful in France | FR-C1, FR-S1 |
| SEED-6: professionals are informed at collection and can leave at any time | FR-P1, FR-M2, and one-click on every marketing permit |
| SEED-7: active opt-out is allowed to a person at work about their function | FR-P1 |
| SEED-8: passive opt-out is allowed to a service of a company | FR-G1; to a named person it is refused by FR-P2 |
| SEED-9: the strategy is chosen by target and service | law, topics, enforcement and assumptions are settings of each stream |
";

/// The page for these rules, in Markdown.
pub fn reference(rules: &Rulebook) -> String {
    let mut page = String::from(OPENING);
    for pack in rules.packs() {
        describe_pack(&mut page, pack);
    }
    page
}

/// Adds formatted text; writing to a string does not fail.
macro_rules! put {
    ($page:expr, $($text:tt)*) => { $page.write_fmt(format_args!($($text)*)).unwrap_or_default() };
}

fn describe_pack(page: &mut String, pack: &Pack) {
    put!(page, "\n## {}: {}\n\n", pack.name, pack.title);
    let countries: Vec<_> = pack.countries.iter().map(ToString::to_string).collect();
    let signed = pack.review.map_or_else(
        || String::from("not signed off"),
        |review| format!("signed off by {} on {}", review.by, review.on),
    );
    put!(page, "Version {}, {signed}.", pack.version);
    if !countries.is_empty() {
        put!(page, " Countries: {}.", countries.join(", "));
    }
    if let Some(days) = pack.after_opt_out.business_days {
        put!(page, " The law allows {days} business days for an opt-out; the gateway obeys at once.");
    }
    if pack.after_opt_out.acknowledge == crate::policy::Acknowledge::Once {
        put!(page, " An opt-out is acknowledged once by mail.");
    }
    put!(page, "\n\n| rule | reason | title | applies when | asks for | source |\n|---|---|---|---|---|---|\n");
    for rule in &pack.rules {
        describe_rule(page, rule);
    }
}

fn describe_rule(page: &mut String, law: &LawRule) {
    let mut when: Vec<_> = law.when.iter().map(Condition::describe).collect();
    if law.mail.contains(&MessageClass::Transactional) {
        let kinds: Vec<_> = law.mail.iter().map(|mail| mail.as_str()).collect();
        when.insert(0, format!("mail is {}", kinds.join(" or ")));
    }
    let day = |at: crate::time::Timestamp| at.rfc3339().chars().take(10).collect::<String>();
    when.extend(law.effective_from.map(|at| format!("from {}", day(at))));
    when.extend(law.effective_until.map(|at| format!("until {}", day(at))));
    let when = if when.is_empty() { String::from("always") } else { when.join(", and ") };
    let asks: Vec<_> = law.require.iter().map(Requirement::describe).collect();
    let effect = match law.effect {
        Effect::Refuse => "",
        Effect::Warn => " (warns only)",
    };
    let rule = law.rule;
    let asks = asks.join(", and ");
    put!(
        page,
        "| {}@{} | `{}` | {} | {when} | {asks}{effect} | {} |\n",
        rule.id,
        rule.version,
        rule.reason,
        rule.title,
        rule.source
    );
}
