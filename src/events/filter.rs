//! Which events a reader wants. Pure.

use serde::Deserialize;

use crate::mail::{ControllerId, ListName, StreamName};

/// Everything that is said must fit; what is not said fits all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Types, as the record names them; none means all.
    pub types: Vec<String>,
    /// Events of this stream.
    pub stream: Option<StreamName>,
    /// Events of this list.
    pub list: Option<ListName>,
    /// Events about mail and facts of this controller.
    pub controller: Option<ControllerId>,
}

/// What is looked at of a line.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Looked {
    #[serde(rename = "type")]
    kind: Option<String>,
    stream: Option<String>,
    list: Option<String>,
    controller: Option<String>,
    recipient: Option<String>,
    id: Option<String>,
    queue: Option<String>,
}

impl Looked {
    /// A line that is no record of ours has no fields, and fits a filter that asks for none.
    pub(super) fn at(line: &[u8]) -> Self {
        serde_json::from_slice(line).unwrap_or_default()
    }

    /// A person; else a copy, a queue, or the kind of thing.
    pub(super) fn subject(self) -> String {
        self.recipient.or(self.id).or(self.queue).or(self.kind).unwrap_or_default()
    }
}

impl Filter {
    pub(super) fn fits(&self, looked: &Looked) -> bool {
        let named = |wanted: Option<&str>, found: Option<&String>| {
            wanted.is_none_or(|wanted| found.is_some_and(|found| found == wanted))
        };
        let typed = looked.kind.as_ref().is_some_and(|kind| self.types.contains(kind));
        (self.types.is_empty() || typed)
            && named(self.stream.as_ref().map(StreamName::as_str), looked.stream.as_ref())
            && named(self.list.as_ref().map(ListName::as_str), looked.list.as_ref())
            && named(self.controller.as_ref().map(ControllerId::as_str), looked.controller.as_ref())
    }
}
