//! What a call holds while it waits and while it is at the provider; it is given back when the call is dropped.

use super::{Call, KEYS, MAX, World};
use tokio::time::Instant;

/// A client that waits for a slot.
pub(super) struct Waits<'w>(&'w World, usize);

impl<'w> Waits<'w> {
    pub(super) fn new(world: &'w World, key: usize) -> Waits<'w> {
        world.lock().keys[key].waiting += 1;
        world.look(key);
        Waits(world, key)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.lock().keys[self.1].waiting -= 1;
        self.0.look(self.1);
    }
}

/// A call that has its slot, and may be at the provider.
pub(super) struct Going<'w> {
    world: &'w World,
    key: usize,
    counted: bool,
    arrived: bool,
}

impl<'w> Going<'w> {
    pub(super) fn new(world: &'w World, call: &Call, counted: bool) -> Going<'w> {
        let mut state = world.lock();
        let key = &mut state.keys[call.key];
        key.counted += u32::from(counted);
        let slots = key.counted;
        drop(state);
        if slots > MAX {
            world.log.violated(|| format!("{call} has slot {slots} of {MAX}"));
        }
        world.look(call.key);
        Going { world, key: call.key, counted, arrived: false }
    }

    pub(super) fn arrives(&mut self) {
        self.arrived = true;
        let mut state = self.world.lock();
        let key = &mut state.keys[self.key];
        key.running += 1;
        key.began = Instant::now();
        drop(state);
        self.world.log.note(|| format!("{} begins", KEYS[self.key]));
    }
}

impl Drop for Going<'_> {
    fn drop(&mut self) {
        let mut state = self.world.lock();
        let key = &mut state.keys[self.key];
        key.counted -= u32::from(self.counted);
        if self.arrived {
            key.running -= 1;
            key.idle = Instant::now();
        }
        drop(state);
        self.world.look(self.key);
        self.world.log.note(|| format!("{} ends", KEYS[self.key]));
    }
}
