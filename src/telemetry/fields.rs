//! Writes the members of one log line, without `std::fmt`, because every request pays for them.

use std::cell::Cell;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Appends members one after the other; the caller adds the closing bracket and the line break. The format is a const parameter,
/// so that a name and all of its punctuation form one constant.
pub(super) struct Fields<'a, const JSON: bool> {
    line: &'a mut Vec<u8>,
}

/// The name of a member in each format, with the separator before it and the punctuation up to its value.
#[derive(Clone, Copy)]
pub(super) struct Name {
    pub(super) json: &'static str,
    pub(super) text: &'static str,
}

/// A [`Name`] that the configuration chose.
#[derive(Clone, Debug)]
pub struct FieldName {
    json: String,
    text: String,
}

impl FieldName {
    /// `word` must not need any escaping.
    pub(super) fn new(word: &str) -> FieldName {
        FieldName { json: format!(",\"{word}\":"), text: format!(" {word}=") }
    }
}

/// Makes a [`Name`] of each word.
macro_rules! names {
    ($($name:ident = $word:literal;)*) => {
        $(const $name: Name = Name { json: concat!(",\"", $word, "\":"), text: concat!(" ", $word, "=") };)*
    };
}
pub(super) use names;

/// Seconds, with microseconds.
#[derive(Clone, Copy)]
pub(super) struct Seconds(pub(super) Duration);

/// A value that is written without quotes.
pub(super) trait Number {
    fn append(self, line: &mut Vec<u8>);
}

/// `2026-11-21T09:30:00`
type Second = [u8; 19];

thread_local! {
    /// The last second that was written, and its text.
    static SECOND: Cell<(u64, Second)> = const { Cell::new((u64::MAX, [0; 19])) };
}

impl<'a, const JSON: bool> Fields<'a, JSON> {
    /// Begins a line with a time in RFC 3339, UTC, with milliseconds.
    #[inline]
    pub(super) fn begin(line: &'a mut Vec<u8>, time: SystemTime) -> Fields<'a, JSON> {
        line.extend_from_slice(if JSON { b"{\"time\":\"" } else { b"time=\"" });
        moment(time, line);
        line.push(b'"');
        Fields { line }
    }

    /// A text from any source, escaped.
    #[inline]
    pub(super) fn text(&mut self, name: Name, value: &str) {
        self.name(name);
        self.line.push(b'"');
        escape(value, self.line);
        self.line.push(b'"');
    }

    #[inline]
    pub(super) fn optional(&mut self, name: Name, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// A text that never needs escaping: a number, a validated id, a constant.
    #[inline]
    pub(super) fn plain(&mut self, name: Name, value: &str) {
        self.name(name);
        self.line.push(b'"');
        debug_assert!(is_plain(value.as_bytes()), "{value:?} has to be escaped");
        self.line.extend_from_slice(value.as_bytes());
        self.line.push(b'"');
    }

    /// An id in hexadecimal digits.
    pub(super) fn hex(&mut self, name: Name, id: [u8; 16]) {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let digits = id.map(|byte| [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]));
        self.name(name);
        self.line.push(b'"');
        self.line.extend_from_slice(digits.as_flattened());
        self.line.push(b'"');
    }

    #[inline]
    pub(super) fn number(&mut self, name: Name, value: impl Number) {
        self.name(name);
        value.append(self.line);
    }

    #[inline]
    pub(super) fn optional_number(&mut self, name: Name, value: Option<impl Number>) {
        if let Some(value) = value {
            self.number(name, value);
        }
    }

    pub(super) fn named_text(&mut self, name: &FieldName, value: Option<&str>) {
        if let Some(value) = value {
            self.line.extend_from_slice(if JSON { name.json.as_bytes() } else { name.text.as_bytes() });
            self.line.push(b'"');
            escape(value, self.line);
            self.line.push(b'"');
        }
    }

    pub(super) fn named_number(&mut self, name: &FieldName, value: Option<impl Number>) {
        if let Some(value) = value {
            self.line.extend_from_slice(if JSON { name.json.as_bytes() } else { name.text.as_bytes() });
            value.append(self.line);
        }
    }

    #[inline]
    fn name(&mut self, name: Name) {
        self.line.extend_from_slice(if JSON { name.json.as_bytes() } else { name.text.as_bytes() });
    }
}

impl Number for u16 {
    #[inline]
    fn append(self, line: &mut Vec<u8>) {
        u64::from(self).append(line);
    }
}

impl Number for u32 {
    #[inline]
    fn append(self, line: &mut Vec<u8>) {
        u64::from(self).append(line);
    }
}

impl Number for u64 {
    #[inline]
    fn append(self, line: &mut Vec<u8>) {
        line.extend_from_slice(itoa::Buffer::new().format(self).as_bytes());
    }
}

impl Number for Seconds {
    #[inline]
    fn append(self, line: &mut Vec<u8>) {
        self.0.as_secs().append(line);
        line.push(b'.');
        line.extend_from_slice(&digits::<6>(self.0.subsec_micros()));
    }
}

/// The last `COUNT` decimal digits of a number.
#[inline]
fn digits<const COUNT: usize>(mut number: u32) -> [u8; COUNT] {
    let mut text = [b'0'; COUNT];
    for place in text.iter_mut().rev() {
        *place += (number % 10) as u8;
        number /= 10;
    }
    text
}

/// A time in RFC 3339, UTC, with milliseconds.
#[must_use]
pub(crate) fn timestamp(time: SystemTime) -> String {
    let mut text = Vec::with_capacity("2026-11-21T09:30:00.123Z".len());
    moment(time, &mut text);
    String::from_utf8(text).unwrap_or_default()
}

#[inline]
fn moment(time: SystemTime, line: &mut Vec<u8>) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    line.extend_from_slice(&second(since.as_secs()));
    line.push(b'.');
    line.extend_from_slice(&digits::<3>(since.subsec_millis()));
    line.push(b'Z');
}

/// A time in whole seconds since 1970, as text without the zone. Cached, because most lines of a thread fall into the same
/// second.
fn second(seconds: u64) -> Second {
    let (known, text) = SECOND.get();
    if known == seconds {
        return text;
    }
    let mut text = [b'?'; 19];
    let shown = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string();
    // The year is taken to have four digits.
    text.iter_mut().zip(shown.bytes()).for_each(|(place, byte)| *place = byte);
    SECOND.set((seconds, text));
    text
}

/// Escapes quotes, backslashes and control characters, including C1 and the Unicode line separators: they could end a string or
/// a line, or control a terminal. The result is the inside of a JSON string.
#[inline]
fn escape(text: &str, line: &mut Vec<u8>) {
    // Nearly every text is plain and can be copied at once.
    if is_plain(text.as_bytes()) {
        return line.extend_from_slice(text.as_bytes());
    }
    let mut rest = text;
    while let Some((at, special)) = rest.char_indices().find(|(_, character)| is_special(*character)) {
        line.extend_from_slice(&rest.as_bytes()[..at]);
        // Writing to a vector does not fail.
        let _ = match special {
            '"' | '\\' => write!(line, "\\{special}"),
            _ => write!(line, "\\u{:04x}", u32::from(special)),
        };
        rest = &rest[at + special.len_utf8()..];
    }
    line.extend_from_slice(rest.as_bytes());
}

fn is_special(character: char) -> bool {
    matches!(character, '"' | '\\' | '\u{2028}' | '\u{2029}') || character.is_control()
}

/// Whether all bytes are printable ASCII, without quotes and backslashes. It does not return early, so that the compiler
/// vectorizes the loop.
#[inline]
fn is_plain(text: &[u8]) -> bool {
    text.iter().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~') & !matches!(byte, b'"' | b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_are_exact() {
        for (millis, shown) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_253_400_123, "2026-11-21T09:30:00.123Z"),
            (1_795_253_400_999, "2026-11-21T09:30:00.999Z"),
            (1_795_253_401_007, "2026-11-21T09:30:01.007Z"),
        ] {
            let mut line = Vec::new();
            let _ = Fields::<false>::begin(&mut line, UNIX_EPOCH + Duration::from_millis(millis));
            assert_eq!(line, format!("time=\"{shown}\"").as_bytes());
        }
        for (micros, shown) in [(0, "0.000000"), (7, "0.000007"), (1_234_567, "1.234567"), (61_000_000, "61.000000")] {
            let mut line = Vec::new();
            Seconds(Duration::from_micros(micros)).append(&mut line);
            assert_eq!(line, shown.as_bytes());
        }
        for number in [0, 7, 10, 429, 99_999, 100_000, 999_999] {
            assert_eq!(digits::<6>(number), format!("{number:06}").as_bytes());
        }
    }

    #[test]
    fn special_characters_are_escaped_at_any_position() {
        for special in ['\0', '\u{1f}', '"', '\\', '\u{7f}', '\u{80}', '\u{9f}', '\u{2028}', '\u{2029}'] {
            for before in 0..20 {
                for after in 0..20 {
                    let text = format!("{}{special}{}", "~".repeat(before), " ü".repeat(after));
                    let mut line = Vec::new();
                    escape(&text, &mut line);
                    let line = String::from_utf8(line).expect("an escaped text is text");
                    assert!(
                        !line
                            .contains(|character: char| character != '"' && character != '\\' && is_special(character))
                    );
                    let back: String =
                        serde_json::from_str(&format!("\"{line}\"")).expect("the inside of a JSON string");
                    assert_eq!(back, text);
                }
            }
        }
        for plain in ["", " ", "~", "!#[]~", "01KAQ8Z6M3W4E0J7T5YV9S2N1C"] {
            let mut line = Vec::new();
            escape(plain, &mut line);
            assert!(is_plain(plain.as_bytes()) && line == plain.as_bytes());
        }
    }
}
