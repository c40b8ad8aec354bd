//! What the status page is made from: errors, samples without secrets, and each of them once.

use crate::support::world::{get_with, json_answer};
use crate::support::{Act, World};
use serde_json::Value;

fn document(world: &World, query: &str) -> Value {
    let answer = world.gateway.admin(&format!("/status.json{query}"));
    assert!(answer.field("content-type").starts_with("application/json"));
    serde_json::from_str(&answer.text()).expect("JSON")
}

/// What a client sends that nobody else is to see, and the provider says back.
const SECRET: &str = "sk_test_0123456789abcdef";

fn fails(world: &World, status: u16, code: &str) {
    let body = format!("{{\"detail\":{{\"status\":\"{code}\",\"message\":\"Not with {SECRET}.\"}},\"token\":\"abc\"}}");
    world.provider.next([Act::send(json_answer(status, "x-trace-id: theirs\r\nset-cookie: a=b\r\n", &body))]);
    let request = get_with("/p/a?xi-api-key=hidden", &format!("xi-api-key: {SECRET}\r\nx-request-id: ours\r\n"));
    let _ = world.ask(request);
}

#[test]
fn an_error_is_listed_once_with_both_ids() {
    let world = World::start();
    fails(&world, 401, "quota_exceeded");
    let all = document(&world, "");
    let error = &all["errors"][0];
    for (name, value) in [
        ("route", "plain"),
        ("code", "quota_exceeded"),
        ("origin", "provider"),
        ("request", "GET /p/a"),
        ("request_id", "ours"),
        ("upstream_request_id", "theirs"),
        ("message", "Not with ***."),
    ] {
        assert_eq!(error[name], value, "{name} in {error}");
    }
    assert_eq!((error["status"].as_u64(), error["upstream_status"].as_u64()), (Some(402), Some(401)));
    assert_eq!(all["failing"][0]["count"], 1);
    assert_eq!(all["buckets"][0]["errors"][0], serde_json::json!(["plain", "quota_exceeded", 1]));
    assert_eq!(document(&world, "?error=1")["errors"], serde_json::json!([]));
}

#[test]
fn an_unknown_code_leaves_a_sample_without_secrets() {
    let world = World::start();
    fails(&world, 418, "brand_new");
    fails(&world, 418, "brand_new");
    let all = document(&world, "");
    let sample = &all["unmapped"][0];
    assert_eq!((sample["upstream_code"].as_str(), sample["count"].as_u64()), (Some("brand_new"), Some(2)));
    let command = sample["command"].as_str().expect("a command");
    assert!(
        command.starts_with("speechgate explain --provider elevenlabs - <<'SAMPLE'\n> GET /a\nHTTP/1.1 418 "),
        "{command}"
    );
    assert!(command.contains("x-trace-id: theirs") && command.contains("\"token\":\"***\""), "{command}");
    for secret in [SECRET, "hidden", "abc", "a=b"] {
        assert!(!all.to_string().contains(secret), "{secret} in {all}");
    }
}

#[test]
fn pages_are_for_browsers_and_the_list_for_everybody_else() {
    let world = World::start();
    assert!(world.gateway.admin("/").text().starts_with("speechgate\n"));
    for (path, kind) in [
        ("/status/main.js", "text/javascript"),
        ("/status/page.css", "text/css"),
        ("/errors", "text/html"),
        ("/errors/quota_exceeded", "text/html"),
    ] {
        let answer = world.gateway.admin(path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.field("content-type").starts_with(kind), "{path}");
        assert!(answer.field("content-security-policy").contains("default-src 'none'"), "{path}");
    }
    for path in ["/errors/", "/errors/nothing", "/status/", "/status/nothing", "/status/../config"] {
        assert_eq!(world.gateway.admin(path).status, 404, "{path}");
    }
}
