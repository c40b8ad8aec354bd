//! Which connection a call goes out on, and what happens when a kept one has died.

use crate::support::{client, closed, fault, fetch, get, head, patient, provider, request, upstream};
use http::Method;
use http_body_util::BodyExt;
use speechgate::canon::Fault;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const EMPTY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A provider that gives each request on a connection the next of `answers` and closes after the last.
async fn serving(answers: &'static [&'static str]) -> SocketAddr {
    provider(move |_, mut stream| async move {
        for answer in answers {
            if head(&mut stream).await.is_empty() {
                return;
            }
            let _ = stream.write_all(answer.as_bytes()).await;
        }
        closed(&mut stream).await;
    })
    .await
}

/// Whether a second call uses the connection of the first.
async fn reuses(method: Method, answer: &'static [&'static str]) -> bool {
    let (client, upstream) = (client(), upstream(serving(answer).await));
    fetch(&client, &upstream, request(method, "")).await.expect("a first answer");
    settle().await;
    fetch(&client, &upstream, get()).await.expect("a second answer").facts.reused
}

/// Lets every task that can run do so, sockets included.
async fn settle() {
    for _ in 0..20 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn complete_answers_leave_a_connection() {
    let rows: &[(Method, &'static [&'static str], bool)] = &[
        (Method::GET, &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", EMPTY], true),
        (Method::GET, &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", EMPTY], true),
        (Method::HEAD, &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", EMPTY], true),
        (Method::GET, &["HTTP/1.1 204 No Content\r\n\r\n", EMPTY], true),
        (Method::GET, &["HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", EMPTY], true),
        (Method::GET, &["HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno", EMPTY], true),
        (Method::GET, &["HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", EMPTY], true),
        (Method::GET, &["HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"], false),
        (Method::GET, &["HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"], false),
        // Bytes that nobody asked for: with the answer, after a HEAD, after a 204.
        (Method::GET, &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nX: smuggled\r\n\r\n"], false),
        (Method::HEAD, &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"], false),
        (Method::GET, &["HTTP/1.1 204 No Content\r\n\r\nhi"], false),
    ];
    for (method, answers, expected) in rows {
        assert_eq!(reuses(method.clone(), answers).await, *expected, "{answers:?}");
    }
}

#[tokio::test]
async fn what_came_before_a_request_is_no_answer_to_it() {
    let (give, mut streams) = tokio::sync::mpsc::unbounded_channel();
    let address = provider(move |_, mut stream| {
        let give = give.clone();
        async move {
            head(&mut stream).await;
            let _ = stream.write_all(EMPTY.as_bytes()).await;
            give.send(stream).expect("the test listens");
        }
    })
    .await;
    let (client, upstream) = (client(), upstream(address));
    fetch(&client, &upstream, get()).await.expect("a first answer");
    for early in ["HTTP/1.1 200 OK\r\nX-Early: 1\r\nContent-Length: 0\r\n\r\n", "H", "HTTP/1.1 408 Timeout\r\n\r\n"] {
        let mut stream = streams.recv().await.expect("a connection");
        settle().await;
        // The bytes lie in the socket at once, and the runtime, which has nothing to wait for here, has not been told of them.
        stream.write_all(early.as_bytes()).await.expect("an open connection");
        let answer = fetch(&client, &upstream, request(Method::POST, "body")).await.expect("an answer");
        assert!(!answer.head.headers.contains_key("x-early"), "{early:?} was taken for the answer");
        assert!(!answer.facts.reused && answer.facts.retried, "{early:?}: {:?}", answer.facts);
        assert_eq!(answer.head.status, 200);
    }
}

#[tokio::test]
async fn the_most_recent_connection_is_used_and_each_by_one_call() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let address = provider(move |number, mut stream| {
        counted.fetch_add(1, SeqCst);
        async move {
            while !head(&mut stream).await.is_empty() {
                let answer = format!("HTTP/1.1 200 OK\r\nX-Connection: {number}\r\nContent-Length: 0\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    })
    .await;
    let (client, upstream) = (client(), upstream(address));
    let pair = tokio::join!(fetch(&client, &upstream, get()), fetch(&client, &upstream, get()));
    assert!(pair.0.is_ok() && pair.1.is_ok());
    for _ in 0..10 {
        assert!(fetch(&client, &upstream, get()).await.expect("an answer").facts.reused);
    }
    assert_eq!(connections.load(SeqCst), 2);
}

#[tokio::test]
async fn an_unread_answer_costs_its_connection() {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let address = provider(move |number, mut stream| {
        let told = told.clone();
        async move {
            head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nsome").await;
            closed(&mut stream).await;
            told.send(number).expect("the test listens");
        }
    })
    .await;
    let exchange = client().send(&upstream(address), &patient(), get()).await.expect("a head");
    let mut body = exchange.response.into_body();
    body.frame().await.expect("a frame").expect("data");
    drop(body);
    assert_eq!(heard.recv().await, Some(0));
}

#[tokio::test]
async fn dropping_a_late_body_spares_the_next_call() {
    // The answer is complete and its connection lent again before the first body is looked at.
    let address = serving(&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", EMPTY]).await;
    let (client, upstream, patient) = (client(), upstream(address), patient());
    let unread = client.send(&upstream, &patient, get()).await.expect("a head");
    settle().await;
    let second = client.send(&upstream, &patient, get());
    let mut second = std::pin::pin!(second);
    let early = std::future::poll_fn(|cx| std::task::Poll::Ready(second.as_mut().poll(cx).is_ready())).await;
    assert!(!early);
    drop(unread);
    second.await.expect("an answer");
}

/// Answers the first request on its first connection; then does `second` to the next request there.
async fn dying<F, R>(second: F) -> SocketAddr
where
    F: Fn(TcpStream) -> R + Clone + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    provider(move |number, mut stream| {
        let second = second.clone();
        async move {
            head(&mut stream).await;
            let _ = stream.write_all(EMPTY.as_bytes()).await;
            if number == 0 {
                second(stream).await;
            } else {
                closed(&mut stream).await;
            }
        }
    })
    .await
}

/// Waits for the first byte of a request and closes without a word.
async fn snub(mut stream: TcpStream) {
    let _ = stream.read_u8().await;
}

#[tokio::test]
async fn a_safe_request_is_repeated_when_a_kept_connection_dies() {
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let (client, upstream) = (client(), upstream(dying(snub).await));
        fetch(&client, &upstream, get()).await.expect("a first answer");
        let answer = fetch(&client, &upstream, request(method.clone(), "")).await.expect("a repeated call");
        assert!(answer.facts.retried && !answer.facts.reused, "{method}");
    }
}

#[tokio::test]
async fn other_requests_are_not_repeated() {
    for (method, body) in [(Method::POST, ""), (Method::POST, "text"), (Method::PUT, "text"), (Method::PATCH, "")] {
        let (client, upstream) = (client(), upstream(dying(snub).await));
        fetch(&client, &upstream, get()).await.expect("a first answer");
        let found = fault(&client, &upstream, request(method.clone(), body)).await;
        assert_eq!(found, Fault::ConnectionClosed, "{method} {body:?}");
    }
}

#[tokio::test]
async fn nothing_is_repeated_after_a_byte_of_an_answer() {
    let address = dying(|mut stream| async move {
        let _ = stream.read_u8().await;
        let _ = stream.write_all(b"HTTP").await;
        head(&mut stream).await;
    })
    .await;
    let (client, upstream) = (client(), upstream(address));
    fetch(&client, &upstream, get()).await.expect("a first answer");
    assert_eq!(fault(&client, &upstream, get()).await, Fault::ResponseHeadIncomplete);
}

#[tokio::test]
async fn a_new_connection_that_dies_is_not_tried_again() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let address = provider(move |_, mut stream| {
        counted.fetch_add(1, SeqCst);
        async move {
            head(&mut stream).await;
        }
    })
    .await;
    assert_eq!(fault(&client(), &upstream(address), get()).await, Fault::ConnectionClosed);
    assert_eq!(connections.load(SeqCst), 1);
}

#[tokio::test]
async fn connections_closed_while_idle_are_not_used() {
    // The provider closes after each answer without saying so; the call after is a POST, which cannot be repeated.
    let address = provider(|_, mut stream| async move {
        head(&mut stream).await;
        let _ = stream.write_all(EMPTY.as_bytes()).await;
    })
    .await;
    let (client, upstream) = (client(), upstream(address));
    for _ in 0..5 {
        let answer = fetch(&client, &upstream, request(Method::POST, "text")).await.expect("an answer");
        assert!(!answer.facts.reused);
        settle().await;
    }
}

#[tokio::test]
async fn idle_connections_are_closed_after_a_while() {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let address = provider(move |number, mut stream| {
        let told = told.clone();
        async move {
            head(&mut stream).await;
            let _ = stream.write_all(EMPTY.as_bytes()).await;
            closed(&mut stream).await;
            told.send(number).expect("the test listens");
        }
    })
    .await;
    let client = client();
    fetch(&client, &upstream(address), get()).await.expect("an answer");
    settle().await;
    // From here on the clock jumps to whatever timer is next.
    tokio::time::pause();
    assert_eq!(heard.recv().await, Some(0));
}

#[tokio::test]
async fn a_connection_in_steady_use_gives_way_to_a_new_one_after_some_minutes() {
    let address = provider(|_, mut stream| async move {
        while !head(&mut stream).await.is_empty() {
            let _ = stream.write_all(EMPTY.as_bytes()).await;
        }
    })
    .await;
    let (client, upstream) = (client(), upstream(address));
    let mut new = Vec::new();
    // A call every three seconds, which no idle timeout notices.
    for call in 0..120 {
        if !fetch(&client, &upstream, get()).await.expect("an answer").facts.reused {
            new.push(call);
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        tokio::time::pause();
        tokio::time::advance(std::time::Duration::from_secs(3)).await;
        tokio::time::resume();
    }
    assert!(matches!(new[..], [0, 99..=111]), "{new:?}");
}
