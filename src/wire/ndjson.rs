//! Newline-separated JSON: a splitter for relays.

use super::cut::{Cutter, Seam, Verdict};
use bytes::Bytes;
use std::collections::VecDeque;

/// Finds the lines of a stream. Blank lines pass at once, others when they are whole.
#[derive(Debug)]
pub struct Splitter {
    cutter: Cutter,
    /// The line so far holds more than white space.
    begun: bool,
}

impl Splitter {
    /// Lines larger than `max_line` bytes pass without a look.
    #[must_use]
    pub fn new(max_line: usize) -> Splitter {
        Splitter { cutter: Cutter::new(max_line), begun: false }
    }

    /// Looks at the next chunk as a whole, before [`Splitter::feed`]: the lines that it begins with pass at once when they are
    /// `clean`, which is to say that none of them has to be judged. Says how many bytes these are; the rest is to be fed.
    pub fn skim(&mut self, chunk: &Bytes, out: &mut VecDeque<Bytes>, clean: impl FnOnce(&[u8]) -> bool) -> usize {
        if self.begun || !self.cutter.may_skim(chunk) {
            return 0;
        }
        let whole = memchr::memrchr(b'\n', chunk).map_or(0, |end| end + 1);
        if whole == 0 || !clean(chunk.get(..whole).unwrap_or_default()) {
            return 0;
        }
        out.push_back(chunk.slice(..whole));
        whole
    }

    /// Takes the next chunk; what may go out is put at the end of `out`. `judge` sees every line that is not blank once,
    /// whole, without its line end. A replacement must bring its own.
    pub fn feed(&mut self, chunk: &Bytes, out: &mut VecDeque<Bytes>, mut judge: impl FnMut(&[u8]) -> Verdict) {
        if self.cutter.ended() {
            return;
        }
        let mut judge = |line: &[u8]| judge(line.trim_ascii_end());
        let mut cut = self.cutter.cut(chunk, out);
        let mut at = 0;
        while let Some(rest) = chunk.get(at..).filter(|rest| !rest.is_empty()) {
            let end = memchr::memchr(b'\n', rest);
            let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            self.begun = self.begun || !line.trim_ascii().is_empty();
            let Some(end) = end else { break };
            at += end + 1;
            if std::mem::take(&mut self.begun) {
                cut.unit(at, 0, &mut judge);
            } else {
                cut.blank(at);
            }
            if cut.ended() {
                break;
            }
        }
        cut.finish();
    }

    /// What is out of the line in which the stream is now. White space in front of a line is no part of it.
    #[must_use]
    pub fn seam(&self) -> Seam {
        if self.cutter.is_torn() && self.begun { Seam::Inside } else { Seam::Between }
    }

    /// The stream is over. What is left is a line without its end: whole or cut short, which only its JSON can tell. It is
    /// empty when the line was too large and is out already.
    #[must_use]
    pub fn finish(&mut self) -> Option<Bytes> {
        if self.cutter.ended() { None } else { self.cutter.take() }
    }

    /// How many lines were too large to be looked at.
    #[must_use]
    pub fn oversized(&self) -> u64 {
        self.cutter.oversized()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Outcome = (Vec<u8>, Vec<String>, Option<Vec<u8>>, u64);

    fn run(stream: &[u8], size: usize, max: usize) -> Outcome {
        run_asking(stream, size, max, |_| false)
    }

    /// The same when lines that are `clean` are not looked at one by one.
    fn run_asking(stream: &[u8], size: usize, max: usize, clean: fn(&[u8]) -> bool) -> Outcome {
        let (mut splitter, mut out, mut seen) = (Splitter::new(max), VecDeque::new(), Vec::new());
        for chunk in stream.chunks(size) {
            let chunk = Bytes::copy_from_slice(chunk);
            let passed = splitter.skim(&chunk, &mut out, clean);
            splitter.feed(&chunk.slice(passed..), &mut out, |line| {
                seen.push(String::from_utf8_lossy(line).into_owned());
                match line {
                    b"error" => Verdict::Replace(Bytes::from_static(b"<replaced>\n")),
                    b"fatal" => Verdict::End(Bytes::from_static(b"<end>\n")),
                    _ => Verdict::Pass,
                }
            });
        }
        let left = splitter.finish().map(|left| left.to_vec());
        (out.into_iter().flatten().collect(), seen, left, splitter.oversized())
    }

    #[test]
    fn lines_are_found_however_they_end() {
        for (stream, passed, lines, left) in [
            ("{\"a\":1}\n{\"b\":2}\n", "{\"a\":1}\n{\"b\":2}\n", &["{\"a\":1}", "{\"b\":2}"][..], None),
            ("a\r\nb\r\n", "a\r\nb\r\n", &["a", "b"], None),
            ("\n\r\n  \na\n\n", "\n\r\n  \na\n\n", &["a"], None),
            ("a\nerror", "a\n", &["a"], Some("error")),
            ("a\nerror\r\nb\n", "a\n<replaced>\nb\n", &["a", "error", "b"], None),
            ("a\nfatal\nb\nc", "a\n<end>\n", &["a", "fatal"], None),
            ("error\n\n", "<replaced>\n\n", &["error"], None),
        ] {
            for size in 1..=stream.len() {
                let (out, seen, rest, _) = run(stream.as_bytes(), size, 99);
                assert_eq!(String::from_utf8_lossy(&out), passed, "{size}");
                assert_eq!(seen, lines, "{size}");
                assert_eq!(rest.as_deref(), left.map(str::as_bytes), "{size}");
            }
        }
    }

    #[test]
    fn clean_lines_pass_as_a_whole() {
        let (mut splitter, mut out) = (Splitter::new(30), VecDeque::new());
        for (chunk, passed) in [("{}\n{}\r\n{\"a", 7), ("{}\n", 3), ("error\n", 0), ("{\"a\"", 0)] {
            let chunk = Bytes::from_static(chunk.as_bytes());
            assert_eq!(splitter.skim(&chunk, &mut out, |lines| !lines.contains(&b'r')), passed);
        }
        splitter.feed(&Bytes::from_static(b"{\"half"), &mut out, |_| Verdict::Pass);
        assert_eq!(splitter.skim(&Bytes::from_static(b"\"}\n"), &mut out, |_| true), 0);
    }

    #[test]
    fn lines_that_are_too_large_pass_without_a_look() {
        let stream = "error\n0123456789\nerror\n0123456789";
        for size in 1..=stream.len() {
            let (out, seen, left, oversized) = run(stream.as_bytes(), size, 8);
            assert_eq!(String::from_utf8_lossy(&out), "<replaced>\n0123456789\n<replaced>\n", "{size}");
            assert_eq!((seen.len(), left.as_deref(), oversized), (2, Some(&b"0123456789"[..]), 1), "{size}");
        }
    }

    /// Found by fuzzing: in small chunks the line after it passed without a look.
    #[test]
    fn a_blank_line_that_is_too_large_hides_nothing() {
        let stream = "          \nerror\n";
        for size in 1..=stream.len() {
            let (out, seen, left, oversized) = run(stream.as_bytes(), size, 8);
            assert_eq!(String::from_utf8_lossy(&out), "          \n<replaced>\n", "{size}");
            assert_eq!((seen.len(), left, oversized), (1, None, 1), "{size}");
        }
    }

    proptest! {
        #[test]
        fn chunks_make_no_difference(
            pieces in prop::collection::vec(prop::sample::select(vec!["\n", "\r\n", " ", "a", "error\n", "fatal\n", "{}", "\n\n"]), 0..24),
            size in 1usize..9,
            max in 4usize..32,
        ) {
            let stream = pieces.concat();
            let (out, seen, left, oversized) = run(stream.as_bytes(), usize::MAX, max);
            prop_assert_eq!(&run(stream.as_bytes(), size, max), &(out.clone(), seen, left.clone(), oversized));
            // Nor does it make one whether what is clean is looked at, but for what is seen.
            let is_clean = |bytes: &[u8]| !bytes.contains(&b'r') && !bytes.contains(&b'f');
            let skimmed = run_asking(stream.as_bytes(), size, max, is_clean);
            prop_assert_eq!((skimmed.0, skimmed.2, skimmed.3), (out, left, oversized));
        }
    }
}
