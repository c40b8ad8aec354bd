//! Tenants: who may call, and with which keys.

use crate::limit::Priority;
use std::time::SystemTime;

/// `[[tenants]]`
#[derive(Debug)]
pub struct Tenant {
    /// Its name: label, log field. Unique.
    pub name: String,
    /// Its place in [`super::Config::tenants`].
    pub index: usize,
    /// Its gateway keys. Each stands in the configuration once.
    pub keys: Vec<TenantKey>,
    /// The names of the routes that it may use, each of which is there; all when none.
    pub routes: Option<Vec<String>>,
    /// Its share of free slots beside the shares of others, from 1.
    pub weight: u32,
    /// Slots that only it gets while it wants them, at most `max`.
    pub reserve: u32,
    /// The most slots that it may hold, at least one.
    pub max: Option<u32>,
    /// How urgent its calls are at most; what the client says when none.
    pub priority: Option<Priority>,
}

impl Tenant {
    /// Whether it may use this route.
    #[must_use]
    pub fn may_use(&self, route: &str) -> bool {
        self.routes.as_ref().is_none_or(|routes| routes.iter().any(|name| name == route))
    }
}

/// A gateway key, of which only the hash is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantKey {
    /// SHA-256 of the whole key.
    pub hash: KeyHash,
    /// From when on it is not valid any more.
    pub expires: Option<SystemTime>,
}

/// SHA-256 of a gateway key.
pub type KeyHash = [u8; 32];
