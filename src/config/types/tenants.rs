//! Tenants: who may call, and with which keys.

use super::RateLimit;
use crate::limit::{Priority, Zone};
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
    /// The names in its clients' certificates, none of which is another tenant's.
    pub subjects: Vec<String>,
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
    /// How many requests it may begin in a time: of each, only the number, the time and the burst are used.
    pub rate_limits: Vec<RateLimit>,
    /// How much it may use in a time.
    pub budgets: Vec<Budget>,
}

/// How much a tenant may use in a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// Of what.
    pub measure: Measure,
    /// How much, more than zero.
    pub amount: f64,
    /// In how many days: 1, 7 or 30.
    pub days: u32,
    /// By which clocks they begin.
    pub zone: Zone,
}

/// What a budget counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Characters of text.
    Characters,
    /// Seconds of audio.
    AudioSeconds,
    /// Requests.
    Requests,
    /// Money in this currency.
    Cost(String),
}

impl Budget {
    /// What it is called in labels and headers: `characters/1d`, `cost-USD/30d`.
    #[must_use]
    pub fn name(&self) -> String {
        let days = self.days;
        match &self.measure {
            Measure::Characters => format!("characters/{days}d"),
            Measure::AudioSeconds => format!("audio_seconds/{days}d"),
            Measure::Requests => format!("requests/{days}d"),
            Measure::Cost(currency) => format!("cost-{currency}/{days}d"),
        }
    }

    /// The days of the budget of this name.
    #[must_use]
    pub fn days_of(name: &str) -> Option<u32> {
        name.rsplit_once('/')?.1.strip_suffix('d')?.parse().ok()
    }
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
