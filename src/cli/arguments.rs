//! The command line and its help.

use crate::config;
#[cfg(feature = "demo")]
use crate::config::types::Envelope;
use crate::config::types::Listen;
use clap::{Args, Parser, Subcommand, ValueEnum};
#[cfg(feature = "demo")]
use std::net::SocketAddr;
use std::path::PathBuf;

/// A normalizing reverse-proxy gateway for speech providers: successes pass untouched, every failure gets one envelope.
#[derive(Debug, Parser)]
#[command(name = "speechgate", version, after_help = after_help(), max_term_width = 100)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

/// The first lines differ where the program was built without the demo.
fn after_help() -> String {
    let demo = if cfg!(feature = "demo") {
        "  speechgate demo                            see it work; needs no key, network or file\n"
    } else {
        ""
    };
    format!(
        "\
Begin here:
{demo}  speechgate check --config gateway.toml     report every problem of a configuration
  speechgate serve --config gateway.toml     run the gateway

`speechgate COMMAND --help` has examples. Exit codes: 0 success, 1 a problem was found, 2 the command line was wrong.
The manual, and a configuration that shows every key: {}",
        env!("CARGO_PKG_REPOSITORY")
    )
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the gateway.
    #[command(after_help = SERVE_HELP)]
    Serve(Files),
    #[cfg(feature = "demo")]
    /// Run a gateway with simulators of eleven providers; prints curl commands to try.
    #[command(after_help = DEMO_HELP)]
    Demo(Demo),
    /// Report every problem of a configuration; exit code 1 if there is any.
    #[command(after_help = CHECK_HELP)]
    Check(Check),
    /// Explain what a recorded failure means, which rule decided, why others did not, and how it is counted.
    #[command(after_help = EXPLAIN_HELP)]
    Explain(Explain),
    /// List the types and codes, or how one provider's codes map to them.
    #[command(after_help = CODES_HELP)]
    Codes(Codes),
    /// Print the JSON Schema of the configuration file, for editors.
    #[command(after_help = SCHEMA_HELP)]
    Schema,
    /// Make gateway keys for tenants.
    #[command(after_help = KEY_HELP)]
    Key(Key),
    /// Check whether a running gateway accepts requests; exit code 1 if it does not.
    #[command(after_help = HEALTH_HELP)]
    Health(Health),
    /// Print shell completions for this command line.
    #[command(after_help = COMPLETIONS_HELP)]
    Completions(Completions),
}

const SERVE_HELP: &str = "\
Examples:
  speechgate serve --config gateway.toml
  speechgate serve --config gateway.toml --config production.toml      later files take precedence
  SPEECHGATE__SERVER__LISTEN=0.0.0.0:8080 speechgate serve --config gateway.toml

The first line on standard error has the addresses of the listeners and of the status page. The access log goes to standard output.
SIGTERM and SIGINT drain the gateway, a second one stops it at once. SIGHUP reloads the configuration, as does a change of its files.";

#[cfg(feature = "demo")]
const DEMO_HELP: &str = "\
Examples:
  speechgate demo
  speechgate demo --envelope compatible      errors in the shape that each provider's own SDK expects
  speechgate demo --json | head -1           the addresses, for scripts";

const CHECK_HELP: &str = "\
Examples:
  speechgate check --config gateway.toml
  speechgate check --config gateway.toml && kill -HUP \"$(pidof speechgate)\"
  speechgate check --no-secrets --config gateway.toml                  without the production keys

Files and environment variables that the configuration refers to are read as well; no connection is made. With --no-secrets, missing
ones are only warnings.";

const EXPLAIN_HELP: &str = "\
Examples:
  curl -si https://api.elevenlabs.io/v1/voices/none > answer.http
  speechgate explain --provider elevenlabs answer.http
  echo '1008 quota exceeded' | speechgate explain --provider cartesia --transport close -
  speechgate explain --provider acme --config gateway.toml --format json recordings/

FILE contains what the provider sent: a whole HTTP response (status line, headers, body), the events of a stream, one WebSocket
message, or a close code and reason as above.";

const CODES_HELP: &str = "\
Examples:
  speechgate codes
  speechgate codes --provider corti
  speechgate codes --format json";

const SCHEMA_HELP: &str = "\
Example, for editors that read `#:schema speechgate.schema.json` in the first line of a TOML file:
  speechgate schema > speechgate.schema.json";

const KEY_HELP: &str = "\
Examples:
  speechgate key new --tenant support-bot
  speechgate key new --tenant support-bot | head -1      the key alone, for a secret store

The key is shown once: the configuration has its hash. It takes the place of the provider's key in the client.";

const HEALTH_HELP: &str = "\
Examples:
  speechgate health
  speechgate health --admin unix:/run/speechgate/admin.sock

This sends GET /readyz, for containers without curl. Kubernetes probes need no command.";

const COMPLETIONS_HELP: &str = "\
Examples:
  speechgate completions bash > ~/.local/share/bash-completion/completions/speechgate
  speechgate completions zsh > \"${fpath[1]}/_speechgate\"
  speechgate completions fish > ~/.config/fish/completions/speechgate.fish";

/// Configuration files.
#[derive(Debug, Args)]
pub(super) struct Files {
    /// A configuration file; repeatable, later ones take precedence.
    #[arg(long = "config", value_name = "FILE")]
    pub(super) config: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    pub(super) files: Files,
    /// Report missing environment variables and files as warnings instead of problems.
    #[arg(long)]
    pub(super) no_secrets: bool,
}

#[cfg(feature = "demo")]
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Where clients connect [default: port 8080, or a free one if it is taken]
    #[arg(long, value_name = "ADDR")]
    pub(super) listen: Option<SocketAddr>,
    /// Where metrics and health are served [default: port 9464, or a free one if it is taken]
    #[arg(long, value_name = "ADDR")]
    pub(super) admin: Option<SocketAddr>,
    /// The form of errors on all routes.
    #[arg(long, value_enum, default_value = "auto")]
    pub(super) envelope: EnvelopeName,
    /// Print one line of JSON with all addresses instead of the tour.
    #[arg(long)]
    pub(super) json: bool,
}

#[cfg(feature = "demo")]
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum EnvelopeName {
    Auto,
    Canonical,
    Compatible,
    Problem,
}

#[cfg(feature = "demo")]
impl From<EnvelopeName> for Envelope {
    fn from(name: EnvelopeName) -> Envelope {
        match name {
            EnvelopeName::Auto => Envelope::Auto,
            EnvelopeName::Canonical => Envelope::Canonical,
            EnvelopeName::Compatible => Envelope::Compatible,
            EnvelopeName::Problem => Envelope::Problem,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The provider that sent it: a built-in profile, or one from --config.
    #[arg(long, value_name = "NAME")]
    pub(super) provider: String,
    /// How it arrived; recognized from the bytes if left out.
    #[arg(long, value_enum)]
    pub(super) transport: Option<TransportName>,
    /// The path of the request that was answered, as the provider sees it: `/v1/jobs/7` or `GET /v1/jobs/7`.
    #[arg(long, value_name = "P")]
    pub(super) path: Option<String>,
    /// A configuration with your own profiles.
    #[arg(long = "config", value_name = "FILE")]
    pub(super) config: Vec<PathBuf>,
    /// How to print what they mean: for people, or all in one JSON document.
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: ExplainFormat,
    /// Recordings, and folders of them; `-` for standard input.
    #[arg(value_name = "FILE|-", required = true)]
    pub(super) files: Vec<PathBuf>,
}

/// How what recordings mean is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ExplainFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum TransportName {
    Http,
    Sse,
    Ndjson,
    Websocket,
    Close,
    Grpc,
}

#[derive(Debug, Args)]
pub(super) struct Codes {
    /// The output format.
    #[arg(long, value_enum, default_value = "table")]
    pub(super) format: Format,
    /// Show how this provider's codes map.
    #[arg(long, value_name = "NAME")]
    pub(super) provider: Option<String>,
    /// A configuration with your own profiles.
    #[arg(long = "config", value_name = "FILE")]
    pub(super) config: Vec<PathBuf>,
}

/// How a table is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
    Markdown,
}

#[derive(Debug, Args)]
pub(super) struct Key {
    #[command(subcommand)]
    pub(super) command: KeyCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Print a new key once, and the lines for the configuration.
    New(NewKey),
}

#[derive(Debug, Args)]
pub(super) struct NewKey {
    /// The name of the tenant that the key is for.
    #[arg(long, value_name = "NAME", value_parser = super::key::name)]
    pub(super) tenant: String,
}

#[derive(Debug, Args)]
pub(super) struct Health {
    /// The admin listener: an IP address and a port, or `unix:` and a path.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9464", value_parser = config::listen)]
    pub(super) admin: Listen,
}

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// Which shell.
    #[arg(value_enum)]
    pub(super) shell: Shell,
}

/// Supported shells.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}
