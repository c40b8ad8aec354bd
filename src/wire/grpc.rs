//! gRPC on HTTP/2: which calls are one, how much time they have, how long their messages are.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header, request};
use std::time::Duration;

/// How long a call may take, as its client says.
pub const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// The media type of every answer.
pub const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");

/// Most digits of a timeout.
const DIGITS: usize = 8;
/// Bytes before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Whether a request is a gRPC call. Over HTTP/1.1 there is no gRPC: what calls itself so is an ordinary request.
#[must_use]
pub fn is_call(parts: &request::Parts) -> bool {
    parts.version == Version::HTTP_2 && parts.method == Method::POST && is_grpc(&parts.headers)
}

/// Whether a body is gRPC: `application/grpc`, `application/grpc+proto`, and not `application/grpc-web`.
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes) else { return false };
    let name = CONTENT_TYPE.as_bytes().len();
    value.get(..name).is_some_and(|start| start.eq_ignore_ascii_case(CONTENT_TYPE.as_bytes()))
        && matches!(value.get(name), None | Some(b'+' | b';' | b' '))
}

/// How long a call may take; none where the client did not say so in a way that anybody reads.
#[must_use]
pub fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let (unit, digits) = headers.get(&TIMEOUT)?.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// The same as a field's value, in the smallest unit whose number fits: never longer than it was.
#[must_use]
pub fn write_timeout(left: Duration) -> HeaderValue {
    const SECOND: u128 = 1_000_000_000;
    const UNITS: [(char, u128); 6] =
        [('n', 1), ('u', 1000), ('m', 1_000_000), ('S', SECOND), ('M', 60 * SECOND), ('H', 3600 * SECOND)];
    let nanos = left.as_nanos();
    let fits = |(unit, size): &(char, u128)| {
        let number = nanos / size;
        (number < 10_u128.pow(DIGITS as u32)).then(|| format!("{number}{unit}"))
    };
    let text = UNITS.iter().find_map(fits).unwrap_or_else(|| "99999999H".to_owned());
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("0n"))
}

/// Follows the messages of a stream without keeping any of them.
#[derive(Debug, Default)]
pub struct Messages {
    /// Bytes of the message that are still to come.
    left: u64,
    prefix: [u8; PREFIX],
    read: usize,
}

impl Messages {
    /// Reads on; whether no message that has begun is longer than this.
    pub fn feed(&mut self, mut bytes: &[u8], most: u64) -> bool {
        while !bytes.is_empty() {
            if self.left > 0 {
                let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= length as u64;
                bytes = bytes.get(length..).unwrap_or_default();
                continue;
            }
            let taken = (PREFIX - self.read).min(bytes.len());
            let (head, rest) = bytes.split_at(taken);
            self.prefix.iter_mut().skip(self.read).zip(head).for_each(|(to, from)| *to = *from);
            (self.read, bytes) = (self.read + taken, rest);
            if self.read == PREFIX {
                let [_, length @ ..] = self.prefix;
                (self.read, self.left) = (0, u64::from(u32::from_be_bytes(length)));
                if self.left > most {
                    return false;
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn calls_are_told_by_their_media_type() {
        for (value, is) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/gRPC;charset=x", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/json", false),
            ("application/grp", false),
        ] {
            assert_eq!(is_grpc(&headers(header::CONTENT_TYPE, value)), is, "{value}");
        }
    }

    #[test]
    fn timeouts_have_a_unit() {
        for (value, expected) in [
            ("1S", Some(Duration::from_secs(1))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("5M", Some(Duration::from_secs(300))),
            ("250m", Some(Duration::from_millis(250))),
            ("7u", Some(Duration::from_micros(7))),
            ("0n", Some(Duration::ZERO)),
            ("100000000S", None),
            ("S", None),
            ("-1S", None),
            ("1", None),
            ("1s", None),
            ("", None),
        ] {
            assert_eq!(timeout(&headers(TIMEOUT, value)), expected, "{value}");
        }
        for nanos in [0, 1, 99_999_999, 100_000_000, 1_500_000_000, 30_000_000_000, u64::MAX] {
            let left = Duration::from_nanos(nanos);
            let written = timeout(&HeaderMap::from_iter([(TIMEOUT, write_timeout(left))])).expect("readable");
            assert!(written <= left && left - written <= left / 1000, "{left:?} {written:?}");
        }
    }

    #[test]
    fn messages_are_followed_however_they_are_cut() {
        let stream =
            [&[0, 0, 0, 0, 3][..], b"abc", &[1, 0, 0, 0, 0], &[0, 0, 0, 0, 2], b"de", &[0, 0, 0, 1, 0]].concat();
        for step in 1..=stream.len() {
            let feed = |most| {
                let mut messages = Messages::default();
                stream.chunks(step).all(|chunk| messages.feed(chunk, most))
            };
            assert!(feed(256) && !feed(255) && !feed(2), "{step} bytes at once");
        }
    }
}
