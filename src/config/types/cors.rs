//! Which pages of browsers may call.

use http::HeaderValue;
use std::time::Duration;

/// `[server.cors]`, or `cors` of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Whose pages may call; none for those of everybody.
    pub origins: Option<Vec<String>>,
    /// Whether they may send cookies.
    pub credentials: bool,
    /// The methods that they may use; none for whatever they ask for.
    pub methods: Option<HeaderValue>,
    /// The fields that they may send; none for whatever they ask for.
    pub headers: Option<HeaderValue>,
    /// The fields that they may read beside those of the gateway.
    pub expose: Option<HeaderValue>,
    /// How long the answer to a preflight is good for.
    pub max_age: Duration,
}
