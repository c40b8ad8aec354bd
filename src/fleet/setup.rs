//! The settings that every part of the fleet shares.

use std::time::{Duration, Instant};

/// How limits are shared.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    /// This process.
    pub(super) id: String,
    pub(super) prefix: String,
    pub(super) lease: Duration,
    pub(super) timeout: Duration,
}

impl Setup {
    /// How long after it was last confirmed a share may be used: clocks of two machines differ by far less than a tenth.
    pub(super) fn usable(&self) -> Duration {
        self.lease * 9 / 10
    }

    /// How often a lease is renewed.
    pub(super) fn renewal(&self) -> Duration {
        self.lease / 3
    }

    /// How long slots wait for an answer. Longer than a rate does: who goes to the local share too soon takes slots that
    /// others still use.
    pub(super) fn patience(&self) -> Duration {
        (self.timeout * 20).min(self.lease / 3)
    }

    /// Where all gateways are registered, whatever they share.
    pub(super) fn members(&self) -> String {
        format!("{}:fleet", self.prefix)
    }

    /// Where the seed of names is kept.
    pub(super) fn seed(&self) -> String {
        format!("{}:seed", self.prefix)
    }

    /// How long a gateway that knows no seed waits for those who may. Its agents have patience meanwhile.
    pub(super) fn soon(&self) -> Duration {
        self.patience() / 2
    }

    /// What all gateways listen to: a limiter whose gateways are to come by.
    pub(super) fn roll_call(&self) -> String {
        // No process has a name with a dot in it.
        self.channels() + ".all"
    }

    /// What the names of channels begin with; the rest is the process.
    pub(super) fn channels(&self) -> String {
        format!("{}:wake:", self.prefix)
    }

    pub(super) fn channel(&self) -> String {
        self.channels() + &self.id
    }
}

/// The runtime's clock, which cannot be set.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
