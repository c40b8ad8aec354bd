//! The speechgate command.

use std::process::ExitCode;

fn main() -> ExitCode {
    speechgate::cli::run(std::env::args_os())
}
