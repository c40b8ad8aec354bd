//! A gateway key in each place of each form, with each outcome: all bytes towards providers and into sinks are looked at.

use crate::support::collector::{Collector, attributes};
use crate::support::grpc::{Caller, Calls, map, run};
use crate::support::world::get_with;
use crate::support::{Gateway, Provider, Settings};
use crate::tenant_sockets::{rest, socket, socket_provider};
use crate::tenants::{EXPIRED, KEY, OTHER, ask, base64, places, seen, shows, tenants};
use speechgate::config;
use speechgate::proxy::gateway_key::make;
use speechgate::wire::frame::{Opcode, frame};
use std::io::Write as _;

/// Whose key it is, on which route it is shown, and what becomes of that.
const OUTCOMES: [(&str, &str, Option<&str>); 4] = [
    ("valid", "plain", None),
    ("expired", "plain", Some("expired_credentials")),
    ("nobody's", "plain", Some("invalid_credentials")),
    ("of another route", "closed", Some("permission_denied")),
];

struct Stage {
    gateway: Gateway,
    collector: Collector,
    provider: Provider,
    sockets: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
    calls: Calls,
    unknown: String,
    /// All that clients were told.
    told: String,
}

impl Stage {
    async fn start() -> Stage {
        let (collector, provider, (sockets, heard)) = (Collector::start(), Provider::start(), socket_provider());
        let calls = Calls::start(|mut call| async move {
            let _ = call.next().await;
            call.end(200, &[("grpc-status", "0")]);
        })
        .await;
        let telemetry = collector.telemetry("").replace("\"json\"", "\"json\", level = \"debug\"");
        let key = "credentials = { header = \"xi-api-key\", value = \"sk-of-the-route\" }";
        let bearer = "credentials = { header = \"authorization\", value = \"Bearer sk-of-the-route\" }";
        let mut settings = Settings::new().telemetry(&telemetry);
        // The second tenant has the route `plain` alone.
        for (name, path, address) in [
            ("plain", "/plain", provider.address()),
            ("closed", "/closed", provider.address()),
            ("socket-plain", "/socket-plain", sockets),
            ("socket-closed", "/socket-closed", sockets),
        ] {
            settings = settings.route(name, path, address, key);
        }
        let url = format!("http://{}", calls.address);
        settings = settings.route_to("grpc-plain", "/grpc-plain", "google", &url, bearer);
        let tables =
            tenants().replace("routes = [\"plain\"]", "routes = [\"plain\", \"grpc-plain\", \"socket-plain\"]");
        settings = settings.route_to("grpc-closed", "/grpc-closed", "google", &url, &format!("{bearer}\n{tables}"));
        let gateway = Gateway::start_with(&settings, &[("OTEL_BSP_SCHEDULE_DELAY", "10")]);
        let unknown = make().expect("random bytes");
        Stage { gateway, collector, provider, sockets: heard, calls, unknown, told: String::new() }
    }

    fn key(&self, whose: &str) -> String {
        match whose {
            "valid" => KEY.clone(),
            "expired" => EXPIRED.clone(),
            "of another route" => OTHER.clone(),
            _ => self.unknown.clone(),
        }
    }

    /// Requests with the key in every place of the dialect, in a header of the gateway's own, and once more in a trailer.
    fn over_http(&mut self) -> usize {
        let (mut tried, profile) = (0, config::built_in("elevenlabs").expect("built in").expect("valid"));
        for (whose, route, code) in OUTCOMES {
            let key = self.key(whose);
            let mut all = places(&profile.spec().secrets, &key);
            all.push((format!("X-Speechgate-Key: {key}\r\n"), String::new()));
            all.push((format!("X-Speechgate-Key: Bearer {key}\r\nxi-api-key: {key}\r\n"), format!("?api_key={key}")));
            for (lines, query) in all {
                let answer = ask(&self.gateway, get_with(&format!("/{route}/v1/x{query}"), &lines));
                let told = answer.fields.get("x-error-code");
                assert!(code.is_none_or(|code| told.as_deref() == Some(code)), "{whose} {query} {lines}: {answer:?}");
                self.told.push_str(&format!("{answer:?}\n"));
                tried += 1;
            }
            let trailers = format!(
                "POST /{route}/v1/x HTTP/1.1\r\nHost: a\r\nxi-api-key: {key}\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                 2\r\nok\r\n0\r\nX-Sum: {key}\r\nXi-Api-Key: {key}\r\nAuthorization: Basic {}\r\n\r\n",
                base64(&format!("{key}:"))
            );
            self.told.push_str(&format!("{:?}\n", ask(&self.gateway, trailers)));
            // A preflight and a method that nobody knows are refused by others.
            let odd = format!(
                "OPTIONS /{route}/v1/x?xi-api-key={key} HTTP/1.1\r\nHost: a\r\nOrigin: https://{key}.example\r\n\r\n"
            );
            self.told.push_str(&format!("{:?}\n", ask(&self.gateway, odd)));
        }
        tried
    }

    /// In the first message of a socket, and in later ones.
    fn on_sockets(&mut self) {
        for (whose, route, code) in OUTCOMES {
            let key = self.key(whose);
            for place in [format!("\"xi_api_key\":\"{key}\""), format!("\"authorization\":\"Bearer {key}\"")] {
                let target = format!("/socket-{route}/v1/text-to-speech/v/stream-input");
                let mut stream = socket(&self.gateway, &target, "");
                for text in [format!("{{\"text\":\" \",{place}}}"), format!("{{\"text\":\"Hi. \",{place}}}")] {
                    stream.write_all(&frame(Opcode::Text, text.as_bytes(), Some([0; 4]))).expect("taken");
                }
                if code.is_none() {
                    stream.write_all(&frame(Opcode::Close, &[3, 232], Some([0; 4]))).expect("taken");
                }
                let told = rest(stream);
                assert!(code.is_none_or(|code| told.contains(code)), "{whose}: {told}");
                self.told.push_str(&told);
            }
        }
    }

    /// In the metadata of calls.
    async fn over_grpc(&mut self) {
        let caller = Caller::to(self.gateway.address()).await;
        for (whose, route, code) in OUTCOMES {
            let key = self.key(whose);
            let (bearer, basic) = (format!("Bearer {key}"), format!("Basic {}", base64(&format!("{key}:"))));
            for fields in [
                [("authorization", bearer.as_str()), ("x-note", key.as_str())],
                [("authorization", basic.as_str()), ("x-goog-request-params", key.as_str())],
                [("x-goog-api-key", key.as_str()), ("grpc-tags-bin", key.as_str())],
                [("x-speechgate-key", key.as_str()), ("user-agent", key.as_str())],
            ] {
                let path = format!("/grpc-{route}/google.cloud.speech.v2.Speech/Recognize");
                let mut call = caller.begin(&path, &fields).await;
                let _ = call.send.send_data(crate::support::grpc::message(b"hello"), false);
                let _ = call.send.send_trailers(map(&[("x-sum", key.as_str()), ("authorization", bearer.as_str())]));
                let ended = call.end().await;
                assert!(code.is_none_or(|code| ended.said().1 == code), "{whose} {fields:?}: {:?}", ended.said());
                self.told.push_str(&format!("{:?} {:?}\n", ended.head, ended.trailers));
            }
        }
    }

    /// All bytes that went to a provider.
    fn providers(&self) -> String {
        let calls: String = self.calls.take().iter().map(|parts| format!("{parts:?}\n")).collect();
        let sockets = String::from_utf8_lossy(&self.sockets.lock().expect("no panic")).into_owned();
        format!("{}\n{sockets}\n{calls}", seen(&self.provider))
    }

    /// All that was written, exported or shown to the operator.
    fn sinks(&mut self) -> String {
        let _ = ask(
            &self.gateway,
            get_with("/plain/v1/last", &format!("xi-api-key: {}\r\nX-Request-Id: the-last\r\n", *KEY)),
        );
        let _ = self.gateway.line(|line| line["request_id"] == "the-last");
        let last = |id: Option<&String>| id.is_some_and(|id| id == "the-last");
        let _ = self.collector.span(|span| last(attributes(&span.attributes).get("speechgate.request_id")));
        let mut all = self.gateway.log().join("\n");
        for page in ["/metrics", "/config", "/status.json", "/tenants", "/errors"] {
            all.push_str(&self.gateway.admin(page).text());
        }
        all + &self.collector.raw()
    }
}

#[test]
fn no_byte_of_a_key_goes_to_a_provider_or_a_sink_from_any_place_whatever_becomes_of_it() {
    run(async {
        let mut stage = Stage::start().await;
        let tried = stage.over_http();
        stage.on_sockets();
        assert!(tried > 4 * 20, "{tried}");
        stage.over_grpc().await;
        let (providers, sinks) = (stage.providers(), stage.sinks());
        for part in ["sk-of-the-route", "GET /v1/x", "google.cloud.speech.v2.Speech/Recognize", "stream-input"] {
            assert!(providers.contains(part), "{part}: {providers}");
        }
        assert!(sinks.contains("expired_credentials") && sinks.contains("permission_denied"), "{sinks}");
        for (whose, ..) in OUTCOMES {
            let key = stage.key(whose);
            for (name, text) in [("providers", &providers), ("sinks", &sinks), ("clients", &stage.told)] {
                for spelled in [key.as_str(), &key[3..], &key[..20], &key[30..]] {
                    let at = text
                        .find(spelled)
                        .map(|at| text[at.saturating_sub(300)..].chars().take(500).collect::<String>());
                    assert!(!shows(text, spelled), "{whose} key in what {name} got: {at:?}");
                }
            }
        }
    });
}
