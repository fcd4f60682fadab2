//! Tests of the whole house, in one binary because linking is what costs time.
#![cfg(test)]

mod attacks;
mod body_link;
mod cases;
mod clients;
mod config;
mod dialogue;
mod dns;
mod doctor;
mod door;
mod events;
mod faults;
mod france;
mod hostile;
mod import_scale;
mod ledger;
mod mailbox;
mod messages;
mod mta_sts;
mod pages;
mod postfix;
mod proxies;
mod queue_control;
mod races;
mod redis;
mod refusals;
mod reports;
mod routes;
mod smuggling;
mod spellings;
mod submission;
mod support;
mod tell;
mod tidy;
mod verify;
mod way_through;
