//! The listeners.

use super::Cors;
use http::{HeaderName, Uri};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `"127.0.0.1:8080"`
    Tcp(SocketAddr),
    /// `"unix:/run/speechgate.sock"`
    Unix(PathBuf),
}

/// `[server]`
#[derive(Clone, Debug)]
pub struct Server {
    /// Where clients connect: at least one address.
    pub listen: Vec<Listen>,
    /// TLS towards clients.
    pub tls: Option<ServerTls>,
    /// Worker threads, at least one.
    pub workers: usize,
    /// Connections of clients at one time.
    pub max_connections: usize,
    /// How long running streams may go on after SIGTERM.
    pub drain_timeout: Duration,
    /// How long after SIGTERM requests are still taken while readiness fails already.
    pub drain_delay: Duration,
    /// How long a client may take to send a header section.
    pub header_timeout: Duration,
    /// How long a client may pause inside a request body.
    pub body_timeout: Duration,
    /// How long an idle keep-alive connection is kept.
    pub keep_alive_timeout: Duration,
    /// How long a client may leave an answer unread before it is cut.
    pub write_timeout: Duration,
    /// Longest request target, in bytes; beyond it 414.
    pub max_target_bytes: usize,
    /// Largest header section, in bytes; beyond it 431.
    pub max_header_bytes: usize,
    /// Most header fields; beyond it 431.
    pub max_headers: usize,
    /// HTTP/2 streams at one time on one connection.
    pub http2_max_streams: u32,
    /// Which pages of browsers may call what no route takes; none when nobody but providers says so.
    pub cors: Option<Arc<Cors>>,
    /// Whether clients have to show the key of a tenant.
    pub authenticate: bool,
    /// The header in which peers, all of which are trusted, name the tenant.
    pub tenant_header: Option<HeaderName>,
    /// Whether `X-Forwarded-*` and `Forwarded` of clients are kept and appended to; else they are replaced.
    pub trust_forwarded: bool,
    /// This gateway's address as clients see it, for rewritten provider URLs; else taken from the request's Host.
    pub public_url: Option<Uri>,
    /// Where errors are documented: put before the code, it is the link of an error whose provider gave none.
    pub error_docs_url: Option<String>,
}

/// `[server.tls]`
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub private_key: PathBuf,
    /// With it, clients must present a certificate signed by one of these.
    pub client_ca: Option<PathBuf>,
}
