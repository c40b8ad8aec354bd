//! The command line: serve, demo, check, explain, codes, schema, key, health, completions.
//!
//! Exit codes: 0 success, 1 a problem was found, 2 the command line was wrong.

mod arguments;
mod codes;
#[cfg(feature = "demo")]
mod demo;
mod explain;
mod health;
mod key;

use crate::app;
use crate::canon::Profile;
use crate::config::files::SourceFiles;
use crate::config::{self, Missing, Problem};
use arguments::{Check, Cli, Codes, Command, Completions, Files, Format, KeyCommand, NewKey, Shell};
use clap::{CommandFactory, Parser};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Runs one command.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are not errors and go to standard output.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match cli.command {
        Command::Serve(files) => serve(files),
        #[cfg(feature = "demo")]
        Command::Demo(arguments::Demo { listen, admin, envelope, json }) => {
            demo::run(demo::Options { listen, admin, envelope: envelope.into(), json })
        }
        Command::Check(files) => check(&files),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Codes(codes) => list(&codes),
        Command::Schema => print(&config::schema_text()),
        Command::Key(arguments::Key { command: KeyCommand::New(NewKey { tenant }) }) => match key::new(&tenant) {
            Some(text) => print(&text),
            None => {
                eprintln!("speechgate key: the system has no random bytes");
                ExitCode::FAILURE
            }
        },
        Command::Health(health) => match health::ask(&health.admin) {
            Ok(()) => print("ready\n"),
            Err(problem) => {
                eprintln!("speechgate health: {problem}");
                ExitCode::FAILURE
            }
        },
        Command::Completions(Completions { shell }) => print(&completions(shell)),
    }
}

fn serve(files: Files) -> ExitCode {
    if files.config.is_empty() {
        eprintln!(
            "speechgate serve needs a configuration:\n  speechgate serve --config gateway.toml\n\n\
             The shortest one that works:\n\n  [[routes]]\n  name = \"tts\"\n  match = {{ path = \"/elevenlabs\" }}\n  \
             provider = \"elevenlabs\"\n  upstream = \"https://api.elevenlabs.io\"\n\n\
             {}`speechgate check --config FILE` reports every problem of a configuration.",
            if cfg!(feature = "demo") { "`speechgate demo` runs without one; " } else { "" }
        );
        return ExitCode::from(2);
    }
    let load = move |noted: &mut SourceFiles| {
        config::load_noting(&files.config, config::environment(), Missing::IsAProblem, noted)
    };
    let loaded = match load(&mut SourceFiles::default()) {
        Ok(loaded) => loaded,
        Err(problems) => return refuse(&problems),
    };
    for warning in &loaded.warnings {
        eprintln!("{}", warning.warning());
    }
    let reload = Box::new(move |noted: &mut SourceFiles| load(noted).map_err(|problems| text_of(&problems)));
    match app::run(loaded, reload) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("speechgate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check(arguments: &Check) -> ExitCode {
    let files = &arguments.files;
    if files.config.is_empty() {
        eprintln!("speechgate check needs a configuration: speechgate check --config gateway.toml");
        return ExitCode::from(2);
    }
    let missing = if arguments.no_secrets { Missing::IsWarnedOf } else { Missing::IsAProblem };
    let (report, valid) = config::check_report(&files.config, config::environment(), missing);
    let printed = print(&report);
    if valid { printed } else { ExitCode::FAILURE }
}

fn refuse(problems: &[Problem]) -> ExitCode {
    eprint!("{}", text_of(problems));
    ExitCode::FAILURE
}

fn text_of(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// The profile of this name, or why there is none.
fn profile(name: &str, files: &[PathBuf]) -> Result<Arc<Profile>, String> {
    // Profiles contain no secrets, so missing secrets of routes do not matter here.
    let profiles = if files.is_empty() {
        BTreeMap::new()
    } else {
        let loaded = config::load_without_secrets(files, config::environment());
        loaded.map_err(|problems| text_of(&problems))?.profiles
    };
    let own = profiles.get(name).cloned();
    let built_in = || match config::profiles::built_in(name)? {
        Ok(profile) => Some(profile),
        Err(problems) => {
            tracing::error!(?problems, "the built-in profile is wrong");
            None
        }
    };
    own.or_else(built_in).ok_or_else(|| {
        let built_in: Vec<&str> = config::profiles::built_in_names().collect();
        let own: Vec<&str> = profiles.keys().map(String::as_str).collect();
        let own = if own.is_empty() {
            "your own come from --config FILE".to_owned()
        } else {
            format!("your own are {}", own.join(", "))
        };
        format!("there is no provider `{name}`; built in are {}; {own}\n", built_in.join(", "))
    })
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    if file.as_os_str() == "-" {
        if std::io::stdin().is_terminal() {
            eprintln!("reading from standard input; end it with Ctrl-D");
        }
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut bytes);
        return read.map(|_| bytes).map_err(|error| error.to_string());
    }
    std::fs::read(file).map_err(|error| error.to_string())
}

fn list(arguments: &Codes) -> ExitCode {
    let format = arguments.format;
    match &arguments.provider {
        None => print(&codes::all(format)),
        Some(name) => match profile(name, &arguments.config) {
            Ok(profile) => print(&codes::of(&profile, format)),
            Err(problem) => {
                eprint!("speechgate codes: {problem}");
                ExitCode::FAILURE
            }
        },
    }
}

fn completions(shell: Shell) -> String {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "speechgate", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Prints to standard output. A closed pipe (`| head`) is not an error.
fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_matches_its_snapshot() {
        Cli::command().debug_assert();
        for line in [
            "serve --config a --config b",
            #[cfg(feature = "demo")]
            "demo",
            "check --config a",
            "check --no-secrets --config a",
            "explain --provider corti --transport close --path /x -",
            "explain --provider corti file",
            "explain --provider corti --format json one two folder",
            "codes",
            "codes --format json --provider breeze",
            "codes --format markdown",
            "schema",
            "key new --tenant support-bot",
            "health",
            "health --admin unix:/run/admin.sock",
            "completions zsh",
        ] {
            let parsed = Cli::try_parse_from(["speechgate"].into_iter().chain(line.split(' ')));
            assert!(parsed.is_ok(), "{line}: {parsed:?}");
        }
        for line in [
            "",
            "serv",
            "serve --confg a",
            "explain file",
            "explain --provider corti",
            "codes --format xml",
            "key new",
            "key new --tenant a/b",
            "health --admin x",
            "completions tcsh",
        ] {
            let error = Cli::try_parse_from(["speechgate"].into_iter().chain(line.split_whitespace())).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn every_row_of_every_provider_is_a_known_code() {
        let all: serde_json::Value = serde_json::from_str(&codes::all(Format::Json)).expect("JSON");
        assert!(all.to_string().contains("concurrency_limited"));
        for name in config::built_in_names() {
            let profile = profile(name, &[]).expect(name);
            let _: serde_json::Value = serde_json::from_str(&codes::of(&profile, Format::Json)).expect(name);
        }
        let problem = profile("elevenlab", &[]).expect_err("there is none");
        assert!(problem.contains("`elevenlab`") && problem.contains("elevenlabs, "), "{problem}");
    }
}
