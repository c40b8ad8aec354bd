//! HTTP/1: limits, refusals, ends.

use super::*;

#[tokio::test]
async fn requests_are_answered_one_after_the_other() {
    let bench = start(settings());
    let mut stream = bench.connect().await;
    assert!(stream.nodelay().is_ok());
    for _ in 0..3 {
        send(&mut stream, GET).await;
        assert!(one_answer(&mut stream).await.ends_with("/a tls=false addr=true"));
    }
    send(&mut stream, [GET, GET].concat()).await;
    for _ in 0..2 {
        assert!(one_answer(&mut stream).await.starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn what_cannot_be_parsed_is_refused_with_an_envelope() {
    let bench = start(settings());
    let long = "a".repeat(5000);
    let fields = "x: y\r\n".repeat(150);
    for (request, status, fault) in [
        ("nonsense\r\n\r\n".to_owned(), 400, "BadRequest"),
        ("GET /\u{1} HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), 400, "BadRequest"),
        ("GET / HTTP/3.0\r\nhost: x\r\n\r\n".to_owned(), 400, "BadRequest"),
        ("GET / HTTP/1.1\r\nhost : x\r\n\r\n".to_owned(), 400, "BadRequest"),
        ("GET / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n".to_owned(), 400, "BadRequest"),
        (format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"), Fault::TargetTooLong.status(), "TargetTooLong"),
        (format!("GET /{}", "a".repeat(70_000)), Fault::TargetTooLong.status(), "TargetTooLong"),
        (format!("GET / HTTP/1.1\r\nhost: x\r\nx: {long}\r\n\r\n"), Fault::HeadTooLarge.status(), "HeadTooLarge"),
        (format!("GET / HTTP/1.1\r\nhost: x\r\n{fields}\r\n"), Fault::HeadTooLarge.status(), "HeadTooLarge"),
    ] {
        for before in ["", GET] {
            let mut stream = bench.connect().await;
            send(&mut stream, before).await;
            if !before.is_empty() {
                let _ = one_answer(&mut stream).await;
            }
            send(&mut stream, &request).await;
            let answer = rest(&mut stream).await;
            let start = format!("HTTP/1.1 {status} Refused\r\n");
            assert!(
                answer.starts_with(&start) && answer.ends_with(fault),
                "{:?}: {answer:?}",
                &request[..request.len().min(40)]
            );
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_at_once() {
    let bench = start(settings());
    let mut stream = bench.connect().await;
    send(&mut stream, "GET /until HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let _ = stream.read_u8().await.expect("a head");
    drop(stream);
    bench.drain.emptied().await;
    assert_eq!(*bench.dropped.lock().expect("no panic"), [false]);
}

/// hyper does not look at the socket as long as it has bytes that it cannot use yet.
#[tokio::test]
async fn a_client_that_leaves_is_noticed_although_more_than_its_request_has_come() {
    let upload = "POST /until HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n".to_owned() + &"a".repeat(40_000);
    let until = "POST /until HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";
    for (request, more) in [
        (until, ["\r\n", ""]),
        (until, ["G", ""]),
        (until, [GET, ""]),
        // Much more would fill the windows of TCP, and the end of the connection would wait behind it.
        (until, [&"a".repeat(20_000), ""]),
        (until, ["", "\r\n"]),
        (until, ["", GET]),
        (until, ["GET /", "a HT"]),
        (upload.as_str(), ["", ""]),
    ] {
        let bench = start(settings());
        let mut stream = bench.connect().await;
        stream.set_nodelay(true).expect("a socket");
        send(&mut stream, [request, more[0]].concat()).await;
        let _ = stream.read_u8().await.expect("a head");
        send(&mut stream, more[1]).await;
        // Orderly, as a process that ends does it: nothing unread is on its side.
        let mut head = [0; 512];
        let _ = stream.read(&mut head).await.expect("the rest of it");
        drop(stream);
        let what = format!("{} bytes, then {:?}", request.len(), more.map(|more| more.get(..9).unwrap_or(more)));
        tokio::time::timeout(Duration::from_secs(20), bench.drain.emptied()).await.expect(&what);
        assert_eq!(*bench.dropped.lock().expect("no panic"), [false], "{what}");
    }
}

#[tokio::test]
async fn a_panic_becomes_an_answer_and_the_connection_goes_on() {
    let bench = start(settings());
    let mut stream = bench.connect().await;
    send(&mut stream, "GET /panic HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let answer = one_answer(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 500 ") && answer.ends_with("internal_error"), "{answer:?}");
    send(&mut stream, GET).await;
    assert!(one_answer(&mut stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn past_the_most_connections_one_is_turned_away() {
    let bench = start(Server { max_connections: 2, ..settings() });
    let mut first = bench.connect().await;
    let second = bench.connect().await;
    send(&mut first, GET).await;
    let _ = one_answer(&mut first).await;
    for _ in 0..3 {
        let mut third = bench.connect().await;
        let _ = third.write_all(GET.as_bytes()).await;
        let answer = rest(&mut third).await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("TooManyConnections"), "{answer:?}");
    }
    drop(second);
    // The place is free once the server has seen that the second one left.
    while bench.drain.open() == 2 {
        tokio::task::yield_now().await;
    }
    let mut third = bench.connect().await;
    send(&mut third, GET).await;
    assert!(one_answer(&mut third).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_answer_that_is_cut_never_looks_whole() {
    let bench = start(settings());
    let mut stream = bench.connect().await;
    send(&mut stream, "GET /cut HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let answer = rest(&mut stream).await;
    assert!(answer.contains("5\r\nfirst\r\n") && !answer.contains("\r\n0\r\n"), "{answer:?}");

    // HTTP/1.0 has no chunks: the end of the connection is the end of the response, so only a reset tells.
    for (path, whole) in [("/cut", false), ("/a", true)] {
        let mut stream = bench.connect().await;
        send(&mut stream, format!("GET {path} HTTP/1.0\r\nhost: x\r\n\r\n")).await;
        let mut bytes = Vec::new();
        let end = stream.read_to_end(&mut bytes).await;
        assert_eq!(end.is_ok(), whole, "{path} {end:?} {:?}", String::from_utf8_lossy(&bytes));
    }
    let mut stream = bench.connect().await;
    send(&mut stream, "GET /until HTTP/1.0\r\nhost: x\r\n\r\n").await;
    bench.finish.notify_one();
    assert!(rest(&mut stream).await.ends_with("first"));
}

#[tokio::test]
async fn an_early_answer_arrives_although_the_body_is_not_read() {
    let bench = start(settings());
    let mut stream = bench.connect().await;
    send(&mut stream, "POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 8000000\r\n\r\n").await;
    let mut sent = 0;
    while sent < 8_000_000 {
        match stream.write(&CHUNK[..CHUNK.len().min(8_000_000 - sent)]).await {
            Ok(length) => sent += length,
            Err(error) => panic!("reset after {sent} bytes: {error}"),
        }
    }
    assert!(one_answer(&mut stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn bodies_and_expectations_arrive() {
    let bench = start(settings());
    let mut stream = bench.connect().await;
    send(&mut stream, "POST /echo HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n").await;
    assert!(one_answer(&mut stream).await.starts_with("HTTP/1.1 100"));
    send(&mut stream, "hello").await;
    assert!(one_answer(&mut stream).await.ends_with("hello"));
    send(&mut stream, "POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n").await;
    assert!(one_answer(&mut stream).await.ends_with("broken"));
}

#[tokio::test]
async fn unix_sockets_are_served() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("gateway.sock");
    let bench = start(Server { listen: vec![Listen::Unix(path.clone())], ..settings() });
    let mut stream = tokio::net::UnixStream::connect(&path).await.expect("a connection");
    send(&mut stream, GET).await;
    assert!(one_answer(&mut stream).await.ends_with("/a tls=false addr=false"));
    drop(bench);
    assert!(!path.exists());
}

/// The kernel may give a few connections all to one worker.
#[tokio::test]
async fn few_connections_are_spread_evenly_over_the_workers() {
    for address in [Listen::Tcp(([127, 0, 0, 1], 0).into()), Listen::Unix("/nonexistent".into())] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let address = match address {
            Listen::Unix(_) => Listen::Unix(directory.path().join("gateway.sock")),
            tcp => tcp,
        };
        let mut listeners = Listeners::bind(&address, 4).expect("listeners");
        let drain = Drain::new(100);
        let mut workers = Vec::new();
        for (socket, (balance, inbox)) in listeners.sockets().into_iter().zip(Balance::new(4)) {
            let (handler, drain) = (Arc::new(Script::default()), Arc::clone(&drain));
            let worker = Arc::new(Worker { handler, server: settings(), tls: None, drain, balance });
            let listener = Listener::register(socket).expect("a runtime");
            drop(tokio::spawn(Arc::clone(&worker).run(vec![listener], inbox)));
            workers.push(worker);
        }
        let mut streams: Vec<Box<dyn Stream>> = Vec::new();
        for _ in 0..8 {
            let mut stream: Box<dyn Stream> = match listeners.address() {
                Listen::Tcp(address) => Box::new(TcpStream::connect(address).await.expect("a connection")),
                Listen::Unix(path) => Box::new(tokio::net::UnixStream::connect(path).await.expect("a connection")),
            };
            send(&mut stream, GET).await;
            assert!(one_answer(&mut stream).await.starts_with("HTTP/1.1 200"));
            streams.push(stream);
        }
        assert_eq!(workers[0].balance.loads(), [2, 2, 2, 2], "{:?}", listeners.address());
        drop(streams);
        tokio::time::timeout(Duration::from_secs(20), drain.emptied()).await.expect("all places come back");
        assert_eq!(workers[0].balance.loads(), [0; 4]);
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// What hyper had not sent yet of a response that failed was thrown away, and with it the event that told of the failure.
#[tokio::test]
async fn what_came_before_a_cut_arrives_however_slowly_it_is_read() {
    let bench = start(settings());
    // A reset would take what has not been read yet: the client still sends while it is told.
    for request in [
        "GET /cut-after-much HTTP/1.1\r\nhost: x\r\n\r\n",
        "POST /cut-after-much HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{}",
    ] {
        let mut stream = bench.connect().await;
        send(&mut stream, request).await;
        let mut bytes = Vec::new();
        let ended = stream.read_to_end(&mut bytes).await;
        let body = bytes.iter().filter(|byte| **byte == b'x').count();
        assert!(body >= MUCH && ended.is_ok(), "{body} of {MUCH} bytes, {ended:?}");
        assert!(!bytes.ends_with(b"0\r\n\r\n"), "the cut can be seen");
    }
}
