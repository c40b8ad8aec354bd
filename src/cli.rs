//! The command line: serve, check, explain, codes, schema. Exit codes: 0, 1 when a problem was found, 2 for wrong usage.

mod codes;

use crate::app::{self, Load};
use crate::canon::Profile;
use crate::config::{self, Loaded, Problem};
use crate::explain;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// A problem was found.
const PROBLEM: u8 = 1;
/// The command line makes no sense; clap exits with the same.
const USAGE: u8 = 2;
/// Most bytes of a recording: far more than the gateway ever looks at.
const RECORDING: u64 = 16 << 20;

const NO_CONFIGURATION: &str = "error: there is nothing to serve without a configuration

  speechgate serve --config gateway.toml   with a file such as this:

    [[routes]]
    name = \"tts\"
    match = { path = \"/elevenlabs\" }
    provider = \"elevenlabs\"
    upstream = \"https://api.elevenlabs.io\"

  speechgate demo                          to try it without a file, a key or a network
  speechgate schema                        for the JSON Schema of the file\n";

/// A gateway for speech providers: success untouched, every failure in one envelope.
#[derive(Debug, Parser)]
#[command(name = "speechgate", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway.
    Serve(Files),
    /// Report every problem of a configuration.
    Check(Files),
    /// Show what a recorded failure means, which rule decided it, and why the others did not.
    Explain(Explain),
    /// List the types and codes, or how a provider's codes map to them.
    Codes(Codes),
    /// Print the JSON Schema of the configuration, for editors.
    Schema,
}

#[derive(Debug, Args)]
struct Files {
    /// A configuration file; may be given several times, and later ones win.
    #[arg(long = "config", value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct Explain {
    /// Whose failure it is: a built-in profile, or one of the configuration.
    #[arg(long, value_name = "NAME")]
    provider: String,
    /// How it arrived; guessed when not given.
    #[arg(long, value_name = "TRANSPORT")]
    transport: Option<Transport>,
    /// What was asked for: a path, or a method and a path.
    #[arg(long, value_name = "P")]
    path: Option<String>,
    #[command(flatten)]
    config: Files,
    /// The recorded answer or message; `-` for standard input.
    file: PathBuf,
}

#[derive(Debug, Args)]
struct Codes {
    /// How they are written.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Show how the codes of this provider map.
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    #[command(flatten)]
    config: Files,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Table,
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Transport {
    Http,
    Sse,
    Ndjson,
    Websocket,
    Close,
}

impl From<Transport> for explain::Transport {
    fn from(transport: Transport) -> explain::Transport {
        match transport {
            Transport::Http => explain::Transport::Http,
            Transport::Sse => explain::Transport::Sse,
            Transport::Ndjson => explain::Transport::Ndjson,
            Transport::Websocket => explain::Transport::Websocket,
            Transport::Close => explain::Transport::Close,
        }
    }
}

/// Does what the command line says.
#[must_use]
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(files) => serve(files),
        Command::Check(Files { files }) => {
            let (report, valid) = config::check_report(&files, config::environment());
            print(&report);
            if valid { ExitCode::SUCCESS } else { ExitCode::from(PROBLEM) }
        }
        Command::Explain(request) => finish(explained(&request)),
        Command::Codes(Codes { format, provider, config }) => finish(match provider {
            None => Ok(codes::all(matches!(format, Format::Json))),
            Some(name) => {
                profile(&name, &config.files).map(|profile| codes::of(&profile, matches!(format, Format::Json)))
            }
        }),
        Command::Schema => finish(Ok(config::schema_text())),
    }
}

fn serve(Files { files }: Files) -> ExitCode {
    if files.is_empty() {
        return complain(NO_CONFIGURATION, USAGE);
    }
    let load: Load = Box::new(move || config::load(&files, config::environment()).map_err(|found| list(&found)));
    let loaded = match load() {
        Ok(loaded) => loaded,
        Err(problems) => return complain(&problems, PROBLEM),
    };
    for warning in &loaded.warnings {
        let _ = writeln!(io::stderr(), "{}", warning.warning());
    }
    match app::run(loaded, load) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("error: {error}\n"), PROBLEM),
    }
}

fn explained(request: &Explain) -> Result<String, String> {
    let profile = profile(&request.provider, &request.config.files)?;
    let bytes = recording(&request.file).map_err(|error| format!("{}: {error}\n", request.file.display()))?;
    let transport = request.transport.map_or_else(|| explain::Transport::guess(&bytes), Into::into);
    // Without a method it is a GET: what is asked for by path are polls.
    let path = request.path.as_deref().map(|path| path.split_once(' ').unwrap_or(("GET", path)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("error: {error}\n"))?;
    let verdict = runtime.block_on(explain::verdict(&profile, transport, path, &bytes));
    let verdict = verdict.map_err(|problem| format!("{}: {problem}\n", request.file.display()))?;
    Ok(explain::report(&profile, &verdict))
}

fn recording(file: &PathBuf) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let source: Box<dyn Read> =
        if file.as_os_str() == "-" { Box::new(io::stdin()) } else { Box::new(std::fs::File::open(file)?) };
    let _ = source.take(RECORDING).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The profile of this name: of the configuration when there is one, else a built-in one.
fn profile(name: &str, files: &[PathBuf]) -> Result<Arc<Profile>, String> {
    let own = match files {
        [] => None,
        files => config::load(files, config::environment()).map_err(|found| list(&found)).map(Some)?,
    };
    let built_in = || config::built_in(name).and_then(Result::ok);
    own.as_ref().map_or_else(built_in, |loaded: &Loaded| loaded.profile(name)).ok_or_else(|| {
        let mut known: Vec<&str> = config::built_in_names().collect();
        known.extend(own.iter().flat_map(|loaded| loaded.profiles.keys().map(String::as_str)));
        known.sort_unstable();
        format!("error: there is no provider `{name}`; there are {}\n", known.join(", "))
    })
}

fn list(problems: &[Problem]) -> String {
    problems.iter().fold(String::new(), |mut text, problem| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{problem}");
        text
    })
}

fn finish(result: Result<String, String>) -> ExitCode {
    match result {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(problem) => complain(&problem, PROBLEM),
    }
}

/// Prints what was asked for; a reader that has seen enough, such as `head`, is no failure.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

fn complain(text: &str, code: u8) -> ExitCode {
    let _ = io::stderr().write_all(text.as_bytes());
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_as_promised() {
        Cli::command().debug_assert();
        for line in [
            "serve --config a --config b",
            "check --config a",
            "explain --provider corti --transport close --path /x -",
            "explain --provider corti file",
            "codes",
            "codes --format json --provider breeze",
            "schema",
        ] {
            let parsed = Cli::try_parse_from(["speechgate"].into_iter().chain(line.split(' ')));
            assert!(parsed.is_ok(), "{line}: {parsed:?}");
        }
        for line in ["", "serv", "serve --confg a", "explain file", "codes --format xml"] {
            let error = Cli::try_parse_from(["speechgate"].into_iter().chain(line.split_whitespace())).expect_err(line);
            assert_eq!(error.exit_code(), i32::from(USAGE), "{line}");
        }
    }

    #[test]
    fn unknown_providers_are_told_which_there_are() {
        let problem = profile("elevenlab", &[]).expect_err("there is none");
        assert!(problem.contains("`elevenlab`") && problem.contains("elevenlabs, "), "{problem}");
    }
}
