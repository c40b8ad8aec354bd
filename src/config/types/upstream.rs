//! Where a provider is, how it is spoken to, and how its health is checked.

use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::time::Duration;

/// `health`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked for, below the path of the upstream.
    pub path: String,
    /// How often, longer than zero.
    pub interval: Duration,
    /// How long an answer may take, at most the interval.
    pub timeout: Duration,
    /// After how many answers in a row that are good an upstream is used again, at least one.
    pub healthy: u32,
    /// After how many in a row that are not it is set aside, at least one.
    pub unhealthy: u32,
    /// The statuses of good answers, from one to another.
    pub status: (u16, u16),
    /// Whether the route's credentials go with it.
    pub credentials: bool,
}

/// One provider address.
#[derive(Clone, Debug, Eq)]
pub struct Upstream {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// `host` or `host:port` as it goes into Host and `:authority`.
    pub authority: http::uri::Authority,
    /// A path that stands before every forwarded one, without a trailing slash; usually empty.
    pub base_path: String,
    /// CA certificates that are trusted instead of the platform's.
    pub ca_file: Option<PathBuf>,
    /// What this gateway shows when the provider asks who it is.
    pub client_certificate: Option<ClientCertificate>,
    /// Which HTTP is spoken.
    pub protocol: Protocol,
}

impl Upstream {
    /// As it was configured, but for the spelling.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}{}", if self.tls { "https" } else { "http" }, self.authority, self.base_path)
    }
}

impl PartialEq for Upstream {
    /// By everything but the authority, which is made of TLS, host and port: every request asks, and an authority is compared letter by
    /// letter.
    fn eq(&self, other: &Upstream) -> bool {
        let Upstream { tls, host, port, authority: _, base_path, ca_file, client_certificate, protocol } = self;
        (tls, port, protocol) == (&other.tls, &other.port, &other.protocol)
            && (host, base_path) == (&other.host, &other.base_path)
            && (ca_file, client_certificate) == (&other.ca_file, &other.client_certificate)
    }
}

impl Hash for Upstream {
    /// By its place in the network alone, since every request looks for the connections to its upstream: few differ in the rest
    /// only, and an authority is hashed letter by letter.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.port.hash(state);
        self.host.hash(state);
    }
}

/// A client certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientCertificate {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub private_key: PathBuf,
}

/// Which HTTP is spoken to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// What ALPN agrees on; HTTP/1.1 without TLS.
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only; by prior knowledge without TLS.
    Http2,
}
