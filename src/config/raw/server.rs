//! The keys of the two listeners: `[server]` and `[admin]`.

use super::{Authenticate, Cors, DurationText, FileText, ListenText, Size, TenantNaming, UrlText};
use crate::config::defaults;
use schemars::JsonSchema;
use serde::Deserialize;

/// `[server]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Server {
    /// Address and port, or `unix:` and a path; or a list of several.
    #[schemars(extend("default" = defaults::server::LISTEN.to_string()))]
    pub(in crate::config) listen: Option<ListenList>,
    /// TLS towards clients. Without it plain HTTP is spoken.
    pub(in crate::config) tls: Option<ServerTls>,
    /// Worker threads. Default: one per processor.
    #[schemars(range(min = 1, max = 1024))]
    pub(in crate::config) workers: Option<u32>,
    /// Connections of clients at one time.
    #[schemars(range(min = 1, max = 10_000_000))]
    #[schemars(extend("default" = defaults::server::MAX_CONNECTIONS))]
    pub(in crate::config) max_connections: Option<u32>,
    /// How long running requests and streams may go on after SIGTERM.
    #[schemars(extend("default" = defaults::duration(defaults::server::DRAIN_TIMEOUT)))]
    pub(in crate::config) drain_timeout: Option<DurationText>,
    /// How long requests are still accepted after SIGTERM while `/readyz` already fails, so that load balancers stop sending
    /// first.
    #[schemars(extend("default" = defaults::duration(defaults::server::DRAIN_DELAY)))]
    pub(in crate::config) drain_delay: Option<DurationText>,
    /// How long a client may take to send a header section.
    #[schemars(extend("default" = defaults::duration(defaults::server::HEADER_TIMEOUT)))]
    pub(in crate::config) header_timeout: Option<DurationText>,
    /// How long a client may pause inside a request body.
    #[schemars(extend("default" = defaults::duration(defaults::server::BODY_TIMEOUT)))]
    pub(in crate::config) body_timeout: Option<DurationText>,
    /// How long an idle connection of a client is kept.
    #[schemars(extend("default" = defaults::duration(defaults::server::KEEP_ALIVE_TIMEOUT)))]
    pub(in crate::config) keep_alive_timeout: Option<DurationText>,
    /// How long a client may leave a response unread before the connection is cut.
    #[schemars(extend("default" = defaults::duration(defaults::server::WRITE_TIMEOUT)))]
    pub(in crate::config) write_timeout: Option<DurationText>,
    /// Longest request target; beyond it 414.
    #[schemars(extend("default" = defaults::size(defaults::server::MAX_TARGET_BYTES)))]
    pub(in crate::config) max_target_bytes: Option<Size>,
    /// Largest header section; beyond it 431.
    #[schemars(extend("default" = defaults::size(defaults::server::MAX_HEADER_BYTES)))]
    pub(in crate::config) max_header_bytes: Option<Size>,
    /// Most header fields; beyond it 431.
    #[schemars(range(min = 10, max = 10_000))]
    #[schemars(extend("default" = defaults::server::MAX_HEADERS))]
    pub(in crate::config) max_headers: Option<u32>,
    /// HTTP/2 towards clients.
    #[serde(default)]
    pub(in crate::config) http2: Http2,
    /// Which pages of browsers may call. Default: what each provider says of its own.
    pub(in crate::config) cors: Option<Cors>,
    /// Whether clients have to show the gateway key of a tenant. Default: `tenants` where there are any, or `tenants` names a file.
    pub(in crate::config) authenticate: Option<Authenticate>,
    /// A file with further `[[tenants]]`, or a folder of such files whose names end with `.toml`. Changes are noticed.
    pub(in crate::config) tenants: Option<FileText>,
    /// A header in which whoever connects names the tenant, such as a proxy of your own that knows its clients. Only where nobody else
    /// reaches the gateway: every listener is a loopback address or a Unix socket, or `client_ca` asks for certificates. It goes to no
    /// provider. Default: none.
    pub(in crate::config) tenant: Option<TenantNaming>,
    /// Whether `X-Forwarded-*` and `Forwarded` of clients are kept and appended to, or replaced.
    #[schemars(extend("default" = defaults::server::TRUST_FORWARDED))]
    pub(in crate::config) trust_forwarded: Option<bool>,
    /// This gateway's address as clients see it, put into rewritten provider URLs. Default: the request's Host.
    pub(in crate::config) public_url: Option<UrlText>,
    /// Where errors are documented, such as a copy of `speechgate codes --format markdown`: the `doc_url` of an error whose
    /// provider gave no link is this and its code, behind a slash unless it ends with `/`, `#` or `=`. Default: no link.
    pub(in crate::config) error_docs_url: Option<UrlText>,
}

/// `[server.tls]`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ServerTls {
    /// Certificate chain, PEM.
    #[schemars(required)]
    pub(in crate::config) certificate: Option<FileText>,
    /// Private key, PEM.
    #[schemars(required)]
    pub(in crate::config) private_key: Option<FileText>,
    /// CA certificates, PEM: clients must then present a certificate that one of these signed.
    pub(in crate::config) client_ca: Option<FileText>,
}

/// `[server.http2]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Http2 {
    /// Streams at one time on one connection.
    #[schemars(range(min = 1, max = 10_000))]
    #[schemars(extend("default" = defaults::server::HTTP2_MAX_STREAMS))]
    pub(in crate::config) max_streams: Option<u32>,
}

/// `[admin]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Admin {
    /// Whether there is an admin listener.
    #[schemars(extend("default" = defaults::admin::ENABLED))]
    pub(in crate::config) enabled: Option<bool>,
    /// Address and port, or `unix:` and a path.
    #[schemars(extend("default" = defaults::admin::LISTEN.to_string()))]
    pub(in crate::config) listen: Option<ListenText>,
}

/// Where the proxied listener listens: at one address, or at several.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum ListenList {
    /// One.
    One(ListenText),
    /// Several.
    Many(Vec<ListenText>),
}
