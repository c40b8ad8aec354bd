//! Rate limits: who is counted together, what is charged, and how a refusal reads.

use super::support::world::{get, get_with, post};
use super::support::{Answer, Gateway, Provider, Settings, World, envelope};
use serde_json::{Value, json};

/// The route `/l` with these lines, beside the standard ones.
fn limited(lines: &str) -> World {
    World::with(|settings| settings.beside("limited", "/l", lines))
}

/// A refusal by a rate, after everything that is promised of it has been checked; `left` is what would still pass.
fn refused(answer: &Answer, code: &str, policy: &str, left: Option<u32>) -> Value {
    let error = envelope(answer, code);
    let about = (&error["origin"], &error["route"], &error["status"], &error["retryable"]);
    assert_eq!(about, (&"gateway".into(), &"limited".into(), &429.into(), &true.into()));
    let wait = error["retry_after_seconds"].as_f64().expect("a wait");
    assert!(wait > 0.0, "{wait}");
    assert_eq!(answer.field("ratelimit-policy"), policy);
    let name = policy.split(';').next().expect("a name");
    let state = answer.field("ratelimit");
    assert!(state.starts_with(&format!("{name};r=")) && state.ends_with(&format!(";t={}", wait.ceil())), "{state}");
    if let Some(left) = left {
        assert!(state.contains(&format!(";r={left};")), "{state}");
    }
    assert_eq!(answer.field("proxy-status"), "speechgate; error=http_request_denied");
    error
}

#[test]
fn a_refusal_says_how_long_and_nothing_reaches_the_provider() {
    let world = limited("rate_limits = [{ requests = 2, per = '60s' }]");
    for _ in 0..2 {
        assert_eq!(world.get("/l/v1/voices").status, 200);
    }
    let error = refused(&world.get("/l/v1/voices"), "rate_limited", "\"rate-1\";q=2;w=60", Some(0));
    let wait = error["retry_after_seconds"].as_f64().expect("a wait");
    assert!((20.0..=30.0).contains(&wait), "half a window until one more fits: {wait}");
    assert_eq!(world.provider.take().len(), 2);
    assert_eq!(world.get("/p/v1/voices").status, 200, "other routes are not concerned");
    world.gateway.metric_becomes("speechgate_limit_rejections_total", &[("route", "limited"), ("limit", "rate")], 1.0);
    let line = world.gateway.line(|line| line["status"] == 429);
    assert_eq!((&line["origin"], &line["code"]), (&"gateway".into(), &"rate_limited".into()));
}

/// A request by its target and its header lines, and whether it passes.
type Asked<'a> = (&'a str, &'a str, bool);

/// Every row is a gateway of its own.
#[test]
fn each_limit_key_is_counted_separately() {
    let cases: [(&str, &str, &[Asked<'_>]); 6] = [
        ("the route", "", &[("/l/a", "", true), ("/l/b", "x: 1\r\n", false)]),
        (
            "a header",
            "key = 'header:x-tenant'",
            &[
                ("/l/a", "x-tenant: a\r\n", true),
                ("/l/a", "X-Tenant: b\r\n", true),
                ("/l/a", "x-tenant: a\r\n", false),
                ("/l/a", "", true),
                ("/l/a", "", false),
            ],
        ),
        ("an address", "key = 'client-ip'", &[("/l/a", "", true), ("/l/a", "x-forwarded-for: 192.0.2.1\r\n", false)]),
        (
            "a client's own key",
            "key = 'credential'",
            &[
                ("/l/a", "xi-api-key: one\r\n", true),
                ("/l/a", "xi-api-key: two\r\n", true),
                ("/l/a", "authorization: Bearer one\r\n", false),
                ("/l/a?xi-api-key=three", "", true),
                ("/l/a?single_use_token=four", "", true),
                ("/l/a?single_use_token=four", "", false),
                ("/l/a", "xi-api-key: two\r\n", false),
            ],
        ),
        (
            "a part of the path",
            "match = 'GET /v1/jobs/{id}', key = 'path:id', code = 'poll_rate_limited'",
            &[
                ("/l/v1/jobs/1", "", true),
                ("/l/v1/jobs/2", "", true),
                ("/l/v1/jobs/1?x=y", "", false),
                ("/l/v1//jobs/1/", "", false),
                ("/l/v1/jobs/1/audio", "", true),
                ("/l/v1/jobs", "", true),
            ],
        ),
        ("only what matches", "match = 'POST'", &[("/l/a", "", true), ("/l/a", "", true)]),
    ];
    for (name, key, requests) in cases {
        let world = limited(&format!("rate_limits = [{{ requests = 1, per = '60s', {key} }}]").replace(", }", " }"));
        for (index, (target, lines, passes)) in requests.iter().enumerate() {
            let status = world.ask(get_with(target, lines)).status;
            assert_eq!(status, if *passes { 200 } else { 429 }, "{name}: request {index}");
        }
    }
}

/// A POST of JSON, and what it is answered with.
fn say(world: &World, text: &str) -> Answer {
    world.ask(post("/l/v1/text-to-speech/v", &json!({ "text": text }).to_string()))
}

/// The texts of bodies are counted, and bodies pass as they are.
#[test]
fn characters_are_counted() {
    let world = limited("rate_limits = [{ requests = 10, per = '600s', cost = 'text-characters' }]");
    assert_eq!(say(&world, "Grüße").status, 200, "five characters in seven bytes");
    assert_eq!(world.provider.one().body, json!({ "text": "Grüße" }).to_string().into_bytes());
    let dialogue = r#"{"inputs":[{"text":"ab","voice_id":"long-voice-id"},{"text":"c"}]}"#;
    assert_eq!(world.ask(post("/l/v1/text-to-dialogue", dialogue)).status, 200);
    let free =
        [get("/l/v1/voices"), post("/l/x", "no JSON at all"), post("/l/x", r#"{"note":"text"}"#), post("/l/x", "{}")];
    assert!(free.iter().all(|request| world.ask(request).status == 200), "what has no text costs nothing");
    let _ = refused(&say(&world, "abc"), "rate_limited", "\"rate-1\";q=10;qu=\"text-characters\";w=600", Some(2));
    assert_eq!(say(&world, "ab").status, 200, "what was refused took nothing");
}

/// What cannot be read for its text is charged its length, and more than the burst never passes.
#[test]
fn a_cost_above_the_burst_is_rejected_for_good() {
    let lines = "rate_limits = [{ requests = 100000, per = '1h', cost = 'text-characters' }]";
    let world = limited(lines);
    let error = envelope(&say(&world, &"x".repeat(100_001)), "text_too_long");
    assert_eq!((&error["status"], &error["retryable"]), (&400.into(), &false.into()));
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains("allows 100000 at once"), "{message}");
    assert_eq!(say(&world, &"x".repeat(90_000)).status, 200, "by its length: more than the text, but it fits");
    assert_eq!(say(&world, &"x".repeat(9_000)).status, 200);
    assert_eq!(say(&world, &"x".repeat(9_000)).status, 429);
    let coded = "POST /l/x HTTP/1.1\r\nHost: a\r\nContent-Encoding: br\r\nContent-Length: 9\r\n\r\n{\"text\":1";
    assert_eq!(world.ask(coded).status, 200);
    let world = limited("rate_limits = [{ requests = 9, per = '1h', cost = 'body-bytes' }]");
    let error = envelope(&world.ask(post("/l/x", "ten bytes!")), "payload_too_large");
    assert_eq!((&error["status"], &error["retryable"]), (&413.into(), &false.into()));
    assert!(world.provider.take().is_empty());
}

/// Bytes are known from Content-Length, or counted as they come; where the limit ends, so does the body.
#[test]
fn bytes_are_counted() {
    let world = limited("rate_limits = [{ requests = 200000, per = '1h', cost = 'body-bytes' }]");
    let chunked = |size: usize| {
        let mut request = b"POST /l/x HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in "x".repeat(size).as_bytes().chunks(10_000) {
            request.extend(format!("{:x}\r\n", chunk.len()).bytes());
            request.extend_from_slice(chunk);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"0\r\n\r\n");
        request
    };
    for request in [chunked(50_000), chunked(100_000), post("/l/x", &"x".repeat(40_000)), get("/l/x")] {
        assert_eq!(world.ask(request).status, 200);
    }
    let _ = world.provider.take();
    let policy = "\"rate-1\";q=200000;qu=\"content-bytes\";w=3600";
    let _ = refused(&world.ask(chunked(20_000)), "rate_limited", policy, None);
    assert!(world.provider.take().is_empty());
    let world = limited("rate_limits = [{ requests = 100000, per = '1h', cost = 'body-bytes' }]");
    let cut = world.ask(chunked(200_000));
    assert_eq!(envelope(&cut, "rate_limited")["origin"], "gateway");
    world.gateway.metric_becomes("speechgate_limit_rejections_total", &[("route", "limited"), ("limit", "rate")], 1.0);
}

/// A poll that its own limit refuses uses up nothing of the budget for all, and neither does one that another limit refuses.
#[test]
fn rejected_requests_are_not_charged() {
    let world = limited(
        "rate_limits = [\n{ requests = 3, per = '600s' },\n\
         { requests = 1, per = '600s', match = 'GET /jobs/{id}', key = 'path:id', code = 'poll_rate_limited' }]",
    );
    assert_eq!(world.get("/l/jobs/1").status, 200);
    for _ in 0..5 {
        let _ = refused(&world.get("/l/jobs/1"), "poll_rate_limited", "\"rate-2\";q=1;w=600", Some(0));
    }
    assert_eq!((world.get("/l/a").status, world.get("/l/b").status), (200, 200));
    let _ = refused(&world.get("/l/jobs/2"), "rate_limited", "\"rate-1\";q=3;w=600", Some(0));
}

/// What counts survives a reload: as it is where nothing changed, and as far as it goes where something did.
#[test]
fn a_reload_keeps_counts() {
    let provider = Provider::start();
    let text = |limits: &str| Settings::new().route("limited", "/l", provider.address(), limits).text();
    let gateway = Gateway::start_text(&text("rate_limits = [{ requests = 2, per = '600s' }]"), &[]);
    let ask = || gateway.client().send(get("/l/x")).answer().status;
    let reload = |limits: &str| {
        std::fs::write(gateway.file("gateway.toml"), text(limits)).expect("written");
        assert_eq!(gateway.ask_admin("POST", "/-/reload").status, 200);
    };
    assert_eq!(ask(), 200);
    reload("rate_limits = [{ requests = 2, per = '600s' }]\ntimeouts = { response = '7s' }");
    assert_eq!((ask(), ask()), (200, 429));
    reload("rate_limits = [{ requests = 4, per = '600s' }]");
    assert_eq!(ask(), 429, "all of the old burst was used up, and so is the new one");
    reload("rate_limits = [{ requests = 4, per = '600s', key = 'client-ip' }]");
    assert_eq!(ask(), 200, "another key counts something else");
}

/// With a proxy in front that is trusted, an address is what that proxy saw.
#[test]
fn a_trusted_proxy_says_who_calls() {
    let lines = "rate_limits = [{ requests = 1, per = '60s', key = 'client-ip' }]";
    let world = World::with(|settings| settings.server("trust_forwarded = true").beside("limited", "/l", lines));
    for (from, passes) in [("192.0.2.1", true), ("192.0.2.2", true), ("6.6.6.6, 192.0.2.1", false), ("nonsense", true)]
    {
        let status = world.ask(get_with("/l/a", &format!("X-Forwarded-For: {from}\r\n"))).status;
        assert_eq!(status == 200, passes, "{from}");
    }
}

/// One job under several spellings is one job.
#[test]
fn a_path_has_one_count_however_it_is_spelled() {
    let lines = "rate_limits = [{ requests = 1, per = '600s', match = 'GET /jobs/{id}', key = 'path:id' }]";
    let world = limited(lines);
    let asked = |id: &str| world.get(&format!("/l/jobs/{id}")).status;
    assert_eq!(["job", "%6aob", "%6Aob", "j%6fb", "%6a%6f%62", "other"].map(asked), [200, 429, 429, 429, 429, 200]);
}

/// What a provider's parser takes costs its text, also where a strict reader refuses it: it used to cost its length.
#[test]
fn leniently_parsed_bodies_cost_their_text() {
    for rest in
        ["\"x\":NaN", "\"x\":\"\\ud800\"", "\"x\":1e400", &format!("\"x\":{}{}", "[".repeat(130), "]".repeat(130))]
    {
        let world = limited("rate_limits = [{ requests = 8, per = '10h', cost = 'text-characters' }]");
        let body = format!("\u{feff}{{\"text\":\"Grüß\",{rest}}}");
        let statuses = [(); 3].map(|()| world.ask(post("/l/v1/text-to-speech/v", &body)).status);
        assert_eq!(statuses, [200, 200, 429], "{rest}");
    }
}

/// What other parsers take and ours does not is no way around a limit; neither is a body that announces no length.
#[test]
fn unreadable_bodies_cost_their_length() {
    let text = "a".repeat(30_000);
    for (body, passes) in [
        (format!("{{\"text\":\"{text}\"}}"), 3),
        (format!("{{\"text\":\"{text}\",\"x\":1e999}}"), 3),
        (format!("{{\"text\":\"{text}\",\"x\":NaN}}"), 3),
        (format!("{{\"text\":\"{text}\",\"x\":\"\\ud800\"}}"), 3),
        (format!("{{\"text\":\"{text}\",\"x\":{}{}}}", "[".repeat(130), "]".repeat(130)), 3),
        (format!("\u{feff}{{\"text\":\"{text}\"}}"), 3),
        (format!("no JSON {text}"), 5),
    ] {
        let world = limited("rate_limits = [{ requests = 100000, per = '10h', cost = 'text-characters' }]");
        let passed = (0..5).filter(|_| world.ask(post("/l/v1/text-to-speech/v", &body)).status == 200).count();
        assert_eq!(passed, passes, "{}", &body[body.len() - 20..]);
    }
    let world = limited("rate_limits = [{ requests = 100000, per = '10h', cost = 'text-characters' }]");
    let mut request = b"POST /l/v1/text-to-speech/v HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in format!("{{\"text\":\"{}\"}}", "a".repeat(200_000)).as_bytes().chunks(10_000) {
        request.extend(format!("{:x}\r\n", chunk.len()).bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    assert_eq!(envelope(&world.ask(request), "rate_limited")["origin"], "gateway");
}
