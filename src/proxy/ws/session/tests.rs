//! How a session ends, on a paused clock: two pipes stand for the client and the provider.

use super::*;
use crate::config::load_str;
use crate::proxy::context::{RequestContext, RoutedContext};
use crate::proxy::headers::{Fields, Identity};
use crate::proxy::{Peer, Shared, State};
use crate::telemetry::metrics::Metrics;
use crate::wire::close;
use crate::wire::frame::{frame, parse};
use bytes::Bytes;
use std::future::poll_fn;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

/// What fits into the pipe to the client, as into buffers of a network.
const PIPE: usize = 4096;
const WRITE: Duration = Duration::from_secs(60);

/// A session, and the far ends of its two sides.
fn session(client_pipe: usize, provider_pipe: usize) -> (Session<DuplexStream>, DuplexStream, DuplexStream) {
    let shared = Shared::new(Arc::new(Metrics::new("test", 1)), None, Identity::new("test").expect("an identity"));
    let text =
        "[[routes]]\nname = 't'\nmatch = { path = '/t' }\nprovider = 'cartesia'\nupstream = 'https://a.example'\n";
    let loaded = load_str(&[("t.toml", text)], []).expect("a configuration");
    let state = Arc::new(State::new(Arc::new(loaded.config), shared).expect("a state"));
    let (parts, ()) = http::Request::builder().uri("/t/x").body(()).expect("a request").into_parts();
    let request = RequestContext::begin(Arc::clone(&state), &Peer::new(None, false), &parts, None, Fields::default());
    let routed = state.table.resolve(None, "/t/x").expect("the route");
    let call = Box::new(RoutedContext::new(request, state.runtime(routed.route), &parts.headers));
    let route = Arc::clone(&call.route);
    let sizes = Sizes { frame: 1 << 20, message: 1 << 20 };
    let limits = Limits {
        idle: Duration::from_secs(300),
        write: WRITE,
        sizes,
        ping_client: None,
        ping_provider: None,
        provider_answers: true,
    };
    let errors = SessionErrors::new(call, Arc::clone(&route));
    let ((ours, client), (theirs, provider)) = (duplex(client_pipe), duplex(provider_pipe));
    (Session::new(ours, theirs, errors, route, limits), client, provider)
}

/// Runs a session to its end, and says how long that took.
async fn run(mut session: Session<DuplexStream>) -> Duration {
    let began = Instant::now();
    poll_fn(|cx| session.poll(cx)).await;
    began.elapsed()
}

fn microphone() -> Bytes {
    frame(Opcode::Binary, &[7; 320], Some([1, 2, 3, 4]))
}

fn close_frame(mask: Option<[u8; 4]>) -> Bytes {
    frame(Opcode::Close, &close::payload(1000, "done"), mask)
}

/// The payload bytes of the binary frames in there, and whether a close comes last.
fn heard(mut bytes: &[u8], from: Sender) -> (usize, bool) {
    let mut audio = 0;
    while let Ok(Some((header, length))) = parse(bytes, from) {
        let end = length + usize::try_from(header.length).expect("a small frame");
        match header.opcode {
            Opcode::Close => return (audio, bytes.len() == end),
            Opcode::Binary => audio += end - length,
            _ => {}
        }
        let Some(rest) = bytes.get(end..) else { break };
        bytes = rest;
    }
    (audio, false)
}

/// Takes so much a second, and sends its microphone meanwhile, until it has heard the close, which it answers.
async fn plays(mut client: DuplexStream, each_second: usize) -> (usize, bool) {
    let (mut all, mut some) = (Vec::new(), vec![0; each_second]);
    let mut sends = true;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        sends = sends && client.write_all(&microphone()).await.is_ok();
        match client.read(&mut some).await {
            Ok(0) | Err(_) => return heard(&all, Sender::Server),
            Ok(read) => all.extend_from_slice(&some[..read]),
        }
        if heard(&all, Sender::Server).1 && sends {
            sends = false;
            client.write_all(&close_frame(Some([9; 4]))).await.expect("the gateway reads");
        }
    }
}

/// More than half of the speech was lost, and the close, when a provider closed in order while its speech was still played.
#[tokio::test(start_paused = true)]
async fn all_speech_and_then_the_close_reach_a_client_that_plays_slowly() {
    const SPEECH: usize = 200 * 5000;
    for (pipe, each_second) in [(PIPE, 3200), (PIPE, 16_000), (128 * 1024, 3200)] {
        let (session, client, mut provider) = session(pipe, 1 << 20);
        let says = tokio::spawn(async move {
            for _ in 0..200 {
                provider.write_all(&frame(Opcode::Binary, &[5; 5000], None)).await.expect("the gateway reads");
            }
            provider.write_all(&close_frame(None)).await.expect("the gateway reads");
            let mut rest = Vec::new();
            let _ = provider.read_to_end(&mut rest).await;
            heard_of_the_client(&rest)
        });
        let plays = tokio::spawn(plays(client, each_second));
        let took = run(session).await;
        assert_eq!(plays.await.expect("no panic"), (SPEECH, true), "{each_second} bytes a second");
        assert!(says.await.expect("no panic"), "the client's answer to the close reaches the provider");
        assert!(took.as_secs() as usize >= SPEECH / each_second / 2, "{took:?}");
    }
}

/// Whether the client's close is there, behind its microphone.
fn heard_of_the_client(bytes: &[u8]) -> bool {
    heard(bytes, Sender::Client).1
}

/// The same the other way: a client sends what it has and closes, and the provider takes its time.
#[tokio::test(start_paused = true)]
async fn all_that_a_client_said_before_its_close_reaches_a_provider_that_reads_slowly() {
    let (session, mut client, mut provider) = session(1 << 20, PIPE);
    let says = tokio::spawn(async move {
        for _ in 0..200 {
            client.write_all(&frame(Opcode::Binary, &[5; 5000], Some([1; 4]))).await.expect("the gateway reads");
        }
        client.write_all(&close_frame(Some([1; 4]))).await.expect("the gateway reads");
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest).await;
        heard(&rest, Sender::Server)
    });
    let listens = tokio::spawn(async move {
        let (mut all, mut some) = (Vec::new(), [0; 8000]);
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            match provider.read(&mut some).await {
                Ok(0) | Err(_) => return heard(&all, Sender::Client),
                Ok(read) => all.extend_from_slice(&some[..read]),
            }
            if heard(&all, Sender::Client).1 {
                // What it made of it, then its close.
                provider.write_all(&frame(Opcode::Binary, &[6; 100], None)).await.expect("the gateway reads");
                provider.write_all(&close_frame(None)).await.expect("the gateway reads");
                let _ = provider.read_to_end(&mut all).await;
                return (heard(&all, Sender::Client).0, true);
            }
        }
    });
    let _ = run(session).await;
    assert_eq!(listens.await.expect("no panic"), (200 * 5000, true));
    assert_eq!(says.await.expect("no panic"), (100, true));
}

/// A close without an answer ends the session all the same: soon where all was taken, with the patience for clients that do not
/// read where it was not; and a client that goes on talking holds it no longer.
#[tokio::test(start_paused = true)]
async fn a_session_that_is_not_closed_ends_in_time() {
    for (reads, talks) in [(true, false), (true, true), (false, false), (false, true)] {
        let (session, client, mut provider) = session(PIPE, 1 << 20);
        let says = tokio::spawn(async move {
            provider.write_all(&frame(Opcode::Binary, &[5; 3000], None)).await.expect("the gateway reads");
            provider.write_all(&close_frame(None)).await.expect("the gateway reads");
            let mut rest = Vec::new();
            let _ = provider.read_to_end(&mut rest).await;
        });
        let stays = tokio::spawn(async move {
            let (mut from, mut to) = tokio::io::split(client);
            let talk = async {
                while talks && to.write_all(&microphone()).await.is_ok() {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            };
            let read = async {
                let mut all = Vec::new();
                if reads {
                    let _ = from.read_to_end(&mut all).await;
                }
            };
            let _ = tokio::join!(talk, read);
            tokio::time::sleep(WRITE * 3).await;
        });
        let took = run(session).await;
        assert!(took >= CLOSING && took <= WRITE + CLOSING, "reads {reads}, talks {talks}: {took:?}");
        stays.abort();
        says.await.expect("no panic");
    }
}
