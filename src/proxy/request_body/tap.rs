//! What a generation has to know of a request body: its text, and when all of it had come.

use super::text::{Content, Kind};
use crate::canon::Json;
use crate::canon::generations::{GenerationRule, Text};
use bytes::Bytes;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// Most bytes of a body that are kept for it; a longer one costs its length.
const MOST: usize = 1024 * 1024;

/// Keeps a body as it passes, where there is something to read in it: a copy, so that neither many small pieces nor the buffers that
/// they are parts of are held.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    kind: Kind,
    /// Whether anything in a body is asked for.
    reads: bool,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    size: u64,
    /// It has been looked at whether it may be JSON.
    judged: bool,
    /// It is none: nothing of it is kept.
    ignored: bool,
    ended: Option<Instant>,
}

impl Tap {
    /// For a body of this kind.
    pub(crate) fn new(rule: &GenerationRule, kind: Kind) -> Tap {
        Tap { kind, reads: rule.reads_bodies(), kept: Mutex::default() }
    }

    pub(super) fn passed(&self, data: &Bytes) {
        let mut kept = self.lock();
        kept.size += data.len() as u64;
        if kept.ignored || !self.reads {
            return;
        }
        let room = MOST.saturating_sub(kept.bytes.len());
        kept.bytes.extend_from_slice(data.get(..room).unwrap_or(data));
        if !kept.judged && !data.trim_ascii_start().is_empty() {
            // Of a byte order mark there may be a part.
            kept.judged = kept.bytes.len() > 2;
            if !self.kind.may_be_json(&kept.bytes) {
                (kept.ignored, kept.bytes) = (true, Vec::new());
            }
        }
    }

    pub(super) fn ends(&self) {
        let _ = self.lock().ended.get_or_insert_with(Instant::now);
    }

    /// When all of it had come.
    pub(crate) fn ended(&self) -> Option<Instant> {
        self.lock().ended
    }

    /// How long it is so far.
    pub(crate) fn size(&self) -> u64 {
        self.lock().size
    }

    /// Its text, where that can be told, and what else it says. A body that cannot be read is taken for speech as long as it is.
    pub(crate) fn read(&self, rule: &GenerationRule, more: impl FnOnce(&Json<'_>)) -> Option<Text> {
        let (bytes, size) = {
            let kept = self.lock();
            (Bytes::copy_from_slice(&kept.bytes), kept.size)
        };
        let whole = bytes.len() as u64 == size;
        let content = self.kind.read(bytes, whole, size, |body| {
            more(body);
            rule.text(body)
        });
        match content {
            Content::Read(text) => Some(text),
            Content::Unread(length) => Some(Text { characters: length, spoken: true }),
            Content::NoText => None,
        }
        .filter(|_| rule.knows_text())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
