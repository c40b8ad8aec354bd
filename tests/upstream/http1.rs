//! HTTP/1.1: what each kind of broken answer is called, deadlines, uploads, upgrades.

use crate::support::{answering, client, closed, fault, fetch, get, hasty, head, patient, provider, request, upstream};
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use speechgate::canon::Fault;
use speechgate::upstream::{Client, TlsShared};
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Sleep;

#[tokio::test]
async fn an_answer_comes_through() {
    let address = answering("HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 2\r\n\r\nhi").await;
    let answer = fetch(&client(), &upstream(address), get()).await.expect("an answer");
    assert_eq!((answer.head.status, &answer.body[..]), (StatusCode::OK, &b"hi"[..]));
    assert_eq!(answer.head.headers.get_all("x-a").iter().count(), 2);
    assert!(answer.facts.connect.is_some() && !answer.facts.reused && !answer.facts.http2);
    assert_eq!(answer.facts.peer, Some(address));
}

#[tokio::test]
async fn broken_answers_have_their_names() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(500));
    let long = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(100_000));
    let rows: &[(&str, Fault)] = &[
        ("", Fault::ConnectionClosed),
        ("HTTP/1.1 200", Fault::ResponseHeadIncomplete),
        ("HTTP/1.1 200 OK\r\nContent-Le", Fault::ResponseHeadIncomplete),
        ("HTTP/1.1 103 Early Hints\r\n\r\n", Fault::ResponseHeadIncomplete),
        ("garbage\r\n\r\n", Fault::ResponseHeadInvalid),
        ("<html>HTTP/0.9</html>", Fault::ResponseHeadInvalid),
        ("HTTP/2.0 200 OK\r\n\r\n", Fault::ResponseHeadInvalid),
        ("HTTP/1.1 20 OK\r\n\r\n", Fault::ResponseHeadInvalid),
        ("HTTP/1.1 099 OK\r\n\r\n", Fault::ResponseHeadInvalid),
        ("HTTP/1.1 200 OK\r\nname : a\r\n\r\n", Fault::ResponseHeadInvalid),
        ("HTTP/1.1 200 OK\r\na: b\r\n folded\r\n\r\n", Fault::ResponseHeadInvalid),
        ("HTTP/1.1 200 OK\r\na: \0\r\n\r\n", Fault::ResponseHeadInvalid),
        ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", Fault::ResponseHeadInvalid),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Fault::ResponseHeadInvalid),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", Fault::ResponseHeadInvalid),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab", Fault::ResponseHeadInvalid),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            Fault::ResponseHeadInvalid,
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc", Fault::ResponseHeadInvalid),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Fault::ResponseHeadInvalid),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Fault::ResponseHeadInvalid),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", Fault::ResponseHeadInvalid),
        (&many, Fault::ResponseHeadTooLarge),
        (&long, Fault::ResponseHeadTooLarge),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", Fault::ResponseBodyIncomplete),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", Fault::ResponseBodyIncomplete),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", Fault::ResponseBodyIncomplete),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n", Fault::ResponseBodyIncomplete),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n", Fault::ResponseBodyInvalid),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n", Fault::ResponseBodyInvalid),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nab", Fault::ResponseBodyInvalid),
    ];
    for (answer, expected) in rows {
        let address = answering(Bytes::copy_from_slice(answer.as_bytes())).await;
        let shown = answer.get(..60).unwrap_or(answer);
        assert_eq!(fault(&client(), &upstream(address), get()).await, *expected, "{shown:?}");
    }
}

#[tokio::test]
async fn good_framings_are_taken() {
    let rows: &[(Method, &str, &str)] = &[
        (Method::GET, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", "hi"),
        (Method::GET, "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi", "hi"),
        (Method::GET, "HTTP/1.1 200 OK\r\n\r\nuntil close", "until close"),
        (Method::GET, "HTTP/1.0 200 OK\r\n\r\nuntil close", "until close"),
        (Method::GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2;x=y\r\nhi\r\n0\r\nt: 1\r\n\r\n", "hi"),
        (Method::GET, "HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n", ""),
        (Method::GET, "HTTP/1.1 799 Odd\r\nContent-Length: 0\r\n\r\n", ""),
        (Method::GET, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx", "x"),
        (Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", ""),
        (Method::GET, "HTTP/1.1 204 No Content\r\n\r\n", ""),
        (Method::GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", ""),
    ];
    for (method, answer, body) in rows {
        let address = answering(Bytes::copy_from_slice(answer.as_bytes())).await;
        let got = fetch(&client(), &upstream(address), request(method.clone(), "")).await.expect(answer);
        assert_eq!(got.body, body.as_bytes(), "{answer:?}");
        assert!(got.head.headers.get_all("content-length").iter().count() <= 1, "{answer:?}");
    }
}

#[tokio::test]
async fn a_banner_before_the_request_is_not_http() {
    let address = provider(|_, mut stream| async move {
        let _ = stream.write_all(b"220 mail.example ESMTP ready\r\n").await;
        closed(&mut stream).await;
    })
    .await;
    assert_eq!(fault(&client(), &upstream(address), get()).await, Fault::ResponseHeadInvalid);
}

#[tokio::test]
async fn the_request_is_sent_as_prepared() {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let address = provider(move |_, mut stream| {
        let told = told.clone();
        async move {
            let head = head(&mut stream).await;
            let mut body = [0; 4];
            stream.read_exact(&mut body).await.expect("the body");
            told.send((head, body)).expect("the test listens");
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    fetch(&client(), &upstream(address), request(Method::POST, "body")).await.expect("an answer");
    let (head, body) = heard.recv().await.expect("a request");
    assert_eq!(head, "POST /v1/speech?x=1 HTTP/1.1\r\nhost: provider.test\r\ncontent-length: 4\r\n\r\n");
    assert_eq!(&body, b"body");
}

#[tokio::test]
async fn silence_is_a_timeout() {
    let address = provider(|_, mut stream| async move { closed(&mut stream).await }).await;
    for body in ["", "body"] {
        let sent = client().send(&upstream(address), &hasty(), request(Method::POST, body)).await;
        assert_eq!(sent.expect_err("silence").fault, Fault::ResponseTimeout);
    }
}

#[tokio::test]
async fn a_provider_that_does_not_read_is_a_timeout() {
    let address = provider(|_, stream| async move {
        tokio::time::sleep(Duration::from_secs(20)).await;
        drop(stream);
    })
    .await;
    // More than the socket buffers of both sides hold.
    let sent = client().send(&upstream(address), &hasty(), request(Method::POST, vec![0; 32 << 20])).await;
    assert_eq!(sent.expect_err("nothing is read").fault, Fault::ResponseTimeout);
}

#[tokio::test]
async fn dropping_the_call_closes_the_connection() {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let address = provider(move |_, mut stream| {
        let told = told.clone();
        async move {
            head(&mut stream).await;
            told.send("head").expect("the test listens");
            closed(&mut stream).await;
            told.send("closed").expect("the test listens");
        }
    })
    .await;
    let (client, upstream, patient) = (client(), upstream(address), patient());
    tokio::select! {
        _ = client.send(&upstream, &patient, get()) => panic!("there is no answer"),
        told = heard.recv() => assert_eq!(told, Some("head")),
    }
    assert_eq!(heard.recv().await, Some("closed"));
}

#[tokio::test]
async fn an_early_refusal_of_a_large_upload_is_received() {
    let address = provider(|_, mut stream| async move {
        head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig").await;
        // Unread bytes make this a reset.
        drop(stream);
    })
    .await;
    let client = client();
    for _ in 0..20 {
        let answer = fetch(&client, &upstream(address), request(Method::POST, vec![0; 8 << 20])).await;
        let answer = answer.expect("the refusal");
        assert_eq!((answer.head.status.as_u16(), &answer.body[..]), (413, &b"big"[..]));
    }
}

/// A body that plays a script.
#[derive(Debug)]
pub(crate) struct Scripted {
    steps: VecDeque<Step>,
    pause: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
pub(crate) enum Step {
    Data(&'static str),
    Pause(Duration),
    Fail,
    /// Nothing any more, and no end.
    Hang,
}

/// What a broken request body says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadChunk;

impl fmt::Display for BadChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bad chunk")
    }
}

impl std::error::Error for BadChunk {}

impl http_body::Body for Scripted {
    type Data = Bytes;
    type Error = BadChunk;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BadChunk>>> {
        loop {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match self.steps.pop_front() {
                Some(Step::Pause(time)) => self.pause = Some(Box::pin(tokio::time::sleep(time))),
                Some(Step::Data(data)) => {
                    return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(data.as_bytes())))));
                }
                Some(Step::Fail) => return Poll::Ready(Some(Err(BadChunk))),
                Some(Step::Hang) => {
                    self.steps.push_front(Step::Hang);
                    return Poll::Pending;
                }
                None => return Poll::Ready(None),
            }
        }
    }
}

pub(crate) fn upload(steps: impl IntoIterator<Item = Step>) -> http::Request<Scripted> {
    let body = Scripted { steps: steps.into_iter().collect(), pause: None };
    http::Request::builder().method("POST").uri("/").header("host", "p.test").body(body).expect("valid")
}

pub(crate) fn uploader() -> Client<Scripted> {
    Client::new(Arc::new(TlsShared::new()))
}

#[tokio::test]
async fn the_error_of_the_request_body_comes_back_unchanged() {
    let address = provider(|_, mut stream| async move { closed(&mut stream).await }).await;
    for steps in [vec![Step::Fail], vec![Step::Data("a"), Step::Pause(Duration::from_millis(20)), Step::Fail]] {
        let sent = uploader().send(&upstream(address), &patient(), upload(steps)).await;
        let error = sent.expect_err("the body fails").request_body.expect("it says so");
        assert_eq!(error.downcast_ref::<BadChunk>(), Some(&BadChunk));
    }
}

#[tokio::test]
async fn the_error_of_the_request_body_comes_back_after_the_head() {
    let address = provider(|_, mut stream| async move {
        head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nbegun").await;
        closed(&mut stream).await;
    })
    .await;
    let steps = [Step::Data("a"), Step::Pause(Duration::from_millis(100)), Step::Fail];
    let exchange = uploader().send(&upstream(address), &patient(), upload(steps)).await.expect("a head");
    let failure = exchange.response.into_body().collect().await.expect_err("the upload failed");
    assert!(failure.request_body.is_some_and(|error| error.is::<BadChunk>()));
}

#[tokio::test]
async fn an_upload_that_moves_or_waits_for_the_client_is_not_cut() {
    let address = provider(|_, mut stream| async move {
        head(&mut stream).await;
        let mut read = Vec::new();
        while !read.ends_with(b"0\r\n\r\n") {
            read.push(stream.read_u8().await.expect("chunks"));
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    })
    .await;
    // Each pause is longer than the deadline for the answer.
    let pause = || Step::Pause(Duration::from_millis(220));
    let steps = [Step::Data("a"), pause(), Step::Data("b"), pause(), Step::Data("c")];
    let mut timeouts = patient();
    timeouts.response = Duration::from_millis(200);
    uploader().send(&upstream(address), &timeouts, upload(steps)).await.expect("an answer");
}

#[tokio::test]
async fn dropping_a_complete_response_ends_the_upload() {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let address = provider(move |_, mut stream| {
        let told = told.clone();
        async move {
            head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            closed(&mut stream).await;
            told.send(()).expect("the test listens");
        }
    })
    .await;
    let sent = uploader().send(&upstream(address), &patient(), upload([Step::Data("a"), Step::Hang])).await;
    let body = sent.expect("an answer").response.into_body().collect().await.expect("a body");
    assert_eq!(body.to_bytes(), "ok");
    assert_eq!(heard.recv().await, Some(()));
}

#[tokio::test]
async fn informational_answers_are_handed_on() {
    let answer = "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let address = answering(answer).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut request = get();
    let noted = Arc::clone(&seen);
    hyper::ext::on_informational(&mut request, move |early| {
        noted.lock().expect("not poisoned").push(early.status().as_u16());
    });
    fetch(&client(), &upstream(address), request).await.expect("an answer");
    assert_eq!(*seen.lock().expect("not poisoned"), [103]);
}

#[tokio::test]
async fn an_upgrade_gives_both_directions() {
    let address = provider(|_, mut stream| async move {
        head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nfirst").await;
        let mut echo = [0; 4];
        stream.read_exact(&mut echo).await.expect("bytes after the upgrade");
        let _ = stream.write_all(&echo).await;
    })
    .await;
    let mut request = get();
    request.headers_mut().insert("connection", "upgrade".parse().expect("valid"));
    request.headers_mut().insert("upgrade", "websocket".parse().expect("valid"));
    let mut upstream = upstream(address);
    // Whatever is configured, an upgrade is a matter of HTTP/1.1.
    upstream.protocol = speechgate::config::types::Protocol::Http2;
    let exchange = client().send_upgrade(&upstream, &patient(), request).await.expect("a 101");
    let upgraded = hyper::upgrade::on(exchange.response).await.expect("an upgrade");
    let mut stream = hyper_util::rt::TokioIo::new(upgraded);
    stream.write_all(b"ping").await.expect("open");
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.expect("closed in order");
    assert_eq!(all, b"firstping");
}

#[tokio::test]
async fn a_refused_upgrade_is_an_ordinary_answer() {
    let address = answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;
    let exchange = client().send_upgrade(&upstream(address), &patient(), get()).await.expect("an answer");
    let body = exchange.response.into_body().collect().await.expect("a body");
    assert_eq!(body.to_bytes(), "no");
}
