//! Any header fields of a request: refused, or what goes to the provider has one Host, one honest word on the client,
//! one harmless request id, the route's own key, and nothing of the connection's.
#![no_main]

use http::{HeaderValue, Request, Version};
use libfuzzer_sys::fuzz_target;
use speechgate::proxy::headers::{
    Fields, Identity, Incoming, Outgoing, PeerHeaders, PublicAddress, RouteHeaders, Destination, check_request, prepare_request,
    prepare_response, request_id,
};
use speechgate_fuzz::{check_headers, fields};
use std::sync::LazyLock;
use std::time::SystemTime;

const CONFIGURATION: &str = r#"
[[routes]]
name = "tts"
match = { path = "/p" }
provider = "elevenlabs"
upstream = "https://provider.example"
credentials = { header = "xi-api-key", value = "configured" }
"#;

static ROUTE: LazyLock<RouteHeaders> = LazyLock::new(|| {
    let loaded = speechgate::config::load_str(&[("gateway.toml", CONFIGURATION)], []).expect("a valid configuration");
    RouteHeaders::new(&loaded.config.routes[0]).expect("a valid key")
});

fuzz_target!(|data: &[u8]| {
    let (headers, _) = fields(data);
    let mut request = Request::post("/p/a?b=c");
    *request.headers_mut().expect("a valid target") = headers.clone();
    let (mut parts, ()) = request.body(()).expect("a valid target").into_parts();
    let received = Fields::of(&parts.headers);
    let id = request_id(&parts.headers, received, SystemTime::now());
    assert!(!id.is_empty() && id.len() <= 256 && id.to_str().is_ok());
    let Ok(checked) = check_request(&parts, received, 8192) else { return };
    let identity = Identity::new("0123456789abcdef").expect("letters and digits");
    let peer = PeerHeaders::new(Some([192, 0, 2, 7].into()), false);
    let out = Outgoing {
        fields: received,
        method: &parts.method,
        version: Version::HTTP_11,
        authority: None,
        websocket: checked.websocket,
        peer: &peer,
        route: &ROUTE,
        destination: Destination::default(),
        identity: &identity,
        request_id: &id,
        trust_forwarded: false,
    };
    prepare_request(&mut parts.headers, &out);
    let sent = &parts.headers;
    check_headers(sent);
    let only = |name: &str, value: &str| {
        let all: Vec<&HeaderValue> = sent.get_all(name).iter().collect();
        assert_eq!(all, [value], "{name}");
    };
    only("host", "provider.example");
    only("xi-api-key", "configured");
    only("x-forwarded-for", "192.0.2.7");
    only("x-request-id", id.to_str().expect("printable"));
    assert!(sent.get_all("via").iter().any(|via| via.to_str().is_ok_and(|via| via.contains("speechgate"))));
    for name in sent.keys() {
        let upgrade = checked.websocket && matches!(name.as_str(), "connection" | "upgrade");
        let ends = [
            "connection",
            "keep-alive",
            "proxy-connection",
            "te",
            "upgrade",
            "transfer-encoding",
            "proxy-authorization",
            "proxy",
        ];
        assert!(upgrade || !ends.contains(&name.as_str()) && !name.as_str().contains('_'), "{name}");
    }
    answer(headers, &id);
});

/// The same fields as an answer's.
fn answer(mut headers: http::HeaderMap, id: &HeaderValue) {
    let public = PublicAddress { url: None, tls: false, authority: Some("gateway.example") };
    let incoming = Incoming { version: Version::HTTP_11, route: &ROUTE, upstream: 0, request_id: id, public };
    prepare_response(&mut headers, &incoming);
    check_headers(&headers);
    assert_eq!(headers.get_all("x-request-id").iter().collect::<Vec<_>>(), [id]);
    for ends in ["connection", "keep-alive", "proxy-connection", "upgrade", "transfer-encoding"] {
        assert!(!headers.contains_key(ends), "{ends}");
    }
}
