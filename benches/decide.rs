//! How long one decision takes with every shipped pack loaded: the median of many, in nanoseconds.
//!
//! `cargo bench --bench decide`. Allocations are not counted: a counting allocator needs unsafe code.

use std::hint::black_box;
use std::io::Write as _;
use std::time::Instant;

use consentry::mail::{ControllerId, ListName, Mailbox, Recipient, StreamName};
use consentry::policy::{
    Basis, Case, Confirmation, ConsentFact, Contact, Country, Duty, Facts, FromDomains, Law, MessageClass,
    MessageFacts, Purpose, RefusalBox, StreamLaw, StreamRules, Verdict, decide,
};
use consentry::time::Timestamp;

/// Decisions timed together, so that reading the clock does not count.
const BATCH: u32 = 100;
/// Batches; their median is printed.
const BATCHES: usize = 2001;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rules = consentry::rules::embedded()?;
    let now = Timestamp::parse("2026-11-24T12:00:00Z")?;
    let controller = ControllerId::new("sender")?;
    let stream = stream(&controller)?;
    let recipient = Recipient::new(Mailbox::parse("paul.martin@acier.example")?);
    let contact =
        Contact { country: Some(Country::parse("DE")?), functions: vec!["it".parse()?], ..Contact::default() };
    let collected = Timestamp::parse("2026-01-15")?;
    let mut opt_out = ConsentFact::new(controller.clone(), Purpose::Marketing, Basis::OptOutActive, collected);
    opt_out.notice = Some("2025-3".into());
    opt_out.refusal_box = RefusalBox::Offered;
    let mut opt_in = ConsentFact::new(controller, Purpose::Marketing, Basis::DoubleOptIn, collected);
    opt_in.confirmation = Confirmation::At(collected);
    opt_in.evidence = Some("form 17".into());
    let consents = [opt_out, opt_in];
    let message = Duty::ALL.iter().fold(MessageFacts::new(), |facts, duty| facts.with(*duty));
    let facts = Facts { contact: Some(&contact), consents: &consents, message: Some(&message), ..Facts::default() };
    let mut out = std::io::stdout().lock();
    for (name, facts) in [("permit, two laws", facts), ("refusal, no record", Facts { consents: &[], ..facts })] {
        let case = Case { facts, ..Case::new(&recipient, &stream, now) };
        let is_permit = matches!(decide(&case, &rules).verdict, Verdict::Permit(_));
        let mut nanos: Vec<u128> = (0..BATCHES)
            .map(|_| {
                let start = Instant::now();
                for _ in 0..BATCH {
                    black_box(decide(black_box(&case), &rules));
                }
                start.elapsed().as_nanos() / u128::from(BATCH)
            })
            .collect();
        nanos.sort_unstable();
        let median = nanos.get(BATCHES / 2).copied().unwrap_or_default();
        writeln!(out, "decide, {name} (permits: {is_permit}): median {median} ns")?;
    }
    Ok(())
}

fn stream(controller: &ControllerId) -> Result<StreamRules, Box<dyn std::error::Error>> {
    let law = StreamLaw { topics: vec!["it-security".parse()?], ..StreamLaw::new(Country::parse("FR")?) };
    Ok(StreamRules {
        name: StreamName::new("news")?,
        controller: controller.clone(),
        class: MessageClass::Marketing,
        list: Some(ListName::new("weekly")?),
        from_domains: FromDomains::Any,
        law: Law::Applied(Box::new(law)),
    })
}
