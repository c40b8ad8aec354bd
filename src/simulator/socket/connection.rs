//! One WebSocket connection, played to its end.
//!
//! The frames are made and read by tokio-websockets and not by the gateway's own codec, so that both cannot be wrong in the
//! same way. Broken frames, which a codec refuses to make, are written below it.

use super::handshake::Opening;
use super::session::Session;
use crate::simulator::script::Action;
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio_websockets::{CloseCode, Error, Limits, Message, ServerBuilder, WebSocketStream};

/// How long a client may take to answer a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest message that is read.
const LONGEST: usize = 16 * 1024 * 1024;

/// How the connection ends.
enum Ending {
    Gone,
    Closed,
    Reset,
    Mute,
    Dead,
}

type Stream = WebSocketStream<TokioIo<Upgraded>>;

/// Plays a socket to its end. Whether the connection is to be reset.
pub(crate) async fn run(opening: Opening) -> bool {
    let Opening { upgrade, mut session } = opening;
    let Ok(upgraded) = upgrade.await else { return false };
    let limits = Limits::default().max_payload_len(Some(LONGEST));
    let mut stream = ServerBuilder::new().limits(limits).serve(TokioIo::new(upgraded));
    let ending = play(&mut stream, &mut session).await.unwrap_or(Ending::Gone);
    match ending {
        Ending::Reset => return true,
        Ending::Gone => {}
        Ending::Mute => while matches!(stream.next().await, Some(Ok(_))) {},
        Ending::Dead => std::future::pending().await,
        Ending::Closed => {
            // What the client still sends is read, so that its close frame is found behind it.
            let drained = async { while matches!(stream.next().await, Some(Ok(_))) {} };
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, drained).await;
        }
    }
    false
}

async fn play(stream: &mut Stream, session: &mut Session) -> Result<Ending, Error> {
    loop {
        let due = session.due();
        // What is due leaves before anything is read, so that the same session always looks the same.
        if due.is_none_or(|due| due > Instant::now()) {
            tokio::select! {
                message = stream.next() => match message {
                    None => return Ok(Ending::Gone),
                    Some(Err(error)) => {
                        // The codec answers a protocol violation; that answer still has to leave.
                        let _ = stream.flush().await;
                        return Err(error);
                    }
                    Some(Ok(message)) if message.is_text() => session.receive(Some(message.as_payload())),
                    Some(Ok(message)) if message.is_binary() => session.receive(None),
                    Some(Ok(_)) => {}
                },
                () = until(due) => {}
            }
            continue;
        }
        let Some(action) = session.next() else { continue };
        match action {
            Action::Text(text) => stream.send(Message::text(text)).await?,
            Action::Binary(bytes) => stream.send(Message::binary(bytes)).await?,
            // The session waits by itself.
            Action::Pause(_) | Action::Wait(_) => {}
            Action::Raw(bytes) => {
                stream.flush().await?;
                stream.get_mut().write_all(&bytes).await.map_err(Error::Io)?;
                stream.get_mut().flush().await.map_err(Error::Io)?;
            }
            Action::Close(code, reason) => {
                close(stream, code, &reason).await?;
                return Ok(Ending::Closed);
            }
            Action::Drop => return Ok(Ending::Gone),
            Action::Reset => return Ok(Ending::Reset),
            Action::Mute => return Ok(Ending::Mute),
            Action::Dead => return Ok(Ending::Dead),
        }
    }
}

/// Waits until something is due; without anything, forever.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Sends a close frame, whatever its code: the codec refuses those that must not be sent.
async fn close(stream: &mut Stream, code: u16, reason: &str) -> Result<(), Error> {
    match CloseCode::try_from(code).ok().filter(|code| !code.is_reserved()) {
        Some(legal) => stream.send(Message::close(Some(legal), reason)).await,
        None => {
            let len = u8::try_from(reason.len() + 2).unwrap_or(2);
            let mut frame = vec![0x88, len];
            frame.extend_from_slice(&code.to_be_bytes());
            frame.extend_from_slice(&reason.as_bytes()[..usize::from(len) - 2]);
            stream.flush().await?;
            stream.get_mut().write_all(&frame).await.map_err(Error::Io)
        }
    }
}
