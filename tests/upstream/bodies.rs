//! Bodies of failures: read within limits, decoded whatever the label says.

use crate::support::{answering, client, patient, provider, upstream};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http::HeaderValue;
use http::header::CONTENT_ENCODING;
use http_body_util::Full;
use proptest::prelude::*;
use speechgate::upstream::{Capped, Decoded, Limits, decode, read_capped};
use std::io::Write;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

const MOST: usize = 64 * 1024;

fn text() -> String {
    format!(r#"{{"error":{{"code":"rate_limited","message":"{}"}}}}"#, "slow down ".repeat(20))
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::default());
    writer.write_all(data).expect("memory");
    writer.finish().expect("memory")
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut writer = ZlibEncoder::new(Vec::new(), Compression::default());
    writer.write_all(data).expect("memory");
    writer.finish().expect("memory")
}

fn raw_deflate(data: &[u8]) -> Vec<u8> {
    let mut writer = DeflateEncoder::new(Vec::new(), Compression::default());
    writer.write_all(data).expect("memory");
    writer.finish().expect("memory")
}

fn zstd(data: &[u8]) -> Vec<u8> {
    let mut coded = vec![0; zstd_safe::compress_bound(data.len())];
    let length = zstd_safe::compress(&mut coded[..], data, 1).expect("room");
    coded.truncate(length);
    coded
}

/// [`text`] as the reference encoder makes it.
const BROTLI: &[u8] = &[
    27, 245, 0, 96, 156, 9, 118, 76, 98, 18, 88, 42, 246, 139, 35, 100, 78, 111, 145, 190, 61, 178, 205, 162, 195, 54,
    167, 190, 238, 26, 68, 196, 237, 141, 219, 216, 216, 87, 157, 130, 32, 244, 130, 230, 59, 37, 129, 129, 169, 139,
    39, 51, 141, 205, 28, 170, 38, 1, 11, 196, 244, 4, 229, 121, 240, 59, 123, 180, 10,
];

/// Ten megabytes of zeros.
const BROTLI_BOMB: &[u8] = &[
    203, 255, 255, 63, 248, 39, 0, 226, 177, 64, 32, 247, 254, 47, 255, 255, 63, 240, 79, 0, 196, 97, 17, 128, 238,
    253, 7,
];

fn decoded(body: &[u8], encoding: &str) -> Decoded {
    let encoding = (!encoding.is_empty()).then(|| HeaderValue::from_str(encoding).expect("valid"));
    decode(Bytes::copy_from_slice(body), encoding.as_ref(), MOST)
}

#[test]
fn every_coding_is_undone() {
    let text = text();
    let plain = text.as_bytes();
    let two_frames =
        [zstd(&plain[..100]), vec![0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9], zstd(&plain[100..])].concat();
    let two_members = [gzip(&plain[..100]), gzip(&plain[100..])].concat();
    let rows: &[(&str, Vec<u8>)] = &[
        ("", plain.to_vec()),
        ("identity", plain.to_vec()),
        ("gzip", gzip(plain)),
        ("GZip", gzip(plain)),
        ("x-gzip", gzip(plain)),
        ("gzip", two_members),
        // Padding behind the last member, and what is no member.
        ("gzip", [gzip(plain), vec![0; 64]].concat()),
        ("gzip", [gzip(plain), b"\r\n".to_vec()].concat()),
        ("deflate", zlib(plain)),
        ("deflate", raw_deflate(plain)),
        ("br", BROTLI.to_vec()),
        ("zstd", zstd(plain)),
        ("zstd", two_frames),
        ("deflate, gzip", gzip(&zlib(plain))),
        ("gzip, identity, br", gzip(plain)),
        ("zstd,gzip , deflate", zlib(&gzip(&zstd(plain)))),
        // Labels that are wrong or missing.
        ("gzip", plain.to_vec()),
        ("br", plain.to_vec()),
        ("deflate", plain.to_vec()),
        ("zstd", plain.to_vec()),
        ("br, gzip", plain.to_vec()),
        ("", gzip(plain)),
        ("", zstd(plain)),
        ("identity", gzip(plain)),
    ];
    for (encoding, body) in rows {
        let expected = if *encoding == "gzip, identity, br" {
            // The outer coding is not there, and what is there is not text.
            Decoded { bytes: body.clone().into(), undecodable: true, ..decoded(body, encoding) }
        } else {
            Decoded { bytes: text.clone().into(), ..Decoded::default() }
        };
        assert_eq!(decoded(body, encoding), expected, "{encoding:?}");
    }
}

#[test]
fn undecodable_bodies_are_unchanged() {
    for (encoding, body) in [
        ("snappy", &b"\x01\x02\x03"[..]),
        ("gzip, gzip, gzip, gzip", b"\x1f\x8b"),
        ("gzip", b"\x00\x01\x02"),
        ("gzip", b"\x1f\x8b\xff\xff\xff"),
        ("zstd", b"\x28\xb5\x2f\xfd"),
        ("zstd", b"\xff\xff"),
    ] {
        let found = decoded(body, encoding);
        assert!(found.undecodable && found.bytes == body, "{encoding}: {found:?}");
    }
    assert_eq!(decoded(b"", "gzip"), Decoded::default());
}

#[test]
fn bombs_stop_at_the_bound() {
    let zeros = vec![0; 10 << 20];
    let twice = gzip(&gzip(&zeros));
    for (encoding, bomb) in [
        ("gzip", gzip(&zeros)),
        ("deflate", zlib(&zeros)),
        ("br", BROTLI_BOMB.to_vec()),
        ("zstd", zstd(&zeros)),
        ("gzip, gzip", twice),
        ("", zeros.clone()),
    ] {
        let found = decoded(&bomb, encoding);
        assert_eq!(found.bytes, zeros[..MOST], "{encoding}");
        assert!(found.truncated && !found.undecodable, "{encoding}");
    }
}

#[test]
fn a_broken_tail_keeps_what_was_decoded_before() {
    // Long and without patterns, so that half of it decodes to a good part of the text.
    let text: String = (0..2000_u32).map(|n| format!("{} ", n.wrapping_mul(2_654_435_761))).collect();
    let whole = text.as_bytes();
    for (encoding, coded) in [("gzip", gzip(whole)), ("deflate", zlib(whole))] {
        let found = decoded(&coded[..coded.len() / 2], encoding);
        assert!(found.incomplete && !found.undecodable, "{encoding}");
        assert!(found.bytes.len() > 1000 && whole.starts_with(&found.bytes), "{encoding}");
    }
    // Zstandard goes by blocks of at most 128 KiB: the first is whole.
    let long = text.repeat(10);
    let coded = zstd(long.as_bytes());
    let found = decode(coded[..coded.len() - 1].to_vec().into(), Some(&HeaderValue::from_static("zstd")), 1 << 20);
    assert!(found.incomplete && found.bytes.len() >= 100_000 && long.as_bytes().starts_with(&found.bytes));
    let found = decoded(&BROTLI[..BROTLI.len() - 4], "br");
    assert!(found.incomplete && !found.bytes.is_empty() && self::text().as_bytes().starts_with(&found.bytes));
}

proptest! {
    #[test]
    fn any_bytes_with_any_coding_stay_within_the_bound(
        mut body in proptest::collection::vec(any::<u8>(), 0..600),
        prefix in proptest::sample::select(vec![
            &b""[..], b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", b"\x28\xb5\x2f\xfd\x24\x20", b"\x78\x9c", b"\x1b\xf5\x00",
        ]),
        encoding in proptest::sample::select(vec!["", "gzip", "deflate", "br", "zstd", "gzip, br", "zstd, zstd, zstd"]),
        most in 0_usize..300,
    ) {
        body.splice(0..0, prefix.iter().copied());
        let encoding = HeaderValue::from_static(encoding);
        let found = decode(body.into(), Some(&encoding), most);
        prop_assert!(found.bytes.len() <= most);
    }

    #[test]
    fn damaged_data_never_costs_more_than_the_bound(
        at in any::<prop::sample::Index>(), with in any::<u8>(), cut in any::<prop::sample::Index>(),
        which in 0_usize..4,
    ) {
        let text = text();
        let mut coded = [gzip(text.as_bytes()), zlib(text.as_bytes()), BROTLI.to_vec(), zstd(text.as_bytes())][which].clone();
        let encoding = HeaderValue::from_static(["gzip", "deflate", "br", "zstd"][which]);
        let length = coded.len();
        coded[at.index(length)] = with;
        coded.truncate(cut.index(length) + 1);
        prop_assert!(decode(coded.into(), Some(&encoding), MOST).bytes.len() <= MOST);
    }
}

#[tokio::test]
async fn a_small_body_is_not_copied() {
    let body = Bytes::from(text());
    let read = read_capped(Full::new(body.clone()), None, Limits::default()).await;
    assert_eq!((read.bytes.as_ptr(), read.bytes.len()), (body.as_ptr(), body.len()));
    assert_eq!(read, Capped { bytes: body, ..Capped::default() });
}

/// Reads the body of what a scripted provider answers.
async fn capped(answer: impl Into<Bytes>, limits: Limits) -> Capped {
    let address = answering(answer).await;
    let exchange = client().send(&upstream(address), &patient(), crate::support::get()).await.expect("a head");
    let (head, body) = exchange.response.into_parts();
    read_capped(body, head.headers.get(CONTENT_ENCODING), limits).await
}

#[tokio::test]
async fn reading_stops_at_the_limits() {
    let whole = capped("HTTP/1.1 429 Slow\r\nContent-Length: 4\r\n\r\nslow", Limits::default()).await;
    assert_eq!(whole, Capped { bytes: "slow".into(), ..Capped::default() });

    let chunks = "HTTP/1.1 429 S\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nsl\r\n2\r\now\r\n0\r\n\r\n";
    assert_eq!(capped(chunks, Limits::default()).await.bytes, "slow");

    let cut = capped("HTTP/1.1 500 X\r\nContent-Length: 9\r\n\r\nhalf", Limits::default()).await;
    assert_eq!(cut, Capped { bytes: "half".into(), incomplete: true, ..Capped::default() });

    let limits = Limits { bytes: 10, ..Limits::default() };
    for (length, truncated) in [(9, false), (10, false), (11, true), (100_000, true)] {
        let answer = format!("HTTP/1.1 500 X\r\nContent-Length: {length}\r\n\r\n{}", "x".repeat(length));
        let read = capped(answer, limits).await;
        assert_eq!((read.bytes.len(), read.truncated), (length.min(10), truncated), "{length}");
    }

    let coded = gzip(&vec![b'x'; 1 << 20]);
    let mut answer =
        format!("HTTP/1.1 500 X\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", coded.len()).into_bytes();
    answer.extend_from_slice(&coded);
    let read = capped(answer, Limits::default()).await;
    assert_eq!((read.bytes.len(), read.truncated, read.incomplete), (MOST, true, false));
}

#[tokio::test]
async fn a_body_that_dribbles_is_cut_in_total_time() {
    let address = provider(|_, mut stream| async move {
        crate::support::head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 500 X\r\n\r\n").await;
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let exchange = client().send(&upstream(address), &patient(), crate::support::get()).await.expect("a head");
    let limits = Limits { time: Duration::from_millis(200), ..Limits::default() };
    let read = read_capped(exchange.response.into_body(), None, limits).await;
    assert!(read.incomplete && !read.truncated && !read.bytes.is_empty());
}
