//! Accounts: plans at providers that routes share.

use super::{Concurrency, Credentials, RateLimit, Waits};

/// `[[accounts]]`
#[derive(Debug)]
pub struct Account {
    /// Its name. Unique.
    pub name: String,
    /// Its place in [`super::Config::accounts`].
    pub index: usize,
    /// What is put into the requests of its routes: at least one and at most [`super::MOST_PLACES`]. Of no other account.
    pub credentials: Vec<Credentials>,
    /// Calls at one time, of all its routes.
    pub concurrency: Option<Concurrency>,
    /// Requests in a time, of all its routes, in the order of the file.
    pub rate_limits: Vec<RateLimit>,
    /// What a provider's `Retry-After` is worth, where the route says nothing of its own.
    pub waits: Waits,
}
