//! Finds errors in the pieces of a stream, whatever its framing, and removes the route's keys from the pieces that are examined:
//! possible errors, and comments, which providers use freely.
//!
//! A piece that is larger than an error may be is judged by its first 64 KiB.

use crate::canon::{Codec, Evidence, Observed, Stream};
use crate::detect::{self, Coded, Framing};
use crate::proxy::context::RoutedContext;
use crate::proxy::errors::{self, Finding, Rendered};
use crate::wire::{Piece, Verdict, event_stream, sse};
use bytes::Bytes;
use std::sync::Arc;
use std::time::SystemTime;

#[derive(Debug)]
pub(super) struct Judge {
    pub(super) framing: Framing,
    /// A failure that ends the stream has been sent; the end of the stream is then not another failure.
    pub(super) failed: bool,
    /// The provider has announced the end of the stream.
    pub(super) over: bool,
    /// The rule for the stream's last event, where the profile has one, until that event has arrived.
    pub(super) last: Option<Arc<Stream>>,
    parts: Parts,
}

/// How the further parts of a piece are treated.
#[derive(Debug, Default)]
enum Parts {
    /// They pass.
    #[default]
    Pass,
    /// They are dropped, because a failure replaced the piece.
    Gone,
    /// They pass without keys; bytes that may begin a key are held back.
    Cleaned(Vec<u8>),
}

impl Judge {
    pub(super) fn new(framing: Framing, last: Option<Arc<Stream>>) -> Judge {
        Judge { framing, failed: false, over: false, last, parts: Parts::Pass }
    }

    /// Whether these bytes may contain a failure. Most of a stream needs no other check.
    pub(super) fn suspects(&self, call: &RoutedContext, bytes: &[u8]) -> bool {
        self.last.as_ref().is_some_and(|last| last.may_end(bytes))
            || detect::suspects(&call.route.config.profile, self.framing.phase(), bytes)
    }

    /// Whether these bytes contain a key of the route where no failure is looked for: in a comment, in the id or the name of an
    /// event, in an ignored line, in the fields of a message. A comment may continue after these bytes.
    pub(super) fn shows_keys(&self, call: &RoutedContext, bytes: &[u8]) -> bool {
        if self.framing == Framing::Ndjson || !call.lends_keys() {
            return false;
        }
        if self.framing == Framing::EventStream {
            return event_stream::field_blocks(bytes).any(|block| call.without_route_keys(block).is_some());
        }
        let mut lines = bytes.split(|byte| matches!(byte, b'\r' | b'\n'));
        let is_data = |line: &[u8]| line.strip_prefix(b"data").is_some_and(|rest| matches!(rest, [] | [b':', ..]));
        lines.any(|line| line.starts_with(b":") || !is_data(line) && call.without_route_keys(line).is_some())
    }

    pub(super) fn piece(&mut self, call: &mut RoutedContext, piece: Piece<'_>) -> Verdict {
        match piece {
            Piece::Whole(raw) => self.whole(call, raw),
            Piece::Part { bytes, first, last } if self.framing == Framing::EventStream => {
                // The checksum of an event stream message covers the whole message.
                if first && last { self.whole(call, bytes) } else { Verdict::Pass }
            }
            Piece::Part { bytes, first, last } => self.part(call, bytes, first, last),
        }
    }

    fn whole(&mut self, call: &mut RoutedContext, raw: &[u8]) -> Verdict {
        if !self.suspects(call, raw) {
            return if self.shows_keys(call, raw) { self.cleaned(call, raw) } else { Verdict::Pass };
        }
        match self.failure(call, raw, false) {
            Verdict::Pass => self.cleaned(call, raw),
            verdict => verdict,
        }
    }

    fn part(&mut self, call: &mut RoutedContext, bytes: &[u8], first: bool, last: bool) -> Verdict {
        let suspicious = !matches!(self.parts, Parts::Gone) && self.suspects(call, bytes);
        if first && suspicious {
            let beginning = bytes.get(..detect::LIMIT).unwrap_or(bytes);
            match self.failure(call, beginning, beginning.len() < bytes.len() || !last) {
                Verdict::Pass => {}
                verdict => {
                    self.parts = if last { Parts::Pass } else { Parts::Gone };
                    return verdict;
                }
            }
        }
        if matches!(self.parts, Parts::Pass) && (suspicious || self.shows_keys(call, bytes)) && call.lends_keys() {
            self.parts = Parts::Cleaned(Vec::new());
        }
        let verdict = match &mut self.parts {
            Parts::Pass => Verdict::Pass,
            Parts::Gone => Verdict::Replace(Bytes::new()),
            Parts::Cleaned(held) => {
                let waited = !held.is_empty();
                let cleaned = call.next_without_route_keys(held, bytes, last, false);
                if !waited && cleaned == bytes { Verdict::Pass } else { Verdict::Replace(cleaned) }
            }
        };
        if last {
            self.parts = Parts::Pass;
        }
        verdict
    }

    /// The bytes held back of a piece, when the stream ends inside it.
    pub(super) fn tail(&mut self, call: &RoutedContext) -> Option<Bytes> {
        let Parts::Cleaned(mut held) = std::mem::take(&mut self.parts) else { return None };
        Some(call.next_without_route_keys(&mut held, b"", true, true)).filter(|tail| !tail.is_empty())
    }

    /// The verdict on a piece that is a failure; others pass. `cut`: only the beginning of the piece is known.
    fn failure(&mut self, call: &mut RoutedContext, raw: &[u8], cut: bool) -> Verdict {
        let now = SystemTime::now();
        match self.framing {
            Framing::Sse => {
                let event = sse::Event::new(raw);
                let (kind, data) = (event.kind(), event.data());
                let Some(data) = data else {
                    self.looks_for_the_last(&Evidence::new(&Observed::event(kind.as_deref(), b"", now)));
                    return Verdict::Pass;
                };
                let data = call.redacted_part(Bytes::copy_from_slice(&data), cut);
                let kind = kind.map(|kind| call.redacted(Bytes::copy_from_slice(kind.as_bytes())));
                let kind = kind.as_deref().map(String::from_utf8_lossy);
                self.told(call, &Observed::event(kind.as_deref(), &data, now).cut(cut))
            }
            Framing::Ndjson => {
                let said = call.redacted_part(Bytes::copy_from_slice(raw), cut);
                self.told(call, &Observed::line(&said, now).cut(cut))
            }
            Framing::EventStream => {
                let coded = Coded::message(Some(Codec::EventStream), raw);
                let cleaned = coded.with_fields(|value| call.cleaned(value));
                let raw = cleaned.as_deref().unwrap_or(raw);
                let coded = Coded::message(Some(Codec::EventStream), raw);
                let said = call.redacted(Bytes::copy_from_slice(coded.body()));
                self.told(call, &coded.observed(Observed::event(coded.name(), &said, now)))
            }
        }
    }

    /// A piece that is not a failure, without keys.
    fn cleaned(&self, call: &RoutedContext, raw: &[u8]) -> Verdict {
        let cleaned = match self.framing {
            Framing::Sse => call.without_route_keys(raw),
            Framing::Ndjson => call.without_route_keys(raw).map(|line| [&line[..], b"\n"].concat().into()),
            Framing::EventStream => {
                let coded = Coded::message(Some(Codec::EventStream), raw);
                let fields = coded.with_fields(|value| call.without_route_keys(value).map(Vec::from));
                let coded = Coded::message(Some(Codec::EventStream), fields.as_deref().unwrap_or(raw));
                let cleaned = call.without_route_keys(coded.body()).and_then(|body| coded.with_body(&body));
                cleaned.or_else(|| fields.clone()).map(Bytes::from)
            }
        };
        cleaned.map_or(Verdict::Pass, Verdict::Replace)
    }

    /// The verdict on what follows the last complete event or line; none when it is half of a failure.
    pub(super) fn unended(&mut self, call: &mut RoutedContext, rest: &[u8]) -> Option<Verdict> {
        let event = sse::Event::new(rest);
        let (kind, data) = match self.framing {
            Framing::Sse => (event.kind(), event.data().unwrap_or_default()),
            Framing::Ndjson => (None, rest.into()),
            // A message declares its length, so less than that is incomplete.
            Framing::EventStream => return rest.is_empty().then_some(Verdict::Pass),
        };
        if detect::is_cut(&data) && self.suspects(call, rest) {
            let now = SystemTime::now();
            let seen = match self.framing {
                Framing::Ndjson => Observed::line(&data, now),
                Framing::Sse | Framing::EventStream => Observed::event(kind.as_deref(), &data, now),
            };
            if Finding::detected(&call.route.config.profile, call.request(), &Evidence::new(&seen)).is_some() {
                return None;
            }
        }
        Some(self.whole(call, rest))
    }

    fn told(&mut self, call: &mut RoutedContext, seen: &Observed<'_>) -> Verdict {
        let route = Arc::clone(&call.route);
        let evidence = Evidence::new(seen);
        let Some(finding) = Finding::detected(&route.config.profile, call.request(), &evidence) else {
            self.looks_for_the_last(&evidence);
            return Verdict::Pass;
        };
        let Rendered { error, body, .. } = errors::report(call, finding);
        self.failed |= error.fatal != Some(false);
        self.over = error.fatal == Some(true);
        match body {
            Some(body) if self.over => Verdict::End(body),
            body => body.map_or(Verdict::Pass, Verdict::Replace),
        }
    }

    fn looks_for_the_last(&mut self, evidence: &Evidence<'_>) {
        let _ = self.last.take_if(|last| last.ends(evidence));
    }
}
