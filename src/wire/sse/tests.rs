//! Streams as text, cut in every way.

use super::super::cut::{ALL_HELD, MOST_HELD};
use super::*;
use proptest::prelude::*;

/// What comes out of a stream cut in pieces of these sizes: bytes, the events seen, what was left, how many too large.
type Outcome = (Vec<u8>, Vec<(Option<String>, Option<Vec<u8>>)>, Option<Vec<u8>>, u64);

fn run(stream: &[u8], sizes: &[usize], max: usize) -> Outcome {
    run_asking(stream, sizes, max, |_| false)
}

/// The same when events that are `clean` are not looked at one by one.
fn run_asking(stream: &[u8], sizes: &[usize], max: usize, clean: fn(&[u8]) -> bool) -> Outcome {
    let (mut splitter, mut out, mut seen) = (Splitter::new(max), VecDeque::new(), Vec::new());
    let mut rest = stream;
    let mut sizes = sizes.iter().copied().cycle();
    while !rest.is_empty() {
        let (chunk, later) = rest.split_at(sizes.next().unwrap_or(rest.len()).clamp(1, rest.len()));
        let chunk = Bytes::copy_from_slice(chunk);
        let passed = splitter.skim(&chunk, &mut out, clean);
        splitter.feed(&chunk.slice(passed..), &mut out, |event| {
            seen.push((event.kind().map(Cow::into_owned), event.data().map(Cow::into_owned)));
            match event.kind().as_deref() {
                Some("error") => Verdict::Replace(Bytes::from_static(b"<replaced>")),
                Some("fatal") => Verdict::End(Bytes::from_static(b"<end>")),
                _ => Verdict::Pass,
            }
        });
        rest = later;
    }
    let left = splitter.finish().map(|left| left.to_vec());
    (out.into_iter().flatten().collect(), seen, left, splitter.oversized())
}

#[test]
fn streams_of_every_dialect_are_read() {
    for (stream, passed, data, left) in [
        (&b"data: a\n\n"[..], &b"data: a\n\n"[..], &["a"][..], None),
        (b"data:a\r\rdata: b\r\r", b"data:a\r\rdata: b\r\r", &["a", "b"], None),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", b"data: a\r\n\r\ndata: b\r\n\r\n", &["a", "b"], None),
        (b"data: a\ndata:  b\ndata\n\n", b"data: a\ndata:  b\ndata\n\n", &["a\n b\n"], None),
        (b"\xef\xbb\xbfdata: a\n\n", b"\xef\xbb\xbfdata: a\n\n", &["a"], None),
        (b"\xef\xbb\xbf: hi\ndata: a\n\n", b"\xef\xbb\xbf: hi\ndata: a\n\n", &["a"], None),
        (b"\xef\xbbdata: a\n\n", b"\xef\xbbdata: a\n\n", &["-"], None),
        (b": ping\n\n:\n\ndata: a\n\n\n\n", b": ping\n\n:\n\ndata: a\n\n\n\n", &["a"], None),
        (b"id: 1\nretry: 5\n:c\ndata: a\n\n", b"id: 1\nretry: 5\n:c\ndata: a\n\n", &["a"], None),
        (b"event: x\n\n", b"event: x\n\n", &["-"], None),
        (b"data: a\n\ndata: half", b"data: a\n\n", &["a"], Some("data: half")),
        (b"data: half\n", b"", &[], Some("data: half\n")),
        (b"data: a\n\n: half a comm", b"data: a\n\n: half a comm", &["a"], None),
        (b"event: error\ndata: e\n\ndata: b\n\n", b"<replaced>data: b\n\n", &["e", "b"], None),
        (
            b"data: a\n\nevent: error\r\ndata: e\r\n\r\ndata: b\n\n",
            b"data: a\n\n<replaced>data: b\n\n",
            &["a", "e", "b"],
            None,
        ),
        (b"event: error\rdata: e\r\r\n\ndata: b\n\n", b"<replaced>\ndata: b\n\n", &["e", "b"], None),
        (b"data: a\n\nevent: fatal\ndata: f\n\ndata: b\n\ndata: c", b"data: a\n\n<end>", &["a", "f"], None),
        (b"event: error\nevent: fine\ndata: a\n\n", b"event: error\nevent: fine\ndata: a\n\n", &["a"], None),
        (b"\xef: no comment\nevent: error\n\n", b"<replaced>", &["-"], None),
        (b"", b"", &[], None),
    ] {
        for size in 1..=stream.len().max(1) {
            let (out, seen, rest, _) = run(stream, &[size], 1024);
            let seen: Vec<String> = seen
                .into_iter()
                .map(|(_, data)| data.map_or("-".to_owned(), |data| String::from_utf8(data).expect("text")))
                .collect();
            let text = String::from_utf8_lossy(stream);
            assert_eq!(out, passed, "{text} in {size}");
            assert_eq!(seen, data, "{text} in {size}");
            assert_eq!(rest.as_deref(), left.map(str::as_bytes), "{text} in {size}");
        }
    }
}

#[test]
fn what_needs_no_look_passes_at_once_and_the_rest_when_it_is_whole() {
    let (mut splitter, mut out) = (Splitter::new(99), VecDeque::new());
    for (chunk, passed) in [
        (": pi", ": pi"),
        ("ng", "ng"),
        ("\n\nda", "\n\n"),
        ("ta: a\n", ""),
        (": inside", ""),
        ("\n\r", "data: a\n: inside\n\r"),
        ("\n", "\n"),
        ("data: b\n\ndata: c\n\ndata: d", "data: b\n\ndata: c\n\n"),
    ] {
        splitter.feed(&Bytes::copy_from_slice(chunk.as_bytes()), &mut out, |_| Verdict::Pass);
        // Never more than what was held and one slice of the chunk itself.
        assert!(out.len() <= 2, "{chunk:?}");
        assert_eq!(out.drain(..).flatten().collect::<Vec<u8>>(), passed.as_bytes(), "{chunk:?}");
    }
    assert_eq!(splitter.finish().as_deref(), Some(&b"data: d"[..]));
}

#[test]
fn an_untouched_chunk_is_not_copied() {
    let chunk = Bytes::from_static(b"data: a\n\nevent: b\ndata: c\n\n: ping\n\n");
    let mut out = VecDeque::new();
    Splitter::new(99).feed(&chunk, &mut out, |_| Verdict::Pass);
    assert_eq!(out.len(), 1);
    assert_eq!(out.front().map(|bytes| bytes.as_ptr()), Some(chunk.as_ptr()));
}

#[test]
fn clean_events_pass_as_a_whole() {
    for (stream, passed) in [
        (&b"data: a\n\ndata: b\n\n"[..], 18),
        (b"data: a\r\n\r\n: ping\r\n\r\n", 21),
        (b"data: a\n\ndata: b\ndata: c\n", 9),
        (b"data: a\n\r\n\ndata", 11),
        (b"\n\n: a\n", 2),
        (b"data: a\r\r", 0),
        (b"data: a\n", 0),
        (b"event: error\n\n", 0),
        (b"data: longer than is looked at\n\n", 0),
    ] {
        let (mut splitter, mut out) = (Splitter::new(30), VecDeque::new());
        // The first bytes of all may be a byte order mark.
        splitter.feed(&Bytes::from_static(b"\n"), &mut out, |_| Verdict::Pass);
        out.clear();
        assert_eq!(splitter.skim(&Bytes::from_static(stream), &mut out, is_clean), passed);
        assert_eq!(out.into_iter().flatten().collect::<Vec<u8>>(), &stream[..passed]);
    }
}

fn is_clean(bytes: &[u8]) -> bool {
    memchr::memmem::find(bytes, b"event").is_none()
}

#[test]
fn events_that_are_too_large_pass_without_a_look() {
    let stream =
        b"data: a\n\nevent: error\ndata: 0123456789\n\nevent: error\ndata: b\n\nevent: error\ndata: 0123456789";
    for size in 1..=stream.len() {
        let (out, seen, left, oversized) = run(stream, &[size], 23);
        let end = b"data: a\n\nevent: error\ndata: 0123456789\n\n<replaced>";
        assert_eq!(out, end, "{size}");
        assert_eq!(seen.len(), 2, "{size}");
        assert_eq!(oversized, 1, "{size}");
        assert_eq!(left.as_deref(), Some(&b"event: error\ndata: 0123456789"[..]), "{size}");
    }
}

#[test]
fn what_is_out_of_an_event_is_known_wherever_it_is_cut() {
    let feed = |splitter: &mut Splitter, out: &mut VecDeque<Bytes>, text: &[u8]| {
        splitter.feed(&Bytes::copy_from_slice(text), out, |_| Verdict::Pass);
    };
    for (stream, seam) in [
        (&b""[..], Seam::Between),
        (b"data: a\n\n", Seam::Between),
        (b"data: a", Seam::Between),
        (b"data: a\n\n: b", Seam::Comment),
        (b": b\r", Seam::Between),
        (b": b\r\n:", Seam::Comment),
        (b"data: a\n: b", Seam::Between),
    ] {
        let (mut splitter, mut out) = (Splitter::new(30), VecDeque::new());
        feed(&mut splitter, &mut out, stream);
        assert_eq!(splitter.seam(), seam, "{}", String::from_utf8_lossy(stream));
    }
    let (mut splitter, mut out) = (Splitter::new(30), VecDeque::new());
    let half = vec![b'a'; MOST_HELD / 2 + 1];
    feed(&mut splitter, &mut out, &half);
    assert_eq!((splitter.seam(), out.len()), (Seam::Between, 0), "what is large is held");
    feed(&mut splitter, &mut out, &half);
    assert_eq!((splitter.seam(), out.len(), splitter.oversized()), (Seam::Inside, 1, 1), "what is too large passes");
    feed(&mut splitter, &mut out, b"\n\n");
    assert_eq!((splitter.seam(), splitter.oversized()), (Seam::Between, 1));
}

/// Many streams at once hold no more than one bound together: what is beyond it passes in parts, as it comes.
#[test]
fn all_streams_together_hold_no_more_than_one_bound() {
    let chunk = Bytes::from(vec![b'a'; MOST_HELD]);
    let mut streams: Vec<(Splitter, VecDeque<Bytes>)> = Vec::new();
    for _ in 0..=ALL_HELD / MOST_HELD {
        let (mut splitter, mut out) = (Splitter::new(30), VecDeque::new());
        splitter.feed(&chunk, &mut out, |_| Verdict::Pass);
        streams.push((splitter, out));
    }
    let held = |streams: &[(Splitter, VecDeque<Bytes>)]| streams.iter().filter(|(_, out)| out.is_empty()).count();
    assert!(held(&streams) * MOST_HELD <= ALL_HELD && held(&streams) > 0, "{} streams hold all", held(&streams));
    // A stream that ends makes room.
    streams.clear();
    let (mut splitter, mut out) = (Splitter::new(30), VecDeque::new());
    splitter.feed(&chunk, &mut out, |_| Verdict::Pass);
    assert_eq!(out.len(), 0);
}

#[test]
fn the_size_of_an_event_does_not_depend_on_where_its_last_line_end_is_cut() {
    let stream = b"event: error\r\n\r\n";
    for size in 1..=stream.len() {
        assert_eq!(run(stream, &[size], 15), (b"<replaced>".to_vec(), vec![(Some("error".to_owned()), None)], None, 0));
        assert_eq!(run(stream, &[size], 14), (stream.to_vec(), vec![], None, 1));
    }
}

#[test]
fn fields_are_read() {
    let event = Event::new(b"id: 7\nid: a\0b\nretry: 15\nretry:x\nevent:\nother\n\n");
    assert_eq!((event.id(), event.retry(), event.kind(), event.data()), (Some(&b"7"[..]), None, None, None));
    assert_eq!(Event::new(b"retry:15").retry(), Some(15));
    assert_eq!(event.fields().count(), 6);
}

proptest! {
    #[test]
    fn chunks_make_no_difference(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "\r", "\n", "\r\n", "\n\n", ":", ": ping\n", "data: x\n", "data", "event: error\n", "event: fatal\r", "id: 1\r\n", "x",
                "\u{feff}", "data: {\"a\":1}\n\n",
            ]),
            0..24,
        ),
        sizes in prop::collection::vec(1usize..9, 1..6),
        max in 4usize..64,
    ) {
        let stream = pieces.concat().into_bytes();
        let (out, seen, left, oversized) = run(&stream, &[usize::MAX], max);
        prop_assert_eq!(&run(&stream, &sizes, max), &(out.clone(), seen, left.clone(), oversized));
        // Nor does it make one whether what is clean is looked at, but for what is seen.
        let skimmed = run_asking(&stream, &sizes, max, is_clean);
        prop_assert_eq!((skimmed.0, skimmed.2, skimmed.3), (out, left, oversized));
    }

    #[test]
    fn without_a_verdict_every_byte_passes(stream in prop::collection::vec(any::<u8>(), 0..200), size in 1usize..32) {
        let (mut splitter, mut out) = (Splitter::new(40), VecDeque::new());
        for chunk in stream.chunks(size) {
            splitter.feed(&Bytes::copy_from_slice(chunk), &mut out, |_| Verdict::Pass);
        }
        let mut passed: Vec<u8> = out.into_iter().flatten().collect();
        passed.extend(splitter.finish().unwrap_or_default());
        prop_assert_eq!(passed, stream);
    }

    #[test]
    fn what_is_written_is_read_again(kind in "[a-z]{1,8}", data in "[a-z:\\n\\r ]{0,40}") {
        let written = write_event(Some(&kind), &data);
        let (out, seen, left, _) = run(&written, &[3], 1 << 20);
        let wanted = data.replace("\r\n", "\n").replace('\r', "\n");
        if kind != "error" && kind != "fatal" {
            prop_assert_eq!(&out[..], &written[..]);
        }
        prop_assert_eq!(seen, vec![(Some(kind), Some(wanted.into_bytes()))]);
        prop_assert_eq!(left, None);
    }
}
