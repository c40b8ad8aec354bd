//! Inspects success bodies for failures inside a 200, and for URLs of the provider.
//!
//! Only where the profile says so, and only the first 64 KiB of a JSON body: larger ones pass unchanged.

use super::body::Body;
use super::member;
use super::read::{next_frame, read_within};
use crate::canon::{Evidence, Json, Observed, Path, read_json};
use crate::detect::{self, Coded, Form, LIMIT};
use crate::proxy::RouteRuntime;
use crate::proxy::context::RoutedContext;
use crate::proxy::errors::{self, Finding, Rendered};
use crate::upstream::{self, decode};
use crate::wire::coding;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, response};
use http_body::{Body as _, Frame};
use std::collections::VecDeque;
use std::time::SystemTime;

/// Whether the body of this response is inspected.
pub(crate) fn concerns(form: Form, call: &RoutedContext, route: &RouteRuntime, parts: &response::Parts) -> bool {
    let (method, path) = call.request();
    let rewrites = || route.config.profile.rewrites(method, path).is_some();
    // Part of a body must stay unchanged, because it refers to offsets in the whole.
    if parts.status == StatusCode::PARTIAL_CONTENT {
        return false;
    }
    match form {
        Form::Inspected => true,
        Form::Plain => rewrites() && parts.status.is_success() && !detect::is_media(&parts.headers),
        Form::Error | Form::Empty | Form::Stream(_) => false,
    }
}

/// Decides what a 206 is on a route that rewrites URLs and therefore never requests ranges: a whole body becomes an ordinary
/// success. False for a part, in which URLs cannot be found.
pub(crate) fn settle_part(call: &RoutedContext, route: &RouteRuntime, parts: &mut response::Parts) -> bool {
    let (method, path) = call.request();
    if parts.status != StatusCode::PARTIAL_CONTENT || route.config.profile.rewrites(method, path).is_none() {
        return true;
    }
    let range = parts.headers.remove(header::CONTENT_RANGE);
    parts.status = StatusCode::OK;
    range.is_some_and(|range| range.to_str().is_ok_and(is_all))
}

/// Whether a `Content-Range` covers the whole body: `bytes 0-9/10`.
fn is_all(range: &str) -> bool {
    let numbers = range.trim().split_once(' ').and_then(|(_, range)| {
        let (first, rest) = range.trim().split_once('-')?;
        let (last, size) = rest.split_once('/')?;
        Some([first.parse::<u64>().ok()?, last.parse().ok()?, size.parse().ok()?])
    });
    numbers.is_some_and(|[first, last, size]| first == 0 && last.checked_add(1) == Some(size))
}

/// The head of a response whose body is inspected.
pub(crate) struct Head {
    /// The head for the client.
    pub(crate) parts: response::Parts,
    /// The provider's own header fields.
    pub(crate) said: HeaderMap,
}

/// Buffers the body as long as it may have to be changed, then sends the original or the changed one.
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

/// The result of inspecting a buffered body.
enum Changed {
    /// It contained a failure.
    Failed(Box<Rendered>),
    /// It contained URLs of the provider, or keys of the route.
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
    // In a URL to follow, the client's own key is kept.
    let again = if shown == body { None } else { read_json(&body) };
    let tree = if shown == body { evidence.tree() } else { again.as_ref() };
    let rewritten = profile.rewrites(method, path).and_then(|members| rewritten(call, &body, tree?, members));
    rewritten.map(Bytes::from).or(has_keys.then_some(body)).map(Changed::Rewritten)
}

/// The body with the provider's URLs rewritten to this gateway; all other bytes unchanged.
fn rewritten(call: &RoutedContext, body: &[u8], tree: &Json<'_>, members: &[Path]) -> Option<Vec<u8>> {
    let mut changed: Option<Vec<u8>> = None;
    for member in members {
        let url = member.walk(tree).and_then(Json::as_text);
        let Some((url, ours)) = url.and_then(|url| Some((url, call.public_url(url)?))) else { continue };
        let with_ours = member::with_text(changed.as_deref().unwrap_or(body), member, url, &ours);
        changed = with_ours.or(changed);
    }
    changed
}

/// Sends a redirect without its route's keys, which its body repeats as often as its `Location` does. The body is read within the
/// bounds of an error; one that is longer, or in an unknown coding, is dropped, because clients do not need it.
pub(crate) async fn redirect(
    call: Box<RoutedContext>,
    mut parts: response::Parts,
    body: upstream::Body,
) -> Response<Body> {
    let read = read_within(&call, &parts.headers, body).await;
    let whole = !read.truncated && !read.incomplete && !read.undecodable;
    let cleaned = call.part_without_route_keys(&read.bytes, !whole);
    if cleaned.is_some() || !whole || parts.headers.contains_key(header::CONTENT_ENCODING) {
        let body = if read.undecodable { Bytes::new() } else { cleaned.unwrap_or(read.bytes) };
        return replaced(call, parts, Changed::Rewritten(body));
    }
    let _ = parts.headers.remove(header::TRAILER);
    Response::from_parts(parts, Body::full(read.bytes, Some(call)))
}

fn replaced(call: Box<RoutedContext>, mut parts: response::Parts, changed: Changed) -> Response<Body> {
    let body = match changed {
        Changed::Rewritten(body) => body,
        Changed::Failed(rendered) => {
            parts.headers = rendered.headers;
            rendered.body.unwrap_or_default()
        }
    };
    forget_the_bytes(&mut parts.headers);
    let _ = parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    let mut response = Response::new(Body::full(body, Some(call)));
    *response.status_mut() = parts.status;
    *response.headers_mut() = parts.headers;
    response
}

/// Removes header fields that describe the original bytes of a body, and the announcement of trailers.
pub(crate) fn forget_the_bytes(headers: &mut HeaderMap) {
    for name in [header::CONTENT_ENCODING, header::TRANSFER_ENCODING, header::TRAILER] {
        let _ = headers.remove(name);
    }
    coding::remove_validators(headers);
}
