//! A waker between hyper and a task, which can be told to keep still.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// Wakes whoever attends, and else its owner. hyper wakes the task of a connection for each frame that is taken from it, even
/// when whoever takes the frame is that task, in the middle of its turn: another turn would find nothing to do.
///
/// Tasks are woken under the lock. A bell never reaches itself, so that none of them asks for it again.
#[derive(Debug, Default)]
pub struct Bell {
    tasks: Mutex<Tasks>,
    /// Whether there is an attendant. Changed under the lock, by the one thread that also looks at it.
    attended: AtomicBool,
    hushed: AtomicBool,
    missed: AtomicBool,
}

/// Who is woken.
#[derive(Debug, Default)]
struct Tasks {
    owner: Option<Waker>,
    attendant: Option<Waker>,
}

impl Bell {
    /// A bell that wakes nobody yet.
    #[must_use]
    pub fn new() -> Arc<Bell> {
        Arc::default()
    }

    /// From now on it is this task's.
    pub fn belongs_to(&self, waker: &Waker) {
        keep(&mut self.tasks().owner, waker);
    }

    /// Its owner has ended, and whatever keeps the bell does not keep its memory.
    pub fn belongs_to_nobody(&self) {
        self.tasks().owner = None;
    }

    /// From now on it wakes this task, and not its owner.
    pub fn attend(&self, waker: &Waker) {
        let mut tasks = self.tasks();
        keep(&mut tasks.attendant, waker);
        self.attended.store(true, Relaxed);
    }

    /// Whether it wakes somebody else than its owner.
    pub(super) fn is_attended(&self) -> bool {
        self.attended.load(Relaxed)
    }

    /// From now on it wakes its owner again.
    pub(super) fn leave(&self) {
        if self.is_attended() {
            let mut tasks = self.tasks();
            tasks.attendant = None;
            self.attended.store(false, Relaxed);
        }
    }

    /// Wakes its owner, whoever attends.
    pub(super) fn wake_owner(&self) {
        self.tasks().owner.iter().for_each(Waker::wake_by_ref);
    }

    /// Does something without waking anybody; [`Bell::catch_up`] does so if somebody would have been woken.
    pub fn quietly<T>(&self, act: impl FnOnce() -> T) -> T {
        struct Hush<'a>(&'a Bell);
        impl Drop for Hush<'_> {
            fn drop(&mut self) {
                self.0.hushed.store(false, Relaxed);
            }
        }
        self.missed.store(false, Relaxed);
        self.hushed.store(true, Relaxed);
        let _until = Hush(self);
        act()
    }

    /// Wakes whom the last [`Bell::quietly`] has not woken.
    pub fn catch_up(&self) {
        if self.missed.swap(false, Relaxed) {
            self.ring();
        }
    }

    /// Wakes whoever attends, and else its owner.
    pub(super) fn ring(&self) {
        if self.hushed.load(Relaxed) {
            return self.missed.store(true, Relaxed);
        }
        let tasks = self.tasks();
        tasks.attendant.as_ref().or(tasks.owner.as_ref()).into_iter().for_each(Waker::wake_by_ref);
    }

    /// Never held over anything that can panic but the wakers themselves.
    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

fn keep(place: &mut Option<Waker>, waker: &Waker) {
    if !place.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
        *place = Some(waker.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            let _ = self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn it_wakes_one_task_and_only_when_it_may() {
        let (owner, attendant) = (Arc::<Counter>::default(), Arc::<Counter>::default());
        let woken = || (owner.0.load(Relaxed), attendant.0.load(Relaxed));
        let bell = Bell::new();
        let waker = Waker::from(Arc::clone(&bell));
        waker.wake_by_ref();
        bell.belongs_to(&Waker::from(Arc::clone(&owner)));
        waker.wake_by_ref();
        assert_eq!(woken(), (1, 0));
        bell.attend(&Waker::from(Arc::clone(&attendant)));
        waker.wake_by_ref();
        assert_eq!(woken(), (1, 1));
        bell.wake_owner();
        assert_eq!(woken(), (2, 1));
        assert_eq!(bell.quietly(|| waker.wake_by_ref()), ());
        assert_eq!(woken(), (2, 1));
        bell.catch_up();
        bell.catch_up();
        assert_eq!(woken(), (2, 2), "once, and whoever it is now");
        bell.quietly(|| ());
        bell.catch_up();
        bell.leave();
        waker.wake();
        assert_eq!(woken(), (3, 2));
    }

    #[test]
    fn a_panic_does_not_leave_it_silent() {
        let owner = Arc::<Counter>::default();
        let bell = Bell::new();
        bell.belongs_to(&Waker::from(Arc::clone(&owner)));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| bell.quietly(|| panic!("as it must"))));
        assert!(panicked.is_err());
        bell.ring();
        assert_eq!(owner.0.load(Relaxed), 1);
    }
}
