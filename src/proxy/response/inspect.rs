//! Success bodies that have to be looked at: failures hidden in a 200, and URLs of the provider.
//!
//! Only where the profile says so, and only the first 64 KiB of a JSON body: what is larger passes untouched.

use super::body::Body;
use super::read::next_frame;
use crate::canon::{Evidence, Json, Observed, Path, read_json};
use crate::detect::{self, Coded, Form, LIMIT};
use crate::proxy::RouteRuntime;
use crate::proxy::context::RoutedContext;
use crate::proxy::errors::{self, Finding, Rendered};
use crate::upstream::{self, decode};
use crate::wire::coding;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, header, response};
use http_body::{Body as _, Frame};
use serde_json::Value;
use std::collections::VecDeque;
use std::time::SystemTime;

/// Whether this answer's body has to be looked at.
pub(crate) fn concerns(form: Form, call: &RoutedContext, route: &RouteRuntime, parts: &response::Parts) -> bool {
    let (method, path) = call.request();
    let rewrites = || route.config.profile.rewrites(method, path).is_some();
    match form {
        Form::Inspected => true,
        Form::Plain => rewrites() && parts.status.is_success() && !detect::is_media(&parts.headers),
        Form::Error | Form::Empty | Form::Stream(_) => false,
    }
}

/// The head of an answer whose body is looked at.
pub(crate) struct Head {
    /// What the client gets.
    pub(crate) parts: response::Parts,
    /// What the provider said.
    pub(crate) said: HeaderMap,
}

/// Holds the body as long as it may have to be changed, then sends it or what it becomes.
pub(crate) async fn relay(
    mut call: Box<RoutedContext>,
    route: &RouteRuntime,
    head: Head,
    mut first: Option<Frame<Bytes>>,
    mut body: upstream::Body,
) -> Response<Body> {
    let Head { mut parts, said } = head;
    let timeouts = &route.config.timeouts;
    let encoding = parts.headers.get(header::CONTENT_ENCODING).cloned();
    let mut frames = VecDeque::new();
    let mut size = 0;
    let ended = loop {
        if first.is_none() && body.size_hint().lower() as usize + size > LIMIT {
            break false;
        }
        let next = match first.take() {
            Some(first) => Ok(Some(first)),
            None => next_frame(&mut body, timeouts, call.end).await,
        };
        match next {
            Ok(Some(frame)) => {
                size += frame.data_ref().map_or(0, Bytes::len);
                let first = frames.is_empty();
                let json = !first
                    || encoding.is_some()
                    || frame.data_ref().is_none_or(|data| detect::may_hide_failure(&parts.headers, data));
                frames.push_back(frame);
                if !json || size > LIMIT {
                    break false;
                }
            }
            Ok(None) => break true,
            Err(failure) => return super::failure(call, failure),
        }
    };
    if ended {
        let whole = joined(&frames);
        let decoded = decode(whole, encoding.as_ref(), LIMIT);
        if !decoded.truncated
            && !decoded.undecodable
            && let Some(changed) = changed(&mut call, route, &mut parts, &said, decoded.bytes)
        {
            return replaced(call, parts, changed);
        }
    }
    Response::from_parts(parts, Body::relay(body, None, frames, timeouts, call))
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
    Failed(Box<Rendered>),
    /// It held URLs of the provider, or keys of the route.
    Rewritten(Bytes),
}

fn changed(
    call: &mut RoutedContext,
    route: &RouteRuntime,
    parts: &mut response::Parts,
    said: &HeaderMap,
    body: Bytes,
) -> Option<Changed> {
    let profile = &route.config.profile;
    let cleaned = call.without_route_keys(&body);
    let (has_keys, body) = (cleaned.is_some(), cleaned.unwrap_or(body));
    let coded = Coded::body_of(said, &body);
    let shown = call.redacted(Bytes::copy_from_slice(coded.body()));
    let seen = coded.observed(Observed::job(parts.status.as_u16(), said, &shown, SystemTime::now()));
    let evidence = Evidence::new(&seen);
    if let Some(finding) = Finding::detected(profile, call.request(), &evidence) {
        let finding = finding.with_headers(std::mem::take(&mut parts.headers));
        return Some(Changed::Failed(Box::new(errors::report(call, finding))));
    }
    let (method, path) = call.request();
    // A client's own key stays in a URL that it is to follow.
    let again = if shown == body { None } else { read_json(&body) };
    let tree = if shown == body { evidence.tree() } else { again.as_ref() };
    let rewritten = profile.rewrites(method, path).and_then(|members| rewritten(call, &body, tree?, members));
    rewritten.map(Bytes::from).or(has_keys.then_some(body)).map(Changed::Rewritten)
}

/// The body with the provider's URLs turned to this gateway; every other byte as it was.
fn rewritten(call: &RoutedContext, body: &[u8], tree: &Json<'_>, members: &[Path]) -> Option<Vec<u8>> {
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

fn replaced(call: Box<RoutedContext>, mut parts: response::Parts, changed: Changed) -> Response<Body> {
    let body = match changed {
        Changed::Rewritten(body) => body,
        Changed::Failed(rendered) => {
            parts.headers = rendered.headers;
            rendered.body.unwrap_or_default()
        }
    };
    for name in [header::CONTENT_ENCODING, header::TRANSFER_ENCODING] {
        let _ = parts.headers.remove(name);
    }
    coding::remove_validators(&mut parts.headers);
    let _ = parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    let mut response = Response::new(Body::full(body, Some(call)));
    *response.status_mut() = parts.status;
    *response.headers_mut() = parts.headers;
    response
}
