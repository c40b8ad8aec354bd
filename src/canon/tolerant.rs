//! The second pass over JSON that the strict reader refuses.
//!
//! What providers send is not always valid JSON: serialisers write lone surrogates, `NaN`, numbers beyond a double, more nesting
//! than parsers accept; a bound cuts the end off; a proxy appends a line. The error code is in there all the same. This reader keeps
//! what it can parse and skips the rest. Single quotes are taken for double ones, as in what Python prints of a dictionary. It looks at each byte once or twice, needs no more stack than [`DEEPEST`] levels,
//! and cannot fail.

use super::json::{Json, Members};
use serde_json::Number;
use std::borrow::Cow;

/// Nesting beyond this is skipped. It is as deep as the strict reader goes, so that what is written again can be read again.
const DEEPEST: usize = 127;

/// What can be parsed of a text that begins with a bracket or a quotation mark; `None` when that is nothing.
pub(crate) fn read(text: &str) -> Option<Json<'_>> {
    let mut reader = Reader { text, at: 0, skipped: false, cut: false };
    let value = reader.value(0)?;
    // `[error] no such host`, `{oops}` and `"so" they said` are texts that begin like JSON.
    let is_text = matches!(value, Json::Text(_)) && !reader.at_end();
    let is_nothing = is_hollow(&value) && (reader.skipped || !reader.closed());
    (!is_text && !is_nothing).then_some(value)
}

/// Whether there is nothing in it.
fn is_hollow(value: &Json<'_>) -> bool {
    match value {
        Json::Object(members) => members.is_empty(),
        Json::List(list) => list.iter().all(is_hollow),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => false,
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Whether anything was skipped.
    skipped: bool,
    /// Whether a string was unterminated.
    cut: bool,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Whether the last byte that was read closed a list or an object.
    fn closed(&self) -> bool {
        let before = self.at.checked_sub(1).and_then(|at| self.text.as_bytes().get(at));
        matches!(before, Some(b'}' | b']'))
    }

    fn at_end(&mut self) -> bool {
        self.skip_space();
        self.peek().is_none()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// The value that begins here; none when there is none, or when its end was cut off and its beginning says nothing.
    fn value(&mut self, depth: usize) -> Option<Json<'a>> {
        self.skip_space();
        match self.peek()? {
            b'{' | b'[' if depth >= DEEPEST => {
                self.skip_brackets();
                Some(Json::Null)
            }
            b'{' => Some(self.object(depth)),
            b'[' => Some(self.list(depth)),
            b'"' => Some(Json::Text(self.string(b'"'))),
            b'\'' => self.single(),
            b'b' | b'u' if self.text.as_bytes().get(self.at + 1) == Some(&b'\'') => {
                self.at += 1;
                self.single()
            }
            _ => self.word(),
        }
    }

    /// A text in single quotes. One without an end is an apostrophe.
    fn single(&mut self) -> Option<Json<'a>> {
        let text = self.string(b'\'');
        self.skipped |= self.cut;
        (!self.cut).then_some(Json::Text(text))
    }

    fn object(&mut self, depth: usize) -> Json<'a> {
        self.at += 1;
        let mut members = Members::default();
        loop {
            self.skip_space();
            match self.peek() {
                None => break,
                Some(b'}') => {
                    self.at += 1;
                    break;
                }
                Some(b',') => self.at += 1,
                // A bracket of the wrong kind closes the innermost list or object.
                Some(b']') => {
                    self.at += 1;
                    break;
                }
                Some(quote @ (b'"' | b'\'')) => {
                    let name = self.string(quote);
                    self.skipped |= self.cut && quote == b'\'';
                    self.skip_space();
                    let value = if self.take(b':') { self.value(depth + 1) } else { None };
                    match value {
                        Some(value) => members.insert(name, value),
                        None => self.skip_to_mark(),
                    }
                }
                Some(_) => self.skip_to_mark(),
            }
        }
        Json::Object(Box::new(members))
    }

    fn list(&mut self, depth: usize) -> Json<'a> {
        self.at += 1;
        let mut list = Vec::new();
        loop {
            self.skip_space();
            match self.peek() {
                None => break,
                Some(b']') => {
                    self.at += 1;
                    break;
                }
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    break;
                }
                Some(_) => match self.value(depth + 1) {
                    Some(value) => list.push(value),
                    None => self.skip_to_mark(),
                },
            }
        }
        Json::List(list)
    }

    /// Skips invalid text up to the next comma or closing bracket.
    fn skip_to_mark(&mut self) {
        let start = self.at;
        while !matches!(self.peek(), None | Some(b',' | b'}' | b']')) {
            self.at += 1;
        }
        self.skipped |= self.at > start;
    }

    /// A string, escapes decoded; of one that was cut, as much as there is.
    fn string(&mut self, quote: u8) -> Cow<'a, str> {
        self.at += 1;
        let start = self.at;
        let mut decoded: Option<String> = None;
        let mut plain = start;
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let Some(next) = memchr::memchr2(quote, b'\\', rest) else {
                self.at = self.text.len();
                break;
            };
            self.at += next;
            if self.take(quote) {
                let whole = self.text.get(plain..self.at - 1).unwrap_or_default();
                return match decoded {
                    Some(mut text) => {
                        text.push_str(whole);
                        Cow::Owned(text)
                    }
                    None => Cow::Borrowed(whole),
                };
            }
            let before = self.text.get(plain..self.at).unwrap_or_default();
            let text = decoded.get_or_insert_default();
            text.push_str(before);
            self.at += 1;
            let escaped = self.escaped();
            text.extend(escaped);
            plain = self.at;
        }
        // The end was cut off.
        self.cut = true;
        let rest = self.text.get(plain..).unwrap_or_default();
        match decoded {
            Some(mut text) => {
                text.push_str(rest);
                Cow::Owned(text)
            }
            None => Cow::Borrowed(rest),
        }
    }

    /// The character after a backslash; `None` when it was cut off.
    fn escaped(&mut self) -> Option<char> {
        let rest = self.text.get(self.at..)?;
        let char = rest.chars().next()?;
        self.at += char.len_utf8();
        Some(match char {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'u' => {
                let Some(first) = self.four_digits() else {
                    // Cut in the middle: the digits say nothing.
                    if self.text.len() - self.at < 4 {
                        self.at = self.text.len();
                        return None;
                    }
                    return Some(char::REPLACEMENT_CHARACTER);
                };
                if !(0xD800..0xDC00).contains(&first) {
                    return Some(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                let low = self.at;
                if self.take(b'\\')
                    && self.take(b'u')
                    && let Some(second @ 0xDC00..0xE000) = self.four_digits()
                {
                    let whole = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                    return Some(char::from_u32(whole).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                self.at = low;
                char::REPLACEMENT_CHARACTER
            }
            other => other,
        })
    }

    fn four_digits(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        let number =
            digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16))?.ok()?;
        self.at += 4;
        Some(number)
    }

    /// A number, a truth value, `null` or one of JavaScript's and Python's words for them. A number that a double cannot hold,
    /// and one that is none, is `null`. A word at the very end may be cut and says nothing.
    fn word(&mut self) -> Option<Json<'a>> {
        let rest = self.text.get(self.at..)?;
        let end = rest.find(|char: char| !(char.is_ascii_alphanumeric() || matches!(char, '+' | '-' | '.' | '_')))?;
        let word = rest.get(..end)?;
        let value = match word {
            "true" | "True" => Json::Bool(true),
            "false" | "False" => Json::Bool(false),
            "null" | "None" | "undefined" => Json::Null,
            "NaN" | "nan" | "Infinity" | "-Infinity" | "inf" | "-inf" => Json::Null,
            _ if word.starts_with(|char: char| char.is_ascii_digit() || char == '-') => number(word)?,
            _ => return None,
        };
        self.at += end;
        Some(value)
    }

    /// Skips a value with everything in it.
    fn skip_brackets(&mut self) {
        let mut depth = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.skip_string();
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }

    fn skip_string(&mut self) {
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                return;
            }
        }
    }
}

fn number<'a>(word: &str) -> Option<Json<'a>> {
    if let Ok(number) = word.parse::<i64>() {
        return Some(Json::Number(number.into()));
    }
    if let Ok(number) = word.parse::<u64>() {
        return Some(Json::Number(number.into()));
    }
    let number = word.parse::<f64>().ok()?;
    Some(Number::from_f64(number).map_or(Json::Null, Json::Number))
}

#[cfg(test)]
mod tests;
