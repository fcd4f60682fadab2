//! What a POST asks for. Pure.

use std::collections::BTreeSet;

use super::form::Form;
use crate::mail::ListName;

/// How much a wish is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// The list that the link belongs to.
    List,
    /// All marketing of its sender.
    Sender,
}

/// One wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// RFC 8058: what the stream says ends.
    OneClick,
    /// A button that ends something.
    Leave(Reach),
    /// A button that allows it again.
    ComeBack(Reach),
    /// The switches of the page.
    Choose(Choice),
    /// The button behind a confirmation letter. It means nothing on any other page.
    Confirm,
}

/// What the switches of a page were set to. Only what the person moved counts: a page that lay open for a week must
/// not turn on what was left meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// Turned on.
    pub(super) on: BTreeSet<ListName>,
    /// Turned off.
    pub(super) off: BTreeSet<ListName>,
}

/// The field that says what a button does.
pub(super) const DO: &str = "do";
/// Lists that the page showed.
pub(super) const SHOWN: &str = "shown";
/// Lists that were on when it was shown.
pub(super) const WAS: &str = "was";
/// Lists that are on now.
pub(super) const NOW: &str = "now";

impl Wish {
    /// The word of each button.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::OneClick => "one-click",
            Self::Leave(Reach::List) => "leave-list",
            Self::Leave(Reach::Sender) => "leave-sender",
            Self::ComeBack(Reach::List) => "return-list",
            Self::ComeBack(Reach::Sender) => "return-sender",
            Self::Choose(_) => "choose",
            Self::Confirm => "confirm",
        }
    }

    /// Reads a form; `None` when it asks for nothing that is known. One-click comes first: who sends it, sends nothing else.
    pub(super) fn read(form: &Form) -> Option<Self> {
        if form.is_one_click() {
            return Some(Self::OneClick);
        }
        let buttons = [
            Self::Leave(Reach::List),
            Self::Leave(Reach::Sender),
            Self::ComeBack(Reach::List),
            Self::ComeBack(Reach::Sender),
            Self::Confirm,
        ];
        let word = form.first(DO)?;
        if word == Self::Choose(Choice::default()).word() {
            return Some(Self::Choose(Choice::read(form)));
        }
        buttons.into_iter().find(|wish| wish.word() == word)
    }
}

impl Choice {
    fn read(form: &Form) -> Self {
        let lists = |name| form.all(name).filter_map(|list| ListName::new(list).ok()).collect::<BTreeSet<_>>();
        let (shown, was, now) = (lists(SHOWN), lists(WAS), lists(NOW));
        Self {
            on: shown.iter().filter(|list| now.contains(list) && !was.contains(list)).cloned().collect(),
            off: shown.into_iter().filter(|list| was.contains(list) && !now.contains(list)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Option<Wish> {
        Wish::read(&Form::read(None, body.as_bytes()).unwrap())
    }

    #[test]
    fn every_button_is_read_by_its_word_and_nothing_else_is() {
        for wish in [
            Wish::Leave(Reach::List),
            Wish::Leave(Reach::Sender),
            Wish::ComeBack(Reach::List),
            Wish::ComeBack(Reach::Sender),
            Wish::Choose(Choice::default()),
            Wish::Confirm,
        ] {
            assert_eq!(read(&format!("do={}", wish.word())), Some(wish));
        }
        assert_eq!(read("List-Unsubscribe=One-Click&do=return-sender"), Some(Wish::OneClick));
        for other in ["", "do=", "do=one-click", "do=everything", "x=leave-list"] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn only_switches_that_were_moved_count() {
        let Some(Wish::Choose(choice)) = read(
            "do=choose&shown=a&was=a&shown=b&was=b&now=b&shown=c&now=c&shown=d&now=x&was=y&now=%3Cb%3E&shown=%3Cb%3E",
        ) else {
            panic!()
        };
        let names = |lists: &BTreeSet<ListName>| lists.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!((names(&choice.off), names(&choice.on)), (vec!["a".to_owned()], vec!["c".to_owned()]));
    }
}
