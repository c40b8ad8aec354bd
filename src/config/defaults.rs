//! The default of every key that has one.
//!
//! This is the only place where a default stands: `resolve` uses these constants, the schema shows them (`raw` names them as its
//! `default`), and a test holds `config/gateway.toml`, which shows every key with its default, to the schema. The default of a
//! choice is the `#[default]` variant of its enum in `raw`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// `[server]`
pub(super) mod server {
    use crate::config::defaults::{KIB, local};
    use std::net::SocketAddr;
    use std::time::Duration;

    pub(crate) const LISTEN: SocketAddr = local(8080);
    pub(crate) const MAX_CONNECTIONS: u32 = 10_000;
    pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
    pub(crate) const DRAIN_DELAY: Duration = Duration::ZERO;
    pub(crate) const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
    pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(30);
    pub(crate) const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(75);
    pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
    pub(crate) const MAX_TARGET_BYTES: u64 = 8 * KIB;
    pub(crate) const MAX_HEADER_BYTES: u64 = 32 * KIB;
    pub(crate) const MAX_HEADERS: u32 = 100;
    pub(crate) const HTTP2_MAX_STREAMS: u32 = 100;
    pub(crate) const TRUST_FORWARDED: bool = false;
}

/// `[admin]`
pub(super) mod admin {
    use crate::config::defaults::local;
    use std::net::SocketAddr;

    pub(crate) const ENABLED: bool = true;
    pub(crate) const LISTEN: SocketAddr = local(9464);
}

/// `[telemetry]`
pub(super) mod telemetry {
    pub(crate) const ACCESS: bool = true;
    pub(crate) const ACCESS_SUCCESSES: f64 = 1.0;
    pub(crate) const ACCESS_FIELDS: [&str; 1] = ["upstream"];
    pub(crate) const OTLP_TRACES: bool = true;
    pub(crate) const OTLP_METRICS: bool = true;
    pub(crate) const OTLP_SAMPLE_RATIO: f64 = 1.0;
}

/// `[[routes]]`
pub(super) mod route {
    use crate::config::defaults::MIB;
    use std::time::Duration;

    pub(crate) const UPSTREAM_BODY: bool = true;
    pub(crate) const RATE_LIMIT_HEADERS: bool = false;
    pub(crate) const GENERATIONS: bool = true;
    pub(crate) const MAX_REQUEST_BODY: u64 = 50 * MIB;
    pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
    pub(crate) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
    pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
    pub(crate) const WEBSOCKET_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
    pub(crate) const WEBSOCKET_MAX_FRAME: u64 = 16 * MIB;
    pub(crate) const WEBSOCKET_MAX_MESSAGE: u64 = 16 * MIB;
    pub(crate) const WEBSOCKET_REDIAL: bool = false;
}

/// `warm`
pub(super) mod warm {
    pub(crate) const CONNECTIONS: u32 = 0;
    pub(crate) const MAX_IDLE: u32 = 16;
    pub(crate) const SOCKETS: u32 = 0;
}

/// `cors`
pub(super) mod cors {
    use std::time::Duration;

    pub(crate) const CREDENTIALS: bool = false;
    pub(crate) const MAX_AGE: Duration = Duration::from_secs(600);
}

/// `health`
pub(super) mod health {
    use std::time::Duration;

    pub(crate) const INTERVAL: Duration = Duration::from_secs(10);
    pub(crate) const TIMEOUT: Duration = Duration::from_secs(3);
    pub(crate) const HEALTHY: u32 = 2;
    pub(crate) const UNHEALTHY: u32 = 3;
    pub(crate) const STATUS: (u16, u16) = (200, 499);
    pub(crate) const CREDENTIALS: bool = false;
}

/// `rate_limits`, `concurrency`, `waits`, `retry`, `circuit_breaker` and `[limits]`
pub(super) mod limits {
    use crate::canon::{Code, Type};
    use std::time::Duration;

    pub(crate) const RATE_KEY: &str = "route";
    pub(crate) const RATE_CODE: Code = Code::RateLimited;
    pub(crate) const QUEUE: u32 = 64;
    pub(crate) const MAX_WAIT: Duration = Duration::from_secs(3);
    pub(crate) const LEARN: bool = false;
    pub(crate) const SETTLE: Duration = Duration::from_millis(100);
    pub(crate) const WAITS: bool = true;
    pub(crate) const MAX_HOLD: Duration = Duration::from_secs(60);
    pub(crate) const RETRY_ATTEMPTS: u32 = 2;
    pub(crate) const RETRY_ON: [Type; 3] = [Type::Unavailable, Type::Timeout, Type::Upstream];
    pub(crate) const RETRY_BUDGET: f64 = 0.2;
    pub(crate) const BREAKER_FAILURES: u32 = 5;
    pub(crate) const BREAKER_WINDOW: Duration = Duration::from_secs(30);
    pub(crate) const BREAKER_OPEN: Duration = Duration::from_secs(10);
    pub(crate) const LEASE: Duration = Duration::from_secs(5);
    pub(crate) const TIMEOUT: Duration = Duration::from_millis(20);
    pub(crate) const PREFIX: &str = "speechgate";
}

/// `[[tenants]]`
pub(super) mod tenants {
    pub(crate) const WEIGHT: u32 = 1;
    pub(crate) const RESERVE: u32 = 0;
    pub(crate) const ZONE: &str = "UTC";
}

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// A duration as a file would say it, in one unit.
pub(super) fn duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    match (millis % 1000, millis / 1000) {
        (0, seconds) if seconds >= 120 && seconds % 60 == 0 => format!("{}m", seconds / 60),
        (0, seconds) => format!("{seconds}s"),
        _ => format!("{millis}ms"),
    }
}

/// A size as a file would say it, in one unit.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        _ if bytes.is_multiple_of(MIB) => format!("{}MiB", bytes / MIB),
        _ if bytes.is_multiple_of(KIB) => format!("{}KiB", bytes / KIB),
        _ => format!("{bytes}B"),
    }
}

/// A share as a percentage.
pub(super) fn percentage(share: f64) -> String {
    format!("{}%", share * 100.0)
}

/// A range of statuses.
pub(super) fn statuses((first, last): (u16, u16)) -> String {
    format!("{first}-{last}")
}
