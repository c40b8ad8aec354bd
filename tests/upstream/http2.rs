//! HTTP/2, by prior knowledge: sharing, limits, resets, goodbyes.

use crate::http1::{BadChunk, Step, upload, uploader};
use crate::support::{client, fault, fetch, get, hasty, patient, provider, request, upstream};
use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use speechgate::canon::Fault;
use speechgate::config::types::{Protocol, Upstream};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Runs `script` for every stream, with the connection's number.
async fn streams<F, R>(settings: fn(&mut h2::server::Builder), script: F) -> (Upstream, Arc<AtomicUsize>)
where
    F: Fn(usize, Request<h2::RecvStream>, SendResponse<Bytes>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let address = provider(move |number, stream| {
        counted.fetch_add(1, SeqCst);
        let script = script.clone();
        async move {
            let mut connection = accept(settings, stream).await;
            while let Some(Ok((request, respond))) = connection.accept().await {
                tokio::spawn(script(number, request, respond));
            }
        }
    })
    .await;
    (http2(address), connections)
}

async fn accept(settings: fn(&mut h2::server::Builder), stream: TcpStream) -> Connection<TcpStream, Bytes> {
    let mut builder = h2::server::Builder::new();
    settings(&mut builder);
    builder.handshake(stream).await.expect("a preface")
}

fn http2(address: SocketAddr) -> Upstream {
    Upstream { protocol: Protocol::Http2, ..upstream(address) }
}

fn say(mut respond: SendResponse<Bytes>, text: &'static str) {
    let mut body = respond.send_response(Response::new(()), false).expect("an open stream");
    body.send_data(Bytes::from_static(text.as_bytes()), true).expect("an open stream");
}

#[tokio::test]
async fn requests_are_made_fit_for_http2() {
    let (upstream, _) = streams(
        |_| {},
        |_, request, mut respond| async move {
            assert_eq!(request.uri(), "http://provider.test/v1/speech?x=1");
            let names: Vec<_> = request.headers().keys().map(http::HeaderName::as_str).collect();
            let names = names.join(" ");
            let response = Response::builder().header("x-names", names).body(()).expect("valid");
            respond.send_response(response, true).expect("an open stream");
        },
    )
    .await;
    let mut request = request(Method::POST, "text");
    for (name, value) in [
        ("connection", "te, x-hop"),
        ("keep-alive", "5"),
        ("te", "gzip"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("x-kept", "1"),
    ] {
        request.headers_mut().insert(name, value.parse().expect("valid"));
    }
    let answer = fetch(&client(), &upstream, request).await.expect("an answer");
    assert!(answer.facts.http2);
    assert_eq!(answer.head.headers["x-names"], "x-kept content-length");
}

#[tokio::test]
async fn one_connection_carries_a_burst() {
    let (upstream, connections) = streams(|_| {}, |_, _, respond| async move { say(respond, "ok") }).await;
    let client = client();
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let (client, upstream) = (client.clone(), upstream.clone());
            tokio::spawn(async move { fetch(&client, &upstream, get()).await })
        })
        .collect();
    for call in calls {
        assert_eq!(&call.await.expect("no panic").expect("an answer").body[..], b"ok");
    }
    assert_eq!(connections.load(SeqCst), 1);
}

#[tokio::test]
async fn a_full_connection_is_joined_by_another() {
    let (upstream, connections) = streams(
        |settings| {
            settings.max_concurrent_streams(2);
        },
        |_, _, mut respond| async move {
            // Heads come at once, bodies never end.
            let body = respond.send_response(Response::new(()), false).expect("an open stream");
            std::future::pending::<()>().await;
            drop(body);
        },
    )
    .await;
    let (client, patient) = (client(), patient());
    let mut open = Vec::new();
    for _ in 0..5 {
        open.push(client.send(&upstream, &patient, get()).await.expect("a head"));
    }
    assert_eq!(connections.load(SeqCst), 3);
    open.truncate(1);
    client.send(&upstream, &patient, get()).await.expect("a place has become free");
    assert_eq!(connections.load(SeqCst), 3);
}

#[tokio::test]
async fn dropping_the_body_resets_the_stream() {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let (upstream, _) = streams(
        |_| {},
        move |_, _, mut respond| {
            let told = told.clone();
            async move {
                let mut body = respond.send_response(Response::new(()), false).expect("an open stream");
                body.send_data(Bytes::from_static(b"begun"), false).expect("an open stream");
                let reason = std::future::poll_fn(|cx| body.poll_reset(cx)).await.expect("an open connection");
                told.send(reason).expect("the test listens");
            }
        },
    )
    .await;
    let (client, patient) = (client(), patient());
    let exchange = client.send(&upstream, &patient, get()).await.expect("a head");
    let mut body = exchange.response.into_body();
    body.frame().await.expect("a frame").expect("data");
    drop(body);
    assert_eq!(heard.recv().await, Some(h2::Reason::CANCEL));
}

#[tokio::test]
async fn dropping_the_call_resets_the_stream() {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let (upstream, _) = streams(
        |_| {},
        move |_, _, mut respond| {
            let told = told.clone();
            async move {
                told.send(h2::Reason::NO_ERROR).expect("the test listens");
                let reason = std::future::poll_fn(|cx| respond.poll_reset(cx)).await.expect("an open connection");
                told.send(reason).expect("the test listens");
            }
        },
    )
    .await;
    let (client, patient) = (client(), patient());
    tokio::select! {
        _ = client.send(&upstream, &patient, get()) => panic!("there is no answer"),
        begun = heard.recv() => assert_eq!(begun, Some(h2::Reason::NO_ERROR)),
    }
    assert_eq!(heard.recv().await, Some(h2::Reason::CANCEL));
}

#[tokio::test]
async fn silence_is_a_timeout() {
    let (upstream, _) = streams(
        |_| {},
        |_, request, respond| async move {
            std::future::pending::<()>().await;
            drop((request, respond));
        },
    )
    .await;
    let sent = client().send(&upstream, &hasty(), get()).await;
    assert_eq!(sent.expect_err("silence").fault, Fault::ResponseTimeout);
}

#[tokio::test]
async fn a_connection_that_hung_behind_the_head_of_an_answer_gets_no_other_call() {
    let (upstream, connections) = streams(
        |_| {},
        |number, _, mut respond| async move {
            let mut body = respond.send_response(Response::new(()), false).expect("an open stream");
            body.send_data(Bytes::from_static(b"some"), number > 0).expect("an open stream");
            std::future::pending::<()>().await;
        },
    )
    .await;
    let (client, patient) = (client(), patient());
    let exchange = client.send(&upstream, &patient, get()).await.expect("a head");
    let mut body = exchange.response.into_body();
    body.frame().await.expect("a frame").expect("data");
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(2)).await;
    tokio::time::resume();
    drop(body);
    fetch(&client, &upstream, get()).await.expect("an answer from elsewhere");
    assert_eq!(connections.load(SeqCst), 2);
}

#[tokio::test]
async fn resets_have_their_names() {
    let (before, _) =
        streams(|_| {}, |_, _, mut respond| async move { respond.send_reset(h2::Reason::INTERNAL_ERROR) }).await;
    assert_eq!(fault(&client(), &before, get()).await, Fault::ConnectionClosed);

    let seen = Arc::new(tokio::sync::Notify::new());
    let head_seen = Arc::clone(&seen);
    let (after, _) = streams(
        |_| {},
        move |_, _, mut respond| {
            let head_seen = Arc::clone(&head_seen);
            async move {
                let mut body = respond.send_response(Response::new(()), false).expect("an open stream");
                head_seen.notified().await;
                body.send_reset(h2::Reason::INTERNAL_ERROR);
            }
        },
    )
    .await;
    let exchange = client().send(&after, &patient(), get()).await.expect("a head");
    seen.notify_one();
    let cut = exchange.response.into_body().collect().await;
    assert_eq!(cut.expect_err("a reset").fault, Fault::ResponseBodyIncomplete);

    let (short, _) = streams(
        |_| {},
        |_, _, mut respond| async move {
            let response = Response::builder().header("content-length", "10").body(()).expect("valid");
            let mut body = respond.send_response(response, false).expect("an open stream");
            body.send_data(Bytes::from_static(b"short"), true).expect("an open stream");
        },
    )
    .await;
    assert_eq!(fault(&client(), &short, get()).await, Fault::ResponseBodyInvalid);
}

#[tokio::test]
async fn an_unprocessed_request_is_repeated_elsewhere() {
    let (upstream, _) = streams(
        |_| {},
        |number, request, mut respond| async move {
            if number == 0 && request.method() == Method::POST {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
            } else {
                say(respond, "ok");
            }
        },
    )
    .await;
    let client = client();
    fetch(&client, &upstream, get()).await.expect("a first answer");
    // Not idempotent, but the provider says that it has not processed it, and what was sent of the body is still there.
    for body in ["", "text"] {
        let answer = fetch(&client, &upstream, request(Method::POST, body)).await.expect("a repeated call");
        assert!(answer.facts.retried, "{body:?}");
    }
}

/// A provider of HTTP/2 that does not process what comes on its first `refusing` connections, and elsewhere echoes the body.
async fn refusing(refusing: usize) -> (Upstream, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let address = provider(move |number, stream| {
        counted.fetch_add(1, SeqCst);
        async move {
            let mut connection = accept(|_| {}, stream).await;
            while let Some(Ok((mut request, mut respond))) = connection.accept().await {
                if number < refusing && request.method() == Method::POST {
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                    continue;
                }
                tokio::spawn(async move {
                    let mut body = respond.send_response(Response::new(()), false).expect("an open stream");
                    while let Some(data) = request.body_mut().data().await {
                        let data = data.expect("a whole body");
                        let _ = request.body_mut().flow_control().release_capacity(data.len());
                        body.send_data(data, false).expect("an open stream");
                    }
                    let trailers = request.body_mut().trailers().await.expect("a whole body");
                    match trailers {
                        Some(trailers) => body.send_trailers(trailers).expect("an open stream"),
                        None => body.send_data(Bytes::new(), true).expect("an open stream"),
                    }
                });
            }
        }
    })
    .await;
    (http2(address), connections)
}

#[tokio::test]
async fn a_post_that_was_not_processed_is_sent_again_with_its_body() {
    // (refusing connections, what comes of it): a first connection may refuse as well as one that was used before.
    for (refusals, repeated) in [(1, true), (2, true), (3, false)] {
        let (upstream, connections) = refusing(refusals).await;
        let client = client();
        fetch(&client, &upstream, get()).await.expect("a first answer");
        let sent = fetch(&client, &upstream, request(Method::POST, "some text")).await;
        match sent {
            Ok(answer) => assert!(repeated && answer.body == "some text", "{refusals}"),
            Err(failure) => assert_eq!((repeated, failure.fault), (false, Fault::ConnectionClosed)),
        }
        assert_eq!(connections.load(SeqCst), if repeated { refusals + 1 } else { 3 }, "{refusals}");
    }
}

#[tokio::test]
async fn a_post_behind_the_last_stream_of_a_goodbye_is_sent_again() {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    // NO_ERROR, and ENHANCE_YOUR_CALM: the reason says nothing of what was processed.
    for reason in [0, 11] {
        // GOAWAY: stream 1 is the last that was processed.
        let goodbye = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, reason];
        let address = provider(move |number, mut stream| async move {
            let mut preface = [0; 24];
            let _ = stream.read_exact(&mut preface).await;
            let _ = stream.write_all(&SETTINGS).await;
            let mut frame = [0; 9];
            while stream.read_exact(&mut frame).await.is_ok() {
                let [a, b, c, _, flags, .., id] = frame;
                let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
                let _ = stream.read_exact(&mut payload).await;
                let ends_request = frame[3] <= 1 && flags & 1 == 1;
                if ends_request && number == 0 && id > 1 {
                    let _ = stream.write_all(&goodbye).await;
                } else if ends_request {
                    // HEADERS with END_STREAM and END_HEADERS: `:status: 200`.
                    let _ = stream.write_all(&[0, 0, 1, 1, 5, 0, 0, 0, id, 0x88]).await;
                }
            }
        })
        .await;
        let (client, upstream) = (client(), http2(address));
        fetch(&client, &upstream, request(Method::POST, "one")).await.expect("a first answer");
        let answer = fetch(&client, &upstream, request(Method::POST, "two")).await.expect("a repeated call");
        assert!(answer.facts.retried);
    }
}

#[tokio::test]
async fn a_body_that_still_comes_is_sent_again_from_its_beginning() {
    let (upstream, _) = refusing(1).await;
    let steps = [Step::Data("one "), Step::Pause(std::time::Duration::from_millis(50)), Step::Data("two")];
    let sent = uploader().send(&upstream, &patient(), upload(steps)).await.expect("a repeated call");
    assert!(sent.facts.retried);
    assert_eq!(sent.response.into_body().collect().await.expect("a body").to_bytes(), "one two");
}

#[tokio::test]
async fn a_large_body_is_sent_once() {
    let (upstream, connections) = refusing(1).await;
    let found = fault(&client(), &upstream, request(Method::POST, vec![b'a'; 300_000])).await;
    assert_eq!((found, connections.load(SeqCst)), (Fault::ConnectionClosed, 1));
}

#[tokio::test]
async fn a_connection_carries_no_more_streams_than_its_window_feeds() {
    // The provider allows more streams, sends heads at once and as much of each body as it may.
    let (upstream, connections) = streams(
        |settings| {
            settings.max_concurrent_streams(250);
        },
        |_, _, mut respond| async move {
            let mut body = respond.send_response(Response::new(()), false).expect("an open stream");
            body.send_data(Bytes::from(vec![b'a'; 1 << 20]), true).expect("an open stream");
        },
    )
    .await;
    let (client, patient) = (client(), patient());
    let mut unread = Vec::new();
    for _ in 0..64 {
        unread.push(client.send(&upstream, &patient, get()).await.expect("a head"));
    }
    assert_eq!(connections.load(SeqCst), 1);
    let answer = fetch(&client, &upstream, get()).await.expect("an answer, although 64 others are not read");
    assert_eq!((answer.body.len(), connections.load(SeqCst)), (1 << 20, 2));
}

#[tokio::test]
async fn an_old_connection_takes_no_more_calls_and_ends_those_it_has() {
    let goes_on = Arc::new(tokio::sync::Notify::new());
    let waiting = Arc::clone(&goes_on);
    let (upstream, connections) = streams(
        |_| {},
        move |number, _, mut respond| {
            let waiting = Arc::clone(&waiting);
            async move {
                let mut body = respond.send_response(Response::new(()), false).expect("an open stream");
                if number == 0 {
                    waiting.notified().await;
                }
                body.send_data(Bytes::from_static(b"whole"), true).expect("an open stream");
            }
        },
    )
    .await;
    let (client, patient) = (client(), patient());
    let old = client.send(&upstream, &patient, get()).await.expect("a head");
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(331)).await;
    tokio::time::resume();
    let new = fetch(&client, &upstream, get()).await.expect("an answer");
    assert_eq!((&new.body[..], connections.load(SeqCst)), (&b"whole"[..], 2));
    goes_on.notify_one();
    let rest = old.response.into_body().collect().await.expect("the old connection still carries its call");
    assert_eq!(rest.to_bytes(), "whole");
}

#[tokio::test]
async fn after_a_goodbye_comes_a_new_connection() {
    let address = provider(|_, stream| async move {
        let mut connection = accept(|_| {}, stream).await;
        while let Some(Ok((_, respond))) = connection.accept().await {
            say(respond, "ok");
            connection.graceful_shutdown();
        }
    })
    .await;
    let (client, upstream) = (client(), http2(address));
    for _ in 0..5 {
        let answer = fetch(&client, &upstream, request(Method::POST, "text")).await.expect("an answer");
        assert_eq!(&answer.body[..], b"ok");
        for _ in 0..10 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test]
async fn a_provider_that_speaks_http1_is_not_http2() {
    let address = provider(|_, mut stream| async move {
        crate::support::head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        crate::support::closed(&mut stream).await;
    })
    .await;
    let failure = fetch(&client(), &http2(address), get()).await.expect_err("not HTTP/2");
    assert_eq!(failure.fault, Fault::ResponseHeadInvalid, "{}", failure.detail);
}

#[tokio::test]
async fn the_error_of_the_request_body_comes_back_unchanged() {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let (upstream, _) = streams(
        |_| {},
        move |_, mut request, respond| {
            let told = told.clone();
            async move {
                let cut = loop {
                    match request.body_mut().data().await {
                        Some(Ok(_)) => {}
                        other => break other,
                    }
                };
                told.send(cut.and_then(Result::err).and_then(|error| error.reason())).expect("the test listens");
                drop(respond);
            }
        },
    )
    .await;
    let sent = uploader().send(&upstream, &patient(), upload([Step::Data("a"), Step::Fail])).await;
    let error = sent.expect_err("the body fails").request_body.expect("it says so");
    assert_eq!(error.downcast_ref::<BadChunk>(), Some(&BadChunk));
    assert_eq!(heard.recv().await, Some(Some(h2::Reason::CANCEL)));
}

#[tokio::test]
async fn dropping_a_complete_response_ends_the_upload() {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let (upstream, _) = streams(
        |_| {},
        move |_, mut request, respond| {
            let told = told.clone();
            async move {
                request.body_mut().data().await.expect("a frame").expect("data");
                say(respond, "ok");
                let cut = request.body_mut().data().await.expect("an end that is not clean");
                told.send(cut.expect_err("a reset").reason()).expect("the test listens");
            }
        },
    )
    .await;
    let client = uploader();
    let sent = client.send(&upstream, &patient(), upload([Step::Data("a"), Step::Hang])).await;
    let body = sent.expect("an answer").response.into_body().collect().await.expect("a body");
    assert_eq!(body.to_bytes(), "ok");
    assert_eq!(heard.recv().await, Some(Some(h2::Reason::CANCEL)));
}

#[tokio::test]
async fn an_answer_cut_with_no_error_is_not_complete() {
    // Half an answer, then a reset without END_STREAM, which hyper takes for the end of the body.
    let seen = Arc::new(tokio::sync::Notify::new());
    let data_seen = Arc::clone(&seen);
    let (upstream, _) = streams(
        |_| {},
        move |_, _, mut respond| {
            let data_seen = Arc::clone(&data_seen);
            async move {
                let mut body = respond.send_response(Response::new(()), false).expect("an open stream");
                body.send_data(Bytes::from_static(b"half"), false).expect("an open stream");
                data_seen.notified().await;
                body.send_reset(h2::Reason::NO_ERROR);
            }
        },
    )
    .await;
    let exchange = client().send(&upstream, &patient(), get()).await.expect("a head");
    let mut body = exchange.response.into_body();
    let half = body.frame().await.expect("a frame").expect("data");
    assert_eq!(half.into_data().ok(), Some(Bytes::from_static(b"half")));
    seen.notify_one();
    let end = body.frame().await.expect("not a clean end");
    assert_eq!(end.expect_err("a cut").fault, Fault::ResponseBodyIncomplete);
}

#[tokio::test]
async fn an_answer_that_is_complete_before_a_reset_with_no_error_is_complete() {
    // RFC 9113 8.1: a server that needs no more of the request ends its answer, and then the stream.
    let (upstream, _) = streams(
        |_| {},
        |_, request, respond| async move {
            say(respond, "whole");
            // h2 sends the reset when a body that it was still reading is dropped.
            drop(request);
        },
    )
    .await;
    let sent = uploader().send(&upstream, &patient(), upload([Step::Data("a"), Step::Hang])).await;
    let body = sent.expect("an answer").response.into_body().collect().await.expect("a complete body");
    assert_eq!(body.to_bytes(), "whole");
}
