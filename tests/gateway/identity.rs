//! Tenants that no key names: certificates of clients, and a header of whoever is trusted; and what ends with a key.

use crate::support::grpc::{Caller, Calls, Exchange, map, message, run};
use crate::support::world::{get, get_with};
use crate::support::{Act, Client, Gateway, Provider, Settings};
use crate::tenant_sockets::{socket, socket_provider};
use crate::tenants::{KEY, OTHER, ask, credentialed, error, seen, tenants};
use crate::tls::{Authority, dial, tls_line};
use bytes::Bytes;
use rcgen::{CertificateParams, DnType, SanType};
use speechgate::proxy::gateway_key::{hash, shown};
use speechgate::wire::frame::{Opcode, frame};
use std::time::{Duration, Instant};

/// Tenants `a` and `b` with a key each, which a header may name as well.
fn by_header(provider: &Provider) -> Settings {
    credentialed(provider.address(), &tenants()).server("tenant = { header = \"x-app\" }")
}

#[test]
fn a_header_names_the_tenant_and_is_not_forwarded() {
    let provider = Provider::start();
    let gateway = Gateway::start(&by_header(&provider));
    let key = format!("xi-api-key: {}\r\n", *KEY);
    for (lines, status, code) in [
        ("X-App: a\r\n".to_owned(), 200, ""),
        ("x-app: a\r\nConnection: x-app\r\n".to_owned(), 200, ""),
        ("X-App: a\r\nxi-api-key: sk-of-somebody\r\n".to_owned(), 200, ""),
        ("X-App: nobody\r\n".to_owned(), 401, "invalid_credentials"),
        ("X-App:\r\n".to_owned(), 401, "invalid_credentials"),
        ("X-App: a\r\nX-App: b\r\n".to_owned(), 401, "invalid_credentials"),
        (format!("X-App: a\r\n{key}"), 200, ""),
        (format!("X-App: b\r\n{key}"), 401, "invalid_credentials"),
        (format!("X-App: nobody\r\n{key}"), 401, "invalid_credentials"),
        (String::new(), 401, "missing_credentials"),
    ] {
        let answer = ask(&gateway, get_with("/p/v1/a", &lines));
        let said = answer.fields.get("x-error-code").unwrap_or_default();
        assert_eq!((answer.status, said.as_str()), (status, code), "{lines}");
        let seen = seen(&provider);
        assert_eq!(seen.contains("/v1/a"), status == 200, "{lines}: {seen}");
        assert!(!seen.to_ascii_lowercase().contains("x-app") && !seen.contains("sk-of-somebody"), "{lines}: {seen}");
    }
    let line = gateway.line(|line| line["tenant"] == "a");
    assert_eq!(line["status"], 200);
    // In a trailer it would be read by a provider that takes both for one.
    let trailer = "POST /p/v1/a HTTP/1.1\r\nHost: a\r\nX-App: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-App: a\r\n\r\n";
    assert_eq!(ask(&gateway, trailer).status, 200);
    let seen = seen(&provider);
    assert!(!seen.to_ascii_lowercase().contains("x-app"), "{seen}");
}

#[test]
fn a_certificate_names_its_tenant() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().expect("a directory"));
    let provider = Provider::start();
    let named = "[[tenants]]\nname = \"by-uri\"\nsubjects = [\"spiffe://prod/app\", \"app.internal\"]\n\
                 [[tenants]]\nname = \"by-name\"\nsubjects = [\"batch\"]\n";
    let settings = credentialed(provider.address(), &format!("{}{named}", tenants()))
        .server(&tls_line(directory.path(), &authority, true))
        .server("tenant = { header = \"x-app\" }");
    let gateway = Gateway::start(&settings);
    let uri = || SanType::URI("spiffe://prod/app".try_into().expect("a URI"));
    let dns = |name: &str| SanType::DnsName(name.try_into().expect("a name"));
    let key = format!("xi-api-key: {}\r\n", *KEY);
    for (common, others, lines, status, tenant) in [
        ("batch", vec![], "", 200, "by-name"),
        ("batch", vec![dns("other.internal")], "", 401, ""),
        ("other", vec![uri()], "", 200, "by-uri"),
        ("batch", vec![uri()], "", 200, "by-uri"),
        ("other", vec![dns("App.Internal")], "", 200, "by-uri"),
        ("other", vec![dns("other.internal")], "", 401, ""),
        ("other", vec![dns("other.internal")], "x-app: a\r\n", 200, "a"),
        ("batch", vec![], "x-app: a\r\n", 401, ""),
        ("batch", vec![], "x-app: by-name\r\n", 200, "by-name"),
        ("batch", vec![], &key, 401, ""),
        ("other", vec![], &key, 200, "a"),
    ] {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common);
        params.subject_alt_names = others;
        let (wire, _) = dial(&gateway, &authority, &["http/1.1"], Some(authority.issue_for(params)));
        let target = format!("/p/{common}/{tenant}");
        let answer = Client::over(wire).send(get_with(&target, lines)).answer();
        assert_eq!(answer.status, status, "{common} {lines}: {}", answer.text());
        if status == 200 {
            let line = gateway.line(|line| line["path"] == target.as_str());
            assert_eq!(line["tenant"], tenant, "{common} {lines}");
        }
    }
}

/// A tenant that is named by no key of its own loses its streams as well when it is taken away.
#[test]
fn a_tenant_that_a_header_names_ends_with_the_configuration() {
    let provider = Provider::start();
    let gateway = Gateway::start(&by_header(&provider));
    provider.next(endless("text/event-stream", "data: {}\n\n"));
    let mut client = gateway.client();
    let _ = client.send(get_with("/p/v1/s", "x-app: b\r\n"));
    assert_eq!(client.head().expect("a head").0, 200);
    let tenants = tenants();
    let without = tenants.split("[[tenants]]").nth(1).map(|first| format!("[[tenants]]{first}")).expect("two tenants");
    let settings = credentialed(provider.address(), &without).server("tenant = { header = \"x-app\" }");
    std::fs::write(gateway.file("gateway.toml"), settings.text()).expect("written");
    assert_eq!(gateway.ask_admin("POST", "/-/reload").status, 200);
    let text = until_end(&mut client);
    assert!(text.contains("\"code\":\"invalid_credentials\""), "{text}");
}

/// An answer that begins and never ends.
fn endless(content_type: &str, first: &str) -> Vec<Act> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n");
    vec![Act::send(head), Act::send(format!("{:x}\r\n{first}\r\n", first.len())), Act::Hang]
}

/// All that still comes.
fn until_end(client: &mut Client) -> String {
    let mut all = Vec::new();
    let _ = client.wire().rest(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

/// Only sockets ended with their key; streams went on to their end.
#[test]
fn streams_end_with_the_key_that_began_them_and_no_others() {
    let provider = Provider::start();
    let keys = |keys: &[&str]| {
        let hashes: Vec<String> = keys.iter().map(|key| shown(&hash(key.as_bytes()))).collect();
        credentialed(provider.address(), &format!("[[tenants]]\nname = \"a\"\nkeys = {hashes:?}\n"))
    };
    let gateway = Gateway::start(&keys(&[&KEY, &OTHER]));
    let begins = |kind: &str, first: &str, key: &str| {
        provider.next(endless(kind, first));
        let mut client = gateway.client();
        let _ = client.send(get_with("/p/v1/s", &format!("xi-api-key: {key}\r\n")));
        assert_eq!(client.head().expect("a head").0, 200, "{kind}");
        client
    };
    let mut events = begins("text/event-stream", "data: {}\n\n", &KEY);
    let mut lines = begins("application/x-ndjson", "{}\n", &KEY);
    let mut audio = begins("audio/mpeg", "noise", &KEY);
    let stays = begins("text/event-stream", "data: {}\n\n", &OTHER);
    // One that waits for its head has nothing to be cut.
    provider.next([Act::Hang]);
    let mut waits = gateway.client();
    let _ = waits.send(get_with("/p/v1/waits", &format!("xi-api-key: {}\r\n", *KEY)));
    gateway.metric_becomes("speechgate_requests_in_flight", &[("route", "plain")], 5.0);
    while !provider.take().iter().any(|seen| seen.line.contains("/v1/waits")) {
        std::thread::yield_now();
    }
    std::fs::write(gateway.file("gateway.toml"), keys(&[&OTHER]).text()).expect("written");
    let began = Instant::now();
    assert_eq!(gateway.ask_admin("POST", "/-/reload").status, 200);
    for client in [&mut events, &mut lines] {
        let text = until_end(client);
        assert!(
            text.contains("\"code\":\"invalid_credentials\"") && text.contains("\"type\":\"authentication\""),
            "{text}"
        );
    }
    let text = until_end(&mut audio);
    assert!(!text.ends_with("0\r\n\r\n"), "no clean end: {text}");
    let refused = waits.answer();
    assert_eq!((refused.status, error(&refused)["code"].as_str()), (401, Some("invalid_credentials")));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    gateway.metric_becomes("speechgate_requests_in_flight", &[("route", "plain")], 1.0);
    gateway.metric_becomes("speechgate_errors_total", &[("type", "authentication"), ("tenant", "a")], 4.0);
    drop(stays);
    assert_eq!(ask(&gateway, get("/p/v1/a")).status, 401);
}

/// Sends back what comes, and never ends by itself.
async fn echo(mut call: Exchange) {
    let mut send = call.begin();
    while let Some(Ok(data)) = call.next().await {
        if send.send_data(data, false).is_err() {
            return;
        }
    }
    let _ = send.send_trailers(map(&[("grpc-status", "0")]));
}

#[test]
fn a_call_of_grpc_ends_in_trailers_with_its_key() {
    run(async {
        let provider = Calls::start(echo).await;
        let url = format!("http://{}", provider.address);
        let settings = |key: &str| {
            let lines = format!(
                "credentials = {{ header = \"authorization\", value = \"Bearer sk\" }}\n[[tenants]]\nname = \"a\"\nkeys = [\"{}\"]\n",
                shown(&hash(key.as_bytes()))
            );
            Settings::new().route_to("calls", "/google", "google", &url, &lines)
        };
        let gateway = Gateway::start(&settings(&KEY));
        let caller = Caller::to(gateway.address()).await;
        let bearer = format!("Bearer {}", *KEY);
        let mut call = caller.begin("/google/google.Speech/Stream", &[("authorization", &bearer)]).await;
        call.send.send_data(message(b"one"), false).expect("open");
        let (_, mut body) = call.answer.await.expect("a head").into_parts();
        let back = body.data().await.expect("an echo").expect("data");
        assert_eq!(back, message(b"one"));
        let _ = body.flow_control().release_capacity(back.len());
        std::fs::write(gateway.file("gateway.toml"), settings(&OTHER).text()).expect("written");
        let began = Instant::now();
        assert_eq!(gateway.ask_admin("POST", "/-/reload").status, 200);
        assert!(body.data().await.is_none());
        let trailers = body.trailers().await.expect("no reset").expect("some");
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        let field = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert_eq!((field("grpc-status"), field("x-error-code")), ("16", "invalid_credentials"), "{trailers:?}");
        let _ = call.send.send_data(Bytes::new(), true);
    });
}

/// Whoever asks for no key has keys all the same, which are nobody else's business.
#[test]
fn a_gateway_key_is_not_forwarded_even_without_authentication() {
    let provider = Provider::start();
    let gateway = Gateway::start(&credentialed(provider.address(), &tenants()).server("authenticate = \"off\""));
    let key = &*KEY;
    for (target, lines) in [
        (format!("/p/v1/a?token={key}&model=m"), String::new()),
        (format!("/p/v1/a?x={key}"), format!("xi-api-key: {key}\r\n")),
        ("/p/v1/a".to_owned(), format!("x-note: {key}\r\nx-speechgate-key: {key}\r\n")),
    ] {
        assert_eq!(ask(&gateway, get_with(&target, &lines)).status, 200, "{target}");
        let seen = seen(&provider);
        assert!(seen.contains("/v1/a") && !seen.contains(&key[3..]), "{target}: {seen}");
    }
    assert_eq!(ask(&gateway, get(&format!("/p/v1/{key}"))).status, 400);
    let log = gateway.log().join("\n");
    assert!(!log.contains(&key[3..]), "{log}");
}

/// Bodies were not searched at all, nor was audio on sockets.
#[test]
fn no_body_and_no_frame_takes_a_key_along() {
    let provider = Provider::start();
    let gateway = Gateway::start(&credentialed(provider.address(), &tenants()));
    let (key, stars) = (&*KEY, "*".repeat(KEY.len()));
    let lines = format!("xi-api-key: {key}\r\n");
    for body in [
        format!("{{\"text\":\"a\",\"api_key\":\"{key}\"}}"),
        format!("api_key={key}&text=a"),
        format!("{key}{key}"),
        format!("{}{key}", "x".repeat(200_000)),
        format!("of another: {}", *OTHER),
        format!("cut off {}", &key[..30]),
    ] {
        let wanted = body.replace(key.as_str(), &stars).replace(OTHER.as_str(), &stars);
        let length = body.len();
        let whole = format!("POST /p/v1/a HTTP/1.1\r\nHost: a\r\n{lines}Content-Length: {length}\r\n\r\n{body}");
        assert_eq!(ask(&gateway, whole).status, 200);
        let seen = provider.one();
        assert!(seen.body == wanted.as_bytes(), "{length}");
        assert_eq!(seen.fields.get("content-length"), Some(length.to_string()));
        if length < 1000 {
            // Cut wherever it may be.
            for size in [1, 9, 20] {
                let chunks = body
                    .as_bytes()
                    .chunks(size)
                    .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk)));
                let chunks: String = chunks.collect();
                let head = format!("POST /p/v1/a HTTP/1.1\r\nHost: a\r\n{lines}Transfer-Encoding: chunked\r\n\r\n");
                assert_eq!(ask(&gateway, format!("{head}{chunks}0\r\nX-Sum: 1\r\n\r\n")).status, 200);
                let seen = provider.one();
                let text = String::from_utf8_lossy(&seen.body).into_owned();
                assert_eq!(text.len(), length, "{text}");
                assert!(!text.contains(&key[..30]) || body.starts_with("cut off"), "{text}");
            }
        }
    }
}

/// Audio and texts that are too long to be looked at.
#[test]
fn no_frame_of_a_socket_takes_a_key_along() {
    let (provider, seen) = socket_provider();
    let gateway = Gateway::start(&credentialed(provider, &tenants()));
    let mut stream = socket(&gateway, "/p/v1/s", &format!("xi-api-key: {}\r\n", *KEY));
    // Without a mask that changes anything, so that the provider sees what it is.
    for payload in [KEY.clone(), format!("{}{}", "x".repeat(100_000), *KEY), format!("plain {}", *KEY)] {
        for opcode in [Opcode::Binary, Opcode::Text] {
            std::io::Write::write_all(&mut stream, &frame(opcode, payload.as_bytes(), Some([0; 4]))).expect("taken");
        }
    }
    std::io::Write::write_all(&mut stream, &frame(Opcode::Text, b"the end", Some([0; 4]))).expect("taken");
    let began = Instant::now();
    loop {
        let text = String::from_utf8_lossy(&seen.lock().expect("no panic")).into_owned();
        if text.contains("the end") {
            assert!(!text.contains(&KEY[7..20]) && text.matches(&"*".repeat(KEY.len())).count() == 6);
            return;
        }
        assert!(began.elapsed() < crate::support::DEADLINE);
        std::thread::sleep(Duration::from_millis(5));
    }
}
