//! Tests of the whole house, in one binary because linking is what costs time.
#![cfg(test)]

mod cases;
mod clients;
mod config;
mod dialogue;
mod faults;
mod france;
mod ledger;
mod messages;
mod queue_control;
mod races;
mod refusals;
mod support;
mod tidy;
mod verify;
mod way_through;
