//! The speechgate command.

use std::process::ExitCode;

#[cfg(feature = "serve")]
fn main() -> ExitCode {
    speechgate::cli::run(std::env::args_os())
}

#[cfg(not(feature = "serve"))]
fn main() -> ExitCode {
    eprintln!("speechgate was built without the feature `serve`: there is only the library");
    ExitCode::FAILURE
}
