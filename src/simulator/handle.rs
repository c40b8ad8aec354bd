//! One request, from the first byte to its answer. The same for all providers: where they differ is data.

use super::body::{PacedBody, Reply};
use super::dialect::{Content, Found};
use super::engine::{Engine, set_headers};
use super::fault::{Failure, Moment, RequestedFault, Silent, faults};
use super::grpc;
use super::script::{FLUSH, Step, Steps};
use super::socket::{self, Opening};
use super::success::{self, SpeechRequest};
use super::token;
use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::sync::Arc;

/// What becomes of a request.
pub(crate) enum Handled {
    Reply(Reply),
    /// A WebSocket begins.
    Upgraded(Box<(Response<PacedBody>, Opening)>),
}

/// Answers a request; unless it opens a WebSocket, it is read to its end first.
pub(crate) async fn handle(engine: &Arc<Engine>, request: Request<Incoming>) -> Handled {
    if let Some((endpoint, vars)) = socket::endpoint(engine, &request) {
        return match socket::handshake(engine, endpoint, vars, request).await {
            Ok(upgraded) => Handled::Upgraded(Box::new(upgraded)),
            Err(reply) => Handled::Reply(reply),
        };
    }
    if grpc::is_call(&request) {
        return Handled::Reply(grpc::handle(engine, request).await);
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = read(engine, body).await else {
        return Handled::Reply(Reply::Raw { steps: Box::new(std::iter::empty()), reset: true });
    };
    Handled::Reply(match parts.uri.path().strip_prefix("/__sim/") {
        Some(rest) => control(engine, rest, &parts, &body).into(),
        None => reply(engine, &parts, &body).await,
    })
}

/// The beginning of a body, all of which is read.
async fn read(engine: &Engine, mut body: Incoming) -> Result<Bytes, hyper::Error> {
    let mut start = BytesMut::new();
    let mut total = 0;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            total += data.len() as u64;
            let room = token::SEARCHED.saturating_sub(start.len());
            start.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    engine.plan.count(|stats| {
        stats.requests += 1;
        stats.received_bytes += total;
    });
    Ok(start.freeze())
}

/// The requested failure, or success.
async fn reply(engine: &Engine, parts: &Parts, body: &Bytes) -> Reply {
    let Some(name) = token::requested(parts, body) else {
        return succeed(engine, parts, body, None, String::new()).await.into();
    };
    // An id that leads to a failure carries its name, wherever the id is used.
    let carry = format!("_fault-{name}");
    let Some(fault) = RequestedFault::parse(engine.provider, &name) else {
        return engine.no_such_fault(&name).into();
    };
    if fault.needs_socket() && leads_to_socket(engine, parts) {
        return succeed(engine, parts, body, None, carry).await.into();
    }
    let Some(moment) = fault.over_http() else {
        return engine.no_such_fault(&name).into();
    };
    let used_up = engine.count_fault(&name, fault.once, parts.uri.path());
    match (fault.failure, moment) {
        _ if used_up => succeed(engine, parts, body, None, String::new()).await.into(),
        (Failure::Network(fault), Moment::Answer) => fault.reply(),
        (Failure::Silent(_), Moment::Answer) => Reply::frozen(),
        (Failure::Provider(fault), Moment::Answer | Moment::Rpc) => engine.failure(fault, parts).await.into(),
        (Failure::Provider(fault), Moment::Job) if parts.method == Method::GET => engine.failed_job(fault).into(),
        (_, Moment::Job) => {
            let started = Some((fault.failure, Moment::Job));
            succeed(engine, parts, body, started, carry).await.into()
        }
        (failure, moment) => succeed(engine, parts, body, Some((failure, moment)), String::new()).await.into(),
    }
}

/// Whether the request only leads to a socket, such as one for a signed address.
fn leads_to_socket(engine: &Engine, parts: &Parts) -> bool {
    matches!(engine.dialect.find(&parts.method, &parts.uri), Found::Endpoint(endpoint, _) if endpoint.leads_to_socket)
}

/// A success, unless a failure interrupts it. `carry` is appended to the ids that it gives.
async fn succeed(
    engine: &Engine,
    parts: &Parts,
    body: &Bytes,
    fault: Option<(Failure, Moment)>,
    carry: String,
) -> Response<PacedBody> {
    let (endpoint, mut vars) = match engine.dialect.find(&parts.method, &parts.uri) {
        Found::Endpoint(endpoint, vars) => (endpoint, vars),
        Found::WrongMethod => return engine.named_failure(&engine.dialect.unknown.method, parts).await,
        Found::Nothing => return engine.named_failure(&engine.dialect.unknown.path, parts).await,
    };
    if !endpoint.open && fault.is_none() && !engine.dialect.authorised(&parts.headers, &parts.uri) {
        return engine.named_failure(&engine.dialect.auth.missing, parts).await;
    }
    let slot = match endpoint.metered.then(|| engine.plan.take()).transpose() {
        Ok(slot) => slot,
        Err(full) => {
            let mut refusal = engine.named_failure(&engine.dialect.plan.fault, parts).await;
            set_plan_headers(engine, refusal.headers_mut(), full.in_use);
            return refusal;
        }
    };
    vars.insert("carry".into(), carry.into());
    vars.insert("authority".into(), engine.address.to_string().into());
    let visits = match endpoint.body.len() {
        0 | 1 => 0,
        // Whoever compares two polls wants the same answer twice, however many others poll.
        stages if parts.uri.path().contains("settled") => stages - 1,
        _ => engine.visit(parts.uri.path()),
    };
    let mut asked = SpeechRequest::read(parts, body, endpoint, engine.pace, visits);
    if matches!(fault, Some((Failure::Silent(Silent::Empty), _))) {
        asked = asked.unspoken();
    }
    let mut success = success::make(endpoint, &asked, vars.clone());
    engine.wait(success.first).await;
    if let Some((failure, _)) = fault.filter(|(_, moment)| *moment != Moment::Job) {
        let legacy = engine.dialect.legacy(&parts.headers, &parts.uri).is_some();
        success.steps = match failure {
            Failure::Silent(silent) => silenced(success.steps, success.whole, endpoint.say, silent),
            failure => interrupted(success.steps, endpoint.say, failure, legacy),
        };
        success.whole = None;
    }
    let content = match success.whole {
        Some(bytes) => PacedBody::whole(bytes),
        None => PacedBody::steps(success.steps),
    };
    let mut response = Response::new(content.holding(slot));
    *response.status_mut() = StatusCode::from_u16(endpoint.status).unwrap_or_default();
    let headers = response.headers_mut();
    engine.set_success_headers(headers, &endpoint.headers, success.content_type, &vars);
    if visits + 1 < endpoint.body.len() {
        set_headers(headers, &endpoint.waiting_headers, &vars);
    }
    if success.instead {
        headers.insert("x-simulator-note", HeaderValue::from_static("a compressed format was asked for; this is WAV"));
    }
    if endpoint.metered {
        set_plan_headers(engine, headers, engine.plan.stats().in_use);
    }
    response
}

fn set_plan_headers(engine: &Engine, headers: &mut HeaderMap, in_use: usize) {
    let names = &engine.dialect.plan;
    // Without a limit of ours, a generous plan.
    let limit = engine.plan.stats().plan.unwrap_or(30);
    for (name, value) in [(&names.limit_header, limit), (&names.current_header, in_use)] {
        if let Some(name) = name.as_ref().and_then(|name| name.parse::<HeaderName>().ok()) {
            headers.insert(name, HeaderValue::from(value));
        }
    }
}

/// A good beginning, then the failure in the form that this kind of answer has for it; without one, the connection breaks.
fn interrupted(mut steps: Steps, say: Content, failure: Failure, legacy: bool) -> Steps {
    // Two chunks and the pause between them.
    let good: Vec<Step> = steps.by_ref().take(3).collect();
    let cut = || vec![Step::Pause(FLUSH), Step::Cut];
    let line = |text: String| vec![Step::Send(Bytes::from(text))];
    let bad = match (failure, say) {
        (Failure::Network(fault), _) => fault.in_stream(),
        (Failure::Provider(fault), Content::Events) => {
            let data = if legacy { fault.legacy_event.as_ref().or(fault.event.as_ref()) } else { fault.event.as_ref() };
            data.map_or_else(cut, |data| line(format!("event: error\ndata: {data}\n\n")))
        }
        (Failure::Provider(fault), Content::Lines) => {
            fault.line.as_ref().map_or_else(cut, |text| line(format!("{text}\n")))
        }
        _ => cut(),
    };
    Box::new(good.into_iter().chain(bad))
}

/// An answer whose head comes, and then not what was asked for.
fn silenced(steps: Steps, whole: Option<Bytes>, say: Content, silent: Silent) -> Steps {
    // What is sent in one piece stops in its middle as well.
    let mut steps = match whole {
        Some(whole) => {
            let half = whole.len() / 2;
            let halves = [whole.slice(..half), whole.slice(half..)].map(Step::Send);
            Box::new(halves.into_iter()) as Steps
        }
        None => steps,
    };
    match silent {
        Silent::Never => Box::new(std::iter::once(Step::Hang)),
        Silent::Late(time) => Box::new(std::iter::once(Step::Pause(time)).chain(steps)),
        Silent::Stall(time) => {
            let good: Vec<Step> = steps.by_ref().take(good_part(say)).collect();
            let then: Steps = match time {
                Some(time) => Box::new(std::iter::once(Step::Pause(time)).chain(steps)),
                None => Box::new(std::iter::once(Step::Hang)),
            };
            Box::new(good.into_iter().chain(then))
        }
        // There was nothing to say to begin with; what is no speech is left out.
        Silent::Empty if say == Content::Json => Box::new(std::iter::empty()),
        Silent::Empty => steps,
        Silent::HalfOpen => Box::new(steps.take(good_part(say)).chain([Step::Pause(FLUSH), Step::Freeze])),
    }
}

/// As much of an answer as is good when it stops: two chunks and the pause between them, or half of what comes in one piece.
fn good_part(say: Content) -> usize {
    match say {
        Content::Json | Content::Spoken => 1,
        Content::Audio | Content::Events | Content::Lines => 3,
    }
}

/// `GET /__sim/stats`, `GET /__sim/faults`, `PUT /__sim/plan` with a number or nothing as body.
fn control(engine: &Engine, what: &str, parts: &Parts, body: &[u8]) -> Response<PacedBody> {
    let text = String::from_utf8_lossy(body);
    let json = match (&parts.method, what) {
        (&Method::GET, "stats") => serde_json::json!(engine.plan.stats()),
        (&Method::GET, "faults") => faults(engine.provider)
            .iter()
            .map(|fault| serde_json::json!({"name": fault.name, "code": fault.code, "status": fault.status}))
            .collect(),
        (&Method::PUT, "plan") if text.trim().is_empty() || text.trim().parse::<usize>().is_ok() => {
            engine.plan.set(text.trim().parse().ok());
            serde_json::json!(engine.plan.stats())
        }
        _ => return engine.plain(404, Some("text/plain"), "GET stats, GET faults, PUT plan\n"),
    };
    engine.plain(200, Some("application/json"), &json.to_string())
}
