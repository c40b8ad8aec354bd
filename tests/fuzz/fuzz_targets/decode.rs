//! Any bytes under any label of a content coding: the result is within its bound and the same every time.
#![no_main]

use http::HeaderValue;
use libfuzzer_sys::fuzz_target;
use speechgate::upstream::decode;

const LABELS: [Option<&str>; 8] =
    [None, Some("gzip"), Some("deflate"), Some("br"), Some("zstd"), Some("gzip, br"), Some("x"), Some("")];

fuzz_target!(|data: &[u8]| {
    let Some((&first, body)) = data.split_first() else { return };
    let label = LABELS[usize::from(first) % LABELS.len()].map(HeaderValue::from_static);
    let most = [0, 1, 100, 64 * 1024][usize::from(first) / 64];
    let decoded = decode(body.to_vec().into(), label.as_ref(), most);
    assert!(decoded.bytes.len() <= most, "{} bytes past {most}", decoded.bytes.len());
    assert_eq!(decoded, decode(body.to_vec().into(), label.as_ref(), most));
});
