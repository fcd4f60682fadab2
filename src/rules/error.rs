//! What is wrong with a rule file, and where.

use std::fmt;
use std::path::PathBuf;

/// Why rules could not be loaded. All of it is the fault of whoever wrote the files; trying again does not help until
/// they have been corrected, except that [`RulesError::Read`] may name a passing fault of the disk.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// A file or folder could not be read.
    #[error("{path}: {source}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What the files say is not a set of rules. Every problem of every file, one a line.
    #[error("{}", lines(.0))]
    Wrong(Vec<Problem>),
}

/// One problem, at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named to us.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The rule or case that it stands in, if any.
    pub within: Option<String>,
    /// What is wrong and what was expected.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if let Some(within) = &self.within {
            write!(f, "{within}: ")?;
        }
        f.write_str(&self.message)
    }
}

pub(crate) fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}
