//! Header fields that concern one connection and are never forwarded.

use http::HeaderName;
use http::header::{CONNECTION, TRANSFER_ENCODING, UPGRADE};

/// The connection-specific fields: hop-by-hop in HTTP/1.1 (RFC 9110 7.6.1), forbidden in HTTP/2 (RFC 9113 8.2.2). This is their only
/// list: what more a proxy removes, and what an operator may not set, builds on it.
pub static CONNECTION_SPECIFIC: [HeaderName; 5] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TRANSFER_ENCODING,
    UPGRADE,
];
