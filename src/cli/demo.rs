//! `speechgate demo`: simulated providers with a gateway in front, in one process; no key, no network, no file.

mod tour;

use crate::app;
use crate::config;
use crate::config::types::{Envelope, Listen};
use crate::simulator::{Options as SimulatorOptions, Provider, Simulator};
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use tour::CASES;

/// The port of the gateway, unless another is requested or this one is taken.
const LISTEN: u16 = 8080;
/// The port of the admin listener, unless another is requested or this one is taken.
const ADMIN: u16 = 9464;

/// The options of the command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    /// Where clients connect; none for port 8080, or a free one.
    pub(super) listen: Option<SocketAddr>,
    /// Where the admin listener is; none for port 9464, or a free one.
    pub(super) admin: Option<SocketAddr>,
    /// The form of errors on all routes.
    pub(super) envelope: Envelope,
    /// Whether to print one line of JSON with all addresses instead of a tour.
    pub(super) json: bool,
}

/// Runs until Ctrl-C or SIGTERM.
pub(super) fn run(options: Options) -> ExitCode {
    match demonstrate(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("speechgate demo: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn demonstrate(options: Options) -> Result<(), String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let simulators = runtime.block_on(start_simulators()).map_err(|error| format!("no simulators: {error}"))?;
    let (gateway, listen, admin) = start_gateway(options, &simulators)?;
    let addresses = Addresses {
        gateway: url(gateway.address()),
        admin: gateway.admin_address().map(url).unwrap_or_default(),
        simulators: simulators.iter().map(|simulator| (simulator.provider(), simulator.url())).collect(),
    };
    runtime
        .block_on(async {
            // Before anything is printed: a script may send a signal as soon as it has read the first line.
            let mut stop = Signals::new()?;
            let screen =
                if options.json { addresses.json() } else { addresses.screen(listen.instead, admin.instead).await };
            print(&screen)?;
            stop.wait().await;
            gateway.stop();
            // At most the drain timeout of the configuration below.
            tokio::task::spawn_blocking(move || gateway.join()).await.map_err(io::Error::other)?;
            for simulator in simulators {
                simulator.stop().await;
            }
            Ok(())
        })
        .map_err(|error: io::Error| error.to_string())
}

fn listed(problems: &[config::Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Starts the gateway on the requested ports, or on free ones when none are requested and the usual ones are taken.
fn start_gateway(options: Options, simulators: &[Simulator]) -> Result<(app::Handle, Port, Port), String> {
    let (mut listen, mut admin) = (Port::find(options.listen, LISTEN), Port::find(options.admin, ADMIN));
    loop {
        let text = configuration(listen.address, admin.address, options, simulators);
        let loaded = config::load_str(&[("demo", &text)], []).map_err(|problems| listed(&problems))?;
        match app::start(loaded, None) {
            Ok(gateway) => return Ok((gateway, listen, admin)),
            // Another process took the port in the meantime. Each listener falls back at most once.
            Err(app::StartError::Listen(_, taken, _)) if listen.falls_back(&taken) || admin.falls_back(&taken) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

async fn start_simulators() -> io::Result<Vec<Simulator>> {
    let mut simulators = Vec::new();
    for provider in Provider::ALL {
        simulators.push(Simulator::start(provider, SimulatorOptions::default()).await?);
    }
    Ok(simulators)
}

/// The gateway's configuration, as an operator would write it.
fn configuration(listen: SocketAddr, admin: SocketAddr, options: Options, simulators: &[Simulator]) -> String {
    let envelope = options.envelope.name();
    let mut text = format!(
        "[server]\nlisten = \"{listen}\"\ndrain_timeout = \"2s\"\n\n[admin]\nlisten = \"{admin}\"\n\n\
         [telemetry]\nlog = {{ format = \"text\", level = \"warn\", access = false }}\n"
    );
    for simulator in simulators {
        let (name, url) = (simulator.provider(), simulator.url());
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "\n[[routes]]\nname = \"{name}\"\nmatch = {{ path = \"/{name}\" }}\nprovider = \"{name}\"\n\
             upstream = \"{url}\"\nenvelope = \"{envelope}\"\n"
        );
    }
    text
}

/// Where to listen.
#[derive(Debug)]
struct Port {
    address: SocketAddr,
    /// Whether the command line asked for this address.
    requested: bool,
    /// The usual port, if it was taken.
    instead: Option<u16>,
}

impl Port {
    /// The requested address, else the usual port, else a free one.
    fn find(requested: Option<SocketAddr>, usual: u16) -> Port {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        match requested {
            Some(address) => Port { address, requested: true, instead: None },
            None => {
                let mut port = Port { address: local(usual), requested: false, instead: None };
                if TcpListener::bind(port.address).is_err() {
                    port.falls_back(&Listen::Tcp(port.address));
                }
                port
            }
        }
    }

    /// Falls back to a free port if this one is taken and was not requested.
    fn falls_back(&mut self, taken: &Listen) -> bool {
        let may = !self.requested && self.instead.is_none() && *taken == Listen::Tcp(self.address);
        if may {
            self.instead = Some(self.address.port());
            self.address.set_port(0);
        }
        may
    }
}

fn url(listen: &Listen) -> String {
    format!("http://{}", app::Address(listen))
}

/// The addresses of everything that was started.
struct Addresses {
    gateway: String,
    admin: String,
    simulators: Vec<(Provider, String)>,
}

impl Addresses {
    /// One line of JSON, for scripts.
    fn json(&self) -> String {
        let simulators: serde_json::Map<_, _> =
            self.simulators.iter().map(|(provider, url)| (provider.name().to_owned(), url.clone().into())).collect();
        format!("{}\n", serde_json::json!({ "gateway": self.gateway, "admin": self.admin, "simulators": simulators }))
    }

    /// The tour: failures before and after, fetched just now, and the commands to try.
    async fn screen(&self, gateway_instead: Option<u16>, admin_instead: Option<u16>) -> String {
        let (bold, plain) = styles();
        let note = |instead: Option<u16>| instead.map(|port| format!("   (port {port} is taken)")).unwrap_or_default();
        let mut lines = vec![
            String::new(),
            format!(
                "{bold}speechgate demo{plain}: {} simulated speech providers and a gateway, all on this machine",
                self.simulators.len()
            ),
            String::new(),
            format!("  gateway     {}{}", self.gateway, note(gateway_instead)),
            format!("  admin       {}/metrics{}", self.admin, note(admin_instead)),
        ];
        for (i, (provider, url)) in self.simulators.iter().enumerate() {
            lines.push(format!(
                "  {}{:<11}{url}",
                if i == 0 { "simulators  " } else { "            " },
                provider.name()
            ));
        }
        lines.push(String::new());
        lines.push(format!("{bold}One failure of each, direct and through the gateway, requested just now. Paste a line to see the whole response.{plain}"));
        for (i, case) in CASES.iter().enumerate() {
            let direct =
                self.simulators.iter().find(|(provider, _)| *provider == case.provider).map_or("", |(_, url)| url);
            let answers = tour::compare(direct, &self.gateway, case).await;
            lines.push(String::new());
            lines.push(format!("{bold}{}. {}: {}{plain}", i + 1, case.provider, case.what));
            lines.extend(answers.iter().map(|line| format!("   {line}")));
            lines.push(format!("   {}", case.curl(&self.gateway)));
        }
        lines.extend([
            String::new(),
            format!("{bold}And one request that succeeds. Play hello.wav with any player.{plain}"),
            format!("   curl -s {}/elevenlabs/v1/text-to-speech/george -H xi-api-key:demo \\", self.gateway),
            "        -d '{\"text\":\"Good morning! All providers are well.\"}' -o hello.wav".to_owned(),
            String::new(),
            format!("{bold}More{plain}"),
            "   fault-<code> in place of a voice or an id, in a text or in a header, causes that failure;".to_owned(),
            "   fault-mid-<code> causes it in the middle of a stream; fault-net-reset and others are network failures;"
                .to_owned(),
            "   fault-silent-never, -late, -stall, -empty and -half-open: it is accepted, and its audio does not come so.".to_owned(),
            format!("   curl -s {}/__sim/faults                    the codes there are", self.simulators[0].1),
            format!("   curl -s {}/metrics | grep errors_total     what was counted", self.admin),
            String::new(),
            "Press Ctrl-C to stop.".to_owned(),
            String::new(),
        ]);
        lines.join("\n") + "\n"
    }
}

/// The escapes for bold and plain text, if the terminal supports them.
fn styles() -> (&'static str, &'static str) {
    let wanted = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if wanted { ("\x1b[1m", "\x1b[0m") } else { ("", "") }
}

/// Prints everything at once. A closed pipe is not an error.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Ctrl-C and SIGTERM.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::types::Envelopes;

    #[tokio::test]
    async fn the_configuration_is_valid() {
        let simulators = start_simulators().await.unwrap();
        for envelope in [Envelope::Auto, Envelope::Canonical, Envelope::Compatible, Envelope::Problem] {
            let options = Options { listen: None, admin: None, envelope, json: false };
            let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let text = configuration(local, local, options, &simulators);
            let loaded =
                config::load_str(&[("demo", &text)], []).unwrap_or_else(|problems| panic!("{}", listed(&problems)));
            assert!(loaded.warnings.is_empty(), "{}", listed(&loaded.warnings));
            let routes: Vec<_> =
                loaded.config.routes.iter().map(|route| (route.name.as_str(), route.envelope)).collect();
            let expected = Provider::ALL.map(|provider| (provider.name(), Envelopes::all(envelope)));
            assert_eq!(routes, expected, "{}", envelope.name());
        }
    }

    #[test]
    fn a_taken_port_is_left_alone() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let found = Port::find(None, port);
        assert_eq!((found.address.port(), found.instead), (0, Some(port)));
        let requested = SocketAddr::from((Ipv4Addr::LOCALHOST, 4711));
        assert_eq!(Port::find(Some(requested), port).address, requested);
    }
}
