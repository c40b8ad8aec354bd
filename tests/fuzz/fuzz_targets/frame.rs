//! Any bytes as WebSocket frames: a header is understood the same however late its bytes come, is written as it was
//! read, and text is valid exactly when it is UTF-8, in whatever pieces it comes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use speechgate::wire::frame::{MAX_HEADER, Sender, Utf8, apply_mask, parse};

fuzz_target!(|data: &[u8]| {
    for sender in [Sender::Client, Sender::Server] {
        let whole = parse(data, sender);
        for cut in 0..data.len().min(MAX_HEADER) {
            match parse(&data[..cut], sender) {
                Ok(None) => {}
                early => assert_eq!(early, whole, "after {cut} bytes"),
            }
        }
        if let Ok(Some((header, length))) = whole {
            let mut written = Vec::new();
            header.write(&mut written);
            assert_eq!(written, &data[..length]);
        }
    }
    let Some((&size, text)) = data.split_first() else { return };
    let mut utf8 = Utf8::default();
    let mut pieces = text.chunks(usize::from(size) % 7 + 1);
    let valid = pieces.all(|piece| utf8.feed(piece).is_ok()) && utf8.finish().is_ok();
    assert_eq!(valid, std::str::from_utf8(text).is_ok());

    let key = [size, 2, 3, 4];
    let (mut whole, mut parts) = (text.to_vec(), text.to_vec());
    apply_mask(&mut whole, key, 0);
    let at = text.len() / 3;
    apply_mask(&mut parts[..at], key, 0);
    apply_mask(&mut parts[at..], key, at as u64);
    assert_eq!(whole, parts);
});
