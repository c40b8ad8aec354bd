//! The form of an error: by the route, by what the client asks for, by who it is.

use crate::envelope::{failures, harmless, provoke, proxy_status, world};
use crate::support::check::{Outcome, canonical, ensure, members, rows, whole_json};
use crate::support::world::{get_with, json_answer};
use crate::support::{Act, Answer, Gateway, Provider, Settings, World};
use serde_json::Value;

#[test]
fn problem_routes_answer_rfc_9457() {
    let world = world();
    rows(
        failures(),
        |failure| failure.name.to_owned(),
        |failure| {
            let answer = provoke(&world, failure, "/q")?;
            problem(&answer, failure.code)?;
            proxy_status(&answer, failure)?;
            harmless(&world, &answer)
        },
    );
}

fn problem(answer: &Answer, code: &str) -> Outcome {
    let body = whole_json(answer, "application/problem+json")?;
    ensure!(body["status"] == answer.status, "status {}", body["status"]);
    for name in ["type", "title", "detail", "instance"] {
        ensure!(body[name].as_str().is_some_and(|text| !text.is_empty()), "{name} {}", body[name]);
    }
    ensure!(body["error"]["code"] == code, "code {}", body["error"]["code"]);
    members(&body["error"])?;
    crate::support::check::headers(answer, &body["error"])
}

#[test]
fn a_client_can_ask_for_rfc_9457() {
    let world = world();
    for (accept, wanted) in [
        ("application/problem+json", true),
        ("application/problem+json, application/json;q=0.5", true),
        ("application/json", false),
        ("*/*", false),
        ("text/html", false),
        ("application/problem+json;q=0", false),
    ] {
        let answer = world.ask(get_with("/p/..%2fx", &format!("Accept: {accept}\r\n")));
        let checked =
            if wanted { problem(&answer, "invalid_request") } else { canonical(&answer, "invalid_request").map(drop) };
        assert_eq!(checked, Ok(()), "Accept: {accept}");
    }
}

#[test]
fn compatible_routes_speak_the_providers_dialect() {
    let world = world();
    rows(
        failures(),
        |failure| failure.name.to_owned(),
        |failure| {
            let answer = provoke(&world, failure, "/c")?;
            let body = whole_json(&answer, "application/json")?;
            let error = &body["gateway_error"];
            ensure!(error["code"] == failure.code, "code {}", error["code"]);
            ensure!(!body["detail"].is_null() || failure.origin == "provider", "no `detail`: {body}");
            // It keeps the provider's status; what the gateway words itself has the one that this provider would use.
            let status = error["upstream"]["status"].as_u64().unwrap_or(u64::from(answer.status));
            ensure!(answer.status >= 400 && status == u64::from(answer.status), "status {} on the line", answer.status);
            ensure!(answer.field("x-error-code") == failure.code, "x-error-code");
            proxy_status(&answer, failure)?;
            harmless(&world, &answer)
        },
    );
    world.provider.next([Act::send(json_answer(
        404,
        "X-Theirs: 1\r\n",
        "{\"detail\":{\"status\":\"voice_not_found\",\"message\":\"No.\"}}",
    ))]);
    let answer = world.get("/c/a");
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(body["detail"]["status"], "voice_not_found", "every byte of meaning stays");
    assert_eq!((answer.status, answer.field("x-theirs").as_str()), (404, "1"));
}

/// Who asks decides, request by request on one route.
#[test]
fn auto_answers_sdks_in_the_providers_shape_and_everybody_else_canonically() {
    let provider = Provider::start();
    let settings = Settings::standard(provider.address()).beside("auto", "/o", "envelope = \"auto\"");
    let world = World { gateway: Gateway::start(&settings), provider };
    let quota = "{\"detail\":{\"status\":\"quota_exceeded\",\"message\":\"This exceeds your quota.\"}}";
    for (fields, compatible) in [
        ("", false),
        ("User-Agent: curl/8.14\r\n", false),
        ("User-Agent: python-httpx/0.28\r\nxi-api-key: k\r\n", false),
        ("X-Fern-SDK-Name: elevenlabs\r\n", true),
        ("X-Stainless-Lang: js\r\n", true),
        ("User-Agent: ai/6.0 ai-sdk/provider-utils/4.0 runtime/node.js\r\n", true),
        ("User-Agent: LiveKit Agents\r\nAccept: application/problem+json\r\n", true),
    ] {
        world.provider.next([Act::send(json_answer(401, "Vary: origin\r\n", quota))]);
        let answer = world.ask(get_with("/o/a", fields));
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let (status, member) = if compatible { (401, "gateway_error") } else { (402, "error") };
        assert_eq!((answer.status, &body[member]["code"]), (status, &"quota_exceeded".into()), "{fields} {body}");
        assert_eq!(body.get("detail").is_some(), compatible, "{fields} {body}");
        // An SDK gets the provider's shape whatever it accepts.
        let accept: &[&str] = if compatible { &[] } else { &["accept"] };
        let vary = [&["origin"], accept, &["user-agent, x-fern-sdk-name, x-stainless-lang"]].concat();
        assert_eq!(answer.fields.all("vary"), vary, "{fields}");
    }
}

/// An OpenAI quota is a 429 that everything which looks at the status alone sends again.
#[test]
fn a_compatible_answer_has_the_canonical_status_where_profile_or_route_say_so() {
    let provider = Provider::start();
    let to = format!("http://{}", provider.address());
    let settings = Settings::new()
        .route_to("openai", "/o", "openai", &to, "envelope = \"compatible\"")
        .route_to("groq", "/g", "groq", &to, "envelope = \"compatible\"")
        .route_to("ours", "/u", "groq", &to, "envelope = { http = \"compatible\", status = \"canonical\" }");
    let world = World { gateway: Gateway::start(&settings), provider };
    let quota = "{\"error\":{\"message\":\"You exceeded your current quota.\",\"type\":\"insufficient_quota\",\"code\":\"insufficient_quota\"}}";
    let pace = "{\"error\":{\"message\":\"Slow down.\",\"type\":\"requests\",\"code\":\"rate_limit_exceeded\"}}";
    for (path, body, status) in
        [("/o/a", quota, 402), ("/o/a", pace, 429), ("/g/a", quota, 429), ("/u/a", quota, 402), ("/u/a", pace, 429)]
    {
        world.provider.next([Act::send(json_answer(429, "", body))]);
        let answer = world.get(path);
        let told: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(answer.status, status, "{path} {told}");
        assert!(told["gateway_error"]["status"].is_u64() && told["error"]["message"].is_string(), "{told}");
    }
}

/// A handshake without a key and a method that is refused used to be answered as if no route took them.
#[test]
fn early_rejections_have_the_form_of_their_route() {
    let provider = Provider::start();
    let url = format!("http://{}", provider.address());
    let world = World::around(provider, |settings| {
        settings.route_to("native", "/n", "cartesia", &url, "envelope = \"compatible\"").route_to(
            "details",
            "/d",
            "cartesia",
            &url,
            "envelope = \"problem\"",
        )
    });
    let handshake = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    for (method, lines) in [
        ("GET", handshake),
        ("TRACE", ""),
        ("A-METHOD-OF-MORE-THAN-SIXTY-FOUR-BYTES-WHICH-NOBODY-KNOWS-AND-NONE-NEEDS-X", ""),
    ] {
        let ask = |path: &str| world.ask(format!("{method} {path}/x HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
        let native: serde_json::Value = serde_json::from_str(&ask("/n").text()).expect("JSON");
        assert_eq!(native["gateway_error"]["route"], "native", "{method}: {native}");
        let details = ask("/d");
        assert_eq!(details.field("content-type"), "application/problem+json", "{method}");
        assert!(details.text().contains("\"route\":\"details\""), "{method}: {}", details.text());
    }
    assert!(world.provider.take().is_empty());
}
