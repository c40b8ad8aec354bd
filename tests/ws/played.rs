//! A provider whose sockets a test plays, message by message.

use crate::support::{Peer, closing, down, provider};
use serde_json::Value;
use speechgate::wire::frame::Opcode::{Close, Ping, Pong, Text};
use std::net::SocketAddr;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The provider's end of one socket.
pub(crate) struct End {
    /// Its handshake.
    pub(crate) head: String,
    /// The text messages that it hears.
    pub(crate) heard: UnboundedReceiver<Value>,
    /// The bytes that it is to say.
    pub(crate) say: UnboundedSender<Vec<u8>>,
}

impl End {
    pub(crate) async fn hears(&mut self, expected: &Value) {
        assert_eq!(self.heard.recv().await.as_ref(), Some(expected));
    }

    /// Waits until the gateway has left.
    pub(crate) async fn leaves(mut self) {
        assert_eq!(self.heard.recv().await, None);
    }

    pub(crate) fn says(&self, message: &Value) {
        self.say.send(down(Text, message.to_string())).expect("the socket is open");
    }

    pub(crate) fn closes(&self, code: u16, reason: &str) {
        self.say.send(down(Close, closing(code, reason))).expect("the socket is open");
    }
}

/// A provider whose sockets are played by the test, in the order in which they are opened. It answers pings.
pub(crate) async fn played() -> (SocketAddr, UnboundedReceiver<End>) {
    playing(true).await
}

/// The same that answers none: what comes has not been read by whoever could have answered.
pub(crate) async fn deaf() -> (SocketAddr, UnboundedReceiver<End>) {
    playing(false).await
}

async fn playing(pongs: bool) -> (SocketAddr, UnboundedReceiver<End>) {
    let (ends, opened) = unbounded_channel();
    let address = provider(move |mut peer: Peer, head| {
        let ends = ends.clone();
        async move {
            peer.accept("").await;
            let (tell, heard) = unbounded_channel();
            let (say, mut said) = unbounded_channel::<Vec<u8>>();
            let _ = ends.send(End { head, heard, say });
            loop {
                tokio::select! {
                    frame = peer.frame() => match frame {
                        Some(frame) if frame.opcode == Text => drop(tell.send(frame.json())),
                        Some(frame) if frame.opcode == Ping && pongs => peer.send(&down(Pong, frame.payload)).await,
                        Some(frame) if frame.opcode == Close => return peer.send(&down(Close, frame.payload)).await,
                        Some(_) => {}
                        None => return,
                    },
                    bytes = said.recv() => match bytes {
                        Some(bytes) => peer.send(&bytes).await,
                        // Without a word.
                        None => return,
                    },
                }
            }
        }
    })
    .await;
    (address, opened)
}
