//! Recordings: a raw HTTP answer read by the same parser as a live one.

use crate::canon::Phase;
use crate::upstream::{Limits, read_capped};
use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

/// A recorded HTTP answer.
#[derive(Debug)]
pub struct Recorded {
    /// The request it answered, when the recording begins with a line such as `> GET /v1/jobs/7`.
    pub request: Option<(String, String)>,
    /// Its status.
    pub status: u16,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body, decoded and bounded.
    pub body: Bytes,
    /// Whether the bound cut the body.
    pub truncated: bool,
}

impl Recorded {
    /// Reads a recording. Line ends of the head may be bare, and `Content-Length` is not held against an edited body.
    ///
    /// # Errors
    /// What is wrong with the head.
    pub async fn read(bytes: &[u8]) -> Result<Recorded, String> {
        let (request, bytes) = asked(bytes);
        let wire = on_the_wire(bytes);
        let (ours, theirs) = tokio::io::duplex(16 * 1024);
        let feed = async move {
            let (mut read, mut write) = tokio::io::split(theirs);
            // Whatever happens to the other side shows there.
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
            status: parts.status.as_u16(),
            headers: parts.headers,
            truncated: body.truncated,
            body: body.bytes,
        })
    }
}

/// A first line `> GET /v1/jobs/7` tells which request was answered.
fn asked(bytes: &[u8]) -> (Option<(String, String)>, &[u8]) {
    let Some(rest) = bytes.strip_prefix(b"> ") else { return (None, bytes) };
    let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
    let (line, behind) = rest.split_at(end);
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_whitespace();
    let request = words
        .next()
        .zip(words.next())
        .map(|(method, path)| (method.to_owned(), path.split('?').next().unwrap_or_default().to_owned()));
    (request, behind)
}

/// The recording as a provider would have sent it: line ends of the head as they must be, and no length or framing that
/// an edited body contradicts.
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

/// One event or line: the event's name, and its data.
pub(super) type Unit = (Option<String>, Vec<u8>);

/// The events or lines of a stream, and whether it ends in the middle of one.
pub(super) fn units(phase: Phase, bytes: &[u8]) -> (Vec<Unit>, bool) {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n");
    let text = text.trim_start_matches('\u{feff}');
    if phase != Phase::Sse {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        return (lines.map(|line| (None, line.trim().as_bytes().to_vec())).collect(), false);
    }
    let mut units = Vec::new();
    let (mut event, mut data) = (None, Vec::new());
    for line in text.split('\n') {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => event = Some(value.to_owned()),
            "data" => data.push(value.to_owned()),
            _ if line.is_empty() && !data.is_empty() => {
                units.push((event.take(), std::mem::take(&mut data).join("\n").into_bytes()));
            }
            _ => {}
        }
    }
    (units, event.is_some() || !data.is_empty())
}
