//! The calling side: bytes out, parsed answers in, with the framing exactly as it was on the wire.

use super::wire::{End, Fields, Wire, show};
use std::net::SocketAddr;

/// How the end of an answer's body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none: HEAD, 1xx, 204, 304.
    None,
    /// Content-Length.
    Length(usize),
    /// Transfer-Encoding: chunked.
    Chunked,
    /// The connection's end.
    UntilClose,
}

/// One answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Informational responses that came before.
    pub(crate) informational: Vec<(u16, Fields)>,
    /// Status of the final answer.
    pub(crate) status: u16,
    /// Its whole status line.
    pub(crate) line: String,
    /// Its fields.
    pub(crate) fields: Fields,
    /// Its body, as far as it came.
    pub(crate) body: Vec<u8>,
    /// Its trailer fields.
    pub(crate) trailers: Fields,
    /// Its framing.
    pub(crate) framing: Framing,
    /// `None` when it is complete; else what cut it.
    pub(crate) cut: Option<End>,
}

impl Answer {
    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A field that must be there.
    pub(crate) fn field(&self, name: &str) -> String {
        self.fields.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.fields))
    }
}

/// A client on one HTTP/1 connection.
pub(crate) struct Client {
    wire: Wire,
}

impl Client {
    /// Connects.
    pub(crate) fn to(address: SocketAddr) -> Client {
        Client { wire: Wire::connect(address) }
    }

    /// Over an existing connection.
    pub(crate) fn over(wire: Wire) -> Client {
        Client { wire }
    }

    /// Sends. That the gateway may have hung up already is no failure here: what it answered is still to be read.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Client {
        let _ = self.wire.send(bytes.as_ref());
        self
    }

    /// Sends in one-byte segments.
    pub(crate) fn dribble(&mut self, bytes: &[u8]) -> &mut Client {
        let _ = self.wire.dribble(bytes);
        self
    }

    /// The connection itself.
    pub(crate) fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// The connection itself, once it is something else than HTTP.
    pub(crate) fn into_wire(self) -> Wire {
        self.wire
    }

    /// Ends the connection with RST.
    pub(crate) fn reset(self) {
        self.wire.reset();
    }

    /// The next answer to anything but HEAD.
    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer("GET").unwrap_or_else(|end| panic!("no answer: {end:?}"))
    }

    /// The next answer to a HEAD.
    pub(crate) fn answer_to_head(&mut self) -> Answer {
        self.try_answer("HEAD").unwrap_or_else(|end| panic!("no answer: {end:?}"))
    }

    /// The head of the next answer, its body left on the wire.
    pub(crate) fn head(&mut self) -> Result<(u16, String, Fields), End> {
        let line = String::from_utf8_lossy(&self.wire.first_line()?).into_owned();
        let status = line
            .strip_prefix("HTTP/1.1 ")
            .or(line.strip_prefix("HTTP/1.0 "))
            .and_then(|rest| rest.get(..3))
            .and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| End::Malformed(format!("not a status line: {line:?}")))?;
        Ok((status, line, self.wire.fields()?))
    }

    /// The next answer, or why there is none.
    pub(crate) fn try_answer(&mut self, method: &str) -> Result<Answer, End> {
        let mut informational = Vec::new();
        let (status, line, fields) = loop {
            let (status, line, fields) = self.head()?;
            if status == 101 || status >= 200 {
                break (status, line, fields);
            }
            informational.push((status, fields));
        };
        let framing = framing(method, status, &fields)?;
        let mut answer = Answer {
            informational,
            status,
            line,
            fields,
            body: Vec::new(),
            trailers: Fields::default(),
            framing,
            cut: None,
        };
        let read = match framing {
            Framing::None => Ok(Fields::default()),
            Framing::Length(count) => self.wire.exact(count, &mut answer.body).map(|()| Fields::default()),
            Framing::Chunked => self.wire.chunked(&mut answer.body),
            Framing::UntilClose => match self.wire.rest(&mut answer.body) {
                End::Fin => Ok(Fields::default()),
                end => Err(end),
            },
        };
        match read {
            Ok(trailers) => answer.trailers = trailers,
            Err(End::Malformed(what)) => return Err(End::Malformed(what)),
            Err(end) => answer.cut = Some(end),
        }
        Ok(answer)
    }

    /// Fails unless the gateway closes now without another byte.
    pub(crate) fn closed(&mut self) -> Result<(), String> {
        let mut rest = Vec::new();
        match self.wire.rest(&mut rest) {
            End::Fin | End::Reset if rest.is_empty() => Ok(()),
            End::Fin | End::Reset => Err(format!("closed after further bytes {}", show(&rest))),
            end => Err(format!("not closed ({end:?}), further bytes {}", show(&rest))),
        }
    }
}

/// RFC 9112 6.3, refusing whatever two readers could understand differently.
fn framing(method: &str, status: u16, fields: &Fields) -> Result<Framing, End> {
    let lengths = fields.all("content-length");
    let codings = fields.all("transfer-encoding");
    if lengths.len() + codings.len() > 1 {
        return Err(End::Malformed(format!("ambiguous framing: {lengths:?} {codings:?}")));
    }
    if status < 200 || status == 204 {
        return match lengths.len() + codings.len() {
            0 => Ok(Framing::None),
            _ => Err(End::Malformed(format!("{status} with framing fields: {lengths:?} {codings:?}"))),
        };
    }
    if method == "HEAD" || status == 304 {
        return Ok(Framing::None);
    }
    match (lengths.first(), codings.first()) {
        (Some(length), _) => length.parse().map(Framing::Length).map_err(|_| End::Malformed(length.clone())),
        (_, Some(coding)) if coding == "chunked" => Ok(Framing::Chunked),
        (_, Some(coding)) => Err(End::Malformed(format!("transfer coding {coding:?}"))),
        (None, None) => Ok(Framing::UntilClose),
    }
}
