//! Sockets: accepting, telling HTTP/1.1 from HTTP/2, and taking a connection away from HTTP when it is to be sabotaged.

use super::engine::{Engine, Reply};
use super::socket::{self, Opening};
use super::stream::{Played, Step, Steps};
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

/// How long a broken accept waits for better times.
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

/// A sabotage on its way from the request that asked for it to the connection that suffers it.
type Raw = (Steps, bool);

async fn connection(stream: TcpStream, engine: Arc<Engine>) {
    // Answers are paced; small chunks must not wait for each other.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let stream = Arc::new(stream);
    let Ok(http2) = speaks_http2(&stream).await else { return };
    let (sabotage, mut sabotaged) = mpsc::channel::<Raw>(1);
    let (upgrade, mut upgraded) = mpsc::channel::<Box<Opening>>(1);
    let service = service_fn(move |request: Request<Incoming>| {
        respond(Arc::clone(&engine), sabotage.clone(), upgrade.clone(), request)
    });
    let io = TokioIo::new(Shared(Arc::clone(&stream)));
    // How a connection ends is the caller's business; the simulator has nobody to tell.
    let raw = if http2 {
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let connection = builder.timer(TokioTimer::new()).serve_connection(io, service);
        tokio::select! { _ = connection => None, raw = sabotaged.recv() => raw }
    } else {
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(io, service)
            .with_upgrades();
        tokio::select! { _ = connection => None, raw = sabotaged.recv() => raw }
    };
    let reset = if let Some((steps, reset)) = raw {
        // The caller may be gone before all of it is played.
        let _ = play(&stream, steps).await;
        reset
    } else if let Ok(opening) = upgraded.try_recv() {
        socket::run(*opening).await
    } else {
        false
    };
    if reset && let Some(stream) = Arc::into_inner(stream) {
        let _ = stream.set_zero_linger();
    }
}

/// One request. A sabotage never answers: the connection ends under it.
async fn respond(
    engine: Arc<Engine>,
    sabotage: mpsc::Sender<Raw>,
    upgrade: mpsc::Sender<Box<Opening>>,
    request: Request<Incoming>,
) -> Result<Response<Played>, Infallible> {
    match engine.reply(request).await {
        Reply::Answer(answer) => Ok(answer.into_response()),
        Reply::Socket(response, opening) => {
            // A connection is upgraded once, so there is room.
            let _ = upgrade.try_send(opening);
            Ok(*response)
        }
        Reply::Raw { steps, reset } => {
            // When another request's sabotage came first, this one shares its fate.
            let _ = sabotage.send((steps, reset)).await;
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

/// Writes the steps on the bare socket, as long as the caller is there.
async fn play(stream: &TcpStream, steps: Steps) -> io::Result<()> {
    for step in steps {
        match step {
            Step::Send(bytes) => write_all(stream, &bytes).await?,
            Step::Pause(time) => tokio::time::sleep(time).await,
            Step::Cut => return Ok(()),
            Step::Hang => return gone(stream).await,
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

/// Waits until the caller closes; what it still sends is dropped.
async fn gone(stream: &TcpStream) -> io::Result<()> {
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

/// A socket that HTTP uses while somebody else still holds it.
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
        // The socket closes when its last holder lets go, and nobody holds it after HTTP is done.
        Poll::Ready(Ok(()))
    }
}
