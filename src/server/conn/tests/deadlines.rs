//! The deadlines of a connection on HTTP/1: heads, silence, clients that do not read.

use super::*;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn a_slow_head_is_refused_and_silence_is_not_answered() {
    let bench = start(settings());
    // (what is sent after a first whole request or not, what comes back, after how many seconds)
    for (first, part, fault, seconds) in [
        ("", "", "", 10),
        ("", "GET / HT", "RequestHeadTimeout", 10),
        (GET, "", "", 75),
        (GET, "GET / HT", "RequestHeadTimeout", 10),
    ] {
        let mut stream = bench.connect().await;
        if !first.is_empty() {
            send(&mut stream, first).await;
            let _ = one_answer(&mut stream).await;
        }
        let begun = Instant::now();
        send(&mut stream, part).await;
        let answer = rest(&mut stream).await;
        assert!(answer.ends_with(fault) && answer.is_empty() == fault.is_empty(), "{first:?} {part:?}: {answer:?}");
        assert!(fault.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer:?}");
        let took = begun.elapsed();
        assert!(
            took >= Duration::from_millis(seconds * 1000 - 100) && took < Duration::from_secs(seconds + 5),
            "{part:?} {took:?}"
        );
    }
}

/// hyper reads such a part together with the request before it, so that nothing is seen to arrive later.
#[tokio::test(start_paused = true)]
async fn half_a_head_in_one_segment_with_the_request_before_it_has_the_deadline_of_a_head() {
    let post = "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nok";
    let chunked = "POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    // (whole requests, what follows them, what it is answered with, after how many seconds)
    for (before, part, fault, seconds) in [
        (vec![GET], "GET /none HT", "RequestHeadTimeout", 10),
        (vec![GET], "G", "RequestHeadTimeout", 10),
        (vec![GET], "\r\nG", "RequestHeadTimeout", 10),
        (vec![GET], "GET /none HTTP/1.1\r\nhost: x\r\n", "RequestHeadTimeout", 10),
        (vec![GET, GET, GET], "GET /none HT", "RequestHeadTimeout", 10),
        (vec![post], "GET /none HT", "RequestHeadTimeout", 10),
        (vec![chunked], "GET /none HT", "RequestHeadTimeout", 10),
        (vec![GET], "PRI * HT", "RequestHeadTimeout", 10),
        // Line breaks are no part of a head: such a connection is idle.
        (vec![GET], "\r\n", "", 75),
        (vec![post], "\r\n", "", 75),
        (vec![post], "\n\r\n", "", 75),
    ] {
        let bench = start(settings());
        let mut stream = bench.connect().await;
        send(&mut stream, before.concat() + part).await;
        for _ in &before {
            assert!(one_answer(&mut stream).await.starts_with("HTTP/1.1 200"));
        }
        let begun = Instant::now();
        let answer = rest(&mut stream).await;
        let took = begun.elapsed();
        assert!(answer.ends_with(fault) && answer.is_empty() == fault.is_empty(), "{part:?}: {answer:?}");
        assert!(took.as_millis().abs_diff(seconds * 1000) <= 200, "{part:?} {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn line_breaks_between_requests_neither_begin_a_head_nor_prolong_the_wait() {
    let bench = start(settings());
    let mut stream = bench.connect().await;
    stream.set_nodelay(true).expect("a socket");
    send(&mut stream, GET).await;
    let _ = one_answer(&mut stream).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(70) {
        send(&mut stream, "\r\n").await;
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
    assert_eq!(rest(&mut stream).await, "");
    assert!(begun.elapsed() < Duration::from_secs(90), "{:?}", begun.elapsed());

    let mut stream = bench.connect().await;
    stream.set_nodelay(true).expect("a socket");
    send(&mut stream, GET).await;
    let _ = one_answer(&mut stream).await;
    send(&mut stream, "\r\n").await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    send(&mut stream, ["\r\n", GET].concat()).await;
    assert!(one_answer(&mut stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(start_paused = true)]
async fn a_head_that_dribbles_is_not_given_more_time() {
    let bench = start(settings());
    let mut stream = bench.connect().await;
    let begun = Instant::now();
    for byte in GET.as_bytes() {
        if stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let answer = rest(&mut stream).await;
    assert!(answer.ends_with("RequestHeadTimeout"), "{answer:?}");
    assert!(begun.elapsed() < Duration::from_secs(40));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_cut_and_one_that_waits_is_not() {
    let bench = start(settings());
    let mut stalled = bench.connect().await;
    send(&mut stalled, "GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut waiting = bench.connect().await;
    send(&mut waiting, "GET /until HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let begun = Instant::now();
    while bench.drain.open() == 2 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(begun.elapsed() < Duration::from_secs(100), "the client is still there");
    }
    assert!(begun.elapsed() >= Duration::from_secs(59), "{:?}", begun.elapsed());
    assert_eq!(*bench.dropped.lock().expect("no panic"), [true]);
    tokio::time::sleep(Duration::from_secs(600)).await;
    bench.finish.notify_one();
    let mut bytes = vec![0; 4096];
    let mut answer = String::new();
    while !answer.ends_with("0\r\n\r\n") {
        let length = waiting.read(&mut bytes).await.expect("the response goes on");
        assert!(length > 0, "{answer:?}");
        answer.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
}

/// A connection that waits for long is served without hyper's buffers in the meantime; nothing of that shows.
#[tokio::test(start_paused = true)]
async fn a_connection_that_rests_goes_on_and_keeps_its_deadlines() {
    let bench = start(Server { keep_alive_timeout: Duration::from_secs(10), ..settings() });
    let mut stream = bench.connect().await;
    for _ in 0..3 {
        send(&mut stream, "GET /again HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(one_answer(&mut stream).await.contains("/again"));
        tokio::time::sleep(Duration::from_secs(9)).await;
    }
    send(&mut stream, "GET /first HTTP/1.1\r\nhost: x\r\n\r\nGET /second HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(one_answer(&mut stream).await.contains("/first"));
    assert!(one_answer(&mut stream).await.contains("/second"));
    let idle_since = tokio::time::Instant::now();
    assert_eq!(rest(&mut stream).await, "");
    assert_eq!(idle_since.elapsed().as_secs(), 10, "closed when it was due all along");

    let mut stream = bench.connect().await;
    send(&mut stream, "GET /again HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let _ = one_answer(&mut stream).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    send(&mut stream, "GET /half HTT").await;
    let begun = tokio::time::Instant::now();
    assert!(rest(&mut stream).await.ends_with("RequestHeadTimeout"));
    assert_eq!(begun.elapsed().as_secs(), 10, "a head has as long after a rest as ever");
}
