//! What an operator may ask for, on sockets and streams: secrets among subprotocols, fields of the access log, a deadline for all.

use crate::support::world::{get, get_with, json_answer};
use crate::support::{Client, Conn, End, Gateway, Provider, Settings};
use crate::tenants::HANDSHAKE;
use speechgate::wire::frame::{Opcode, frame};
use std::time::{Duration, Instant};

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

/// A handshake that offers these subprotocols.
fn offering(target: &str, offer: &str) -> Vec<u8> {
    get_with(target, &format!("{HANDSHAKE}Sec-WebSocket-Protocol: {offer}\r\n"))
}

/// What a provider was offered, and what the client was answered.
fn shaken(gateway: &Gateway, provider: &Provider, target: &str, offer: &str) -> (String, u16, Option<String>) {
    let mut client = gateway.client();
    let (status, _, fields) = client.send(offering(target, offer)).head().expect("a head");
    let seen = provider.one().fields.all("sec-websocket-protocol").join(", ");
    (seen, status, fields.get("sec-websocket-protocol"))
}

/// As Deepgram's browsers have it: `token, KEY`, the second of which is the secret.
#[test]
fn a_secret_behind_a_word_among_subprotocols_is_replaced_and_shown_nowhere() {
    let provider = Provider::with(|mut conn: Conn| {
        while let Some(seen) = conn.request() {
            let offer = seen.fields.all("sec-websocket-protocol").join(", ");
            if seen.target().contains("refuse") {
                let body = format!("{{\"err_code\":\"INVALID_AUTH\",\"err_msg\":\"The key in {offer} is wrong.\"}}");
                let _ = conn.wire.send(&json_answer(401, "", &body));
                continue;
            }
            // It chooses the word, which is no secret.
            let _ = conn.wire.send(format!("{SWITCHING}Sec-WebSocket-Protocol: token\r\n\r\n").as_bytes());
            let _ = conn.hang();
            return;
        }
    });
    let url = format!("http://{}", provider.address());
    let with = |place: &str| format!("credentials = {{ {place}, value = \"of-the-route\" }}");
    let settings = Settings::new()
        .route_to("own", "/own", "deepgram", &url, &with("subprotocol = { after = \"token\" }"))
        .route_to("header", "/header", "deepgram", &url, &with("header = \"authorization\""))
        .route_to("passes", "/passes", "deepgram", &url, "");
    let gateway = Gateway::start(&settings);
    for (target, offered, chosen) in [
        ("/own/v1/listen", "token, of-the-route", Some("token")),
        ("/passes/v1/listen", "token, of-the-client", Some("token")),
    ] {
        let (seen, status, back) = shaken(&gateway, &provider, target, "token, of-the-client");
        assert_eq!((seen.as_str(), status, back.as_deref()), (offered, 101, chosen), "{target}");
    }
    let (seen, _, _) = shaken(&gateway, &provider, "/header/v1/listen", "token, of-the-client");
    assert!(!seen.contains("of-the-client"), "{seen}");
    // Words of another kind stay, wherever they stand.
    let (seen, status, _) = shaken(&gateway, &provider, "/own/v1/listen", "v1, token, of-the-client, v2");
    assert!(seen.contains("v1") && seen.contains("v2") && status == 101, "{seen}");
    assert!(seen.contains("token, of-the-route") && !seen.contains("of-the-client"), "{seen}");
    // A provider that says it back says it to nobody.
    for (target, secret) in [("/own/refuse", "of-the-route"), ("/passes/refuse", "of-the-client")] {
        let refused = gateway.client().send(offering(target, "token, of-the-client")).answer();
        assert_eq!((refused.status, refused.field("x-error-code").as_str()), (401, "invalid_credentials"), "{target}");
        assert!(!refused.text().contains(secret), "{target}: {}", refused.text());
        let _ = provider.one();
    }
    let _ = gateway.line(|line| line["path"] == "/passes/refuse");
    let shown = format!(
        "{}{}{}",
        gateway.log().join("\n"),
        gateway.admin("/config").text(),
        gateway.admin("/status.json").text()
    );
    assert!(!shown.contains("of-the-route") && !shown.contains("of-the-client"), "{shown}");
}

#[test]
fn the_access_log_of_a_socket_says_how_it_closed_and_what_was_asked_for() {
    let provider = Provider::with(|mut conn: Conn| {
        let Some(seen) = conn.request() else { return };
        let _ = conn.wire.send(format!("{SWITCHING}X-Region: eu\r\n\r\n").as_bytes());
        let code: u16 = seen.target().rsplit('/').next().and_then(|code| code.parse().ok()).expect("a code");
        let _ = conn.wire.send(&frame(Opcode::Close, &code.to_be_bytes(), None));
        let _ = conn.hang();
    });
    let fields = "[\"close_code\", \"user_agent\", \"header:x-call\", \"response_header:x-region\"]";
    let settings = Settings::new().telemetry(&format!("log = {{ access_fields = {fields} }}"));
    let gateway = Gateway::start(&settings.route("tts", "/t", provider.address(), ""));
    for code in [1000_u16, 1011, 4003] {
        let lines = format!("{HANDSHAKE}User-Agent: probe/1\r\nX-Call: call-{code}\r\n");
        let mut client = gateway.client();
        let (status, ..) = client.send(get_with(&format!("/t/{code}"), &lines)).head().expect("a head");
        assert_eq!(status, 101);
        let _ = client.wire().some().expect("what comes before the end");
        client.wire().finish();
        let line = gateway.line(|line| line["path"] == format!("/t/{code}"));
        assert_eq!(
            (&line["close_code"], &line["user_agent"], &line["header.x-call"], &line["response_header.x-region"]),
            (&code.into(), &"probe/1".into(), &format!("call-{code}").into(), &"eu".into()),
            "{line}"
        );
    }
}

/// An SSE stream that never stands still, and a socket whose handshake is never answered.
#[test]
fn a_deadline_for_all_ends_streams_and_handshakes_and_leaves_open_sockets_alone() {
    let provider = Provider::with(|mut conn: Conn| {
        let Some(seen) = conn.request() else { return };
        let target = seen.target().to_owned();
        match target.as_str() {
            "/events" | "/lines" => {
                let (kind, piece) = match target.as_str() {
                    "/events" => ("text/event-stream", "14\r\ndata: {\"audio\":\"\"}\n\n\r\n"),
                    _ => ("application/x-ndjson", "d\r\n{\"audio\":\"\"}\n\r\n"),
                };
                let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n");
                let mut sent = conn.wire.send(head.as_bytes());
                while sent.is_ok() {
                    sent = conn.wire.send(piece.as_bytes());
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            "/socket" => {
                let _ = conn.wire.send(format!("{SWITCHING}\r\n").as_bytes());
                std::thread::sleep(Duration::from_millis(900));
                let _ = conn.wire.send(&frame(Opcode::Text, b"late", None));
                let _ = conn.hang();
            }
            _ => drop(conn.hang()),
        }
    });
    let lines = "timeouts = { total = \"400ms\" }";
    let settings = Settings::new().route("tts", "/t", provider.address(), lines).route(
        "own",
        "/own",
        provider.address(),
        &format!("envelope = \"compatible\"\n{lines}"),
    );
    let gateway = Gateway::start(&settings);
    for target in ["/t/events", "/t/lines"] {
        let begun = Instant::now();
        let answer = gateway.client().send(get(target)).answer();
        assert!((400..5000).contains(&begun.elapsed().as_millis()), "{target}: {:?}", begun.elapsed());
        // The last event says it, and then the stream is cut.
        assert!(answer.status == 200 && answer.cut.is_some(), "{target}: {:?}", answer.cut);
        let text = answer.text();
        let last = text.trim_end().rsplit('\n').next().unwrap_or_default().trim_start_matches("data: ");
        let said: serde_json::Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("{target}: {last}"));
        assert_eq!((&said["error"]["code"], &said["error"]["origin"]), (&"upstream_timeout".into(), &"gateway".into()));
    }
    for target in ["/t/never", "/own/never"] {
        let begun = Instant::now();
        let answer = gateway.client().send(get_with(target, HANDSHAKE)).answer();
        assert_eq!((answer.status, answer.field("x-error-code").as_str()), (504, "upstream_timeout"), "{target}");
        assert!((400..5000).contains(&begun.elapsed().as_millis()), "{target}: {:?}", begun.elapsed());
    }
    // What an open socket may take is the affair of `websocket_idle`.
    let mut client = gateway.client();
    assert_eq!(client.send(get_with("/t/socket", HANDSHAKE)).head().expect("a head").0, 101);
    let said = frame(Opcode::Text, b"late", None);
    let mut came = Vec::new();
    client.wire().exact(said.len(), &mut came).expect("what is said later than the deadline");
    assert_eq!(came, said);
    end(client);
}

/// Leaves without a word.
fn end(mut client: Client) {
    client.wire().finish();
    let _: Result<Vec<u8>, End> = client.wire().some();
}
