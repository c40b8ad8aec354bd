//! Sends the updates of all agents to the backend in batches, with one batch in flight at a time.
//!
//! A process may have thousands of limiters, and all of them want to send an update as soon as a connection is up. If they all did so
//! at once, the backend would be busy for longer than its timeout, and rate limits would queue behind them. The timeout of an update
//! runs from when its batch is sent, so that a process never mistakes its own burst for a backend that hangs.

use super::live::Live;
use super::scripts::{Answer, Scripts, Update};
use super::setup::{Setup, now};
use super::tally::Tally;
use crate::telemetry::fleet::Fallback;
use futures_util::future::join_all;
use redis::RedisResult;
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

/// Updates in one batch: few enough for the backend to run within a few milliseconds.
const BATCH: usize = 32;

/// What became of an update.
#[derive(Debug)]
pub(super) enum Carried {
    /// The backend applied it; this is when it was sent.
    Answered(Answer, Instant),
    /// The backend had already applied a later update of this name, or refused to run this one.
    Refused,
    /// No answer in time: it may have been applied or not.
    Unanswered,
    /// There is no connection.
    Unsent,
}

/// Updates that wait to be sent; each agent has one at most.
#[derive(Default)]
pub(super) struct Courier {
    state: Mutex<State>,
    came: Notify,
}

#[derive(Default)]
struct State {
    /// Whether there is a connection.
    open: bool,
    jobs: VecDeque<Job>,
}

struct Job {
    update: Update,
    done: oneshot::Sender<Carried>,
}

impl Courier {
    /// Takes an update to the backend.
    pub(super) async fn carry(&self, update: Update) -> Carried {
        let (done, outcome) = oneshot::channel();
        {
            let mut state = self.lock();
            if !state.open {
                return Carried::Unsent;
            }
            state.jobs.push_back(Job { update, done });
        }
        self.came.notify_one();
        outcome.await.unwrap_or(Carried::Unsent)
    }

    /// Carries updates over a connection, until one is not answered.
    pub(super) async fn work(&self, live: &Live, scripts: &Scripts, setup: &Setup, tally: &Tally) {
        loop {
            let batch = self.batch().await;
            let sent = now();
            let updates = batch.iter().map(|job| {
                let mut connection = live.connection();
                async move { scripts.update(&mut connection, setup, &job.update, sent).await }
            });
            match in_time(setup.patience(), join_all(updates)).await {
                Some(answers) => {
                    for (job, answer) in batch.into_iter().zip(answers) {
                        let members = setup.members();
                        let error = answer.as_ref().err().filter(|error| !error.is_io_error());
                        if error.is_some() || answer.is_ok() {
                            tally.answered(Fallback::Slots, error, &[&job.update.key, &members]);
                        }
                        // The agent may have ended: then nobody waits for the outcome.
                        let _ = job.done.send(outcome(answer, sent, live, tally));
                    }
                }
                None => {
                    for job in batch {
                        let _ = job.done.send(Carried::Unanswered);
                    }
                    live.give_up();
                    return;
                }
            }
        }
    }

    /// A connection was made or lost. When it is lost, all waiting updates fail at once.
    pub(super) fn open(&self, open: bool) {
        let mut state = self.lock();
        state.open = open;
        if !open {
            state.jobs.clear();
        }
    }

    async fn batch(&self) -> Vec<Job> {
        loop {
            let batch: Vec<Job> = {
                let mut state = self.lock();
                let count = state.jobs.len().min(BATCH);
                state.jobs.drain(..count).collect()
            };
            if !batch.is_empty() {
                return batch;
            }
            self.came.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn outcome(answer: RedisResult<Option<Answer>>, sent: Instant, live: &Live, tally: &Tally) -> Carried {
    match answer {
        Ok(Some(answer)) => Carried::Answered(answer, sent),
        Ok(None) => Carried::Refused,
        Err(error) => {
            if error.is_io_error() {
                tally.unreachable(&error.to_string());
            }
            if error.is_io_error() || error.is_unrecoverable_error() {
                live.give_up();
            }
            Carried::Refused
        }
    }
}

/// Waits for an answer until the timeout. If the timer itself fires late, this process was stalled rather than the backend, and the
/// answer may have arrived already, so it is checked once more.
async fn in_time<T>(patience: Duration, answer: impl Future<Output = T>) -> Option<T> {
    let (mut answer, begun) = (pin!(answer), now());
    match timeout(patience, &mut answer).await {
        Ok(answer) => Some(answer),
        Err(_) if now() > begun + patience * 2 => timeout(patience, answer).await.ok(),
        Err(_) => None,
    }
}
