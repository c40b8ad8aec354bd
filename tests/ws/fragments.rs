//! However a message is divided, into frames with others between them and into pieces on the wire, it says the same.

use crate::support::{Frame, Peer, SWITCHING, down, fragment, gateway, up};
use futures_util::StreamExt as _;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::Value;
use speechgate::wire::frame::Opcode::{self, Binary, Close, Continuation, Ping, Pong, Text};
use speechgate::wire::frame::Sender;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_websockets::ServerBuilder;

/// Where one frame ends and the next begins, and what stands between.
type Cut = (Index, Option<(Opcode, Vec<u8>)>);

/// A message, and how it is divided.
#[derive(Clone, Debug)]
struct Message {
    opcode: Opcode,
    payload: Vec<u8>,
    cuts: Vec<Cut>,
}

fn payload() -> impl Strategy<Value = (Opcode, Vec<u8>)> {
    let context = prop_oneof![Just(String::new()), "[a-zé\"\\\\]{0,8}".prop_map(|context| json(&context))];
    let error = (any::<String>(), context, "[ \n\t]{0,3}").prop_map(|(message, context, space)| {
        let context = if context.is_empty() { context } else { format!(",\"context_id\":{context}") };
        format!("{space}{{\"type\":\"error\",\"message\":{}{context}}}", json(&message)).into_bytes()
    });
    let text = prop_oneof![
        2 => any::<String>().prop_map(String::into_bytes),
        2 => any::<String>().prop_map(|data| format!("{{\"type\":\"chunk\",\"data\":{}}}", json(&data)).into_bytes()),
        3 => error,
        1 => (65_600..80_000_usize).prop_map(|size| format!("{{\"type\":\"error\",\"x\":\"{}\"}}", "é".repeat(size / 2)).into_bytes()),
    ];
    let binary = prop_oneof![9 => vec(any::<u8>(), 0..300), 1 => vec(any::<u8>(), 65_000..70_000)];
    prop_oneof![3 => text.prop_map(|text| (Text, text)), 1 => binary.prop_map(|binary| (Binary, binary))]
}

fn json(text: &str) -> String {
    Value::from(text).to_string()
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let control = (prop_oneof![Just(Ping), Just(Pong)], vec(any::<u8>(), 0..126));
    let cuts = vec((any::<Index>(), proptest::option::of(control)), 0..6);
    let message = (payload(), cuts).prop_map(|((opcode, payload), cuts)| Message { opcode, payload, cuts });
    vec(message, 1..6)
}

impl Message {
    /// Its frames, those between them included.
    fn frames(&self) -> Vec<Frame> {
        let size = self.payload.len();
        let mut cuts: Vec<_> = self.cuts.iter().map(|(at, between)| (at.index(size + 1), between)).collect();
        cuts.sort_by_key(|(at, _)| *at);
        let (mut frames, mut from) = (Vec::new(), 0);
        let opcode = |from: &[Frame]| if from.is_empty() { self.opcode } else { Continuation };
        for (at, between) in cuts {
            frames.push(Frame { fin: false, opcode: opcode(&frames), payload: self.payload[from..at].to_vec() });
            from = at;
            frames.extend(between.iter().map(|(opcode, payload)| Frame {
                fin: true,
                opcode: *opcode,
                payload: payload.clone(),
            }));
        }
        frames.push(Frame { fin: true, opcode: opcode(&frames), payload: self.payload[from..].to_vec() });
        frames
    }
}

/// What a session came to: the messages put together, and the pings and pongs.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    messages: Vec<(Opcode, Vec<u8>)>,
    controls: Vec<(Opcode, Vec<u8>)>,
}

impl Heard {
    fn of(frames: impl IntoIterator<Item = Frame>) -> Heard {
        let mut heard = Heard::default();
        let mut whole = true;
        for frame in frames {
            match frame.opcode {
                Close => {}
                Ping | Pong => heard.controls.push((frame.opcode, frame.payload)),
                opcode => {
                    if whole {
                        heard.messages.push((opcode, Vec::new()));
                    }
                    heard.messages.last_mut().expect("just put there").1.extend(frame.payload);
                    whole = frame.fin;
                }
            }
        }
        // What says when and in which session the error was is never the same twice.
        for (_, payload) in &mut heard.messages {
            if let Ok(mut message) = serde_json::from_slice::<Value>(payload)
                && let Some(error) = message.get_mut("error").and_then(Value::as_object_mut)
                && error.remove("request_id").is_some()
            {
                let _ = error.remove("timestamp");
                *payload = message.to_string().into_bytes();
            }
        }
        heard
    }
}

/// Sends bytes in pieces.
async fn dribble(peer: &mut Peer, bytes: &[u8], cuts: &[Index]) {
    peer.stream.set_nodelay(true).expect("a TCP socket");
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.sort_unstable();
    let mut from = 0;
    for at in cuts {
        peer.send(&bytes[from..at]).await;
        tokio::task::yield_now().await;
        from = at;
    }
    peer.send(&bytes[from..]).await;
}

fn holds(runtime: &Runtime, mut session: impl AsyncFnMut(Vec<Message>, Vec<Index>) -> Result<(), TestCaseError>) {
    let config = Config { cases: 96, failure_persistence: None, ..Config::default() };
    let session = std::cell::RefCell::new(&mut session);
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&(messages(), vec(any::<Index>(), 0..8)), |(messages, cuts)| {
        runtime.block_on((*session.borrow_mut())(messages, cuts))
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// A provider that says on each connection what it is told to; the first bytes go to the first one.
async fn script(mut said: UnboundedReceiver<(Vec<u8>, Vec<Index>)>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(tokio::spawn(async move {
        while let Some((bytes, cuts)) = said.recv().await {
            let (stream, _) = listener.accept().await.expect("the gateway comes");
            let mut peer = Peer::new(stream, Sender::Client);
            let _ = peer.head().await;
            peer.send(format!("{SWITCHING}\r\n").as_bytes()).await;
            dribble(&mut peer, &bytes, &cuts).await;
            let _ = peer.rest().await;
        }
    }));
    address
}

#[test]
fn what_the_provider_says_does_not_depend_on_frames_and_cuts() {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (say, said) = unbounded_channel();
    let gateway = runtime.block_on(async { gateway("cartesia", script(said).await, "", "") });
    holds(&runtime, async |messages, cuts| {
        let end = down(Close, 1000_u16.to_be_bytes());
        let whole = messages.iter().flat_map(|message| down(message.opcode, &message.payload));
        say.send((whole.chain(end.clone()).collect(), Vec::new())).expect("a provider");
        let expected = Heard::of(gateway.open().await.frames_until_close().await);
        let frames: Vec<Frame> = messages.iter().flat_map(Message::frames).collect();
        let bytes = frames.iter().flat_map(|frame| fragment(frame.fin, frame.opcode, &frame.payload));
        say.send((bytes.chain(end).collect(), cuts)).expect("a provider");
        let seen = Heard::of(gateway.open().await.frames_until_close().await);
        prop_assert_eq!(&seen.messages, &expected.messages);
        prop_assert_eq!(seen.controls, Heard::of(frames).controls);
        Ok(())
    });
}

#[test]
fn what_the_client_says_does_not_depend_on_frames_and_cuts() {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (heard, mut hear) = unbounded_channel();
    let gateway = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        drop(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (_, mut socket) = ServerBuilder::new().accept(stream).await.expect("a handshake");
                let mut messages = Vec::new();
                while let Some(message) = socket.next().await {
                    let message = message.expect("a message");
                    if message.is_text() || message.is_binary() {
                        let opcode = if message.is_text() { Text } else { Binary };
                        messages.push((opcode, message.as_payload().to_vec()));
                    }
                }
                let _ = heard.send(messages);
            }
        }));
        gateway("cartesia", address, "", "")
    });
    holds(&runtime, async |messages, cuts| {
        let mut client = gateway.open().await;
        let frames: Vec<Frame> = messages.iter().flat_map(Message::frames).collect();
        let bytes = frames.iter().flat_map(|frame| {
            let mut bytes = up(frame.opcode, &frame.payload);
            bytes[0] ^= u8::from(!frame.fin) << 7;
            bytes
        });
        dribble(&mut client, &bytes.chain(up(Close, 1000_u16.to_be_bytes())).collect::<Vec<u8>>(), &cuts).await;
        let answers = Heard::of(client.frames_until_close().await);
        let expected: Vec<_> = messages.iter().map(|message| (message.opcode, message.payload.clone())).collect();
        prop_assert_eq!(hear.recv().await.expect("a provider"), expected);
        let pings = frames.iter().filter(|frame| frame.opcode == Ping);
        let pongs: Vec<_> = pings.map(|ping| (Pong, ping.payload.clone())).collect();
        prop_assert_eq!(answers.controls, pongs);
        Ok(())
    });
}
