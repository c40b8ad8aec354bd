//! Any path: normalising twice changes nothing more, nothing climbs out of its route, and no server further on that
//! decodes once more climbs out either.
#![no_main]

use libfuzzer_sys::fuzz_target;
use speechgate::proxy::path::{normalise, upstream_target};

fuzz_target!(|raw: &str| {
    let Ok(normal) = normalise(raw) else { return };
    let path = &*normal.path;
    assert!(
        path.starts_with('/') && path.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b'\\'),
        "{path:?}"
    );
    assert!(!climbs(path), "{path:?}");
    let again = normalise(path).expect("what is normal is accepted");
    assert_eq!(again.path, path, "idempotent");
    if let Ok(target) = upstream_target("/base", path, None, &[]) {
        assert!(target.path().starts_with("/base/"), "{target}");
        let mut decoded = target.path().to_owned();
        for _ in 0..3 {
            decoded = decode(&decoded);
            assert!(!climbs(&decoded), "{target} is {decoded:?} to a server that decodes it");
        }
    }
});

/// Whether any server could see a dot segment.
fn climbs(path: &str) -> bool {
    path.split(['/', '\\']).any(|segment| matches!(segment.split(';').next(), Some("." | "..")))
}

/// One round of percent-decoding.
fn decode(text: &str) -> String {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        let pair = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()).filter(|_| byte == b'%') {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
