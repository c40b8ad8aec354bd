//! How long a provider goes on counting a call that was cancelled.
//!
//! A client that leaves closes the connection to the provider, which notices a little later. Until then the slot is not free there.
//! How long that takes differs by provider and by call: a slot that is given out too soon is refused there, and then the next ones
//! are kept for longer, up to [`MOST`]. What has done no harm for [`MEMORY`] is halved again.

use std::time::{Duration, Instant};

/// The longest that a slot settles.
pub const MOST: Duration = Duration::from_secs(5);
/// A refusal so soon after a slot had settled says that it had not.
pub const SOON: Duration = Duration::from_secs(2);
/// For how long a longer time is kept without another such refusal.
pub const MEMORY: Duration = Duration::from_secs(60);

/// How long slots of one account settle.
#[derive(Clone, Debug, Default)]
pub struct Settle {
    /// Longer than what the configuration says, because that was too short.
    grown: Duration,
    /// When it grew or shrank last.
    changed: Option<Instant>,
    /// When a slot had settled last, unless a refusal has come since.
    settled: Option<Instant>,
}

impl Settle {
    /// How long a slot settles that a call has left now, by what the configuration says.
    pub fn time(&mut self, configured: Duration, now: Instant) -> Duration {
        while let Some(changed) = self.changed.filter(|changed| now.saturating_duration_since(*changed) >= MEMORY) {
            self.grown /= 2;
            self.changed = Some(changed + MEMORY).filter(|_| self.grown > configured);
        }
        // Where nothing is to settle, that stays so.
        if configured.is_zero() { configured } else { configured.max(self.grown) }
    }

    /// A slot has settled, and is free.
    pub fn settled(&mut self, now: Instant) {
        self.settled = Some(now);
    }

    /// The provider refused for want of a slot.
    pub fn refused(&mut self, configured: Duration, now: Instant) {
        let Some(settled) = self.settled.take() else { return };
        if now.saturating_duration_since(settled) <= SOON {
            self.grown = (configured.max(self.grown) * 2).min(MOST);
            self.changed = Some(now);
        }
    }
}
