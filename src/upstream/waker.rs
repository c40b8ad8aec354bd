//! One waker that can be pointed at another task, and told to hold its wakes back.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// Wakes the task that wakes are redirected to, or else its owner.
///
/// hyper wakes the task of a connection for every frame that is taken from it, even when that very task takes the frame
/// while it is being polled. Polling it again would find nothing to do, so such wakes can be deferred.
///
/// Tasks are woken under the lock. That cannot deadlock, because this waker never points at itself.
#[derive(Debug, Default)]
pub struct TaskWaker {
    tasks: Mutex<Tasks>,
    /// Whether wakes are redirected. Written under the lock, and only by the thread that also reads it.
    redirected: AtomicBool,
    /// Wakes are only noted for now.
    deferring: AtomicBool,
    /// A wake was noted.
    deferred: AtomicBool,
}

/// The tasks that may be woken.
#[derive(Debug, Default)]
struct Tasks {
    owner: Option<Waker>,
    redirect: Option<Waker>,
}

impl TaskWaker {
    /// A waker that wakes no task yet.
    #[must_use]
    pub fn new() -> Arc<TaskWaker> {
        Arc::default()
    }

    /// Makes this task the owner.
    pub fn set_owner(&self, waker: &Waker) {
        store(&mut self.tasks().owner, waker);
    }

    /// Forgets the owner, which has ended: whoever still holds this waker must not keep its task alive.
    pub fn clear_owner(&self) {
        self.tasks().owner = None;
    }

    /// From now on this task is woken, and not the owner.
    pub fn redirect_to(&self, waker: &Waker) {
        let mut tasks = self.tasks();
        store(&mut tasks.redirect, waker);
        self.redirected.store(true, Relaxed);
    }

    /// Whether another task than the owner is woken.
    pub(super) fn is_redirected(&self) -> bool {
        self.redirected.load(Relaxed)
    }

    /// From now on the owner is woken again.
    pub(super) fn end_redirect(&self) {
        if self.is_redirected() {
            let mut tasks = self.tasks();
            tasks.redirect = None;
            self.redirected.store(false, Relaxed);
        }
    }

    /// Wakes the owner, whether wakes are redirected or not.
    pub(super) fn wake_owner(&self) {
        self.tasks().owner.iter().for_each(Waker::wake_by_ref);
    }

    /// Runs `act` and holds back the wakes that it causes; [`TaskWaker::flush_deferred`] delivers them.
    pub fn defer_wakes<T>(&self, act: impl FnOnce() -> T) -> T {
        struct Deferring<'a>(&'a TaskWaker);
        impl Drop for Deferring<'_> {
            fn drop(&mut self) {
                self.0.deferring.store(false, Relaxed);
            }
        }
        self.deferred.store(false, Relaxed);
        self.deferring.store(true, Relaxed);
        let _reset_on_drop = Deferring(self);
        act()
    }

    /// Delivers the wake that the last [`TaskWaker::defer_wakes`] held back, if there was one.
    pub fn flush_deferred(&self) {
        if self.deferred.swap(false, Relaxed) {
            self.wake_current();
        }
    }

    /// Wakes the task that wakes are redirected to, or else the owner.
    pub(super) fn wake_current(&self) {
        if self.deferring.load(Relaxed) {
            return self.deferred.store(true, Relaxed);
        }
        let tasks = self.tasks();
        tasks.redirect.as_ref().or(tasks.owner.as_ref()).into_iter().for_each(Waker::wake_by_ref);
    }

    /// Nothing but the wakers themselves can panic while this is held.
    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_current();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_current();
    }
}

fn store(place: &mut Option<Waker>, waker: &Waker) {
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
    fn one_task_is_woken_and_deferred_wakes_come_once() {
        let (owner, redirect) = (Arc::<Counter>::default(), Arc::<Counter>::default());
        let woken = || (owner.0.load(Relaxed), redirect.0.load(Relaxed));
        let shared = TaskWaker::new();
        let waker = Waker::from(Arc::clone(&shared));
        waker.wake_by_ref();
        shared.set_owner(&Waker::from(Arc::clone(&owner)));
        waker.wake_by_ref();
        assert_eq!(woken(), (1, 0));
        shared.redirect_to(&Waker::from(Arc::clone(&redirect)));
        waker.wake_by_ref();
        assert_eq!(woken(), (1, 1));
        shared.wake_owner();
        assert_eq!(woken(), (2, 1));
        assert_eq!(shared.defer_wakes(|| waker.wake_by_ref()), ());
        assert_eq!(woken(), (2, 1));
        shared.flush_deferred();
        shared.flush_deferred();
        assert_eq!(woken(), (2, 2), "once, and the task that is woken now");
        shared.defer_wakes(|| ());
        shared.flush_deferred();
        shared.end_redirect();
        waker.wake();
        assert_eq!(woken(), (3, 2));
    }

    #[test]
    fn a_panic_does_not_leave_wakes_deferred() {
        let owner = Arc::<Counter>::default();
        let shared = TaskWaker::new();
        shared.set_owner(&Waker::from(Arc::clone(&owner)));
        let panicked =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| shared.defer_wakes(|| panic!("as it must"))));
        assert!(panicked.is_err());
        shared.wake_current();
        assert_eq!(owner.0.load(Relaxed), 1);
    }
}
