//! Tests of the whole house, in one binary because linking is what costs time.
#![cfg(test)]

mod cases;
mod clients;
mod config;
mod dialogue;
mod door;
mod faults;
mod france;
mod hostile;
mod ledger;
mod messages;
mod pages;
mod proxies;
mod races;
mod support;
mod tidy;
mod verify;
mod way_through;
