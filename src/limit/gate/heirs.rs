//! Where calls count beside their own gate, and who is woken by that.

use super::{Gate, Hook};
use std::sync::Weak;
use std::task::Waker;

/// Where the calls of an account count as well.
pub(super) struct Heir {
    pub(super) gate: Weak<Gate>,
    pub(super) account: usize,
    /// The ticket of the last call that does; later ones come with a slot of the other gate.
    pub(super) last: u64,
    /// How many of them hold a slot, and how many the heir knows of.
    pub(super) running: u32,
    pub(super) known: u32,
}

/// Whom a change at an heir wakes.
#[derive(Default)]
pub(super) struct Roused {
    pub(super) wakers: Vec<Waker>,
    pub(super) hooks: Vec<Hook>,
}

impl Heir {
    /// A call with this ticket gets a slot.
    pub(super) fn gets(&mut self, ticket: u64) {
        self.running += u32::from(ticket <= self.last);
    }

    /// A call with this ticket ends.
    pub(super) fn loses(&mut self, ticket: u64) {
        self.running = self.running.saturating_sub(u32::from(ticket <= self.last));
    }
}
