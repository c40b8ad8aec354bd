//! Keys come back from providers in every place and every spelling, and go no further.

use crate::support::check::envelope;
use crate::support::world::{get, get_with, json_answer};
use crate::support::{Act, Gateway, Provider, Settings, World};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

const KEY: &str = "sk+operator/0123456789abcdef==";
const IN_QUERY: &str = "api_key=sk%2Boperator%2F0123456789abcdef%3D%3D";

/// The routes `/k`, which puts the key into a header, `/y`, which puts it into the query, `/z`, compatible, and the standard ones.
fn world() -> World {
    let provider = Provider::start();
    let key = "value = \"${SPEECHGATE_TEST_KEY}\"";
    let settings = Settings::standard(provider.address())
        .beside("header", "/k", &format!("credentials = {{ header = \"xi-api-key\", {key} }}"))
        .beside("query", "/y", &format!("credentials = {{ query = \"api_key\", {key} }}"))
        .beside(
            "same",
            "/z",
            &format!("envelope = \"compatible\"\ncredentials = {{ header = \"xi-api-key\", {key} }}"),
        );
    let gateway = Gateway::start_with(&settings, &[("SPEECHGATE_TEST_KEY", KEY)]);
    World { gateway, provider }
}

/// Whether a key is in a text, however it is spelled there; the text as a reader decodes it.
fn shows(text: &str, key: &str) -> bool {
    let decoded = serde_json::from_str::<Value>(text).map_or_else(
        |_| text.to_owned(),
        |tree| {
            fn texts(tree: &Value) -> String {
                match tree {
                    Value::String(text) => text.clone(),
                    Value::Array(items) => items.iter().map(texts).collect(),
                    Value::Object(members) => members.values().map(texts).collect(),
                    other => other.to_string(),
                }
            }
            texts(&tree)
        },
    );
    let plain = decoded.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
    plain.contains(key) || text.contains(key)
}

/// The key stood in `Location`, `Link` and the like after any redirect that keeps the query, of refused handshakes too.
#[test]
fn a_key_in_the_query_does_not_come_back_in_a_redirect() {
    let world = world();
    let provider = world.provider.address();
    let lines = format!(
        "Location: http://{provider}/v1/voices/?page=2&{IN_QUERY}\r\nContent-Location: /v1/voices?{IN_QUERY}&page=2\r\n\
         Link: <http://{provider}/v1/voices?{IN_QUERY}>; rel=\"next\"\r\nRefresh: 5; url=/v1/voices?{IN_QUERY}\r\n\
         Content-Length: 0\r\n\r\n"
    );
    let handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for request in [get("/y/v1/voices?page=2"), get_with("/y/v1/voices?page=2", handshake)] {
        world.provider.next([Act::send(format!("HTTP/1.1 307 Temporary Redirect\r\n{lines}"))]);
        let answer = world.ask(request);
        assert_eq!(answer.status, 307);
        assert!(world.provider.one().target().ends_with(IN_QUERY), "the route's key goes out");
        assert_eq!(answer.field("location"), "http://gateway.test/y/v1/voices/?page=2");
        assert_eq!(answer.field("content-location"), "/y/v1/voices?page=2");
        for name in ["link", "refresh"] {
            let value = answer.field(name);
            assert!(!value.contains("api_key") && !shows(&value, KEY), "{name}: {value}");
        }
    }
}

/// JSON as PHP, .NET and Gson write it hid the key, and header fields were not looked at.
#[test]
fn an_echoed_key_is_found_in_every_spelling_and_every_field() {
    let world = world();
    let escaped = KEY.replace('/', "\\/").replace('+', "\\u002B").replace('=', "\\u003d");
    let html: String = KEY.chars().map(|char| format!("&#{};", u32::from(char))).collect();
    let bodies = [
        json_answer(401, "", &format!("{{\"detail\":{{\"status\":\"invalid_api_key\",\"message\":\"Invalid {KEY}\"}}}}")),
        json_answer(401, "", &format!("{{\"detail\":{{\"status\":\"invalid_api_key\",\"message\":\"Invalid {escaped}\"}}}}")),
        json_answer(401, "", &format!("<p>{html}</p>")),
        json_answer(401, "", &format!("called /v1?{IN_QUERY}")),
        json_answer(401, &format!("WWW-Authenticate: Bearer error_description=\"{KEY}\"\r\nX-Debug: a={KEY}\r\n"), "{}"),
        json_answer(401, &format!("X-Request-Id: {KEY}\r\nRequest-Id: {KEY}\r\n"), "{}"),
        json_answer(200, &format!("X-Request-Id: {KEY}\r\nX-Echo: {KEY}\r\nSet-Cookie: k={KEY}\r\n"), "{}"),
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\nevent: error\ndata: {{\"error\":\"invalid_api_key\",\"message\":\"{escaped}\"}}\n\n").into_bytes(),
    ];
    for target in ["/k/v1/a", "/z/v1/a"] {
        for body in &bodies {
            world.provider.next([Act::send(body), Act::Fin]);
            let answer = world.ask(get(target));
            let text = answer.text();
            let text = text.rsplit("data: ").next().unwrap_or_default().trim();
            assert!(!shows(text, KEY), "{target}: {text}");
            let fields = format!("{:?}", answer.fields);
            assert!(!shows(&fields, KEY), "{target}: {fields}");
        }
    }
    let _ = world.gateway.line(|line| line["status"] == 200);
    let log = world.gateway.log().join("\n");
    assert!(!shows(&log, KEY), "{log}");
}

#[test]
fn an_echoed_key_is_found_in_informational_responses_and_trailers() {
    let world = world();
    world.provider.next([Act::send(format!(
        "HTTP/1.1 103 Early Hints\r\nLink: </a?{IN_QUERY}>\r\nX-Echo: {KEY}\r\n\r\n\
         HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: {KEY}\r\n\r\n"
    ))]);
    let answer = world.ask(get_with("/k/v1/a", "TE: trailers\r\nConnection: TE\r\n"));
    let [(103, hints)] = answer.informational.as_slice() else { panic!("{answer:?}") };
    assert!(hints.has("link") && !shows(&format!("{hints:?}"), KEY), "{hints:?}");
    assert!(!shows(&format!("{:?}", answer.trailers), KEY), "{answer:?}");
}

/// The note in the body of a redirect repeats its `Location`, and was taken for a success.
#[test]
fn a_key_in_the_body_of_a_redirect_is_redacted() {
    let world = world();
    let note = format!("<a href=\"/v1/voices/?{}&amp;page=2\">Moved</a>", IN_QUERY.replace('=', "&#61;"));
    let long = format!("{}{note}", "x".repeat(70_000));
    let cut = format!("{}{note}", "x".repeat(65_520 - note.len() / 2));
    let coded = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(note.as_bytes()).expect("memory");
        encoder.finish().expect("memory")
    };
    for (lines, body) in [
        ("Content-Type: text/html\r\nETag: \"a\"\r\n", note.as_bytes()),
        ("Content-Type: text/event-stream\r\n", note.as_bytes()),
        ("Content-Type: application/x-ndjson\r\n", note.as_bytes()),
        ("", long.as_bytes()),
        ("", cut.as_bytes()),
        ("Content-Encoding: gzip\r\n", &coded),
        ("Content-Encoding: odd\r\n", note.as_bytes()),
        ("Content-Encoding: odd\r\n", &coded),
    ] {
        for (status, framed) in [(300, true), (302, false), (307, true), (399, false)] {
            let framing = if framed { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
            let head = format!("HTTP/1.1 {status} Moved\r\nLocation: /v1/voices/?{IN_QUERY}\r\n{lines}{framing}\r\n");
            world.provider.next([Act::send([head.as_bytes(), body].concat()), Act::Fin]);
            let answer = world.ask(get("/y/v1/voices"));
            assert_eq!((answer.status, answer.cut.is_none()), (status, true), "{lines}");
            assert_eq!(answer.field("location"), "/y/v1/voices/");
            let text = answer.text().replace("&#61;", "=").replace("&amp;", "&");
            assert!(
                !shows(&text, KEY) && !text.contains("sk%2B"),
                "{lines}{framed}: {}",
                &text[text.len().saturating_sub(200)..]
            );
            assert!(!answer.fields.has("etag") && !answer.fields.has("content-encoding"), "{lines}");
        }
    }
    // Without a key of the route's nothing is read.
    let body = "<a href=\"/v1?api_key=own\">Moved</a>";
    let moved =
        format!("HTTP/1.1 302 Moved\r\nLocation: /v1\r\nETag: \"a\"\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    world.provider.next([Act::send(moved)]);
    let answer = world.get("/p/v1/a");
    assert_eq!((answer.text().as_str(), answer.field("etag").as_str()), (body, "\"a\""));
}

/// `Date` was thought to be safe.
#[test]
fn a_key_in_a_date_is_redacted() {
    let world = world();
    world
        .provider
        .next([Act::send(format!("HTTP/1.1 200 OK\r\nDate: {KEY}\r\nAge: {KEY}\r\nContent-Length: 2\r\n\r\nok"))]);
    let answer = world.get("/k/v1/a");
    assert!(!shows(&format!("{:?}", answer.fields), KEY), "{:?}", answer.fields);
    assert!(answer.field("date").ends_with(" GMT"), "{:?}", answer.fields);
}

/// The words behind a status are of the provider's making as well.
#[test]
fn a_key_in_the_reason_phrase_is_removed() {
    let world = world();
    world.provider.next([Act::send(format!("HTTP/1.1 200 OK for {KEY}\r\nContent-Length: 2\r\n\r\nok"))]);
    let answer = world.get("/k/v1/a");
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    assert!(!shows(&answer.line, KEY), "{}", answer.line);
}

/// The gateway put its own key into the header section, and the client's went on in the trailers.
#[test]
fn a_key_in_a_request_trailer_is_removed() {
    let world = world();
    for target in ["/k/v1/a", "/p/v1/a"] {
        let answer = world.ask(format!(
            "POST {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: Xi-Api-Key, X-Sum\r\n\r\n\
             2\r\nok\r\n0\r\nXi-Api-Key: own\r\nAuthorization: own\r\nX-Sum: 1\r\n\r\n"
        ));
        assert_eq!(answer.status, 200);
        assert_eq!(world.provider.one().trailers.0, [("x-sum".to_owned(), b"1".to_vec())]);
    }
}

/// Where a provider splits its query at `;` too, the client's key stood beside the route's.
#[test]
fn a_key_behind_a_semicolon_is_dropped_like_any_other() {
    let world = world();
    for (query, sent) in [
        ("a;api_key=own&b=1", "a&b=1&"),
        ("a=1;API%5fKEY=own;b=2", "a=1;b=2&"),
        ("api_key[]=own&b=1", "b=1&"),
        ("api.key=own", ""),
        ("+api_key=own;", ""),
    ] {
        assert_eq!(world.get(&format!("/y/v1/a?{query}")).status, 200);
        assert_eq!(world.provider.one().target(), format!("/v1/a?{sent}{IN_QUERY}"));
    }
}

/// Two of a client's key headers were looked for, and none of the keys in its query.
#[test]
fn all_keys_of_a_client_are_looked_for() {
    let provider = Provider::start();
    let settings = Settings::new().route_to("any", "/g", "generic", &format!("http://{}", provider.address()), "");
    let world = World { gateway: Gateway::start(&settings), provider };
    let names = ["authorization", "x-api-key", "api-key", "xi-api-key", "ocp-apim-subscription-key", "x-goog-api-key"];
    let mut keys: Vec<String> = (0..names.len() + 2).map(|index| format!("own-s3cret-{index}!")).collect();
    let lines: String = names.iter().zip(&keys).map(|(name, key)| format!("{name}: {key}\r\n")).collect();
    let query = format!("access_token={}&client_secret={}", keys[6], keys[7]);
    // A second line of the same name, and the password of Basic credentials.
    keys.extend(["own-s3cret-8!", "pa55-s3cret"].map(str::to_owned));
    let lines = format!("{lines}x-api-key: {}\r\nauthorization: Basic dTpwYTU1LXMzY3JldA==\r\n", keys[8]);
    world.provider.next([Act::send(json_answer(
        400,
        "",
        &format!("{{\"error\":{{\"message\":\"{}\"}}}}", keys.join(" ")),
    ))]);
    let answer = world.ask(get_with(&format!("/g/v1/a?{query}"), &lines));
    let message = envelope(&answer, "invalid_request")["message"].as_str().expect("a message").to_owned();
    assert_eq!(message, vec!["***"; keys.len()].join(" "));
}

/// The id of a request is in logs and answers.
#[test]
fn a_key_is_no_request_id() {
    let world = world();
    let answer = world.ask(get_with("/p/v1/a", "Xi-Api-Key: own-s3cret-1\r\nX-Request-Id: own-s3cret-1\r\n"));
    assert_ne!(answer.field("x-request-id"), "own-s3cret-1");
    assert!(!world.gateway.log().join("\n").contains("own-s3cret-1"));
}

/// A success body that is looked at for its URLs had links with the key in it.
#[test]
fn a_key_in_links_of_a_rewritten_body_is_removed() {
    let world = world();
    let provider = world.provider.address();
    let body = format!(
        "{{\"signed_url\":\"ws://{provider}/v1/convai?a=1&{IN_QUERY}\",\"next\":\"\\/v1?{IN_QUERY}\\u0026page=2\",\"b\" : 1.0}}"
    );
    world.provider.next([Act::send(json_answer(200, "", &body))]);
    let answer = world.get("/y/v1/convai/conversation/get-signed-url");
    let wanted = "{\"signed_url\":\"ws://gateway.test/y/v1/convai?a=1\",\"next\":\"\\/v1?page=2\",\"b\" : 1.0}";
    assert_eq!(answer.text(), wanted);
}

/// Digests of a body outlived its change, and told the client that it was damaged.
#[test]
fn digests_of_a_changed_body_are_removed() {
    const SAID: &str =
        "ETag: \"a\"\r\nContent-MD5: x\r\nDigest: md5=x\r\nContent-Digest: md5=:x:\r\nRepr-Digest: md5=:x:\r\n";
    let world = world();
    let provider = world.provider.address();
    for (url, kept) in [(format!("ws://{provider}/v1/convai"), false), ("ws://elsewhere.example/v1".to_owned(), true)] {
        world.provider.next([Act::send(json_answer(200, SAID, &format!("{{\"signed_url\":\"{url}\"}}")))]);
        let answer = world.get("/y/v1/convai/conversation/get-signed-url");
        for name in ["etag", "content-md5", "digest", "content-digest", "repr-digest"] {
            assert_eq!(answer.fields.has(name), kept, "{name} beside {}", answer.text());
        }
    }
}

/// A provider of sockets that sends a message and a close as they are, and reads nothing but the handshake.
fn speaks(message: String, reason: String) -> SocketAddr {
    use speechgate::wire::frame::Opcode::{Close, Text};
    use speechgate::wire::frame::frame;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    // It waits in accept until the test binary ends.
    drop(std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut read = Vec::new();
            let mut space = [0; 4096];
            while !read.ends_with(b"\r\n\r\n") {
                match stream.read(&mut space) {
                    Ok(count) if count > 0 => read.extend_from_slice(&space[..count]),
                    _ => break,
                }
            }
            let switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
            let close = [&1008_u16.to_be_bytes()[..], reason.as_bytes()].concat();
            let frames = [frame(Text, message.as_bytes(), None), frame(Close, &close, None)].concat();
            let _ = stream.write_all(&[switching.as_bytes(), &frames].concat());
            let _ = stream.read(&mut space);
        }
    }));
    address
}

#[test]
fn a_key_in_messages_and_closes_is_redacted_on_every_route() {
    let escaped = KEY.replace('/', "\\/").replace('+', "\\u002B");
    let mut settings = Settings::new();
    let mut routes = Vec::new();
    for (number, message) in [
        format!("{{\"message\":\"{escaped}\",\"error\":\"odd\",\"code\":1008}}"),
        format!("{{\"type\":\"error\",\"detail\":\"{escaped}\"}}"),
    ]
    .into_iter()
    .enumerate()
    {
        for envelope in ["canonical", "compatible"] {
            let provider = speaks(message.clone(), format!("bad key {KEY}"));
            let credentials = "credentials = { header = \"x-k\", value = \"${SPEECHGATE_TEST_KEY}\" }";
            let path = format!("/{envelope}{number}");
            settings =
                settings.route(&path[1..], &path, provider, &format!("envelope = \"{envelope}\"\n{credentials}"));
            routes.push(path);
        }
    }
    let gateway = Gateway::start_with(&settings, &[("SPEECHGATE_TEST_KEY", KEY)]);
    for path in routes {
        let mut stream = TcpStream::connect(gateway.address()).expect("the gateway accepts");
        stream.set_read_timeout(Some(crate::support::DEADLINE)).expect("a deadline");
        let handshake = get_with(
            &format!("{path}/v1"),
            "Upgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        );
        stream.write_all(&handshake).expect("taken");
        let mut told = Vec::new();
        let mut space = [0; 4096];
        // The close of the gateway's begins with a byte that no text has; 1008 follows.
        while !told.windows(2).any(|pair| pair == 1008_u16.to_be_bytes()) {
            let count = stream.read(&mut space).expect("in time");
            assert!(count > 0, "{path}: an end before the close");
            told.extend_from_slice(&space[..count]);
        }
        let told = String::from_utf8_lossy(&told).into_owned();
        assert!(told.contains("101 Switching") && !told.contains("0123456789abcdef"), "{path}: {told}");
    }
}

/// Only events with data were looked at: an id alone went through, and so did the name of an event and lines that mean nothing.
#[test]
fn a_key_in_any_line_of_an_event_is_redacted() {
    let world = world();
    for event in [
        format!("id: {KEY}\n\n"),
        format!("id:{KEY}\ndata: 1\n\n"),
        format!("data: 1\nid: /v1?{IN_QUERY}\n\n"),
        format!("event: {KEY}\n\n"),
        format!("event: {KEY}\r\ndata: 1\r\n\r\n"),
        format!("retry: {KEY}\r\r"),
        format!("debug: {KEY}\ndata: 1\n\n"),
        format!("database: {KEY}\n\n"),
        format!("{KEY}\n\n"),
        format!(": {KEY}\n\n"),
        format!("id: {KEY}\ndata: {}\n\n", "x".repeat(100_000)),
        format!("data: {}\nid: {KEY}\n\n", "x".repeat(100_000)),
        format!("id: {KEY}"),
    ] {
        for split in [1, 7, 4096, 1 << 20] {
            let mut acts = vec![Act::send(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
            )];
            let stream = format!("data: 0\n\n{event}data: 2\n\n");
            if split < 4096 && stream.len() > 4096 {
                continue;
            }
            acts.extend(
                stream
                    .as_bytes()
                    .chunks(split)
                    .map(|part| Act::send([format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat())),
            );
            acts.push(Act::send("0\r\n\r\n"));
            world.provider.next(acts);
            let answer = world.ask(get("/k/v1/a"));
            let text = answer.text();
            assert!(!shows(&text, KEY), "{split} {:?}", event.chars().take(60).collect::<String>());
            assert!(text.starts_with("data: 0\n\n"), "{split} {text:.60}");
        }
    }
    // What is no key passes as it came.
    let stream = "id: 17\nevent: a\ndata: 1\n\n:\n\nid: 18\n\n";
    world.provider.next([Act::send(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {}\r\n\r\n{stream}",
        stream.len()
    ))]);
    assert_eq!(world.get("/k/v1/a").text(), stream);
}
