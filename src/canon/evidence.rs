//! What can be read out of an observation: its JSON tree and its text, each made once and within bounds.

use super::json::Json;
use super::observed::Observed;
use super::outline::Outline;
use super::tolerant;
use std::borrow::Cow;
use std::ops::Deref;

/// Longest text that is read, in characters; nobody writes a longer message for people.
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
        let wide = wide(seen.body);
        let body = match &wide {
            Some(text) => unguarded(trim(text.as_bytes())),
            None => unguarded(trim(seen.body)),
        };
        // The decoded text does not live as long as the bytes.
        let (tree, json) = match &wide {
            Some(_) => (read_json(body).map(Json::into_owned), None),
            None if begins_json(body) => parse(unguarded(trim(seen.body)), seen.truncated),
            None => (None, None),
        };
        let markup = body.first() == Some(&b'<');
        let text = match &tree {
            Some(Json::Text(text)) => Some(text.clone()),
            Some(_) => None,
            None if body.is_empty() || is_binary(body) => None,
            // No character has more than four bytes.
            None if wide.is_some() => Some(Cow::Owned(shorten(lossy(body), TEXT_LIMIT).into_owned())),
            None => {
                let body = unguarded(trim(seen.body));
                Some(shorten(lossy(body.get(..TEXT_LIMIT * 4).unwrap_or(body)), TEXT_LIMIT))
            }
        };
        let outline = Outline::of(seen.headers, tree.as_ref());
        Evidence { seen, tree, outline, json, text, markup }
    }

    /// The body as a tree, when it is JSON.
    #[must_use]
    pub fn tree(&self) -> Option<&Json<'a>> {
        self.tree.as_ref()
    }

    /// How many bytes the body has.
    #[must_use]
    pub fn length(&self) -> usize {
        self.body.len()
    }

    /// The member names in it, as bits.
    pub(crate) fn outline(&self) -> Outline {
        self.outline
    }

    /// The text of the body, when all of it is one JSON value; invalid UTF-8 is replaced.
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

    /// An HTML page as it stands, as much of it as is looked at.
    pub(crate) fn page(&self) -> Option<&str> {
        self.text.as_deref().filter(|_| self.markup)
    }

    /// The title of an HTML page, else its first heading.
    #[must_use]
    pub fn page_title(&self) -> Option<&str> {
        let page = self.text.as_deref().filter(|_| self.markup)?;
        element(page, "title").or_else(|| element(page, "h1"))
    }

    /// The text of the first element of this name in an XML body, in any name space; what is escaped in it is decoded.
    pub(crate) fn element(&self, name: &str) -> Option<Cow<'_, str>> {
        let page = self.text.as_deref().filter(|_| self.markup)?;
        let opens = |at: &usize| {
            let before = page.get(..*at).and_then(|before| before.rsplit('<').next()).unwrap_or_default();
            let prefix =
                before.is_empty() || before.ends_with(':') && before.bytes().all(|byte| byte.is_ascii_graphic());
            let after = page.as_bytes().get(at + name.len());
            prefix && page.get(..*at).is_some_and(|before| before.contains('<')) && matches!(after, Some(b'>' | b' '))
        };
        let at = page.match_indices(name).map(|(at, _)| at).find(opens)?;
        let inside = page.get(at..)?.split_once('>')?.1.split_once("</")?.0.trim();
        let inside = inside.strip_prefix("<![CDATA[").and_then(|text| text.strip_suffix("]]>")).unwrap_or(inside);
        (!inside.is_empty() && !inside.starts_with('<')).then(|| unescaped(inside))
    }
}

impl<'a> Deref for Evidence<'a> {
    type Target = Observed<'a>;

    fn deref(&self) -> &Observed<'a> {
        self.seen
    }
}

/// The five entities of XML, decoded.
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    Cow::Owned(entities.iter().fold(text.to_owned(), |text, (entity, char)| text.replace(entity, char)))
}

/// Trims white space and byte order marks.
fn trim(body: &[u8]) -> &[u8] {
    body.trim_ascii_start().strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body).trim_ascii()
}

fn begins_json(body: &[u8]) -> bool {
    matches!(body.first(), Some(b'{' | b'[' | b'"'))
}

/// Prefixes that keep a page from running JSON as a script.
fn unguarded(body: &[u8]) -> &[u8] {
    let guards: [&[u8]; 3] = [b")]}'", b"while(1);", b"for(;;);"];
    let Some(rest) = guards.into_iter().find_map(|guard| body.strip_prefix(guard)) else { return body };
    let rest = rest.strip_prefix(b",").unwrap_or(rest).trim_ascii_start();
    if begins_json(rest) { rest } else { body }
}

/// A body in UTF-16, as text: by its byte order mark, or by the zero beside the first bracket. No longer than the body.
fn wide(body: &[u8]) -> Option<String> {
    let (little, body) = match body {
        [0xFF, 0xFE, rest @ ..] => (true, rest),
        [0xFE, 0xFF, rest @ ..] => (false, rest),
        [b'{' | b'[' | b'"', 0, ..] => (true, body),
        [0, b'{' | b'[' | b'"', ..] => (false, body),
        _ => return None,
    };
    let (pairs, _) = body.as_chunks::<2>();
    let units = pairs.iter().map(|pair| if little { u16::from_le_bytes(*pair) } else { u16::from_be_bytes(*pair) });
    Some(char::decode_utf16(units).map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
}

/// Text for people has no control characters other than white space.
fn is_binary(body: &[u8]) -> bool {
    let start = body.get(..512).unwrap_or(body);
    start.iter().any(|byte| matches!(byte, 0..=8 | 14..=26 | 28..=31))
}

/// Cuts on a character boundary.
pub(crate) fn shorten(text: Cow<'_, str>, limit: usize) -> Cow<'_, str> {
    // A character takes at least one byte.
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

/// Reads JSON as leniently as errors are read: what the strict reader refuses goes through the tolerant one. None when it is
/// no JSON at all. Costs and units use it, so that they see what classifying sees.
#[must_use]
pub fn read_json(bytes: &[u8]) -> Option<Json<'_>> {
    if let Some(text) = wide(bytes) {
        return read_json(text.as_bytes()).map(Json::into_owned);
    }
    let bytes = unguarded(trim(bytes));
    if begins_json(bytes) { parse(bytes, false).0 } else { None }
}

/// Parses a body, and gives its text when all of it is JSON; of one that was cut or is not quite JSON, as much as there is.
fn parse(body: &[u8], truncated: bool) -> (Option<Json<'_>>, Option<Cow<'_, str>>) {
    let text = lossy(body);
    // A truncated body is hardly ever valid JSON, so the strict pass is skipped.
    let strict = if truncated {
        None
    } else {
        match &text {
            Cow::Borrowed(whole) => serde_json::from_str(whole).ok(),
            Cow::Owned(whole) => serde_json::from_str::<Json<'_>>(whole).ok().map(Json::into_owned),
        }
    };
    if strict.is_some() {
        return (strict, Some(text));
    }
    let tree = match &text {
        Cow::Borrowed(whole) => tolerant::read(whole),
        Cow::Owned(whole) => tolerant::read(whole).map(Json::into_owned),
    };
    (tree, None)
}

/// Bytes as text; invalid UTF-8 is replaced.
fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    // Validating first is many times faster than the lossy conversion.
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_and_units_read_what_classifying_reads() {
        for body in ["\u{feff} {\"text\":\"abc\"}", "{\"text\":\"abc\",\"n\":NaN}", "{\"text\":\"abc\"} {}"] {
            let tree = read_json(body.as_bytes()).expect("JSON");
            assert_eq!(tree.to_value()["text"], "abc", "{body}");
        }
        assert_eq!(read_json(b"text"), None);
    }

    #[test]
    fn json_in_utf_16_and_behind_a_guard_is_read() {
        let json = "{\"text\":\"é\u{1f600}\"}";
        let little: Vec<u8> = json.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = json.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let marked = |mark: &[u8], body: &[u8]| [mark, body].concat();
        let guarded = |guard: &str| format!("{guard}{json}").into_bytes();
        for body in [
            marked(b"\xFF\xFE", &little),
            marked(b"\xFE\xFF", &big),
            marked(b"\xFF\xFE", &little)[..].to_vec(),
            little,
            big,
            guarded(")]}'\n"),
            guarded(")]}',\n\n"),
            guarded("while(1);"),
            guarded("for(;;);"),
        ] {
            let headers = http::HeaderMap::new();
            let seen = Observed::http(400, &headers, &body, std::time::UNIX_EPOCH);
            let evidence = Evidence::new(&seen);
            let tree = evidence.tree().expect("JSON").to_value();
            assert_eq!(tree["text"], "é\u{1f600}", "{body:?}");
            assert_eq!(read_json(&body).expect("JSON").to_value(), tree, "{body:?}");
            assert!(!evidence.is_json(), "{body:?} is JSON as it stands");
        }
        for body in [&b"\xFF\xFE"[..], b"\xFF\xFE{", b")]}' no", b"while(1);"] {
            assert_eq!(read_json(body), None, "{body:?}");
        }
    }

    #[test]
    fn elements_of_xml() {
        use http::HeaderMap;
        let body = "<?xml version=\"1.0\"?><e:Error xmlns:e=\"x\"><e:Code>SlowDown</e:Code><Message a=\"b\">a &lt; b &amp;amp; c</Message>\
            <Codec>x</Codec><Empty></Empty><Data><![CDATA[raw]]></Data></e:Error>";
        let headers = HeaderMap::new();
        let seen = Observed::http(503, &headers, body.as_bytes(), std::time::UNIX_EPOCH);
        let evidence = Evidence::new(&seen);
        for (name, expected) in [
            ("Code", Some("SlowDown")),
            ("Message", Some("a < b &amp; c")),
            ("Data", Some("raw")),
            ("Empty", None),
            ("Error", None),
            ("ode", None),
        ] {
            assert_eq!(evidence.element(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn titles_of_pages() {
        assert_eq!(element("<html><head><title> 502 Bad Gateway </title>", "title"), Some("502 Bad Gateway"));
        assert_eq!(element("<title></title>", "title"), None);
        assert_eq!(element("<title", "title"), None);
    }
}
