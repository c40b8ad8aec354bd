//! Every socket answers, and fails in every way and at every moment, to a client of its own codec.

use super::*;
use crate::simulator::dialect::Dialect;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderName, HeaderValue};
use tokio_websockets::{ClientBuilder, MaybeTlsStream, Message, WebSocketStream};

pub(super) type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What a client says.
#[derive(Clone, Copy)]
pub(super) enum Say {
    Text(&'static str),
    Audio,
}

/// What a client sees.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Seen {
    Text(String),
    Binary,
    Close(u16, String),
    /// The connection ended without a close frame, or with a breach of the protocol.
    Broken(String),
    Silence,
}

/// A socket, a session on it, how its answers begin and end, and the close code.
pub(super) struct Script {
    pub(super) provider: Provider,
    pub(super) path: &'static str,
    pub(super) says: &'static [Say],
    pub(super) begins: &'static str,
    pub(super) ends: &'static str,
    pub(super) close: Option<u16>,
}

const SPOKEN: &[Say] =
    &[Say::Text(r#"{"text":" ","xi_api_key":"k"}"#), Say::Text(r#"{"text":"Oh. "}"#), Say::Text(r#"{"text":""}"#)];
const DIALOGUE: &[Say] =
    &[Say::Text(r#"{"inputs":[{"text":"Oh.","voice_id":"v"}],"voices":["v"]}"#), Say::Text(r#"{"close_socket":true}"#)];
const CONTEXT: &[Say] =
    &[Say::Text(r#"{"text":"Oh.","context_id":"c1"}"#), Say::Text(r#"{"context_id":"c1","close_context":true}"#)];
const DIALOGUE_CONTEXT: &[Say] = &[
    Say::Text(r#"{"inputs":[{"text":"Oh.","voice_id":"v"}],"context_id":"c1"}"#),
    Say::Text(r#"{"context_id":"c1","close_context":true}"#),
];
const HEARD: &[Say] = &[
    Say::Text(r#"{"message_type":"input_audio_chunk","audio_base_64":"AAAA"}"#),
    Say::Text(r#"{"message_type":"input_audio_chunk","audio_base_64":"AAAA","commit":true}"#),
];
const TALK: &[Say] = &[Say::Text(r#"{"type":"conversation_initiation_client_data"}"#)];
const GENERATION: &[Say] = &[Say::Text(
    r#"{"model_id":"sonic-3","transcript":"Oh.","output_format":{"container":"raw","encoding":"pcm_s16le","sample_rate":8000},"context_id":"c1","add_timestamps":true}"#,
)];
const TRANSCRIBED: &[Say] = &[Say::Audio, Say::Text("finalize"), Say::Text("close")];
const TURNS: &[Say] = &[Say::Audio, Say::Audio, Say::Text(r#"{"type":"close"}"#)];

const TURN: &[Say] = &[
    Say::Text(r#"{"type":"turn.start","turn_id":"t1"}"#),
    Say::Text(r#"{"type":"text.append","text":"Oh."}"#),
    Say::Text(r#"{"type":"turn.end"}"#),
];
const CONSULTATION: &[Say] = &[
    Say::Text(r#"{"type":"config","configuration":{}}"#),
    Say::Audio,
    Say::Text(r#"{"type":"flush"}"#),
    Say::Text(r#"{"type":"end"}"#),
];

const HEARD_BY_DEEPGRAM: &[Say] =
    &[Say::Audio, Say::Text(r#"{"type":"Finalize"}"#), Say::Text(r#"{"type":"CloseStream"}"#)];
const SPOKEN_BY_DEEPGRAM: &[Say] = &[
    Say::Text(r#"{"type":"Speak","text":"Oh."}"#),
    Say::Text(r#"{"type":"Flush"}"#),
    Say::Text(r#"{"type":"Close"}"#),
];
const TURNS_OF_DEEPGRAM: &[Say] = &[Say::Audio, Say::Text(r#"{"type":"CloseStream"}"#)];
const REALTIME: &[Say] = &[
    Say::Text(r#"{"type":"session.update","session":{"type":"realtime"}}"#),
    Say::Text(r#"{"type":"response.create"}"#),
];
const SESSION: &[Say] = &[Say::Audio, Say::Text(r#"{"type":"ForceEndpoint"}"#), Say::Text(r#"{"type":"Terminate"}"#)];

const fn script(
    provider: Provider,
    path: &'static str,
    says: &'static [Say],
    begins: &'static str,
    ends: &'static str,
    close: Option<u16>,
) -> Script {
    Script { provider, path, says, begins, ends, close }
}

use Provider::{AssemblyAi, Breeze, Cartesia, Corti, Deepgram, ElevenLabs, OpenAi};
pub(super) const SCRIPTS: &[Script] = &[
    script(ElevenLabs, "/v1/text-to-speech/v1/stream-input", SPOKEN, r#"{"audio":""#, r#""isFinal":true"#, Some(1000)),
    script(
        ElevenLabs,
        "/v1/text-to-speech/v1/multi-stream-input",
        CONTEXT,
        r#"{"audio":""#,
        r#""isFinal":true,"contextId":"c1""#,
        None,
    ),
    script(
        ElevenLabs,
        "/v1/text-to-dialogue/stream-input",
        DIALOGUE,
        r#"{"audio":""#,
        r#""is_final":true"#,
        Some(1000),
    ),
    script(
        ElevenLabs,
        "/v1/text-to-dialogue/multi-stream-input",
        DIALOGUE_CONTEXT,
        r#"{"audio":""#,
        r#""is_final":true,"context_id":"c1""#,
        None,
    ),
    script(ElevenLabs, "/v1/speech-to-text/realtime", HEARD, "session_started", "committed_transcript", None),
    script(ElevenLabs, "/v1/convai/conversation", TALK, "conversation_initiation_metadata", "audio_event", None),
    script(
        Cartesia,
        "/tts/websocket",
        GENERATION,
        r#""type":"chunk""#,
        r#"{"type":"done","status_code":200,"done":true,"context_id":"c1"}"#,
        None,
    ),
    script(Cartesia, "/stt/websocket", TRANSCRIBED, r#""text":"Hello""#, r#""type":"done""#, Some(1000)),
    script(
        Breeze,
        "/v1/text-to-speech/v1/stream-input",
        TURN,
        "session.ready",
        r#""usage.committed","turn_id":"t1""#,
        None,
    ),
    script(Corti, "/audio-bridge/v2/interactions/i1/streams", CONSULTATION, "CONFIG_ACCEPTED", "ENDED", Some(1000)),
    script(Corti, "/audio-bridge/v2/transcribe", CONSULTATION, "CONFIG_ACCEPTED", "ended", Some(1000)),
    script(Cartesia, "/stt/turns/websocket", TURNS, r#""type":"connected""#, "turn.end", Some(1000)),
    script(Deepgram, "/v1/listen", HEARD_BY_DEEPGRAM, "\"Results\"", "\"Metadata\"", Some(1000)),
    script(Deepgram, "/v1/speak", SPOKEN_BY_DEEPGRAM, "\"Metadata\"", "\"Flushed\"", Some(1000)),
    script(Deepgram, "/v2/listen", TURNS_OF_DEEPGRAM, "\"Connected\"", "\"EndOfTurn\"", Some(1000)),
    script(OpenAi, "/v1/realtime", REALTIME, "session.created", "response.done", None),
    script(AssemblyAi, "/v3/ws", SESSION, "\"Begin\"", "\"Termination\"", Some(1000)),
];

pub(super) async fn connect(simulator: &Simulator, path: &str, protocols: Option<&str>) -> Result<Client, String> {
    let uri = format!("ws://{}{path}", simulator.address());
    let mut builder = ClientBuilder::new().uri(&uri).map_err(|error| error.to_string())?;
    builder = builder.add_header(HeaderName::from_static("x-api-key"), HeaderValue::from_static("k")).unwrap();
    builder = builder.add_header(HeaderName::from_static("xi-api-key"), HeaderValue::from_static("k")).unwrap();
    builder =
        builder.add_header(HeaderName::from_static("authorization"), HeaderValue::from_static("Bearer k")).unwrap();
    if let Some(protocols) = protocols {
        let value = HeaderValue::from_str(protocols).unwrap();
        builder = builder.add_header(HeaderName::from_static("sec-websocket-protocol"), value).unwrap();
    }
    let (client, _) =
        timeout(PATIENCE, builder.connect()).await.expect("an answer").map_err(|error| error.to_string())?;
    Ok(client)
}

pub(super) async fn say(client: &mut Client, says: &[Say]) {
    for what in says {
        let message = match what {
            Say::Text(text) => Message::text(*text),
            Say::Audio => Message::binary(vec![0_u8; 640]),
        };
        // The simulator may have closed already, which is then seen.
        let _ = client.send(message).await;
    }
}

/// Everything until `last`, the end, or silence.
pub(super) async fn watch(client: &mut Client, last: &str) -> Vec<Seen> {
    let mut seen = Vec::new();
    loop {
        let Ok(message) = timeout(Duration::from_secs(2), client.next()).await else {
            seen.push(Seen::Silence);
            return seen;
        };
        match message {
            None => {
                if !matches!(seen.last(), Some(Seen::Close(..))) {
                    seen.push(Seen::Broken("ended".into()));
                }
                return seen;
            }
            Some(Err(error)) => {
                seen.push(Seen::Broken(error.to_string()));
                return seen;
            }
            Some(Ok(message)) if message.is_close() => {
                let (code, reason) = message.as_close().expect("a close frame");
                seen.push(Seen::Close(code.into(), reason.to_owned()));
            }
            Some(Ok(message)) if message.is_binary() => seen.push(Seen::Binary),
            Some(Ok(message)) => {
                if let Some(text) = message.as_text().filter(|_| message.is_text()) {
                    seen.push(Seen::Text(text.to_owned()));
                    if !last.is_empty() && text.contains(last) {
                        return seen;
                    }
                }
            }
        }
    }
}

/// A session of `script` in which `fault` is asked for in the handshake.
pub(super) async fn session(simulator: &Simulator, script: &Script, fault: &str, last: &str) -> Vec<Seen> {
    let join = if script.path.contains('?') { '&' } else { '?' };
    let path = format!("{}{join}note={fault}&output_format=pcm_8000", script.path);
    let mut client = connect(simulator, &path, None).await.unwrap_or_else(|error| panic!("{path}: {error}"));
    say(&mut client, script.says).await;
    watch(&mut client, last).await
}

pub(super) fn text(seen: &Seen) -> &str {
    match seen {
        Seen::Text(text) => text,
        _ => "",
    }
}

#[tokio::test]
async fn every_socket_answers_from_greeting_to_close() {
    for provider in Provider::ALL {
        let simulator = instant(provider).await;
        for script in SCRIPTS.iter().filter(|script| script.provider == provider) {
            let seen = session(&simulator, script, "none", if script.close.is_some() { "" } else { script.ends }).await;
            let first = seen.first().map(text).unwrap_or_default();
            assert!(first.contains(script.begins), "{}: {first}", script.path);
            let texts: Vec<&str> = seen.iter().map(text).filter(|text| !text.is_empty()).collect();
            assert!(texts.last().is_some_and(|last| last.contains(script.ends)), "{}: {:?}", script.path, seen.last());
            if let Some(code) = script.close {
                assert_eq!(seen.last(), Some(&Seen::Close(code, String::new())), "{}", script.path);
            }
            for text in texts {
                let _: Value =
                    serde_json::from_str(text).unwrap_or_else(|error| panic!("{}: {error}: {text}", script.path));
            }
        }
        let tested = SCRIPTS.iter().filter(|script| script.provider == provider);
        let rows = Dialect::of(provider).socket.iter().map(|socket| socket.path.len()).sum::<usize>();
        assert_eq!(tested.count(), rows, "{provider} has a socket without a script");
        simulator.stop().await;
    }
}

/// What a failure looks like on a socket: its frame, and its close.
fn expected(script: &Script, fault: &Fault) -> (Option<Value>, Option<(u16, String)>) {
    let uri = script.path.parse().unwrap();
    let (socket, _) = Dialect::of(script.provider).socket(&uri).unwrap();
    let own = fault.frame.as_ref().filter(|_| socket.native.contains(&fault.shape));
    let goes_on = socket.stays.iter().any(|code| code == "*" || Some(code) == fault.code.as_ref());
    let default = (!goes_on).then(|| (socket.close.code, String::new()));
    (own.map(|frame| serde_json::from_str(frame).unwrap()), fault.close.clone().or(default))
}

#[tokio::test]
async fn every_failure_comes_instead_of_an_answer_and_in_its_middle() {
    for provider in Provider::ALL {
        let simulator = instant(provider).await;
        for script in SCRIPTS.iter().filter(|script| script.provider == provider) {
            for (number, fault) in faults(provider).iter().enumerate() {
                let silent = fault.moment == Moment::Frame && fault.frame.is_none();
                let (frame, close) = expected(script, fault);
                let speaks = Dialect::of(provider).socket(&script.path.parse().unwrap()).unwrap().0.speaks();
                let name = fault.name.replace('+', "%2B");
                for moment in ["fault-answer-", "fault-mid-", "fault-end-", "fault-open-"] {
                    // Failures that differ in nothing but their words need not be seen at every moment.
                    if number % 7 != 0 && frame.is_none() && fault.close.is_none() && moment != "fault-answer-" {
                        continue;
                    }
                    // A conversation has no last word.
                    if moment == "fault-end-" && script.path.contains("convai") {
                        continue;
                    }
                    let at = format!("{} {moment}{name}", script.path);
                    let last = if close.is_some() { "" } else { "rror" };
                    let seen = session(&simulator, script, &format!("{moment}{name}"), last).await;
                    let mut back = seen.iter().rev();
                    if let Some((code, reason)) = &close {
                        let Some(Seen::Close(got, why)) = back.next() else { panic!("{at}: {:?}", seen.last()) };
                        assert_eq!(got, code, "{at}");
                        assert!(
                            fault.close.is_none() || why.starts_with(&reason[..reason.len().min(100)]),
                            "{at}: {why}"
                        );
                    }
                    if !silent {
                        let sent = back.next().map(text).unwrap_or_default();
                        let json: Value =
                            serde_json::from_str(sent).unwrap_or_else(|error| panic!("{at}: {error} {sent}"));
                        let message = fault.vars.get("message").cloned().unwrap_or_default();
                        match &frame {
                            Some(frame) => assert_eq!(
                                json.as_object().map(|json| json.len() >= frame.as_object().unwrap().len()),
                                Some(true),
                                "{at}: {sent}"
                            ),
                            None => assert!(sent.contains(message.to_string().trim_matches('"')), "{at}: {sent}"),
                        }
                    }
                    let before = back.next();
                    let audible = |seen: &Seen| {
                        *seen == Seen::Binary || text(seen).contains("\"audio") || text(seen).contains("\"data\"")
                    };
                    if moment == "fault-mid-" && speaks {
                        assert!(seen.iter().any(audible), "{at}: no utterance to be in the middle of");
                    }
                    match moment {
                        "fault-mid-" | "fault-end-" => assert!(before.is_some(), "{at}: nothing good before"),
                        "fault-open-" => assert_eq!(before, None, "{at}"),
                        _ => {}
                    }
                }
            }
        }
        simulator.stop().await;
    }
}
