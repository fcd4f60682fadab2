//! A sign-up that is handed in, and what became of it.

use serde::{Deserialize, Serialize};

/// An address that was entered somewhere, as whoever entered it wrote it down. It is checked where it is acted on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignUp {
    /// The address.
    pub address: String,
    /// Who wants to write to it.
    pub controller: String,
    /// What for.
    pub purpose: String,
    /// Version of the notice that was shown.
    pub notice: Option<String>,
    /// Form, URL or event.
    pub source: Option<String>,
    /// From which address on the network it was entered.
    pub ip: Option<std::net::IpAddr>,
    /// The language of the form.
    pub language: Option<String>,
    /// Who hands it in.
    pub by: String,
}

/// What became of a sign-up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum SignedUp {
    /// A letter is on its way.
    Asked {
        /// Its id.
        id: String,
        /// Until when its link works.
        until: String,
    },
    /// The mailbox has confirmed before, and it holds.
    Confirmed,
    /// The address may not be asked.
    Shut,
    /// It was asked enough, or that network has had enough people asked.
    TooOften,
}
