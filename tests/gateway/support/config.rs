//! Configurations for tests, written as an operator would write them.

use std::fmt::Write;
use std::net::SocketAddr;

/// A configuration in the making.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    server: String,
    telemetry: String,
    routes: String,
    provider: Option<SocketAddr>,
}

impl Settings {
    /// No routes, every port free, two workers.
    pub(crate) fn new() -> Settings {
        Settings { telemetry: "log = { format = \"json\", level = \"info\" }\n".into(), ..Settings::default() }
    }

    /// One provider behind a route for each envelope: `/p` canonical, `/c` compatible, `/q` problem.
    pub(crate) fn standard(provider: SocketAddr) -> Settings {
        let settings = Settings { provider: Some(provider), ..Settings::new() };
        settings
            .route("plain", "/p", provider, "")
            .route("compatible", "/c", provider, "envelope = \"compatible\"")
            .route("problem", "/q", provider, "envelope = \"problem\"")
    }

    /// A line for `[server]`.
    pub(crate) fn server(mut self, line: &str) -> Settings {
        self.server.push_str(line);
        self.server.push('\n');
        self
    }

    /// The lines of `[telemetry]`.
    pub(crate) fn telemetry(mut self, lines: &str) -> Settings {
        self.telemetry = format!("{lines}\n");
        self
    }

    /// A route to a plain HTTP provider in ElevenLabs' dialect, with further lines.
    pub(crate) fn route(self, name: &str, path: &str, provider: SocketAddr, lines: &str) -> Settings {
        self.route_to(name, path, "elevenlabs", &format!("http://{provider}"), lines)
    }

    /// A further route to the standard provider.
    pub(crate) fn beside(self, name: &str, path: &str, lines: &str) -> Settings {
        let provider = self.provider.expect("the standard settings have a provider");
        self.route(name, path, provider, lines)
    }

    /// A route.
    pub(crate) fn route_to(mut self, name: &str, path: &str, profile: &str, url: &str, lines: &str) -> Settings {
        write!(
            self.routes,
            "[[routes]]\nname = \"{name}\"\nmatch = {{ path = \"{path}\" }}\nprovider = \"{profile}\"\nupstream = \"{url}\"\n{lines}\n\n"
        )
        .expect("writing to a string cannot fail");
        self
    }

    /// A route to several plain HTTP providers in ElevenLabs' dialect.
    pub(crate) fn over(mut self, name: &str, path: &str, urls: &[String], lines: &str) -> Settings {
        write!(
            self.routes,
            "[[routes]]\nname = \"{name}\"\nmatch = {{ path = \"{path}\" }}\nprovider = \"elevenlabs\"\nupstreams = {urls:?}\n{lines}\n\n"
        )
        .expect("writing to a string cannot fail");
        self
    }

    /// The file.
    pub(crate) fn text(&self) -> String {
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nworkers = 2\n{}\n[admin]\nlisten = \"127.0.0.1:0\"\n\n[telemetry]\n{}\n{}",
            self.server, self.telemetry, self.routes
        )
    }
}
