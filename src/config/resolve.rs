//! From what the file says to what the program uses; one function per table of the file.
//!
//! Nothing stops at the first problem: a value that cannot be used is noted, and its default goes on.

mod accounts;
mod cors;
mod credentials;
mod headers;
mod health;
mod limits;
mod prices;
mod route;
mod tenants;
mod warm;

pub(in crate::config) use accounts::value_of;

use super::defaults::{self, server, telemetry};
use super::fill::unreadable;
use super::path::Path;
use super::problem::Findings;
use super::profiles::Profiles;
use super::raw;
use super::types::{AccessField, Config, Listen, LogFormat, LogLevel, Otlp, Server, ServerTls, Telemetry};
use super::values::{self, Expected};
use std::io::Read;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// Resolves the whole configuration. It may only be used when nothing was found.
pub(super) fn config(raw: &raw::Raw, profiles: &Profiles, findings: &mut Findings) -> Config {
    let mut server = server(&raw.server, findings);
    server.authenticate = match raw.server.authenticate {
        Some(raw::Authenticate::Tenants) => true,
        Some(raw::Authenticate::Off) => false,
        // A folder that is empty for a moment opens the gateway to nobody.
        None => !raw.tenants.is_empty() || raw.server.tenants.is_some(),
    };
    tenants::only_trusted_peers(&server, findings);
    let accounts = accounts::accounts(&raw.accounts, findings);
    let meters = route::Meters { prices: &raw.prices, tenants: &raw.tenants };
    let shared = route::Shared { meters, accounts: &accounts, cors: server.cors.clone() };
    let config = Config {
        admin: admin(&raw.admin, findings),
        telemetry: telemetry(&raw.telemetry, findings),
        routes: route::routes(&raw.routes, &shared, profiles, findings),
        accounts: accounts.all,
        server,
        tenants: tenants::tenants(raw, findings),
        prices: prices::prices(&raw.prices, profiles, findings),
        limits: limits::limits(&raw.limits, findings),
    };
    if let Some(admin) = &config.admin {
        for listen in &config.server.listen {
            if clash(listen, admin) {
                let path = Path::of("admin").key("listen");
                findings.value(&path, "the same address as `server.listen`").expected("an address of its own");
            }
        }
    }
    warm::fit(&config.routes, config.server.max_connections, findings);
    if config.limits.backend.is_some() {
        let routes = raw.routes.iter().map(|route| &route.concurrency).enumerate().map(|one| ("routes", one));
        let accounts = raw.accounts.iter().map(|account| &account.concurrency).enumerate().map(|one| ("accounts", one));
        for (table, (index, concurrency)) in routes.chain(accounts) {
            let path = Path::of(table).index(index).key("concurrency");
            concurrency.iter().for_each(|raw| limits::waits_for_the_fleet(raw, &path, findings));
        }
    }
    config
}

fn server(raw: &raw::Server, findings: &mut Findings) -> Server {
    let mut reader = Reader { path: Path::of("server"), findings };
    Server {
        listen: listens(raw.listen.as_ref(), &mut reader),
        workers: raw.workers.map_or_else(processors, |workers| workers as usize),
        max_connections: raw.max_connections.unwrap_or(server::MAX_CONNECTIONS) as usize,
        drain_timeout: reader.duration("drain_timeout", raw.drain_timeout.as_ref(), server::DRAIN_TIMEOUT),
        drain_delay: reader.duration("drain_delay", raw.drain_delay.as_ref(), server::DRAIN_DELAY),
        header_timeout: reader.deadline("header_timeout", raw.header_timeout.as_ref(), server::HEADER_TIMEOUT),
        body_timeout: reader.deadline("body_timeout", raw.body_timeout.as_ref(), server::BODY_TIMEOUT),
        keep_alive_timeout: reader.deadline(
            "keep_alive_timeout",
            raw.keep_alive_timeout.as_ref(),
            server::KEEP_ALIVE_TIMEOUT,
        ),
        write_timeout: reader.deadline("write_timeout", raw.write_timeout.as_ref(), server::WRITE_TIMEOUT),
        max_target_bytes: reader.bytes(
            "max_target_bytes",
            raw.max_target_bytes.as_ref(),
            server::MAX_TARGET_BYTES,
            TARGET_BYTES,
        ),
        max_header_bytes: reader.bytes(
            "max_header_bytes",
            raw.max_header_bytes.as_ref(),
            server::MAX_HEADER_BYTES,
            HEADER_BYTES,
        ),
        max_headers: raw.max_headers.unwrap_or(server::MAX_HEADERS) as usize,
        http2_max_streams: raw.http2.max_streams.unwrap_or(server::HTTP2_MAX_STREAMS),
        cors: raw.cors.as_ref().and_then(|raw| cors::cors(raw, reader.path.key("cors"), reader.findings)),
        authenticate: false,
        tenant_header: raw.tenant.as_ref().and_then(|raw| tenants::header(raw, reader.findings)),
        trust_forwarded: raw.trust_forwarded.unwrap_or(server::TRUST_FORWARDED),
        public_url: reader.read("public_url", raw.public_url.as_ref().map(|url| url.0.as_str()), values::url),
        error_docs_url: reader.read(
            "error_docs_url",
            raw.error_docs_url.as_ref().map(|url| url.0.as_str()),
            values::docs_base,
        ),
        tls: raw.tls.as_ref().and_then(|raw| server_tls(raw, reader.findings)),
    }
}

const KIB: u64 = 1024;

/// The `http` crate refuses a longer target.
const TARGET_BYTES: std::ops::RangeInclusive<u64> = 64..=65_534;

/// Below 8 KiB hyper refuses to start.
const HEADER_BYTES: std::ops::RangeInclusive<u64> = 8 * KIB..=16 * KIB * KIB;

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

fn server_tls(raw: &raw::ServerTls, findings: &mut Findings) -> Option<ServerTls> {
    let mut reader = Reader { path: Path::of("server").key("tls"), findings };
    let certificate = reader.pem("certificate", raw.certificate.as_ref(), "CERTIFICATE");
    let private_key = reader.pem("private_key", raw.private_key.as_ref(), "PRIVATE KEY");
    let client_ca = reader.pem("client_ca", raw.client_ca.as_ref(), "CERTIFICATE");
    Some(ServerTls { certificate: certificate?, private_key: private_key?, client_ca })
}

fn admin(raw: &raw::Admin, findings: &mut Findings) -> Option<Listen> {
    let mut reader = Reader { path: Path::of("admin"), findings };
    let listen = reader.listen(raw.listen.as_ref(), defaults::admin::LISTEN);
    raw.enabled.unwrap_or(defaults::admin::ENABLED).then_some(listen)
}

fn telemetry(raw: &raw::Telemetry, findings: &mut Findings) -> Telemetry {
    Telemetry {
        log_format: match raw.log.format.unwrap_or_default() {
            raw::LogFormat::Json => LogFormat::Json,
            raw::LogFormat::Text => LogFormat::Text,
        },
        log_level: match raw.log.level.unwrap_or_default() {
            raw::LogLevel::Error => LogLevel::Error,
            raw::LogLevel::Warn => LogLevel::Warn,
            raw::LogLevel::Info => LogLevel::Info,
            raw::LogLevel::Debug => LogLevel::Debug,
            raw::LogLevel::Trace => LogLevel::Trace,
        },
        access_log: raw.log.access.unwrap_or(telemetry::ACCESS),
        access_successes: share(
            raw.log.access_successes.unwrap_or(telemetry::ACCESS_SUCCESSES),
            Path::of("telemetry").key("log"),
            "access_successes",
            findings,
        ),
        access_fields: access_fields(raw.log.access_fields.as_deref(), findings),
        otlp: raw.otlp.as_ref().and_then(|raw| otlp(raw, findings)),
    }
}

/// `access_fields`, each once.
fn access_fields(raw: Option<&[String]>, findings: &mut Findings) -> Vec<AccessField> {
    let default = telemetry::ACCESS_FIELDS.map(str::to_owned);
    let texts = raw.unwrap_or(&default);
    let path = Path::of("telemetry").key("log").key("access_fields");
    let mut found = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        match values::access_field(text) {
            Err(expected) => {
                let names = ["upstream", "user_agent", "close_code", "header:", "response_header:"];
                findings.not(&path.index(index), text, expected).nearest(text, names);
            }
            Ok(field) if found.contains(&field) => {}
            Ok(field) => found.push(field),
        }
    }
    found
}

fn otlp(raw: &raw::Otlp, findings: &mut Findings) -> Option<Otlp> {
    let mut reader = Reader { path: Path::of("telemetry").key("otlp"), findings };
    let endpoint = reader.read("endpoint", raw.endpoint.as_ref().map(|url| url.0.as_str()), values::upstream);
    let sample_ratio = share(
        raw.sample_ratio.unwrap_or(telemetry::OTLP_SAMPLE_RATIO),
        reader.path.clone(),
        "sample_ratio",
        reader.findings,
    );
    Some(Otlp {
        endpoint: endpoint?,
        traces: raw.traces.unwrap_or(telemetry::OTLP_TRACES),
        metrics: raw.metrics.unwrap_or(telemetry::OTLP_METRICS),
        sample_ratio,
    })
}

/// A share of all.
fn share(share: f64, path: Path, key: &str, findings: &mut Findings) -> f64 {
    if !(0.0..=1.0).contains(&share) {
        Reader { path, findings }.refuse(key, &share.to_string(), "a number from 0 to 1".to_owned());
    }
    share
}

/// `listen`: one address, or several that differ.
fn listens(raw: Option<&raw::ListenList>, reader: &mut Reader<'_>) -> Vec<Listen> {
    let texts = match raw {
        None => return vec![reader.listen(None, server::LISTEN)],
        Some(raw::ListenList::One(text)) => return vec![reader.listen(Some(text), server::LISTEN)],
        Some(raw::ListenList::Many(texts)) => texts,
    };
    let path = reader.path.key("listen");
    if !(1..=MOST_LISTENERS).contains(&texts.len()) {
        let what = format!("a list of {} cannot be used", texts.len());
        reader.findings.value(&path, what).expected(format!("1 to {MOST_LISTENERS} addresses"));
    }
    let mut found: Vec<Listen> = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        match values::listen(&text.0) {
            Err(expected) => drop(reader.findings.not(&path.index(index), &text.0, expected)),
            Ok(listen) => {
                if let Some(same) = found.iter().position(|other| clash(other, &listen)) {
                    let what = format!("the same address as `listen[{same}]`");
                    reader.findings.value(&path.index(index), what).expected("an address of its own");
                }
                found.push(listen);
            }
        }
    }
    found
}

/// Most addresses of the proxied listener.
const MOST_LISTENERS: usize = 16;

/// Two listeners cannot share an address, nor one have a port on which the other has every address.
fn clash(one: &Listen, other: &Listen) -> bool {
    match (one, other) {
        (Listen::Unix(one), Listen::Unix(other)) => one == other,
        (Listen::Tcp(one), Listen::Tcp(other)) => {
            let every = one.ip().is_unspecified() || other.ip().is_unspecified();
            one.port() != 0 && one.port() == other.port() && (every || one.ip() == other.ip())
        }
        (Listen::Unix(_), Listen::Tcp(_)) | (Listen::Tcp(_), Listen::Unix(_)) => false,
    }
}

/// Reads the values of one table.
struct Reader<'f> {
    path: Path,
    findings: &'f mut Findings,
}

impl Reader<'_> {
    /// Reads a value if it is there; one that cannot be used is noted.
    fn read<T>(&mut self, key: &str, text: Option<&str>, read: impl FnOnce(&str) -> Result<T, Expected>) -> Option<T> {
        let text = text?;
        match read(text) {
            Ok(value) => Some(value),
            Err(expected) => {
                self.refuse(key, text, expected);
                None
            }
        }
    }

    fn refuse(&mut self, key: &str, text: &str, expected: Expected) {
        self.findings.not(&self.path.key(key), text, expected);
    }

    fn listen(&mut self, text: Option<&raw::ListenText>, default: SocketAddr) -> Listen {
        let text = text.map(|text| text.0.as_str());
        self.read("listen", text, values::listen).unwrap_or(Listen::Tcp(default))
    }

    /// A duration that may be zero.
    fn duration(&mut self, key: &str, text: Option<&raw::DurationText>, default: Duration) -> Duration {
        self.read(key, text.map(|text| text.0.as_str()), values::duration).unwrap_or(default)
    }

    /// A duration that may not.
    fn deadline(&mut self, key: &str, text: Option<&raw::DurationText>, default: Duration) -> Duration {
        self.read(key, text.map(|text| text.0.as_str()), values::positive_duration).unwrap_or(default)
    }

    /// A size within bounds.
    fn size(&mut self, key: &str, raw: Option<&raw::Size>, default: u64, range: std::ops::RangeInclusive<u64>) -> u64 {
        let text = match raw {
            Some(raw::Size::Bytes(bytes)) => bytes.to_string(),
            Some(raw::Size::Text(text)) => text.clone(),
            None => return default,
        };
        let within = |text: &str| match values::size(text)? {
            size if range.contains(&size) => Ok(size),
            _ if *range.end() == u64::MAX => Err("a size of at least 1 byte".to_owned()),
            _ => Err(format!("a size from {} to {} bytes", range.start(), range.end())),
        };
        self.read(key, Some(&text), within).unwrap_or(default)
    }

    /// A size that fits into memory.
    fn bytes(
        &mut self,
        key: &str,
        raw: Option<&raw::Size>,
        default: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> usize {
        usize::try_from(self.size(key, raw, default, range)).unwrap_or(usize::MAX)
    }

    /// A PEM file that can be read and holds at least one block whose label ends so.
    fn pem(&mut self, key: &str, path: Option<&raw::FileText>, label: &str) -> Option<PathBuf> {
        let path = &path?.0;
        let here = self.path.key(key);
        let shown = self.findings.quote(&here, path);
        match pem_has(path, label) {
            Ok(true) => Some(PathBuf::from(path)),
            Ok(false) => {
                let what = format!("the file {shown} holds nothing of the kind");
                self.findings.value(&here, what).expected(format!("a PEM file with a block of `{label}`"));
                None
            }
            Err(error) => {
                self.findings.value(&here, format!("the file {shown} {}", unreadable(error.kind())));
                None
            }
        }
    }
}

/// No certificate bundle is larger.
const MAX_PEM: u64 = 16 * 1024 * 1024;

fn pem_has(path: &str, label: &str) -> std::io::Result<bool> {
    let mut text = Vec::new();
    let _ = std::fs::File::open(path)?.take(MAX_PEM).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let ending = format!("{label}-----");
    Ok(text.lines().any(|line| line.starts_with("-----BEGIN ") && line.trim_end().ends_with(&ending)))
}
