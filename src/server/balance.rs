//! Which worker serves a connection: the one that serves the fewest, as Envoy's exact balance has it.
//!
//! The kernel spreads connections over the workers' sockets by a hash of their addresses. That is even for thousands; a few
//! connections may all reach one worker while the others idle. So the worker that accepts a connection hands it to the least
//! loaded one.

use super::drain::{Permit, Seat};
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

/// Where connections from other workers come in.
pub type Inbox = mpsc::Receiver<Accepted>;

/// The workers, as one of them sees them.
#[derive(Debug)]
pub struct Balance {
    own: usize,
    workers: Arc<[Place]>,
}

#[derive(Debug)]
struct Place {
    /// Connections that this worker serves.
    open: Arc<AtomicUsize>,
    door: mpsc::Sender<Accepted>,
}

impl Balance {
    /// For so many workers, each with the inbox that is its own.
    #[must_use]
    pub fn new(workers: usize) -> Vec<(Balance, Inbox)> {
        let (places, inboxes): (Vec<Place>, Vec<Inbox>) = (0..workers)
            .map(|_| mpsc::channel(WAITING))
            .map(|(door, inbox)| (Place { open: Arc::default(), door }, inbox))
            .unzip();
        let workers: Arc<[Place]> = places.into();
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
        let place = &self.workers[least];
        permit.sits(Seat::take(&place.open));
        if least == self.own {
            return Some((socket, permit));
        }
        let Ok(socket) = socket.unregister() else { return None };
        match place.door.try_send(Accepted { socket, address, permit }) {
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
        self.workers.iter().map(|place| place.open.load(Ordering::Relaxed)).collect()
    }
}
