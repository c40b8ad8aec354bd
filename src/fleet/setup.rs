//! The settings that every part of the fleet shares.

use std::time::{Duration, Instant};

/// What stands in the place of a route's name where an account is shared: its own is the name that its credentials make, whatever each
/// gateway calls it. No route has this name.
pub const ACCOUNTS: &str = "@accounts";

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
    /// How long a share may be used after it was last confirmed. The margin of a tenth is far more than two clocks drift apart.
    pub(super) fn usable(&self) -> Duration {
        self.lease * 9 / 10
    }

    /// How often a lease is renewed.
    pub(super) fn renewal(&self) -> Duration {
        self.lease / 3
    }

    /// How long agents wait for an answer about slots. Longer than rates wait, because falling back to the local share too early takes
    /// slots that other gateways still use.
    pub(super) fn patience(&self) -> Duration {
        (self.timeout * 20).min(self.lease / 3)
    }

    /// The key of the membership limiter, where all gateways are registered, whatever they share.
    pub(super) fn members(&self) -> String {
        format!("{}:fleet", self.prefix)
    }

    /// The key of the seed.
    pub(super) fn seed(&self) -> String {
        format!("{}:seed", self.prefix)
    }

    /// How long a gateway that knows no seed waits for others to restore it; its agents keep waiting meanwhile.
    pub(super) fn soon(&self) -> Duration {
        self.patience() / 2
    }

    /// The channel that all gateways subscribe to: it names limiters that ask their gateways to register.
    pub(super) fn roll_call(&self) -> String {
        // Cannot clash: no process has a name with a dot in it.
        self.channels() + ".all"
    }

    /// The prefix of channel names; the process follows.
    pub(super) fn channels(&self) -> String {
        format!("{}:wake:", self.prefix)
    }

    pub(super) fn channel(&self) -> String {
        self.channels() + &self.id
    }
}

/// The runtime's clock, which is monotonic.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
