//! Responses to bytes that never became a request, written straight to the socket, which is then closed so that they arrive.

use crate::canon::Fault;
use bytes::Bytes;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// How long a client may take to read a refusal.
const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// How long the gateway keeps reading after the last response was written.
const LINGER: Duration = Duration::from_secs(3);
/// How many bytes it discards meanwhile, before it closes regardless.
const LINGER_BYTES: usize = 16 << 20;

/// Writes a whole response and ends the connection.
pub(super) async fn refuse(io: &mut (impl AsyncRead + AsyncWrite + Unpin), answer: Bytes) {
    let written = timeout(WRITE_LIMIT, async {
        io.write_all(&answer).await?;
        io.shutdown().await
    });
    if let Ok(Ok(())) = written.await {
        linger(io).await;
    }
}

/// Closes a connection after the last response; `unread`: the client may still be sending.
pub(super) async fn close(io: &mut (impl AsyncRead + AsyncWrite + Unpin), unread: bool) {
    let shut = timeout(WRITE_LIMIT, io.shutdown()).await;
    if unread && matches!(shut, Ok(Ok(()))) {
        linger(io).await;
    }
}

/// Lingering close: reads until the client has closed too, within bounds. Closing with unread bytes resets the connection, and
/// the reset can discard the response at a client that is still sending (RFC 9112 9.6).
pub(super) async fn linger(io: &mut (impl AsyncRead + Unpin)) {
    let drained = timeout(LINGER, async {
        let mut thrown_away = 0;
        let mut buffer = [0; 2048];
        while thrown_away < LINGER_BYTES {
            match io.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(length) => thrown_away += length,
            }
        }
    });
    let _ = drained.await;
}

/// Fits a refusal to the request that could not be parsed beyond these bytes: a response to HEAD has no body (RFC 9110 9.3.2).
pub(super) fn in_reply_to(unread: &[u8], mut refusal: Bytes) -> Bytes {
    if request_line(unread).starts_with(b"HEAD ")
        && let Some(end) = memchr::memmem::find(&refusal, b"\r\n\r\n")
    {
        refusal.truncate(end + 4);
    }
    refusal
}

/// The fault for a response of hyper's own, from its status and the bytes that it could not parse.
pub(super) fn fault(status: u16, unread: &[u8], max_target: usize) -> Fault {
    match status {
        414 => Fault::TargetTooLong,
        // Decided by the length of the request line, because hyper only reports that the head is too large.
        431 if request_line(unread).len() > max_target => Fault::TargetTooLong,
        431 => Fault::HeadTooLarge,
        _ => Fault::BadRequest,
    }
}

/// The part of the request line that has arrived.
fn request_line(unread: &[u8]) -> &[u8] {
    let start = unread.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(unread.len());
    let line = unread.get(start..).unwrap_or_default();
    memchr::memchr(b'\n', line).and_then(|end| line.get(..end)).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_head_has_no_body() {
        let refusal = Bytes::from_static(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\nno");
        for (unread, length) in [
            (b"HEAD / HTTP/3.0\r\n".as_slice(), refusal.len() - 2),
            (b"\r\nHEAD /", refusal.len() - 2),
            (b"GET / HTTP/3.0\r\n", refusal.len()),
            (b"HEADER / HTTP/1.1", refusal.len()),
            (b"", refusal.len()),
        ] {
            assert_eq!(in_reply_to(unread, refusal.clone()).len(), length, "{:?}", String::from_utf8_lossy(unread));
        }
    }

    #[test]
    fn the_fault_follows_from_status_and_bytes() {
        let long_target = [b"GET /".as_slice(), &[b'a'; 100]].concat();
        let long_fields = [b"\r\nGET / HTTP/1.1\r\nx: ".as_slice(), &[b'a'; 100]].concat();
        for (status, unread, expected) in [
            (400, b"nonsense".as_slice(), Fault::BadRequest),
            (414, b"", Fault::TargetTooLong),
            (431, &long_target, Fault::TargetTooLong),
            (431, &long_fields, Fault::HeadTooLarge),
            (431, b"", Fault::HeadTooLarge),
        ] {
            assert_eq!(fault(status, unread, 64), expected, "{status} {:?}", String::from_utf8_lossy(unread));
        }
    }
}
