//! Any stream of events: how it was cut into chunks changes neither the events that are seen nor the bytes that go out.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use speechgate::wire::Verdict;
use speechgate::wire::sse::{Event, Splitter, write_event};
use std::collections::VecDeque;

#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    events: Vec<(Option<String>, Option<Vec<u8>>)>,
    bytes: Vec<u8>,
    oversized: u64,
}

fuzz_target!(|data: &[u8]| {
    let Some((&size, stream)) = data.split_first() else { return };
    for (most, replacing) in [(usize::MAX, false), (usize::MAX, true), (40, true)] {
        let size = usize::from(size) % 17 + 1;
        let whole = run(stream, stream.len().max(1), most, replacing, |_| false);
        assert_eq!(whole, run(stream, size, most, replacing, |_| false));
        assert_eq!(whole, run(stream, 1, most, replacing, |_| false));
        // Whether events are looked at that no verdict changes makes no difference, but for what is seen.
        let skimmed = run(stream, size, most, replacing, |bytes| !bytes.contains(&b'!') && !bytes.contains(&b'e'));
        assert_eq!((&skimmed.bytes, skimmed.oversized), (&whole.bytes, whole.oversized));
        if !replacing {
            assert_eq!(whole.bytes, stream, "what passes is not changed");
        }
    }
    let text = String::from_utf8_lossy(stream).replace("\r\n", "\n").replace('\r', "\n");
    let written = write_event(Some("error"), &text);
    assert_eq!(Event::new(&written).data().as_deref(), Some(text.as_bytes()));
});

fn run(stream: &[u8], size: usize, most: usize, replacing: bool, clean: fn(&[u8]) -> bool) -> Outcome {
    let (mut splitter, mut out, mut outcome) = (Splitter::new(most), VecDeque::new(), Outcome::default());
    for chunk in stream.chunks(size) {
        let chunk = Bytes::copy_from_slice(chunk);
        let passed = splitter.skim(&chunk, &mut out, clean);
        splitter.feed(&chunk.slice(passed..), &mut out, |event| {
            let data = event.data().map(|data| data.into_owned());
            let kind = event.kind().map(|kind| kind.into_owned());
            let verdict = match data.as_deref() {
                Some(data) if replacing && data.contains(&b'!') => Verdict::End(Bytes::from_static(b"<end>")),
                Some(data) if replacing && data.contains(&b'e') => Verdict::Replace(Bytes::from_static(b"<replaced>")),
                _ => Verdict::Pass,
            };
            outcome.events.push((kind, data));
            verdict
        });
    }
    outcome.bytes = out.into_iter().flatten().collect();
    outcome.bytes.extend(splitter.finish().unwrap_or_default());
    outcome.oversized = splitter.oversized();
    outcome
}
