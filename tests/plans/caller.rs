//! Calls of tenants: over HTTP, as a stream of events, or on a socket; some go in the middle.

use futures_util::{SinkExt as _, StreamExt as _};
use speechgate::proxy::gateway_key::{hash, make, shown};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_websockets::{ClientBuilder, Message};

/// A tenant and its key.
#[derive(Clone, Debug)]
pub(crate) struct Tenant {
    pub(crate) name: String,
    pub(crate) key: String,
}

impl Tenant {
    pub(crate) fn new(name: &str) -> Tenant {
        Tenant { name: name.to_owned(), key: make().expect("random bytes") }
    }

    /// Its table in a configuration.
    pub(crate) fn table(&self, lines: &str) -> String {
        format!("[[tenants]]\nname = '{}'\nkeys = ['{}']\n{lines}\n", self.name, shown(&hash(self.key.as_bytes())))
    }
}

/// How a call goes over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Http,
    Events,
    Socket,
}

impl Form {
    pub(crate) const ALL: [Form; 3] = [Form::Http, Form::Events, Form::Socket];
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    /// Until something of the answer came.
    pub(crate) waited: Duration,
    /// The status of the answer, 0 for none.
    pub(crate) status: u16,
    /// Whether all of it came.
    pub(crate) whole: bool,
    /// The head of the answer over HTTP, and the body where it is an error.
    pub(crate) text: String,
}

/// Says this to the provider by the `manner` that it knows; where that is `held`, the client goes once it has heard a little.
pub(crate) async fn call(gateway: SocketAddr, tenant: &Tenant, form: Form, manner: &str, text: &str) -> Outcome {
    match form {
        Form::Http => http(gateway, tenant, "/v1/text-to-speech/v/stream", manner, text).await,
        Form::Events => http(gateway, tenant, "/v1/sse", manner, text).await,
        Form::Socket => socket(gateway, tenant, manner, text).await,
    }
}

async fn http(gateway: SocketAddr, tenant: &Tenant, path: &str, manner: &str, text: &str) -> Outcome {
    let (begun, body) = (Instant::now(), format!("{{\"text\":\"{text}\"}}"));
    let request = format!(
        "POST {path}?output_format=ulaw_8000&t={}.{manner} HTTP/1.1\r\nhost: g\r\nxi-api-key: {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        tenant.name,
        tenant.key,
        body.len()
    );
    let mut outcome = Outcome { waited: Duration::MAX, status: 0, whole: false, text: String::new() };
    let mut answer = Vec::new();
    let exchange = async {
        let mut stream = TcpStream::connect(gateway).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let count = stream.read(&mut buffer).await?;
            outcome.waited = outcome.waited.min(begun.elapsed());
            answer.extend_from_slice(&buffer[..count]);
            // Two pieces have come: the provider says no more.
            if count == 0 || manner == "held" && pieces(&answer) == 2 {
                return std::io::Result::Ok(count == 0);
            }
        }
    };
    let ended = exchange.await.unwrap_or(false);
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(0);
    let first = String::from_utf8_lossy(&answer[..head]).into_owned();
    outcome.status = first.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    outcome.whole = ended && (answer.ends_with(b"\r\n0\r\n\r\n") || outcome.status >= 400);
    // The gateway's own last event tells of what broke off.
    outcome.whole &= !String::from_utf8_lossy(&answer).contains("event: error");
    outcome.text = if outcome.status == 200 { first } else { String::from_utf8_lossy(&answer).into_owned() };
    outcome
}

/// How many pieces of audio an answer has: of raw audio, or in events.
fn pieces(answer: &[u8]) -> usize {
    let text = String::from_utf8_lossy(answer);
    match text.contains("text/event-stream") {
        true => text.matches("\n\n").count(),
        false => answer.iter().filter(|byte| **byte == 0x7f).count() / 800,
    }
}

async fn socket(gateway: SocketAddr, tenant: &Tenant, manner: &str, text: &str) -> Outcome {
    let begun = Instant::now();
    let mut outcome = Outcome { waited: Duration::MAX, status: 0, whole: false, text: String::new() };
    let target = format!("v1/text-to-speech/v/stream-input?output_format=ulaw_8000&t={}.{manner}", tenant.name);
    let uri = format!("ws://{gateway}/{target}").parse().expect("a URL");
    let builder = ClientBuilder::from_uri(uri);
    let builder = builder.add_header("xi-api-key".parse().expect("a name"), tenant.key.parse().expect("a value"));
    let mut socket = match builder.expect("a header").connect().await {
        Ok((socket, _)) => socket,
        Err(tokio_websockets::Error::Upgrade(tokio_websockets::upgrade::Error::DidNotSwitchProtocols(status))) => {
            (outcome.status, outcome.waited, outcome.whole) = (status, begun.elapsed(), true);
            return outcome;
        }
        Err(_) => return outcome,
    };
    outcome.status = 101;
    for text in [format!("{{\"text\":\"{text}\"}}"), "{\"text\":\"\"}".to_owned()] {
        if socket.send(Message::text(text)).await.is_err() {
            return outcome;
        }
    }
    let mut heard = 0;
    while let Some(Ok(message)) = socket.next().await {
        outcome.waited = outcome.waited.min(begun.elapsed());
        let said = message.as_text().unwrap_or_default();
        heard += u32::from(said.contains("\"audio\":\""));
        outcome.whole |= said.contains("\"isFinal\":true");
        if said.contains("\"error\"") {
            outcome.text = said.to_owned();
        }
        if manner == "held" && heard == 2 {
            return outcome;
        }
    }
    outcome
}

/// The lines of a configuration for a provider of this kind: its profile, the route to it, and a price.
pub(crate) fn lines(provider: SocketAddr, route: &str) -> String {
    format!(
        "[providers.plan]\nextends = 'elevenlabs'\nconcurrency = {{ unit = 'request' }}\n\
         [[providers.plan.generations]]\npath = 'POST /v1/sse'\naudio = '$.audio'\nformat = {{ name = 'query:output_format' }}\n\
         [[prices]]\nprovider = 'plan'\ncurrency = 'USD'\nper_1000_characters = 0.5\nper_audio_minute = 0.6\n\
         [[routes]]\nname = 'tts'\nmatch = {{ path = '/' }}\nprovider = 'plan'\nupstream = 'http://{provider}'\n\
         credentials = {{ header = 'xi-api-key', value = 'sk-route' }}\n{route}\n"
    )
}
