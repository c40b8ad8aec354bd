//! Parses recordings, with the parser that is used for live responses.

use crate::detect::{self, Framing, Splitter};
use crate::upstream::{Limits, read_capped};
use crate::wire::{Piece, Verdict, sse};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use std::borrow::Cow;
use std::collections::VecDeque;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A recorded HTTP response.
#[derive(Debug)]
pub struct Recorded {
    /// The request, when the recording begins with a line such as `> GET /v1/jobs/7`.
    pub request: Option<(String, String)>,
    /// Whether the request was a WebSocket handshake: `> GET /v1/listen websocket`.
    pub upgrade: bool,
    /// Its status.
    pub status: u16,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body, decoded and bounded.
    pub body: Bytes,
    /// Whether the body is incomplete, because of the bound or because it broke off.
    pub truncated: bool,
    /// Whether its content coding could not be decoded.
    pub undecodable: bool,
}

impl Recorded {
    /// Parses a recording. Line ends in the head may be bare, and `Content-Length` may contradict an edited body.
    ///
    /// # Errors
    /// When the head is invalid; the text says why.
    pub async fn read(bytes: &[u8]) -> Result<Recorded, String> {
        let (request, upgrade, bytes) = asked(bytes);
        let wire = on_the_wire(bytes);
        let (ours, theirs) = tokio::io::duplex(16 * 1024);
        let feed = async move {
            let (mut read, mut write) = tokio::io::split(theirs);
            // A response before its request is an error in hyper, so the request is read first.
            let _ = read.read(&mut [0; 1024]).await;
            let _ = write.write_all(&wire).await;
            let _ = write.shutdown().await;
            let _ = tokio::io::copy(&mut read, &mut tokio::io::sink()).await;
        };
        let read = async {
            let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
                .max_headers(256)
                .handshake::<_, Empty<Bytes>>(TokioIo::new(ours))
                .await
                .map_err(|error| error.to_string())?;
            let driver = tokio::spawn(connection);
            let method = request.as_ref().map_or("GET", |(method, _)| method.as_str());
            let asks =
                Request::builder().method(method).uri("/").body(Empty::new()).map_err(|error| error.to_string())?;
            let answer = sender.send_request(asks).await;
            let answer = answer.map_err(|error| format!("this is not an HTTP answer: {error}"))?;
            let (parts, body) = answer.into_parts();
            let encoding = parts.headers.get(header::CONTENT_ENCODING).cloned();
            let body = read_capped(body, encoding.as_ref(), Limits::default()).await;
            driver.abort();
            Ok::<_, String>((parts, body))
        };
        let (read, ()) = tokio::join!(read, feed);
        let (parts, body) = read?;
        Ok(Recorded {
            request,
            upgrade,
            status: parts.status.as_u16(),
            headers: parts.headers,
            truncated: body.truncated || body.incomplete,
            undecodable: body.undecodable,
            body: body.bytes,
        })
    }
}

/// Splits off a first line `> GET /v1/jobs/7`, which names the request; `websocket` at its end marks a handshake.
fn asked(bytes: &[u8]) -> (Option<(String, String)>, bool, &[u8]) {
    let Some(rest) = bytes.strip_prefix(b"> ") else { return (None, false, bytes) };
    let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
    let (line, behind) = rest.split_at(end);
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_whitespace();
    let request = words
        .next()
        .zip(words.next())
        .map(|(method, path)| (method.to_owned(), path.split('?').next().unwrap_or_default().to_owned()));
    (request, words.next() == Some("websocket"), behind)
}

/// The recording as a provider would have sent it: with proper line ends in the head, and without length or framing that an
/// edited body contradicts.
fn on_the_wire(bytes: &[u8]) -> Vec<u8> {
    let (head, body) = split_head(bytes);
    let head = String::from_utf8_lossy(head);
    let chunked = head.to_ascii_lowercase().contains("\ntransfer-encoding: chunked") && looks_chunked(body);
    let mut wire = Vec::with_capacity(bytes.len() + 16);
    for line in head.lines().filter(|line| !line.trim().is_empty()) {
        let name = line.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
        let dropped = match name.as_str() {
            "content-length" => true,
            "transfer-encoding" => !chunked,
            _ => false,
        };
        if !dropped {
            wire.extend_from_slice(line.trim_end().as_bytes());
            wire.extend_from_slice(b"\r\n");
        }
    }
    if !chunked {
        wire.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    wire.extend_from_slice(b"\r\n");
    wire.extend_from_slice(body);
    wire
}

fn split_head(bytes: &[u8]) -> (&[u8], &[u8]) {
    let crlf = memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| (at, at + 4));
    let bare = memchr::memmem::find(bytes, b"\n\n").map(|at| (at, at + 2));
    let end = match (crlf, bare) {
        (Some(crlf), Some(bare)) => Some(if crlf.0 < bare.0 { crlf } else { bare }),
        (one, other) => one.or(other),
    };
    match end {
        Some((head, body)) => (bytes.get(..head).unwrap_or_default(), bytes.get(body..).unwrap_or_default()),
        None => (bytes, b""),
    }
}

fn looks_chunked(body: &[u8]) -> bool {
    let line = body.split(|byte| *byte == b'\r').next().unwrap_or_default();
    !line.is_empty() && line.len() <= 8 && line.iter().all(u8::is_ascii_hexdigit)
}

/// Parses trailers: a name, a colon and a value on each line.
pub(super) fn fields(bytes: &[u8]) -> Result<HeaderMap, String> {
    let mut fields = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
        let parts = memchr::memchr(b':', line).map(|at| (&line[..at], line[at + 1..].trim_ascii()));
        let field = parts.and_then(|(name, value)| {
            Some((HeaderName::from_bytes(name.trim_ascii()).ok()?, HeaderValue::from_bytes(value).ok()?))
        });
        let Some((name, value)) = field else {
            let line = String::from_utf8_lossy(line);
            return Err(format!("`{line}` is no trailer; expected for example `grpc-status: 8`"));
        };
        let _ = fields.append(name, value);
    }
    Ok(fields)
}

/// One event or line.
pub(super) struct Unit {
    /// The original bytes, including field lines.
    pub(super) raw: Vec<u8>,
    /// The event's name.
    pub(super) name: Option<String>,
    /// None for an event without data.
    pub(super) data: Option<Vec<u8>>,
    /// Whether its end, a blank line or a line break, is missing.
    pub(super) unended: bool,
    /// Whether it is larger than the part that is examined.
    pub(super) cut: bool,
}

impl Unit {
    /// The examined part of a piece; none for a comment.
    fn of(framing: Framing, piece: Piece<'_>) -> Option<Unit> {
        let (raw, cut) = match piece {
            Piece::Whole(raw) => (raw, false),
            Piece::Part { bytes, first, .. } => (bytes, first.then_some(bytes.len() > detect::LIMIT)?),
        };
        let seen = if framing == Framing::EventStream { raw } else { raw.get(..detect::LIMIT).unwrap_or(raw) };
        let (name, data) = match framing {
            Framing::Sse if matches!(piece, Piece::Part { .. }) && raw.starts_with(b":") => return None,
            Framing::Sse => {
                let event = sse::Event::new(seen);
                (event.kind().map(Cow::into_owned), event.data().map(Cow::into_owned))
            }
            Framing::Ndjson | Framing::EventStream => (None, Some(seen.to_vec())),
        };
        Some(Unit { raw: raw.to_vec(), name, data, unended: false, cut })
    }
}

/// The events or lines of a stream, and whether one was too large to be examined. An incomplete last one counts.
pub(super) fn units(framing: Framing, bytes: &[u8]) -> (Vec<Unit>, bool) {
    let (mut units, mut out) = (Vec::new(), VecDeque::new());
    let bytes = Bytes::copy_from_slice(bytes);
    let judge = |piece: Piece<'_>| {
        units.extend(Unit::of(framing, piece));
        Verdict::Pass
    };
    let mut splitter = Splitter::new(framing);
    splitter.feed_pieces(&bytes, &mut out, judge);
    let (rest, oversized) = (splitter.finish(), splitter.oversized());
    let rest = rest.filter(|rest| !rest.trim_ascii().is_empty());
    let unseen = oversized > 0 || rest.as_ref().is_some_and(|rest| rest.len() > detect::LIMIT);
    let last = rest.and_then(|rest| match rest.len() {
        ..=detect::LIMIT => Unit::of(framing, Piece::Whole(&rest)),
        _ => Unit::of(framing, Piece::Part { bytes: &rest, first: true, last: true }),
    });
    units.extend(last.map(|last| Unit { unended: true, ..last }));
    (units, unseen)
}
