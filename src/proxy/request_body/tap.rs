//! What a generation has to know of a request body: its text, and when all of it had come.

use crate::canon::generations::{GenerationRule, Text};
use crate::canon::{Json, read_json};
use bytes::Bytes;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// Most bytes of a body that are kept for it; the text of a longer one is not known.
const MOST: usize = 1024 * 1024;

/// Keeps a body as it passes. Its pieces are shared with what is sent, not copied.
#[derive(Debug, Default)]
pub(crate) struct Tap(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    pieces: Vec<Bytes>,
    size: u64,
    ended: Option<Instant>,
}

impl Tap {
    pub(super) fn passed(&self, data: &Bytes) {
        let mut kept = self.lock();
        kept.size += data.len() as u64;
        match kept.size <= MOST as u64 {
            true => kept.pieces.push(data.clone()),
            false => kept.pieces = Vec::new(),
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

    /// Its text, where that can be told, and what else it says.
    pub(crate) fn read(&self, rule: &GenerationRule, more: impl FnOnce(&Json<'_>)) -> Option<Text> {
        let body = {
            let kept = self.lock();
            (kept.size <= MOST as u64).then(|| kept.pieces.concat())
        }?;
        let body = read_json(&body)?;
        more(&body);
        rule.knows_text().then(|| rule.text(&body))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
