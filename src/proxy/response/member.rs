//! Replaces one member of a JSON body; every other byte is unchanged.

use crate::canon::{Json, Path, read_json};
use serde_json::Value;
use std::ops::Range;

/// How many equal strings are tried as the location of the member.
const MOST_TRIED: usize = 16;

/// The body with another text for this member, whose value is `text` in any spelling; none when it cannot be found.
pub(super) fn with_text(body: &[u8], member: &Path, text: &str, other: &str) -> Option<Vec<u8>> {
    let written = Value::from(other).to_string();
    let says = |place: &Range<usize>| body.get(place.clone()).is_some_and(|string| says(string, text));
    let places = strings(body).filter(says).take(MOST_TRIED);
    let exchanged = places.filter_map(|place| {
        let (before, behind) = (body.get(..place.start)?, body.get(place.end..)?);
        Some([before, written.as_bytes(), behind].concat())
    });
    // Of several equal strings, the right one is the one whose replacement changes the member.
    exchanged.into_iter().find(|body| {
        let tree = read_json(body);
        tree.as_ref().and_then(|tree| member.walk(tree)).and_then(Json::as_text) == Some(other)
    })
}

/// Whether a JSON string has this value.
fn says(string: &[u8], text: &str) -> bool {
    // An escape is never shorter than the character that it encodes.
    string.len() >= text.len() + 2 && read_json(string).as_ref().and_then(Json::as_text) == Some(text)
}

/// The positions of the strings in a body, with their quotation marks.
fn strings(body: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + memchr::memchr(b'"', body.get(at..)?)?;
        at = start + 1;
        loop {
            at += memchr::memchr2(b'"', b'\\', body.get(at..)?)? + 1;
            if body.get(at - 1) == Some(&b'"') {
                return Some(start..at);
            }
            at += 1;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_exchanged_however_it_is_written_and_nothing_else_is() {
        let member = Path::parse("$.a.url").expect("a path");
        for (body, wanted) in [
            (r#"{"a":{"url":"ws://p/x?a=1&b=2"}}"#, r#"{"a":{"url":"new"}}"#),
            (r#"{"a":{"url":"ws:\/\/p\/x?a=1\u0026b=2"}}"#, r#"{"a":{"url":"new"}}"#),
            (
                r#"{"a" : { "url" : "\u0077s:\u002f/p/x?a=1\u0026b\u003D2" } , "n":1.0}"#,
                r#"{"a" : { "url" : "new" } , "n":1.0}"#,
            ),
            (
                r#"{"url":"ws://p/x?a=1&b=2","a":{"x":"\"","url":"ws://p/x?a=1&b=2"}}"#,
                r#"{"url":"ws://p/x?a=1&b=2","a":{"x":"\"","url":"new"}}"#,
            ),
            (r#"{"ws://p/x?a=1&b=2":1,"a":{"url":"ws://p/x?a=1&b=2"}}"#, r#"{"ws://p/x?a=1&b=2":1,"a":{"url":"new"}}"#),
            (r#"{"a":{"url":"first"},"a":{"url":"ws://p/x?a=1&b=2"}}"#, r#"{"a":{"url":"first"},"a":{"url":"new"}}"#),
            // Input that serde rejects.
            (
                r#"{"a":{"n":NaN,"s":"\ud800","url":"ws://p/x?a=1\u0026b=2"}}"#,
                r#"{"a":{"n":NaN,"s":"\ud800","url":"new"}}"#,
            ),
            (r#"{"a":{"url":"ws://p/x"}}"#, ""),
            (r#"{"b":{"url":"ws://p/x?a=1&b=2"}}"#, ""),
            (r#"{"a":{"url":"ws://p/x?a=1&b=2"#, ""),
            ("", ""),
            (r#""\"#, ""),
        ] {
            let exchanged = with_text(body.as_bytes(), &member, "ws://p/x?a=1&b=2", "new");
            let exchanged = exchanged.map(|body| String::from_utf8(body).expect("text"));
            assert_eq!(exchanged.unwrap_or_default(), wanted, "{body}");
        }
    }
}
