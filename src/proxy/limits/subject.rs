//! The facts of a request by which limits count.

use super::Credential;
use http::HeaderMap;
use std::net::IpAddr;

/// The facts of a request by which limits count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) method: &'a str,
    /// The path below the route's prefix.
    pub(crate) path: &'a str,
    /// The whole path that the provider sees.
    pub(crate) provider_path: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) address: Option<IpAddr>,
    /// Whether the request is itself a generation, which a WebSocket handshake never is.
    pub(crate) generation: bool,
    /// The credential that it is sent with.
    pub(crate) credential: Credential,
}
