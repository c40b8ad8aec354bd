//! What the stream readers share: which bytes pass, which are held until their unit is whole.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

/// Most bytes of one unit that are held until it is whole. What is larger passes in parts, and a break inside it leaves a part of
/// a unit behind, to which nothing can be added that a parser would find.
pub(super) const MOST_HELD: usize = 4 << 20;
/// Most bytes that units which are too large to be looked at hold together, in the whole process.
pub(super) const ALL_HELD: usize = 64 << 20;

static HELD: AtomicUsize = AtomicUsize::new(0);

/// What becomes of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes byte for byte.
    Pass,
    /// This goes out in its place.
    Replace(Bytes),
    /// This goes out in its place, and nothing after it.
    End(Bytes),
}

/// What a splitter shows of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A unit, whole.
    Whole(&'a [u8]),
    /// A part of one that is larger than a whole one may be, or of a comment. What becomes of it goes out in the place of this part.
    Part {
        /// The part.
        bytes: &'a [u8],
        /// It begins here.
        first: bool,
        /// It ends here.
        last: bool,
    },
}

/// What of a unit is out already when a stream ends in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seam {
    /// Nothing: the next unit may follow.
    Between,
    /// A line that says nothing, a comment: its end makes room for the next unit.
    Comment,
    /// A part of it: what follows would be read as more of the same.
    Inside,
}

/// Where the units of one framing begin and end.
pub trait Units: Default {
    /// How many bytes of whole units a chunk begins with: none when the stream is inside a unit.
    fn whole(&self, chunk: &[u8]) -> usize;

    /// What of the current unit is out, when `torn` says whether a part of it is.
    fn seam(&self, torn: bool) -> Seam;
}

/// Finds the units of a stream for a relay, whatever the framing. Each framing adds its own `feed`.
#[derive(Debug)]
pub struct Splitter<U> {
    pub(super) cutter: Cutter,
    pub(super) units: U,
}

impl<U: Units> Splitter<U> {
    /// Units larger than `max_unit` bytes are not whole.
    #[must_use]
    pub fn new(max_unit: usize) -> Splitter<U> {
        Splitter { cutter: Cutter::new(max_unit), units: U::default() }
    }

    /// Looks at the next chunk as a whole, before `feed` does: the units that it begins with pass at once when they are `clean`,
    /// which is to say that none of them has to be judged. Says how many bytes these are; the rest is to be fed.
    pub fn skim(&mut self, chunk: &Bytes, out: &mut VecDeque<Bytes>, clean: impl FnOnce(&[u8]) -> bool) -> usize {
        if !self.cutter.may_skim(chunk) {
            return 0;
        }
        let whole = self.units.whole(chunk);
        if whole == 0 || !clean(chunk.get(..whole).unwrap_or_default()) {
            return 0;
        }
        out.push_back(chunk.slice(..whole));
        whole
    }

    /// What is out of the unit in which the stream is now.
    #[must_use]
    pub fn seam(&self) -> Seam {
        self.units.seam(self.cutter.oversize)
    }

    /// The stream is over. What is left is a unit without its end, whole or cut short: only its content can tell, so the relay
    /// decides. It is empty when the unit was too large and is out already.
    #[must_use]
    pub fn finish(&mut self) -> Option<Bytes> {
        if self.cutter.ended { None } else { self.cutter.take() }
    }

    /// How many units were too large to be looked at.
    #[must_use]
    pub fn oversized(&self) -> u64 {
        self.cutter.oversized
    }
}

/// The state between chunks.
#[derive(Debug)]
pub(super) struct Cutter {
    /// The beginning of a unit whose end has not come.
    held: BytesMut,
    /// What is held beyond `max_unit`.
    large: Large,
    /// Larger units pass without a look.
    max_unit: usize,
    /// The current unit has turned out too large and is passing already.
    oversize: bool,
    /// A part of a unit or of a comment has been shown, and further ones follow.
    in_part: bool,
    /// How many units were too large.
    oversized: u64,
    /// A verdict ended the stream.
    ended: bool,
}

impl Cutter {
    fn new(max_unit: usize) -> Cutter {
        let (held, large) = (BytesMut::new(), Large::default());
        Cutter { held, large, max_unit, oversize: false, in_part: false, oversized: 0, ended: false }
    }

    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// What is held at the end of the stream; a unit that was passing already counts as held, though nothing is left of it.
    fn take(&mut self) -> Option<Bytes> {
        let begun = self.oversize || !self.held.is_empty();
        self.oversize = false;
        self.large.release();
        begun.then(|| self.held.split().freeze())
    }

    /// Whether a chunk begins with a unit, holds none that is too large, and may be taken without looking at each of them.
    fn may_skim(&self, chunk: &[u8]) -> bool {
        self.held.is_empty() && !self.oversize && !self.ended && chunk.len() <= self.max_unit
    }

    /// Starts on a chunk.
    pub(super) fn cut<'a>(&'a mut self, chunk: &'a Bytes, out: &'a mut VecDeque<Bytes>) -> Cut<'a> {
        Cut { cutter: self, chunk, out, run: 0, safe: 0 }
    }
}

/// One chunk being cut. `run..safe` passes and has not been put out; `safe..` is not decided.
pub(super) struct Cut<'a> {
    cutter: &'a mut Cutter,
    chunk: &'a Bytes,
    out: &'a mut VecDeque<Bytes>,
    run: usize,
    safe: usize,
}

impl Cut<'_> {
    pub(super) fn ended(&self) -> bool {
        self.cutter.ended
    }

    /// Everything before `to` passes.
    pub(super) fn pass(&mut self, to: usize) {
        self.put_held();
        self.safe = to;
    }

    /// A unit without content ends before `to`: it passes without being judged.
    pub(super) fn blank(&mut self, to: usize, judge: &mut impl FnMut(Piece<'_>) -> Verdict) {
        let length = self.cutter.held.len() + (to - self.safe);
        self.cutter.oversized += u64::from(!self.cutter.oversize && length > self.cutter.max_unit);
        self.cutter.oversize = false;
        if self.cutter.in_part {
            let _ = self.part(to, true, judge);
        }
        self.pass(to);
    }

    /// The bytes before `to` go nowhere.
    pub(super) fn skip(&mut self, to: usize) {
        self.flush();
        self.run = to;
        self.safe = to;
    }

    /// A unit ends before `to`: asks `judge` and does what it says. Whether the unit was replaced.
    ///
    /// The last `free` bytes do not count for its size: they might as well have come in the next chunk and been no part of it.
    pub(super) fn unit(&mut self, to: usize, free: usize, judge: &mut impl FnMut(Piece<'_>) -> Verdict) -> bool {
        let length = self.cutter.held.len() + (to - self.safe) - free;
        if self.cutter.oversize || length > self.cutter.max_unit {
            self.cutter.oversized += u64::from(!self.cutter.oversize);
            self.cutter.oversize = false;
            return self.part(to, true, judge);
        }
        self.ask(to, |unit| judge(Piece::Whole(unit)))
    }

    /// A part ends before `to`, its last if it is. Whether it was replaced.
    pub(super) fn part(&mut self, to: usize, last: bool, judge: &mut impl FnMut(Piece<'_>) -> Verdict) -> bool {
        let first = !std::mem::replace(&mut self.cutter.in_part, !last);
        self.ask(to, |bytes| judge(Piece::Part { bytes, first, last }))
    }

    fn ask(&mut self, to: usize, judge: impl FnOnce(&[u8]) -> Verdict) -> bool {
        let here = self.chunk.get(self.safe..to).unwrap_or_default();
        let verdict = if self.cutter.held.is_empty() {
            judge(here)
        } else {
            // It came in several chunks: it leaves as one slice of its own.
            self.cutter.held.extend_from_slice(here);
            self.run = to;
            self.safe = to;
            judge(&self.cutter.held)
        };
        let (replacement, end) = match verdict {
            Verdict::Pass => {
                self.pass(to);
                return false;
            }
            Verdict::Replace(replacement) => (replacement, false),
            Verdict::End(replacement) => (replacement, true),
        };
        self.cutter.held.clear();
        self.cutter.large.release();
        self.skip(to);
        if !replacement.is_empty() {
            self.out.push_back(replacement);
        }
        self.cutter.ended = end;
        true
    }

    /// The chunk is at its end: what is not decided is held, unless it is too much already.
    pub(super) fn finish(mut self, judge: &mut impl FnMut(Piece<'_>) -> Verdict) {
        if self.cutter.ended {
            return self.flush();
        }
        let length = self.chunk.len();
        let unit = self.cutter.held.len() + (length - self.safe);
        if self.cutter.oversize {
            let _ = self.part(length, false, judge);
        } else if unit > self.cutter.max_unit && !self.cutter.large.hold(unit) {
            self.cutter.oversize = true;
            self.cutter.oversized += 1;
            let _ = self.part(length, false, judge);
        }
        self.flush();
        self.cutter.held.extend_from_slice(self.chunk.get(self.safe..).unwrap_or_default());
    }

    fn put_held(&mut self) {
        if !self.cutter.held.is_empty() {
            self.out.push_back(self.cutter.held.split().freeze());
        }
        self.cutter.large.release();
    }

    fn flush(&mut self) {
        if self.run < self.safe {
            self.out.push_back(self.chunk.slice(self.run..self.safe));
            self.run = self.safe;
        }
    }
}

/// The share of one unit in what all of those may hold that are too large to be looked at.
#[derive(Debug, Default)]
struct Large(usize);

impl Large {
    /// Whether so much of the unit may be held.
    fn hold(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.0);
        let all = HELD.fetch_add(more, Relaxed) + more;
        self.0 += more;
        let may = bytes <= MOST_HELD && all <= ALL_HELD;
        if !may {
            self.release();
        }
        may
    }

    fn release(&mut self) {
        // Nearly always nothing, and then all streams need not share a cache line.
        if self.0 > 0 {
            let _ = HELD.fetch_sub(std::mem::take(&mut self.0), Relaxed);
        }
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        self.release();
    }
}
