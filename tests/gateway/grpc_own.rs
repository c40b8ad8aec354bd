//! Every refusal of the gateway's own as a call of gRPC ends with it: over TCP and TLS, in all three forms.

use crate::grpc::{echo, end_as_asked};
use crate::support::grpc::{Call, Caller, Calls, Ended, Exchange, message, run};
use crate::support::{Gateway, Settings};
use crate::tenants::{EXPIRED, KEY, OTHER};
use crate::tls::{Authority, tls_line};
use bytes::Bytes;
use serde_json::Value;
use speechgate::canon::grpc::Status;
use speechgate::proxy::gateway_key::{hash, make, shown};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

const FORMS: [&str; 3] = ["canonical", "compatible", "auto"];

/// What a refusal says.
#[derive(Clone, Copy, Debug)]
struct Said {
    status: &'static str,
    code: &'static str,
    retry: bool,
    /// Whether it says how long to wait.
    waits: bool,
    /// Whether the head had gone out before.
    late: bool,
}

const fn said(status: &'static str, code: &'static str, retry: bool) -> Said {
    Said { status, code, retry, waits: false, late: false }
}

const fn waits(status: &'static str, code: &'static str, retry: bool) -> Said {
    Said { waits: true, ..said(status, code, retry) }
}

const fn late(status: &'static str, code: &'static str) -> Said {
    Said { late: true, ..said(status, code, true) }
}

/// Holds the end of a call against what it has to be.
fn check(ended: &Ended, expected: Said, own_words: bool, origin: &str, what: &str) {
    let told = |name: &str| ended.field(name).to_owned();
    assert_eq!((ended.status, ended.reset, ended.trailers_only), (200, None, !expected.late), "{what}: {ended:?}");
    assert_eq!(ended.head["content-type"], "application/grpc", "{what}");
    assert_eq!(ended.said(), (expected.status, expected.code), "{what}: {ended:?}");
    assert_eq!(told("x-should-retry"), expected.retry.to_string(), "{what}");
    let object: Value = serde_json::from_str(&told("x-gateway-error")).expect("the object");
    assert_eq!(object["code"], expected.code, "{what}");
    assert_eq!(object["type"], told("x-error-type"), "{what}");
    assert_eq!(object["retryable"], expected.retry, "{what}");
    assert_eq!(object["request_id"], told("x-request-id"), "{what}");
    assert_eq!(object["origin"], origin, "{what}");
    assert_eq!(object["retry_after_seconds"].is_number(), expected.waits, "{what}: {object}");
    let status = Status::read(&ended.trailers).expect("a status");
    let prefixed = status.message().starts_with(&format!("{}: ", expected.code));
    assert!(prefixed != own_words && status.message().ends_with(object["message"].as_str().expect("text")), "{what}");
    // What clients read that know google.rpc: the same number, the same words, why, and how long to wait.
    let tree: Value = serde_json::from_slice(status.json()).expect("JSON");
    let details = tree["error"]["details"].as_array().expect("details");
    assert_eq!(
        (&details[0]["reason"], &details[0]["domain"]),
        (&expected.code.to_ascii_uppercase().into(), &"speechgate".into()),
        "{what}"
    );
    let delay = details.iter().find_map(|detail| detail["retryDelay"].as_str());
    assert_eq!(delay.is_some(), expected.waits, "{what}: {details:?}");
    if let Some(delay) = delay {
        let seconds: f64 = delay.trim_end_matches('s').parse().expect("seconds");
        assert!((seconds - object["retry_after_seconds"].as_f64().expect("seconds")).abs() < 0.01, "{what}: {delay}");
    }
    assert!(ended.data.is_empty() || expected.late, "{what}");
}

/// Answers as its path says, whatever route it came by.
async fn play(mut call: Exchange) {
    let path = call.request.uri().path().to_owned();
    match path.trim_start_matches('/').split('/').next().unwrap_or_default() {
        "hang" => std::future::pending().await,
        "begin" => {
            let _send = call.begin();
            std::future::pending().await
        }
        "pause" => call.end(
            200,
            // RetryInfo of half a minute.
            &[
                ("content-type", "application/grpc"),
                ("grpc-status", "8"),
                ("grpc-status-details-bin", "CAgaMAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIECgIIHg"),
            ],
        ),
        "head" | "trailers" => end_as_asked(call).await,
        _ => echo(call).await,
    }
}

/// Addresses that fail before there is a call.
struct Broken {
    nobody: SocketAddr,
    /// Takes connections and says nothing.
    mute: SocketAddr,
}

impl Broken {
    async fn start() -> Broken {
        let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
        let mute = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = mute.local_addr().expect("an address");
        drop(tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((socket, _)) = mute.accept().await {
                kept.push(socket);
            }
        }));
        Broken { nobody, mute: address }
    }
}

/// How a case is provoked.
enum How {
    /// One call to this path of its route.
    Once(&'static str),
    /// The first call to the first path, then one to the second.
    Again(&'static str, &'static str),
    /// While so many calls run, with this deadline.
    Beside(usize, &'static str),
    /// One call that has said so much, and not all.
    Open(&'static str, &'static [u8]),
}

struct Case {
    name: &'static str,
    lines: &'static str,
    /// Where not to the provider that plays.
    upstream: fn(&Broken) -> Option<String>,
    how: How,
    said: Said,
    origin: &'static str,
}

const fn case(name: &'static str, lines: &'static str, how: How, said: Said) -> Case {
    Case { name, lines, upstream: |_| None, how, said, origin: "gateway" }
}

const fn from(origin: &'static str, case: Case) -> Case {
    Case { origin, ..case }
}

const fn to(upstream: fn(&Broken) -> Option<String>, case: Case) -> Case {
    Case { upstream, origin: "network", ..case }
}

#[rustfmt::skip]
fn cases() -> Vec<Case> {
    use How::{Again, Beside, Once, Open};
    vec![
        case("rate", "rate_limits = [{ requests = 1, per = '1h' }]", Again("echo", "echo"), waits("8", "rate_limited", true)),
        case("poll-rate", "rate_limits = [{ requests = 1, per = '1h', code = 'poll_rate_limited' }]", Again("echo", "echo"), waits("8", "poll_rate_limited", true)),
        case("bytes", "rate_limits = [{ requests = 10, per = '1h', cost = 'body-bytes' }]", Open("hang", &[0, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9]), said("8", "rate_limited", true)),
        case("slots", "concurrency = { max = 1, queue = 0 }", Beside(1, ""), waits("8", "concurrency_limited", true)),
        case("queue-full", "concurrency = { max = 1, queue = 1, max_wait = '1m' }", Beside(2, ""), waits("8", "concurrency_limited", true)),
        case("queue-late", "concurrency = { max = 1, queue = 1, max_wait = '100ms' }", Beside(1, ""), waits("8", "concurrency_limited", true)),
        from("client", case("queue-deadline", "concurrency = { max = 1, queue = 1, max_wait = '1m' }", Beside(1, "100m"), said("4", "upstream_timeout", true))),
        case("pause", "", Again("pause", "echo"), waits("8", "rate_limited", true)),
        case("circuit", "circuit_breaker = { failures = 1, open = '10m' }", Again("head/14", "echo"), waits("14", "circuit_open", true)),
        case("large", "max_request_body = '1KiB'", Open("hang", &[0, 0xff, 0xff, 0xff, 0xff, 1]), said("3", "payload_too_large", false)),
        to(|broken| Some(format!("http://{}", broken.nobody)), case("unreachable", "", Once("echo"), said("14", "upstream_unreachable", true))),
        to(|broken| Some(format!("https://{}", broken.mute)), case("connect", "timeouts = { connect = '200ms' }", Once("echo"), said("4", "upstream_timeout", true))),
        to(|broken| Some(format!("http://{}", broken.mute)), case("mute", "timeouts = { response = '200ms' }", Once("echo"), said("4", "upstream_timeout", true))),
        from("network", case("response", "timeouts = { response = '200ms' }", Once("hang"), said("4", "upstream_timeout", true))),
        from("network", case("idle", "timeouts = { idle = '200ms' }", Once("begin"), late("4", "upstream_timeout"))),
        case("total", "timeouts = { total = '200ms' }", Once("hang"), said("4", "upstream_timeout", true)),
        case("total-later", "timeouts = { total = '200ms' }", Once("begin"), late("4", "upstream_timeout")),
        from("client", case("pause-of-client", "timeouts = { websocket_idle = '200ms' }", Open("begin", &[0, 0, 0, 0, 9]), late("4", "request_timeout"))),
        from("client", case("pause-of-client-early", "timeouts = { websocket_idle = '200ms' }", Open("hang", &[0, 0, 0, 0, 9]), said("4", "request_timeout", true))),
        case("provider-key", "credentials = []", Once("echo"), said("16", "missing_credentials", false)),
    ]
}

/// What a client shows, and what it is told.
fn keys() -> [(&'static str, Option<String>, Said); 5] {
    [
        ("none", None, said("16", "missing_credentials", false)),
        ("foreign", Some("AIza-of-google".to_owned()), said("16", "invalid_credentials", false)),
        ("unknown", Some(make().expect("random bytes")), said("16", "invalid_credentials", false)),
        ("expired", Some(EXPIRED.clone()), said("16", "expired_credentials", false)),
        ("of another route", Some(OTHER.clone()), said("7", "permission_denied", false)),
    ]
}

/// A gateway of which each case has a route in each form, and its client.
async fn serving(provider: &Calls, broken: &Broken, tls: Option<(&Authority, &str)>) -> (Gateway, Caller) {
    let hashed = |key: &str| shown(&hash(key.as_bytes()));
    let mut settings = Settings::new();
    if let Some((_, line)) = tls {
        settings = settings.server(line);
    }
    for form in FORMS {
        for case in cases() {
            let url = (case.upstream)(broken).unwrap_or_else(|| format!("http://{}", provider.address));
            let name = format!("{form}-{}", case.name);
            let own = match case.lines {
                "credentials = []" => "",
                _ => "credentials = { header = 'x-goog-api-key', value = 'of-the-route' }",
            };
            let lines = format!("envelope = '{form}'\n{own}\n{}", case.lines.replace("credentials = []", ""));
            settings = settings.route_to(&name, &format!("/{form}/{}", case.name), "google", &url, &lines);
        }
    }
    let expired = format!("{{ hash = \"{}\", expires = \"2020-01-01T00:00:00Z\" }}", hashed(&EXPIRED));
    let spent: Vec<String> =
        FORMS.iter().map(|form| format!("[[tenants]]\nname = \"spent-{form}\"\nkeys = [\"{}\"]\nbudgets = [{{ requests = 1, per = \"1d\" }}]\n[[tenants]]\nname = \"often-{form}\"\nkeys = [\"{}\"]\nrate_limits = [{{ requests = 1, per = \"1h\" }}]\n", hashed(&spender(form)), hashed(&hasty(form)))).collect();
    let tenants = format!(
        "[[tenants]]\nname = \"a\"\nkeys = [\"{}\", {expired}]\n[[tenants]]\nname = \"b\"\nkeys = [\"{}\"]\nroutes = [\"canonical-rate\"]\n{}",
        hashed(&KEY),
        hashed(&OTHER),
        spent.concat(),
    );
    let url = format!("http://{}", provider.address);
    let gateway = Gateway::start(&settings.route_to("last", "/last", "google", &url, &tenants));
    let caller = match tls {
        Some((authority, _)) => Caller::by_tls(gateway.address(), authority.roots()).await,
        None => Caller::to(gateway.address()).await,
    };
    (gateway, caller)
}

/// The key of the tenant whose budget a form uses up; the same for one gateway after the other.
fn spender(form: &str) -> String {
    format!("sg_spender{form:0>33}")
}

/// That of the tenant that asks too often.
fn hasty(form: &str) -> String {
    format!("sg_hasty00{form:0>33}")
}

/// How one case ends in one form.
async fn provoke(caller: &Caller, form: &str, case: &Case) -> Ended {
    let bearer = format!("Bearer {}", *KEY);
    let base = format!("/{form}/{}", case.name);
    let key = ("authorization", bearer.as_str());
    match case.how {
        How::Once(path) => caller.call(&format!("{base}/{path}"), &[key]).await,
        How::Again(first, then) => {
            let _ = caller.call(&format!("{base}/{first}"), &[key]).await;
            caller.call(&format!("{base}/{then}"), &[key]).await
        }
        How::Beside(running, deadline) => {
            let mut held: Vec<Call> = Vec::new();
            for _ in 0..running {
                held.push(caller.begin(&format!("{base}/begin"), &[key]).await);
            }
            let _ = (&mut held[0].answer).await.expect("a head");
            let fields = [key, ("grpc-timeout", deadline)];
            caller.call(&format!("{base}/echo"), &fields[..if deadline.is_empty() { 1 } else { 2 }]).await
        }
        How::Open(path, bytes) => {
            let mut call = caller.begin(&format!("{base}/{path}"), &[key]).await;
            call.send.send_data(Bytes::from_static(bytes), false).expect("open");
            call.end().await
        }
    }
}

async fn every_refusal(provider: &Calls, broken: &Broken, tls: Option<(&Authority, &str)>) {
    let (gateway, caller) = serving(provider, broken, tls).await;
    for form in FORMS {
        let own_words = form == "compatible";
        for case in cases() {
            let ended = provoke(&caller, form, &case).await;
            check(&ended, case.said, own_words, case.origin, &format!("{form} {}", case.name));
        }
        for (what, key, expected) in keys() {
            let fields: Vec<_> = key.as_deref().map(|key| ("x-goog-api-key", key)).into_iter().collect();
            let ended = caller.call(&format!("/{form}/idle/echo"), &fields).await;
            check(&ended, expected, own_words, "gateway", &format!("{form} key {what}"));
        }
        for (key, expected) in
            [(spender(form), waits("8", "quota_exceeded", false)), (hasty(form), waits("8", "rate_limited", true))]
        {
            let bearer = format!("Bearer {key}");
            let call = || async { caller.call(&format!("/{form}/idle/echo"), &[("authorization", &bearer)]).await };
            let first = call().await;
            assert_eq!(first.field("grpc-status"), "0", "{first:?}");
            check(&call().await, expected, own_words, "gateway", &format!("{form} {key}"));
        }
    }
    // Google's own clients are recognised, and get their provider's form.
    let ended =
        caller.call("/auto/idle/echo", &[("x-goog-api-client", "gl-python/3.12.3 grpc/1.76.0 gapic/2.34.0")]).await;
    check(&ended, said("16", "missing_credentials", false), true, "gateway", "a client of Google's");
    check(&caller.call("/nowhere/a", &[]).await, said("12", "route_not_found", false), false, "gateway", "no route");
    let leaves = caller.call("/compatible/rate/../../../x", &[]).await;
    check(&leaves, said("3", "invalid_request", false), false, "client", "a path that leaves");
    // What was refused here is no failure of the provider's: only the one status and the two silences are, in each form.
    let name = format!("http://{}", provider.address);
    let failures = gateway.metric("speechgate_upstream_requests_total", &[("upstream", &name), ("outcome", "failure")]);
    assert_eq!(failures, 3.0 * 3.0);
}

#[test]
fn every_refusal_of_the_gateway_is_one_of_grpc() {
    run(async {
        let (provider, broken) = (Calls::start(play).await, Broken::start().await);
        every_refusal(&provider, &broken, None).await;
    });
}

#[test]
fn every_refusal_of_the_gateway_is_one_of_grpc_over_tls() {
    run(async {
        let (provider, broken) = (Calls::start(play).await, Broken::start().await);
        let (authority, directory) = (Authority::new(), tempfile::tempdir().expect("a directory"));
        let line = tls_line(directory.path(), &authority, false);
        every_refusal(&provider, &broken, Some((&authority, &line))).await;
    });
}

/// Without descriptors no connection to a provider can be made.
#[test]
fn a_gateway_without_descriptors_says_so_in_grpc() {
    run(async {
        let provider = Calls::start(play).await;
        let url = format!("http://{}", provider.address);
        let settings = Settings::new().server("max_connections = 1000").route_to("a", "/a", "google", &url, "");
        let gateway = Gateway::start_cramped(&settings, 64);
        let caller = Caller::to(gateway.address()).await;
        assert_eq!(caller.call("/nowhere", &[]).await.said(), ("12", "route_not_found"));
        let mut crowd = Vec::new();
        for _ in 0..100 {
            crowd.push(TcpStream::connect(gateway.address()).await.expect("the kernel takes it"));
        }
        let _ = gateway.line(|line| line["message"].as_str().is_some_and(|text| text.starts_with("accepting pauses")));
        let ended = caller.call("/a/echo", &[]).await;
        check(&ended, said("14", "overloaded", true), false, "gateway", "no descriptors");
        drop(crowd);
        for _ in 0..200 {
            if caller.call("/a/echo", &[]).await.field("grpc-status") == "0" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it serves again");
    });
}

/// Calls were cut with their connection when the gateway's time was over.
#[test]
fn calls_that_outlast_the_drain_are_told_that_the_gateway_ends() {
    run(async {
        let provider = Calls::start(play).await;
        let url = format!("http://{}", provider.address);
        let one = "concurrency = { max = 1, queue = 1, max_wait = '1m' }";
        let settings = FORMS.iter().fold(Settings::new().server("drain_timeout = \"1s\""), |settings, form| {
            let envelope = format!("envelope = '{form}'");
            settings.route_to(form, &format!("/{form}"), "google", &url, &envelope).route_to(
                &format!("{form}-queue"),
                &format!("/queue/{form}"),
                "google",
                &url,
                &format!("{envelope}\n{one}"),
            )
        });
        let mut gateway = Gateway::start(&settings);
        let caller = Caller::to(gateway.address()).await;
        let mut running = Vec::new();
        for form in FORMS {
            for (path, late) in [
                (format!("/{form}/begin"), true),
                (format!("/{form}/hang"), false),
                (format!("/queue/{form}/begin"), true),
                (format!("/queue/{form}/echo"), false),
            ] {
                let mut call = caller.begin(&path, &[]).await;
                call.send.send_data(message(b"hello"), true).expect("open");
                running.push((form, path, late, call));
            }
        }
        // Each provider's side has its call; of the others one waits in each queue.
        let mut seen = 0;
        while seen < 9 {
            seen += provider.take().len();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        FORMS.iter().for_each(|form| {
            gateway.metric_becomes("speechgate_concurrency_queued", &[("route", &format!("{form}-queue"))], 1.0);
        });
        gateway.signal("TERM");
        for (form, path, is_late, call) in running {
            let expected = Said { late: is_late, ..said("14", "shutting_down", true) };
            check(&call.end().await, expected, form == "compatible", "gateway", &path);
        }
        assert_eq!(gateway.ended().code(), Some(0));
    });
}

#[test]
fn a_call_that_a_page_of_elsewhere_makes_is_refused_in_grpc() {
    run(async {
        let provider = Calls::start(play).await;
        let url = format!("http://{}", provider.address);
        let lines = "credentials = { header = 'x-goog-api-key', value = 'of-the-route' }";
        let gateway = Gateway::start(&Settings::new().route_to("a", "/a", "google", &url, lines));
        let caller = Caller::to(gateway.address()).await;
        let fields = [("origin", "https://elsewhere.test"), ("sec-fetch-site", "cross-site")];
        let ended = caller.call("/a/echo", &fields).await;
        check(&ended, said("7", "permission_denied", false), false, "gateway", "origin");
        assert!(provider.take().is_empty());
    });
}
