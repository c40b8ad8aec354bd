//! Informational responses: before their own final response, after everything that came before, and to clients that know them.

use super::*;
use http::{HeaderMap, StatusCode};

/// Reads heads up to the first final response, and that response's body.
async fn statuses(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u16> {
    let mut statuses = Vec::new();
    loop {
        let status = one_answer(stream).await[9..12].parse().expect("a status");
        statuses.push(status);
        if status >= 200 {
            return statuses;
        }
    }
}

/// Sends some informational responses from another task, as the task of a provider's connection does.
pub(super) async fn send_some(informational: Option<InformationalSender>) {
    let sender = tokio::spawn(async move {
        for status in [StatusCode::PROCESSING, StatusCode::EARLY_HINTS, StatusCode::EARLY_HINTS] {
            // Before and not after, so that the final response comes at once after the last of them.
            tokio::task::yield_now().await;
            if let Some(informational) = &informational {
                informational.send(status, &HeaderMap::new());
            }
        }
    });
    sender.await.expect("it does not panic");
}

#[tokio::test]
async fn they_go_out_while_the_final_answer_is_awaited() {
    let bench = start(settings());
    let mut stream = bench.connect().await;
    send(&mut stream, "GET /hints-then-wait HTTP/1.1\r\nhost: x\r\n\r\n").await;
    for status in [102, 103, 103] {
        assert!(one_answer(&mut stream).await.starts_with(&format!("HTTP/1.1 {status} ")));
    }
    bench.finish.notify_one();
    assert_eq!(statuses(&mut stream).await, [200]);
}

#[tokio::test]
async fn each_of_several_pipelined_requests_gets_its_own() {
    let bench = start(settings());
    let mut stream = bench.connect().await;
    let paths = ["/a", "/hints", "/a", "/hints", "/hints", "/panic", "/hints"];
    let requests: String = paths.iter().map(|path| format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).collect();
    send(&mut stream, requests).await;
    for path in paths {
        let expected: &[u16] = match path {
            "/hints" => &[102, 103, 103, 200],
            "/panic" => &[500],
            _ => &[200],
        };
        assert_eq!(statuses(&mut stream).await, expected, "{path}");
    }
}

#[tokio::test]
async fn a_client_that_waits_for_100_gets_that_and_them() {
    let bench = start(settings());
    let mut stream = bench.connect().await;
    send(&mut stream, "POST /hints-echo HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        .await;
    for status in [102, 103, 103, 100] {
        assert!(one_answer(&mut stream).await.starts_with(&format!("HTTP/1.1 {status} ")));
    }
    send(&mut stream, "ok").await;
    assert!(one_answer(&mut stream).await.ends_with("\r\n\r\nok"));
}

#[tokio::test]
async fn clients_that_do_not_know_them_get_none() {
    let bench = start(settings());
    let mut stream = bench.connect().await;
    send(&mut stream, "GET /hints HTTP/1.0\r\nhost: x\r\n\r\n").await;
    assert_eq!(statuses(&mut stream).await, [200]);
    let (mut client, _) = super::http2::client(bench.connect().await).await;
    assert_eq!(super::http2::get(&mut client, "/hints").await.status(), 200);
}

#[tokio::test]
async fn they_never_cut_into_the_answer_before() {
    let bench = start(settings());
    let mut stream = bench.connect().await;
    // The first response does not end, so that no informational response to the second request may be written, nor the second begin.
    send(&mut stream, "GET /until HTTP/1.1\r\nhost: x\r\n\r\nGET /hints HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut first = Vec::new();
    while !first.ends_with(b"5\r\nfirst\r\n") {
        first.push(stream.read_u8().await.expect("the first response"));
    }
    bench.finish.notify_one();
    let mut end = [0; 5];
    let _ = stream.read_exact(&mut end).await.expect("the end of the first response");
    assert_eq!(&end, b"0\r\n\r\n");
    assert_eq!(statuses(&mut stream).await, [102, 103, 103, 200]);
}
