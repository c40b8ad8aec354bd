//! A pause that the provider asks for binds whom it was said to; its three 429s ask for three different things.

use super::support::stage::Stage;
use super::support::world::{get, get_with, json_answer};
use super::support::{Act, Answer, Gateway, Provider, Settings, World, envelope};
use std::time::{Duration, Instant};

/// A failure in ElevenLabs' words.
fn failing(status: u16, code: &str, lines: &str) -> Act {
    Act::send(json_answer(status, lines, &format!("{{\"detail\":{{\"code\":\"{code}\",\"message\":\"no\"}}}}")))
}

/// A refusal made here instead of the provider, and its wait.
fn held(answer: &Answer, code: &str) -> f64 {
    let error = envelope(answer, code);
    assert_eq!((&error["origin"], &error["retryable"]), (&"gateway".into(), &true.into()));
    assert_eq!(answer.field("proxy-status"), "speechgate; error=destination_unavailable");
    error["retry_after_seconds"].as_f64().expect("a wait")
}

/// What the provider answers once, whether the next request for the same reaches it, and with what that is refused otherwise.
#[test]
fn three_refusals_with_the_same_status_mean_three_things() {
    for (status, code, lines, holds) in [
        (429, "rate_limit_exceeded", "Retry-After: 30\r\n", Some("rate_limited")),
        (429, "rate_limit_exceeded", "", None),
        (429, "concurrent_limit_exceeded", "Retry-After: 30\r\n", None),
        (429, "quota_exceeded", "Retry-After: 30\r\n", None),
        (401, "quota_exceeded", "Retry-After: 30\r\n", None),
        (503, "service_unavailable", "Retry-After: 30\r\n", Some("unavailable")),
        (429, "system_busy", "Retry-After: 30\r\n", Some("overloaded")),
        (500, "internal_error", "Retry-After: 30\r\n", None),
        (503, "service_unavailable", "Retry-After: 0\r\n", None),
    ] {
        let world = World::start();
        world.provider.next([failing(status, code, lines)]);
        assert!(world.get("/p/a").status >= 400);
        let answer = world.get("/p/a");
        match holds {
            None => assert_eq!(answer.status, 200, "{status} {code} {lines}"),
            Some(code) => {
                let wait = held(&answer, code);
                assert!((20.0..=30.0).contains(&wait), "{wait}");
                let limit = [("route", "plain"), ("limit", "retry_after")];
                world.gateway.metric_becomes("speechgate_limit_rejections_total", &limit, 1.0);
            }
        }
        assert_eq!(world.get("/c/b").status, 200, "another route is not concerned");
    }
}

/// It binds who asks with the same credential, over whatever path, and nobody else.
#[test]
fn a_pause_binds_the_credential() {
    let world = World::start();
    world.provider.next([failing(429, "rate_limit_exceeded", "Retry-After: 30\r\n")]);
    assert_eq!(world.ask(get_with("/p/a", "xi-api-key: one\r\n")).status, 429);
    for (target, lines, passes) in [
        ("/p/b", "xi-api-key: one\r\n", false),
        ("/p/b", "authorization: Bearer one\r\n", false),
        ("/p/b", "xi-api-key: two\r\n", true),
        ("/p/b", "", true),
    ] {
        let answer = world.ask(get_with(target, lines));
        assert_eq!(answer.status == 200, passes, "{lines}");
        if !passes {
            let _ = held(&answer, "rate_limited");
        }
    }
}

/// Polling too fast concerns one job, and the wait is the one that the profile knows.
#[test]
fn polling_too_fast_binds_one_path() {
    let provider = Provider::start();
    let url = format!("http://{}", provider.address());
    let gateway = Gateway::start(&Settings::new().route_to("jobs", "/j", "zenhire", &url, ""));
    let body = "{\"error\":{\"code\":\"POLL_RATE_LIMITED\",\"message\":\"no\"}}";
    provider.next([Act::send(json_answer(429, "", body))]);
    let ask = |target: &str| gateway.client().send(get(target)).answer();
    assert_eq!(ask("/j/api/v1/speech/analyze/1").status, 429);
    let wait = held(&ask("/j/api/v1/speech/analyze/1"), "poll_rate_limited");
    assert!((5.0..=10.0).contains(&wait), "{wait}");
    assert_eq!(ask("/j/api/v1/speech/analyze/2").status, 200);
}

/// No provider can close a route for long: a minute is the longest that is believed.
#[test]
fn a_year_is_a_minute() {
    let world = World::start();
    world.provider.next([failing(503, "service_unavailable", "Retry-After: 31536000\r\n")]);
    let told = envelope(&world.get("/p/a"), "unavailable");
    assert_eq!(told["retry_after_seconds"], 31_536_000.0, "what the provider said is passed on as it is");
    let wait = held(&world.get("/p/a"), "unavailable");
    assert!((50.0..=60.0).contains(&wait), "{wait}");
}

/// When the wait is over one request tries, and everybody else waits for what becomes of it.
#[test]
fn one_probe_goes_first() {
    let stage = Stage::start();
    let gateway = Gateway::start(&Settings::new().route("slots", "/s", stage.provider.address(), ""));
    let ask = |target: &str| {
        let mut client = gateway.client();
        let _ = client.send(get(target));
        client
    };
    let mut first = ask("/s/first");
    assert_eq!(stage.next(1), ["/first"]);
    stage.say(json_answer(429, "Retry-After: 1\r\n", "{\"detail\":{\"code\":\"rate_limit_exceeded\"}}"));
    assert_eq!(first.answer().status, 429);
    let wait = held(&ask("/s/early").answer(), "rate_limited");
    assert!((0.5..=1.0).contains(&wait), "{wait}");
    // A client that comes back when it was told to.
    std::thread::sleep(Duration::from_secs_f64(wait));
    let mut probe = ask("/s/again");
    assert_eq!(stage.next(1), ["/again"]);
    for _ in 0..5 {
        let wait = held(&ask("/s/others").answer(), "rate_limited");
        assert!(wait > 0.0 && wait <= 1.0, "{wait}");
    }
    stage.release(1);
    assert_eq!(probe.answer().status, 200);
    stage.release(3);
    assert!((0..3).all(|_| ask("/s/free").answer().status == 200));
}

/// A probe that nobody waits for any more lets the next one try; one that is refused begins the pause anew.
#[test]
fn a_probe_that_fails_decides_nothing_and_one_that_is_refused_does() {
    let world = World::start();
    let pause = || failing(503, "service_unavailable", "Retry-After: 1\r\n");
    world.provider.next([pause()]);
    assert_eq!(world.get("/p/a").status, 503);
    let begun = Instant::now();
    world.provider.next([Act::send("HTTP/1.1 200"), Act::Fin]);
    world.provider.next([pause()]);
    let mut codes = Vec::new();
    while codes.last() != Some(&200) && begun.elapsed() < Duration::from_secs(15) {
        let answer = world.get("/p/a");
        let code = answer.status;
        if codes.last() != Some(&code) {
            codes.push(code);
        }
    }
    assert_eq!(codes, [503, 502, 503, 200]);
    let times = begun.elapsed();
    assert!(
        (Duration::from_millis(1900)..Duration::from_secs(6)).contains(&times),
        "two pauses of a second: {times:?}"
    );
    assert_eq!(world.provider.take().len(), 4, "one before, and three that tried");
}

/// For want of a slot nobody is refused: who comes later waits until the pause is over.
#[test]
fn concurrency_limited_with_a_wait_pauses_the_queue() {
    let world = World::with(|settings| settings.beside("slots", "/s", "concurrency = { max = 5, max_wait = '20s' }"));
    world.provider.next([failing(429, "concurrent_limit_exceeded", "Retry-After: 1\r\n")]);
    assert_eq!(world.get("/s/a").status, 429);
    let begun = Instant::now();
    let mut waiting: Vec<_> = (0..3)
        .map(|_| {
            let mut client = world.client();
            let _ = client.send(get("/s/b"));
            client
        })
        .collect();
    world.gateway.metric_becomes("speechgate_concurrency_queued", &[("route", "slots")], 3.0);
    assert!(waiting.iter_mut().all(|client| client.answer().status == 200));
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
}

/// The cap follows what the provider says, and grows back.
#[test]
fn the_cap_is_learned() {
    let lines = "concurrency = { max = 8, max_wait = '20s', learn = true }";
    let world = World::with(|settings| settings.beside("slots", "/s", lines));
    let limit = |value: f64| world.gateway.metric_becomes("speechgate_concurrency_limit", &[("route", "slots")], value);
    limit(8.0);
    let told = "maximum-concurrent-requests: 3\r\ncurrent-concurrent-requests: 1\r\n";
    world.provider.next([Act::send(json_answer(200, told, "{}"))]);
    assert_eq!(world.get("/s/a").status, 200);
    limit(3.0);
    let more = told.replace('3', "20");
    world.provider.next([Act::send(json_answer(400, &more, "{}"))]);
    assert_eq!(world.get("/s/a").status, 400);
    limit(8.0);
    world.provider.next([failing(429, "concurrent_limit_exceeded", "")]);
    assert_eq!(world.get("/s/a").status, 429);
    limit(1.0);
    // One more is tried after a second without a refusal; more than that only when all of them are in use.
    let begun = Instant::now();
    while world.gateway.metric("speechgate_concurrency_limit", &[("route", "slots")]) < 2.0 {
        assert!(begun.elapsed() < Duration::from_secs(15));
        assert_eq!(world.get("/s/a").status, 200);
    }
    assert!(begun.elapsed() > Duration::from_millis(500));
    assert_eq!(world.get("/s/a").status, 200);
    limit(2.0);
}

/// One path that is out says nothing of the others; a second one does.
#[test]
fn one_broken_path_closes_no_credential() {
    let world = World::start();
    let out = || failing(503, "service_unavailable", "Retry-After: 3600\r\n");
    world.provider.next([out()]);
    assert_eq!(world.get("/p/broken").status, 503);
    assert_eq!(held(&world.get("/p/broken"), "unavailable").ceil(), 60.0);
    assert_eq!(world.get("/p/tts").status, 200);
    world.provider.next([out()]);
    assert_eq!(world.get("/p/models").status, 503);
    let _ = held(&world.get("/p/tts"), "unavailable");
    let cleared = world.gateway.ask_admin("DELETE", "/-/waits?route=plain");
    assert!(cleared.text().contains("waits ended"), "{}", cleared.text());
    assert_eq!(world.get("/p/tts").status, 200);
}

/// A date is so long after the provider's own `Date`, whatever our clock says.
#[test]
fn a_providers_clock_that_is_off_asks_for_no_hour() {
    let world = World::start();
    let date = |ahead: u64| httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(ahead));
    let lines = format!("Date: {}\r\nRetry-After: {}\r\n", date(7200), date(7205));
    world.provider.next([failing(429, "rate_limit_exceeded", &lines)]);
    let told = envelope(&world.get("/p/a"), "rate_limited");
    assert_eq!(told["retry_after_seconds"], 5.0);
    assert!(held(&world.get("/p/b"), "rate_limited") <= 5.0);
}

/// What a job says of its own past, inside a 200, is no refusal of now.
#[test]
fn an_old_failed_job_causes_no_backoff() {
    let provider = Provider::start();
    let url = format!("http://{}", provider.address());
    let gateway = Gateway::start(&Settings::new().route_to("jobs", "/j", "zenhire", &url, ""));
    let ask = |target: &str| gateway.client().send(get(target)).answer();
    let failed = "{\"status\":\"failed\",\"error\":{\"code\":\"SERVICE_WARMING_UP\",\"message\":\"It was cold.\"}}";
    for _ in 0..2 {
        provider.next([Act::send(json_answer(200, "", failed))]);
        let answer = ask("/j/api/v1/speech/analyze/old");
        assert_eq!((answer.status, answer.text().contains("warming_up")), (200, true));
    }
    assert_eq!(ask("/j/api/v1/speech/analyze/new").status, 200);
}

/// Whoever tries again at the end of a wait keeps the others waiting, so that it begins to when its body is there.
#[test]
fn a_slow_upload_is_no_probe() {
    let world = World::start();
    world.provider.next([failing(429, "rate_limit_exceeded", "Retry-After: 1\r\n")]);
    assert_eq!(world.get("/p/a").status, 429);
    let wait = held(&world.get("/p/a"), "rate_limited");
    std::thread::sleep(Duration::from_secs_f64(wait));
    let mut slow = world.client();
    let _ = slow.send("POST /p/slow HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx");
    world.gateway.metric_becomes("speechgate_requests_in_flight", &[("route", "plain")], 1.0);
    assert_eq!(world.get("/p/b").status, 200);
    assert_eq!(slow.send("x").answer().status, 200);
}
