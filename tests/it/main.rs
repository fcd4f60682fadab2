//! Tests of the whole house, in one binary because linking is what costs time.
#![cfg(test)]

mod tidy;
