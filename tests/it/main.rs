//! Tests of the whole house, in one binary because linking is what costs time.
#![cfg(test)]

mod cases;
mod clients;
mod dialogue;
mod ledger;
mod messages;
mod support;
mod tidy;
mod verify;
mod way_through;
