//! Server-Sent Events (WHATWG HTML 9.2): a splitter for relays, a reader for one event, a writer.

use super::cut::{Piece, Seam, Units, Verdict};
use bytes::Bytes;
use std::borrow::Cow;
use std::collections::VecDeque;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Finds the events of a stream. Comments and blank lines between events pass at once, events when they are whole.
pub type Splitter = super::cut::Splitter<Events>;

/// Where events begin and end.
#[derive(Debug)]
pub struct Events {
    /// What of a byte order mark may still come.
    bom: &'static [u8],
    line: Line,
    /// A field has been seen since the last blank line.
    in_event: bool,
    /// The last byte was a CR that ended a line; a LF belongs to it.
    after_cr: bool,
    /// That CR ended an event that was replaced, so its LF goes too.
    drop_lf: bool,
}

/// Where in a line the last chunk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Start,
    /// In a line that is held with its event.
    Inside,
    /// In a comment between events.
    Comment,
}

impl Default for Events {
    fn default() -> Events {
        Events { bom: BOM, line: Line::Start, in_event: false, after_cr: false, drop_lf: false }
    }
}

impl Units for Events {
    fn whole(&self, chunk: &[u8]) -> usize {
        let between = self.line == Line::Start && !self.in_event && !self.after_cr && self.bom.is_empty();
        if between { whole_events(chunk) } else { 0 }
    }

    fn seam(&self, torn: bool) -> Seam {
        match self.line {
            _ if torn => Seam::Inside,
            Line::Comment => Seam::Comment,
            Line::Start | Line::Inside => Seam::Between,
        }
    }
}

impl Splitter {
    /// Takes the next chunk; what may go out is put at the end of `out`. `judge` sees every event once, whole. Comments pass, and what is
    /// too large does.
    pub fn feed(&mut self, chunk: &Bytes, out: &mut VecDeque<Bytes>, mut judge: impl FnMut(Event<'_>) -> Verdict) {
        self.feed_pieces(chunk, out, |piece| match piece {
            Piece::Whole(raw) => judge(Event::new(raw)),
            Piece::Part { .. } => Verdict::Pass,
        });
    }

    /// The same where `judge` sees comments and what is too large too, in parts.
    pub fn feed_pieces(
        &mut self,
        chunk: &Bytes,
        out: &mut VecDeque<Bytes>,
        mut judge: impl FnMut(Piece<'_>) -> Verdict,
    ) {
        if self.cutter.ended() {
            return;
        }
        let Events { bom, line, in_event, after_cr, drop_lf } = &mut self.units;
        let mut cut = self.cutter.cut(chunk, out);
        let mut at = 0;
        while let Some(&byte) = chunk.get(at) {
            if std::mem::take(after_cr) && byte == b'\n' {
                at += 1;
                match (std::mem::take(drop_lf), *in_event) {
                    (true, _) => cut.skip(at),
                    (false, true) => {}
                    (false, false) => cut.pass(at),
                }
                continue;
            }
            *drop_lf = false;
            if let Some((&expected, later)) = bom.split_first() {
                if byte == expected {
                    *bom = later;
                    at += 1;
                    continue;
                }
                // Not a mark after all: what came of it begins a field name.
                if bom.len() < BOM.len() {
                    (*line, *in_event) = (Line::Inside, true);
                }
                *bom = &[];
            }
            if *line == Line::Start && !matches!(byte, b'\r' | b'\n') {
                *line = if byte == b':' && !*in_event { Line::Comment } else { Line::Inside };
                *in_event |= *line == Line::Inside;
            }
            let Some(end) = line_end(chunk, at) else {
                if *line == Line::Comment {
                    let _ = cut.part(chunk.len(), false, &mut judge);
                }
                break;
            };
            at = end.after;
            *after_cr = end.lf_may_follow;
            if *line == Line::Start && *in_event {
                *in_event = false;
                *drop_lf = cut.unit(at, usize::from(end.crlf), &mut judge) && *after_cr;
            } else if *line == Line::Comment {
                let _ = cut.part(at, true, &mut judge);
            } else if !*in_event {
                cut.pass(at);
            }
            *line = Line::Start;
            if cut.ended() {
                break;
            }
        }
        cut.finish(&mut judge);
    }
}

/// Where a line ends.
struct LineEnd {
    after: usize,
    /// It is two bytes long.
    crlf: bool,
    /// It ended in a CR that is the chunk's last byte.
    lf_may_follow: bool,
}

fn line_end(chunk: &[u8], from: usize) -> Option<LineEnd> {
    let end = from + memchr::memchr2(b'\r', b'\n', chunk.get(from..)?)?;
    let (cr, next) = (chunk.get(end) == Some(&b'\r'), chunk.get(end + 1));
    let crlf = cr && next == Some(&b'\n');
    Some(LineEnd { after: end + 1 + usize::from(crlf), crlf, lf_may_follow: cr && next.is_none() })
}

/// Where the last event ends that is whole, in bytes that begin between two. Of the ways to end one those that are in use are
/// known here; any other is only found line by line.
fn whole_events(bytes: &[u8]) -> usize {
    let mut before = bytes;
    while let Some(at) = memchr::memrchr(b'\n', before) {
        before = before.get(..at).unwrap_or_default();
        if before.ends_with(b"\n") || before.ends_with(b"\n\r") {
            return at + 1;
        }
    }
    0
}

/// One event as it stands in the stream; its fields are read when asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    raw: &'a [u8],
}

impl<'a> Event<'a> {
    /// The event in these bytes, with or without its blank line.
    #[must_use]
    pub fn new(raw: &'a [u8]) -> Event<'a> {
        Event { raw }
    }

    /// Its bytes.
    #[must_use]
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Its type: the last `event` field, if any says something. Without one it is a `message`.
    #[must_use]
    pub fn kind(&self) -> Option<Cow<'a, str>> {
        self.last(b"event").filter(|kind| !kind.is_empty()).map(String::from_utf8_lossy)
    }

    /// Its data: the `data` fields joined by LF. An event without any is not dispatched to anyone.
    #[must_use]
    pub fn data(&self) -> Option<Cow<'a, [u8]>> {
        let mut lines = self.fields().filter(|(name, _)| *name == b"data").map(|(_, value)| value);
        let first = lines.next()?;
        let Some(second) = lines.next() else { return Some(Cow::Borrowed(first)) };
        let mut data = [first, second].join(&b'\n');
        for line in lines {
            data.push(b'\n');
            data.extend_from_slice(line);
        }
        Some(Cow::Owned(data))
    }

    /// Its id; one with a NUL in it does not count.
    #[must_use]
    pub fn id(&self) -> Option<&'a [u8]> {
        self.fields().filter(|(name, value)| *name == b"id" && !value.contains(&0)).map(|(_, value)| value).last()
    }

    /// The reconnection time it sets, in milliseconds.
    #[must_use]
    pub fn retry(&self) -> Option<u64> {
        let value = self.last(b"retry")?;
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        if digits { str::from_utf8(value).ok()?.parse().ok() } else { None }
    }

    /// Every field, in order: name and value. Comments and blank lines are none.
    pub fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut left = self.raw.strip_prefix(BOM).unwrap_or(self.raw);
        let lines = std::iter::from_fn(move || {
            if left.is_empty() {
                return None;
            }
            // An empty line between CR and LF is no field, so the pair needs no care here.
            let end = memchr::memchr2(b'\r', b'\n', left).unwrap_or(left.len());
            let line = left.get(..end)?;
            left = left.get(end + 1..).unwrap_or_default();
            Some(line)
        });
        lines.filter(|line| !line.is_empty() && !line.starts_with(b":")).map(|line| {
            let (name, value) = line.split_at(memchr::memchr(b':', line).unwrap_or(line.len()));
            let value = value.strip_prefix(b":").unwrap_or(value);
            (name, value.strip_prefix(b" ").unwrap_or(value))
        })
    }

    fn last(&self, wanted: &[u8]) -> Option<&'a [u8]> {
        self.fields().filter(|(name, _)| *name == wanted).map(|(_, value)| value).last()
    }
}

/// Writes an event. Line breaks in the data become several `data` fields; in the type, where there is no way to write
/// them, they are left out.
#[must_use]
pub fn write_event(kind: Option<&str>, data: &str) -> Bytes {
    let mut event = String::with_capacity(data.len() + kind.map_or(0, str::len) + 24);
    if let Some(kind) = kind {
        event.push_str("event: ");
        event.extend(kind.chars().filter(|letter| !matches!(letter, '\r' | '\n')));
        event.push('\n');
    }
    let data = if data.contains('\r') {
        Cow::Owned(data.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        Cow::Borrowed(data)
    };
    for line in data.split('\n') {
        event.push_str("data: ");
        event.push_str(line);
        event.push('\n');
    }
    event.push('\n');
    Bytes::from(event)
}

#[cfg(test)]
mod tests;
