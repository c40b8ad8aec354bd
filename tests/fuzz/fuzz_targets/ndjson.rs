//! Any stream of lines: how it was cut into chunks changes neither the lines that are seen nor the bytes that go out.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use speechgate::wire::Verdict;
use speechgate::wire::ndjson::Splitter;
use std::collections::VecDeque;

fuzz_target!(|data: &[u8]| {
    let Some((&size, stream)) = data.split_first() else { return };
    for (most, replacing) in [(usize::MAX, false), (usize::MAX, true), (40, true)] {
        let size = usize::from(size) % 17 + 1;
        let whole = run(stream, stream.len().max(1), most, replacing, |_| false);
        assert_eq!(whole, run(stream, size, most, replacing, |_| false));
        assert_eq!(whole, run(stream, 1, most, replacing, |_| false));
        // Whether lines are looked at that no verdict changes makes no difference, but for what is seen.
        let skimmed = run(stream, size, most, replacing, |bytes| !bytes.contains(&b'!') && !bytes.contains(&b'e'));
        assert_eq!((&skimmed.1, skimmed.2), (&whole.1, whole.2));
        if !replacing {
            assert_eq!(whole.1, stream, "what passes is not changed");
        }
    }
});

fn run(
    stream: &[u8],
    size: usize,
    most: usize,
    replacing: bool,
    clean: fn(&[u8]) -> bool,
) -> (Vec<Vec<u8>>, Vec<u8>, u64) {
    let (mut splitter, mut out, mut lines) = (Splitter::new(most), VecDeque::new(), Vec::new());
    for chunk in stream.chunks(size) {
        let chunk = Bytes::copy_from_slice(chunk);
        let passed = splitter.skim(&chunk, &mut out, clean);
        splitter.feed(&chunk.slice(passed..), &mut out, |line| {
            lines.push(line.to_vec());
            match line {
                _ if !replacing => Verdict::Pass,
                _ if line.contains(&b'!') => Verdict::End(Bytes::from_static(b"<end>")),
                _ if line.contains(&b'e') => Verdict::Replace(Bytes::from_static(b"<replaced>")),
                _ => Verdict::Pass,
            }
        });
    }
    let mut bytes: Vec<u8> = out.into_iter().flatten().collect();
    bytes.extend(splitter.finish().unwrap_or_default());
    (lines, bytes, splitter.oversized())
}
