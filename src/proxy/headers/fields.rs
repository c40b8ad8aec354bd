//! A set of the header fields of a message that this gateway treats specially.
//!
//! An ordinary message has hardly any of them, and looking each up in the map would cost more than handling those that are there. So
//! the names are scanned once, in one pass, and code that wants a field asks this set first.

use crate::wire::urls;
use http::header::{self, HeaderMap, HeaderName};
use std::iter;
use std::ops::BitOr;

/// The fields of a message, as they were when it came. What is not in the set is not in the map; what is in it may have
/// been removed since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields(u64);

impl Fields {
    // The first of them are those of `HOP_BY_HOP`, in its order.
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
    /// Any field of an answer that holds URLs.
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
    /// Any other claim about the client or the target that a proxy in front may make.
    const CLAIM: Fields = Fields(1 << 27);
    /// Any other field that never goes to a provider.
    const PRIVATE: Fields = Fields(1 << 28);
    /// Some field, whichever, stands on several lines.
    pub(crate) const REPEATED: Fields = Fields(1 << 29);
    /// Of an answer: a field that speaks for the whole of a provider's origin, or to a proxy in front of it.
    pub(super) const OF_THE_ORIGIN: Fields = Fields(1 << 30);
    pub(super) const SET_COOKIE: Fields = Fields(1 << 31);
    pub(crate) const ORIGIN: Fields = Fields(1 << 33);
    pub(crate) const RANGE: Fields = Fields(1 << 35);
    pub(crate) const SEC_FETCH_SITE: Fields = Fields(1 << 36);

    /// Fields of requests that are hop by hop (RFC 9110 7.6.1), meant for a proxy (11.7), or handled here (the HTTP server answers
    /// Expect).
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
    /// The same in answers. `Alt-Svc` would lead clients past this gateway.
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
    /// Whatever never goes to a provider beside these.
    pub(super) const KEPT_BACK: Fields = any(&[Fields::PRIORITY, Fields::PRIVATE]);
    /// Claims about the client or the target that only a proxy in front may make.
    pub(super) const CLAIMS: Fields = any(&[
        Fields::CLAIM,
        Fields::FORWARDED,
        Fields::FORWARDED_FOR,
        Fields::FORWARDED_HOST,
        Fields::FORWARDED_PROTO,
    ]);

    /// The fields of a message that has just come.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Fields {
        let repeated = if headers.len() == headers.keys_len() { Fields::default() } else { Fields::REPEATED };
        headers.keys().fold(repeated, |fields, name| fields | Fields::named(name))
    }

    /// What a name stands for; nothing for most. The one place that says so: what is looked for is also what is found.
    pub(super) fn named(name: &HeaderName) -> Fields {
        // Bytes: of these the compiler makes a decision tree, of strings it makes one comparison after another.
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
            // They would bind this gateway's origin, and with it all its routes, to what one provider says of its own; or have a
            // proxy in front of this gateway send a file or another URL instead of the answer.
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
            // Claims that no proxy in front is asked for.
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
            // A certificate is verified by the listener that received it, however far away that claims to have been.
            b"x-forwarded-client-cert" => Fields::PRIVATE,
            // Words between a client and this gateway stay here; the simulators behind it listen to this one.
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

    /// Whether one of these may be there.
    #[must_use]
    pub(crate) const fn may_have(self, any: Fields) -> bool {
        self.0 & any.0 != 0
    }

    /// The names in this set of what is between two neighbours only.
    pub(super) fn hop_by_hop(self) -> impl Iterator<Item = &'static HeaderName> {
        let mut left = self.0;
        iter::from_fn(move || {
            let lowest = left.trailing_zeros();
            left &= left.wrapping_sub(1);
            HOP_BY_HOP.get(lowest as usize)
        })
    }

    /// Those of them that are also among these.
    pub(super) const fn among(self, these: Fields) -> Fields {
        Fields(self.0 & these.0)
    }

    /// Whether a field that is there stands on several lines.
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

/// What is between two neighbours only, each at the place of its bit.
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
