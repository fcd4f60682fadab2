//! Tests of the whole house, in one binary because linking is what costs time.
#![cfg(test)]

mod attacks;
mod cases;
mod clients;
mod config;
mod dialogue;
mod faults;
mod france;
mod ledger;
mod messages;
mod races;
mod reports;
mod smuggling;
mod spellings;
mod support;
mod tidy;
mod verify;
mod way_through;
