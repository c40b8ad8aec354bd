//! WebSocket close codes and reasons (RFC 6455 7.4, and the registry that continues it).

use super::frame::Broken;
use bytes::{BufMut, Bytes, BytesMut};

/// A reason takes at most so many bytes: a control frame holds 125, and the code takes two.
pub const MAX_REASON: usize = 123;

/// What was wanted of the connection is done.
pub const NORMAL: u16 = 1000;
/// An end that is nobody's fault: this side goes, or has no use for the connection any more.
pub const GOING_AWAY: u16 = 1001;
/// Stands for a close frame without a code; never sent (RFC 6455 7.4.1).
pub const NO_STATUS: u16 = 1005;
/// Stands for a connection that ended without a close frame; never sent.
pub const ABNORMAL: u16 = 1006;

/// Whether a code may stand in a close frame: 1000 to 1003 and 1007 to 1014 by registration, 3000 to 4999 for libraries
/// and applications. 1004 is reserved, 1005, 1006 and 1015 are for what happens without a frame.
#[must_use]
pub const fn is_legal(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// As much of a reason as fits, cut between characters.
#[must_use]
pub fn cut_reason(reason: &str) -> &str {
    reason.get(..reason.floor_char_boundary(MAX_REASON)).unwrap_or(reason)
}

/// The payload of a close frame. Without a legal code it is empty, which says "no status"; a reason that is too long is cut.
#[must_use]
pub fn payload(code: u16, reason: &str) -> Bytes {
    if !is_legal(code) {
        return Bytes::new();
    }
    let reason = cut_reason(reason);
    let mut payload = BytesMut::with_capacity(2 + reason.len());
    payload.put_u16(code);
    payload.put_slice(reason.as_bytes());
    payload.freeze()
}

/// Reads the payload of a close frame: code and reason, or nothing when it is empty.
///
/// # Errors
/// When it breaks the protocol: half a code, a code that may not be sent, a reason that is not UTF-8.
pub fn read(payload: &[u8]) -> Result<Option<(u16, &str)>, Broken> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        [_] => return Err(Broken::Close),
    };
    if !is_legal(code) {
        return Err(Broken::Close);
    }
    Ok(Some((code, str::from_utf8(reason).map_err(|_| Broken::Utf8)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_registered_and_private_codes_are_legal() {
        let legal: Vec<u16> = (0..3000).filter(|code| is_legal(*code)).collect();
        assert_eq!(legal, [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014]);
        assert!((3000..5000).all(is_legal));
        assert!(!(5000..=u16::MAX).any(is_legal));
    }

    #[test]
    fn reasons_are_cut_between_characters() {
        for (reason, length) in [
            ("short".to_owned(), 5),
            ("a".repeat(123), 123),
            ("a".repeat(124), 123),
            (format!("{}é", "a".repeat(122)), 122),
            ("語".repeat(60), 123),
        ] {
            assert_eq!(cut_reason(&reason).len(), length, "{reason}");
            assert!(reason.starts_with(cut_reason(&reason)));
        }
    }

    #[test]
    fn close_payloads_are_read() {
        for (payload, expected) in [
            (&b""[..], Ok(None)),
            (b"\x03\xe8", Ok(Some((1000, "")))),
            (b"\x0f\xa1gone", Ok(Some((4001, "gone")))),
            (b"\x03", Err(Broken::Close)),
            (b"\x03\xed", Err(Broken::Close)),
            (b"\x03\xee", Err(Broken::Close)),
            (b"\x03\xf7", Err(Broken::Close)),
            (b"\x00\x00", Err(Broken::Close)),
            (b"\x03\xe8\xff", Err(Broken::Utf8)),
        ] {
            assert_eq!(read(payload), expected, "{payload:?}");
        }
        assert_eq!(payload(ABNORMAL, "cannot be said"), "");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(code in 0u16.., reason in ".{0,200}") {
            let written = payload(code, &reason);
            prop_assert!(written.len() <= 125);
            let expected = is_legal(code).then_some((code, cut_reason(&reason)));
            prop_assert_eq!(read(&written), Ok(expected));
        }
    }
}
