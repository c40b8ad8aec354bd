//! The members of one log line, written without the machinery of `std::fmt` where requests pay for it.

use std::cell::RefCell;
use std::fmt::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Members are added one after the other; the line break and the closing bracket are the caller's.
pub(super) struct Fields<'a> {
    line: &'a mut String,
    json: bool,
    first: bool,
}

/// Seconds with microseconds.
#[derive(Clone, Copy)]
pub(super) struct Seconds(pub(super) Duration);

/// What is written without quotes.
pub(super) trait Number {
    fn append(self, line: &mut String);
}

thread_local! {
    /// The second that was written last, and its text: `2026-11-21T09:30:00`.
    static SECOND: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
}

impl<'a> Fields<'a> {
    /// Begins a line.
    pub(super) fn new(line: &'a mut String, json: bool) -> Fields<'a> {
        Fields { line, json, first: true }
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.line.push('"');
        escape(value, self.line);
        self.line.push('"');
    }

    pub(super) fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// Anything that can be shown; slower than the others.
    pub(super) fn display(&mut self, name: &str, value: impl fmt::Display) {
        self.name(name);
        self.line.push('"');
        // Writing to a string does not fail.
        let _ = write!(Escaping(self.line), "{value}");
        self.line.push('"');
    }

    pub(super) fn number(&mut self, name: &str, value: impl Number) {
        self.name(name);
        value.append(self.line);
    }

    /// A moment in RFC 3339, UTC, with milliseconds.
    pub(super) fn time(&mut self, name: &str, time: SystemTime) {
        self.name(name);
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        SECOND.with_borrow_mut(|(second, text)| {
            if *second != since.as_secs() {
                *text = humantime::format_rfc3339_seconds(time).to_string();
                text.truncate(text.len() - "Z".len());
                *second = since.as_secs();
            }
            self.line.push('"');
            self.line.push_str(text);
        });
        self.line.push('.');
        padded(since.subsec_millis(), 3, self.line);
        self.line.push_str("Z\"");
    }

    fn name(&mut self, name: &str) {
        let (before, after) = match (self.json, std::mem::replace(&mut self.first, false)) {
            (true, true) => ("{\"", "\":"),
            (true, false) => (",\"", "\":"),
            (false, true) => ("", "="),
            (false, false) => (" ", "="),
        };
        self.line.push_str(before);
        self.line.push_str(name);
        self.line.push_str(after);
    }
}

impl Number for u16 {
    fn append(self, line: &mut String) {
        u64::from(self).append(line);
    }
}

impl Number for u32 {
    fn append(self, line: &mut String) {
        u64::from(self).append(line);
    }
}

impl Number for u64 {
    fn append(self, line: &mut String) {
        line.push_str(itoa::Buffer::new().format(self));
    }
}

impl Number for Seconds {
    fn append(self, line: &mut String) {
        self.0.as_secs().append(line);
        line.push('.');
        padded(self.0.subsec_micros(), 6, line);
    }
}

/// A number with zeros in front of it.
fn padded(number: u32, width: usize, line: &mut String) {
    const ZEROS: &str = "000000";
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(number);
    line.push_str(ZEROS.get(..width.saturating_sub(digits.len())).unwrap_or_default());
    line.push_str(digits);
}

/// Escapes what could end a string, a line or a terminal's patience: quotes, backslashes, and control characters, those of
/// Unicode's second block and the line separators included. What comes out is the inside of a JSON string.
fn escape(text: &str, line: &mut String) {
    // Nearly every text is plain, and is copied as a whole.
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if text.as_bytes().iter().all(plain) {
        line.push_str(text);
        return;
    }
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                line.push('\\');
                line.push(character);
            }
            // Writing to a string does not fail.
            '\u{2028}' | '\u{2029}' => _ = write!(line, "\\u{:04x}", u32::from(character)),
            _ if character.is_control() => _ = write!(line, "\\u{:04x}", u32::from(character)),
            _ => line.push(character),
        }
    }
}

/// Escapes what is formatted.
struct Escaping<'a>(&'a mut String);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(text, self.0);
        Ok(())
    }
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
            let mut line = String::new();
            Fields::new(&mut line, false).time("t", UNIX_EPOCH + Duration::from_millis(millis));
            assert_eq!(line, format!("t=\"{shown}\""));
        }
        for (micros, shown) in [(0, "0.000000"), (7, "0.000007"), (1_234_567, "1.234567"), (61_000_000, "61.000000")] {
            let mut line = String::new();
            Seconds(Duration::from_micros(micros)).append(&mut line);
            assert_eq!(line, shown);
        }
    }
}
