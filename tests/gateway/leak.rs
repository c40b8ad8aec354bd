//! Nothing secret, forged or unbounded in logs, metrics and errors.

use crate::support::world::{get, get_with, json_answer};
use crate::support::{Act, DEADLINE, Gateway, Provider, Settings, World};
use serde_json::Value;
use speechgate::wire::close::cut_reason;
use speechgate::wire::frame::Opcode::{Close, Text};
use speechgate::wire::frame::{Sender, apply_mask, frame, parse};
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

const SECRETS: [&str; 4] = ["configured-s3cret", "callers-s3cret", "query-s3cret", "cookie-s3cret"];

/// Clients' secrets everywhere a client puts them.
fn secretive(target: &str) -> Vec<u8> {
    get_with(
        &format!("{target}?token=query-s3cret&x=1&client_secret=query-s3cret&access_token=query-s3cret"),
        "Xi-Api-Key: clients-s3cret\r\nAuthorization: Bearer clients-s3cret\r\nX-Api-Key: clients-s3cret\r\nCookie: a=cookie-s3cret\r\n",
    )
}

#[test]
fn secrets_are_nowhere_to_be_seen() {
    let provider = Provider::start();
    let credentials = "credentials = { header = \"xi-api-key\", value = \"${SPEECHGATE_TEST_KEY}\" }\ntimeouts = { response = \"300ms\" }";
    let settings = Settings::standard(provider.address())
        .telemetry("log = { format = \"json\", level = \"trace\" }")
        .beside("keyed", "/k", credentials);
    let gateway = Gateway::start_with(&settings, &[("SPEECHGATE_TEST_KEY", SECRETS[0])]);
    let world = World { gateway, provider };
    let mut bodies = String::new();
    let endings = [
        vec![Act::Fin],
        vec![Act::Reset],
        vec![Act::Hang],
        vec![Act::send("garbage\r\n\r\n"), Act::Fin],
        vec![Act::send(json_answer(401, "", "{}"))],
        vec![],
    ];
    for acts in endings {
        for target in ["/k/a", "/p/../x", "/nowhere"] {
            world.provider.forget();
            if target == "/k/a" && !acts.is_empty() {
                world.provider.next(acts.clone());
            }
            let answer = world.ask(secretive(target));
            bodies.push_str(&format!("{:?} {}", answer.fields, answer.text()));
        }
    }
    bodies.push_str(&world.gateway.admin("/metrics").text());
    bodies.push_str(&world.gateway.admin("/config").text());
    let log = world.gateway.log().join("\n");
    for secret in SECRETS {
        assert!(!bodies.contains(secret), "{secret} in an answer");
        assert!(
            !log.contains(secret),
            "{secret} in the log: {}",
            log.lines().find(|line| line.contains(secret)).unwrap_or_default()
        );
    }
}

/// A provider of sockets that reads a handshake and a message, and sends both back in an error and in a close.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    // It waits in accept until the test binary ends.
    drop(std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut read = Vec::new();
            let mut more = |read: &mut Vec<u8>| {
                let mut space = [0; 4096];
                let count = stream.read(&mut space).unwrap_or(0);
                read.extend_from_slice(&space[..count]);
                count > 0
            };
            while !read.ends_with(b"\r\n\r\n") && more(&mut read) {}
            let head = String::from_utf8_lossy(&read).replace(['"', '\r', '\n'], " ");
            let _ = stream.write_all(SWITCHING);
            let mut space = [0; 4096];
            let count = stream.read(&mut space).unwrap_or(0);
            let message = match parse(&space[..count], Sender::Client) {
                Ok(Some((header, start))) => {
                    let mut payload = space[start..count].to_vec();
                    apply_mask(&mut payload, header.mask.unwrap_or_default(), 0);
                    String::from_utf8_lossy(&payload).replace('"', " ")
                }
                _ => String::new(),
            };
            let error = format!("{{\"message\":\"{head} {message}\",\"error\":\"odd\",\"code\":1008}}");
            let close = [&1008_u16.to_be_bytes()[..], cut_reason(&message).as_bytes()].concat();
            let _ = stream.write_all(&[frame(Text, error.as_bytes(), None), frame(Close, &close, None)].concat());
        }
    }));
    address
}

#[test]
fn secrets_of_sockets_are_nowhere_to_be_seen() {
    const PLACES: [&str; 4] =
        ["query = \"token\"", "subprotocol = \"t.\"", "first_message = \"xi_api_key\"", "header = \"x-k\""];
    let mut settings = Settings::new().telemetry("log = { format = \"json\", level = \"trace\" }");
    for (index, place) in PLACES.iter().enumerate() {
        let route = format!("credentials = {{ {place}, value = \"${{SPEECHGATE_TEST_KEY}}\" }}");
        settings = settings.route(&format!("r{index}"), &format!("/r{index}"), echo(), &route);
    }
    let gateway = Gateway::start_with(&settings, &[("SPEECHGATE_TEST_KEY", SECRETS[0])]);
    let mut told = String::new();
    for index in 0..PLACES.len() {
        let mut stream = TcpStream::connect(gateway.address()).expect("the gateway accepts");
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        let handshake = format!(
            "GET /r{index}/v1?token=query-s3cret HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Authorization: Bearer clients-s3cret\r\n\r\n"
        );
        stream.write_all(handshake.as_bytes()).expect("taken");
        let first = r#"{"text":" ","xi_api_key":"callers-s3cret"}"#;
        stream.write_all(&frame(Text, first.as_bytes(), Some([1, 2, 3, 4]))).expect("taken");
        let mut answer = Vec::new();
        // No text has this byte, with which the close begins; its length and its reason follow.
        let whole = |answer: &[u8]| {
            let close = answer.iter().position(|byte| *byte == 0x88);
            close
                .is_some_and(|at| answer.get(at + 1).is_some_and(|length| answer.len() > at + 1 + usize::from(*length)))
        };
        while !whole(&answer) {
            let mut space = [0; 4096];
            let count = stream.read(&mut space).expect("in time");
            assert!(count > 0, "an end before the close");
            answer.extend_from_slice(&space[..count]);
        }
        drop(stream);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.contains("101 Switching") && answer.contains("\"error\":{"), "{answer}");
        told.push_str(&answer);
    }
    told.push_str(&gateway.admin("/metrics").text());
    told.push_str(&gateway.admin("/config").text());
    for index in 0..PLACES.len() {
        let _ = gateway.line(|line| line["route"] == format!("r{index}"));
    }
    told.push_str(&gateway.log().join("\n"));
    for secret in SECRETS {
        let line = told.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}

#[test]
fn log_lines_cannot_be_forged() {
    let world = World::start();
    let attacks =
        ["/p/a%0d%0a%7b%22level%22:%22ERROR%22%7d", "/p/a%1b%5b31m", "/p/a\"},{\"b\":\"c", "/nowhere%0aforged"];
    for target in attacks {
        let lines = "User-Agent: a\"b\\\r\nReferer: {\"message\":\"forged\"}\r\nX-Request-Id: forged\"\r\n";
        let _ = world.ask(get_with(target, lines));
    }
    let words = "{\"detail\":{\"status\":\"forged\\n{\\\"message\\\":\\\"forged\\\"}\",\"message\":\"\\u001b[2Jforged\\r\\nforged\"}}";
    world.provider.next([Act::send(json_answer(400, "Request-Id: forged\\n\r\n", words))]);
    assert!(world.get("/p/last").status >= 400);
    let _ = world.gateway.line(|line| line.to_string().contains("last"));
    for line in world.gateway.log() {
        let parsed: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert!(parsed["message"] != "forged" && !line.contains('\u{1b}'), "{line}");
    }
}

#[test]
fn there_is_one_line_per_request() {
    let world = World::start();
    let mut ids = BTreeSet::new();
    for acts in [
        vec![],
        vec![Act::Fin],
        vec![Act::send(json_answer(404, "", "{}"))],
        vec![Act::send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"), Act::Fin],
    ] {
        if !acts.is_empty() {
            world.provider.next(acts);
        }
        assert!(ids.insert(world.get("/p/a").field("x-request-id")));
    }
    assert!(ids.insert(world.get("/nowhere").field("x-request-id")));
    for id in &ids {
        let _ = world.gateway.line(|line| line["request_id"] == id.as_str());
    }
    let lines: Vec<Value> = world.gateway.log().iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for id in &ids {
        let count =
            lines.iter().filter(|line| line["request_id"] == id.as_str() && line.get("status").is_some()).count();
        assert_eq!(count, 1, "lines for {id}");
    }
}

#[test]
fn labels_do_not_grow_with_client_or_provider_text() {
    let world = World::start();
    let touch = |index: usize| {
        world.provider.next([Act::send(json_answer(
            400 + (index % 60) as u16,
            "",
            &format!("{{\"detail\":{{\"status\":\"odd-{index}\"}}}}"),
        ))]);
        let _ = world.ask(format!("M{index} /p/odd-{index} HTTP/1.1\r\nHost: odd-{index}\r\nUser-Agent: odd-{index}\r\nX-Request-Id: odd-{index}\r\n\r\n"));
        world.provider.forget();
        let _ = world.get(&format!("/odd-{index}"));
    };
    (0..120).for_each(touch);
    let before = series(&world.gateway);
    (120..240).for_each(touch);
    let after = series(&world.gateway);
    assert_eq!(before, after, "series that only came with new words");
    assert!(after.iter().all(|name| !name.contains("odd-") && !name.contains("M1")), "words of a peer became labels");
    let _ = world.ask(get("/p/a"));
}

/// Names and labels of every series.
fn series(gateway: &Gateway) -> BTreeSet<String> {
    gateway.metrics().into_keys().collect()
}
