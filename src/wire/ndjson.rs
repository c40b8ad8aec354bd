//! Newline-separated JSON: a splitter for relays.

use super::cut::{Cutter, Verdict};
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

    fn run(stream: &[u8], size: usize, max: usize) -> (Vec<u8>, Vec<String>, Option<Vec<u8>>, u64) {
        let (mut splitter, mut out, mut seen) = (Splitter::new(max), VecDeque::new(), Vec::new());
        for chunk in stream.chunks(size) {
            splitter.feed(&Bytes::copy_from_slice(chunk), &mut out, |line| {
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
    fn lines_that_are_too_large_pass_without_a_look() {
        let stream = "error\n0123456789\nerror\n0123456789";
        for size in 1..=stream.len() {
            let (out, seen, left, oversized) = run(stream.as_bytes(), size, 8);
            assert_eq!(String::from_utf8_lossy(&out), "<replaced>\n0123456789\n<replaced>\n0123456789", "{size}");
            assert_eq!((seen.len(), left.as_deref(), oversized), (2, Some(&b""[..]), 2), "{size}");
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
            prop_assert_eq!(run(stream.as_bytes(), size, max), run(stream.as_bytes(), usize::MAX, max));
        }
    }
}
