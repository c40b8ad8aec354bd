//! What a route changes in header fields.

use http::{HeaderName, HeaderValue};

/// `headers`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// On the way to the provider.
    pub request: HeaderChanges,
    /// On the way to the client.
    pub response: HeaderChanges,
}

/// What becomes of header fields in one direction: first some are removed, then others set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderChanges {
    /// Each takes the place of all of its name. Those that hold a secret are marked sensitive.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// All of these names.
    pub remove: Vec<HeaderName>,
}
