//! A provider that answers when it is told to: what runs there is in the test's hands.

use super::provider::{OK, Provider};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};

/// A provider whose answers wait for [`Stage::release`] or [`Stage::say`].
pub(crate) struct Stage {
    pub(crate) provider: Provider,
    answers: Arc<(Mutex<VecDeque<Vec<u8>>>, Condvar)>,
}

impl Stage {
    /// It answers nothing yet.
    pub(crate) fn start() -> Stage {
        let answers = Arc::new((Mutex::new(VecDeque::<Vec<u8>>::new()), Condvar::new()));
        let inner = Arc::clone(&answers);
        let provider = Provider::with(move |mut conn| {
            while conn.request().is_some() {
                let (answers, changed) = &*inner;
                let waiting = changed.wait_while(answers.lock().expect("no holder panics"), |all| all.is_empty());
                let answer = waiting.expect("no holder panics").pop_front().unwrap_or_default();
                if conn.wire.send(&answer).is_err() {
                    return;
                }
            }
        });
        Stage { provider, answers }
    }

    /// Answers so many of the requests that wait or will come.
    pub(crate) fn release(&self, count: usize) {
        (0..count).for_each(|_| self.say(OK.to_vec()));
    }

    /// Answers one of them so.
    pub(crate) fn say(&self, answer: Vec<u8>) {
        self.answers.0.lock().expect("no holder panics").push_back(answer);
        self.answers.1.notify_all();
    }

    /// The paths of the next requests, in the order in which they come.
    pub(crate) fn next(&self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.provider.one().target().to_owned()).collect()
    }
}
