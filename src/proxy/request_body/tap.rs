//! What a generation needs of a request body: its text, and when all of it had arrived.

use super::text::{Content, Kind};
use crate::canon::Json;
use crate::canon::generations::{GenerationRule, Text};
use bytes::Bytes;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// Most bytes of a body that are copied; a longer one is charged by its length.
const MOST: usize = 1024 * 1024;

/// Copies a body as it passes, if anything in it is of interest. A copy, so that many small pieces do not keep the large buffers
/// alive that they are parts of.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    kind: Kind,
    /// Whether anything in the body is of interest.
    reads: bool,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    /// The same once it was read, which is when nothing more comes.
    whole: Option<Bytes>,
    size: u64,
    /// Whether it has been decided if the body may be JSON.
    judged: bool,
    /// It is not JSON, so nothing is copied.
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
            // A byte order mark may have arrived in part.
            kept.judged = kept.bytes.len() > 2;
            if !self.kind.may_be_json(&kept.bytes) {
                (kept.ignored, kept.bytes) = (true, Vec::new());
            }
        }
    }

    pub(super) fn ends(&self) {
        let _ = self.lock().ended.get_or_insert_with(Instant::now);
    }

    /// When the whole body had arrived.
    pub(crate) fn ended(&self) -> Option<Instant> {
        self.lock().ended
    }

    /// Its length so far.
    pub(crate) fn size(&self) -> u64 {
        self.lock().size
    }

    /// Its text, if it can be read, and further values. A body that cannot be read counts as text of its length.
    pub(crate) fn read(&self, rule: &GenerationRule, more: impl FnOnce(&Json<'_>)) -> Option<Text> {
        let (bytes, size) = {
            let kept = &mut *self.lock();
            let whole = kept.whole.get_or_insert_with(|| Bytes::from(std::mem::take(&mut kept.bytes)));
            (whole.clone(), kept.size)
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
