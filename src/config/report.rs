//! What `speechgate check` and `speechgate schema` print.

use super::files::SourceFiles;
use super::types::{Envelopes, Listen, Route};
use super::{Config, Loaded, Missing, load_noting, schema};
use std::path::PathBuf;

/// Loads the configuration. Gives everything there is to say about it, ready to be printed, and whether it can be run.
pub fn check_report(
    files: &[PathBuf],
    environment: impl IntoIterator<Item = (String, String)>,
    missing: Missing,
) -> (String, bool) {
    let mut text = String::new();
    let valid = match load_noting(files, environment, missing, &mut SourceFiles::default()) {
        Ok(Loaded { config, warnings, .. }) => {
            for warning in &warnings {
                text.push_str(&format!("{}\n", warning.warning()));
            }
            let routes = count(config.routes.len(), "route");
            text.push_str(&match warnings.len() {
                0 => format!("valid: {routes}, no problem\n"),
                number => format!("valid: {routes}, no problem, {}\n", count(number, "warning")),
            });
            text.push_str(&summary(&config));
            true
        }
        Err(problems) => {
            for problem in &problems {
                text.push_str(&format!("{problem}\n"));
            }
            text.push_str(&format!("{} found\n", count(problems.len(), "problem")));
            false
        }
    };
    (text, valid)
}

/// What would run, so that somebody sees whether it is what was meant: a line for each listener and each route.
fn summary(config: &Config) -> String {
    let listener = |what: &str, listen: &Listen| match listen {
        Listen::Tcp(address) => format!("  {what}  {address}\n"),
        Listen::Unix(path) => format!("  {what}  unix:{}\n", path.display()),
    };
    let mut text: String = config.server.listen.iter().map(|listen| listener("clients", listen)).collect();
    text.extend(config.admin.as_ref().map(|admin| listener("admin  ", admin)));
    text.extend(config.routes.iter().map(|route| line(route)));
    if config.server.authenticate {
        let names: Vec<&str> = config.tenants.iter().map(|tenant| tenant.name.as_str()).collect();
        text.push_str(&format!(
            "  clients show the key of one of {}: {}\n",
            count(names.len(), "tenant"),
            names.join(", ")
        ));
    }
    text
}

/// `route tts: /elevenlabs → https://api.elevenlabs.io, a profile and a form of errors, whose key`.
fn line(route: &Route) -> String {
    let upstreams = route.upstreams.iter().map(|upstream| {
        let scheme = if upstream.tls { "https" } else { "http" };
        format!("{scheme}://{}{}", upstream.authority, upstream.base_path)
    });
    let upstreams = upstreams.collect::<Vec<_>>().join(", ");
    let (host, path) =
        (route.host.as_deref().unwrap_or_default(), if route.path.is_empty() { "/" } else { &route.path });
    let key = match &route.account {
        Some(account) => format!("the key of the account {}", account.name),
        None if route.credentials.is_empty() => "the client's key".to_owned(),
        None => "its own key".to_owned(),
    };
    let form = forms(&route.envelope);
    format!("  route {}: {host}{path} to {upstreams}; {} with {form} errors, {key}\n", route.name, route.provider)
}

/// `canonical`, or by transport where they differ: `canonical (websocket: compatible)`.
fn forms(envelope: &Envelopes) -> String {
    let Envelopes { http, sse, ndjson, websocket, grpc, .. } = *envelope;
    let others = [("sse", sse), ("ndjson", ndjson), ("websocket", websocket), ("grpc", grpc)];
    let others: Vec<_> = others.iter().filter(|(_, form)| *form != http).collect();
    let named = others.iter().map(|(transport, form)| format!("{transport}: {}", form.name()));
    match named.collect::<Vec<_>>().join(", ") {
        others if others.is_empty() => http.name().to_owned(),
        others => format!("{} ({others})", http.name()),
    }
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// The JSON Schema of the configuration file.
#[must_use]
pub fn schema_text() -> String {
    let mut text = serde_json::to_string_pretty(schema::json()).unwrap_or_default();
    text.push('\n');
    text
}
