//! What an operator may ask for on a route or a listener: changed headers, deadlines for all, weights, health checks, fields of
//! the access log, several addresses.

use crate::support::check::envelope;
use crate::support::provider::OK;
use crate::support::world::{get, json_answer, post};
use crate::support::{Act, Client, Gateway, Provider, Settings};

fn url(provider: &Provider) -> String {
    format!("http://{}", provider.address())
}

fn start(provider: &Provider, lines: &str) -> Gateway {
    Gateway::start(&Settings::new().route("tts", "/t", provider.address(), lines))
}

#[test]
fn headers_are_set_and_removed_both_ways() {
    let provider = Provider::start();
    let lines = "headers = { set = { x-team = \"voice\", x-both = \"ours\" }, remove = [\"x-debug\", \"x-both\"], \
                 response = { set = { access-control-allow-origin = \"*\" }, remove = [\"server\"] } }";
    let gateway = start(&provider, lines);
    provider.next([Act::send(
        "HTTP/1.1 200 OK\r\nServer: secret\r\nAccess-Control-Allow-Origin: a\r\nContent-Length: 2\r\n\r\nok",
    )]);
    let request = "GET /t/x HTTP/1.1\r\nHost: a\r\nX-Team: mine\r\nX-Debug: 1\r\nX-Both: theirs\r\n\r\n";
    let answer = gateway.client().send(request).answer();
    let seen = provider.one();
    let sent = |name| seen.fields.get(name);
    assert_eq!((sent("x-team").as_deref(), sent("x-both").as_deref()), (Some("voice"), Some("ours")));
    assert_eq!(sent("x-debug"), None);
    assert_eq!((answer.field("access-control-allow-origin").as_str(), answer.fields.get("server")), ("*", None));
    // Errors of the provider and of this gateway as well.
    provider.next([Act::send(json_answer(503, "Server: secret\r\n", "{\"detail\":\"no\"}"))]);
    let refused = gateway.client().send(get("/t/x")).answer();
    assert_eq!((refused.status, refused.field("access-control-allow-origin").as_str()), (503, "*"));
    assert_eq!(refused.fields.get("server"), None);
    let large = "GET /t/x HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n";
    let own = gateway.client().send(large).answer();
    assert_eq!((own.status, own.field("access-control-allow-origin").as_str()), (413, "*"));
}

#[test]
fn a_header_with_a_secret_is_never_shown() {
    let provider = Provider::start();
    let lines = "headers = { set = { x-second-key = \"top-secret-text\" } }";
    let gateway = start(&provider, lines);
    provider.next([Act::send(json_answer(401, "", "{\"detail\":\"the key top-secret-text is wrong\"}"))]);
    let answer = gateway.client().send(get("/t/x")).answer();
    assert_eq!(provider.one().fields.get("x-second-key").as_deref(), Some("top-secret-text"));
    assert!(!answer.text().contains("top-secret-text"), "{}", answer.text());
    let shown = gateway.admin("/config").text();
    assert!(shown.contains("x-second-key") && !shown.contains("top-secret-text"), "{shown}");
}

#[test]
fn a_request_is_over_in_time_however_much_moves() {
    let provider = Provider::with(|mut conn| {
        while let Some(seen) = conn.request() {
            match seen.target() {
                "/never" => drop(conn.hang()),
                "/forever" => {
                    let head = "HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nTransfer-Encoding: chunked\r\n\r\n";
                    let mut sent = conn.wire.send(head.as_bytes());
                    while sent.is_ok() {
                        sent = conn.wire.send(b"1\r\na\r\n");
                        std::thread::sleep(std::time::Duration::from_millis(5));
                    }
                    return;
                }
                _ => drop(conn.wire.send(OK)),
            }
        }
    });
    let gateway = start(&provider, "timeouts = { total = \"400ms\" }");
    let answer = gateway.client().send(get("/t/never")).answer();
    assert_eq!(answer.status, 504);
    let error = envelope(&answer, "upstream_timeout");
    assert_eq!((error["origin"].as_str(), error["retryable"].as_bool()), (Some("gateway"), Some(true)));
    // A body that never stands still is cut, and does not end cleanly.
    let cut = gateway.client().send(get("/t/forever")).answer();
    assert!(cut.status == 200 && cut.cut.is_some() && !cut.body.is_empty(), "{}", cut.line);
    let line = gateway.line(|line| line["status"] == 200);
    assert_eq!(line["code"], "upstream_timeout");
    // Shorter ones are left alone.
    assert_eq!(gateway.client().send(get("/t/x")).answer().status, 200);
}

#[test]
fn the_access_log_has_the_configured_fields() {
    let provider = Provider::start();
    let fields = "[\"user_agent\", \"header:x-tenant\", \"upstream\", \"response_header:x-region\"]";
    let settings = Settings::new().telemetry(&format!("log = {{ access_fields = {fields} }}")).route(
        "tts",
        "/t",
        provider.address(),
        "",
    );
    let gateway = Gateway::start(&settings);
    provider.next([Act::send("HTTP/1.1 200 OK\r\nX-Region: eu\r\nContent-Length: 2\r\n\r\nok")]);
    let request = "GET /t/x HTTP/1.1\r\nHost: a\r\nUser-Agent: probe/1\r\nX-Tenant: acme\r\n\r\n";
    assert_eq!(gateway.client().send(request).answer().status, 200);
    let line = gateway.line(|line| line["route"] == "tts");
    assert_eq!((&line["user_agent"], &line["header.x-tenant"]), (&"probe/1".into(), &"acme".into()));
    assert_eq!((&line["response_header.x-region"], &line["upstream"]), (&"eu".into(), &url(&provider).into()));
    // Without a word the upstream is there, and nothing where nothing was sent.
    let plain = start(&provider, "");
    assert_eq!(plain.client().send(get("/t/y")).answer().status, 200);
    assert_eq!(plain.line(|line| line["path"] == "/t/y")["upstream"], url(&provider));
    assert_eq!(plain.client().send(get("/elsewhere")).answer().status, 404);
    assert!(plain.line(|line| line["status"] == 404).get("upstream").is_none());
}

#[test]
fn several_addresses_are_one_listener() {
    let provider = Provider::start();
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("gate.sock");
    let second = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let settings = Settings::new().route("tts", "/t", provider.address(), "").text();
    let first = "listen = \"127.0.0.1:0\"";
    assert!(settings.contains(first), "{settings}");
    let list = format!("listen = [\"127.0.0.1:0\", \"{second}\", \"unix:{}\"]", socket.display());
    let mut gateway = Gateway::start_text(&settings.replacen(first, &list, 1), &[]);
    assert_eq!(gateway.client().send(get("/t/x")).answer().status, 200);
    assert_eq!(Client::to(second).send(get("/t/x")).answer().status, 200);
    let mut local = std::os::unix::net::UnixStream::connect(&socket).expect("a socket");
    std::io::Write::write_all(&mut local, b"GET /t/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("sent");
    let text = std::io::read_to_string(local).expect("an answer");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    gateway.signal("TERM");
    assert!(gateway.ended().success() && !socket.exists());
}

#[test]
fn weights_divide_the_requests() {
    let (first, second, spare) = (Provider::start(), Provider::start(), Provider::start());
    let entry = |provider: &Provider, weight: u32| format!("{{ url = \"{}\", weight = {weight} }}", url(provider));
    let upstreams = [entry(&first, 3), entry(&second, 1), entry(&spare, 0)].join(", ");
    let text = Settings::new().over("tts", "/t", &["http://PLACE".to_owned()], "").text();
    let gateway = Gateway::start_text(&text.replacen("\"http://PLACE\"", &upstreams, 1), &[]);
    for _ in 0..40 {
        assert_eq!(gateway.client().send(get("/t/x")).answer().status, 200);
    }
    assert_eq!([first.take().len(), second.take().len(), spare.take().len()], [30, 10, 0]);
    for (provider, requests) in [(&first, 30.0), (&second, 10.0)] {
        let labels = [("route", "tts"), ("upstream", &*url(provider)), ("outcome", "success")];
        assert_eq!(gateway.metric("speechgate_upstream_requests_total", &labels), requests);
    }
}

#[test]
fn an_upstream_that_fails_its_health_checks_is_set_aside_and_comes_back() {
    let (first, second) = (Provider::start(), Provider::start());
    first.always([Act::send(json_answer(503, "", "{}"))]);
    let health = "health = { path = \"/health?deep=1\", interval = \"200ms\", unhealthy = 5, status = \"200-399\" }\n\
                  credentials = { header = \"xi-api-key\", value = \"sk-secret\" }";
    let gateway = Gateway::start(&Settings::new().over("tts", "/t", &[url(&first), url(&second)], health));
    let up = |provider: &Provider, value| {
        let name = url(provider);
        gateway.metric_becomes("speechgate_upstream_up", &[("route", "tts"), ("upstream", &name)], value);
    };
    up(&first, 0.0);
    up(&second, 1.0);
    let asked = first.take();
    assert!(asked.iter().all(|seen| seen.line == "GET /health?deep=1 HTTP/1.1"), "{asked:?}");
    assert!(asked.iter().all(|seen| seen.fields.get("xi-api-key").is_none()), "no key of anybody's: {asked:?}");
    let _ = second.take();
    assert_eq!(gateway.client().send(post("/t/x", "hello")).answer().status, 200);
    assert!(first.take().iter().all(|seen| seen.line.starts_with("GET /health")));
    assert!(second.take().iter().any(|seen| seen.line == "POST /x HTTP/1.1"));
    let _ = gateway.line(|line| line["message"] == "an upstream fails its health checks; others are preferred");
    first.always([Act::send(OK)]);
    up(&first, 1.0);
    assert_eq!(gateway.client().send(post("/t/x", "hello")).answer().status, 200);
    assert!(first.take().iter().any(|seen| seen.line == "POST /x HTTP/1.1"));
}

#[test]
fn checks_end_with_their_configuration_and_with_the_drain() {
    let provider = Provider::start();
    let health = "health = { path = \"/health\", interval = \"20ms\", credentials = true }\n\
                  credentials = { header = \"xi-api-key\", value = \"sk-secret\" }";
    let with = Settings::new().route("tts", "/t", provider.address(), health);
    let gateway = Gateway::start(&with);
    let lent = || provider.take().iter().any(|seen| seen.fields.get("xi-api-key").as_deref() == Some("sk-secret"));
    let end = std::time::Instant::now() + crate::support::DEADLINE;
    while !lent() {
        assert!(std::time::Instant::now() < end, "no question with the key that the route lends");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    std::fs::write(gateway.file("gateway.toml"), with.text().replacen("health = ", "# health = ", 1)).expect("a file");
    assert_eq!(gateway.ask_admin("POST", "/-/reload").status, 200);
    // One may be under way.
    let _ = provider.take();
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert!(provider.take().len() <= 1);
}

#[test]
fn the_state_of_a_circuit_is_a_metric() {
    let provider = Provider::start();
    provider.always([Act::Fin]);
    let gateway = start(&provider, "circuit_breaker = { failures = 2, open = \"1m\" }");
    let name = url(&provider);
    let state = |state: &str| {
        let labels = [("route", "tts"), ("upstream", &*name), ("state", state)];
        gateway.metric("speechgate_upstream_circuit", &labels)
    };
    assert_eq!([state("closed"), state("open"), state("half_open")], [1.0, 0.0, 0.0]);
    for _ in 0..2 {
        assert_eq!(gateway.client().send(get("/t/x")).answer().status, 502);
    }
    assert_eq!([state("closed"), state("open"), state("half_open")], [0.0, 1.0, 0.0]);
}

#[test]
fn remaining_quota_is_reported_on_routes_that_ask_for_it() {
    let provider = Provider::start();
    let limits =
        "rate_limits = [{ requests = 5, per = \"60s\" }, { requests = 100, per = \"1h\", match = \"GET /x\" }]";
    let told = start(&provider, &format!("{limits}\nrate_limit_headers = true"));
    let silent = start(&provider, limits);
    let answer = told.client().send(get("/t/x")).answer();
    let lines = |name: &str| answer.fields.all(name).join(", ");
    assert_eq!(lines("ratelimit-policy"), "\"rate-2\";q=100;w=3600, \"rate-1\";q=5;w=60");
    assert_eq!(lines("ratelimit"), "\"rate-2\";r=99;t=36, \"rate-1\";r=4;t=12");
    provider.next([Act::send(json_answer(503, "", "{}"))]);
    let failed = told.client().send(get("/t/x")).answer();
    assert!(failed.fields.all("ratelimit").iter().any(|line| line.starts_with("\"rate-1\";r=3")));
    assert_eq!(silent.client().send(get("/t/x")).answer().fields.get("ratelimit"), None);
}
