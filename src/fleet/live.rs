//! A connection to the backend: whether it answers, and when it has failed.

use super::dial::Connection;
use redis::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

/// A connection that was made.
pub(super) struct Live {
    connection: Connection,
    /// Whether the last request was answered in time. If not, further requests fail at once until one is answered.
    answers: AtomicBool,
    trouble: Arc<Trouble>,
}

/// What is wrong with a connection.
#[derive(Default)]
pub(super) struct Trouble {
    broken: AtomicBool,
    seen: Notify,
}

impl Live {
    pub(super) fn new(connection: Connection, trouble: Arc<Trouble>) -> Live {
        Live { connection, answers: AtomicBool::new(true), trouble }
    }

    /// The connection, for sending.
    pub(super) fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// Whether an answer can be expected before the timeout.
    pub(super) fn answers(&self) -> bool {
        self.answers.load(Ordering::Acquire)
    }

    /// A request timed out: further requests fail at once until one is answered again.
    pub(super) fn slow(&self) {
        self.answers.store(false, Ordering::Release);
        self.trouble.seen.notify_one();
    }

    /// Marks the connection as failed.
    pub(super) fn give_up(&self) {
        self.answers.store(false, Ordering::Release);
        self.trouble.broken();
    }

    /// Completes when the connection has failed.
    pub(super) async fn breaks(&self, patience: Duration) {
        loop {
            self.trouble.seen.notified().await;
            // A request timed out. If the backend was only slow it answers this ping, and the connection is used again.
            if self.trouble.broken.load(Ordering::Acquire) || !self.answers_within(patience).await {
                return;
            }
            self.answers.store(true, Ordering::Release);
        }
    }

    async fn answers_within(&self, patience: Duration) -> bool {
        let mut connection = self.connection();
        let ping = redis::cmd("PING");
        matches!(timeout(patience, ping.query_async::<Value>(&mut connection)).await, Ok(Ok(_)))
    }
}

impl Trouble {
    pub(super) fn broken(&self) {
        self.broken.store(true, Ordering::Release);
        self.seen.notify_one();
    }
}
