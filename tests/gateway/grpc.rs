//! gRPC: messages pass both ways at once, and whatever goes wrong ends a call in the trailers that its client reads.

use crate::support::grpc::{Caller, Calls, Ended, Exchange, map, message, run};
use crate::support::{Gateway, Settings};
use bytes::Bytes;
use h2::Reason;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// The routes `/google` canonical and `/own` compatible, with further lines for both.
pub(crate) fn gateway(provider: SocketAddr, lines: &str) -> Gateway {
    let url = format!("http://{provider}");
    let settings = Settings::new().route_to("canonical", "/google", "google", &url, lines).route_to(
        "own",
        "/own",
        "google",
        &url,
        &format!("envelope = \"compatible\"\n{lines}"),
    );
    Gateway::start(&settings)
}

/// Sends back what comes, as it comes, and ends in order.
pub(crate) async fn echo(mut call: Exchange) {
    let mut send = call.begin();
    while let Some(Ok(data)) = call.next().await {
        if send.send_data(data, false).is_err() {
            return;
        }
    }
    let _ = send.send_trailers(map(&[("grpc-status", "0"), ("x-own", "1")]));
}

/// Ends a call as its path says: `/head/8`, `/trailers/8`, with this sentence.
pub(crate) async fn end_as_asked(mut call: Exchange) {
    let path = call.request.uri().path().to_owned();
    let mut parts = path.split('/').skip(1);
    let (how, number) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let fields =
        [("content-type", "application/grpc"), ("grpc-status", number), ("grpc-message", "Quota%20exceeded%21")];
    if how == "head" {
        return call.end(200, &fields);
    }
    let mut send = call.begin();
    let _ = send.send_data(message(b"one"), false);
    let _ = send.send_trailers(map(&fields[1..]));
}

/// Everything that an error has to be for a client of gRPC.
pub(crate) fn check(ended: &Ended, status: &str, code: &str) {
    assert_eq!((ended.status, ended.reset), (200, None), "{ended:?}");
    assert_eq!(ended.said(), (status, code), "{ended:?}");
    assert_eq!(
        ended.head.get("content-type").map(|value| value.as_bytes()),
        Some(&b"application/grpc"[..]),
        "{ended:?}"
    );
    assert!(!ended.field("x-request-id").is_empty() && !ended.field("x-should-retry").is_empty(), "{ended:?}");
    let object: serde_json::Value = serde_json::from_str(ended.field("x-gateway-error")).expect("the object");
    assert_eq!(object["code"], code);
}

#[test]
fn messages_pass_both_ways_at_once() {
    run(async {
        let provider = Calls::start(echo).await;
        let gateway = gateway(provider.address, "");
        let caller = Caller::to(gateway.address()).await;
        let mut call =
            caller.begin("/google/google.Speech/Stream", &[("grpc-timeout", "10S"), ("x-goog-a", "b")]).await;
        // The head comes before anything has been sent, and each message before the next one is.
        let (head, mut body) = call.answer.await.expect("a head").into_parts();
        assert_eq!(head.status, 200);
        for text in [&b"one"[..], b"two", b"three"] {
            call.send.send_data(message(text), false).expect("open");
            let back = body.data().await.expect("an echo").expect("data");
            let _ = body.flow_control().release_capacity(back.len());
            assert_eq!(back, message(text));
        }
        call.send.send_data(Bytes::new(), true).expect("open");
        assert!(body.data().await.is_none());
        let trailers = body.trailers().await.expect("trailers").expect("some");
        assert_eq!(trailers, map(&[("grpc-status", "0"), ("x-own", "1")]));
        let [seen] = &provider.take()[..] else { panic!("one call") };
        assert_eq!((seen.uri.path(), seen.version), ("/google.Speech/Stream", http::Version::HTTP_2));
        let field = |name: &str| seen.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert_eq!((field("te"), field("content-type"), field("x-goog-a")), ("trailers", "application/grpc", "b"));
        let left = field("grpc-timeout").trim_end_matches('u').parse::<u64>().expect("microseconds");
        assert!((5_000_000..10_000_000).contains(&left), "{left}");
        let line = gateway.line(|line| line["grpc_status"] == 0);
        assert_eq!(
            (&line["status"], &line["grpc_status"], &line["protocol"]),
            (&200.into(), &0.into(), &"HTTP/2.0".into())
        );
    });
}

#[test]
fn a_failed_call_says_so_in_both_forms() {
    run(async {
        let provider = Calls::start(end_as_asked).await;
        let gateway = gateway(provider.address, "waits = { enabled = false }");
        let caller = Caller::to(gateway.address()).await;
        for how in ["head", "trailers"] {
            let path = |route: &str| format!("/{route}/{how}/8");
            let canonical = caller.call(&path("google"), &[]).await;
            check(&canonical, "8", "rate_limited");
            assert_eq!(canonical.field("grpc-message"), "rate_limited: Quota exceeded!");
            let own = caller.call(&path("own"), &[]).await;
            check(&own, "8", "rate_limited");
            assert_eq!(own.field("grpc-message"), "Quota%20exceeded%21");
            for ended in [&canonical, &own] {
                assert_eq!(ended.trailers_only, how == "head");
                assert_eq!(ended.data, if how == "head" { Bytes::new() } else { message(b"one") });
            }
            let ok = caller.call(&format!("/google/{how}/0"), &[]).await;
            assert_eq!((ok.said(), ok.field("grpc-message")), (("0", ""), "Quota%20exceeded%21"));
        }
        let labels = [("route", "canonical"), ("code", "rate_limited"), ("transport", "grpc"), ("origin", "provider")];
        gateway.metric_becomes("speechgate_errors_total", &labels, 2.0);
    });
}

#[test]
fn deadlines_and_cancellations_reach_the_provider_at_once() {
    run(async {
        let (told, mut hears) = mpsc::unbounded_channel();
        let provider = Calls::start(move |mut call: Exchange| {
            let told = told.clone();
            async move {
                let begun = Instant::now();
                let mut send = (call.request.uri().path() == "/begun").then(|| call.begin());
                let reason = loop {
                    match call.next().await {
                        Some(Ok(_)) => {}
                        Some(Err(error)) => break error.reason(),
                        // The client had said all that it had to say.
                        None => {
                            let reset = match &mut send {
                                Some(send) => std::future::poll_fn(|cx| send.poll_reset(cx)).await,
                                None => std::future::poll_fn(|cx| call.respond.poll_reset(cx)).await,
                            };
                            break reset.ok();
                        }
                    }
                };
                let _ = told.send((reason, begun.elapsed()));
            }
        })
        .await;
        let gateway = gateway(provider.address, "");
        let caller = Caller::to(gateway.address()).await;
        for path in ["/google/waiting", "/google/begun"] {
            let begun = Instant::now();
            let ended = caller.call(path, &[("grpc-timeout", "150m")]).await;
            check(&ended, "4", "upstream_timeout");
            assert_eq!(
                ended.field("grpc-message"),
                "upstream_timeout: The deadline that the client set for the call has passed."
            );
            assert!((140..5000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
            assert_eq!(hears.recv().await.expect("an end").0, Some(Reason::CANCEL), "{path}");

            for half_closed in [true, false] {
                let mut call = caller.begin(path, &[]).await;
                call.send.send_data(message(b"one"), half_closed).expect("open");
                tokio::time::sleep(Duration::from_millis(50)).await;
                call.send.send_reset(Reason::CANCEL);
                let (reason, took) = hears.recv().await.expect("an end");
                assert_eq!(reason, Some(Reason::CANCEL), "{path} half closed: {half_closed}");
                assert!(took < Duration::from_secs(2), "{took:?}");
            }
        }
        gateway.metric_becomes("speechgate_requests_in_flight", &[("route", "canonical")], 0.0);
    });
}

#[test]
fn only_calls_without_a_message_are_retried() {
    run(async {
        let provider = Calls::start(end_as_asked).await;
        let retry = "retry = { attempts = 3, on = [\"unavailable\"], budget = \"100%\" }\nwaits = { enabled = false }";
        let gateway = gateway(provider.address, retry);
        let caller = Caller::to(gateway.address()).await;
        check(&caller.call("/google/head/14", &[]).await, "14", "unavailable");
        assert_eq!(provider.take().len(), 3);
        check(&caller.call("/google/trailers/14", &[]).await, "14", "unavailable");
        assert_eq!(provider.take().len(), 1);
        check(&caller.call("/google/head/3", &[]).await, "3", "invalid_parameter");
        assert_eq!(provider.take().len(), 1);
    });
}

/// Each of them ended before hyper asked again, and was taken for a stream that its client resets at once.
#[test]
fn many_short_calls_on_one_connection_are_no_flood() {
    run(async {
        let provider = Calls::start(end_as_asked).await;
        let gateway = gateway(provider.address, "");
        let caller = Caller::to(gateway.address()).await;
        for _ in 0..300 {
            assert_eq!(caller.call("/google/trailers/0", &[]).await.field("grpc-status"), "0");
        }
    });
}

/// They went on as they came, and a provider may end the connection for them that other clients share.
#[test]
fn white_space_around_values_is_not_forwarded() {
    run(async {
        let provider = Calls::start(end_as_asked).await;
        let gateway = gateway(provider.address, "");
        let caller = Caller::to(gateway.address()).await;
        let fields = [("x-a", "y "), ("x-b", "\ty"), ("x-c", " "), ("x-d", "a b")];
        assert_eq!(caller.call("/google/trailers/0", &fields).await.field("grpc-status"), "0");
        let [seen] = &provider.take()[..] else { panic!("one call") };
        let seen: Vec<&[u8]> = fields.iter().map(|(name, _)| seen.headers[*name].as_bytes()).collect();
        assert_eq!(seen, [&b"y"[..], b"y", b"", b"a b"]);
    });
}

/// The first was logged and the last was read.
#[test]
fn a_success_that_is_taken_back_is_none() {
    run(async {
        let provider = Calls::start(|mut call: Exchange| async move {
            let fields = [("content-type", "application/grpc"), ("grpc-status", "0"), ("grpc-status", "13")];
            match call.request.uri().path() {
                "/head" => call.end(200, &fields),
                _ => drop(call.begin().send_trailers(map(&fields[1..]))),
            }
        })
        .await;
        let gateway = gateway(provider.address, "waits = { enabled = false }");
        let caller = Caller::to(gateway.address()).await;
        for path in ["/google/head", "/google/trailers", "/own/head", "/own/trailers"] {
            let ended = caller.call(path, &[]).await;
            assert_eq!(ended.trailers.get_all("grpc-status").iter().count(), 1, "{path} {ended:?}");
            assert!(ended.field("grpc-status") != "0" && !ended.field("x-error-code").is_empty(), "{path} {ended:?}");
        }
    });
}

/// A call of gRPC was a success to its upstream's counter as soon as it had a head.
#[test]
fn a_call_counts_for_its_upstream_as_it_ended() {
    run(async {
        let provider = Calls::start(end_as_asked).await;
        let gateway = gateway(provider.address, "waits = { enabled = false }");
        let url = format!("http://{}", provider.address);
        let caller = Caller::to(gateway.address()).await;
        let (mut successes, mut failures) = (0.0, 0.0);
        for (number, fails) in [
            ("0", false),
            ("3", false),
            ("5", false),
            ("8", false),
            ("13", true),
            ("14", true),
            ("2", true),
            ("x", true),
        ] {
            for how in ["trailers", "head"] {
                let _ = caller.call(&format!("/google/{how}/{number}"), &[]).await;
                *(if fails { &mut failures } else { &mut successes }) += 1.0;
                for (outcome, count) in [("success", successes), ("failure", failures)] {
                    let labels = [("route", "canonical"), ("upstream", url.as_str()), ("outcome", outcome)];
                    let counted = gateway.metric("speechgate_upstream_requests_total", &labels);
                    assert!((counted - count).abs() < 0.1, "{how}/{number}: {counted} of {count} {outcome}");
                }
            }
        }
    });
}

/// A provider that reads nothing makes its client wait, and nobody keeps what is sent.
#[test]
fn back_pressure_reaches_the_client() {
    run(async {
        let provider = Calls::start(|mut call: Exchange| async move {
            let _send = call.begin();
            std::future::pending::<()>().await;
        })
        .await;
        let gateway = gateway(provider.address, "");
        let caller = Caller::to(gateway.address()).await;
        let mut call = caller.begin("/google/a", &[]).await;
        let (_, _body) = (&mut call.answer).await.expect("a head").into_parts();
        let mut sent = 0;
        loop {
            call.send.reserve_capacity(16 * 1024);
            let room = std::future::poll_fn(|cx| call.send.poll_capacity(cx));
            let Ok(room) = tokio::time::timeout(Duration::from_millis(300), room).await else { break };
            let room = room.expect("open").expect("capacity").min(16 * 1024);
            sent += room;
            call.send.send_data(message(&vec![0; room - 5]), false).expect("open");
            assert!(sent < 4 << 20, "nobody waits");
        }
        assert!(sent > 64 * 1024, "{sent}");
    });
}

#[test]
fn every_sample_means_the_same_to_the_gateway() {
    run(async {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
        let truth = std::fs::read_to_string(root.join("expected.tsv")).expect("what they mean");
        let provider = Calls::start(move |mut call: Exchange| {
            let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
            async move {
                let text = std::fs::read_to_string(file.join(&call.request.uri().path()[1..])).expect("a sample");
                let fields: Vec<_> = text.lines().map(|line| line.split_once(':').expect("a field")).collect();
                let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.trim())).collect();
                let _ = call.begin().send_trailers(map(&fields));
            }
        })
        .await;
        let url = format!("http://{}", provider.address);
        let settings = ["google", "riva", "generic"].iter().fold(Settings::new(), |settings, profile| {
            settings.route_to(profile, &format!("/{profile}"), profile, &url, "waits = { enabled = false }")
        });
        let gateway = Gateway::start(&settings);
        let caller = Caller::to(gateway.address()).await;
        let mut count = 0;
        for line in truth.lines().filter(|line| line.split('\t').next().is_some_and(|name| name.ends_with(".grpc"))) {
            let cells: Vec<&str> = line.split('\t').collect();
            let (name, code) = (cells[0], if cells[1] == "CONTROL" { "" } else { cells[2] });
            let profile = name.split('/').next().expect("a profile");
            let ended = caller.call(&format!("/{profile}/{name}"), &[]).await;
            assert_eq!(ended.field("x-error-code"), code, "{name}: {ended:?}");
            count += 1;
        }
        assert!(count > 20, "only {count} samples");
    });
}

/// A stream has its record, and one that was asked to finish and says nothing more is told.
#[test]
fn a_recognition_is_recorded_and_its_result_is_waited_for() {
    run(async {
        let path = "/google/google.cloud.speech.v1.Speech/StreamingRecognize";
        let provider = Calls::start(echo).await;
        let spoken = gateway(provider.address, "silence = { result = '500ms' }");
        let ended = Caller::to(spoken.address()).await.call(path, &[]).await;
        assert_eq!(ended.data, message(b"hello"));
        let line = spoken.line(|line| line["event"] == "generation");
        assert_eq!((&line["kind"], &line["outcome"], &line["code"]), (&"stt".into(), &"complete".into(), &().into()));

        let provider = Calls::start(|mut call: Exchange| async move {
            let _send = call.begin();
            while call.next().await.is_some() {}
            std::future::pending::<()>().await;
        });
        let silent = gateway(provider.await.address, "silence = { result = '500ms' }");
        let mut call = Caller::to(silent.address()).await.begin(path, &[]).await;
        // As long as the client speaks nothing is owed.
        call.send.send_data(message(b"audio"), false).expect("open");
        tokio::time::sleep(Duration::from_millis(900)).await;
        call.send.send_data(message(b"audio"), true).expect("open");
        let began = Instant::now();
        let ended = call.end().await;
        let took = began.elapsed();
        check(&ended, "4", "no_result");
        assert!((500..750).contains(&took.as_millis()), "{took:?}");
        let line = silent.line(|line| line["event"] == "generation");
        assert_eq!((&line["outcome"], &line["code"]), (&"silent".into(), &"no_result".into()));
    });
}

/// gRPC-Web and Connect are translated nowhere: they are ordinary requests, for a provider that speaks them itself. What it says passes, and
/// what fails is answered with a status of HTTP, which their clients map to one of gRPC.
#[test]
fn relatives_of_grpc_are_ordinary_requests() {
    use crate::support::{Act, Provider, World, envelope};
    const END: &[u8] = b"\x80\0\0\0\x0fgrpc-status: 0\r\n";
    let world = World::around(Provider::start(), |settings| {
        settings.beside("rate", "/rate", "rate_limits = [{ requests = 1, per = \"1h\" }]")
    });
    let ask = |path: &str, kind: &str, more: &str| {
        let body = "\0\0\0\0\x05hello";
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\n{more}Content-Length: {}\r\n\r\n",
            body.len()
        );
        world.client().send(format!("{head}{body}")).answer()
    };
    for kind in [
        "application/grpc-web",
        "application/grpc-web+proto",
        "application/grpc-web-text",
        "application/connect+proto",
        "application/proto",
        // There is none over HTTP/1.1.
        "application/grpc",
    ] {
        let body = [message(b"one").as_ref(), END].concat();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
        world.provider.next([Act::send([head.as_bytes(), &body].concat())]);
        let answer = ask("/p/Speech/Say", kind, "X-Grpc-Web: 1\r\n");
        assert_eq!((answer.status, &answer.body), (200, &body), "{kind}");
        assert_eq!(answer.field("content-type"), kind);
        let seen = world.provider.one();
        assert_eq!(
            (seen.body.as_slice(), seen.fields.get("content-type").as_deref()),
            (&b"\0\0\0\0\x05hello"[..], Some(kind))
        );
    }
    // An error of Connect is a status and JSON.
    let body = r#"{"code":"resource_exhausted","message":"Quota exceeded."}"#;
    let refusal = format!(
        "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    world.provider.next([Act::send(&refusal)]);
    let answer = ask("/p/Speech/Say", "application/json", "Connect-Protocol-Version: 1\r\n");
    let error = envelope(&answer, "rate_limited");
    assert_eq!(
        (error["message"].as_str(), error["upstream"]["code"].as_str()),
        (Some("Quota exceeded."), Some("resource_exhausted"))
    );
    world.provider.next([Act::send(&refusal)]);
    let own = ask("/c/Speech/Say", "application/json", "Connect-Protocol-Version: 1\r\n");
    let own: serde_json::Value = serde_json::from_str(&own.text()).expect("JSON");
    assert_eq!((&own["code"], &own["gateway_error"]["code"]), (&"resource_exhausted".into(), &"rate_limited".into()));
    // The gateway's own.
    assert_eq!(ask("/rate/Speech/Say", "application/grpc-web", "").status, 200);
    let _ = envelope(&ask("/rate/Speech/Say", "application/grpc-web", ""), "rate_limited");
}
