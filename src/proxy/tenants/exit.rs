//! Removes gateway keys from the bytes of bodies and messages whose meaning is not known: stars of the same length replace them,
//! so that framing and lengths remain valid.
//!
//! It looks for actual keys: with a valid checksum, in the configuration, or shown by this client. Something that only resembles
//! a key may be audio in base64.

use super::Tenants;
use crate::proxy::gateway_key::{self, LENGTH};
use std::ops::Range;
use std::sync::Arc;

/// How many bytes of the client's own key at the end of a piece are held back until the next one: fewer reveal nothing, and by
/// chance one in 10^9 pieces ends like this.
const TELLING: usize = 8;

/// What is looked for in the bytes of one call.
#[derive(Clone)]
pub(crate) struct Exit {
    tenants: Arc<Tenants>,
    /// The key that its client has shown.
    shown: Option<Arc<[u8]>>,
}

impl std::fmt::Debug for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exit").finish_non_exhaustive()
    }
}

impl Exit {
    pub(crate) fn new(tenants: &Arc<Tenants>, shown: Option<Arc<[u8]>>) -> Exit {
        Exit { tenants: Arc::clone(tenants), shown }
    }

    /// Finds the first key.
    pub(crate) fn find(&self, bytes: &[u8]) -> Option<Range<usize>> {
        let mut from = 0;
        while let Some(found) = gateway_key::find(bytes.get(from..)?) {
            let start = from + found.start;
            let word = bytes.get(start..from + found.end)?;
            let shown = self.shown.as_ref().filter(|shown| word.starts_with(shown)).map(|shown| shown.len());
            let made = gateway_key::begins_with_made(word).then_some(LENGTH);
            if let Some(length) = shown.max(made).or_else(|| self.tenants.has(word).then_some(word.len())) {
                return Some(start..start + length);
            }
            // Another key may begin inside of it.
            from = start + 1;
        }
        None
    }

    /// Replaces keys by stars.
    pub(crate) fn star(&self, bytes: &mut [u8]) {
        let mut from = 0;
        while let Some(found) = bytes.get(from..).and_then(|rest| self.find(rest)) {
            let key = from + found.start..from + found.end;
            from = key.end;
            bytes.get_mut(key).into_iter().flatten().for_each(|byte| *byte = b'*');
        }
    }

    /// How many bytes at the end are the beginning of the client's key.
    pub(crate) fn begun(&self, bytes: &[u8]) -> usize {
        let Some(key) = self.shown.as_deref() else { return 0 };
        let longest = bytes.len().min(key.len().saturating_sub(1));
        let fits = |length: &usize| key.get(..*length).is_some_and(|begin| bytes.ends_with(begin));
        (TELLING..=longest).rev().find(fits).unwrap_or(0)
    }
}

/// How many sent bytes are remembered, so that a key in small pieces is recognised.
const WINDOW: usize = 64;

/// Filters bytes that are sent piece by piece.
#[derive(Debug)]
pub(crate) struct Passage {
    exit: Exit,
    /// The last bytes that were sent.
    recent: Vec<u8>,
    /// Bytes held back because they may be the beginning of a key.
    held: Vec<u8>,
}

impl Passage {
    pub(crate) fn new(exit: Exit) -> Passage {
        Passage { exit, recent: Vec::new(), held: Vec::new() }
    }

    /// How many bytes are held back.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// The bytes held back, at the end.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// The bytes to send for a piece; none when it is unchanged. Nothing of the last piece is held back.
    pub(crate) fn pass(&mut self, piece: &[u8], last: bool) -> Option<Vec<u8>> {
        if self.held.is_empty() && !self.matters(piece, last) {
            self.remember(piece);
            return None;
        }
        let gone = self.recent.len();
        let mut all = [std::mem::take(&mut self.recent), std::mem::take(&mut self.held), piece.to_vec()].concat();
        let waits = if last { 0 } else { self.exit.begun(&all).min(all.len() - gone) };
        self.held = all.split_off(all.len() - waits);
        self.exit.star(&mut all);
        let out = all.split_off(gone);
        self.recent = all;
        self.remember(&out);
        Some(out)
    }

    /// Whether a piece contains a key, or the beginning or end of one.
    fn matters(&self, piece: &[u8], last: bool) -> bool {
        let begin = piece.get(..WINDOW.min(piece.len())).unwrap_or_default();
        let seam = [self.recent.as_slice(), begin].concat();
        let end = if piece.len() < WINDOW { &seam } else { piece };
        self.exit.find(&seam).is_some() || !last && self.exit.begun(end) > 0 || self.exit.find(piece).is_some()
    }

    fn remember(&mut self, piece: &[u8]) {
        let new = piece.get(piece.len().saturating_sub(WINDOW)..).unwrap_or_default();
        let stays = self.recent.len().min(WINDOW - new.len());
        drop(self.recent.drain(..self.recent.len() - stays));
        self.recent.extend_from_slice(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::gateway_key::make;

    fn exit(shown: &str) -> Exit {
        Exit { tenants: Arc::default(), shown: Some(Arc::from(shown.as_bytes())) }
    }

    fn starred(exit: &Exit, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        exit.star(&mut bytes);
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn keys_become_stars_and_lookalikes_are_kept() {
        let (own, other) = (make().expect("random bytes"), make().expect("random bytes"));
        let exit = exit(&own);
        let stars = "*".repeat(LENGTH);
        for (text, wanted) in [
            (format!("{{\"k\":\"{own}\"}}"), format!("{{\"k\":\"{stars}\"}}")),
            (format!("{other}{own}"), format!("{stars}{stars}")),
            (format!("a{own}b_c {other}"), format!("a{stars}b_c {stars}")),
            (format!("sg_{own}"), format!("sg_{stars}")),
            (format!("sg_{}", "a1".repeat(30)), format!("sg_{}", "a1".repeat(30))),
            (own[..48].to_owned(), own[..48].to_owned()),
            (String::new(), String::new()),
        ] {
            assert_eq!(starred(&exit, &text), wanted, "{text}");
        }
    }

    #[test]
    fn a_key_in_single_bytes_is_not_sent() {
        let (own, other) = (make().expect("random bytes"), make().expect("random bytes"));
        for (key, leaks) in [(&own, 7), (&other, 48)] {
            let text = format!("{}{key}{key} end sg_{}", "x".repeat(200), &own[..9]);
            for size in [1, 2, 5, 8, 30, 49, 64, 199, 300] {
                let (mut passage, mut out) = (Passage::new(exit(&own)), Vec::new());
                let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
                for (index, piece) in pieces.iter().enumerate() {
                    let last = index + 1 == pieces.len();
                    out.extend(passage.pass(piece, last).unwrap_or_else(|| piece.to_vec()));
                    assert!(passage.held() < LENGTH && out.len() + passage.held() <= text.len());
                }
                assert!(passage.rest().is_empty() && out.len() == text.len(), "{size}");
                let out = String::from_utf8(out).expect("text");
                let (keys, end) = out.split_once(" end sg_").expect("the end");
                assert!(!keys.contains(&key[..=leaks]) && end == &own[..9], "{size}: {out}");
            }
        }
    }

    #[test]
    fn only_the_beginning_of_the_clients_own_key_is_held_back() {
        let own = make().expect("random bytes");
        let exit = exit(&own);
        for (text, held) in [
            (format!("x{}", &own[..8]), 8),
            (format!("x{}", &own[..48]), 48),
            (format!("x{}", &own[..7]), 0),
            (format!("x{own}"), 0),
            ("msg_01abcdefgh".to_owned(), 0),
            (own[..20].to_owned(), 20),
            (String::new(), 0),
        ] {
            assert_eq!(exit.begun(text.as_bytes()), held, "{text}");
        }
    }
}
