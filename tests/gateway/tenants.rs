//! Tenants: their keys open what is theirs, stand where any SDK puts them, and go no further.

use crate::support::world::{get, get_with};
use crate::support::{Act, Answer, Client, Gateway, Provider, Settings};
use serde_json::Value;
use speechgate::canon::spec::SecretsSpec;
use speechgate::config;
use speechgate::proxy::gateway_key::{hash, make, shown};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::LazyLock;

/// One key for all tests, so that they look for the same bytes.
pub(crate) static KEY: LazyLock<String> = LazyLock::new(|| make().expect("random bytes"));
pub(crate) static EXPIRED: LazyLock<String> = LazyLock::new(|| make().expect("random bytes"));
pub(crate) static OTHER: LazyLock<String> = LazyLock::new(|| make().expect("random bytes"));

pub(crate) const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Tenants `a`, which has every route, and `b`, which has `plain` alone.
pub(crate) fn tenants() -> String {
    let hashed = |key: &str| shown(&hash(key.as_bytes()));
    format!(
        "[[tenants]]\nname = \"a\"\nkeys = [\"{}\", {{ hash = \"{}\", expires = \"2020-01-01T00:00:00Z\" }}]\n\
         [[tenants]]\nname = \"b\"\nroutes = [\"plain\"]\nkeys = [\"{}\"]\n",
        hashed(&KEY),
        hashed(&EXPIRED),
        hashed(&OTHER)
    )
}

/// The standard routes with a credential of the route's, `/own` without any, and the tenants.
pub(crate) fn settings(provider: &Provider) -> Settings {
    let credentials = "credentials = { header = \"xi-api-key\", value = \"sk-of-the-route\" }";
    Settings::new()
        .route("plain", "/p", provider.address(), credentials)
        .route("compatible", "/c", provider.address(), &format!("envelope = \"compatible\"\n{credentials}"))
        .route("own", "/own", provider.address(), &tenants())
}

pub(crate) fn world() -> (Gateway, Provider) {
    let provider = Provider::start();
    (Gateway::start(&settings(&provider)), provider)
}

pub(crate) fn ask(gateway: &Gateway, request: impl AsRef<[u8]>) -> Answer {
    gateway.client().send(request).answer()
}

pub(crate) fn error(answer: &Answer) -> Value {
    let body: Value = serde_json::from_str(&answer.text()).unwrap_or_else(|_| panic!("JSON: {answer:?}"));
    match body.get("gateway_error") {
        Some(error) => error.clone(),
        None => body["error"].clone(),
    }
}

/// Everything that a provider saw, as text.
pub(crate) fn seen(provider: &Provider) -> String {
    let mut text = String::new();
    for seen in provider.take() {
        writeln!(
            text,
            "{}\n{:?}\n{}\n{:?}",
            seen.line,
            seen.fields,
            String::from_utf8_lossy(&seen.body),
            seen.trailers
        )
        .expect("text");
    }
    text
}

pub(crate) fn base64(text: &str) -> String {
    use std::process::{Command, Stdio};
    let mut child =
        Command::new("base64").arg("-w0").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("base64");
    std::io::Write::write_all(&mut child.stdin.take().expect("piped"), text.as_bytes()).expect("taken");
    String::from_utf8(child.wait_with_output().expect("an end").stdout).expect("ASCII")
}

/// Whether a key is in a text, plainly or as SDKs spell it.
pub(crate) fn shows(text: &str, key: &str) -> bool {
    let basic = [base64(&format!("{key}:")), base64(&format!("user:{key}"))];
    text.contains(key) || basic.iter().any(|spelled| text.contains(spelled))
}

/// Every place of a dialect's key as the lines of a request and its query: in each header alone, behind a word, in either half of
/// `Basic`; in each query parameter; in each kind of subprotocol.
pub(crate) fn places(secrets: &SecretsSpec, key: &str) -> Vec<(String, String)> {
    let mut places = Vec::new();
    let headers = secrets.headers.iter().map(String::as_str).chain(["authorization"]);
    for name in headers.filter(|name| !name.contains('_')) {
        for value in [key.to_owned(), format!("Bearer {key}"), format!("Token {key}"), format!("Api-Key {key}")] {
            places.push((format!("{name}: {value}\r\n"), String::new()));
        }
    }
    for pair in [format!("{key}:"), format!("user:{key}")] {
        places.push((format!("Authorization: Basic {}\r\n", base64(&pair)), String::new()));
    }
    for name in &secrets.query {
        places.push((String::new(), format!("?{name}={key}&model=m")));
        places.push((String::new(), format!("?model=m&{name}=Bearer%20{key}")));
    }
    let offers = secrets.subprotocols.iter().map(|prefix| format!("{prefix}{key}"));
    let offers = offers.chain(secrets.subprotocol_pairs.iter().map(|word| format!("{word}, {key}")));
    places.extend(offers.map(|offer| (format!("{HANDSHAKE}Sec-WebSocket-Protocol: v1, {offer}\r\n"), String::new())));
    places
}

/// What SDKs do differently from each other is where they put their key: a gateway key works in all of these places, and what goes
/// out is the route's.
#[test]
fn every_dialect_s_place_of_the_key_takes_a_gateway_key_and_passes_none_on() {
    let provider = Provider::start();
    let url = format!("http://{}", provider.address());
    let mut settings = Settings::new();
    let profiles: Vec<_> = config::built_in_profiles().collect();
    for profile in &profiles {
        let header = profile.spec().secrets.headers.first().cloned().unwrap_or("authorization".to_owned());
        let lines =
            format!("envelope = \"compatible\"\ncredentials = {{ header = \"{header}\", value = \"of-the-route\" }}");
        settings = settings.route_to(profile.name(), &format!("/{}", profile.name()), profile.name(), &url, &lines);
    }
    let settings = settings.route("plain", "/last", provider.address(), &tenants());
    let gateway = Gateway::start(&settings);
    let mut tried = 0;
    for profile in &profiles {
        for (lines, query) in places(&profile.spec().secrets, &KEY) {
            let target = format!("/{}/v1/x{query}", profile.name());
            let answer = ask(&gateway, get_with(&target, &lines));
            let expected = if lines.contains("websocket") { 502 } else { 200 };
            assert_eq!(answer.status, expected, "{target} {lines}: {}", answer.text());
            let seen = seen(&provider);
            assert!(seen.contains("of-the-route"), "{target} {lines}: {seen}");
            assert!(!shows(&seen, &KEY), "{target} {lines}: {seen}");
            tried += 1;
        }
        let refused = ask(&gateway, get(&format!("/{}/v1/x", profile.name())));
        // Some say it with a status of their own.
        assert!(matches!(refused.status, 401 | 403), "{}: {refused:?}", profile.name());
        assert_eq!(refused.field("x-error-code"), "missing_credentials", "{}", profile.name());
    }
    assert!(tried > 6 * profiles.len(), "{tried}");
    assert!(provider.take().is_empty());
}

#[test]
fn a_request_without_a_valid_key_is_rejected() {
    let (gateway, provider) = world();
    let unknown = make().expect("random bytes");
    for (target, key, status, code) in [
        ("/p/v1/a", "", 401, "missing_credentials"),
        ("/p/v1/a", "sk-of-a-provider", 401, "invalid_credentials"),
        ("/p/v1/a", &unknown, 401, "invalid_credentials"),
        ("/p/v1/a", &KEY[..48], 401, "invalid_credentials"),
        ("/p/v1/a", &format!("{}x", *KEY), 401, "invalid_credentials"),
        ("/p/v1/a", &EXPIRED, 401, "expired_credentials"),
        ("/c/v1/a", &OTHER, 403, "permission_denied"),
        ("/c/v1/a", "", 401, "missing_credentials"),
        ("/own/v1/a", &KEY, 401, "missing_credentials"),
    ] {
        let line = if key.is_empty() { String::new() } else { format!("xi-api-key: {key}\r\n") };
        for more in ["", HANDSHAKE, "Expect: 100-continue\r\nContent-Length: 5\r\n"] {
            let answer = ask(&gateway, get_with(target, &format!("{line}{more}")));
            let error = error(&answer);
            let told = (answer.status, error["code"].as_str(), error["origin"].as_str());
            assert_eq!(told, (status, Some(code), Some("gateway")), "{target} {key} {more}");
            assert_eq!(answer.fields.has("www-authenticate"), status == 401, "{answer:?}");
            assert!(answer.informational.is_empty() && !shows(&answer.text(), key) || key.is_empty(), "{answer:?}");
        }
    }
    let compatible: Value = serde_json::from_str(&ask(&gateway, get("/c/v1/a")).text()).expect("JSON");
    assert!(compatible["detail"]["message"].is_string() && compatible["gateway_error"].is_object(), "{compatible}");
    assert!(provider.take().is_empty(), "nothing went to the provider");
    assert!(gateway.metric("speechgate_limit_rejections_total", &[("limit", "authentication")]) >= 27.0);
}

#[test]
fn tenants_are_named_in_the_log_and_their_calls_go_through() {
    let (gateway, provider) = world();
    for (key, name) in [(&*KEY, "a"), (&*OTHER, "b")] {
        let answer = ask(&gateway, get_with(&format!("/p/of-{name}"), &format!("xi-api-key: {key}\r\n")));
        assert_eq!(answer.status, 200);
        let line = gateway.line(|line| line["path"] == format!("/p/of-{name}").as_str());
        assert_eq!(line["tenant"], name);
        gateway.metric_becomes("speechgate_requests_total", &[("route", "plain"), ("tenant", name)], 1.0);
    }
    assert_eq!(ask(&gateway, get("/p/v1/a")).status, 401);
    gateway.metric_becomes("speechgate_requests_total", &[("route", "plain")], 3.0);
    provider.next([Act::send("HTTP/1.1 429 No\r\nContent-Length: 2\r\n\r\n{}")]);
    assert_eq!(ask(&gateway, get_with("/c/v1/a", &format!("xi-api-key: {}\r\n", *KEY))).status, 429);
    gateway.metric_becomes("speechgate_errors_total", &[("type", "rate_limited"), ("tenant", "a")], 1.0);
    gateway.metric_becomes("speechgate_errors_total", &[("tenant", "b")], 0.0);
    let page: Value = serde_json::from_str(&gateway.admin("/tenants").text()).expect("JSON");
    assert_eq!(page["tenants"][0]["routes"][1]["errors"]["rate_limited"], 1, "{page}");
    assert_eq!(
        (&page["tenants"][1]["name"], &page["tenants"][1]["routes"][0]["requests"]),
        (&"b".into(), &1.into()),
        "{page}"
    );
    assert_eq!(page["tenants"][0]["keys"][1]["expired"], true, "{page}");
    let seen = seen(&provider);
    assert!(seen.contains("sk-of-the-route") && !shows(&seen, &KEY) && !shows(&seen, &OTHER), "{seen}");
}

/// On a route without a key of its own clients bring the provider's.
#[test]
fn a_gateway_key_can_accompany_the_provider_s() {
    let (gateway, provider) = world();
    for lines in [
        format!("X-Speechgate-Key: {}\r\nxi-api-key: sk-own\r\n", *KEY),
        format!("x-speechgate-key: Bearer {}\r\nxi-api-key: sk-own\r\n", *KEY),
    ] {
        assert_eq!(ask(&gateway, get_with("/own/v1/a", &lines)).status, 200);
        let seen = seen(&provider);
        assert!(seen.contains("sk-own") && !shows(&seen, &KEY) && !seen.contains("speechgate-key"), "{seen}");
    }
    // One beside the other in the place of the provider's does not go on either.
    let basic = base64(&format!("{}:", *KEY));
    let lines = format!("X-Speechgate-Key: {}\r\nAuthorization: Basic {basic}\r\nxi-api-key: {}\r\n", *KEY, *KEY);
    assert_eq!(ask(&gateway, get_with("/own/v1/a", &lines)).status, 200);
    let seen = seen(&provider);
    assert!(!shows(&seen, &KEY) && seen.contains("/v1/a"), "{seen}");
}

/// Clients put keys where nobody expects them: none of these places leads to a provider or into anything that is shown.
#[test]
fn no_byte_of_a_gateway_key_reaches_a_provider_or_a_sink() {
    let provider = Provider::start();
    let telemetry = "log = { format = \"json\", level = \"debug\", access_fields = [\"user_agent\", \"header:x-request-id\", \"header:x-note\"] }";
    let gateway = Gateway::start(&settings(&provider).telemetry(telemetry));
    let key = &*KEY;
    let escaped: String = key.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let twice = escaped.replace('%', "%25");
    let auth = format!("xi-api-key: {key}\r\n");
    let mut asked = 0;
    for target in ["/p/v1/a", "/c/v1/a"] {
        for lines in [
            format!("User-Agent: app {key}\r\n"),
            format!("X-Note: {key}\r\n"),
            format!("X-Note: Basic {}\r\n", base64(&format!("{key}:"))),
            format!("X-Request-Id: {key}\r\n"),
            format!("Cookie: k={key}\r\n"),
            format!("X-Api-Key: {key}\r\n"),
            format!("traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: k={key}\r\n"),
            format!("baggage: k={key}\r\n"),
            format!("X-Speechgate-Key: {key}\r\nX-Speechgate-Other: {key}\r\n"),
            format!("Sec-WebSocket-Protocol: other, {key}\r\n{HANDSHAKE}"),
        ] {
            let answer = ask(&gateway, get_with(target, &format!("{auth}{lines}")));
            assert!(answer.status == 200 || lines.contains("websocket") && answer.status == 502, "{lines}: {answer:?}");
            assert!(!shows(&format!("{answer:?}"), key), "{lines}: {answer:?}");
            asked += 1;
        }
        for query in [
            format!("?a={key}&b=1"),
            format!("?b=1&a={escaped}"),
            format!("?{key}"),
            format!("?a=1;k={key};b=1"),
            format!("?a={twice}&b"),
        ] {
            let answer = ask(&gateway, get_with(&format!("{target}{query}"), &auth));
            assert_eq!(answer.status, 200, "{query}");
            asked += 1;
        }
        for path in [format!("{target}/{key}/x"), format!("{target}/{escaped}"), format!("/nowhere/{key}")] {
            let answer = ask(&gateway, get_with(&path, &auth));
            assert!(matches!(answer.status, 400 | 404), "{path}: {answer:?}");
            assert!(!shows(&answer.text(), key), "{path}: {answer:?}");
        }
        let trailers = format!(
            "POST {target} HTTP/1.1\r\nHost: a\r\n{auth}Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: {key}\r\n\r\n"
        );
        assert_eq!(ask(&gateway, trailers).status, 200);
        asked += 1;
        assert_eq!(ask(&gateway, format!("GET {target} HTTP/1.1\r\nHost: {key}.example\r\n{auth}\r\n")).status, 400);
    }
    // A provider that fails has what it saw in the journal and the samples.
    provider.next([Act::send("HTTP/1.1 418 No\r\nContent-Length: 2\r\n\r\n{}")]);
    assert_eq!(ask(&gateway, get_with(&format!("/p/v1/a?a={key}"), &auth)).status, 400);
    let seen = seen(&provider);
    assert_eq!(seen.matches(" HTTP/1.1\n").count(), asked + 1, "{seen}");
    for spelled in [key.as_str(), &escaped, &twice, &key[3..]] {
        assert!(!shows(&seen, spelled), "{spelled}: {seen}");
    }
    let mut shown = gateway.log().join("\n");
    for page in ["/metrics", "/config", "/status.json", "/tenants"] {
        shown.push_str(&gateway.admin(page).text());
    }
    for spelled in [key.as_str(), &escaped, &twice, &key[3..]] {
        let at = shown.find(spelled).map(|at| shown[at.saturating_sub(300)..].chars().take(700).collect::<String>());
        assert_eq!(at, None, "{spelled}");
    }
}

/// A Secret that is mounted: keys come and go with its files.
#[test]
fn keys_come_and_go_with_their_file() {
    let provider = Provider::start();
    let directory = tempfile::tempdir().expect("a directory");
    let tenant = |key: &str| format!("[[tenants]]\nname = \"t\"\nkeys = [\"{}\"]\n", shown(&hash(key.as_bytes())));
    std::fs::create_dir(directory.path().join("tenants")).expect("a folder");
    let file = directory.path().join("tenants/t.toml");
    std::fs::write(&file, tenant(&KEY)).expect("written");
    let settings = Settings::new()
        .server(&format!("tenants = \"{}\"", directory.path().join("tenants").display()))
        .route("plain", "/p", provider.address(), "credentials = { header = \"xi-api-key\", value = \"sk\" }");
    std::fs::write(directory.path().join("gateway.toml"), settings.text()).expect("written");
    let gateway = Gateway::start_in(directory, "gateway.toml", &[]);
    let status = |key: &str| ask(&gateway, get_with("/p/v1/a", &format!("xi-api-key: {key}\r\n"))).status;
    assert_eq!((status(&KEY), status(&OTHER)), (200, 401));
    std::fs::write(&file, tenant(&OTHER)).expect("written");
    let _ = gateway.line(|line| line["message"] == "the configuration was reloaded");
    assert_eq!((status(&KEY), status(&OTHER)), (401, 200));
    std::fs::remove_file(&file).expect("removed");
    gateway.metric_becomes("speechgate_config_reloads_total", &[("result", "success")], 2.0);
    assert_eq!((status(&KEY), status(&OTHER)), (401, 401), "no tenants, no access");
}

/// A full disk leaves an empty file, and an editor that writes in place does for a moment.
#[test]
fn a_file_of_tenants_that_is_cut_to_nothing_shuts_nobody_out() {
    let provider = Provider::start();
    let directory = tempfile::tempdir().expect("a directory");
    let tenant = format!("[[tenants]]\nname = \"t\"\nkeys = [\"{}\"]\n", shown(&hash(KEY.as_bytes())));
    let file = directory.path().join("tenants.toml");
    std::fs::write(&file, &tenant).expect("written");
    let settings = Settings::new().server(&format!("tenants = \"{}\"", file.display())).route(
        "plain",
        "/p",
        provider.address(),
        "credentials = { header = \"xi-api-key\", value = \"sk\" }",
    );
    std::fs::write(directory.path().join("gateway.toml"), settings.text()).expect("written");
    let gateway = Gateway::start_in(directory, "gateway.toml", &[]);
    let status = || ask(&gateway, get_with("/p/v1/a", &format!("xi-api-key: {}\r\n", *KEY))).status;
    let mut refused = 0.0;
    for cut in ["", "# nothing\n", "\n\n", &tenant[..12], &tenant[..40]] {
        std::fs::write(&file, cut).expect("written");
        refused += 1.0;
        gateway.metric_becomes("speechgate_config_reloads_total", &[("result", "failure")], refused);
        assert_eq!(status(), 200, "{cut:?}");
        let page = gateway.admin("/status.json").text();
        assert!(page.contains("\"ok\":false") && page.contains("tenants"), "{cut:?}: {page}");
    }
    std::fs::write(&file, "tenants = []\n").expect("written");
    gateway.metric_becomes("speechgate_config_reloads_total", &[("result", "success")], 1.0);
    assert_eq!(status(), 401, "whoever means it says so");
}

#[test]
fn a_refused_client_keeps_its_connection() {
    let (gateway, _provider) = world();
    let mut client: Client = gateway.client();
    assert_eq!(client.send(get("/p/v1/a")).answer().status, 401);
    assert_eq!(client.send(get_with("/p/v1/a", &format!("xi-api-key: {}\r\n", *KEY))).answer().status, 200);
}

pub(crate) fn credentialed(provider: SocketAddr, tenants: &str) -> Settings {
    let lines = format!("credentials = {{ header = \"xi-api-key\", value = \"sk\" }}\n{tenants}");
    Settings::new().route("plain", "/p", provider, &lines)
}

/// A tenant that may begin two requests in a long time, and one that may begin four in a day.
#[test]
fn rates_and_budgets_of_a_tenant_bind_it_alone_and_outlive_a_restart() {
    let provider = Provider::start();
    let directory = tempfile::tempdir().expect("a directory");
    let hashed = |key: &str| shown(&hash(key.as_bytes()));
    let tenants = format!(
        "[[tenants]]\nname = \"slow\"\nkeys = [\"{}\"]\nrate_limits = [{{ requests = 2, per = \"1h\" }}]\n\
         [[tenants]]\nname = \"poor\"\nkeys = [\"{}\"]\nbudgets = [{{ requests = 4, per = \"30d\" }}]\n\
         [limits]\nstate = \"{}\"\n",
        hashed(&KEY),
        hashed(&OTHER),
        directory.path().join("state.json").display()
    );
    let settings = credentialed(provider.address(), &tenants);
    let mut gateway = Gateway::start(&settings);
    let one = |gateway: &Gateway, key: &str| ask(gateway, get_with("/p/v1/a", &format!("xi-api-key: {key}\r\n")));
    for key in [&KEY, &OTHER] {
        // What is refused after its tenant was counted uses up nothing.
        let request = get_with(&format!("/p/v1/{}", **key), &format!("xi-api-key: {}\r\n", **key));
        assert_eq!([0; 3].map(|_| ask(&gateway, &request).status), [400; 3]);
    }
    assert_eq!([0; 3].map(|_| one(&gateway, &KEY).status), [200, 200, 429]);
    let refused = one(&gateway, &KEY);
    assert_eq!(
        (error(&refused)["code"].as_str(), error(&refused)["origin"].as_str()),
        (Some("rate_limited"), Some("gateway"))
    );
    assert_eq!([0; 3].map(|_| one(&gateway, &OTHER).fields.has("x-speechgate-budget-remaining")), [false; 3]);
    // The reload keeps what was used.
    assert_eq!(gateway.ask_admin("POST", "/-/reload").status, 200);
    gateway.metric_becomes("speechgate_budget_used_ratio", &[("tenant", "poor"), ("budget", "requests/30d")], 0.75);
    assert_eq!([0; 2].map(|_| one(&gateway, &OTHER).status), [200, 402]);
    let refused = error(&one(&gateway, &OTHER));
    assert_eq!((refused["code"].as_str(), refused["origin"].as_str()), (Some("quota_exceeded"), Some("gateway")));
    let wait = refused["retry_after_seconds"].as_f64().expect("a wait");
    assert!(wait > 0.0 && wait <= 30.0 * 86_400.0, "{wait}");
    let _ = gateway
        .line(|line| line["message"].as_str().is_some_and(|text| text.starts_with("a budget is nearly used up")));
    assert_eq!(gateway.metric("speechgate_limit_rejections_total", &[("limit", "budget")]), 2.0);
    gateway.signal("TERM");
    assert!(gateway.ended().success());
    let gateway = Gateway::start(&settings);
    assert_eq!([0; 2].map(|_| one(&gateway, &OTHER).status), [402, 402], "the file is read again");
    assert_eq!(one(&gateway, &KEY).status, 200, "rates begin anew");
}

#[test]
fn a_key_as_method_or_stray_subprotocol_is_not_forwarded() {
    let (gateway, provider) = world();
    let key = &*KEY;
    assert_eq!(ask(&gateway, format!("{key} /p/v1/x HTTP/1.1\r\nHost: a\r\nxi-api-key: {key}\r\n\r\n")).status, 405);
    let lines = format!("xi-api-key: {key}\r\nSec-WebSocket-Protocol: {key}\r\n");
    assert_eq!(ask(&gateway, get_with("/p/v1/x", &lines)).status, 200);
    let seen = provider.one();
    assert!(!seen.fields.has("sec-websocket-protocol"), "{:?}", seen.fields);
    let _ = gateway.line(|line| line["status"] == 200);
    assert!(gateway.log().iter().all(|line| !line.contains(&**key)));
    assert!(!gateway.admin("/status.json").text().contains(&**key));
}
