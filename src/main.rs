//! Arguments in, one operation out.

use std::process::ExitCode;

fn main() -> ExitCode {
    consentry::cli::main()
}
