//! The speechgate command.

#[cfg(feature = "serve")]
fn main() -> std::process::ExitCode {
    speechgate::cli::run()
}

#[cfg(not(feature = "serve"))]
fn main() {
    eprintln!("this speechgate was built without the feature `serve`; only the library's pure part is in it");
}
