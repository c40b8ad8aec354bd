//! How a connection on HTTP/1 ends when the gateway does.

use super::*;
use tokio::time::Instant;

#[tokio::test]
async fn draining_waits_for_half_a_head_that_came_with_the_request_before_it() {
    let bench = start(settings());
    let mut stream = bench.connect().await;
    send(&mut stream, [GET, "GET /b HTTP/1.1\r\n"].concat()).await;
    let _ = one_answer(&mut stream).await;
    bench.drain.begin();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    send(&mut stream, "host: x\r\n\r\n").await;
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("/b tls"), "{answer:?}");
}

#[tokio::test]
async fn draining_ends_idle_connections_and_lets_answers_end() {
    let bench = start(settings());
    let mut idle = bench.connect().await;
    send(&mut idle, GET).await;
    let _ = one_answer(&mut idle).await;
    let mut busy = bench.connect().await;
    send(&mut busy, "GET /until HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let _ = busy.read_u8().await.expect("a head");
    let mut queued = bench.connect().await;
    send(&mut queued, GET).await;
    bench.drain.begin();
    assert_eq!(rest(&mut idle).await, "");
    let answer = rest(&mut queued).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    while bench.drain.open() > 1 {
        tokio::task::yield_now().await;
    }
    bench.finish.notify_one();
    assert!(rest(&mut busy).await.ends_with("0\r\n\r\n"));
    bench.drain.emptied().await;
    assert!(!bench.worker.is_finished());
    bench.drain.cut_now();
    bench.worker.await.expect("the worker ends");
}

#[tokio::test(start_paused = true)]
async fn draining_does_not_wait_for_clients_that_say_nothing() {
    let bench = start(settings());
    let mut silent = bench.connect().await;
    while bench.drain.open() == 0 {
        tokio::task::yield_now().await;
    }
    let begun = Instant::now();
    bench.drain.begin();
    assert_eq!(rest(&mut silent).await, "");
    bench.drain.emptied().await;
    assert!(begun.elapsed() < Duration::from_secs(9));
}

#[tokio::test]
async fn draining_waits_for_a_head_that_has_begun() {
    let bench = start(settings());
    let mut stream = bench.connect().await;
    send(&mut stream, GET).await;
    let _ = one_answer(&mut stream).await;
    send(&mut stream, "GET /b HTTP/1.1\r\n").await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    bench.drain.begin();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    send(&mut stream, "host: x\r\n\r\n").await;
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("/b tls"), "{answer:?}");
}

#[tokio::test]
async fn a_connection_that_rests_ends_with_the_client_and_with_the_drain() {
    let bench = start(settings());
    let (mut leaves, mut stays) = (bench.connect().await, bench.connect().await);
    for stream in [&mut leaves, &mut stays] {
        send(stream, "GET /once HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let _ = one_answer(stream).await;
    }
    tokio::time::sleep(Duration::from_millis(1200)).await;
    drop(leaves);
    bench.drain.begin();
    assert_eq!(rest(&mut stays).await, "");
    tokio::time::timeout(Duration::from_secs(5), bench.drain.emptied()).await.expect("nobody is left");
}
