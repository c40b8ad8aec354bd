//! What is refused, or is no answer of gRPC, ends in trailers all the same.

use crate::grpc::{check, echo, end_as_asked, gateway};
use crate::support::grpc::{Caller, Calls, Exchange, map, message, run};
use crate::support::{Gateway, Settings};
use bytes::Bytes;
use h2::Reason;
use std::net::SocketAddr;
use std::time::Duration;

#[test]
fn responses_other_than_grpc_become_grpc() {
    run(async {
        let provider = Calls::start(|mut call: Exchange| async move {
            match call.request.uri().path() {
                "/page" => {
                    let head = http::Response::builder().status(502).header("content-type", "text/html").body(());
                    let mut send = call.respond.send_response(head.expect("a head"), false).expect("open");
                    let _ = send.send_data(Bytes::from_static(b"<html><title>502 Bad Gateway</title></html>"), true);
                }
                "/success" => call.end(200, &[("content-type", "text/html")]),
                "/limit" => call.end(429, &[("content-type", "application/json"), ("retry-after", "7")]),
                "/silent" => {
                    let mut send = call.begin();
                    let _ = send.send_data(message(b"one"), true);
                }
                "/reset" => {
                    let mut send = call.begin();
                    let _ = send.send_data(message(b"one"), false);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    send.send_reset(Reason::INTERNAL_ERROR);
                }
                "/half" => {
                    let mut send = call.begin();
                    let _ = send.send_data(message(b"one").slice(..6), false);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    send.send_reset(Reason::NO_ERROR);
                }
                "/early" => call.respond.send_reset(Reason::INTERNAL_ERROR),
                "/many" => {
                    let mut trailers = map(&[("grpc-status", "3")]);
                    for number in 0..4000 {
                        let _ = trailers.append("x-more", number.to_string().parse().expect("a value"));
                    }
                    let _ = call.begin().send_trailers(trailers);
                }
                other => panic!("{other}"),
            }
        })
        .await;
        let gateway = gateway(provider.address, "waits = { enabled = false }");
        let caller = Caller::to(gateway.address()).await;
        for (path, status, code) in [
            ("page", "14", "upstream_error"),
            ("success", "13", "invalid_upstream_response"),
            ("limit", "8", "rate_limited"),
            ("silent", "13", "invalid_upstream_response"),
            ("reset", "14", "upstream_disconnected"),
            ("half", "14", "upstream_disconnected"),
            ("early", "14", "upstream_disconnected"),
        ] {
            for route in ["google", "own"] {
                let ended = caller.call(&format!("/{route}/{path}"), &[]).await;
                // As clients take a stream that breaks, where the provider's own form is wanted.
                let broke = matches!(path, "reset" | "half") && route == "own";
                check(&ended, if broke { "13" } else { status }, code);
                let messages = matches!(path, "silent" | "reset" | "half");
                assert_eq!(ended.trailers_only, !messages, "{path}");
            }
        }
        // Of an error what is more than HTTP/2 allows is left out.
        let endless = caller.call("/google/many", &[]).await;
        let size: usize = endless.trailers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        assert!(endless.said() == ("3", "invalid_parameter") && size < 80 * 1024, "{:?} {size}", endless.said());
    });
}

#[test]
fn rejections_of_grpc_calls_are_grpc() {
    run(async {
        let provider = Calls::start(echo).await;
        let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
        let url = format!("http://{}", provider.address);
        let settings = Settings::new()
            .route_to("rate", "/rate", "google", &url, "rate_limits = [ { requests = 1, per = \"1h\" } ]")
            .route_to("slots", "/slots", "google", &url, "concurrency = { max = 1, queue = 0 }")
            .route_to("nobody", "/nobody", "google", &format!("http://{nobody}"), "")
            .route_to("cost", "/cost", "google", &url, "rate_limits = [ { requests = 1000000, per = \"1s\", cost = \"text-characters\" }, { requests = 1000000, per = \"1s\", cost = \"body-bytes\" } ]")
            .route_to("small", "/small", "google", &url, "max_request_body = \"1KiB\"");
        let gateway = Gateway::start(&settings);
        let caller = Caller::to(gateway.address()).await;
        assert_eq!(caller.call("/rate/a", &[]).await.field("grpc-status"), "0");
        for (path, status, code) in [
            ("/rate/a", "8", "rate_limited"),
            ("/nowhere/a", "12", "route_not_found"),
            ("/nobody/a", "14", "upstream_unreachable"),
        ] {
            let ended = caller.call(path, &[]).await;
            check(&ended, status, code);
            assert!(ended.trailers_only && ended.data.is_empty(), "{ended:?}");
        }
        // A slot is held to the end of the stream, and comes back with it.
        let mut held = caller.begin("/slots/a", &[]).await;
        let (_, mut body) = (&mut held.answer).await.expect("a head").into_parts();
        check(&caller.call("/slots/a", &[]).await, "8", "concurrency_limited");
        held.send.send_data(Bytes::new(), true).expect("open");
        assert!(body.data().await.is_none() && body.trailers().await.expect("trailers").is_some());
        gateway.metric_becomes("speechgate_concurrency_in_use", &[("route", "slots")], 0.0);
        assert_eq!(caller.call("/slots/a", &[]).await.field("grpc-status"), "0");
        // Costs are not waited for: the answer to the first message comes before the second.
        let mut call = caller.begin("/cost/a", &[]).await;
        call.send.send_data(message(b"one"), false).expect("open");
        let (_, mut body) = (&mut call.answer).await.expect("a head").into_parts();
        assert_eq!(body.data().await.expect("an echo").expect("data"), message(b"one"));
        drop((call, body));
        // A length that lies is bounded, a stream of any length is not.
        let mut long = caller.begin("/small/a", &[]).await;
        for _ in 0..100 {
            long.send.send_data(message(&[7; 500]), false).expect("open");
        }
        long.send.send_data(Bytes::new(), true).expect("open");
        assert_eq!(long.end().await.data.len(), 100 * 505);
        let mut lies = caller.begin("/small/a", &[]).await;
        lies.send.send_data(Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff, 1]), false).expect("open");
        check(&lies.end().await, "3", "payload_too_large");
    });
}

/// The answer was a status of HTTP alone, and any number of fields went on.
#[test]
fn a_head_that_is_too_large_is_refused_in_grpc() {
    run(async {
        let provider = Calls::start(end_as_asked).await;
        let settings = Settings::new().server("max_header_bytes = 8192").server("max_headers = 50").route_to(
            "canonical",
            "/google",
            "google",
            &format!("http://{}", provider.address),
            "",
        );
        let gateway = Gateway::start(&settings);
        let caller = Caller::to(gateway.address()).await;
        let names: Vec<String> = (0..60).map(|at| format!("x-{at}")).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
        let long = "x".repeat(9000);
        // Far beyond what is allowed the library answered, with a status alone.
        let pieces: Vec<(String, String)> = (0..12).map(|at| (format!("x-{at}"), "x".repeat(9000))).collect();
        let longer: Vec<(&str, &str)> = pieces.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        for fields in [&many[..], &[("x-long", long.as_str())], &longer] {
            let ended = caller.call("/google/trailers/0", fields).await;
            check(&ended, "3", "invalid_request");
            assert!(ended.trailers_only && provider.take().is_empty(), "{ended:?}");
        }
        // A cookie may come in crumbs, which are one field.
        let crumbs = [("cookie", "a=b"); 60];
        for fields in [&many[..40], &crumbs] {
            assert_eq!(caller.call("/google/trailers/0", fields).await.field("grpc-status"), "0");
        }
    });
}

/// Fields beyond a size were dropped without a word, the status of the call among them or not.
#[test]
fn oversized_trailers_are_an_error_and_not_truncated() {
    run(async {
        let provider = Calls::start(|mut call: Exchange| async move {
            let (count, size) = match call.request.uri().path() {
                "/many" => (3000, 20),
                "/long" => (1, 70_000),
                "/both" => (20, 16_000),
                _ => (10, 100),
            };
            let mut trailers = map(&[("grpc-status", "0")]);
            for at in 0..count {
                let name = http::HeaderName::try_from(format!("x-{at}")).expect("a name");
                let _ = trailers.append(name, http::HeaderValue::try_from("y".repeat(size)).expect("a value"));
            }
            let mut send = call.begin();
            let _ = send.send_data(message(b"one"), false);
            let _ = send.send_trailers(trailers);
        })
        .await;
        let gateway = gateway(provider.address, "");
        let caller = Caller::to(gateway.address()).await;
        for path in ["/google/many", "/google/long", "/google/both", "/own/long"] {
            let ended = caller.call(path, &[]).await;
            assert_eq!(ended.field("x-error-code"), "invalid_upstream_response", "{path} {:?}", ended.trailers.len());
            assert_eq!(ended.data, message(b"one"), "{path}");
        }
        let ended = caller.call("/google/small", &[]).await;
        assert_eq!((ended.field("grpc-status"), ended.trailers.len()), ("0", 11));
    });
}
