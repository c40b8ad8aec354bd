//! Gateway keys: generating, recognising and hashing them.
//!
//! A key is `sg_`, 40 random characters of base 62 (238 bits) and six of their CRC-32, so that secret scanners can tell a key
//! from a word. The configuration has the SHA-256 of the whole key, which is looked up in a table. The time of the lookup depends
//! on the hash, of which no attacker can choose a part, and so reveals nothing about how much of a key was right.

use super::path::decode;
use crate::config::types::KeyHash;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

/// The prefix of every key.
const PREFIX: &[u8] = b"sg_";

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The number of random characters, and of those of the checksum.
const RANDOM: usize = 40;
const CHECKSUM: usize = 6;

/// How many nested levels of escapes are decoded.
const LEVELS: usize = 5;

/// Something that looks like a key is treated as one from this length on: the rest may have been lost in transit.
const TELLING: usize = 32;

/// A new key; none when the system has no random bytes.
#[must_use]
pub fn make() -> Option<String> {
    let random = SystemRandom::new();
    let mut key = String::from_utf8_lossy(PREFIX).into_owned();
    while key.len() < PREFIX.len() + RANDOM {
        let mut bytes = [0; 64];
        random.fill(&mut bytes).ok()?;
        // 248 is four times the size of the alphabet; larger values would make some letters more frequent.
        let letters = bytes.iter().filter_map(|byte| ALPHABET.get(usize::from(*byte) % 62).filter(|_| *byte < 248));
        let room = PREFIX.len() + RANDOM - key.len();
        key.extend(letters.take(room).map(|letter| char::from(*letter)));
    }
    let checksum = checksum(key.as_bytes());
    key.push_str(&checksum);
    Some(key)
}

/// CRC-32 in base 62, most significant digit first.
fn checksum(key: &[u8]) -> String {
    let mut rest = crc32fast::hash(key) as usize;
    let mut places = [0; CHECKSUM];
    for place in places.iter_mut().rev() {
        *place = ALPHABET[rest % 62];
        rest /= 62;
    }
    places.iter().map(|place| char::from(*place)).collect()
}

/// The hash of a key, as in the configuration.
#[must_use]
pub fn hash(key: &[u8]) -> KeyHash {
    let mut hash = KeyHash::default();
    hash.iter_mut().zip(digest(&SHA256, key).as_ref()).for_each(|(to, from)| *to = *from);
    hash
}

/// The hash as text, as in the configuration.
#[must_use]
pub fn shown(hash: &KeyHash) -> String {
    let mut text = "sha256:".to_owned();
    for byte in hash {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Finds something in a text that is a gateway key or looks like one.
#[must_use]
pub fn find(text: &[u8]) -> Option<Range<usize>> {
    // What nearly every text is too short for needs no search.
    if text.len() < PREFIX.len() + TELLING {
        return None;
    }
    let mut from = 0;
    while let Some(at) = memchr::memmem::find(text.get(from..)?, PREFIX) {
        let start = from + at;
        let body = start + PREFIX.len();
        let length = text.get(body..)?.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        if length >= TELLING {
            // To the end of the word: something that follows a key without a separator may be the next key.
            let rest = text.get(body + length..)?.iter();
            let more = rest.take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
            return Some(start..body + length + more);
        }
        from = body;
    }
    None
}

/// The length of a generated key.
pub(crate) const LENGTH: usize = PREFIX.len() + RANDOM + CHECKSUM;

/// Whether a text begins with a key as [`make`] generates them, with a valid checksum.
pub(crate) fn begins_with_made(text: &[u8]) -> bool {
    let Some((random, sum)) = text.get(..LENGTH).and_then(|key| key.split_at_checked(LENGTH - CHECKSUM)) else {
        return false;
    };
    checksum(random).as_bytes() == sum
}

/// Whether a text contains one.
#[must_use]
pub fn is_in(text: &[u8]) -> bool {
    find(text).is_some()
}

/// Whether a part of a URL or the value of a field contains a key, with any escapes: cookies and page addresses are escaped like
/// URLs.
pub(crate) fn has_key(text: impl AsRef<[u8]>) -> bool {
    let mut current = Cow::Borrowed(text.as_ref());
    for _ in 0..LEVELS {
        if is_in(&current) {
            return true;
        }
        if !current.contains(&b'%') {
            return false;
        }
        let decoded = decode(&current);
        if *decoded == *current {
            return false;
        }
        current = Cow::Owned(decoded);
    }
    false
}

/// The key in the value of a field: alone, after a scheme such as `Bearer`, or as one half of `Basic`.
pub(crate) fn key_in(value: &[u8]) -> Option<Vec<u8>> {
    let plain = find(value).and_then(|range| value.get(range)).map(<[u8]>::to_vec);
    plain.or_else(|| {
        let pair = basic(value)?;
        find(&pair).and_then(|range| pair.get(range)).map(<[u8]>::to_vec)
    })
}

/// User and password of `Basic` credentials.
fn basic(value: &[u8]) -> Option<Vec<u8>> {
    let (scheme, pair) = value.split_at_checked(6)?;
    scheme.eq_ignore_ascii_case(b"basic ").then(|| BASE64.decode(pair.trim_ascii()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn keys_are_all_of_one_form_and_never_the_same() {
        let keys: BTreeSet<String> = (0..200).map(|_| make().expect("random bytes")).collect();
        assert_eq!(keys.len(), 200);
        let mut letters = BTreeSet::new();
        for key in &keys {
            assert_eq!(key.len(), 49, "{key}");
            let (random, sum) = key.split_at(43);
            assert!(random.starts_with("sg_") && key[3..].bytes().all(|byte| byte.is_ascii_alphanumeric()), "{key}");
            assert_eq!(checksum(random.as_bytes()), sum);
            assert_eq!(find(key.as_bytes()), Some(0..49));
            letters.extend(random[3..].bytes());
        }
        assert_eq!(letters.len(), 62, "every letter comes");
    }

    #[test]
    fn the_checksum_is_that_of_the_documentation() {
        assert_eq!(
            checksum(b"sg_0000000000000000000000000000000000000000"),
            checksum(&[&b"sg_"[..], &[b'0'; 40]].concat())
        );
        assert_eq!(checksum(b""), "000000");
        assert_eq!(checksum(b"123456789"), {
            // The standard check value of CRC-32 for these nine digits is 0xCBF43926.
            let (mut rest, mut text) = (0xCBF4_3926_usize, Vec::new());
            while rest > 0 {
                text.insert(0, char::from(ALPHABET[rest % 62]));
                rest /= 62;
            }
            text.into_iter().collect::<String>()
        });
    }

    #[test]
    fn the_hash_is_the_one_of_the_standard() {
        let text = shown(&hash(b"test"));
        assert_eq!(text, "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08");
    }

    #[test]
    fn what_looks_like_a_key_is_found_wherever_it_is() {
        let key = "sg_".to_owned() + &"a1B2".repeat(11) + "xy";
        for (text, found) in [
            (key.clone(), Some(0..49)),
            (format!("Bearer {key}"), Some(7..56)),
            (format!("xsg_ sg_{key}, sg_short"), Some(8..57)),
            (format!("{}\n", &key[..40]), Some(0..40)),
            ("sg_".to_owned(), None),
            ("sg_voice_not_found_in_the_workspace_any_more_at_all".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(find(text.as_bytes()), found, "{text}");
        }
    }
}
