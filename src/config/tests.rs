//! The configuration as a whole: texts in, problem lines or values out.

mod accounts;
mod files;
mod operator;
mod places;
mod prices;
mod problems;
mod secrets;
mod tenants;
mod warm;
mod warnings;

use super::types::{LimitKey, Listen, LogLevel};
use super::*;
use proptest::prelude::*;
use std::time::Duration;

const ROUTE: &str = r#"
[[routes]]
name = "tts"
match = { path = "/tts" }
provider = "elevenlabs"
upstream = "https://api.example.com"
"#;

/// The environment of a test.
fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// What is wrong with a text, a line each.
fn problems(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    match load_str(&[("t.toml", text)], environment(variables)) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(Problem::headline).collect(),
    }
}

/// A configuration that must be valid.
fn loaded(texts: &[(&str, &str)], variables: &[(&str, &str)]) -> Loaded {
    load_str(texts, environment(variables)).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

#[test]
fn later_layers_win() {
    let first = format!(
        "[server]\nlisten='127.0.0.1:1'\nmax_connections=7\ndrain_timeout='1s'\n[admin]\nenabled=false\n{ROUTE}"
    );
    let second = "[server]\nlisten='127.0.0.1:2'\ndrain_timeout='2s'\n";
    let variables = [
        ("SPEECHGATE__SERVER__LISTEN", "127.0.0.1:3"),
        ("SPEECHGATE__ADMIN__ENABLED", "true"),
        ("SPEECHGATE__ROUTES__0__UPSTREAM", "http://localhost:9"),
        ("SPEECHGATE__ROUTES__1__NAME", "second"),
        ("SPEECHGATE__ROUTES__1__MATCH", "{ path = '/second' }"),
        ("SPEECHGATE__ROUTES__1__PROVIDER", "generic"),
        ("SPEECHGATE__ROUTES__1__UPSTREAM", "http://localhost:10"),
        ("SPEECHGATE__TELEMETRY__LOG__LEVEL", "debug"),
        ("SPEECHGATE_OTHER", "is not ours"),
    ];
    let config = loaded(&[("1", &first), ("2", second)], &variables).config;
    assert_eq!(config.server.listen, [Listen::Tcp(([127, 0, 0, 1], 3).into())], "the environment wins");
    assert_eq!(config.server.drain_timeout, Duration::from_secs(2), "the later file wins");
    assert_eq!(config.server.max_connections, 7, "what only the earlier file says stays");
    assert_eq!(config.server.header_timeout, Duration::from_secs(10), "the rest has defaults");
    assert_eq!(config.admin, Some(Listen::Tcp(([127, 0, 0, 1], 9464).into())));
    assert_eq!(config.telemetry.log_level, LogLevel::Debug);
    assert_eq!(config.routes[0].upstreams[0].port, 9);
    assert_eq!((config.routes[1].name.as_str(), config.routes[1].path.as_str()), ("second", "/second"));
}

#[test]
fn an_array_replaces_an_earlier_one_and_problems_follow_it() {
    let earlier = format!("{ROUTE}timeouts = {{ idle = '1s' }}\n");
    let later = "[[routes]]\nname='b'\nmatch={path='/b'}\nupstream='http://b'\n";
    let problems = load_str(&[("1", &earlier), ("2", later)], []).expect_err("the provider is missing");
    let lines: Vec<String> = problems.iter().map(Problem::headline).collect();
    assert_eq!(lines, ["2:1:1: routes[0].provider: missing; expected a string"]);
}

#[test]
fn values_are_filled_in() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), "from-a-file\n\n").expect("a written file");
    let text = format!(
        "[server]\nmax_connections = '${{MAX}}'\npublic_url = 'https://${{HOST}}/a'\n{ROUTE}\
         credentials = {{ header = 'authorization', value = 'Bearer ${{KEY}}-$${{KEY}}' }}\n"
    );
    let variables = [("MAX", "12"), ("HOST", "speech.example.com"), ("KEY", "sk-live-1")];
    let all = loaded(&[("t", &text)], &variables);
    assert_eq!(all.config.server.max_connections, 12);
    let value = all.config.routes[0].credentials.first().map(|credentials| credentials.value.reveal().to_owned());
    assert_eq!(value.as_deref(), Some("Bearer sk-live-1-${KEY}"));
    let shown = format!("{} {:?}", all.redacted, all.config);
    assert!(!shown.contains("sk-live-1") && all.redacted.contains("\"value\": \"***\""), "{shown}");
    assert!(!all.redacted.contains("speech.example.com"), "whatever was filled in is a secret: {}", all.redacted);

    let text = format!("{ROUTE}credentials = {{ header = 'x-k', value = '${{file:{}}}' }}\n", file.path().display());
    let lines = problems(&text, &[]);
    assert_eq!(lines.len(), 1, "one newline is taken off, the other is in the way: {lines:?}");
    std::fs::write(file.path(), "from-a-file\n").expect("a written file");
    let value =
        loaded(&[("t", &text)], &[]).config.routes[0].credentials.first().map(|all| all.value.reveal().to_owned());
    assert_eq!(value.as_deref(), Some("from-a-file"));
}

#[test]
fn credentials_may_stand_in_several_places() {
    let places = "header = 'x-k', query = 'token', subprotocol = 'app.', first_message = 'k'";
    let all = loaded(&[("t", &format!("{ROUTE}credentials = {{ {places}, value = 'sk-1' }}\n"))], &[]);
    let one = &all.config.routes[0].credentials[0];
    let header = one.header.as_ref().map(http::HeaderName::as_str);
    let subprotocol = match &one.subprotocol {
        Some(super::types::SubprotocolPlace::Prefix(prefix)) => Some(prefix.clone()),
        _ => None,
    };
    assert_eq!(
        [header, one.query.as_deref(), subprotocol.as_deref(), one.first_message.as_deref()],
        [Some("x-k"), Some("token"), Some("app."), Some("k")]
    );
    assert!(!format!("{} {:?}", all.redacted, all.config).contains("sk-1"));
}

#[test]
fn credentials_and_upstreams_may_be_lists() {
    let text = ROUTE
        .replace("upstream = \"https", "upstreams = [\"https://[2001:db8::1]/base\", \"https")
        .replace(".com\"", ".com\"]");
    let keys =
        "credentials = [{ header = 'x-k', value = 'sk-1' }, { header = 'authorization', value = 'Bearer sk-2' }]";
    let all = loaded(&[("t", &format!("{text}{keys}\n"))], &[("SPEECHGATE__ROUTES__0__CREDENTIALS__1__VALUE", "sk-3")]);
    let route = &all.config.routes[0];
    let hosts: Vec<(&str, &str)> =
        route.upstreams.iter().map(|upstream| (upstream.host.as_str(), upstream.base_path.as_str())).collect();
    assert_eq!(hosts, [("2001:db8::1", "/base"), ("api.example.com", "")]);
    let values: Vec<&str> = route.credentials.iter().map(|one| one.value.reveal()).collect();
    assert_eq!(values, ["sk-1", "sk-3"]);
    let shown = format!("{} {:?}", all.redacted, all.config);
    assert!(!shown.contains("sk-"), "{shown}");
}

#[test]
fn limits_are_read() {
    let text = format!(
        "[limits]\nbackend = 'redis://127.0.0.1'\n[telemetry]\notlp = {{ endpoint = 'http://127.0.0.1:4318' }}\n{ROUTE}\
         rate_limits = [{{ requests = 20, per = '1s' }},\n\
         {{ requests = 1, per = '10s', burst = 3, match = 'GET /a/{{id}}', key = 'path:id', code = 'poll_rate_limited' }}]\n\
         concurrency = {{ max = 10 }}\nretry = {{ attempts = 3, on = ['timeout'], budget = '5%' }}\n\
         circuit_breaker = {{ open = '3s' }}\n"
    );
    let all = loaded(&[("t.toml", &text)], &[]);
    let warnings: Vec<String> = all.warnings.iter().map(Problem::warning).collect();
    assert!(warnings.is_empty(), "{warnings:?}");
    let route = &all.config.routes[0];
    let [plain, poll] = route.rate_limits.as_slice() else { panic!("two limits") };
    assert_eq!((plain.requests, plain.burst, &plain.key), (20, 20, &LimitKey::Route));
    assert_eq!((poll.burst, &poll.key), (3, &LimitKey::PathParameter("id".to_owned())));
    assert_eq!(poll.code.as_str(), "poll_rate_limited");
    let concurrency = route.concurrency.as_ref().expect("a concurrency table");
    assert_eq!((concurrency.max, concurrency.queue, concurrency.learn), (10, 64, false));
    assert_eq!(route.retry.as_ref().map(|retry| (retry.attempts, retry.budget)), Some((3, 0.05)));
    let breaker = route.circuit_breaker.expect("a breaker");
    assert_eq!((breaker.failures, breaker.window, breaker.open), (5, Duration::from_secs(30), Duration::from_secs(3)));
}

/// In a fleet a call without a place to wait was refused however many slots were free.
#[test]
fn a_fleet_needs_a_queue() {
    let of = |concurrency: &str, limits: &str| {
        problems(&format!("{limits}{ROUTE}concurrency = {{ max = 2, {concurrency} }}\n"), &[])
    };
    let backend = "[limits]\nbackend = 'redis://r'\n";
    for (concurrency, key, expected) in
        [("queue = 0", "queue", "at least 1"), ("max_wait = '0s'", "max_wait", "a duration longer than zero")]
    {
        assert_eq!(of(concurrency, ""), [""; 0]);
        let found = of(concurrency, backend);
        assert_eq!(found.len(), 1, "{found:?}");
        let told = format!(
            "routes[0].concurrency.{key}: with a `[limits] backend` a call waits for its first slot; expected {expected}"
        );
        assert!(found[0].ends_with(&told), "{found:?}");
    }
    assert_eq!(of("queue = 1, max_wait = '1ms'", backend), [""; 0]);
}

#[test]
fn a_backend_is_read_with_its_defaults() {
    let limits = |table: &str| loaded(&[("t", &format!("[limits]\n{table}\n{ROUTE}"))], &[]).config.limits;
    let plain = limits("backend = 'redis://127.0.0.1'");
    assert_eq!((plain.lease, plain.timeout), (Duration::from_secs(5), Duration::from_millis(20)));
    assert_eq!(plain.prefix, "speechgate");
    let own = limits("backend = 'redis://r'\nlease = '2s'\ntimeout = '200ms'\nprefix = 'tts:1'");
    assert_eq!((own.lease, own.timeout), (Duration::from_secs(2), Duration::from_millis(200)));
    assert_eq!(own.prefix, "tts:1");
    for url in ["redis://:p@r:1/2", "rediss://u:p%40@[::1]:6380", "redis+unix:///run/redis.sock?db=1"] {
        assert_eq!(limits(&format!("backend = '{url}'")).backend.expect("a URL").reveal(), url);
    }
    for bad in [
        "backend = 'http://r'",
        "backend = 'redis://'",
        "backend = 'redis://:pass@/0'",
        "backend = 'redis://r/zero'",
        "backend = 'redis://r/0?protocol=resp2'",
        "backend = 'redis+unix://run'",
        "lease = '100ms'",
        "lease = '2m'",
        "timeout = '0s'",
        "timeout = '501ms'",
        "prefix = ''",
        "prefix = 'a b'",
    ] {
        assert_eq!(problems(&format!("[limits]\n{bad}\n{ROUTE}"), &[]).len(), 1, "{bad}");
    }
}

#[test]
fn credentials_in_the_clear_are_warned_of() {
    for (upstream, warned) in [
        ("http://api.example.com", true),
        ("http://10.0.0.1:80", true),
        ("http://localhost:1", false),
        ("http://[::1]:1", false),
        ("https://api.example.com", false),
    ] {
        let route = ROUTE.replace("https://api.example.com", upstream);
        let all = loaded(
            &[("t", &format!("{route}credentials = {{ header = 'x-k', value = '${{KEY}}' }}\n"))],
            &[("KEY", "x")],
        );
        assert_eq!(!all.warnings.is_empty(), warned, "{upstream}");
        assert!(loaded(&[("t", &route)], &[]).warnings.is_empty(), "{upstream} without credentials");
    }
}

#[test]
fn a_profile_may_take_over_a_built_in_name() {
    let text = format!("{ROUTE}[providers.elevenlabs]\nextends = 'elevenlabs'\ncodes = {{ my_own = 'overloaded' }}\n");
    let config = loaded(&[("t", &text)], &[]).config;
    let spec = config.routes[0].profile.spec();
    assert!(spec.codes.contains_key("my_own") && spec.codes.len() > 20, "{} codes", spec.codes.len());
}

/// A transcription that takes 33 s was cut after 30 s, and an upload of 60 MiB refused, though the provider and its SDKs allow both.
#[test]
fn a_route_waits_and_takes_what_its_provider_does_unless_it_says_otherwise() {
    const SECOND: Duration = Duration::from_secs(1);
    let own = "[providers.own]\nextends = 'elevenlabs'\ndefaults = { response = '90s' }\n";
    for (provider, lines, response, size) in [
        ("elevenlabs", "", 240 * SECOND, 3 << 30),
        ("openai", "", 600 * SECOND, 50 << 20),
        ("generic", "", 30 * SECOND, 50 << 20),
        ("elevenlabs", "timeouts = { response = '7s' }\nmax_request_body = '1KiB'\n", 7 * SECOND, 1024),
        ("own", "timeouts = { connect = '7s' }\n", 90 * SECOND, 3 << 30),
    ] {
        let text = format!(
            "{}{lines}{own}",
            ROUTE.replace("elevenlabs", provider).replace(&format!("api.{provider}"), "api.elevenlabs")
        );
        let config = loaded(&[("t", &text)], &[]).config;
        let route = &config.routes[0];
        assert_eq!((route.timeouts.response, route.max_request_body), (response, size), "{provider} {lines}");
    }
    let wrong = format!(
        "{ROUTE}[providers.own]\ndefaults = {{ response = 'soon', max_request_body = '0', idle_limit = '0s' }}\n"
    );
    let found = problems(&wrong, &[]);
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[2].contains("providers.own.defaults.idle_limit"), "{}", found[2]);
    assert!(found[0].contains("providers.own.defaults.response") && found[0].contains("a duration"), "{}", found[0]);
    assert!(found[1].contains("providers.own.defaults.max_request_body"), "{}", found[1]);
}

/// What the built-in profiles say is within reason, and none cuts what the default would have allowed.
#[test]
fn built_in_defaults_are_within_reason() {
    for name in built_in_names() {
        let text = format!(
            "[[routes]]\nname = 'r'\nmatch = {{ path = '/r' }}\nprovider = '{name}'\nupstream = 'https://a.example'\n"
        );
        let config = loaded(&[("t", &text)], &[]).config;
        let (response, size) = (config.routes[0].timeouts.response.as_secs(), config.routes[0].max_request_body);
        assert!((30..=600).contains(&response) && (50 << 20..=4 << 30).contains(&size), "{name}: {response} s, {size}");
    }
}

/// The files that the examples speak of.
fn example_files() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    for (name, text) in [
        ("tls.crt", made.cert.pem()),
        ("clients.pem", made.cert.pem()),
        ("provider-ca.pem", made.cert.pem()),
        ("own.crt", made.cert.pem()),
        ("own.key", made.signing_key.serialize_pem()),
        ("tls.key", made.signing_key.serialize_pem()),
        ("breeze_api_key", "brz_1\n".to_owned()),
        ("tenants.toml", "[[tenants]]\nname = 'further'\n".to_owned()),
    ] {
        std::fs::write(folder.path().join(name), text).expect("a written file");
    }
    folder
}

#[test]
fn the_schema_refuses_unknown_keys_everywhere() {
    let schema: serde_json::Value = serde_json::from_str(&schema_text()).expect("JSON");
    let tables = schema["$defs"].as_object().into_iter().flatten().filter(|(_, node)| node.get("properties").is_some());
    for (name, node) in tables.map(|(name, node)| (name.as_str(), node)).chain([("the whole", &schema)]) {
        assert_eq!(node.get("additionalProperties"), Some(&serde_json::Value::Bool(false)), "{name}");
    }
    assert!(!schema_text().contains("\"null\""), "TOML has no null");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_is_loaded_or_refused(text in "\\PC{0,200}") {
        prop_assert!(shown(load_str(&[("t", &text)], [])));
    }

    #[test]
    fn any_change_of_the_complete_file_is_loaded_or_refused(
        at in 0usize..6000, length in 0usize..40, with in "[\\PC\n\"'=\\[\\]{}$]{0,12}", name in "[A-Z0-9_]{0,20}", value in "\\PC{0,20}",
    ) {
        let text = changed(include_str!("../../config/gateway.toml"), at, length, &with);
        let variable = (format!("SPEECHGATE__{name}"), value);
        prop_assert!(shown(load_str(&[("t", &text)], [variable])));
    }

    #[test]
    fn no_change_makes_a_problem_repeat_a_secret(at in 0usize..300, length in 0usize..9, with in "[a-z\n\"'=\\[\\]{},.$ ]{0,5}") {
        const SECRET: &str = "sk4711";
        let credentials = format!("credentials = {{ header = 'x-k', value = '{SECRET}' }}\n");
        let table = format!("[routes.credentials]\nheader = 'x-k'\nvalue = \"{SECRET}\"\n");
        for credentials in [credentials, table] {
            let text = changed(&format!("{ROUTE}{credentials}[limits]\nbackend = 'redis://:{SECRET}@r'\n"), at, length, &with);
            let problems = load_str(&[("t", &text)], []).err().unwrap_or_default();
            let shown: String = problems.iter().map(|problem| format!("{problem}{problem:?}")).collect();
            prop_assert!(!shown.contains(SECRET), "{text}\n{shown}");
        }
    }
}

/// The text with `with` in the place of `length` characters.
fn changed(text: &str, at: usize, length: usize, with: &str) -> String {
    let mut text: Vec<char> = text.chars().collect();
    let at = at.min(text.len());
    let end = (at + length).min(text.len());
    text.splice(at..end, with.chars());
    text.into_iter().collect()
}

/// Valid, or refused with problems that can be shown.
fn shown(result: Result<Loaded, Vec<Problem>>) -> bool {
    match result {
        Ok(loaded) => !loaded.redacted.is_empty(),
        Err(problems) => !problems.is_empty() && problems.iter().all(|problem| !problem.to_string().is_empty()),
    }
}
