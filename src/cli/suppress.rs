//! Temporary.
use crate::exit::*;
/// x
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// x
    X,
}
/// x
pub fn run(
    _c: Command,
    _s: &crate::store::Store,
    _o: &mut dyn std::io::Write,
    _k: &dyn crate::time::Clock,
) -> Result<Exit, Failure> {
    Ok(Exit::Done)
}
