//! The page that documents classes and entries, made from them.

use std::fmt::Write as _;

use super::book::{Book, Entry};
use super::class::{Class, Follows};

const OPENING: &str = "\
# What a refusal means

This page is made from `config/replies.toml`; a test holds it against that file. Each refusal of an upstream is given a
class, and the class says what follows. `consentry classify \"550 5.1.1 no such user\"` tells the class of a reply, the
entry that decided, and what follows; log and audit carry both (`bounce_classification`, `classified_by`).

An operator's file (`[replies] file`) is read on top: its `[[reply]]` entries are asked before the shipped ones, an
`[[override]]` lets a shipped entry tell another class, a `[[class]]` changes what follows; the last two ask for a
`reason`. `consentry check` says what is wrong with it.

What no file can change:

- Only `mailbox_dead` may suppress, and only when the reply is 5yz (and its enhanced status does not say 4.x.x), at RCPT
  or at the final dot of a message with one recipient; at the dot only when an enhanced status is there. Policy, reputation and content suppress nobody.
- A 4yz reply is never final: what would be `fail` or `suppress` is `retry`.
- `auth`, `relay_denied` and `tls` are ours: everything waits, nothing is given up, the circuit opens, and that is told
  with `fault` `local`. 432, 454, 523, 530, 534, 535, 538 and \"relay denied\" are these whatever any entry says; 500, 502,
  503 are `protocol`.
- On a route to the recipients' own mail servers (`kind = \"mx\"`) we are strangers: there `auth` and `relay_denied` are the
  other side's refusal of that recipient, and are `fail`. `tls` stays ours.
- Addresses in a reply's text are left out before fragments are compared.

| follows | meaning |
|---|---|
| `retry` | tried again later, by the schedule of the class or the general one |
| `slow` | as `retry`; the group gets less for a while, and recovers step by step |
| `suspend` | as `retry`; the group gets nothing for a while, an alarm is raised |
| `circuit` | as `retry`; the way (a smarthost, a domain's mail servers) rests, which is told as a fault of ours |
| `fail` | given up, the sender is told |
| `suppress` | as `fail`; after the confirmation time nobody writes to this mailbox again |

## Classes

| class | stands for | follows | own schedule |
|---|---|---|---|
";

/// Adds formatted text; writing to a string does not fail.
macro_rules! put {
    ($page:expr, $($text:tt)*) => { $page.write_fmt(format_args!($($text)*)).unwrap_or_default() };
}

/// The page for this book, in Markdown.
pub fn reference(book: &Book) -> String {
    let mut page = String::from(OPENING);
    for rule in &book.classes {
        let schedule = rule.schedule.map_or_else(
            || "-".to_owned(),
            |own| format!("{} min, doubling to {} min", own.first.as_secs() / 60, own.longest.as_secs() / 60),
        );
        put!(page, "| `{}` | {} | {} | {schedule} |\n", rule.class, rule.title, effect(rule.class, rule.follows));
    }
    page.push_str("\n## Entries\n\nIn the order of asking; the first that fits decides.\n\n");
    page.push_str("| entry | class | stage | code | status | text, one of | source |\n|---|---|---|---|---|---|---|\n");
    for entry in &book.entries {
        describe(&mut page, entry);
    }
    page
}

fn effect(class: Class, follows: Follows) -> String {
    let whose = if class.is_local() { " (ours)" } else { "" };
    format!("`{follows}`{whose}")
}

fn describe(page: &mut String, entry: &Entry) {
    let words = |all: Vec<String>| if all.is_empty() { "any".to_owned() } else { all.join(", ") };
    let stages = words(entry.stages.iter().map(ToString::to_string).collect());
    let codes = words(entry.codes.iter().map(ToString::to_string).collect());
    let statuses = words(entry.statuses.iter().map(ToString::to_string).collect());
    let texts = words(entry.texts.iter().map(|text| format!("`{}`", text.as_str())).collect());
    let source = match entry.provider {
        Some(provider) => format!("{provider}: {}", entry.source),
        None => entry.source.to_owned(),
    };
    put!(page, "| {} | `{}` | {stages} | {codes} | {statuses} | {texts} | {source} |\n", entry.id, entry.class);
}
