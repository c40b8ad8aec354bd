//! Success bodies that have to be looked at: failures hidden in a 200, and URLs of the provider.
//!
//! Only where the profile says so, and only the first 64 KiB of a JSON body: what is larger passes untouched.

use super::body::Body;
use super::next_frame;
use crate::canon::{Evidence, Json, Observed, Path, Phase};
use crate::config::types::Envelope;
use crate::proxy::context::Call;
use crate::proxy::{RouteRuntime, errors};
use crate::upstream::{self, decode};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, response};
use http_body::{Body as _, Frame};
use serde_json::Value;
use std::collections::VecDeque;
use std::time::SystemTime;

/// Most bytes that are held of a success.
const HELD_LIMIT: usize = 64 * 1024;

/// Whether this answer's body has to be looked at.
pub(crate) fn concerns(call: &Call, route: &RouteRuntime, parts: &response::Parts) -> bool {
    let (method, path) = (call.method.as_str(), call.provider_path());
    let profile = &route.route.profile;
    let wanted = profile.hides_failures(method, path) || profile.rewrites(method, path).is_some();
    wanted && parts.status.is_success() && !is_media(&parts.headers)
}

/// JSON is never looked for in audio.
fn is_media(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    [&b"audio/"[..], b"video/", b"image/"]
        .iter()
        .any(|kind| media_type.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind)))
}

/// The head of an answer whose body is looked at.
pub(crate) struct Head {
    /// What the caller gets.
    pub(crate) parts: response::Parts,
    /// What the provider said.
    pub(crate) said: HeaderMap,
}

/// Holds the body as long as it may have to be changed, then sends it or what it becomes.
pub(crate) async fn relay(
    call: Box<Call>,
    route: &RouteRuntime,
    head: Head,
    mut first: Option<Frame<Bytes>>,
    mut body: upstream::Body,
) -> Response<Body> {
    let Head { mut parts, said } = head;
    let timeouts = &route.route.timeouts;
    let encoding = parts.headers.get(header::CONTENT_ENCODING).cloned();
    let mut frames = VecDeque::new();
    let mut size = 0;
    let ended = loop {
        if first.is_none() && body.size_hint().lower() as usize + size > HELD_LIMIT {
            break false;
        }
        let next = match first.take() {
            Some(first) => Ok(Some(first)),
            None => next_frame(&mut body, timeouts).await,
        };
        match next {
            Ok(Some(frame)) => {
                size += frame.data_ref().map_or(0, Bytes::len);
                let first = frames.is_empty();
                let json = !first || encoding.is_some() || frame.data_ref().is_none_or(|data| may_be_json(data));
                frames.push_back(frame);
                if !json || size > HELD_LIMIT {
                    break false;
                }
            }
            Ok(None) => break true,
            Err(failure) => return errors::failure(call, failure),
        }
    };
    if ended {
        let whole = joined(&frames);
        let decoded = decode(whole, encoding.as_ref(), HELD_LIMIT);
        if !decoded.truncated
            && !decoded.undecodable
            && let Some(changed) = changed(call.as_ref(), route, (parts.status, &said), &decoded.bytes)
        {
            return replaced(call, &mut parts, changed);
        }
    }
    Response::from_parts(parts, Body::relay(body, None, frames, timeouts, call))
}

fn may_be_json(data: &[u8]) -> bool {
    matches!(data.trim_ascii_start().first(), None | Some(b'{' | b'[' | 0xEF))
}

fn joined(frames: &VecDeque<Frame<Bytes>>) -> Bytes {
    let mut parts = frames.iter().filter_map(Frame::data_ref);
    match (parts.next(), parts.next()) {
        (None, _) => Bytes::new(),
        (Some(only), None) => only.clone(),
        (Some(first), Some(second)) => {
            let mut all = BytesMut::from(&first[..]);
            all.extend_from_slice(second);
            parts.for_each(|part| all.extend_from_slice(part));
            all.freeze()
        }
    }
}

/// What a held body becomes.
enum Changed {
    /// A failure was hidden in it.
    Failed(Vec<u8>, Box<crate::canon::CanonicalError>),
    /// It held URLs of the provider.
    Rewritten(Vec<u8>),
}

fn changed(
    call: &Call,
    route: &RouteRuntime,
    (status, said): (StatusCode, &HeaderMap),
    body: &[u8],
) -> Option<Changed> {
    let profile = &route.route.profile;
    let request = (call.method.as_str(), call.provider_path());
    let mut seen = Observed::http(status.as_u16(), said, body, SystemTime::now());
    seen.phase = Phase::Job;
    let evidence = Evidence::new(&seen);
    let tree = evidence.tree()?;
    if let Some(detector) = profile.detect(Some(request), &evidence) {
        let error = crate::canon::resolve(profile, &evidence).error;
        call.sighted(&error, &evidence);
        let timestamp = errors::timestamp();
        let stamp = call.stamp(&timestamp);
        let compatible = route.route.envelope == Envelope::Compatible;
        let body = crate::canon::envelope::in_body(tree, detector.member.as_ref(), compatible, &error, &stamp);
        return Some(Changed::Failed(body, Box::new(error)));
    }
    let members = profile.rewrites(request.0, request.1)?;
    rewritten(call, body, tree, members).map(Changed::Rewritten)
}

/// The body with the provider's URLs turned to this gateway; every other byte as it was.
fn rewritten(call: &Call, body: &[u8], tree: &Json<'_>, members: &[Path]) -> Option<Vec<u8>> {
    let mut text = std::str::from_utf8(body).ok()?.to_owned();
    let mut any = false;
    for url in members.iter().filter_map(|member| member.walk(tree)?.as_text()) {
        let Some(ours) = call.public_url(url) else { continue };
        // A string is found as it was written: JSON may escape the slash.
        let plain = Value::from(url).to_string();
        let escaped = plain.replace('/', "\\/");
        for written in [plain, escaped] {
            if text.contains(&written) {
                text = text.replace(&written, &Value::from(ours.as_str()).to_string());
                any = true;
            }
        }
    }
    any.then(|| text.into_bytes())
}

fn replaced(mut call: Box<Call>, parts: &mut response::Parts, changed: Changed) -> Response<Body> {
    let body = match changed {
        Changed::Rewritten(body) => body,
        Changed::Failed(body, error) => {
            call.transport = crate::telemetry::metrics::Transport::Job;
            call.note(&error, None);
            errors::describe(&mut parts.headers, &error);
            body
        }
    };
    for name in [header::CONTENT_ENCODING, header::ETAG, header::TRANSFER_ENCODING] {
        let _ = parts.headers.remove(name);
    }
    let _ = parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    let mut response = Response::new(Body::full(body, Some(call)));
    *response.status_mut() = parts.status;
    *response.headers_mut() = std::mem::take(&mut parts.headers);
    response
}
