//! Accepts connections, tells HTTP/1.1 from HTTP/2, and takes a connection away from HTTP when bytes that are not HTTP follow.

use super::body::{PacedBody, Reply};
use super::engine::Engine;
use super::handle::{Handled, handle};
use super::script::{Step, Steps, Takeover};
use super::socket::{self, Opening};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// How long to wait after accept has failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until `stopped`, then ends every connection.
pub(crate) async fn serve(listener: TcpListener, engine: Arc<Engine>, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // A dropped handle counts as a stop, too.
            _ = &mut stopped => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    engine.plan.count(|stats| stats.connections += 1);
                    connections.spawn(connection(stream, Arc::clone(&engine)));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn connection(stream: TcpStream, engine: Arc<Engine>) {
    // Answers are paced; small chunks must not wait for each other.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let stream = Arc::new(stream);
    let Ok(http2) = speaks_http2(&stream).await else { return };
    let (takeover, mut taken_over) = mpsc::channel::<Takeover>(1);
    let (upgrade, mut upgraded) = mpsc::channel::<Opening>(1);
    let service = service_fn(move |request: Request<Incoming>| {
        respond(Arc::clone(&engine), takeover.clone(), upgrade.clone(), request)
    });
    let io = TokioIo::new(Shared(Arc::clone(&stream)));
    // How a connection ends is for the client to notice; the simulator keeps no log.
    let raw = if http2 {
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let connection = builder.timer(TokioTimer::new()).serve_connection(io, service);
        tokio::select! { _ = connection => None, raw = taken_over.recv() => raw }
    } else {
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(io, service)
            .with_upgrades();
        tokio::select! { _ = connection => None, raw = taken_over.recv() => raw }
    };
    let reset = if let Some((steps, reset)) = raw {
        // The client may be gone before all of it is played.
        let _ = play(&stream, steps).await;
        reset
    } else if let Ok(opening) = upgraded.try_recv() {
        socket::run(opening).await
    } else {
        false
    };
    if reset && let Some(stream) = Arc::into_inner(stream) {
        let _ = stream.set_zero_linger();
    }
}

/// One request. One that takes the connection over is never answered: the connection ends under it.
async fn respond(
    engine: Arc<Engine>,
    takeover: mpsc::Sender<Takeover>,
    upgrade: mpsc::Sender<Opening>,
    request: Request<Incoming>,
) -> Result<Response<PacedBody>, Infallible> {
    match handle(&engine, request).await {
        Handled::Reply(Reply::Response(mut response)) => {
            response.body_mut().may_freeze(takeover);
            Ok(*response)
        }
        Handled::Upgraded(upgraded) => {
            let (response, opening) = *upgraded;
            // A connection is upgraded once, so there is room.
            let _ = upgrade.try_send(opening);
            Ok(response)
        }
        Handled::Reply(Reply::Raw { steps, reset }) => {
            // When another request on this connection was quicker, both end with what it asked for.
            let _ = takeover.send((steps, reset)).await;
            std::future::pending().await
        }
    }
}

/// Whether the connection begins with HTTP/2's preface.
async fn speaks_http2(stream: &TcpStream) -> io::Result<bool> {
    const PREFACE: &[u8] = b"PRI * HTTP/2";
    let mut start = [0; PREFACE.len()];
    loop {
        let len = stream.peek(&mut start).await?;
        if len == PREFACE.len() || len == 0 || !PREFACE.starts_with(&start[..len]) {
            return Ok(start == *PREFACE);
        }
        // The rest is on its way.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Writes the steps on the bare socket, as long as the client is there.
async fn play(stream: &TcpStream, steps: Steps) -> io::Result<()> {
    for step in steps {
        match step {
            Step::Send(bytes) => write_all(stream, &bytes).await?,
            // Of HTTP alone.
            Step::Trailers(_) => {}
            Step::Pause(time) => tokio::time::sleep(time).await,
            Step::Cut => return Ok(()),
            Step::Hang => return until_closed(stream).await,
            Step::Freeze => std::future::pending().await,
        }
    }
    Ok(())
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits until the client closes; what it still sends is dropped.
async fn until_closed(stream: &TcpStream) -> io::Result<()> {
    let mut scrap = [0; 1024];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut scrap) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// A socket that HTTP uses while this module keeps a handle of its own.
struct Shared(Arc<TcpStream>);

impl AsyncRead for Shared {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(buf.initialize_unfilled()) {
                Ok(len) => {
                    buf.advance(len);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Shared {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The socket closes when its last handle is dropped.
        Poll::Ready(Ok(()))
    }
}
