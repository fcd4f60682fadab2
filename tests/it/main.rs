//! Tests of the whole house, in one binary because linking is what costs time.
#![cfg(test)]

mod body_link;
mod cases;
mod clients;
mod config;
mod dialogue;
mod dns;
mod doctor;
mod faults;
mod france;
mod ledger;
mod messages;
mod races;
mod support;
mod tidy;
mod verify;
mod way_through;
