//! What operators may say of routes and listeners, and what is said to them when it cannot be so.

use super::*;
use std::time::Duration;

/// The first problem of a route with these further lines.
fn first(lines: &str) -> String {
    let problems = load_str(&[("t.toml", &format!("{ROUTE}{lines}\n"))], []).expect_err(lines);
    problems.first().map(ToString::to_string).unwrap_or_default()
}

#[test]
fn what_cannot_be_is_said_where_it_stands() {
    for (lines, place, what) in [
        ("headers = { set = { host = 'x' } }", "headers.set.host", "this header cannot be set"),
        ("headers = { set = { 'x-request-id' = 'x' } }", "x-request-id", "does not write itself"),
        ("headers = { set = { x-a = \"b\\n\" } }", "headers.set.x-a", "cannot be sent in a header"),
        ("headers = { remove = ['content-length'] }", "headers.remove[0]", "framing"),
        ("headers = { set = { x-a = 'b' }, request = {} }", "headers.request", "which say the same"),
        (
            "credentials = { header = 'x-k', value = 'v' }\nheaders = { remove = ['x-k'] }",
            "headers.remove",
            "credentials stand",
        ),
        ("health = { path = 'x' }", "health.path", "a path such as `/health`"),
        ("health = { interval = '1s' }", "health.path", "missing"),
        ("health = { path = '/h', interval = '1s', timeout = '2s' }", "health.timeout", "at most the interval, 1s"),
        ("health = { path = '/h', status = '99' }", "health.status", "a status from 200 to 599"),
        ("health = { path = '/h', credentials = true }", "health.credentials", "no credentials"),
        ("timeouts = { total = '0s' }", "timeouts.total", "longer than zero"),
        ("upstream_tls = { certificate = '/nowhere' }", "upstream_tls.private_key", "missing"),
        ("credentials = { header = { name = 'x-k' } }", "credentials.value", "missing"),
        ("credentials = { header = { name = 'x-k', value = ' v' } }", "header.value", "without spaces"),
        ("credentials = { subprotocol = { value = 'v' } }", "credentials.subprotocol", "`prefix` or `after`"),
        ("credentials = { subprotocol = { after = 'token', value = 'a b' } }", "subprotocol.value", "letters, digits"),
    ] {
        let problem = first(lines);
        assert!(problem.contains(place) && problem.contains(what), "{lines}: {problem}");
    }
    for (text, place, what) in [
        ("[server]\nlisten = []\n", "server.listen", "1 to 16 addresses"),
        ("[server]\nlisten = ['127.0.0.1:1', '0.0.0.0:1']\n", "server.listen[1]", "the same address as `listen[0]`"),
        (
            "[admin]\nlisten = '127.0.0.1:2'\n[server]\nlisten = ['127.0.0.1:1', '0.0.0.0:2']\n",
            "admin.listen",
            "server.listen",
        ),
        ("[telemetry]\nlog = { access_fields = ['user_agnt'] }\n", "access_fields[0]", "did you mean `user_agent`"),
        ("[telemetry]\nlog = { access_fields = ['header:authorization'] }\n", "access_fields[0]", "holds no secret"),
    ] {
        let problems = load_str(&[("t.toml", &format!("{text}{ROUTE}"))], []).expect_err(text);
        let problem = problems.first().map(ToString::to_string).unwrap_or_default();
        assert!(problem.contains(place) && problem.contains(what), "{text}: {problem}");
    }
}

#[test]
fn upstreams_have_weights_where_one_has() {
    let route = ROUTE.replace("upstream = ", "# upstream = ");
    let weights = |list: &str| {
        loaded(&[("t.toml", &format!("{route}upstreams = {list}\n"))], &[]).config.routes[0].weights.clone()
    };
    assert_eq!(weights("['https://a.example', 'https://b.example']"), [0u32; 0]);
    assert_eq!(weights("[{ url = 'https://a.example' }]"), [0u32; 0]);
    assert_eq!(weights("[{ url = 'https://a.example', weight = 3 }, 'https://b.example']"), [3, 1]);
    let none =
        load_str(&[("t.toml", &format!("{route}upstreams = [{{ url = 'https://a.example', weight = 0 }}]\n"))], []);
    assert!(
        none.expect_err("no weight").iter().any(|problem| problem.to_string().contains("no upstream has a weight"))
    );
}

#[test]
fn places_of_credentials_have_spellings_of_their_own() {
    let text = "credentials = { header = { name = 'authorization', value = 'Bearer ${K}' }, subprotocol = { after = 'token' }, \
                query = 'key', value = '${K}' }";
    let all = loaded(&[("t.toml", &format!("{ROUTE}{text}\n"))], &[("K", "sk-1")]);
    let one = &all.config.routes[0].credentials[0];
    let header = one.spellings.header.as_ref().map(crate::config::secret::Secret::reveal);
    assert_eq!((header, one.value.reveal()), (Some("Bearer sk-1"), "sk-1"));
    assert_eq!(one.subprotocol, Some(crate::config::types::SubprotocolPlace::After("token".to_owned())));
    assert_eq!(one.values().collect::<Vec<_>>(), ["sk-1", "Bearer sk-1"]);
    assert!(!format!("{} {:?}", all.redacted, all.config).contains("sk-1"));
    // Each place may say its own, and then no value is needed that all share.
    let own = "credentials = { header = { name = 'x-k', value = 'a-secret' } }";
    let all = loaded(&[("t.toml", &format!("{ROUTE}{own}\n"))], &[]);
    assert_eq!(all.config.routes[0].credentials[0].value.reveal(), "a-secret");
    assert!(!all.redacted.contains("a-secret"), "{}", all.redacted);
}

#[test]
fn health_has_defaults_that_fit_the_interval() {
    let check = |lines: &str| loaded(&[("t.toml", &format!("{ROUTE}{lines}\n"))], &[]).config.routes[0].health.clone();
    let usual = check("health = { path = '/health' }").expect("a check");
    assert_eq!((usual.interval, usual.timeout), (Duration::from_secs(10), Duration::from_secs(3)));
    assert_eq!((usual.healthy, usual.unhealthy, usual.status, usual.credentials), (2, 3, (200, 499), false));
    assert_eq!(
        check("health = { path = '/h', interval = '1s' }").map(|check| check.timeout),
        Some(Duration::from_secs(1))
    );
    assert_eq!(check("health = { path = '/h', status = 204 }").map(|check| check.status), Some((204, 204)));
    assert_eq!(check(""), None);
}

#[test]
fn a_shape_error_in_one_rule_hides_no_other_problem() {
    let text = format!(
        "{ROUTE}[providers.acme]\n[[providers.acme.rules]]\ncode = 'A'\nthen = 'no_such_code'\n\
         [[providers.acme.rules]]\nthen = 5\n[[providers.acme.rules]]\nmessage = '('\nthen = 'overloaded'\n"
    );
    let problems: Vec<String> =
        load_str(&[("t.toml", &text)], []).expect_err("three").iter().map(ToString::to_string).collect();
    for place in ["rules[0].then", "rules[1].then", "rules[2].message"] {
        assert!(problems.iter().any(|problem| problem.contains(place)), "{place}: {problems:#?}");
    }
}
