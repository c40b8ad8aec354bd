//! Newline-separated JSON: a splitter for relays.

use super::cut::{Piece, Seam, Units, Verdict};
use bytes::Bytes;
use std::collections::VecDeque;

/// Finds the lines of a stream. Blank lines pass at once, others when they are whole.
pub type Splitter = super::cut::Splitter<Lines>;

/// Where lines begin and end.
#[derive(Debug, Default)]
pub struct Lines {
    /// The line so far holds more than white space.
    begun: bool,
}

impl Units for Lines {
    fn whole(&self, chunk: &[u8]) -> usize {
        if self.begun { 0 } else { memchr::memrchr(b'\n', chunk).map_or(0, |end| end + 1) }
    }

    /// White space in front of a line is no part of it.
    fn seam(&self, torn: bool) -> Seam {
        if torn && self.begun { Seam::Inside } else { Seam::Between }
    }
}

impl Splitter {
    /// Takes the next chunk; what may go out is put at the end of `out`. `judge` sees every line that is not blank once,
    /// whole, without its line end. A replacement must bring its own.
    pub fn feed(&mut self, chunk: &Bytes, out: &mut VecDeque<Bytes>, mut judge: impl FnMut(&[u8]) -> Verdict) {
        self.feed_pieces(chunk, out, |piece| match piece {
            Piece::Whole(line) => judge(line),
            Piece::Part { .. } => Verdict::Pass,
        });
    }

    /// The same where `judge` sees lines that are too large too, in parts and with their line ends.
    pub fn feed_pieces(
        &mut self,
        chunk: &Bytes,
        out: &mut VecDeque<Bytes>,
        mut judge: impl FnMut(Piece<'_>) -> Verdict,
    ) {
        if self.cutter.ended() {
            return;
        }
        let mut judge = |piece: Piece<'_>| match piece {
            Piece::Whole(line) => judge(Piece::Whole(line.trim_ascii_end())),
            Piece::Part { .. } => judge(piece),
        };
        let mut cut = self.cutter.cut(chunk, out);
        let mut at = 0;
        while let Some(rest) = chunk.get(at..).filter(|rest| !rest.is_empty()) {
            let end = memchr::memchr(b'\n', rest);
            let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            self.units.begun = self.units.begun || !line.trim_ascii().is_empty();
            let Some(end) = end else { break };
            at += end + 1;
            if std::mem::take(&mut self.units.begun) {
                cut.unit(at, 0, &mut judge);
            } else {
                cut.blank(at, &mut judge);
            }
            if cut.ended() {
                break;
            }
        }
        cut.finish(&mut judge);
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
