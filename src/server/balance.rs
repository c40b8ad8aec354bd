//! Chooses the worker that serves a connection: the one with the fewest, like Envoy's exact balance.
//!
//! The kernel spreads connections over the workers' sockets by a hash of their addresses. That is even for thousands; a few
//! connections may all reach one worker while the others idle. So the worker that accepts a connection hands it to the least
//! loaded one.

use super::drain::{CountGuard, Permit};
use super::socket::{Socket, Unregistered};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;

/// Connections that wait for a worker to take them. When the channel is full, the accepting worker serves the next one itself.
const WAITING: usize = 256;

/// A connection on its way from the worker that accepted it to the one that serves it.
#[derive(Debug)]
pub struct Accepted {
    pub(super) socket: Unregistered,
    pub(super) address: Option<SocketAddr>,
    pub(super) permit: Permit,
}

/// Receives connections that other workers accepted.
pub type Inbox = mpsc::Receiver<Accepted>;

/// All workers, from the point of view of one.
#[derive(Debug)]
pub struct Balance {
    own: usize,
    workers: Arc<[Member]>,
}

#[derive(Debug)]
struct Member {
    /// Connections that this worker serves.
    open: Arc<AtomicUsize>,
    sender: mpsc::Sender<Accepted>,
}

impl Balance {
    /// Makes one balancer and inbox for each of this many workers.
    #[must_use]
    pub fn new(workers: usize) -> Vec<(Balance, Inbox)> {
        let (places, inboxes): (Vec<Member>, Vec<Inbox>) = (0..workers)
            .map(|_| mpsc::channel(WAITING))
            .map(|(sender, inbox)| (Member { open: Arc::default(), sender }, inbox))
            .unzip();
        let workers: Arc<[Member]> = places.into();
        let balance = |(own, inbox)| (Balance { own, workers: Arc::clone(&workers) }, inbox);
        inboxes.into_iter().enumerate().map(balance).collect()
    }

    /// Counts the connection at the least loaded worker, preferring this one among equals, and sends it there. Returns it when
    /// it is to be served here.
    pub(super) fn place(
        &self,
        socket: Socket,
        address: Option<SocketAddr>,
        mut permit: Permit,
    ) -> Option<(Socket, Permit)> {
        let least = self.least();
        let member = &self.workers[least];
        permit.assign(CountGuard::new(&member.open));
        if least == self.own {
            return Some((socket, permit));
        }
        let Ok(socket) = socket.unregister() else { return None };
        match member.sender.try_send(Accepted { socket, address, permit }) {
            Ok(()) => None,
            Err(mpsc::error::TrySendError::Full(back) | mpsc::error::TrySendError::Closed(back)) => {
                back.socket.register().ok().map(|socket| (socket, back.permit))
            }
        }
    }

    fn least(&self) -> usize {
        let load = |index: usize| self.workers[index].open.load(Ordering::Relaxed);
        let others = (0..self.workers.len()).filter(|index| *index != self.own);
        others.min_by_key(|index| load(*index)).filter(|least| load(*least) < load(self.own)).unwrap_or(self.own)
    }

    /// The connections of each worker.
    #[cfg(test)]
    pub(super) fn loads(&self) -> Vec<usize> {
        self.workers.iter().map(|member| member.open.load(Ordering::Relaxed)).collect()
    }
}
