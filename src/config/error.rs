//! What is wrong with a configuration file: where, which key, what was expected.

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, from 1; 0 when the file as a whole is meant.
    pub line: usize,
    /// The key, as a path: `stream.class`.
    pub key: String,
    /// What is wrong and what was expected.
    pub message: String,
}

/// Everything that is wrong with one file. A daemon does not start on it (exit code 78), a running one keeps the
/// settings that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    file: PathBuf,
    problems: Vec<Problem>,
}

impl ConfigError {
    pub(super) fn new(file: &Path, problems: Vec<Problem>) -> Self {
        Self { file: file.to_owned(), problems }
    }

    /// What is wrong, in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:", self.file.display())?;
            if problem.line > 0 {
                write!(f, "{}:", problem.line)?;
            }
            if !problem.key.is_empty() {
                write!(f, " {}:", problem.key)?;
            }
            write!(f, " {}", problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Gathers problems while a file is read, so that all of them are reported at once.
#[derive(Debug)]
pub(super) struct Problems<'a> {
    text: &'a str,
    found: Vec<Problem>,
}

impl<'a> Problems<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, found: Vec::new() }
    }

    /// Notes a problem at byte `at` of the file.
    pub(super) fn add(&mut self, at: usize, key: &str, message: impl fmt::Display) {
        self.found.push(Problem { line: self.line(at), key: key.to_owned(), message: message.to_string() });
    }

    /// Notes the error of `result` and goes on without a value.
    pub(super) fn take<T, E: fmt::Display>(&mut self, at: usize, key: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(at, key, error)).ok()
    }

    pub(super) fn finish(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|problem| problem.line);
        self.found
    }

    fn line(&self, at: usize) -> usize {
        self.text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
    }
}
