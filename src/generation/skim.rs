//! Members of JSON messages found by their names, without a parser: what a message with audio costs.
//!
//! A name in its quotes cannot stand inside a string, where its first quote would be escaped, so what a colon follows is a member.
//! Members of the same name deeper inside are not told apart.

use crate::canon::generations::{AudioMember, AudioPlace};
use memchr::memmem::Finder;
use memchr::{memchr, memchr2};
use std::borrow::Cow;

/// The audio in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skimmed<'t> {
    /// In base64, as it stands there.
    pub coded: &'t [u8],
    /// What stands before and behind it.
    pub around: (&'t [u8], &'t [u8]),
}

/// The audio in a message, if there is any.
#[must_use]
pub fn skim<'t>(places: &[AudioPlace], text: &'t [u8]) -> Option<Skimmed<'t>> {
    places.iter().find_map(|place| match place {
        AudioPlace::Member(member) => of(member, text),
        AudioPlace::Body | AudioPlace::Binary => None,
    })
}

fn of<'t>(member: &AudioMember, text: &'t [u8]) -> Option<Skimmed<'t>> {
    let (start, end) = string(&member.name, text)?;
    let around = (text.get(..start)?, text.get(end..)?);
    let fits = member.when.iter().all(|(name, values)| {
        let found = scalar(name, around.0).or_else(|| scalar(name, around.1));
        found.is_some_and(|found| values.iter().any(|value| value.as_bytes() == &*found))
    });
    (fits && end > start).then_some(Skimmed { coded: text.get(start..end)?, around })
}

impl Skimmed<'_> {
    /// How many bytes it stands for.
    #[must_use]
    pub fn length(&self) -> u64 {
        let padding = self.coded.iter().rev().take_while(|byte| **byte == b'=').count();
        // A slash may be escaped.
        let escapes =
            if memchr(b'\\', self.coded).is_some() { memchr::memchr_iter(b'\\', self.coded).count() } else { 0 };
        let letters = self.coded.len().saturating_sub(padding + escapes) as u64;
        letters * 3 / 4
    }

    /// The first of its bytes, or all.
    #[must_use]
    pub fn bytes(&self, most: usize) -> Vec<u8> {
        let letters = self.coded.iter().filter_map(|letter| sextet(*letter)).take(most.saturating_mul(4).div_ceil(3));
        let (mut out, mut word, mut bits) = (Vec::new(), 0u32, 0);
        for sextet in letters {
            word = word << 6 | u32::from(sextet);
            bits += 6;
            if bits >= 8 {
                bits -= 8;
                out.push((word >> bits & 0xff) as u8);
            }
        }
        out
    }

    /// The value of the first of these members beside it.
    #[must_use]
    pub fn beside(&self, names: &[Finder<'static>]) -> Option<Cow<'_, [u8]>> {
        names.iter().find_map(|name| scalar(name, self.around.0).or_else(|| scalar(name, self.around.1)))
    }
}

/// The value of a member that is a text, a number or a truth value; a null is no value.
fn scalar<'t>(name: &Finder<'_>, text: &'t [u8]) -> Option<Cow<'t, [u8]>> {
    let value = value(name, text)?;
    if value.first()? == &b'"' {
        let inside = value.get(1..)?;
        let end = memchr2(b'"', b'\\', inside)?;
        return match inside.get(end)? {
            b'"' => inside.get(..end).map(Cow::Borrowed),
            _ => unescaped(value).map(Cow::Owned),
        };
    }
    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
    value.get(..value.iter().position(ends)?).filter(|found| *found != b"null").map(Cow::Borrowed)
}

/// The text at the beginning of this, which has escapes.
fn unescaped(value: &[u8]) -> Option<Vec<u8>> {
    let mut from = 1;
    let end = loop {
        let at = from + memchr2(b'"', b'\\', value.get(from..)?)?;
        match value.get(at)? {
            b'"' => break at,
            _ => from = at + 2,
        }
    };
    serde_json::from_slice::<String>(value.get(..=end)?).ok().map(String::into_bytes)
}

/// Where the text of a member stands.
fn string(name: &Finder<'_>, text: &[u8]) -> Option<(usize, usize)> {
    let value = value(name, text)?;
    let start = text.len() - value.len() + 1;
    if value.first() != Some(&b'"') {
        return None;
    }
    // No letter of base64 is a quote, nor is one escaped in it.
    Some((start, start + memchr(b'"', text.get(start..)?)?))
}

/// What follows a member's name and its colon.
fn value<'t>(name: &Finder<'_>, text: &'t [u8]) -> Option<&'t [u8]> {
    let mut from = 0;
    loop {
        let at = from + name.find(text.get(from..)?)?;
        from = at + name.needle().len();
        let after = text.get(from..)?.trim_ascii_start();
        if let Some(value) = after.strip_prefix(b":") {
            return Some(value.trim_ascii_start());
        }
    }
}

/// A letter of base64, of either alphabet (RFC 4648, sections 4 and 5).
pub(super) fn sextet(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::{Profile, ProfileSpec};

    #[test]
    fn audio_is_found_without_a_parser() {
        let text = "[[generations]]\nid = '$.ctx'\naudio = ['$.audio', { from = '$.delta', when = { '$.type' = ['a.delta', 'b.delta'] } }]\n";
        let spec: ProfileSpec = toml::from_str(text).expect("a profile");
        let profile = Profile::compile("x", spec).expect("a right profile");
        let rule = profile.generations("GET", "/").expect("generations");
        for (message, expected, id) in [
            (r#"{"audio":"Zm9vYmFy","ctx":"a"}"#, Some("foobar"), Some("a")),
            (r#"{"ctx" : "b", "audio" : "Zm9vYg==" }"#, Some("foob"), Some("b")),
            (r#"{"audio":"Zm9vYmE","ctx":7}"#, Some("fooba"), Some("7")),
            (r#"{"audio":"\/\/8=","ctx":"a\"b"}"#, None, Some("a\"b")),
            (r#"{"ctx":"gr\u00f6\u00dfe-1\\","audio":"Zm9v"}"#, Some("foo"), Some("größe-1\\")),
            (r#"{"ctx":"a\"\q","audio":"Zm9v"}"#, Some("foo"), None),
            (r#"{"ctx":null,"audio":"Zm9v"}"#, Some("foo"), None),
            (r#"{"audio":null,"ctx":"a"}"#, None, None),
            (r#"{"audio":"","ctx":"a"}"#, None, None),
            (r#"{"note":"say \"audio\":\"Zm9v\"","ctx":"a"}"#, None, None),
            (r#"{"list":["audio"],"audio":"Zm9v"}"#, Some("foo"), None),
            (r#"{"type":"a.delta","delta":"Zm9v"}"#, Some("foo"), None),
            (r#"{"delta":"Zm9v","type":"b.delta"}"#, Some("foo"), None),
            (r#"{"type":"text.delta","delta":"Zm9v"}"#, None, None),
            (r#"{"audio":"Zm9v"#, None, None),
            ("", None, None),
        ] {
            let found = skim(&rule.audio, message.as_bytes());
            if message.contains("\\/") {
                let found = found.expect("escaped slashes are audio");
                assert_eq!((found.length(), found.bytes(9)), (2, vec![0xff, 0xff]));
                assert_eq!(found.beside(&rule.id_names).as_deref(), id.map(str::as_bytes), "{message}");
                continue;
            }
            let bytes = found.map(|found| found.bytes(100));
            assert_eq!(bytes.as_deref(), expected.map(str::as_bytes), "{message}");
            if let Some(found) = found {
                assert_eq!(found.length(), expected.unwrap_or_default().len() as u64, "{message}");
                assert_eq!(found.beside(&rule.id_names).as_deref(), id.map(str::as_bytes), "{message}");
            }
        }
    }
}
