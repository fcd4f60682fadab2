//! How one value is read: a word, a number, a span of time, an address.

use std::net::SocketAddr;
use std::time::Duration;

use crate::mail::Domain;
use crate::time::parse_span;

use super::error::Problems;
use super::v1::At;

/// Reads one word out of a closed set.
pub(super) fn word<T: Copy>(
    problems: &mut Problems<'_>,
    key: &str,
    value: &At<String>,
    words: &[(&str, T)],
) -> Option<T> {
    let found = words.iter().find(|(word, _)| word == value.as_ref()).map(|(_, meaning)| *meaning);
    if found.is_none() {
        let expected: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        problems.add(
            value.span().start,
            key,
            format!("`{}` is not known; expected {}", value.as_ref(), expected.join(" or ")),
        );
    }
    found
}

/// Parses one value and reports where it stands when it cannot be.
pub(super) fn parsed<T, E: std::fmt::Display>(
    problems: &mut Problems<'_>,
    key: &str,
    value: &At<String>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Option<T> {
    problems.take(value.span().start, key, parse(value.as_ref()))
}

pub(super) fn domain(problems: &mut Problems<'_>, key: &str, value: &At<String>) -> Option<Domain> {
    parsed(problems, key, value, Domain::parse)
}

pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("`{text}`: expected ADDRESS:PORT such as 127.0.0.1:2525 or [::1]:2525"))
}

/// Reads `90s`, `5m`, `2h`, `4d`.
pub(super) fn duration(
    problems: &mut Problems<'_>,
    key: &str,
    value: Option<&At<String>>,
    default: Duration,
) -> Option<Duration> {
    let Some(value) = value else { return Some(default) };
    parsed(problems, key, value, parse_span)
}

/// A number within bounds, or the default.
pub(super) fn number(
    problems: &mut Problems<'_>,
    key: &str,
    value: Option<&At<u64>>,
    range: std::ops::RangeInclusive<u64>,
    default: u64,
) -> Option<u64> {
    let Some(value) = value else { return Some(default) };
    let number = *value.as_ref();
    if range.contains(&number) {
        return Some(number);
    }
    problems.add(value.span().start, key, format!("{number}: expected {} to {}", range.start(), range.end()));
    None
}
