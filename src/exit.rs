//! How operations end: the codes of sysexits.h, so that scripts and systemd can tell faults apart.
//!
//! **Promise:** every failure has a code and one sentence for people.
//!
//! **Never knows:** how an operation works.

use std::fmt;
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::daemon::StartError;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked to.
    Done,
    /// It worked, and the answer is no: not suppressed, nothing found, refused.
    No,
    /// 64: the arguments are wrong.
    Usage,
    /// 65: the input is wrong.
    Data,
    /// 69: something that is needed is not there: the daemon, the store.
    Unavailable,
    /// 70: a fault of ours.
    Software,
    /// 74: reading or writing failed.
    Io,
    /// 75: not now; try again.
    Temporary,
    /// 78: the configuration is wrong.
    Config,
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::No => 1,
            Self::Usage => 64,
            Self::Data => 65,
            Self::Unavailable => 69,
            Self::Software => 70,
            Self::Io => 74,
            Self::Temporary => 75,
            Self::Config => 78,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command could not do what it was asked to.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    /// A failure with its code and one sentence.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string() }
    }

    /// Its code.
    pub const fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "consentry: {}", self.message)
    }
}

impl std::error::Error for Failure {}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Config, error)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let exit = match &error {
            StartError::Config(_) | StartError::Keys(_) | StartError::Dns(_) => Exit::Config,
            StartError::Store(_) | StartError::Spool(_) | StartError::Listen { .. } => Exit::Unavailable,
            StartError::Folder { .. }
            | StartError::Audit(_)
            | StartError::Board(_)
            | StartError::Tell(_)
            | StartError::Webhook(_)
            | StartError::Seen(_) => Exit::Io,
        };
        Self::new(exit, error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Io, error)
    }
}

impl From<crate::store::StoreError> for Failure {
    fn from(error: crate::store::StoreError) -> Self {
        Self::new(if error.is_transient() { Exit::Temporary } else { Exit::Unavailable }, error)
    }
}
