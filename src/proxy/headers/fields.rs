//! A set of the header fields of a message that this gateway treats specially.
//!
//! An ordinary message has hardly any of them, and looking each up in the map would cost more than handling those that are there.
//! So all names are scanned once, and code that wants a field checks this set first.

use crate::wire::urls;
use http::header::{self, HeaderMap, HeaderName};
use std::iter;
use std::ops::BitOr;

/// The special fields of a message when it arrived. A field that is not in the set is not in the map; one that is in the set may
/// have been removed since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields(u64);

impl Fields {
    // The first ones correspond to `HOP_BY_HOP`, in its order.
    pub(crate) const ALT_SVC: Fields = Fields(1);
    pub(crate) const CONNECTION: Fields = Fields(1 << 1);
    pub(crate) const EXPECT: Fields = Fields(1 << 2);
    pub(crate) const HTTP2_SETTINGS: Fields = Fields(1 << 3);
    pub(crate) const KEEP_ALIVE: Fields = Fields(1 << 4);
    pub(crate) const PROXY_AUTHENTICATE: Fields = Fields(1 << 5);
    pub(crate) const PROXY_AUTHENTICATION_INFO: Fields = Fields(1 << 6);
    pub(crate) const PROXY_AUTHORIZATION: Fields = Fields(1 << 7);
    pub(crate) const PROXY_CONNECTION: Fields = Fields(1 << 8);
    pub(crate) const TE: Fields = Fields(1 << 9);
    pub(crate) const TRANSFER_ENCODING: Fields = Fields(1 << 10);
    pub(crate) const UPGRADE: Fields = Fields(1 << 11);
    pub(crate) const ACCEPT: Fields = Fields(1 << 12);
    pub(crate) const AUTHORIZATION: Fields = Fields(1 << 13);
    pub(crate) const CONTENT_LENGTH: Fields = Fields(1 << 14);
    /// Any response field that contains URLs.
    pub(super) const URL: Fields = Fields(1 << 15);
    pub(crate) const COOKIE: Fields = Fields(1 << 16);
    pub(crate) const FORWARDED: Fields = Fields(1 << 17);
    pub(crate) const FORWARDED_FOR: Fields = Fields(1 << 18);
    pub(crate) const FORWARDED_HOST: Fields = Fields(1 << 19);
    pub(crate) const FORWARDED_PROTO: Fields = Fields(1 << 20);
    pub(crate) const PRIORITY: Fields = Fields(1 << 22);
    pub(crate) const REQUEST_ID: Fields = Fields(1 << 23);
    pub(crate) const TRACEPARENT: Fields = Fields(1 << 24);
    pub(crate) const TRACESTATE: Fields = Fields(1 << 25);
    pub(crate) const VIA: Fields = Fields(1 << 26);
    /// Any other claim about the client or the target that only a proxy in front may make.
    const CLAIM: Fields = Fields(1 << 27);
    /// Any other field that is never forwarded to a provider.
    const PRIVATE: Fields = Fields(1 << 28);
    /// Set when any field occurs on several lines.
    pub(crate) const REPEATED: Fields = Fields(1 << 29);
    /// In responses: a field that applies to the whole origin of a provider, or to a proxy in front of it.
    pub(super) const OF_THE_ORIGIN: Fields = Fields(1 << 30);
    pub(super) const SET_COOKIE: Fields = Fields(1 << 31);
    pub(crate) const ORIGIN: Fields = Fields(1 << 33);
    pub(crate) const RANGE: Fields = Fields(1 << 35);
    pub(crate) const SEC_FETCH_SITE: Fields = Fields(1 << 36);

    /// Request fields that are hop-by-hop (RFC 9110 7.6.1), addressed to a proxy (11.7), or handled here (the HTTP server
    /// responds to Expect).
    pub(super) const OF_THE_HOP: Fields = any(&[
        Fields::CONNECTION,
        Fields::EXPECT,
        Fields::HTTP2_SETTINGS,
        Fields::KEEP_ALIVE,
        Fields::PROXY_AUTHENTICATE,
        Fields::PROXY_AUTHORIZATION,
        Fields::PROXY_CONNECTION,
        Fields::TE,
        Fields::TRANSFER_ENCODING,
        Fields::UPGRADE,
    ]);
    /// The same for responses. `Alt-Svc` would lead clients past this gateway.
    pub(super) const OF_THE_ANSWERS_HOP: Fields = any(&[
        Fields::ALT_SVC,
        Fields::CONNECTION,
        Fields::HTTP2_SETTINGS,
        Fields::KEEP_ALIVE,
        Fields::PROXY_AUTHENTICATE,
        Fields::PROXY_AUTHENTICATION_INFO,
        Fields::PROXY_CONNECTION,
        Fields::TE,
        Fields::TRANSFER_ENCODING,
        Fields::UPGRADE,
    ]);
    /// Further fields that are never forwarded to a provider.
    pub(super) const KEPT_BACK: Fields = any(&[Fields::PRIORITY, Fields::PRIVATE]);
    /// Claims about the client or the target that only a proxy in front may make.
    pub(super) const CLAIMS: Fields = any(&[
        Fields::CLAIM,
        Fields::FORWARDED,
        Fields::FORWARDED_FOR,
        Fields::FORWARDED_HOST,
        Fields::FORWARDED_PROTO,
    ]);

    /// The fields of a message that has just arrived.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Fields {
        let repeated = if headers.len() == headers.keys_len() { Fields::default() } else { Fields::REPEATED };
        headers.keys().fold(repeated, |fields, name| fields | Fields::named(name))
    }

    /// The set for a name; empty for most. Both scanning and lookups use this function.
    pub(super) fn named(name: &HeaderName) -> Fields {
        // Matched as bytes: the compiler makes a decision tree of these, and a chain of comparisons of strings.
        match name.as_str().as_bytes() {
            b"accept" => Fields::ACCEPT,
            b"alt-svc" => Fields::ALT_SVC,
            b"authorization" => Fields::AUTHORIZATION,
            b"connection" => Fields::CONNECTION,
            b"content-length" => Fields::CONTENT_LENGTH,
            b"cookie" => Fields::COOKIE,
            b"expect" => Fields::EXPECT,
            b"forwarded" => Fields::FORWARDED,
            b"http2-settings" => Fields::HTTP2_SETTINGS,
            b"keep-alive" => Fields::KEEP_ALIVE,
            b"proxy-authenticate" => Fields::PROXY_AUTHENTICATE,
            b"proxy-authentication-info" => Fields::PROXY_AUTHENTICATION_INFO,
            b"proxy-authorization" => Fields::PROXY_AUTHORIZATION,
            b"origin" => Fields::ORIGIN,
            b"range" => Fields::RANGE,
            b"proxy-connection" => Fields::PROXY_CONNECTION,
            b"sec-fetch-site" => Fields::SEC_FETCH_SITE,
            b"set-cookie" => Fields::SET_COOKIE,
            b"te" => Fields::TE,
            b"traceparent" => Fields::TRACEPARENT,
            b"tracestate" => Fields::TRACESTATE,
            b"transfer-encoding" => Fields::TRANSFER_ENCODING,
            b"upgrade" => Fields::UPGRADE,
            b"via" => Fields::VIA,
            b"x-forwarded-for" => Fields::FORWARDED_FOR,
            b"x-forwarded-host" => Fields::FORWARDED_HOST,
            b"x-forwarded-proto" => Fields::FORWARDED_PROTO,
            b"x-request-id" => Fields::REQUEST_ID,
            b"x-speechgate-priority" => Fields::PRIORITY,
            b"x-real-ip" => Fields::CLAIM,
            // They would apply to this gateway's whole origin, and so to all of its routes, or make a proxy in front of this
            // gateway send a file or another URL instead of the response.
            b"clear-site-data"
            | b"expect-ct"
            | b"nel"
            | b"public-key-pins"
            | b"report-to"
            | b"strict-transport-security"
            | b"x-litespeed-location"
            | b"x-lighttpd-send-file"
            | b"x-reproxy-url"
            | b"x-sendfile" => Fields::OF_THE_ORIGIN,
            b"x-accel-buffering" => Fields::PRIVATE,
            // Claims that are not known to come from a proxy in front.
            b"client-ip"
            | b"proxy"
            | b"true-client-ip"
            | b"x-client-ip"
            | b"x-cluster-client-ip"
            | b"x-forwarded"
            | b"x-host"
            | b"x-original-forwarded-for"
            | b"x-original-host"
            | b"x-original-url"
            | b"x-originating-ip"
            | b"x-remote-addr"
            | b"x-remote-ip"
            | b"x-rewrite-url" => Fields::PRIVATE,
            // Only the listener that received a certificate can verify it, so such a claim is not forwarded.
            b"x-forwarded-client-cert" => Fields::PRIVATE,
            // Fields between a client and this gateway are not forwarded; the simulators behind it use this one.
            b"x-speechgate-fault" => Fields::default(),
            // Nearly every message has these: return early, before the checks below.
            b"accept-encoding" | b"content-type" | b"date" | b"host" | b"server" | b"user-agent" => Fields::default(),
            [b'x', b'-', what @ ..] if what.starts_with(b"forwarded-") => Fields::CLAIM,
            [b'x', b'-', what @ ..] if what.starts_with(b"accel-") => Fields::PRIVATE | Fields::OF_THE_ORIGIN,
            [b'x', b'-', what @ ..] if what.starts_with(b"envoy-") => Fields::PRIVATE,
            [b'x', b'-', what @ ..] if what.starts_with(b"speechgate-") => Fields::PRIVATE,
            // `X_Api_Key` becomes the same variable as `X-Api-Key` behind CGI-like interfaces.
            other if other.contains(&b'_') => Fields::PRIVATE,
            _ if urls::holds(name).is_some() => Fields::URL,
            _ => Fields::default(),
        }
    }

    /// Whether any of these may be present.
    #[must_use]
    pub(crate) const fn may_have(self, any: Fields) -> bool {
        self.0 & any.0 != 0
    }

    /// The names of the hop-by-hop fields in this set.
    pub(super) fn hop_by_hop(self) -> impl Iterator<Item = &'static HeaderName> {
        let mut left = self.0;
        iter::from_fn(move || {
            let lowest = left.trailing_zeros();
            left &= left.wrapping_sub(1);
            HOP_BY_HOP.get(lowest as usize)
        })
    }

    /// The intersection with `these`.
    pub(super) const fn among(self, these: Fields) -> Fields {
        Fields(self.0 & these.0)
    }

    /// Whether a field that is present occurs on several lines.
    pub(super) fn repeat(self, headers: &HeaderMap, name: HeaderName) -> bool {
        self.may_have(Fields::REPEATED) && headers.get_all(name).iter().nth(1).is_some()
    }
}

impl BitOr for Fields {
    type Output = Fields;

    fn bitor(self, other: Fields) -> Fields {
        Fields(self.0 | other.0)
    }
}

const fn any(these: &[Fields]) -> Fields {
    match these {
        [] => Fields(0),
        [first, rest @ ..] => Fields(first.0 | any(rest).0),
    }
}

/// The hop-by-hop fields, each at the index of its bit.
pub(super) static HOP_BY_HOP: [HeaderName; 12] = [
    header::ALT_SVC,
    header::CONNECTION,
    header::EXPECT,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
