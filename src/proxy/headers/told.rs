//! What a proxy in front of this gateway reports about the client's connection.

use super::check::is_host;
use super::{Fields, list};
use http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// How a client reached the proxy in front of this gateway, as that proxy reports it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// Whether it came over TLS.
    pub(crate) tls: Option<bool>,
    /// The requested host.
    pub(crate) authority: Option<HeaderValue>,
}

impl Told {
    /// What the nearest proxy reported; none when it reported nothing. Use it only if that proxy is trusted.
    pub(crate) fn of(headers: &HeaderMap, fields: Fields) -> Option<Told> {
        if !fields.may_have(Fields::FORWARDED | Fields::FORWARDED_HOST | Fields::FORWARDED_PROTO) {
            return None;
        }
        let last = |name: &HeaderName| list(headers, name).last().map(<[u8]>::to_vec);
        let forwarded = last(&FORWARDED).unwrap_or_default();
        let parameter = |name: &[u8]| {
            forwarded.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).find_map(|pair| {
                let (key, value) = pair.split_at_checked(name.len())?;
                let value = value.strip_prefix(b"=")?;
                let bare = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
                key.eq_ignore_ascii_case(name).then(|| bare.unwrap_or(value).to_vec())
            })
        };
        let proto = last(&FORWARDED_PROTO).or_else(|| parameter(b"proto"));
        let host = last(&FORWARDED_HOST).or_else(|| parameter(b"host")).filter(|host| is_host(host));
        let tls = proto.and_then(|proto| match proto.to_ascii_lowercase().as_slice() {
            b"https" | b"wss" => Some(true),
            b"http" | b"ws" => Some(false),
            _ => None,
        });
        Some(Told { tls, authority: host.and_then(|host| HeaderValue::from_bytes(&host).ok()) })
    }
}
