//! What limits may count a request by.

use super::Credential;
use http::HeaderMap;
use std::net::IpAddr;

/// The facts of a request that a limit may count by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) method: &'a str,
    /// The path below the route's prefix.
    pub(crate) path: &'a str,
    /// The whole path that the provider sees.
    pub(crate) provider_path: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) address: Option<IpAddr>,
    /// It is a generation by itself, as no handshake of a socket is.
    pub(crate) generation: bool,
    /// Whose it is.
    pub(crate) credential: Credential,
}
