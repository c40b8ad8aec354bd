//! The loop that accepts connections, and turns away those beyond the limit.

use super::balance::Inbox;
use super::conn;
use super::drain::Permit;
use super::handler::Handler;
use super::listen::{BACKLOG, Listener};
use super::refuse::refuse;
use super::socket::Socket;
use super::worker::Worker;
use crate::canon::Fault;
use futures_util::future::join_all;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long accepting pauses when the process has run out of descriptors or memory. Doubled each time, up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// How many refusals are written at one time; beyond that, connections are closed without a response.
const REFUSALS: usize = 64;

impl<H: Handler> Worker<H> {
    /// Accepts and serves until the drain has ended or is cut short; connections still open are then dropped with the runtime.
    pub async fn run(self: Arc<Self>, listeners: Vec<Listener>, inbox: Inbox) {
        let drain = Arc::clone(&self.drain);
        // Not joined: it ends with the runtime.
        drop(tokio::spawn(serve_accepted(Arc::clone(&self), inbox)));
        let accepts = listeners.into_iter().map(|listener| accept(Arc::clone(&self), listener));
        tokio::select! {
            _ = join_all(accepts) => drain.cut().await,
            () = drain.cut() => {}
        }
    }
}

/// Accepts until the drain begins. Connections in the kernel's backlog at that moment are still served.
async fn accept<H: Handler>(worker: Arc<Worker<H>>, listener: Listener) {
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    let take = |(socket, address)| match worker.drain.admit() {
        Some(permit) => {
            if let Some((socket, permit)) = worker.balance.place(socket, address, permit) {
                serve(&worker, socket, address, permit);
            }
        }
        None => turn_away(&worker, socket, address, &refusals),
    };
    tokio::select! {
        biased;
        () = worker.drain.begun() => {}
        () = accept_forever(&listener, &take) => {}
    }
    for _ in 0..BACKLOG {
        match poll_fn(|cx| Poll::Ready(listener.poll_accept(cx))).await {
            Poll::Ready(Ok(accepted)) => take(accepted),
            Poll::Ready(Err(_)) | Poll::Pending => return,
        }
    }
}

async fn accept_forever(listener: &Listener, take: &impl Fn((Socket, Option<SocketAddr>))) {
    let mut pause = FIRST_PAUSE;
    loop {
        match poll_fn(|cx| listener.poll_accept(cx)).await {
            Ok(accepted) => {
                pause = FIRST_PAUSE;
                take(accepted);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // The connection stays in the backlog, so that an immediate retry would only spin.
                tracing::warn!(%error, "accepting pauses; when files run out, raise the limit (LimitNOFILE, ulimit -n) or lower server.max_connections");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
        }
    }
}

/// Serves connections that other workers have accepted.
async fn serve_accepted<H: Handler>(worker: Arc<Worker<H>>, mut inbox: Inbox) {
    while let Some(accepted) = inbox.recv().await {
        if let Ok(socket) = accepted.socket.register() {
            serve(&worker, socket, accepted.address, accepted.permit);
        }
    }
}

fn serve<H: Handler>(worker: &Arc<Worker<H>>, socket: Socket, address: Option<SocketAddr>, permit: Permit) {
    // Not joined: the permit says when it has ended.
    drop(tokio::spawn(conn::serve(Arc::clone(worker), socket, address, permit)));
}

/// Responds that there are too many connections, unless many such responses are being written already. Over TLS it sends nothing:
/// the handshake would cost more than the request.
fn turn_away<H: Handler>(
    worker: &Arc<Worker<H>>,
    mut socket: Socket,
    address: Option<SocketAddr>,
    refusals: &Arc<Semaphore>,
) {
    let Ok(place) = Arc::clone(refusals).try_acquire_owned() else { return };
    if worker.tls.is_some() {
        return;
    }
    let answer = worker.handler.refusal(address, Fault::TooManyConnections);
    drop(tokio::spawn(async move {
        refuse(&mut socket, answer).await;
        drop(place);
    }));
}

/// Whether the error belongs to the connection that would have been accepted, and not to the listener (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
            | io::ErrorKind::PermissionDenied
    )
}
