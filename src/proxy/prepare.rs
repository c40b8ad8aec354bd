//! Makes the request for the provider from the client's.

use super::check::Checked;
use super::context::RoutedContext;
use super::headers::{self, Fields};
use super::request_body::RequestBody;
use super::state::Peer;
use crate::canon::{Fault, Phase};
use http::{HeaderValue, Request, header, request};
use std::sync::Arc;

/// Turns the client's request into the one for the provider.
pub(super) fn prepare(
    call: &mut RoutedContext,
    peer: &Peer,
    mut parts: request::Parts,
    checked: Checked,
) -> Result<Request<RequestBody>, Fault> {
    let state = Arc::clone(&call.state);
    let runtime = Arc::clone(&call.route);
    let outgoing = headers::Outgoing {
        fields: call.fields,
        method: &parts.method,
        version: parts.version,
        authority: parts.uri.authority(),
        websocket: checked.websocket,
        peer: &peer.headers,
        route: &runtime.headers,
        destination: call.destination,
        identity: &state.shared.identity,
        request_id: &call.id,
        trust_forwarded: state.config.server.trust_forwarded,
    };
    headers::prepare_request(&mut parts.headers, &outgoing);
    if call.phase == Phase::Grpc {
        // Required on this hop: servers reject gRPC calls without it.
        let _ = parts.headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    parts.uri = runtime.headers.target(checked.target, call.destination, checked.websocket)?.into();
    parts.version = http::Version::HTTP_11;
    if call.fields.may_have(Fields::RANGE)
        && runtime.config.profile.rewrites(call.method.as_str(), call.provider_path()).is_some()
    {
        // After its URLs are rewritten, a body's length and offsets differ from the ones that a range refers to.
        for name in [header::RANGE, header::IF_RANGE] {
            let _ = parts.headers.remove(name);
        }
    }
    Ok(Request::from_parts(parts, checked.upload))
}
