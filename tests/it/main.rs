//! Scenarios against the whole library.

#[cfg(test)]
mod dialogue;
