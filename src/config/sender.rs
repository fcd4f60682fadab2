//! The sections `[[sender]]`: how the unsubscribe page shows each controller.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::mail::{ControllerId, ListName, StreamName};
use crate::pipeline::Stream;
use crate::policy::{Law, MessageClass};
use crate::unsubscribe::{Colour, Contact, LISTS_MAX, Offer, Sender, Shown, WebAddress};

use super::error::Problems;
use super::v1;
use super::value::parsed;

/// Every controller of the file's streams: as its `[[sender]]` says, and else by its brand and the names of its lists.
pub(super) fn senders(
    spec: &v1::Spec,
    streams: &HashMap<StreamName, Arc<Stream>>,
    problems: &mut Problems<'_>,
) -> HashMap<ControllerId, Sender> {
    let mut senders = brands(spec, problems);
    let mut written = HashSet::new();
    for entry in &spec.sender {
        let key = "sender.controller";
        let known = |text: &str| match ControllerId::new(text) {
            Ok(controller) if senders.contains_key(&controller) => Ok(controller),
            _ => Err(format!("no [[stream]] has the controller `{text}`")),
        };
        let Some(controller) = parsed(problems, key, &entry.as_ref().controller, known) else { continue };
        if !written.insert(controller.clone()) {
            let at = entry.as_ref().controller.span().start;
            problems.add(at, key, format!("`{controller}` has a [[sender]] already"));
        }
        if let Some(sender) = senders.get_mut(&controller) {
            look(entry.as_ref(), sender, problems);
        }
    }
    for (controller, sender) in &mut senders {
        let own = || streams.values().filter(|stream| stream.rules.controller == *controller);
        add_lists(sender, own(), controller_at(spec, controller), problems);
        sender.country = own().find_map(|stream| match &stream.rules.law {
            Law::Applied(law) => law.default_recipient_country.or(Some(law.establishment)),
            Law::NotApplied => None,
        });
    }
    senders
}

/// Controllers by the brand of their first stream that names one.
fn brands(spec: &v1::Spec, problems: &mut Problems<'_>) -> HashMap<ControllerId, Sender> {
    let mut brands = HashMap::<ControllerId, (Shown, bool)>::new();
    for stream in spec.stream.iter().map(AsRef::as_ref) {
        let Ok(controller) = ControllerId::new(stream.controller.as_ref()) else { continue };
        let brand = stream.brand.as_ref().and_then(|brand| parsed(problems, "stream.brand", brand, Shown::new));
        let named = brand.is_some();
        let Some(shown) = brand.or_else(|| Shown::new(controller.as_str()).ok()) else { continue };
        match brands.get_mut(&controller) {
            Some((known, is_brand)) if named && !*is_brand => (*known, *is_brand) = (shown, true),
            Some(_) => {}
            None => drop(brands.insert(controller, (shown, named))),
        }
    }
    brands.into_iter().map(|(controller, (shown, _))| (controller, Sender::named(shown))).collect()
}

fn look(written: &v1::Sender, sender: &mut Sender, problems: &mut Problems<'_>) {
    let mut text = |key, value: &Option<_>| value.as_ref().and_then(|value| parsed(problems, key, value, Shown::new));
    if let Some(name) = text("sender.name", &written.name) {
        sender.logo_text = name.clone();
        sender.name = name;
    }
    if let Some(logo_text) = text("sender.logo_text", &written.logo_text) {
        sender.logo_text = logo_text;
    }
    let colour = written.colour.as_ref().and_then(|text| parsed(problems, "sender.colour", text, Colour::parse));
    sender.colour = colour.unwrap_or(sender.colour);
    sender.contact = written.contact.as_ref().and_then(|text| parsed(problems, "sender.contact", text, Contact::parse));
    let imprint = written.imprint.as_ref();
    sender.imprint = imprint.and_then(|text| parsed(problems, "sender.imprint", text, WebAddress::parse));
    for entry in &written.list {
        let list = entry.as_ref();
        let name = parsed(problems, "sender.list.name", &list.name, ListName::new);
        let title = parsed(problems, "sender.list.title", &list.title, Shown::new);
        let about = list.about.as_ref().and_then(|about| parsed(problems, "sender.list.about", about, Shown::new));
        let (Some(name), Some(title)) = (name, title) else { continue };
        if sender.lists.iter().any(|known| known.name == name) {
            problems.add(list.name.span().start, "sender.list.name", format!("`{name}` is used twice"));
        }
        sender.lists.push(Offer { name, title, about });
    }
}

/// Adds lists of marketing streams that have no title, in the order of their names.
fn add_lists<'a>(
    sender: &mut Sender,
    streams: impl Iterator<Item = &'a Arc<Stream>>,
    at: usize,
    problems: &mut Problems<'_>,
) {
    let marketing = streams.filter(|stream| stream.rules.class == MessageClass::Marketing);
    let mut names: Vec<_> = marketing.flat_map(|stream| stream.rules.list.iter().chain(&stream.also_lists)).collect();
    names.sort();
    names.dedup();
    for name in names {
        if !sender.lists.iter().any(|known| known.name == *name) {
            sender.lists.push(Offer::named(name.clone()));
        }
    }
    if sender.lists.len() > LISTS_MAX {
        problems.add(at, "sender.list", format!("{} lists; expected at most {LISTS_MAX}", sender.lists.len()));
    }
}

/// Where a controller is first named.
fn controller_at(spec: &v1::Spec, controller: &ControllerId) -> usize {
    let named = spec.stream.iter().map(|stream| &stream.as_ref().controller);
    named.filter(|name| name.as_ref() == controller.as_str()).map(|name| name.span().start).next().unwrap_or(0)
}
