//! Consentry: the last gate before campaign mail leaves an organisation.
//!
//! The folders, read from the top, tell the journey of a message:
//!
//! - [`smtp`] reads it off the wire, [`pipeline`] leads it through the house;
//! - [`store`] answers what is known of each recipient, [`policy`] decides, [`message`] rewrites and signs, [`token`] makes
//!   the links by which people leave;
//! - [`spool`] keeps it, [`audit`] keeps the record, [`delivery`] hands it to the smarthost, [`fleet`] keeps
//!   limits together with other gateways;
//! - [`unsubscribe`] is the person's door, [`feedback`] the mailbox beside it, [`optout`] takes what comes through both, [`tell`]
//!   tells the campaign tool and [`webhook`] programs outside, both by [`https`]; [`control`] is the operator's door, [`cli`] the command line;
//! - [`imports`] reads what other systems export, [`config`] reads the file, [`daemon`] joins the rooms, [`demo`] shows them at work.
//!
//! [`mail`] holds the words that all of them use. The floor plan with the table of who may import whom is
//! `docs/architecture.md`.

pub mod api;
pub mod audit;
pub mod cidr;
pub mod cli;
pub mod compat;
pub mod config;
pub mod control;
pub mod crowd;
pub mod daemon;
pub mod delivery;
pub mod demo;
pub mod dns;
pub mod events;
pub mod exit;
pub mod feedback;
pub mod fleet;
pub mod hex;
pub mod https;
pub mod imports;
pub mod locale;
pub mod mail;
pub mod message;
pub mod optout;
pub mod pipeline;
pub mod policy;
pub mod replies;
pub mod rules;
pub mod seen;
pub mod shaping;
pub mod smtp;
pub mod spool;
pub mod store;
pub mod sts;
pub mod telemetry;
pub mod tell;
pub mod time;
pub mod tls;
pub mod token;
pub mod unsubscribe;
pub mod webhook;
