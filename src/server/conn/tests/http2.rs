//! HTTP/2 by prior knowledge: the preface in pieces, stalled streams, idle connections, drain.

use super::*;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::Instant;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

pub(super) type Client = SendRequest<Full<Bytes>>;

/// A client, and a handle that tells when its connection has ended.
pub(super) async fn client(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> (Client, tokio::task::JoinHandle<bool>) {
    let (client, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    (client, tokio::spawn(async move { connection.await.is_ok() }))
}

pub(super) async fn get(client: &mut Client, path: &str) -> Response<Incoming> {
    client.ready().await.expect("the connection is open");
    let request = Request::get(format!("http://x{path}")).body(Full::default()).expect("a request");
    client.send_request(request).await.expect("a response")
}

pub(super) async fn text(response: Response<Incoming>) -> String {
    let bytes = response.into_body().collect().await.expect("a whole body").to_bytes();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn prior_knowledge_is_recognised() {
    let bench = start(settings());
    let (mut client, _) = client(bench.connect().await).await;
    for _ in 0..3 {
        assert_eq!(text(get(&mut client, "/a").await).await, "/a tls=false addr=true");
    }
    assert_eq!(get(&mut client, "/panic").await.status(), 500);
    assert_eq!(text(get(&mut client, "/a").await).await, "/a tls=false addr=true");
}

#[tokio::test]
async fn the_preface_may_come_in_pieces() {
    let bench = start(settings());
    for cut in 1..PREFACE.len() {
        let mut stream = bench.connect().await;
        stream.set_nodelay(true).expect("a socket");
        send(&mut stream, &PREFACE[..cut]).await;
        // Long enough for the server to look at the first piece alone.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        send(&mut stream, &PREFACE[cut..]).await;
        send(&mut stream, SETTINGS).await;
        let mut frame = [0; 9];
        let _ = stream.read_exact(&mut frame).await.expect("a frame");
        assert_eq!(frame[3], 4, "cut at {cut}: not SETTINGS: {frame:?}");
    }
}

#[tokio::test]
async fn what_only_begins_like_the_preface_is_refused() {
    let bench = start(settings());
    let mut stream = bench.connect().await;
    send(&mut stream, "PRI /x HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let answer = rest(&mut stream).await;
    assert!(answer.ends_with("BadRequest"), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_preface_that_does_not_come_is_not_waited_for() {
    let bench = start(settings());
    let mut stream = bench.connect().await;
    let begun = Instant::now();
    send(&mut stream, &PREFACE[..20]).await;
    let _ = rest(&mut stream).await;
    bench.drain.emptied().await;
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_read_is_reset_and_others_go_on() {
    let bench = start(settings());
    let (mut client, _) = client(bench.connect().await).await;
    let stalled = get(&mut client, "/endless").await;
    let waiting = get(&mut client, "/until").await;
    let begun = Instant::now();
    while bench.dropped.lock().expect("no panic").is_empty() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // The clock runs ahead of the sockets: a window that the kernel opens late is progress, and begins the time anew.
        assert!(begun.elapsed() < Duration::from_secs(600), "the stream is still there");
    }
    assert!(begun.elapsed() >= Duration::from_secs(59), "{:?}", begun.elapsed());
    assert_eq!(*bench.dropped.lock().expect("no panic"), [true]);
    let error = stalled.into_body().collect().await.err();
    assert!(error.is_some(), "a stream that was cut does not look whole");
    tokio::time::sleep(Duration::from_secs(600)).await;
    bench.finish.notify_one();
    assert_eq!(text(waiting).await, "first");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let bench = start(settings());
    let (mut client, mut ended) = client(bench.connect().await).await;
    let busy = get(&mut client, "/until").await;
    assert!(tokio::time::timeout(Duration::from_secs(300), &mut ended).await.is_err());
    bench.finish.notify_one();
    assert_eq!(text(busy).await, "first");
    let begun = Instant::now();
    assert!(ended.await.expect("no panic"));
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(74) && took < Duration::from_secs(80), "{took:?}");
}

#[tokio::test]
async fn a_cut_answer_resets_its_stream() {
    let bench = start(settings());
    let (mut client, _) = client(bench.connect().await).await;
    let response = get(&mut client, "/cut").await;
    assert!(response.into_body().collect().await.is_err());
    assert_eq!(get(&mut client, "/a").await.status(), 200);
}

#[tokio::test]
async fn draining_says_goaway_and_lets_streams_end() {
    let bench = start(settings());
    let (mut client, ended) = client(bench.connect().await).await;
    let busy = get(&mut client, "/until").await;
    bench.drain.begin();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!ended.is_finished() && bench.drain.open() == 1);
    bench.finish.notify_one();
    assert_eq!(text(busy).await, "first");
    assert!(ended.await.expect("no panic"));
    bench.drain.emptied().await;
}

#[tokio::test]
async fn a_flood_of_resets_ends_the_connection() {
    let bench = start(settings());
    let (mut client, ended) = client(bench.connect().await).await;
    for _ in 0..2000 {
        if client.ready().await.is_err() {
            break;
        }
        let request = Request::get("http://x/until").body(Full::default()).expect("a request");
        drop(client.send_request(request));
        if ended.is_finished() {
            break;
        }
    }
    // Either the connection was ended, or every stream was: nothing is left over.
    drop(client);
    let _ = ended.await;
    bench.drain.emptied().await;
}

/// Each such stream would cost a connection to a provider. What was not looked at yet is bounded by h2.
#[tokio::test]
async fn streams_that_are_reset_at_once_end_the_connection_when_they_are_many() {
    for path in ["/hints-then-wait", "/until"] {
        let bench = start(settings());
        let (mut client, ended) = client(bench.connect().await).await;
        let handled = || bench.handled.load(std::sync::atomic::Ordering::Relaxed);
        let mut opened = 0;
        while opened < 1000 && client.ready().await.is_ok() && !ended.is_finished() {
            opened += 1;
            let request = Request::get(format!("http://x{path}")).body(Full::default()).expect("a request");
            let (mut response, before) = (Box::pin(client.send_request(request)), handled());
            // Until the stream has come to the handler, where it would have cost a connection to a provider. One that is reset
            // sooner costs nothing, and h2 bounds those by itself.
            while handled() == before && !ended.is_finished() {
                if futures_util::poll!(response.as_mut()).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        assert!((100..=150).contains(&handled()), "{path}: {} of {opened} streams came to the handler", handled());
        bench.drain.emptied().await;
    }
}

#[tokio::test]
async fn a_client_that_resets_fewer_streams_than_it_lets_end_goes_on() {
    let bench = start(settings());
    let (mut client, _) = client(bench.connect().await).await;
    for _ in 0..300 {
        client.ready().await.expect("the connection is open");
        let request = Request::get("http://x/until").body(Full::default()).expect("a request");
        let mut response = Box::pin(client.send_request(request));
        for _ in 0..20 {
            if futures_util::poll!(response.as_mut()).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(response);
        assert_eq!(text(get(&mut client, "/a").await).await, "/a tls=false addr=true");
    }
}

#[tokio::test(start_paused = true)]
async fn half_a_frame_and_a_head_without_its_end_have_the_deadline_of_a_head() {
    let head = |kind: u8, flags: u8, length: u8| vec![0, 0, length, kind, flags, 0, 0, 0, 1];
    let open = [head(1, 0, 3), vec![0x82, 0x86, 0x84]].concat();
    for (name, part) in [
        ("half a frame's head", vec![0, 0]),
        ("half of HEADERS", head(1, 4, 20)),
        ("HEADERS without their end", open.clone()),
        ("CONTINUATION that never ends", [open, head(9, 0, 1), vec![0x87]].concat()),
        ("half of SETTINGS", head(4, 0, 6)),
    ] {
        let bench = start(settings());
        let mut stream = bench.connect().await;
        send(&mut stream, [PREFACE, SETTINGS, &part].concat()).await;
        let begun = Instant::now();
        let _ = rest(&mut stream).await;
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(9) && took < Duration::from_secs(13), "{name}: {took:?}");
    }
}

/// The client takes a little all the time, so that it is never without progress for as long as `write_timeout`.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_read_slowly_is_not_reset() {
    let bench = start(settings());
    let stream = bench.connect().await;
    let (client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    drop(tokio::spawn(connection));
    let mut client = client.ready().await.expect("the connection is open");
    let request = Request::get("http://x/endless").body(()).expect("a request");
    let (response, _) = client.send_request(request, true).expect("a stream");
    let mut body = response.await.expect("a response").into_body();
    let begun = Instant::now();
    let mut unread = 0;
    while begun.elapsed() < Duration::from_secs(600) {
        while unread < 800 {
            unread += body.data().await.expect("the stream goes on").expect("it is not reset").len();
        }
        body.flow_control().release_capacity(800).expect("as much as has come");
        unread -= 800;
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
}
