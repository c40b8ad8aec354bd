//! Pages of browsers that call from another origin.

use crate::support::world::{get_with, json_answer};
use crate::support::{Act, Answer, Provider, World};
use std::time::{Duration, Instant};

const APP: &str = "Origin: https://app.example\r\n";
const ELSEWHERE: &str = "Origin: https://elsewhere.example\r\n";
const RULES: &str = "origins = [\"https://app.example\"], expose = [\"history-item-id\"], max_age = \"1h\"";

fn preflight(target: &str, origin: &str) -> Vec<u8> {
    format!(
        "OPTIONS {target} HTTP/1.1\r\nHost: gateway.test\r\n{origin}Access-Control-Request-Method: POST\r\n\
         Access-Control-Request-Headers: xi-api-key, content-type\r\nAccess-Control-Request-Private-Network: true\r\n\r\n"
    )
    .into_bytes()
}

fn may_read(answer: &Answer) -> Option<String> {
    answer.fields.get("access-control-allow-origin")
}

fn exposes(answer: &Answer, name: &str) -> bool {
    answer.fields.all("access-control-expose-headers").iter().any(|line| line.split(", ").any(|one| one == name))
}

/// Preflights used up rates and waited for slots, and without a key they went no further.
#[test]
fn preflights_are_answered_and_never_limited() {
    let limits = "rate_limits = [{ requests = 1, per = \"1h\" }]\nconcurrency = { max = 1, queue = 0 }";
    let world = World::with(|settings| settings.beside("page", "/b", &format!("cors = {{ {RULES} }}\n{limits}")));
    for _ in 0..3 {
        let answer = world.ask(preflight("/b/v1/a", APP));
        assert_eq!((answer.status, answer.body.len()), (204, 0));
        for (name, value) in [
            ("access-control-allow-origin", "https://app.example"),
            ("access-control-allow-methods", "POST"),
            ("access-control-allow-headers", "xi-api-key, content-type"),
            ("access-control-allow-private-network", "true"),
            ("access-control-max-age", "3600"),
        ] {
            assert_eq!(answer.field(name), value);
        }
    }
    assert!(world.provider.take().is_empty(), "none of them is the provider's matter");
    assert_eq!(world.ask(get_with("/b/v1/a", APP)).status, 200);
    let _ = world.gateway.line(|line| line["method"] == "OPTIONS" && line["route"] == "page" && line["status"] == 204);
}

/// The provider's answers could be read and the gateway's own could not, nor any header of them.
#[test]
fn pages_read_the_gateway_s_own_answers_as_those_of_the_provider() {
    let rate = "rate_limits = [{ requests = 1, per = \"1h\" }]";
    let world = World::with(|settings| settings.beside("page", "/b", &format!("cors = {{ {RULES} }}\n{rate}")));
    let lines = "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\n\
        Access-Control-Expose-Headers: request-id\r\n";
    world.provider.next([Act::send(json_answer(200, lines, "{}"))]);
    let success = world.ask(get_with("/b/v1/a", APP));
    let refused = world.ask(get_with("/b/v1/a", APP));
    assert_eq!((success.status, refused.status), (200, 429));
    for answer in [&success, &refused] {
        assert_eq!(may_read(answer).as_deref(), Some("https://app.example"));
        assert!(!answer.fields.has("access-control-allow-credentials"));
        assert!(answer.fields.all("vary").iter().any(|line| line == "origin"));
        for name in ["x-error-code", "x-should-retry", "retry-after", "x-request-id", "history-item-id"] {
            assert!(exposes(answer, name), "{name}");
        }
    }
    assert!(exposes(&success, "request-id"), "what the provider lets pages read stays readable");
}

#[test]
fn pages_of_other_origins_read_nothing_and_open_no_socket() {
    let world = World::with(|settings| settings.beside("page", "/b", &format!("cors = {{ {RULES} }}")));
    world.provider.next([Act::send(json_answer(200, "Access-Control-Allow-Origin: *\r\n", "{}"))]);
    for answer in [world.ask(get_with("/b/v1/a", ELSEWHERE)), world.ask(preflight("/b/v1/a", ELSEWHERE))] {
        assert_eq!(may_read(&answer), None);
        assert!(answer.fields.all("vary").iter().any(|line| line == "origin"));
    }
    let _ = world.provider.take();
    let handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let refused = world.ask(get_with("/b/v1/a", &format!("{ELSEWHERE}{handshake}")));
    assert_eq!((refused.status, refused.field("x-error-code").as_str()), (403, "permission_denied"));
    assert!(world.provider.take().is_empty());
    // Whoever is no page has no origin.
    assert_eq!(world.ask(get_with("/b/v1/a", "")).status, 200);
    assert_eq!(world.provider.one().target(), "/v1/a");
    let _ = world.ask(get_with("/b/v1/a", &format!("{APP}{handshake}")));
    assert_eq!(world.provider.one().target(), "/v1/a");
}

/// Without rules of the operator's the provider speaks for itself, and the gateway's own answers follow.
#[test]
fn the_gateway_s_own_responses_follow_the_provider_without_cors_rules() {
    let rate = "rate_limits = [{ requests = 1, per = \"1h\" }]";
    for (said, origin, wanted) in [
        ("Access-Control-Allow-Origin: *\r\n", ELSEWHERE, Some("*")),
        ("Access-Control-Allow-Origin: https://app.example\r\n", APP, Some("https://app.example")),
        ("Access-Control-Allow-Origin: https://app.example\r\n", ELSEWHERE, None),
        ("", APP, None),
    ] {
        let world = World::with(|settings| {
            settings.server("cors = { origins = [\"*\"] }").beside(
                "page",
                "/b",
                &format!("cors = \"provider\"\n{rate}"),
            )
        });
        world.provider.next([Act::send(json_answer(200, said, "{}"))]);
        assert_eq!(world.ask(get_with("/b/v1/a", APP)).status, 200);
        let refused = world.ask(get_with("/b/v1/a", origin));
        assert_eq!((refused.status, may_read(&refused).as_deref()), (429, wanted), "{said}{origin}");
        assert_eq!(exposes(&refused, "x-error-code"), wanted.is_some());
        // A preflight is the provider's to answer, whatever the limits say.
        let _ = world.provider.take();
        world.provider.next([Act::send("HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Origin: *\r\n\r\n")]);
        let answer = world.ask(preflight("/b/v1/a", origin));
        assert_eq!((answer.status, may_read(&answer).as_deref()), (204, Some("*")));
        assert_eq!(world.provider.one().line, "OPTIONS /v1/a HTTP/1.1");
        // What no route takes is nobody's but the gateway's.
        let nowhere = world.ask(get_with("/nowhere", origin));
        assert_eq!((nowhere.status, may_read(&nowhere).as_deref()), (404, Some("*")));
    }
}

/// What passes every limit must not spend the key that the limits are for.
#[test]
fn a_forwarded_preflight_carries_no_key() {
    for place in ["header = \"xi-api-key\"", "query = \"api_key\""] {
        let credentials = format!("credentials = {{ {place}, value = \"sk-0123456789\" }}\nretry = {{}}");
        let world = World::with(|settings| settings.beside("page", "/b", &credentials));
        // What a client lists in Connection ends here, and the question may not be recognised by it any more.
        for more in ["", "Connection: origin\r\n", "Connection: access-control-request-method, origin\r\n"] {
            let _ = world.ask(preflight("/b/v1/a", &format!("{APP}xi-api-key: own\r\n{more}")));
            let seen = world.provider.one();
            assert!(!seen.line.contains("api_key"), "{more}{}", seen.line);
            let key = seen.fields.get("xi-api-key");
            assert!(key.is_none_or(|key| key == "own"), "{more}the route's key");
        }
    }
}

#[test]
fn a_provider_error_and_its_gateway_headers_can_be_read() {
    let world = World::start();
    let error = json_answer(401, "Access-Control-Allow-Origin: *\r\n", "{\"detail\":{\"status\":\"invalid_api_key\"}}");
    world.provider.next([Act::send(error)]);
    let answer = world.ask(get_with("/p/v1/a", APP));
    assert_eq!((answer.status, may_read(&answer).as_deref()), (401, Some("*")));
    assert!(exposes(&answer, "x-error-code"));
}

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const KEY: &str = "credentials = { header = \"xi-api-key\", value = \"sk-0123456789\" }";

/// A page that the gateway's own host serves is not foreign to it, whatever the rules name.
#[test]
fn sockets_and_posts_of_the_gateway_s_own_pages_are_taken() {
    let world = World::with(|settings| {
        settings.server("trust_forwarded = true").beside("page", "/b", &format!("cors = {{ {RULES} }}\n{KEY}"))
    });
    for (lines, taken) in [
        ("Origin: http://gateway.test\r\n", true),
        ("Origin: https://GATEWAY.test\r\n", true),
        ("X-Forwarded-Host: speech.example\r\nOrigin: https://speech.example\r\n", true),
        (APP, true),
        ("", true),
        (ELSEWHERE, false),
        ("Origin: http://gateway.test.evil.example\r\n", false),
        ("Origin: http://gateway.test:81\r\n", false),
        ("Origin: null\r\n", false),
    ] {
        for (method, more) in [("GET", HANDSHAKE), ("POST", "Content-Length: 0\r\n")] {
            let request = String::from_utf8(get_with("/b/v1/a", &format!("{lines}{more}"))).expect("text");
            let answer = world.ask(request.replacen("GET", method, 1));
            assert_eq!(answer.status != 403, taken, "{method} {lines}");
            assert_eq!(world.provider.take().len(), usize::from(taken), "{method} {lines}");
        }
    }
}

/// What a form can send needs no preflight: it went out with the route's key, and that its page could not read the answer saved nothing.
#[test]
fn a_foreign_page_spends_no_key_of_a_route() {
    let rules = format!("cors = {{ {RULES} }}");
    let anybody = "cors = { origins = [\"*\"] }";
    let (provider, none) = ("cors = \"provider\"", "");
    const CROSS: &str = "Sec-Fetch-Site: cross-site\r\n";
    const SAME_SITE: &str = "Sec-Fetch-Site: same-site\r\n";
    for (cors, lends, lines, taken) in [
        (&*rules, true, ELSEWHERE.to_owned(), false),
        (&rules, true, "Origin: null\r\n".to_owned(), false),
        (&rules, true, APP.to_owned(), true),
        // Without a key of the route's it can do no more than anybody.
        (&rules, false, ELSEWHERE.to_owned(), true),
        // Pictures, links and forms with GET name no origin.
        (&rules, true, CROSS.to_owned(), false),
        (&rules, true, SAME_SITE.to_owned(), false),
        (&rules, true, format!("{CROSS}Referer: https://elsewhere.example/page\r\n"), false),
        (&rules, true, format!("{CROSS}Referer: https://app.example.evil.example/\r\n"), false),
        (&rules, true, format!("{SAME_SITE}Referer: https://app.example/page?a\r\n"), true),
        (&rules, true, format!("{CROSS}Referer: https://app.example\r\n"), true),
        (&rules, true, "Sec-Fetch-Site: same-origin\r\n".to_owned(), true),
        (&rules, true, "Sec-Fetch-Site: none\r\n".to_owned(), true),
        (anybody, true, format!("{CROSS}{ELSEWHERE}"), true),
        (anybody, true, CROSS.to_owned(), true),
        // Where nobody has said anything, browsers say what is foreign.
        (none, true, format!("{CROSS}{ELSEWHERE}"), false),
        (none, true, CROSS.to_owned(), false),
        (none, true, format!("{SAME_SITE}{ELSEWHERE}"), true),
        (none, true, ELSEWHERE.to_owned(), true),
        (none, false, format!("{CROSS}{ELSEWHERE}"), true),
        (provider, true, format!("{CROSS}{ELSEWHERE}"), true),
    ] {
        let key = if lends { KEY } else { "" };
        let world = World::with(|settings| settings.beside("page", "/b", &format!("{cors}\n{key}")));
        let posts = format!(
            "POST /b/v1/a HTTP/1.1\r\nHost: gateway.test\r\nContent-Type: text/plain\r\n{lines}Content-Length: 2\r\n\r\nhi"
        );
        for request in
            [posts.into_bytes(), get_with("/b/v1/a", &lines), get_with("/b/v1/a", &format!("{lines}{HANDSHAKE}"))]
        {
            let answer = world.ask(&request);
            // Handshakes of other origins are turned away wherever there are rules.
            let socket = request.windows(8).any(|bytes| bytes == b"Upgrade:") && cors == rules && lines == ELSEWHERE;
            assert_eq!(answer.status != 403, taken && !socket, "{cors} {lends} {lines}: {}", answer.line);
            assert_eq!(world.provider.take().len(), usize::from(taken && !socket), "{cors} {lends} {lines}");
        }
    }
}

/// The preflight of a path that no route takes was a 404, so that its page never read the one that says so.
#[test]
fn a_page_learns_that_no_route_takes_its_request() {
    let world = World::with(|settings| settings.server(&format!("cors = {{ {RULES} }}")));
    let asked = world.ask(preflight("/nowhere", APP));
    assert_eq!((asked.status, may_read(&asked).as_deref()), (204, Some("https://app.example")));
    let answer = world.ask(get_with("/nowhere", APP));
    assert_eq!((answer.status, may_read(&answer).as_deref()), (404, Some("https://app.example")));
    // What cannot be trusted is refused all the same.
    let bad = String::from_utf8(preflight("/nowhere", APP)).expect("text").replacen("Host: ", "Host: a\r\nHost: ", 1);
    assert_eq!(world.ask(bad).status, 400);
    assert_eq!(may_read(&world.ask(preflight("/nowhere", ELSEWHERE))), None);
}

/// A field that the operator sets may be a key as well.
#[test]
fn a_forwarded_preflight_carries_no_operator_fields() {
    let set = "headers.request = { set = { \"x-account\" = \"a-0123456789\" }, remove = [\"x-odd\"] }";
    let world = World::with(|settings| settings.beside("page", "/b", set));
    let _ = world.ask(preflight("/b/v1/a", &format!("{APP}x-odd: 1\r\n")));
    let seen = world.provider.one();
    assert!(!seen.fields.has("x-account") && !seen.fields.has("x-odd"), "{:?}", seen.fields);
    let _ = world.ask(get_with("/b/v1/a", APP));
    assert_eq!(world.provider.one().fields.get("x-account").as_deref(), Some("a-0123456789"));
}

/// Preflights pass every limit: a hundred of them held a hundred connections to a provider that did not answer.
#[test]
fn preflights_hold_few_connections_and_not_for_long() {
    let provider = Provider::with(|mut conn| {
        let _ = conn.head();
        let _ = conn.hang();
    });
    let world = World::around(provider, |settings| settings);
    let mut clients: Vec<_> = (0..100).map(|_| world.client()).collect();
    let begun = Instant::now();
    for client in &mut clients {
        let _ = client.send(preflight("/p/v1/a", APP));
    }
    let mut codes = Vec::new();
    for client in &mut clients {
        let answer = client.answer();
        codes.push((answer.status, answer.field("x-error-code")));
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let asked = codes.iter().filter(|(status, _)| *status == 504).count();
    assert!((1..=16).contains(&asked) && world.provider.connections() <= 16, "{asked} {codes:?}");
    let waited = codes.iter().filter(|(status, code)| *status == 503 && code == "overloaded").count();
    assert_eq!(asked + waited, 100, "{codes:?}");
}

/// A field of that name was taken for the gateway's, and a page read the answer that its provider had not let it read.
#[test]
fn a_provider_s_own_error_code_makes_no_answer_the_gateway_s() {
    let world = World::with(|settings| settings.beside("page", "/b", "cors = \"provider\""));
    world.provider.next([Act::send(json_answer(200, "Access-Control-Allow-Origin: https://app.example\r\n", "{}"))]);
    world.provider.next([Act::send(json_answer(200, "x-error-code: none\r\n", "{}"))]);
    assert_eq!(may_read(&world.ask(get_with("/b/v1/a", APP))).as_deref(), Some("https://app.example"));
    let answer = world.ask(get_with("/b/v1/a", APP));
    assert_eq!((answer.field("x-error-code").as_str(), may_read(&answer)), ("none", None));
}
