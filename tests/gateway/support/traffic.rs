//! Many sockets and streams at once, all in use, each of whose messages is accounted for.

use super::wire::Wire;
use super::{Client, Conn, End, Gateway, Provider};
use speechgate::wire::frame::{Opcode, Sender, apply_mask, frame, parse};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// The provider's side: it echoes on sockets, and says the next number on every stream when it is told to.
pub(crate) struct Chorus {
    pub(crate) provider: Provider,
    beat: Arc<Beat>,
}

/// The client's side.
pub(crate) struct Traffic {
    beat: Arc<Beat>,
    sockets: Vec<Wire>,
    streams: Vec<Client>,
    round: u64,
}

/// Which number has been reached, and whether it is the last.
#[derive(Default)]
struct Beat {
    at: Mutex<(u64, bool)>,
    changed: Condvar,
}

impl Beat {
    fn set(&self, number: u64, last: bool) {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = (number, last);
        self.changed.notify_all();
    }

    /// Waits until the number has been reached; whether it comes at all.
    fn reached(&self, number: u64) -> bool {
        let at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let at = self.changed.wait_while(at, |(at, last)| *at < number && !*last);
        at.unwrap_or_else(PoisonError::into_inner).0 >= number
    }
}

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const HANDSHAKE: &str = "GET /p/socket HTTP/1.1\r\nHost: gateway.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const MASK: [u8; 4] = [1, 2, 3, 4];

impl Chorus {
    pub(crate) fn start() -> Chorus {
        let beat = Arc::<Beat>::default();
        let told = Arc::clone(&beat);
        let provider = Provider::with(move |mut conn: Conn| {
            while let Some(seen) = conn.request() {
                let going_on = match seen.target() {
                    "/socket" => conn.wire.send(SWITCHING.as_bytes()).is_ok() && echo(&mut conn.wire),
                    "/stream" => count(&mut conn.wire, &told),
                    _ => conn.wire.send(super::provider::OK).is_ok(),
                };
                if !going_on {
                    return;
                }
            }
        });
        Chorus { provider, beat }
    }

    /// Opens so many sockets and so many streams through the gateway.
    pub(crate) fn open(&self, gateway: &Gateway, each: usize) -> Traffic {
        let sockets = (0..each).map(|_| {
            let mut client = gateway.client();
            let (status, ..) = client.send(HANDSHAKE).head().expect("a head");
            assert_eq!(status, 101);
            client.into_wire()
        });
        let sockets = sockets.collect();
        let streams = (0..each).map(|_| {
            let mut client = gateway.client();
            let (status, ..) = client.send(super::world::get("/p/stream")).head().expect("a head");
            assert_eq!(status, 200);
            assert_eq!(exactly(client.wire(), 13), chunk(0));
            client
        });
        Traffic { beat: Arc::clone(&self.beat), sockets, streams: streams.collect(), round: 0 }
    }
}

/// Sends back each message; whether the connection goes on, which after a close it does not.
fn echo(wire: &mut Wire) -> bool {
    while let Ok((opcode, payload)) = message(wire, Sender::Client) {
        if wire.send(&frame(opcode, &payload, None)).is_err() || opcode == Opcode::Close {
            break;
        }
    }
    wire.finish();
    false
}

/// A chunk for each number; whether the connection goes on.
fn count(wire: &mut Wire, beat: &Beat) -> bool {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut sent = wire.send(head.as_bytes());
    // The first at once: a head goes on with the first bytes of its body.
    let mut number = 0;
    while sent.is_ok() && beat.reached(number) {
        sent = wire.send(&chunk(number));
        number += 1;
    }
    sent.and_then(|()| wire.send(b"0\r\n\r\n")).is_ok()
}

/// The next frame, which is a whole message.
fn message(wire: &mut Wire, sender: Sender) -> Result<(Opcode, Vec<u8>), End> {
    let mut bytes = Vec::new();
    let (header, size) = loop {
        wire.exact(1, &mut bytes)?;
        match parse(&bytes, sender) {
            Ok(Some(found)) => break found,
            Ok(None) => {}
            Err(broken) => return Err(End::Malformed(format!("{broken:?}"))),
        }
    };
    assert_eq!(size, bytes.len());
    let mut payload = Vec::new();
    wire.exact(usize::try_from(header.length).expect("short"), &mut payload)?;
    apply_mask(&mut payload, header.mask.unwrap_or_default(), 0);
    Ok((header.opcode, payload))
}

impl Traffic {
    /// A message both ways on each socket, and a number on each stream.
    pub(crate) fn round(&mut self) {
        self.round += 1;
        self.beat.set(self.round, false);
        let said = format!("{:08}", self.round);
        for wire in &mut self.sockets {
            wire.send(&frame(Opcode::Text, said.as_bytes(), Some(MASK))).expect("the socket is open");
        }
        for wire in &mut self.sockets {
            assert_eq!(message(wire, Sender::Server), Ok((Opcode::Text, said.clone().into_bytes())));
        }
        let chunk = chunk(self.round);
        for stream in &mut self.streams {
            assert_eq!(exactly(stream.wire(), chunk.len()), chunk);
        }
    }

    /// The last message and the payload of the close, of each socket; the streams are left alone.
    pub(crate) fn farewells(mut self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let told = self.sockets.iter_mut().map(|wire| {
            let (opcode, last) = message(wire, Sender::Server).expect("a message");
            let (then, close) = message(wire, Sender::Server).expect("a close");
            assert_eq!((opcode, then), (Opcode::Text, Opcode::Close));
            let _ = wire.send(&frame(Opcode::Close, &close, Some(MASK)));
            (last, close)
        });
        told.collect()
    }

    /// Each socket is closed, and each stream comes to its end.
    pub(crate) fn finish(mut self) {
        self.beat.set(self.round, true);
        for wire in &mut self.sockets {
            wire.send(&frame(Opcode::Close, &1000_u16.to_be_bytes(), Some(MASK))).expect("the socket is open");
        }
        for wire in &mut self.sockets {
            let close = message(wire, Sender::Server);
            assert!(matches!(&close, Ok((Opcode::Close, payload)) if payload.starts_with(&[3, 232])), "{close:?}");
        }
        for stream in &mut self.streams {
            assert_eq!(exactly(stream.wire(), 5), b"0\r\n\r\n");
        }
    }
}

fn chunk(number: u64) -> Vec<u8> {
    format!("8\r\n{number:08}\r\n").into_bytes()
}

fn exactly(wire: &mut Wire, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire.exact(count, &mut bytes).expect("the stream goes on");
    bytes
}
