//! What can be read out of an observation: its JSON tree and its text, each made once and within bounds.

use super::json::Json;
use super::observed::Observed;
use super::outline::Outline;
use std::borrow::Cow;
use std::ops::Deref;

/// Longest text that is looked at, in characters: beyond it there is no message for people.
pub(crate) const TEXT_LIMIT: usize = 4096;

/// An observation with its body decoded.
#[derive(Debug)]
pub struct Evidence<'a> {
    seen: &'a Observed<'a>,
    tree: Option<Json<'a>>,
    outline: Outline,
    json: Option<Cow<'a, str>>,
    text: Option<Cow<'a, str>>,
    markup: bool,
}

impl<'a> Evidence<'a> {
    /// Decodes the body: JSON by its first byte, whatever the Content-Type says; else text, unless it is binary.
    #[must_use]
    pub fn new(seen: &'a Observed<'a>) -> Evidence<'a> {
        let body = trim(seen.body);
        let (tree, json) = match body.first() {
            Some(b'{' | b'[' | b'"') => parse(body, seen.truncated),
            _ => (None, None),
        };
        let markup = body.first() == Some(&b'<');
        let text = match &tree {
            Some(Json::Text(text)) => Some(text.clone()),
            Some(_) => None,
            None if body.is_empty() || is_binary(body) => None,
            // No character has more than four bytes.
            None => Some(shorten(lossy(body.get(..TEXT_LIMIT * 4).unwrap_or(body)), TEXT_LIMIT)),
        };
        let outline = Outline::of(seen.headers, tree.as_ref());
        Evidence { seen, tree, outline, json, text, markup }
    }

    /// The body as a tree, when it is JSON.
    #[must_use]
    pub fn tree(&self) -> Option<&Json<'a>> {
        self.tree.as_ref()
    }

    /// The names that are in it.
    pub(crate) fn outline(&self) -> Outline {
        self.outline
    }

    /// The text of the body, when that is one JSON value as a whole; what is no UTF-8 in it is replaced.
    pub(crate) fn json(&self) -> Option<&str> {
        self.json.as_deref()
    }

    /// Whether the body is JSON as it stands, every byte of it.
    pub(crate) fn is_json(&self) -> bool {
        let unlike_space = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        let first = self.body.iter().position(unlike_space);
        let last = self.body.iter().rposition(unlike_space);
        match (&self.json, first, last) {
            (Some(Cow::Borrowed(json)), Some(first), Some(last)) => json.len() == last + 1 - first,
            _ => false,
        }
    }

    /// The body as plain text, when it is neither JSON nor markup nor binary.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref().filter(|_| !self.markup)
    }

    /// Whether the body is HTML or XML.
    #[must_use]
    pub fn is_markup(&self) -> bool {
        self.markup
    }

    /// The title of an HTML page, else its first heading.
    #[must_use]
    pub fn page_title(&self) -> Option<&str> {
        let page = self.text.as_deref().filter(|_| self.markup)?;
        element(page, "title").or_else(|| element(page, "h1"))
    }
}

impl<'a> Deref for Evidence<'a> {
    type Target = Observed<'a>;

    fn deref(&self) -> &Observed<'a> {
        self.seen
    }
}

/// White space and a byte order mark at both ends say nothing.
fn trim(body: &[u8]) -> &[u8] {
    body.trim_ascii_start().strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body).trim_ascii()
}

/// Control characters other than white space do not occur in what people are meant to read.
fn is_binary(body: &[u8]) -> bool {
    let start = body.get(..512).unwrap_or(body);
    start.iter().any(|byte| matches!(byte, 0..=8 | 14..=26 | 28..=31))
}

/// Cuts on a character boundary.
pub(crate) fn shorten(text: Cow<'_, str>, limit: usize) -> Cow<'_, str> {
    // A character has one byte at least.
    if text.len() <= limit {
        return text;
    }
    let Some((end, _)) = text.char_indices().nth(limit) else { return text };
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(..end).unwrap_or(text)),
        Cow::Owned(mut text) => {
            text.truncate(end);
            Cow::Owned(text)
        }
    }
}

fn element<'p>(page: &'p str, name: &str) -> Option<&'p str> {
    let lower = page.to_ascii_lowercase();
    let open = lower.find(&format!("<{name}"))?;
    let start = open + lower.get(open..)?.find('>')? + 1;
    let end = start + lower.get(start..)?.find("</")?;
    let inside = page.get(start..end)?.trim();
    (!inside.is_empty()).then_some(inside)
}

/// Parses a body, and gives its text when all of it is JSON; of one that was cut, as much as there is.
fn parse(body: &[u8], truncated: bool) -> (Option<Json<'_>>, Option<Cow<'_, str>>) {
    let text = lossy(body);
    // What was cut is seldom whole by chance, and is not read twice.
    let cut = if truncated { Cut::find(&text) } else { None };
    if cut.as_ref().is_none_or(Cut::is_nowhere) {
        match &text {
            Cow::Borrowed(whole) => {
                if let Ok(tree) = serde_json::from_str(whole) {
                    return (Some(tree), Some(text));
                }
            }
            Cow::Owned(whole) => {
                if let Some(tree) = owned(whole) {
                    return (Some(tree), Some(text));
                }
            }
        }
    }
    let part = match cut {
        Some(cut) => mend(&text, &cut),
        None if truncated => None,
        None => leading_value(&text),
    };
    (part, None)
}

/// Bytes as text; what is no UTF-8 in them is replaced.
fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    // Many times as fast as the replacing itself.
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// A tree of a text that goes away.
fn owned(text: &str) -> Option<Json<'static>> {
    serde_json::from_str::<Json<'_>>(text).ok().map(Json::into_owned)
}

/// The first value of a body that has something behind it, such as a second object or a stray bracket.
fn leading_value(text: &str) -> Option<Json<'static>> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Json<'_>>();
    let first = values.next()?.ok()?;
    matches!(first, Json::Object(_) | Json::List(_)).then(|| first.into_owned())
}

/// Completes JSON that was cut by a bound, so that a code at its beginning is not lost to a megabyte behind it.
fn mend(text: &str, cut: &Cut) -> Option<Json<'static>> {
    let as_it_ends = cut.in_string.then(|| close(&format!("{}\"", drop_partial_escape(text)), &cut.open));
    let at_last_value = || close(text.get(..cut.last_value).unwrap_or_default(), &cut.open_at_last_value);
    as_it_ends.flatten().or_else(at_last_value)
}

fn close(text: &str, open: &[u8]) -> Option<Json<'static>> {
    let mut whole = text.to_owned();
    whole.extend(open.iter().rev().map(|bracket| if *bracket == b'{' { '}' } else { ']' }));
    owned(&whole)
}

fn drop_partial_escape(text: &str) -> &str {
    let Some(slash) = text.rfind('\\').filter(|at| text.len() - at < 6) else { return text };
    let escapes_before = text.as_bytes().get(..slash).unwrap_or_default().iter().rev().take_while(|b| **b == b'\\');
    if escapes_before.count() % 2 == 0 { text.get(..slash).unwrap_or(text) } else { text }
}

/// Where a cut body could be closed.
#[derive(Default)]
struct Cut {
    open: Vec<u8>,
    in_string: bool,
    last_value: usize,
    open_at_last_value: Vec<u8>,
}

impl Cut {
    fn find(text: &str) -> Option<Cut> {
        let mut cut = Cut::default();
        let mut escaped = false;
        for (at, byte) in text.bytes().enumerate() {
            if cut.in_string {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' => escaped = true,
                    b'"' => cut.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => cut.in_string = true,
                b'{' | b'[' => {
                    cut.open.push(byte);
                    cut.mark(at + 1);
                }
                b'}' | b']' => {
                    let _ = cut.open.pop();
                    cut.mark(at + 1);
                }
                b',' => cut.mark(at),
                _ => {}
            }
            // serde_json refuses deeper nesting anyway.
            if cut.open.len() > 128 {
                return None;
            }
        }
        Some(cut)
    }

    /// Whether nothing is open where the text ends.
    fn is_nowhere(&self) -> bool {
        self.open.is_empty() && !self.in_string
    }

    fn mark(&mut self, at: usize) {
        self.last_value = at;
        self.open_at_last_value.clone_from(&self.open);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_json_keeps_what_was_whole() {
        for (text, expected) in [
            (
                r#"{"detail":{"status":"quota_exceeded","message":"AAAA"#,
                r#"{"detail":{"status":"quota_exceeded","message":"AAAA"}}"#,
            ),
            (r#"{"a":1,"b":[1,2,{"c":"d\u00"#, r#"{"a":1,"b":[1,2,{"c":"d"}]}"#),
            (r#"{"a":1,"b"#, r#"{"a":1}"#),
            (r#"{"a":1,"b":tr"#, r#"{"a":1}"#),
            (r#"["x\\"#, r#"["x\\"]"#),
            ("{", "{}"),
        ] {
            let expected: Json<'_> = serde_json::from_str(expected).expect("expected is JSON");
            let cut = Cut::find(text).expect("brackets that can be closed");
            assert_eq!(mend(text, &cut), Some(expected), "{text}");
        }
    }

    #[test]
    fn titles_of_pages() {
        assert_eq!(element("<html><head><title> 502 Bad Gateway </title>", "title"), Some("502 Bad Gateway"));
        assert_eq!(element("<title></title>", "title"), None);
        assert_eq!(element("<title", "title"), None);
    }
}
